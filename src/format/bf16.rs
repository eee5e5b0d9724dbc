//! What `half` rounds twice, rounded once: bf16 and f16 from f64, and multiply-add.
//!
//! `half` 2.7 drops the low 32 bits of an f64 before it rounds (or goes through f32), and its
//! `mul_add` goes through f32, so results next to a tie are wrong. The functions here round once.
//! Integers and text: [`Format::convert`](super::Format::convert) and
//! [`Format::parse`](super::Format::parse), which `bf16` and `f16` have too.

use super::table::{BF16, F16};
use super::{Policy, Unpacked};
use half::{bf16, f16};

/// An f64 as bf16, rounded once: nearest even, overflow to Inf.
///
/// ```
/// let x = 1.0 + 1.0 / 256.0 + 2.0f64.powi(-40); // just above a tie
/// assert_eq!(quarter::bf16_from_f64(x).to_f32(), 1.0078125);
/// ```
#[must_use]
#[inline]
pub const fn bf16_from_f64(x: f64) -> bf16 {
    bf16::from_bits(Unpacked::from_f64(x).round(&BF16, Policy::NONFINITE, 0) as u16)
}

/// An f64 as f16, rounded once: nearest even, overflow to Inf.
///
/// ```
/// assert_eq!(quarter::f16_from_f64(65519.99999999999).to_f32(), 65504.0);
/// ```
#[must_use]
#[inline]
pub const fn f16_from_f64(x: f64) -> f16 {
    f16::from_bits(Unpacked::from_f64(x).round(&F16, Policy::NONFINITE, 0) as u16)
}

/// a · b + c of bf16, rounded once: nearest even, overflow to Inf.
#[must_use]
#[inline]
pub const fn bf16_mul_add(a: bf16, b: bf16, c: bf16) -> bf16 {
    let sum = fused(a.to_f64_const(), b.to_f64_const(), c.to_f64_const());
    bf16::from_bits(sum.round(&BF16, Policy::NONFINITE, 0) as u16)
}

/// a · b + c of f16, rounded once: nearest even, overflow to Inf.
#[must_use]
#[inline]
pub const fn f16_mul_add(a: f16, b: f16, c: f16) -> f16 {
    let sum = fused(a.to_f64_const(), b.to_f64_const(), c.to_f64_const());
    f16::from_bits(sum.round(&F16, Policy::NONFINITE, 0) as u16)
}

/// a · b + c for a · b that is exact in f64 (up to 26 bits each, no over- or underflow), to f64
/// and whether a little is missing.
pub(super) const fn fused(a: f64, b: f64, c: f64) -> Unpacked {
    let product = a * b;
    let sum = product + c;
    // Knuth's two-sum: product + c = sum + rest, exactly.
    let part = sum - product;
    let rest = (product - (sum - part)) + (c - part);
    if rest == 0.0 || rest.is_nan() {
        return Unpacked::from_f64(sum);
    }
    // Truncated, with the sticky bit for what is cut off.
    let inward = (rest > 0.0) != (sum > 0.0);
    let kept = if inward { f64::from_bits(sum.to_bits() - 1) } else { sum };
    Unpacked::from_f64(kept).with_sticky()
}
