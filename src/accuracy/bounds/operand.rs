//! An operand of a product: what it stands for, and how far that is from what it was.

use super::quantize::{Quantization, element};
use super::rounding::{pow2, rounding};
use crate::error::Error;
use crate::format::{FormatSpec, Policy, Rounding, table};
use crate::gemm::{BlockSum, GemmInput, Side};
use crate::mma::Unit;
use crate::scale::Granularity;
use crate::slice::Values;
use crate::tensor::{MatRef, QuantizedView, Scales};
use half::{bf16, f16};
use std::vec;
use std::vec::Vec;

/// An operand \[rows, K\] of a product whose bound is wanted.
#[derive(Clone, Debug)]
pub struct Operand<'a> {
    pub(crate) rows: usize,
    pub(crate) k: usize,
    /// What the product is expected to be of.
    pub(crate) exact: Vec<f64>,
    /// How far from that is what codes and scales stand for, at most.
    pub(crate) off: Vec<f64>,
    /// The part of that which has one sign by its rounding: all of one toward zero, up or down, and of a
    /// stochastic one what its random bits leave.
    pub(crate) leans: f64,
    /// The elements without their scales.
    pub(crate) codes: Vec<f32>,
    view: Option<QuantizedView<'a>>,
    format: &'static FormatSpec,
    /// Whether elements are f32 that a unit may cut to TF32.
    is_f32: bool,
}

impl<'a> Operand<'a> {
    /// What codes and scales stand for, or numbers as products read them (f64 rounded to f32): products
    /// are expected to be of these, so that their sums alone are inexact.
    ///
    /// # Errors
    /// [`Error::Cast`] for packed panels, whose source is wanted; [`Error::Memory`].
    pub fn exact(input: impl Into<GemmInput<'a>>) -> Result<Self, Error> {
        let mut operand = Self::of(input.into())?;
        operand.exact = (0..operand.rows * operand.k)
            .map(|i| {
                let scale = operand.scale(i / operand.k, i % operand.k) * operand.global();
                f64::from(operand.codes[i]) * scale
            })
            .collect();
        operand.off = vec![0.0; operand.exact.len()];
        Ok(operand)
    }

    /// What `source` was cast to, to nearest even: products are expected to be of the source, and
    /// each element is off by the bound A3 (codes) or A1 (bf16, f16).
    ///
    /// # Errors
    /// [`Error::Shape`] if the two differ in shape, and those of [`exact`](Self::exact).
    pub fn cast(source: MatRef<'a>, input: impl Into<GemmInput<'a>>) -> Result<Self, Error> {
        Self::cast_by(source, input, Rounding::NearestEven)
    }

