//! Element by element.

use super::super::vector::AdamWStep;
use super::math::{self, quiet};
use half::bf16;

#[inline(always)]
fn widen(x: bf16) -> f32 {
    f32::from_bits(u32::from(x.to_bits()) << 16)
}

/// y = gelu(x).
#[inline(always)]
pub(crate) fn gelu(x: &[f32], y: &mut [f32]) {
    for (x, y) in x.iter().zip(y) {
        *y = math::gelu(*x);
    }
}

/// The same of bf16.
#[inline(always)]
pub(crate) fn gelu_bf16(x: &[bf16], y: &mut [f32]) {
    for (x, y) in x.iter().zip(y) {
        *y = math::gelu(widen(*x));
    }
}

/// dx = dy · gelu′(x).
#[inline(always)]
pub(crate) fn gelu_backward(x: &[f32], dy: &[f32], dx: &mut [f32]) {
    for ((x, dy), dx) in x.iter().zip(dy).zip(dx) {
        *dx = quiet(dy * math::gelu_slope(*x));
    }
}

/// The same of bf16.
#[inline(always)]
pub(crate) fn gelu_bf16_backward(x: &[bf16], dy: &[f32], dx: &mut [f32]) {
    for ((x, dy), dx) in x.iter().zip(dy).zip(dx) {
        *dx = quiet(dy * math::gelu_slope(widen(*x)));
    }
}

/// y += x.
#[inline(always)]
pub(crate) fn add(x: &[f32], y: &mut [f32]) {
    for (x, y) in x.iter().zip(y) {
        *y = quiet(*y + x);
    }
}

/// One AdamW update, each operation rounded.
#[inline(always)]
pub(crate) fn adamw(
    h: &AdamWStep,
    weights: &mut [f32],
    grads: &[f32],
    m: &mut [f32],
    v: &mut [f32],
) {
    let h = *h;
    for (((w, grad), m), v) in weights.iter_mut().zip(grads).zip(m).zip(v) {
        let g = grad * h.grad_scale;
        let first = h.beta1 * *m + h.one_minus_beta1 * g;
        let second = h.beta2 * *v + h.one_minus_beta2 * (g * g);
        let decayed = *w - h.decay * *w;
        let step = h.lr * (first * h.m_correction) / ((second * h.v_correction).sqrt() + h.eps);
        *m = quiet(first);
        *v = quiet(second);
        *w = quiet(decayed - step);
    }
}
