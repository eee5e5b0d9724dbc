//! Codes and numbers, as whatever holds them.

use super::violation::Kind;
use crate::format::{Format, FormatId, FormatSpec};
use crate::slice::Values;
use std::vec::Vec;

/// Bits that a check reads: codes in slices, arrays or vectors of u8, u16, u32 or u64 (or i32, as
/// literals are), and slices of any number type, whose format is then known.
///
/// ```
/// use quarter::accuracy::check::Bits;
/// use quarter::{F8E4M3, FormatId};
/// let [codes, numbers] = [Bits::from(&[0x38_u8]), Bits::from(&[F8E4M3::from_f32(1.0)])];
/// assert_eq!((codes.codes(), codes.format()), (numbers.codes(), None));
/// assert_eq!(numbers.format(), Some(FormatId::F8E4M3.spec()));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Bits {
    codes: Vec<u64>,
    format: Option<FormatSpec>,
    /// Bits of an element.
    width: u32,
}

impl Bits {
    /// The codes, each as a u64.
    #[must_use]
    pub fn codes(&self) -> &[u64] {
        &self.codes
    }

    /// The format of number types; none of integers.
    #[must_use]
    pub const fn format(&self) -> Option<&FormatSpec> {
        self.format.as_ref()
    }

    fn of<T: Format>(numbers: &[T]) -> Self {
        let codes = numbers.iter().map(|x| x.to_code().into()).collect();
        Self { codes, format: Some(T::SPEC), width: T::SPEC.bits() }
    }

    /// How they are printed: as numbers of their format, or of the other side's.
    pub(super) fn kind(&self, other: &Self) -> Kind {
        match self.format.or(other.format) {
            Some(spec) => Kind::of_format(&spec),
            None => Kind::Bits(self.width.max(other.width)),
        }
    }

    /// Element `i` as a number of its format, or of the other side's; else as an integer.
    pub(super) fn number(&self, i: usize, other: &Self) -> f64 {
        let code = self.codes[i];
        self.format.or(other.format).map_or(code as f64, |spec| spec.decode_f64(code))
    }
}

impl Kind {
    /// Of numbers of a format.
    pub(super) fn of_format(spec: &FormatSpec) -> Self {
        match spec.id() {
            Some(FormatId::F64) => Self::F64,
            Some(FormatId::F32) => Self::F32,
            Some(FormatId::F16) => Self::F16,
            Some(FormatId::Bf16) => Self::Bf16,
            _ => Self::Codes(*spec),
        }
    }
}

impl<T: Format> From<&[T]> for Bits {
    fn from(numbers: &[T]) -> Self {
        Self::of(numbers)
    }
}

impl<T: Format, const N: usize> From<&[T; N]> for Bits {
    fn from(numbers: &[T; N]) -> Self {
        Self::of(numbers)
    }
}

impl<T: Format> From<&Vec<T>> for Bits {
    fn from(numbers: &Vec<T>) -> Self {
        Self::of(numbers)
    }
}

impl From<Values<'_>> for Bits {
    fn from(values: Values<'_>) -> Self {
        match values {
            Values::F64(values) => Self::of(values),
            Values::F32(values) => Self::of(values),
            Values::F16(values) => Self::of(values),
            Values::Bf16(values) => Self::of(values),
        }
    }
}

macro_rules! integers {
    ($($type:ty, $unsigned:ty;)*) => { $(
        impl From<&[$type]> for Bits {
            fn from(codes: &[$type]) -> Self {
                let codes = codes.iter().map(|code| u64::from(*code as $unsigned)).collect();
                Self { codes, format: None, width: <$type>::BITS }
            }
        }

        impl<const N: usize> From<&[$type; N]> for Bits {
            fn from(codes: &[$type; N]) -> Self {
                Self::from(&codes[..])
            }
        }

        impl From<&Vec<$type>> for Bits {
            fn from(codes: &Vec<$type>) -> Self {
                Self::from(&codes[..])
            }
        }
    )* };
}
integers! { u8, u8; u16, u16; u32, u32; u64, u64; i32, u32; }
