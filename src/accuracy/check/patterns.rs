//! What errors have in common, without knowing what was computed.

use super::evidence::{Evidence, explains, is_found};
use super::{Element, Symptom, Violation};
use std::vec::Vec;

/// Adds the symptoms that errors alone show.
pub(super) fn name(violation: &mut Violation) {
    let elements = violation.elements();
    let mut found = Vec::new();
    special(elements, &mut found);
    if found.is_empty() {
        found.extend(one(violation));
    }
    violation.symptoms.extend(found);
}

/// The first that explains the errors.
fn one(violation: &Violation) -> Option<Symptom> {
    let elements = violation.elements();
    let by_row = |i| violation.place(i).0;
    let by_col = |i| violation.place(i).1;
    let factors = |of: &[&Element]| factor(of).map(|(evidence, _)| evidence);
    let all: Vec<&Element> = elements.iter().collect();
    if let Some(symptom) = sign(elements).or_else(|| power_of_two(elements)) {
        Some(symptom)
    } else if let Some(factor) = known(factor(&all)) {
        Some(Symptom::Factor { factor })
    } else if let Some(power) = carry(violation) {
        Some(Symptom::LostCarry { power })
    } else if let Some(by) = known(offset(&all)) {
        Some(Symptom::Offset { by })
    } else if by_line(violation, by_row, factors) {
        Some(Symptom::FactorByRow)
    } else if by_line(violation, by_col, factors) {
        Some(Symptom::FactorByCol)
    } else if by_line(violation, by_col, |of| offset(of).map(|(evidence, _)| evidence)) {
        Some(Symptom::OffsetByCol)
    } else {
        toward_zero(elements).then_some(Symptom::TowardZero)
    }
}

type Trial = fn(&Element) -> bool;

fn special(elements: &[Element], found: &mut Vec<Symptom>) {
    let trials: [(Symptom, Trial); 6] = [
        (Symptom::NanLost, |e| !e.actual.is_nan() && e.expected.is_nan()),
        (Symptom::Saturates, |e| e.actual.is_finite() && e.expected.is_infinite()),
        (Symptom::InfForNan, |e| {
            (e.actual.is_nan() && e.expected.is_infinite())
                || (e.actual.is_infinite() && e.expected.is_nan())
        }),
        (Symptom::NanMade, |e| e.actual.is_nan() && e.expected.is_finite()),
        (Symptom::InfMade, |e| e.actual.is_infinite() && e.expected.is_finite()),
        (Symptom::Zeros, |e| e.actual == 0.0 && e.expected != 0.0),
    ];
    found.extend(
        trials.into_iter().filter(|(_, trial)| explains(elements, trial)).map(|(name, _)| name),
    );
    // Inf for NaN is no number.
    if found.contains(&Symptom::InfForNan) {
        found.retain(|symptom| *symptom != Symptom::NanLost);
    }
}

fn sign(elements: &[Element]) -> Option<Symptom> {
    if !Evidence::of(elements, |e| -e.expected).convinces(2) {
        return None;
    }
    let positive = elements.iter().any(|e| e.expected > 0.0);
    Some(if positive { Symptom::SignFlipped } else { Symptom::SignLost })
}

fn power_of_two(elements: &[Element]) -> Option<Symptom> {
    let of = |element: &Element| {
        let ratio = element.actual / element.expected;
        (ratio > 0.0 && ratio.is_finite()).then(|| ratio.log2().round() as i32)
    };
    // That of the element that is known best.
    let sharp = |element: &&Element| element.bound.total() / element.expected.abs();
    let best = elements.iter().filter(|element| of(element).is_some());
    let power = of(best.min_by(|x, y| sharp(x).total_cmp(&sharp(y)))?)?;
    let factor = 2f64.powi(power.clamp(-1000, 1000));
    let found = Evidence::of(elements, |e| e.expected * factor);
    (power != 0 && found.convinces(16)).then_some(Symptom::PowerOfTwo { power })
}

/// What one number would explain, of all elements but that which gave it.
type Known = Option<(Evidence, f64)>;

