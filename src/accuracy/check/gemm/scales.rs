//! Scales that are not those of the codes.

use super::{GemmBound, Trials};
use crate::accuracy::bounds::Operand;
use crate::accuracy::check::Symptom;

type Change = fn(&Operand<'_>, usize, usize) -> f64;
type Name = fn(&'static str) -> Symptom;

/// What a kernel may take for the scale of an element.
const CHANGES: [(Name, Change); 12] = [
    (|operand| Symptom::SwappedAxis { operand }, |of, row, k| of.turned_scale(row, k)),
    (|operand| Symptom::ScaleTwice { operand }, |of, row, k| of.scale(row, k).powi(2)),
    (|operand| Symptom::ScaleInverse { operand }, |of, row, k| 1.0 / of.scale(row, k)),
    (|operand| Symptom::ScaleMissing { operand }, |_, _, _| 1.0),
    (
        |operand| Symptom::Scales { operand, wrong: "of the first block of K, for all of it" },
        |of, row, _| of.scale(row, 0),
    ),
    (
        |operand| Symptom::Scales { operand, wrong: "of the first row, for all rows" },
        |of, _, k| of.scale(0, k),
    ),
    (
        |operand| Symptom::Scales { operand, wrong: "of the next block of K" },
        |of, row, k| of.scale(row, (k + of.block().unwrap_or(0)).min(of.k - 1)),
    ),
    (
        |operand| Symptom::Scales { operand, wrong: "of the block of K before" },
        |of, row, k| of.scale(row, k.saturating_sub(of.block().unwrap_or(0))),
    ),
    (
        |operand| Symptom::Scales { operand, wrong: "of the next row" },
        |of, row, k| of.scale((row + 1).min(of.rows - 1), k),
    ),
    (
        |operand| Symptom::Scales { operand, wrong: "of the row before" },
        |of, row, k| of.scale(row.saturating_sub(1), k),
    ),
    (
        |operand| Symptom::Scales { operand, wrong: "cut to powers of two" },
        |of, row, k| of.scale(row, k).log2().floor().exp2(),
    ),
    (
        |operand| Symptom::Scales { operand, wrong: "rounded to bf16" },
        |of, row, k| crate::format::bf16_from_f64(of.scale(row, k)).into(),
    ),
];

/// Trials of both operands, and three of the two together.
const TRIALS: usize = 2 * CHANGES.len() + 4;

impl GemmBound<'_> {
    pub(super) fn scales_of(&self, trials: &mut Trials<'_>) {
        if self.depth() == 0 || !(self.a.is_quantized() || self.b.is_quantized()) {
            return;
        }
        let own: Change = |of, row, k| of.scale(row, k);
        for (symptom, change) in CHANGES {
            for (side, operand) in [(&self.a, "a"), (&self.b, "b")] {
                let changes = if operand == "a" { [change, own] } else { [own, change] };
                if side.is_quantized() {
                    self.try_scales(trials, symptom(operand), changes, [true; 2]);
                }
            }
        }
        let none: Change = |_, _, _| 1.0;
        if self.a.is_quantized() && self.b.is_quantized() {
            let symptom = Symptom::ScaleMissing { operand: "a and of b" };
            self.try_scales(trials, symptom, [none; 2], [true; 2]);
            let wrong = "exchanged with those of the other";
            trials.one(TRIALS, Symptom::Scales { operand: "a and of b", wrong }, |e| {
                let (row, col) = self.place(e);
                self.sum_of((row, col), |k| {
                    let of =
                        |operand: &Operand<'_>, row: usize| operand.scale(row % operand.rows, k);
                    of(&self.b, row) * of(&self.a, col)
                })
            });
        }
        for (side, operand) in [(&self.a, "a"), (&self.b, "b")] {
            if side.global() != 1.0 {
                let wrong = "without the tensor's own factor";
                let keeps = [operand != "a", operand != "b"];
                self.try_scales(trials, Symptom::Scales { operand, wrong }, [own; 2], keeps);
            }
        }
    }

    fn try_scales(
        &self,
        trials: &mut Trials<'_>,
        symptom: Symptom,
        changes: [Change; 2],
        globals: [bool; 2],
    ) {
        let (a, b) = (&self.a, &self.b);
        let global = |of: &Operand<'_>, keeps: bool| if keeps { of.global() } else { 1.0 };
        let globals = global(a, globals[0]) * global(b, globals[1]);
        trials.one(TRIALS, symptom, |e| {
            let (row, col) = self.place(e);
            self.sum_of((row, col), |k| changes[0](a, row, k) * changes[1](b, col, k) * globals)
        });
    }

    /// What an output is if its codes have these scales.
    fn sum_of(&self, (row, col): (usize, usize), scale: impl Fn(usize) -> f64) -> f64 {
        let (x, y) = (self.a.row(&self.a.codes, row), self.b.row(&self.b.codes, col));
        let term = |k: usize| f64::from(x[k]) * f64::from(y[k]) * scale(k);
        self.steps(row, col).of((0..self.depth()).map(term).sum())
    }
}
