//! Products as a matrix unit of a chip computes them.
//!
//! ```text
//!  for some rows of a: their elements and exponents
//!    for two panels of b: the same
//!      for sixteen rows: for each interval of K a chain of the unit's steps; intervals join in f32
//! ```

use super::blocked::{EMPTY, Job, Place};
use super::epilogue::{Sink, Writer};
use super::input::{Elements, Operand};
use super::options::Addend;
use super::packed::Kind;
use super::problem::Problem;
use super::sums::Sums as Rule;
use super::workspace::{Part, room};
use crate::arch::Kernels;
use crate::arch::tile::{Join, LANES, Line};
use crate::arch::units::{Chain, NO_SCALE, Output};
use crate::error::Error;
use crate::format::{FormatSpec, table};
use crate::mma::{self, TF32, Unit};
use crate::scale::{Granularity, ScaleFormat};
use crate::slice::Values;
use half::f16;
use std::vec::Vec;

/// Bytes of the rows of a that are kept while b passes by.
const LEFT: usize = 2 << 20;

/// The format that a unit takes an operand for.
fn format_of(operand: &Operand<'_>, unit: &Unit) -> &'static FormatSpec {
    match operand.elements {
        Elements::Codes { format, .. } => format.spec(),
        Elements::Packed(packed) => match packed.kind() {
            Kind::Codes(format) => format.spec(),
            Kind::Bf16 => &table::BF16,
            Kind::F32 => unit.format_of_f32(),
        },
        Elements::Values(values) => match values.parts().0 {
            Values::Bf16(_) => &table::BF16,
            Values::F16(_) => &table::F16,
            Values::F32(_) => unit.format_of_f32(),
            Values::F64(_) => &table::F64,
        },
    }
}

/// # Errors
/// [`Error::Unit`] for formats that it does not multiply; [`Error::Cast`] for scales that it needs
/// and does not get.
pub(super) fn check(
    unit: &Unit,
    [a, b]: [&Operand<'_>; 2],
    promote: Option<u32>,
) -> Result<(), Error> {
    unit.check(format_of(a, unit), format_of(b, unit))?;
    let mx = |operand: &Operand<'_>| {
        let form = operand.scaling.map(|scaling| (scaling.scales.format(), scaling.block()));
        form == Some((ScaleFormat::E8M0, Some(32)))
    };
    if unit.has_block_scales() && promote.is_some_and(|n| n % 32 != 0) {
        let why = "this unit multiplies blocks of 32: promote at multiples of 32";
        return Err(Error::Cast { why });
    }
    if unit.has_block_scales() && !(mx(a) && mx(b)) {
        let why = "this unit multiplies blocks of 32 with E8M0 scales: cast both operands by 1x32 \
                   and a rule such as te-mx";
        return Err(Error::Cast { why });
    }
    Ok(())
}

/// Whether C is what the unit's chain begins with: nothing is promoted, scaled or multiplied.
pub(super) fn begins_with_c(problem: &Problem<'_>) -> bool {
    let options = problem.options;
    let beta = match options.c {
        Addend::None => return false,
        Addend::Matrix(beta, _) | Addend::Output(beta) => beta,
    };
    // A scale is as good as an alpha.
    let plain = |operand: &Operand<'_>| {
        operand.scaling.is_none_or(|scaling| {
            scaling.granularity == Granularity::Tensor && scaling.scales.scale_inv(0) == 1.0
        })
    };
    let scales = options.sums.unit.is_some_and(Unit::has_block_scales)
        || (plain(&problem.a) && plain(&problem.b));
    let promoted = options.sums.promote.is_some() || options.sums.split_k.is_some();
    options.sums.unit.is_some()
        && beta == 1.0
        && options.alpha.is_none_or(|alpha| alpha == 1.0)
        && scales
        && !promoted
}

/// Sixteen rows of an operand, as units see them.
struct Panel<'a> {
    values: &'a [Line],
    exponents: &'a [Line],
    /// Of the segments, for joins; or of blocks of 32, for the unit.
    scales: &'a [Line],
    small: bool,
}

