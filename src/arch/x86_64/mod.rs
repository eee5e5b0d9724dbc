//! 64-bit x86.

pub(super) mod avx2;
mod avx2_tile;
pub(super) mod avx512;
mod avx512_decode;
mod avx512_encode;
mod avx512_groups;
mod avx512_panel;
mod avx512_thin;
mod avx512_tile;
mod avx512_transpose;
mod avx512_units;
mod peaks;

use core::arch::x86_64::{
    __m128i, _MM_HINT_T0, _MM_HINT_T1, _mm_loadu_si128, _mm_prefetch, _mm_sfence, _mm_stream_si128,
};

/// Copies bytes with non-temporal stores: memory is written without being read into the cache.
/// To be followed by [`fence`], once for many.
#[target_feature(enable = "sse2")]
fn stream(src: &[u8], dst: &mut [u8]) {
    assert_eq!(src.len(), dst.len());
    let lead = dst.as_ptr().align_offset(16).min(dst.len());
    dst[..lead].copy_from_slice(&src[..lead]);
    let (src, dst) = (&src[lead..], &mut dst[lead..]);
    let (from, from_tail) = src.as_chunks::<16>();
    let (to, to_tail) = dst.as_chunks_mut::<16>();
    for (from, to) in from.iter().zip(to) {
        // SAFETY: `from` is 16 readable bytes, and the load asks for no alignment.
        let bytes = unsafe { _mm_loadu_si128(from.as_ptr().cast::<__m128i>()) };
        // SAFETY: `to` is 16 writable bytes, aligned to 16 because `lead` bytes were cut off.
        unsafe { _mm_stream_si128(to.as_mut_ptr().cast::<__m128i>(), bytes) };
    }
    to_tail.copy_from_slice(from_tail);
}

/// Makes what was streamed visible: non-temporal stores are weakly ordered.
#[target_feature(enable = "sse2")]
fn fence() {
    _mm_sfence();
}

/// Begins to fetch the cache line at this place into the cache. It need not exist: nothing is read.
#[inline]
#[target_feature(enable = "sse")]
fn fetch_line<const HINT: i32>(place: *const u8) {
    #[allow(unused_unsafe)] // later versions of Rust call it safe
    // SAFETY: a prefetch accesses no memory and cannot fault.
    unsafe {
        _mm_prefetch::<HINT>(place.cast());
    }
}

/// Begins to fetch bytes into the cache.
#[target_feature(enable = "sse")]
fn fetch(bytes: &[u8]) {
    for line in bytes.chunks(64) {
        fetch_line::<_MM_HINT_T0>(line.as_ptr());
    }
}

/// Begins to fetch bytes into the second-level cache.
#[target_feature(enable = "sse")]
fn fetch_far(bytes: &[u8]) {
    for line in bytes.chunks(64) {
        fetch_line::<_MM_HINT_T1>(line.as_ptr());
    }
}
