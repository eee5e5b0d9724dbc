//! Products held to their bounds, with what wrong kernels would give.

use super::patterns::{explains, is_found, toward_zero};
use super::{Element, Report, Symptom, Violation, check_matrix};
use crate::accuracy::bounds::GemmBound;
use crate::slice::Values;
use std::boxed::Box;
use std::vec::Vec;

/// Wrong elements that are looked at: those that are known best.
const LOOK: usize = 48;

impl GemmBound<'_> {
    /// Holds outputs, row after row, to their bounds. Codes are given as the numbers that they stand for.
    ///
    /// # Errors
    /// A [`Violation`] that also tries what wrong kernels do: an element of K left out or counted
    /// twice, scales applied twice, not at all, in the wrong direction or of the wrong axis, the bias
    /// twice or never, sums in too few bits.
    pub fn check<'v>(&self, actual: impl Into<Values<'v>>) -> Result<Report, Box<Violation>> {
        let (expected, bounds) = self.all();
        let cols = self.shape().1;
        let mut violation =
            match check_matrix(actual, &expected, cols, |row, col| bounds[row * cols + col]) {
                Err(violation) if violation.checked() > 0 => violation,
                done => return done,
            };
        let mut look: Vec<Element> = violation.elements().to_vec();
        look.sort_by(|x, y| y.part().total_cmp(&x.part()));
        look.truncate(LOOK);
        // What errors alone show comes before a guess at the accumulator.
        let open = matches!(violation.symptoms[..], [] | [Symptom::TowardZero]);
        let trials = [
            self.one_term(&look),
            self.scales_of(&look),
            self.bias_of(&look),
            if open { self.narrow(&violation) } else { None },
        ];
        if let Some(found) = trials.into_iter().flatten().next() {
            violation.symptoms = std::vec![found];
        }
        Err(violation)
    }

    fn place(&self, element: &Element) -> (usize, usize) {
        let cols = self.shape().1.max(1);
        (element.index / cols, element.index % cols)
    }

    /// Whether all errors are one element of K.
    fn one_term(&self, look: &[Element]) -> Option<Symptom> {
        let term = |e: &Element, k: usize| {
            let (row, col) = self.place(e);
            self.factor() * self.a.row(&self.a.exact, row)[k] * self.b.row(&self.b.exact, col)[k]
        };
        let first = look.first()?;
        let found = |sign: f64, k: usize| is_found(first, first.expected + sign * term(first, k));
        for k in 0..self.depth() {
            for (sign, symptom) in
                [(-1.0, Symptom::DroppedTerm { k }), (1.0, Symptom::TermTwice { k })]
            {
                let all = |e: &Element| is_found(e, e.expected + sign * term(e, k));
                if found(sign, k) && look.len() > 1 && explains(look, all) {
                    return Some(symptom);
                }
            }
        }
        None
    }

    /// Whether a scale is wrong.
    fn scales_of(&self, look: &[Element]) -> Option<Symptom> {
        for (side, operand) in [(0, "a"), (1, "b")] {
            let of = if side == 0 { &self.a } else { &self.b };
            if !of.is_quantized() {
                continue;
            }
            type Change = fn(f64, f64) -> f64;
            let changes: [(Symptom, Change); 4] = [
                (Symptom::SwappedAxis { operand }, |_, turned| turned),
                (Symptom::ScaleTwice { operand }, |scale, _| scale * scale),
                (Symptom::ScaleInverse { operand }, |scale, _| 1.0 / scale),
                (Symptom::ScaleMissing { operand }, |_, _| 1.0),
            ];
            for (symptom, change) in changes {
                let trial =
                    |e: &Element| self.with_scales(self.place(e), side, change) + self.rest(e);
                let all = |e: &Element| is_found(e, trial(e));
                if look.len() > 1 && explains(look, all) {
                    return Some(symptom);
                }
            }
        }
        None
    }

    /// The product with other scales of one side, each from itself and from what stands in its place
    /// in the transpose.
    fn with_scales(
        &self,
        (row, col): (usize, usize),
        side: usize,
        change: fn(f64, f64) -> f64,
    ) -> f64 {
        let (a, b) = (&self.a, &self.b);
        let (x, y) = (a.row(&a.codes, row), b.row(&b.codes, col));
        let sum: f64 = (0..self.depth())
            .map(|k| {
                let (mut sa, mut sb) = (a.scale(row, k), b.scale(col, k));
                if side == 0 {
                    sa = change(sa, a.turned_scale(row, k));
                } else {
                    sb = change(sb, b.turned_scale(col, k));
                }
                f64::from(x[k]) * f64::from(y[k]) * sa * sb
            })
            .sum();
        self.factor() * sum * a.global() * b.global()
    }

    /// What is expected beside the product.
    fn rest(&self, e: &Element) -> f64 {
        let (row, col) = self.place(e);
        e.expected - self.factor() * self.exact_sum(row, col)
    }

    fn bias_of(&self, look: &[Element]) -> Option<Symptom> {
        let bias = self.bias_values()?;
        let of = |e: &Element| f64::from(bias[self.place(e).1]);
        if explains(look, |e| is_found(e, e.expected + of(e))) {
            return Some(Symptom::BiasTwice);
        }
        explains(look, |e| is_found(e, e.expected - of(e))).then_some(Symptom::BiasMissing)
    }

    /// Sums that are cut off to p bits at each step lose 2^(1−p) of each partial sum at most, and
    /// about 0.36 of that on average.
    fn narrow(&self, violation: &Violation) -> Option<Symptom> {
        if !toward_zero(violation.elements()) {
            return None;
        }
        let bits = |e: &Element| {
            let (row, col) = self.place(e);
            let (x, y) = (self.a.row(&self.a.exact, row), self.b.row(&self.b.exact, col));
            let mut sum = 0.0_f64;
            let sizes = x.iter().zip(y).map(|(x, y)| {
                sum += x * y;
                sum.abs()
            });
            (0.72 * self.factor().abs() * sizes.sum::<f64>() / e.error().abs()).log2()
        };
        let mut all: Vec<f64> = violation.elements().iter().take(4 * LOOK).map(bits).collect();
        all.sort_by(f64::total_cmp);
        let bits = all[all.len() / 2].round() as i32;
        (4..=22).contains(&bits).then_some(Symptom::NarrowAccumulator { bits })
    }
}
