//! A byte-level GPT on the library: pre-norm blocks, GELU, causal attention, no biases, untied head.
//!
//! ```text
//!  x[B·T, C] = wte[byte] + wpe[place]
//!  each block:  x += proj(attention(qkv(norm(x))))      x += down(gelu(up(norm(x))))
//!  loss = cross_entropy(head(norm(x)), next byte)
//! ```
//!
//! Each stage has its forward and backward side by side in a file of its own. The four linear layers
//! of a block run under the recipe; attention, and the head where it is skipped, in bf16, or all in
//! f32 under the recipe `f32`. The residual stream and its gradient are f32; what a linear layer
//! gives to attention or GELU is kept in bf16 (f32 under `f32`).

mod attention;
mod block;
mod buffer;
mod clock;
mod embedding;

pub use block::LayerNorm;
pub use clock::{Clock, Part};

use block::{Block, Kept, Scratch};
use buffer::Buffer;
use embedding::Embedding;
use quarter::RandomStream;
use quarter::Result;
use quarter::nn::{self, Exec, Linear, Param, Skip, Step};
use quarter::recipe::{Operand, Recipe, RecipeState};
use quarter::tensor::{MatMut, MatRef};
use serde::{Deserialize, Serialize};

/// Values of a byte.
pub const VOCAB: usize = 256;
/// Under the square root of a layer norm.
const EPS: f32 = 1e-5;

/// The size of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Blocks.
    pub layers: usize,
    /// Heads of attention.
    pub heads: usize,
    /// C.
    pub width: usize,
    /// T: how many bytes it sees.
    pub context: usize,
}

impl Size {
    /// All numbers of the model.
    #[must_use]
    pub const fn parameters(&self) -> u64 {
        let width = self.width as u64;
        let block = 12 * width * width + 2 * width;
        self.layers as u64 * block + (2 * VOCAB + self.context + 1) as u64 * width
    }

    /// The names of its linear layers.
    #[must_use]
    pub fn linears(&self) -> Vec<String> {
        let block = |i| ["qkv", "proj", "up", "down"].map(|layer| format!("blocks.{i}.{layer}"));
        (0..self.layers).flat_map(block).chain(["head".to_owned()]).collect()
    }

    /// Multiply-adds of the linear layers of all blocks in one of the three passes, for each token.
    #[must_use]
    pub const fn products(&self) -> u64 {
        (self.layers * 12 * self.width * self.width) as u64
    }
}

/// Rows and columns of a batch, and how attention multiplies.
#[derive(Clone, Copy, Debug)]
struct Shape {
    /// Rows of `context` bytes, or of fewer.
    batch: usize,
    /// T.
    tokens: usize,
    heads: usize,
    /// C.
    width: usize,
    /// f32 or bf16.
    precision: Operand,
}

impl Shape {
    const fn rows(&self) -> usize {
        self.batch * self.tokens
    }
}

/// Whether work may be shared by the threads of a pool: outside of one rayon would build its own.
fn shared(exec: Exec) -> bool {
    exec != exec.threads(1) && rayon::current_thread_index().is_some()
}

/// The model, its gradients, and nothing of the optimizer.
#[derive(Debug)]
pub struct Gpt {
    size: Size,
    precision: Operand,
    embedding: Embedding,
    blocks: Vec<Block>,
    norm: LayerNorm,
    head: Linear,
    scratch: Scratch,
}

impl Gpt {
    /// A model with random weights: uniform of standard deviation 0.02, those that end in the
    /// residual stream less by √(2 · layers).
    ///
    /// # Errors
    /// As [`Linear::new`].
    pub fn new(size: Size, recipe: &Recipe, skip: &Skip, seed: u64) -> Result<Self> {
        let linear = |name: String, outputs, inputs| {
            let recipe = skip.recipe(&name, recipe);
            Linear::new(name, outputs, inputs, recipe)
        };
        let block = |i| Block::new(&format!("blocks.{i}"), size.width, linear);
        let mut model = Self {
            size,
            precision: if recipe.fprop.a == Operand::F32 { Operand::F32 } else { Operand::Bf16 },
            embedding: Embedding::new(size),
            blocks: (0..size.layers).map(block).collect::<Result<_>>()?,
            norm: LayerNorm::new("norm", size.width),
            head: linear("head".into(), VOCAB, size.width)?,
            scratch: Scratch::default(),
        };
        let small = 1.0 / ((2 * size.layers) as f32).sqrt();
        model.visit(|i, param| {
            if param.decay || param.name.starts_with("wte") || param.name.starts_with("wpe") {
                let ends = param.name.ends_with(".proj") || param.name.ends_with(".down");
                let reach = 0.02 * 3.0_f32.sqrt() * if ends { small } else { 1.0 };
                let stream = RandomStream { seed, tensor: i as u32, step: 0 };
                for (j, value) in param.value.iter_mut().enumerate() {
                    let unit = (stream.word(j as u64) >> 8) as f32 * 2.0_f32.powi(-23) - 1.0;
                    *value = unit * reach;
                }
            }
        });
        Ok(model)
    }

    /// Its size.
    #[must_use]
    pub const fn size(&self) -> Size {
        self.size
    }

    /// Adds its layers to a state.
    ///
    /// # Errors
    /// As [`Linear::register`].
    pub fn register(&self, state: &mut RecipeState) -> Result<()> {
        self.blocks.iter().flat_map(Block::linears).try_for_each(|l| l.register(state))?;
        self.head.register(state)
    }

