//! How a product is computed: as pairs of bf16 or f32, by which join, in which blocks.

use super::input::{Elements, Operand};
use super::pack::Packing;
use super::packed::Kind;
use super::problem::Problem;
use super::scaling::Form;
use super::sums::{BlockSum, Sums};
use crate::arch::Kernels;
use crate::arch::cast::to_codes;
use crate::arch::decoder::decoder_of;
use crate::arch::tile::{Join, LANES, Line};
use crate::format::FormatSpec;
use crate::slice::Values;
use crate::slice::parallel::{join, parts};

/// Bytes of the second-level cache that panels of the left operand may take.
const LEFT: usize = 448 << 10;
/// Bytes of packed panels of the right operand.
const RIGHT: usize = 16 << 20;
/// The same where few rows use them: what stays in the second-level cache.
const RIGHT_OF_FEW: usize = 256 << 10;
pub(super) const FEW: usize = 64;
/// Elements of K that are packed at a time.
const DEPTH: usize = 8192;

/// How a product is computed.
#[derive(Clone, Copy)]
pub(super) struct Plan<'a> {
    pub kernels: &'a Kernels,
    pub pairs: bool,
    pub exact: bool,
    pub join: Join,
    /// Whether powers of two are multiplied in while packing.
    pub fold: [Option<Exponents>; 2],
    /// The length of all segments but the last, where they can be packed as one.
    pub even: Option<usize>,
    /// Segments that are packed at a time.
    pub depth: usize,
    magnitudes: Option<[Magnitudes; 2]>,
}

/// The powers of two that an operand may be multiplied by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exponents {
    least: i32,
    most: i32,
}

/// What the elements of an operand are as numbers.
#[derive(Clone, Copy, Debug)]
struct Magnitudes {
    /// All are multiples of 2^last.
    last: i32,
    /// All finite ones are below 2^end.
    end: i32,
}

impl<'a> Plan<'a> {
    pub fn new(problem: &Problem<'a>) -> Self {
        let kernels = problem.options.isa.kernels();
        let operands = [&problem.a, &problem.b];
        let magnitudes =
            operands.map(|operand| magnitudes(kernels, operand, problem.options.threads));
        let both = match magnitudes {
            [Some(a), Some(b)] => Some([a, b]),
            [None, _] | [_, None] => None,
        };
        let cuts = problem.cuts;
        let longest = cuts.windows(2).map(|s| s[1] - s[0]).max().unwrap_or(0);
        let even = even(cuts);
        let join = match problem.sums {
            Sums::After => Join::Add,
            Sums::Blocks(BlockSum::DeepSeek) => Join::DeepSeek,
            Sums::Blocks(BlockSum::DeepGemm) => Join::DeepGemm,
            Sums::Blocks(BlockSum::Te) => Join::Te,
            Sums::Powers => Join::Power,
            Sums::Products => Join::Product,
        };
        let (last, end) = both.map_or((i32::MIN, 0), |[a, b]| (a.last + b.last, a.end + b.end));
        let depth = problem.options.blocking.k;
        let depth = if depth == 0 { DEPTH } else { depth };
        Self {
            kernels,
            pairs: kernels.pairs && both.is_some() && last >= -126,
            exact: both.is_some() && last >= -149 && end <= 127,
            join,
            fold: [None; 2],
            even,
            depth: (depth / longest.max(1)).max(1),
            magnitudes: both,
        }
    }

    /// With panels of f32.
    pub const fn unpaired(self) -> Self {
        Self { pairs: false, ..self }
    }

