//! Codes held to the one rounding of their sources, and bits to bits.

use super::evidence::explains;
use super::violation::Kind;
use super::{Element, Report, Symptom, Violation, number};
use crate::accuracy::bounds::Bound;
use crate::error::Error;
use crate::format::{FormatSpec, Overflow, Policy, Rounding, Unpacked};
use crate::slice::Values;
use std::boxed::Box;
use std::vec;
use std::vec::Vec;

/// Each code is the one rounding of its source to a format, to the bit, NaN being equal to NaN; of a
/// stochastic rounding either neighbour.
///
/// # Errors
/// A [`Violation`]: what a wrong kernel does is found by doing it, and comparing.
///
/// ```
/// use quarter::accuracy::check::{Symptom, check_rounded};
/// use quarter::{F8E4M3, Format, FormatId, Policy, Rounding};
/// let x: Vec<f32> = (0..1000).map(|i| i as f32 / 100.0).collect();
/// let (format, policy) = (FormatId::F8E4M3.spec(), Policy::NONFINITE);
/// let kernel = |rounding| -> Result<Vec<u64>, quarter::Error> {
///     let policy = policy.rounding(rounding);
///     x.iter().map(|x| Ok(F8E4M3::convert(*x, policy)?.to_bits().into())).collect()
/// };
/// let (right, cut) = (kernel(Rounding::NearestEven)?, kernel(Rounding::TowardZero)?);
/// assert!(check_rounded(format, policy, &x, &right).is_ok());
/// let violation = check_rounded(format, policy, &x, &cut).unwrap_err();
/// assert_eq!(violation.symptoms(), [Symptom::Truncation]);
/// # Ok::<(), quarter::Error>(())
/// ```
pub fn check_rounded<'a>(
    format: &FormatSpec,
    policy: Policy,
    source: impl Into<Values<'a>>,
    codes: &[u64],
) -> Result<Report, Box<Violation>> {
    let source = source.into();
    if source.len() != codes.len() {
        return Err(Box::new(Violation::of_lengths(codes.len(), source.len())));
    }
    let x: Vec<f64> = (0..codes.len()).map(|i| number(source, i)).collect();
    let mut wrong = Vec::new();
    for (i, (x, code)) in x.iter().zip(codes).enumerate() {
        let allowed = rightly(format, policy, *x);
        let above = code & !format.code_mask() != 0; // no code of this format
        let code = code & format.code_mask();
        if above || !allowed.iter().any(|right| same(format, *right, code)) {
            let Some(right) = allowed.first() else { continue };
            let [actual, expected] = [code, *right].map(|code| format.decode_f64(code));
            let codes = Some([code, *right]);
            wrong.push(Element { index: i, actual, expected, bound: Bound::ZERO, codes });
        }
    }
    if wrong.is_empty() {
        return Ok(Report { count: codes.len(), ..Report::default() });
    }
    let mut violation = Violation::new(wrong, codes.len(), 0, Kind::Codes(*format));
    violation.symptoms = trials(format, policy)
        .into_iter()
        .filter(|(_, trial)| {
            let given = |e: &Element| {
                e.codes.is_some_and(|[code, _]| agree(format, trial, x[e.index], code))
            };
            // It must also be right where the kernel is.
            let wrong = violation.elements().iter().map(|e| e.index);
            let mut is_wrong = vec![false; codes.len()];
            wrong.for_each(|i| is_wrong[i] = true);
            let right = (0..codes.len()).filter(|i| !is_wrong[*i]);
            let (n, agreed) = right.fold((0, 0), |(n, agreed), i| {
                (n + 1, agreed + usize::from(agree(format, trial, x[i], codes[i])))
            });
            explains(violation.elements(), given) && 100 * agreed >= 99 * n
        })
        .map(|(symptom, _)| symptom)
        .collect();
    if violation.symptoms.is_empty() {
        super::patterns::name(&mut violation);
    }
    Err(Box::new(violation))
}

/// Whether two codes are the same, or both NaN.
fn same(format: &FormatSpec, a: u64, b: u64) -> bool {
    a == b || (format.is_nan_code(a) && format.is_nan_code(b))
}

type Trial = Box<dyn Fn(f64) -> Result<u64, Error>>;

fn agree(format: &FormatSpec, trial: &Trial, x: f64, code: u64) -> bool {
    trial(x).is_ok_and(|tried| same(format, tried, code & format.code_mask()))
}

fn encode(format: &FormatSpec, policy: Policy, x: f64) -> Result<u64, Error> {
    Unpacked::from_f64(x).encode(format, policy, 0)
}

