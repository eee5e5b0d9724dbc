//! One rounding (A1), and sums of many (A2, A6, A7).

use super::{Bound, Term};
use crate::format::{FormatSpec, Overflow, Policy, Rounding};

/// 2^−24: half of the distance from 1 to the next f32.
pub const U32: f64 = 1.0 / (1_u64 << 24) as f64;

/// 2^−150: half of the smallest f32.
pub const ETA32: f64 = pow2(-150);

/// 2^e, for exponents that f64's normal numbers have; the nearest of them for others.
pub(super) const fn pow2(e: i32) -> f64 {
    let field = if e < -1022 {
        1
    } else if e > 1023 {
        2046
    } else {
        1023 + e
    };
    f64::from_bits((field as u64) << 52)
}

/// ⌊log2 |x|⌋ of a number that is not zero and no subnormal f64.
pub(super) const fn exponent(x: f64) -> i32 {
    (x.to_bits() >> 52 & 0x7ff) as i32 - 1023
}

/// u = 2^−p: a rounding to nearest is off by at most u/(1+u) of what is rounded, any other one by
/// 2u.
#[must_use]
pub const fn unit_roundoff(spec: &FormatSpec) -> f64 {
    spec.epsilon() / 2.0
}

/// A1: |Q(x) − x| of one rounding to a format.
///
/// x lies in a binade \[2^e, 2^(e+1)), where numbers are 2u·2^e apart; below the normal numbers they
/// are s apart, the smallest of all.
///
/// | to nearest | toward zero | up, down, stochastic |
/// |---|---|---|
/// | max(u/(1+u) · \|x\|, s/2) | max(2u/(1+2u) · \|x\|, s) | max(2u · \|x\|, s) |
///
/// To nearest, |Q(x) − x| ≤ u·2^e, and where it is d, |x| is at least 2^e + d: so d/|x| ≤
/// u/(1+u). Toward zero, |x| = |Q(x)| + d with d < 2u·2^e: d/|x| < 2u/(1+2u). Otherwise d < 2u·2^e.
/// From the largest number M on, what saturates is off by |x| − M. What may become Inf or NaN has
/// no bound ([`Bound::NONE`]).
///
/// Source: Jeannerod and Rump, On relative errors of floating-point operations, Math. Comp. 2018
/// (abstract read), for u/(1+u); the rest is derived here.
///
/// ```
/// use quarter::accuracy::bounds::{Term, rounding};
/// use quarter::{FormatId, Policy};
/// let e4m3 = FormatId::F8E4M3.spec();
/// let bound = |x| rounding(e4m3, Policy::SATURATE, x);
/// assert_eq!(bound(17.0).total(), 1.0); // 17 is the midpoint of 16 and 18
/// assert_eq!(bound(1e-5).total(), 2f64.powi(-10));
/// assert_eq!(bound(-500.0).term(Term::Clipping), 52.0);
/// ```
#[must_use]
pub fn rounding(spec: &FormatSpec, policy: Policy, x: f64) -> Bound {
    let (u, max, size) = (unit_roundoff(spec), spec.max(), x.abs());
    if !x.is_finite() || (!spec.signed() && x.is_sign_negative()) || (!spec.has_zero() && x == 0.0)
    {
        return Bound::NONE;
    }
    let inward = policy.rounding.is_inward(x < 0.0);
    if size >= max {
        // The distance of the largest number and the next, if there were one.
        let half = pow2(spec.emax() - spec.man_bits() as i32) / 2.0;
        let nearest = matches!(policy.rounding, Rounding::NearestEven | Rounding::NearestAway);
        let saturates =
            policy.overflow == Overflow::Saturate || !(spec.has_inf() || spec.has_nan());
        return if size == max {
            Bound::ZERO
        } else if nearest && size < max + half {
            Bound::of(Term::Rounding, size - max)
        } else if saturates || inward {
            Bound::of(Term::Clipping, size - max)
        } else {
            Bound::NONE
        };
    }
    let smallest = spec.min_positive();
    // As ml_dtypes rounds to E8M0, what is below 2s becomes s or 2s.
    if !spec.has_zero() && size < 2.0 * smallest {
        return Bound::of(Term::Underflow, (2.0 * smallest - size).max(size - smallest));
    }
    let (part, least) = match policy.rounding {
        Rounding::NearestEven | Rounding::NearestAway => (u / (1.0 + u), smallest / 2.0),
        _ if inward => (2.0 * u / (1.0 + 2.0 * u), smallest),
        _ => (2.0 * u, smallest),
    };
    // What rounds to zero is off by itself.
    Bound::of(Term::Rounding, (part * size).max(least.min(if inward { size } else { least })))
}

/// The largest of [`rounding`] over all numbers of up to a size: beyond the largest number of a format
/// it is smaller again.
pub(super) fn rounding_up_to(spec: &FormatSpec, policy: Policy, size: f64) -> f64 {
    let inside = rounding(spec, policy, size.min(spec.max().next_down())).total();
    inside.max(rounding(spec, policy, size).total())
}

