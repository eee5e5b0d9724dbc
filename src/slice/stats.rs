//! What happened to the values of a tensor on the way to codes.

use crate::arch::Counts;

/// Counts of numeric surprises, and the largest magnitude: none of them is an error.
///
/// Every figure is independent of the order of the elements, so of threads and blocking.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct QuantStats {
    /// max |x| over the source before scaling; NaN is ignored, Inf is not. Of an f64 source the
    /// nearest f32. 0 for an empty source.
    pub amax: f32,
    /// Values whose scaled magnitude is above the largest finite number, Inf included; exactly
    /// the largest is not counted.
    pub saturated: u64,
    /// Non-zero values whose code is a zero.
    pub flushed: u64,
    /// NaN in the source.
    pub nan: u64,
}

impl From<Counts> for QuantStats {
    fn from(counts: Counts) -> Self {
        Self {
            amax: f32::from_bits(counts.peak),
            saturated: counts.saturated.into(),
            flushed: counts.flushed.into(),
            nan: counts.nan.into(),
        }
    }
}

impl QuantStats {
    /// The statistics of two tensors as one.
    #[must_use]
    pub const fn merge(self, other: Self) -> Self {
        Self {
            amax: self.amax.max(other.amax),
            saturated: self.saturated + other.saturated,
            flushed: self.flushed + other.flushed,
            nan: self.nan + other.nan,
        }
    }
}
