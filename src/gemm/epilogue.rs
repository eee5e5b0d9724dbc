//! From the sums of a tile to results in their place.

use super::blocked::{EMPTY, Job, Place};
use super::input::Operand;
use super::options::Addend;
use super::output::Target;
use super::sums::Sums as Rule;
use crate::arch::cast::to_codes;
use crate::arch::tile::{Finish, LANES, Line, Sums};

/// Where a tile's results go.
pub(super) enum Sink<'a> {
    /// To their place; the target begins at the origin's first row.
    Target(Target<'a>),
    /// To rows of f32 without gaps, while the output is only read.
    Rows(&'a mut [f32], &'a Target<'a>),
}

/// Finishes and stores tiles.
pub(super) struct Writer<'a> {
    job: &'a Job<'a>,
    origin: Place,
    pub sink: Sink<'a>,
    c: Sums,
    pub amax: u32,
}

impl<'a> Writer<'a> {
    pub fn new(job: &'a Job<'a>, origin: Place, sink: Sink<'a>) -> Self {
        Self { job, origin, sink, c: EMPTY, amax: 0 }
    }

    /// C of a place.
    pub fn read_c(&self, place: Place, to: &mut Sums) {
        read_c(self.job, self.origin, &self.sink, place, to);
    }

    pub fn write(&mut self, place: Place, [sa, sb0, sb1]: [&[Line]; 3], sums: &mut Sums) {
        let Job { problem, plan, .. } = *self.job;
        let (options, kernels) = (problem.options, plan.kernels);
        let (height, width) = place.shape();
        let row = place.rows.0 - self.origin.rows.0;
        let col = place.cols.0;
        let beta = match options.c {
            Addend::Matrix(beta, _) | Addend::Output(beta) => Some(beta).filter(|b| *b != 0.0),
            Addend::None => None,
        };
        let beta = beta.filter(|_| !self.job.begins_with_c);
        if beta.is_some() {
            read_c(self.job, self.origin, &self.sink, place, &mut self.c);
        }
        let line = |scales: &[Line]| scales.first().copied().unwrap_or(Line::ZERO);
        // After the last segment: the scales of rows and columns, or NVFP4's factors.
        let factor = |operand: &Operand<'_>| operand.last_scale(0, true).filter(|_| operand.k > 0);
        let (scale_a, scale_b) = match problem.sums {
            Rule::After => (
                problem.a.scaling.is_some().then(|| line(sa)),
                problem.b.scaling.is_some().then(|| [line(sb0), line(sb1)]),
            ),
            Rule::Products => (
                factor(&problem.a).map(Line::splat),
                factor(&problem.b).map(|factor| [Line::splat(factor); 2]),
            ),
            Rule::Blocks(_) | Rule::Powers => (None, None),
        };
        let bias = options.bias.map(|bias| {
            let mut lines = [Line::ZERO; 2];
            let lanes = lines.iter_mut().flat_map(|line| &mut line.0);
            lanes.zip(&bias[col..place.cols.1]).for_each(|(lane, bias)| *lane = bias.to_bits());
            lines
        });
        let finish = Finish {
            scale_a: scale_a.as_ref(),
            scale_b: scale_b.as_ref(),
            alpha: options.alpha,
            c: beta.map(|beta| (beta, &self.c)),
            bias: bias.as_ref(),
            activation: options.activation,
        };
        if finish.changes() {
            kernels.finish(&finish, height, sums);
        }
        if let (Sink::Target(target), 32, false) = (&mut self.sink, width, options.amax)
            && target.put_tile(kernels, height, (row, col), sums)
        {
            return;
        }
        let (left, right) = sums.split_at(LANES);
        for (r, lines) in left.iter().zip(right).take(height).enumerate() {
            if options.amax {
                let bits = lines.0.0.iter().chain(&lines.1.0).take(width);
                let largest = bits.map(|bits| bits & 0x7fff_ffff).filter(|bits| *bits <= INF).max();
                self.amax = self.amax.max(largest.unwrap_or(0));
            }
            match &mut self.sink {
                Sink::Target(target) => {
                    let lines = [lines.0, lines.1];
                    target.put(kernels, self.job.store.as_ref(), (row + r, col), lines, width);
                }
                Sink::Rows(rows, _) => {
                    let at = (row + r) * self.origin.shape().1 + col - self.origin.cols.0;
                    let bits = lines.0.0.iter().chain(&lines.1.0);
                    for (value, bits) in rows[at..at + width].iter_mut().zip(bits) {
                        *value = f32::from_bits(*bits);
                    }
                }
            }
        }
    }
}

/// The bits of Inf: those of NaN are above.
const INF: u32 = 0x7f80_0000;

fn read_c(job: &Job<'_>, origin: Place, sink: &Sink<'_>, place: Place, to: &mut Sums) {
    let (height, width) = place.shape();
    let (row, col) = (place.rows.0 - origin.rows.0, place.cols.0);
    for r in 0..height {
        let mut values = [0.0; 2 * LANES];
        let values = &mut values[..width];
        match (job.problem.options.c, sink) {
            (Addend::Matrix(_, c), _) => c.read(place.rows.0 + r, col, values),
            (_, Sink::Target(target)) => target.read(row + r, col, values),
            (_, Sink::Rows(_, held)) => held.read(row + r, col, values),
        }
        for (half, values) in values.chunks(LANES).enumerate() {
            let line = &mut to[half * LANES + r];
            line.0[..values.len()].copy_from_slice(to_codes(values));
        }
    }
}
