//! What the kernels of matrix units read: rules of adding, and panels.

use super::tile::{LANES, Line};

/// What a unit's sums are kept in from step to step, and come out as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// f32.
    F32,
    /// f32 of which 13 bits of the fraction are kept: eight bits of exponent, thirteen of mantissa.
    E8M13,
    /// f16.
    F16,
}

/// How products and the accumulator are added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// Products and c are aligned to the largest exponent, cut off, and added exactly.
    Fused(Fused),
    /// AMD CDNA3: as `Fused` without c, then c with floors instead of truncation.
    Cdna3 {
        /// Products of a step.
        products: u32,
        /// Whether even and odd products are summed apart (FP8).
        halves: bool,
    },
    /// c = fma(a₁, b₁, c), then c = fma(a₀, b₀, c), of each pair; subnormals are zeros.
    FmaPairs,
    /// Of each 32 elements, chains of fma over the even and over the odd ones from 0, their sum
    /// added to c; subnormals are zeros.
    Amx,
    /// Of each pair, p₀ + p₁ and then + c, by roundings to odd, or, extended, p₀ + p₁ exact, and
    /// both sums to nearest; without the extension subnormals are zeros.
    BfDot {
        /// Whether FPCR.EBF is 1.
        extended: bool,
    },
    /// The exact sum of all products and c, rounded once to nearest even.
    Exact,
}

/// The parameters of NVIDIA's and Intel's fused sums.
///
/// With eᵢ the sum of the exponents of a product's factors (of a subnormal, its format's smallest),
/// and e the largest of them and of c's, `zero` standing for a zero's: every term is cut off toward
/// zero below 2^(e − fraction), they are added exactly, and the sum is cut off, or rounded to
/// nearest even where it is f16.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fused {
    /// Products of a step; the next one has the sum for c.
    pub products: u32,
    /// Bits kept below the largest exponent.
    pub fraction: u32,
    /// The exponent of a zero.
    pub zero: i32,
    /// The elements of an instruction that begins at 0 and whose sum is added to c by a rounding to
    /// nearest; its first step has the elements k with k mod 4 < 2, and the second one the others.
    pub late: Option<u32>,
    /// Whether blocks of 32 have E8M0 scales, whose exponents count.
    pub scaled: bool,
}

/// Rows of the left operand and sixteen of the right one, and how they are chained along K.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chain<'a> {
    pub rule: Rule,
    pub output: Output,
    /// At most 16.
    pub rows: usize,
    /// Elements of K.
    pub depth: usize,
    /// A line of f32 for each element of K, at least.
    pub a: &'a [Line],
    pub b: &'a [Line],
    /// Their exponents (i32), [`NO_EXPONENT`] for zeros; empty where the rule does not ask.
    pub ea: &'a [Line],
    pub eb: &'a [Line],
    /// For each block of 32 elements the exponents of its scales, NaN as [`NO_SCALE`]; empty where
    /// there are none.
    pub scales: [&'a [Line]; 2],
    /// Whether all elements are finite and of at most 8 bits.
    pub small: bool,
}

/// The exponent of zero: below all others, and so is its sum with any.
pub(crate) const NO_EXPONENT: i32 = -(1 << 14);

/// The exponent of a scale that is NaN.
pub(crate) const NO_SCALE: i32 = 1 << 20;

/// A line of f32 for each row of the left operand: of an f16 its value.
pub(crate) type Accumulators = [Line; LANES];
