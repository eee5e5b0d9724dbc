//! Sums of matrix units (A5): a running bound, step by step, from each unit's own parameters.

use super::rounding::{ETA32, U32, exponent, pow2};
use super::{Bound, Term};
use crate::format::FormatSpec;
use crate::mma::{Fused, Output, Rule, Unit};
use std::vec::Vec;

/// A product as a unit aligns it: a · b · 2^power, and the sum of its factors' exponents, which a
/// subnormal factor does not lower.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Product {
    value: f64,
    exponent: i32,
    /// Whether a factor is subnormal in bf16: some units take that for zero.
    subnormal: bool,
}

impl Product {
    /// Of two numbers of these formats, finite ones; powers are those of two scales, −254 to 254.
    #[must_use]
    pub fn new((x, a): (f64, &FormatSpec), (y, b): (f64, &FormatSpec), power: i32) -> Self {
        let of = |x: f64, spec: &FormatSpec| match x {
            0.0 => spec.emin(),
            x => exponent(x).max(spec.emin()),
        };
        let small = |x: f64| x != 0.0 && x.abs() < pow2(-126);
        let value = x * y * pow2(power.clamp(-254, 254));
        Self {
            value,
            exponent: (of(x, a) + of(y, b)).saturating_add(power.clamp(-254, 254)),
            subnormal: small(x) || small(y),
        }
    }
}

/// c + Σ products, and how far a unit's sum may be from it.
///
/// The bound runs along the chain as the sum does. With e the largest exponent of a step, of the
/// products from the data, of c from the sum so far and its bound:
///
/// * a product is cut off by what it has below 2^(e−F), and c by at most 2^(e−F);
/// * the sum is rounded, toward zero by at most 2^(E−23), or 2^(E−13) in e8m13, and to nearest in
///   f16 by 2^(E−11), E being the exponent of the sum and its bound; by nothing where no term has
///   bits there.
///
/// Only upper limits of e and E are known, and both parts grow with them. Units that use fused
/// multiply-adds or round to odd: 2^−24 of each sum, or 2^−23, and what they flush.
///
/// Without the data: (L+1)·2^(e−F) a step and its rounding; the block FMA of Blanchard, Higham,
/// Lopez, Mary and Pranesh, SIAM J. Sci. Comput. 42, 2020 (abstract read), has the same form with a
/// roundoff for the inside of a step and one for its result. The derivation here is ours, from the
/// definition of each [`Rule`].
///
/// ```
/// use quarter::FormatId;
/// use quarter::accuracy::bounds::{Product, Term, unit_sum};
/// use quarter::mma::H100_WGMMA_FP8;
/// let e4m3 = FormatId::F8E4M3.spec();
/// let product = |x: f64| Product::new((x, e4m3), (x, e4m3), 0);
/// // 1 + 31 · 2⁻¹⁴: each small product is cut off by itself, and nothing else is inexact.
/// let mut products = [product(2f64.powi(-7)); 32];
/// products[0] = product(1.0);
/// let (sum, bound) = unit_sum(&H100_WGMMA_FP8, &products, 0.0);
/// assert_eq!(sum, 1.0 + 31.0 * 2f64.powi(-14));
/// assert_eq!(bound.term(Term::Alignment), 31.0 * 2f64.powi(-14));
/// ```
#[must_use]
pub fn unit_sum(unit: &Unit, products: &[Product], c: f64) -> (f64, Bound) {
    let own = (products.len() + 2) as f64 * pow2(-52);
    let mut chain = Chain { unit, sum: c, size: c.abs(), own, bound: Bound::ZERO, first: true };
    match unit.rule() {
        Rule::Fused(rule) => match rule.late {
            None => {
                products.chunks(rule.products as usize).for_each(|step| chain.fused(rule, step))
            }
            Some(late) => products.chunks(late as usize).for_each(|all| chain.late(rule, all)),
        },
        Rule::Cdna3 { products: n, halves } => {
            products.chunks(n as usize).for_each(|step| chain.cdna3(halves, step));
        }
        Rule::FmaPairs => {
            if c.abs() < pow2(-126) {
                chain.off(Term::Underflow, c.abs());
            }
            for pair in products.chunks(2) {
                pair.iter().rev().for_each(|product| chain.fma(product));
            }
        }
        Rule::Amx => products.chunks(32).for_each(|all| chain.amx(all)),
        Rule::BfDot { extended } => {
            products.chunks(2).for_each(|pair| chain.bf_dot(extended, pair));
        }
        Rule::Exact => {
            products.iter().for_each(|product| chain.add(product.value));
            chain.round(U32, ETA32);
        }
    }
    (chain.sum, chain.bound.with(Term::Reference, own * chain.size))
}

