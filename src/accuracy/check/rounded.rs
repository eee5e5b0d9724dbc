//! Codes held to the one rounding of their sources.

use super::evidence::explains;
use super::patterns;
use super::trials::{Both, Caster, best, by_kind, is_one, rightly};
use super::violation::Kind;
use super::{Bits, Element, Report, Symptom, Violation, number};
use crate::accuracy::bounds::Bound;
use crate::format::{FormatSpec, Policy};
use crate::slice::Values;
use std::boxed::Box;
use std::vec::Vec;

/// Each code is the one rounding of its source to a format, to the bit, NaN being equal to NaN; of a
/// stochastic rounding either neighbour (how often which: [`check_stochastic`]).
///
/// Codes are u8, u16, u32 or u64, or numbers of any type. A NaN that the policy refuses has no code:
/// it counts in [`Report::without_bound`].
///
/// # Errors
/// A [`Violation`]: what a wrong kernel does is found by doing it, and comparing.
///
/// ```
/// use quarter::accuracy::check::{Symptom, check_rounded};
/// use quarter::{F8E4M3, Format, FormatId, Policy, Rounding};
/// let x: Vec<f32> = (0..1000).map(|i| i as f32 / 100.0).collect();
/// let (format, policy) = (FormatId::F8E4M3.spec(), Policy::NONFINITE);
/// let kernel = |rounding| -> Result<Vec<u8>, quarter::Error> {
///     let policy = policy.rounding(rounding);
///     x.iter().map(|x| Ok(F8E4M3::convert(*x, policy)?.to_bits())).collect()
/// };
/// let (right, cut) = (kernel(Rounding::NearestEven)?, kernel(Rounding::TowardZero)?);
/// assert!(check_rounded(format, policy, &x, &right).is_ok());
/// let violation = check_rounded(format, policy, &x, &cut).unwrap_err();
/// assert_eq!(violation.symptoms(), [Symptom::Truncation]);
/// # Ok::<(), quarter::Error>(())
/// ```
///
/// [`check_stochastic`]: super::check_stochastic
pub fn check_rounded<'a>(
    format: &FormatSpec,
    policy: Policy,
    source: impl Into<Values<'a>>,
    codes: impl Into<Bits>,
) -> Result<Report, Box<Violation>> {
    let (source, codes) = (source.into(), codes.into());
    let n = source.len();
    if n != codes.codes().len() {
        return Err(Box::new(Violation::of_lengths(codes.codes().len(), n)));
    }
    if codes.format().is_some_and(|other| other != format) {
        let other = codes.format().map_or("", FormatSpec::name);
        let why = std::format!("numbers of {other} as codes of {}", format.name());
        return Err(Box::new(Violation::of_refusal(why)));
    }
    let x: Vec<f64> = (0..n).map(|i| number(source, i)).collect();
    let caster = Caster { format, policy, x: &x, codes: codes.codes(), drops_neg_zero: false };
    hold(&caster, 0, |i| rightly(format, policy, x[i]), Vec::new())
}

/// Holds codes to those that are right, and tries what wrong casters do, and more.
pub(super) fn hold(
    caster: &Caster<'_>,
    cols: usize,
    right: impl Fn(usize) -> Both,
    more: Vec<super::trials::Trial<'_>>,
) -> Result<Report, Box<Violation>> {
    let Caster { format, codes, .. } = caster;
    let mut report = Report::default();
    let mut wrong = Vec::new();
    for (index, code) in codes.iter().enumerate() {
        let allowed = right(index);
        let Some(expected) = allowed[0].or(allowed[1]) else {
            report.without_bound += 1;
            continue;
        };
        report.count += 1;
        let above = is_above(format, *code);
        if above || !is_one(format, allowed, *code) {
            let actual = if above { f64::NAN } else { format.decode_f64(*code) };
            let codes = Some([*code, expected]);
            let expected = format.decode_f64(expected);
            wrong.push(Element { index, actual, expected, bound: Bound::ZERO, codes });
        }
    }
    if wrong.is_empty() {
        return Ok(report);
    }
    let mut violation = Violation::new(wrong, codes.len(), cols, Kind::Codes(**format));
    let wrong = violation.elements();
    if explains(wrong, |e| e.codes.is_some_and(|[code, _]| is_above(format, code))) {
        violation.symptoms.push(Symptom::NotACode);
        return Err(Box::new(violation));
    }
    let mut trials = caster.trials();
    trials.extend(more);
    let mut symptoms = best(format, wrong, codes, trials);
    if symptoms.is_empty() {
        symptoms.extend(by_kind(caster, wrong));
    }
    violation.symptoms = symptoms;
    if violation.symptoms.is_empty() {
        patterns::name(&mut violation);
        // What saturates is the largest number.
        let max = |e: &Element| e.actual.abs() == format.max();
        if violation.symptoms == [Symptom::Saturates] && !explains(violation.elements(), max) {
            violation.symptoms.clear();
        }
    }
    Err(Box::new(violation))
}

const fn is_above(format: &FormatSpec, code: u64) -> bool {
    code & !format.code_mask() != 0
}
