//! What is multiplied.

use super::packed::Packed;
use super::scaling::Scaling;
use super::sums::{BlockSum, Side};
use crate::arch::decoder::{Decoder, decoder_of};
use crate::error::Error;
use crate::format::FormatId;
use crate::scale::Granularity;
use crate::tensor::{MatRef, Quantized, QuantizedView, Scales};

/// An operand of a matrix product: a \[M, K\] or b \[N, K\].
///
/// ```
/// use quarter::gemm::GemmInput;
/// use quarter::tensor::MatRef;
/// let x = [1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0];
/// assert_eq!(GemmInput::from(MatRef::new(&x, 2, 3)?).shape(), (2, 3));
/// # Ok::<(), quarter::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub enum GemmInput<'a> {
    /// Codes and scales.
    Quantized(QuantizedView<'a>),
    /// Numbers as they are; f64 is rounded to f32 first.
    Values(MatRef<'a>),
    /// A right operand that was packed before.
    Packed(&'a Packed),
}

impl<'a> From<&'a Quantized> for GemmInput<'a> {
    fn from(quantized: &'a Quantized) -> Self {
        Self::Quantized(quantized.view())
    }
}

impl<'a> From<QuantizedView<'a>> for GemmInput<'a> {
    fn from(view: QuantizedView<'a>) -> Self {
        Self::Quantized(view)
    }
}

impl<'a> From<MatRef<'a>> for GemmInput<'a> {
    fn from(values: MatRef<'a>) -> Self {
        Self::Values(values)
    }
}

impl<'a> From<&'a Packed> for GemmInput<'a> {
    fn from(packed: &'a Packed) -> Self {
        Self::Packed(packed)
    }
}

impl GemmInput<'_> {
    /// Rows and K.
    #[must_use]
    pub const fn shape(&self) -> (usize, usize) {
        match self {
            Self::Quantized(view) => view.shape(),
            Self::Values(values) => values.shape(),
            Self::Packed(packed) => packed.shape(),
        }
    }
}

/// An operand after the checks: elements, and scales if there are any.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operand<'a> {
    pub rows: usize,
    pub k: usize,
    pub elements: Elements<'a>,
    pub scaling: Option<Scaling<'a>>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Elements<'a> {
    /// One code a byte, row after row at a distance.
    Codes {
        format: FormatId,
        decoder: &'static Decoder,
        codes: &'a [u8],
        stride: usize,
    },
    Values(MatRef<'a>),
    Packed(&'a Packed),
}

impl<'a> Operand<'a> {
    /// `unpacked`: the codes, one a byte, where the view's are packed.
    ///
    /// # Errors
    /// [`Error::Cast`] for scales that vary along K within a group of rows.
    pub fn new(input: GemmInput<'a>, unpacked: &'a [u8]) -> Result<Self, Error> {
        let (rows, k) = input.shape();
        let operand = match input {
            GemmInput::Values(values) => {
                Self { rows, k, elements: Elements::Values(values), scaling: None }
            }
            GemmInput::Packed(packed) => {
                Self { rows, k, elements: Elements::Packed(packed), scaling: packed.scaling() }
            }
            GemmInput::Quantized(view) => {
                let codes = if view.is_packed() { unpacked } else { view.codes() };
                let Some(decoder) = decoder_of(view.format()) else {
                    let (format, expected) = (view.format().name(), view.format().spec().bits());
                    return Err(Error::CodeWidth { format, expected, got: 8 });
                };
                let scaling = Scaling {
                    scales: view.scales(),
                    granularity: view.granularity(),
                    rule: view.rule(),
                    cols: k,
                    first_row: view.first_row(),
                    first_col: 0,
                };
                let elements = Elements::Codes { format: view.format(), decoder, codes, stride: k };
                Self { rows, k, elements, scaling: Some(scaling) }
            }
        };
        match operand.scaling.map(|scaling| scaling.granularity) {
            Some(Granularity::Col | Granularity::Block { rows: 2.., cols: 1 }) => {
                let why = "an operand with a scale for each k cannot be multiplied: cast it by rows, \
                           or in blocks along K";
                Err(Error::Cast { why })
            }
            _ => Ok(operand),
        }
    }

    /// The value of an element without its scale.
    pub fn code(&self, row: usize, k: usize) -> f32 {
        match self.elements {
            Elements::Codes { decoder, codes, stride, .. } => {
                f32::from_bits(decoder.table[usize::from(codes[row * stride + k])])
            }
            Elements::Values(values) => values.get(row, k),
            Elements::Packed(packed) => packed.get(row, k),
        }
    }

    /// What decides where its scales meet the sum.
    pub fn side(&self) -> Side {
        let form = self.scaling.map(|scaling| scaling.scales.format());
        let blocked = self.scaling.is_some_and(|scaling| {
            scaling.block().is_some() || matches!(scaling.scales, Scales::E4M3 { .. })
        });
        let rule = self.scaling.and_then(|scaling| scaling.rule);
        Side { form, blocked, implied: rule.and_then(BlockSum::of) }
    }

    /// What the last sums of a row are multiplied by where scales meet them after the last segment:
    /// the row's or tensor's scale, or NVFP4's factor.
    pub fn last_scale(&self, row: usize, products: bool) -> Option<f32> {
        let scaling = self.scaling?;
        Some(if products {
            scaling.scales.global_scale_inv()
        } else {
            scaling.scales.scale_inv(scaling.group(row, 0))
        })
    }

    /// Rows `from..to` of it, and its k from `k.0` to `k.1`, which is a multiple of its blocks or
    /// the end.
    pub fn part(self, (from, to): (usize, usize), k: (usize, usize)) -> Self {
        let elements = match self.elements {
            Elements::Codes { format, decoder, codes, stride } => {
                let start = (from * stride + k.0).min(codes.len());
                Elements::Codes { format, decoder, codes: &codes[start..], stride }
            }
            Elements::Values(values) => Elements::Values(values.part((from, to), k)),
            Elements::Packed(packed) => Elements::Packed(packed),
        };
        let scaling = self.scaling.map(|scaling| Scaling {
            first_row: scaling.first_row + from,
            first_col: scaling.first_col + k.0,
            ..scaling
        });
        Self { rows: to - from, k: k.1 - k.0, elements, scaling }
    }
}
