//! The figures of a comparison, and what each is: the definitions stand at [`Metrics`].

use super::exact::{Exact, Scaled};
use super::histogram::Histogram;
use super::meter::{CompareOptions, Meter};
use super::numbers::Numbers;
use crate::error::{Error, Result};
use crate::scale::Granularity;
use crate::slice::parallel::{join, parts};
use crate::tensor::MatRef;
use std::boxed::Box;
use std::fmt;
use std::vec::Vec;

/// The largest of a figure, and where it is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Worst {
    /// The figure; 0 if all are.
    pub value: f64,
    /// The index of the first pair that has it; none if it is 0.
    pub index: Option<u64>,
}

impl Worst {
    /// Takes a figure that is larger, or as large and nearer to the first.
    pub(super) fn see(&mut self, value: f64, index: u64) {
        let nearer = value == self.value && self.index.is_some_and(|first| index < first);
        if value > self.value || nearer {
            *self = Self { value, index: Some(index) };
        }
    }

    fn merge(&mut self, next: &Self, before: u64) {
        if let Some(index) = next.index {
            self.see(next.value, before + index);
        }
    }
}

/// How far actual values are from expected ones.
///
/// Of pairs (x, y), x the actual and y the expected value, let e = |x − y|, rounded once to f64.
///
/// | pair | counted as | in sums and maxima |
/// |---|---|---|
/// | both finite | `compared` | yes |
/// | both NaN, or the same infinity | `agreeing` | no |
/// | x is NaN, y is not | `nan_made` | no |
/// | x is infinite, y is finite | `inf_made` | no |
/// | y is NaN or infinite, x is anything else | `lost` | no |
///
/// Every pair is in one of these. The other counts are of all pairs to which they apply:
///
/// | count | of |
/// |---|---|
/// | `zeros` | y = 0, x finite |
/// | `from_zero` | y = 0, x finite and not 0 |
/// | `flushed` | x = 0, y finite and not 0 |
/// | `saturated` | \|x\| is the format's largest number, \|y\| is above it, Inf included |
/// | `subnormal` | x is subnormal in the format, y finite |
///
/// **Relative** errors are e / |y|, of pairs with y ≠ 0. Errors in **ulps** are e / ulp(y): the
/// distance of the format's numbers in the binade of y, that of its subnormals below, that of its
/// largest binade above; where values are codes times `scale_inv`, times that. Both are at most
/// 2^1000, and e at most the largest f64: no figure is infinite but where a definition divides by 0.
///
/// **Sums** do not depend on threads, on instruction sets, or on how a stream is cut. In chunks of
/// 4,096 pairs, counted from the first, lane i of 8 sums in f64 those with index i mod 8; lanes are
/// folded i with i + 4, then i + 2, i + 1; chunks are added without rounding. Pairs whose squares
/// f64 could not hold (a finite magnitude of x, y or e above 0 outside \[2^-400, 2^500): never
/// those of f32) are each added without rounding, too. So [`merge`](Self::merge) is associative to the
/// bit, and pieces cut at multiples of 4,096 give the bits of the whole.
///
/// ```
/// use quarter::accuracy::{CompareOptions, Metrics};
/// use quarter::{F8E4M3, Format};
/// let expected = [1.0_f32, 1.05, -0.001, 600.0, f32::NAN];
/// let actual = expected.map(F8E4M3::from_f32_sat);
/// let metrics = Metrics::of(&actual, &expected, &CompareOptions::new(&F8E4M3::SPEC))?;
/// assert_eq!((metrics.count, metrics.compared, metrics.agreeing), (5, 4, 1));
/// assert_eq!((metrics.saturated, metrics.flushed), (1, 0));
/// assert_eq!((metrics.max_abs.value, metrics.max_abs.index), (152.0, Some(3)));
/// println!("{metrics}");
/// # Ok::<(), quarter::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Metrics {
    /// All pairs.
    pub count: u64,
    /// Pairs of finite numbers: those of which figures are.
    pub compared: u64,
    /// Pairs of NaN, or of the same infinity.
    pub agreeing: u64,
    /// NaN where something else was expected.
    pub nan_made: u64,
    /// Infinities where a finite number was expected.
    pub inf_made: u64,
    /// Anything else where NaN or an infinity was expected.
    pub lost: u64,
    /// Expected zeros.
    pub zeros: u64,
    /// Numbers that are not 0 where 0 was expected.
    pub from_zero: u64,
    /// Zeros where another number was expected.
    pub flushed: u64,
    /// Largest numbers of the format where a larger one was expected.
    pub saturated: u64,
    /// Subnormals of the format.
    pub subnormal: u64,
    /// The largest |x − y|.
    pub max_abs: Worst,
    /// The largest |x − y| / |y|.
    pub max_relative: Worst,
    /// The largest |x − y| / ulp(y).
    pub max_ulps: Worst,
    pub(super) sums: Sums,
    pub(super) backward: Option<Box<Backward>>,
    pub(super) histogram: Option<Histogram>,
}

