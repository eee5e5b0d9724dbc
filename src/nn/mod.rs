//! What a network needs around its matrix products: linear layers under a recipe, vector operations
//! with their backward, and an optimizer.
//!
//! ```text
//!  x ──cast──► codes ──fprop──► y          Linear: f32 masters, cast once a step; of x it keeps what
//!       └─transposed─► kept ──wgrad──► dw          wgrad reads; gradients add up in f32
//!  dy ─cast──► codes ──dgrad──► dx
//!  norm, GELU, softmax, loss: forward and backward      AdamW: all parameters in one step
//! ```
//!
//! **The same bits** on every instruction set and number of threads, as everywhere in this crate:
//! products are those of [`gemm`](crate::gemm). exp, tanh and ln are this crate's own, with a fixed
//! order of operations and no fused ones. Sums over rows, columns or all of a tensor (norms, softmax,
//! loss, gradients of biases and gains, the gradient's norm) are made in chunks of 4,096 elements:
//! element i of a chunk is added to lane i mod 16, the lanes are folded by halves, and chunks are
//! added in ascending order.
//!
//! Matrices are slices here, row after row. There is no tensor type and no graph: who has one calls
//! these functions from it, or only [`fprop`](crate::recipe::fprop) and its like.

#![forbid(unsafe_code)]

mod activation;
mod adamw;
mod casting;
mod exec;
mod linear;
mod loss;
mod norm;
mod reduce;
mod skip;
mod softmax;
mod split;
mod step;

pub use activation::{add_into, gelu, gelu_backward, gelu_bf16, gelu_bf16_backward};
pub use adamw::{AdamW, AdamWConfig, MomentType, Moments, Param, Update, WeightType};
pub use casting::RoleStats;
pub use exec::Exec;
pub use linear::{Linear, Saved};
pub use loss::cross_entropy;
pub use norm::{RowMoments, layer_norm, layer_norm_backward};
pub use reduce::{column_sums_into, dot, sum, sum_of_squares};
pub use skip::Skip;
pub use softmax::{Mask, softmax, softmax_backward};
pub use step::Step;
