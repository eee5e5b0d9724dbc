//! What becomes of codes: stored, stored transposed, or decoded again.

use super::engine::Engine;
use super::pieces::Area;
use crate::arch::cast::to_codes_mut;
use crate::arch::decoder::Decoder;
use crate::arch::encoder::Encoder;
use crate::arch::{Kernels, Words};
use crate::format::{Policy, table};
use crate::slice::{PIECE, ValuesMut};
use std::vec;
use std::vec::Vec;

/// Takes codes piece by piece.
pub(super) trait Target: Send + Sized {
    /// Where `len` codes of a row go.
    fn codes(&mut self, row: usize, col: usize, len: usize) -> &mut [u8];

    /// They are there; `scale_inv` are those of their groups of `group` columns.
    fn done(&mut self, _engine: &Engine, _piece: Area, _group: usize, _scale_inv: &[f32]) {}

    /// All tiles are.
    fn finish(&mut self, _engine: &Engine) {}

    /// Before and from this row, or column of a single row, on.
    fn split(self, by_rows: bool, at: usize) -> (Self, Self);
}

/// Codes row after row.
pub(super) struct Stored<'a> {
    codes: &'a mut [u8],
    /// Row and column of the first code, and the distance of rows.
    row: usize,
    col: usize,
    cols: usize,
    /// Where pieces wait that go around the cache.
    buffer: Option<Vec<u8>>,
}

impl<'a> Stored<'a> {
    pub fn new(codes: &'a mut [u8], cols: usize, stream: bool) -> Self {
        let buffer = stream.then(|| vec![0; PIECE]);
        Self { codes, row: 0, col: 0, cols, buffer }
    }

    fn at(&self, row: usize, col: usize) -> usize {
        (row - self.row) * self.cols + col - self.col
    }
}

impl Target for Stored<'_> {
    #[inline]
    fn codes(&mut self, row: usize, col: usize, len: usize) -> &mut [u8] {
        let at = self.at(row, col);
        match &mut self.buffer {
            Some(buffer) => &mut buffer[..len],
            None => &mut self.codes[at..at + len],
        }
    }

    #[inline]
    fn done(&mut self, engine: &Engine, piece: Area, _: usize, _: &[f32]) {
        let (at, len) = (self.at(piece.rows.0, piece.cols.0), piece.cols.1 - piece.cols.0);
        if let Some(buffer) = &self.buffer {
            engine.kernels.stream(&buffer[..len], &mut self.codes[at..at + len]);
        }
    }

    fn finish(&mut self, engine: &Engine) {
        if self.buffer.is_some() {
            engine.kernels.fence();
        }
    }

    fn split(self, by_rows: bool, at: usize) -> (Self, Self) {
        let n = if by_rows { at * self.cols } else { at };
        let (a, b) = self.codes.split_at_mut(n);
        let (row, col) = if by_rows { (at, 0) } else { (0, at) };
        let buffer = self.buffer.as_ref().map(|_| vec![0; PIECE]);
        let second =
            Self { codes: b, row: self.row + row, col: self.col + col, cols: self.cols, buffer };
        (Self { codes: a, ..self }, second)
    }
}

/// Codes of the transposed matrix: a piece of each of its rows.
pub(super) struct Transposed<'a> {
    /// Row c holds the codes of column c of the source.
    rows: Vec<&'a mut [u8]>,
    /// The source's row that comes first in them.
    row: usize,
    tile: Area,
    codes: Vec<u8>,
    turned: Vec<u8>,
}

impl<'a> Transposed<'a> {
    /// `codes` are \[cols, rows\].
    pub fn new(codes: &'a mut [u8], rows: usize) -> Self {
        let rows = codes.chunks_mut(rows.max(1)).collect();
        let tile = Area { rows: (0, 0), cols: (0, 0) };
        Self { rows, row: 0, tile, codes: Vec::new(), turned: Vec::new() }
    }
}

impl Transposed<'_> {
    /// The codes of this area follow.
    pub fn begin(&mut self, tile: Area) {
        let n = (tile.rows.1 - tile.rows.0) * (tile.cols.1 - tile.cols.0);
        self.tile = tile;
        if self.codes.len() < n {
            self.codes.resize(n, 0);
            self.turned.resize(n, 0);
        }
    }

    /// They are all there.
    pub fn end(&mut self, kernels: &Kernels) {
        let Area { rows, cols } = self.tile;
        let (height, width) = (rows.1 - rows.0, cols.1 - cols.0);
        let n = height * width;
        kernels.transpose_u8(height, width, &self.codes[..n], &mut self.turned[..n]);
        let at = rows.0 - self.row;
        let columns = &mut self.rows[cols.0..cols.1];
        for (row, codes) in columns.iter_mut().zip(self.turned[..n].chunks_exact(height.max(1))) {
            row[at..at + height].copy_from_slice(codes);
        }
    }
}

