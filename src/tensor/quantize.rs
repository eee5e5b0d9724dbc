//! Values → codes and scales: what callers call.

use super::Cast;
use super::dequantize::decoder;
use super::engine::Engine;
use super::options::{QuantizeOptions, StatsLevel};
use super::quantized::Quantized;
use super::scales::{Places, Scales};
use super::target::{Decoded, Stored};
use super::tiles::{Counted, TALL};
use super::turn::turn;
use super::view::{MatMut, MatRef};
use crate::error::Error;
use crate::slice::{QuantStats, STREAM, encode, encode_stats};
use std::mem::take;
use std::vec;
use std::vec::Vec;

/// codes = encode(x · scale), scale = rule(amax), for every group of the cast's granularity.
///
/// The codes and scales are those of the rule's engine, to the bit. Runs on the threads of the
/// caller's pool; the bits do not depend on their number, nor on the instruction set.
///
/// # Errors
/// [`Error::Cast`] for a cast that is none, [`Error::RandomMissing`], [`Error::Length`] for given
/// scales of another number, [`Error::Memory`].
///
/// ```
/// use quarter::tensor::{MatMut, MatRef, QuantizeOptions, quantize};
/// let x: Vec<f32> = (0..6 * 256).map(|i| (i as f32).sin()).collect();
/// let cast = "e4m3:1x128:te-block".parse()?;
/// let q = quantize(MatRef::new(&x, 6, 256)?, &cast, &QuantizeOptions::new())?;
/// assert_eq!((q.codes().len(), q.scales().len()), (6 * 256, 6 * 2));
/// assert_eq!(q.scales().scale_inv(0), 1.0 / 256.0); // 448 / 0.99.., down to a power of two
/// let mut y = vec![0.0_f32; x.len()];
/// q.dequantize_into(MatMut::new(&mut y, 6, 256)?)?;
/// assert!(x.iter().zip(&y).all(|(x, y)| (x - y).abs() <= x.abs() / 16.0 + 1e-5));
/// # Ok::<(), quarter::Error>(())
/// ```
pub fn quantize(
    src: MatRef<'_>,
    cast: &Cast,
    options: &QuantizeOptions<'_>,
) -> Result<Quantized, Error> {
    reusing(src, cast, options, Quantized::default())
}

/// [`quantize`] into the memory of an earlier result, of whatever shape and cast.
///
/// # Errors
/// Those of [`quantize`]; then `quantized` is empty.
pub fn quantize_into(
    src: MatRef<'_>,
    cast: &Cast,
    options: &QuantizeOptions<'_>,
    quantized: &mut Quantized,
) -> Result<(), Error> {
    *quantized = reusing(src, cast, options, take(quantized))?;
    Ok(())
}

/// [`quantize`] in the memory of an earlier result.
fn reusing(
    src: MatRef<'_>,
    cast: &Cast,
    options: &QuantizeOptions<'_>,
    old: Quantized,
) -> Result<Quantized, Error> {
    let mut codes = room(src, old.codes)?;
    let engine = Engine::new(src, cast, options)?.folded();
    let mut out = Out::new(&engine, cast, src.shape(), options, old.scales)?;
    if codes.is_empty() {
        return Ok(out.finish(codes, engine.run(Places::default(), Stored::new(&mut [], 0, false))));
    }
    let known;
    let (engine, places) = if options.scales.is_some() {
        (engine, Places::default())
    } else if engine.is_two_pass(TALL) || engine.is_one_group() {
        out.scales = engine.scales()?;
        known = out.scales.clone();
        (engine.given(&known), Places::default())
    } else {
        (engine, out.scales.places())
    };
    let counted = match engine.as_slice() {
        Some((values, options)) => {
            let total = if engine.stats == StatsLevel::None {
                encode(engine.spec, values, &mut codes, &options).map(|()| QuantStats::default())
            } else {
                encode_stats(engine.spec, values, &mut codes, &options)
            }?;
            Counted::of_slice(total)
        }
        None => {
            let stream = 5 * codes.len() >= STREAM;
            let cols = engine.src.shape().1;
            engine.run(places, Stored::new(&mut codes, cols, stream))
        }
    };
    Ok(out.finish(codes, counted))
}

