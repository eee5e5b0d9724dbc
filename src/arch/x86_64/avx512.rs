//! AVX-512 with BW, DQ, VL and VBMI: Ice Lake and Zen 4 on.
//!
//! Every kernel writes whole cache lines, past the cache if asked to.

use super::avx512_decode::{decode_bf16, decode_f32};
use super::avx512_encode::{bf16_to_f32, encode_bf16, encode_groups, encode_u8, encode_u16};
use super::avx512_groups::{amax, amax_groups, scale_groups, unscale_groups};
use super::avx512_panel::{column_pairs, columns, expand, lanes};
use super::avx512_thin::thin_bf16;
use super::avx512_tile::{tile, tile_bf16};
use super::avx512_transpose::transpose_u8;
use super::avx512_units::chain;
use super::peaks::{peak_fma, peak_pairs};
use super::{fence, fetch, stream};
use crate::arch::cast::Transparent;
use crate::arch::{Kernels, compile_kernels};
use core::arch::x86_64::*;

compile_kernels! {
    fused: true,
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,popcnt")]
}

pub(in crate::arch) const KERNELS: Kernels = Kernels {
    direct: true,
    rows: 14,
    encode_u8,
    encode_bf16,
    encode_u16,
    decode_f32,
    decode_bf16,
    bf16_to_f32,
    amax,
    amax_groups,
    scale_groups,
    unscale_groups,
    encode_groups,
    transpose_u8,
    lanes,
    columns,
    column_pairs,
    expand,
    tile,
    chain,
    peak_fma,
    stream,
    fence,
    fetch,
    ..compiled::KERNELS
};

/// With a unit that multiplies pairs of bf16: all else is the same.
pub(in crate::arch) static WITH_BF16: Kernels =
    Kernels { pairs: true, tile: tile_bf16, thin: thin_bf16, peak_pairs, ..KERNELS };

/// The portable kernels, for what intrinsics do not cover.
pub(super) use compiled as portable;

/// Reads 64 bytes.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn get<T: Transparent, const N: usize>(from: &[T; N]) -> __m512i {
    const { assert!(size_of::<[T; N]>() == 64) }
    // SAFETY: 64 readable bytes, and the load asks for no alignment.
    unsafe { _mm512_loadu_si512(from.as_ptr().cast::<__m512i>()) }
}

/// Writes 64 bytes, past the cache if asked to and if they are one line of it.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn put<T: Transparent, const N: usize>(to: &mut [T; N], value: __m512i, past: bool) {
    const { assert!(size_of::<[T; N]>() == 64) }
    let to = to.as_mut_ptr().cast::<__m512i>();
    if past && to.is_aligned() {
        // SAFETY: 64 writable bytes, for any bits are a `T`; and aligned.
        unsafe { _mm512_stream_si512(to, value) }
    } else {
        // SAFETY: as above, and the store asks for no alignment.
        unsafe { _mm512_storeu_si512(to, value) }
    }
}