/// A2: γₙ = n·u / (1 − n·u), Inf from n·u = 1 on: a product of n factors 1 + δ with |δ| ≤ u is off
/// from 1 by at most γₙ.
///
/// Each term of a sum, in whatever order it is made, meets at most as many roundings as the tree is
/// deep: the sum is off by γₙ Σ |terms|.
///
/// Source: Higham, Accuracy and Stability of Numerical Algorithms, lemma 3.1.
#[must_use]
pub fn gamma(n: usize, u: f64) -> f64 {
    let nu = n as f64 * u;
    if nu < 1.0 { nu / (1.0 - nu) } else { f64::INFINITY }
}

/// (1 + u)ⁿ − 1: how far n factors 1 + δ with |δ| ≤ u may be from 1. It is at most
/// [γₙ](gamma), and finite for every n.
pub(super) fn growth(n: usize, u: f64) -> f64 {
    (n as f64 * u.ln_1p()).exp_m1()
}

/// A2 for chains to nearest: n·u. n additions s = fl(s + r), of numbers r of any kind and in any
/// number, are off by at most n·u of Σ |r|. A rounding that is off by more than |r|, as truncation
/// may be, has no such bound.
///
/// By induction, E being the error so far and S = Σ |r| before: the new rounding is off by at most
/// |r|, as s itself is a number, and by at most u·|s + r| ≤ u (E + S + |r|). If |r| ≤ u·S, the first
/// gives E + |r| ≤ n·u·S. Else u·E ≤ u·(n−1)·u·S < (n−1)·u·|r|, and the second gives
/// (n−1)·u·S + (n−1)·u·|r| + u (S + |r|).
///
/// Source: Jeannerod and Rump, Improved error bounds for inner products in floating-point
/// arithmetic, SIAM J. Matrix Anal. Appl. 34, 2013; it could not be read, so the proof is ours.
#[must_use]
pub fn chain(n: usize, u: f64) -> f64 {
    n as f64 * u
}

/// A6: γ̃ₙ(λ) = exp(λ·√n·u + n·u²/(1−u)) − 1. If the relative errors of n roundings are independent
/// with mean 0, their product is farther than this from 1 with a probability of at most
/// 2·exp(−λ²(1−u)²/2).
///
/// log Π(1+δ) is a sum of n numbers within u/(1−u) of a mean of at most u²/(1−u): Hoeffding's
/// inequality. Truncation has another mean: it has no such bound.
///
/// Source: Higham and Mary, A new approach to probabilistic rounding error analysis, SIAM J. Sci.
/// Comput. 41, 2019; it could not be read: the constants are those of later papers that quote it.
#[must_use]
pub fn probable_gamma(n: usize, lambda: f64, u: f64) -> f64 {
    let n = n as f64;
    (lambda * n.sqrt() * u + n * u * u / (1.0 - u)).exp_m1()
}

/// A6: the least probability that all n terms of an inner product are within
/// [γ̃ₙ(λ)](probable_gamma): 1 − 2n·exp(−λ²(1−u)²/2), at least 0.
#[must_use]
pub fn probability(n: usize, lambda: f64, u: f64) -> f64 {
    let tail = (-(lambda * (1.0 - u)).powi(2) / 2.0).exp();
    (1.0 - 2.0 * n as f64 * tail).max(0.0)
}

/// A7: how far the share of n independent draws may be from their probability, but for a
/// probability of `alpha`: √(ln(2/alpha) / 2n).
///
/// Source: Hoeffding, Probability inequalities for sums of bounded random variables, 1963.
#[must_use]
pub fn hoeffding(n: u64, alpha: f64) -> f64 {
    ((2.0 / alpha).ln() / (2.0 * n as f64)).sqrt()
}

/// A7: γ̃ₙ of sums that are rounded stochastically: λ with u replaced by 2u, and
/// [`probability`]`(n, λ, 2u)`. Errors have mean 0 whatever came before, so that no assumption is
/// needed; with r random bits but for up to 2^−r of a step each, which add up.
///
/// Source: Connolly, Higham and Mary, Stochastic rounding and its probabilistic backward error
/// analysis, SIAM J. Sci. Comput. 43, 2021 (abstract read).
#[must_use]
pub fn stochastic_gamma(n: usize, lambda: f64, u: f64) -> f64 {
    probable_gamma(n, lambda, 2.0 * u)
}

/// A7: the neighbours of a number in a format and the probability of the farther from zero, which
/// is (|x| − lo) / (hi − lo); none for what is not between two numbers.
///
/// With r random bits that probability is met but for 2^−r (its fraction is cut off), or 2^−(r+1)
/// where the mode rounds it to nearest.
#[must_use]
pub fn away_probability(spec: &FormatSpec, x: f64) -> Option<(f64, f64, f64)> {
    let size = x.abs();
    // Every f64 is one of f64.
    if !(size < spec.max() && spec.has_zero() && spec.bits() <= 32) {
        return None;
    }
    let e = if size < spec.min_normal() { spec.emin() } else { exponent(size) };
    let step = pow2(e - spec.man_bits() as i32);
    let lo = (size / step).floor() * step;
    (lo != size).then(|| (lo, lo + step, (size - lo) / step))
}
