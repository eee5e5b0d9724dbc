//! Sums.
//!
//! ```text
//!  a chunk of 4,096:  lane i = x[i] + x[i+16] + x[i+32] + ...     i < 16, in this order, from +0
//!                     lane i += lane i+8, then i+4, i+2, i+1      the sum is lane 0
//!  the sum of all:    +0 + chunk 0 + chunk 1 + ...
//! ```
//!
//! A product is rounded before it is added.

use super::math::quiet;

/// Elements of a chunk.
pub(crate) const CHUNK: usize = 4096;
/// Running sums of a chunk.
pub(super) const LANES: usize = 16;
/// Columns that are summed together.
const BLOCK: usize = 256;

pub(super) type Lanes = [f32; LANES];

/// The lanes of a chunk as one.
#[inline(always)]
pub(super) fn fold(mut lanes: Lanes) -> f32 {
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
    }
    lanes[0]
}

/// Adds terms of three slices as long as one another to the lanes, from lane 0 on.
#[inline(always)]
pub(super) fn accumulate(
    lanes: &mut Lanes,
    a: &[f32],
    b: &[f32],
    c: &[f32],
    term: impl Fn(f32, f32, f32) -> f32,
) {
    let mut sums = *lanes;
    let ((a, a_tail), (b, b_tail), (c, c_tail)) =
        (a.as_chunks::<LANES>(), b.as_chunks::<LANES>(), c.as_chunks::<LANES>());
    for ((a, b), c) in a.iter().zip(b).zip(c) {
        for i in 0..LANES {
            sums[i] += term(a[i], b[i], c[i]);
        }
    }
    for (((sum, a), b), c) in sums.iter_mut().zip(a_tail).zip(b_tail).zip(c_tail) {
        *sum += term(*a, *b, *c);
    }
    *lanes = sums;
}

/// The sum of a chunk's terms.
#[inline(always)]
fn chunk(a: &[f32], b: &[f32], c: &[f32], term: impl Fn(f32, f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    accumulate(&mut lanes, a, b, c, term);
    fold(lanes)
}

/// The sum of terms.
#[inline(always)]
pub(super) fn sum_by(a: &[f32], b: &[f32], c: &[f32], term: impl Fn(f32, f32, f32) -> f32) -> f32 {
    let chunks = a.chunks(CHUNK).zip(b.chunks(CHUNK)).zip(c.chunks(CHUNK));
    let mut total = 0.0;
    for ((a, b), c) in chunks {
        total += chunk(a, b, c, &term);
    }
    total
}

/// The sums of two terms each.
#[inline(always)]
pub(super) fn sums_by(
    a: &[f32],
    b: &[f32],
    c: &[f32],
    term: impl Fn(f32, f32, f32) -> (f32, f32),
) -> (f32, f32) {
    let chunks = a.chunks(CHUNK).zip(b.chunks(CHUNK)).zip(c.chunks(CHUNK));
    let mut total = (0.0, 0.0);
    for ((a, b), c) in chunks {
        let ((a, a_tail), (b, b_tail), (c, c_tail)) =
            (a.as_chunks::<LANES>(), b.as_chunks::<LANES>(), c.as_chunks::<LANES>());
        let (mut one, mut two) = ([0.0; LANES], [0.0; LANES]);
        for ((a, b), c) in a.iter().zip(b).zip(c) {
            for i in 0..LANES {
                let terms = term(a[i], b[i], c[i]);
                one[i] += terms.0;
                two[i] += terms.1;
            }
        }
        for (i, ((a, b), c)) in a_tail.iter().zip(b_tail).zip(c_tail).enumerate() {
            let terms = term(*a, *b, *c);
            one[i] += terms.0;
            two[i] += terms.1;
        }
        total = (total.0 + fold(one), total.1 + fold(two));
    }
    total
}

/// The sum of each chunk.
#[inline(always)]
pub(crate) fn sum_chunks(x: &[f32], sums: &mut [f32]) {
    for (x, sum) in x.chunks(CHUNK).zip(sums) {
        *sum = chunk(x, x, x, |x, _, _| x);
    }
}

/// The sum of the products of each chunk.
#[inline(always)]
pub(crate) fn dot_chunks(x: &[f32], y: &[f32], sums: &mut [f32]) {
    for ((x, y), sum) in x.chunks(CHUNK).zip(y.chunks(CHUNK)).zip(sums) {
        *sum = chunk(x, y, y, |x, y, _| x * y);
    }
}

/// Adds the sums of columns `first` on.
#[inline(always)]
pub(crate) fn column_sums(x: &[f32], cols: usize, first: usize, sums: &mut [f32]) {
    columns(x.len() / cols, first, sums, |row, col, lane| {
        let x = &x[row * cols + col..][..lane.len()];
        for (sum, x) in lane.iter_mut().zip(x) {
            *sum += x;
        }
    });
}

/// Adds to `sums` those of columns `first` on: `add` adds the terms of a row, from a column on, to
/// a lane.
#[inline(always)]
pub(super) fn columns(
    rows: usize,
    first: usize,
    sums: &mut [f32],
    add: impl Fn(usize, usize, &mut [f32]),
) {
    for (block, sums) in sums.chunks_mut(BLOCK).enumerate() {
        let (col, width) = (first + block * BLOCK, sums.len());
        let mut total = [0.0; BLOCK];
        for begin in (0..rows).step_by(CHUNK) {
            let mut lanes = [[0.0; BLOCK]; LANES];
            for row in begin..(begin + CHUNK).min(rows) {
                add(row, col, &mut lanes[(row - begin) % LANES][..width]);
            }
            for half in [8, 4, 2, 1] {
                let (low, high) = lanes.split_at_mut(half);
                for (low, high) in low.iter_mut().zip(high) {
                    for (low, high) in low.iter_mut().zip(high) {
                        *low += *high;
                    }
                }
            }
            for (total, sum) in total.iter_mut().zip(&lanes[0]) {
                *total += sum;
            }
        }
        for (sum, total) in sums.iter_mut().zip(&total) {
            *sum = quiet(*sum + total);
        }
    }
}
