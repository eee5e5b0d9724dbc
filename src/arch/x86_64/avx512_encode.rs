//! Encoding with AVX-512: nearest even into 8-bit codes and bf16. The rest is portable code.

use super::avx512::{get, portable, put};
use super::avx512_groups::Factors;
use crate::arch::encoder::{Encoder, Method};
use crate::arch::{Screen, Words};
use core::arch::x86_64::*;
use core::hint::black_box;

const BLOCK: usize = 64;
const HALF: usize = 32;
const INF: u32 = 0x7f80_0000;

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,popcnt")]
pub(super) fn encode_u8(
    e: &Encoder,
    words: Words<'_>,
    src: &[f32],
    dst: &mut [u8],
    screen: bool,
    past: bool,
) -> Screen {
    if e.method != Method::Nearest {
        return portable::encode_u8(e, words, src, dst, screen, past);
    }
    let scale = _mm512_set1_ps(e.scale);
    let load = |x: &[f32; BLOCK]| {
        let (x, _) = x.as_chunks::<16>();
        let x = [0, 1, 2, 3].map(|i| _mm512_castsi512_ps(get(&x[i])));
        (x, x.map(|x| _mm512_mul_ps(x, scale)))
    };
    let (blocks, tail) = src.as_chunks::<BLOCK>();
    let (d_blocks, d_tail) = dst.as_chunks_mut::<BLOCK>();
    let seen = nearest(e, blocks, d_blocks, load, screen, past);
    if seen.peak > INF {
        let codes = d_blocks.as_flattened_mut();
        for (x, d) in src.iter().zip(codes).filter(|(x, _)| x.is_nan()) {
            *d = e.general.nan_code[usize::from(x.is_sign_negative())] as u8;
        }
    }
    seen.merge(portable::encode_u8(e, words, tail, d_tail, screen, past))
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,popcnt")]
pub(super) fn encode_bf16(
    e: &Encoder,
    src: &[u16],
    dst: &mut [u8],
    screen: bool,
    past: bool,
) -> Screen {
    let scale = _mm512_set1_ps(e.scale);
    let load = |x: &[u16; BLOCK]| {
        let (x, _) = x.as_chunks::<32>();
        let (a, b) = (get(&x[0]), get(&x[1]));
        let quarters = [
            _mm512_castsi512_si256(a),
            _mm512_extracti64x4_epi64::<1>(a),
            _mm512_castsi512_si256(b),
            _mm512_extracti64x4_epi64::<1>(b),
        ];
        let x = quarters
            .map(|x| _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(x))));
        (x, x.map(|x| _mm512_mul_ps(x, scale)))
    };
    let (blocks, tail) = src.as_chunks::<BLOCK>();
    let (d_blocks, d_tail) = dst.as_chunks_mut::<BLOCK>();
    let seen = nearest(e, blocks, d_blocks, load, screen, past);
    if seen.peak > INF {
        let codes = d_blocks.as_flattened_mut();
        for (x, d) in src.iter().zip(codes).filter(|(x, _)| **x & 0x7fff > 0x7f80) {
            *d = e.general.nan_code[usize::from(*x >> 15)] as u8;
        }
    }
    seen.merge(portable::encode_bf16(e, tail, d_tail, screen, past))
}

