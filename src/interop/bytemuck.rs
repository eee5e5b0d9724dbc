//! `bytemuck`: 8-bit formats are `Pod` (derived); in 4- and 6-bit ones a byte with high bits set is
//! no code, and `CheckedBitPattern` says so.

use crate::Format;
use crate::format::types::*;
use bytemuck::CheckedBitPattern;

macro_rules! checked {
    ($(#[$doc:meta])* $type:ident $spec:ident None) => {
        // SAFETY: the type is repr(transparent) over u8, so every u8 has its size and alignment
        // and is a valid value of it for the compiler; the check is this crate's own.
        unsafe impl CheckedBitPattern for $type {
            type Bits = u8;
            #[inline]
            fn is_valid_bit_pattern(bits: &u8) -> bool {
                u32::from(*bits) >> Self::BITS == 0
            }
        }
    };
    ($(#[$doc:meta])* $type:ident $spec:ident $specials:ident) => {}; // Pod, hence any pattern
}
crate::for_each_number!(checked);
