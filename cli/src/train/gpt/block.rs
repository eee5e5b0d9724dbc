//! One block: attention and a feed-forward layer, each behind a norm and added to what comes in.

use super::clock::{Clock, Part};
use super::{Buffer, EPS, Shape, attention};
use quarter::Result;
use quarter::nn::{self, Linear, Param, RowMoments, Saved, Step};
use quarter::tensor::{MatMut, MatRef};
use rayon::prelude::*;

/// A layer norm with a gain, without a bias.
#[derive(Debug)]
pub struct LayerNorm {
    name: String,
    gain: Vec<f32>,
    grad: Vec<f32>,
}

impl LayerNorm {
    /// With gains of 1.
    #[must_use]
    pub fn new(name: impl Into<String>, width: usize) -> Self {
        Self { name: name.into(), gain: vec![1.0; width], grad: vec![0.0; width] }
    }

    /// The gain.
    pub fn param(&mut self) -> Param<'_> {
        Param { name: &self.name, value: &mut self.gain, grad: &self.grad, decay: false }
    }

    /// The gain's gradient.
    pub fn grad_mut(&mut self) -> &mut [f32] {
        &mut self.grad
    }

    /// y = norm(x), and the rows' moments.
    ///
    /// # Errors
    /// As [`nn::layer_norm`].
    pub fn forward(&self, x: &[f32], y: &mut [f32], step: &Step<'_>) -> Result<Vec<RowMoments>> {
        let mut moments = vec![RowMoments::default(); x.len() / self.gain.len()];
        nn::layer_norm(x, &self.gain, None, EPS, y, &mut moments, step.exec)?;
        Ok(moments)
    }

    /// dx += the gradient through the norm.
    ///
    /// # Errors
    /// As [`nn::layer_norm_backward`].
    pub fn backward(
        &mut self,
        dy: &[f32],
        x: &[f32],
        moments: &[RowMoments],
        dx: &mut [f32],
        step: &Step<'_>,
    ) -> Result<()> {
        let Self { gain, grad, .. } = self;
        nn::layer_norm_backward(dy, x, gain, moments, dx, grad, None, step.exec)
    }
}

/// Memory that every block uses and leaves: all of it is written before it is read.
#[derive(Debug, Default)]
pub struct Scratch {
    /// \[B·T, C\].
    pub narrow: [Vec<f32>; 2],
    /// \[B·T, 4C\].
    pub wide: [Vec<f32>; 2],
    pub clock: Clock,
}

impl Scratch {
    pub fn fit(&mut self, shape: &Shape) {
        let n = shape.rows() * shape.width;
        self.narrow.iter_mut().for_each(|x| x.resize(n, 0.0));
        self.wide.iter_mut().for_each(|x| x.resize(4 * n, 0.0));
    }
}

/// The same numbers, copied by all threads.
fn copy(x: &[f32], step: &Step<'_>) -> Vec<f32> {
    if !super::shared(step.exec) {
        return x.to_vec();
    }
    let mut copy = Vec::new();
    x.par_iter().copied().with_min_len(1 << 16).collect_into_vec(&mut copy);
    copy
}

/// A block's parameters.
#[derive(Debug)]
pub struct Block {
    norm1: LayerNorm,
    /// Queries, keys and values, \[3C, C\].
    qkv: Linear,
    proj: Linear,
    norm2: LayerNorm,
    up: Linear,
    down: Linear,
}

/// What a forward keeps for its backward.
#[derive(Debug)]
pub struct Kept {
    /// What came in, and what the second norm saw.
    x: [Vec<f32>; 2],
    moments: [Vec<RowMoments>; 2],
    qkv: Buffer,
    up: Buffer,
    saved: [Saved; 4],
}

