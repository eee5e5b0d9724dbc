//! How far a product is from the same in f64, and how far it may be.
//!
//! Of element (i, j) let v = Σₖ a·b with scales, in f64, and s = Σₖ |a·b|. Each product meets at
//! most n + S − 1 roundings, where n is the length of the longest segment and S their number, and
//! with scales three more. So |d − v| ≤ γ(n + S + 2) · s, γ(h) = h u / (1 − h u), u = 2^-24 (A2 of
//! the error bounds, Higham, Accuracy and Stability of Numerical Algorithms, chapter 3), and to that
//! come
//!
//! * products and scaled sums in the subnormal range: 2^-150 each, times the scales after them;
//! * adding C: u · |v + C|, and the same of the error so far;
//! * the output's conversion: its unit roundoff, or half its smallest number;
//! * f64 itself: (K + 16) · 2^-53 · s.
//!
//! A hardware unit's sums have none of this: their bound is `GemmBound`'s. Those of the unit `exact`
//! are rounded once a segment: n is 1.
//!
//! What is not finite, or beyond the output's largest number, has no such bound: it is counted.

use super::output::{Limits, Results};
use crate::array::{Array, Elements};
use half::bf16;
use quarter::Granularity;
use quarter::bf16_from_f64;
use quarter::mma::{Rule, Unit};
use quarter::tensor::Quantized;
use rayon::prelude::*;

/// Multiply-adds in f64 that are computed at most, but for those of one row.
const MOST: usize = 1 << 27;
/// Elements of rows of a that are kept in f64.
const KEPT: usize = 1 << 22;
const U: f64 = 1.0 / (1 << 24) as f64;
/// Half the smallest f32.
const ETA: f64 = 1.0 / (1_u64 << 50) as f64 / (1_u64 << 50) as f64 / (1_u64 << 50) as f64;

/// An operand as it was multiplied, rows along K.
pub enum Exact<'a> {
    /// Codes times scales; one code a byte.
    Codes(&'a Quantized),
    /// Numbers, and whether they are the transpose, and rounded to bf16.
    Numbers {
        /// As they were read.
        array: &'a Array,
        /// Whether the rows are its columns.
        turned: bool,
        /// Whether they were rounded to bf16.
        halves: bool,
    },
}

/// The largest magnitudes of a row.
#[derive(Clone, Copy, Debug)]
struct Largest {
    scale: f64,
    /// Without the scale.
    number: f64,
}

impl Exact<'_> {
    fn row(&self, row: usize, values: &mut [f64]) -> Largest {
        let k = values.len();
        let mut largest = Largest { scale: 1.0, number: 0.0 };
        match self {
            Self::Codes(quantized) => {
                let view = quantized.view();
                let spec = quantized.format().spec();
                let codes = &quantized.codes()[row * k..][..k];
                let global = f64::from(quantized.scales().global_scale_inv());
                let step = match quantized.granularity() {
                    Granularity::Block { cols, .. } => cols,
                    Granularity::Tensor | Granularity::Row | Granularity::Col => k.max(1),
                };
                largest.scale = global.abs();
                let groups = values.chunks_mut(step).zip(codes.chunks(step));
                for (i, (values, codes)) in groups.enumerate() {
                    let scale = f64::from(view.scale_inv(row, i * step)) * global;
                    largest.scale = largest.scale.max(scale.abs());
                    for (value, code) in values.iter_mut().zip(codes) {
                        let number = spec.decode_f64(u64::from(*code));
                        largest.number = largest.number.max(number.abs());
                        *value = number * scale;
                    }
                }
            }
            Self::Numbers { array, turned, halves } => {
                for (i, value) in values.iter_mut().enumerate() {
                    let (row, col) = if *turned { (i, row) } else { (row, i) };
                    *value = number(array, row, col, *halves);
                    largest.number = largest.number.max(value.abs());
                }
            }
        }
        largest
    }
}

/// An element as the product reads it: f64 rounded to f32, or all of them to bf16.
fn number(array: &Array, row: usize, col: usize, halves: bool) -> f64 {
    let Array { elements, rows, cols, fortran_order, .. } = array;
    let i = if *fortran_order { col * rows + row } else { row * cols + col };
    let single = match elements {
        Elements::F64(values) if halves => return bf16_from_f64(values[i]).to_f64(),
        Elements::F64(values) => values[i] as f32,
        Elements::F32(values) => values[i],
        Elements::F16(values) => values[i].to_f32(),
        Elements::Bf16(values) => values[i].to_f32(),
    };
    if halves { bf16::from_f32(single).to_f64() } else { f64::from(single) }
}

/// How a product was computed, as far as its bound goes.
pub struct Sum<'a> {
    /// K.
    pub k: usize,
    /// The most roundings of a segment: its length, unless a unit rounds once.
    pub longest: usize,
    /// Segments.
    pub segments: usize,
    /// Whether either operand has scales.
    pub scaled: bool,
    /// What was added.
    pub c: Option<&'a Array>,
    /// Whose sums they are, if not f32's.
    pub unit: Option<&'static Unit>,
}

