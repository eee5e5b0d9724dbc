//! The definition: three loops, never optimised. Everything else in [`gemm`](super) equals it bit
//! for bit, but for the bits of NaN.

use super::input::{GemmInput, Operand};
use super::options::{Activation, Addend, GemmOptions};
use super::output::GemmOutput;
use super::problem::{Problem, unpack};
use super::sums::{BlockSum, Sums};
use super::{GemmStats, Workspace, unit};
use crate::arch::tile::Line;
use crate::arch::{Isa, gelu};
use crate::error::Error;

/// D\[M,N\] = Σₖ a\[M,K\] · b\[N,K\], as [`gemm`](super) defines it. The instruction set, threads and
/// blocks of `options` are not read.
///
/// # Errors
/// As [`gemm_nt`](super::gemm_nt).
pub fn gemm_nt<'a>(
    a: impl Into<GemmInput<'a>>,
    b: impl Into<GemmInput<'a>>,
    out: impl Into<GemmOutput<'a>>,
    options: &GemmOptions<'_>,
) -> Result<GemmStats, Error> {
    let (a, b, mut out) = (a.into(), b.into(), out.into());
    let mut space = Workspace::new();
    let [left, right] = &mut space.unpacked;
    let operands = [Operand::new(a, unpack(&a, left)?)?, Operand::new(b, unpack(&b, right)?)?];
    let problem = Problem::new(operands, &out, options, &mut space.cuts)?;
    let (m, n) = problem.shape();
    let mut amax = 0.0_f32;
    for row in 0..m {
        for col in 0..n {
            let held = out.target.get(row, col);
            let acc = match (options.sums.unit, options.c) {
                (None, _) => sum(&problem, row, col),
                (Some(unit), c) => {
                    let begin = match c {
                        _ if !unit::begins_with_c(&problem) => 0.0,
                        Addend::Matrix(_, c) => c.get(row, col),
                        Addend::Output(_) => held,
                        Addend::None => 0.0,
                    };
                    scaled(&problem, (row, col), unit::sum(&problem, unit, (row, col), begin))
                }
            };
            let t = finished(&problem, row, col, held, acc);
            amax = amax.max(t.abs()); // `max` passes over NaN
            let mut line = Line::ZERO;
            line.0[0] = t.to_bits();
            let place = (row, col);
            out.target.put(Isa::SCALAR.kernels(), out.encoder.as_ref(), place, [&line; 2], 1);
        }
    }
    Ok(GemmStats { amax: options.amax.then_some(amax), on_unit: problem.on_unit() })
}

/// The sum over K, with the scales that meet it.
fn sum(problem: &Problem<'_>, row: usize, col: usize) -> f32 {
    let Problem { a, b, sums, cuts, .. } = problem;
    let mut acc = 0.0_f32;
    for segment in cuts.windows(2) {
        let first = segment[0];
        let mut p = 0.0_f32;
        for k in first..segment[1] {
            p = a.code(row, k).mul_add(b.code(col, k), p);
        }
        acc = joined(problem, *sums, (row, col), first, acc, p);
    }
    scaled(problem, (row, col), acc)
}

/// A segment's sum p joins those before it.
pub(super) fn joined(
    Problem { a, b, .. }: &Problem<'_>,
    sums: Sums,
    (row, col): (usize, usize),
    first: usize,
    acc: f32,
    p: f32,
) -> f32 {
    let (sa, sb) = (a.scale_inv(row, first), b.scale_inv(col, first));
    match sums {
        Sums::After => acc + p,
        Sums::Blocks(BlockSum::DeepSeek) => acc + (p * sa) * sb,
        Sums::Blocks(BlockSum::DeepGemm) => acc + p * (sa * sb),
        Sums::Blocks(BlockSum::Te) => (p * sa).mul_add(sb, acc),
        Sums::Powers => {
            let exponent = f64::from(a.exponent(row, first) + b.exponent(col, first));
            acc + (f64::from(p) * power(exponent)) as f32
        }
        Sums::Products => p.mul_add(sa * sb, acc),
    }
}

/// What meets the last sum.
fn scaled(problem: &Problem<'_>, (row, col): (usize, usize), sum: f32) -> f32 {
    let Problem { a, b, sums, .. } = problem;
    let mut acc = sum;
    let products = *sums == Sums::Products;
    if a.k > 0 && (products || *sums == Sums::After) {
        for scale in [a.last_scale(row, products), b.last_scale(col, products)] {
            acc = scale.map_or(acc, |scale| acc * scale);
        }
    }
    acc
}

/// 2^exponent, exactly; NaN for NaN.
fn power(exponent: f64) -> f64 {
    if exponent.is_nan() {
        exponent
    } else {
        f64::from_bits(((exponent as i64 + 1023) as u64) << 52)
    }
}

/// alpha, C, bias, activation.
fn finished(problem: &Problem<'_>, row: usize, col: usize, held: f32, acc: f32) -> f32 {
    let options = problem.options;
    let mut t = acc;
    if let Some(alpha) = options.alpha {
        t *= alpha;
    }
    match options.c {
        _ if unit::begins_with_c(problem) => {}
        Addend::Matrix(beta, c) if beta != 0.0 => t = beta.mul_add(c.get(row, col), t),
        Addend::Output(beta) if beta != 0.0 => t = beta.mul_add(held, t),
        Addend::None | Addend::Matrix(..) | Addend::Output(_) => {}
    }
    if let Some(bias) = options.bias {
        t += bias[col];
    }
    match options.activation {
        Activation::None => t,
        Activation::Relu if t > 0.0 || t.is_nan() => t,
        Activation::Relu => 0.0,
        Activation::Gelu => gelu(t),
    }
}
