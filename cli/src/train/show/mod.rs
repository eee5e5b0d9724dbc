//! What a person sees of a training: progress, metrics, charts, a table.
//!
//! ```text
//!  StepRecord ──┬─► progress (stderr, live)      ScaleRecord ──┬─► metrics  (scales.jsonl)
//!               ├─► metrics  (metrics.jsonl)                   └─► svg: scales.svg
//!               └─► series ──┬─► chart (terminal)
//!                            └─► svg: loss.svg    Summary ──────► table
//! ```
//!
//! Only these records come in: nothing here knows a model or a trainer. Recipes are shown in the
//! order in which they first occur. To show another figure: a field here, and a column in
//! `table.rs` or a key in `metrics.rs`.

pub mod chart;
pub mod metrics;
pub mod progress;
mod series;
pub mod svg;
pub mod table;

use serde::Serialize;

/// One step of one recipe; the fields are the keys of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepRecord {
    /// Steps done, from 1 on.
    pub step: u64,
    /// The recipe.
    pub recipe: String,
    /// Mean loss of the step's batch.
    pub train_loss: f32,
    /// Loss of the validation set, of steps where it was measured.
    pub val_loss: Option<f32>,
    /// Learning rate.
    pub lr: f32,
    /// Norm of all gradients, before it is clipped.
    pub grad_norm: f32,
    /// Tokens trained on in a second.
    pub tokens_per_s: f64,
    /// Steps skipped so far, for gradients that were not finite.
    pub skipped: u64,
}

/// One operand of one layer at one step that was counted; the fields are the keys of
/// `scales.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ScaleRecord {
    /// Steps done, from 1 on.
    pub step: u64,
    /// The recipe.
    pub recipe: String,
    /// The layer's name.
    pub layer: String,
    /// `input`, `weight` or `grad_output`.
    pub role: &'static str,
    /// The largest magnitude of the operand.
    pub amax: f32,
    /// What values are multiplied by before they are cast; NaN if there is no one scale for all.
    pub scale: f32,
    /// Elements that saturated.
    pub saturated: u64,
    /// Elements that became zero.
    pub flushed: u64,
    /// All of them.
    pub elements: u64,
}

/// What casts did to the operands of one role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RoleShare {
    /// `input`, `weight` or `grad_output`.
    pub role: String,
    /// Elements that saturated.
    pub saturated: u64,
    /// Elements that became zero.
    pub flushed: u64,
    /// All of them.
    pub elements: u64,
}

/// What came of one recipe.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The recipe.
    pub recipe: String,
    /// Steps done.
    pub steps: u64,
    /// Mean of the last steps.
    pub train_loss: f32,
    /// Loss of the validation set at the end.
    pub val_loss: f32,
    /// Tokens trained on in a second; NaN if this process made no step.
    pub tokens_per_s: f64,
    /// Most bytes of activations that were kept for the backward pass at one time; 0 if this process
    /// made no step.
    pub saved_bytes: u64,
    /// What casts did, by role; empty for recipes without scales.
    pub shares: Vec<RoleShare>,
    /// Steps skipped for gradients that were not finite.
    pub skipped: u64,
    /// Seconds that training took.
    pub seconds: f64,
}

/// Columns of a name, at most: of a recipe on a unit that is promoted.
const NAME: usize = 32;

/// A name in at most `most` columns, without letters that move a cursor.
fn plain(name: &str, most: usize) -> String {
    let letters = || name.chars().map(|c| if c.is_control() { '?' } else { c });
    if letters().nth(most).is_none() {
        return letters().collect();
    }
    letters().take(most.saturating_sub(1)).chain(['~']).collect()
}
