//! AdamW with f32 masters, and moments in f32 or bf16.
//!
//! ```text
//!  g = clip · grad                        clip = min(1, max_norm / (‖grad‖ + 1e-6))
//!  m = β₁·m + (1 − β₁)·g                  v = β₂·v + (1 − β₂)·g²
//!  w = w − lr·λ·w                         then, with m̂ = m / (1 − β₁ᵗ) and v̂ = v / (1 − β₂ᵗ),
//!  w = w − lr·m̂ / (√v̂ + ε)
//! ```
//!
//! Each operation is one rounding to f32; the moments are rounded once more where they are bf16, as
//! DeepSeek-V3 keeps them. The norm is that of all gradients together. A step whose norm is not
//! finite changes nothing and is counted.

use super::{Exec, sum_of_squares};
use crate::arch::Isa;
use crate::arch::cast::{to_codes, to_codes_mut};
use crate::arch::vector::AdamWStep;
use crate::error::Error;
use crate::format::{FormatId, Policy, RandomStream, Rounding};
use crate::slice::parallel::{join, parts};
use crate::slice::{EncodeOptions, Random, encode};
use half::bf16;
use std::string::String;
use std::vec;
use std::vec::Vec;

/// Elements that are updated at a time.
const PIECE: usize = 4096;

/// What the moments are kept in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum MomentType {
    /// f32.
    #[default]
    F32,
    /// bf16, rounded to nearest even after each step.
    Bf16,
}

/// What the weights are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum WeightType {
    /// f32 masters.
    #[default]
    F32,
    /// Numbers of bf16, to which each step rounds stochastically: there is no master, and what f32
    /// memory holds may be kept as bf16.
    StochasticBf16,
}

/// The numbers of the update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWConfig {
    /// β₁, at least 0 and below 1.
    pub beta1: f32,
    /// β₂, at least 0 and below 1.
    pub beta2: f32,
    /// ε, positive.
    pub eps: f32,
    /// λ, not negative; for parameters that [decay](Param::decay).
    pub weight_decay: f32,
    /// The norm that longer gradients are cut to.
    pub max_norm: Option<f32>,
    /// What the moments are kept in.
    pub moments: MomentType,
    /// What the weights are.
    pub weights: WeightType,
    /// Of stochastic rounding.
    pub seed: u64,
}

impl Default for AdamWConfig {
    /// β 0.9 and 0.95, ε 1e-8, λ 0.1, norm 1: as GPT-3 and DeepSeek-V3 were trained.
    fn default() -> Self {
        Self {
            beta1: 0.9,
            beta2: 0.95,
            eps: 1e-8,
            weight_decay: 0.1,
            max_norm: Some(1.0),
            moments: MomentType::F32,
            weights: WeightType::F32,
            seed: 0,
        }
    }
}

/// A parameter and its gradient.
#[derive(Debug)]
pub struct Param<'a> {
    /// Under which its moments are kept.
    pub name: &'a str,
    /// Its values.
    pub value: &'a mut [f32],
    /// Their gradient, as long.
    pub grad: &'a [f32],
    /// Whether λ applies: to matrices as a rule, not to gains and biases.
    pub decay: bool,
}

/// Moments of a parameter, as they are kept and saved.
#[derive(Clone, Debug, PartialEq)]
pub enum Moments {
    /// m and v.
    F32(Vec<f32>, Vec<f32>),
    /// m and v.
    Bf16(Vec<bf16>, Vec<bf16>),
}

impl Moments {
    fn zeros(kind: MomentType, n: usize) -> Self {
        match kind {
            MomentType::F32 => Self::F32(vec![0.0; n], vec![0.0; n]),
            MomentType::Bf16 => Self::Bf16(vec![bf16::ZERO; n], vec![bf16::ZERO; n]),
        }
    }

    const fn kind(&self) -> MomentType {
        match self {
            Self::F32(..) => MomentType::F32,
            Self::Bf16(..) => MomentType::Bf16,
        }
    }