/// Values ahead of those that are encoded which are fetched into the cache: the amax of the next
/// groups is wanted soon.
const AHEAD: usize = 1536;

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,popcnt")]
pub(super) fn encode_groups(
    e: &Encoder,
    group: usize,
    factors: &[f32],
    src: &[f32],
    dst: &mut [u8],
    past: bool,
) {
    if !group.is_multiple_of(16) || e.method != Method::Nearest || e.scale != 1.0 {
        return portable::encode_groups(e, group, factors, src, dst, past);
    }
    let mut factor = Factors::new(group, factors);
    let load = |x: &[f32; BLOCK]| {
        for i in 0..4 {
            super::fetch_line::<_MM_HINT_T0>(x.as_ptr().wrapping_add(AHEAD + 16 * i).cast());
        }
        let (x, _) = x.as_chunks::<16>();
        let mut scaled = [_mm512_setzero_ps(); 4];
        for i in 0..4 {
            scaled[i] = _mm512_mul_ps(_mm512_castsi512_ps(get(&x[i])), factor.next());
        }
        (scaled, scaled) // of the values only the signs are read, and they are the same
    };
    let (blocks, tail) = src.as_chunks::<BLOCK>();
    let (d_blocks, d_tail) = dst.as_chunks_mut::<BLOCK>();
    let seen = nearest(e, blocks, d_blocks, load, false, past);
    if seen.peak > INF {
        return portable::encode_groups(e, group, factors, src, dst, past);
    }
    if tail.is_empty() {
        return;
    }
    // The rest of a group, then whole ones.
    let whole = src.len() - tail.len();
    let rest = (whole.next_multiple_of(group) - whole).min(tail.len());
    let (s_rest, s_tail) = tail.split_at(rest);
    let (d_rest, d_tail) = d_tail.split_at_mut(rest);
    portable::encode_groups(e, group, &factors[whole / group..], s_rest, d_rest, past);
    portable::encode_groups(e, group, &factors[whole.div_ceil(group)..], s_tail, d_tail, past);
}

/// One loop for each combination of choices.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,popcnt")]
fn nearest<T>(
    e: &Encoder,
    src: &[[T; BLOCK]],
    dst: &mut [[u8; BLOCK]],
    load: impl FnMut(&[T; BLOCK]) -> ([__m512; 4], [__m512; 4]),
    screen: bool,
    past: bool,
) -> Screen {
    match (screen, past, e.has_neg_zero) {
        (true, true, true) => blocks::<T, true, true, true>(e, src, dst, load),
        (true, true, false) => blocks::<T, true, true, false>(e, src, dst, load),
        (true, false, true) => blocks::<T, true, false, true>(e, src, dst, load),
        (true, false, false) => blocks::<T, true, false, false>(e, src, dst, load),
        (false, true, true) => blocks::<T, false, true, true>(e, src, dst, load),
        (false, true, false) => blocks::<T, false, true, false>(e, src, dst, load),
        (false, false, true) => blocks::<T, false, false, true>(e, src, dst, load),
        (false, false, false) => blocks::<T, false, false, false>(e, src, dst, load),
    }
}

