//! Rows of an operand → panels: what every row has at one k side by side.

use super::decode::one;
use crate::arch::decoder::Decoder;
use crate::arch::tile::{Fold, LANES, Line, QUAD};

/// Lane r of line i is the i-th 32-bit word of row r, zeros beyond its end; `swap` exchanges the
/// halves of each.
#[inline(always)]
pub(crate) fn lanes(rows: &[&[u8]; LANES], swap: bool, _: &[u8], out: &mut [Line]) {
    let turn = if swap { 16 } else { 0 };
    for (r, row) in rows.iter().enumerate() {
        let (words, tail) = row.as_chunks::<4>();
        let (whole, rest) = out.split_at_mut(words.len().min(out.len()));
        for (line, word) in whole.iter_mut().zip(words) {
            line.0[r] = u32::from_le_bytes(*word).rotate_left(turn);
        }
        let mut word = [0; 4];
        word[..tail.len()].copy_from_slice(tail);
        for line in rest {
            line.0[r] = u32::from_le_bytes(core::mem::take(&mut word)).rotate_left(turn);
        }
    }
}

/// Lane r of line i is word `i · stride + r`, for r below `rows`; zeros in the others.
#[inline(always)]
pub(crate) fn columns(rows: usize, stride: usize, src: &[u32], out: &mut [Line]) {
    for (i, line) in out.iter_mut().enumerate() {
        line.0 = sixteen(src, i * stride, rows);
    }
}

/// The same of pairs of half-words: row 2i in the high half, row 2i + 1 in the low one, zeros from
/// row `k` on.
#[inline(always)]
pub(crate) fn column_pairs(rows: usize, stride: usize, k: usize, src: &[u16], out: &mut [Line]) {
    let half = |i: usize| if i < k { sixteen(src, i * stride, rows) } else { [0; LANES] };
    for (i, line) in out.iter_mut().enumerate() {
        let (high, low) = (half(2 * i), half(2 * i + 1));
        for r in 0..LANES {
            line.0[r] = u32::from(high[r]) << 16 | u32::from(low[r]);
        }
    }
}

/// The first `rows` elements from `at` on.
#[inline(always)]
fn sixteen<T: Copy + Default>(src: &[T], at: usize, rows: usize) -> [T; LANES] {
    let mut some = [T::default(); LANES];
    let rest = src.get(at..).unwrap_or_default();
    for (x, from) in some.iter_mut().zip(rest).take(rows) {
        *x = *from;
    }
    some
}

/// Quads of codes → f32 lines, four each, times the powers of two of `fold`.
#[inline(always)]
pub(crate) fn expand(
    d: &Decoder,
    fold: Option<Fold<'_>>,
    pairs: bool,
    quads: &[Line],
    out: &mut [Line],
) {
    debug_assert!(!pairs, "only a unit for bf16 reads pairs");
    let (places, _) = out.as_chunks_mut::<QUAD>();
    for (i, (quad, lines)) in quads.iter().zip(places).enumerate() {
        for (k, line) in lines.iter_mut().enumerate() {
            for j in 0..LANES {
                let code = (quad.0[j] >> (8 * k)) as u8;
                line.0[j] = if d.arithmetic { one(d, code) } else { d.table[usize::from(code)] };
            }
        }
        if let Some(fold) = fold {
            let exponents = &fold.exponents[i / fold.quads];
            for line in lines {
                for j in 0..LANES {
                    let power = f32::from_bits(exponents.0[j].wrapping_add(127) << 23);
                    line.0[j] = (line.f32(j) * power).to_bits();
                }
            }
        }
    }
}

/// Pairs of bf16 → f32, two lines each.
#[inline(always)]
pub(crate) fn split(pairs: &[Line], out: &mut [Line]) {
    for (pair, lines) in pairs.iter().zip(out.as_chunks_mut::<2>().0) {
        for j in 0..LANES {
            lines[0].0[j] = pair.0[j] & 0xffff_0000;
            lines[1].0[j] = pair.0[j] << 16;
        }
    }
}

/// Elements that are looked at side by side.
const WIDTH: usize = 32;

/// The smallest and largest magnitude that is not zero, NaN or Inf, as bf16 bits; (0xffff, 0) if
/// there is none. Of `lines` runs of `n` elements, each so far from the one before.
#[inline(always)]
pub(crate) fn range_bf16(lines: usize, distance: usize, n: usize, src: &[u16]) -> (u16, u16) {
    let (mut least, mut largest) = ([u16::MAX; WIDTH], [0; WIDTH]);
    for line in 0..lines {
        let (whole, tail) = src[line * distance..][..n].as_chunks::<WIDTH>();
        for bits in whole {
            for i in 0..WIDTH {
                (least[i], largest[i]) = wider((least[i], largest[i]), bits[i]);
            }
        }
        for (i, bits) in tail.iter().enumerate() {
            (least[i], largest[i]) = wider((least[i], largest[i]), *bits);
        }
    }
    let least = least.into_iter().fold(u16::MAX, u16::min);
    (least.saturating_add(1), largest.into_iter().fold(0, u16::max))
}

/// The smallest and largest magnitude with one more, the smallest less 1.
#[inline(always)]
fn wider((least, largest): (u16, u16), bits: u16) -> (u16, u16) {
    let magnitude = bits & 0x7fff;
    let finite = magnitude < 0x7f80;
    // Zero less 1 is the largest number there is.
    let below = if finite { magnitude.wrapping_sub(1) } else { u16::MAX };
    (least.min(below), largest.max(if finite { magnitude } else { 0 }))
}
