//! The record that is a format, and everything that follows from it.
//!
//! A [`FormatSpec`] states only what a standard states: field widths, bias, sign, whether there is
//! a zero, and what the special codes are. Limits, epsilons and counts are derived by `const fn`s,
//! so no constant of any format is typed twice.

use super::{FormatId, Unpacked};
use crate::error::Error;

/// How a format spends its codes on infinities and NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Specials {
    /// As IEEE 754: the highest exponent field is Inf (mantissa 0) and NaN (the rest).
    Ieee,
    /// "FN": no infinity; NaN is the code whose exponent and mantissa bits are all ones.
    NanAllOnes,
    /// "FNUZ": no infinity, no negative zero; NaN takes the code of negative zero.
    NanNegZero,
    /// Every code is a finite number.
    None,
}

/// A binary number format: one row of the [table](super::FormatId), or a user's own.
///
/// The value of a code with sign s, exponent field e and mantissa field m is
/// (−1)^s · 2^(e − bias) · (1 + m / 2^man_bits), and for e = 0 in a format with zero
/// (−1)^s · 2^(1 − bias) · m / 2^man_bits: zero and the subnormals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormatSpec {
    /// The table's row that this is.
    pub(super) id: Option<FormatId>,
    pub(super) name: &'static str,
    pub(super) aliases: &'static [&'static str],
    pub(super) exp_bits: u32,
    pub(super) man_bits: u32,
    pub(super) bias: i32,
    pub(super) signed: bool,
    pub(super) has_zero: bool,
    pub(super) specials: Specials,
    pub(super) source: &'static str,
}

impl FormatSpec {
    /// A signed format with zero and subnormals that is not in the table.
    ///
    /// `exp_bits` is 1 to 8, `man_bits` 0 to 22, their sum at least 2, `bias` −127 to 255. With
    /// IEEE specials there must be normal numbers and a NaN: `exp_bits` ≥ 2 and `man_bits` ≥ 1.
    ///
    /// # Errors
    /// [`Error::Range`] names the field that is out of range.
    pub const fn custom(
        name: &'static str,
        exp_bits: u32,
        man_bits: u32,
        bias: i32,
        specials: Specials,
    ) -> Result<Self, Error> {
        let ieee = matches!(specials, Specials::Ieee) as i64;
        let checks = [
            ("exponent width", exp_bits as i64, 1 + ieee, 8),
            ("mantissa width", man_bits as i64, ieee, 22),
            ("exponent and mantissa width", exp_bits as i64 + man_bits as i64, 2, 31),
            ("bias", bias as i64, -127, 255),
        ];
        let mut i = 0;
        while i < checks.len() {
            let (what, got, min, max) = checks[i];
            if got < min || got > max {
                return Err(Error::Range { what, got, min, max });
            }
            i += 1;
        }
        let source = "defined by the caller";
        let (signed, has_zero) = (true, true);
        Ok(Self {
            id: None,
            name,
            aliases: &[],
            exp_bits,
            man_bits,
            bias,
            signed,
            has_zero,
            specials,
            source,
        })
    }

    /// The table's row that this is; none for a [`custom`](Self::custom) format.
    #[must_use]
    pub const fn id(&self) -> Option<FormatId> {
        self.id
    }

