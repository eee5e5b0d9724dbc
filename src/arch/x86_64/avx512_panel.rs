//! Panels with AVX-512: a transpose of words in registers, and decoding by byte permutes straight
//! into pairs of bf16.

use super::avx512::{get, portable, put};
use super::avx512_decode::Tables;
use super::{fetch_far, fetch_line};
use crate::arch::decoder::Decoder;
use crate::arch::tile::{Fold, LANES, Line};
use core::arch::x86_64::*;

/// Bytes of a row that a square of words takes.
const SQUARE: usize = 4 * LANES;

/// Squares side by side that are read at a time.
const RUN: usize = 4;

/// Bytes of a line of the cache.
const LINE: usize = 64;

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,popcnt")]
pub(super) fn lanes(rows: &[&[u8]; LANES], swap: bool, ahead: &[u8], out: &mut [Line]) {
    let shortest = rows.iter().map(|row| row.len()).filter(|len| *len > 0).min().unwrap_or(0);
    let squares = (shortest / SQUARE).min(out.len() / LANES);
    // Rows without bytes are zeros, read again and again.
    let zeros = [[0; SQUARE]; RUN];
    let mut source = [(&zeros[..], 0); LANES];
    for (source, row) in source.iter_mut().zip(rows) {
        let (chunks, _) = row.as_chunks::<SQUARE>();
        if !chunks.is_empty() {
            *source = (chunks, usize::MAX);
        }
    }
    let (whole, rest) = out.split_at_mut(squares * LANES);
    let (runs, singles) = whole.as_chunks_mut::<LANES>().0.as_chunks_mut::<RUN>();
    let share = ahead.len().div_ceil(LANES * runs.len().max(1)).next_multiple_of(LINE).max(LINE);
    let mut ahead = ahead.chunks(share);
    let done = runs.len() * RUN;
    for (i, run) in runs.iter_mut().enumerate() {
        square(&source, i * RUN, swap, &mut ahead, run);
    }
    for (i, single) in singles.iter_mut().enumerate() {
        square(&source, done + i, swap, &mut ahead, core::array::from_mut(single));
    }
    if !rest.is_empty() {
        let mut tails = *rows;
        for row in &mut tails {
            *row = row.get(squares * SQUARE..).unwrap_or_default();
        }
        portable::lanes(&tails, swap, &[], rest);
    }
}

/// `N` squares from the one `at` on, and some of what is to be fetched.
///
/// Rows that are powers of two apart share few places in the cache: what is read of a row is read
/// at once, to where its transpose will be.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn square<'a, const N: usize>(
    source: &[(&[[u8; SQUARE]], usize); LANES],
    at: usize,
    swap: bool,
    ahead: &mut impl Iterator<Item = &'a [u8]>,
    squares: &mut [[Line; LANES]; N],
) {
    for (r, (source, step)) in source.iter().enumerate() {
        let from = &source[at & step..][..N];
        for i in 0..N {
            put(&mut squares[i][r].0, get(&from[i]), false);
        }
        fetch_far(ahead.next().unwrap_or_default());
    }
    for square in squares {
        let mut lines = [_mm512_setzero_si512(); LANES];
        for r in 0..LANES {
            lines[r] = get(&square[r].0);
        }
        transpose(&mut lines);
        for r in 0..LANES {
            let line = if swap { _mm512_rol_epi32::<16>(lines[r]) } else { lines[r] };
            put(&mut square[r].0, line, false);
        }
    }
}

/// The transpose of sixteen rows of sixteen words.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn transpose(r: &mut [__m512i; LANES]) {
    // Words, then pairs of words, of two and four rows side by side within 128-bit lanes.
    let mut q = [_mm512_setzero_si512(); LANES];
    for i in 0..4 {
        let [a, b, c, d] = [r[4 * i], r[4 * i + 1], r[4 * i + 2], r[4 * i + 3]];
        let (ab, cd) = (_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d));
        let (ab_2, cd_2) = (_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(c, d));
        q[4 * i] = _mm512_unpacklo_epi64(ab, cd);
        q[4 * i + 1] = _mm512_unpackhi_epi64(ab, cd);
        q[4 * i + 2] = _mm512_unpacklo_epi64(ab_2, cd_2);
        q[4 * i + 3] = _mm512_unpackhi_epi64(ab_2, cd_2);
    }
    // Column 4 l + j of rows 4 i.. is lane l of q[4 i + j].
    for j in 0..4 {
        let [a, b, c, d] = [q[j], q[4 + j], q[8 + j], q[12 + j]];
        let (ab, cd) = (_mm512_shuffle_i32x4::<0x88>(a, b), _mm512_shuffle_i32x4::<0x88>(c, d));
        let (ab_2, cd_2) = (_mm512_shuffle_i32x4::<0xdd>(a, b), _mm512_shuffle_i32x4::<0xdd>(c, d));
        r[j] = _mm512_shuffle_i32x4::<0x88>(ab, cd);
        r[4 + j] = _mm512_shuffle_i32x4::<0x88>(ab_2, cd_2);
        r[8 + j] = _mm512_shuffle_i32x4::<0xdd>(ab, cd);
        r[12 + j] = _mm512_shuffle_i32x4::<0xdd>(ab_2, cd_2);
    }
}

/// Rows ahead that are fetched where each is far from the next.
const FAR: usize = 32;

