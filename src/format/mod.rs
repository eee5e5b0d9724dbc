//! What a code means: number formats as data, and conversions rounded once.

mod bf16;
mod classify;
mod constants;
mod decode;
mod encode;
mod fmt;
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
