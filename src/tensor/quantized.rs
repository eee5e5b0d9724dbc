//! Codes, their scales, and what they mean.

use super::Scales;
use crate::arch::Isa;
use crate::error::Error;
use crate::format::FormatId;
use crate::scale::{Granularity, Rule};
use crate::slice::QuantStats;
use std::vec;
use std::vec::Vec;

/// A \[rows, cols\] matrix of codes with scales: the value of element (r, c) is
/// code × `scale_inv` of its group (× the tensor's own factor, for NVFP4).
///
/// Codes are row-major, one a byte; 4- and 6-bit codes may be [packed](Self::pack).
#[derive(Clone, Debug, PartialEq)]
pub struct Quantized {
    pub(super) format: FormatId,
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) granularity: Granularity,
    pub(super) codes: Vec<u8>,
    pub(super) packed: bool,
    pub(super) scales: Scales,
    pub(super) rule: Option<Rule>,
    pub(super) stats: Option<QuantStats>,
    pub(super) block_stats: Vec<QuantStats>,
}

impl Default for Quantized {
    /// Of no elements: room for [`quantize_into`](super::quantize_into).
    fn default() -> Self {
        Self {
            format: FormatId::F8E4M3,
            rows: 0,
            cols: 0,
            granularity: Granularity::Tensor,
            codes: Vec::new(),
            packed: false,
            scales: Scales::F32 { scale: None, scale_inv: vec![1.0] },
            rule: None,
            stats: None,
            block_stats: Vec::new(),
        }
    }
}

impl Quantized {
    /// From codes, one a byte, and scales that are there.
    ///
    /// # Errors
    /// [`Error::Length`] for codes or scales of another number than the shape and granularity
    /// need, [`Error::Code`] for one with bits above the format's, [`Error::CodeWidth`] for a
    /// format of more than 8 bits, [`Error::Range`] for a block without rows or columns.
    ///
    /// ```
    /// use quarter::tensor::{MatMut, Quantized, Scales};
    /// use quarter::{FormatId, Granularity};
    /// let scales = Scales::F32 { scale: None, scale_inv: vec![0.5, 2.0] };
    /// let codes = vec![0x38, 0x40, 0x38, 0xc0]; // 1, 2, 1, −2
    /// let q = Quantized::from_parts(FormatId::F8E4M3, (2, 2), Granularity::Row, codes, scales)?;
    /// let mut values = [0.0_f32; 4];
    /// q.dequantize_into(MatMut::new(&mut values, 2, 2)?)?;
    /// assert_eq!(values, [0.5, 1.0, 2.0, -4.0]);
    /// # Ok::<(), quarter::Error>(())
    /// ```
    pub fn from_parts(
        format: FormatId,
        (rows, cols): (usize, usize),
        granularity: Granularity,
        codes: Vec<u8>,
        scales: Scales,
    ) -> Result<Self, Error> {
        check(format, (rows, cols), granularity, &codes, &scales)?;
        Ok(Self {
            format,
            rows,
            cols,
            granularity,
            codes,
            packed: false,
            scales,
            rule: None,
            stats: None,
            block_stats: Vec::new(),
        })
    }

    /// From 4- or 6-bit codes that are packed as [`FormatSpec::pack`](crate::FormatSpec::pack)
    /// packs the whole matrix.
    ///
    /// # Errors
    /// [`Error::NotPackable`], and those of [`from_parts`](Self::from_parts).
    pub fn from_packed(
        format: FormatId,
        shape: (usize, usize),
        granularity: Granularity,
        packed: &[u8],
        scales: Scales,
    ) -> Result<Self, Error> {
        let n = shape.0.saturating_mul(shape.1);
        format.spec().check_packed(n, packed.len())?;
        let mut codes = vec![0; n];
        format.spec().unpack(packed, &mut codes)?;
        let mut quantized = Self::from_parts(format, shape, granularity, codes, scales)?;
        quantized.pack()?;
        Ok(quantized)
    }

    /// The format of the codes.
    #[must_use]
    pub const fn format(&self) -> FormatId {
        self.format
    }

    /// The number of rows.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// The number of columns.
    #[must_use]
    pub const fn cols(&self) -> usize {
        self.cols
    }

    /// Which elements share a scale.
    #[must_use]
    pub const fn granularity(&self) -> Granularity {
        self.granularity
    }

    /// The codes: one a byte, or packed.
    #[must_use]
    pub fn codes(&self) -> &[u8] {
        &self.codes
    }

    /// Whether the codes are packed.
    #[must_use]
    pub const fn is_packed(&self) -> bool {
        self.packed
    }

    /// The scales.
    #[must_use]
    pub const fn scales(&self) -> &Scales {
        &self.scales
    }

    /// The rule that made the scales, if it is known: matrix products ask how its engine joins the
    /// sums of blocks.
    #[must_use]
    pub const fn rule(&self) -> Option<Rule> {
        self.rule
    }

