//! How one matrix product is computed: its operands and its sums.

use crate::error::{Error, Name};
use crate::format::FormatId;
use crate::gemm::{Accumulation, BlockSum, Side, Sums};
use crate::mma::{Output, Unit};
use crate::scale::{Granularity, ScaleFormat};
use crate::tensor::Cast;
use core::fmt;
use core::str::FromStr;

/// What a matrix product reads: the values as they are, rounded to bf16, or codes and scales.
///
/// ```
/// use quarter::recipe::Operand;
/// assert_eq!("bf16".parse(), Ok(Operand::Bf16));
/// assert!(matches!("e4m3:1x128:te-block".parse(), Ok(Operand::Cast(_))));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    /// f32, as it is.
    F32,
    /// Rounded once to bf16.
    Bf16,
    /// Quantized; the granularity is that of \[M or N, K\], with K last.
    Cast(Cast),
}

impl Operand {
    /// Its cast, unless it is of high precision.
    #[must_use]
    pub const fn cast(&self) -> Option<&Cast> {
        match self {
            Self::F32 | Self::Bf16 => None,
            Self::Cast(cast) => Some(cast),
        }
    }

    /// The same operand of the transposed tensor.
    #[must_use]
    pub const fn transposed(self) -> Self {
        match self {
            Self::F32 | Self::Bf16 => self,
            Self::Cast(cast) => Self::Cast(cast.transposed()),
        }
    }

    /// Its cast if that has a scale for each block.
    fn blocked(&self) -> Option<&Cast> {
        self.cast().filter(|cast| matches!(cast.granularity, Granularity::Block { .. }))
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::F32 => f.pad("f32"),
            Self::Bf16 => f.pad("bf16"),
            Self::Cast(cast) => cast.fmt(f),
        }
    }
}

impl FromStr for Operand {
    type Err = Error;

    /// `f32`, `bf16`, or a [`Cast`].
    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            _ if !text.contains(':') => {
                let what =
                    "operand (f32, bf16, or FORMAT:GRANULARITY:RULE, as e4m3:tensor:torchao)";
                Err(Error::Name { what, got: Name::new(text) })
            }
            _ => text.parse().map(Self::Cast),
        }
    }
}

/// One product D\[M,N\] = Σₖ a\[M,K\] · b\[N,K\].
///
/// Prints and parses as `A*B[+promote=N][+sum=BLOCKSUM][+unit=NAME][+split-k=N][+fast]`. A unit that
/// is named is promoted as the text says; [`on`](Self::on) chooses an interval.
///
/// ```
/// use quarter::recipe::{BlockSum, GemmRecipe};
/// let gemm: GemmRecipe = "e4m3:1x128:deepseek*e4m3:128x128:deepseek+promote=128".parse()?;
/// assert_eq!(gemm.sums.promote, Some(128));
/// assert_eq!(gemm.block_sum()?, Some(BlockSum::DeepSeek));
/// # Ok::<(), quarter::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GemmRecipe {
    /// The left operand, \[M, K\].
    pub a: Operand,
    /// The right operand, \[N, K\].
    pub b: Operand,
    /// How sums are kept.
    pub sums: Accumulation,
}

impl GemmRecipe {
    /// Sums in f32.
    #[must_use]
    pub const fn new(a: Operand, b: Operand) -> Self {
        Self { a, b, sums: Accumulation::F32 }
    }

    /// With fast accumulation.
    #[must_use]
    pub const fn fast(self) -> Self {
        Self { sums: Accumulation { fast: true, ..self.sums }, ..self }
    }

    /// Through a matrix unit, as libraries use it: with fast accumulation its chains run over all of
    /// K; without, a unit that keeps [13 bits](crate::mma::Output::E8M13) is promoted every 128
    /// elements, unless another interval is given. That is four instructions of `wgmma`, as CUTLASS
    /// and DeepGEMM do it; the interval of cuBLAS is not published.
    ///
    /// # Errors
    /// [`Error::Unit`] or [`Error::Cast`] for operands that it does not multiply, [`Error::Recipe`]
    /// for scales or an interval that it cannot have, and a product that has a unit.
    pub fn on(self, unit: &'static Unit) -> Result<Self, Error> {
        if self.sums.unit.is_some() {
            let why = "the product has a unit already: put the recipe without one on it";
            return Err(Error::Recipe { field: "unit", why });
        }
        let mut sums = Accumulation { unit: Some(unit), ..self.sums };
        if !sums.fast && unit.output() == Output::E8M13 {
            sums.promote = sums.promote.or(Some(128));
        }
        let gemm = Self { sums, ..self };
        gemm.check_unit()?;
        Ok(gemm)
    }

