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

/// The smallest and largest magnitude that is not zero, NaN or Inf, as bf16 bits; (0xffff, 0) if
/// there is none.
#[inline(always)]
pub(crate) fn range_bf16(src: &[u16]) -> (u16, u16) {
    let (mut least, mut largest) = (u16::MAX, 0_u16);
    for bits in src {
        let magnitude = bits & 0x7fff;
        let finite = magnitude < 0x7f80;
        // Zero less 1 is the largest number there is.
        least = least.min(if finite { magnitude.wrapping_sub(1) } else { u16::MAX });
        largest = largest.max(if finite { magnitude } else { 0 });
    }
    (least.saturating_add(1), largest)
}
