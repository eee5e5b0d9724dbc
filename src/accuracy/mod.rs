//! How wrong a result is, and how wrong it may be.
//!
//! ```text
//!  actual, expected ──Meter, in pieces──► Metrics: maxima, means, SQNR, counts, Histogram
//!  operands, scales, how sums are kept ──bounds──► expected, Bound ─┐
//!                                    a kernel, anyone's ──► actual ─┴─check──► Report or Violation
//!  Distribution ──► matrices that hurt
//! ```
//!
//! * [`Metrics`] measures any result against any other, with one pass over both.
//! * [`bounds`] are proven, element by element and from the data; [`check`] holds results to them,
//!   and what it says of a wrong one is a diagnosis.
//! * [`Distribution`] makes inputs on which kernels go wrong.

#![forbid(unsafe_code)]

pub mod bounds;
pub mod check;
mod distribution;
mod exact;
mod histogram;
mod meter;
mod metrics;
mod numbers;

pub use distribution::Distribution;
pub use histogram::{Bin, Histogram, exponent};
pub use meter::{CompareOptions, Meter};
pub use metrics::{Metrics, Worst};
pub use numbers::Numbers;