    /// With powers of two multiplied in while packing, if that is possible.
    pub fn folded(self, problem: &Problem<'_>) -> Self {
        let plan = self;
        let Some([a, b]) = plan.magnitudes.filter(|_| plan.even.is_some()) else { return plan };
        let (last, end) = (a.last + b.last, a.end + b.end);
        let cuts = problem.cuts;
        let longest = cuts.windows(2).map(|s| s[1] - s[0]).max().unwrap_or(0);
        if !matches!(plan.join, Join::DeepSeek | Join::DeepGemm | Join::Te | Join::Power) {
            return plan;
        }
        let folds = [(problem.a, a), (problem.b, b)]
            .map(|(operand, magnitudes)| powers(&operand, cuts, magnitudes, plan.join));
        let [Some(fa), Some(fb)] = folds else { return plan };
        let sums_end = end + fa.most + fb.most + (longest.max(1).ilog2() as i32) + 1;
        if last + fa.least + fb.least < -126 || sums_end > 127 {
            return plan;
        }
        let fold = [(problem.a, fa), (problem.b, fb)]
            .map(|(operand, fold)| operand.scaling.is_some().then_some(fold));
        Self { join: Join::Add, exact: true, fold, ..plan }
    }

    /// How panels of these segments are packed.
    pub fn packing<'c>(&self, cuts: &'c [usize]) -> Packing<'c>
    where
        'a: 'c,
    {
        Packing { kernels: self.kernels, pairs: self.pairs, even: self.even, cuts }
    }

    /// Lines of each of these segments, in `out`; and of all.
    pub fn lines(&self, cuts: &[usize], out: &mut [u32]) -> usize {
        let mut all = 0;
        for (lines, segment) in out.iter_mut().zip(cuts.windows(2)) {
            let n = Packing::lines(self.pairs, segment[1] - segment[0]);
            *lines = n as u32;
            all += n;
        }
        all
    }

    /// Panels of the left operand that are packed at a time, each of so many lines, and pairs of
    /// panels of the right one.
    pub fn panels(&self, problem: &Problem<'_>, lines: usize) -> (usize, usize) {
        let blocking = problem.options.blocking;
        let bytes = lines.max(1) * size_of::<Line>();
        let right = if problem.a.rows <= FEW { RIGHT_OF_FEW } else { RIGHT };
        let m = if blocking.m == 0 { LEFT / bytes } else { blocking.m.div_ceil(self.kernels.rows) };
        let n = if blocking.n == 0 { right / bytes / 2 } else { blocking.n.div_ceil(2 * LANES) };
        (m.max(1), n.max(1))
    }

    /// The lines of scales that are read with these segments: exponents where the operand is
    /// folded, else what the join takes.
    pub fn scale_lines(
        &self,
        side: usize,
        operand: &Operand<'_>,
        rows: (usize, usize),
        cuts: &[usize],
        out: &mut [Line],
    ) {
        let form = match (self.fold[side], self.join) {
            (Some(Exponents { least, most }), _) => Form::Power { least, most },
            (None, Join::Power) => Form::Exponent,
            (None, _) => Form::Value,
        };
        match operand.scaling {
            Some(scaling) => {
                scaling.lines(self.kernels, form, rows, (cuts, self.even.is_some()), out);
            }
            None => out.fill(match form {
                Form::Value => Line::splat(1.0),
                Form::Exponent | Form::Power { .. } => Line::ZERO,
            }),
        }
    }
}

/// The length of all segments but the last, if they are one run of lines.
fn even(cuts: &[usize]) -> Option<usize> {
    let len = cuts.get(1).map_or(0, |cut| cut - cuts[0]);
    let inner = cuts.len() <= 2
        || (len.is_multiple_of(4)
            && cuts.windows(2).rev().skip(1).all(|s| s[1] - s[0] == len)
            && cuts.windows(2).next_back().is_some_and(|s| s[1] - s[0] <= len));
    inner.then_some(len)
}

