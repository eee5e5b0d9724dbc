//! x = wte\[byte\] + wpe\[place\].

use super::{Size, VOCAB};
use quarter::nn::{Exec, Param};
use rayon::prelude::*;

/// Vectors of the bytes and of the places.
#[derive(Debug)]
pub struct Embedding {
    width: usize,
    /// \[256, C\], and its gradient.
    wte: [Vec<f32>; 2],
    /// \[T, C\], and its gradient.
    wpe: [Vec<f32>; 2],
}

impl Embedding {
    pub fn new(size: Size) -> Self {
        let zeros = |rows: usize| [0, 1].map(|_| vec![0.0; rows * size.width]);
        Self { width: size.width, wte: zeros(VOCAB), wpe: zeros(size.context) }
    }

    pub fn params(&mut self) -> Vec<Param<'_>> {
        let [wte, wte_grad] = &mut self.wte;
        let [wpe, wpe_grad] = &mut self.wpe;
        vec![
            Param { name: "wte", value: wte, grad: wte_grad, decay: false },
            Param { name: "wpe", value: wpe, grad: wpe_grad, decay: false },
        ]
    }

    pub fn grads_mut(&mut self) -> Vec<&mut [f32]> {
        vec![&mut self.wte[1], &mut self.wpe[1]]
    }

    /// Rows of `tokens` bytes each.
    pub fn forward(&self, bytes: &[u32], tokens: usize, exec: Exec) -> Vec<f32> {
        let width = self.width;
        let mut x = vec![0.0; bytes.len() * width];
        let one = |(i, x): (usize, &mut [f32])| {
            let byte = &self.wte[0][bytes[i] as usize * width..][..width];
            let place = &self.wpe[0][i % tokens * width..][..width];
            for ((x, a), b) in x.iter_mut().zip(byte).zip(place) {
                *x = a + b;
            }
        };
        if super::shared(exec) {
            x.par_chunks_exact_mut(width).enumerate().with_min_len(tokens).for_each(one);
        } else {
            x.chunks_exact_mut(width).enumerate().for_each(one);
        }
        x
    }

    /// Adds the gradients of the tokens in ascending order.
    pub fn backward(&mut self, bytes: &[u32], tokens: usize, dx: &[f32], exec: Exec) {
        let width = self.width;
        let (wte, wpe) = (&mut self.wte[1], &mut self.wpe[1]);
        let add = |grad: &mut [f32], row: &(dyn Fn(usize) -> usize + Sync)| {
            for (i, dx) in dx.chunks_exact(width).enumerate() {
                let sums = &mut grad[row(i) * width..][..width];
                sums.iter_mut().zip(dx).for_each(|(sum, x)| *sum += x);
            }
        };
        let mut of_bytes = || add(wte, &|i| bytes[i] as usize);
        let mut of_places = || add(wpe, &|i| i % tokens);
        if super::shared(exec) {
            rayon::join(of_bytes, of_places);
        } else {
            of_bytes();
            of_places();
        }
    }
}