    /// The lengths of m and v.
    fn lens(&self) -> [usize; 2] {
        match self {
            Self::F32(m, v) => [m.len(), v.len()],
            Self::Bf16(m, v) => [m.len(), v.len()],
        }
    }
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Update {
    /// ‖grad‖ before it was cut.
    pub grad_norm: f32,
    /// Whether the step was left out, for a norm that is not finite.
    pub skipped: bool,
}

/// The optimizer: a step count and the moments of each parameter.
///
/// ```
/// use quarter::nn::{AdamW, AdamWConfig, Exec, Param};
/// let mut optimizer = AdamW::new(AdamWConfig::default())?;
/// let mut w = [1.0_f32, -1.0];
/// let mut params = [Param { name: "w", value: &mut w, grad: &[0.3, 0.4], decay: false }];
/// let update = optimizer.step(&mut params, 0.1, Exec::new())?;
/// assert_eq!((update.grad_norm, update.skipped), (0.5, false));
/// assert!((w[0] - 0.9).abs() < 1e-6 && (w[1] + 1.1).abs() < 1e-6); // the first step is lr long
/// let mut params = [Param { name: "w", value: &mut w, grad: &[f32::NAN, 0.0], decay: false }];
/// assert!(optimizer.step(&mut params, 0.1, Exec::new())?.skipped);
/// assert_eq!((optimizer.steps(), optimizer.skipped()), (1, 1));
/// # Ok::<(), quarter::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct AdamW {
    config: AdamWConfig,
    steps: u64,
    skipped: u64,
    moments: Vec<(String, Moments)>,
}

impl AdamW {
    /// # Errors
    /// [`Error::Recipe`] for numbers that are none of an update.
    pub fn new(config: AdamWConfig) -> Result<Self, Error> {
        let wrong = |field, why| Err(Error::Recipe { field, why });
        if !(0.0..1.0).contains(&config.beta1) || !(0.0..1.0).contains(&config.beta2) {
            return wrong("beta", "beta1 and beta2 are at least 0 and below 1");
        }
        let numbers = [config.eps, config.weight_decay, config.max_norm.unwrap_or(0.0)];
        if numbers.iter().any(|x| !x.is_finite() || *x < 0.0) {
            return wrong("eps", "eps, weight_decay and max_norm are finite and not negative");
        }
        if config.eps == 0.0 {
            return wrong("eps", "it is positive: without it a gradient of zero gives 0 / 0");
        }
        Ok(Self { config, steps: 0, skipped: 0, moments: Vec::new() })
    }

    /// The numbers of the update.
    #[must_use]
    pub const fn config(&self) -> &AdamWConfig {
        &self.config
    }

    /// Steps made.
    #[must_use]
    pub const fn steps(&self) -> u64 {
        self.steps
    }

    /// Steps left out.
    #[must_use]
    pub const fn skipped(&self) -> u64 {
        self.skipped
    }

    /// The moments by the parameters' names, in their order; none before the first step.
    #[must_use]
    pub fn moments(&self) -> &[(String, Moments)] {
        &self.moments
    }

    /// Takes what was saved: a later step goes on as if there had been no break.
    ///
    /// # Errors
    /// [`Error::State`] for moments of another type, m and v of different lengths, or steps without
    /// moments. Then nothing is changed.
    pub fn restore(
        &mut self,
        steps: u64,
        skipped: u64,
        moments: Vec<(String, Moments)>,
    ) -> Result<(), Error> {
        if steps > 0 && moments.is_empty() {
            let what = "number of steps of saved moments that are none";
            return Err(Error::State { what, expected: 0, got: steps });
        }
        for (_, saved) in &moments {
            let [m, v] = saved.lens();
            if m != v {
                let (expected, got) = (m as u64, v as u64);
                return Err(Error::State { what: "number of second moments", expected, got });
            }
            let bytes = |kind| if kind == MomentType::F32 { 4 } else { 2 };
            let (expected, got) = (bytes(self.config.moments), bytes(saved.kind()));
            if expected != got {
                return Err(Error::State { what: "bytes of a saved moment", expected, got });
            }
        }
        (self.steps, self.skipped, self.moments) = (steps, skipped, moments);
        Ok(())
    }

