//! Operands → panels, as [`arch::tile`](crate::arch::tile) describes them.

use super::input::{Elements, Operand};
use super::packed::Kind;
use crate::arch::Kernels;
use crate::arch::cast::{bytes, to_codes};
use crate::arch::decoder::decoder_of;
use crate::arch::tile::{Fold, LANES, Line, QUAD};
use crate::slice::Values;
use crate::tensor::MatRef;

/// Quads that are expanded at a time, from the first-level cache.
const QUADS: usize = 64;

/// How panels of an operand are packed.
#[derive(Clone, Copy)]
pub(super) struct Packing<'a> {
    pub kernels: &'a Kernels,
    pub pairs: bool,
    /// The length of all segments but the last, which may be shorter, if it is a multiple of four
    /// or there is one segment.
    pub even: Option<usize>,
    /// Where segments begin, and the end of the last.
    pub cuts: &'a [usize],
}

impl Packing<'_> {
    /// The lines of `k` elements of a segment.
    pub const fn lines(pairs: bool, k: usize) -> usize {
        k.div_ceil(QUAD) * if pairs { QUAD / 2 } else { QUAD }
    }

    /// Packs at most sixteen rows; codes of even segments times powers of two, if there is a line
    /// of exponents for each segment.
    pub fn pack(
        &self,
        operand: &Operand<'_>,
        rows: (usize, usize),
        exponents: Option<&[Line]>,
        out: &mut [Line],
    ) {
        let [first, .., last] = *self.cuts else { return };
        if let Some(len) = self.even {
            let quads = len.div_ceil(QUAD).max(1);
            let fold = exponents.map(|exponents| Fold { exponents, quads });
            return self.run(operand, rows, (first, last), fold, out);
        }
        let mut out = out;
        for segment in self.cuts.windows(2) {
            let n = Self::lines(self.pairs, segment[1] - segment[0]);
            let (now, rest) = out.split_at_mut(n);
            self.run(operand, rows, (segment[0], segment[1]), None, now);
            out = rest;
        }
    }

    fn run(
        &self,
        operand: &Operand<'_>,
        rows: (usize, usize),
        k: (usize, usize),
        fold: Option<Fold<'_>>,
        out: &mut [Line],
    ) {
        let (kernels, pairs) = (self.kernels, self.pairs);
        let per = Self::lines(pairs, QUAD);
        let total = (k.1 - k.0).div_ceil(QUAD);
        match operand.elements {
            Elements::Codes { decoder, codes, stride, .. } => {
                let mut rows = rows_of(codes, stride, rows, k);
                let mut quads = [Line::ZERO; QUADS];
                for_runs(total, fold, |at, n, fold| {
                    let quads = &mut quads[..n];
                    kernels.lanes(&rows, false, &[], quads);
                    rows = rows.map(|row| row.get(n * QUAD..).unwrap_or_default());
                    kernels.expand(decoder, fold, pairs, quads, &mut out[at * per..(at + n) * per]);
                });
            }
            Elements::Packed(packed) => {
                let lines = packed.panel(rows.0, k);
                match (packed.kind(), pairs) {
                    (Kind::Codes(format), _) => {
                        let Some(decoder) = decoder_of(format) else { return };
                        for_runs(total, fold, |at, n, fold| {
                            let out = &mut out[at * per..(at + n) * per];
                            kernels.expand(decoder, fold, pairs, &lines[at..at + n], out);
                        });
                    }
                    (Kind::Bf16, false) => kernels.split(lines, out),
                    (Kind::Bf16, true) | (Kind::F32, _) => out.copy_from_slice(lines),
                }
            }
            Elements::Values(values) => {
                let source = Elementwise { values, rows, k };
                if pairs {
                    source.pack(kernels, Kind::Bf16, out);
                } else {
                    source.pack(kernels, Kind::F32, out);
                }
            }
        }
    }
}

