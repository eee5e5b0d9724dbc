//! Whether a trial explains what is wrong, and is no accident.

use super::Element;

/// Whether something holds for nine in ten of the elements.
pub(super) fn explains(elements: &[Element], trial: impl Fn(&Element) -> bool) -> bool {
    let n = elements.iter().filter(|element| trial(element)).count();
    n > 0 && 10 * n >= 9 * elements.len()
}

/// The numbers that a wrong kernel would give, beside those that were found.
///
/// An element is explained where the trial is as near to what was found as what is expected might be,
/// and much nearer than what is expected is. The chance that any number is as near is that distance by
/// the error: its logarithm is what the element is worth, in bits.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Evidence {
    all: usize,
    explained: usize,
    bits: f64,
    /// Σ |found − trial| / |error| of what is explained, and 1 for each of the others.
    rest: f64,
}

impl Evidence {
    pub fn of<'a>(
        elements: impl IntoIterator<Item = &'a Element>,
        trial: impl Fn(&Element) -> f64,
    ) -> Self {
        let mut evidence = Self::default();
        elements.into_iter().for_each(|element| evidence.note(element, trial(element)));
        evidence
    }

    pub fn note(&mut self, element: &Element, trial: f64) {
        self.all += 1;
        let (error, off) = (element.error().abs(), (element.actual - trial).abs());
        if !error.is_finite() || error == 0.0 {
            // Inf, NaN and the sign of a zero are as they are.
            let found = trial == element.actual && trial != element.expected;
            self.explained += usize::from(found);
            self.bits += if found { 4.0 } else { 0.0 };
            self.rest += if found { 0.0 } else { 1.0 };
            return;
        }
        let room = room(element, trial);
        if off <= room {
            self.explained += 1;
            self.bits += (error / room).log2().clamp(0.0, 20.0);
            self.rest += off / error;
        } else {
            self.rest += 1.0;
        }
    }

    /// Whether nine in ten are explained, and are worth more than one trial of so many would be by
    /// chance, 256 times over.
    pub fn convinces(&self, trials: usize) -> bool {
        10 * self.explained >= 9 * self.all && self.bits >= 8.0 + (trials.max(1) as f64).log2()
    }

    /// What is left of the errors, on average.
    pub fn rest(&self) -> f64 {
        self.rest / self.all.max(1) as f64
    }
}

/// How far what was found may be from a trial that explains it.
fn room(element: &Element, trial: f64) -> f64 {
    let part =
        if element.expected == 0.0 { 1.0 } else { (trial / element.expected).abs().max(1.0) };
    // A trial that is much like what is expected explains nothing.
    let room = (element.bound.total() * part).min(element.error().abs() / 4.0);
    room + 1e-6 * trial.abs()
}

/// Whether a trial is what was found.
pub(super) fn is_found(element: &Element, trial: f64) -> bool {
    let mut one = Evidence::default();
    one.note(element, trial);
    one.explained == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accuracy::bounds::{Bound, Term};
    use std::vec::Vec;

    /// Errors of no pattern are explained by one of many trials, as single ones are by chance.
    #[test]
    fn chance_does_not_convince() {
        let element = |i: usize| Element {
            index: i,
            actual: 100.0 + [4.0, 8.0, 9.0][i],
            expected: 100.0,
            bound: Bound::of(Term::Rounding, 0.5),
            codes: None,
        };
        let elements: Vec<Element> = (0..3).map(element).collect();
        let near = |e: &Element| e.actual + 0.4;
        let all = Evidence::of(&elements, near);
        assert!(all.explained == 3 && all.convinces(1) && !all.convinces(1000), "{all:?}");
        assert!(is_found(&elements[0], elements[0].actual) && !is_found(&elements[0], 100.1));
    }
}
