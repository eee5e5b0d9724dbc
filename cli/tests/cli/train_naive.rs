//! The GPT of `quarter train` once more: in f64, plain loops, forward only, from its definition.

use quarter_cli::train::gpt::{Gpt, Size, VOCAB};

/// Under the square root of a layer norm.
const EPS: f64 = 1e-5;

/// A parameter by its name.
#[derive(Clone, Debug)]
pub struct Tensor {
    pub name: String,
    pub values: Vec<f64>,
}

/// All parameters, in the model's order.
#[derive(Clone, Debug)]
pub struct Naive {
    size: Size,
    pub tensors: Vec<Tensor>,
}

/// y\[rows, outputs\] = x\[rows, inputs\] · wᵀ with w\[outputs, inputs\].
fn linear(x: &[f64], w: &[f64], inputs: usize) -> Vec<f64> {
    let mut y = Vec::new();
    for row in x.chunks_exact(inputs) {
        for weights in w.chunks_exact(inputs) {
            y.push(row.iter().zip(weights).map(|(a, b)| a * b).sum());
        }
    }
    y
}

fn norm(x: &[f64], gain: &[f64]) -> Vec<f64> {
    let n = gain.len() as f64;
    let mut y = Vec::new();
    for row in x.chunks_exact(gain.len()) {
        let mean = row.iter().sum::<f64>() / n;
        let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n;
        let inverse = 1.0 / (variance + EPS).sqrt();
        y.extend(row.iter().zip(gain).map(|(x, g)| (x - mean) * inverse * g));
    }
    y
}

fn gelu(x: f64) -> f64 {
    let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
    0.5 * x * (1.0 + inner.tanh())
}

impl Naive {
    /// The parameters of a model.
    pub fn of(model: &mut Gpt) -> Self {
        let mut tensors = Vec::new();
        model.visit(|_, param| {
            let values = param.value.iter().map(|x| f64::from(*x)).collect();
            tensors.push(Tensor { name: param.name.to_owned(), values });
        });
        Self { size: model.size(), tensors }
    }

    fn get(&self, name: &str) -> &[f64] {
        let found = self.tensors.iter().find(|tensor| tensor.name == name);
        &found.unwrap_or_else(|| panic!("no parameter {name}")).values
    }

    /// Causal attention of q, k and v side by side, a row of `context` tokens after the other.
    fn attention(&self, qkv: &[f64]) -> Vec<f64> {
        let Size { heads, width, context, .. } = self.size;
        let depth = width / heads;
        let mut y = vec![0.0; qkv.len() / 3];
        for first in (0..qkv.len() / (3 * width)).step_by(context) {
            for head in 0..heads {
                let at = |token: usize, which: usize, i: usize| {
                    qkv[(first + token) * 3 * width + which * width + head * depth + i]
                };
                for token in 0..context {
                    let score = |other| -> f64 {
                        let dot: f64 = (0..depth).map(|i| at(token, 0, i) * at(other, 1, i)).sum();
                        (dot / (depth as f64).sqrt()).exp()
                    };
                    let scores: Vec<f64> = (0..=token).map(score).collect();
                    let sum: f64 = scores.iter().sum();
                    for i in 0..depth {
                        let mean: f64 = (0..=token).map(|t| scores[t] / sum * at(t, 2, i)).sum();
                        y[(first + token) * width + head * depth + i] = mean;
                    }
                }
            }
        }
        y
    }

    /// Mean cross entropy.
    pub fn loss(&self, inputs: &[u32], targets: &[u32]) -> f64 {
        let Size { layers, width, context, .. } = self.size;
        let (wte, wpe) = (self.get("wte"), self.get("wpe"));
        let mut x = Vec::new();
        for (i, byte) in inputs.iter().enumerate() {
            let (byte, place) = (*byte as usize * width, i % context * width);
            x.extend((0..width).map(|j| wte[byte + j] + wpe[place + j]));
        }
        let add = |x: &mut [f64], y: Vec<f64>| x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
        for layer in 0..layers {
            let of = |name: &str| self.get(&format!("blocks.{layer}.{name}"));
            let qkv = linear(&norm(&x, of("norm1")), of("qkv"), width);
            add(&mut x, linear(&self.attention(&qkv), of("proj"), width));
            let up = linear(&norm(&x, of("norm2")), of("up"), width);
            let up: Vec<f64> = up.into_iter().map(gelu).collect();
            add(&mut x, linear(&up, of("down"), 4 * width));
        }
        let logits = linear(&norm(&x, self.get("norm")), self.get("head"), width);
        let mut sum = 0.0;
        for (logits, target) in logits.chunks_exact(VOCAB).zip(targets) {
            let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let all: f64 = logits.iter().map(|x| (x - most).exp()).sum();
            sum += all.ln() + most - logits[*target as usize];
        }
        sum / targets.len() as f64
    }

    /// The slope of the loss along a direction of one tensor, by a central difference.
    pub fn slope(
        &mut self,
        tensor: usize,
        direction: &[(usize, f64)],
        (inputs, targets): (&[u32], &[u32]),
    ) -> f64 {
        const H: f64 = 1e-4;
        let before = self.tensors[tensor].values.clone();
        let mut at = |h: f64| {
            for (i, d) in direction {
                self.tensors[tensor].values[*i] = before[*i] + h * d;
            }
            self.loss(inputs, targets)
        };
        // Of fourth order: what is left is about H⁴ of the fifth derivative.
        let [a, b, c, d] = [-2.0 * H, -H, H, 2.0 * H].map(&mut at);
        self.tensors[tensor].values = before;
        (a - 8.0 * b + 8.0 * c - d) / (12.0 * H)
    }
}
