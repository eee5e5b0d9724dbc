//! How a tensor is quantized, as one line of text: `e4m3:1x128:te-block`.

use crate::error::{Error, Name};
use crate::format::{FormatId, NanPolicy, Overflow, Policy, Rounding};
use crate::scale::{Granularity, Rule, ScaleFormat};
use core::fmt;
use core::str::FromStr;

/// Format, granularity, scale rule and rounding: everything on which codes and scales depend
/// beside the values.
///
/// Codes saturate. NaN gives the format's NaN, or in formats without (FP6, FP4) the code of
/// [`Rule::nan_value`].
///
/// ```
/// use quarter::tensor::Cast;
/// use quarter::{FormatId, Granularity, Rounding, Rule};
/// let cast: Cast = "e4m3:1x128:te-block".parse()?;
/// assert_eq!(cast, Cast::new(FormatId::F8E4M3, Granularity::BLOCK_1X128, Rule::TeBlock));
/// let cast = cast.rounding(Rounding::Stochastic { bits: 32 });
/// assert_eq!(cast.to_string(), "e4m3:1x128:te-block:stochastic");
/// assert_eq!(cast.to_string().parse(), Ok(cast));
/// # Ok::<(), quarter::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cast {
    /// The format of the codes: a number format of up to 8 bits.
    pub format: FormatId,
    /// Which elements share a scale.
    pub granularity: Granularity,
    /// How a scale follows from their amax.
    pub rule: Rule,
    /// How scaled values are rounded.
    pub rounding: Rounding,
}

impl Cast {
    /// To nearest even.
    #[must_use]
    pub const fn new(format: FormatId, granularity: Granularity, rule: Rule) -> Self {
        Self { format, granularity, rule, rounding: Rounding::NearestEven }
    }

    /// With another rounding.
    #[must_use]
    pub const fn rounding(self, rounding: Rounding) -> Self {
        Self { rounding, ..self }
    }

    /// The same cast of the transposed tensor.
    #[must_use]
    pub const fn transposed(self) -> Self {
        Self { granularity: self.granularity.transposed(), ..self }
    }

    /// The policy of its conversions.
    pub(crate) const fn policy(self) -> Policy {
        Policy { rounding: self.rounding, overflow: Overflow::Saturate, nan: NanPolicy::Zero }
    }

    /// # Errors
    /// [`Error::Cast`] for a format that is no number format of up to 8 bits, and for `nvfp4` with
    /// another format than E2M1 or without blocks; [`Error::Range`] for a block without rows or
    /// columns, or for too few random bits.
    pub fn check(&self) -> Result<(), Error> {
        let wrong = |why| Err(Error::Cast { why });
        let spec = self.format.spec();
        self.granularity.check()?;
        self.rounding.check()?;
        if spec.bits() > 8 || !spec.has_zero() {
            return wrong("a cast needs a number format of up to 8 bits, such as e4m3");
        }
        if self.rule.scale_format() == ScaleFormat::E4M3 {
            if self.format != FormatId::F4E2M1 {
                return wrong("nvfp4 is for e2m1 alone");
            }
            if !matches!(self.granularity, Granularity::Block { .. }) {
                return wrong("nvfp4 needs blocks: 1x16, or 16x16 for weights");
            }
        }
        Ok(())
    }
}

impl fmt::Display for Cast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.format, self.granularity, self.rule)?;
        if self.rounding != Rounding::NearestEven {
            write!(f, ":{}", self.rounding)?;
        }
        Ok(())
    }
}

impl FromStr for Cast {
    type Err = Error;

    /// `FORMAT:GRANULARITY:RULE`, and `:ROUNDING` unless to nearest even.
    fn from_str(text: &str) -> Result<Self, Error> {
        let mut parts = text.splitn(4, ':');
        let (Some(format), Some(granularity), Some(rule)) =
            (parts.next(), parts.next(), parts.next())
        else {
            let what = "cast (FORMAT:GRANULARITY:RULE, as e4m3:1x128:te-block)";
            return Err(Error::Name { what, got: Name::new(text) });
        };
        let cast = Self::new(format.parse()?, granularity.parse()?, rule.parse()?);
        let cast = match parts.next() {
            Some(rounding) => cast.rounding(rounding.parse()?),
            None => cast,
        };
        cast.check()?;
        Ok(cast)
    }
}
