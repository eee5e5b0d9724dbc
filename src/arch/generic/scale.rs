//! Groups of neighbours, each times (or by) a factor of its own.
//!
//! The sign of a NaN that an operation makes differs between processors. Here the operation is on
//! magnitudes, and every result has the sign of its value times that of its factor;
//! a NaN is the quiet one.

use super::super::Words;
use super::super::encoder::Encoder;
use super::encode::encode;

const SIGN: u32 = 1 << 31;
const INF: u32 = 0x7f80_0000;
const QUIET_NAN: u32 = 0x7fc0_0000;
const BUFFER: usize = 512;

/// One value by one factor.
#[inline(always)]
fn one<const DIVIDE: bool>(x: f32, factor: f32) -> f32 {
    let magnitude = if DIVIDE { x.abs() / factor.abs() } else { x.abs() * factor.abs() };
    let bits = magnitude.to_bits() & !SIGN;
    let bits = if bits as i32 > INF as i32 { QUIET_NAN } else { bits };
    f32::from_bits(bits | (x.to_bits() ^ factor.to_bits()) & SIGN)
}

/// `src` times the factor of its group, or divided by it.
#[inline(always)]
pub(crate) fn scale_groups(
    divide: bool,
    group: usize,
    factors: &[f32],
    src: &[f32],
    dst: &mut [f32],
) {
    if divide {
        groups::<true>(group, factors, src, dst);
    } else {
        groups::<false>(group, factors, src, dst);
    }
}

#[inline(always)]
fn groups<const DIVIDE: bool>(group: usize, factors: &[f32], src: &[f32], dst: &mut [f32]) {
    match group {
        1 => {
            for ((x, y), factor) in src.iter().zip(dst).zip(factors) {
                *y = one::<DIVIDE>(*x, *factor);
            }
        }
        16 => fixed::<DIVIDE, 16>(factors, src, dst),
        32 => fixed::<DIVIDE, 32>(factors, src, dst),
        128 => fixed::<DIVIDE, 128>(factors, src, dst),
        _ => {
            for ((s, d), factor) in src.chunks(group).zip(dst.chunks_mut(group)).zip(factors) {
                by_one::<DIVIDE>(*factor, s, d);
            }
        }
    }
}

/// Groups of a length that the compiler knows; the last may be short.
#[inline(always)]
fn fixed<const DIVIDE: bool, const GROUP: usize>(factors: &[f32], src: &[f32], dst: &mut [f32]) {
    let (whole, tail) = src.as_chunks::<GROUP>();
    let (out, out_tail) = dst.as_chunks_mut::<GROUP>();
    for ((s, d), factor) in whole.iter().zip(out).zip(factors) {
        by_one::<DIVIDE>(*factor, s, d);
    }
    for factor in factors.iter().skip(whole.len()) {
        by_one::<DIVIDE>(*factor, tail, out_tail);
    }
}

/// All by one factor.
#[inline(always)]
fn by_one<const DIVIDE: bool>(factor: f32, src: &[f32], dst: &mut [f32]) {
    for (x, y) in src.iter().zip(dst) {
        *y = one::<DIVIDE>(*x, factor);
    }
}

/// Values times the factor of their group, in place.
#[inline(always)]
pub(crate) fn unscale_groups(group: usize, factors: &[f32], values: &mut [f32]) {
    if group == 1 {
        for (x, factor) in values.iter_mut().zip(factors) {
            *x = one::<false>(*x, *factor);
        }
        return;
    }
    for (values, factor) in values.chunks_mut(group).zip(factors) {
        for x in values {
            *x = one::<false>(*x, *factor);
        }
    }
}

/// `src` times the factor of its group → 8-bit codes, to nearest even, through short pieces of
/// scaled values.
#[inline(always)]
pub(crate) fn encode_groups(
    e: &Encoder,
    group: usize,
    factors: &[f32],
    src: &[f32],
    dst: &mut [u8],
    past: bool,
) {
    let mut buffer = [0.0; BUFFER];
    // As many whole groups as fit, or pieces of one.
    let together = (BUFFER / group).max(1);
    let groups = src.chunks(together * group).zip(dst.chunks_mut(together * group));
    for ((s, d), factors) in groups.zip(factors.chunks(together)) {
        for (s, d) in s.chunks(BUFFER).zip(d.chunks_mut(BUFFER)) {
            let values = &mut buffer[..s.len()];
            let group = group.min(BUFFER);
            scale_groups(false, group, factors, s, values);
            encode(e, Words::None, values, d, false, past);
        }
    }
}
