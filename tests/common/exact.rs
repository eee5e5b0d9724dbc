//! Rounding by search: the finite numbers of a format as a sorted table, and exact comparisons.
//!
//! The oracle reads the facts of a [`FormatSpec`] (widths, bias, specials) and nothing else of the
//! library: values come from the definition, codes from positions in the table, and a decision is
//! a comparison with a neighbour or a midpoint, all of which are exact in f64.

use core::cmp::Ordering;
use quarter::{FormatSpec, NanPolicy, Overflow, Policy, Rounding, Specials};

/// A source value, exactly.
#[derive(Clone, Copy, Debug)]
pub enum Number {
    Float(f64),
    Int { negative: bool, magnitude: u128 },
}

impl Number {
    fn is_negative(self) -> bool {
        match self {
            Self::Float(x) => x.is_sign_negative(),
            Self::Int { negative, .. } => negative,
        }
    }

    /// How the magnitude compares with a finite number ≥ 0.
    fn compare(self, t: f64) -> Ordering {
        match self {
            Self::Float(x) => x.abs().partial_cmp(&t).expect("NaN is dealt with before"),
            Self::Int { .. } if t >= 2f64.powi(128) => Ordering::Less,
            Self::Int { magnitude, .. } => {
                let fraction = if t.fract() > 0.0 { Ordering::Less } else { Ordering::Equal };
                magnitude.cmp(&(t as u128)).then(fraction)
            }
        }
    }
}

/// A format of up to 16 bits as a table.
pub struct Exact {
    /// The finite magnitudes by code, and the step after the largest.
    grid: Vec<f64>,
    sign: u64,
    inf: Option<u64>,
    nan: Option<u64>,
    negative_zero: bool,
    /// No zero and no sign: E8M0.
    scale: bool,
}

impl Exact {
    pub fn new(spec: &FormatSpec) -> Self {
        let (exp, man, scale) = (spec.exp_bits(), spec.man_bits(), !spec.has_zero());
        assert!(exp + man <= 15 && spec.signed() != scale, "{} is no table", spec.name());
        let value = |code: u64| {
            let (field, mantissa) = ((code >> man) as i32, code & ((1 << man) - 1));
            let hidden = u64::from(field > 0 || scale) << man;
            let exponent = if scale { field } else { field.max(1) } - spec.bias();
            (mantissa + hidden) as f64 * 2f64.powi(exponent - man as i32)
        };
        let sign = if scale { 0 } else { 1 << (exp + man) };
        let all = 1u64 << (exp + man);
        let top = ((1 << exp) - 1) << man;
        let (finite, inf, nan) = match spec.specials() {
            Specials::Ieee => (top, Some(top), Some(top | 1 << (man - 1))),
            Specials::NanAllOnes => (all - 1, None, Some(all - 1)),
            Specials::NanNegZero => (all, None, Some(sign)),
            Specials::None => (all, None, None),
        };
        let negative_zero = !scale && spec.specials() != Specials::NanNegZero;
        Self { grid: (0..=finite).map(value).collect(), sign, inf, nan, negative_zero, scale }
    }

    /// The finite numbers ≥ 0 by code.
    pub fn finite(&self) -> &[f64] {
        &self.grid[..self.grid.len() - 1]
    }

    /// The finite numbers ≥ 0 and the step after the largest.
    pub fn grid(&self) -> &[f64] {
        &self.grid
    }

    /// The value of a code within the format's bits; any NaN for NaN.
    pub fn decode(&self, code: u64) -> f64 {
        let magnitude = code & !self.sign;
        if code == self.sign && !self.scale && !self.negative_zero {
            return f64::NAN;
        }
        let value = match self.finite().get(magnitude as usize) {
            Some(&value) => value,
            None if self.inf == Some(magnitude) => f64::INFINITY,
            None => f64::NAN,
        };
        if code & self.sign != 0 { -value } else { value }
    }

