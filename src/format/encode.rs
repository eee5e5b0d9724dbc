//! Value → code, rounded once, with integers only: the definition that every kernel is held to.
//!
//! One function serves every source, target, rounding and policy. Its phases are numbered; the
//! idea of phases 3 to 5 is that exponent and mantissa fields are one integer, so a rounding that
//! carries out of the mantissa steps to the next binade by itself, and "beyond the largest finite
//! number" is a comparison of codes.

use super::decode::{Class, Unpacked};
use super::round::{NanPolicy, Overflow, Policy, Rounding};
use super::spec::FormatSpec;
use crate::error::Error;

impl Unpacked {
    /// The code of this number in `spec`, rounded once as `policy` says.
    ///
    /// `word` is read by stochastic roundings only: the top `bits` of it are the random bits.
    ///
    /// # Errors
    /// [`Error::Nan`] for NaN into a format without NaN under [`NanPolicy::Error`], and
    /// [`Error::Range`] for a stochastic rounding outside 8..=32 bits.
    ///
    /// ```
    /// use quarter::{FormatId, Overflow, Policy, Rounding, Unpacked};
    /// let e4m3 = FormatId::F8E4M3.spec();
    /// let x = Unpacked::from_f32(465.0);
    /// assert_eq!(x.encode(e4m3, Policy::NONFINITE, 0)?, 0x7f); // NaN: there is no infinity
    /// assert_eq!(x.encode(e4m3, Policy::SATURATE, 0)?, 0x7e); // 448
    /// let stochastic = Policy::SATURATE.rounding(Rounding::Stochastic { bits: 8 });
    /// let x = Unpacked::from_f64(1.0 + 0.125 / 256.0); // frac = 1/256
    /// assert_eq!(x.encode(e4m3, stochastic, 0xff00_0000)?, 0x39);
    /// assert_eq!(x.encode(e4m3, stochastic, 0xfe00_0000)?, 0x38);
    /// # Ok::<(), quarter::Error>(())
    /// ```
    #[inline]
    pub const fn encode(self, spec: &FormatSpec, policy: Policy, word: u32) -> Result<u64, Error> {
        if let Err(error) = policy.rounding.check() {
            return Err(error);
        }
        if self.is_nan() && !spec.has_nan() && matches!(policy.nan, NanPolicy::Error) {
            return Err(Error::Nan { format: spec.name, index: 0 });
        }
        Ok(self.round(spec, policy, word))
    }

    /// Nearest even, overflow to Inf or NaN.
    #[inline(always)]
    pub(super) const fn nearest(self, spec: &FormatSpec) -> u64 {
        self.round(spec, Policy::NONFINITE, 0)
    }

    /// [`encode`](Self::encode) with its checks done: NaN that should be an error gives +0.
    #[inline(always)]
    pub(crate) const fn round(self, spec: &FormatSpec, policy: Policy, word: u32) -> u64 {
        // 1. NaN.
        if let Class::Nan = self.class {
            return nan(spec, policy.nan, self.negative);
        }
        // 2. No sign bit: a scale format rounds |x| when directed; nearest has no code for x ≤ 0.
        let below = self.negative || matches!(self.class, Class::Zero) && !spec.has_zero;
        if !spec.signed && !policy.rounding.is_directed() && below {
            return match (policy.overflow, spec.nan_code()) {
                (Overflow::NonFinite, Some(code)) => code,
                (Overflow::NonFinite, None) | (Overflow::Saturate, _) => 0,
            };
        }
        let negative = self.negative && spec.signed;
        let sign = if negative { spec.sign_mask() } else { 0 };
        match self.class {
            Class::Inf => return sign | beyond(spec, policy.overflow),
            Class::Zero | Class::Nan => return if spec.has_neg_zero() { sign } else { 0 },
            Class::Finite => {}
        }
        // 3. Align: keep the bits down to the target's last place, and the rest as a fraction of
        //    2^64 of that place. Below emin the last place stands still: subnormals. (ml_dtypes
        //    rounds to the nearest E8M0 as if its code 0 were a zero, and this mode has its bits:
        //    what lies between 2^-127 and 1.5 * 2^-127 goes to 2^-126.)
        let like_zero = spec.has_zero || matches!(policy.rounding, Rounding::NearestEven);
        let emin = like_zero as i32 - spec.bias;
        let exponent = if self.exponent > emin { self.exponent } else { emin };
        let shift = (64 - spec.precision() as i64) + (exponent as i64 - self.exponent as i64);
        let (kept, fraction, lost) = split(self.significand, shift);
        let sticky = lost | self.sticky;
        // 4. Round.
        let kept = kept + away(policy.rounding, negative, kept, fraction, sticky, word) as u64;
        // 5. Pack. The hidden bit counts into the exponent field, which starts at 0 for emin;
        //    without a zero the smallest code stands for everything below it.
        let magnitude = (((exponent - emin) as u64) << spec.man_bits) + kept;
        let magnitude = if like_zero { magnitude } else { magnitude.saturating_sub(1) };
        // 6. Overflow: the code passed the last finite one.
        if magnitude > spec.max_code() {
            // Unsigned formats round |x|, so there `Down` is inward and `Up` is not: as written.
            let inward = policy.rounding.is_inward(negative);
            let overflow = if inward { Overflow::Saturate } else { policy.overflow };
            return sign | beyond(spec, overflow);
        }
        if magnitude == 0 && !spec.has_neg_zero() { 0 } else { sign | magnitude }
    }
}

