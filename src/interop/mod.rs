//! The number types in other crates' terms: one file for each optional feature.
//!
//! The traits are implemented without further ado; modules stand here where a feature brings
//! functions of its own ([`proptest`], [`serde`]).

#[cfg(feature = "approx")]
mod approx;
#[cfg(feature = "arbitrary")]
mod arbitrary;
#[cfg(feature = "bytemuck")]
#[allow(unsafe_code)] // one trait, CheckedBitPattern, is unsafe to implement and has no derive
mod bytemuck;
#[cfg(feature = "num-traits")]
mod float;
#[cfg(feature = "num-traits")]
mod num_traits;
#[cfg(feature = "proptest")]
pub mod proptest;
#[cfg(feature = "rand")]
mod rand;
#[cfg(feature = "serde")]
pub mod serde;
