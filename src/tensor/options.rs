//! What a caller chooses beside the cast.

use super::Scales;
use crate::arch::Isa;
use crate::format::RandomStream;
use crate::scale::Context;

/// What to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum StatsLevel {
    /// Nothing.
    #[default]
    None,
    /// Of the tensor.
    Tensor,
    /// Of the tensor and of each group.
    Blocks,
}

/// How to quantize.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct QuantizeOptions<'a> {
    pub(super) random: Option<RandomStream>,
    pub(super) scales: Option<&'a Scales>,
    pub(super) scales_t: Option<&'a Scales>,
    pub(super) context: Context,
    pub(super) stats: StatsLevel,
    pub(super) threads: usize,
    pub(super) isa: Isa,
}

impl Default for QuantizeOptions<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> QuantizeOptions<'a> {
    /// The rule's scales, no statistics, all threads of the caller's pool, the best instruction
    /// set.
    pub fn new() -> Self {
        Self {
            random: None,
            scales: None,
            scales_t: None,
            context: Context::default(),
            stats: StatsLevel::None,
            threads: 0,
            isa: Isa::best(),
        }
    }

    /// Where stochastic rounding takes its words from: element (r, c) of the source has index
    /// r · cols + c, however it is traversed.
    pub const fn random(self, stream: RandomStream) -> Self {
        Self { random: Some(stream), ..self }
    }

    /// Scales to use instead of the rule's: one for each group, of the kind that the rule stores.
    pub const fn scales(self, scales: &'a Scales) -> Self {
        Self { scales: Some(scales), ..self }
    }

    /// The same for the transposed result of [`quantize_both`](super::quantize_both), in the order
    /// of its own groups.
    pub const fn scales_t(self, scales: &'a Scales) -> Self {
        Self { scales_t: Some(scales), ..self }
    }

    /// The scale that `te-delayed` and `msamp` keep where the amax gives none.
    pub const fn previous(self, scale: f32) -> Self {
        Self { context: Context { previous: scale, ..self.context }, ..self }
    }

    /// Powers of two of headroom that `te-delayed` and `msamp` leave.
    pub const fn margin(self, margin: i32) -> Self {
        Self { context: Context { margin, ..self.context }, ..self }
    }

    /// What to count.
    pub const fn stats(self, stats: StatsLevel) -> Self {
        Self { stats, ..self }
    }

    /// The most threads of the caller's pool to use; 1 keeps off rayon, 0 asks for all.
    pub const fn threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    /// Another instruction set: the bits are the same.
    pub const fn isa(self, isa: Isa) -> Self {
        Self { isa, ..self }
    }
}

impl QuantizeOptions<'_> {
    /// Those of the transpose alone.
    pub(crate) const fn of_transpose(self) -> Self {
        Self { scales: self.scales_t, scales_t: None, ..self }
    }

    /// What scales depend on beside amaxes.
    pub(crate) const fn context(&self) -> Context {
        self.context
    }

    /// Threads and instruction set.
    pub(crate) const fn means(&self) -> (usize, Isa) {
        (self.threads, self.isa)
    }
}

/// How to dequantize.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct DequantizeOptions {
    pub(super) threads: usize,
    pub(super) isa: Isa,
}

impl Default for DequantizeOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl DequantizeOptions {
    /// All threads of the caller's pool, the best instruction set.
    pub fn new() -> Self {
        Self { threads: 0, isa: Isa::best() }
    }

    /// The most threads of the caller's pool to use; 1 keeps off rayon, 0 asks for all.
    pub const fn threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    /// Another instruction set: the bits are the same.
    pub const fn isa(self, isa: Isa) -> Self {
        Self { isa, ..self }
    }
}
