//! How hardware adds: matrix units of chips, bit for bit.

#![forbid(unsafe_code)]

mod exact;
mod models;
mod oracle;
mod unit;
mod wide;

pub use models::*;
pub use unit::{Evidence, Fused, Output, Rule, TF32, Unit};

use crate::arch::Kernels;
use crate::arch::units::{Accumulators, Chain};

/// Continues the chains of c over all of K.
pub(crate) fn chain(kernels: &Kernels, t: &Chain<'_>, c: &mut Accumulators) {
    match t.rule {
        Rule::Exact => exact::chain(t, c),
        Rule::Fused(_) | Rule::Cdna3 { .. } | Rule::FmaPairs | Rule::Amx | Rule::BfDot { .. } => {
            kernels.chain(t, c);
        }
    }
}
