//! The record that is a hardware unit.

pub use crate::arch::units::{Fused, Output, Rule};
use crate::error::{Error, Name};
use crate::format::{FormatSpec, Specials, table};
use core::fmt;
use core::hash::{Hash, Hasher};
use core::str::FromStr;

/// A matrix unit of a chip: what it multiplies, and how it adds.
///
/// ```
/// use quarter::mma::{H100_WGMMA_FP8, Unit};
/// assert_eq!("h100-wgmma-fp8".parse::<&Unit>()?, &H100_WGMMA_FP8);
/// // 1 + 31 · 2⁻¹⁴: each small product is cut off by itself.
/// let (e4m3, one, small) = (quarter::FormatId::F8E4M3.spec(), 0x38, 0x04);
/// let codes = |first| { let mut codes = [small; 32]; codes[0] = first; codes };
/// let d = H100_WGMMA_FP8.dot((e4m3, &codes(one)), (e4m3, &codes(one)), 0)?;
/// assert_eq!(f32::from_bits(d), 1.0);
/// # Ok::<(), quarter::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Unit {
    pub(super) name: &'static str,
    pub(super) hardware: &'static str,
    pub(super) inputs: Inputs,
    pub(super) output: Output,
    pub(super) rule: Rule,
    pub(super) evidence: Evidence,
    pub(super) source: &'static str,
}

/// How well a unit's rule is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Evidence {
    /// Outputs of the hardware were replayed against it.
    Measured,
    /// Its vendor's model or pseudocode says so.
    Vendor,
    /// A published model says so; nothing measured was at hand.
    Peer,
    /// It is no hardware, but a definition.
    Definition,
}

/// NVIDIA's TF32: an f32 without its lower 13 bits. They are cut off, also of a NaN, which may become
/// Inf.
pub const TF32: FormatSpec = match FormatSpec::custom("tf32", 8, 10, 127, Specials::Ieee) {
    Ok(spec) => spec,
    Err(_) => panic!("a row of the table"),
};

/// The formats that a unit multiplies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Inputs {
    pub specs: &'static [&'static FormatSpec],
    /// Their names, for errors.
    pub names: &'static str,
}

pub(super) const OCP: Inputs =
    Inputs { specs: &[&table::F8E4M3, &table::F8E5M2], names: "e4m3, e5m2" };
pub(super) const FNUZ: Inputs =
    Inputs { specs: &[&table::F8E4M3FNUZ, &table::F8E5M2FNUZ], names: "e4m3fnuz, e5m2fnuz" };
pub(super) const F8F6F4: Inputs = Inputs {
    specs: &[&table::F8E4M3, &table::F8E5M2, &table::F6E2M3, &table::F6E3M2, &table::F4E2M1],
    names: "e4m3, e5m2, e2m3, e3m2, e2m1",
};
pub(super) const HALF: Inputs = Inputs { specs: &[&table::F16], names: "f16" };
pub(super) const BRAIN: Inputs = Inputs { specs: &[&table::BF16], names: "bf16" };
pub(super) const SIXTEEN: Inputs =
    Inputs { specs: &[&table::F16, &table::BF16], names: "f16, bf16" };
pub(super) const TF32_ONLY: Inputs = Inputs { specs: &[&TF32], names: "tf32" };
/// Gaudi 3: 16 bits and 8 bits.
pub(super) const GAUDI: Inputs =
    Inputs { specs: &[&table::F8E4M3, &table::F8E5M2, &table::BF16], names: "e4m3, e5m2, bf16" };
/// Whatever products of two f32 are.
pub(super) const ANY: Inputs = Inputs {
    specs: &[
        &table::F8E4M3,
        &table::F8E5M2,
        &table::F8E4M3FNUZ,
        &table::F8E5M2FNUZ,
        &table::F6E2M3,
        &table::F6E3M2,
        &table::F4E2M1,
        &table::F16,
        &table::BF16,
        &table::F32,
    ],
    names: "e4m3, e5m2, e4m3fnuz, e5m2fnuz, e2m3, e3m2, e2m1, f16, bf16, f32",
};

impl Unit {
    /// Its name: `h100-wgmma-fp8`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The chips and instructions it stands for.
    #[must_use]
    pub const fn hardware(&self) -> &'static str {
        self.hardware
    }

    /// The formats of its operands, which may differ from each other where all have 8 bits or fewer.
    #[must_use]
    pub const fn inputs(&self) -> &'static [&'static FormatSpec] {
        self.inputs.specs
    }

    /// What its sums are.
    #[must_use]
    pub const fn output(&self) -> Output {
        self.output
    }

    /// How it adds.
    #[must_use]
    pub const fn rule(&self) -> Rule {
        self.rule
    }

    /// How well that is known.
    #[must_use]
    pub const fn evidence(&self) -> Evidence {
        self.evidence
    }

    /// Where it is from. What is open stands at the unit's constant, and in the [module](super).
    #[must_use]
    pub const fn source(&self) -> &'static str {
        self.source
    }

    /// The elements of K that it takes at a time.
    #[must_use]
    pub const fn step(&self) -> usize {
        match self.rule {
            Rule::Fused(Fused { late: Some(late), .. }) => late as usize,
            Rule::Fused(Fused { products, .. }) | Rule::Cdna3 { products, .. } => products as usize,
            Rule::FmaPairs | Rule::BfDot { .. } => 2,
            Rule::Amx => 32,
            Rule::Exact => 1,
        }
    }

    /// Whether the E8M0 scales of blocks of 32 are among its inputs.
    #[must_use]
    pub const fn has_block_scales(&self) -> bool {
        matches!(self.rule, Rule::Fused(Fused { scaled: true, .. }))
    }

    /// The format that it takes f32 for: cut off to TF32 where it multiplies that.
    #[must_use]
    pub fn format_of_f32(&self) -> &'static FormatSpec {
        if self.takes(&TF32, &TF32) { &TF32 } else { &table::F32 }
    }

    /// Whether it multiplies these formats.
    #[must_use]
    pub fn takes(&self, a: &FormatSpec, b: &FormatSpec) -> bool {
        let has = |spec| self.inputs.specs.contains(&spec);
        has(a) && has(b) && (a == b || (a.bits() <= 8 && b.bits() <= 8))
    }

    /// # Errors
    /// [`Error::Unit`] unless it multiplies these formats; [`Error::Cast`] for two that it does, but
    /// not with each other.
    pub(crate) fn check(&self, a: &FormatSpec, b: &FormatSpec) -> Result<(), Error> {
        if self.takes(a, b) {
            return Ok(());
        }
        let has = |spec| self.inputs.specs.contains(&spec);
        if has(a) && has(b) {
            let why = "units multiply formats of more than 8 bits with their own kind only: give \
                       both operands the same format";
            return Err(Error::Cast { why });
        }
        let got = if has(a) { b } else { a }.name();
        Err(Error::Unit { unit: self.name, expected: self.inputs.names, got })
    }
}

// Names are unique, and nobody else can make one.
impl PartialEq for Unit {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Unit {}

impl Hash for Unit {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name)
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Measured => "measured",
            Self::Vendor => "vendor",
            Self::Peer => "peer model",
            Self::Definition => "definition",
        })
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::F32 => "f32",
            Self::E8M13 => "e8m13",
            Self::F16 => "f16",
        })
    }
}

impl FromStr for &'static Unit {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let found = super::UNITS.iter().find(|unit| unit.name == text);
        found.copied().ok_or(Error::Name { what: super::models::WHAT, got: Name::new(text) })
    }
}
