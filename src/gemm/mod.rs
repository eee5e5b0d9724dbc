//! The matrix product D\[M,N\] = Σₖ a\[M,K\] · b\[N,K\] of quantized and plain operands.
//!
//! ```text
//!  Quantized, f32, bf16 ──pack──► panels ──tiles──► f32 sums ──scales, alpha, C, bias──► f32, bf16, codes
//! ```
//!
//! # The law of bits
//!
//! fl is one rounding to f32, to nearest even; fma(a, b, c) rounds a · b + c once. K is cut, counted
//! from 0, at every multiple of the interval of promotion (1,024 unless given) and at every edge of
//! a scale block of either operand. Of each segment, p = +0, then p = fma(a, b, p) for ascending k,
//! where a and b are codes without their scales, or numbers. acc = +0, and segments join in order:
//!
//! | scales along K | join | after the last segment |
//! |---|---|---|
//! | none: tensor, row, none at all | acc = fl(acc + p) | acc = fl(fl(acc · sa) · sb) |
//! | f32 blocks, `deepseek` | acc = fl(acc + fl(fl(p · sa) · sb)) | |
//! | f32 blocks, `deepgemm` | acc = fl(acc + fl(p · fl(sa · sb))) | |
//! | f32 blocks, `te` | acc = fma(fl(p · sa), sb, acc) | |
//! | E8M0 blocks, bytes ea and eb | acc = fl(acc + fl(p · 2^(ea + eb − 254))), NaN for byte 255 | |
//! | E4M3 blocks (NVFP4) | acc = fma(p, sa · sb, acc) | acc = fl(fl(acc · ga) · gb) |
//!
//! A scale that is absent is not applied. If one operand has blocks, the scale of the other's tensor or
//! row counts as that of each block. With K = 0 the sum is +0 and no scale is read. Zero, Inf and
//! NaN scales follow IEEE arithmetic. Then, each where given: t = fl(alpha · acc),
//! t = fma(beta, C, t) unless beta is 0, t = fl(t + bias), the activation, amax, and one conversion
//! to the output's type: codes are encode(fl(t · scale)).
//!
//! [`mod@reference`] is this as loops. Every instruction set, number of threads, blocking and packing
//! gives its bits, NaN being equal to NaN. That is possible at full speed because rows and columns are vectorised and
//! K is not, because products of 8-bit codes are exact in f32 and their sums never
//! subnormal, and because that is what `vdpbf16ps` computes then.
//!
//! # Through a matrix unit
//!
//! With [`Accumulation::unit`] sums are those of a chip's [`Unit`](crate::mma::Unit) instead. Its
//! chain runs over all of K, from C on where beta is 1, alpha is 1 or not given, and no operand has
//! scales but a tensor's of 1. K is cut at multiples of the interval of promotion if one is given, in
//! [`split_k`](Accumulation::split_k) parts, and at the edges of scale blocks, unless they are inputs of the unit (MXFP8). Where any of these is
//! given, each chain begins at +0, its result joins as p does above, parts are added in order, and C
//! is added as above. A unit that sums in f16 rounds C to that first.

pub mod reference;

mod blocked;
mod epilogue;
mod grouped;
mod input;
mod options;
mod output;
mod pack;
mod packed;
mod plan;
mod problem;
mod scaling;
mod sums;
mod thin;
mod unit;
mod workspace;

pub use grouped::{gemm_nt_grouped, gemm_nt_grouped_k};
pub use input::GemmInput;
#[doc(hidden)]
pub use options::Blocking;
pub use options::{Activation, GemmOptions};
pub use output::GemmOutput;
pub use packed::Packed;
pub(crate) use problem::segments;
pub use sums::{Accumulation, BlockSum};
pub(crate) use sums::{Side, Sums};
pub use workspace::Workspace;

use crate::error::Error;
use input::Operand;
use problem::{Problem, unpack};

