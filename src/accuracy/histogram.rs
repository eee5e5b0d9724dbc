//! Errors by the exponent of the expected value.

use super::exact::{Exact, fold};
use crate::arch::vector::{ERROR_FIELDS, ErrorBin, ErrorBins};
use std::vec::Vec;

/// ⌊log2 |x|⌋ of a number that is neither zero nor NaN nor infinite.
///
/// ```
/// use quarter::accuracy::exponent;
/// assert_eq!((exponent(1.0), exponent(-0.75), exponent(5e-324)), (0, -1, -1074));
/// ```
#[must_use]
#[inline]
pub const fn exponent(x: f64) -> i32 {
    let bits = x.to_bits() & (u64::MAX >> 1);
    match bits >> 52 {
        0 => 63 - 1074 - bits.leading_zeros() as i32,
        field => field as i32 - 1023,
    }
}

/// Of the pairs whose expected value is in \[2^exponent, 2^(exponent + 1)) in magnitude.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bin {
    /// The exponent; none of expected zeros.
    pub exponent: Option<i32>,
    /// The pairs.
    pub count: u64,
    /// The largest |x − y|.
    pub max: f64,
    /// Σ (x − y)².
    pub sum_squares: f64,
}

/// Errors by the exponent of the expected value, one [`Bin`] for each that occurs: of the pairs that
/// are compared. Sums are those of [`Metrics`](super::Metrics), lane by lane.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// In ascending order of keys.
    bins: Vec<(i32, Sums)>,
}

/// The key of expected zeros: below every exponent.
const ZERO: i32 = -1075;

#[derive(Clone, Debug, Default, PartialEq)]
struct Sums {
    count: u64,
    max: f64,
    squares: Exact,
}

impl Histogram {
    /// The exponents that occur, zeros first, then ascending.
    pub fn bins(&self) -> impl Iterator<Item = Bin> + '_ {
        self.bins.iter().map(|(key, sums)| Bin {
            exponent: (*key != ZERO).then_some(*key),
            count: sums.count,
            max: sums.max,
            sum_squares: sums.squares.to_f64(),
        })
    }

    fn at(&mut self, key: i32) -> &mut Sums {
        let at = match self.bins.binary_search_by_key(&key, |(key, _)| *key) {
            Ok(at) => at,
            Err(at) => {
                self.bins.insert(at, (key, Sums::default()));
                at
            }
        };
        &mut self.bins[at].1
    }

    /// One pair, its square as fraction · 2^shift.
    pub(super) fn add(&mut self, y: f64, error: f64, (fraction, shift): (f64, i32)) {
        let sums = self.at(key(y));
        sums.count += 1;
        sums.max = sums.max.max(error);
        sums.squares.add(fraction, shift);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (key, more) in &other.bins {
            let sums = self.at(*key);
            sums.count += more.count;
            sums.max = sums.max.max(more.max);
            sums.squares.merge(&more.squares);
        }
    }
}

#[inline]
fn key(y: f64) -> i32 {
    if y == 0.0 { ZERO } else { exponent(y) }
}

/// The bins of a chunk.
#[derive(Clone, Debug)]
pub(super) struct ChunkBins(pub ErrorBins);

impl ChunkBins {
    pub fn new() -> Self {
        Self(ErrorBins::new())
    }

    /// Moves what is here to a histogram.
    pub fn flush(&mut self, to: &mut Histogram) {
        let ErrorBins { bins, low, high } = &mut self.0;
        // Of pairs that are not odd, y is 0 or a normal number. Odd ones are added alone.
        for field in std::iter::once(0).chain(*low..=*high) {
            let bin = &mut bins[field as usize];
            let count: u32 = bin.counts.iter().sum();
            if count > 0 {
                let ErrorBin { squares, max, .. } = std::mem::take(bin);
                let sums = to.at(if field == 0 { ZERO } else { field as i32 - 1023 });
                sums.count += u64::from(count);
                sums.max = max.iter().fold(sums.max, |most, max| most.max(*max));
                sums.squares.add(fold(squares), 0);
            }
        }
        bins[ERROR_FIELDS - 1] = ErrorBin::default();
        (*low, *high) = (1023, 1023);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponents() {
        for e in -1073..=1023 {
            let x = if e < -1022 { f64::from_bits(1 << (e + 1074)) } else { 2_f64.powi(e) };
            assert_eq!((exponent(x), exponent(-x)), (e, e));
            assert_eq!(exponent(f64::from_bits(x.to_bits() - 1)), e - 1, "below 2^{e}");
        }
    }
}
