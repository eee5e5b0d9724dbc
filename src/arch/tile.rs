//! What the matrix product's kernels read and write: panels of sixteen rows, and tiles of sums.
//!
//! ```text
//!  16 rows of an operand ──lanes──► quads: four codes of each row ──expand──► panel
//!  panel of a (14 or 12 rows) × two panels of b ──tile──► 16 × 32 sums ──finish──► results
//! ```
//!
//! A panel is a sequence of lines along K. A line has a lane for each row: an f32, or in panels of
//! pairs two bf16 of adjacent k, the first in the high half, where `vdpbf16ps` begins. Each segment
//! of K begins a line and is filled up with zeros to a multiple of four: fma(0, 0, p) is p.

use super::decoder::Decoder;

/// One 32-bit lane for each of sixteen rows: one line of the cache.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(64))]
pub(crate) struct Line(pub [u32; LANES]);

/// Rows of a panel.
pub(crate) const LANES: usize = 16;

/// The elements of K that a segment is filled up to a multiple of.
pub(crate) const QUAD: usize = 4;

impl Line {
    pub const ZERO: Self = Self([0; LANES]);

    /// The same f32 in each lane.
    pub const fn splat(value: f32) -> Self {
        Self([value.to_bits(); LANES])
    }

    /// Lane `i` as f32.
    #[inline(always)]
    pub const fn f32(&self, i: usize) -> f32 {
        f32::from_bits(self.0[i])
    }
}

/// How the sum p of a segment joins the sum before it, by the scales sa and sb of the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Join {
    /// fl(acc + p).
    Add,
    /// fl(acc + fl(fl(p · sa) · sb)).
    DeepSeek,
    /// fl(acc + fl(p · fl(sa · sb))).
    DeepGemm,
    /// fma(fl(p · sa), sb, acc).
    Te,
    /// fl(acc + fl(p · 2^(sa + sb))); the scales are integers, or NaN, and each of −254 to 254.
    Power,
    /// fma(p, sa · sb, acc), where sa · sb is exact.
    Product,
}

/// A panel of the left operand and two of the right one, and how they are multiplied.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tile<'a> {
    /// Whether lines are pairs of bf16, none subnormal, with sums that are never subnormal.
    pub pairs: bool,
    /// Whether every product is exact in f32.
    pub exact: bool,
    /// Whether sums begin at zero, whatever they hold.
    pub fresh: bool,
    /// Rows of the left panel, at most 16.
    pub rows: usize,
    /// Lines of each segment, each at least 1; the panels have as many.
    pub segments: &'a [u32],
    pub a: &'a [Line],
    /// The second may be empty.
    pub b: [&'a [Line]; 2],
    pub join: Join,
    /// A line of scales for each segment, where the join reads any.
    pub scales_a: &'a [Line],
    pub scales_b: [&'a [Line]; 2],
}

/// A few rows times [`WIDE`] panels: some segments, or a part of one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Thin<'a> {
    /// As in [`Tile`].
    pub pairs: bool,
    /// As in [`Tile`].
    pub exact: bool,
    /// What [`thin_rows`] gives.
    pub rows: usize,
    /// A word of each row for each line of a panel, as in [`Tile`].
    pub a: &'a [u32],
    /// Of the quads of `b`; where there is none they are lines of pairs.
    pub decoder: Option<&'a Decoder>,
    /// As many lines each; those after the first may be empty.
    pub b: [&'a [Line]; WIDE],
    /// Quads of a segment.
    pub each: usize,
    /// Whether the first quad begins a segment, and the last one ends one.
    pub whole: [bool; 2],
    /// As in [`Tile`], from the first segment on.
    pub join: Join,
    pub scales_a: &'a [Line],
    pub scales_b: [&'a [Line]; WIDE],
}

/// Panels of the right operand that a few rows are multiplied by at a time.
pub(crate) const WIDE: usize = 4;

/// The sums of a few rows: sixteen lines for each panel.
pub(crate) type WideSums = [Line; WIDE * LANES];

/// The rows that are computed where there are so many, at most 16; those beyond are zeros.
pub(crate) const fn thin_rows(rows: usize) -> usize {
    match rows {
        0..=4 => rows,
        5 | 6 => 6,
        7 | 8 => 8,
        9..=12 => 12,
        _ => LANES,
    }
}

/// The sums of a tile: sixteen lines of rows for each panel of the right operand.
pub(crate) type Sums = [Line; 2 * LANES];

/// Powers of two that codes are multiplied by while they are expanded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fold<'a> {
    /// An exponent (i32) for each row, for each group along K.
    pub exponents: &'a [Line],
    /// Quads of a group.
    pub quads: usize,
}

/// What happens to the last sums, in this order, each where given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Finish<'a> {
    /// t = fl(t · sa), sa by rows.
    pub scale_a: Option<&'a Line>,
    /// t = fl(t · sb), sb by columns.
    pub scale_b: Option<&'a [Line; 2]>,
    /// t = fl(alpha · t).
    pub alpha: Option<f32>,
    /// t = fma(beta, c, t).
    pub c: Option<(f32, &'a Sums)>,
    /// t = fl(t + bias), by columns.
    pub bias: Option<&'a [Line; 2]>,
    pub activation: Activation,
}

impl Finish<'_> {
    /// Whether anything happens.
    pub fn changes(&self) -> bool {
        let scales = self.scale_a.is_some() || self.scale_b.is_some() || self.alpha.is_some();
        scales || self.c.is_some() || self.bias.is_some() || self.activation != Activation::None
    }
}

/// A function of each element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Activation {
    /// t.
    #[default]
    None,
    /// max(t, 0): 0 for −0; NaN stays NaN.
    Relu,
    /// t / (1 + exp(−2 √(2/π) (t + 0.044715 t³))), the tanh form, in this crate's own arithmetic.
    Gelu,
}
