//! `arbitrary`: any code, NaN and infinities included.

use crate::format::types::*;
use arbitrary::{Arbitrary, Result, Unstructured};

macro_rules! arbitrary {
    ($(#[$doc:meta])* $type:ident $spec:ident $specials:ident) => {
        impl<'a> Arbitrary<'a> for $type {
            fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
                u8::arbitrary(u).map(Self::from_bits)
            }

            fn size_hint(depth: usize) -> (usize, Option<usize>) {
                u8::size_hint(depth)
            }
        }
    };
}
crate::for_each_number!(arbitrary);
crate::for_each_scale!(arbitrary);
