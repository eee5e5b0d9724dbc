//! How wrong a result is, and how wrong it may be.
//!
//! ```text
//!  operands, scales, how sums are kept ──bounds──► expected, Bound ─┐
//!                                    a kernel, anyone's ──► actual ─┴─check──► Report or Violation
//! ```
//!
//! [`bounds`] are proven, element by element and from the data; [`check`] holds results to them, and
//! what it says of a wrong one is a diagnosis.

#![forbid(unsafe_code)]

pub mod bounds;
pub mod check;