/// Codes but for NaN: with any among the values, `peak` is above Inf. Without `SCREEN` it says
/// nothing else.
///
/// `load` gives 64 values and what they are when scaled. It is the one addition of
/// `generic/encode.rs`:
///
/// * `vrangeps` takes the magnitude and the minimum in one; it loses NaN.
/// * One fused multiply-add makes c of the exponent bits and adds a. The exponent field of the
///   code comes from the sum's; `lift` hides the constant which that adds.
/// * `vpmaddwd` shifts and adds the sum's low bits and its exponent, so that the code is byte 1.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,popcnt")]
fn blocks<T, const SCREEN: bool, const PAST: bool, const NEG_ZERO: bool>(
    e: &Encoder,
    src: &[[T; BLOCK]],
    dst: &mut [[u8; BLOCK]],
    mut load: impl FnMut(&[T; BLOCK]) -> ([__m512; 4], [__m512; 4]),
) -> Screen {
    let n = &e.nearest;
    let origin = ((n.floor >> 23) + e.man_lift) << e.man_bits;
    let lift = ((127 + e.man_lift) << 23) + (origin.wrapping_neg() & 0xff);
    let lift = _mm512_set1_ps(f32::from_bits(lift));
    let limit = _mm512_set1_ps(n.limit);
    let floor = _mm512_set1_ps(f32::from_bits(n.floor));
    let exponent = _mm512_set1_epi32(INF as i32);
    let weights = _mm512_set1_epi32((1 << (17 + e.man_bits)) + 256);
    let sign = _mm512_set1_epi8(e.sign_mask as i8);
    let code_mask = _mm512_set1_epi8(e.code_mask as i8);
    // Unknown to the compiler, which else replaces each look-up by four instructions.
    let [byte_1, byte_3] = black_box(&EVERY_FOURTH).each_ref().map(|index| get(index));
    let magnitude = _mm512_set1_epi32(i32::MAX);
    let (beyond, one) = (_mm512_set1_epi32(e.beyond as i32), _mm512_set1_epi32(1));
    let small = _mm512_set1_epi32(e.small as i32);

    let mut total = [_mm512_setzero_ps(); 4];
    let mut peak = [_mm512_setzero_si512(); 4];
    let (mut over, mut under) = (0, 0);
    let mut block = |(x, scaled): ([__m512; 4], [__m512; 4])| {
        let mut sums = [_mm512_setzero_si512(); 4];
        let (mut is_over, mut is_under) = ([0; 4], [0; 4]);
        for i in 0..4 {
            let a = _mm512_range_ps::<0b1010>(scaled[i], limit);
            let c = _mm512_castps_si512(_mm512_max_ps(a, floor));
            let c = _mm512_castsi512_ps(_mm512_and_si512(c, exponent));
            let sum = _mm512_castps_si512(_mm512_fmadd_ps(c, lift, a));
            sums[i] = _mm512_madd_epi16(sum, weights);
            if SCREEN {
                let x = _mm512_and_si512(_mm512_castps_si512(x[i]), magnitude);
                peak[i] = _mm512_max_epu32(peak[i], x);
                is_over[i] = _mm512_cmpgt_epu32_mask(x, beyond);
                is_under[i] = _mm512_cmplt_epu32_mask(_mm512_sub_epi32(x, one), small);
            } else {
                total[i] = _mm512_add_ps(total[i], scaled[i]);
            }
        }
        if SCREEN {
            over += joined(is_over).count_ones();
            // Two counts alike would be made vectors of, at three times the cost.
            under += black_box(joined(is_under)).count_ones();
        }
        let codes = bytes_of(byte_1, sums);
        let mut negative = _mm512_movepi8_mask(bytes_of(byte_3, x.map(|x| _mm512_castps_si512(x))));
        if !NEG_ZERO {
            negative &= _mm512_test_epi8_mask(codes, code_mask);
        }
        _mm512_mask_mov_epi8(codes, negative, _mm512_or_si512(codes, sign))
    };
    for (x, d) in src.iter().zip(dst) {
        put(d, block(load(x)), PAST);
    }
    let peak = if SCREEN {
        peak.map(|peak| _mm512_reduce_max_epu32(peak)).into_iter().fold(0, u32::max)
    } else if any_nan(total) {
        u32::MAX
    } else {
        0
    };
    Screen { peak, beyond: over, small: under }
}

/// For `vpermi2b`: bytes 1, and bytes 3, of the 32-bit elements of two registers, twice.
static EVERY_FOURTH: [[u8; BLOCK]; 2] = {
    let mut index = [[0; BLOCK]; 2];
    let mut i = 0;
    while i < BLOCK {
        index[0][i] = (4 * i as u8 + 1) & 127;
        index[1][i] = (4 * i as u8 + 3) & 127;
        i += 1;
    }
    index
};

/// The bytes that `index` selects, of four registers.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,popcnt")]
fn bytes_of(index: __m512i, v: [__m512i; 4]) -> __m512i {
    let low = _mm512_permutex2var_epi8(v[0], index, v[1]);
    let high = _mm512_permutex2var_epi8(v[2], index, v[3]);
    _mm512_mask_blend_epi64(0xf0, low, high)
}

/// The masks of four registers as one.
#[inline]
fn joined([a, b, c, d]: [__mmask16; 4]) -> u64 {
    u64::from(a) | u64::from(b) << 16 | u64::from(c) << 32 | u64::from(d) << 48
}