/// The code of NaN.
#[inline(always)]
pub(crate) const fn nan(spec: &FormatSpec, policy: NanPolicy, negative: bool) -> u64 {
    match (spec.nan_code(), policy) {
        (Some(code), _) if negative => code | spec.sign_mask(),
        (Some(code), _) => code,
        (None, NanPolicy::Max) => spec.max_code(),
        (None, NanPolicy::Zero | NanPolicy::Error) => 0,
    }
}

/// The magnitude of what lies beyond the largest finite number.
#[inline(always)]
pub(crate) const fn beyond(spec: &FormatSpec, overflow: Overflow) -> u64 {
    match (overflow, spec.inf_code(), spec.nan_code()) {
        (Overflow::NonFinite, Some(inf), _) => inf,
        (Overflow::NonFinite, None, Some(nan)) => nan,
        (Overflow::NonFinite, None, None) | (Overflow::Saturate, _, _) => spec.max_code(),
    }
}

/// significand / 2^shift as (whole part, fraction · 2^64, whether anything is below that).
#[inline(always)]
const fn split(significand: u64, shift: i64) -> (u64, u64, bool) {
    if shift <= 0 {
        (significand, 0, false) // only a 64-bit target keeps all, and there is none
    } else if shift < 64 {
        (significand >> shift, significand << (64 - shift), false)
    } else if shift == 64 {
        (0, significand, false)
    } else if shift < 128 {
        (0, significand >> (shift - 64), significand << (128 - shift) != 0)
    } else {
        (0, 0, true)
    }
}

/// Whether a value `fraction` past the code `kept` goes to the next code away from zero.
#[inline(always)]
const fn away(
    rounding: Rounding,
    negative: bool,
    kept: u64,
    fraction: u64,
    sticky: bool,
    word: u32,
) -> bool {
    const HALF: u64 = 1 << 63;
    let inexact = fraction != 0 || sticky;
    match rounding {
        Rounding::NearestEven => fraction > HALF || fraction == HALF && (sticky || kept & 1 == 1),
        Rounding::NearestAway => fraction >= HALF,
        Rounding::TowardZero => false,
        Rounding::Up => inexact && !negative,
        Rounding::Down => inexact && negative,
        Rounding::Stochastic { bits } => carries(bits, fraction >> (64 - bits), word),
        Rounding::StochasticEven { bits } => {
            let whole = fraction >> (64 - bits);
            let rest = fraction << bits;
            let up = rest > HALF || rest == HALF && (sticky || whole & 1 == 1);
            carries(bits, whole + up as u64, word)
        }
        Rounding::StochasticOdd { bits } => {
            let whole = fraction >> (64 - bits);
            let rest = fraction << bits;
            let up = rest > HALF || rest == HALF && (sticky || whole & 1 == 0);
            carries(bits, whole + up as u64, word)
        }
        Rounding::StochasticFast { bits } => {
            let up = fraction << bits >= HALF;
            carries(bits, (fraction >> (64 - bits)) + up as u64, word)
        }
    }
}

/// t + R ≥ 2^bits, with R the top bits of the word.
#[inline(always)]
const fn carries(bits: u8, t: u64, word: u32) -> bool {
    t + (word >> (32 - bits)) as u64 >= 1 << bits
}
