//! Decimal text → code, rounded once, for texts of any length and without an allocator.
//!
//! core parses a text to the nearest f64 y. Rounding y again would round twice, but the text's
//! exact value x lies between y's neighbours. If the codes just below y and just above y are the
//! same, that is x's code, since rounding is monotone. If not, y stands on a boundary (a tie, say),
//! and comparing the text with y digit by digit tells on which side of it x is.

use super::table::{for_each_number, for_each_scale};
use super::types::*;
use super::{Code, Format, FormatSpec, Policy, Rounding, Unpacked};
use crate::error::{Error, Name};
use core::cmp::Ordering;
use core::str::FromStr;

impl FormatSpec {
    /// The code of a decimal text, rounded once as `policy` says.
    ///
    /// Reads what `f64::from_str` reads: `1.5`, `-2e-3`, `inf`, `nan` ... "inf" follows the
    /// overflow policy, and "nan" the NaN policy. Nearest into f64 is always to nearest even, and
    /// near E8M0's smallest number really to the nearest, so that what `Display` writes reads back.
    ///
    /// # Errors
    /// [`Error::Parse`] if the text is no number, [`Error::RandomMissing`] for a stochastic
    /// rounding, and those of [`Unpacked::encode`].
    ///
    /// ```
    /// use quarter::{FormatId, Policy};
    /// let e4m3 = FormatId::F8E4M3.spec();
    /// // 2^-10 is a tie between 0 and the smallest number; a little more is not.
    /// assert_eq!(e4m3.parse_code("0.0009765625", Policy::NONFINITE)?, 0x00);
    /// assert_eq!(e4m3.parse_code("0.0009765625000000000000000000001", Policy::NONFINITE)?, 0x01);
    /// # Ok::<(), quarter::Error>(())
    /// ```
    pub fn parse_code(&self, text: &str, policy: Policy) -> Result<u64, Error> {
        if policy.rounding.is_stochastic() {
            return Err(Error::RandomMissing);
        }
        let Ok(y) = text.parse::<f64>() else {
            return Err(Error::Parse { got: Name::new(text) });
        };
        let Some(decimal) = Decimal::new(text) else {
            return Unpacked::from_f64(y).encode(self, policy, 0); // Inf or NaN by name
        };
        if self.precision() > 50 && !policy.rounding.is_directed() {
            return Unpacked::from_f64(y).encode(self, policy, 0); // y is what is asked for
        }
        let code = decimal.encode(y, self, policy)?;
        if code == 1 && !self.has_zero && matches!(policy.rounding, Rounding::NearestEven) {
            return decimal.encode(y, self, policy.rounding(Rounding::NearestAway));
        }
        Ok(code)
    }
}

/// `y`, and a little less and a little more of it, by magnitude.
fn around(y: f64) -> [Unpacked; 3] {
    let at = Unpacked::from_f64(y);
    let bits = y.abs().to_bits();
    let inward = Unpacked::from_f64(f64::from_bits(bits.saturating_sub(1)));
    let below = if bits == 0 { at } else { inward.with_sticky().with_sign(at.negative) };
    let above = if bits == 0 {
        Unpacked::finite(at.negative, 1, -2000)
    } else if y.is_infinite() {
        Unpacked::finite(at.negative, 1, 2000) // a text of digits is finite
    } else {
        at.with_sticky()
    };
    // A text of digits that gives Inf is finite: beyond every format, but no infinity.
    [below, if y.is_infinite() { above } else { at }, above]
}

/// The digits of a text that `f64::from_str` accepts: 0.d₁d₂d₃... · 10^point with d₁ ≠ 0.
struct Decimal<'a> {
    digits: &'a [u8],
    point: i64,
}

impl<'a> Decimal<'a> {
    /// `None` for "inf", "nan" and their like.
    fn new(text: &'a str) -> Option<Self> {
        let text = text.as_bytes();
        let text = text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(text);
        if !text.iter().any(u8::is_ascii_digit) {
            return None;
        }
        let end = text.iter().position(|b| matches!(b, b'e' | b'E')).unwrap_or(text.len());
        let (mantissa, exponent) = (&text[..end], text.get(end + 1..).unwrap_or(b""));
        let whole = mantissa.iter().position(|&b| b == b'.').unwrap_or(mantissa.len());
        let first = mantissa.iter().position(|b| matches!(b, b'1'..=b'9'));
        let first = first.unwrap_or(mantissa.len());
        // Digits between the first one and the point: negative for zeros after the point.
        let point = whole as i64 - first as i64 + (first > whole) as i64;
        Some(Self { digits: &mantissa[first..], point: point.saturating_add(integer(exponent)) })
    }

    /// The code of this value, whose nearest f64 is `y` with the sign.
    fn encode(&self, y: f64, spec: &FormatSpec, policy: Policy) -> Result<u64, Error> {
        let [below, at, above] = around(y);
        let (low, high) = (below.encode(spec, policy, 0)?, above.encode(spec, policy, 0)?);
        if low == high {
            return Ok(low);
        }
        match self.compare(y.abs()) {
            Ordering::Less => Ok(low),
            Ordering::Equal => at.encode(spec, policy, 0),
            Ordering::Greater => Ok(high),
        }
    }