/// Sums over the pairs that are compared.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sums {
    pub error: Exact,
    pub relative: Exact,
    pub ulps: Exact,
    pub error_squares: Exact,
    pub actual_squares: Exact,
    pub expected_squares: Exact,
    pub products: Exact,
}

/// Of the pairs that have a magnitude.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Backward {
    pub worst: Worst,
    pub error_squares: Exact,
    pub magnitude_squares: Exact,
}

impl Backward {
    pub fn merge(&mut self, next: &Self, before: u64) {
        self.worst.merge(&next.worst, before);
        self.error_squares.merge(&next.error_squares);
        self.magnitude_squares.merge(&next.magnitude_squares);
    }
}

impl Metrics {
    /// Of two slices, or of two matrices, row by row.
    ///
    /// # Errors
    /// [`Error::Length`] if one has more elements than the other, [`Error::Cast`] if the options'
    /// `scale_inv` is no positive number.
    pub fn of<'a, 'b>(
        actual: impl Into<Numbers<'a>>,
        expected: impl Into<Numbers<'b>>,
        options: &CompareOptions,
    ) -> Result<Self> {
        let mut meter = Meter::new(options);
        meter.add(actual, expected)?;
        Ok(meter.take())
    }

    /// The same with the magnitudes that backward errors are relative to: of a product of matrices
    /// the elements of |A||B|.
    ///
    /// ```
    /// use quarter::FormatId;
    /// use quarter::accuracy::{CompareOptions, Metrics};
    /// // 3·5 − 14 and 1·1: the first lost a bit of its terms, whose magnitudes are 29 together.
    /// let (actual, expected, magnitudes) = ([1.25_f32, 1.0], [1.0_f32, 1.0], [29.0_f32, 1.0]);
    /// let options = CompareOptions::new(FormatId::F32.spec());
    /// let metrics = Metrics::of_product(&actual, &expected, &magnitudes, &options)?;
    /// assert_eq!(metrics.componentwise_backward().unwrap().value, 0.25 / 29.0);
    /// # Ok::<(), quarter::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Length`] unless all three have as many elements, [`Error::Cast`] as [`of`](Self::of).
    pub fn of_product<'a, 'b, 'c>(
        actual: impl Into<Numbers<'a>>,
        expected: impl Into<Numbers<'b>>,
        magnitudes: impl Into<Numbers<'c>>,
        options: &CompareOptions,
    ) -> Result<Self> {
        let mut meter = Meter::new(options);
        meter.add_product(actual, expected, magnitudes)?;
        Ok(meter.take())
    }

    /// One for each group of a matrix, in the order of the granularity's grid. Indices are within
    /// the group, row by row. The last group of a row or column may be smaller.
    ///
    /// ```
    /// use quarter::accuracy::{CompareOptions, Metrics};
    /// use quarter::tensor::MatRef;
    /// use quarter::{FormatId, Granularity};
    /// let (actual, expected) = ([1.0_f32, 2.0, 3.0, 4.5, 5.0, 6.0], [1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0]);
    /// let [actual, expected] = [&actual, &expected].map(|x| MatRef::new(x, 2, 3).unwrap());
    /// let options = CompareOptions::new(FormatId::F32.spec());
    /// let rows = Metrics::by_group(actual, expected, Granularity::Row, &options)?;
    /// assert_eq!((rows[0].max_abs.value, rows[1].max_abs.index), (0.0, Some(0)));
    /// # Ok::<(), quarter::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] if the shapes differ, [`Error::Range`] for a block without rows or columns,
    /// [`Error::Cast`] as [`of`](Self::of), [`Error::Memory`].
    pub fn by_group(
        actual: MatRef<'_>,
        expected: MatRef<'_>,
        granularity: Granularity,
        options: &CompareOptions,
    ) -> Result<Vec<Self>> {
        granularity.check()?;
        options.check()?;
        let (rows, cols) = expected.shape();
        if actual.shape() != (rows, cols) {
            let (what, got) = ("the actual matrix", actual.shape());
            return Err(Error::Shape { what, expected: (rows, cols), got });
        }
        let elements = granularity.groups(rows, cols);
        let mut groups = Vec::new();
        let no_memory = |_| Error::Memory { what: "metrics", elements };
        groups.try_reserve_exact(elements).map_err(no_memory)?;
        let (high, wide) = granularity.block(rows, cols);
        let across = granularity.grid(rows, cols).1.max(1);
        let one = |group: usize, meter: &mut Meter| {
            let (row, col) = (group / across * high, group % across * wide);
            let (rows, cols) = ((row, rows.min(row + high)), (col, cols.min(col + wide)));
            let [actual, expected] = [actual, expected].map(|matrix| matrix.part(rows, cols));
            meter.add_all(&actual.into(), &expected.into(), None);
            meter.take()
        };
        let parts = parts(rows * cols, options.threads_asked());
        if parts == 1 {
            let mut meter = Meter::new(options);
            groups.extend((0..elements).map(|group| one(group, &mut meter)));
        } else {
            groups.resize(elements, Self::default());
            fill(parts, 0, &mut groups, &|| Meter::new(options), &one);
        }
        Ok(groups)
    }

    /// With the figures of the pairs after these, compared by the same options. Indices of `next` go on
    /// from here. Histograms and magnitudes are of those pairs that have them.
    pub fn merge(&mut self, next: &Self) {
        let before = self.count;
        self.max_abs.merge(&next.max_abs, before);
        self.max_relative.merge(&next.max_relative, before);
        self.max_ulps.merge(&next.max_ulps, before);
        let mut more = next.clone();
        self.counts().into_iter().zip(more.counts()).for_each(|(count, more)| *count += *more);
        self.sums.each().into_iter().zip(more.sums.each()).for_each(|(sum, more)| sum.merge(more));
        if let Some(more) = &next.backward {
            self.backward.get_or_insert_default().merge(more, before);
        }
        if let Some(more) = &next.histogram {
            self.histogram.get_or_insert_default().merge(more);
        }
    }

    fn counts(&mut self) -> [&mut u64; 11] {
        [
            &mut self.count,
            &mut self.compared,
            &mut self.agreeing,
            &mut self.nan_made,
            &mut self.inf_made,
            &mut self.lost,
            &mut self.zeros,
            &mut self.from_zero,
            &mut self.flushed,
            &mut self.saturated,
            &mut self.subnormal,
        ]
    }

    /// Σ |x − y| / n over compared pairs; 0 of none.
    #[must_use]
    pub fn mean_abs(&self) -> f64 {
        self.sums.error.value().over(self.compared).to_f64()
    }

    /// The mean of |x − y| / |y| over compared pairs with y ≠ 0; 0 of none.
    #[must_use]
    pub fn mean_relative(&self) -> f64 {
        self.sums.relative.value().over(self.compared - self.zeros).to_f64()
    }

    /// The mean of |x − y| / ulp(y) over compared pairs; 0 of none.
    #[must_use]
    pub fn mean_ulps(&self) -> f64 {
        self.sums.ulps.value().over(self.compared).to_f64()
    }

    /// √(Σ (x − y)² / n) over compared pairs; 0 of none.
    #[must_use]
    pub fn rms(&self) -> f64 {
        self.sums.error_squares.value().over(self.compared).sqrt().to_f64()
    }

    /// The signal-to-noise ratio 10 · log10(Σ y² / Σ (x − y)²), in dB: +Inf without noise, −Inf of
    /// noise alone. The logarithm is the platform's.
    #[must_use]
    pub fn sqnr_db(&self) -> f64 {
        let [signal, noise] = [&self.sums.expected_squares, &self.sums.error_squares];
        let [signal, noise] = [signal.value(), noise.value()];
        match (signal.fraction == 0.0, noise.fraction == 0.0) {
            (_, true) => f64::INFINITY,
            (true, false) => f64::NEG_INFINITY,
            (false, false) => 10.0 * std::f64::consts::LOG10_2 * signal.log2_per(noise),
        }
    }

    /// Σ x·y / √(Σ x² · Σ y²), within \[−1, 1\]: 1 where both are all zeros, 0 where one is.
    #[must_use]
    pub fn cosine(&self) -> f64 {
        let Sums { actual_squares, expected_squares, products, .. } = &self.sums;
        let [x, y] = [actual_squares.value().sqrt(), expected_squares.value().sqrt()];
        match (x.fraction == 0.0, y.fraction == 0.0) {
            (true, true) => 1.0,
            (false, false) => {
                let fraction = x.fraction * y.fraction;
                let norms = Scaled { fraction, exponent: x.exponent + y.exponent };
                products.value().per(norms).clamp(-1.0, 1.0)
            }
            (true, false) | (false, true) => 0.0,
        }
    }

    /// DeepGEMM's `calc_diff` 1 − 2 Σ x·y / Σ (x² + y²), computed as the same number
    /// Σ (x − y)² / (Σ x² + Σ y²), in which nothing cancels; 0 where both are all zeros.
    #[must_use]
    pub fn calc_diff(&self) -> f64 {
        let mut all = self.sums.actual_squares.clone();
        all.merge(&self.sums.expected_squares);
        self.sums.error_squares.value().per(all.value())
    }

    /// ‖x − y‖ / ‖y‖, Euclidean norms over compared pairs: 0 without errors, infinite of errors on
    /// zeros alone.
    #[must_use]
    pub fn normwise_relative(&self) -> f64 {
        self.sums.error_squares.value().sqrt().per(self.sums.expected_squares.value().sqrt())
    }

    /// ‖x − y‖ / ‖m‖, m the magnitudes, over pairs where all three are finite: 0 without errors.
    /// None if no magnitudes were given.
    #[must_use]
    pub fn normwise_backward(&self) -> Option<f64> {
        let Backward { error_squares, magnitude_squares, .. } = self.backward.as_deref()?;
        Some(error_squares.value().sqrt().per(magnitude_squares.value().sqrt()))
    }

    /// The largest |x − y| / |m|: 0 / 0 is 0, an error where m is 0 is infinite. None if no
    /// magnitudes were given.
    #[must_use]
    pub fn componentwise_backward(&self) -> Option<Worst> {
        self.backward.as_ref().map(|backward| backward.worst)
    }

    /// Errors by the exponent of y, where the [options](CompareOptions::histogram) asked for them.
    #[must_use]
    pub const fn histogram(&self) -> Option<&Histogram> {
        self.histogram.as_ref()
    }
}

