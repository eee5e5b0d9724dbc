//! The transpose of bytes with AVX-512, by blocks of 16 by 16.
//!
//! A register holds four rows of sixteen bytes. One byte permute makes sixteen columns of four
//! bytes of it; unpacking four such registers joins what belongs to one column, four columns to a
//! register.

use super::avx512::get;
use crate::arch::generic::transpose;
use core::arch::x86_64::*;
use core::hint::black_box;

const SIDE: usize = 16;

/// For `vpermb`: the transpose of four rows of sixteen bytes.
static FOUR_ROWS: [u8; 64] = {
    let mut index = [0; 64];
    let mut i = 0;
    while i < 64 {
        index[i] = ((i % 4) * SIDE + i / 4) as u8;
        i += 1;
    }
    index
};

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,popcnt")]
pub(super) fn transpose_u8(rows: usize, cols: usize, src: &[u8], dst: &mut [u8]) {
    if src.is_empty() {
        return;
    }
    let index = get(black_box(&FOUR_ROWS));
    for (band, row) in src.chunks_exact(SIDE * cols).zip((0..).step_by(SIDE)) {
        let mut lines = [&[][..]; SIDE];
        for (line, bytes) in lines.iter_mut().zip(band.chunks_exact(cols)) {
            *line = &bytes.as_chunks::<SIDE>().0[..cols / SIDE];
        }
        for (place, out) in (0..cols / SIDE).zip(dst.chunks_exact_mut(SIDE * rows)) {
            let mut fours = [_mm512_setzero_si512(); 4];
            for i in 0..4 {
                let [a, b, c, d] = [0, 1, 2, 3].map(|row| load(&lines[4 * i + row][place]));
                let rows = _mm512_inserti32x4::<1>(_mm512_castsi128_si512(a), b);
                let rows = _mm512_inserti32x4::<3>(_mm512_inserti32x4::<2>(rows, c), d);
                fours[i] = _mm512_permutexvar_epi8(index, rows);
            }
            let [a, b, c, d] = fours;
            let (ab, cd) = (_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d));
            let (ab_2, cd_2) = (_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(c, d));
            let columns = [
                _mm512_unpacklo_epi64(ab, cd),
                _mm512_unpackhi_epi64(ab, cd),
                _mm512_unpacklo_epi64(ab_2, cd_2),
                _mm512_unpackhi_epi64(ab_2, cd_2),
            ];
            let mut rest = out;
            for i in 0..SIDE {
                let (line, after) = rest.split_at_mut(rows);
                let (places, _) = line[row..row + SIDE].as_chunks_mut::<SIDE>();
                // Column 4 l + j is lane l of register j.
                let four = columns[i % 4];
                let column = match i / 4 {
                    0 => _mm512_castsi512_si128(four),
                    1 => _mm512_extracti32x4_epi32::<1>(four),
                    2 => _mm512_extracti32x4_epi32::<2>(four),
                    _ => _mm512_extracti32x4_epi32::<3>(four),
                };
                store(&mut places[0], column);
                rest = after;
            }
        }
    }
    let blocks = [rows - rows % SIDE, cols - cols % SIDE];
    transpose::beyond(blocks, rows, cols, src, dst);
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(from: &[u8; SIDE]) -> __m128i {
    // SAFETY: 16 readable bytes, and the load asks for no alignment.
    unsafe { _mm_loadu_si128(from.as_ptr().cast::<__m128i>()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(to: &mut [u8; SIDE], value: __m128i) {
    // SAFETY: 16 writable bytes, and the store asks for no alignment.
    unsafe { _mm_storeu_si128(to.as_mut_ptr().cast::<__m128i>(), value) }
}