impl Job<'_> {
    /// Some rows and columns.
    pub(super) fn unit(
        &self,
        unit: &Unit,
        place: Place,
        sink: Sink<'_>,
        part: &mut Part,
    ) -> Result<u32, Error> {
        let (lines, per) = (self.lines.max(1), self.scale_lines().max(1));
        let per = if unit.has_block_scales() { self.problem.a.k.div_ceil(32).max(1) } else { per };
        let bytes = 2 * lines * size_of::<Line>();
        let all = (place.rows.1 - place.rows.0).div_ceil(LANES).max(1);
        let panels = (LEFT / bytes).clamp(1, all);
        let left = room(&mut part.left.lines, 2 * panels * lines, Line::ZERO)?;
        let left_scales = room(&mut part.left.scales, panels * per, Line::ZERO)?;
        let right = room(&mut part.right.lines, 4 * lines, Line::ZERO)?;
        let right_scales = room(&mut part.right.scales, 2 * per, Line::ZERO)?;
        let mut writer = Writer::new(self, place, sink);
        let step = panels * LANES;
        let small = room(&mut part.small, panels + 2, false)?;
        let (left_small, right_small) = small.split_at_mut(panels);
        for top in (place.rows.0..place.rows.1).step_by(step) {
            let bottom = place.rows.1.min(top + step);
            let starts = (top..bottom).step_by(LANES);
            let buffers = left.chunks_exact_mut(2 * lines).zip(left_scales.chunks_exact_mut(per));
            for ((row, buffers), small) in starts.clone().zip(buffers).zip(&mut *left_small) {
                let rows = (row, bottom.min(row + LANES));
                *small = self.panel(unit, 0, rows, buffers);
            }
            for col in (place.cols.0..place.cols.1).step_by(2 * LANES) {
                let edge = |i: usize| place.cols.1.min(col + i * LANES);
                let cols = [(edge(0), edge(1)), (edge(1), edge(2))];
                let buffers = right.chunks_exact_mut(2 * lines);
                let buffers = buffers.zip(right_scales.chunks_exact_mut(per));
                let both = cols.into_iter().zip(buffers).zip(&mut *right_small);
                for ((cols, buffers), small) in both {
                    *small = self.panel(unit, 1, cols, buffers);
                }
                for (i, row) in starts.clone().enumerate() {
                    let rows = (row, bottom.min(row + LANES));
                    let a = view(left, left_scales, (i, lines, per), left_small[i]);
                    let b =
                        [0, 1].map(|i| view(right, right_scales, (i, lines, per), right_small[i]));
                    let here = Place { rows, cols: (col, edge(2)) };
                    let mut sums = EMPTY;
                    if self.begins_with_c {
                        writer.read_c(here, &mut sums);
                        if unit.output() == Output::F16 {
                            let lanes = sums.iter_mut().flat_map(|line| &mut line.0);
                            lanes.for_each(|x| {
                                *x = f16::from_f32(f32::from_bits(*x)).to_f32().to_bits()
                            });
                        }
                    }
                    for (half, sums) in sums.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
                        if cols[half].0 < cols[half].1 {
                            self.chains(unit, rows.1 - rows.0, [&a, &b[half]], sums);
                        }
                    }
                    writer.write(here, [a.scales, b[0].scales, b[1].scales], &mut sums);
                }
            }
        }
        Ok(writer.amax)
    }

    /// Sixteen rows times sixteen columns.
    fn chains(&self, unit: &Unit, rows: usize, [a, b]: [&Panel<'_>; 2], sums: &mut [Line; LANES]) {
        let kernels = self.plan.kernels;
        let scaled = unit.has_block_scales();
        let Problem { joins, part, .. } = *self.problem;
        let join = if scaled { Join::Add } else { self.plan.join };
        let (mut at, mut total) = (0, None);
        for (segment, lines) in self.segments.iter().enumerate() {
            let range = at..at + *lines as usize;
            at = range.end;
            let (from, to) = (self.cuts[segment], self.cuts[segment + 1]);
            let blocks = if scaled { from / 32..to.div_ceil(32) } else { 0..0 };
            let chain = Chain {
                rule: unit.rule(),
                output: unit.output(),
                rows,
                depth: to - from,
                a: &a.values[range.clone()],
                b: &b.values[range.clone()],
                ea: &a.exponents[range.clone()],
                eb: &b.exponents[range],
                scales: [&a.scales[blocks.clone()], &b.scales[blocks]],
                small: a.small && b.small,
            };
            if !joins {
                mma::chain(kernels, &chain, sums);
                continue;
            }
            if from > 0 && part.is_some_and(|part| from % part == 0) {
                add(kernels, rows, &mut total, sums);
            }
            let mut p = [Line::ZERO; LANES];
            mma::chain(kernels, &chain, &mut p);
            let scale = |panel: &Panel<'_>| panel.scales.get(segment).copied();
            let scales = [a, b].map(|panel| scale(panel).unwrap_or(Line::ZERO));
            kernels.join(join, rows, &scales, &p, sums);
        }
        if total.is_some() {
            add(kernels, rows, &mut total, sums);
            *sums = total.unwrap_or([Line::ZERO; LANES]);
        }
    }

    /// Packs sixteen rows of an operand: elements, exponents, scales; whether all elements are small
    /// and finite.
    fn panel(
        &self,
        unit: &Unit,
        side: usize,
        rows: (usize, usize),
        (lines, scales): (&mut [Line], &mut [Line]),
    ) -> bool {
        let operand = if side == 0 { &self.problem.a } else { &self.problem.b };
        if rows.0 == rows.1 {
            return false;
        }
        let (values, exponents) = lines.split_at_mut(lines.len() / 2);
        self.plan.packing(self.cuts).pack(operand, rows, None, values);
        let spec = format_of(operand, unit);
        if spec == &TF32 {
            let lanes = values.iter_mut().flat_map(|line| &mut line.0);
            lanes.for_each(|bits| *bits &= !0x1fff);
        }
        self.plan.kernels.exponents(spec.emin(), values, exponents);
        if unit.has_block_scales() {
            self.block_scales(operand, rows, scales);
        } else {
            self.scales(side, operand, rows, scales);
        }
        spec.bits() <= 8
            && values.iter().flat_map(|line| &line.0).all(|bits| bits & 0x7f80_0000 != 0x7f80_0000)
    }

    /// The exponents of blocks of 32.
    fn block_scales(&self, operand: &Operand<'_>, rows: (usize, usize), out: &mut [Line]) {
        let Some(scaling) = operand.scaling else { return };
        for (block, line) in out.iter_mut().enumerate().take(operand.k.div_ceil(32)) {
            *line = Line::ZERO;
            for (row, lane) in (rows.0..rows.1).zip(&mut line.0) {
                let power = scaling.power(scaling.group(row, 32 * block));
                *lane = power.unwrap_or(NO_SCALE) as u32;
            }
        }
    }
}

