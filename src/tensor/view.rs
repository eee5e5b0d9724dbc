//! Matrices in the caller's slices.

use crate::arch::cast::{bytes, to_codes, to_codes_mut};
use crate::arch::{Isa, Kernels};
use crate::error::Error;
use crate::format::{FormatId, Policy};
use crate::scale::SourceType;
use crate::slice::{EncodeOptions, PIECE, Values, ValuesMut, encode};
use half::bf16;
use std::borrow::Cow;
use std::vec;
use std::vec::Vec;

/// A \[rows, cols\] matrix in a slice: element (r, c) is at r · row_stride + c · col_stride.
///
/// ```
/// use quarter::tensor::MatRef;
/// let x = [1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0];
/// let x = MatRef::new(&x, 2, 3)?;
/// assert_eq!(x.transposed().shape(), (3, 2));
/// assert!(MatRef::new(&[0.0_f32; 5], 2, 3).is_err());
/// # Ok::<(), quarter::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct MatRef<'a> {
    values: Values<'a>,
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a> MatRef<'a> {
    /// Row after row, without gaps.
    ///
    /// # Errors
    /// [`Error::Length`] unless the slice has rows · cols elements.
    pub fn new(values: impl Into<Values<'a>>, rows: usize, cols: usize) -> Result<Self, Error> {
        let values = values.into();
        check_len(rows, cols, values.len())?;
        Ok(Self { values, rows, cols, row_stride: cols, col_stride: 1 })
    }

    /// With any strides; elements may overlap.
    ///
    /// # Errors
    /// [`Error::Strides`] if the last element is beyond the slice.
    pub fn with_strides(
        values: impl Into<Values<'a>>,
        (rows, cols): (usize, usize),
        (row_stride, col_stride): (usize, usize),
    ) -> Result<Self, Error> {
        let values = values.into();
        check_strides((rows, cols), (row_stride, col_stride), values.len())?;
        Ok(Self { values, rows, cols, row_stride, col_stride })
    }

    /// The same elements with rows and columns exchanged.
    #[must_use]
    pub const fn transposed(self) -> Self {
        Self {
            values: self.values,
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
        }
    }

    /// Rows and columns.
    #[must_use]
    pub const fn shape(&self) -> (usize, usize) {
        (self.rows, self.cols)
    }

    /// Whether rows follow each other without gaps.
    #[must_use]
    pub const fn is_contiguous(&self) -> bool {
        (self.col_stride == 1 || self.cols <= 1) && (self.row_stride == self.cols || self.rows <= 1)
    }

    /// What the elements are for the rules that look at it.
    #[must_use]
    pub const fn source_type(&self) -> SourceType {
        match self.values {
            Values::F64(_) | Values::F32(_) => SourceType::F32,
            Values::F16(_) => SourceType::F16,
            Values::Bf16(_) => SourceType::Bf16,
        }
    }

    /// Element (row, col) as f32; f64 is rounded to nearest even.
    #[inline]
    pub(crate) fn get(&self, row: usize, col: usize) -> f32 {
        self.values.get_f32(row * self.row_stride + col * self.col_stride)
    }

    /// Elements of a row from a column on, as f32.
    pub(crate) fn read(&self, row: usize, col: usize, to: &mut [f32]) {
        if let (Values::F32(values), 1) = (self.values, self.col_stride) {
            return to.copy_from_slice(&values[row * self.row_stride + col..][..to.len()]);
        }
        for (col, value) in (col..).zip(to) {
            *value = self.get(row, col);
        }
    }

    /// The slice, and the distances of rows and columns in it.
    pub(crate) const fn parts(&self) -> (Values<'a>, usize, usize) {
        (self.values, self.row_stride, self.col_stride)
    }

    /// Rows and columns `from..to` of it.
    pub(crate) fn part(self, rows: (usize, usize), cols: (usize, usize)) -> Self {
        let (n, m) = (rows.1 - rows.0, cols.1 - cols.0);
        let start = if n == 0 || m == 0 {
            self.values.len()
        } else {
            rows.0 * self.row_stride + cols.0 * self.col_stride
        };
        Self { values: self.values.split_at(start).1, rows: n, cols: m, ..self }
    }

    /// Its elements rounded once to bf16, row after row; f64 too.
    ///
    /// # Errors
    /// None that the shape allows.
    pub(crate) fn to_bf16(self, threads: usize, isa: Isa) -> Result<Vec<bf16>, Error> {
        let (rows, cols) = self.shape();
        let mut out = vec![bf16::ZERO; rows * cols];
        let options = EncodeOptions::new(Policy::NONFINITE).threads(threads).isa(isa);
        let spec = FormatId::Bf16.spec();
        if let Some(values) = self.flat() {
            encode(spec, values, to_codes_mut(&mut out), &options)?;
            return Ok(out);
        }
        for (row, line) in out.chunks_exact_mut(cols.max(1)).enumerate() {
            let start = row * self.row_stride;
            if self.col_stride == 1 {
                let values = self.values.split_at(start).1.split_at(cols).0;
                encode(spec, values, to_codes_mut(line), &options)?;
            } else {
                for (col, value) in line.iter_mut().enumerate() {
                    let i = start + col * self.col_stride;
                    *value = match self.values {
                        Values::F64(s) => crate::format::bf16_from_f64(s[i]),
                        _ => bf16::from_f32(self.values.get_f32(i)),
                    };
                }
            }
        }
        Ok(out)
    }

    /// Its elements as f32, row after row; f64 is rounded to nearest even.
    pub(crate) fn to_f32(self) -> Vec<f32> {
        let (rows, cols) = self.shape();
        let mut out = vec![0.0; rows * cols];
        let kernels = Isa::best().kernels();
        for (row, line) in out.chunks_exact_mut(cols.max(1)).enumerate() {
            self.widen(kernels, row * self.row_stride, line);
        }
        out
    }

    /// The same, without a copy where it is f32, row after row, already.
    pub(crate) fn f32s(self) -> Cow<'a, [f32]> {
        match self.flat() {
            Some(Values::F32(values)) => Cow::Borrowed(values),
            _ => Cow::Owned(self.to_f32()),
        }
    }

    /// The bytes of an element.
    pub(crate) const fn element_bytes(&self) -> usize {
        match self.values {
            Values::F64(_) => 8,
            Values::F32(_) => 4,
            Values::F16(_) | Values::Bf16(_) => 2,
        }
    }

    /// Whether it has more elements than its slice.
    pub(super) const fn overlaps(&self) -> bool {
        self.rows * self.cols > self.values.len()
    }

    /// The elements where they are contiguous.
    pub(super) fn flat(&self) -> Option<Values<'a>> {
        self.is_contiguous().then(|| {
            let n = self.rows * self.cols;
            self.values.split_at(n).0
        })
    }

    /// As one row, where that is the same elements in the same order.
    pub(super) const fn as_row(self) -> Self {
        Self { rows: 1, cols: self.rows * self.cols, col_stride: 1, ..self }
    }

    /// Columns `from..from + len` of a row as f32, from the slice itself or through `buffer`: at
    /// most `PIECE`. f64 is rounded to nearest even.
    pub(super) fn load<'b>(
        &self,
        kernels: &Kernels,
        (row, from): (usize, usize),
        len: usize,
        buffer: &'b mut Widened,
    ) -> &'b [f32]
    where
        'a: 'b,
    {
        let start = row * self.row_stride + from * self.col_stride;
        if let (Values::F32(values), 1) = (self.values, self.col_stride) {
            return if len == 0 { &[] } else { &values[start..start + len] };
        }
        let here = (row, from, len);
        if buffer.holds != Some(here) && len > 0 {
            self.widen(kernels, start, &mut buffer.values[..len]);
            buffer.holds = Some(here);
        }
        &buffer.values[..len]
    }

    fn widen(&self, kernels: &Kernels, start: usize, dst: &mut [f32]) {
        if self.col_stride != 1 {
            for (i, value) in dst.iter_mut().enumerate() {
                *value = self.values.get_f32(start + i * self.col_stride);
            }
            return;
        }
        let range = start..start + dst.len();
        match self.values {
            Values::F32(values) => dst.copy_from_slice(&values[range]),
            Values::F64(values) => kernels.f64_to_nearest(&values[range], dst),
            Values::F16(values) => kernels.f16_to_f32(to_codes(&values[range]), dst),
            Values::Bf16(values) => kernels.bf16_to_f32(to_codes(&values[range]), dst, false),
        }
    }
}

