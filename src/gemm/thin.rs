//! Products of a few rows: codes of the right operand are decoded in registers, so that it is read
//! once and nothing of it written.

use super::blocked::{Job, Place};
use super::epilogue::{Sink, Writer};
use super::input::Elements;
use super::options::Blocking;
use super::pack::rows_of;
use super::packed::Kind;
use super::plan::Plan;
use super::problem::Problem;
use super::workspace::{Part, room};
use crate::arch::cast::bytes;
use crate::arch::decoder::{Decoder, decoder_of};
use crate::arch::tile::{LANES, Line, QUAD, Thin, WIDE, WideSums, thin_rows};
use crate::error::Error;
use crate::slice::Values;

/// The most elements of K: each thread keeps the rows, in full.
const DEPTH: usize = 1 << 16;

/// Lines of each panel at a time: all are in the first-level cache.
const LINES: usize = 64;

/// Bytes of a row that are fetched while those before them are multiplied.
const FAR: usize = 4096;

/// Columns at a time.
const COLS: usize = WIDE * LANES;

/// What the lines of the right operand are.
#[derive(Clone, Copy)]
enum Right {
    Quads(&'static Decoder),
    /// Two lines of pairs for four elements of K.
    Pairs,
}

impl Right {
    fn of(elements: &Elements<'_>) -> Option<Self> {
        let codes = |decoder| Some(Self::Quads(decoder));
        match elements {
            Elements::Codes { decoder, .. } => codes(*decoder),
            Elements::Packed(packed) => match packed.kind() {
                Kind::Codes(format) => decoder_of(format).and_then(codes),
                Kind::Bf16 => Some(Self::Pairs),
                Kind::F32 => None,
            },
            Elements::Values(values) => match values.parts() {
                (Values::Bf16(_), _, 1) => Some(Self::Pairs),
                _ => None,
            },
        }
    }

    /// Lines of four elements of K.
    const fn lines(self) -> usize {
        match self {
            Self::Quads(_) => 1,
            Self::Pairs => 2,
        }
    }
}

/// Whether a product is computed here.
pub(super) fn applies(problem: &Problem<'_>, plan: &Plan<'_>) -> bool {
    let possible = match Right::of(&problem.b.elements) {
        Some(Right::Quads(_)) => plan.pairs || !plan.kernels.pairs,
        Some(Right::Pairs) => plan.pairs,
        None => false,
    };
    possible
        && plan.even.is_some()
        && (1..=LANES).contains(&problem.a.rows)
        && problem.a.k <= DEPTH
        && problem.options.blocking == Blocking::default()
}

/// What some columns are multiplied with.
struct Rows<'a> {
    /// A word of each row for each line.
    words: &'a [u32],
    rows: usize,
    scales: &'a [Line],
}

