//! Exact statistics of a piece whose screen says that something happened in it.

use super::super::Counts;
use super::super::encoder::Encoder;
use super::encode::Store;

const MAGNITUDE: u32 = 0x7fff_ffff;
const INF: u32 = 0x7f80_0000;

/// Counts over values and their codes, of equal length (at most 2^32 − 1).
#[inline(always)]
pub(crate) fn count<C: Store>(e: &Encoder, src: &[f32], codes: &[C]) -> Counts {
    let e = *e;
    let (mut peak, mut saturated, mut flushed, mut nan) = (0u32, 0u32, 0u32, 0u32);
    for (x, c) in src.iter().zip(codes) {
        let x = x.to_bits() & MAGNITUDE;
        let a = (f32::from_bits(x) * e.scale).to_bits();
        let number = u32::from(x <= INF);
        let zero = u32::from(c.wide() & e.zero_mask == 0);
        peak = peak.max(if x > INF { 0 } else { x });
        saturated += u32::from(a > e.max) & number;
        flushed += u32::from(x != 0) & zero & number;
        nan += 1 - number;
    }
    Counts { peak, saturated, flushed, nan }
}

/// Counts over values, the same ones scaled, and their codes of 8 bits; `max` is the largest finite
/// number as f32 bits.
#[inline(always)]
pub(crate) fn count_scaled(
    (max, zero_mask): (u32, u32),
    src: &[f32],
    scaled: &[f32],
    codes: &[u8],
) -> Counts {
    let (mut peak, mut saturated, mut flushed, mut nan) = (0u32, 0u32, 0u32, 0u32);
    for ((x, y), code) in src.iter().zip(scaled).zip(codes) {
        let (x, y) = (x.to_bits() & MAGNITUDE, y.to_bits() & MAGNITUDE);
        let number = u32::from(x <= INF);
        let zero = u32::from(u32::from(*code) & zero_mask == 0);
        peak = peak.max(if x > INF { 0 } else { x });
        saturated += u32::from(y > max) & u32::from(y <= INF);
        flushed += u32::from(x != 0) & zero & number;
        nan += 1 - number;
    }
    Counts { peak, saturated, flushed, nan }
}
