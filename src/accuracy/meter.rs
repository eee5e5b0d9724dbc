//! Pairs as they come: chunks, lanes, and the pairs that f64 does not hold the squares of.

use super::exact::{Exact, fold, scale};
use super::histogram::{ChunkBins, exponent};
use super::metrics::{Backward, Metrics, Worst};
use super::numbers::{Numbers, Room};
use crate::arch::Isa;
use crate::arch::vector::{BackwardLanes, ERROR_LANES, ErrorLanes, ErrorRule};
use crate::error::{Error, Result};
use crate::format::FormatSpec;
use crate::slice::parallel::{join, parts};
use std::ops::Range;

/// Pairs of a chunk.
const CHUNK: usize = 4096;

/// What values are measured in, and by what means.
///
/// ```
/// use quarter::FormatId;
/// use quarter::accuracy::CompareOptions;
/// let e4m3 = CompareOptions::new(FormatId::F8E4M3.spec()).scale_inv(0.25).histogram(true);
/// # let _ = e4m3;
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct CompareOptions {
    spec: FormatSpec,
    scale_inv: f32,
    histogram: bool,
    threads: usize,
    isa: Isa,
}

impl CompareOptions {
    /// In ulps of this format, which also says what is saturated and subnormal; no histogram, all
    /// threads of the caller's pool, the best instruction set.
    pub fn new(spec: &FormatSpec) -> Self {
        Self { spec: *spec, scale_inv: 1.0, histogram: false, threads: 0, isa: Isa::best() }
    }

    /// Values are the format's times this, a positive number: fl(code · scale_inv), as a tensor
    /// with one scale is dequantized. Figures in ulps, `saturated` and `subnormal` go by it.
    pub const fn scale_inv(self, scale_inv: f32) -> Self {
        Self { scale_inv, ..self }
    }

    /// Whether to keep errors by the exponent of the expected value. It costs time.
    pub const fn histogram(self, histogram: bool) -> Self {
        Self { histogram, ..self }
    }

    /// The most threads of the caller's pool to use; 1 keeps off rayon, 0 asks for all.
    pub const fn threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    /// Another instruction set: the bits are the same.
    pub const fn isa(self, isa: Isa) -> Self {
        Self { isa, ..self }
    }

    pub(super) const fn threads_asked(&self) -> usize {
        self.threads
    }

    /// # Errors
    /// [`Error::Cast`] unless `scale_inv` is a positive number.
    pub(super) fn check(&self) -> Result<()> {
        let why = "a comparison's scale_inv must be a positive number";
        if self.scale_inv > 0.0 && self.scale_inv.is_finite() {
            Ok(())
        } else {
            Err(Error::Cast { why })
        }
    }

    fn rule(&self) -> ErrorRule {
        let Self { spec, scale_inv, .. } = self;
        let power = |e: i32| scale(1.0, e);
        let scaled = |x: f64| {
            let rounded = f64::from(x as f32 * scale_inv);
            if *scale_inv == 1.0 { x } else { rounded }
        };
        let scale_inv = f64::from(*scale_inv);
        let units = 1.0 / scale_inv;
        ErrorRule {
            // Codes that are powers of two must not come out below them: 49 · (1 / 49) is.
            units: if scale_inv * units < 1.0 { units.next_up() } else { units },
            low: power(spec.emin()),
            high: power(spec.emax()),
            steps: units * power(spec.man_bits() as i32 - 1),
            limit: scaled(spec.max()),
            min_normal: scaled(spec.min_normal()),
        }
    }
}

/// Collects [`Metrics`] of a stream of pairs: however it is cut, the bits are those of all at once.
///
/// ```
/// use quarter::FormatId;
/// use quarter::accuracy::{CompareOptions, Meter, Metrics};
/// let expected: Vec<f32> = (0..10_000).map(|i| (i as f32).sin()).collect();
/// let actual: Vec<f32> = expected.iter().map(|x| x * 1.001).collect();
/// let options = CompareOptions::new(FormatId::Bf16.spec());
/// let mut meter = Meter::new(&options);
/// for (actual, expected) in actual.chunks(777).zip(expected.chunks(777)) {
///     meter.add(actual, expected)?;
/// }
/// assert_eq!(meter.take(), Metrics::of(&actual, &expected, &options)?);
/// # Ok::<(), quarter::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Meter {
    options: CompareOptions,
    rule: ErrorRule,
    /// Of whole chunks, and the counts and maxima of all pairs.
    metrics: Metrics,
    lanes: ErrorLanes,
    /// Odd pairs of the chunk that were looked at.
    odd: u64,
    bins: Option<ChunkBins>,
    backward: BackwardLanes,
    rooms: [Room; 3],
}

