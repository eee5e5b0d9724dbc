//! Results held to bounds and to bits; what is said of a wrong one is a diagnosis.
//!
//! ```text
//!  actual, expected, Bound of each ────check_within──┐
//!  codes, what they are rounded from ─check_rounded──┤
//!  draws of stochastic rounding ───check_stochastic──┼──► Report: how near errors came to bounds
//!  codes and scales, source ────────check_quantized──┤    or Violation: where, how much, Symptoms
//!  values, Quantization or GemmBound ───its check────┘
//! ```
//!
//! A [`Symptom`] is the name of a known defect that explains nine in ten of the wrong elements: it
//! was tried, and gave what was found, and that is no accident. Where two explain them as well, both are
//! named. [`assert_within!`](crate::assert_within), [`assert_matrix_within!`](crate::assert_matrix_within),
//! [`assert_product!`](crate::assert_product), [`assert_quantized!`](crate::assert_quantized),
//! [`assert_rounded!`](crate::assert_rounded) and [`assert_same_bits!`](crate::assert_same_bits)
//! panic with the diagnosis.
//!
//! ```
//! use quarter::accuracy::bounds::{Bound, Term};
//! use quarter::accuracy::check::{Symptom, check_within};
//! let expected = [1.0_f32, 2.0, 3.0, 5.0];
//! let twice = expected.map(|x| 2.0 * x);
//! let bound = |_| Bound::of(Term::Rounding, 0.01);
//! let violation = check_within(&twice, &expected, bound).unwrap_err();
//! assert_eq!(violation.symptoms(), [Symptom::PowerOfTwo { power: 1 }]);
//! ```
//!
//! To add a symptom: a variant of [`Symptom`] with its sentence, and a trial where its data are.

mod bits;
mod evidence;
mod extra;
mod gemm;
mod macros;
mod patterns;
mod quantized;
mod quantizer;
mod rounded;
mod same;
mod scales;
mod stochastic;
mod symptom;
mod trials;
mod violation;

pub use bits::Bits;
pub use quantizer::{check_quantized, check_quantized_with};
pub use rounded::check_rounded;
pub use same::check_same_bits;
pub use stochastic::check_stochastic;
pub use symptom::Symptom;
pub use violation::{Element, Violation};

use super::bounds::Bound;
use crate::slice::Values;
use core::fmt;
use std::boxed::Box;
use std::vec::Vec;

/// What a check has found where nothing is wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Report {
    /// Elements that were held to a finite bound.
    pub count: usize,
    /// The largest |actual − expected|.
    pub most: f64,
    /// The largest part of its bound that an error took.
    pub most_of_bound: f64,
    /// Where.
    pub at: usize,
    /// Elements whose bound is infinite: nothing is said of them.
    pub without_bound: usize,
    /// The largest part of a probable bound that an error took, where there are some: beyond 1 it is
    /// no violation, but seldom where errors are independent (of constants they are not).
    pub most_of_probable: Option<f64>,
}

impl Report {
    fn note(&mut self, index: usize, error: f64, bound: &Bound) {
        let part = |of: f64| if error == 0.0 { 0.0 } else { error / of };
        self.count += 1;
        self.most = self.most.max(error);
        if part(bound.total()) > self.most_of_bound {
            (self.most_of_bound, self.at) = (part(bound.total()), index);
        }
        if let Some(probable) = bound.probable() {
            let most = self.most_of_probable.unwrap_or(0.0);
            self.most_of_probable = Some(most.max(part(probable)));
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, most, most_of_bound, at, without_bound, most_of_probable } = self;
        write!(f, "{count} elements, errors up to {most:e}")?;
        if *most_of_bound > 0.0 {
            write!(f, ", {most_of_bound:.4} of a bound at [{at}]")?;
        }
        if *without_bound > 0 {
            write!(f, ", {without_bound} without a bound")?;
        }
        most_of_probable.map_or(Ok(()), |most| write!(f, ", {most:.4} of what is probable"))
    }
}

/// Element `i`, exactly.
pub(crate) fn number(values: Values<'_>, i: usize) -> f64 {
    match values {
        Values::F64(values) => values[i],
        Values::F32(values) => f64::from(values[i]),
        Values::F16(values) => f64::from(values[i].to_f32()),
        Values::Bf16(values) => f64::from(values[i].to_f32()),
    }
}

/// |actual − expected| ≤ bound(i) for each element i. What is expected to be NaN or Inf must be that;
/// where a bound is infinite, anything goes.
///
/// # Errors
/// A [`Violation`] that says what is wrong, and how.
pub fn check_within<'a, 'e>(
    actual: impl Into<Values<'a>>,
    expected: impl Into<Values<'e>>,
    bound: impl Fn(usize) -> Bound,
) -> Result<Report, Box<Violation>> {
    let (report, violation) = compare(actual.into(), expected.into(), 0, bound);
    violation.map_or(Ok(report), |mut violation| {
        patterns::name(&mut violation);
        Err(violation)
    })
}

/// The same of matrices with this many columns, row after row, with bound(row, col).
///
/// # Errors
/// As [`check_within`].
pub fn check_matrix<'a, 'e>(
    actual: impl Into<Values<'a>>,
    expected: impl Into<Values<'e>>,
    cols: usize,
    bound: impl Fn(usize, usize) -> Bound,
) -> Result<Report, Box<Violation>> {
    let at = |i: usize| bound(i / cols.max(1), i % cols.max(1));
    let (report, violation) = compare(actual.into(), expected.into(), cols, at);
    violation.map_or(Ok(report), |mut violation| {
        patterns::name(&mut violation);
        Err(violation)
    })
}

/// The elements that are wrong, before they are diagnosed.
fn compare(
    actual: Values<'_>,
    expected: Values<'_>,
    cols: usize,
    bound: impl Fn(usize) -> Bound,
) -> (Report, Option<Box<Violation>>) {
    let mut report = Report::default();
    if actual.len() != expected.len() {
        let violation = Violation::of_lengths(actual.len(), expected.len());
        return (report, Some(Box::new(violation)));
    }
    let mut wrong = Vec::new();
    for i in 0..actual.len() {
        let (got, want, bound) = (number(actual, i), number(expected, i), bound(i));
        let same = got == want || (got.is_nan() && want.is_nan());
        let error = if same { 0.0 } else { (got - want).abs() };
        // NaN is no error within a bound.
        let within = error <= bound.total();
        if bound.total() == f64::INFINITY {
            report.without_bound += 1;
        } else if within || same {
            report.note(i, error, &bound);
        } else {
            wrong.push(Element { index: i, actual: got, expected: want, bound, codes: None });
        }
    }
    let violation = (!wrong.is_empty())
        .then(|| Box::new(Violation::new(wrong, actual.len(), cols, Violation::kind_of(actual))));
    (report, violation)
}
