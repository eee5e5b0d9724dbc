//! The product in blocks.
//!
//! ```text
//!  for panels of b that fit the last cache         (at most RIGHT bytes)
//!    for runs of segments                          (at most DEPTH elements of K; mostly all)
//!      pack b; then each thread, for its rows of a:
//!        for panels of a that fit the second cache (at most LEFT bytes): pack a
//!          for two panels of b
//!            for a panel of a: a tile, over the whole run: sums stay in the first cache
//! ```
//!
//! Where K is cut into runs the sums of a tile wait in memory for the next one. Where there are few
//! rows, threads share the columns, each packs its own panels of b, and sums wait for a last pass.

use super::GemmStats;
use super::epilogue::{Sink, Writer};
use super::input::Operand;
use super::output::{GemmOutput, Target};
use super::plan::{FEW, Plan};
use super::problem::Problem;
use super::sums::Sums as Rule;
use super::workspace::{Part, Side, Workspace, room};
use crate::arch::encoder::Encoder;
use crate::arch::tile::{LANES, Line, Sums, Tile};
use crate::error::Error;
use crate::format::{FormatId, Policy};
use crate::mma::Unit;
use crate::slice::parallel::{join, parts};
use core::mem::take;

/// Multiply-adds that are worth as much as an element of a conversion: from 2^23 on a second
/// thread pays.
pub(super) const WORK: usize = 32;

/// Rows of a whose sums wait for the next run of segments.
const WAITING: usize = 2048;

pub(super) const EMPTY: Sums = [Line::ZERO; 2 * LANES];

type Store = Option<(FormatId, Encoder, Policy)>;

/// What all threads see of one block of columns and one run of segments.
#[derive(Clone, Copy)]
pub(super) struct Job<'a> {
    pub problem: &'a Problem<'a>,
    pub plan: &'a Plan<'a>,
    pub store: &'a Store,
    pub cuts: &'a [usize],
    /// Lines of each segment of the run, and of all.
    pub segments: &'a [u32],
    pub lines: usize,
    first: bool,
    last: bool,
    thin: bool,
    unit: Option<&'a Unit>,
    /// Whether C is where a unit's chains begin.
    pub begins_with_c: bool,
}

pub(super) fn gemm(
    problem: &Problem<'_>,
    out: GemmOutput<'_>,
    space: &mut Workspace,
) -> Result<GemmStats, Error> {
    let plan = Plan::new(problem);
    let unit = problem.options.sums.unit;
    let thin = unit.is_none() && super::thin::applies(problem, &plan);
    let plan = match unit {
        Some(_) => plan.unpaired(),
        None if thin => plan,
        None => plan.folded(problem),
    };
    let (m, n) = problem.shape();
    let GemmOutput { mut target, encoder, .. } = out;
    let segments = problem.cuts.len() - 1;
    let whole_rows = thin || unit.is_some();
    let depth = if whole_rows { segments.max(1) } else { plan.depth.min(segments.max(1)) };
    let work = m.saturating_mul(n).saturating_mul(problem.a.k.max(1)) / WORK;
    let threads = parts(work, problem.options.threads);
    let Workspace { segments: lengths, right, parts: own, .. } = space;
    let lengths = room(lengths, depth, 0)?;
    own.resize_with(own.len().max(threads), Part::default);
    let mut amax = 0_u32;
    let by_columns = thin || m.div_ceil(plan.kernels.rows) < 2 * threads;
    let begins_with_c = super::unit::begins_with_c(problem);
    let whole = depth >= segments;
    let height = if whole { m.max(1) } else { WAITING };
    for top in (0..m).step_by(height) {
        let bottom = m.min(top + height);
        let mut left = 0;
        while left < n {
            let mut end = left;
            let mut at = 0;
            loop {
                let cuts = &problem.cuts[at..=(at + depth).min(segments)];
                let lines = plan.lines(cuts, lengths);
                let job = Job {
                    problem,
                    plan: &plan,
                    store: &encoder,
                    cuts,
                    segments: &lengths[..cuts.len() - 1],
                    lines,
                    first: at == 0,
                    last: at + depth >= segments,
                    thin,
                    unit,
                    begins_with_c,
                };
                let (_, pairs) = plan.panels(problem, lines);
                if at == 0 {
                    // Few rows leave room for little of b, and each thread has its own.
                    let share = if by_columns && m <= FEW { threads } else { 1 };
                    let width = (pairs * share).saturating_mul(2 * LANES);
                    end = if whole_rows { n } else { n.min(left + width) };
                }
                let place = Place { rows: (top, bottom), cols: (left, end) };
                let target = target.reborrow().split_rows(top).1;
                amax = amax.max(if by_columns && threads > 1 {
                    job.by_columns(place, target, &mut own[..threads])?
                } else {
                    job.by_rows(place, target, right, &mut own[..threads])?
                });
                at += depth;
                if at >= segments {
                    break;
                }
            }
            left = end;
        }
    }
    let amax = problem.options.amax.then(|| f32::from_bits(amax));
    Ok(GemmStats { amax, on_unit: problem.on_unit() })
}

