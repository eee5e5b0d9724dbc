//! How hardware adds: matrix units of chips, bit for bit.
//!
//! # What a unit does
//!
//! A unit multiplies exactly and adds in few bits. Most take a step of L products and the
//! accumulator c, let e be the largest exponent among them (a product's is the sum of its
//! factors'), cut each off below 2^(e − F), toward zero, add what is left exactly, and cut off or
//! round the sum once more to what they keep it in, which is c of the next step:
//!
//! sum = Σₖ trunc(aₖ · bₖ, 2^(e − F)) + trunc(c, 2^(e − F)), where trunc(x, u) is a multiple of u
//!
//! ```text
//!                       2⁵   2⁰       2⁻⁸       F = 13: e = 5 is the exponent of c
//!  c      32            100000.00000000|
//!  a · b  0.1015625²         0.00000010|101001  2/256 of 2.64/256: the rest is gone
//!  ...    31 more of them
//!  D      32.25         100000.01000000|        and not 32.33
//! ```
//!
//! These are the parameters. Units whose name ends in `F16_F16` or `FP8_F16` have those of their
//! namesakes, and round sums to f16; [`Unit::evidence`] and [`Unit::source`] are each one's own.
//!
//! | unit | L | F | sums | c joins | evidence |
//! |---|---|---|---|---|---|
//! | [`V100_F16`] | 4 | 23 | f32 | in the step | measured |
//! | [`T4_F16`] | 8 | 24 | f32 | in the step | peer model |
//! | [`A100_16BIT`], [`ADA_16BIT`] | 8 | 24 | f32 | in the step | measured |
//! | [`A100_TF32`], [`ADA_TF32`] | 4 | 24 | f32 | in the step | measured |
//! | [`ADA_FP8`] | 16 | 13 | e8m13 | in the step | measured |
//! | [`H100_16BIT`], [`B200_16BIT`] | 16 | 25 | f32 | in the step | measured |
//! | [`H100_TF32`], [`B200_TF32`] | 8 | 25 | f32 | in the step | measured |
//! | [`H100_WGMMA_FP8`] | 32 | 13 | e8m13 | in the step | measured |
//! | [`HOPPER_MMA_SYNC_FP8`] | 16 | 25 | f32 | after two steps | measured |
//! | [`B200_FP8`], [`B200_MXFP8`] | 32 | 25 | f32 | in the step | peer model |
//! | [`GAUDI3`] | 8 | 24 | f32 | in the step | vendor |
//! | [`CDNA3_16BIT`], [`CDNA3_FP8`] | 8, 16 | see [`Rule`] | f32 | after the products | peer model |
//! | [`VDPBF16PS`] | 2 | see [`Rule`] | f32 | before the products | measured |
//! | [`AMX_BF16`] | 32 | see [`Rule`] | f32 | after the products | vendor |
//! | [`ARM_BFDOT`], [`ARM_BFDOT_EBF`] | 2 | see [`Rule`] | f32 | after the products | vendor |
//! | [`EXACT`] | all | all | f32 | in the step | definition |
//!
//! # A dot product that loses 8.2 %
//!
//! 4096 products 0.1015625 · 0.1015625 are 42.25. [`H100_WGMMA_FP8`] makes 38.773438 of them, which
//! is −8.23 %, [`ADA_FP8`] 38.73047, −8.33 %, and [`B200_FP8`] 42.25. Up to K = 128 Hopper's sum is
//! exact; from there on products are cut off, always toward zero, at a place that rises with the
//! sum: the picture above is where it has come to 32.
//!
//! # Random matrices and "nearly 2 %"
//!
//! DeepSeek-V3 (section 3.3.2) reports a largest relative error of nearly 2 % for two random
//! matrices with K = 4096, on H800. It says neither how they were drawn, how many outputs there
//! were, nor what the error is relative to; a question about it (issue 659) was put
//! off to a later paper. Here both matrices are E4M3 with a power of two as the only scale, so that
//! sums alone are inexact, and errors are those of [`H100_WGMMA_FP8`] against the exact product;
//! rms is the root mean square.
//!
//! | K = 4096 | chained | promoted each 128 |
//! |---|---|---|
//! | normal, 512 × 512 outputs: largest error / outputs' rms | 1.92 % | 0.074 % |
//! | the same of 64 × 64 outputs | 1.19 % | 0.049 % |
//! | normal, 512 × 512 outputs: rms error / outputs' rms | 0.133 % | 0.013 % |
//! | the same: median of error / own output | 0.096 % | 0.012 % |
//! | the same: largest error / own output | 6984 % | 2113 % |
//! | uniform from 0 to 1, 128 × 128 outputs: median of error / own output | 6.60 % | 0.049 % |
//! | the same: largest error / own output | 7.01 % | 0.059 % |
//!
//! Which of them DeepSeek meant is not known. The largest error of normal numbers by the outputs'
//! rms is nearly 2 %, and tends to grow with the number of outputs. By the outputs' own sizes it
//! says little, since some are nearly 0. Of positive numbers every output loses more than 6 %, as
//! all cuts go one way.
//!
//! # Four units that differ
//!
//! Dot products of E4M3 that tell them apart; where nothing is said, c is 0.
//!
//! | | dot product | [`H100_WGMMA_FP8`] | [`ADA_FP8`] | [`B200_FP8`] | [`HOPPER_MMA_SYNC_FP8`] |
//! |---|---|---|---|---|---|
//! | V1 | c = 3.0003717 and no product | 3.0002441 | 3.0002441 | 3.0003717 | 3.0003717 |
//! | V4 | 1 + 31 · 2⁻¹⁴, each cut off by itself | 1 | 1 | 1.0018921 | 1.0018921 |
//! | V5 | 1 − 2⁻¹⁴, toward zero and not down | 1 | 1 | 0.99993896 | 0.99993896 |
//! | V7b | 16² − 16² + 2⁻⁶, the last at k = 16 | 0 | 0.015625 | 0.015625 | 0.015625 |
//! | V8 | c = 2²⁴ and 32 · 1 | 16777216 | 16777216 | 16777248 | 16777248 |
//! | V10 | c = 2²⁴ and 3 | 16777216 | 16777216 | 16777218 | 16777220 |
//!
//! `mma.sync` on Hopper is no FP8 unit: the compiler makes f16 of it (NVIDIA, cutlass issue 1986).
//!
//! # Promotion
//!
//! A promoted sum begins at 0 after each N elements of K and is added to the others in f32, to
//! nearest: [`promote`](super::gemm::Accumulation::promote). [`H100_WGMMA_FP8`] at K = 4096, its
//! errors by the exact sum and, of 128 × 128 outputs of normal matrices, by the outputs' rms:
//!
//! | N | 32 | 64 | 128 | 256 | 512 | 1024 | none |
//! |---|---|---|---|---|---|---|---|
//! | 0.1015625² | 0 % | 0 % | 0 % | −0.30 % | −0.44 % | −1.55 % | −8.23 % |
//! | normal, largest | 0.019 % | 0.031 % | 0.064 % | 0.130 % | 0.177 % | 0.397 % | 1.364 % |
//! | normal, rms | 0.0046 % | 0.0076 % | 0.0126 % | 0.0209 % | 0.0341 % | 0.0546 % | 0.1321 % |
//!
//! Half the interval is twice the f32 additions, which the matrix unit does not do; errors shrink
//! steadily and mark no best one. DeepSeek-V3, DeepGEMM and CUTLASS take 128: four instructions,
//! and of the first two the length of the scale blocks, whose sums are scaled in f32 anyway.
//! TransformerEngine's `use_split_accumulator` and torch's `use_fast_accum=False` ask for
//! promotion, too; at which interval cuBLAS does it is not documented.
//! [`split_k`](super::gemm::Accumulation::split_k) also shortens chains.
//!
//! # A product of one's own
//!
//! ```
//! use quarter::gemm::{Accumulation, GemmOptions, gemm_nt};
//! use quarter::mma::H100_WGMMA_FP8;
//! use quarter::tensor::{MatMut, MatRef, QuantizeOptions, quantize};
//! let (row, cast) = ([0.1015625_f32; 4096], "e4m3:tensor:te-current-pow2".parse()?);
//! let row = quantize(MatRef::new(&row, 1, 4096)?, &cast, &QuantizeOptions::new())?;
//! for (promote, expected) in [(None, 38.773438), (Some(128), 42.25)] {
//!     let sums = Accumulation { unit: Some(&H100_WGMMA_FP8), promote, ..Accumulation::default() };
//!     let mut d = [0.0_f32];
//!     gemm_nt(&row, &row, MatMut::new(&mut d, 1, 1)?, &GemmOptions::new().sums(sums))?;
//!     assert_eq!(d, [expected]);
//! }
//! # Ok::<(), quarter::Error>(())
//! ```
//!
//! `cargo run --release --example accumulators -- docs` prints errors by K and writes their plots,
//! `docs/accumulators-constant.svg` and `docs/accumulators-random.svg`.
//!
//! # What is not known
//!
//! * Of [`H100_WGMMA_FP8`] single steps with c = 0 were measured, on H100 and H200. That c is
//!   aligned like a product, and that steps follow each other, is a peer's model and one probe of
//!   c: what is said here of K above 32 is what that model computes. [`ADA_FP8`] was measured over
//!   two steps.
//! * Of [`B200_FP8`] nothing was measured but that 25 bits are kept (DeepGEMM, issue 176), and
//!   [`HOPPER_MMA_SYNC_FP8`] into f32 on B200 alone.
//! * "14 bits" (DeepSeek-V3) are 1 + 13 of each term, and "FP22" (SageAttention2) 1 + 8 + 13 of the
//!   sum: the same hardware. Products are not made normal first, so beside 1.5 · 1.5, whose first
//!   bit is 2¹, 2⁻¹³ counts: a 15th bit.
//! * No outputs of a chip were measured for this crate but `vdpbf16ps` on AMD Zen 4.
//! * Left out, as no published rule fixes every bit: Blackwell FP4 (MXFP4, NVFP4), CDNA1 and CDNA2,
//!   CDNA3's XF32, Gaudi 2, AMX-FP8, Arm's FP8 dot products.

#![forbid(unsafe_code)]

#[cfg(feature = "std")]
mod exact;
mod models;
mod number;
mod oracle;
mod unit;
mod wide;

pub use models::*;
pub use unit::{Evidence, Fused, Output, Rule, TF32, Unit};

#[cfg(feature = "std")]
use crate::arch::{
    Kernels,
    units::{Accumulators, Chain},
};

/// Continues the chains of c over all of K.
#[cfg(feature = "std")] // products need it
pub(crate) fn chain(kernels: &Kernels, t: &Chain<'_>, c: &mut Accumulators) {
    match t.rule {
        Rule::Exact => exact::chain(t, c),
        Rule::Fused(_) | Rule::Cdna3 { .. } | Rule::FmaPairs | Rule::Amx | Rule::BfDot { .. } => {
            kernels.chain(t, c);
        }
    }
}
