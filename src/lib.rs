//! FP8, MX and BF16 number formats, exact in every bit, for training on hardware without FP8.
//!
//! ```text
//!  f64 f32 f16 bf16 i8..u128 ──exactly──► Unpacked ──rounded once──► code of any format
//!                              format/decode          format/encode
//!       slices of f64, f32, f16, bf16 ◄──decode── codes u8, u16, packed ──encode──►
//!                              slice/, through the kernels of arch/
//!
//!  f32 / bf16 ──amax──► amax ──scale rule──► scale ──quantize──► Quantized { codes, scales }
//!              tensor/              scale/           tensor/
//!                                      ▲ history (delayed scaling)       │
//!                                                   gemm_nt of two ◄──────┘ ──► f32, bf16, codes
//!                                                   gemm/
//!  a Recipe says, for each of fprop / dgrad / wgrad, how each operand is cast: recipe/
//!                                    nn/: Linear (y, dx, dw), the operations around it, AdamW
//! ```
//!
//! * **Types** with `half::bf16`'s surface: [`F8E4M3`], [`F8E5M2`], [`F8E4M3FNUZ`],
//!   [`F8E5M2FNUZ`], [`F8E4M3B11FNUZ`], [`F8E3M4`], [`F8E4M3IEEE`], [`F6E2M3`], [`F6E3M2`],
//!   [`F4E2M1`]; the scale type [`E8M0`]; and `half`'s `bf16` and `f16` through [`Format`].
//! * **One rounding.** Every conversion goes from its source, whatever it is, to its target in one
//!   step: five roundings and four stochastic ones, saturating or not, each an argument
//!   ([`Policy`]).
//! * **Slices** at the speed of memory, with a scale, statistics and packed codes ([`mod@slice`]).
//!   Every instruction set and number of threads gives the same bits.
//! * **Scales**: the published rules as one table ([`Rule`]), any [`Granularity`], delayed
//!   scaling with its history ([`scale`]).
//! * **Tensors** quantized to the codes and scales of each rule's own engine, transposed, both ways
//!   in one pass, and back ([`tensor`]).
//! * **Matrix products** of any two formats and granularities, defined to the bit and the same on
//!   every machine, at the speed of its BF16 units ([`gemm`]).
//! * **Recipes** as data that prints in one line, with state that resumes bit for bit
//!   ([`recipe`]).
//! * **Training**: linear layers under a recipe with their backward, an optimizer, and what is
//!   around them ([`nn`]).
//! * **Accuracy**: how far a result is from another, in every usual figure, and inputs that hurt
//!   ([`accuracy`]).
//! * **Formats are data.** One row of a table makes a format; yours can be one too
//!   ([`FormatSpec::custom`]).
//!
//! ```
//! use quarter::{F8E4M3, F8E5M2, Format, Overflow, Policy, Rounding};
//!
//! let x = F8E4M3::from_f32(0.3);
//! assert_eq!(x.to_f32(), 0.3125);
//! assert_eq!((x + x).to_f32(), 0.625);
//! // 448 is the largest; beyond it the policy decides.
//! assert!(F8E4M3::from_f32(465.0).is_nan());
//! assert_eq!(F8E4M3::from_f32_sat(465.0), F8E4M3::MAX);
//! let up = Policy { rounding: Rounding::Up, overflow: Overflow::Saturate, ..Policy::default() };
//! assert_eq!(F8E5M2::convert(1.01_f64, up)?.to_f32(), 1.25);
//! # Ok::<(), quarter::Error>(())
//! ```
//!
//! Without the `std` feature the crate is `no_std` and needs no allocator. No feature changes a
//! numeric result.

#![no_std]
#![deny(unsafe_code)]
#![deny(missing_docs)]

#[cfg(feature = "std")]
extern crate std;

#[cfg(feature = "std")]
pub mod accuracy;
mod arch;
pub mod error;
pub mod format;
#[cfg(feature = "std")]
pub mod gemm;
pub mod interop;
pub mod mma;
#[cfg(feature = "std")]
pub mod nn;
#[cfg(feature = "std")]
pub mod recipe;
pub mod scale;
pub mod slice;
#[cfg(feature = "std")]
pub mod tensor;
pub use arch::Isa;
pub use error::{Error, Result};
#[doc(inline)]
pub use format::types::*;
pub use format::{
    Code, Format, FormatId, FormatSpec, NanPolicy, Overflow, Policy, RandomStream, Rounding,
    Specials, Unpacked,
};
pub use format::{bf16_from_f64, bf16_mul_add, f16_from_f64, f16_mul_add};
pub use scale::{Granularity, Rule};

/// The README's example is a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
