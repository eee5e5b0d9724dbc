//! What the values of a tensor are, whatever the cast. Sums are in f64 and in the order of the
//! file, pieces of [`CHUNK`] elements at a time, so no figure depends on threads.

use super::report::Bin;
use super::source::Element;
use quarter::accuracy::exponent;
use rayon::prelude::*;
use std::ops::Range;

/// Elements summed at a time.
const CHUNK: usize = 1 << 14;

/// The exponent of the smallest f64.
const LOWEST: i32 = -1074;
/// Exponents of f64.
const EXPONENTS: usize = 1024 + 1074;

/// Counts and sums of elements.
#[derive(Clone, Debug)]
pub struct Stats {
    /// All elements.
    pub elements: u64,
    /// Those that are zero.
    pub zeros: u64,
    /// Those that are NaN.
    pub nan: u64,
    /// Those that are infinite.
    pub inf: u64,
    /// The largest finite magnitude.
    pub amax: f64,
    /// The smallest finite magnitude but zero; Inf if there is none.
    pub smallest: f64,
    /// Σ |x| over finite elements.
    pub sum_abs: f64,
    /// Σ x² over finite elements.
    pub sum_squares: f64,
    /// Finite non-zero elements by exponent, from that of the smallest f64 on.
    counts: Vec<u64>,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            elements: 0,
            zeros: 0,
            nan: 0,
            inf: 0,
            amax: 0.0,
            smallest: f64::INFINITY,
            sum_abs: 0.0,
            sum_squares: 0.0,
            counts: vec![0; EXPONENTS],
        }
    }
}

impl Stats {
    /// Counts these, too.
    pub fn add<T: Element>(&mut self, values: &[T]) {
        for part in in_order(values.len(), |range| Self::of(&values[range])) {
            self.merge(&part);
        }
    }

    fn of<T: Element>(values: &[T]) -> Self {
        let mut stats = Self { elements: values.len() as u64, ..Self::default() };
        for x in values {
            let x = x.wide().abs();
            if x == 0.0 {
                stats.zeros += 1;
            } else if x.is_finite() {
                stats.amax = stats.amax.max(x);
                stats.smallest = stats.smallest.min(x);
                stats.sum_abs += x;
                stats.sum_squares += x * x;
                stats.counts[(exponent(x) - LOWEST) as usize] += 1;
            } else if x.is_nan() {
                stats.nan += 1;
            } else {
                stats.inf += 1;
            }
        }
        stats
    }

    fn merge(&mut self, other: &Self) {
        self.elements += other.elements;
        self.zeros += other.zeros;
        self.nan += other.nan;
        self.inf += other.inf;
        self.amax = self.amax.max(other.amax);
        self.smallest = self.smallest.min(other.smallest);
        self.sum_abs += other.sum_abs;
        self.sum_squares += other.sum_squares;
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
    }

    /// Elements that are neither zero nor NaN: those that can saturate or flush.
    #[must_use]
    pub const fn nonzero(&self) -> u64 {
        self.elements - self.zeros - self.nan
    }

    /// Elements that are finite.
    #[must_use]
    pub const fn finite(&self) -> u64 {
        self.elements - self.nan - self.inf
    }

    /// The exponents that occur.
    #[must_use]
    pub fn histogram(&self) -> Vec<Bin> {
        let bins = (LOWEST..).zip(&self.counts).filter(|(_, count)| **count > 0);
        bins.map(|(exponent, count)| Bin { exponent, count: *count }).collect()
    }
}

/// What `run` makes of each chunk of so many elements, in order; on the threads of the pool if we
/// are in one.
pub fn in_order<R: Send>(len: usize, run: impl Fn(Range<usize>) -> R + Send + Sync) -> Vec<R> {
    let chunk = |i: usize| run(i * CHUNK..len.min((i + 1) * CHUNK));
    if rayon::current_thread_index().is_some() {
        return (0..len.div_ceil(CHUNK)).into_par_iter().map(chunk).collect();
    }
    (0..len.div_ceil(CHUNK)).map(chunk).collect()
}