/// The quantized transpose of `src`: [`quantize`] of it, with codes and scales of the same bits
/// but for stochastic rounding, whose words belong to the elements of `src` itself.
///
/// `cast` is in the coordinates of the result: `1x128` runs along the rows of `src`.
///
/// # Errors
/// Those of [`quantize`].
///
/// ```
/// use quarter::tensor::{MatRef, QuantizeOptions, quantize, quantize_transposed};
/// let x: Vec<f32> = (0..12).map(|i| i as f32 - 5.0).collect();
/// let x = MatRef::new(&x, 3, 4)?;
/// let cast = "e4m3:row:te-current".parse()?;
/// let options = QuantizeOptions::new();
/// let q = quantize_transposed(x, &cast, &options)?;
/// assert_eq!((q.rows(), q.cols()), (4, 3));
/// assert_eq!(q, quantize(x.transposed(), &cast, &options)?);
/// # Ok::<(), quarter::Error>(())
/// ```
pub fn quantize_transposed(
    src: MatRef<'_>,
    cast: &Cast,
    options: &QuantizeOptions<'_>,
) -> Result<Quantized, Error> {
    let scales = (None, options.scales);
    let (_, quantized) = turn(src, None, cast, scales, options, Default::default())?;
    Ok(quantized)
}

/// `(quantize(src, cast), quantize_transposed(src, cast_t))`, reading memory once where no group
/// is larger than the cache: what a layer needs of its input and of its gradient.
///
/// Statistics by blocks, if asked for, are of both. Scales may be given for either:
/// [`QuantizeOptions::scales`] and [`QuantizeOptions::scales_t`].
///
/// # Errors
/// Those of [`quantize`].
///
/// ```
/// use quarter::tensor::{MatRef, QuantizeOptions, quantize_both};
/// let x = vec![0.5_f32; 200 * 300];
/// let cast = "e4m3:1x128:te-block".parse()?;
/// let (q, qt) =
///     quantize_both(MatRef::new(&x, 200, 300)?, &cast, &cast, &QuantizeOptions::new())?;
/// assert_eq!((q.scales().len(), qt.scales().len()), (200 * 3, 300 * 2));
/// # Ok::<(), quarter::Error>(())
/// ```
pub fn quantize_both(
    src: MatRef<'_>,
    cast: &Cast,
    cast_t: &Cast,
    options: &QuantizeOptions<'_>,
) -> Result<(Quantized, Quantized), Error> {
    let (mut quantized, mut quantized_t) = Default::default();
    quantize_both_into(src, (cast, cast_t), options, (&mut quantized, &mut quantized_t))?;
    Ok((quantized, quantized_t))
}

/// [`quantize_both`] into the memory of earlier results.
///
/// # Errors
/// Those of [`quantize_both`]; then both are empty.
pub fn quantize_both_into(
    src: MatRef<'_>,
    (cast, cast_t): (&Cast, &Cast),
    options: &QuantizeOptions<'_>,
    (quantized, quantized_t): (&mut Quantized, &mut Quantized),
) -> Result<(), Error> {
    let old = [take(quantized), take(quantized_t)];
    let scales = (options.scales, options.scales_t);
    let (first, second) = turn(src, Some(cast), cast_t, scales, options, old)?;
    *quantized = match first {
        Some(first) => first,
        None => quantize(src, cast, options)?,
    };
    *quantized_t = second;
    Ok(())
}

