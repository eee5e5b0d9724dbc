//! Matrix products (A4): each output's expected number and bound, from the data.

mod law;
mod steps;

pub(crate) use steps::Steps;
#[cfg(test)]
use steps::gelu;

use super::operand::Operand;
use super::rounding::{ETA32, U32, pow2, rounding_up_to};
use super::{Bound, Term};
use crate::arch::GELU_ULPS;
use crate::error::Error;
use crate::format::{FormatSpec, Policy};
use crate::gemm::{Accumulation, Activation, Sums as Joins, segments};
use crate::recipe::{Pass, Recipe};
use crate::slice::Values;
use crate::tensor::MatRef;
use std::vec::Vec;

/// How a product adds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sums {
    /// As [`gemm`](crate::gemm) defines it, in f32 or through a matrix unit.
    Defined(Accumulation),
    /// In any order and any blocks, with this roundoff: 2^−24 for a kernel of f32, 2^(1−p) for an
    /// accumulator of p bits that truncates. Subnormal numbers are not flushed.
    AnyOrder {
        /// The largest relative error of an operation.
        roundoff: f64,
    },
}

impl Sums {
    /// f32 in any order: what a kernel of one's own is held to.
    pub const F32: Self = Self::AnyOrder { roundoff: U32 };
}

impl From<Accumulation> for Sums {
    fn from(sums: Accumulation) -> Self {
        Self::Defined(sums)
    }
}

/// The bounds of D\[M,N\] = Σₖ a\[M,K\] · b\[N,K\].
///
/// With dx the bound of what an element's cast did to it (A3),
///
/// |d − x·y| ≤ Σ (dx |y| + |x| dy + dx dy) + sums + scaling + epilogue + output
///
/// | how it adds | sums |
/// |---|---|
/// | in any order | ((1+u)ⁿ − 1) Σ (\|x\|+dx)(\|y\|+dy), n = K − 1, 1 more for products that are rounded, 3 for scales, 5 for NVFP4's; C and bias count as terms; and what is subnormal wherever scales are applied |
/// | as [`gemm`](crate::gemm) says | (n−1)·u of each segment's Σ \|x̂\|\|ŷ\|, n·u where products are inexact, and S·u of the S segments' sums, (S−1)·u where they are not fused to it |
/// | through a unit | [`unit_sum`](super::unit_sum) of each chain, and joins as above |
///
/// [`chain`](super::chain) is why, and that each rounding is a factor of up to 1 + u. Each scale that
/// meets a sum is one rounding of that sum, not of the magnitudes in it; powers of two round nothing but subnormals.
///
/// Source: Higham, Accuracy and Stability of Numerical Algorithms, section 3.5; the rest is
/// derived here.
///
/// ```
/// use quarter::accuracy::bounds::{GemmBound, Operand, Sums};
/// use quarter::tensor::MatRef;
/// let (x, y) = ([1.0_f32, 2.0, 3.0, 4.0], [0.1_f32, 0.2, 0.3, 0.4]);
/// let [a, b] = [&x, &y].map(|x| MatRef::new(x, 1, 4).and_then(Operand::exact));
/// let bounds = GemmBound::new(a?, b?, Sums::F32)?;
/// let (expected, bound) = bounds.at(0, 0);
/// assert!((expected - 3.0).abs() < 1e-6 && bound.total() < 1e-6);
/// # Ok::<(), quarter::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct GemmBound<'a> {
    pub(crate) a: Operand<'a>,
    pub(crate) b: Operand<'a>,
    sums: Sums,
    joins: Joins,
    cuts: Vec<usize>,
    /// Of a split K.
    parts: usize,
    alpha: Option<f32>,
    c: Option<(f32, MatRef<'a>)>,
    bias: Option<&'a [f32]>,
    activation: Activation,
    output: Option<(&'static FormatSpec, Option<f32>)>,
    lambda: f64,
}

/// Sums over a segment of K.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    /// Elements.
    n: usize,
    sum: f64,
    size: f64,
    a: f64,
    b: f64,
    /// Σ (dx y)² + (x dy)², of errors that have either sign.
    squares: f64,
    /// Σ |dx y| + |x dy| of the others.
    leaning: f64,
}

impl Part {
    /// The most that the segment's sum of codes and scales may be.
    const fn most(&self) -> f64 {
        self.sum.abs() + self.a + self.b
    }

    /// The most that the sum of their magnitudes may be.
    const fn widest(&self) -> f64 {
        self.size + self.a + self.b
    }
}

