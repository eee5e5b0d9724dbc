//! What sums, their joins and their scales add.

use super::{GemmBound, Part, overflow};
use crate::accuracy::bounds::quantize::element;
use crate::accuracy::bounds::rounding::{ETA32, U32, chain, exponent, growth, probable_gamma};
use crate::accuracy::bounds::unit::{Product, unit_sum};
use crate::accuracy::bounds::{Bound, Term};
use crate::gemm::{Accumulation, BlockSum, Sums as Joins};
use crate::mma::{Output, Unit};
use half::f16;
use std::vec::Vec;

/// What scales may make of numbers on the way, whatever they meet first.
struct Factors {
    /// The smallest factor of what is not zero.
    least: f64,
    /// The largest of all.
    most: f64,
    /// Σ |codes| of blocks, each times its largest factor.
    size: f64,
}

impl GemmBound<'_> {
    /// Whether products of two elements have no more bits than f32.
    fn exact_products(&self) -> bool {
        self.a.precision() + self.b.precision() <= 24
    }

    /// Whether none of them is subnormal in f32.
    fn normal_products(&self) -> bool {
        self.a.is_quantized() && self.b.is_quantized()
    }

    pub(super) fn any_order(&self, all: &Part, u: f64, place: (usize, usize)) -> (Bound, f64) {
        let scaled = self.a.is_quantized() || self.b.is_quantized();
        let rounded = usize::from(!self.exact_products());
        // Each operand's scales may meet their codes, those of NVFP4 each other before; then products
        // are rounded.
        let scales = 3 + 2 * usize::from(self.a.has_global() || self.b.has_global());
        let n = self.a.k.saturating_sub(1) + rounded + if scaled { scales } else { 0 };
        let mut small = (n + 1) as f64 * ETA32;
        let steps = self.steps(place.0, place.1);
        // C and bias may be what a sum begins with.
        let begins = (steps.beta * steps.c).abs() + steps.bias.abs();
        let widest = all.widest() + begins;
        let mut way = widest;
        if scaled {
            let Factors { least, most, size } = self.factors(place);
            if most >= f64::from(f32::MAX) {
                return (Bound::NONE, f64::INFINITY);
            }
            let elements = self.a.largest_sum(place.0) + self.b.largest_sum(place.1);
            // Scales may meet codes, products, sums or each other first, and each of these may be
            // subnormal then, or beyond f32.
            small = small * most + ETA32 * (elements + all.widest() / least);
            way = way.max(1.01 * size + begins);
        }
        let part = growth(n, u);
        let bound = Bound::of(Term::Accumulation, part * widest).with(Term::Underflow, small);
        // Truncation has a mean of its own.
        let probable = if u <= U32 { probable_gamma(n, self.lambda, u) } else { part };
        (overflow(bound, way), probable * (all.size + begins) + small)
    }

    /// What scales may make of numbers on the way.
    fn factors(&self, (row, col): (usize, usize)) -> Factors {
        let step = [self.a.block(), self.b.block()].into_iter().flatten().min();
        let [ga, gb] = [self.a.global().abs(), self.b.global().abs()];
        let (x, y) = (self.a.row(&self.a.codes, row), self.b.row(&self.b.codes, col));
        let mut all = Factors { least: 1.0, most: 1.0, size: 0.0 };
        let step = step.unwrap_or(self.a.k).max(1);
        for first in (0..self.a.k).step_by(step) {
            let range = first..self.a.k.min(first + step);
            let [sa, sb] = [self.a.scale(row, first).abs(), self.b.scale(col, first).abs()];
            let both = sa * sb;
            let ways = [1.0, sa, sb, both, sa * ga, sb * gb, both * ga, both * gb, both * ga * gb];
            let most = ways.into_iter().fold(1.0, f64::max);
            let p: f64 = range.map(|k| (f64::from(x[k]) * f64::from(y[k])).abs()).sum();
            all.most = all.most.max(most).max(ga * gb);
            if p > 0.0 {
                all.size += p * most;
                let ways = ways.into_iter().chain([ga, gb, ga * gb]);
                all.least = ways.filter(|factor| *factor > 0.0).fold(all.least, f64::min);
            }
        }
        all
    }

    /// The sizes of the scales that an output's segment meets, each with the tensor's own factor.
    fn scales(&self, (row, col): (usize, usize), first: usize) -> [f64; 2] {
        let k = first.min(self.a.k.saturating_sub(1));
        if self.a.k == 0 {
            return [1.0; 2];
        }
        [self.a.scale(row, k) * self.a.global(), self.b.scale(col, k) * self.b.global()]
            .map(f64::abs)
    }

    /// The largest of what a segment makes on its way into the sum, its partial sums included: the law's
    /// own numbers, one by one. `before` is what the joined segments' may be.
    fn most_on_the_way(
        &self,
        joins: Joins,
        (row, col): (usize, usize),
        segment: core::ops::Range<usize>,
        before: &mut f64,
    ) -> f64 {
        let (x, y) = (self.a.row(&self.a.codes, row), self.b.row(&self.b.codes, col));
        let first = segment.start.min(self.a.k.saturating_sub(1));
        let p: f64 = segment.map(|k| (f64::from(x[k]) * f64::from(y[k])).abs()).sum();
        let [sa, sb] = [self.a.scale(row, first), self.b.scale(col, first)].map(f64::abs);
        let [ga, gb] = [self.a.global(), self.b.global()].map(f64::abs);
        let product = sa * sb;
        *before += if joins == Joins::After { p } else { p * product };
        let sum = *before;
        let all = match joins {
            Joins::After => [p, sum, sum * sa, sum * product],
            Joins::Blocks(BlockSum::DeepSeek | BlockSum::Te) => [p, p * sa, p * product, sum],
            Joins::Blocks(BlockSum::DeepGemm) => [p, product, p * product, sum],
            Joins::Powers => [p, p * product, sum, sum],
            Joins::Products => [p, sum, sum * ga, sum * ga * gb],
        };
        let most = all.into_iter().fold(0.0, f64::max);
        // Roundings, far fewer than would make that a hundredth; f64::max passes over NaN.
        if all.iter().any(|x| x.is_nan()) { f64::INFINITY } else { most * 1.01 }
    }

    /// Of the law of bits: chains, joins, scales.
    pub(super) fn defined(
        &self,
        parts: &[Part],
        all: &Part,
        how: Accumulation,
        place: (usize, usize),
    ) -> (Bound, f64) {
        let scaled_unit = how.unit.is_some_and(Unit::has_block_scales);
        let joins = if scaled_unit { Joins::After } else { self.joins };
        let cut = how.promote.is_some() || how.split_k.is_some() || joins != Joins::After;
        let segments = parts.len();
        let (begin, off) = self.begin(how, place);
        let mut bound = Bound::of(Term::Rounding, off);
        let (mut joined, mut most_roundings, mut on_the_way) = (0.0, 0, 0.0);
        for (part, cuts) in parts.iter().zip(self.cuts.windows(2)) {
            let [sa, sb] = self.scales(place, cuts[0]);
            let of_sums = match how.unit {
                None => {
                    let n = part.n - usize::from(self.exact_products() && part.n > 0);
                    most_roundings = most_roundings.max(n);
                    // Each step may be subnormal where a product is.
                    let least = if self.normal_products() { 0 } else { part.n };
                    Bound::of(Term::Accumulation, chain(n, U32) * part.widest())
                        .with(Term::Underflow, least as f64 * ETA32 * sa * sb)
                }
                Some(unit) => {
                    let c = if cut { 0.0 } else { begin };
                    let bound = self.unit_part(unit, place, cuts[0]..cuts[1], c);
                    if scaled_unit { bound } else { bound.times(sa * sb) }
                }
            };
            let most = part.most() + of_sums.total();
            let (times, least) = match joins {
                Joins::After => (0, 0.0),
                Joins::Blocks(BlockSum::DeepSeek) => (2, (1.0 + sb) * ETA32),
                // The product of the scales may be subnormal.
                Joins::Blocks(BlockSum::DeepGemm) => {
                    (2, (1.0 + most / (sa * sb).max(f64::MIN_POSITIVE)) * ETA32)
                }
                Joins::Blocks(BlockSum::Te) => (1, (1.0 + sb) * ETA32),
                Joins::Powers => (0, ETA32),
                Joins::Products => (0, self.a.global().abs() * self.b.global().abs() * ETA32),
            };
            let scaling = ((1.0 + U32).powi(times) - 1.0) * most;
            bound = bound.plus(&of_sums).with(Term::Scaling, scaling).with(Term::Underflow, least);
            joined += most + scaling + least;
            // Blocks of a scaled unit meet their scales inside.
            if !scaled_unit {
                let most = self.most_on_the_way(joins, place, cuts[0]..cuts[1], &mut on_the_way);
                bound = overflow(bound, most);
            }
            bound = overflow(bound, joined);
        }
        // What is fused is rounded where the first segment joins, too.
        let first = matches!(joins, Joins::Blocks(BlockSum::Te) | Joins::Products);
        let n = (segments + self.parts).saturating_sub(2) + usize::from(first && segments > 0);
        bound = overflow(bound.with(Term::Accumulation, chain(n, U32) * joined), joined);
        let probable = match how.unit {
            // What is cut off has a mean of its own.
            Some(_) => bound.total(),
            None => {
                probable_gamma(most_roundings + n, self.lambda, U32) * all.size
                    + bound.term(Term::Scaling)
                    + bound.term(Term::Underflow)
            }
        };
        let last = match joins {
            _ if scaled_unit => 0,
            Joins::After | Joins::Products => {
                i32::from(self.a.is_quantized()) + i32::from(self.b.is_quantized())
            }
            Joins::Blocks(_) | Joins::Powers => 0,
        };
        let most = all.most() + bound.total();
        let scaling = ((1.0 + U32).powi(last) - 1.0) * most;
        let sb = match joins {
            Joins::Products => self.b.global().abs(),
            Joins::After | Joins::Blocks(_) | Joins::Powers => self.scales(place, 0)[1],
        };
        let least = if last > 0 { (1.0 + sb) * ETA32 } else { 0.0 };
        let bound = bound.with(Term::Scaling, scaling).with(Term::Underflow, least);
        (overflow(bound, most + scaling), probable + scaling + least)
    }

    /// C where a unit's chain begins with it, as f32 or f16, and how far that is from it.
    fn begin(&self, how: Accumulation, (row, col): (usize, usize)) -> (f64, f64) {
        let (Some((_, c)), Some(unit)) = (&self.c, how.unit) else { return (0.0, 0.0) };
        if !self.begins_with_c(how) {
            return (0.0, 0.0);
        }
        let narrow = c.get(row, col);
        let begin = match unit.output() {
            Output::F16 => f16::from_f32(narrow).to_f64(),
            Output::F32 | Output::E8M13 => narrow.into(),
        };
        let off = (begin - element(c, row, col)).abs();
        if begin.is_finite() { (begin, off) } else { (0.0, f64::INFINITY) }
    }

    pub(super) fn begins_with_c(&self, how: Accumulation) -> bool {
        let scaled = how.unit.is_some_and(Unit::has_block_scales);
        how.unit.is_some()
            && self.c.is_some_and(|(beta, _)| beta == 1.0)
            && self.alpha.is_none_or(|alpha| alpha == 1.0)
            && (scaled || (self.a.is_plain() && self.b.is_plain()))
            && how.promote.is_none()
            && how.split_k.is_none()
    }

    /// The bound of a unit's chain, in its own scale.
    fn unit_part(
        &self,
        unit: &Unit,
        (row, col): (usize, usize),
        range: core::ops::Range<usize>,
        c: f64,
    ) -> Bound {
        let (a, b) = (&self.a, &self.b);
        let specs = [a.format(unit), b.format(unit)];
        let (x, y) = (a.row(&a.codes, row), b.row(&b.codes, col));
        let (mut lost, mut products) = (0.0, Vec::with_capacity(range.len()));
        for k in range {
            let power = if unit.has_block_scales() {
                exponent(a.scale(row, k)) + exponent(b.scale(col, k))
            } else {
                0
            };
            let both = [(x[k], specs[0]), (y[k], specs[1])].map(|(x, spec)| {
                let kept =
                    if *spec == crate::mma::TF32 { x.to_bits() & !0x1fff } else { x.to_bits() };
                (f64::from(f32::from_bits(kept)), spec)
            });
            lost += (f64::from(x[k]) * f64::from(y[k]) - both[0].0 * both[1].0).abs();
            products.push(Product::new(both[0], both[1], power));
        }
        // What TF32 has no bits for.
        unit_sum(unit, &products, c).1.with(Term::Rounding, lost)
    }
}