/// dst = dequantize(quantize(src)), bit for bit, without storing codes.
///
/// Into f32, bf16 (one more rounding to nearest even), f16 or f64. With these values a chip
/// without FP8 trains under the recipe's rounding; see also
/// [`codes_as_bf16`](Quantized::codes_as_bf16).
///
/// # Errors
/// Those of [`quantize`], and [`Error::Shape`] unless the destination has the source's shape.
/// Nothing is written then.
///
/// ```
/// use quarter::tensor::{MatMut, MatRef, QuantizeOptions, fake_quantize_into};
/// let x = [1.0_f32, 0.3, -0.001, 7.0];
/// let mut y = [0.0_f32; 4];
/// let cast = "e4m3:1x2:te-mx".parse()?;
/// let options = QuantizeOptions::new();
/// fake_quantize_into(MatRef::new(&x, 2, 2)?, &cast, &options, MatMut::new(&mut y, 2, 2)?)?;
/// assert_eq!(y, [1.0, 0.3125, -0.0009765625, 7.0]);
/// # Ok::<(), quarter::Error>(())
/// ```
pub fn fake_quantize_into(
    src: MatRef<'_>,
    cast: &Cast,
    options: &QuantizeOptions<'_>,
    dst: MatMut<'_>,
) -> Result<(), Error> {
    if dst.shape() != src.shape() {
        let (expected, got) = (src.shape(), dst.shape());
        return Err(Error::Shape { what: "destination", expected, got });
    }
    let engine = Engine::new(src, cast, options)?;
    let decoder = decoder(cast.format)?;
    let engine = if dst.is_contiguous() { engine.folded() } else { engine };
    let global = match options.scales {
        Some(scales) => scales.global_scale_inv(),
        None => 1.0 / engine.global_scale(),
    };
    let target = Decoded::new(dst.into_parts(), decoder, global);
    if engine.is_two_pass(TALL) {
        let scales = engine.scales()?;
        engine.given(&scales).run(Places::default(), target);
    } else {
        engine.run(Places::default(), target);
    }
    Ok(())
}

/// What a result is but for its codes.
pub(super) struct Out {
    quantized: Quantized,
    pub scales: Scales,
    stats: StatsLevel,
}

impl Out {
    pub fn new(
        engine: &Engine<'_>,
        cast: &Cast,
        (rows, cols): (usize, usize),
        options: &QuantizeOptions<'_>,
        old: Scales,
    ) -> Result<Self, Error> {
        let scales = match options.scales {
            Some(scales) => scales.clone(),
            None => {
                let mut scales = old.room(cast, cast.granularity.groups(rows, cols))?;
                scales.set_global(engine.global_scale());
                if rows == 0 || cols == 0 {
                    let none = engine.scaler.scale(0.0);
                    (0..scales.len()).for_each(|i| scales.set(i, none));
                }
                scales
            }
        };
        let quantized = Quantized {
            format: cast.format,
            rows,
            cols,
            granularity: cast.granularity,
            rule: Some(cast.rule),
            ..Quantized::default()
        };
        Ok(Self { quantized, scales, stats: options.stats })
    }

    pub fn finish(self, codes: Vec<u8>, counted: Counted) -> Quantized {
        let (stats, block_stats) = match self.stats {
            StatsLevel::None => (None, Vec::new()),
            StatsLevel::Tensor => (Some(counted.total), Vec::new()),
            StatsLevel::Blocks => (Some(counted.total), counted.blocks),
        };
        Quantized { codes, scales: self.scales, stats, block_stats, ..self.quantized }
    }

    /// The transposed result of a grid with this many columns.
    pub fn turned(mut self, grid: (usize, usize), codes: Vec<u8>, counted: Counted) -> Quantized {
        self.scales = self.scales.transposed(grid.1);
        let (rows, cols) = (self.quantized.cols, self.quantized.rows);
        let granularity = self.quantized.granularity.transposed();
        self.quantized = Quantized { rows, cols, granularity, ..self.quantized };
        let blocks = super::scales::transposed(&counted.blocks, grid.1);
        self.finish(codes, Counted { blocks, ..counted })
    }
}

/// Room for the codes of `src`.
///
/// # Errors
/// [`Error::Memory`], where strides make more elements than the slice has.
pub(super) fn room(src: MatRef<'_>, mut codes: Vec<u8>) -> Result<Vec<u8>, Error> {
    let (rows, cols) = src.shape();
    let n = rows * cols;
    if codes.capacity() >= n {
        codes.resize(n, 0);
    } else if src.overlaps() {
        codes = super::scales::room(codes, n)?;
    } else {
        codes = vec![0; n];
    }
    Ok(codes)
}
