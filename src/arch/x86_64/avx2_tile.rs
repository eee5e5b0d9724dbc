//! Tiles of a matrix product with AVX2: 6 × 16 sums in twelve registers, which compilers do not
//! find by themselves.

use super::fetch_line;
use crate::arch::cast::Transparent;
use crate::arch::generic::tile::joined;
use crate::arch::tile::{LANES, Line, Sums, Tile};
use core::arch::x86_64::*;

const ROWS: usize = 6;

/// How many lines ahead panels are fetched.
const AHEAD: usize = 16;

/// Lines of each panel that are multiplied before the next ones: three times as many are in the
/// first-level cache while four parts of the tile read them.
const RUN: usize = 64;

/// The sums of a segment: 16 columns of each row.
type Chains = [[f32; LANES]; LANES];

#[target_feature(enable = "avx2,fma")]
pub(super) fn tile(t: &Tile<'_>, sums: &mut Sums) {
    debug_assert!(!t.pairs, "only a unit for bf16 reads pairs");
    if t.fresh {
        *sums = [Line::ZERO; 2 * LANES];
    }
    let halves = if t.b[1].is_empty() { 1 } else { 2 };
    let mut from = 0;
    for (segment, lines) in t.segments.iter().enumerate() {
        let end = from + *lines as usize;
        let mut chains = [[[0.0; LANES]; LANES]; 2];
        for at in (from..end).step_by(RUN) {
            let run = at..end.min(at + RUN);
            for (b, chains) in t.b.iter().zip(&mut chains).take(halves) {
                parts(t.rows, &t.a[run.clone()], &b[run.clone()], chains);
            }
        }
        for (half, chains) in chains.iter().enumerate().take(halves) {
            let sums = &mut sums[half * LANES..][..LANES];
            joined::<LANES, true>(t, (half, segment), 0, chains, sums);
        }
        from = end;
    }
}

/// All rows, six at a time.
#[target_feature(enable = "avx2,fma")]
fn parts(count: usize, a: &[Line], b: &[Line], chains: &mut Chains) {
    for from in (0..count).step_by(ROWS) {
        match count - from {
            1 => rows::<1>(a, b, from, chains),
            2 => rows::<2>(a, b, from, chains),
            3 => rows::<3>(a, b, from, chains),
            4 => rows::<4>(a, b, from, chains),
            5 => rows::<5>(a, b, from, chains),
            _ => rows::<ROWS>(a, b, from, chains),
        }
    }
}

#[target_feature(enable = "avx2,fma")]
fn rows<const R: usize>(a: &[Line], b: &[Line], from: usize, chains: &mut Chains) {
    let mut p = [[_mm256_setzero_ps(); 2]; R];
    for (p, chains) in p.iter_mut().zip(&chains[from..]) {
        let halves = chains.as_chunks::<8>().0;
        *p = [load(&halves[0]), load(&halves[1])];
    }
    for (a, b) in a.iter().zip(b) {
        fetch_line::<_MM_HINT_T0>(core::ptr::from_ref(a).wrapping_add(AHEAD).cast());
        fetch_line::<_MM_HINT_T0>(core::ptr::from_ref(b).wrapping_add(AHEAD).cast());
        let b = b.0.as_chunks::<8>().0;
        let b = [load(&b[0]), load(&b[1])];
        for (r, p) in p.iter_mut().enumerate() {
            let x = _mm256_set1_ps(a.f32((from + r) % LANES));
            *p = [_mm256_fmadd_ps(x, b[0], p[0]), _mm256_fmadd_ps(x, b[1], p[1])];
        }
    }
    for (p, chains) in p.into_iter().zip(&mut chains[from..]) {
        let halves = chains.as_chunks_mut::<8>().0;
        store(&mut halves[0], p[0]);
        store(&mut halves[1], p[1]);
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load<T: Transparent>(from: &[T; 8]) -> __m256 {
    const { assert!(size_of::<T>() == 4) }
    // SAFETY: 32 readable bytes, and the load asks for no alignment.
    unsafe { _mm256_loadu_ps(from.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(to: &mut [f32; 8], value: __m256) {
    // SAFETY: 32 writable bytes, and the store asks for no alignment.
    unsafe { _mm256_storeu_ps(to.as_mut_ptr(), value) }
}
