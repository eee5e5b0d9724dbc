//! What is compared: slices of any number type, codes, matrices.

use crate::arch::Kernels;
use crate::arch::cast::to_codes;
use crate::error::Error;
use crate::format::types::*;
use crate::format::{Format, FormatId, FormatSpec};
use crate::slice::{DecodeOptions, Values, decode};
use crate::tensor::{MatRef, Quantized, QuantizedView};
use half::{bf16, f16};
use std::vec::Vec;

/// Numbers in an order: a slice of f64, f32, f16, bf16 or one of this crate's types, codes of any
/// format of up to 8 bits, a matrix, row by row, or what a quantized one stands for, as f32.
///
/// ```
/// use quarter::accuracy::Numbers;
/// use quarter::{F8E4M3, FormatId};
/// let types = Numbers::from(&[F8E4M3::ONE; 3]);
/// let codes = Numbers::codes(FormatId::F8E4M3.spec(), &[0x38; 3])?;
/// assert_eq!((types.len(), codes.len()), (3, 3));
/// # Ok::<(), quarter::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Numbers<'a>(Kind<'a>);

#[derive(Clone, Copy, Debug)]
enum Kind<'a> {
    Values(Values<'a>),
    Codes(FormatSpec, &'a [u8]),
    /// With gaps, or crosswise.
    Matrix(MatRef<'a>),
    Quantized(QuantizedView<'a>),
}

/// Room for numbers that are not f32 or f64 in memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Room {
    singles: Vec<f32>,
    doubles: Vec<f64>,
}

impl<'a> Numbers<'a> {
    /// The values of codes, one a byte.
    ///
    /// # Errors
    /// [`Error::CodeWidth`] for a format of more than 8 bits.
    pub const fn codes(spec: &FormatSpec, codes: &'a [u8]) -> Result<Self, Error> {
        if spec.bits() > 8 {
            let (format, expected) = (spec.name(), spec.storage_bits());
            return Err(Error::CodeWidth { format, expected, got: 8 });
        }
        Ok(Self(Kind::Codes(*spec, codes)))
    }

    /// How many they are.
    #[must_use]
    pub const fn len(&self) -> usize {
        match &self.0 {
            Kind::Values(values) => values.len(),
            Kind::Codes(_, codes) => codes.len(),
            Kind::Matrix(matrix) => matrix.shape().0 * matrix.shape().1,
            Kind::Quantized(view) => view.shape().0 * view.shape().1,
        }
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether f32 does not hold them all.
    pub(super) const fn wide(&self) -> bool {
        match &self.0 {
            Kind::Values(values) => matches!(values, Values::F64(_)),
            Kind::Codes(spec, _) => !spec.within(FormatId::F32.spec()),
            Kind::Matrix(matrix) => matches!(matrix.parts().0, Values::F64(_)),
            Kind::Quantized(_) => false,
        }
    }

    /// `len` of them from `at` on; they are not [`wide`](Self::wide).
    pub(super) fn singles<'b>(
        &self,
        kernels: &Kernels,
        (at, len): (usize, usize),
        Room { singles, .. }: &'b mut Room,
    ) -> &'b [f32]
    where
        'a: 'b,
    {
        if let Kind::Values(Values::F32(values)) = self.0 {
            return &values[at..at + len];
        }
        singles.resize(len, 0.0);
        let dst = &mut singles[..];
        match self.0 {
            Kind::Values(values) => read(values, kernels, at, dst),
            Kind::Codes(spec, codes) => {
                // Neither length nor width is wrong.
                let _ = decode(&spec, &codes[at..at + len], &mut *dst, &alone());
            }
            Kind::Quantized(view) => {
                dst.iter_mut().enumerate().for_each(|(i, x)| *x = value(&view, at + i));
            }
            Kind::Matrix(matrix) => by_rows(&matrix, at, dst, |values, start, stride, dst| {
                if stride == 1 {
                    return read(values, kernels, start, dst);
                }
                for (i, value) in dst.iter_mut().enumerate() {
                    *value = values.get_f32(start + i * stride);
                }
            }),
        }
        dst
    }

    /// `len` of them from `at` on.
    pub(super) fn doubles<'b>(
        &self,
        kernels: &Kernels,
        (at, len): (usize, usize),
        room: &'b mut Room,
    ) -> &'b [f64]
    where
        'a: 'b,
    {
        if let Kind::Values(Values::F64(values)) = self.0 {
            return &values[at..at + len];
        }
        let mut doubles = std::mem::take(&mut room.doubles);
        doubles.resize(len, 0.0);
        let dst = &mut doubles[..];
        match self.0 {
            Kind::Codes(spec, codes) if self.wide() => {
                // Neither length nor width is wrong.
                let _ = decode(&spec, &codes[at..at + len], &mut *dst, &alone());
            }
            Kind::Matrix(matrix) if self.wide() => {
                by_rows(&matrix, at, dst, |values, start, stride, dst| {
                    for (i, value) in dst.iter_mut().enumerate() {
                        *value = values.get_f64(start + i * stride);
                    }
                });
            }
            Kind::Values(_) | Kind::Codes(..) | Kind::Matrix(_) | Kind::Quantized(_) => {
                kernels.f32_to_f64(self.singles(kernels, (at, len), room), dst);
            }
        }
        room.doubles = doubles;
        &room.doubles
    }
}

/// Values that follow each other; they are not f64.
fn read(values: Values<'_>, kernels: &Kernels, at: usize, dst: &mut [f32]) {
    let range = at..at + dst.len();
    match values {
        Values::F32(values) => dst.copy_from_slice(&values[range]),
        Values::F64(values) => kernels.f64_to_nearest(&values[range], dst),
        Values::F16(values) => kernels.f16_to_f32(to_codes(&values[range]), dst),
        Values::Bf16(values) => kernels.bf16_to_f32(to_codes(&values[range]), dst, false),
    }
}

/// Fills `dst` from element `at` of a matrix on: `fill` reads values from an index at a distance.
fn by_rows<T>(
    matrix: &MatRef<'_>,
    at: usize,
    mut dst: &mut [T],
    fill: impl Fn(Values<'_>, usize, usize, &mut [T]),
) {
    let (values, row_stride, col_stride) = matrix.parts();
    let cols = matrix.shape().1.max(1);
    let (mut row, mut col) = (at / cols, at % cols);
    while !dst.is_empty() {
        let (line, rest) = dst.split_at_mut((cols - col).min(dst.len()));
        fill(values, row * row_stride + col * col_stride, col_stride, line);
        (dst, row, col) = (rest, row + 1, 0);
    }
}

macro_rules! slices {
    ($type:ty, $slice:ident => $kind:expr) => {
        impl<'a> From<&'a [$type]> for Numbers<'a> {
            fn from($slice: &'a [$type]) -> Self {
                Self($kind)
            }
        }

        impl<'a, const N: usize> From<&'a [$type; N]> for Numbers<'a> {
            fn from(array: &'a [$type; N]) -> Self {
                Self::from(&array[..])
            }
        }

        impl<'a> From<&'a Vec<$type>> for Numbers<'a> {
            fn from(vec: &'a Vec<$type>) -> Self {
                Self::from(&vec[..])
            }
        }
    };
}
slices! { f64, slice => Kind::Values(slice.into()) }
slices! { f32, slice => Kind::Values(slice.into()) }
slices! { f16, slice => Kind::Values(slice.into()) }
slices! { bf16, slice => Kind::Values(slice.into()) }