/// Some rows and columns of the output.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub rows: (usize, usize),
    pub cols: (usize, usize),
}

impl Place {
    pub const fn shape(&self) -> (usize, usize) {
        (self.rows.1 - self.rows.0, self.cols.1 - self.cols.0)
    }
}

/// Packed panels of the right operand.
#[derive(Clone, Copy)]
struct Right<'a> {
    lines: &'a [Line],
    scales: &'a [Line],
}

impl Job<'_> {
    /// Lines of scales of a panel: one for each segment where scales meet them there, else one.
    pub(super) fn scale_lines(&self) -> usize {
        if self.problem.sums == Rule::After { 1 } else { self.segments.len() }
    }

    /// Packs the panels from a row of the operand on, each of `height` rows.
    pub(super) fn pack(
        &self,
        side: usize,
        rows: (usize, usize),
        height: usize,
        to: [&mut [Line]; 2],
    ) {
        let operand = if side == 0 { &self.problem.a } else { &self.problem.b };
        let packing = self.plan.packing(self.cuts);
        let [lines, scales] = to;
        let per = self.scale_lines();
        let starts = (rows.0..rows.1).step_by(height);
        for ((i, start), scales) in starts.enumerate().zip(scales.chunks_exact_mut(per.max(1))) {
            let rows = (start, rows.1.min(start + height));
            self.scales(side, operand, rows, scales);
            let fold = self.plan.fold[side].is_some().then_some(&*scales);
            packing.pack(operand, rows, fold, &mut lines[i * self.lines..][..self.lines]);
        }
    }

    pub(super) fn scales(
        &self,
        side: usize,
        operand: &Operand<'_>,
        rows: (usize, usize),
        to: &mut [Line],
    ) {
        match self.problem.sums {
            Rule::After => {
                for (row, lane) in (rows.0..rows.1).zip(&mut to[0].0) {
                    let scale = if operand.k == 0 { None } else { operand.last_scale(row, false) };
                    *lane = scale.unwrap_or(1.0).to_bits();
                }
            }
            Rule::Blocks(_) | Rule::Powers | Rule::Products => {
                self.plan.scale_lines(side, operand, rows, self.cuts, to);
            }
        }
    }

    /// All threads pack the right operand together, then each takes some of the rows.
    fn by_rows(
        &self,
        place: Place,
        target: Target<'_>,
        right: &mut Side,
        own: &mut [Part],
    ) -> Result<u32, Error> {
        if self.thin {
            return self.thin(place, Sink::Target(target), &mut own[0]);
        }
        if self.unit.is_some() {
            return self.rows(place, target, Right { lines: &[], scales: &[] }, own);
        }
        let panels = (place.cols.1 - place.cols.0).div_ceil(LANES);
        let per = self.scale_lines();
        let lines = room(&mut right.lines, panels * self.lines, Line::ZERO)?;
        let scales = room(&mut right.scales, panels * per, Line::ZERO)?;
        self.pack_right(place.cols, [lines, scales], own.len());
        let right = Right { lines, scales };
        self.rows(place, target, right, own)
    }

    fn pack_right(&self, cols: (usize, usize), [lines, scales]: [&mut [Line]; 2], threads: usize) {
        let panels = (cols.1 - cols.0).div_ceil(LANES);
        if threads < 2 || panels < 2 {
            return self.pack(1, cols, LANES, [lines, scales]);
        }
        let half = panels * (threads / 2) / threads;
        let half = half.max(1);
        let middle = cols.0 + half * LANES;
        let (l0, l1) = lines.split_at_mut(half * self.lines);
        let (s0, s1) = scales.split_at_mut(half * self.scale_lines());
        join(
            || self.pack_right((cols.0, middle), [l0, s0], threads / 2),
            || self.pack_right((middle, cols.1), [l1, s1], threads - threads / 2),
        );
    }

    fn rows(
        &self,
        place: Place,
        target: Target<'_>,
        right: Right<'_>,
        own: &mut [Part],
    ) -> Result<u32, Error> {
        let (top, bottom) = place.rows;
        let height = if self.unit.is_some() { LANES } else { self.plan.kernels.rows };
        let panels = (bottom - top).div_ceil(height);
        if own.len() < 2 || panels < 2 {
            let sink = Sink::Target(target);
            return match self.unit {
                Some(unit) => self.unit(unit, place, sink, &mut own[0]),
                None => self.block(place, sink, right, &mut own[0]),
            };
        }
        let first = own.len() / 2;
        let middle = top + (panels * first / own.len()).max(1) * height;
        let (upper, lower) = target.split_rows(middle - top);
        let (a, b) = own.split_at_mut(first);
        let (x, y) = join(
            || self.rows(Place { rows: (top, middle), ..place }, upper, right, a),
            || self.rows(Place { rows: (middle, bottom), ..place }, lower, right, b),
        );
        Ok(x?.max(y?))
    }

    /// Each thread takes some of the columns; then one stores what they found.
    fn by_columns(
        &self,
        place: Place,
        mut target: Target<'_>,
        own: &mut [Part],
    ) -> Result<u32, Error> {
        let amax = self.columns(place, &target, own)?;
        if self.last {
            self.store(place, &mut target, own);
        }
        Ok(amax)
    }

    fn columns(&self, place: Place, held: &Target<'_>, own: &mut [Part]) -> Result<u32, Error> {
        if let Some((first, rest)) = halves(place, own.len()) {
            let (a, b) = own.split_at_mut(own.len() / 2);
            let (x, y) = join(|| self.columns(first, held, a), || self.columns(rest, held, b));
            return Ok(x?.max(y?));
        }
        let [part, ..] = own else { return Ok(0) };
        let (height, width) = place.shape();
        let panels = width.div_ceil(LANES);
        let mut results = take(&mut part.results);
        if self.thin || self.unit.is_some() {
            let rows = room(&mut results, height * width, 0.0)?;
            let sink = Sink::Rows(rows, held);
            let amax = match self.unit {
                Some(unit) => self.unit(unit, place, sink, part),
                None => self.thin(place, sink, part),
            };
            part.results = results;
            return amax;
        }
        let mut right = take(&mut part.right);
        let lines = room(&mut right.lines, panels * self.lines, Line::ZERO)?;
        let scales = room(&mut right.scales, panels * self.scale_lines(), Line::ZERO)?;
        self.pack(1, place.cols, LANES, [lines, scales]);
        let packed = Right { lines, scales };
        let rows = room(&mut results, if self.last { height * width } else { 0 }, 0.0)?;
        let amax = self.block(place, Sink::Rows(rows, held), packed, part);
        (part.right, part.results) = (right, results);
        amax
    }

    fn store(&self, place: Place, target: &mut Target<'_>, own: &[Part]) {
        if let Some((first, rest)) = halves(place, own.len()) {
            let (a, b) = own.split_at(own.len() / 2);
            self.store(first, target, a);
            return self.store(rest, target, b);
        }
        let [part, ..] = own else { return };
        let (_, width) = place.shape();
        for (row, values) in part.results.chunks_exact(width).take(place.shape().0).enumerate() {
            for (values, col) in values.chunks(2 * LANES).zip((place.cols.0..).step_by(2 * LANES)) {
                let mut lines = [Line::ZERO; 2];
                for (value, bits) in values.iter().zip(lines.iter_mut().flat_map(|l| &mut l.0)) {
                    *bits = value.to_bits();
                }
                let [x, y] = &lines;
                let kernels = self.plan.kernels;
                target.put(kernels, self.store.as_ref(), (row, col), [x, y], values.len());
            }
        }
    }

    /// The tiles of a place, whose panels of b are packed.
    fn block(
        &self,
        place: Place,
        sink: Sink<'_>,
        right: Right<'_>,
        part: &mut Part,
    ) -> Result<u32, Error> {
        let (kernels, per, n) = (self.plan.kernels, self.scale_lines(), self.lines);
        let Place { rows, cols } = place;
        let (panels, _) = self.plan.panels(self.problem, n);
        // Panels of about the same height, as a tile of few rows is less efficient.
        let all = (rows.1 - rows.0).div_ceil(kernels.rows).max(1);
        let height = (rows.1 - rows.0).div_ceil(all).max(1);
        let step = panels.min(all) * height;
        let tiles = (cols.1 - cols.0).div_ceil(2 * LANES);
        let waits = !(self.first && self.last);
        let left = room(&mut part.left.lines, panels.min(all) * n, Line::ZERO)?;
        let scales = room(&mut part.left.scales, panels.min(all) * per, Line::ZERO)?;
        let waiting = room(&mut part.sums, if waits { all * tiles } else { 1 }, EMPTY)?;
        let mut writer = Writer::new(self, place, sink);
        for top in (rows.0..rows.1).step_by(step) {
            let bottom = rows.1.min(top + step);
            self.pack(0, (top, bottom), height, [left, scales]);
            for (tile, col) in (cols.0..cols.1).step_by(2 * LANES).enumerate() {
                let [b0, b1] = [2 * tile, 2 * tile + 1].map(|i| right.panel(i, n, per));
                for (i, row) in (top..bottom).step_by(height).enumerate() {
                    let here = (row, bottom.min(row + height));
                    let index = if waits { (row - rows.0) / height * tiles + tile } else { 0 };
                    let sums = &mut waiting[index];
                    if let (true, Sink::Target(target)) = (self.last, &writer.sink) {
                        let cols = (col, cols.1.min(col + 2 * LANES));
                        target.fetch(kernels, (here.0 - rows.0, here.1 - rows.0), cols);
                    }
                    let a_scales = &scales[i * per..][..per];
                    kernels.tile(
                        &Tile {
                            pairs: self.plan.pairs,
                            exact: self.plan.exact,
                            fresh: self.first,
                            rows: here.1 - here.0,
                            segments: self.segments,
                            a: &left[i * n..][..n],
                            b: [b0.0, b1.0],
                            join: self.plan.join,
                            scales_a: a_scales,
                            scales_b: [b0.1, b1.1],
                        },
                        sums,
                    );
                    if self.last {
                        let cols = (col, cols.1.min(col + 2 * LANES));
                        let place = Place { rows: here, cols };
                        writer.write(place, [a_scales, b0.1, b1.1], sums);
                    }
                }
            }
        }
        Ok(writer.amax)
    }
}

impl<'a> Right<'a> {
    /// Panel `i` and its scales; nothing beyond the last.
    fn panel(&self, i: usize, lines: usize, scales: usize) -> (&'a [Line], &'a [Line]) {
        if i * scales >= self.scales.len() {
            return (&[], &[]);
        }
        (&self.lines[i * lines..][..lines], &self.scales[i * scales..][..scales])
    }
}

/// The columns of half the threads, and of the others, in whole tiles; none for one thread, or too
/// few columns.
fn halves(place: Place, threads: usize) -> Option<(Place, Place)> {
    let (from, to) = place.cols;
    let tiles = (to - from).div_ceil(2 * LANES);
    if threads < 2 || tiles < 2 {
        return None;
    }
    let middle = from + (tiles * (threads / 2) / threads).max(1) * 2 * LANES;
    Some((Place { cols: (from, middle), ..place }, Place { cols: (middle, to), ..place }))
}
