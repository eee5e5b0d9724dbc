//! One step of AdamW against real numbers.

use super::rounding::{ETA32, U32, rounding_up_to};
use super::{Bound, Term};
use crate::format::{FormatId, Policy, Rounding};
use crate::nn::{AdamWConfig, MomentType, WeightType};

/// A real number, and how far from it a computation in f32 may be: each operation adds its own
/// rounding to what its operands bring.
///
/// With |x̂ − x| ≤ dx: a product is off by dx|y| + |x|dy + dx·dy, a sum by dx + dy, a quotient by
/// (dx + |x/y|·dy) / (|y| − dy), a root by dx / 2√(x − dx) or √dx, by √(2dx) where x − dx is no number
/// above 0; each rounding by 2^−24 of what is rounded, and 2^−150.
///
/// ```
/// use quarter::accuracy::bounds::Tracked;
/// let third = Tracked::exact(1.0) / Tracked::exact(3.0);
/// assert!((f64::from(1.0_f32 / 3.0) - third.value()).abs() <= third.off());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tracked {
    value: f64,
    off: f64,
}

impl Tracked {
    /// A number that f32 has.
    #[must_use]
    pub fn exact(x: f32) -> Self {
        Self { value: f64::from(x), off: 0.0 }
    }

    /// A real number that is rounded once.
    #[must_use]
    pub fn rounded(value: f64) -> Self {
        Self { value, off: 0.0 }.round()
    }

    /// The real number.
    #[must_use]
    pub const fn value(self) -> f64 {
        self.value
    }

    /// How far from it f32 may be.
    #[must_use]
    pub const fn off(self) -> f64 {
        self.off
    }

    /// √.
    #[must_use]
    pub fn sqrt(self) -> Self {
        let value = self.value.sqrt();
        let below = self.value - self.off;
        let off = if below > 0.0 {
            (self.off / (2.0 * below.sqrt())).min(self.off.sqrt())
        } else {
            (2.0 * self.off).sqrt()
        };
        Self { value, off }.round()
    }

    /// Rounded to f32; f64 itself rounds the value by 2^−53 of it.
    /// What may become Inf has no bound.
    fn round(self) -> Self {
        if self.value == 0.0 && self.off == 0.0 {
            return self;
        }
        let off = self.off + (self.value.abs() + self.off) * (U32 + 1e-15) + ETA32;
        let beyond = self.value.abs() + off >= f64::from(f32::MAX);
        Self { off: if beyond { f64::INFINITY } else { off }, ..self }
    }
}

impl core::ops::Mul for Tracked {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        let (x, y) = (self.value.abs(), other.value.abs());
        let off = self.off * y + x * other.off + self.off * other.off;
        Self { value: self.value * other.value, off }.round()
    }
}

impl core::ops::Add for Tracked {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { value: self.value + other.value, off: self.off + other.off }.round()
    }
}

impl core::ops::Sub for Tracked {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self { value: self.value - other.value, off: self.off + other.off }.round()
    }
}

impl core::ops::Div for Tracked {
    type Output = Self;

    fn div(self, other: Self) -> Self {
        let value = self.value / other.value;
        let least = other.value.abs() - other.off;
        let off =
            if least > 0.0 { (self.off + value.abs() * other.off) / least } else { f64::INFINITY };
        Self { value, off }.round()
    }
}

/// What a step of AdamW is expected to make of one weight and its moments, and the bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWBound {
    /// The weight.
    pub weight: (f64, Bound),
    /// The first moment.
    pub m: (f64, Bound),
    /// The second moment.
    pub v: (f64, Bound),
}

/// The weight, gradient and moments of one element before a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWElement {
    /// The weight.
    pub weight: f32,
    /// The gradient before it is cut.
    pub grad: f32,
    /// The first moment.
    pub m: f32,
    /// The second moment.
    pub v: f32,
    /// Whether λ applies.
    pub decay: bool,
}

/// Step number `step` (from 1) of [`AdamW`](crate::nn::AdamW) with this learning rate and norm of all
/// gradients, as the step gives it: the update in real numbers, and by [`Tracked`] how far f32 is
/// from it. Moments in bf16 and weights rounded stochastically to bf16 add that rounding (A1).
#[must_use]
pub fn adamw(
    config: &AdamWConfig,
    (step, lr, grad_norm): (u64, f32, f32),
    element: AdamWElement,
) -> AdamWBound {
    let x = Tracked::exact;
    let [beta1, beta2] = [config.beta1, config.beta2].map(x);
    let correction = |beta: Tracked| {
        // Each squaring of f64 rounds, and doubles what was rounded before.
        let power = beta.value().powf(step as f64);
        let off = power * step as f64 * (f64::EPSILON / 2.0) / (1.0 - power);
        let value = 1.0 / (1.0 - power);
        Tracked { value, off: off * value }.round()
    };
    let one = x(1.0);
    let clip = config.max_norm.map_or(one, |max| {
        let ratio = x(max) / (x(grad_norm) + x(1e-6));
        // Beyond the largest number it is Inf, and cuts nothing.
        let beyond = ratio.value() > 1e30 && ratio.off() == f64::INFINITY;
        if beyond || ratio.value() - ratio.off() > 1.0 {
            one
        } else {
            Tracked { value: ratio.value.min(1.0), ..ratio }
        }
    });
    let g = x(element.grad) * clip;
    let m = beta1 * x(element.m) + (one - beta1) * g;
    let v = beta2 * x(element.v) + (one - beta2) * (g * g);
    // A second moment is not negative in f32, either.
    let v_hat = v * correction(beta2);
    let decay = if element.decay { x(lr) * x(config.weight_decay) } else { x(0.0) };
    let w = x(element.weight);
    let update = x(lr) * (m * correction(beta1)) / (v_hat.sqrt() + x(config.eps));
    let weight = (w - decay * w) - update;
    let of = |x: Tracked| Bound::of(Term::Accumulation, x.off());
    let stored = |x: Tracked, rounding_to: Rounding| {
        let policy = Policy::NONFINITE.rounding(rounding_to);
        let most = x.value().abs() + x.off();
        of(x).with(Term::Output, rounding_up_to(FormatId::Bf16.spec(), policy, most))
    };
    let moment = |x: Tracked| match config.moments {
        MomentType::F32 => (x.value(), of(x)),
        MomentType::Bf16 => (x.value(), stored(x, Rounding::NearestEven)),
    };
    let weight = match config.weights {
        WeightType::F32 => (weight.value(), of(weight)),
        WeightType::StochasticBf16 => (weight.value(), stored(weight, Rounding::STOCHASTIC)),
    };
    AdamWBound { weight, m: moment(m), v: moment(v) }
}