    /// The same by another rounding: stochastic ones and those in a direction are off by up to twice
    /// as much. Errors of stochastic ones have a mean of zero (A7), so the probable bound is theirs
    /// as well; those in a direction add up.
    ///
    /// ```
    /// use quarter::accuracy::bounds::{GemmBound, Operand, Sums};
    /// use quarter::tensor::{Cast, MatRef, QuantizeOptions, quantize};
    /// use quarter::{RandomStream, Rounding};
    /// let values = [1.03_f32; 32];
    /// let (x, by) = (MatRef::new(&values, 1, 32)?, Rounding::Stochastic { bits: 32 });
    /// let cast = "e4m3:1x32:te-mx".parse::<Cast>()?.rounding(by);
    /// let codes = quantize(x, &cast, &QuantizeOptions::new().random(RandomStream::default()))?;
    /// let a = Operand::cast_by(x, codes.view(), by)?;
    /// let (expected, bound) = GemmBound::new(a, Operand::exact(x)?, Sums::F32)?.at(0, 0);
    /// assert!((expected - 33.9488).abs() < 1e-5 && bound.probable().is_some_and(|p| p < bound.total()));
    /// # Ok::<(), quarter::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`cast`](Self::cast).
    pub fn cast_by(
        source: MatRef<'a>,
        input: impl Into<GemmInput<'a>>,
        rounding: Rounding,
    ) -> Result<Self, Error> {
        let input = input.into();
        let (expected, got) = (input.shape(), source.shape());
        if expected != got {
            return Err(Error::Shape { what: "source of an operand", expected, got });
        }
        let mut operand = Self::of(input)?;
        let cols = operand.k;
        let places = || (0..operand.rows * cols).map(|i| (i / cols, i % cols));
        operand.exact = places().map(|(row, col)| element(&source, row, col)).collect();
        operand.off = match operand.view {
            Some(view) => {
                let bounds = Quantization::new(source, view)?.rounding(rounding);
                places().map(|(row, col)| bounds.code(row, col).total()).collect()
            }
            None => {
                let policy = Policy::NONFINITE.rounding(rounding);
                let one = |(x, code): (&f64, &f32)| match *x == f64::from(*code) {
                    // A number of the format is itself.
                    true => 0.0,
                    false => self::rounding(operand.format, policy, *x).total(),
                };
                operand.exact.iter().zip(&operand.codes).map(one).collect()
            }
        };
        operand.leans = match rounding {
            Rounding::TowardZero | Rounding::Up | Rounding::Down => 1.0,
            Rounding::Stochastic { bits } => pow2(-i32::from(bits)),
            Rounding::StochasticEven { bits }
            | Rounding::StochasticOdd { bits }
            | Rounding::StochasticFast { bits } => pow2(-i32::from(bits) - 1),
            Rounding::NearestEven | Rounding::NearestAway => 0.0,
        };
        Ok(operand)
    }

    fn of(input: GemmInput<'a>) -> Result<Self, Error> {
        let (rows, k) = input.shape();
        let n = rows.saturating_mul(k);
        let mut codes: Vec<f32> = Vec::new();
        let missing = |_| Error::Memory { what: "elements of an operand", elements: n };
        codes.try_reserve_exact(n).map_err(missing)?;
        let (view, format, is_f32) = match input {
            GemmInput::Values(values) => {
                codes.extend((0..n).map(|i| values.get(i / k, i % k)));
                let (format, is_f32) = match values.parts().0 {
                    Values::Bf16(_) => (&table::BF16, false),
                    Values::F16(_) => (&table::F16, false),
                    Values::F32(_) | Values::F64(_) => (&table::F32, true),
                };
                (None, format, is_f32)
            }
            GemmInput::Quantized(view) => {
                let spec = view.format().spec();
                let mut bytes = vec![0; n];
                if view.is_packed() {
                    spec.unpack(view.codes(), &mut bytes)?;
                } else {
                    bytes.copy_from_slice(view.codes());
                }
                codes.extend(bytes.iter().map(|code| spec.decode_f32(u64::from(*code))));
                (Some(view), spec, false)
            }
            GemmInput::Packed(_) => {
                let why = "the bound of a product is of its operands before they were packed";
                return Err(Error::Cast { why });
            }
        };
        let (exact, off, leans) = (Vec::new(), Vec::new(), 0.0);
        Ok(Self { rows, k, exact, off, leans, codes, view, format, is_f32 })
    }

    /// Σ |x| of a row of what it stands for, at most.
    pub(crate) fn largest_sum(&self, row: usize) -> f64 {
        let pairs = self.row(&self.exact, row).iter().zip(self.row(&self.off, row));
        pairs.map(|(x, off)| x.abs() + off).sum()
    }