    /// The code of `x`, and none where the policy asks for an error.
    pub fn encode(&self, x: Number, policy: Policy, word: u32) -> Option<u64> {
        let max = self.grid.len() as u64 - 2;
        let beyond = match policy.overflow {
            Overflow::NonFinite => self.inf.or(self.nan).unwrap_or(max),
            Overflow::Saturate => max,
        };
        let negative = x.is_negative();
        if let Number::Float(value) = x
            && value.is_nan()
        {
            return match (self.nan, policy.nan) {
                (Some(nan), _) => Some(if negative { nan | self.sign } else { nan }),
                (None, NanPolicy::Zero) => Some(0),
                (None, NanPolicy::Max) => Some(max),
                (None, NanPolicy::Error) => None,
            };
        }
        if self.scale && !is_directed(policy.rounding) && self.not_positive(x) {
            return Some(if policy.overflow == Overflow::Saturate { 0 } else { beyond });
        }
        let magnitude = match x {
            Number::Float(value) if value.is_infinite() => beyond,
            _ => match self.round(x, policy.rounding, word) {
                (code, _) if code <= max => code,
                (_, true) => max,
                (_, false) => beyond,
            },
        };
        let signed = negative && (self.negative_zero || magnitude != 0);
        Some(if signed { magnitude | self.sign } else { magnitude })
    }

    /// The position in the grid that |x| is rounded to, and whether the mode never overflows here.
    fn round(&self, x: Number, rounding: Rounding, word: u32) -> (u64, bool) {
        let negative = x.is_negative() && !self.scale;
        let inward = match rounding {
            Rounding::TowardZero => true,
            Rounding::Up => negative,
            Rounding::Down => !negative,
            _ => false,
        };
        let not_above = self.grid.partition_point(|v| x.compare(*v).is_ge());
        let Some(low) = not_above.checked_sub(1) else {
            return (0, inward); // below a format without zero
        };
        let Some(&high) = self.grid.get(low + 1) else {
            return (low as u64, inward); // at or beyond the last step
        };
        let below = self.grid[low];
        if x.compare(below).is_eq() {
            return (low as u64, inward);
        }
        let half = x.compare((below + high) / 2.0);
        let away = match rounding {
            // ml_dtypes: the E8M0 tie goes up (its significand is odd), and code 0 acts as a zero.
            Rounding::NearestEven if self.scale => low == 0 || half.is_ge(),
            Rounding::NearestEven => half.is_gt() || half.is_eq() && low % 2 == 1,
            Rounding::NearestAway => half.is_ge(),
            Rounding::TowardZero | Rounding::Up | Rounding::Down => !inward,
            Rounding::Stochastic { .. }
            | Rounding::StochasticEven { .. }
            | Rounding::StochasticOdd { .. }
            | Rounding::StochasticFast { .. } => {
                let Number::Float(x) = x else { panic!("stochastic cases are floats") };
                let t = threshold(rounding, (x.abs() - below) / (high - below));
                let bits = u32::from(rounding.random_bits());
                t + u64::from(word >> (32 - bits)) >= 1 << bits
            }
        };
        (low as u64 + u64::from(away), inward)
    }

    fn not_positive(&self, x: Number) -> bool {
        x.is_negative() || x.compare(0.0).is_eq()
    }
}

fn is_directed(rounding: Rounding) -> bool {
    matches!(rounding, Rounding::TowardZero | Rounding::Up | Rounding::Down)
}

/// t of a stochastic mode for an exact `fraction` in [0, 1): of the 2^bits words, t round away.
pub fn threshold(rounding: Rounding, fraction: f64) -> u64 {
    let t = fraction * 2f64.powi(i32::from(rounding.random_bits()));
    let (floor, rest) = (t.floor() as u64, t.fract());
    floor
        + u64::from(match rounding {
            Rounding::StochasticEven { .. } => rest > 0.5 || rest == 0.5 && floor % 2 == 1,
            Rounding::StochasticOdd { .. } => rest > 0.5 || rest == 0.5 && floor % 2 == 0,
            Rounding::StochasticFast { .. } => rest >= 0.5,
            _ => false,
        })
}