/// The magnitudes of an operand's elements if they are bf16 and none is subnormal.
fn magnitudes(kernels: &Kernels, operand: &Operand<'_>, threads: usize) -> Option<Magnitudes> {
    let of = |spec: &FormatSpec| {
        let last = exponent_of(spec.min_positive());
        Some(Magnitudes { last, end: exponent_of(spec.max()) + 1 })
    };
    match operand.elements {
        Elements::Codes { decoder, format, .. } => of(format.spec()).filter(|_| decoder.half_table),
        Elements::Packed(packed) => match packed.kind() {
            Kind::Codes(format) => {
                of(format.spec()).filter(|_| decoder_of(format).is_some_and(|d| d.half_table))
            }
            Kind::Bf16 => between(packed.range()),
            Kind::F32 => None,
        },
        Elements::Values(_) if operand.k == 0 || operand.rows == 0 => None,
        Elements::Values(values) => match values.parts() {
            (Values::Bf16(_), ..) if !kernels.pairs => None,
            (Values::Bf16(slice), row_stride, col_stride) => {
                // Lines of elements that are next to each other, whichever way the matrix lies.
                let ((lines, distance), (n, step)) = if row_stride == 1 && col_stride != 1 {
                    ((operand.k, col_stride), (operand.rows, 1))
                } else {
                    ((operand.rows, row_stride), (operand.k, col_stride))
                };
                let range = |(from, to): (usize, usize)| {
                    let elements = to_codes(&slice[from * distance..]);
                    kernels.range_bf16(to - from, distance, (n - 1) * step + 1, elements)
                };
                between(in_parts((0, lines), parts(operand.rows * operand.k, threads), &range))
            }
            (Values::F64(_) | Values::F32(_) | Values::F16(_), ..) => None,
        },
    }
}

type Range = (u16, u16);

fn join_ranges(ranges: impl IntoIterator<Item = Range>) -> Range {
    let join = |a: Range, b: Range| (a.0.min(b.0), a.1.max(b.1));
    ranges.into_iter().fold((u16::MAX, 0), join)
}

/// The range of what is `from` to `to`, by so many threads.
fn in_parts(
    (from, to): (usize, usize),
    threads: usize,
    f: &(impl Fn((usize, usize)) -> Range + Sync),
) -> Range {
    if threads < 2 || to - from < 2 {
        return f((from, to));
    }
    let half = threads / 2;
    let middle = from + (to - from) / threads * half;
    let (x, y) =
        join(|| in_parts((from, middle), half, f), || in_parts((middle, to), threads - half, f));
    join_ranges([x, y])
}

/// Of the smallest and largest bf16 magnitude that is not zero.
fn between((least, most): (u16, u16)) -> Option<Magnitudes> {
    const SMALLEST_NORMAL: u16 = 0x0080;
    let field = |bits: u16| i32::from(bits >> 7);
    match (least, most) {
        (u16::MAX, _) => Some(Magnitudes { last: 0, end: 0 }), // all zeros, or none
        (..SMALLEST_NORMAL, _) => None,
        _ => Some(Magnitudes { last: field(least) - 127 - 7, end: field(most) - 127 + 1 }),
    }
}

/// floor(log2 x) of a positive number.
fn exponent_of(x: f64) -> i32 {
    ((x.to_bits() >> 52) as i32) - 1023
}

/// The powers of two that all scales of an operand are, if multiplying by them keeps its elements
/// normal bf16. Where all elements are zero any scale will do that is finite, unless the join first
/// multiplies scales, which may overflow.
fn powers(
    operand: &Operand<'_>,
    cuts: &[usize],
    magnitudes: Magnitudes,
    rule: Join,
) -> Option<Exponents> {
    let mut found = Exponents { least: 0, most: 0 };
    let Some(scaling) = operand.scaling else { return Some(found) };
    let range = -126 - magnitudes.last..=127 - magnitudes.end;
    let join = |a: Exponents, least: i32, most: i32| Exponents {
        least: a.least.min(least),
        most: a.most.max(most),
    };
    for row in 0..operand.rows {
        let (least, most) = scaling.powers(row, (cuts, true))?;
        if range.contains(&least) && range.contains(&most) {
            found = join(found, least, most);
            continue;
        }
        for segment in cuts.windows(2) {
            let x = scaling.power(scaling.group(row, segment[0]))?;
            if range.contains(&x) {
                found = join(found, x, x);
            } else if (rule == Join::DeepGemm && x > 0)
                || (segment[0]..segment[1]).any(|k| operand.code(row, k) != 0.0)
            {
                return None;
            }
        }
    }
    Some(found)
}
