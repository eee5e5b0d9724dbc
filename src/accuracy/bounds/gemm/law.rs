//! What sums, their joins and their scales add.

use super::{GemmBound, Part, overflow};
use crate::accuracy::bounds::quantize::element;
use crate::accuracy::bounds::rounding::{ETA32, U32, chain, exponent, gamma, probable_gamma};
use crate::accuracy::bounds::unit::{Product, unit_sum};
use crate::accuracy::bounds::{Bound, Term};
use crate::gemm::{Accumulation, BlockSum, Sums as Joins};
use crate::mma::Unit;
use std::vec::Vec;

impl GemmBound<'_> {
    /// Whether products of two elements are numbers of f32.
    fn exact_products(&self) -> bool {
        self.a.is_quantized() && self.b.is_quantized()
    }

    pub(super) fn any_order(&self, all: &Part, u: f64, place: (usize, usize)) -> (Bound, f64) {
        let scales = self.a.is_quantized() || self.b.is_quantized();
        let rounded = usize::from(!self.exact_products());
        let n = self.a.k.saturating_sub(1) + rounded + if scales { 3 } else { 0 };
        let (mut least, mut small) = (1.0_f64, (n + 1) as f64 * ETA32);
        if scales {
            let most;
            (least, most) = self.factors(place);
            let elements = self.a.largest_sum(place.0) + self.b.largest_sum(place.1);
            // Scales may meet codes, products, sums or each other first, and each of these may be
            // subnormal then, or beyond f32.
            small = small * most + ETA32 * (elements + all.widest() / least);
        }
        let bound =
            Bound::of(Term::Accumulation, gamma(n, u) * all.widest()).with(Term::Underflow, small);
        // Truncation has a mean of its own.
        let probable = if u <= U32 { probable_gamma(n, self.lambda, u) } else { gamma(n, u) };
        (overflow(bound, all.widest() / least), probable * all.size + small)
    }

    /// The smallest and largest factor by which scales may change a number on the way, zeros aside.
    fn factors(&self, place: (usize, usize)) -> (f64, f64) {
        let step = [self.a.block(), self.b.block()].into_iter().flatten().min();
        let (mut least, mut most) = (1.0_f64, 1.0_f64);
        for k in (0..self.a.k).step_by(step.unwrap_or(self.a.k).max(1)) {
            let [sa, sb] = self.scales(place, k).map(f64::abs);
            for factor in [sa, sb, sa * sb].into_iter().filter(|factor| *factor > 0.0) {
                (least, most) = (least.min(factor), most.max(factor));
            }
        }
        (least, most)
    }

    /// The scales that an output's segment meets, each with the tensor's own factor.
    fn scales(&self, (row, col): (usize, usize), first: usize) -> [f64; 2] {
        let k = first.min(self.a.k.saturating_sub(1));
        if self.a.k == 0 {
            return [1.0; 2];
        }
        [self.a.scale(row, k) * self.a.global(), self.b.scale(col, k) * self.b.global()]
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
        let (mut bound, mut joined, mut most_roundings) = (Bound::ZERO, 0.0, 0);
        for (part, cuts) in parts.iter().zip(self.cuts.windows(2)) {
            let [sa, sb] = self.scales(place, cuts[0]);
            let of_sums = match how.unit {
                None => {
                    let n = part.n - usize::from(self.exact_products() && part.n > 0);
                    most_roundings = most_roundings.max(n);
                    let underflow = if self.exact_products() { 0.0 } else { n as f64 * ETA32 };
                    Bound::of(Term::Accumulation, chain(n, U32) * part.widest())
                        .with(Term::Underflow, underflow * sa * sb)
                }
                Some(unit) => {
                    let c = if cut { 0.0 } else { self.begin(how, place) };
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
                Joins::Products => (0, self.a.global() * self.b.global() * ETA32),
            };
            let scaling = ((1.0 + U32).powi(times) - 1.0) * most;
            bound = bound.plus(&of_sums).with(Term::Scaling, scaling).with(Term::Underflow, least);
            joined += most + scaling + least;
            // Before a scale below 1 the sum is larger.
            bound = overflow(bound, joined / (sa * sb).min(sb).min(1.0));
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
        let sb = self.scales(place, 0)[1];
        let least = if last > 0 { (1.0 + sb) * ETA32 } else { 0.0 };
        let bound = bound.with(Term::Scaling, scaling).with(Term::Underflow, least);
        (overflow(bound, most + scaling), probable + scaling + least)
    }

    /// C where a unit's chain begins with it.
    fn begin(&self, how: Accumulation, (row, col): (usize, usize)) -> f64 {
        match &self.c {
            Some((_, c)) if self.begins_with_c(how) => element(c, row, col),
            Some(_) | None => 0.0,
        }
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
