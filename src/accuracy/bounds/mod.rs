//! How far a result may be from the real numbers, proven, element by element and from the data.
//!
//! | operation | bound | |
//! |---|---|---|
//! | one rounding to any format | [`rounding()`] | A1 |
//! | a chain of n roundings to nearest, any tree | [`chain`], [`gamma`] | A2 |
//! | a scaled value, a quantized matrix | [`Scaled`], [`Quantization`] | A3 |
//! | a product of quantized matrices, a linear layer's passes | [`GemmBound`] | A4 |
//! | the sum of a matrix unit | [`unit_sum`] | A5 |
//! | many roundings, probably | [`probable_gamma`], [`probability`] | A6 |
//! | stochastic rounding | [`hoeffding`], [`away_probability`], [`stochastic_gamma`] | A7 |
//! | signal to noise, expected | [`sqnr_formula`], [`sqnr`], [`sqnr_blocks`] | A8 |
//! | what saturates under a block's scale | [`most_clipped`] | A9 |
//! | a step of AdamW, any computation in f32 | [`adamw()`], [`Tracked`] | |
//!
//! A [`Bound`] keeps its terms apart, so that a check can say which one matters. Bounds are
//! computed in f64; what that rounds itself is a term ([`Term::Reference`]) where it counts.
//! Where a paper could not be read, its result is derived again, and the item says so.

mod adamw;
mod bound;
mod gemm;
mod normal;
mod operand;
mod quantize;
mod rounding;
mod sqnr;
mod unit;

pub use adamw::{AdamWBound, AdamWElement, Tracked, adamw};
pub use bound::{Bound, Term};
pub(super) use gemm::Steps;
pub use gemm::{GemmBound, Sums};
pub use normal::{erf, erfc};
pub use operand::Operand;
pub use quantize::{Quantization, Scaled, most_clipped};
pub use rounding::{
    ETA32, U32, away_probability, chain, gamma, hoeffding, probability, probable_gamma, rounding,
    stochastic_gamma, unit_roundoff,
};
pub use sqnr::{Density, sqnr, sqnr_blocks, sqnr_formula};
pub use unit::{Product, unit_sum};