impl Meter {
    /// Of no pairs yet.
    pub fn new(options: &CompareOptions) -> Self {
        Self {
            options: *options,
            rule: options.rule(),
            metrics: Metrics::default(),
            lanes: ErrorLanes::default(),
            odd: 0,
            bins: options.histogram.then(ChunkBins::new),
            backward: BackwardLanes::default(),
            rooms: Default::default(),
        }
    }

    /// Adds pairs.
    ///
    /// # Errors
    /// [`Error::Length`] if one has more elements than the other, [`Error::Cast`] if the options'
    /// `scale_inv` is no positive number; nothing is added then.
    pub fn add<'a, 'b>(
        &mut self,
        actual: impl Into<Numbers<'a>>,
        expected: impl Into<Numbers<'b>>,
    ) -> Result<()> {
        let (actual, expected) = (actual.into(), expected.into());
        self.options.check()?;
        same("actual", &expected, &actual)?;
        self.add_all(&actual, &expected, None);
        Ok(())
    }

    /// Adds pairs with magnitudes, see [`Metrics::of_product`].
    ///
    /// # Errors
    /// [`Error::Length`] unless all three have as many elements, [`Error::Cast`] as
    /// [`add`](Self::add); nothing is added then.
    pub fn add_product<'a, 'b, 'c>(
        &mut self,
        actual: impl Into<Numbers<'a>>,
        expected: impl Into<Numbers<'b>>,
        magnitudes: impl Into<Numbers<'c>>,
    ) -> Result<()> {
        let (actual, expected) = (actual.into(), expected.into());
        let magnitudes = magnitudes.into();
        self.options.check()?;
        same("actual", &expected, &actual)?;
        same("magnitudes", &expected, &magnitudes)?;
        self.add_all(&actual, &expected, Some(&magnitudes));
        Ok(())
    }

    /// The figures of the pairs so far.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.clone().take()
    }

    /// The same, and begins again.
    pub fn take(&mut self) -> Metrics {
        self.end_chunk();
        std::mem::take(&mut self.metrics)
    }

    /// Adds as many of each.
    pub(super) fn add_all(&mut self, x: &Numbers<'_>, y: &Numbers<'_>, m: Option<&Numbers<'_>>) {
        self.open(m.is_some());
        let n = x.len();
        let head = self.left().min(n);
        self.span([x, y], m, 0..head);
        let whole = (n - head) / CHUNK * CHUNK;
        self.split([x, y], m, head..head + whole, parts(whole, self.options.threads));
        self.span([x, y], m, head + whole..n);
    }

    /// Makes what is not there of every comparison.
    fn open(&mut self, magnitudes: bool) {
        if self.bins.is_some() {
            self.metrics.histogram.get_or_insert_default();
        }
        if magnitudes {
            self.metrics.backward.get_or_insert_default();
        }
    }

    /// Pairs until the chunk is whole.
    const fn left(&self) -> usize {
        CHUNK - self.metrics.count as usize % CHUNK
    }

    /// Whole chunks, in parts that run at the same time.
    fn split(
        &mut self,
        pairs: [&Numbers<'_>; 2],
        m: Option<&Numbers<'_>>,
        range: Range<usize>,
        parts: usize,
    ) {
        let at = range.start + range.len() / CHUNK * (parts / 2) / parts * CHUNK;
        if at == range.start {
            return self.span(pairs, m, range);
        }
        let mut rest = Self::new(&self.options);
        rest.open(m.is_some());
        join(
            || self.split(pairs, m, range.start..at, parts / 2),
            || {
                rest.split(pairs, m, at..range.end, parts - parts / 2);
                rest.end_chunk();
            },
        );
        self.metrics.merge(&rest.metrics);
    }

    /// Pairs of this range, chunk by chunk.
    fn span(
        &mut self,
        [x, y]: [&Numbers<'_>; 2],
        m: Option<&Numbers<'_>>,
        mut range: Range<usize>,
    ) {
        let mut rooms = std::mem::take(&mut self.rooms);
        let [x_room, y_room, m_room] = &mut rooms;
        while !range.is_empty() {
            let here = (range.start, self.left().min(range.len()));
            let (first, kernels) = (self.metrics.count, self.options.isa.kernels());
            let lane = first as usize % ERROR_LANES;
            if x.wide() || y.wide() {
                let (x, y) = (x.doubles(kernels, here, x_room), y.doubles(kernels, here, y_room));
                kernels.errors_f64(x, y, lane, &self.rule, &mut self.lanes);
                if let Some(ChunkBins(bins)) = &mut self.bins {
                    kernels.error_bins_f64(x, y, lane, bins);
                }
                self.look::<true, _>(x, y);
            } else {
                let (x, y) = (x.singles(kernels, here, x_room), y.singles(kernels, here, y_room));
                kernels.errors(x, y, lane, &self.rule, &mut self.lanes);
                if let Some(ChunkBins(bins)) = &mut self.bins {
                    kernels.error_bins(x, y, lane, bins);
                }
                self.look::<false, _>(x, y);
            }
            if let Some(m) = m {
                let (x, y) = (x.doubles(kernels, here, x_room), y.doubles(kernels, here, y_room));
                self.look_back(x, y, m.doubles(kernels, here, m_room));
            }
            self.metrics.count += here.1 as u64;
            if self.metrics.count.is_multiple_of(CHUNK as u64) {
                self.end_chunk();
            }
            range.start += here.1;
        }
        self.rooms = rooms;
    }

    /// Finds what the kernel noticed in these pairs.
    fn look<const WIDE: bool, T: Copy + Into<f64>>(&mut self, x: &[T], y: &[T]) {
        let (first, rule) = (self.metrics.count, self.rule);
        let pair = |i: usize| -> (f64, f64) { (x[i].into(), y[i].into()) };
        let figure = |i: usize, figure: &dyn Fn(f64, f64) -> f64| {
            let (x, y) = pair(i);
            if ErrorRule::plain::<WIDE>(x, y) { figure((x - y).abs(), y) } else { 0.0 }
        };
        let Metrics { max_abs, max_relative, max_ulps, .. } = &mut self.metrics;
        let ErrorLanes { max_error, max_relative: relative, max_ulps: ulps, .. } = &self.lanes;
        find(max_abs, max_error, first, x.len(), |i| figure(i, &|error, _| error));
        find(max_relative, relative, first, x.len(), |i| figure(i, &ErrorRule::relative));
        find(max_ulps, ulps, first, x.len(), |i| figure(i, &|error, y| rule.ulps(error, y)));
        let odd = self.lanes.odd.iter().sum();
        if odd > self.odd {
            self.odd = odd;
            for (index, i) in (first..).zip(0..x.len()) {
                let (x, y) = pair(i);
                if !ErrorRule::plain::<WIDE>(x, y) {
                    self.look_at_odd(index, x, y);
                }
            }
        }
    }

    /// A pair that is in no lane.
    fn look_at_odd(&mut self, index: u64, x: f64, y: f64) {
        let (rule, metrics) = (&self.rule, &mut self.metrics);
        metrics.saturated += u64::from(x.abs() == rule.limit && y.abs() > x.abs());
        let subnormal = x != 0.0 && x.abs() < rule.min_normal;
        metrics.subnormal += u64::from(subnormal && y.is_finite());
        if !(x.is_finite() && y.is_finite()) {
            let kind = if x == y || x.is_nan() && y.is_nan() {
                &mut metrics.agreeing
            } else if x.is_nan() {
                &mut metrics.nan_made
            } else if y.is_finite() {
                &mut metrics.inf_made
            } else {
                &mut metrics.lost
            };
            *kind += 1;
            return;
        }
        metrics.zeros += u64::from(y == 0.0);
        metrics.from_zero += u64::from(y == 0.0 && x != 0.0);
        metrics.flushed += u64::from(y != 0.0 && x == 0.0);
        let (error, shift) = difference(x, y);
        let capped = scale(error, shift).min(f64::MAX);
        let (relative, ulps) = (ErrorRule::relative(capped, y), rule.ulps(capped, y));
        metrics.max_abs.see(capped, index);
        metrics.max_relative.see(relative, index);
        metrics.max_ulps.see(ulps, index);
        let sums = &mut metrics.sums;
        sums.error.add(error, shift);
        sums.relative.add(relative, 0);
        sums.ulps.add(ulps, 0);
        let (square, twice) = product(error, error);
        sums.error_squares.add(square, twice + 2 * shift);
        let add = |sum: &mut Exact, (x, y): (f64, f64)| {
            let (fraction, shift) = product(x, y);
            sum.add(fraction, shift);
        };
        add(&mut sums.actual_squares, (x, x));
        add(&mut sums.expected_squares, (y, y));
        add(&mut sums.products, (x, y));
        if let Some(histogram) = &mut metrics.histogram {
            histogram.add(y, capped, (square, twice + 2 * shift));
        }
    }

    fn look_back(&mut self, x: &[f64], y: &[f64], m: &[f64]) {
        let Some(backward) = &mut self.metrics.backward else { return };
        let (first, kernels) = (self.metrics.count, self.options.isa.kernels());
        let lanes = &mut self.backward;
        let before: u64 = lanes.odd.iter().sum();
        kernels.backward(x, y, m, first as usize % ERROR_LANES, lanes);
        let ratio = |i: usize| match (x[i] - y[i]).abs() {
            error if error == 0.0 || !ErrorRule::plain_beside(x[i], y[i], m[i]) => 0.0,
            error => error / m[i].abs(),
        };
        find(&mut backward.worst, &lanes.max, first, x.len(), ratio);
        if lanes.odd.iter().sum::<u64>() == before {
            return;
        }
        for (index, ((x, y), m)) in (first..).zip(x.iter().zip(y).zip(m)) {
            let finite = x.is_finite() && y.is_finite() && m.is_finite();
            if !finite || ErrorRule::plain_beside(*x, *y, *m) {
                continue;
            }
            let (error, shift) = difference(*x, *y);
            let ratio = if error == 0.0 { 0.0 } else { scale(error / m.abs(), shift) };
            backward.worst.see(if *m == 0.0 { ratio } else { ratio.min(f64::MAX) }, index);
            let (square, twice) = product(error, error);
            backward.error_squares.add(square, twice + 2 * shift);
            let (square, twice) = product(*m, *m);
            backward.magnitude_squares.add(square, twice);
        }
    }

    /// Adds the chunk's lanes to the sums.
    fn end_chunk(&mut self) {
        let (lanes, metrics) = (&self.lanes, &mut self.metrics);
        for (sum, lanes) in metrics.sums.each().into_iter().zip([
            &lanes.error,
            &lanes.relative,
            &lanes.ulps,
            &lanes.error_squares,
            &lanes.actual_squares,
            &lanes.expected_squares,
            &lanes.products,
        ]) {
            sum.add(fold(*lanes), 0);
        }
        let [odd, zeros, flushed, from_zero, saturated, subnormal] = [
            &lanes.odd,
            &lanes.zeros,
            &lanes.flushed,
            &lanes.from_zero,
            &lanes.saturated,
            &lanes.subnormal,
        ]
        .map(|lanes| lanes.iter().sum::<u64>());
        self.lanes = ErrorLanes::default();
        metrics.zeros += zeros - odd;
        metrics.flushed += flushed;
        metrics.from_zero += from_zero;
        metrics.saturated += saturated;
        metrics.subnormal += subnormal;
        metrics.compared =
            metrics.count - (metrics.agreeing + metrics.nan_made + metrics.inf_made + metrics.lost);
        self.odd = 0;
        if let (Some(bins), Some(histogram)) = (&mut self.bins, &mut metrics.histogram) {
            bins.flush(histogram);
        }
        if let Some(Backward { error_squares, magnitude_squares, .. }) =
            metrics.backward.as_deref_mut()
        {
            let BackwardLanes { errors, magnitudes, .. } = std::mem::take(&mut self.backward);
            error_squares.add(fold(errors), 0);
            magnitude_squares.add(fold(magnitudes), 0);
        }
    }
}

/// # Errors
/// [`Error::Length`] unless `got` has as many as `expected`.
fn same(what: &'static str, expected: &Numbers<'_>, got: &Numbers<'_>) -> Result<()> {
    let (expected, got) = (expected.len(), got.len());
    if expected == got { Ok(()) } else { Err(Error::Length { what, expected, got }) }
}

/// Takes the largest of the lanes if it is new, and finds the first of `n` pairs that has it; pair 0
/// is number `first` of all.
#[inline]
fn find(
    worst: &mut Worst,
    lanes: &[f64; ERROR_LANES],
    first: u64,
    n: usize,
    figure: impl Fn(usize) -> f64,
) {
    let most = lanes.iter().fold(0.0_f64, |most, x| most.max(*x));
    if most <= worst.value {
        return;
    }
    let of_lane = |(lane, _): (usize, &f64)| {
        let begin = (lane + ERROR_LANES - first as usize % ERROR_LANES) % ERROR_LANES;
        (begin..n).step_by(ERROR_LANES).find(|i| figure(*i) == most)
    };
    let have_it = lanes.iter().enumerate().filter(|(_, x)| **x == most);
    let at = have_it.filter_map(of_lane).min();
    *worst = Worst { value: most, index: at.map(|at| first + at as u64) };
}

/// |x − y| = fraction · 2^shift of finite numbers, rounded once, where f64 does not hold it too.
fn difference(x: f64, y: f64) -> (f64, i32) {
    let error = (x - y).abs();
    if error.is_finite() { (error, 0) } else { ((x / 2.0 - y / 2.0).abs(), 1) }
}

/// x · y = fraction · 2^shift of finite numbers, rounded once.
fn product(x: f64, y: f64) -> (f64, i32) {
    if x == 0.0 || y == 0.0 {
        return (0.0, 0);
    }
    let (a, b) = (exponent(x), exponent(y));
    (scale(x, -a) * scale(y, -b), a + b)
}
