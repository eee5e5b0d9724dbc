//! The slices that conversions read and write, by element type at run time.

use crate::error::Error;
use crate::format::{Code, FormatSpec, Unpacked};
use half::{bf16, f16};

/// Bytes; kernels that write past the cache want whole ones.
const CACHE_LINE: usize = 64;

/// Numbers to be encoded.
#[derive(Clone, Copy, Debug)]
pub enum Values<'a> {
    /// f64.
    F64(&'a [f64]),
    /// f32.
    F32(&'a [f32]),
    /// f16.
    F16(&'a [f16]),
    /// bf16.
    Bf16(&'a [bf16]),
}

/// Where decoded numbers go.
#[derive(Debug)]
pub enum ValuesMut<'a> {
    /// f64.
    F64(&'a mut [f64]),
    /// f32.
    F32(&'a mut [f32]),
    /// f16, rounded to nearest even where the format is not within f16.
    F16(&'a mut [f16]),
    /// bf16.
    Bf16(&'a mut [bf16]),
}

/// Codes to be decoded.
#[derive(Clone, Copy, Debug)]
pub enum Codes<'a> {
    /// Formats of up to 8 bits, one code a byte; bits above the format's are ignored.
    U8(&'a [u8]),
    /// 16-bit formats.
    U16(&'a [u16]),
    /// f32 bits.
    U32(&'a [u32]),
    /// f64 bits.
    U64(&'a [u64]),
    /// 4- and 6-bit formats without gaps, see [`FormatSpec::pack`].
    Packed(&'a [u8]),
}

/// Where codes go.
#[derive(Debug)]
pub enum CodesMut<'a> {
    /// Formats of up to 8 bits, one code a byte.
    U8(&'a mut [u8]),
    /// 16-bit formats.
    U16(&'a mut [u16]),
    /// f32 bits.
    U32(&'a mut [u32]),
    /// f64 bits.
    U64(&'a mut [u64]),
    /// 4- and 6-bit formats without gaps, see [`FormatSpec::pack`].
    Packed(&'a mut [u8]),
}

/// An integer that [`Codes`] and [`CodesMut`] know.
pub trait CodeSlice: Code {
    /// A slice of it as [`Codes`].
    fn codes(codes: &[Self]) -> Codes<'_>;
    /// A slice of it as [`CodesMut`].
    fn codes_mut(codes: &mut [Self]) -> CodesMut<'_>;
}

macro_rules! from_slices {
    ($($enum:ident $variant:ident [$($mut:tt)?] $type:ty;)*) => { $(
        impl<'a> From<&'a $($mut)? [$type]> for $enum<'a> {
            fn from(slice: &'a $($mut)? [$type]) -> Self {
                Self::$variant(slice)
            }
        }

        impl<'a, const N: usize> From<&'a $($mut)? [$type; N]> for $enum<'a> {
            fn from(array: &'a $($mut)? [$type; N]) -> Self {
                Self::$variant(array)
            }
        }

        #[cfg(feature = "std")]
        impl<'a> From<&'a $($mut)? std::vec::Vec<$type>> for $enum<'a> {
            fn from(vec: &'a $($mut)? std::vec::Vec<$type>) -> Self {
                Self::$variant(vec)
            }
        }
    )* };
}
from_slices! {
    Values F64 [] f64; Values F32 [] f32; Values F16 [] f16; Values Bf16 [] bf16;
    ValuesMut F64 [mut] f64; ValuesMut F32 [mut] f32; ValuesMut F16 [mut] f16;
    ValuesMut Bf16 [mut] bf16;
    Codes U8 [] u8; Codes U16 [] u16; Codes U32 [] u32; Codes U64 [] u64;
    CodesMut U8 [mut] u8; CodesMut U16 [mut] u16; CodesMut U32 [mut] u32; CodesMut U64 [mut] u64;
}

macro_rules! code_slices {
    ($($type:ty)*) => { $(
        impl CodeSlice for $type {
            fn codes(codes: &[Self]) -> Codes<'_> {
                codes.into()
            }

            fn codes_mut(codes: &mut [Self]) -> CodesMut<'_> {
                codes.into()
            }
        }
    )* };
}
code_slices! { u8 u16 u32 u64 }

/// Runs `$body` with `$slice` bound to whichever slice an enum holds.
macro_rules! each {
    ($enum:ident, $value:expr, [$($variant:ident)*], $slice:ident => $body:expr) => {
        match $value {
            $($enum::$variant($slice) => $body,)*
        }
    };
}

impl<'a> Values<'a> {
    /// The number of elements.
    #[must_use]
    pub const fn len(&self) -> usize {
        each!(Self, self, [F64 F32 F16 Bf16], s => s.len())
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element at `i`, exactly.
    pub(crate) fn get(&self, i: usize) -> Unpacked {
        each!(Self, self, [F64 F32 F16 Bf16], s => s[i].into())
    }

    /// The element at `i` as f32: exact, or the one rounding that scaled operations give f64.
    pub(crate) fn get_f32(&self, i: usize) -> f32 {
        match self {
            Self::F64(s) => s[i] as f32,
            Self::F32(s) => s[i],
            Self::F16(s) => s[i].to_f32(),
            Self::Bf16(s) => s[i].to_f32(),
        }
    }

    /// The element at `i` as f64, exactly.
    #[cfg(feature = "std")]
    pub(crate) fn get_f64(&self, i: usize) -> f64 {
        match self {
            Self::F64(s) => s[i],
            Self::F32(_) | Self::F16(_) | Self::Bf16(_) => self.get_f32(i).into(),
        }
    }

    pub(super) const fn element_size(&self) -> usize {
        match self {
            Self::F64(_) => 8,
            Self::F32(_) => 4,
            Self::F16(_) | Self::Bf16(_) => 2,
        }
    }

    pub(crate) fn split_at(self, at: usize) -> (Self, Self) {
        match self {
            Self::F64(s) => pair(s.split_at(at), Self::F64),
            Self::F32(s) => pair(s.split_at(at), Self::F32),
            Self::F16(s) => pair(s.split_at(at), Self::F16),
            Self::Bf16(s) => pair(s.split_at(at), Self::Bf16),
        }
    }
}

fn pair<S, E>((a, b): (S, S), wrap: impl Fn(S) -> E) -> (E, E) {
    (wrap(a), wrap(b))
}

impl ValuesMut<'_> {
    /// The number of elements.
    #[must_use]
    pub const fn len(&self) -> usize {
        each!(Self, self, [F64 F32 F16 Bf16], s => s.len())
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) const fn element_size(&self) -> usize {
        match self {
            Self::F64(_) => 8,
            Self::F32(_) => 4,
            Self::F16(_) | Self::Bf16(_) => 2,
        }
    }

    /// Elements before the first whole cache line; 0 where it does not matter.
    pub(super) fn lead(&self) -> usize {
        match self {
            Self::F32(s) => s.as_ptr().align_offset(CACHE_LINE),
            Self::Bf16(s) => s.as_ptr().align_offset(CACHE_LINE),
            Self::F64(_) | Self::F16(_) => 0,
        }
    }

    pub(crate) fn split_at(self, at: usize) -> (Self, Self) {
        match self {
            Self::F64(s) => pair(s.split_at_mut(at), ValuesMut::F64),
            Self::F32(s) => pair(s.split_at_mut(at), ValuesMut::F32),
            Self::F16(s) => pair(s.split_at_mut(at), ValuesMut::F16),
            Self::Bf16(s) => pair(s.split_at_mut(at), ValuesMut::Bf16),
        }
    }
}

/// The bytes at which packed codes are cut before code `at`, which is a multiple of 4.
const fn packed_at(spec: &FormatSpec, at: usize) -> usize {
    at / 4 * spec.bits() as usize / 2
}

/// Bits of the integer that codes of `spec` are stored in, and of the one that is there.
fn check_width(spec: &FormatSpec, got: u32) -> Result<(), Error> {
    let expected = spec.storage_bits();
    if got != expected {
        return Err(Error::CodeWidth { format: spec.name(), expected, got });
    }
    Ok(())
}

macro_rules! code_buffer {
    ($name:ident, $what:literal, $split:ident) => {
        impl<'a> $name<'a> {
            /// Bits of an element; 0 where codes are packed.
            const fn width(&self) -> u32 {
                match self {
                    Self::U8(_) => 8,
                    Self::U16(_) => 16,
                    Self::U32(_) => 32,
                    Self::U64(_) => 64,
                    Self::Packed(_) => 0,
                }
            }

            /// The number of codes; none where they are packed.
            pub(super) const fn count(&self) -> Option<usize> {
                match self {
                    Self::U8(s) => Some(s.len()),
                    Self::U16(s) => Some(s.len()),
                    Self::U32(s) => Some(s.len()),
                    Self::U64(s) => Some(s.len()),
                    Self::Packed(_) => None,
                }
            }

            /// # Errors
            /// Unless this holds exactly `n` codes of `spec`.
            pub(super) fn check(&self, spec: &FormatSpec, n: usize) -> Result<(), Error> {
                let len = each!(Self, self, [U8 U16 U32 U64 Packed], s => s.len());
                if let Self::Packed(_) = self {
                    return spec.check_packed(n, len);
                }
                check_width(spec, self.width())?;
                if len != n {
                    return Err(Error::Length { what: $what, expected: n, got: len });
                }
                Ok(())
            }

            /// Cuts before code `at`, a multiple of 4.
            pub(super) fn split_at(self, spec: &FormatSpec, at: usize) -> (Self, Self) {
                match self {
                    Self::U8(s) => pair(s.$split(at), Self::U8),
                    Self::U16(s) => pair(s.$split(at), Self::U16),
                    Self::U32(s) => pair(s.$split(at), Self::U32),
                    Self::U64(s) => pair(s.$split(at), Self::U64),
                    Self::Packed(s) => pair(s.$split(packed_at(spec, at)), Self::Packed),
                }
            }
        }
    };
}
code_buffer!(Codes, "slice of codes", split_at);
code_buffer!(CodesMut, "destination", split_at_mut);

impl Codes<'_> {
    /// The most packed codes of `spec` that fit in here.
    pub(super) const fn capacity(&self, spec: &FormatSpec) -> usize {
        let bytes = each!(Self, self, [U8 U16 U32 U64 Packed], s => s.len());
        bytes * 8 / spec.bits() as usize
    }
}

impl CodesMut<'_> {
    /// Elements before the first whole cache line; 0 where it does not matter.
    pub(super) fn lead(&self) -> usize {
        match self {
            Self::U8(s) => s.as_ptr().align_offset(CACHE_LINE),
            Self::U16(s) => s.as_ptr().align_offset(CACHE_LINE),
            Self::U32(_) | Self::U64(_) | Self::Packed(_) => 0,
        }
    }
}

impl Default for CodesMut<'_> {
    /// Room for nothing.
    fn default() -> Self {
        Self::U8(&mut [])
    }
}
