//! The kernels by the width of a code.

use crate::arch::cast::Transparent;
use crate::arch::encoder::Encoder;
use crate::arch::{Counts, Kernels, Screen, Words};
use crate::format::Code;

/// The kernels by the width of a code.
pub(super) trait Kernel: Code + Transparent {
    fn encode(
        k: &Kernels,
        e: &Encoder,
        w: Words,
        s: &[f32],
        c: &mut [Self],
        screen: bool,
        past: bool,
    ) -> Screen;
    fn count(k: &Kernels, e: &Encoder, s: &[f32], c: &[Self]) -> Counts;
}

macro_rules! kernel {
    ($($type:ty, $encode:ident, $count:ident;)*) => { $(
        impl Kernel for $type {
            #[inline(always)]
            fn encode(k: &Kernels, e: &Encoder, w: Words, s: &[f32], c: &mut [Self], screen: bool,
                past: bool) -> Screen {
                k.$encode(e, w, s, c, screen, past)
            }
            #[inline(always)]
            fn count(k: &Kernels, e: &Encoder, s: &[f32], c: &[Self]) -> Counts {
                k.$count(e, s, c)
            }
        }
    )* };
}
kernel! { u8, encode_u8, count_u8; u16, encode_u16, count_u16; }
