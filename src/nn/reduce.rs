//! Sums, in an order that is part of their definition.

use super::exec::Exec;
use super::split::{Cut, LIGHT, Units, elements, split};
use crate::arch::Kernels;
use crate::error::{Error, Result};
use std::ops::Range;

/// Elements of a chunk.
const CHUNK: usize = 4096;
/// Chunks whose sums are kept until they are added.
const TOGETHER: usize = 1024;
/// Columns of a unit of work.
const COLUMNS: usize = 256;

/// Σ x, +0 of none.
///
/// Lane i of a chunk of 4,096 is x\[i\] + x\[i+16\] + ..., for i below 16; lanes are folded i with
/// i+8, then i+4, i+2, i+1; chunks are added in ascending order. All sums of this module are so.
///
/// ```
/// use quarter::nn::{Exec, sum};
/// assert_eq!(sum(&[1.0, 2.0, 3.5], Exec::new()), 6.5);
/// ```
#[must_use]
pub fn sum(x: &[f32], exec: Exec) -> f32 {
    by_chunks(x.len(), exec, |k, at, sums| k.sum_chunks(&x[at], sums))
}

/// Σ x·y, each product rounded.
///
/// # Errors
/// [`Error::Length`] unless `y` is as long as `x`.
pub fn dot(x: &[f32], y: &[f32], exec: Exec) -> Result<f32> {
    length("y", x.len(), y.len())?;
    Ok(by_chunks(x.len(), exec, |k, at, sums| {
        k.dot_chunks(&x[at.clone()], &y[at], sums);
    }))
}

/// Σ x², each square rounded.
#[must_use]
pub fn sum_of_squares(x: &[f32], exec: Exec) -> f32 {
    by_chunks(x.len(), exec, |k, at, sums| k.dot_chunks(&x[at.clone()], &x[at], sums))
}

/// sums\[c\] += Σ x\[r, c\] over the rows r, with the rows in the order of [`sum`]: the gradient of
/// a bias.
///
/// # Errors
/// [`Error::Length`] unless `sums` has `cols` elements and `x` whole rows of them.
pub fn column_sums_into(x: &[f32], cols: usize, sums: &mut [f32], exec: Exec) -> Result<()> {
    length("sums", cols, sums.len())?;
    whole_rows("x", x.len(), cols)?;
    by_columns(x.len(), sums, exec, |k, first, sums| k.column_sums(x, cols, first, sums));
    Ok(())
}

/// Adds the sums of chunks in ascending order.
fn by_chunks(
    n: usize,
    exec: Exec,
    work: impl Fn(&Kernels, Range<usize>, &mut [f32]) + Sync,
) -> f32 {
    let (threads, isa) = exec.means();
    let mut buffer = [0.0; TOGETHER];
    let mut total = 0.0_f32;
    for begin in (0..n).step_by(TOGETHER * CHUNK) {
        let len = (n - begin).min(TOGETHER * CHUNK);
        let sums = &mut buffer[..len.div_ceil(CHUNK)];
        split((LIGHT, len, threads), sums.len(), Units(sums, 1), |chunks, Units(sums, _)| {
            let at = elements(&chunks, CHUNK, len);
            work(isa.kernels(), begin + at.start..begin + at.end, sums);
        });
        total = buffer[..len.div_ceil(CHUNK)].iter().fold(total, |total, sum| total + sum);
    }
    if total.is_nan() { f32::NAN } else { total }
}

/// Runs `work` on the sums of columns, from the one that it is told of.
pub(super) fn by_columns(
    n: usize,
    sums: &mut [f32],
    exec: Exec,
    work: impl Fn(&Kernels, usize, &mut [f32]) + Sync,
) {
    let (threads, isa) = exec.means();
    let units = sums.len().div_ceil(COLUMNS);
    split((LIGHT, n, threads), units, Units(sums, COLUMNS), |units, Units(sums, _)| {
        work(isa.kernels(), units.start * COLUMNS, sums);
    });
}

/// # Errors
/// [`Error::Length`] unless they are equal.
pub(super) const fn length(what: &'static str, expected: usize, got: usize) -> Result<()> {
    if expected == got { Ok(()) } else { Err(Error::Length { what, expected, got }) }
}

/// How many rows there are.
///
/// # Errors
/// [`Error::Length`] unless the rows are whole.
pub(super) fn whole_rows(what: &'static str, got: usize, cols: usize) -> Result<usize> {
    let rows = got.checked_div(cols).unwrap_or(0);
    length(what, rows * cols, got)?;
    Ok(rows)
}

/// Runs `work` on rows of `out`.
pub(super) fn by_rows<C: Cut>(
    least: usize,
    (rows, cols): (usize, usize),
    out: C,
    exec: Exec,
    work: impl Fn(&Kernels, Range<usize>, C) + Sync,
) {
    let (threads, isa) = exec.means();
    split((least, rows.saturating_mul(cols), threads), rows, out, |rows, out| {
        work(isa.kernels(), rows, out);
    });
}
