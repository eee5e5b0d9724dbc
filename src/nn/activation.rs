//! GELU, and addition.

use super::exec::Exec;
use super::reduce::length;
use super::split::{HEAVY, LIGHT, UNIT, Units, elements, split};
use crate::arch::Kernels;
use crate::error::Result;
use half::bf16;
use std::ops::Range;

/// y = gelu(x) = x/2 · (1 + tanh(√(2/π) · (x + 0.044715 x³))), as the epilogue of a product
/// computes it.
///
/// # Errors
/// [`Error::Length`](crate::Error::Length) unless `y` is as long as `x`.
///
/// ```
/// use quarter::nn::{Exec, gelu};
/// let mut y = [0.0; 3];
/// gelu(&[0.0, 1.0, -20.0], &mut y, Exec::new())?;
/// assert_eq!(y, [0.0, 0.841_192, -0.0]);
/// # Ok::<(), quarter::Error>(())
/// ```
pub fn gelu(x: &[f32], y: &mut [f32], exec: Exec) -> Result<()> {
    length("y", x.len(), y.len())?;
    by_units(HEAVY, y, exec, |k, at, y| k.gelu(&x[at], y));
    Ok(())
}

/// [`gelu`] of bf16, widened exactly.
///
/// # Errors
/// [`Error::Length`](crate::Error::Length) unless `y` is as long as `x`.
pub fn gelu_bf16(x: &[bf16], y: &mut [f32], exec: Exec) -> Result<()> {
    length("y", x.len(), y.len())?;
    by_units(HEAVY, y, exec, |k, at, y| k.gelu_bf16(&x[at], y));
    Ok(())
}

/// dx = dy · gelu′(x).
///
/// # Errors
/// [`Error::Length`](crate::Error::Length) unless all are as long as `x`.
pub fn gelu_backward(x: &[f32], dy: &[f32], dx: &mut [f32], exec: Exec) -> Result<()> {
    length("dy", x.len(), dy.len())?;
    length("dx", x.len(), dx.len())?;
    by_units(HEAVY, dx, exec, |k, at, dx| {
        k.gelu_backward(&x[at.clone()], &dy[at], dx);
    });
    Ok(())
}

/// [`gelu_backward`] with x in bf16, widened exactly.
///
/// # Errors
/// [`Error::Length`](crate::Error::Length) unless all are as long as `x`.
pub fn gelu_bf16_backward(x: &[bf16], dy: &[f32], dx: &mut [f32], exec: Exec) -> Result<()> {
    length("dy", x.len(), dy.len())?;
    length("dx", x.len(), dx.len())?;
    by_units(HEAVY, dx, exec, |k, at, dx| {
        k.gelu_bf16_backward(&x[at.clone()], &dy[at], dx);
    });
    Ok(())
}

/// y += x.
///
/// # Errors
/// [`Error::Length`](crate::Error::Length) unless `y` is as long as `x`.
pub fn add_into(x: &[f32], y: &mut [f32], exec: Exec) -> Result<()> {
    length("y", x.len(), y.len())?;
    by_units(LIGHT, y, exec, |k, at, y| k.add(&x[at], y));
    Ok(())
}

/// Runs `work` on parts of `out`, with the places of their elements.
fn by_units(
    least: usize,
    out: &mut [f32],
    exec: Exec,
    work: impl Fn(&Kernels, Range<usize>, &mut [f32]) + Sync,
) {
    let (threads, isa) = exec.means();
    let n = out.len();
    split((least, n, threads), n.div_ceil(UNIT), Units(out, UNIT), |units, Units(out, _)| {
        work(isa.kernels(), elements(&units, UNIT, n), out);
    });
}
