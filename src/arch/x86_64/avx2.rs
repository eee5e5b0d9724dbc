//! AVX2 with FMA (x86-64-v3): Haswell and Zen on.

use super::{fence, stream};
use crate::arch::compile_kernels;
use crate::arch::decoder::Decoder;
use crate::arch::generic::decode;

compile_kernels! {
    #[target_feature(enable = "avx2,fma")]
    decode_f32: decode_f32, decode_bf16: decode_bf16,
    stream: stream, fence: fence
}

#[target_feature(enable = "avx2,fma")]
fn decode_f32(d: &Decoder, scale: f32, src: &[u8], dst: &mut [f32]) {
    decode::to_f32(d, scale, src, dst);
}

#[target_feature(enable = "avx2,fma")]
fn decode_bf16(d: &Decoder, src: &[u8], dst: &mut [u16]) {
    decode::to_bf16(d, src, dst);
}
