//! Slices of codes seen as slices of numbers, and back, without copying.

use crate::format::{self, table};
use core::slice;

/// A number type that is a `repr(transparent)` wrapper of its bits.
///
/// # Safety
/// `Self` is `repr(transparent)` over `Bits`, and every value of `Bits` is a valid `Self`.
pub(crate) unsafe trait Transparent: Copy {
    type Bits: Copy;
}

/// Numbers as their codes.
pub(crate) const fn to_codes<T: Transparent>(numbers: &[T]) -> &[T::Bits] {
    // SAFETY: `Transparent` promises the same size, alignment and validity.
    unsafe { slice::from_raw_parts(numbers.as_ptr().cast(), numbers.len()) }
}

/// Numbers as their codes, to be written.
pub(crate) const fn to_codes_mut<T: Transparent>(numbers: &mut [T]) -> &mut [T::Bits] {
    // SAFETY: `Transparent` promises the same size, alignment and validity, both ways.
    unsafe { slice::from_raw_parts_mut(numbers.as_mut_ptr().cast(), numbers.len()) }
}

/// Codes as numbers.
pub(crate) const fn from_codes<T: Transparent>(codes: &[T::Bits]) -> &[T] {
    // SAFETY: `Transparent` promises the same size, alignment and validity.
    unsafe { slice::from_raw_parts(codes.as_ptr().cast(), codes.len()) }
}

/// Codes as numbers, to be written.
pub(crate) const fn from_codes_mut<T: Transparent>(codes: &mut [T::Bits]) -> &mut [T] {
    // SAFETY: `Transparent` promises the same size, alignment and validity, both ways.
    unsafe { slice::from_raw_parts_mut(codes.as_mut_ptr().cast(), codes.len()) }
}

/// The bytes of numbers, in memory order.
pub(crate) const fn bytes<T: Transparent>(numbers: &[T]) -> &[u8] {
    // SAFETY: the bits of a `Transparent` type are an integer, so every byte is initialised.
    unsafe { slice::from_raw_parts(numbers.as_ptr().cast(), size_of_val(numbers)) }
}

/// The bytes of numbers, to be written.
pub(crate) const fn bytes_mut<T: Transparent>(numbers: &mut [T]) -> &mut [u8] {
    // SAFETY: as `bytes`, and every pattern of bits is a valid number.
    unsafe { slice::from_raw_parts_mut(numbers.as_mut_ptr().cast(), size_of_val(numbers)) }
}

macro_rules! transparent {
    (
        numbers { $($(#[$d:meta])* $id:ident $spec:ident $name:literal $aliases:tt
            exp $exp:literal man $man:literal bias $bias:literal $specials:ident $source:literal;)* }
        scales { $($(#[$sd:meta])* $sid:ident $sspec:ident $sname:literal $saliases:tt
            exp $sexp:literal man $sman:literal bias $sbias:literal $sspecials:ident $ssource:literal;)* }
        wide { $($(#[$wd:meta])* $wid:ident $wspec:ident ($type:ty) $bits:ident $wname:literal
            $waliases:tt exp $wexp:literal man $wman:literal bias $wbias:literal $wsource:literal;)* }
    ) => {
        $(
            // SAFETY: types.rs declares it `repr(transparent)` over u8; a byte with bits above
            // the format's width is allowed, and reads as the code in its low bits.
            unsafe impl Transparent for format::$id {
                type Bits = u8;
            }
        )*
        $(
            // SAFETY: types.rs declares it `repr(transparent)` over u8.
            unsafe impl Transparent for format::$sid {
                type Bits = u8;
            }
        )*
        $(
            // SAFETY: a float or `half`'s `repr(transparent)` wrapper; every bit pattern is valid.
            unsafe impl Transparent for $type {
                type Bits = $bits;
            }
        )*
    };
}
table::for_each_format!(transparent);

/// `bytemuck`: 8-bit formats are `Pod` (derived); in 4- and 6-bit ones a byte with high bits set is
/// no code, and `CheckedBitPattern`, which has no derive for that, says so.
#[cfg(feature = "bytemuck")]
macro_rules! checked {
    ($(#[$doc:meta])* $type:ident $spec:ident None) => {
        // SAFETY: the type is repr(transparent) over u8, so every u8 has its size and alignment
        // and is a valid value of it for the compiler; the check is this crate's own.
        unsafe impl bytemuck::CheckedBitPattern for format::$type {
            type Bits = u8;
            #[inline]
            fn is_valid_bit_pattern(bits: &u8) -> bool {
                u64::from(*bits) <= table::$spec.code_mask()
            }
        }
    };
    ($(#[$doc:meta])* $type:ident $spec:ident $specials:ident) => {}; // Pod, hence any pattern
}
#[cfg(feature = "bytemuck")]
table::for_each_number!(checked);

// SAFETY: it is its own bits.
unsafe impl Transparent for u16 {
    type Bits = Self;
}

// SAFETY: it is its own bits.
unsafe impl Transparent for u8 {
    type Bits = Self;
}

// SAFETY: it is its own bits.
unsafe impl Transparent for u32 {
    type Bits = Self;
}
