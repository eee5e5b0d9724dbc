//! The names of known defects.

use crate::format::Rounding;
use crate::scale::{Granularity, Rule};
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
    /// All errors go toward zero.
    TowardZero,
    /// All results are this power of two times what they should be.
    PowerOfTwo {
        /// The exponent.
        power: i32,
    },
    /// All results are this much times what they should be.
    Factor {
        /// The middle one of those elements that are known best.
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
    /// Bits above those of the format.
    NotACode,
    /// A number where there should be NaN.
    NanLost,
    /// A number other than the largest where Inf came in.
    InfLost,
    /// Negative numbers lose their sign.
    SignLost,
    /// The sign is turned.
    SignFlipped,
    /// Codes of another format.
    OtherFormat {
        /// Whose.
        format: &'static str,
    },
    /// Saturates at a number that is not the format's largest.
    OtherMax {
        /// What is largest.
        max: f64,
    },
    /// What is below the smallest number becomes zero before it is rounded.
    UnderflowBeforeRounding,
    /// Only the first of the bits that are cut off decides.
    StickyLost,
    /// Ties go toward +Inf instead of to the even code.
    TiesUp,
    /// Rounded away from zero instead of to nearest.
    AwayFromZero,
    /// Another rounding than the policy's.
    RoundedAs {
        /// What it does.
        rounding: Rounding,
    },
    /// Errors are of one place: the other neighbour.
    FartherNeighbour,
    /// What is a number of the format becomes another one.
    ExactMoved,
    /// Negative zero where the rule's engine gives +0.
    KeepsNegativeZero,
    /// Stochastic rounding that never goes away from zero.
    NeverAway,
    /// Stochastic rounding that always goes away from zero.
    AlwaysAway,
    /// Stochastic rounding that is rounding to nearest.
    AlwaysNearest,
    /// The probabilities of both neighbours are exchanged.
    InvertedProbability,
    /// A coin is thrown.
    EvenOdds,
    /// Fewer random bits than the policy has.
    FewRandomBits {
        /// How many.
        bits: u32,
    },
    /// Elements take the same random words.
    SharedWords {
        /// In elements.
        distance: usize,
    },
    /// Runs have the same random words.
    SameRuns,
    /// Scales of another rule.
    ScaleRule {
        /// Whose.
        rule: Rule,
    },
    /// Scales for another largest number.
    ScaleMax {
        /// Of what largest number.
        max: f64,
    },
    /// The amax does not see all of a group.
    AmaxOfPart {
        /// Which.
        part: &'static str,
    },
    /// The amax is taken without abs.
    AmaxSigned,
    /// A group's scale is that of another group near it.
    ScaleOfNeighbour {
        /// How far, in groups.
        offset: isize,
    },
    /// Scales of other groups of elements.
    ScaleGranularity {
        /// Whose.
        granularity: Granularity,
    },
    /// The other direction of the scale is stored.
    ScaleReciprocal,
    /// Scales are near, but not the same bits.
    ScaleLastBits,
    /// Only groups of zeros are wrong.
    ScaleOfZeros,
    /// Only groups with NaN or Inf are wrong.
    ScaleOfSpecials,
    /// Packed codes are in the wrong order.
    NibblesSwapped,
    /// The other of the two operations by which values meet scales.
    OtherOperation,
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
            Self::NotACode => f.write_str("codes with bits above the format's: no code of this format"),
            Self::NanLost => f.write_str("a number where NaN is expected: NaN is lost"),
            Self::InfLost => f.write_str("Inf becomes a number that is not the largest"),
            Self::SignLost => f.write_str("the sign of numbers is lost"),
            Self::SignFlipped => f.write_str("the sign of numbers is turned"),
            Self::OtherFormat { format } => write!(f, "codes are those of {format}"),
            Self::OtherMax { max } => write!(f, "another largest number: nothing is beyond {max}"),
            Self::UnderflowBeforeRounding => f.write_str("underflow tested before rounding: what would round to the smallest number becomes zero"),
            Self::StickyLost => f.write_str("sticky bits are lost: what is above a midpoint is rounded as if it were the midpoint"),
            Self::TiesUp => f.write_str("ties up: a midpoint goes toward +Inf, not to the even code"),
            Self::AwayFromZero => f.write_str("rounded away from zero, not to nearest"),
            Self::RoundedAs { rounding } => write!(f, "rounded as {rounding} does"),
            Self::FartherNeighbour => f.write_str("rounded to the farther of two neighbours, stochastically say"),
            Self::ExactMoved => f.write_str("numbers of the format are moved: they must stay"),
            Self::KeepsNegativeZero => f.write_str("-0 where the rule's engine gives +0"),
            Self::NeverAway => f.write_str("stochastic rounding that always goes toward zero"),
            Self::AlwaysAway => f.write_str("stochastic rounding that always goes away from zero"),
            Self::AlwaysNearest => f.write_str("stochastic rounding that always goes to the nearest"),
            Self::InvertedProbability => f.write_str("the probability is that of the other neighbour: the farther one is the likelier"),
            Self::EvenOdds => f.write_str("both neighbours are equally likely, wherever the number lies"),
            Self::FewRandomBits { bits } => write!(f, "too few random bits: shares are those of {bits}"),
            Self::SharedWords { distance } => write!(f, "draws of elements {distance} apart are not independent: they share random words"),
            Self::SameRuns => f.write_str("one run is as the other: the random words are the same"),
            Self::ScaleRule { rule } => write!(f, "the scales are those of {rule}"),
            Self::ScaleMax { max } => write!(f, "the scales are those for a largest number of {max}"),
            Self::AmaxOfPart { part } => write!(f, "the amax is that of a part of each group: {part}"),
            Self::AmaxSigned => f.write_str("the amax is the largest number, not the largest magnitude: abs is missing"),
            Self::ScaleOfNeighbour { offset } => write!(f, "the scale of another group: of the one {offset:+} from its own"),
            Self::ScaleGranularity { granularity } => write!(f, "the scales are those of granularity {granularity}"),
            Self::ScaleReciprocal => f.write_str("the reciprocal of the scale is stored in its place"),
            Self::ScaleLastBits => f.write_str("the scales are off by their last bits: they are computed by other operations"),
            Self::ScaleOfZeros => f.write_str("the scales of groups of zeros are not the rule's"),
            Self::ScaleOfSpecials => f.write_str("the scales of groups with NaN or Inf are not the rule's"),
            Self::NibblesSwapped => f.write_str("the codes of each packed byte are swapped: the first belongs in the low bits"),
            Self::OtherOperation => f.write_str("values are divided where the rule multiplies, or multiplied where it divides"),
        }
    }
}

const fn times(twice: bool) -> &'static str {
    if twice { "counted twice" } else { "left out" }
}
