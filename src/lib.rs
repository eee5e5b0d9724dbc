//! quarter
#![no_std]
#![deny(unsafe_code)]
#![deny(missing_docs)]

#[cfg(feature = "std")]
extern crate std;

mod arch;
pub mod error;
pub mod format;
pub mod interop;
pub mod slice;
pub use arch::Isa;
pub use error::{Error, Result};
#[doc(inline)]
pub use format::types::*;
pub use format::{
    Code, Format, FormatId, FormatSpec, NanPolicy, Overflow, Policy, RandomStream, Rounding,
    Specials, Unpacked,
};
pub use format::{bf16_from_f64, bf16_mul_add, f16_from_f64, f16_mul_add};
