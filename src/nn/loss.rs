//! Cross entropy.

use super::exec::Exec;
use super::reduce::{by_rows, length};
use super::split::{HEAVY, Units};
use super::sum;
use crate::error::{Error, Result};

/// Rows whose losses are kept until they are added: a chunk of the sum.
const TOGETHER: usize = 4096;

/// The mean over rows of ln(Σ exp(l − max)) + (max − l\[target\]), summed as [`sum`] does; +0 of
/// no rows. The gradient becomes weight · (exp(l − max) / Σ − \[is target\]).
///
/// There are `targets.len()` rows of `vocab` columns. A mean's gradient has weight
/// 1 / `targets.len()`.
///
/// # Errors
/// [`Error::Length`] for anything of another length, [`Error::Range`] for a target that is not
/// below `vocab`. Then nothing is written.
///
/// ```
/// use quarter::nn::{Exec, cross_entropy};
/// let mut gradient = [0.0; 4];
/// let logits = [0.0, 0.0, 90.0, -90.0];
/// let loss = cross_entropy(&logits, 2, &[1, 0], Some(&mut gradient), 0.5, Exec::new())?;
/// assert_eq!(loss, 2f32.ln() / 2.0);
/// assert_eq!(gradient, [0.25, -0.25, 0.0, 0.0]);
/// # Ok::<(), quarter::Error>(())
/// ```
pub fn cross_entropy(
    logits: &[f32],
    vocab: usize,
    targets: &[u32],
    mut gradient: Option<&mut [f32]>,
    weight: f32,
    exec: Exec,
) -> Result<f32> {
    let n = targets.len().saturating_mul(vocab);
    length("logits", n, logits.len())?;
    length("gradient", n, gradient.as_ref().map_or(n, |gradient| gradient.len()))?;
    if let Some(target) = targets.iter().find(|target| **target as usize >= vocab) {
        let max = vocab as i64 - 1;
        return Err(Error::Range { what: "target", got: i64::from(*target), min: 0, max });
    }
    let mut buffer = [0.0; TOGETHER];
    let mut total = 0.0;
    for (chunk, targets) in targets.chunks(TOGETHER).enumerate() {
        let first = chunk * TOGETHER;
        let losses = &mut buffer[..targets.len()];
        let at = first * vocab..(first + targets.len()) * vocab;
        let logits = &logits[at.clone()];
        let gradient = gradient.as_mut().map(|gradient| Units(&mut gradient[at], vocab));
        let out = (Units(losses, 1), gradient);
        by_rows(HEAVY, (targets.len(), vocab), out, exec, |k, rows, (losses, gradient)| {
            let logits = &logits[rows.start * vocab..rows.end * vocab];
            let (targets, gradient) = (&targets[rows], gradient.map(|gradient| gradient.0));
            k.cross_entropy(logits, vocab, targets, gradient, weight, losses.0);
        });
        total += sum(&buffer[..targets.len()], exec);
    }
    let mean = total / targets.len().max(1) as f32;
    Ok(if mean.is_nan() { f32::NAN } else { mean })
}
