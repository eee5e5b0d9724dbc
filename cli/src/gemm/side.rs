//! Operands as they are multiplied: cast and turned as a recipe says, or as they are.

use super::measure::{Exact, Sum};
use super::operand::{Operand, one};
use crate::array::Array;
use anyhow::{Context as _, ensure};
use quarter::Granularity;
use quarter::gemm::{Accumulation, GemmInput};
use quarter::mma::{Rule, Unit};
use quarter::recipe::{self, Pass, Prepared};
use quarter::tensor::{QuantizeOptions, Quantized};

/// How the tensors of a product lie in their files.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    axes: [[&'static str; 2]; 2],
    turned: [bool; 2],
}

impl Layout {
    /// Of a pass, or of a product as it is.
    #[must_use]
    pub fn of(pass: Option<Pass>) -> Self {
        let axes = match pass {
            None => [["M", "K"], ["N", "K"]],
            Some(Pass::Fprop) => [["T", "I"], ["O", "I"]],
            Some(Pass::Dgrad) => [["T", "O"], ["O", "I"]],
            Some(Pass::Wgrad) => [["T", "O"], ["T", "I"]],
        };
        let turned = pass.map_or([false; 2], |pass| pass.operands().map(|(_, turned)| turned));
        Self { axes, turned }
    }

    /// Whether each is transposed, so that K is last.
    #[must_use]
    pub const fn turned(&self) -> [bool; 2] {
        self.turned
    }

    /// M, N and K.
    ///
    /// # Errors
    /// Unless both have the same K.
    pub fn shape(
        &self,
        operands: [&Operand; 2],
        labels: [&str; 2],
    ) -> anyhow::Result<(usize, usize, usize)> {
        let at = |side: usize| {
            let ((rows, cols), [first, last]) = (operands[side].shape(), self.axes[side]);
            let text = format!("{} is [{first}, {last}] = [{rows}, {cols}]", labels[side]);
            if self.turned[side] { (cols, rows, first, text) } else { (rows, cols, last, text) }
        };
        let ((m, k, axis, a), (n, b_k, _, b)) = (at(0), at(1));
        ensure!(k == b_k, "{a}, and {b}: {axis} is {k} and {b_k}");
        Ok((m, n, k))
    }
}

/// An operand, rows along K.
pub struct Side<'a> {
    kept: Kept<'a>,
    /// Where its numbers come from, if it is no codes.
    source: Option<(&'a Array, bool)>,
    /// What it is, for a person.
    pub text: String,
}

enum Kept<'a> {
    Codes(&'a Quantized),
    Prepared(Prepared<'a>),
}

impl<'a> Side<'a> {
    /// The operand as `cast` says, turned; without a cast as it is.
    ///
    /// # Errors
    /// For codes of another cast, or that cannot be turned; those of casting.
    pub fn new(
        operand: &'a Operand,
        cast: Option<recipe::Operand>,
        turned: bool,
    ) -> anyhow::Result<Self> {
        let (kept, source, text) = match (operand, cast) {
            (Operand::Values(array), cast) => {
                let as_it_is = recipe::Operand::F32;
                let prepared = cast.unwrap_or(as_it_is).prepare(
                    array.matrix()?,
                    turned,
                    &QuantizeOptions::new(),
                )?;
                let text = match cast {
                    None | Some(recipe::Operand::F32) => array.text(),
                    Some(cast) => cast.to_string(),
                };
                (Kept::Prepared(prepared), Some((array, turned)), text)
            }
            (Operand::Quantized(codes, made), cast) => {
                let text = made.map_or_else(|| plain(codes), |made| made.to_string());
                match cast {
                    None => (Kept::Codes(codes), None, text),
                    Some(cast) => {
                        let made = made.map(|made| if turned { made.transposed() } else { made });
                        ensure!(
                            cast.cast().is_some_and(|cast| made == Some(*cast)),
                            "it holds codes of {text}, and the recipe wants {cast}{}: give values",
                            if turned { " of the transpose" } else { "" }
                        );
                        if turned {
                            let codes = codes.transposed().context("the recipe transposes it")?;
                            (Kept::Prepared(Prepared::Quantized(codes)), None, text)
                        } else {
                            (Kept::Codes(codes), None, text)
                        }
                    }
                }
            }
        };
        Ok(Self { kept, source, text })
    }

    /// It for a product.
    ///
    /// # Errors
    /// None: it was checked.
    pub fn input(&self) -> quarter::Result<GemmInput<'_>> {
        match &self.kept {
            Kept::Codes(codes) => Ok((*codes).into()),
            Kept::Prepared(prepared) => prepared.input(),
        }
    }

    fn codes(&self) -> Option<&Quantized> {
        match &self.kept {
            Kept::Codes(codes) => Some(codes),
            Kept::Prepared(Prepared::Quantized(codes)) => Some(codes),
            Kept::Prepared(Prepared::Values(_) | Prepared::Kept(_)) => None,
        }
    }

    /// It for f64.
    #[must_use]
    pub fn exact(&self) -> Option<Exact<'_>> {
        if let Some(codes) = self.codes() {
            return Some(Exact::Codes(codes));
        }
        let halves = matches!(self.kept, Kept::Prepared(Prepared::Kept(_)));
        self.source.map(|(array, turned)| Exact::Numbers { array, turned, halves })
    }

    /// Elements of K that share a scale, where not all do.
    fn block(&self) -> Option<usize> {
        match self.codes()?.granularity() {
            Granularity::Block { cols, .. } => Some(cols),
            Granularity::Tensor | Granularity::Row | Granularity::Col => None,
        }
    }

    /// How its product with another is summed.
    #[must_use]
    pub fn sum<'c>(&self, b: &Self, k: usize, sums: Accumulation, c: Option<&'c Array>) -> Sum<'c> {
        /// The library's interval of promotion, where f32 adds.
        const PROMOTE: u32 = 1024;
        let size = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
        let (unit, default) = (sums.unit, Some(PROMOTE).filter(|_| sums.unit.is_none()));
        let part = |(unit, n): (&Unit, u32)| {
            k.div_ceil(size(n)).checked_next_multiple_of(unit.step()).map(|part| part.max(1))
        };
        let parts = unit.zip(sums.split_k).and_then(part);
        let intervals = [sums.promote.or(default).map(size), parts, self.block(), b.block()];
        let (mut at, mut longest, mut segments) = (0, 0, 0);
        while at < k {
            let edges = intervals.iter().flatten().map(|n| (at / n + 1).saturating_mul(*n));
            let next = edges.min().unwrap_or(k).min(k);
            (at, longest, segments) = (next, longest.max(next - at), segments + 1);
        }
        if unit.is_some_and(|unit| unit.rule() == Rule::Exact) {
            longest = longest.min(1);
        }
        let scaled = self.codes().is_some() || b.codes().is_some();
        Sum { k, longest, segments, scaled, c, unit }
    }
}

/// Codes whose cast is not known.
fn plain(codes: &Quantized) -> String {
    let format = codes.format();
    if *codes.scales() == one() {
        format.to_string()
    } else {
        format!("{format}:{}", codes.granularity())
    }
}
