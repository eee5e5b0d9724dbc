//! Layer norm.

use super::exec::Exec;
use super::reduce::{by_columns, by_rows, length};
use super::split::{LIGHT, Units};
pub use crate::arch::vector::RowMoments;
use crate::error::Result;

/// y = (x − mean)·rstd·gain + bias of each row, with mean = Σ x / n and
/// rstd = 1 / √(Σ (x − mean)² / n + eps), which go to `moments`.
///
/// A row has `gain.len()` columns, and there are `moments.len()` rows.
///
/// # Errors
/// [`Error::Length`](crate::Error::Length) for anything of another length.
///
/// ```
/// use quarter::nn::{Exec, RowMoments, layer_norm};
/// let (mut y, mut moments) = ([0.0; 2], [RowMoments::default()]);
/// layer_norm(&[1.0, 5.0], &[1.0, 2.0], None, 0.0, &mut y, &mut moments, Exec::new())?;
/// assert_eq!((y, moments[0].mean, moments[0].rstd), ([-1.0, 2.0], 3.0, 0.5));
/// # Ok::<(), quarter::Error>(())
/// ```
pub fn layer_norm(
    x: &[f32],
    gain: &[f32],
    bias: Option<&[f32]>,
    eps: f32,
    y: &mut [f32],
    moments: &mut [RowMoments],
    exec: Exec,
) -> Result<()> {
    let (rows, cols) = (moments.len(), gain.len());
    let n = rows.saturating_mul(cols);
    length("x", n, x.len())?;
    length("bias", cols, bias.map_or(cols, <[f32]>::len))?;
    length("y", n, y.len())?;
    let out = (Units(y, cols), Units(moments, 1));
    by_rows(LIGHT, (rows, cols), out, exec, |k, rows, (y, moments)| {
        let x = &x[rows.start * cols..rows.end * cols];
        k.layer_norm(x, gain, bias, eps, y.0, moments.0);
    });
    Ok(())
}

/// The gradients of [`layer_norm`], added to what is there: with g = dy·gain and
/// h = (x − mean)·rstd, dx += rstd · (g − Σ g / n − h · (Σ g·h / n)) of each row,
/// dgain += Σ dy·h and dbias += Σ dy over the rows, as
/// [`column_sums_into`](super::column_sums_into) adds them.
///
/// # Errors
/// [`Error::Length`](crate::Error::Length) for anything of another length.
#[allow(clippy::too_many_arguments)]
pub fn layer_norm_backward(
    dy: &[f32],
    x: &[f32],
    gain: &[f32],
    moments: &[RowMoments],
    dx: &mut [f32],
    dgain: &mut [f32],
    dbias: Option<&mut [f32]>,
    exec: Exec,
) -> Result<()> {
    let (rows, cols) = (moments.len(), gain.len());
    let n = rows.saturating_mul(cols);
    length("dy", n, dy.len())?;
    length("x", n, x.len())?;
    length("dx", n, dx.len())?;
    length("dgain", cols, dgain.len())?;
    length("dbias", cols, dbias.as_ref().map_or(cols, |dbias| dbias.len()))?;
    by_rows(LIGHT, (rows, cols), Units(dx, cols), exec, |k, rows, dx| {
        let at = rows.start * cols..rows.end * cols;
        k.layer_norm_backward(&dy[at.clone()], &x[at], gain, &moments[rows], dx.0);
    });
    by_columns(n, dgain, exec, |k, first, dgain| {
        k.gain_sums(dy, x, moments, cols, first, dgain);
    });
    if let Some(dbias) = dbias {
        by_columns(n, dbias, exec, |k, first, dbias| {
            k.column_sums(dy, cols, first, dbias);
        });
    }
    Ok(())
}
