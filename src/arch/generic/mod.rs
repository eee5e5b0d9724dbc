//! The kernels, written once in safe Rust as plain loops.
//!
//! Every function here is `#[inline(always)]` and has no `cfg`, no intrinsic and no branch on
//! data, so that each instruction set's file only compiles it again with other features enabled
//! and the compiler vectorises the same integers and f32 operations there. Equal bits follow:
//! no operation is reassociated, contracted or approximated.

pub(super) mod amax;
pub(super) mod count;
pub(super) mod decode;
pub(super) mod encode;
#[cfg(feature = "std")]
pub(in crate::arch) mod errors;
pub(super) mod math;
pub(super) mod narrow;
#[cfg(feature = "std")]
pub(super) mod norm;
pub(super) mod panel;
pub(super) mod peaks;
#[cfg(feature = "std")]
pub(super) mod pointwise;
#[cfg(feature = "std")]
pub(super) mod reduce;
pub(super) mod scale;
#[cfg(feature = "std")]
pub(super) mod softmax;
pub(super) mod store;
pub(super) mod tile;
pub(super) mod transpose;
pub(super) mod units;
