//! Source → amax → scale → codes, tile by tile.
//!
//! ```text
//! for each band of block rows, for each strip of block columns that the cache holds:
//!     peaks[group]  = largest |x|            every row of the band
//!     scale[group]  = rule(peaks[group])
//!     codes         = encode(x · scale)      every row again, now from the cache
//! ```
//!
//! So memory is read once, but where a group is larger than the cache: then all amaxes come first
//! (`peaks`), and codes are made under given scales. A group that is the whole of its row is a
//! piece of a row of all elements, so small rows and one long row go the same way. What becomes of
//! the codes (stored, transposed, decoded again) is the [`Target`]'s.

use super::options::{QuantizeOptions, StatsLevel};
use super::pieces::{Area, piece_group, pieces};
use super::scales::Scales;
use super::view::{MatRef, Widened};
use super::{Cast, scales};
use crate::arch::encoder::{Encoder, Method};
use crate::arch::{Isa, Kernels};
use crate::error::Error;
use crate::format::{FormatSpec, RandomStream, Unpacked};
use crate::scale::{Context, Granularity, Operation, Rule, Scaler};
use crate::slice::parallel::{join, parts};
use crate::slice::{EncodeOptions, Random, Values};
use std::vec;
use std::vec::Vec;

/// How scaled values become codes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// Scaled and encoded by one kernel.
    Fused,
    /// Scaled into a buffer, which is encoded.
    Buffered,
    /// Scaled into a buffer, then one by one.
    Reference,
}

/// One call's settings.
pub(super) struct Engine<'a> {
    pub cast: Cast,
    pub spec: &'static FormatSpec,
    pub src: MatRef<'a>,
    pub kernels: &'static Kernels,
    /// Rows and columns of a group.
    pub block: (usize, usize),
    /// Columns of the grid of groups.
    pub grid_cols: usize,
    pub encoder: Encoder,
    /// The largest finite number, as f32 bits.
    pub max: u32,
    /// The code of NaN in a format without.
    pub nan_code: u8,
    pub how: How,
    context: Context,
    pub scaler: Scaler,
    /// Scales to use instead of the rule's.
    pub given: Option<&'a Scales>,
    pub random: Option<RandomStream>,
    pub stats: StatsLevel,
    pub threads: usize,
    pub isa: Isa,
}

impl<'a> Engine<'a> {
    /// # Errors
    /// A cast that is none, random words missing, given scales of another number or kind.
    pub fn new(src: MatRef<'a>, cast: &Cast, options: &QuantizeOptions<'a>) -> Result<Self, Error> {
        cast.check()?;
        let (rows, cols) = src.shape();
        let spec = cast.format.spec();
        if cast.rounding.is_stochastic() && options.random.is_none() {
            return Err(Error::RandomMissing);
        }
        if let Some(scales) = options.scales {
            scales.check(cast.granularity.groups(rows, cols))?;
            if scales.format() != cast.rule.scale_format() {
                let why = "given scales are stored otherwise than the cast's rule stores them";
                return Err(Error::Cast { why });
            }
        }
        let encoder = Encoder::new(spec, cast.policy(), 1.0, false);
        let multiply = cast.rule.operation() == Operation::Multiply;
        let plain = multiply && spec.has_nan() && !cast.rule.drops_neg_zero();
        let how = match encoder.method {
            Method::Nearest if plain && options.stats == StatsLevel::None => How::Fused,
            Method::Nearest | Method::General => How::Buffered,
            Method::Truncating | Method::Reference => How::Reference,
        };
        let block = cast.granularity.block(rows, cols);
        let block = (block.0.min(rows.max(1)), block.1.min(cols.max(1)));
        let context = Context { source: src.source_type(), ..options.context };
        let mut engine = Self {
            cast: *cast,
            spec,
            src,
            kernels: options.isa.kernels(),
            block,
            grid_cols: cols.div_ceil(block.1),
            encoder,
            max: (spec.max() as f32).to_bits(),
            nan_code: Unpacked::from_f32(cast.rule.nan_value()).round(spec, cast.policy(), 0) as u8,
            how,
            context,
            scaler: Scaler::new(cast.rule, spec, &context),
            given: options.scales,
            random: options.random.filter(|_| cast.rounding.is_stochastic()),
            stats: options.stats,
            threads: options.threads,
            isa: options.isa,
        };
        if engine.given.is_none() && cast.rule == Rule::Nvfp4 {
            let block = (rows.max(1), cols.max(1));
            let tensor = Self { block, grid_cols: cols.min(1), ..engine }.folded();
            let amax = tensor.peaks()?.first().map_or(0.0, |peak| f32::from_bits(*peak));
            engine.context.global_scale = cast.rule.global_scale(spec, amax);
            engine.scaler = Scaler::new(cast.rule, spec, &engine.context);
        }
        Ok(engine)
    }

    /// The scale of the tensor of which block scales are parts.
    pub const fn global_scale(&self) -> f32 {
        self.context.global_scale
    }

    /// The matrix as one row, where groups lie in it one after the other.
    pub fn folded(self) -> Self {
        let (rows, cols) = self.src.shape();
        let whole = self.block == (rows, cols);
        let in_rows = self.block.0 == 1 && cols.is_multiple_of(self.block.1);
        if !self.src.is_contiguous() || rows < 2 || cols == 0 || !(whole || in_rows) {
            return self;
        }
        let block = (1, if whole { rows * cols } else { self.block.1 });
        let grid_cols = (rows * cols).div_ceil(block.1);
        Self { src: self.src.as_row(), block, grid_cols, ..self }
    }