impl Target for Transposed<'_> {
    fn codes(&mut self, row: usize, col: usize, len: usize) -> &mut [u8] {
        let width = self.tile.cols.1 - self.tile.cols.0;
        let at = (row - self.tile.rows.0) * width + col - self.tile.cols.0;
        &mut self.codes[at..at + len]
    }

    fn split(self, by_rows: bool, at: usize) -> (Self, Self) {
        debug_assert!(by_rows);
        let (first, second) = self.rows.into_iter().map(|row| row.split_at_mut(at)).unzip();
        let new =
            |rows, row| Self { rows, row, tile: self.tile, codes: Vec::new(), turned: Vec::new() };
        (new(first, self.row), new(second, self.row + at))
    }
}

/// Values: the codes decoded again.
pub(super) struct Decoded<'a> {
    values: ValuesMut<'a>,
    /// Row and column of the first value, and the distance of rows.
    row: usize,
    col: usize,
    row_stride: usize,
    decoder: &'a Decoder,
    global_scale_inv: f32,
    /// To 16-bit values.
    narrow: Encoder,
    codes: Vec<u8>,
    buffer: Vec<f32>,
}

impl<'a> Decoded<'a> {
    pub fn new(
        (values, row_stride): (ValuesMut<'a>, usize),
        decoder: &'a Decoder,
        global_scale_inv: f32,
    ) -> Self {
        let (codes, buffer) = (vec![0; PIECE], vec![0.0; PIECE]);
        let spec = if let ValuesMut::F16(_) = values { &table::F16 } else { &table::BF16 };
        let narrow = Encoder::new(spec, Policy::NONFINITE, 1.0, false);
        let (row, col) = (0, 0);
        Self { values, row, col, row_stride, decoder, global_scale_inv, narrow, codes, buffer }
    }

    /// The values at a row and column are fl(codes · scale_inv), and · the tensor's own factor.
    pub fn put(
        &mut self,
        kernels: &Kernels,
        (row, col): (usize, usize),
        codes: &[u8],
        group: usize,
        scale_inv: &[f32],
    ) {
        let at = (row - self.row) * self.row_stride + col - self.col;
        let range = at..at + codes.len();
        let values = match &mut self.values {
            ValuesMut::F32(values) => &mut values[range.clone()],
            ValuesMut::F64(_) | ValuesMut::F16(_) | ValuesMut::Bf16(_) => {
                &mut self.buffer[..codes.len()]
            }
        };
        kernels.decode_f32(self.decoder, 1.0, codes, values, false);
        kernels.unscale_groups(group, scale_inv, values);
        if self.global_scale_inv != 1.0 {
            kernels.unscale_groups(PIECE, &[self.global_scale_inv], values);
        }
        let buffer = &self.buffer[..codes.len()];
        let narrowed = match &mut self.values {
            ValuesMut::F32(_) => return,
            ValuesMut::F64(values) => return kernels.f32_to_f64(buffer, &mut values[range]),
            ValuesMut::Bf16(values) => to_codes_mut(&mut values[range]),
            ValuesMut::F16(values) => to_codes_mut(&mut values[range]),
        };
        kernels.encode_u16(&self.narrow, Words::None, buffer, narrowed, false, false);
    }
}

impl Target for Decoded<'_> {
    fn codes(&mut self, _: usize, _: usize, len: usize) -> &mut [u8] {
        &mut self.codes[..len]
    }

    fn done(&mut self, engine: &Engine, piece: Area, group: usize, scale_inv: &[f32]) {
        let codes = std::mem::take(&mut self.codes);
        let len = piece.cols.1 - piece.cols.0;
        let at = (piece.rows.0, piece.cols.0);
        self.put(engine.kernels, at, &codes[..len], group, scale_inv);
        self.codes = codes;
    }

    fn split(self, by_rows: bool, at: usize) -> (Self, Self) {
        let n = if by_rows { (at * self.row_stride).min(self.values.len()) } else { at };
        let (a, b) = self.values.split_at(n);
        let (row, col) = if by_rows { (at, 0) } else { (0, at) };
        let (codes, buffer) = (vec![0; PIECE], vec![0.0; PIECE]);
        let second = Self {
            values: b,
            row: self.row + row,
            col: self.col + col,
            row_stride: self.row_stride,
            decoder: self.decoder,
            global_scale_inv: self.global_scale_inv,
            narrow: self.narrow,
            codes,
            buffer,
        };
        (Self { values: a, ..self }, second)
    }
}