macro_rules! codes {
    ($(#[$doc:meta])* $type:ident $spec:ident $specials:ident) => {
        slices! { $type, slice => Kind::Codes(<$type as Format>::SPEC, to_codes(slice)) }
    };
}
crate::for_each_number!(codes);
crate::for_each_scale!(codes);

impl<'a> From<Values<'a>> for Numbers<'a> {
    fn from(values: Values<'a>) -> Self {
        Self(Kind::Values(values))
    }
}

impl<'a> From<MatRef<'a>> for Numbers<'a> {
    fn from(matrix: MatRef<'a>) -> Self {
        let (rows, cols) = matrix.shape();
        if matrix.is_contiguous() {
            return Self(Kind::Values(matrix.parts().0.split_at(rows * cols).0));
        }
        Self(Kind::Matrix(matrix))
    }
}

impl<'a> From<QuantizedView<'a>> for Numbers<'a> {
    fn from(view: QuantizedView<'a>) -> Self {
        Self(Kind::Quantized(view))
    }
}

impl<'a> From<&'a Quantized> for Numbers<'a> {
    fn from(quantized: &'a Quantized) -> Self {
        quantized.view().into()
    }
}

/// Element `i` of a quantized matrix.
fn value(view: &QuantizedView<'_>, i: usize) -> f32 {
    let cols = view.shape().1.max(1);
    view.value(i / cols, i % cols)
}

/// On this thread: pieces are what threads share.
fn alone() -> DecodeOptions {
    DecodeOptions::new().threads(1)
}