impl<'a> GemmBound<'a> {
    /// Of two operands.
    ///
    /// # Errors
    /// [`Error::Shape`] unless both have the same K; for sums that are [`Sums::Defined`] those of
    /// [`gemm_nt`](crate::gemm::gemm_nt).
    pub fn new(a: Operand<'a>, b: Operand<'a>, sums: impl Into<Sums>) -> Result<Self, Error> {
        if a.k != b.k {
            let (expected, got) = ((b.rows, a.k), (b.rows, b.k));
            return Err(Error::Shape { what: "right operand (b)", expected, got });
        }
        let sums = sums.into();
        let (mut cuts, mut parts, mut joins) = (Vec::new(), 1, Joins::After);
        if let Sums::Defined(how) = sums {
            joins = Joins::of([a.side(), b.side()], how.block_sum)?;
            if let Some(unit) = how.unit {
                unit.check(a.format(unit), b.format(unit))?;
                if unit.has_block_scales() && !(a.is_mx() && b.is_mx()) {
                    let why = "this unit multiplies blocks of 32 with E8M0 scales";
                    return Err(Error::Cast { why });
                }
            }
            let part = segments(a.k, &how, [a.block(), b.block()], &mut cuts)?;
            parts = part.map_or(1, |part| a.k.div_ceil(part).max(1));
        } else {
            cuts.extend([0, a.k]);
        }
        let (alpha, c, bias, activation) = (None, None, None, Activation::None);
        let (output, lambda) = (None, 3.0);
        Ok(Self { a, b, sums, joins, cuts, parts, alpha, c, bias, activation, output, lambda })
    }

    /// Of a pass of a linear layer: fprop's x and w, dgrad's dy and wᵀ, or wgrad's dyᵀ and xᵀ, K
    /// last. A forward's bias is a [`bias`](Self::bias), and the gradient that wgrad adds to a
    /// [`c`](Self::c).
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn of_pass(
        recipe: &Recipe,
        pass: Pass,
        a: Operand<'a>,
        b: Operand<'a>,
    ) -> Result<Self, Error> {
        Self::new(a, b, recipe.gemm(pass).sums)
    }

    /// t = fl(alpha · t).
    #[must_use]
    pub fn alpha(self, alpha: f32) -> Self {
        Self { alpha: Some(alpha), ..self }
    }

    /// t = fma(beta, C, t).
    ///
    /// # Errors
    /// [`Error::Shape`] unless C has the output's shape.
    pub fn c(self, beta: f32, c: MatRef<'a>) -> Result<Self, Error> {
        let (expected, got) = (self.shape(), c.shape());
        if expected != got {
            return Err(Error::Shape { what: "C", expected, got });
        }
        Ok(Self { c: Some((beta, c)).filter(|_| beta != 0.0), ..self })
    }

    /// t = fl(t + bias\[n\]).
    ///
    /// # Errors
    /// [`Error::Length`] unless it has an element for each column.
    pub fn bias(self, bias: &'a [f32]) -> Result<Self, Error> {
        let (expected, got) = (self.b.rows, bias.len());
        if expected != got {
            return Err(Error::Length { what: "bias", expected, got });
        }
        Ok(Self { bias: Some(bias), ..self })
    }

    /// t = max(t, 0), or gelu(t) in its tanh form. ReLU brings two numbers no farther apart; the slope
    /// of GELU is within ±1.129, and what computes it here is off by 2.05 ulp of max(|gelu(t)|, 1/4)
    /// itself, which is measured, not proven: over a sample of f32 in each run of the tests. Add what
    /// another one is off by.
    ///
    /// ```
    /// use quarter::accuracy::bounds::{GemmBound, Operand, Sums};
    /// use quarter::gemm::Activation;
    /// use quarter::tensor::MatRef;
    /// let (x, y) = ([1.5_f32, 0.5], [1.0_f32, -1.0]);
    /// let [a, b] = [&x, &y].map(|x| MatRef::new(x, 1, 2).and_then(Operand::exact));
    /// let bounds = GemmBound::new(a?, b?, Sums::F32)?.activation(Activation::Gelu);
    /// let (expected, bound) = bounds.at(0, 0);
    /// assert!((expected - 0.841_192).abs() < 1e-6 && bound.total() < 1e-6);
    /// # Ok::<(), quarter::Error>(())
    /// ```
    #[must_use]
    pub const fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// Stored in this format, to nearest: bf16, f16; f32 is what is expected without.
    #[must_use]
    pub fn output(self, format: &'static FormatSpec) -> Self {
        Self { output: Some((format, None)), ..self }
    }

