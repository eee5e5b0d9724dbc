//! What a code means: number formats as data, and conversions rounded once.

mod decode;
mod encode;
pub mod random;
mod round;
mod spec;
pub(crate) mod table;
mod traits;

pub use decode::Unpacked;
pub(crate) use encode::{beyond, nan};
pub use random::RandomStream;
pub use round::{NanPolicy, Overflow, Policy, Rounding};
pub use spec::{FormatSpec, Specials};
pub use table::FormatId;
pub use traits::{Code, Format};
