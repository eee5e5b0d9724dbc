//! Matrices that hurt, and how a failing one becomes small.

use crate::accuracy::Distribution;
use crate::error::Error;
use crate::format::FormatId;
use crate::tensor::MatRef;
use core::ops::RangeInclusive;
use proptest::prelude::any;
use proptest::strategy::{NewTree, Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use std::vec::Vec;

/// A \[rows, cols\] matrix of f32, row after row.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// rows · cols elements.
    pub values: Vec<f32>,
}

impl Matrix {
    /// As what operations take.
    ///
    /// # Errors
    /// [`Error::Length`] if the fields were changed and do not go together.
    pub fn view(&self) -> Result<MatRef<'_>, Error> {
        MatRef::new(&self.values, self.rows, self.cols)
    }
}

/// Matrices of these shapes, each from one of these distributions.
///
/// A failing matrix loses rows and columns, then elements become 0, then powers of two, as long as
/// the test still fails. A user's property test is three lines:
///
/// ```
/// use proptest::prelude::*;
/// use quarter::accuracy::{CompareOptions, Distribution, Metrics};
/// use quarter::interop::proptest::tensor;
/// use quarter::FormatId;
/// # let double = |x: &[f32]| -> Vec<f32> { x.iter().map(|x| x + x).collect() };
/// proptest!(|(x in tensor(1..=4, 1..=64, Distribution::finite(FormatId::F8E4M3)))| {
///     let want: Vec<f64> = x.values.iter().map(|x| 2.0 * f64::from(*x)).collect();
///     let options = CompareOptions::new(FormatId::F32.spec());
///     prop_assert!(Metrics::of(&double(&x.values), &want, &options).unwrap().max_ulps.value <= 0.5);
/// });
/// ```
///
/// # Panics
/// If there is no distribution, or a range is empty.
pub fn tensor(
    rows: RangeInclusive<usize>,
    cols: RangeInclusive<usize>,
    distributions: impl IntoIterator<Item = Distribution>,
) -> Tensors {
    let distributions: Vec<_> = distributions.into_iter().collect();
    assert!(!distributions.is_empty(), "no distribution");
    assert!(!rows.is_empty() && !cols.is_empty(), "no shape: {rows:?} x {cols:?}");
    Tensors { rows, cols, distributions }
}

/// Matrices of these shapes, from every distribution, values that are not finite included; midpoints
/// and subnormals are of this format.
///
/// # Panics
/// If a range is empty.
pub fn any_tensor(
    rows: RangeInclusive<usize>,
    cols: RangeInclusive<usize>,
    format: FormatId,
) -> Tensors {
    tensor(rows, cols, Distribution::all(format))
}

/// The strategy of [`tensor`].
#[derive(Clone, Debug)]
pub struct Tensors {
    rows: RangeInclusive<usize>,
    cols: RangeInclusive<usize>,
    distributions: Vec<Distribution>,
}

impl Strategy for Tensors {
    type Tree = Shrinking;
    type Value = Matrix;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        let Self { rows, cols, distributions } = self;
        let (rows, cols, which, seed) =
            (rows.clone(), cols.clone(), 0..distributions.len(), any::<u64>())
                .new_tree(runner)?
                .current();
        let values = distributions[which].matrix(rows, cols, seed);
        let failing = Matrix { rows, cols, values };
        let least = (*self.rows.start(), *self.cols.start());
        Ok(Shrinking { shown: failing.clone(), failing, least, phase: Phase::Rows, size: 0, at: 0 })
    }
}

/// What is tried to make a matrix simpler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Rows,
    Cols,
    Zeros,
    Powers,
    Done,
}

/// A matrix of [`tensor`] on its way to a simple one: pieces of it are removed, then zeroed, then
/// made powers of two; first its half, then quarters, down to single ones.
#[derive(Clone, Debug)]
pub struct Shrinking {
    /// The simplest for which the test fails.
    failing: Matrix,
    /// The one that is tried.
    shown: Matrix,
    least: (usize, usize),
    phase: Phase,
    /// Rows, columns or elements of a piece, 0 before the first; and where the next one begins.
    size: usize,
    at: usize,
}

impl Shrinking {
    /// Rows, columns or elements that pieces are of.
    const fn all(&self) -> usize {
        match self.phase {
            Phase::Rows => self.failing.rows,
            Phase::Cols => self.failing.cols,
            Phase::Zeros | Phase::Powers => self.failing.values.len(),
            Phase::Done => 0,
        }
    }

    /// The next simpler matrix, if there is one.
    fn advance(&mut self) -> bool {
        while self.phase != Phase::Done {
            if self.size == 0 {
                (self.size, self.at) = (self.all().div_ceil(2).max(1), 0);
            }
            if self.at >= self.all() {
                if self.size > 1 {
                    (self.size, self.at) = (self.size / 2, 0);
                } else {
                    self.size = 0;
                    self.phase = match self.phase {
                        Phase::Rows => Phase::Cols,
                        Phase::Cols => Phase::Zeros,
                        Phase::Zeros => Phase::Powers,
                        Phase::Powers | Phase::Done => Phase::Done,
                    };
                }
                continue;
            }
            let range = self.at..(self.at + self.size).min(self.all());
            self.at = range.end;
            if let Some(simpler) = self.without(range) {
                self.shown = simpler;
                return true;
            }
        }
        self.shown = self.failing.clone();
        false
    }

    /// The failing matrix without a piece, if that is another one of an allowed shape.
    fn without(&self, piece: core::ops::Range<usize>) -> Option<Matrix> {
        let Matrix { rows, cols, ref values } = self.failing;
        let keep = |kept: &dyn Fn(usize) -> bool| -> Vec<f32> {
            (0..values.len()).filter(|i| kept(*i)).map(|i| values[i]).collect()
        };
        let changed = |change: &dyn Fn(f32) -> f32| {
            let mut values = values.clone();
            values[piece.clone()].iter_mut().for_each(|x| *x = change(*x));
            let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits();
            let moved = !values.iter().zip(&self.failing.values).all(same);
            moved.then_some(Matrix { rows, cols, values })
        };
        match self.phase {
            Phase::Rows => {
                let rows = rows - piece.len();
                let values = keep(&|i| !piece.contains(&(i / cols.max(1))));
                (rows >= self.least.0).then_some(Matrix { rows, cols, values })
            }
            Phase::Cols => {
                let values = keep(&|i| !piece.contains(&(i % cols)));
                let cols = cols - piece.len();
                (cols >= self.least.1).then_some(Matrix { rows, cols, values })
            }
            Phase::Zeros => changed(&|_| 0.0),
            Phase::Powers => changed(&|x| {
                let power = f32::from_bits(x.to_bits() & 0xff80_0000);
                if x.is_nan() || power == 0.0 { x } else { power }
            }),
            Phase::Done => None,
        }
    }
}

impl ValueTree for Shrinking {
    type Value = Matrix;

    fn current(&self) -> Matrix {
        self.shown.clone()
    }

    /// What is shown fails: from it on.
    fn simplify(&mut self) -> bool {
        if self.shown != self.failing {
            // A piece that is gone leaves the next one in its place.
            let gone = match self.phase {
                Phase::Rows => self.failing.rows - self.shown.rows,
                Phase::Cols => self.failing.cols - self.shown.cols,
                Phase::Zeros | Phase::Powers | Phase::Done => 0,
            };
            self.at -= gone;
            self.failing = self.shown.clone();
        }
        self.advance()
    }

    /// What is shown does not fail: back, and something else.
    fn complicate(&mut self) -> bool {
        self.advance()
    }
}