    /// Stored as codes Q(fl(t · scale)) that saturate: what is expected is t · scale, cut off at the
    /// largest number.
    #[must_use]
    pub fn codes(self, format: &'static FormatSpec, scale: f32) -> Self {
        Self { output: Some((format, Some(scale))), ..self }
    }

    /// The λ of the probable bound, 3 unless given: an alarm, as the roundings of casts are not
    /// independent; what A6 promises of λ is [`probability`](super::probability).
    #[must_use]
    pub fn lambda(self, lambda: f64) -> Self {
        Self { lambda, ..self }
    }

    pub(crate) const fn has_bias(&self) -> bool {
        self.bias.is_some()
    }

    pub(crate) const fn has_c(&self) -> bool {
        self.c.is_some()
    }

    pub(crate) const fn sums(&self) -> Sums {
        self.sums
    }

    /// The format of outputs and how they are rounded to it, f32 if none.
    pub(crate) fn stored(&self) -> Option<(&'static FormatSpec, Policy)> {
        let policy = |scale: Option<f32>| scale.map_or(Policy::NONFINITE, |_| Policy::SATURATE);
        self.output.map(|(format, scale)| (format, policy(scale)))
    }

    /// The sum of products that is expected.
    pub(crate) fn exact_sum(&self, row: usize, col: usize) -> f64 {
        self.part(row, col, 0..self.a.k).sum
    }

    /// M and N.
    #[must_use]
    pub const fn shape(&self) -> (usize, usize) {
        (self.a.rows, self.b.rows)
    }

    /// K.
    #[must_use]
    pub const fn depth(&self) -> usize {
        self.a.k
    }

    /// What is expected of an output, and its bound: NaN or Inf and no bound but itself where codes,
    /// scales, C or bias make it that, or where it is beyond what an output of 16 bits can be. The
    /// probable bound is A6 with λ: casts count by the root of the sum of their squares, roundings to
    /// nearest by [`probable_gamma`](super::probable_gamma).
    ///
    /// # Panics
    /// Beyond the last row or column.
    #[must_use]
    pub fn at(&self, row: usize, col: usize) -> (f64, Bound) {
        let parts: Vec<Part> =
            self.cuts.windows(2).map(|cut| self.part(row, col, cut[0]..cut[1])).collect();
        let all = parts.iter().fold(Part::default(), |all, part| Part {
            n: all.n + part.n,
            sum: all.sum + part.sum,
            size: all.size + part.size,
            a: all.a + part.a,
            b: all.b + part.b,
            squares: all.squares + part.squares,
            leaning: all.leaning + part.leaning,
        });
        let casts = Bound::of(Term::CastA, all.a)
            .with(Term::CastB, all.b)
            .with(Term::Reference, (all.n + 8) as f64 * pow2(-51) * all.widest());
        let (sums, probable) = match self.sums {
            Sums::AnyOrder { roundoff } => self.any_order(&all, roundoff, (row, col)),
            Sums::Defined(how) => self.defined(&parts, &all, how, (row, col)),
        };
        let likely = self.lambda * all.squares.sqrt() + all.leaning + probable;
        let (expected, bound) = self.finished((row, col), all.sum, casts.plus(&sums), likely);
        if !(self.a.is_plain_numbers() && self.b.is_plain_numbers()) {
            return (expected, Bound::NONE); // codes of E8M0
        }
        if expected.is_finite() && bound.total().is_finite() {
            return (expected, bound);
        }
        self.special((row, col)).map_or((expected, bound), |special| (special, Bound::ZERO))
    }

    /// What is expected of each output, row after row, and their bounds.
    #[must_use]
    pub fn all(&self) -> (Vec<f64>, Vec<Bound>) {
        let (m, n) = self.shape();
        (0..m * n).map(|i| self.at(i / n, i % n)).unzip()
    }

    fn part(&self, row: usize, col: usize, range: core::ops::Range<usize>) -> Part {
        let (a, b) = (&self.a, &self.b);
        let of_a = |of| &a.row(of, row)[range.clone()];
        let of_b = |of| &b.row(of, col)[range.clone()];
        let left = of_a(&a.exact).iter().zip(of_a(&a.off));
        let right = of_b(&b.exact).iter().zip(of_b(&b.off));
        let zero = Part { n: range.len(), ..Part::default() };
        left.zip(right).fold(zero, |part, ((x, dx), (y, dy))| {
            let (cast_a, cast_b) = (dx * y.abs(), x.abs() * dy);
            let [(even_a, lean_a), (even_b, lean_b)] = [(a, cast_a), (b, cast_b)]
                .map(|(operand, cast)| (cast * (1.0 - operand.leans), cast * operand.leans));
            Part {
                n: part.n,
                sum: part.sum + x * y,
                size: part.size + (x * y).abs(),
                a: part.a + cast_a,
                b: part.b + cast_b + dx * dy,
                squares: part.squares + even_a * even_a + even_b * even_b,
                leaning: part.leaning + lean_a + lean_b,
            }
        })
    }