    /// The name used everywhere: `e4m3`, `bf16` ...
    #[must_use]
    #[inline]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Names of the same format elsewhere (torch, ml_dtypes, safetensors).
    #[must_use]
    #[inline]
    pub const fn aliases(&self) -> &'static [&'static str] {
        self.aliases
    }

    /// Width of the exponent field.
    #[must_use]
    #[inline]
    pub const fn exp_bits(&self) -> u32 {
        self.exp_bits
    }

    /// Width of the stored mantissa field.
    #[must_use]
    #[inline]
    pub const fn man_bits(&self) -> u32 {
        self.man_bits
    }

    /// What is subtracted from the exponent field.
    #[must_use]
    #[inline]
    pub const fn bias(&self) -> i32 {
        self.bias
    }

    /// Whether there is a sign bit.
    #[must_use]
    #[inline]
    pub const fn signed(&self) -> bool {
        self.signed
    }

    /// Whether exponent field 0 holds zero and the subnormals.
    #[must_use]
    #[inline]
    pub const fn has_zero(&self) -> bool {
        self.has_zero
    }

    /// How infinities and NaN are coded.
    #[must_use]
    #[inline]
    pub const fn specials(&self) -> Specials {
        self.specials
    }

    /// Where the definition stands.
    #[must_use]
    #[inline]
    pub const fn source(&self) -> &'static str {
        self.source
    }

    /// Width of a code in bits.
    #[must_use]
    #[inline]
    pub const fn bits(&self) -> u32 {
        self.signed as u32 + self.exp_bits + self.man_bits
    }

    /// Width of the unsigned integer that stores a code: 8, 16, 32 or 64.
    #[must_use]
    #[inline]
    pub const fn storage_bits(&self) -> u32 {
        let b = self.bits().next_power_of_two();
        if b < 8 { 8 } else { b }
    }

    /// Bits of significand with the hidden bit (p in error analysis).
    #[must_use]
    #[inline]
    pub const fn precision(&self) -> u32 {
        self.man_bits + 1
    }

    /// All bits of a code.
    #[must_use]
    #[inline]
    pub const fn code_mask(&self) -> u64 {
        u64::MAX >> (64 - self.bits())
    }

    /// The exponent and mantissa bits of a code.
    #[must_use]
    #[inline]
    pub const fn magnitude_mask(&self) -> u64 {
        u64::MAX >> (64 - self.exp_bits - self.man_bits)
    }

    /// The sign bit of a code; 0 in an unsigned format.
    #[must_use]
    #[inline]
    pub const fn sign_mask(&self) -> u64 {
        self.code_mask() & !self.magnitude_mask()
    }

    /// The bits of a code that are all clear in zeros, and in nothing else, if there is a zero.
    pub(crate) const fn zero_mask(&self) -> u64 {
        if self.has_neg_zero() { self.magnitude_mask() } else { self.code_mask() }
    }

    /// Whether every number of this format is one of `wide`, NaN and infinities aside.
    #[must_use]
    pub const fn within(&self, wide: &Self) -> bool {
        self.man_bits <= wide.man_bits
            && self.emin() - self.man_bits as i32 >= wide.emin() - wide.man_bits as i32
            && self.emax() <= wide.emax()
    }

    /// Whether infinities exist.
    #[must_use]
    #[inline]
    pub const fn has_inf(&self) -> bool {
        matches!(self.specials, Specials::Ieee)
    }

    /// Whether a NaN exists.
    #[must_use]
    #[inline]
    pub const fn has_nan(&self) -> bool {
        !matches!(self.specials, Specials::None)
    }

    /// Whether negative zero exists.
    #[must_use]
    #[inline]
    pub const fn has_neg_zero(&self) -> bool {
        self.signed && self.has_zero && !matches!(self.specials, Specials::NanNegZero)
    }

    /// The code of +Inf.
    #[must_use]
    #[inline]
    pub const fn inf_code(&self) -> Option<u64> {
        match self.specials {
            Specials::Ieee => Some(((1 << self.exp_bits) - 1) << self.man_bits),
            Specials::NanAllOnes | Specials::NanNegZero | Specials::None => None,
        }
    }

    /// The code of the quiet NaN (the positive one where NaN has a sign).
    #[must_use]
    #[inline]
    pub const fn nan_code(&self) -> Option<u64> {
        match self.specials {
            Specials::Ieee => Some(((1 << (self.exp_bits + 1)) - 1) << (self.man_bits - 1)),
            Specials::NanAllOnes => Some(self.magnitude_mask()),
            Specials::NanNegZero => Some(self.sign_mask()),
            Specials::None => None,
        }
    }

    /// Whether `code` is a NaN.
    #[must_use]
    #[inline]
    pub const fn is_nan_code(&self, code: u64) -> bool {
        let magnitude = code & self.magnitude_mask();
        match self.specials {
            Specials::Ieee => magnitude > ((1 << self.exp_bits) - 1) << self.man_bits,
            Specials::NanAllOnes => magnitude == self.magnitude_mask(),
            Specials::NanNegZero => code & self.code_mask() == self.sign_mask(),
            Specials::None => false,
        }
    }

    /// The code of the largest finite number.
    #[must_use]
    #[inline]
    pub const fn max_code(&self) -> u64 {
        match self.specials {
            Specials::Ieee => (((1 << self.exp_bits) - 1) << self.man_bits) - 1,
            Specials::NanAllOnes => self.magnitude_mask() - 1,
            Specials::NanNegZero | Specials::None => self.magnitude_mask(),
        }
    }

    /// The code of the smallest positive normal number.
    #[must_use]
    #[inline]
    pub const fn min_normal_code(&self) -> u64 {
        if self.has_zero { 1 << self.man_bits } else { 0 }
    }

    /// Exponent of the smallest normal number: min normal = 2^emin.
    #[must_use]
    #[inline]
    pub const fn emin(&self) -> i32 {
        self.has_zero as i32 - self.bias
    }

    /// Exponent of the largest finite number: 2^emax ≤ max < 2^(emax + 1).
    #[must_use]
    #[inline]
    pub const fn emax(&self) -> i32 {
        (self.max_code() >> self.man_bits) as i32 - self.bias
    }

    /// The largest finite number.
    #[must_use]
    #[inline]
    pub const fn max(&self) -> f64 {
        self.decode_f64(self.max_code())
    }

    /// The smallest positive normal number.
    #[must_use]
    #[inline]
    pub const fn min_normal(&self) -> f64 {
        self.decode_f64(self.min_normal_code())
    }

    /// The smallest positive number: the smallest subnormal, where there are subnormals.
    #[must_use]
    #[inline]
    pub const fn min_positive(&self) -> f64 {
        self.decode_f64(if self.has_zero { 1 } else { 0 })
    }

    /// The distance from 1 to the next larger number, 2^−man_bits, as f32's EPSILON.
    ///
    /// E2M1, E8M0 and their like included: there it is the spacing in [1, 2).
    #[must_use]
    #[inline]
    pub const fn epsilon(&self) -> f64 {
        f64::from_bits((1023 - self.man_bits as u64) << 52)
    }

    /// How many codes are finite numbers, zeros included.
    #[must_use]
    #[inline]
    pub const fn finite_codes(&self) -> u64 {
        let one_sign = self.max_code() + 1;
        if !self.signed {
            one_sign
        } else if matches!(self.specials, Specials::NanNegZero) {
            2 * one_sign - 1
        } else {
            2 * one_sign
        }
    }

    /// How many codes are NaN.
    #[must_use]
    #[inline]
    pub const fn nan_codes(&self) -> u64 {
        let infinities = if self.has_inf() { 1 + self.signed as u64 } else { 0 };
        self.code_mask() - (self.finite_codes() - 1) - infinities
    }

    /// The exact value of a code as f64; NaN keeps its sign. Bits above the format's are ignored.
    #[must_use]
    #[inline]
    pub const fn decode_f64(&self, code: u64) -> f64 {
        Unpacked::decode(self, code).to_f64()
    }

    /// The value of a code as f32: exact for every format of up to 16 bits.
    #[must_use]
    #[inline]
    pub const fn decode_f32(&self, code: u64) -> f32 {
        Unpacked::decode(self, code).to_f32()
    }
}