    /// One update of all parameters: the same ones in the same order at every step.
    ///
    /// # Errors
    /// [`Error::Length`] for a gradient of another length than its parameter; [`Error::State`] for
    /// other parameters than those before; [`Error::Recipe`] for a learning rate that is negative or
    /// not finite. Then nothing is changed.
    pub fn step(&mut self, params: &mut [Param<'_>], lr: f32, exec: Exec) -> Result<Update, Error> {
        self.check(params)?;
        if !lr.is_finite() || lr < 0.0 {
            let why = "the learning rate is finite and not negative";
            return Err(Error::Recipe { field: "lr", why });
        }
        let mut squares = 0.0_f32;
        for param in &*params {
            squares += sum_of_squares(param.grad, exec);
        }
        let grad_norm = squares.sqrt();
        if !grad_norm.is_finite() {
            self.skipped += 1;
            return Ok(Update { grad_norm, skipped: true });
        }
        if self.moments.is_empty() {
            let kind = self.config.moments;
            let zeros = |p: &Param<'_>| (p.name.into(), Moments::zeros(kind, p.value.len()));
            self.moments = params.iter().map(zeros).collect();
        }
        self.steps += 1;
        let config = &self.config;
        let clip = config.max_norm.map_or(1.0, |max| (max / (grad_norm + 1e-6)).min(1.0));
        let (threads, isa) = exec.means();
        for (param, (_, moments)) in params.iter_mut().zip(&mut self.moments) {
            let decay = if param.decay { lr * config.weight_decay } else { 0.0 };
            let h = AdamWStep {
                grad_scale: clip,
                beta1: config.beta1,
                beta2: config.beta2,
                one_minus_beta1: 1.0 - config.beta1,
                one_minus_beta2: 1.0 - config.beta2,
                m_correction: correction(config.beta1, self.steps),
                v_correction: correction(config.beta2, self.steps),
                eps: config.eps,
                lr,
                decay,
            };
            let stochastic = config.weights == WeightType::StochasticBf16;
            let stream = stochastic.then(|| RandomStream {
                seed: config.seed,
                tensor: crate::recipe::name_id(param.name),
                step: self.steps as u32,
            });
            let job = Job { h, isa, stream };
            let parts = parts(8 * param.value.len(), threads);
            let moments = match moments {
                Moments::F32(m, v) => Slices::F32(m, v),
                Moments::Bf16(m, v) => Slices::Bf16(m, v),
            };
            job.run(0, param.value, param.grad, moments, parts)?;
        }
        Ok(Update { grad_norm, skipped: false })
    }

    fn check(&self, params: &[Param<'_>]) -> Result<(), Error> {
        for param in params {
            let (expected, got) = (param.value.len(), param.grad.len());
            if expected != got {
                return Err(Error::Length { what: "gradient of a parameter", expected, got });
            }
        }
        if self.moments.is_empty() {
            return Ok(());
        }
        let state = |what, expected: usize, got: usize| {
            let (expected, got) = (expected as u64, got as u64);
            if expected == got { Ok(()) } else { Err(Error::State { what, expected, got }) }
        };
        state("number of parameters", self.moments.len(), params.len())?;
        for (param, (name, moments)) in params.iter().zip(&self.moments) {
            state("number of moments of a parameter", param.value.len(), moments.lens()[0])?;
            let other = usize::from(param.name != name);
            state("number of parameters of another name than before", 0, other)?;
        }
        Ok(())
    }
}

/// 1 / (1 − βᵗ), in f64 and rounded once.
fn correction(beta: f32, steps: u64) -> f32 {
    let (mut power, mut square, mut left) = (1.0_f64, f64::from(beta), steps);
    while left > 0 {
        if left & 1 == 1 {
            power *= square;
        }
        square *= square;
        left >>= 1;
    }
    (1.0 / (1.0 - power)) as f32
}

enum Slices<'a> {
    F32(&'a mut [f32], &'a mut [f32]),
    Bf16(&'a mut [bf16], &'a mut [bf16]),
}

impl Slices<'_> {
    fn split_at(self, at: usize) -> (Self, Self) {
        match self {
            Self::F32(m, v) => {
                let ((m0, m1), (v0, v1)) = (m.split_at_mut(at), v.split_at_mut(at));
                (Self::F32(m0, v0), Self::F32(m1, v1))
            }
            Self::Bf16(m, v) => {
                let ((m0, m1), (v0, v1)) = (m.split_at_mut(at), v.split_at_mut(at));
                (Self::Bf16(m0, v0), Self::Bf16(m1, v1))
            }
        }
    }
}

