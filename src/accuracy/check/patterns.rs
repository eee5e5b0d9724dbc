//! What errors have in common, without knowing what was computed.

use super::{Element, Symptom, Violation};

/// Whether a trial explains nine in ten of the elements.
pub(super) fn explains(elements: &[Element], trial: impl Fn(&Element) -> bool) -> bool {
    let n = elements.iter().filter(|element| trial(element)).count();
    n > 0 && 10 * n >= 9 * elements.len()
}

/// Whether a number is what was found, where it may be as far off as what is expected, in parts.
pub(super) fn is_found(element: &Element, trial: f64) -> bool {
    if element.expected == 0.0 || !element.actual.is_finite() {
        return trial == element.actual;
    }
    let part = (trial / element.expected).abs();
    // A trial that is much like what is expected explains nothing.
    let room = (element.bound.total() * part.max(1.0)).min(element.error().abs() / 4.0);
    (element.actual - trial).abs() <= room + 1e-6 * trial.abs()
}

/// Adds the symptoms that errors alone show.
pub(super) fn name(violation: &mut Violation) {
    let elements = violation.elements();
    let mut found = std::vec::Vec::new();
    special(elements, &mut found);
    if found.is_empty() {
        if let Some(power) = power_of_two(elements) {
            found.push(Symptom::PowerOfTwo { power });
        } else if let Some(factor) = factor(elements.iter()) {
            found.push(Symptom::Factor { factor });
        } else if let Some(power) = carry(elements) {
            found.push(Symptom::LostCarry { power });
        } else if by_line(
            violation,
            |i| violation.place(i).0,
            |of| factor(of.iter().copied()).is_some(),
        ) {
            found.push(Symptom::FactorByRow);
        } else if by_line(
            violation,
            |i| violation.place(i).1,
            |of| factor(of.iter().copied()).is_some(),
        ) {
            found.push(Symptom::FactorByCol);
        } else if by_line(violation, |i| violation.place(i).1, same_error) {
            found.push(Symptom::OffsetByCol);
        } else if toward_zero(elements) {
            found.push(Symptom::TowardZero);
        }
    }
    violation.symptoms.extend(found);
}

type Trial = fn(&Element) -> bool;

fn special(elements: &[Element], found: &mut std::vec::Vec<Symptom>) {
    let trials: [(Symptom, Trial); 4] = [
        (Symptom::Saturates, |e| e.actual.is_finite() && !e.expected.is_finite()),
        (Symptom::InfForNan, |e| {
            (e.actual.is_nan() && e.expected.is_infinite())
                || (e.actual.is_infinite() && e.expected.is_nan())
        }),
        (Symptom::NanMade, |e| e.actual.is_nan() && e.expected.is_finite()),
        (Symptom::InfMade, |e| e.actual.is_infinite() && e.expected.is_finite()),
    ];
    found.extend(
        trials.into_iter().filter(|(_, trial)| explains(elements, trial)).map(|(name, _)| name),
    );
}

fn power_of_two(elements: &[Element]) -> Option<i32> {
    let of = |element: &Element| {
        let ratio = element.actual / element.expected;
        (ratio > 0.0 && ratio.is_finite()).then(|| ratio.log2().round() as i32)
    };
    // That of the element that is known best.
    let sharp = |element: &&Element| element.bound.total() / element.expected.abs();
    let best = elements.iter().filter(|element| of(element).is_some());
    let power = of(best.min_by(|x, y| sharp(x).total_cmp(&sharp(y)))?)?;
    let factor = 2f64.powi(power.clamp(-1000, 1000));
    (power != 0 && explains(elements, |e| is_found(e, e.expected * factor))).then_some(power)
}

/// The factor that all are off by, if there is one.
pub(super) fn factor<'a>(elements: impl Iterator<Item = &'a Element> + Clone) -> Option<f64> {
    let finite = |e: &&Element| e.expected != 0.0 && e.actual.is_finite() && e.actual != 0.0;
    let sharp = |e: &&Element| e.bound.total() / e.expected.abs();
    let best = elements.clone().filter(finite).min_by(|x, y| sharp(x).total_cmp(&sharp(y)))?;
    let factor = best.actual / best.expected;
    let all = elements.clone().count();
    let n = elements.filter(|e| is_found(e, e.expected * factor)).count();
    (n > 1 && 10 * n >= 9 * all).then_some(factor)
}

/// Whether a test holds for each row or column that has several wrong elements, and there are two of
/// them.
fn by_line(
    violation: &Violation,
    line: impl Fn(usize) -> usize,
    holds: impl Fn(&[&Element]) -> bool,
) -> bool {
    if violation.cols < 2 {
        return false;
    }
    let mut lines = std::collections::BTreeMap::<usize, std::vec::Vec<&Element>>::new();
    for element in violation.elements() {
        lines.entry(line(element.index)).or_default().push(element);
    }
    let lines = lines.values().filter(|of| of.len() > 1);
    let (all, good) =
        lines.fold((0, 0), |(all, good), of| (all + 1, good + usize::from(holds(of))));
    all > 1 && 10 * good >= 9 * all
}

fn same_error(elements: &[&Element]) -> bool {
    let sharp = |e: &&&Element| e.bound.total();
    let Some(best) = elements.iter().min_by(|x, y| sharp(x).total_cmp(&sharp(y))) else {
        return false;
    };
    elements.iter().all(|e| is_found(e, e.expected + best.error()))
}

fn carry(elements: &[Element]) -> Option<i32> {
    let sharp = |e: &&Element| e.bound.total() / e.error().abs();
    let best = elements.iter().min_by(|x, y| sharp(x).total_cmp(&sharp(y)))?;
    if !best.error().is_finite() {
        return None;
    }
    let power = best.error().abs().log2().round();
    let size = power.exp2();
    let trial = |e: &Element| is_found(e, e.expected + size.copysign(e.error()));
    (elements.len() > 1 && explains(elements, trial)).then_some(power as i32)
}

/// Whether errors go toward zero, and are too many for chance.
pub(super) fn toward_zero(elements: &[Element]) -> bool {
    let smaller = |e: &Element| e.error() * e.expected < 0.0 && e.actual.abs() < e.expected.abs();
    elements.len() >= 8 && explains(elements, smaller)
}