impl Job<'_> {
    /// The sums of some columns; the left operand is packed by each thread for itself.
    pub(super) fn thin(&self, place: Place, sink: Sink<'_>, part: &mut Part) -> Result<u32, Error> {
        let Some(right) = Right::of(&self.problem.b.elements) else { return Ok(0) };
        let per = self.scale_lines();
        let rows = thin_rows(place.rows.1 - place.rows.0);
        let left = room(&mut part.left.lines, self.lines, Line::ZERO)?;
        let scales = room(&mut part.left.scales, per, Line::ZERO)?;
        let scales_b = room(&mut part.right.scales, WIDE * per, Line::ZERO)?;
        self.pack(0, place.rows, LANES, [left, scales]);
        let words = room(&mut part.words, rows * self.lines, 0)?;
        for (words, line) in words.chunks_exact_mut(rows).zip(&*left) {
            words.iter_mut().zip(&line.0).for_each(|(word, x)| *word = *x);
        }
        let a = Rows { words, rows, scales };
        let mut writer = Writer::new(self, place, sink);
        let mut scratch = [[Line::ZERO; LINES]; WIDE];
        for col in (place.cols.0..place.cols.1).step_by(COLS) {
            let panels: [_; WIDE] = core::array::from_fn(|i| {
                let edge = |i: usize| place.cols.1.min(col + i * LANES);
                (edge(i), edge(i + 1))
            });
            for (panel, scales) in panels.into_iter().zip(scales_b.chunks_exact_mut(per.max(1))) {
                self.scales(1, &self.problem.b, panel, scales);
            }
            let scales = core::array::from_fn(|i| &scales_b[i * per..(i + 1) * per]);
            let mut sums = [Line::ZERO; WIDE * LANES];
            self.sums(right, (panels, place.cols.1), &a, scales, &mut scratch, &mut sums);
            let (tiles, _) = sums.as_chunks_mut::<{ 2 * LANES }>();
            for (i, sums) in tiles.iter_mut().enumerate() {
                let cols = (panels[2 * i].0, panels[2 * i + 1].1);
                if cols.0 < cols.1 {
                    let scales = [a.scales, scales[2 * i], scales[2 * i + 1]];
                    writer.write(Place { cols, ..place }, scales, sums);
                }
            }
        }
        Ok(writer.amax)
    }

    /// The sums of some panels, in runs: some segments, or a part of one.
    fn sums(
        &self,
        right: Right,
        (panels, end): ([(usize, usize); WIDE], usize),
        a: &Rows<'_>,
        scales: [&[Line]; WIDE],
        scratch: &mut [[Line; LINES]; WIDE],
        sums: &mut WideSums,
    ) {
        let Plan { kernels, pairs, exact, join, .. } = *self.plan;
        let per = if pairs { QUAD / 2 } else { QUAD } * a.rows;
        let lines = right.lines();
        let (first, last) = (self.cuts[0], self.cuts[self.cuts.len() - 1]);
        let total = (last - first).div_ceil(QUAD);
        let each = self.plan.even.unwrap_or(0).div_ceil(QUAD).max(1);
        let (mut p, mut at) = ([Line::ZERO; WIDE * LANES], 0);
        while at < total {
            let (segment, within) = (at / each, at % each);
            let most = LINES / lines;
            let most = if each < most { most / each * each } else { most.min(each - within) };
            let n = most.min(total - at);
            let k = (first + at * QUAD, last.min(first + (at + n) * QUAD));
            let mut b = [&[][..]; WIDE];
            let parts = b.iter_mut().zip(panels).zip(&mut *scratch);
            for (i, ((b, panel), scratch)) in parts.enumerate() {
                let ahead = self.ahead((panels[0].0, end), (at, n, total), i);
                *b = match self.problem.b.elements {
                    _ if panel.0 == panel.1 => continue,
                    Elements::Packed(packed) => packed.panel(panel.0, k),
                    Elements::Codes { codes, stride, .. } => {
                        let rows = rows_of(codes, stride, panel, k);
                        kernels.lanes(&rows, false, ahead, &mut scratch[..n * lines]);
                        &scratch[..n * lines]
                    }
                    Elements::Values(_) => {
                        let mut rows = [&[][..]; LANES];
                        for (row, line) in (panel.0..panel.1).zip(&mut rows) {
                            *line = self.bytes(row, k);
                        }
                        kernels.lanes(&rows, true, ahead, &mut scratch[..n * lines]);
                        &scratch[..n * lines]
                    }
                };
            }
            let scales = scales.map(|scales| scales.get(segment..).unwrap_or(&[]));
            let thin = Thin {
                pairs,
                exact,
                rows: a.rows,
                a: &a.words[at * per..(at + n) * per],
                decoder: match right {
                    Right::Quads(decoder) => Some(decoder),
                    Right::Pairs => None,
                },
                b,
                each,
                whole: [within == 0, (at + n) % each == 0 || at + n == total],
                join,
                scales_a: a.scales.get(segment..).unwrap_or(&[]),
                scales_b: scales,
            };
            kernels.thin(&thin, &mut p, sums);
            at += n;
        }
    }

    /// The bytes of a part of a row that is not packed.
    fn bytes(&self, row: usize, k: (usize, usize)) -> &[u8] {
        self.span(row, row, k)
    }

    /// The same from one row to another one.
    fn span(&self, first: usize, last: usize, k: (usize, usize)) -> &[u8] {
        match self.problem.b.elements {
            Elements::Codes { codes, stride, .. } => {
                &codes[first * stride + k.0..last * stride + k.1]
            }
            Elements::Values(values) => match values.parts() {
                (Values::Bf16(values), stride, _) => {
                    bytes(&values[first * stride + k.0..last * stride + k.1])
                }
                _ => &[],
            },
            Elements::Packed(_) => &[],
        }
    }

    /// What is read after a while, a part of it for each panel of a run: further elements of the same
    /// rows, or the next rows. Rows are far apart, so the processor does not foresee it.
    fn ahead(
        &self,
        cols: (usize, usize),
        (at, n, total): (usize, usize, usize),
        panel: usize,
    ) -> &[u8] {
        let values = matches!(self.problem.b.elements, Elements::Values(_));
        let far = FAR / QUAD / if values { 2 } else { 1 };
        let (here, within) = (at / far * far, at % far);
        let length = far.min(total - here);
        let (col, from) =
            if here + far < total { (cols.0, here + far) } else { (cols.0 + COLS, 0) };
        let share = |panel: usize| col + (within * WIDE + n * panel) * LANES / length;
        let (top, bottom) = (share(panel), share(panel + 1).min(cols.1));
        if top >= bottom {
            return &[];
        }
        let (first, last) = (self.cuts[0], self.cuts[self.cuts.len() - 1]);
        let k = (first + from * QUAD, last.min(first + (from + far) * QUAD));
        self.span(top, bottom - 1, k)
    }
}
