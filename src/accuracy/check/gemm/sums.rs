//! Sums that are kept as they should not be.

use super::{GemmBound, LOOK, stored};
use crate::accuracy::bounds::Sums;
use crate::accuracy::check::patterns::toward_zero;
use crate::accuracy::check::{Element, Symptom, Violation};
use crate::gemm::{Accumulation, GemmOptions, gemm_nt};
use crate::mma::UNITS;
use crate::tensor::{MatMut, MatRef};
use std::vec::Vec;

/// Elements of K after which sums are promoted, in some kernel.
const PROMOTIONS: [Option<u32>; 7] =
    [None, Some(128), Some(64), Some(32), Some(256), Some(512), Some(1024)];

impl GemmBound<'_> {
    /// The unit and promotion whose bits these are, f32 included, if they are not those asked for.
    pub(super) fn adds_as(&self, look: &[Element]) -> Option<Symptom> {
        let asked = match self.sums() {
            Sums::Defined(how) => how,
            Sums::AnyOrder { .. } => Accumulation::F32,
        };
        let mut units: Vec<_> = UNITS.iter().map(|unit| Some(*unit)).collect();
        // What is asked for first, without its promotion.
        units.sort_by_key(|unit| *unit != asked.unit);
        units.push(None);
        let all = units.iter().flat_map(|unit| PROMOTIONS.map(|promote| (*unit, promote)));
        let all: Vec<_> = all.filter(|(unit, p)| unit.is_some() || p.is_none()).collect();
        let trials = all.len() as f64;
        all.into_iter().find_map(|(unit, promote)| {
            let sums = Accumulation { unit, promote, ..asked };
            if sums == asked {
                return None;
            }
            let (mut others, mut bits) = (0, 0.0);
            for element in look {
                let by = self.by(element, sums)?;
                if by == element.actual || by.is_nan() && element.actual.is_nan() {
                    bits += self.worth(element);
                } else {
                    others += 1;
                }
                if 10 * others > look.len() {
                    return None;
                }
            }
            let convinces = bits >= 8.0 + trials.log2();
            convinces.then_some(Symptom::AddsAs { unit: unit.map_or("f32", |u| u.name()), promote })
        })
    }

    /// How unlikely it is that two outputs are the same, in bits: those that the error is above the
    /// last place.
    fn worth(&self, element: &Element) -> f64 {
        let spec = self.stored().map_or(crate::FormatId::F32.spec(), |(format, _)| format);
        if element.actual.is_finite() != element.expected.is_finite() {
            return 4.0;
        }
        let size = element.actual.abs().max(spec.min_normal());
        let place = size * spec.epsilon();
        let bits = (element.error().abs() / place).log2();
        if bits.is_nan() { 0.0 } else { bits.clamp(0.0, 20.0) }
    }

    /// An output by other sums; none where they are not defined for these operands.
    fn by(&self, element: &Element, sums: Accumulation) -> Option<f64> {
        let (row, col) = self.place(element);
        let steps = self.steps(row, col);
        let (a, b) = (self.a.line(row)?, self.b.line(col)?);
        let (c, bias) = ([steps.c as f32], [steps.bias as f32]);
        let mut options = GemmOptions::new().sums(sums).threads(1).activation(steps.activation);
        if steps.alpha != 1.0 {
            options = options.alpha(steps.alpha as f32);
        }
        if self.has_c() {
            options = options.c(steps.beta as f32, MatRef::new(&c, 1, 1).ok()?);
        }
        if self.has_bias() {
            options = options.bias(&bias);
        }
        let mut d = [0.0_f32];
        let out = MatMut::new(&mut d, 1, 1).ok()?;
        gemm_nt(a.input()?, b.input()?, out, &options).ok()?;
        // A scale of 1 changes nothing.
        Some(stored(self.stored(), f64::from(d[0] * steps.scale as f32)))
    }

    /// Sums that are cut off to p bits at each step lose 2^(1−p) of each partial sum at most, and
    /// about 0.36 of that on average: where all lose alike, that many bits.
    pub(super) fn narrow(&self, violation: &Violation) -> Option<Symptom> {
        if !toward_zero(violation.elements()) {
            return None;
        }
        let bits = |e: &Element| {
            let (row, col) = self.place(e);
            let (x, y) = (self.a.row(&self.a.exact, row), self.b.row(&self.b.exact, col));
            let mut sum = 0.0_f64;
            let sizes = x.iter().zip(y).map(|(x, y)| {
                sum += x * y;
                sum.abs()
            });
            let steps = self.steps(row, col);
            let factor = (steps.alpha * steps.scale).abs();
            (0.72 * factor * sizes.sum::<f64>() / e.error().abs()).log2()
        };
        let mut all: Vec<f64> = violation.elements().iter().take(4 * LOOK).map(bits).collect();
        all.sort_by(f64::total_cmp);
        let quarter = all.len() / 4;
        let alike = all[all.len() - 1 - quarter] - all[quarter] < 1.0;
        let bits = all[all.len() / 2].round() as i32;
        (alike && (4..=22).contains(&bits)).then_some(Symptom::NarrowAccumulator { bits })
    }
}
