//! A matrix that was drawn, and how it is shown.

use crate::accuracy::Distribution;
use crate::accuracy::bounds::Operand;
use crate::error::Error;
use crate::tensor::MatRef;
use core::fmt;
use std::vec::Vec;

/// Runs of equal elements of a row that `Debug` shows.
const RUNS: usize = 32;
/// Groups of equal rows that it shows.
const GROUPS: usize = 16;

/// A \[rows, cols\] matrix of f32, row after row.
///
/// `Debug` is short: runs of equal elements and of equal rows are one, and of a large matrix that did
/// not become simple the beginning is shown. `values` has all.
///
/// ```
/// use proptest::strategy::{Strategy, ValueTree};
/// use proptest::test_runner::TestRunner;
/// use quarter::accuracy::Distribution;
/// use quarter::interop::proptest::tensor;
/// let mut x = tensor(1, 56, [Distribution::Gaussian])
///     .new_tree(&mut TestRunner::default())
///     .unwrap()
///     .current();
/// (x.seed, x.values) = (7, vec![0.0; 56]);
/// x.values[55] = 1.0;
/// assert_eq!(format!("{x:?}"), "[1, 56] of gaussian (seed 7): [0.0; 55], 1.0");
/// ```
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct Matrix {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// rows · cols elements.
    pub values: Vec<f32>,
    /// What it was drawn from.
    pub distribution: Distribution,
    /// The seed that it was drawn with.
    pub seed: u64,
    /// Rows and columns that it was drawn with, before it shrank:
    /// `distribution.matrix(drawn.0, drawn.1, seed)` draws it again.
    pub drawn: (usize, usize),
}

impl Matrix {
    pub(super) fn draw(distribution: Distribution, shape: (usize, usize), seed: u64) -> Self {
        let (rows, cols) = shape;
        let values = distribution.matrix(rows, cols, seed);
        Self { rows, cols, values, distribution, seed, drawn: shape }
    }

    /// As what operations take.
    ///
    /// # Errors
    /// [`Error::Length`] if the fields were changed and do not go together.
    pub fn view(&self) -> Result<MatRef<'_>, Error> {
        MatRef::new(&self.values, self.rows, self.cols)
    }

    /// As what [`GemmBound`](crate::accuracy::bounds::GemmBound) takes: products are expected to be of
    /// exactly these numbers.
    ///
    /// # Errors
    /// As [`view`](Self::view).
    pub fn operand(&self) -> Result<Operand<'_>, Error> {
        Operand::exact(self.view()?)
    }
}

fn same(x: &f32, y: &f32) -> bool {
    x.to_bits() == y.to_bits()
}

/// Elements, each run of equal ones as one.
fn row(f: &mut fmt::Formatter<'_>, values: &[f32]) -> fmt::Result {
    let mut shown = 0;
    for (i, run) in values.chunk_by(same).enumerate() {
        let comma = if i == 0 { "" } else { ", " };
        if i == RUNS {
            return write!(f, "{comma}and {} more", values.len() - shown);
        }
        match run {
            [x] => write!(f, "{comma}{x:?}")?,
            _ => write!(f, "{comma}[{:?}; {}]", run[0], run.len())?,
        }
        shown += run.len();
    }
    Ok(())
}

impl fmt::Debug for Matrix {
    /// `[1, 56] of gaussian (seed 7): [0.0; 55], 1.0`, several rows by their numbers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rows, cols, values, distribution, seed, drawn } = self;
        write!(f, "[{rows}, {cols}] of {distribution} (seed {seed}")?;
        if *drawn != (*rows, *cols) {
            write!(f, ", drawn as [{}, {}]", drawn.0, drawn.1)?;
        }
        f.write_str("):")?;
        if values.is_empty() {
            return f.write_str(" no elements");
        }
        let all: Vec<&[f32]> = values.chunks(*cols.max(&1)).collect();
        let equal = |a: &&[f32], b: &&[f32]| {
            a.len() == b.len() && a.iter().zip(*b).all(|(x, y)| same(x, y))
        };
        let mut first = 0;
        for (i, group) in all.chunk_by(equal).enumerate() {
            if all.len() > 1 {
                let (apart, last) =
                    (if f.alternate() { "\n    " } else { " " }, first + group.len());
                if i == GROUPS {
                    return write!(f, "{apart}and {} more rows", all.len() - first);
                }
                match group.len() {
                    1 => write!(f, "{apart}row {first}:")?,
                    _ => write!(f, "{apart}rows {first} to {}:", last - 1)?,
                }
                first = last;
            }
            f.write_str(" ")?;
            row(f, group[0])?;
            if first < all.len() && all.len() > 1 {
                f.write_str(";")?;
            }
        }
        Ok(())
    }
}