    /// Alpha, C, bias, activation, output.
    fn finished(
        &self,
        (row, col): (usize, usize),
        sum: f64,
        sums: Bound,
        likely: f64,
    ) -> (f64, Bound) {
        let steps = self.steps(row, col);
        let (mut t, mut bound, mut likely) = (sum, sums, likely);
        let step = |t: f64, bound: Bound, likely: &mut f64| {
            let size = U32 * (t.abs() + bound.total()) + ETA32;
            *likely += size;
            overflow(bound.with(Term::Epilogue, size), t.abs() + bound.total())
        };
        if self.alpha.is_some() {
            let alpha = steps.alpha;
            (t, bound, likely) = (t * alpha, bound.times(alpha), likely * alpha.abs());
            bound = step(t, bound, &mut likely);
        }
        if let Some((_, c)) = &self.c {
            t += steps.beta * steps.c;
            if matches!(c.parts().0, Values::F64(_)) {
                let off = steps.c.abs() * U32 + ETA32;
                bound = overflow(bound, steps.c.abs() + off);
                bound = bound.with(Term::Epilogue, steps.beta.abs() * off);
            }
            let begins = matches!(self.sums, Sums::Defined(how) if self.begins_with_c(how));
            if !begins {
                bound = step(t, bound, &mut likely);
            }
        }
        if self.bias.is_some() {
            t += steps.bias;
            bound = step(t, bound, &mut likely);
        }
        if self.activation == Activation::Gelu {
            // |gelu(t)| is at most |t|.
            let own = GELU_ULPS * 2.0 * U32 * (t.abs() + bound.total()).max(0.25);
            bound = bound.times(GELU_SLOPE).with(Term::Epilogue, own);
            likely = likely * GELU_SLOPE + own;
        }
        t = steps.active(t);
        if let Some((format, scale)) = self.output {
            if !(format.signed() && format.has_zero()) {
                return (t, Bound::NONE);
            }
            let mut policy = Policy::NONFINITE;
            if scale.is_some() {
                let scale = steps.scale;
                (t, bound, likely) = (t * scale, bound.times(scale), likely * scale.abs());
                bound = step(t, bound, &mut likely);
                // To cut off two numbers brings them no farther apart.
                t = steps.cut(t);
                policy = Policy::SATURATE;
            }
            let most = t.abs() + bound.total();
            let least = t.abs() - bound.total();
            if scale.is_none() && most.is_finite() && overflows(format, least) {
                return (f64::INFINITY.copysign(t), Bound::ZERO);
            }
            let most = if scale.is_some() { most.min(format.max().next_down()) } else { most };
            let stored = rounding_up_to(format, policy, most);
            likely += stored;
            bound = bound.with(Term::Output, stored);
        }
        (t, bound.with_probable(likely.min(bound.total())))
    }
}

/// The largest slope of GELU is 1.12899.
const GELU_SLOPE: f64 = 1.129;

/// Whether a size becomes Inf when it is rounded to the nearest number.
fn overflows(format: &FormatSpec, size: f64) -> bool {
    let half = pow2(format.emax() - format.man_bits() as i32) / 2.0;
    format.has_inf() && size >= format.max() + half
}

/// Without a bound where a sum of f32 may be beyond the largest number.
fn overflow(bound: Bound, most: f64) -> Bound {
    if most + bound.total() >= f64::from(f32::MAX) {
        return bound.with(Term::Overflow, f64::INFINITY);
    }
    bound
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The slope of [`gelu`] between neighbours of a fine grid, and beyond where it is that of 0 or x.
    #[test]
    fn the_slope_of_gelu() {
        let slope =
            |i: i32| (gelu(f64::from(i + 1) / 4096.0) - gelu(f64::from(i) / 4096.0)) * 4096.0;
        let most = (-12 * 4096..12 * 4096).map(|i| slope(i).abs()).fold(0.0, f64::max);
        assert!(most <= GELU_SLOPE && most > GELU_SLOPE - 1e-4, "{most}");
        assert!(gelu(-12.0).abs() < 1e-30 && gelu(12.0) == 12.0);
    }
}