    /// Whether amaxes had better come first: there is one row of groups, or one group, and it is
    /// to be shared by threads or is taller than this.
    pub fn is_two_pass(&self, tall: usize) -> bool {
        let (rows, cols) = self.src.shape();
        let one_band = self.block.0 >= rows && rows > 1;
        let one_group = rows == 1 && self.block.1 >= cols;
        let shared = parts(rows * cols, self.threads) > 1;
        self.given.is_none() && (one_band || one_group) && (shared || rows > tall)
    }

    /// Whether there is one group, in one row.
    pub fn is_one_group(&self) -> bool {
        self.src.shape().0 == 1 && self.block.1 >= self.src.shape().1 && self.given.is_none()
    }

    /// Rows and columns of the areas into which work may be cut.
    pub fn unit(&self) -> (usize, usize) {
        match self.given {
            Some(_) => (1, piece_group(self.block.1)),
            None => self.block,
        }
    }

    /// The values and options of a conversion of slices that is the same; there is none but for
    /// one given scale of a matrix without gaps.
    pub fn as_slice(&self) -> Option<(Values<'a>, EncodeOptions<'a>)> {
        let rule = self.cast.rule;
        let nan_is_zero = self.spec.has_nan() || self.nan_code == 0;
        let multiply = rule.operation() == Operation::Multiply;
        let plain = multiply && nan_is_zero && !rule.drops_neg_zero();
        let one = self.cast.granularity == Granularity::Tensor;
        // Statistics are of the values as f32.
        let wide = matches!(self.src.flat()?, Values::F64(_)) && self.stats != StatsLevel::None;
        let scales = self.given.filter(|_| plain && one && !wide)?;
        let random = match self.random {
            Some(stream) => Random::Stream { stream, start: 0 },
            None => Random::None,
        };
        let options = EncodeOptions::new(self.cast.policy())
            .scale(scales.group(0).scale)
            .random(random)
            .threads(self.threads)
            .isa(self.isa);
        Some((self.src.flat()?, options))
    }

    /// The same under given scales.
    pub fn given(self, scales: &'a Scales) -> Self {
        Self { given: Some(scales), ..self }
    }

    /// The scale of every group, by amaxes alone: where there is one row of groups.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn scales(&self) -> Result<Scales, Error> {
        let peaks = self.peaks()?;
        let mut scales = Scales::default().room(&self.cast, peaks.len())?;
        scales.set_global(self.global_scale());
        for (i, peak) in peaks.iter().enumerate() {
            scales.set(i, self.scaler.scale(f32::from_bits(*peak)));
        }
        Ok(scales)
    }

    /// The amax of every group as f32 bits, where there is one row of groups.
    pub fn peaks(&self) -> Result<Vec<u32>, Error> {
        let mut peaks = scales::room(Vec::new(), self.grid_cols)?;
        let (rows, cols) = self.src.shape();
        if rows * cols > 0 {
            let area = Area::of((rows, cols));
            self.peaks_of(area, &mut peaks, parts(rows * cols, self.threads));
        }
        Ok(peaks)
    }

    /// `peaks` are those of all columns, or of the one group.
    fn peaks_of(&self, area: Area, peaks: &mut [u32], parts: usize) {
        let cut = |(from, to): (usize, usize)| from + (to - from) / parts * (parts / 2);
        let [a, b] = if area.height() > 1 {
            let at = cut(area.rows);
            [Area { rows: (area.rows.0, at), ..area }, Area { rows: (at, area.rows.1), ..area }]
        } else {
            let at = cut(area.cols);
            [Area { cols: (area.cols.0, at), ..area }, Area { cols: (at, area.cols.1), ..area }]
        };
        let whole = area.height() > 1 || peaks.len() == 1;
        if parts < 2 || !whole || a.height() * a.width() == 0 {
            let mut buffer = Widened::new();
            for row in area.rows.0..area.rows.1 {
                self.peaks_of_row(row, area.cols, peaks, &mut buffer);
            }
            return;
        }
        let mut others = vec![0; peaks.len()];
        let left = parts / 2;
        join(|| self.peaks_of(a, peaks, left), || self.peaks_of(b, &mut others, parts - left));
        for (peak, other) in peaks.iter_mut().zip(others) {
            *peak = (*peak).max(other);
        }
    }

    /// Raises the peaks of the groups that `cols` meet.
    pub fn peaks_of_row(
        &self,
        row: usize,
        cols: (usize, usize),
        peaks: &mut [u32],
        buffer: &mut Widened,
    ) {
        let drop_nan = self.cast.rule.drops_nan();
        pieces(cols, self.block.1, |piece| {
            let at = (row, piece.col);
            let peaks = &mut peaks[piece.first..];
            if self.block.1 > 1 && piece.len <= piece.group {
                let amax = self.src.amax(self.kernels, drop_nan, at, piece.len, buffer);
                peaks[0] = peaks[0].max(amax);
                return;
            }
            let values = self.src.load(self.kernels, at, piece.len, buffer);
            if self.block.1 == 1 {
                self.kernels.amax_columns(drop_nan, values, &mut peaks[..piece.len]);
            } else {
                let n = piece.len.div_ceil(piece.group);
                self.kernels.amax_groups(drop_nan, piece.group, values, &mut peaks[..n]);
            }
        });
    }
}