/// A part's sums join those of the parts before it, and begin anew.
fn add(
    kernels: &Kernels,
    rows: usize,
    total: &mut Option<[Line; LANES]>,
    sums: &mut [Line; LANES],
) {
    let part = core::mem::replace(sums, [Line::ZERO; LANES]);
    match total {
        None => *total = Some(part),
        Some(total) => kernels.join(Join::Add, rows, &[Line::ZERO; 2], &part, total),
    }
}

/// Panel i of some.
fn view<'a>(
    lines: &'a [Line],
    scales: &'a [Line],
    (i, n, per): (usize, usize, usize),
    small: bool,
) -> Panel<'a> {
    let (values, exponents) = lines[2 * i * n..2 * (i + 1) * n].split_at(n);
    Panel { values, exponents, scales: &scales[i * per..(i + 1) * per], small }
}

/// The bits of an element in the format that a unit takes it for.
fn bits_of(operand: &Operand<'_>, unit: &Unit, row: usize, k: usize) -> u32 {
    match operand.elements {
        Elements::Codes { codes, stride, .. } => u32::from(codes[row * stride + k]),
        Elements::Packed(packed) => match (packed.kind(), format_of(operand, unit)) {
            (Kind::F32, spec) if spec == &TF32 => packed.bits(row, k) >> 13,
            _ => packed.bits(row, k),
        },
        Elements::Values(values) => match format_of(operand, unit) {
            spec if spec == &table::BF16 => values.get(row, k).to_bits() >> 16,
            spec if spec == &table::F16 => u32::from(f16::from_f32(values.get(row, k)).to_bits()),
            spec if spec == &TF32 => values.get(row, k).to_bits() >> 13,
            _ => values.get(row, k).to_bits(),
        },
    }
}

/// The sum of one output by the unit's definition, from c on where it begins with that.
pub(super) fn sum(problem: &Problem<'_>, unit: &Unit, (row, col): (usize, usize), c: f32) -> f32 {
    let Problem { a, b, sums, cuts, part, joins, .. } = problem;
    let half = unit.output() == Output::F16;
    let begin = if half { u32::from(f16::from_f32(c).to_bits()) } else { c.to_bits() };
    let specs = [a, b].map(|operand| format_of(operand, unit));
    let scaled = unit.has_block_scales();
    let value = |bits: u32| match half {
        true => f16::from_bits(bits as u16).to_f32(),
        false => f32::from_bits(bits),
    };
    let (mut acc, mut total) = (value(begin), None);
    for segment in cuts.windows(2) {
        let codes = |operand: &Operand<'_>, row| -> Vec<u32> {
            (segment[0]..segment[1]).map(|k| bits_of(operand, unit, row, k)).collect()
        };
        let byte = |operand: &Operand<'_>, row, k| {
            let power = operand.scaling.and_then(|scaling| scaling.power(scaling.group(row, k)));
            power.map_or(u8::MAX, |power| (power + 127) as u8)
        };
        let blocks = (segment[0]..segment[1]).step_by(32);
        let scales: Vec<[u8; 2]> = match scaled {
            true => blocks.map(|k| [byte(a, row, k), byte(b, col, k)]).collect(),
            false => Vec::new(),
        };
        let (x, y) = (codes(a, row), codes(b, col));
        let (x, y) = ((specs[0], &x[..]), (specs[1], &y[..]));
        let begin = if *joins { 0 } else { begin };
        if segment[0] > 0 && part.is_some_and(|part| segment[0] % part == 0) {
            total = Some(total.map_or(acc, |total: f32| total + acc));
            acc = 0.0;
        }
        // The problem's checks are the unit's.
        let d = unit.dot_scaled(x, y, &scales, begin).unwrap_or(u32::MAX);
        let d = value(d);
        let sums = if scaled { Rule::After } else { *sums };
        acc = if *joins {
            super::reference::joined(problem, sums, (row, col), segment[0], acc, d)
        } else {
            d
        };
    }
    total.map_or(acc, |total| total + acc)
}
