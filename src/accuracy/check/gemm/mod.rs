//! Products held to their bounds, with what wrong kernels would give.

mod epilogue;
mod scales;
mod sums;
mod terms;

use super::evidence::Evidence;
use super::{Element, Report, Symptom, Violation, check_matrix, number};
use crate::accuracy::bounds::GemmBound;
use crate::format::{FormatSpec, Policy, Unpacked};
use crate::slice::Values;
use std::boxed::Box;
use std::vec::Vec;

/// Wrong elements that are looked at: those that are known best.
const LOOK: usize = 48;

/// What was tried, and what of it explains the errors.
struct Trials<'e> {
    look: &'e [Element],
    /// What outputs are stored in.
    stored: Option<(&'static FormatSpec, Policy)>,
    found: Vec<(Symptom, f64)>,
}

impl Trials<'_> {
    /// One of so many trials: what each element would be.
    fn one(&mut self, of: usize, symptom: Symptom, trial: impl Fn(&Element) -> f64) {
        let evidence = Evidence::of(self.look, |e| stored(self.stored, trial(e)));
        if evidence.convinces(of) {
            self.found.push((symptom, evidence.rest()));
        }
    }

    /// What leaves least of the errors, and what leaves hardly more.
    fn best(mut self) -> Vec<Symptom> {
        self.found.sort_by(|x, y| x.1.total_cmp(&y.1));
        let least = self.found.first().map_or(0.0, |first| first.1);
        let near = self.found.into_iter().filter(|(_, rest)| *rest <= 1.5 * least + 1e-9);
        near.map(|(symptom, _)| symptom).take(3).collect()
    }
}

/// A number as an output of this type.
fn stored(format: Option<(&FormatSpec, Policy)>, x: f64) -> f64 {
    let Some((spec, policy)) = format else { return x };
    Unpacked::from_f64(x).encode(spec, policy, 0).map_or(x, |code| spec.decode_f64(code))
}

impl GemmBound<'_> {
    /// Holds outputs, row after row, to their bounds. Codes are given as the numbers that they stand for.
    ///
    /// # Errors
    /// A [`Violation`] that also tries what wrong kernels do: parts of K left out or counted twice,
    /// scales applied twice, not at all, in the wrong direction or of another block, a step after the
    /// sum left out or in the wrong order, the bits of matrix units.
    pub fn check<'v>(&self, actual: impl Into<Values<'v>>) -> Result<Report, Box<Violation>> {
        let actual = actual.into();
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
        // Those that are right tell sums apart, too.
        let some = (0..expected.len()).step_by(expected.len().div_ceil(LOOK).max(1));
        let right = some.filter(|i| !look.iter().any(|e| e.index == *i)).map(|i| Element {
            index: i,
            actual: number(actual, i),
            expected: expected[i],
            bound: bounds[i],
            codes: None,
        });
        let all: Vec<Element> = look.iter().copied().chain(right).collect();
        if let Some(symptom) = self.adds_as(&all) {
            violation.symptoms = std::vec![symptom];
            return Err(violation);
        }
        let mut trials = Trials { look: &look, stored: self.stored(), found: Vec::new() };
        match violation.symptoms[..] {
            // No trial explains NaN and Inf better.
            [
                Symptom::NanLost
                | Symptom::NanMade
                | Symptom::InfMade
                | Symptom::InfForNan
                | Symptom::Saturates,
                ..,
            ] => return Err(violation),
            // A factor may be that of a scale, but is no part of K.
            [Symptom::PowerOfTwo { power }] => {
                let factor = 2f64.powi(power);
                trials.one(16, Symptom::PowerOfTwo { power }, |e| e.expected * factor);
            }
            [Symptom::SignFlipped | Symptom::SignLost] => {
                trials.one(2, violation.symptoms[0].clone(), |e| -e.expected);
            }
            _ => self.terms_of(&mut trials),
        }
        self.steps_of(&mut trials);
        self.scales_of(&mut trials);
        let found = trials.best();
        if !found.is_empty() {
            violation.symptoms = found;
        } else if let [] | [Symptom::TowardZero | Symptom::Factor { .. }] = violation.symptoms[..]
            && let Some(narrow) = self.narrow(&violation)
        {
            violation.symptoms = std::vec![narrow];
        }
        Err(violation)
    }

    fn place(&self, element: &Element) -> (usize, usize) {
        let cols = self.shape().1.max(1);
        (element.index / cols, element.index % cols)
    }
}
