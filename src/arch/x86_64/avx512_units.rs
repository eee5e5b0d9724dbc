//! The chains of FP8 units with AVX-512: products, alignment and truncation in f32, sums in integers.

use super::avx512::{get, portable, put};
use crate::arch::generic::units::{moderate, narrow_fits};
use crate::arch::tile::LANES;
use crate::arch::units::{Accumulators, Chain, Fused, NO_EXPONENT, Rule};
use core::arch::x86_64::*;

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,popcnt")]
pub(super) fn chain(t: &Chain<'_>, c: &mut Accumulators) {
    let rule = match t.rule {
        Rule::Fused(rule) if t.small && narrow_fits(&rule, t) => rule,
        _ => return portable::chain(t, c),
    };
    if !c[..t.rows].iter().all(moderate) {
        return portable::chain(t, c);
    }
    let mut from = 0;
    while from < t.rows {
        from += match t.rows - from {
            8.. => narrow::<8>(t, rule, from, c),
            4.. => narrow::<4>(t, rule, from, c),
            2.. => narrow::<2>(t, rule, from, c),
            _ => narrow::<1>(t, rule, from, c),
        };
    }
}

/// `R` rows, and how many they are. Every step is the one of `generic::units::narrow`.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn narrow<const R: usize>(t: &Chain<'_>, rule: Fused, from: usize, c: &mut Accumulators) -> usize {
    let (bias, fraction) = (_mm512_set1_epi32(127), _mm512_set1_epi32(127 + rule.fraction as i32));
    let zero = _mm512_set1_epi32(rule.zero);
    let least = _mm512_set1_epi32(-100);
    let magnitude = _mm512_set1_epi32(0x7fff_ffff);
    let kept = _mm512_set1_epi32(!0x3ff);
    // A power of two and its inverse have exponent fields that add up to this.
    let inverse = _mm512_set1_epi32(254 << 23);
    let mut sums = [_mm512_setzero_ps(); R];
    for r in 0..R {
        sums[r] = _mm512_castsi512_ps(get(&c[from + r].0));
    }
    let products = rule.products as usize;
    let depth = t.depth;
    let [a, ea, b, eb] = [t.a, t.ea, t.b, t.eb].map(|lines| &lines[..depth]);
    let mut k = 0;
    while k < depth {
        let end = depth.min(k + products);
        let mut e = [_mm512_set1_epi32(NO_EXPONENT); R];
        for (x, y) in ea[k..end].iter().zip(&eb[k..end]) {
            let y = get(&y.0);
            for (r, e) in e.iter_mut().enumerate() {
                let x = _mm512_set1_epi32(x.0[(from + r) % LANES] as i32);
                *e = _mm512_max_epi32(*e, _mm512_add_epi32(x, y));
            }
        }
        let (mut scale, mut sum) = ([_mm512_setzero_ps(); R], [_mm512_setzero_si512(); R]);
        for r in 0..R {
            let bits = _mm512_and_si512(_mm512_castps_si512(sums[r]), magnitude);
            let own = _mm512_sub_epi32(_mm512_srli_epi32::<23>(bits), bias);
            let own = _mm512_mask_mov_epi32(own, _mm512_testn_epi32_mask(bits, bits), zero);
            let e = _mm512_max_epi32(_mm512_max_epi32(e[r], own), least);
            let bits = _mm512_slli_epi32::<23>(_mm512_sub_epi32(fraction, e));
            scale[r] = _mm512_castsi512_ps(bits);
            sum[r] = _mm512_cvttps_epi32(_mm512_mul_ps(sums[r], scale[r]));
        }
        for (x, y) in a[k..end].iter().zip(&b[k..end]) {
            let y = _mm512_castsi512_ps(get(&y.0));
            for r in 0..R {
                let x = _mm512_set1_ps(x.f32((from + r) % LANES));
                let term = _mm512_mul_ps(_mm512_mul_ps(y, x), scale[r]);
                sum[r] = _mm512_add_epi32(sum[r], _mm512_cvttps_epi32(term));
            }
        }
        for r in 0..R {
            let whole = _mm512_castps_si512(_mm512_cvtepi32_ps(sum[r]));
            let back = _mm512_sub_epi32(inverse, _mm512_castps_si512(scale[r]));
            let cut = _mm512_castsi512_ps(_mm512_and_si512(whole, kept));
            sums[r] = _mm512_mul_ps(cut, _mm512_castsi512_ps(back));
        }
        k = end;
    }
    for r in 0..R {
        put(&mut c[from + r].0, _mm512_castps_si512(sums[r]), false);
    }
    R
}
