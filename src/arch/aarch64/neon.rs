//! NEON (Advanced SIMD): every aarch64 processor has it, so the baseline compiles to it.

use crate::arch::compile_kernels;
use crate::arch::decoder::Decoder;
use crate::arch::generic::decode;
use crate::arch::scalar;

compile_kernels! {
    #[target_feature(enable = "neon")]
    decode_f32: decode_f32, decode_bf16: decode_bf16,
    stream: scalar::copy, fence: scalar::no_fence
}

#[target_feature(enable = "neon")]
fn decode_f32(d: &Decoder, scale: f32, src: &[u8], dst: &mut [f32]) {
    decode::to_f32(d, scale, src, dst);
}

#[target_feature(enable = "neon")]
fn decode_bf16(d: &Decoder, src: &[u8], dst: &mut [u16]) {
    decode::to_bf16(d, src, dst);
}
