//! Layer norm of rows, forward and backward.

use super::super::vector::RowMoments;
use super::math::quiet;
use super::reduce::{columns, sum_by, sums_by};

/// y = (x − mean)·rstd·gain + bias, each operation rounded, and the moments of each row.
#[inline(always)]
pub(crate) fn layer_norm(
    x: &[f32],
    gain: &[f32],
    bias: Option<&[f32]>,
    eps: f32,
    y: &mut [f32],
    moments: &mut [RowMoments],
) {
    let cols = gain.len();
    for (row, m) in moments.iter_mut().enumerate() {
        let (x, y) = (&x[row * cols..][..cols], &mut y[row * cols..][..cols]);
        let n = cols.max(1) as f32;
        let mean = sum_by(x, x, x, |x, _, _| x) / n;
        let variance = sum_by(x, x, x, |x, _, _| (x - mean) * (x - mean)) / n;
        let rstd = 1.0 / (variance + eps).sqrt();
        *m = RowMoments { mean: quiet(mean), rstd: quiet(rstd) };
        match bias {
            None => {
                for ((x, gain), y) in x.iter().zip(gain).zip(y) {
                    *y = quiet((x - mean) * rstd * gain);
                }
            }
            Some(bias) => {
                for (((x, gain), bias), y) in x.iter().zip(gain).zip(bias).zip(y) {
                    *y = quiet((x - mean) * rstd * gain + bias);
                }
            }
        }
    }
}

/// dx += rstd · (g − Σ g / n − h · (Σ g·h / n)), where g = dy·gain and h = (x − mean)·rstd.
#[inline(always)]
pub(crate) fn layer_norm_backward(
    dy: &[f32],
    x: &[f32],
    gain: &[f32],
    moments: &[RowMoments],
    dx: &mut [f32],
) {
    let (cols, n) = (gain.len(), gain.len() as f32);
    for (row, &RowMoments { mean, rstd }) in moments.iter().enumerate() {
        let (dy, x) = (&dy[row * cols..][..cols], &x[row * cols..][..cols]);
        let dx = &mut dx[row * cols..][..cols];
        let (g, gh) = sums_by(dy, gain, x, |dy, gain, x| {
            let g = dy * gain;
            (g, g * ((x - mean) * rstd))
        });
        let (g, gh) = (g / n, gh / n);
        for (((dx, dy), gain), x) in dx.iter_mut().zip(dy).zip(gain).zip(x) {
            let h = (x - mean) * rstd;
            *dx = quiet(*dx + rstd * ((dy * gain - g) - h * gh));
        }
    }
}

/// Adds Σ dy · (x − mean)·rstd over the rows, of columns `first` on.
#[inline(always)]
pub(crate) fn gain_sums(
    dy: &[f32],
    x: &[f32],
    moments: &[RowMoments],
    cols: usize,
    first: usize,
    sums: &mut [f32],
) {
    columns(moments.len(), first, sums, |row, col, lane| {
        let RowMoments { mean, rstd } = moments[row];
        let dy = &dy[row * cols + col..][..lane.len()];
        let x = &x[row * cols + col..][..lane.len()];
        for ((sum, dy), x) in lane.iter_mut().zip(dy).zip(x) {
            *sum += dy * ((x - mean) * rstd);
        }
    });
}
