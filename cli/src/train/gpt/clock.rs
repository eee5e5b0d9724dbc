//! Where the time of a step goes.

use std::time::{Duration, Instant};

/// Parts of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Vectors of bytes and places, and their gradients.
    Embedding,
    /// Layer norms.
    Norm,
    /// Linear layers: casts and products.
    Linear,
    /// Attention: products and softmax.
    Attention,
    /// GELU.
    Gelu,
    /// Additions to the residual stream, and copies of it.
    Residual,
    /// Cross entropy.
    Loss,
    /// What comes after the backward: ranks, the gradient's norm, the update.
    Optimizer,
}

impl Part {
    /// All of them, in order.
    pub const ALL: [Self; 8] = [
        Self::Linear,
        Self::Attention,
        Self::Gelu,
        Self::Norm,
        Self::Residual,
        Self::Embedding,
        Self::Loss,
        Self::Optimizer,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Embedding => "embedding",
            Self::Norm => "norm",
            Self::Linear => "linear",
            Self::Attention => "attention",
            Self::Gelu => "gelu",
            Self::Residual => "residual",
            Self::Loss => "loss",
            Self::Optimizer => "optimizer",
        }
    }
}

/// Time by part: each lap counts for what it ends.
#[derive(Clone, Debug)]
pub struct Clock {
    last: Instant,
    spent: [Duration; Part::ALL.len()],
}

impl Default for Clock {
    fn default() -> Self {
        Self { last: Instant::now(), spent: Default::default() }
    }
}

impl Clock {
    /// What came before is nobody's.
    pub fn start(&mut self) {
        self.last = Instant::now();
    }

    /// What came since the last lap is of this part.
    pub fn lap(&mut self, part: Part) {
        let now = Instant::now();
        self.spent[part as usize] += now - self.last;
        self.last = now;
    }

    /// What a part took in all.
    #[must_use]
    pub fn spent(&self, part: Part) -> Duration {
        self.spent[part as usize]
    }
}