    /// A row as a product reads it; none of packed codes.
    pub(crate) fn line(&self, row: usize) -> Option<Line<'_>> {
        let values = self.row(&self.codes, row);
        Some(match self.view {
            Some(view) => Line::Codes(view.slice_rows(row, row + 1).ok()?),
            None if *self.format == table::BF16 => {
                Line::Bf16(values.iter().map(|x| bf16::from_f32(*x)).collect())
            }
            None if *self.format == table::F16 => {
                Line::F16(values.iter().map(|x| f16::from_f32(*x)).collect())
            }
            None => Line::F32(values),
        })
    }

    /// The format that a unit takes it for.
    pub(crate) fn format(&self, unit: &Unit) -> &'static FormatSpec {
        if self.is_f32 { unit.format_of_f32() } else { self.format }
    }

    /// The scale of an element, without the tensor's own factor; 1 where there is none.
    pub(crate) fn scale(&self, row: usize, k: usize) -> f64 {
        self.view.map_or(1.0, |view| f64::from(view.scales().scale_inv(view.group(row, k))))
    }

    /// The scale that is in the place of an element's where scales are read as their transpose.
    pub(crate) fn turned_scale(&self, row: usize, k: usize) -> f64 {
        self.view.map_or(1.0, |view| f64::from(view.scales().scale_inv(turned(&view, row, k))))
    }

    /// The tensor's own factor.
    pub(crate) fn global(&self) -> f64 {
        self.view.map_or(1.0, |view| f64::from(view.scales().global_scale_inv()))
    }

    pub(crate) const fn is_quantized(&self) -> bool {
        self.view.is_some()
    }

    /// Whether its scales are E4M3, beside a factor of the tensor's own.
    pub(crate) fn has_global(&self) -> bool {
        self.view.is_some_and(|view| matches!(view.scales(), Scales::E4M3 { .. }))
    }

    /// Bits of an element's significand.
    pub(crate) const fn precision(&self) -> u32 {
        self.format.precision()
    }

    /// Whether its elements are numbers with a sign and a zero, as all but those of E8M0 are.
    pub(crate) const fn is_plain_numbers(&self) -> bool {
        self.format.signed() && self.format.has_zero()
    }

    /// Whether its only scale is 1, or there is none.
    pub(crate) fn is_plain(&self) -> bool {
        self.view.is_none_or(|view| {
            view.granularity() == Granularity::Tensor && view.scales().scale_inv(0) == 1.0
        })
    }

    /// The elements along K that share a scale, where that is not all of them.
    pub(crate) fn block(&self) -> Option<usize> {
        match self.view?.granularity() {
            Granularity::Block { cols, .. } => Some(cols),
            Granularity::Tensor | Granularity::Row | Granularity::Col => None,
        }
    }

    /// Whether it has E8M0 scales of blocks of 32.
    pub(crate) fn is_mx(&self) -> bool {
        let mx = |view: QuantizedView<'_>| matches!(view.scales(), Scales::E8M0(_));
        self.block() == Some(32) && self.view.is_some_and(mx)
    }

    /// What decides where its scales meet the sum.
    pub(crate) fn side(&self) -> Side {
        let form = self.view.map(|view| view.scales().format());
        let blocked = self.block().is_some()
            || self.view.is_some_and(|view| matches!(view.scales(), Scales::E4M3 { .. }));
        let rule = self.view.and_then(|view| view.rule());
        Side { form, blocked, implied: rule.and_then(BlockSum::of) }
    }

    /// A row of a matrix with a number for each element.
    pub(crate) fn row<'r, T>(&self, of: &'r [T], row: usize) -> &'r [T] {
        &of[row * self.k..(row + 1) * self.k]
    }
}

/// A row of an operand.
pub(crate) enum Line<'a> {
    Codes(QuantizedView<'a>),
    F32(&'a [f32]),
    Bf16(Vec<bf16>),
    F16(Vec<f16>),
}

impl Line<'_> {
    pub fn input(&self) -> Option<GemmInput<'_>> {
        Some(match self {
            Self::Codes(view) => (*view).into(),
            Self::F32(x) => MatRef::new(*x, 1, x.len()).ok()?.into(),
            Self::Bf16(x) => MatRef::new(x, 1, x.len()).ok()?.into(),
            Self::F16(x) => MatRef::new(x, 1, x.len()).ok()?.into(),
        })
    }
}

/// The index of an element's scale, were the grid of scales stored column after column.
pub(super) const fn turned(view: &QuantizedView<'_>, row: usize, col: usize) -> usize {
    let group = view.group(row, col);
    let (rows, cols) = view.granularity().grid(view.first_row() + view.shape().0, view.shape().1);
    let (r, c) = (group / cols, group % cols);
    c * rows + r
}
