//! How to convert a slice: what the caller chooses beside the format.

use crate::arch::Isa;
use crate::format::{Policy, RandomStream};

/// Where stochastic rounding takes a 32-bit word for each element from.
#[derive(Clone, Copy, Debug, Default)]
pub enum Random<'a> {
    /// Nowhere: the rounding is deterministic.
    #[default]
    None,
    /// `stream.word(start + i)` for element i.
    Stream {
        /// The stream.
        stream: RandomStream,
        /// The index of the slice's first element in its tensor.
        start: u64,
    },
    /// The caller's own words, one for each element.
    Words(&'a [u32]),
}

/// How to encode a slice.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct EncodeOptions<'a> {
    pub(super) policy: Policy,
    pub(super) scale: Option<f32>,
    pub(super) random: Random<'a>,
    pub(super) threads: usize,
    pub(super) isa: Isa,
}

impl<'a> EncodeOptions<'a> {
    /// Unscaled, all threads of the caller's pool, the best instruction set.
    pub fn new(policy: Policy) -> Self {
        Self { policy, scale: None, random: Random::None, threads: 0, isa: Isa::best() }
    }

    /// Multiplies every value first. A scale that is not positive and finite is allowed, but slow:
    /// it goes through the definition, one value at a time.
    pub const fn scale(self, scale: f32) -> Self {
        Self { scale: Some(scale), ..self }
    }

    /// The words of stochastic rounding.
    pub const fn random(self, random: Random<'a>) -> Self {
        Self { random, ..self }
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

/// How to decode a slice.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct DecodeOptions {
    pub(super) scale_inv: Option<f32>,
    pub(super) threads: usize,
    pub(super) isa: Isa,
}

impl Default for DecodeOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl DecodeOptions {
    /// Unscaled, all threads of the caller's pool, the best instruction set.
    pub fn new() -> Self {
        Self { scale_inv: None, threads: 0, isa: Isa::best() }
    }

    /// Multiplies every decoded value: fl(code · scale_inv) in f32, then one rounding to a
    /// narrower destination.
    pub const fn scale_inv(self, scale_inv: f32) -> Self {
        Self { scale_inv: Some(scale_inv), ..self }
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