/// The codes that are right.
fn rightly(format: &FormatSpec, policy: Policy, x: f64) -> Vec<u64> {
    let of = |rounding| encode(format, policy.rounding(rounding), x);
    let away = if x < 0.0 { Rounding::Down } else { Rounding::Up };
    let both = if policy.rounding.is_stochastic() {
        [of(Rounding::TowardZero), of(away)]
    } else {
        [of(policy.rounding), of(policy.rounding)]
    };
    both.into_iter().flatten().collect()
}

/// What wrong kernels do.
fn trials(format: &FormatSpec, policy: Policy) -> Vec<(Symptom, Trial)> {
    let format = *format;
    let through = |name, narrow: fn(f64) -> f64| {
        let trial = move |x: f64| encode(&format, policy, narrow(x));
        (Symptom::DoubleRounding { through: name }, Box::new(trial) as Trial)
    };
    let with =
        |symptom, policy| (symptom, Box::new(move |x: f64| encode(&format, policy, x)) as Trial);
    let other = match policy.overflow {
        Overflow::NonFinite => with(Symptom::Saturates, policy.overflow(Overflow::Saturate)),
        Overflow::Saturate => with(Symptom::NotSaturated, policy.overflow(Overflow::NonFinite)),
    };
    let zero = move |x: f64| {
        if x.is_sign_negative() && format.has_neg_zero() { format.sign_mask() } else { 0 }
    };
    let early = move |x: f64| {
        let beyond = x.is_finite() && x.abs() > format.max();
        encode(&format, policy, if beyond { f64::INFINITY.copysign(x) } else { x })
    };
    let to_zero = move |x: f64| {
        // A little toward zero breaks a tie, and nothing else.
        let nudged = if x == 0.0 || !x.is_finite() { x } else { x.abs().next_down().copysign(x) };
        encode(&format, policy, nudged)
    };
    let flush = move |x: f64| {
        let code = encode(&format, policy, x)?;
        let small = code & format.magnitude_mask() < format.min_normal_code();
        Ok(if small { zero(x) } else { code })
    };
    let positive = move |x: f64| {
        let code = encode(&format, policy, x)?;
        Ok(if code & format.magnitude_mask() == 0 { 0 } else { code })
    };
    let mixed = move |x: f64| match (x.is_infinite(), format.nan_code(), format.inf_code()) {
        (true, Some(nan), _) => Ok(nan),
        (false, _, Some(inf)) if x.is_nan() => Ok(inf),
        _ => encode(&format, policy, x),
    };
    let mut trials = vec![
        through("f32", |x| f64::from(x as f32)),
        through("f16", |x| crate::format::f16_from_f64(x).to_f64()),
        through("bf16", |x| crate::format::bf16_from_f64(x).to_f64()),
        with(Symptom::Truncation, policy.rounding(Rounding::TowardZero)),
        with(Symptom::TiesAway, policy.rounding(Rounding::NearestAway)),
        (Symptom::TiesToZero, Box::new(to_zero)),
        (Symptom::OverflowBeforeRounding, Box::new(early)),
        (Symptom::Flushed, Box::new(flush)),
        (Symptom::NegativeZero, Box::new(positive)),
        (Symptom::InfForNan, Box::new(mixed)),
        other,
    ];
    trials.retain(|(symptom, _)| {
        let is = |rounding| policy.rounding == rounding;
        match symptom {
            Symptom::Truncation => !is(Rounding::TowardZero),
            Symptom::TiesAway | Symptom::TiesToZero => is(Rounding::NearestEven),
            _ => true,
        }
    });
    trials
}

/// The same bits, NaN being equal to NaN whatever its bits.
///
/// # Errors
/// A [`Violation`] where they differ.
pub fn check_same_bits<'a, 'e>(
    actual: impl Into<Values<'a>>,
    expected: impl Into<Values<'e>>,
) -> Result<Report, Box<Violation>> {
    let (actual, expected) = (actual.into(), expected.into());
    if actual.len() != expected.len() {
        return Err(Box::new(Violation::of_lengths(actual.len(), expected.len())));
    }
    let mut wrong = Vec::new();
    for i in 0..actual.len() {
        let (got, want) = (number(actual, i), number(expected, i));
        // Wider numbers of the same value have the same bits but for the sign of zero.
        if got.to_bits() != want.to_bits() && !(got.is_nan() && want.is_nan()) {
            let bound = Bound::ZERO;
            wrong.push(Element { index: i, actual: got, expected: want, bound, codes: None });
        }
    }
    if wrong.is_empty() {
        return Ok(Report { count: actual.len(), ..Report::default() });
    }
    let zeros = explains(&wrong, |e| e.actual == 0.0 && e.expected == 0.0);
    let mut violation = Violation::new(wrong, actual.len(), 0, Violation::kind_of(actual));
    if zeros {
        violation.symptoms.push(Symptom::NegativeZero);
    } else {
        super::patterns::name(&mut violation);
    }
    Err(Box::new(violation))
}
