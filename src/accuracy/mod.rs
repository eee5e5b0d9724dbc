//! How wrong a result is, and how wrong it may be.
//!
//! ```text
//!  actual, expected ──Meter, in pieces──► Metrics: maxima, means, SQNR, counts, Histogram
//!  Distribution ──► matrices that hurt
//! ```
//!
//! * [`Metrics`] measures any result against any other, with one pass over both.
//! * [`Distribution`] makes inputs on which kernels go wrong.

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
