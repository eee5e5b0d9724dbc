//! The policies as text: what a command line takes and what a recipe prints in one line.
//!
//! `FromStr` reads what `Display` writes.

use super::round::{NanPolicy, Overflow, Policy, Rounding};
use crate::error::{Error, Name};
use core::fmt;
use core::str::FromStr;

const ROUNDING: &str = "rounding (rne, rna, rz, ru, rd, stochastic, stochastic-even, \
                        stochastic-odd, stochastic-fast, the last four with :BITS if not 32)";

/// The number of random bits of a stochastic rounding that names none.
const DEFAULT_BITS: u8 = 32;

impl fmt::Display for Rounding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::NearestEven => "rne",
            Self::NearestAway => "rna",
            Self::TowardZero => "rz",
            Self::Up => "ru",
            Self::Down => "rd",
            Self::Stochastic { .. } => "stochastic",
            Self::StochasticEven { .. } => "stochastic-even",
            Self::StochasticOdd { .. } => "stochastic-odd",
            Self::StochasticFast { .. } => "stochastic-fast",
        };
        match self.random_bits() {
            0 | DEFAULT_BITS => f.pad(name),
            bits => write!(f, "{name}:{bits}"),
        }
    }
}

impl FromStr for Rounding {
    type Err = Error;

    /// `rne`, `rna`, `rz`, `ru`, `rd`, and with `:8` to `:32` if not 32 bits `stochastic`,
    /// `stochastic-even`, `stochastic-odd`, `stochastic-fast`.
    ///
    /// ```
    /// use quarter::Rounding;
    /// assert_eq!("stochastic:8".parse(), Ok(Rounding::Stochastic { bits: 8 }));
    /// assert_eq!(Rounding::NearestEven.to_string(), "rne");
    /// ```
    fn from_str(text: &str) -> Result<Self, Error> {
        let unknown = Error::Name { what: ROUNDING, got: Name::new(text) };
        let (name, bits) = match text.split_once(':') {
            Some((name, bits)) => (name, Some(bits.parse().map_err(|_| unknown)?)),
            None => (text, None),
        };
        let random = bits.unwrap_or(DEFAULT_BITS);
        let rounding = match (name, bits) {
            ("rne", None) => Self::NearestEven,
            ("rna", None) => Self::NearestAway,
            ("rz", None) => Self::TowardZero,
            ("ru", None) => Self::Up,
            ("rd", None) => Self::Down,
            ("stochastic", _) => Self::Stochastic { bits: random },
            ("stochastic-even", _) => Self::StochasticEven { bits: random },
            ("stochastic-odd", _) => Self::StochasticOdd { bits: random },
            ("stochastic-fast", _) => Self::StochasticFast { bits: random },
            _ => return Err(unknown),
        };
        rounding.check()?;
        Ok(rounding)
    }
}

macro_rules! names {
    ($($type:ident $what:literal { $($text:literal $variant:ident),* })*) => { $(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self {
                    $(Self::$variant => $text,)*
                })
            }
        }

        impl FromStr for $type {
            type Err = Error;

            #[doc = concat!($("`", $text, "`, ",)* "as `Display` writes.")]
            fn from_str(text: &str) -> Result<Self, Error> {
                match text {
                    $($text => Ok(Self::$variant),)*
                    _ => Err(Error::Name {
                        what: concat!($what, " (of", $(" ", $text,)* ")"),
                        got: Name::new(text),
                    }),
                }
            }
        }
    )* };
}

names! {
    Overflow "overflow policy" { "sat" Saturate, "nonfinite" NonFinite }
    NanPolicy "NaN policy" { "zero" Zero, "max" Max, "error" Error }
}

impl fmt::Display for Policy {
    /// Rounding, overflow and NaN policy: `rne,sat,nan=zero`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{},nan={}", self.rounding, self.overflow, self.nan)
    }
}
