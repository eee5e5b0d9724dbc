//! The largest magnitude of every group.

use super::Cast;
use super::engine::Engine;
use super::options::QuantizeOptions;
use super::scales::room;
use super::view::{MatRef, Widened};
use crate::error::Error;
use crate::format::FormatId;
use crate::scale::{Granularity, Rule};
use crate::slice::parallel::{join, parts};
use std::vec::Vec;

/// amax\[group\] = the largest |x| of the group; 0 of none.
///
/// Inf is larger than every number. With `drop_nan` NaN is passed over, as TransformerEngine and
/// DeepSeek do; else it makes its group's amax NaN, as torch does. Groups are in the order of the
/// granularity's grid. Runs on the threads of the caller's pool.
///
/// # Errors
/// [`Error::Range`] for a block without rows or columns, [`Error::Memory`].
///
/// ```
/// use quarter::tensor::{MatRef, amax};
/// use quarter::Granularity;
/// let x = [1.0_f32, -3.0, f32::NAN, 2.0];
/// let x = MatRef::new(&x, 2, 2)?;
/// assert_eq!(amax(x, Granularity::Row, true)?, [3.0, 2.0]);
/// assert!(amax(x, Granularity::Tensor, false)?[0].is_nan());
/// # Ok::<(), quarter::Error>(())
/// ```
pub fn amax(src: MatRef<'_>, granularity: Granularity, drop_nan: bool) -> Result<Vec<f32>, Error> {
    // Any rule with this treatment of NaN.
    let rule = if drop_nan { Rule::TeCurrent } else { Rule::TorchAo };
    let cast = Cast::new(FormatId::F8E4M3, granularity, rule);
    let (rows, cols) = src.shape();
    let mut peaks = room(Vec::new(), granularity.groups(rows, cols))?;
    let engine = Engine::new(src, &cast, &QuantizeOptions::new())?.folded();
    let shape = engine.src.shape();
    if shape.0 > engine.block.0 {
        let parts = parts(shape.0 * shape.1, engine.threads);
        bands(&engine, (0, shape.0.div_ceil(engine.block.0)), &mut peaks, parts);
    } else if rows * cols > 0 {
        peaks = engine.peaks()?;
    }
    Ok(peaks.into_iter().map(f32::from_bits).collect())
}

/// The peaks of some rows of groups.
fn bands(engine: &Engine<'_>, (from, to): (usize, usize), peaks: &mut [u32], parts: usize) {
    let at = from + (to - from) / parts * (parts / 2);
    if parts >= 2 && at > from {
        let (one, two) = peaks.split_at_mut((at - from) * engine.grid_cols);
        join(
            || bands(engine, (from, at), one, parts / 2),
            || bands(engine, (at, to), two, parts - parts / 2),
        );
        return;
    }
    let (rows, cols) = engine.src.shape();
    let mut buffer = Widened::new();
    for (band, peaks) in (from..to).zip(peaks.chunks_mut(engine.grid_cols.max(1))) {
        let first = band * engine.block.0;
        for row in first..(first + engine.block.0).min(rows) {
            engine.peaks_of_row(row, (0, cols), peaks, &mut buffer);
        }
    }
}