/// Rows that follow each other are far apart in memory, where nobody but us foresees the next one.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,popcnt")]
pub(super) fn columns(rows: usize, stride: usize, src: &[u32], out: &mut [Line]) {
    let mask = lanes_below(rows);
    let whole = whole_rows(src.len(), stride).min(out.len());
    let (first, rest) = out.split_at_mut(whole);
    for (i, line) in first.iter_mut().enumerate() {
        let Some(words) = src[i * stride..].first_chunk::<LANES>() else { return };
        fetch_line::<_MM_HINT_T1>(words.as_ptr().wrapping_add(FAR * stride).cast());
        put(&mut line.0, _mm512_maskz_mov_epi32(mask, get(words)), false);
    }
    portable::columns(rows, stride, src.get(whole * stride..).unwrap_or_default(), rest);
}

/// As [`columns`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,popcnt")]
pub(super) fn column_pairs(rows: usize, stride: usize, k: usize, src: &[u16], out: &mut [Line]) {
    let mask = lanes_below(rows);
    let whole = (whole_rows(src.len(), stride).min(k) / 2).min(out.len());
    let (first, rest) = out.split_at_mut(whole);
    for (i, line) in first.iter_mut().enumerate() {
        let row = |k: usize| src[k * stride..].first_chunk::<LANES>();
        let (Some(high), Some(low)) = (row(2 * i), row(2 * i + 1)) else { return };
        for half in [high, low] {
            fetch_line::<_MM_HINT_T1>(half.as_ptr().wrapping_add(FAR * stride).cast());
        }
        let mut pairs = [0; LANES];
        for r in 0..LANES {
            pairs[r] = u32::from(high[r]) << 16 | u32::from(low[r]);
        }
        put(&mut line.0, _mm512_maskz_mov_epi32(mask, get(&pairs)), false);
    }
    let beyond = src.get(2 * whole * stride..).unwrap_or_default();
    portable::column_pairs(rows, stride, k - 2 * whole, beyond, rest);
}

/// Rows from which sixteen elements can be read.
const fn whole_rows(len: usize, stride: usize) -> usize {
    match len.checked_sub(LANES) {
        Some(last) if stride > 0 => last / stride + 1,
        Some(_) | None => 0,
    }
}

const fn lanes_below(rows: usize) -> u16 {
    if rows < LANES { (1 << rows) - 1 } else { u16::MAX }
}

/// For each word of a quad, its first pair of codes and its second one as bf16, from the low bytes
/// (0 to 63) and the high ones (64 to 127): the earlier code in the high half.
pub(super) static PAIRS: [[u8; 64]; 2] = {
    let mut index = [[0; 64]; 2];
    let mut i = 0;
    while i < 64 {
        let word = i / 4 * 4;
        let (code, high) = (1 - i % 4 / 2, i % 2);
        index[0][i] = (word + code + 64 * high) as u8;
        index[1][i] = (word + 2 + code + 64 * high) as u8;
        i += 1;
    }
    index
};

/// Quads → two lines of pairs each, for tables that the decoder has.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,popcnt")]
fn pairs_of(
    tables: &Tables,
    index: [__m512i; 2],
    fold: Option<Fold<'_>>,
    quads: &[Line],
    mut done: impl FnMut(usize, [__m512i; 2]),
) {
    let magnitude = _mm512_set1_epi16(0x7fff);
    let (one, specials) = (_mm512_set1_epi16(1), _mm512_set1_epi16(0x7f7f));
    for (i, quad) in quads.iter().enumerate() {
        let (high, low) = tables.bytes(get(&quad.0));
        let mut pairs = index.map(|index| _mm512_permutex2var_epi8(low, index, high));
        if let Some(fold) = fold {
            // The exponent in both halves, at its place.
            let exponents = _mm512_slli_epi32::<7>(get(&fold.exponents[i / fold.quads].0));
            let exponents =
                _mm512_mask_blend_epi16(0xaaaa_aaaa, exponents, _mm512_slli_epi32::<16>(exponents));
            pairs = pairs.map(|pair| {
                // Neither zeros nor Inf and NaN change.
                let below = _mm512_sub_epi16(_mm512_and_si512(pair, magnitude), one);
                let changes = _mm512_cmplt_epu16_mask(below, specials);
                _mm512_mask_add_epi16(pair, changes, pair, exponents)
            });
        }
        done(i, pairs);
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,popcnt")]
pub(super) fn expand(
    d: &Decoder,
    fold: Option<Fold<'_>>,
    pairs: bool,
    quads: &[Line],
    out: &mut [Line],
) {
    if !d.half_table {
        return portable::expand(d, fold, false, quads, out);
    }
    let tables = Tables::new(d);
    let index = [get(&PAIRS[0]), get(&PAIRS[1])];
    if pairs {
        let (places, _) = out.as_chunks_mut::<2>();
        let n = places.len().min(quads.len());
        pairs_of(&tables, index, fold, &quads[..n], |i, pairs| {
            put(&mut places[i][0].0, pairs[0], false);
            put(&mut places[i][1].0, pairs[1], false);
        });
    } else {
        let (places, _) = out.as_chunks_mut::<4>();
        let n = places.len().min(quads.len());
        let high = _mm512_set1_epi32(0xffff_0000_u32 as i32);
        pairs_of(&tables, index, fold, &quads[..n], |i, pairs| {
            for (pair, lines) in pairs.iter().zip(places[i].as_chunks_mut::<2>().0) {
                put(&mut lines[0].0, _mm512_and_si512(*pair, high), false);
                put(&mut lines[1].0, _mm512_slli_epi32::<16>(*pair), false);
            }
        });
    }
}