impl Sum<'_> {
    /// h of γ(h).
    #[must_use]
    pub const fn roundings(&self) -> usize {
        if self.segments == 0 {
            return 0;
        }
        self.longest + self.segments - 1 + if self.scaled { 3 } else { 0 }
    }

    /// The unit, if it has no bound here.
    #[must_use]
    pub fn unbounded(&self) -> Option<&'static Unit> {
        self.unit.filter(|unit| unit.rule() != Rule::Exact)
    }

    /// The bound of a sum that is v in f64; 0 where there is none here.
    fn bound(&self, v: f64, magnitude: f64, [a, b]: [Largest; 2]) -> f64 {
        if self.unbounded().is_some() {
            return 0.0;
        }
        let (k, segments) = (self.k as f64, self.segments as f64);
        let hu = self.roundings() as f64 * U;
        let gamma = if hu < 1.0 { hu / (1.0 - hu) } else { f64::INFINITY };
        let scales = k * a.scale * b.scale;
        let sums = segments * (2.0 + b.scale + k * a.number * b.number);
        let small = if self.k == 0 { 0.0 } else { 2.0 * ETA * (scales + sums) };
        let wide = (k + 16.0) * f64::EPSILON / 2.0 * (magnitude + v.abs());
        gamma * magnitude + small + wide
    }
}

/// What was found.
#[derive(Clone, Copy, Debug, Default)]
pub struct Errors {
    /// Rows that were compared.
    pub rows: usize,
    /// Elements that were compared.
    pub compared: u64,
    /// Elements that are not finite, here or in f64.
    pub not_finite: u64,
    /// Elements that became the output's largest number.
    pub saturated: u64,
    /// The largest error.
    pub max: f64,
    /// Of the errors.
    pub sum_squares: f64,
    /// The largest quotient of error and bound.
    pub worst: f64,
    /// Elements beyond the bound: none, or a proof is wrong.
    pub beyond: u64,
}

impl Errors {
    fn merge(self, other: &Self) -> Self {
        Self {
            rows: self.rows,
            compared: self.compared + other.compared,
            not_finite: self.not_finite + other.not_finite,
            saturated: self.saturated + other.saturated,
            max: self.max.max(other.max),
            sum_squares: self.sum_squares + other.sum_squares,
            worst: self.worst.max(other.worst),
            beyond: self.beyond + other.beyond,
        }
    }

    /// The root of the mean of the squares of the errors.
    #[must_use]
    pub fn rms(&self) -> f64 {
        (self.sum_squares / self.compared.max(1) as f64).sqrt()
    }
}

/// Compares all rows of a small product, and of a large one some that lie evenly.
#[must_use]
pub fn errors(
    [a, b]: [&Exact<'_>; 2],
    (m, n): (usize, usize),
    sum: &Sum<'_>,
    results: &Results,
) -> Errors {
    let k = sum.k;
    let most = (MOST / n.saturating_mul(k).max(1)).min(KEPT / k.max(1));
    let rows = m.min(most.max(1));
    let chosen: Vec<usize> =
        (0..rows).map(|i| (i as u128 * m as u128 / rows as u128) as usize).collect();
    let mut left = vec![0.0; rows * k];
    let mut largest = Vec::with_capacity(rows);
    for (i, row) in chosen.iter().enumerate() {
        largest.push(a.row(*row, &mut left[i * k..(i + 1) * k]));
    }
    let limits = results.limits();
    let column = |values: &mut Vec<f64>, col: usize| {
        let right = b.row(col, values);
        let mut found = Errors::default();
        for (i, (row, largest)) in chosen.iter().zip(&largest).enumerate() {
            let (v, magnitude) = dot(&left[i * k..(i + 1) * k], values);
            let bound = sum.bound(v, magnitude, [*largest, right]);
            let added = sum.c.map(|c| number(c, *row, col, false));
            found.add([v, bound], added, results.get(row * n + col), limits);
        }
        found
    };
    // By columns, so that the sum has one order.
    let columns: Vec<Errors> = if rayon::current_thread_index().is_some() {
        (0..n).into_par_iter().map_init(|| vec![0.0; k], column).collect()
    } else {
        let mut values = vec![0.0; k];
        (0..n).map(|col| column(&mut values, col)).collect()
    };
    columns.iter().fold(Errors { rows, ..Errors::default() }, Errors::merge)
}

impl Errors {
    fn add(&mut self, [v, bound]: [f64; 2], c: Option<f64>, got: f64, limits: Limits) {
        let (exact, bound) = match c {
            None => (v, bound),
            Some(c) => {
                let whole = v + c;
                (whole, bound * (1.0 + U) + U * whole.abs() + f64::EPSILON * (v.abs() + c.abs()))
            }
        };
        if !(got.is_finite() && exact.is_finite() && bound.is_finite()) {
            self.not_finite += 1;
            return;
        }
        if got.abs() >= limits.max && exact.abs() + bound >= limits.max {
            self.saturated += 1;
            return;
        }
        let bound = bound + limits.unit * (exact.abs() + bound) + limits.small;
        let error = (got - exact).abs();
        self.compared += 1;
        self.max = self.max.max(error);
        self.sum_squares += error * error;
        self.worst = self.worst.max(if error == 0.0 { 0.0 } else { error / bound });
        self.beyond += u64::from(error > bound);
    }
}

/// Σ x·y and Σ |x·y|, in eight lanes.
fn dot(x: &[f64], y: &[f64]) -> (f64, f64) {
    const LANES: usize = 8;
    let (mut sums, mut sizes) = ([0.0; LANES], [0.0; LANES]);
    let (whole, rest) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
    for (x, y) in whole.0.iter().zip(rest.0) {
        for i in 0..LANES {
            let product = x[i] * y[i];
            sums[i] += product;
            sizes[i] += product.abs();
        }
    }
    for (i, (x, y)) in whole.1.iter().zip(rest.1).enumerate() {
        let product = x * y;
        sums[i] += product;
        sizes[i] += product.abs();
    }
    (sums.iter().sum(), sizes.iter().sum())
}
