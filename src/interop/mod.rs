//! The number types in other crates' terms: one file for each optional feature.
//!
//! The traits are implemented without further ado; modules stand here where a feature brings
//! functions of its own ([`proptest`], [`serde`]). `bytemuck` and `zerocopy` are derived beside
//! the types; the one trait without a derive stands in `arch`, with all unsafe code.

#[cfg(feature = "approx")]
mod approx;
#[cfg(feature = "arbitrary")]
mod arbitrary;
#[cfg(feature = "num-traits")]
mod float;
#[cfg(feature = "num-traits")]
mod num_traits;
#[cfg(feature = "proptest")]
pub mod proptest;
#[cfg(feature = "rand")]
mod rand;
#[cfg(all(feature = "serde", feature = "std"))]
mod recipe;
#[cfg(feature = "serde")]
pub mod serde;