impl Kept {
    pub fn bytes(&self) -> usize {
        let x: usize = self.x.iter().map(|x| size_of_val(&x[..])).sum();
        let moments: usize = self.moments.iter().map(|m| size_of_val(&m[..])).sum();
        let saved: usize = self.saved.iter().map(Saved::bytes).sum();
        x + moments + saved + self.qkv.bytes() + self.up.bytes()
    }
}

impl Block {
    pub fn new(
        name: &str,
        width: usize,
        linear: impl Fn(String, usize, usize) -> Result<Linear>,
    ) -> Result<Self> {
        let named =
            |layer: &str, outputs, inputs| linear(format!("{name}.{layer}"), outputs, inputs);
        Ok(Self {
            norm1: LayerNorm::new(format!("{name}.norm1"), width),
            qkv: named("qkv", 3 * width, width)?,
            proj: named("proj", width, width)?,
            norm2: LayerNorm::new(format!("{name}.norm2"), width),
            up: named("up", 4 * width, width)?,
            down: named("down", width, 4 * width)?,
        })
    }

    pub fn linears(&self) -> [&Linear; 4] {
        [&self.qkv, &self.proj, &self.up, &self.down]
    }

    pub fn linears_mut(&mut self) -> [&mut Linear; 4] {
        [&mut self.qkv, &mut self.proj, &mut self.up, &mut self.down]
    }

