//! Softmax of rows.

use super::exec::Exec;
use super::reduce::{by_rows, length, whole_rows};
use super::split::{HEAVY, Units};
use crate::error::Result;

/// What a row sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mask {
    /// All of it.
    #[default]
    None,
    /// Row r sees columns 0 to r % cols: matrices of cols × cols, one after another.
    Causal,
}

/// Each row becomes p = exp(scale·x − max) / Σ, with the largest scale·x and the sum of all that
/// the row sees; p is +0 where it sees nothing.
///
/// A row becomes NaN if it sees a NaN or Inf, or only −Inf.
///
/// # Errors
/// [`Error::Length`](crate::Error::Length) unless `x` has whole rows of `cols`.
///
/// ```
/// use quarter::nn::{Exec, Mask, softmax};
/// let mut x = [0.3, f32::NAN, 7.0, 7.0];
/// softmax(&mut x, 2, 0.5, Mask::Causal, Exec::new())?;
/// assert_eq!(x, [1.0, 0.0, 0.5, 0.5]);
/// # Ok::<(), quarter::Error>(())
/// ```
pub fn softmax(x: &mut [f32], cols: usize, scale: f32, mask: Mask, exec: Exec) -> Result<()> {
    let rows = whole_rows("x", x.len(), cols)?;
    by_rows(HEAVY, (rows, cols), Units(x, cols), exec, |k, rows, x| {
        k.softmax(x.0, cols, scale, mask == Mask::Causal, rows.start);
    });
    Ok(())
}

/// From the p of [`softmax`] and its gradient dp, each row of `dp` becomes the gradient of x,
/// scale · (p · (dp − Σ p·dp)); +0 where the row sees nothing.
///
/// # Errors
/// [`Error::Length`](crate::Error::Length) unless `p` has whole rows of `cols`, and `dp` as many.
pub fn softmax_backward(
    p: &[f32],
    dp: &mut [f32],
    cols: usize,
    scale: f32,
    mask: Mask,
    exec: Exec,
) -> Result<()> {
    let rows = whole_rows("p", p.len(), cols)?;
    length("dp", p.len(), dp.len())?;
    by_rows(HEAVY, (rows, cols), Units(dp, cols), exec, |k, rows, dp| {
        let p = &p[rows.start * cols..rows.end * cols];
        k.softmax_backward(p, dp.0, cols, scale, mask == Mask::Causal, rows.start);
    });
    Ok(())
}
