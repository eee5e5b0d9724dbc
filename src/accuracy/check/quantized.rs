//! Dequantized values held to their source, with what wrong scales would do.

use super::evidence::{explains, is_found};
use super::{Element, Report, Symptom, Violation, check_matrix};
use crate::accuracy::bounds::Quantization;
use crate::slice::Values;
use std::boxed::Box;

impl Quantization<'_> {
    /// Holds values that codes were dequantized to, row after row, to the bounds of their source.
    ///
    /// # Errors
    /// A [`Violation`] that also tries the scales: applied twice, not at all, or by their reciprocals,
    /// on the way in or out, and read with rows and columns exchanged.
    pub fn check<'v>(&self, values: impl Into<Values<'v>>) -> Result<Report, Box<Violation>> {
        let cols = self.shape().1;
        let bound = |row, col| self.value(row, col);
        let mut violation = match check_matrix(values, &self.expected(), cols, bound) {
            Err(violation) if violation.checked() > 0 => violation,
            done => return done,
        };
        let operand = "the tensor";
        let at = |e: &Element| self.scaled(e.index / cols.max(1), e.index % cols.max(1)).scale_inv;
        let turned = |e: &Element| {
            let (row, col) = (e.index / cols.max(1), e.index % cols.max(1));
            self.turned_scale_inv(row, col)
        };
        // A scale of 1 is not seen.
        let seen = |e: &Element, factor: f64| {
            (factor.ln().abs() > 0.1) && is_found(e, e.expected * factor)
        };
        let found = if explains(violation.elements(), |e| seen(e, turned(e) / at(e))) {
            Some(Symptom::SwappedAxis { operand })
        } else if explains(violation.elements(), |e| seen(e, at(e)) || seen(e, 1.0 / at(e).powi(2)))
        {
            // Twice on the way out; or never, and divided by once more on the way in.
            let twice = explains(violation.elements(), |e| seen(e, at(e)));
            Some(if twice {
                Symptom::ScaleTwice { operand }
            } else {
                Symptom::ScaleInverse { operand }
            })
        } else if explains(violation.elements(), |e| seen(e, 1.0 / at(e))) {
            Some(Symptom::ScaleMissing { operand })
        } else {
            None
        };
        if let Some(found) = found {
            violation.symptoms = std::vec![found];
        }
        Err(violation)
    }
}
