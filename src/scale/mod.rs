//! Which scale: amax → scale, for every group of a matrix.
//!
//! * **amax**: the largest magnitude of a group of elements ([`Granularity`]).
//! * **scale** multiplies on the way in, **scale_inv** on the way out: the value of an element is
//!   code × `scale_inv`.
//! * **rule**: how an engine gets one from the other ([`Rule`]).
//! * **margin**: powers of two of headroom that delayed scaling leaves.

pub(crate) mod e8m0;
mod granularity;
#[cfg(feature = "std")]
mod history;
mod rule;
mod scaler;
#[cfg(feature = "std")]
mod words;

pub use granularity::Granularity;
#[cfg(feature = "std")]
pub use history::{
    AmaxAlgo, AmaxHistory, HistoryConfig, HistorySnapshot, NonFinite, Roll, join_amax,
};
pub use rule::{Context, GroupScale, Native, Operation, Rule, ScaleFormat, SourceType};
#[cfg(feature = "std")]
pub(crate) use scaler::{Scaler, nvfp4_group, power};
#[cfg(feature = "std")]
pub(crate) use words::words;
