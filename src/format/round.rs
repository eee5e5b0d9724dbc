//! What a conversion does at the edges: policy is an argument, never a hidden default.

use crate::error::Error;

/// How a value between two neighbours lo < |x| < hi is rounded.
///
/// With frac = (|x| − lo) / (hi − lo), exact, and R the top `bits` bits of a random word, the
/// stochastic modes round away from zero iff t + R ≥ 2^bits, where t is frac · 2^bits taken to an
/// integer as the mode says. [`Stochastic`](Self::Stochastic) needs the fewest operations, and its
/// probability of rounding away is exactly t / 2^bits.
///
/// Source: the definitions of gfloat's `RoundMode`, which the tests replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Rounding {
    /// To the nearest, ties to the even code (IEEE 754 roundTiesToEven).
    #[default]
    NearestEven,
    /// To the nearest, ties away from zero.
    NearestAway,
    /// Toward zero (truncation). In E8M0: floor.
    TowardZero,
    /// Toward +∞. In E8M0: ceiling of |x|.
    Up,
    /// Toward −∞. In E8M0, where |x| is rounded: floor.
    Down,
    /// t = ⌊frac · 2^bits⌋; gfloat's StochasticFastest.
    Stochastic {
        /// Random bits used, 8 to 32.
        bits: u8,
    },
    /// t = frac · 2^bits to nearest, ties to even; gfloat's Stochastic.
    StochasticEven {
        /// Random bits used, 8 to 32.
        bits: u8,
    },
    /// t = frac · 2^bits to nearest, ties to odd; gfloat's StochasticOdd.
    StochasticOdd {
        /// Random bits used, 8 to 32.
        bits: u8,
    },
    /// t = ⌊frac · 2^bits + 1/2⌋; gfloat's StochasticFast.
    StochasticFast {
        /// Random bits used, 8 to 32.
        bits: u8,
    },
}

impl Rounding {
    /// The five deterministic modes.
    pub const DETERMINISTIC: [Self; 5] =
        [Self::NearestEven, Self::NearestAway, Self::TowardZero, Self::Up, Self::Down];

    /// Stochastic rounding with the default 32 bits.
    pub const STOCHASTIC: Self = Self::Stochastic { bits: 32 };

    /// The number of random bits the mode uses; 0 for a deterministic one.
    #[must_use]
    #[inline]
    pub const fn random_bits(self) -> u8 {
        match self {
            Self::NearestEven | Self::NearestAway | Self::TowardZero | Self::Up | Self::Down => 0,
            Self::Stochastic { bits }
            | Self::StochasticEven { bits }
            | Self::StochasticOdd { bits }
            | Self::StochasticFast { bits } => bits,
        }
    }

    /// Whether the mode needs random words.
    #[must_use]
    #[inline]
    pub const fn is_stochastic(self) -> bool {
        !matches!(
            self,
            Self::NearestEven | Self::NearestAway | Self::TowardZero | Self::Up | Self::Down
        )
    }

    /// Whether the mode is toward zero, up or down.
    #[inline(always)]
    pub(crate) const fn is_directed(self) -> bool {
        matches!(self, Self::TowardZero | Self::Up | Self::Down)
    }

    /// Whether the mode takes numbers of this sign toward zero, so that none overflows.
    #[inline(always)]
    pub(crate) const fn is_inward(self, negative: bool) -> bool {
        match self {
            Self::TowardZero => true,
            Self::Up => negative,
            Self::Down => !negative,
            Self::NearestEven
            | Self::NearestAway
            | Self::Stochastic { .. }
            | Self::StochasticEven { .. }
            | Self::StochasticOdd { .. }
            | Self::StochasticFast { .. } => false,
        }
    }

    /// # Errors
    /// [`Error::Range`] unless the mode is deterministic or uses 8 to 32 bits.
    #[inline]
    pub(crate) const fn check(self) -> Result<(), Error> {
        let bits = self.random_bits();
        if self.is_stochastic() && (bits < 8 || bits > 32) {
            let what = "number of random bits";
            return Err(Error::Range { what, got: bits as i64, min: 8, max: 32 });
        }
        Ok(())
    }
}

/// What a value beyond the largest finite number becomes. Inf follows the same policy.
///
/// A value is beyond when it *rounds* beyond, as if the exponent had no limit: 464 is the last
/// f32 that E4M3 takes to 448. A rounding that goes toward zero on that side never overflows a
/// finite value. FP6 and FP4 have neither Inf nor NaN and always saturate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Overflow {
    /// Inf where the format has it, else NaN, else the largest finite number.
    #[default]
    NonFinite,
    /// The largest finite number with the value's sign (CUDA's SATFINITE).
    Saturate,
}

/// What NaN becomes in a format without NaN (FP6, FP4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum NanPolicy {
    /// +0.
    #[default]
    Zero,
    /// The largest finite number, positive (CUDA's choice).
    Max,
    /// [`Error::Nan`].
    Error,
}

/// The three choices a conversion takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Policy {
    /// Between two neighbours.
    pub rounding: Rounding,
    /// Beyond the largest finite number.
    pub overflow: Overflow,
    /// NaN into a format without NaN.
    pub nan: NanPolicy,
}

impl Policy {
    /// Nearest even, overflow to Inf or NaN: what operators, `from_f32` and `parse` do.
    pub const NONFINITE: Self = Self {
        rounding: Rounding::NearestEven,
        overflow: Overflow::NonFinite,
        nan: NanPolicy::Zero,
    };

    /// Nearest even, saturating: what quantization does.
    pub const SATURATE: Self = Self { overflow: Overflow::Saturate, ..Self::NONFINITE };

    /// The same with another rounding.
    #[must_use]
    pub const fn rounding(self, rounding: Rounding) -> Self {
        Self { rounding, ..self }
    }

    /// The same with another overflow policy.
    #[must_use]
    pub const fn overflow(self, overflow: Overflow) -> Self {
        Self { overflow, ..self }
    }

    /// The same with another NaN policy.
    #[must_use]
    pub const fn nan(self, nan: NanPolicy) -> Self {
        Self { nan, ..self }
    }
}
