//! What a network needs around its matrix products: linear layers under a recipe, vector operations
//! with their backward, and an optimizer.
//!
//! Everything is the same to the bit on every instruction set and number of threads.

#![forbid(unsafe_code)]

mod adamw;
mod exec;
mod linear;
mod skip;
mod step;

pub use adamw::{Moments, AdamW, AdamWConfig, MomentType, Param, Update, WeightType};
pub use exec::Exec;
pub use linear::{Linear, RoleStats, Saved};
pub use skip::Skip;
pub use step::Step;

mod activation;
mod loss;
mod norm;
mod reduce;
mod softmax;
mod split;

pub use activation::{add_into, gelu, gelu_backward, gelu_bf16, gelu_bf16_backward};
pub use loss::cross_entropy;
pub use norm::{RowMoments, layer_norm, layer_norm_backward};
pub use reduce::{column_sums_into, dot, sum, sum_of_squares};
pub use softmax::{Mask, softmax, softmax_backward};