struct Job {
    h: AdamWStep,
    isa: Isa,
    /// The words of stochastic rounding of the weights.
    stream: Option<RandomStream>,
}

impl Job {
    /// Elements of a parameter from `start` on.
    fn run(
        &self,
        start: usize,
        weights: &mut [f32],
        grads: &[f32],
        moments: Slices<'_>,
        parts: usize,
    ) -> Result<(), Error> {
        let at = weights.len() / parts * (parts / 2) / PIECE * PIECE;
        if parts >= 2 && at > 0 {
            let (w0, w1) = weights.split_at_mut(at);
            let (g0, g1) = grads.split_at(at);
            let (s0, s1) = moments.split_at(at);
            let (one, two) = join(
                || self.run(start, w0, g0, s0, parts / 2),
                || self.run(start + at, w1, g1, s1, parts - parts / 2),
            );
            return one.and(two);
        }
        let kernels = self.isa.kernels();
        match moments {
            Slices::F32(m, v) => kernels.adamw(&self.h, weights, grads, m, v),
            Slices::Bf16(m, v) => {
                let mut wide = vec![0.0; 2 * PIECE.min(weights.len())];
                let pieces = weights.chunks_mut(PIECE).zip(grads.chunks(PIECE));
                let moments = m.chunks_mut(PIECE).zip(v.chunks_mut(PIECE));
                for ((weights, grads), (m, v)) in pieces.zip(moments) {
                    let (wide_m, wide_v) = wide.split_at_mut(weights.len());
                    let wide_v = &mut wide_v[..weights.len()];
                    kernels.bf16_to_f32(to_codes(m), wide_m, false);
                    kernels.bf16_to_f32(to_codes(v), wide_v, false);
                    kernels.adamw(&self.h, weights, grads, wide_m, wide_v);
                    self.round(wide_m, m)?;
                    self.round(wide_v, v)?;
                }
            }
        }
        let Some(stream) = self.stream else { return Ok(()) };
        let policy = Policy { rounding: Rounding::STOCHASTIC, ..Policy::NONFINITE };
        let mut codes = vec![0; PIECE.min(weights.len())];
        for (i, weights) in weights.chunks_mut(PIECE).enumerate() {
            let codes = &mut codes[..weights.len()];
            let random = Random::Stream { stream, start: (start + i * PIECE) as u64 };
            let options = EncodeOptions::new(policy).random(random).threads(1).isa(self.isa);
            encode(FormatId::Bf16.spec(), &*weights, &mut *codes, &options)?;
            kernels.bf16_to_f32(codes, weights, false);
        }
        Ok(())
    }

    fn round(&self, wide: &[f32], narrow: &mut [bf16]) -> Result<(), Error> {
        let options = EncodeOptions::new(Policy::NONFINITE).threads(1).isa(self.isa);
        encode(FormatId::Bf16.spec(), wide, to_codes_mut(narrow), &options)
    }
}