impl Sums {
    pub fn each(&mut self) -> [&mut Exact; 7] {
        [
            &mut self.error,
            &mut self.relative,
            &mut self.ulps,
            &mut self.error_squares,
            &mut self.actual_squares,
            &mut self.expected_squares,
            &mut self.products,
        ]
    }
}

/// Fills groups from number `first` on, in parts that run at the same time.
fn fill(
    parts: usize,
    first: usize,
    groups: &mut [Metrics],
    meter: &(impl Fn() -> Meter + Sync),
    one: &(impl Fn(usize, &mut Meter) -> Metrics + Sync),
) {
    let left = groups.len() * (parts / 2) / parts.max(1);
    if left > 0 {
        let (a, b) = groups.split_at_mut(left);
        join(
            || fill(parts / 2, first, a, meter, one),
            || fill(parts - parts / 2, first + left, b, meter, one),
        );
        return;
    }
    let mut meter = meter();
    for (i, group) in groups.iter_mut().enumerate() {
        *group = one(first + i, &mut meter);
    }
}

impl fmt::Display for Metrics {
    /// Some lines: errors with the index of the worst, quality, then the counts that are not 0.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, compared, .. } = self;
        write!(f, "pairs      {count}")?;
        if compared != count {
            write!(f, "  finite {compared}")?;
        }
        for (name, worst, mean) in [
            ("absolute", &self.max_abs, self.mean_abs()),
            ("relative", &self.max_relative, self.mean_relative()),
            ("ulps", &self.max_ulps, self.mean_ulps()),
        ] {
            write!(f, "\n{name:9}  max {worst}  mean {mean:.3e}")?;
        }
        write!(f, "\nrms        {:.3e}  SQNR {:.2} dB", self.rms(), self.sqnr_db())?;
        let (cosine, diff) = (self.cosine(), self.calc_diff());
        let normwise = self.normwise_relative();
        write!(f, "\ncosine     {cosine:.9}  calc_diff {diff:.3e}  normwise {normwise:.3e}")?;
        if let (Some(norm), Some(worst)) = (self.normwise_backward(), self.componentwise_backward())
        {
            write!(f, "\nbackward   normwise {norm:.3e}  componentwise {worst}")?;
        }
        let mut before = "\ncounts     ";
        for (name, count) in [
            ("saturated", self.saturated),
            ("flushed", self.flushed),
            ("subnormal", self.subnormal),
            ("NaN made", self.nan_made),
            ("Inf made", self.inf_made),
            ("lost", self.lost),
            ("agreeing", self.agreeing),
            ("zeros", self.zeros),
            ("from zero", self.from_zero),
        ] {
            if count > 0 {
                write!(f, "{before}{name} {count}")?;
                before = "  ";
            }
        }
        Ok(())
    }
}

impl fmt::Display for Worst {
    /// The figure, and the index if there is one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3e}", self.value)?;
        self.index.map_or(Ok(()), |index| write!(f, " at {index}"))
    }
}
