//! The names of known defects.

use core::fmt;

/// A known defect that explains what is wrong.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Symptom {
    /// Rounded to this type first, and then to the format.
    DoubleRounding {
        /// The type between.
        through: &'static str,
    },
    /// Rounded toward zero instead of to nearest.
    Truncation,
    /// Ties go away from zero instead of to the even code.
    TiesAway,
    /// Ties go toward zero instead of to the even code.
    TiesToZero,
    /// What is beyond the largest number overflows before it is rounded.
    OverflowBeforeRounding,
    /// Subnormal results are zeros.
    Flushed,
    /// The sign of zeros is lost.
    NegativeZero,
    /// Saturates where it should become Inf or NaN.
    Saturates,
    /// Becomes Inf or NaN where it should saturate.
    NotSaturated,
    /// Inf is taken for NaN, or NaN for Inf.
    InfForNan,
    /// NaN where there should be a number.
    NanMade,
    /// Inf where there should be a number.
    InfMade,
    /// Zeros where other numbers are expected.
    Zeros,
    /// A number where NaN is expected.
    NanLost,
    /// Numbers have the opposite sign.
    Negated,
    /// Negative numbers are positive.
    SignLost,
    /// All errors go toward zero.
    TowardZero,
    /// All results are this power of two times what they should be.
    PowerOfTwo {
        /// The exponent.
        power: i32,
    },
    /// All results are this much times what they should be.
    Factor {
        /// That of the element that is known best.
        factor: f64,
    },
    /// Each row is off by a factor of its own.
    FactorByRow,
    /// Each column is off by a factor of its own.
    FactorByCol,
    /// A scale is applied twice.
    ScaleTwice {
        /// Whose.
        operand: &'static str,
    },
    /// A scale is not applied.
    ScaleMissing {
        /// Whose.
        operand: &'static str,
    },
    /// A scale is applied in the wrong direction.
    ScaleInverse {
        /// Whose.
        operand: &'static str,
    },
    /// Scales are read with rows and columns exchanged.
    SwappedAxis {
        /// Whose.
        operand: &'static str,
    },
    /// The scales of an operand are others than its own.
    Scales {
        /// Whose.
        operand: &'static str,
        /// Which they are.
        wrong: &'static str,
    },
    /// All errors are the same number.
    Offset {
        /// That number.
        by: f64,
    },
    /// All errors are plus or minus the same power of two.
    LostCarry {
        /// Its exponent.
        power: i32,
    },
    /// Sums are kept in too few bits.
    NarrowAccumulator {
        /// About how many.
        bits: i32,
    },
    /// The bits are those of other sums.
    AddsAs {
        /// The matrix unit, or `f32`.
        unit: &'static str,
        /// Elements of K after which its sums are promoted; none is all of K.
        promote: Option<u32>,
    },
    /// A part of K is left out, or counted twice.
    PartOfK {
        /// The first element.
        from: usize,
        /// The element after the last.
        to: usize,
        /// Whether it is counted twice.
        twice: bool,
    },
    /// Every other element of K is left out, or counted twice.
    EveryOther {
        /// The first of them.
        first: usize,
        /// Whether they are counted twice.
        twice: bool,
    },
    /// One element of K is left out.
    DroppedTerm {
        /// Which.
        k: usize,
    },
    /// One element of K is counted twice.
    TermTwice {
        /// Which.
        k: usize,
    },
    /// A step after the sum is not as it should be.
    Epilogue {
        /// What is done.
        wrong: &'static str,
    },
    /// The bias is added twice.
    BiasTwice,
    /// The bias is left out.
    BiasMissing,
    /// Each column is off by a number of its own.
    OffsetByCol,
}