impl PartialEq for MatRef<'_> {
    /// The same shape and equal values, exactly, whatever the types and strides; NaN equals nothing.
    fn eq(&self, other: &Self) -> bool {
        self.shape() == other.shape() && self.pairs(other).all(|(x, y)| x == y)
    }
}

impl MatRef<'_> {
    /// The elements of two matrices of one shape, row by row, exactly.
    pub(crate) fn pairs(&self, other: &Self) -> impl Iterator<Item = (f64, f64)> {
        let get = |matrix: &Self, row: usize, col: usize| {
            matrix.values.get_f64(row * matrix.row_stride + col * matrix.col_stride)
        };
        let at = |row| (0..self.cols).map(move |col| (row, col));
        let places = (0..self.rows).flat_map(at);
        places.map(move |(row, col)| (get(self, row, col), get(other, row, col)))
    }
}

/// The piece of a row that was made f32 last: of a short row it is wanted twice. One for each source.
pub(super) struct Widened {
    values: Vec<f32>,
    holds: Option<(usize, usize, usize)>,
}

impl Widened {
    pub fn new() -> Self {
        Self { values: vec![0.0; PIECE], holds: None }
    }
}

impl MatRef<'_> {
    /// Whether rows are read from the slice itself.
    pub(super) const fn is_direct(&self) -> bool {
        matches!((self.values, self.col_stride), (Values::F32(_), 1))
    }

    /// Begins to fetch columns of a row into the cache, as far as there are any.
    pub(super) fn fetch(&self, kernels: &Kernels, row: usize, (from, to): (usize, usize)) {
        let (from, to) = (from.min(self.cols), to.min(self.cols));
        if self.col_stride != 1 || from == to {
            return;
        }
        let range = row * self.row_stride + from..row * self.row_stride + to;
        match self.values {
            Values::F64(values) => kernels.fetch(bytes(&values[range])),
            Values::F32(values) => kernels.fetch(bytes(&values[range])),
            Values::F16(values) => kernels.fetch(bytes(&values[range])),
            Values::Bf16(values) => kernels.fetch(bytes(&values[range])),
        }
    }

    /// The largest |x| of columns `from..from + len` of a row, as f32 bits.
    pub(super) fn amax(
        &self,
        kernels: &Kernels,
        drop_nan: bool,
        (row, from): (usize, usize),
        len: usize,
        buffer: &mut Widened,
    ) -> u32 {
        match self.values {
            Values::Bf16(values) if self.col_stride == 1 => {
                let start = row * self.row_stride + from;
                kernels.amax_bf16(drop_nan, to_codes(&values[start..start + len]))
            }
            _ => kernels.amax(drop_nan, self.load(kernels, (row, from), len, buffer)),
        }
    }
}

