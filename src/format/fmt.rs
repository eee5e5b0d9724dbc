//! Text of the types: values as f32 writes them, codes in binary, octal and hexadecimal.

use super::table::{for_each_number, for_each_scale};
use super::types::*;
use core::fmt;

macro_rules! forward {
    ($type:ident $($trait:ident of $part:ident)*) => { $(
        impl fmt::$trait for $type {
            #[inline]
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::$trait::fmt(&self.$part(), f)
            }
        }
    )* };
}

macro_rules! text {
    ($(#[$doc:meta])* $type:ident $spec:ident $specials:ident) => {
        forward! { $type
            Debug of to_f32 Display of to_f32 LowerExp of to_f32 UpperExp of to_f32
            Binary of to_bits Octal of to_bits LowerHex of to_bits UpperHex of to_bits
        }
    };
}
for_each_number!(text);
for_each_scale!(text);