    /// The order of this value and `y` ≥ 0, exactly.
    fn compare(&self, y: f64) -> Ordering {
        match (self.digits.is_empty(), y == 0.0) {
            (true, true) => return Ordering::Equal,
            (false, true) => return Ordering::Greater,
            (true, false) => return Ordering::Less,
            (false, false) if y.is_infinite() => return Ordering::Less,
            (false, false) => {}
        }
        let (mut rest, point) = Ratio::new(y);
        if self.point != point {
            return self.point.cmp(&point);
        }
        for digit in self.digits.iter().filter(|b| **b != b'.').map(|b| b - b'0') {
            match digit.cmp(&rest.next_digit()) {
                Ordering::Equal => {}
                unequal => return unequal,
            }
        }
        if rest.is_zero() { Ordering::Equal } else { Ordering::Less }
    }
}

/// An exponent such as `-12`; of any length.
fn integer(text: &[u8]) -> i64 {
    let magnitude = text
        .iter()
        .filter(|b| b.is_ascii_digit())
        .fold(0i64, |sum, digit| sum.saturating_mul(10).saturating_add(i64::from(digit - b'0')));
    if text.first() == Some(&b'-') { -magnitude } else { magnitude }
}

/// Limbs of an integer that holds 10 times the numerator and denominator of every f64.
const LIMBS: usize = 18;

/// A fraction in [0, 1), whose decimal digits come off one by one.
struct Ratio {
    numerator: Wide,
    denominator: Wide,
}

impl Ratio {
    /// `y` > 0 as a fraction in [1/10, 1), and the power of ten that it was divided by.
    fn new(y: f64) -> (Self, i64) {
        let bits = y.to_bits();
        let field = (bits >> 52) as usize;
        let hidden = if field == 0 { 0 } else { 1 << 52 };
        let significand = bits & ((1 << 52) - 1) | hidden;
        // y = significand · 2^power / 2^1075, of which powers of two cancel.
        let power = field.max(1);
        let mut numerator = Wide::shifted(significand, power.saturating_sub(1075));
        let mut denominator = Wide::shifted(1, 1075usize.saturating_sub(power));
        let mut point = 0;
        while numerator.compare(&denominator).is_ge() {
            denominator.times_ten();
            point += 1;
        }
        loop {
            let mut ten = numerator;
            ten.times_ten();
            if ten.compare(&denominator).is_ge() {
                return (Self { numerator, denominator }, point);
            }
            numerator = ten;
            point -= 1;
        }
    }

    /// The first digit after the point; the fraction is what follows it.
    fn next_digit(&mut self) -> u8 {
        self.numerator.times_ten();
        let mut digit = 0;
        while self.numerator.compare(&self.denominator).is_ge() {
            self.numerator.subtract(&self.denominator);
            digit += 1;
        }
        digit
    }

    fn is_zero(&self) -> bool {
        self.numerator.0 == [0; LIMBS]
    }
}

/// An unsigned integer of 64 · LIMBS bits, lowest limb first.
#[derive(Clone, Copy)]
struct Wide([u64; LIMBS]);

impl Wide {
    /// value · 2^shift.
    fn shifted(value: u64, shift: usize) -> Self {
        let mut limbs = [0; LIMBS];
        let wide = u128::from(value) << (shift % 64);
        limbs[shift / 64] = wide as u64;
        limbs[shift / 64 + 1] = (wide >> 64) as u64;
        Self(limbs)
    }

    fn times_ten(&mut self) {
        let mut carry = 0;
        for limb in &mut self.0 {
            let product = u128::from(*limb) * 10 + carry;
            *limb = product as u64;
            carry = product >> 64;
        }
    }

    fn subtract(&mut self, other: &Self) {
        let mut borrow = false;
        for (limb, &other) in self.0.iter_mut().zip(&other.0) {
            let (difference, under) = limb.overflowing_sub(other);
            let (difference, under_too) = difference.overflowing_sub(borrow.into());
            *limb = difference;
            borrow = under || under_too;
        }
    }

    fn compare(&self, other: &Self) -> Ordering {
        self.0.iter().rev().cmp(other.0.iter().rev())
    }
}

/// [`FormatSpec::parse_code`] for a type.
pub(super) fn parse<F: Format>(text: &str, policy: Policy) -> Result<F, Error> {
    let code = F::SPEC.parse_code(text, policy)?;
    Ok(F::from_code(F::Bits::from_u64(code)))
}

macro_rules! from_str {
    ($(#[$doc:meta])* $type:ident $spec:ident $specials:ident) => {
        impl FromStr for $type {
            type Err = Error;

            /// A decimal text, rounded once: nearest even, overflow to Inf or NaN
            /// ([`FormatSpec::parse_code`]).
            fn from_str(text: &str) -> Result<Self, Error> {
                parse(text, Policy::NONFINITE)
            }
        }
    };
}
for_each_number!(from_str);
for_each_scale!(from_str);
