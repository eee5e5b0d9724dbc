//! Matrices that hurt: one, or the two operands of a product.

use super::{Matrix, Shrinking};
use crate::accuracy::Distribution;
use crate::format::FormatId;
use core::ops::Range;
use proptest::collection::SizeRange;
use proptest::prelude::any;
use proptest::strategy::{NewTree, Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use std::vec::Vec;

/// Matrices of these shapes, each from one of these distributions. A shape is `1..8`, `1..=8` or a
/// number.
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
/// proptest!(|(x in tensor(1..5, 1..=64, Distribution::finite(FormatId::F8E4M3)))| {
///     let want: Vec<f64> = x.values.iter().map(|x| 2.0 * f64::from(*x)).collect();
///     let options = CompareOptions::new(FormatId::F32.spec());
///     prop_assert!(Metrics::of(&double(&x.values), &want, &options)?.max_ulps.value <= 0.5);
/// });
/// ```
///
/// # Panics
/// If there is no distribution, or a range is empty.
#[track_caller]
pub fn tensor(
    rows: impl Into<SizeRange>,
    cols: impl Into<SizeRange>,
    distributions: impl IntoIterator<Item = Distribution>,
) -> Tensors {
    let distributions = some(distributions);
    Tensors { rows: range("rows", rows.into()), cols: range("cols", cols.into()), distributions }
}

/// Matrices of these shapes, from every distribution, values that are not finite included; midpoints
/// and subnormals are of this format.
///
/// # Panics
/// If a range is empty.
#[track_caller]
pub fn any_tensor(
    rows: impl Into<SizeRange>,
    cols: impl Into<SizeRange>,
    format: FormatId,
) -> Tensors {
    tensor(rows, cols, Distribution::all(format))
}

/// The operands of a product D\[M,N\] = Σₖ a\[M,K\] · b\[N,K\]: two matrices with the same K, each from
/// a distribution and a seed of its own.
///
/// Failing operands lose rows, each its own, and elements of K, both the same; then elements become
/// 0, then powers of two, as long as the test still fails.
///
/// ```
/// use proptest::prelude::*;
/// use quarter::FormatId;
/// use quarter::accuracy::Distribution;
/// use quarter::accuracy::bounds::{GemmBound, Sums};
/// use quarter::interop::proptest::operands;
/// # fn my_gemm(a: &[f32], b: &[f32], k: usize) -> Vec<f32> {
/// #     let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| x * y).sum();
/// #     a.chunks(k).flat_map(|x| b.chunks(k).map(move |y| dot(x, y))).collect()
/// # }
/// proptest!(|((a, b) in operands(1..8, 1..8, 1..300, Distribution::finite(FormatId::F8E4M3)))| {
///     let y = my_gemm(&a.values, &b.values, a.cols);
///     let bounds = GemmBound::new(a.operand()?, b.operand()?, Sums::F32)?;
///     bounds.check(&y)?;
/// });
/// ```
///
/// # Panics
/// If there is no distribution, or a range is empty.
#[track_caller]
pub fn operands(
    m: impl Into<SizeRange>,
    n: impl Into<SizeRange>,
    k: impl Into<SizeRange>,
    distributions: impl IntoIterator<Item = Distribution>,
) -> Operands {
    let distributions = some(distributions);
    let (m, n, k) = (range("m", m.into()), range("n", n.into()), range("k", k.into()));
    Operands { m, n, k, distributions }
}

#[track_caller]
fn some(distributions: impl IntoIterator<Item = Distribution>) -> Vec<Distribution> {
    let distributions: Vec<_> = distributions.into_iter().collect();
    assert!(!distributions.is_empty(), "no distribution");
    distributions
}

#[track_caller]
fn range(what: &str, sizes: SizeRange) -> Range<usize> {
    let sizes: Range<usize> = sizes.into();
    assert!(!sizes.is_empty(), "no {what}: {sizes:?} is empty");
    sizes
}

/// Which distribution, and a seed.
fn draws(distributions: &[Distribution]) -> impl Strategy<Value = (Distribution, u64)> + use<'_> {
    (0..distributions.len(), any::<u64>()).prop_map(|(which, seed)| (distributions[which], seed))
}

/// The strategy of [`tensor`].
#[derive(Clone, Debug)]
pub struct Tensors {
    rows: Range<usize>,
    cols: Range<usize>,
    distributions: Vec<Distribution>,
}

impl Strategy for Tensors {
    type Tree = Shrinking<1>;
    type Value = Matrix;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        let Self { rows, cols, distributions } = self;
        let (m, n, (distribution, seed)) =
            (rows.clone(), cols.clone(), draws(distributions)).new_tree(runner)?.current();
        let failing = Matrix::draw(distribution, (m, n), seed);
        Ok(Shrinking::new([failing], ([rows.start], cols.start)))
    }
}

/// The strategy of [`operands`].
#[derive(Clone, Debug)]
pub struct Operands {
    m: Range<usize>,
    n: Range<usize>,
    k: Range<usize>,
    distributions: Vec<Distribution>,
}

impl Strategy for Operands {
    type Tree = Shrinking<2>;
    type Value = (Matrix, Matrix);

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        let Self { m, n, k, distributions } = self;
        let drawn = || draws(distributions);
        let (rows, k_drawn, [a, b]) =
            ((m.clone(), n.clone()), k.clone(), [drawn(), drawn()]).new_tree(runner)?.current();
        let a = Matrix::draw(a.0, (rows.0, k_drawn), a.1);
        let b = Matrix::draw(b.0, (rows.1, k_drawn), b.1);
        Ok(Shrinking::new([a, b], ([m.start, n.start], k.start)))
    }
}
