//! How much the units of AVX-512 that multiply and add can do: see `generic/peaks.rs`.

use core::arch::x86_64::*;
use core::hint::black_box;

/// Registers of sums: a multiply-add takes 4 to 6 cycles, and one or two start in each.
const CHAINS: usize = 24;

/// Sums that differ, so that none stands for another.
#[inline]
#[target_feature(enable = "avx512f")]
fn sums() -> [__m512; CHAINS] {
    let mut sums = [_mm512_setzero_ps(); CHAINS];
    for (i, sum) in sums.iter_mut().enumerate() {
        *sum = _mm512_set1_ps(black_box(i as f32));
    }
    sums
}

/// 2 operations for each of 16 lanes.
#[target_feature(enable = "avx512f")]
pub(super) fn peak_fma(rounds: usize) -> u64 {
    let (mut sums, x, y) = (sums(), _mm512_set1_ps(black_box(0.5)), _mm512_set1_ps(black_box(1.0)));
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm512_fmadd_ps(*sum, x, y);
        }
    }
    black_box(sums);
    2 * (16 * CHAINS * rounds) as u64
}

/// 4 operations for each of 16 lanes.
#[target_feature(enable = "avx512f,avx512bf16")]
pub(super) fn peak_pairs(rounds: usize) -> u64 {
    let (one, minus) = (_mm512_set1_ps(black_box(1.0)), _mm512_set1_ps(black_box(-1.0)));
    // Half of the pairs add, half subtract.
    let (mut sums, x, y) = (sums(), _mm512_cvtne2ps_pbh(one, minus), _mm512_cvtne2ps_pbh(one, one));
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm512_dpbf16_ps(*sum, x, y);
        }
    }
    black_box(sums);
    4 * (16 * CHAINS * rounds) as u64
}
