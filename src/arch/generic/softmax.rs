//! Softmax of rows with its backward, and the cross entropy of it.

use super::math::{exp, ln, quiet};
use super::reduce::{CHUNK, LANES, accumulate, fold, sum_by};

/// Exponentials that wait to be added.
const PIECE: usize = 512;

/// The largest scale·x, NaN passed over; −Inf of none.
#[inline(always)]
fn largest(scale: f32, x: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (whole, tail) = x.as_chunks::<LANES>();
    for x in whole {
        for i in 0..LANES {
            let x = scale * x[i];
            lanes[i] = if x > lanes[i] { x } else { lanes[i] };
        }
    }
    for (lane, x) in lanes.iter_mut().zip(tail) {
        let x = scale * x;
        *lane = if x > *lane { x } else { *lane };
    }
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            let x = lanes[i + half];
            lanes[i] = if x > lanes[i] { x } else { lanes[i] };
        }
    }
    lanes[0]
}

/// How many columns a row sees; and that rounded up to whole runs of lanes, if there are as many:
/// a few elements more take less time than those that are left of a vector, and zeros add nothing.
#[inline(always)]
fn visible(cols: usize, causal: bool, row: usize) -> (usize, usize) {
    let seen = if causal { row % cols + 1 } else { cols };
    (seen, seen.next_multiple_of(LANES).min(cols))
}

/// Each row becomes exp(scale·x − max) / Σ over what it sees, and +0 beyond.
#[inline(always)]
pub(crate) fn softmax(x: &mut [f32], cols: usize, scale: f32, causal: bool, first: usize) {
    for (row, x) in x.chunks_exact_mut(cols).enumerate() {
        let (seen, run) = visible(cols, causal, first + row);
        let max = largest(scale, &x[..seen]);
        x[seen..].fill(0.0);
        let x = &mut x[..run];
        let mut total = 0.0;
        for (i, x) in x.chunks_mut(CHUNK).enumerate() {
            for x in x.iter_mut() {
                *x = exp(scale * *x - max);
            }
            let end = x.len().min(seen - i * CHUNK);
            x[end..].fill(0.0);
            total += sum_by(x, x, x, |x, _, _| x);
        }
        for x in x.iter_mut() {
            *x = quiet(*x / total);
        }
        x[seen..].fill(0.0);
    }
}

/// Each row of `dp` becomes scale · (p · (dp − Σ p·dp)) over what it sees, and +0 beyond.
#[inline(always)]
pub(crate) fn softmax_backward(
    p: &[f32],
    dp: &mut [f32],
    cols: usize,
    scale: f32,
    causal: bool,
    first: usize,
) {
    for (row, (p, dp)) in p.chunks_exact(cols).zip(dp.chunks_exact_mut(cols)).enumerate() {
        let (seen, run) = visible(cols, causal, first + row);
        dp[seen..].fill(0.0);
        let (p, now) = (&p[..run], &mut dp[..run]);
        let sum = sum_by(p, now, now, |p, dp, _| p * dp);
        for (p, dp) in p.iter().zip(now) {
            *dp = quiet(scale * (p * (*dp - sum)));
        }
        dp[seen..run].fill(0.0);
    }
}

/// The loss ln(Σ exp(l − max)) + (max − l\[target\]) of each row; its gradient
/// weight · (exp(l − max) / Σ − \[target\]).
#[inline(always)]
pub(crate) fn cross_entropy(
    logits: &[f32],
    vocab: usize,
    targets: &[u32],
    mut gradient: Option<&mut [f32]>,
    weight: f32,
    losses: &mut [f32],
) {
    let mut buffer = [0.0; PIECE];
    for (row, (target, loss)) in targets.iter().zip(losses).enumerate() {
        let x = &logits[row * vocab..][..vocab];
        let mut gradient = gradient.as_mut().map(|g| &mut g[row * vocab..][..vocab]);
        let max = largest(1.0, x);
        let mut total = 0.0;
        for (chunk, x) in x.chunks(CHUNK).enumerate() {
            let mut lanes = [0.0; LANES];
            for (piece, x) in x.chunks(PIECE).enumerate() {
                let exps = match &mut gradient {
                    Some(gradient) => &mut gradient[chunk * CHUNK + piece * PIECE..][..x.len()],
                    None => &mut buffer[..x.len()],
                };
                for (x, e) in x.iter().zip(exps.iter_mut()) {
                    *e = exp(x - max);
                }
                accumulate(&mut lanes, exps, exps, exps, |e, _, _| e);
            }
            total += fold(lanes);
        }
        let target = *target as usize;
        *loss = quiet(ln(total) + (max - x[target]));
        if let Some(gradient) = gradient {
            let hit = quiet(weight * (gradient[target] / total - 1.0));
            for e in gradient.iter_mut() {
                *e = quiet(weight * (*e / total));
            }
            gradient[target] = hit;
        }
    }
}
