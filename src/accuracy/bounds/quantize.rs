//! Scaled quantization (A3) and blocks (A9).

use super::rounding::{ETA32, U32, pow2, rounding};
use super::{Bound, Term};
use crate::error::Error;
use crate::format::{FormatSpec, Policy, Rounding};
use crate::scale::{Operation, Rule};
use crate::slice::Values;
use crate::tensor::{MatRef, QuantizedView, Scales};

/// One f32 scale both ways, and the format between: x̂ = fl(code · scale_inv) with
/// code = Q(fl(x · scale)), or Q(fl(x / scale_inv)).
///
/// A3: with y = |x · scale|, and σ = 2^−24 y + 2^−150 for its rounding to f32,
///
/// |code · scale_inv − x| ≤ (A1(y + σ) + σ) · scale_inv + |x| · |scale · scale_inv − 1|
///
/// with A1 the bound of [one rounding](rounding()), saturating. The last term is of scales that
/// are rounded reciprocals, and 0 where values are divided. [`value`](Self::value) is rounded once
/// more. All from the triangle inequality; the scales are those that were used, so nothing is
/// assumed of them.
///
/// ```
/// use quarter::FormatId;
/// use quarter::accuracy::bounds::{Scaled, Term};
/// let scaled = Scaled::new(FormatId::F8E4M3.spec(), 64.0);
/// let bound = scaled.value(10.0); // 640 saturates: 448 / 64 = 7 stands for it
/// assert_eq!(bound.dominant(), Term::Clipping);
/// assert!(bound.total() >= 3.0 && bound.total() < 3.00001);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Scaled<'a> {
    /// The codes' format.
    pub format: &'a FormatSpec,
    /// How scaled values are rounded.
    pub rounding: Rounding,
    /// How values meet the scale.
    pub operation: Operation,
    /// What values are multiplied by.
    pub scale: f64,
    /// What codes are multiplied by.
    pub scale_inv: f64,
}

impl<'a> Scaled<'a> {
    /// Multiplied by a positive f32 scale and by fl(1/scale), to nearest even.
    #[must_use]
    pub fn new(format: &'a FormatSpec, scale: f32) -> Self {
        let [scale, scale_inv] = [scale, 1.0 / scale].map(f64::from);
        let (rounding, operation) = (Rounding::NearestEven, Operation::Multiply);
        Self { format, rounding, operation, scale, scale_inv }
    }

    /// |code · scale_inv − x|, as matrix products meet it.
    #[must_use]
    pub fn code(&self, x: f64) -> Bound {
        let (size, scale, inv) = (x.abs(), self.scale.abs(), self.scale_inv.abs());
        if scale == f64::INFINITY && x == 0.0 {
            return Bound::NONE; // NaN
        }
        if inv == 0.0 {
            // Whatever the code, 0 stands for x.
            return Bound::of(Term::Underflow, size);
        }
        let (exact, off) = match self.operation {
            Operation::Multiply => (size * scale, (scale * inv - 1.0).abs()),
            Operation::Divide => (size / inv, 0.0),
        };
        if !exact.is_finite() || !inv.is_finite() {
            return Bound::NONE;
        }
        // Just below a half, where a rule says so.
        let (max, sigma) = (self.format.max(), exact * (U32 + pow2(-48)) + ETA32);
        let policy = Policy::SATURATE.rounding(self.rounding);
        let sign = if (x < 0.0) == (self.scale_inv < 0.0) { 1.0 } else { -1.0 };
        let clipped = (exact + sigma - max).max(0.0);
        let rounded = if exact - sigma >= max {
            0.0
        } else {
            rounding(self.format, policy, sign * (exact + sigma).min(max.next_down())).total()
        };
        Bound::of(Term::Rounding, rounded * inv)
            .with(Term::Clipping, clipped * inv)
            .with(Term::Scaling, sigma * inv + size * off)
    }

    /// |fl(code · scale_inv) − x|: dequantized to f32.
    #[must_use]
    pub fn value(&self, x: f64) -> Bound {
        let bound = self.code(x);
        stored(bound, (x.abs() + bound.total()).min(self.format.max() * self.scale_inv.abs()), 1.0)
    }
}