    /// With the rule that made the scales.
    #[must_use]
    pub fn with_rule(self, rule: Rule) -> Self {
        Self { rule: Some(rule), ..self }
    }

    /// What happened to the values, where that was asked for.
    #[must_use]
    pub const fn stats(&self) -> Option<&QuantStats> {
        self.stats.as_ref()
    }

    /// What happened to the values of each group, where that was asked for; else empty.
    #[must_use]
    pub fn block_stats(&self) -> &[QuantStats] {
        &self.block_stats
    }

    /// Codes and scales, to be kept elsewhere.
    #[must_use]
    pub fn into_parts(self) -> (Vec<u8>, Scales) {
        (self.codes, self.scales)
    }

    /// Packs 4- and 6-bit codes without gaps, the first in the low bits; nothing if they are.
    ///
    /// # Errors
    /// [`Error::NotPackable`] for 8-bit formats.
    pub fn pack(&mut self) -> Result<(), Error> {
        let bytes = self.format.spec().packed_len(self.codes.len())?;
        if !self.packed {
            let mut packed = vec![0; bytes];
            self.format.spec().pack(&self.codes, &mut packed)?;
            (self.codes, self.packed) = (packed, true);
        }
        Ok(())
    }

    /// One code a byte again; nothing if they are.
    pub fn unpack(&mut self) {
        if self.packed {
            let mut codes = vec![0; self.rows * self.cols];
            Isa::best().kernels().unpack(self.format.spec().bits(), &self.codes, &mut codes);
            (self.codes, self.packed) = (codes, false);
        }
    }

    /// As the transpose, of a single row or column.
    pub(super) fn relabelled(self) -> Self {
        let granularity = self.granularity.transposed();
        Self { rows: self.cols, cols: self.rows, granularity, ..self }
    }

    /// The transpose, of the same codes: for granularities that it does not change.
    ///
    /// # Errors
    /// [`Error::Cast`] for other granularities, whose transposed copy is
    /// [quantized](super::quantize_transposed) from the source.
    ///
    /// ```
    /// use quarter::tensor::{MatRef, QuantizeOptions, quantize, quantize_transposed};
    /// let w: Vec<f32> = (0..200 * 300).map(|i| (i as f32).cos()).collect();
    /// let (w, options) = (MatRef::new(&w, 200, 300)?, QuantizeOptions::new());
    /// let cast = "e4m3:128x128:te-block".parse()?;
    /// let turned = quantize(w, &cast, &options)?.transposed()?;
    /// assert_eq!(turned, quantize_transposed(w, &cast, &options)?);
    /// # Ok::<(), quarter::Error>(())
    /// ```
    pub fn transposed(&self) -> Result<Self, Error> {
        /// Rows and columns that are turned at a time.
        const TILE: usize = 128;
        if !self.granularity.is_symmetric() {
            let why = "codes of this granularity cannot be transposed: quantize the transpose";
            return Err(Error::Cast { why });
        }
        let mut source = self.clone();
        source.unpack();
        let (rows, cols) = (self.rows, self.cols);
        let kernels = Isa::best().kernels();
        let mut codes = vec![0; source.codes.len()];
        let (mut tile, mut turned) = ([0; TILE * TILE], [0; TILE * TILE]);
        for (row, col) in (0..rows)
            .step_by(TILE)
            .flat_map(|row| (0..cols).step_by(TILE).map(move |col| (row, col)))
        {
            let (height, width) = (TILE.min(rows - row), TILE.min(cols - col));
            for (r, line) in tile.chunks_exact_mut(width).take(height).enumerate() {
                let at = (row + r) * cols + col;
                line.copy_from_slice(&source.codes[at..at + width]);
            }
            let n = height * width;
            kernels.transpose_u8(height, width, &tile[..n], &mut turned[..n]);
            for (c, line) in turned[..n].chunks_exact(height).enumerate() {
                let at = (col + c) * rows + row;
                codes[at..at + height].copy_from_slice(line);
            }
        }
        let grid = self.granularity.grid(rows, cols);
        let mut result = Self {
            rows: cols,
            cols: rows,
            codes,
            packed: false,
            scales: source.scales.transposed(grid.1),
            block_stats: super::scales::transposed(&source.block_stats, grid.1),
            ..*self
        };
        if self.packed {
            result.pack()?;
        }
        Ok(result)
    }

    /// It as a view.
    #[must_use]
    pub fn view(&self) -> QuantizedView<'_> {
        QuantizedView {
            format: self.format,
            rows: self.rows,
            cols: self.cols,
            granularity: self.granularity,
            codes: &self.codes,
            packed: self.packed,
            scales: &self.scales,
            rule: self.rule,
            first_row: 0,
        }
    }
}