/// A \[rows, cols\] matrix to be written: rows without gaps, at a distance of `row_stride`.
#[derive(Debug)]
pub struct MatMut<'a> {
    values: ValuesMut<'a>,
    rows: usize,
    cols: usize,
    row_stride: usize,
}

impl<'a> MatMut<'a> {
    /// Row after row, without gaps.
    ///
    /// # Errors
    /// [`Error::Length`] unless the slice has rows · cols elements.
    pub fn new(values: impl Into<ValuesMut<'a>>, rows: usize, cols: usize) -> Result<Self, Error> {
        let values = values.into();
        check_len(rows, cols, values.len())?;
        Ok(Self { values, rows, cols, row_stride: cols })
    }

    /// Rows at a distance of `row_stride` ≥ `cols`; what is between them is left as it is.
    ///
    /// # Errors
    /// [`Error::Strides`] if rows overlap or the last element is beyond the slice.
    pub fn with_row_stride(
        values: impl Into<ValuesMut<'a>>,
        (rows, cols): (usize, usize),
        row_stride: usize,
    ) -> Result<Self, Error> {
        let values = values.into();
        check_strides((rows, cols), (row_stride, 1), values.len())?;
        if row_stride < cols && rows > 1 {
            let (shape, strides) = ((rows, cols), (row_stride, 1));
            return Err(Error::Strides { shape, strides, len: values.len() });
        }
        Ok(Self { values, rows, cols, row_stride })
    }

    /// Rows and columns.
    #[must_use]
    pub const fn shape(&self) -> (usize, usize) {
        (self.rows, self.cols)
    }

    /// Whether rows follow each other without gaps.
    pub(super) const fn is_contiguous(&self) -> bool {
        self.row_stride == self.cols || self.rows <= 1
    }

    /// The slice and the distance of rows in it.
    pub(crate) fn into_parts(self) -> (ValuesMut<'a>, usize) {
        (self.values, self.row_stride)
    }
}

fn check_len(rows: usize, cols: usize, got: usize) -> Result<(), Error> {
    let expected = rows.saturating_mul(cols);
    if got != expected {
        return Err(Error::Length { what: "slice of a matrix", expected, got });
    }
    Ok(())
}

fn check_strides(shape: (usize, usize), strides: (usize, usize), len: usize) -> Result<(), Error> {
    let last = |n: usize, stride: usize| (n - 1).checked_mul(stride);
    let fits = || -> Option<bool> {
        let end = last(shape.0, strides.0)?.checked_add(last(shape.1, strides.1)?)?;
        shape.0.checked_mul(shape.1)?;
        Some(end < len)
    };
    if shape.0 == 0 || shape.1 == 0 || fits() == Some(true) {
        return Ok(());
    }
    Err(Error::Strides { shape, strides, len })
}