    pub fn params(&mut self) -> impl Iterator<Item = Param<'_>> {
        let norm1 = [self.norm1.param()].into_iter();
        let attention = norm1.chain(self.qkv.params()).chain(self.proj.params());
        let norm2 = [self.norm2.param()].into_iter();
        attention.chain(norm2).chain(self.up.params()).chain(self.down.params())
    }

    pub fn grads_mut(&mut self) -> [&mut [f32]; 6] {
        [
            self.norm1.grad_mut(),
            self.qkv.weight_grad_mut(),
            self.proj.weight_grad_mut(),
            self.norm2.grad_mut(),
            self.up.weight_grad_mut(),
            self.down.weight_grad_mut(),
        ]
    }

    /// x += proj(attention(qkv(norm1(x)))), then x += down(gelu(up(norm2(x)))).
    pub fn forward(
        &mut self,
        x: &mut [f32],
        shape: &Shape,
        scratch: &mut Scratch,
        step: &mut Step<'_>,
    ) -> Result<Kept> {
        let (rows, width) = (shape.rows(), shape.width);
        let Scratch { narrow: [narrow, y], wide: [wide, _], clock } = scratch;

        let first = copy(x, step);
        clock.lap(Part::Residual);
        let moments1 = self.norm1.forward(x, narrow, step)?;
        clock.lap(Part::Norm);
        let mut qkv = Buffer::zeros(shape.precision, rows * 3 * width);
        let out = qkv.out(rows, 3 * width)?;
        let saved_qkv = self.qkv.forward(MatRef::new(&narrow[..], rows, width)?, out, step)?;
        clock.lap(Part::Linear);
        attention::forward(&qkv, narrow, shape, step.exec)?;
        clock.lap(Part::Attention);
        let out = MatMut::new(&mut y[..], rows, width)?;
        let saved_proj = self.proj.forward(MatRef::new(&narrow[..], rows, width)?, out, step)?;
        clock.lap(Part::Linear);
        nn::add_into(y, x, step.exec)?;

        let second = copy(x, step);
        clock.lap(Part::Residual);
        let moments2 = self.norm2.forward(x, narrow, step)?;
        clock.lap(Part::Norm);
        let mut up = Buffer::zeros(shape.precision, rows * 4 * width);
        let out = up.out(rows, 4 * width)?;
        let saved_up = self.up.forward(MatRef::new(&narrow[..], rows, width)?, out, step)?;
        clock.lap(Part::Linear);
        up.gelu(wide, step.exec)?;
        clock.lap(Part::Gelu);
        let out = MatMut::new(&mut y[..], rows, width)?;
        let saved_down = self.down.forward(MatRef::new(&wide[..], rows, 4 * width)?, out, step)?;
        clock.lap(Part::Linear);
        nn::add_into(y, x, step.exec)?;
        clock.lap(Part::Residual);

        Ok(Kept {
            x: [first, second],
            moments: [moments1, moments2],
            qkv,
            up,
            saved: [saved_qkv, saved_proj, saved_up, saved_down],
        })
    }

    /// dx, the gradient of what came out, becomes that of what came in.
    pub fn backward(
        &mut self,
        dx: &mut [f32],
        kept: Kept,
        shape: &Shape,
        scratch: &mut Scratch,
        step: &mut Step<'_>,
    ) -> Result<()> {
        let (rows, width) = (shape.rows(), shape.width);
        let Kept { x: [first, second], moments: [moments1, moments2], qkv, up, saved } = kept;
        let [saved_qkv, saved_proj, saved_up, saved_down] = saved;
        let Scratch { narrow: [narrow, _], wide: [wide, dup], clock } = scratch;

        let out = MatMut::new(&mut wide[..], rows, 4 * width)?.into();
        self.down.backward(MatRef::new(&*dx, rows, width)?, &saved_down, Some(out), step)?;
        clock.lap(Part::Linear);
        up.gelu_backward(wide, dup, step.exec)?;
        clock.lap(Part::Gelu);
        let out = MatMut::new(&mut narrow[..], rows, width)?.into();
        self.up.backward(MatRef::new(&dup[..], rows, 4 * width)?, &saved_up, Some(out), step)?;
        clock.lap(Part::Linear);
        self.norm2.backward(narrow, &second, &moments2, dx, step)?;
        clock.lap(Part::Norm);

        let out = MatMut::new(&mut narrow[..], rows, width)?.into();
        self.proj.backward(MatRef::new(&*dx, rows, width)?, &saved_proj, Some(out), step)?;
        clock.lap(Part::Linear);
        let dqkv = &mut wide[..rows * 3 * width];
        attention::backward(&qkv, narrow, dqkv, shape, step.exec)?;
        clock.lap(Part::Attention);
        let out = MatMut::new(&mut narrow[..], rows, width)?.into();
        self.qkv.backward(MatRef::new(&*dqkv, rows, 3 * width)?, &saved_qkv, Some(out), step)?;
        clock.lap(Part::Linear);
        self.norm1.backward(narrow, &first, &moments1, dx, step)?;
        clock.lap(Part::Norm);
        Ok(())
    }

    /// The forward, keeping nothing.
    pub fn infer(
        &mut self,
        x: &mut [f32],
        shape: &Shape,
        scratch: &mut Scratch,
        step: &mut Step<'_>,
    ) -> Result<()> {
        let (rows, width) = (shape.rows(), shape.width);
        let Scratch { narrow: [narrow, y], wide: [wide, _], .. } = scratch;
        self.norm1.forward(x, narrow, step)?;
        let mut qkv = Buffer::zeros(shape.precision, rows * 3 * width);
        let out = qkv.out(rows, 3 * width)?;
        self.qkv.infer(MatRef::new(&narrow[..], rows, width)?, out, step)?;
        attention::forward(&qkv, narrow, shape, step.exec)?;
        let out = MatMut::new(&mut y[..], rows, width)?;
        self.proj.infer(MatRef::new(&narrow[..], rows, width)?, out, step)?;
        nn::add_into(y, x, step.exec)?;

        self.norm2.forward(x, narrow, step)?;
        let mut up = Buffer::zeros(shape.precision, rows * 4 * width);
        let out = up.out(rows, 4 * width)?;
        self.up.infer(MatRef::new(&narrow[..], rows, width)?, out, step)?;
        up.gelu(wide, step.exec)?;
        let out = MatMut::new(&mut y[..], rows, width)?;
        self.down.infer(MatRef::new(&wide[..], rows, 4 * width)?, out, step)?;
        nn::add_into(y, x, step.exec)
    }
}
