//! Portable code: the generic kernels as the target's baseline compiles them.

use super::compile_kernels;
use super::decoder::Decoder;
use super::generic::decode;

compile_kernels! { decode_f32: decode_f32, decode_bf16: decode_bf16, stream: copy, fence: no_fence }

fn decode_f32(d: &Decoder, scale: f32, src: &[u8], dst: &mut [f32]) {
    decode::to_f32_by_table(d, scale, src, dst);
}

fn decode_bf16(d: &Decoder, src: &[u8], dst: &mut [u16]) {
    decode::to_bf16_by_table(d, src, dst);
}

/// An ordinary copy, for instruction sets without a streaming store of their own.
pub(super) fn copy(src: &[u8], dst: &mut [u8]) {
    dst.copy_from_slice(src);
}

/// Nothing: an ordinary copy is visible.
pub(super) fn no_fence() {}
