//! Bits held to bits.

use super::evidence::explains;
use super::patterns;
use super::violation::Kind;
use super::{Bits, Element, Report, Symptom, Violation};
use crate::accuracy::bounds::Bound;
use std::boxed::Box;
use std::vec::Vec;

/// The same bits, NaN being equal to NaN whatever its bits: of numbers of any type, or of codes.
///
/// Integers are codes. Where one side has a number type, they are of its format; numbers of two types
/// are the same where both stand for the same number.
///
/// # Errors
/// A [`Violation`] where they differ.
///
/// ```
/// use quarter::F8E4M3;
/// use quarter::accuracy::check::check_same_bits;
/// assert!(check_same_bits(&[0x38_u8, 0x7f], &[F8E4M3::from_f32(1.0), F8E4M3::NAN]).is_ok());
/// let violation = check_same_bits(&[0x39_u8], &[F8E4M3::from_f32(1.0)]).unwrap_err();
/// assert!(violation.to_string().contains("0|0111|001"));
/// let violation = check_same_bits(&[0x39_u8], &[0x38_u8]).unwrap_err();
/// assert!(violation.to_string().contains("00111001"));
/// ```
pub fn check_same_bits(
    actual: impl Into<Bits>,
    expected: impl Into<Bits>,
) -> Result<Report, Box<Violation>> {
    let (actual, expected) = (actual.into(), expected.into());
    let (got, want) = (actual.codes(), expected.codes());
    if got.len() != want.len() {
        return Err(Box::new(Violation::of_lengths(got.len(), want.len())));
    }
    let kind = actual.kind(&expected);
    let numbers = |i| [actual.number(i, &expected), expected.number(i, &actual)];
    let two = actual.format().is_some()
        && expected.format().is_some()
        && actual.format() != expected.format();
    let mut wrong = Vec::new();
    for i in 0..got.len() {
        if got[i] == want[i] && !two {
            continue;
        }
        let [x, y] = numbers(i);
        let known = !matches!(kind, Kind::Bits(_));
        // Wider numbers of the same value have the same bits.
        let same = (two && x.to_bits() == y.to_bits()) || (known && x.is_nan() && y.is_nan());
        if !same {
            let codes = match kind {
                Kind::Codes(_) | Kind::Bits(_) if !two => Some([got[i], want[i]]),
                _ => None,
            };
            wrong.push(Element { index: i, actual: x, expected: y, bound: Bound::ZERO, codes });
        }
    }
    if wrong.is_empty() {
        return Ok(Report { count: got.len(), ..Report::default() });
    }
    let zeros = explains(&wrong, |e| e.actual == 0.0 && e.expected == 0.0);
    let mut violation = Violation::new(wrong, got.len(), 0, kind);
    if matches!(kind, Kind::Bits(_)) {
        // Of a format that is not known, nothing is known of what errors are.
    } else if zeros {
        violation.symptoms.push(Symptom::NegativeZero);
    } else {
        patterns::name(&mut violation);
    }
    Err(Box::new(violation))
}
