//! Products of a few rows: codes of the right operand are decoded in registers, so that it is read
//! once and nothing of it written.

use super::blocked::{EMPTY, Job, Place};
use super::epilogue::{Sink, Writer};
use super::input::Elements;
use super::options::Blocking;
use super::pack::rows_of;
use super::packed::Kind;
use super::plan::Plan;
use super::problem::Problem;
use super::workspace::{Part, room};
use crate::arch::decoder::{Decoder, decoder_of};
use crate::arch::tile::{LANES, Line, QUAD, Sums, THIN, Thin};
use crate::error::Error;

/// The most rows of a.
const ROWS: usize = 2 * THIN;

/// The most elements of K: each thread keeps the rows, in full.
const DEPTH: usize = 1 << 16;

/// Quads of each panel at a time: both are in the first-level cache.
const QUADS: usize = 64;

/// Whether a product is computed here.
pub(super) fn applies(problem: &Problem<'_>, plan: &Plan<'_>) -> bool {
    let codes = match problem.b.elements {
        Elements::Codes { .. } => true,
        Elements::Packed(packed) => matches!(packed.kind(), Kind::Codes(_)),
        Elements::Values(_) => false,
    };
    let units = plan.pairs || !plan.kernels.pairs;
    codes
        && units
        && plan.even.is_some()
        && (1..=ROWS).contains(&problem.a.rows)
        && problem.a.k <= DEPTH
        && problem.options.blocking == Blocking::default()
}

impl Job<'_> {
    /// The sums of some columns; the left operand is packed by each thread for itself.
    pub(super) fn thin(&self, place: Place, sink: Sink<'_>, part: &mut Part) -> Result<u32, Error> {
        let (m, per) = (place.rows.1 - place.rows.0, self.scale_lines());
        let Some(decoder) = self.decoder() else { return Ok(0) };
        let left = room(&mut part.left.lines, self.lines, Line::ZERO)?;
        let scales = room(&mut part.left.scales, per, Line::ZERO)?;
        let scales_b = room(&mut part.right.scales, 2 * per, Line::ZERO)?;
        self.pack(0, place.rows, LANES, [left, scales]);
        // Row after row: a word is read with a whole line of b.
        let words = room(&mut part.words, m * self.lines, 0)?;
        for (r, row) in words.chunks_exact_mut(self.lines.max(1)).enumerate() {
            for (word, line) in row.iter_mut().zip(&*left) {
                *word = line.0[r];
            }
        }
        let mut rows = [&[][..]; ROWS];
        for (row, words) in rows.iter_mut().zip(words.chunks_exact(self.lines.max(1))) {
            *row = words;
        }
        let mut writer = Writer::new(self, place, sink);
        for col in (place.cols.0..place.cols.1).step_by(2 * LANES) {
            let cols = (col, place.cols.1.min(col + 2 * LANES));
            let middle = cols.1.min(col + LANES);
            let panels = [(col, middle), (middle, cols.1)];
            for (panel, scales) in panels.into_iter().zip(scales_b.chunks_exact_mut(per.max(1))) {
                self.scales(1, &self.problem.b, panel, scales);
            }
            let (sb0, sb1) = scales_b.split_at(per);
            let scales = [&*scales, sb0, sb1];
            let mut sums = self.sums(decoder, panels, scales, &rows[..m]);
            writer.write(Place { cols, ..place }, scales, &mut sums);
        }
        Ok(writer.amax)
    }

    fn decoder(&self) -> Option<&'static Decoder> {
        match self.problem.b.elements {
            Elements::Codes { decoder, .. } => Some(decoder),
            Elements::Packed(packed) => match packed.kind() {
                Kind::Codes(format) => decoder_of(format),
                Kind::Bf16 | Kind::F32 => None,
            },
            Elements::Values(_) => None,
        }
    }

    /// The sums of two panels, in runs: some segments, or a part of one.
    fn sums(
        &self,
        decoder: &Decoder,
        panels: [(usize, usize); 2],
        scales: [&[Line]; 3],
        rows: &[&[u32]],
    ) -> Sums {
        let Plan { kernels, pairs, exact, join, .. } = *self.plan;
        let height = rows.len().div_ceil(rows.len().div_ceil(THIN));
        let per = if pairs { QUAD / 2 } else { QUAD };
        let (first, last) = (self.cuts[0], self.cuts[self.cuts.len() - 1]);
        let total = (last - first).div_ceil(QUAD);
        let each = self.plan.even.unwrap_or(0).div_ceil(QUAD).max(1);
        let (mut p, mut sums, mut at) = (EMPTY, EMPTY, 0);
        let mut scratch = [[Line::ZERO; QUADS]; 2];
        while at < total {
            let (segment, within) = (at / each, at % each);
            let most = if each < QUADS { QUADS / each * each } else { QUADS.min(each - within) };
            let n = most.min(total - at);
            let k = (first + at * QUAD, last.min(first + (at + n) * QUAD));
            let mut b = [&[][..]; 2];
            for ((b, panel), scratch) in b.iter_mut().zip(panels).zip(&mut scratch) {
                *b = match self.problem.b.elements {
                    _ if panel.0 == panel.1 => continue,
                    Elements::Packed(packed) => packed.panel(panel.0, k),
                    Elements::Codes { codes, stride, .. } => {
                        let rows = rows_of(codes, stride, panel, k);
                        kernels.lanes(&rows, false, &mut scratch[..n]);
                        &scratch[..n]
                    }
                    Elements::Values(_) => continue,
                };
            }
            let whole = [within == 0, (at + n) % each == 0 || at + n == total];
            let [scales_a, sb0, sb1] = scales.map(|scales| scales.get(segment..).unwrap_or(&[]));
            for (i, rows) in rows.chunks(height).enumerate() {
                let mut a = [&[][..]; THIN];
                for (a, row) in a.iter_mut().zip(rows) {
                    *a = &row[at * per..(at + n) * per];
                }
                let (a, first, scales_b) = (&a[..rows.len()], i * height, [sb0, sb1]);
                let thin =
                    Thin { pairs, exact, a, first, b, each, whole, join, scales_a, scales_b };
                kernels.thin(decoder, &thin, &mut p, &mut sums);
            }
            at += n;
        }
        sums
    }
}
