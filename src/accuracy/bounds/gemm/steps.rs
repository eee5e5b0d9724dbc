//! What follows the sum, as real numbers: alpha, C, bias, activation, output.

use super::{GemmBound, Sums};
use crate::accuracy::bounds::quantize::element;
use crate::gemm::Activation;

/// The steps of one output, each of which may be changed to see what a wrong kernel would give.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Steps {
    pub alpha: f64,
    pub beta: f64,
    pub c: f64,
    pub bias: f64,
    pub activation: Activation,
    /// What codes are multiplied by.
    pub scale: f64,
    /// Where codes are cut off.
    pub most: f64,
}

impl Steps {
    /// Of a sum.
    pub fn of(&self, sum: f64) -> f64 {
        self.cut(self.scale * self.active(self.linear(sum)))
    }

    /// alpha, C, bias.
    pub fn linear(&self, sum: f64) -> f64 {
        // What is not asked for makes no NaN of Inf.
        let c = if self.beta == 0.0 { 0.0 } else { self.beta * self.c };
        self.alpha * sum + c + self.bias
    }

    pub fn active(&self, t: f64) -> f64 {
        match self.activation {
            Activation::None => t,
            Activation::Relu if t < 0.0 => 0.0,
            Activation::Relu => t,
            Activation::Gelu => gelu(t),
        }
    }

    pub fn cut(&self, t: f64) -> f64 {
        // A NaN stays one.
        if t.abs() > self.most { self.most.copysign(t) } else { t }
    }
}

/// GELU in its tanh form, as x / (1 + exp(−2u)): nothing cancels.
pub(super) fn gelu(x: f64) -> f64 {
    let u = (2.0 / core::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
    if x == f64::NEG_INFINITY { 0.0 } else { x / (1.0 + (-2.0 * u).exp()) }
}

impl GemmBound<'_> {
    /// The steps of an output.
    pub(crate) fn steps(&self, row: usize, col: usize) -> Steps {
        let (beta, c) = match &self.c {
            Some((beta, c)) => (f64::from(*beta), element(c, row, col)),
            None => (0.0, 0.0),
        };
        let (scale, most) = match self.output {
            Some((format, Some(scale))) => (f64::from(scale), format.max()),
            Some((_, None)) | None => (1.0, f64::INFINITY),
        };
        Steps {
            alpha: self.alpha.map_or(1.0, f64::from),
            beta,
            c,
            bias: self.bias.map_or(0.0, |bias| f64::from(bias[col])),
            activation: self.activation,
            scale,
            most,
        }
    }

    /// What an output must be because of NaN and Inf in what it is made of: none where there is no such
    /// thing, or where what is finite may overflow beside it.
    pub(super) fn special(&self, (row, col): (usize, usize)) -> Option<f64> {
        let (a, b) = (&self.a, &self.b);
        let globals = [a.global(), b.global()];
        let (mut sum, mut finite, mut least) = (0.0_f64, 0.0_f64, 1.0_f64);
        for k in 0..a.k {
            let codes = [a.row(&a.codes, row)[k], b.row(&b.codes, col)[k]].map(f64::from);
            let scales = [a.scale(row, k) * globals[0], b.scale(col, k) * globals[1]];
            if scales.into_iter().any(f64::is_infinite) {
                return None; // whether they meet an element or a sum decides
            }
            let term = codes[0] * codes[1] * (scales[0] * scales[1]);
            let small = |x: f64| x.abs() < f64::from(f32::MIN_POSITIVE);
            if !term.is_finite() && !term.is_nan() && codes.into_iter().chain(scales).any(small) {
                return None; // may be flushed: Inf times zero
            }
            finite += if term.is_finite() { term.abs() } else { 0.0 };
            for factor in [scales[0], scales[1], scales[0] * scales[1]].map(f64::abs) {
                least = if factor > 0.0 && factor < least { factor } else { least };
            }
            sum += term;
        }
        let steps = self.steps(row, col);
        if [steps.alpha, steps.beta, steps.scale].into_iter().any(f64::is_infinite) {
            return None; // times what may be rounded to 0
        }
        let t = steps.linear(sum);
        let part = |x: f64| if x.is_finite() { x.abs() } else { 0.0 };
        let most = finite / least * part(steps.alpha).max(1.0)
            + part(steps.beta * steps.c)
            + part(steps.bias);
        let relu_of_nan = t.is_nan() && steps.activation == Activation::Relu;
        // max(t, 0) of other kernels may be 0 there.
        if t.is_finite() || most >= f64::from(f32::MAX) / 4.0 || relu_of_nan && self.is_foreign() {
            return None;
        }
        let t = steps.scale * steps.active(t);
        let no_nan = self.output.is_some_and(|(format, _)| !format.has_nan());
        if t.is_nan() && no_nan { None } else { Some(steps.cut(t)) }
    }

    fn is_foreign(&self) -> bool {
        matches!(self.sums, Sums::AnyOrder { .. })
    }
}
