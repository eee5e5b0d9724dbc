//! quarter
#![no_std]
#![deny(unsafe_code)]

#[cfg(feature = "std")]
extern crate std;

pub mod error;
pub mod format;
pub use error::{Error, Result};
pub use format::{
    Code, Format, FormatId, FormatSpec, NanPolicy, Overflow, Policy, RandomStream, Rounding,
    Specials, Unpacked,
};