fn known(found: Known) -> Option<f64> {
    found.filter(|(evidence, _)| evidence.convinces(1)).map(|(_, number)| number)
}

/// A factor: the middle one of the elements that are known best.
fn factor(elements: &[&Element]) -> Known {
    let finite = |e: &&Element| e.expected != 0.0 && e.actual.is_finite() && e.actual != 0.0;
    let all = elements.iter().copied();
    let best = middle(all.clone().filter(finite), |e| e.expected.abs(), |e| e.actual / e.expected)?;
    let factor = best.actual / best.expected;
    let others = all.filter(|e| e.index != best.index);
    Some((Evidence::of(others, |e| e.expected * factor), factor))
}

/// An error: the middle one of the elements that are known best.
fn offset(elements: &[&Element]) -> Known {
    let all = elements.iter().copied();
    let finite = all.clone().filter(|e| e.error().is_finite() && e.error() != 0.0);
    let best = middle(finite, |_| 1.0, Element::error)?;
    let others = all.filter(|e| e.index != best.index);
    Some((Evidence::of(others, |e| e.expected + best.error()), best.error()))
}

/// The element whose number is the middle one of those whose bound, in some unit, is up to twice the
/// smallest.
fn middle<'a>(
    elements: impl Iterator<Item = &'a Element> + Clone,
    unit: impl Fn(&Element) -> f64,
    number: impl Fn(&Element) -> f64,
) -> Option<&'a Element> {
    let blur = |e: &Element| e.bound.total() / unit(e);
    let least = elements.clone().map(blur).min_by(f64::total_cmp)?;
    let mut sharp: Vec<&Element> = elements.filter(|e| blur(e) <= 2.0 * least).collect();
    sharp.sort_by(|x, y| number(x).total_cmp(&number(y)));
    sharp.get(sharp.len() / 2).copied()
}

/// Whether something is known of nine in ten rows or columns that have several wrong elements, and
/// there are two of them.
fn by_line(
    violation: &Violation,
    line: impl Fn(usize) -> usize,
    of: impl Fn(&[&Element]) -> Option<Evidence>,
) -> bool {
    if violation.cols < 2 {
        return false;
    }
    let mut lines = std::collections::BTreeMap::<usize, Vec<&Element>>::new();
    for element in violation.elements() {
        lines.entry(line(element.index)).or_default().push(element);
    }
    let lines = lines.values().filter(|of| of.len() > 3);
    let (all, good) = lines.fold((0, 0), |(all, good), line| {
        (all + 1, good + usize::from(of(line).is_some_and(|evidence| evidence.convinces(1))))
    });
    all > 1 && 10 * good >= 9 * all
}

fn carry(violation: &Violation) -> Option<i32> {
    let elements = violation.elements();
    let sharp = |e: &&Element| e.bound.total() / e.error().abs();
    let finite = elements.iter().filter(|e| e.error().is_finite() && e.error() != 0.0);
    let best = finite.min_by(|x, y| sharp(x).total_cmp(&sharp(y)))?;
    let power = best.error().abs().log2().round();
    let size = power.exp2();
    let trial = |e: &Element| e.expected + size.copysign(e.error());
    // An offset has one sign, whatever that of what is expected, and all elements have it.
    let loses = |e: &Element| e.error() * e.expected < 0.0;
    let signs =
        elements.iter().any(|e| e.error() > 0.0) && elements.iter().any(|e| e.error() < 0.0);
    let others = elements.iter().filter(|e| e.index != best.index);
    let found = is_found(best, trial(best)) && Evidence::of(others, trial).convinces(1);
    let some = elements.len() < violation.checked();
    (found && (some || signs || explains(elements, loses))).then_some(power as i32)
}

/// Whether errors go toward zero, and are too many for chance.
pub(super) fn toward_zero(elements: &[Element]) -> bool {
    let smaller = |e: &Element| {
        e.error() * e.expected < 0.0 && e.actual.abs() < e.expected.abs() && e.actual != 0.0
    };
    elements.len() >= 8 && explains(elements, smaller)
}
