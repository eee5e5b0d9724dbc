//! Largest magnitudes and scaling of groups with AVX-512, where a group is whole registers. The
//! rest is portable code.

use super::avx512::{get, portable, put};
use crate::arch::cast;
use core::arch::x86_64::*;

const LANES: usize = 16;

/// A register of magnitudes, and of the largest so far.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,popcnt")]
fn larger<const DROP_NAN: bool>(so_far: __m512i, x: &[f32; LANES]) -> __m512i {
    let x = _mm512_and_si512(get(x), _mm512_set1_epi32(i32::MAX));
    if DROP_NAN {
        // The second operand, if one is NaN.
        let (x, so_far) = (_mm512_castsi512_ps(x), _mm512_castsi512_ps(so_far));
        _mm512_castps_si512(_mm512_max_ps(x, so_far))
    } else {
        _mm512_max_epu32(x, so_far)
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,popcnt")]
pub(super) fn amax(drop_nan: bool, src: &[f32]) -> u32 {
    if drop_nan { largest::<true>(src) } else { largest::<false>(src) }
}

/// Four registers, so that no maximum waits for the one before.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,popcnt")]
fn largest<const DROP_NAN: bool>(src: &[f32]) -> u32 {
    let mut peak = [_mm512_setzero_si512(); 4];
    let (blocks, tail) = src.as_chunks::<{ 4 * LANES }>();
    for block in blocks {
        let (x, _) = block.as_chunks::<LANES>();
        for i in 0..4 {
            peak[i] = larger::<DROP_NAN>(peak[i], &x[i]);
        }
    }
    let all = peak.into_iter().fold(_mm512_setzero_si512(), |a, b| _mm512_max_epu32(a, b));
    _mm512_reduce_max_epu32(all).max(portable::amax(DROP_NAN, tail))
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,popcnt")]
pub(super) fn amax_groups(drop_nan: bool, group: usize, src: &[f32], peaks: &mut [u32]) {
    if !group.is_multiple_of(LANES) {
        return portable::amax_groups(drop_nan, group, src, peaks);
    }
    match (drop_nan, group) {
        (true, 16) => groups::<true, 16>(group, src, peaks),
        (true, 32) => groups::<true, 32>(group, src, peaks),
        (true, _) => groups::<true, 0>(group, src, peaks),
        (false, 16) => groups::<false, 16>(group, src, peaks),
        (false, 32) => groups::<false, 32>(group, src, peaks),
        (false, _) => groups::<false, 0>(group, src, peaks),
    }
}

/// Sixteen groups give a register of peaks. `KNOWN` is the length of a group, or 0.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,popcnt")]
fn groups<const DROP_NAN: bool, const KNOWN: usize>(group: usize, src: &[f32], peaks: &mut [u32]) {
    let group = if KNOWN == 0 { group } else { KNOWN };
    let together = group.saturating_mul(LANES);
    let whole = src.len() / together;
    let (src, tail) = src.split_at(whole * together);
    let (peaks, last) = peaks.split_at_mut(whole * LANES);
    let (peaks, _) = cast::from_codes_mut::<f32>(peaks).as_chunks_mut::<LANES>();
    for (groups, peaks) in src.chunks_exact(together).zip(peaks) {
        let mut of_group = [_mm512_setzero_si512(); LANES];
        for (peak, group) in of_group.iter_mut().zip(groups.chunks_exact(group)) {
            let (x, _) = group.as_chunks::<LANES>();
            for x in x {
                *peak = larger::<DROP_NAN>(*peak, x);
            }
        }
        let found = _mm512_max_epu32(each_largest(of_group), get(peaks));
        put(peaks, found, false);
    }
    for (group, peak) in tail.chunks(group).zip(last) {
        *peak = largest::<DROP_NAN>(group).max(*peak);
    }
}

/// The largest of each register, in order.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,popcnt")]
fn each_largest(v: [__m512i; LANES]) -> __m512i {
    // Each round halves the places that belong to one register, and joins two registers.
    let pair = |a, b| _mm512_max_epu32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    let four = |a, b, c, d| {
        let (a, b) = (pair(a, b), pair(c, d));
        _mm512_max_epu32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b))
    };
    let lanes = |a, b| {
        let even = _mm512_shuffle_i32x4::<0x88>(a, b);
        _mm512_max_epu32(even, _mm512_shuffle_i32x4::<0xdd>(a, b))
    };
    let a = lanes(four(v[0], v[1], v[2], v[3]), four(v[4], v[5], v[6], v[7]));
    let b = lanes(four(v[8], v[9], v[10], v[11]), four(v[12], v[13], v[14], v[15]));
    lanes(a, b)
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,popcnt")]
pub(super) fn scale_groups(
    divide: bool,
    group: usize,
    factors: &[f32],
    src: &[f32],
    dst: &mut [f32],
) {
    match (group.is_multiple_of(LANES), divide) {
        (false, _) => portable::scale_groups(divide, group, factors, src, dst),
        (true, false) => scale::<false>(group, factors, src, dst),
        (true, true) => scale::<true>(group, factors, src, dst),
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,popcnt")]
fn scale<const DIVIDE: bool>(group: usize, factors: &[f32], src: &[f32], dst: &mut [f32]) {
    let mut factor = Factors::new(group, factors);
    let (blocks, tail) = src.as_chunks::<LANES>();
    let (out, out_tail) = dst.as_chunks_mut::<LANES>();
    for (x, y) in blocks.iter().zip(out) {
        put(y, one::<DIVIDE>(get(x), factor.next()), false);
    }
    if !tail.is_empty() {
        let mut last = [0.0; LANES];
        last[..tail.len()].copy_from_slice(tail);
        let y = one::<DIVIDE>(get(&last), factor.next());
        put(&mut last, y, false);
        out_tail.copy_from_slice(&last[..tail.len()]);
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,popcnt")]
pub(super) fn unscale_groups(group: usize, factors: &[f32], values: &mut [f32]) {
    if !group.is_multiple_of(LANES) {
        return portable::unscale_groups(group, factors, values);
    }
    let mut factor = Factors::new(group, factors);
    let (blocks, tail) = values.as_chunks_mut::<LANES>();
    for x in blocks {
        put(x, one::<false>(get(x), factor.next()), false);
    }
    if !tail.is_empty() {
        let mut last = [0.0; LANES];
        last[..tail.len()].copy_from_slice(tail);
        let y = one::<false>(get(&last), factor.next());
        put(&mut last, y, false);
        tail.copy_from_slice(&last[..tail.len()]);
    }
}

/// `one` of `generic/scale.rs`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,popcnt")]
fn one<const DIVIDE: bool>(x: __m512i, factor: __m512) -> __m512i {
    let magnitude = _mm512_set1_epi32(i32::MAX);
    let sign = _mm512_xor_si512(x, _mm512_castps_si512(factor));
    let a = _mm512_castsi512_ps(_mm512_and_si512(x, magnitude));
    let factor = _mm512_abs_ps(factor);
    let y = if DIVIDE { _mm512_div_ps(a, factor) } else { _mm512_mul_ps(a, factor) };
    // The processor's NaN are quiet: at least this, of either sign.
    let y = _mm512_min_epu32(_mm512_castps_si512(y), _mm512_set1_epi32(0x7fc0_0000));
    _mm512_ternarylogic_epi32::<0xd8>(sign, y, magnitude) // magnitude ? y : sign
}

/// The factor of each register of sixteen in turn; 1 after the last.
pub(super) struct Factors<'a> {
    rest: core::slice::Iter<'a, f32>,
    factor: __m512,
    group: usize,
    left: usize,
}

impl<'a> Factors<'a> {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,popcnt")]
    pub(super) fn new(group: usize, factors: &'a [f32]) -> Self {
        let factor = _mm512_set1_ps(1.0);
        Self { rest: factors.iter(), factor, group: group / LANES, left: 0 }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,popcnt")]
    pub(super) fn next(&mut self) -> __m512 {
        if self.left == 0 {
            self.factor = _mm512_set1_ps(self.rest.next().copied().unwrap_or(1.0));
            self.left = self.group;
        }
        self.left -= 1;
        self.factor
    }
}