impl fmt::Display for Symptom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DoubleRounding { through } => {
                write!(f, "double rounding: to {through} first, then to the format")
            }
            Self::Truncation => f.write_str("truncation: rounded toward zero, not to nearest"),
            Self::TiesAway => {
                f.write_str("ties away: a midpoint goes away from zero, not to the even code")
            }
            Self::TiesToZero => {
                f.write_str("ties to zero: a midpoint goes toward zero, not to the even code")
            }
            Self::OverflowBeforeRounding => f.write_str(
                "overflow tested before rounding: what would round to the largest number overflows",
            ),
            Self::Flushed => f.write_str("flush to zero: subnormal results are lost"),
            Self::NegativeZero => f.write_str("the sign of zeros is lost"),
            Self::Saturates => f.write_str("saturation where Inf or NaN is expected"),
            Self::NotSaturated => f.write_str("Inf or NaN where saturation is expected"),
            Self::InfForNan => f.write_str("Inf and NaN are mixed up"),
            Self::NanMade => f.write_str("NaN where a number is expected"),
            Self::InfMade => f.write_str("Inf where a number is expected"),
            Self::Zeros => f.write_str("zeros: nothing was written, or all is lost"),
            Self::NanLost => f.write_str("a number where NaN is expected"),
            Self::Negated => f.write_str("the sign is the opposite one"),
            Self::SignLost => f.write_str("the sign is lost: negative numbers are positive"),
            Self::TowardZero => f.write_str("all wrong results are too small: truncation, say"),
            Self::PowerOfTwo { power } => {
                write!(f, "scale off by 2^{power}: wrong results are that times what is expected")
            }
            Self::Factor { factor } => write!(
                f,
                "one factor {factor:.6} for all that is wrong: a scale that is not these numbers', of a stale amax, say"
            ),
            Self::FactorByRow => {
                f.write_str("a factor of its own for each row: the scales of rows")
            }
            Self::FactorByCol => {
                f.write_str("a factor of its own for each column: the scales of columns")
            }
            Self::ScaleTwice { operand } => write!(f, "the scale of {operand} is applied twice"),
            Self::ScaleMissing { operand } => write!(f, "the scale of {operand} is not applied"),
            Self::ScaleInverse { operand } => {
                write!(
                    f,
                    "the scale of {operand} is applied in the wrong direction: its reciprocal is"
                )
            }
            Self::SwappedAxis { operand } => {
                write!(f, "swapped scale axis: the scales of {operand} are read as their transpose")
            }
            Self::Scales { operand, wrong } => {
                write!(f, "the scales of {operand} are not its own, but those {wrong}")
            }
            Self::Offset { by } => write!(f, "all wrong results are off by {by:e}"),
            Self::LostCarry { power } => {
                write!(f, "a lost carry: all errors are 2^{power}, with one sign or the other")
            }
            Self::NarrowAccumulator { bits } => write!(
                f,
                "missing promotion, or an accumulator too narrow: as sums of about {bits} bits that \
                 are cut off, over all of K"
            ),
            Self::AddsAs { unit, promote: None } => write!(
                f,
                "missing promotion: these are the bits of {unit}, whose sums run over all of K"
            ),
            Self::AddsAs { unit, promote: Some(n) } => {
                write!(
                    f,
                    "other sums: these are the bits of {unit}, promoted every {n} elements of K"
                )
            }
            Self::PartOfK { from, to, twice } => {
                write!(f, "elements {from}..{to} of K are {}", times(*twice))
            }
            Self::EveryOther { first, twice } => {
                write!(f, "every other element of K from {first} on is {}", times(*twice))
            }
            Self::Epilogue { wrong } => f.write_str(wrong),
            Self::DroppedTerm { k } => write!(f, "element k = {k} of K is left out"),
            Self::TermTwice { k } => write!(f, "element k = {k} of K is counted twice"),
            Self::BiasTwice => f.write_str("the bias is added twice"),
            Self::BiasMissing => f.write_str("the bias is left out"),
            Self::OffsetByCol => f.write_str("each column is off by a number of its own: a bias"),
        }
    }
}

const fn times(twice: bool) -> &'static str {
    if twice { "counted twice" } else { "left out" }
}
