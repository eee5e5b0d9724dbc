//! Numbers as units see them: exact products whose exponents are not made normal.

use super::wide::Wide;
use crate::format::{FormatSpec, Unpacked};

/// A number as a unit sees it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    Nan,
    Inf {
        negative: bool,
    },
    /// ±significand · 2^(exponent − fraction). Of a subnormal the exponent is that of the smallest
    /// normal number, and the significand is below 2^fraction.
    Finite {
        negative: bool,
        significand: u64,
        exponent: i32,
        fraction: i32,
    },
}

impl Number {
    pub fn of(spec: &FormatSpec, code: u64) -> Self {
        let negative = code & spec.sign_mask() != 0;
        let magnitude = code & spec.magnitude_mask();
        let fraction = spec.man_bits();
        let field = (magnitude >> fraction) as i32;
        let mantissa = magnitude & ((1 << fraction) - 1);
        let (significand, exponent) = match field {
            0 => (mantissa, spec.emin()),
            _ => (mantissa | 1 << fraction, field - spec.bias()),
        };
        if spec.is_nan_code(code) {
            return Self::Nan;
        }
        if Unpacked::decode(spec, code).is_inf() {
            return Self::Inf { negative };
        }
        Self::Finite { negative, significand, exponent, fraction: fraction as i32 }
    }

    /// The product, exactly: its exponent is the sum of its factors', and not made normal.
    pub fn times(self, other: Self) -> Self {
        match (self, other) {
            (
                Self::Finite { negative, significand, exponent, fraction },
                Self::Finite { negative: n, significand: s, exponent: e, fraction: f },
            ) => Self::Finite {
                negative: negative != n,
                significand: significand * s,
                exponent: exponent + e,
                fraction: fraction + f,
            },
            (Self::Nan, _) | (_, Self::Nan) => Self::Nan,
            (Self::Inf { negative }, x) | (x, Self::Inf { negative }) => match x {
                Self::Finite { significand: 0, .. } => Self::Nan,
                Self::Finite { negative: n, .. } | Self::Inf { negative: n } => {
                    Self::Inf { negative: negative != n }
                }
                Self::Nan => Self::Nan,
            },
        }
    }

    /// With another power of two.
    pub fn scaled(self, power: i32) -> Self {
        match self {
            Self::Finite { negative, significand, exponent, fraction } => {
                Self::Finite { negative, significand, exponent: exponent + power, fraction }
            }
            Self::Nan | Self::Inf { .. } => self,
        }
    }

    /// Zero instead of a subnormal, of a format whose smallest normal number is 2^emin.
    pub fn flushed(self, emin: i32) -> Self {
        match self {
            Self::Finite { negative, significand, exponent, fraction }
                if exponent == emin && significand >> fraction == 0 =>
            {
                Self::Finite { negative, significand: 0, exponent, fraction }
            }
            Self::Finite { .. } | Self::Nan | Self::Inf { .. } => self,
        }
    }

    pub fn wide(self) -> Wide {
        match self {
            Self::Finite { negative, significand, exponent, fraction } => {
                Wide::new(negative, significand, exponent - fraction)
            }
            Self::Nan | Self::Inf { .. } => Wide::ZERO,
        }
    }

    /// Without its magnitude's bits below 2^grid.
    pub fn cut(self, grid: i32) -> Wide {
        match self {
            Self::Finite { negative, significand, exponent, fraction } => {
                let last = exponent - fraction;
                let below = (grid - last).max(0) as u32;
                let kept = significand.checked_shr(below).map_or(0, |kept| kept << below);
                Wide::new(negative, kept, last)
            }
            Self::Nan | Self::Inf { .. } => Wide::ZERO,
        }
    }

    /// The exponent that terms are aligned by.
    pub fn exponent(self, zero: i32) -> i32 {
        match self {
            Self::Finite { significand: 0, .. } | Self::Nan | Self::Inf { .. } => zero,
            Self::Finite { exponent, .. } => exponent,
        }
    }
}

/// NaN or Inf, if a sum of these is not finite.
pub(super) fn special(terms: impl Iterator<Item = Number> + Clone) -> Option<Number> {
    let has = |sign: bool| {
        terms.clone().any(|term| matches!(term, Number::Inf { negative } if negative == sign))
    };
    match (terms.clone().any(|term| matches!(term, Number::Nan)), has(false), has(true)) {
        (true, ..) | (false, true, true) => Some(Number::Nan),
        (false, true, false) => Some(Number::Inf { negative: false }),
        (false, false, true) => Some(Number::Inf { negative: true }),
        (false, false, false) => None,
    }
}
