//! What linear layers give to attention and GELU: f32, or rounded to bf16.

use half::bf16;
use quarter::Result;
use quarter::nn::{self, Exec};
use quarter::recipe::Operand;
use quarter::tensor::{MatMut, MatRef};

#[derive(Debug)]
pub enum Buffer {
    F32(Vec<f32>),
    Bf16(Vec<bf16>),
}

impl Buffer {
    pub fn zeros(precision: Operand, n: usize) -> Self {
        if precision == Operand::F32 {
            Self::F32(vec![0.0; n])
        } else {
            Self::Bf16(vec![bf16::ZERO; n])
        }
    }

    pub fn bytes(&self) -> usize {
        match self {
            Self::F32(values) => size_of_val(&values[..]),
            Self::Bf16(values) => size_of_val(&values[..]),
        }
    }

    pub fn out(&mut self, rows: usize, cols: usize) -> Result<MatMut<'_>> {
        match self {
            Self::F32(values) => MatMut::new(&mut values[..], rows, cols),
            Self::Bf16(values) => MatMut::new(&mut values[..], rows, cols),
        }
    }

    /// `rows` by `cols` elements from `start` on, rows at a distance.
    pub fn part(
        &self,
        start: usize,
        rows: usize,
        cols: usize,
        stride: usize,
    ) -> Result<MatRef<'_>> {
        match self {
            Self::F32(values) => MatRef::with_strides(&values[start..], (rows, cols), (stride, 1)),
            Self::Bf16(values) => MatRef::with_strides(&values[start..], (rows, cols), (stride, 1)),
        }
    }

    /// y = gelu(self).
    pub fn gelu(&self, y: &mut [f32], exec: Exec) -> Result<()> {
        match self {
            Self::F32(x) => nn::gelu(x, y, exec),
            Self::Bf16(x) => nn::gelu_bf16(x, y, exec),
        }
    }

    /// dx = dy · gelu'(self), in place of dy.
    pub fn gelu_backward(&self, dy: &[f32], dx: &mut [f32], exec: Exec) -> Result<()> {
        match self {
            Self::F32(x) => nn::gelu_backward(x, dy, dx, exec),
            Self::Bf16(x) => nn::gelu_bf16_backward(x, dy, dx, exec),
        }
    }
}