/// # Errors
/// Those of [`Quantized::from_parts`].
fn check(
    format: FormatId,
    (rows, cols): (usize, usize),
    granularity: Granularity,
    codes: &[u8],
    scales: &Scales,
) -> Result<(), Error> {
    let spec = format.spec();
    granularity.check()?;
    if spec.bits() > 8 {
        return Err(Error::CodeWidth { format: spec.name(), expected: spec.bits(), got: 8 });
    }
    let expected = rows.saturating_mul(cols);
    if codes.len() != expected {
        return Err(Error::Length { what: "slice of codes", expected, got: codes.len() });
    }
    scales.check(granularity.groups(rows, cols))?;
    let mask = spec.code_mask() as u8;
    if let Some(code) = codes.iter().find(|code| **code & !mask != 0) {
        let (format, bits) = (spec.name(), spec.bits());
        return Err(Error::Code { format, bits, got: u32::from(*code) });
    }
    Ok(())
}

/// Some rows of a [`Quantized`], borrowed.
#[derive(Clone, Copy, Debug)]
pub struct QuantizedView<'a> {
    pub(super) format: FormatId,
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) granularity: Granularity,
    pub(super) codes: &'a [u8],
    pub(super) packed: bool,
    pub(super) scales: &'a Scales,
    pub(super) rule: Option<Rule>,
    /// Where its rows begin in the matrix that `scales` is of.
    pub(super) first_row: usize,
}

impl<'a> QuantizedView<'a> {
    /// Of codes, one a byte, and scales that are kept elsewhere.
    ///
    /// # Errors
    /// Those of [`Quantized::from_parts`].
    pub fn new(
        format: FormatId,
        (rows, cols): (usize, usize),
        granularity: Granularity,
        codes: &'a [u8],
        scales: &'a Scales,
    ) -> Result<Self, Error> {
        check(format, (rows, cols), granularity, codes, scales)?;
        let (packed, rule, first_row) = (false, None, 0);
        Ok(Self { format, rows, cols, granularity, codes, packed, scales, rule, first_row })
    }

    /// With the rule that made the scales.
    #[must_use]
    pub const fn with_rule(self, rule: Rule) -> Self {
        Self { rule: Some(rule), ..self }
    }

    /// The rule that made the scales, if it is known.
    #[must_use]
    pub const fn rule(&self) -> Option<Rule> {
        self.rule
    }

    /// Where its rows begin in the matrix that the scales are of.
    pub(crate) const fn first_row(&self) -> usize {
        self.first_row
    }

    /// The format of the codes.
    #[must_use]
    pub const fn format(&self) -> FormatId {
        self.format
    }

    /// Rows and columns.
    #[must_use]
    pub const fn shape(&self) -> (usize, usize) {
        (self.rows, self.cols)
    }

    /// Which elements share a scale.
    #[must_use]
    pub const fn granularity(&self) -> Granularity {
        self.granularity
    }

    /// The codes of these rows, one a byte or packed.
    #[must_use]
    pub const fn codes(&self) -> &'a [u8] {
        self.codes
    }

    /// Whether the codes are packed.
    #[must_use]
    pub const fn is_packed(&self) -> bool {
        self.packed
    }

    /// The scales of the whole matrix: [`group`](Self::group) says which is whose.
    #[must_use]
    pub const fn scales(&self) -> &'a Scales {
        self.scales
    }

    /// The scale by which the code of element (row, col) is multiplied, without the tensor's own
    /// factor.
    ///
    /// # Panics
    /// Beyond the last row or column.
    #[must_use]
    pub fn scale_inv(&self, row: usize, col: usize) -> f32 {
        assert!(row < self.rows && col < self.cols, "({row}, {col}) of {:?}", self.shape());
        self.scales.scale_inv(self.group(row, col))
    }

    /// The index, in the scales of the whole matrix, of the group of element (row, col).
    #[must_use]
    pub const fn group(&self, row: usize, col: usize) -> usize {
        let row = row + self.first_row;
        match self.granularity {
            Granularity::Tensor => 0,
            Granularity::Row => row,
            Granularity::Col => col,
            Granularity::Block { rows, cols } => row / rows * self.cols.div_ceil(cols) + col / cols,
        }
    }

    /// Rows `from..to` of it.
    ///
    /// # Errors
    /// [`Error::Range`] beyond the last row; [`Error::Cast`] if the codes are packed and the rows
    /// do not begin and end at whole bytes.
    pub fn slice_rows(self, from: usize, to: usize) -> Result<Self, Error> {
        let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        if to > self.rows || from > to {
            let (what, got) = ("last row of a view", number(to));
            return Err(Error::Range { what, got, min: number(from), max: number(self.rows) });
        }
        let bits = if self.packed { self.format.spec().bits() as usize } else { 8 };
        let (start, end) = (from * self.cols * bits, to * self.cols * bits);
        if start % 8 != 0 || (end % 8 != 0 && to != self.rows) {
            return Err(Error::Cast { why: "packed rows of a view must be whole bytes" });
        }
        let codes = &self.codes[start / 8..end.div_ceil(8)];
        Ok(Self { rows: to - from, codes, first_row: self.first_row + from, ..self })
    }
}
