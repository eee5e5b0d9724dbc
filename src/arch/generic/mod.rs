//! The kernels, written once in safe Rust over blocks of 64 values.
//!
//! Every function here is `#[inline(always)]` and has no `cfg`, no intrinsic and no branch on
//! data, so that each instruction set's file only compiles it again with other features enabled
//! and the compiler vectorises the same integers and f32 operations there. Equal bits follow:
//! no operation is reassociated, contracted or approximated.

pub(super) mod count;
pub(super) mod decode;
pub(super) mod encode;
pub(super) mod narrow;

/// Values handled together: four 512-bit registers of f32.
pub(super) const BLOCK: usize = 64;
