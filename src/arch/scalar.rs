//! Portable code: the generic kernels as the target's baseline compiles them.

use super::decoder::Decoder;
use super::generic::decode;
use super::{Kernels, compile_kernels};

compile_kernels! { fused: cfg!(any(target_feature = "fma", target_arch = "aarch64")), }

pub(super) static KERNELS: Kernels = Kernels { decode_f32, decode_bf16, ..compiled::KERNELS };

fn decode_f32(d: &Decoder, scale: f32, src: &[u8], dst: &mut [f32], _: bool) {
    decode::to_f32_by_table(d, scale, src, dst);
}

fn decode_bf16(d: &Decoder, src: &[u8], dst: &mut [u16], _: bool) {
    decode::to_bf16_by_table(d, src, dst);
}