/// With so many roundings to f32 of what is this large at most; without a bound where that may become
/// Inf.
fn stored(bound: Bound, largest: f64, times: f64) -> Bound {
    let off = times * (1.0 + U32) * (largest * U32 + ETA32);
    let term = if largest + off >= f64::from(f32::MAX) { Term::Overflow } else { Term::Output };
    bound.with(term, if term == Term::Overflow { f64::INFINITY } else { off })
}

/// A9: the largest part of its group's amax by which a rule lets a value saturate.
///
/// Where the exponent of amax alone decides, amax is below 2^(emax+1) scales and M scales are kept:
/// 1 − M/2^(emax+1), which is 1/8 for E4M3, E5M2 and E3M2, 1/16 for E2M3, 1/4 for E2M1. Where amax is
/// rounded first, it is below (2 − 2^(−1−m)) 2^emax, with m bits of mantissa. NVFP4's
/// scale is itself rounded to E4M3: 1/17 where that is a normal number; where it is subnormal, up to
/// 6 · 2^−10 of the tensor's factor (half a step) instead, which may be a third of the amax. The others
/// let nothing saturate but by the rounding of the scale, `te-delayed` of the amax that made its scale.
///
/// ```
/// use quarter::accuracy::bounds::most_clipped;
/// use quarter::{FormatId, Rule};
/// assert_eq!(most_clipped(Rule::OcpFloor, FormatId::F8E4M3.spec()), 0.125);
/// assert_eq!(most_clipped(Rule::OcpRceil, FormatId::F8E4M3.spec()), 0.0);
/// ```
#[must_use]
pub fn most_clipped(rule: Rule, format: &FormatSpec) -> f64 {
    match rule {
        Rule::OcpFloor | Rule::Microxcaling => 1.0 - format.max() / pow2(format.emax() + 1),
        Rule::OcpEven => {
            let next = 2.0 - pow2(-1 - format.man_bits() as i32);
            1.0 - format.max() / (pow2(format.emax()) * next)
        }
        Rule::Nvfp4 => 1.0 / 17.0,
        Rule::TeDelayed
        | Rule::TeCurrent
        | Rule::TeCurrentPow2
        | Rule::TeBlock
        | Rule::TeBlockF32
        | Rule::TeMx
        | Rule::TorchAo
        | Rule::TorchAoPow2
        | Rule::TorchAoBlock
        | Rule::OcpCeil
        | Rule::OcpRceil
        | Rule::DeepSeek
        | Rule::DeepSeekUe8m0
        | Rule::DeepGemm
        | Rule::DeepGemmUe8m0
        | Rule::MsAmp => 0.0,
    }
}

/// The bounds of a matrix that was quantized: A3 and A9 of each element, from its own scale.
///
/// ```
/// use quarter::accuracy::bounds::Quantization;
/// use quarter::accuracy::check::check_within;
/// use quarter::tensor::{MatMut, MatRef, QuantizeOptions, quantize};
/// let x: Vec<f32> = (0..4 * 64).map(|i| (i as f32).sin()).collect();
/// let (x, mut back) = (MatRef::new(&x, 4, 64)?, [0.0_f32; 4 * 64]);
/// let q = quantize(x, &"e4m3:1x32:te-mx".parse()?, &QuantizeOptions::new())?;
/// q.dequantize_into(MatMut::new(&mut back, 4, 64)?)?;
/// let bounds = Quantization::new(x, q.view())?;
/// let report = check_within(&back, &bounds.expected(), |i| bounds.value(i / 64, i % 64));
/// assert!(report.is_ok_and(|report| report.most_of_bound > 0.5));
/// # Ok::<(), quarter::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Quantization<'a> {
    source: MatRef<'a>,
    codes: QuantizedView<'a>,
    rounding: Rounding,
}

impl<'a> Quantization<'a> {
    /// Of a source and of what it became, to nearest even.
    ///
    /// # Errors
    /// [`Error::Shape`] if the two differ in shape.
    pub fn new(source: MatRef<'a>, codes: QuantizedView<'a>) -> Result<Self, Error> {
        let (expected, got) = (codes.shape(), source.shape());
        if expected != got {
            return Err(Error::Shape { what: "source of codes", expected, got });
        }
        Ok(Self { source, codes, rounding: Rounding::NearestEven })
    }

