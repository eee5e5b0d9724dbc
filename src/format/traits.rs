//! [`Format`]: a number type whose meaning is a [`FormatSpec`].

use super::round::Policy;
use super::spec::{FormatSpec, Specials};
use super::table::FormatId;
use super::{Unpacked, table};
use crate::error::Error;

mod private {
    pub trait Sealed {}
}
pub(crate) use private::Sealed;

/// The unsigned integer that stores a code: u8, u16, u32 or u64.
pub trait Code:
    Copy + Eq + Default + Send + Sync + core::fmt::Debug + Into<u64> + 'static + Sealed
{
    /// The low bits of `code`.
    fn from_u64(code: u64) -> Self;
}

macro_rules! codes {
    ($($int:ty)*) => { $(
        impl Sealed for $int {}
        impl Code for $int {
            #[inline(always)]
            fn from_u64(code: u64) -> Self {
                code as $int
            }
        }
    )* };
}
codes! { u8 u16 u32 u64 }

/// A number type with a row in the table: this crate's newtypes, `half`'s two, f32 and f64.
///
/// Constants say what exists in the format, so that generic code need not guess:
///
/// ```
/// use quarter::{F8E4M3, F8E5M2, Format, Policy};
/// assert!(!F8E4M3::HAS_INF && F8E5M2::HAS_INF);
/// // Any source, one rounding, the policy as an argument.
/// assert_eq!(F8E4M3::convert(1_000_000_i64, Policy::SATURATE)?.to_f32(), 448.0);
/// assert!(F8E4M3::convert(1_000_000_i64, Policy::NONFINITE)?.is_nan());
/// # Ok::<(), quarter::Error>(())
/// ```
pub trait Format: Copy + Send + Sync + Into<Unpacked> + 'static + Sealed {
    /// What stores a code.
    type Bits: Code;
    /// The row.
    const SPEC: FormatSpec;
    /// The row's name at run time.
    const ID: FormatId;

    /// Width of a code.
    const BITS: u32 = Self::SPEC.bits();
    /// Width of the exponent field.
    const EXP_BITS: u32 = Self::SPEC.exp_bits;
    /// Width of the stored mantissa field.
    const MAN_BITS: u32 = Self::SPEC.man_bits;
    /// What is subtracted from the exponent field.
    const BIAS: i32 = Self::SPEC.bias;
    /// Whether there is a sign bit.
    const SIGNED: bool = Self::SPEC.signed;
    /// Whether zero and subnormals exist.
    const HAS_ZERO: bool = Self::SPEC.has_zero;
    /// Whether negative zero exists.
    const HAS_NEG_ZERO: bool = Self::SPEC.has_neg_zero();
    /// Whether infinities exist.
    const HAS_INF: bool = matches!(Self::SPEC.specials, Specials::Ieee);
    /// Whether a NaN exists.
    const HAS_NAN: bool = Self::SPEC.has_nan();

    /// The number with this code. Bits above [`BITS`](Self::BITS) are dropped.
    fn from_code(code: Self::Bits) -> Self;

    /// The code of this number.
    fn to_code(self) -> Self::Bits;

    /// The exact value; NaN keeps its sign.
    fn value(self) -> f64 {
        self.into().to_f64()
    }

    /// `x` rounded once: nearest even, overflow to Inf or NaN ([`Policy::NONFINITE`]).
    fn nearest<S: Into<Unpacked>>(x: S) -> Self {
        let code = x.into().round(&Self::SPEC, Policy::NONFINITE, 0);
        Self::from_code(Self::Bits::from_u64(code))
    }

    /// `x` rounded once to this format, as `policy` says.
    ///
    /// # Errors
    /// [`Error::RandomMissing`] for a stochastic rounding (see
    /// [`convert_stochastic`](Self::convert_stochastic)), and those of [`Unpacked::encode`].
    fn convert<S: Into<Unpacked>>(x: S, policy: Policy) -> Result<Self, Error> {
        if policy.rounding.is_stochastic() {
            return Err(Error::RandomMissing);
        }
        Self::convert_stochastic(x, policy, 0)
    }

    /// A decimal text rounded once as `policy` says; see [`FormatSpec::parse_code`].
    ///
    /// # Errors
    /// Those of [`FormatSpec::parse_code`].
    fn parse(text: &str, policy: Policy) -> Result<Self, Error> {
        super::parse::parse(text, policy)
    }

    /// `x` rounded once as `policy` says, with the top bits of `word` as the random bits.
    ///
    /// # Errors
    /// Those of [`Unpacked::encode`].
    fn convert_stochastic<S: Into<Unpacked>>(
        x: S,
        policy: Policy,
        word: u32,
    ) -> Result<Self, Error> {
        let code = x.into().encode(&Self::SPEC, policy, word)?;
        Ok(Self::from_code(Self::Bits::from_u64(code)))
    }
}

macro_rules! implement_wide {
    (
        numbers $numbers:tt
        scales $scales:tt
        wide { $($(#[$doc:meta])* $id:ident $spec:ident ($type:ty) $bits:ident $name:literal
            $aliases:tt exp $exp:literal man $man:literal bias $bias:literal $source:literal;)* }
    ) => { $(
        impl Sealed for $type {}
        impl Format for $type {
            type Bits = $bits;
            const SPEC: FormatSpec = table::$spec;
            const ID: FormatId = FormatId::$id;
            #[inline(always)]
            fn from_code(code: $bits) -> Self {
                Self::from_bits(code)
            }
            #[inline(always)]
            fn to_code(self) -> $bits {
                self.to_bits()
            }
        }
    )* };
}
table::for_each_format!(implement_wide);
