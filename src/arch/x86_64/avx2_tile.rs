//! Tiles of a matrix product with AVX2: 6 × 16 sums in twelve registers, which compilers do not
//! find by themselves.

use super::fetch_line;
use crate::arch::generic::tile::joined;
use crate::arch::tile::{LANES, Line, Sums, Tile};
use core::arch::x86_64::*;

const ROWS: usize = 6;

/// How many lines ahead panels are fetched.
const AHEAD: usize = 16;

#[target_feature(enable = "avx2,fma")]
pub(super) fn tile(t: &Tile<'_>, sums: &mut Sums) {
    debug_assert!(!t.pairs, "only a unit for bf16 reads pairs");
    if t.fresh {
        *sums = [Line::ZERO; 2 * LANES];
    }
    for half in 0..2 {
        if t.b[half].is_empty() && !t.a.is_empty() {
            continue;
        }
        let sums = &mut sums[half * LANES..][..LANES];
        for from in (0..t.rows).step_by(ROWS) {
            match t.rows - from {
                1 => rows::<1>(t, half, from, sums),
                2 => rows::<2>(t, half, from, sums),
                3 => rows::<3>(t, half, from, sums),
                4 => rows::<4>(t, half, from, sums),
                5 => rows::<5>(t, half, from, sums),
                _ => rows::<ROWS>(t, half, from, sums),
            }
        }
    }
}

#[target_feature(enable = "avx2,fma")]
fn rows<const R: usize>(t: &Tile<'_>, half: usize, from: usize, sums: &mut [Line]) {
    let (mut a, mut b) = (t.a, t.b[half]);
    for (segment, lines) in t.segments.iter().enumerate() {
        let (a_now, a_rest) = a.split_at(*lines as usize);
        let (b_now, b_rest) = b.split_at(*lines as usize);
        (a, b) = (a_rest, b_rest);
        let mut p = [[_mm256_setzero_ps(); 2]; R];
        for (a, b) in a_now.iter().zip(b_now) {
            fetch_line::<_MM_HINT_T0>(core::ptr::from_ref(a).wrapping_add(AHEAD).cast());
            fetch_line::<_MM_HINT_T0>(core::ptr::from_ref(b).wrapping_add(AHEAD).cast());
            let b = b.0.as_chunks::<8>().0;
            let b = [load(&b[0]), load(&b[1])];
            for (r, p) in p.iter_mut().enumerate() {
                let x = _mm256_set1_ps(a.f32((from + r) % LANES));
                *p = [_mm256_fmadd_ps(x, b[0], p[0]), _mm256_fmadd_ps(x, b[1], p[1])];
            }
        }
        let mut chains = [[0.0; LANES]; R];
        for (chain, p) in chains.iter_mut().zip(p) {
            let halves = chain.as_chunks_mut::<8>().0;
            store(&mut halves[0], p[0]);
            store(&mut halves[1], p[1]);
        }
        joined::<R, true>(t, (half, segment), from, &chains, sums);
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(from: &[u32; 8]) -> __m256 {
    // SAFETY: 32 readable bytes, and the load asks for no alignment.
    unsafe { _mm256_loadu_ps(from.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(to: &mut [f32; 8], value: __m256) {
    // SAFETY: 32 writable bytes, and the store asks for no alignment.
    unsafe { _mm256_storeu_ps(to.as_mut_ptr(), value) }
}