/// What a product noticed.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct GemmStats {
    /// The largest |t| before the conversion to the output's type, NaN passed over; where asked for.
    pub amax: Option<f32>,
    /// Multiply-adds that went through a matrix unit.
    pub on_unit: u64,
}

/// D\[M,N\] = Σₖ a\[M,K\] · b\[N,K\], as the [module](self) defines it, into numbers or codes.
///
/// Runs on the threads of the caller's pool, and on one outside of any or where there is little to
/// do. Memory for packed operands is allocated and freed: [`gemm_nt_in`] keeps it.
///
/// # Errors
/// [`Error::Shape`] unless K, the output and C fit, [`Error::Length`] for a bias of another length;
/// [`Error::Cast`] for scales that vary along K within a group of rows, codes as C, a packed left
/// operand, or a packed right one that is cut elsewhere than at multiples of 4;
/// [`Error::Recipe`] for scales that do not go together, or f32 blocks of two engines or of none
/// without a block sum; [`Error::Range`] for an interval or parts of K of 0; [`Error::Unit`] and
/// [`Error::Cast`] for operands or an interval that a unit cannot have. Nothing is written then.
/// [`Error::Memory`], after which some results may have been.
///
/// ```
/// use quarter::gemm::{GemmOptions, gemm_nt};
/// use quarter::tensor::{MatMut, MatRef, QuantizeOptions, quantize};
/// let x: Vec<f32> = (0..3 * 256).map(|i| (i as f32).sin()).collect();
/// let w: Vec<f32> = (0..5 * 256).map(|i| (i as f32).cos()).collect();
/// let (x, w) = (MatRef::new(&x, 3, 256)?, MatRef::new(&w, 5, 256)?);
/// let (mut y, mut plain) = ([0.0_f32; 15], [0.0_f32; 15]);
/// gemm_nt(x, w, MatMut::new(&mut plain, 3, 5)?, &GemmOptions::new())?;
/// let x = quantize(x, &"e4m3:1x128:te-block".parse()?, &QuantizeOptions::new())?;
/// let w = quantize(w, &"e4m3:128x128:te-block".parse()?, &QuantizeOptions::new())?;
/// gemm_nt(&x, &w, MatMut::new(&mut y, 3, 5)?, &GemmOptions::new())?;
/// assert!(y.iter().zip(&plain).all(|(y, plain)| (y - plain).abs() < 1.0));
/// # Ok::<(), quarter::Error>(())
/// ```
pub fn gemm_nt<'a>(
    a: impl Into<GemmInput<'a>>,
    b: impl Into<GemmInput<'a>>,
    out: impl Into<GemmOutput<'a>>,
    options: &GemmOptions<'_>,
) -> Result<GemmStats, Error> {
    gemm_nt_in(&mut Workspace::new(), a, b, out, options)
}

/// [`gemm_nt`] with memory that is kept: after the first product of a shape nothing is allocated.
///
/// # Errors
/// As [`gemm_nt`].
pub fn gemm_nt_in<'a>(
    workspace: &mut Workspace,
    a: impl Into<GemmInput<'a>>,
    b: impl Into<GemmInput<'a>>,
    out: impl Into<GemmOutput<'a>>,
    options: &GemmOptions<'_>,
) -> Result<GemmStats, Error> {
    let (a, b, out) = (a.into(), b.into(), out.into());
    let mut codes = core::mem::take(&mut workspace.unpacked);
    let mut cuts = core::mem::take(&mut workspace.cuts);
    let [left, right] = &mut codes;
    let done = (|| {
        let operands = [Operand::new(a, unpack(&a, left)?)?, Operand::new(b, unpack(&b, right)?)?];
        let problem = Problem::new(operands, &out, options, &mut cuts)?;
        blocked::gemm(&problem, out, workspace)
    })();
    (workspace.unpacked, workspace.cuts) = (codes, cuts);
    done
}