/// A chain: its sum in real numbers, and how far the unit's may be from that.
struct Chain<'a> {
    unit: &'a Unit,
    sum: f64,
    /// Σ |terms|: f64 rounds as well, by less than `own` of this.
    size: f64,
    own: f64,
    bound: Bound,
    /// Whether c is what the chain began with.
    first: bool,
}

impl<'a> Chain<'a> {
    /// Another one, from 0.
    fn anew(&self) -> Chain<'a> {
        Chain { sum: 0.0, size: 0.0, bound: Bound::ZERO, first: true, ..*self }
    }

    fn add(&mut self, x: f64) {
        self.sum += x;
        self.size += x.abs();
    }

    fn off(&mut self, term: Term, size: f64) {
        self.bound = self.bound.with(term, size);
    }

    /// The largest that the unit's sum may be.
    fn most(&self) -> f64 {
        self.sum.abs() + self.bound.total() + self.size * self.own
    }

    /// The least, at least 0.
    fn least(&self) -> f64 {
        (self.sum.abs() - self.bound.total() - self.size * self.own).max(0.0)
    }

    /// A rounding that is off by a part of the sum, or by `least` where that is more.
    fn round(&mut self, part: f64, least: f64) {
        let most = self.most();
        self.off(Term::Accumulation, part * most);
        self.off(Term::Underflow, least);
        self.overflow();
    }

    fn overflow(&mut self) {
        self.reaches(self.most());
    }

    /// A number of this size is on the way.
    fn reaches(&mut self, size: f64) {
        let max = match self.unit.output() {
            Output::F32 | Output::E8M13 => f64::from(f32::MAX),
            Output::F16 => 65504.0,
        };
        // Also where it rounds to the next power of two.
        if size >= max {
            self.off(Term::Overflow, f64::INFINITY);
        }
    }

    /// A step of T-FDPA.
    fn fused(&mut self, rule: Fused, step: &[Product]) {
        let fraction = rule.fraction as i32;
        let terms = || step.iter().filter(|product| product.value != 0.0);
        let largest = terms().map(|product| product.exponent).max();
        let c = self.most();
        if c > 0.0 || largest.is_some() {
            let (last, emin) = match self.unit.output() {
                Output::F32 => (23, -126),
                Output::E8M13 => (13, -126),
                Output::F16 => (10, -14),
            };
            // Zeros have an exponent, too; a c below the normal numbers has theirs.
            let of_c = if c > 0.0 { exponent(c).max(emin) } else { rule.zero };
            let e = largest.unwrap_or(rule.zero).max(of_c).max(rule.zero);
            let grid = pow2(e - fraction);
            let cut: f64 = terms().map(|product| residue(product.value, grid)).sum();
            self.off(Term::Alignment, cut);
            let least = self.least();
            // c has no bit below its own last place; at first it is any number of f32.
            let of_c = if self.first { last.max(if emin == -14 { 10 } else { 23 }) } else { last };
            let whole = least > 0.0 && grid <= pow2(exponent(least).max(emin) - of_c);
            if c > 0.0 && !whole {
                self.off(Term::Alignment, grid.min(c));
            }
            step.iter().for_each(|product| self.add(product.value));
            let most = self.most();
            if most > 0.0 {
                let place = exponent(most).max(emin) - last;
                // All terms were cut to a grid that is no finer than this.
                let finest = largest.unwrap_or(rule.zero).max(rule.zero) - fraction;
                if place > finest {
                    let half = if self.unit.output() == Output::F16 { 0.5 } else { 1.0 };
                    self.off(Term::Accumulation, half * pow2(place));
                }
            }
        }
        self.first = false;
        self.overflow();
    }

    /// An instruction in two steps from 0, and its sum added to nearest.
    fn late(&mut self, rule: Fused, all: &[Product]) {
        let mut own = self.anew();
        for places in [[0, 1], [2, 3]] {
            let chosen = all.iter().enumerate().filter(|(k, _)| places.contains(&(k % 4)));
            let step: Vec<Product> = chosen.map(|(_, product)| *product).collect();
            own.fused(rule, &step);
        }
        self.join(&own);
        match self.unit.output() {
            Output::F32 | Output::E8M13 => self.round(U32, ETA32),
            Output::F16 => self.round(pow2(-11), pow2(-25)),
        }
    }

    /// Adds another chain's sum, without rounding.
    fn join(&mut self, other: &Chain<'_>) {
        self.sum += other.sum;
        self.size += other.size;
        self.bound = self.bound.plus(&other.bound);
    }

    /// AMD's step: products are aligned among themselves, even and odd ones apart where there are
    /// halves; floors at 2^(e−24), and c's as well.
    fn cdna3(&mut self, halves: bool, step: &[Product]) {
        let terms = || step.iter().filter(|product| product.value != 0.0);
        if terms().any(|product| product.value.abs() >= pow2(127) * 2.0) {
            self.off(Term::Overflow, f64::INFINITY);
        }
        let largest = terms().map(|product| product.exponent).max();
        if let Some(largest) = largest {
            // The half with the smaller exponents is cut off no more than here, with its floor.
            let grid = pow2(largest - 24);
            let cut: f64 = terms().map(|product| residue(product.value, grid)).sum();
            self.off(Term::Alignment, cut + if halves { grid } else { 0.0 });
        }
        let c = self.most();
        let of_c = if c > 0.0 { exponent(c).max(-126) } else { -126 };
        let e = largest.map_or(of_c, |largest| largest.max(of_c));
        if largest.is_some_and(|largest| e > largest) {
            self.off(Term::Alignment, pow2(e - 32));
        }
        if c > 0.0 {
            self.off(Term::Alignment, pow2(e - 24));
        }
        step.iter().for_each(|product| self.add(product.value));
        let own = exponent(self.most().max(pow2(-126))).max(-126);
        self.off(Term::Accumulation, pow2(own - 31) + pow2(own - 24));
        self.overflow();
    }

    /// A fused multiply-add to nearest that takes subnormals for zeros and makes none.
    fn fma(&mut self, product: &Product) {
        if product.subnormal {
            self.off(Term::Underflow, product.value.abs());
        }
        self.add(product.value);
        self.round(U32, pow2(-126));
    }

    /// Two chains of sixteen from 0, their sum, and that added.
    fn amx(&mut self, all: &[Product]) {
        let [mut even, mut odd] = [self.anew(), self.anew()];
        for (k, product) in all.iter().enumerate() {
            if k % 2 == 0 { &mut even } else { &mut odd }.fma(product);
        }
        even.join(&odd);
        even.round(U32, pow2(-126));
        self.join(&even);
        // C may be subnormal.
        self.round(U32, 2.0 * pow2(-126));
    }

    /// Two products, their sum, and that with c: to odd, or fused and to nearest.
    fn bf_dot(&mut self, extended: bool, pair: &[Product]) {
        let mut both = self.anew();
        let (part, least) = if extended { (U32, ETA32) } else { (2.0 * U32, pow2(-126)) };
        for product in pair {
            if !extended {
                let lost = if product.subnormal { product.value.abs() } else { least };
                both.off(Term::Underflow, lost);
                both.reaches(product.value.abs());
            }
            both.add(product.value);
        }
        both.round(part, least);
        self.join(&both);
        self.round(part, if extended { least } else { 2.0 * least });
    }
}

/// What a number has below a power of two.
fn residue(x: f64, grid: f64) -> f64 {
    let size = x.abs();
    size - (size / grid).floor() * grid
}