    /// The linear layers under the recipe or skipped, the head last.
    pub fn linears_mut(&mut self) -> impl Iterator<Item = &mut Linear> {
        self.blocks.iter_mut().flat_map(Block::linears_mut).chain([&mut self.head])
    }

    /// Where the time of its training went.
    pub fn clock_mut(&mut self) -> &mut Clock {
        &mut self.scratch.clock
    }

    /// Every parameter with its index, always in the same order.
    pub fn visit(&mut self, mut f: impl FnMut(usize, Param<'_>)) {
        for (i, param) in self.params().into_iter().enumerate() {
            f(i, param);
        }
    }

    /// Every parameter, always in the same order.
    pub fn params(&mut self) -> Vec<Param<'_>> {
        let mut params = self.embedding.params();
        params.extend(self.blocks.iter_mut().flat_map(Block::params));
        params.push(self.norm.param());
        params.extend(self.head.params());
        params
    }

    /// Every gradient, in the order of the parameters.
    pub fn grads_mut(&mut self) -> Vec<&mut [f32]> {
        let mut grads = self.embedding.grads_mut();
        grads.extend(self.blocks.iter_mut().flat_map(Block::grads_mut));
        grads.push(self.norm.grad_mut());
        grads.push(self.head.weight_grad_mut());
        grads
    }

    /// Sets all gradients to zero.
    pub fn zero_grad(&mut self) {
        self.grads_mut().into_iter().for_each(|grad| grad.fill(0.0));
    }

    fn shape(&self, batch: usize, tokens: usize) -> Shape {
        let Size { heads, width, .. } = self.size;
        Shape { batch, tokens, heads, width, precision: self.precision }
    }

    /// The mean loss of `batch` rows of bytes, each followed by its next one; adds its gradient times
    /// `weight` to the gradients. Also the bytes of activations that it kept.
    ///
    /// # Errors
    /// Those of the layers.
    pub fn train(
        &mut self,
        inputs: &[u32],
        targets: &[u32],
        batch: usize,
        weight: f32,
        step: &mut Step<'_>,
    ) -> Result<(f32, u64)> {
        let shape = self.shape(batch, inputs.len() / batch.max(1));
        let (rows, width) = (shape.rows(), shape.width);

        // Forward.
        self.scratch.clock.start();
        let mut x = self.embedding.forward(inputs, shape.tokens, step.exec);
        self.scratch.clock.lap(Part::Embedding);
        self.scratch.fit(&shape);
        let mut kept: Vec<Kept> = Vec::with_capacity(self.blocks.len());
        for block in &mut self.blocks {
            kept.push(block.forward(&mut x, &shape, &mut self.scratch, step)?);
        }
        let mut normed = vec![0.0; rows * width];
        let moments = self.norm.forward(&x, &mut normed, step)?;
        self.scratch.clock.lap(Part::Norm);
        let mut logits = vec![0.0; rows * VOCAB];
        let out = MatMut::new(&mut logits, rows, VOCAB)?;
        let saved = self.head.forward(MatRef::new(&normed, rows, width)?, out, step)?;
        self.scratch.clock.lap(Part::Linear);
        let last = saved.bytes() + size_of_val(&x[..]) + size_of_val(&moments[..]);
        let bytes = last + kept.iter().map(Kept::bytes).sum::<usize>();
        let mut dlogits = vec![0.0; rows * VOCAB];
        let gradient = Some(&mut dlogits[..]);
        let loss = nn::cross_entropy(&logits, VOCAB, targets, gradient, weight, step.exec)?;

        self.scratch.clock.lap(Part::Loss);

        // Backward.
        let dnormed = &mut normed;
        let out = MatMut::new(&mut *dnormed, rows, width)?;
        self.head.backward(MatRef::new(&dlogits, rows, VOCAB)?, &saved, Some(out.into()), step)?;
        self.scratch.clock.lap(Part::Linear);
        let mut dx = vec![0.0; rows * width];
        self.norm.backward(dnormed, &x, &moments, &mut dx, step)?;
        self.scratch.clock.lap(Part::Norm);
        for (block, kept) in self.blocks.iter_mut().zip(kept).rev() {
            block.backward(&mut dx, kept, &shape, &mut self.scratch, step)?;
        }
        self.embedding.backward(inputs, shape.tokens, &dx, step.exec);
        self.scratch.clock.lap(Part::Embedding);
        Ok((loss, bytes as u64))
    }

    /// The logits of `batch` rows of bytes: nothing is kept.
    ///
    /// # Errors
    /// Those of the layers.
    pub fn infer(&mut self, inputs: &[u32], batch: usize, step: &mut Step<'_>) -> Result<Vec<f32>> {
        let shape = self.shape(batch, inputs.len() / batch.max(1));
        let (rows, width) = (shape.rows(), shape.width);
        let mut x = self.embedding.forward(inputs, shape.tokens, step.exec);
        self.scratch.fit(&shape);
        for block in &mut self.blocks {
            block.infer(&mut x, &shape, &mut self.scratch, step)?;
        }
        let mut normed = vec![0.0; rows * width];
        self.norm.forward(&x, &mut normed, step)?;
        let mut logits = vec![0.0; rows * VOCAB];
        let out = MatMut::new(&mut logits, rows, VOCAB)?;
        self.head.infer(MatRef::new(&normed, rows, width)?, out, step)?;
        Ok(logits)
    }
}
