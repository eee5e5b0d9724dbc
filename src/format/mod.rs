//! What a code means: number formats as data, and conversions rounded once.
//!
//! A format is a [`FormatSpec`]; the [table](FormatId) holds one row for each, and types,
//! constants, kernels, tests and the command line derive from the row. A conversion is
//! [`Unpacked::decode`] (exact) and [`Unpacked::encode`] (the one rounding), both integer
//! arithmetic and `const`; they are the definition that every kernel is held to.
//!
//! To add a format to the crate, add a row to `format/table.rs`. To use one without that, make
//! the row yourself: scalars, slices, packing and limits work from it alone.
//!
//! ```
//! use quarter::slice::{DecodeOptions, EncodeOptions, decode, encode};
//! use quarter::{FormatSpec, Policy, Specials, Unpacked};
//!
//! // E2M5: 2 exponent bits, 5 mantissa bits, bias 1, every code finite.
//! const E2M5: FormatSpec = match FormatSpec::custom("e2m5", 2, 5, 1, Specials::None) {
//!     Ok(spec) => spec,
//!     Err(_) => panic!("a field is out of range"),
//! };
//! assert_eq!((E2M5.max(), E2M5.min_positive(), E2M5.epsilon()), (7.875, 0.03125, 0.03125));
//! assert_eq!(Unpacked::from_f64(1.04).encode(&E2M5, Policy::NONFINITE, 0)?, 0x21);
//!
//! let mut codes = [0_u8; 3];
//! encode(&E2M5, &[1.04_f32, -9.0, 0.01], &mut codes, &EncodeOptions::new(Policy::SATURATE))?;
//! assert_eq!(codes, [0x21, 0xff, 0x00]);
//! let mut values = [0.0_f32; 3];
//! decode(&E2M5, &codes, &mut values, &DecodeOptions::new())?;
//! assert_eq!(values, [1.03125, -7.875, 0.0]);
//! # Ok::<(), quarter::Error>(())
//! ```

#![forbid(unsafe_code)]

mod bf16;
mod classify;
mod constants;
mod decode;
mod encode;
mod fmt;
mod names;
mod ops;
pub(crate) mod packed;
mod parse;
pub mod random;
mod round;
mod spec;
pub(crate) mod table;
mod traits;
pub(crate) mod types;

pub use bf16::{bf16_from_f64, bf16_mul_add, f16_from_f64, f16_mul_add};
pub use decode::Unpacked;
pub(crate) use encode::{beyond, nan};
pub use random::RandomStream;
pub use round::{NanPolicy, Overflow, Policy, Rounding};
pub use spec::{FormatSpec, Specials};
pub use table::FormatId;
pub use traits::{Code, Format};
pub use types::*;