    /// With another rounding of codes.
    #[must_use]
    pub const fn rounding(self, rounding: Rounding) -> Self {
        Self { rounding, ..self }
    }

    /// The scale of an element, both ways.
    ///
    /// # Panics
    /// Beyond the last row or column.
    #[must_use]
    pub fn scaled(&self, row: usize, col: usize) -> Scaled<'static> {
        let scales = self.codes.scales();
        let group = scales.group(self.codes.group(row, col));
        let rule = self.codes.rule();
        let global = f64::from(scales.global_scale_inv());
        Scaled {
            format: self.codes.format().spec(),
            rounding: self.rounding,
            operation: rule.map_or(Operation::Multiply, Rule::operation),
            scale: f64::from(group.scale),
            scale_inv: f64::from(group.scale_inv) * global,
        }
    }

    /// Rows and columns.
    #[must_use]
    pub const fn shape(&self) -> (usize, usize) {
        self.source.shape()
    }

    /// The `scale_inv` that is in the place of an element's where scales are read as their transpose.
    pub(crate) fn turned_scale_inv(&self, row: usize, col: usize) -> f64 {
        let scales = self.codes.scales();
        let scale = scales.scale_inv(super::operand::turned(&self.codes, row, col));
        f64::from(scale) * f64::from(scales.global_scale_inv())
    }

    /// An element of the source, exactly.
    pub(super) fn source(&self, row: usize, col: usize) -> f64 {
        element(&self.source, row, col)
    }

    /// |code · scale_inv − x| of an element; where the tensor's own factor is applied apart (NVFP4),
    /// without the rounding of that.
    #[must_use]
    pub fn code(&self, row: usize, col: usize) -> Bound {
        let x = self.source(row, col);
        let bound = self.scaled(row, col).code(x);
        // f64 is rounded to f32 first: once for itself, and once for what the bound is of.
        match self.source.parts().0 {
            Values::F64(_) if x.abs() * (1.0 + U32) >= f64::from(f32::MAX) => Bound::NONE,
            Values::F64(_) => bound.with(Term::Scaling, 2.1 * (x.abs() * U32 + ETA32)),
            Values::F32(_) | Values::F16(_) | Values::Bf16(_) => bound,
        }
    }

    /// The same of a value that was dequantized to f32; infinite where that may become Inf, as what a
    /// power of two rounded up stands for may, near f32's largest number. What must be NaN, must be.
    #[must_use]
    pub fn value(&self, row: usize, col: usize) -> Bound {
        if self.is_nan(row, col) {
            return Bound::ZERO;
        }
        let (bound, x) = (self.code(row, col), self.source(row, col));
        let times = if matches!(self.codes.scales(), Scales::E4M3 { .. }) { 2.0 } else { 1.0 };
        stored(bound, x.abs() + bound.total(), times)
    }

    /// The source's elements, row after row; NaN where the scale is.
    #[must_use]
    pub fn expected(&self) -> std::vec::Vec<f64> {
        let (rows, cols) = self.source.shape();
        let one = |(row, col)| if self.is_nan(row, col) { f64::NAN } else { self.source(row, col) };
        (0..rows * cols).map(|i| one((i / cols, i % cols))).collect()
    }

    /// Whether a value is NaN: its scale is, or its source and the format has one.
    fn is_nan(&self, row: usize, col: usize) -> bool {
        let has_nan = self.codes.format().spec().has_nan();
        self.scaled(row, col).scale_inv.is_nan() || (has_nan && self.source(row, col).is_nan())
    }
}

/// An element of a matrix, exactly.
pub(super) fn element(matrix: &MatRef<'_>, row: usize, col: usize) -> f64 {
    let (values, by_row, by_col) = matrix.parts();
    match values {
        Values::F64(values) => values[row * by_row + col * by_col],
        Values::F32(_) | Values::F16(_) | Values::Bf16(_) => f64::from(matrix.get(row, col)),
    }
}
