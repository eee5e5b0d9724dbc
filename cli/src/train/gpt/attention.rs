//! Causal attention: softmax(q · kᵀ / √d) · v for each head of each row of the batch.
//!
//! Products are those of the library, in bf16 with sums in f32, or all in f32. Nothing is kept for
//! the backward but q, k and v: it computes the probabilities again, to the same bits.

use super::{Buffer, Shape};
use quarter::gemm::{GemmOptions, Workspace, gemm_nt_in};
use quarter::nn::{self, Exec, Mask};
use quarter::recipe::Prepared;
use quarter::tensor::{MatMut, MatRef, QuantizeOptions};
use quarter::{Error, Result};
use rayon::prelude::*;

/// Memory of one row of the batch.
#[derive(Default)]
struct Scratch {
    workspace: Workspace,
    p: Vec<f32>,
    dp: Vec<f32>,
}

/// One head of one row of the batch: where its q, k and v are.
struct Head<'a> {
    qkv: &'a Buffer,
    shape: &'a Shape,
    /// Of q; k and v follow at a distance of C.
    start: usize,
}

impl Head<'_> {
    fn depth(&self) -> usize {
        self.shape.width / self.shape.heads
    }

    /// q, k or v, \[T, d\].
    fn part(&self, i: usize) -> Result<MatRef<'_>> {
        let width = self.shape.width;
        self.qkv.part(self.start + i * width, self.shape.tokens, self.depth(), 3 * width)
    }

    /// p = softmax(q · kᵀ / √d), \[T, T\].
    fn probabilities(&self, scratch: &mut Scratch) -> Result<()> {
        let tokens = self.shape.tokens;
        scratch.p.resize(tokens * tokens, 0.0);
        let out = MatMut::new(&mut scratch.p, tokens, tokens)?;
        gemm_nt_in(&mut scratch.workspace, self.part(0)?, self.part(1)?, out, &options())?;
        nn::softmax(&mut scratch.p, tokens, self.scale(), Mask::Causal, Exec::new().threads(1))
    }

    fn scale(&self) -> f32 {
        1.0 / (self.depth() as f32).sqrt()
    }

    /// A matrix as an operand of a product.
    fn operand<'a>(&self, x: MatRef<'a>) -> Result<Prepared<'a>> {
        self.shape.precision.prepare(x, false, &QuantizeOptions::new().threads(1))
    }
}

fn options<'a>() -> GemmOptions<'a> {
    GemmOptions::new().threads(1)
}

/// Columns `col..` of rows at a distance.
fn columns(
    x: &mut [f32],
    col: usize,
    rows: usize,
    cols: usize,
    stride: usize,
) -> Result<MatMut<'_>> {
    MatMut::with_row_stride(&mut x[col..], (rows, cols), stride)
}

/// y\[B·T, C\] from q, k and v, \[B·T, 3C\].
pub fn forward(qkv: &Buffer, y: &mut [f32], shape: &Shape, exec: Exec) -> Result<()> {
    let (tokens, width) = (shape.tokens, shape.width);
    each_row(y, tokens * width, exec, |scratch, row, y| {
        for head in 0..shape.heads {
            let col = head * (width / shape.heads);
            let head = Head { qkv, shape, start: row * tokens * 3 * width + col };
            head.probabilities(scratch)?;
            let p = head.operand(MatRef::new(&scratch.p, tokens, tokens)?)?;
            let out = columns(y, col, tokens, head.depth(), width)?;
            let v = head.part(2)?.transposed();
            gemm_nt_in(&mut scratch.workspace, p.input()?, v, out, &options())?;
        }
        Ok(())
    })
}

/// The gradients of q, k and v from that of y: all of `dqkv` is written.
pub fn backward(
    qkv: &Buffer,
    dy: &[f32],
    dqkv: &mut [f32],
    shape: &Shape,
    exec: Exec,
) -> Result<()> {
    let (tokens, width) = (shape.tokens, shape.width);
    each_row(dqkv, tokens * 3 * width, exec, |scratch, row, dqkv| {
        for head in 0..shape.heads {
            let col = head * (width / shape.heads);
            let head = Head { qkv, shape, start: row * tokens * 3 * width + col };
            let depth = head.depth();
            head.probabilities(scratch)?;
            let Scratch { workspace, p, dp } = &mut *scratch;
            let dy = MatRef::with_strides(
                &dy[row * tokens * width + col..],
                (tokens, depth),
                (width, 1),
            )?;
            let dy = head.operand(dy)?;
            let dy = view(&dy)?;

            // dp = dy · vᵀ, and from it the gradient of q · kᵀ.
            dp.resize(tokens * tokens, 0.0);
            let out = MatMut::new(&mut dp[..], tokens, tokens)?;
            gemm_nt_in(workspace, dy, head.part(2)?, out, &options())?;
            nn::softmax_backward(
                p,
                dp,
                tokens,
                head.scale(),
                Mask::Causal,
                Exec::new().threads(1),
            )?;
            let ds = head.operand(MatRef::new(&dp[..], tokens, tokens)?)?;
            let p = head.operand(MatRef::new(&p[..], tokens, tokens)?)?;
            let (ds, p) = (view(&ds)?, view(&p)?);

            // dq = ds · k, dk = dsᵀ · q, dv = pᵀ · dy.
            let products =
                [(ds, head.part(1)?), (ds.transposed(), head.part(0)?), (p.transposed(), dy)];
            for (i, (a, b)) in products.into_iter().enumerate() {
                let out = columns(dqkv, col + i * width, tokens, depth, 3 * width)?;
                gemm_nt_in(workspace, a, b.transposed(), out, &options())?;
            }
        }
        Ok(())
    })
}

/// The matrix behind an operand of high precision.
fn view<'a>(operand: &'a Prepared<'_>) -> Result<MatRef<'a>> {
    match operand {
        Prepared::Values(values) => Ok(*values),
        Prepared::Kept(kept) => kept.view(),
        Prepared::Quantized(_) => {
            Err(Error::Recipe { field: "attention", why: "it is in bf16 or f32, not in codes" })
        }
    }
}

/// Each row of the batch on a thread of the caller's pool.
fn each_row(
    out: &mut [f32],
    elements: usize,
    exec: Exec,
    run: impl Fn(&mut Scratch, usize, &mut [f32]) -> Result<()> + Sync,
) -> Result<()> {
    if !super::shared(exec) {
        let mut scratch = Scratch::default();
        let mut rows = out.chunks_exact_mut(elements).enumerate();
        return rows.try_for_each(|(row, out)| run(&mut scratch, row, out));
    }
    let rows = out.par_chunks_exact_mut(elements).enumerate();
    rows.try_for_each_init(Scratch::default, |scratch, (row, out)| run(scratch, row, out))
}