/// Calls `f` for runs of at most [`QUADS`] quads: where the run begins, its length, and the fold
/// from there on.
fn for_runs<'f>(
    total: usize,
    fold: Option<Fold<'f>>,
    mut f: impl FnMut(usize, usize, Option<Fold<'f>>),
) {
    let mut at = 0;
    while at < total {
        let (here, most) = match fold {
            None => (None, QUADS),
            Some(Fold { exponents, quads }) => {
                let (group, within) = (at / quads, at % quads);
                let most = if quads < QUADS { QUADS / quads * quads } else { quads - within };
                (Some(Fold { exponents: &exponents[group..], quads }), most.min(QUADS))
            }
        };
        let n = most.min(total - at);
        f(at, n, here);
        at += n;
    }
}

/// At most sixteen rows of codes, from an element of K to another.
pub(super) fn rows_of(
    codes: &[u8],
    stride: usize,
    (from, to): (usize, usize),
    k: (usize, usize),
) -> [&[u8]; LANES] {
    let mut rows = [&[][..]; LANES];
    for (row, line) in (from..to).zip(&mut rows) {
        *line = &codes[row * stride + k.0..row * stride + k.1];
    }
    rows
}

/// Some rows and elements of K of a plain operand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Elementwise<'a> {
    pub values: MatRef<'a>,
    pub rows: (usize, usize),
    pub k: (usize, usize),
}

impl Elementwise<'_> {
    /// Packs pairs of what is bf16, or f32 of anything.
    pub fn pack(&self, kernels: &Kernels, kind: Kind, out: &mut [Line]) {
        let (values, row_stride, col_stride) = self.values.parts();
        let (rows, k) = (self.rows, self.k);
        let start = |row: usize| row * row_stride + k.0 * col_stride;
        let n = k.1 - k.0;
        let mut lines = [&[][..]; LANES];
        // What the next panel is of, where that follows.
        let ahead = if row_stride == n { (rows.1 - rows.0) * n } else { 0 };
        match (values, kind) {
            (Values::Bf16(values), Kind::Bf16) if col_stride == 1 => {
                for (row, line) in (rows.0..rows.1).zip(&mut lines) {
                    *line = bytes(&values[start(row)..start(row) + n]);
                }
                kernels.lanes(&lines, true, bytes(next_rows(values, start(rows.1), ahead)), out);
            }
            (Values::F32(values), Kind::F32) if col_stride == 1 => {
                for (row, line) in (rows.0..rows.1).zip(&mut lines) {
                    *line = bytes(&values[start(row)..start(row) + n]);
                }
                kernels.lanes(&lines, false, bytes(next_rows(values, start(rows.1), ahead)), out);
            }
            // What a line needs lies side by side, as in a transpose.
            (Values::Bf16(values), Kind::Bf16) if row_stride == 1 => {
                let from = to_codes(values.get(start(rows.0)..).unwrap_or_default());
                kernels.column_pairs(rows.1 - rows.0, col_stride, n, from, out);
            }
            (Values::F32(values), Kind::F32) if row_stride == 1 => {
                let from = to_codes(values.get(start(rows.0)..).unwrap_or_default());
                let (lines, beyond) = out.split_at_mut(n.min(out.len()));
                kernels.columns(rows.1 - rows.0, col_stride, from, lines);
                beyond.fill(Line::ZERO);
            }
            (Values::Bf16(values), Kind::Bf16) => {
                let bits = |i: usize| u32::from(values[i].to_bits());
                out.fill(Line::ZERO);
                for k in 0..n {
                    let shift = if k.is_multiple_of(2) { 16 } else { 0 };
                    for (row, lane) in (rows.0..rows.1).zip(&mut out[k / 2].0) {
                        *lane |= bits(start(row) + k * col_stride) << shift;
                    }
                }
            }
            _ => {
                out.fill(Line::ZERO);
                for (k, line) in (k.0..k.1).zip(out) {
                    for (row, lane) in (rows.0..rows.1).zip(&mut line.0) {
                        *lane = self.values.get(row, k).to_bits();
                    }
                }
            }
        }
    }
}

/// At most so many elements from a place on.
fn next_rows<T>(values: &[T], from: usize, most: usize) -> &[T] {
    let rest = values.get(from..).unwrap_or_default();
    &rest[..most.min(rest.len())]
}
