//! Numbers for vector operations, and these operations in f64.
#![allow(dead_code)] // each test binary uses a part

use crate::common::STREAM;

/// Between −4 and 4.
pub fn values(seed: u64, n: usize) -> Vec<f32> {
    let word = |i: u64| STREAM.word(seed << 32 | i) >> 8;
    (0..n as u64).map(|i| word(i) as f32 / 2f32.powi(21) - 4.0).collect()
}

pub fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|x| f64::from(*x)).collect()
}

pub mod exact {
    pub fn gelu(x: f64) -> f64 {
        let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
        0.5 * x * (1.0 + u.tanh())
    }

    pub fn layer_norm(x: &[f64], gain: &[f64], bias: &[f64], eps: f64) -> Vec<f64> {
        let n = gain.len() as f64;
        let row = |x: &[f64]| -> Vec<f64> {
            let mean = x.iter().sum::<f64>() / n;
            let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
            let y = |i: usize| (x[i] - mean) / (variance + eps).sqrt() * gain[i] + bias[i];
            (0..x.len()).map(y).collect()
        };
        x.chunks(gain.len()).flat_map(row).collect()
    }

    pub fn softmax(x: &[f64], cols: usize, scale: f64, causal: bool) -> Vec<f64> {
        let row = |(r, x): (usize, &[f64])| -> Vec<f64> {
            let seen = |c: usize| !causal || c <= r % cols;
            let e: Vec<f64> =
                (0..cols).map(|c| if seen(c) { (scale * x[c]).exp() } else { 0.0 }).collect();
            let total: f64 = e.iter().sum();
            e.iter().map(|e| e / total).collect()
        };
        x.chunks(cols).enumerate().flat_map(row).collect()
    }

    pub fn cross_entropy(logits: &[f64], vocab: usize, targets: &[u32]) -> f64 {
        let rows = logits.chunks(vocab).zip(targets);
        let loss =
            |(l, t): (&[f64], &u32)| l.iter().map(|l| l.exp()).sum::<f64>().ln() - l[*t as usize];
        rows.map(loss).sum::<f64>() / targets.len() as f64
    }
}
