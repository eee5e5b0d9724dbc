//! The kernels, written once in safe Rust over blocks of 16 values.
//!
//! Every function here is `#[inline(always)]` and has no `cfg`, no intrinsic and no branch on
//! data, so that each instruction set's file only compiles it again with other features enabled
//! and the compiler vectorises the same integers and f32 operations there. Equal bits follow:
//! no operation is reassociated, contracted or approximated.

pub(super) mod count;
pub(super) mod decode;
pub(super) mod encode;
pub(super) mod narrow;

/// Values handled together: one 512-bit register of f32, and enough independent work for
/// narrower ones.
pub(super) const BLOCK: usize = 16;
