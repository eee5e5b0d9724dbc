//! Codes and their scales: quantize, dequantize.
//!
//! ```text
//!  MatRef (slice, shape, strides) ──quantize──► Quantized { codes, scales } ──dequantize──► MatMut
//!         f64 f32 f16 bf16          Cast           e4m3 ..    f32, E8M0, E4M3     f64 f32 f16 bf16
//! ```
//!
//! A [`Cast`] says how: format, granularity, scale rule, rounding. Results are the same on every
//! instruction set and number of threads, and those of the rule's engine.
//!
//! * [`quantize`], [`quantize_transposed`], [`quantize_both`] in one pass over memory;
//!   [`quantize_into`] and [`quantize_both_into`] into memory that is there; with given scales by [`QuantizeOptions::scales`].
//! * [`amax`] alone, by groups.
//! * [`Quantized::dequantize_into`], [`Quantized::codes_as_bf16`]; [`fake_quantize_into`] for both
//!   ways at once.
//! * [`Quantized::from_parts`] for codes and scales from elsewhere, [`QuantizedView`] for some
//!   rows.

mod amax;
mod cast;
mod dequantize;
mod encode;
mod engine;
mod options;
mod pieces;
mod quantize;
mod quantized;
mod scales;
mod target;
mod tiles;
mod turn;
mod view;

pub use amax::amax;
pub use cast::Cast;
pub use options::{DequantizeOptions, QuantizeOptions, StatsLevel};
pub use quantize::{
    fake_quantize_into, quantize, quantize_both, quantize_both_into, quantize_into,
    quantize_transposed,
};
pub use quantized::{Quantized, QuantizedView};
pub use scales::Scales;
pub use view::{MatMut, MatRef};
