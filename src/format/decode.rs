//! Code → value, exactly: the first half of every conversion.
//!
//! [`Unpacked`] is a number between two formats. Every source (a code of any format, a primitive
//! float, an integer) becomes one without rounding, and [`Unpacked::encode`] rounds it once.

use super::spec::{FormatSpec, Specials};
use super::table::{BF16, F16, F32, F64};
use half::{bf16, f16};

/// A sign and an exact magnitude, or Inf, or NaN.
///
/// Exact to 64 bits of significand; of a wider integer the bits below are kept as "some are set",
/// which every deterministic rounding to 53 bits or fewer takes for the exact value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unpacked {
    pub(super) negative: bool,
    pub(super) class: Class,
    /// Finite: bit 63 is set and the value is significand · 2^(exponent − 63).
    pub(super) significand: u64,
    pub(super) exponent: i32,
    /// Finite: the value is a little larger than the significand says.
    pub(super) sticky: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Zero,
    Finite,
    Inf,
    Nan,
}

impl Unpacked {
    const fn special(negative: bool, class: Class) -> Self {
        Self { negative, class, significand: 0, exponent: 0, sticky: false }
    }

    /// significand · 2^exponent, with any significand.
    #[inline(always)]
    pub(super) const fn finite(negative: bool, significand: u64, exponent: i32) -> Self {
        if significand == 0 {
            return Self::special(negative, Class::Zero);
        }
        let shift = significand.leading_zeros();
        Self {
            negative,
            class: Class::Finite,
            significand: significand << shift,
            exponent: exponent + 63 - shift as i32,
            sticky: false,
        }
    }

    /// The number that `code` stands for in `spec`. Bits above the format's are ignored.
    #[must_use]
    #[inline(always)]
    pub const fn decode(spec: &FormatSpec, code: u64) -> Self {
        let code = code & spec.code_mask();
        let negative = code & spec.sign_mask() != 0;
        if spec.is_nan_code(code) {
            return Self::special(negative, Class::Nan);
        }
        let magnitude = code & spec.magnitude_mask();
        if matches!(spec.specials, Specials::Ieee) && magnitude > spec.max_code() {
            return Self::special(negative, Class::Inf);
        }
        let field = (magnitude >> spec.man_bits) as i32;
        let mantissa = magnitude & ((1 << spec.man_bits) - 1);
        let lsb = spec.man_bits as i32;
        if spec.has_zero && field == 0 {
            Self::finite(negative, mantissa, spec.emin() - lsb)
        } else {
            Self::finite(negative, mantissa | 1 << spec.man_bits, field - spec.bias - lsb)
        }
    }

    /// An f64, exactly.
    #[must_use]
    pub const fn from_f64(x: f64) -> Self {
        Self::decode(&F64, x.to_bits())
    }

    /// An f32, exactly.
    #[must_use]
    #[inline(always)]
    pub const fn from_f32(x: f32) -> Self {
        Self::decode(&F32, x.to_bits() as u64)
    }

    /// An f16, exactly.
    #[must_use]
    pub const fn from_f16(x: f16) -> Self {
        Self::decode(&F16, x.to_bits() as u64)
    }

    /// A bf16, exactly.
    #[must_use]
    pub const fn from_bf16(x: bf16) -> Self {
        Self::decode(&BF16, x.to_bits() as u64)
    }

    /// An unsigned integer; see the type for what is kept of more than 64 bits.
    #[must_use]
    pub const fn from_u128(x: u128) -> Self {
        let high = (x >> 64) as u64;
        if high == 0 {
            return Self::finite(false, x as u64, 0);
        }
        let shift = 64 - high.leading_zeros();
        let mut wide = Self::finite(false, (x >> shift) as u64, shift as i32);
        wide.sticky = x & ((1 << shift) - 1) != 0;
        wide
    }

    /// A signed integer; see the type for what is kept of more than 64 bits.
    #[must_use]
    pub const fn from_i128(x: i128) -> Self {
        let mut wide = Self::from_u128(x.unsigned_abs());
        wide.negative = x < 0;
        wide
    }

    /// The same magnitude with the sign given.
    #[must_use]
    pub const fn with_sign(self, negative: bool) -> Self {
        Self { negative, ..self }
    }

    /// The same, a little larger in magnitude.
    pub(super) const fn with_sticky(self) -> Self {
        Self { sticky: true, ..self }
    }

    /// Whether this is NaN.
    #[must_use]
    #[inline(always)]
    pub const fn is_nan(self) -> bool {
        matches!(self.class, Class::Nan)
    }

    /// Whether it is Inf or −Inf.
    #[must_use]
    pub const fn is_inf(self) -> bool {
        matches!(self.class, Class::Inf)
    }

    /// The nearest f64; exact for every code of a format of up to 64 bits. NaN keeps its sign.
    #[must_use]
    pub const fn to_f64(self) -> f64 {
        f64::from_bits(self.nearest(&F64))
    }

    /// The nearest f32; exact for every code of a format of up to 16 bits. NaN keeps its sign.
    #[must_use]
    pub const fn to_f32(self) -> f32 {
        f32::from_bits(self.nearest(&F32) as u32)
    }

    /// √x, to 64 bits and whether more follow; √−0 = −0, and √ of a negative number is NaN.
    #[must_use]
    pub const fn sqrt(self) -> Self {
        match self.class {
            Class::Zero | Class::Nan => self,
            _ if self.negative => Self::special(false, Class::Nan),
            Class::Inf => self,
            Class::Finite => {
                // value = s · 2^(e − 63); take s · 2^63 or s · 2^64, whichever leaves an even power.
                let even = self.exponent.rem_euclid(2) == 0;
                let square = (self.significand as u128) << if even { 63 } else { 64 };
                let root = square.isqrt();
                let exponent = self.exponent.div_euclid(2);
                let mut result = Self::finite(false, root as u64, exponent - 63);
                result.sticky = root * root != square || self.sticky;
                result
            }
        }
    }
}

macro_rules! from_primitive {
    ($($source:ty => |$x:ident| $body:expr;)*) => { $(
        impl From<$source> for Unpacked {
            #[inline(always)]
            fn from($x: $source) -> Self {
                $body
            }
        }
    )* };
}

from_primitive! {
    f64 => |x| Self::from_f64(x);
    f32 => |x| Self::from_f32(x);
    f16 => |x| Self::from_f16(x);
    bf16 => |x| Self::from_bf16(x);
    u8 => |x| Self::from_u128(x.into());
    u16 => |x| Self::from_u128(x.into());
    u32 => |x| Self::from_u128(x.into());
    u64 => |x| Self::from_u128(x.into());
    u128 => |x| Self::from_u128(x);
    usize => |x| Self::from_u128(x as u128);
    i8 => |x| Self::from_i128(x.into());
    i16 => |x| Self::from_i128(x.into());
    i32 => |x| Self::from_i128(x.into());
    i64 => |x| Self::from_i128(x.into());
    i128 => |x| Self::from_i128(x);
    isize => |x| Self::from_i128(x as i128);
}