    /// # Errors
    /// As [`on`](Self::on).
    pub(super) fn check_unit(&self) -> Result<(), Error> {
        let wrong = |why| Err(Error::Recipe { field: "unit", why });
        if self.sums.split_k == Some(0) {
            return wrong("split-k=0: give the parts of K");
        }
        let Some(unit) = self.sums.unit else {
            return match self.sums.split_k {
                Some(_) => wrong("split-k is of a unit: add +unit=NAME, or drop it"),
                None => Ok(()),
            };
        };
        let spec = |operand: &Operand| match operand {
            Operand::F32 => unit.format_of_f32(),
            Operand::Bf16 => FormatId::Bf16.spec(),
            Operand::Cast(cast) => cast.format.spec(),
        };
        unit.check(spec(&self.a), spec(&self.b))?;
        let mx = |operand: &Operand| {
            operand.cast().is_some_and(|cast| {
                matches!(cast.granularity, Granularity::Block { cols: 32, .. })
                    && cast.rule.scale_format() == ScaleFormat::E8M0
            })
        };
        if !unit.has_block_scales() {
            return Ok(());
        }
        if !(mx(&self.a) && mx(&self.b)) {
            return wrong(
                "it multiplies blocks of 32 with E8M0 scales: cast both by 1x32 and te-mx",
            );
        }
        match self.sums.promote {
            Some(n) if n % 32 != 0 => {
                wrong("it multiplies blocks of 32: promote at multiples of 32")
            }
            _ => Ok(()),
        }
    }

    /// The block sum that is given, or that of the operands' engine; none without f32 block
    /// scales, given or not.
    ///
    /// # Errors
    /// [`Error::Recipe`] where two engines' casts meet, scales of blocks in two forms, or blocks of
    /// a rule whose engine has none.
    pub fn block_sum(&self) -> Result<Option<BlockSum>, Error> {
        let side = |operand: &Operand| Side {
            form: operand.cast().map(|cast| cast.rule.scale_format()),
            blocked: operand.blocked().is_some(),
            implied: operand.blocked().and_then(|cast| BlockSum::of(cast.rule)),
        };
        match Sums::of([side(&self.a), side(&self.b)], self.sums.block_sum)? {
            Sums::Blocks(sum) => Ok(Some(sum)),
            Sums::After | Sums::Powers | Sums::Products => Ok(None),
        }
    }
}

impl fmt::Display for GemmRecipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}*{}", self.a, self.b)?;
        if let Some(interval) = self.sums.promote {
            write!(f, "+promote={interval}")?;
        }
        if let Some(rule) = self.sums.block_sum {
            write!(f, "+sum={rule}")?;
        }
        if let Some(unit) = self.sums.unit {
            write!(f, "+unit={unit}")?;
        }
        if let Some(parts) = self.sums.split_k {
            write!(f, "+split-k={parts}")?;
        }
        if self.sums.fast { f.write_str("+fast") } else { Ok(()) }
    }
}

impl FromStr for GemmRecipe {
    type Err = Error;

    /// `A*B`, then `+promote=N`, `+sum=deepseek`, `+unit=ada-fp8`, `+split-k=2`, `+fast` as needed.
    fn from_str(text: &str) -> Result<Self, Error> {
        let what = "product (A*B[+promote=N][+sum=deepseek][+unit=NAME][+split-k=N][+fast], as \
                    bf16*bf16)";
        let unknown = Error::Name { what, got: Name::new(text) };
        let mut parts = text.split('+');
        let (a, b) = parts.next().and_then(|both| both.split_once('*')).ok_or(unknown)?;
        let mut gemm = Self::new(a.parse()?, b.parse()?);
        let sums = &mut gemm.sums;
        for part in parts {
            match part.split_once('=') {
                None if part == "fast" && !sums.fast => sums.fast = true,
                Some(("promote", n)) if sums.promote.is_none() => {
                    sums.promote = Some(n.parse().map_err(|_| unknown)?);
                }
                Some(("sum", rule)) if sums.block_sum.is_none() => {
                    sums.block_sum = Some(rule.parse()?);
                }
                Some(("unit", name)) if sums.unit.is_none() => sums.unit = Some(name.parse()?),
                Some(("split-k", n)) if sums.split_k.is_none() => {
                    sums.split_k = Some(n.parse().map_err(|_| unknown)?);
                }
                _ => return Err(unknown),
            }
        }
        Ok(gemm)
    }
}
