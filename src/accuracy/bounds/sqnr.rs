//! How much noise quantization is expected to make (A8).

use super::normal::{density, integral, within};
use crate::format::FormatSpec;
use crate::scale::{Context, Rule};
use std::vec::Vec;

/// A8: 20 log10(2) · p + 10 log10(8 ln 2), which is 6.02 p + 7.44 dB: the ratio of signal to noise of
/// numbers whose logarithm is evenly spread over whole binades, with p bits of significand.
///
/// Over a binade the noise is u²/3 on average (an even error up to u·2^e; e = 0), and x² and the
/// noise weigh by 1/x: E\[noise/x²\] = (u²/3) ∫₁² dx / (x³ ln 2) = u²/(8 ln 2).
///
/// ```
/// use quarter::accuracy::bounds::sqnr_formula;
/// assert!((sqnr_formula(4) - 31.52).abs() < 0.005); // E4M3
/// ```
#[must_use]
pub fn sqnr_formula(precision: u32) -> f64 {
    20.0 * 2f64.log10() * f64::from(precision) + 10.0 * (8.0 * 2f64.ln()).log10()
}

/// What numbers are drawn from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Density {
    /// Normal, mean 0.
    Normal {
        /// Its standard deviation.
        sigma: f64,
    },
    /// Even from −most to most.
    Uniform {
        /// The largest.
        most: f64,
    },
}

impl Density {
    /// Twice the density at x ≥ 0, and from where on there is nothing.
    fn half(&self, x: f64) -> f64 {
        match *self {
            Self::Normal { sigma } => 2.0 * density(x / sigma) / sigma,
            Self::Uniform { most } => 1.0 / most,
        }
    }

    const fn end(&self) -> f64 {
        match *self {
            // Beyond there is less than 1e-30.
            Self::Normal { sigma } => 12.0 * sigma,
            Self::Uniform { most } => most,
        }
    }

    fn power(&self) -> f64 {
        match *self {
            Self::Normal { sigma } => sigma * sigma,
            Self::Uniform { most } => most * most / 3.0,
        }
    }
}

/// A8: signal to noise in dB of numbers of a distribution that are rounded to the nearest number of a
/// format and saturate: the integral of (Q(x) − x)² over each number's cell. Numbers are in the
/// format's units: a scale is part of sigma. Of formats of more than 16 bits it is the
/// [formula](sqnr_formula)'s.
///
/// ```
/// use quarter::FormatId;
/// use quarter::accuracy::bounds::{Density, sqnr};
/// let e4m3 = FormatId::F8E4M3.spec();
/// let normal = Density::Normal { sigma: e4m3.max() / 3.7 };
/// assert!((sqnr(e4m3, normal) - 31.39).abs() < 0.01);
/// ```
#[must_use]
pub fn sqnr(format: &FormatSpec, distribution: Density) -> f64 {
    if format.bits() > 16 {
        return sqnr_formula(format.precision());
    }
    let noise = noise(&numbers(format), 1.0, distribution.end(), |x| distribution.half(x));
    decibel(distribution.power() / noise)
}

/// A8: the same of normal numbers in blocks of n whose scale is by their own amax under a rule.
///
/// One of n is the amax m, with density n·2φ(m)·P(m)^(n−1), P(m) being the probability of |z| ≤ m; the
/// others are normal numbers within ±m. The noise of a block is the mean over m of
/// (Q(m) − m)² + (n−1)·E\[(Q(z) − z)² | |z| ≤ m\], the signal n.
///
/// `global_scale` is that of NVFP4's tensor, 1 for other rules. Scales follow from the rule itself.
///
/// ```
/// use quarter::accuracy::bounds::sqnr_blocks;
/// use quarter::{FormatId, Rule};
/// let floor = sqnr_blocks(FormatId::F8E4M3.spec(), Rule::OcpFloor, 32, 1.0);
/// assert!((floor - 30.62).abs() < 0.05);
/// ```
#[must_use]
pub fn sqnr_blocks(format: &FormatSpec, rule: Rule, n: usize, global_scale: f32) -> f64 {
    /// Steps of amax, from 0 to 8 standard deviations.
    const STEPS: usize = 1024;
    if format.bits() > 16 {
        return sqnr_formula(format.precision());
    }
    let numbers = numbers(format);
    let context = Context { global_scale, ..Context::default() };
    let others = n as f64 - 1.0;
    let (mut sum, mut weight) = (0.0, 0.0);
    for i in 0..STEPS {
        let m = 8.0 * (i as f64 + 0.5) / STEPS as f64;
        let below = within(m);
        let probability = n as f64 * 2.0 * density(m) * below.powf(others);
        if probability < 1e-12 {
            continue;
        }
        let scale = rule.scale(format, m as f32, &context);
        let step = f64::from(scale.scale_inv) / f64::from(global_scale);
        let own = nearest(&numbers, m / step) * step - m;
        let rest = noise(&numbers, step, m, |x| 2.0 * density(x)) / below;
        sum += probability * (own * own + others * rest);
        weight += probability;
    }
    decibel(n as f64 * weight / sum)
}

fn decibel(ratio: f64) -> f64 {
    10.0 * ratio.log10()
}

/// The numbers of a format that are not negative, in order.
fn numbers(format: &FormatSpec) -> Vec<f64> {
    (0..=format.max_code()).map(|code| format.decode_f64(code)).collect()
}

fn nearest(numbers: &[f64], x: f64) -> f64 {
    let above = numbers.partition_point(|number| *number < x);
    let above = above.min(numbers.len() - 1);
    let below = above.saturating_sub(1);
    if x - numbers[below] < numbers[above] - x { numbers[below] } else { numbers[above] }
}

/// ∫ (Q(x) − x)² · half(x) from 0 to an end, with the numbers times a step.
fn noise(numbers: &[f64], step: f64, end: f64, half: impl Fn(f64) -> f64) -> f64 {
    let mut sum = 0.0;
    let (mut from, last) = (0.0_f64, numbers.len() - 1);
    // No piece is wider than that, so that eight points are enough.
    let widest = end / 24.0;
    for (i, number) in numbers.iter().enumerate() {
        let value = number * step;
        let to = if i == last { end } else { (value + numbers[i + 1] * step) / 2.0 };
        let to = to.min(end);
        let pieces = ((to - from) / widest).ceil().max(1.0);
        let width = (to - from) / pieces;
        for piece in 0..pieces as usize {
            let a = from + width * piece as f64;
            sum += integral(a, a + width, |x| (x - value).powi(2) * half(x));
        }
        from = to;
        if from >= end {
            break;
        }
    }
    sum
}