/// Whether sums of values saw a NaN; true of some sums that saw only infinities, too.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,popcnt")]
fn any_nan<const N: usize>(totals: [__m512; N]) -> bool {
    totals.into_iter().any(|total| _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(total, total) != 0)
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,popcnt")]
pub(super) fn encode_u16(
    e: &Encoder,
    words: Words<'_>,
    src: &[f32],
    dst: &mut [u16],
    screen: bool,
    past: bool,
) -> Screen {
    let to_inf = e.method == Method::Truncating && e.nearest.limit == f32::INFINITY;
    if screen || !to_inf || e.man_lift != 16 {
        return portable::encode_u16(e, words, src, dst, screen, past);
    }
    let (blocks, tail) = src.as_chunks::<HALF>();
    let (d_blocks, d_tail) = dst.as_chunks_mut::<HALF>();
    to_bf16(e.scale, blocks, d_blocks, past);
    portable::encode_u16(e, words, tail, d_tail, screen, past)
}

/// For `vpermi2w`: the high halves of the 32-bit elements of two registers.
static HIGH_HALVES: [u16; HALF] = {
    let mut index = [0; 32];
    let mut i = 0;
    while i < 32 {
        index[i] = 2 * i as u16 + 1;
        i += 1;
    }
    index
};

/// f32 → bf16: the truncating method of `generic/encode.rs`, where the carry makes Inf of what is
/// too large. NaN are written at the end.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,popcnt")]
fn to_bf16(scale: f32, src: &[[f32; HALF]], dst: &mut [[u16; HALF]], past: bool) {
    let scale = _mm512_set1_ps(scale);
    let (half, one) = (_mm512_set1_epi32(0x7fff), _mm512_set1_epi32(1));
    let high_halves = get(black_box(&HIGH_HALVES));
    let mut total = [_mm512_setzero_ps(); 2];
    let mut block = |x: &[f32; HALF]| {
        let (x, _) = x.as_chunks::<16>();
        let mut sums = [_mm512_setzero_si512(); 2];
        for i in 0..2 {
            let a = _mm512_mul_ps(_mm512_castsi512_ps(get(&x[i])), scale);
            total[i] = _mm512_add_ps(total[i], a);
            let a = _mm512_castps_si512(a);
            let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(a), one);
            sums[i] = _mm512_add_epi32(_mm512_add_epi32(a, half), odd);
        }
        _mm512_permutex2var_epi16(sums[0], high_halves, sums[1])
    };
    for (x, d) in src.iter().zip(&mut *dst) {
        put(d, block(x), past);
    }
    if any_nan(total) {
        let (src, dst) = (src.as_flattened(), dst.as_flattened_mut());
        for (x, d) in src.iter().zip(dst).filter(|(x, _)| x.is_nan()) {
            *d = 0x7fc0 | (x.to_bits() >> 16) as u16 & 0x8000;
        }
    }
}

/// bf16 → f32; NaN are made the quiet one at the end.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,popcnt")]
pub(super) fn bf16_to_f32(src: &[u16], dst: &mut [f32], past: bool) {
    let mut total = [_mm512_setzero_ps(); 2];
    let (s_blocks, s_tail) = src.as_chunks::<32>();
    let (d_blocks, d_tail) = dst.as_chunks_mut::<32>();
    for (s, d) in s_blocks.iter().zip(d_blocks) {
        let codes = get(s);
        let halves = [_mm512_castsi512_si256(codes), _mm512_extracti64x4_epi64::<1>(codes)];
        let (d, _) = d.as_chunks_mut::<16>();
        for i in 0..2 {
            let bits = _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(halves[i]));
            total[i] = _mm512_add_ps(total[i], _mm512_castsi512_ps(bits));
            put(&mut d[i], bits, past);
        }
    }
    portable::bf16_to_f32(s_tail, d_tail, past);
    if any_nan(total) {
        portable::bf16_to_f32(src, dst, past);
    }
}
