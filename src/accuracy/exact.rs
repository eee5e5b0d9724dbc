//! Sums without rounding: one f64 while that is all, then a whole number of 64-bit limbs, as many as
//! there is need for.

use super::histogram::exponent;
use crate::arch::vector::ERROR_LANES;
use std::boxed::Box;
use std::vec::Vec;

/// A sum. Sums of one chunk, of which there may be millions, are a number each and no more.
#[derive(Clone, Debug, Default)]
pub(super) struct Exact {
    /// The only term; 0 where there are limbs.
    one: f64,
    limbs: Option<Box<Limbs>>,
}

/// Σ limbs\[i\] · 2^(64 (low + i)) in two's complement, of any size; no limb more than it takes, so
/// equal sums are equal records, whatever was added in whatever order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Limbs {
    low: i32,
    limbs: Vec<u64>,
}

/// fraction · 2^exponent. The fraction of a sum is 0 or within 2^63 and 2^64 in magnitude; products,
/// roots and quotients of two are far from the ends of f64.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scaled {
    pub fraction: f64,
    pub exponent: i32,
}

impl Scaled {
    /// The nearest f64, at most the largest in magnitude.
    pub fn to_f64(self) -> f64 {
        scale(self.fraction, self.exponent).clamp(f64::MIN, f64::MAX)
    }

    /// Its square root.
    pub fn sqrt(self) -> Self {
        let odd = self.exponent & 1;
        let fraction = (self.fraction * f64::from(1 + odd)).sqrt();
        Self { fraction, exponent: (self.exponent - odd) / 2 }
    }

    /// Divided by `n`, at least 1.
    pub fn over(self, n: u64) -> Self {
        Self { fraction: self.fraction / n.max(1) as f64, ..self }
    }

    /// The quotient of two: 0 if this is 0, infinite if only the other is, else at most the largest
    /// f64 in magnitude.
    pub fn per(self, other: Self) -> f64 {
        let fraction = self.fraction / other.fraction;
        match (self.fraction == 0.0, other.fraction == 0.0) {
            (true, _) => 0.0,
            (false, true) => fraction,
            (false, false) => Self { fraction, exponent: self.exponent - other.exponent }.to_f64(),
        }
    }

    /// The quotient's logarithm to base 2.
    pub fn log2_per(self, other: Self) -> f64 {
        // The exponents first: of quotients near 1 the logarithm is near 0.
        let whole = f64::from(self.exponent - other.exponent);
        (self.fraction / other.fraction).log2() + whole
    }
}

/// The lanes of a chunk as one.
pub(super) fn fold(mut lanes: [f64; ERROR_LANES]) -> f64 {
    for half in [4, 2, 1] {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
    }
    lanes[0]
}

/// x · 2^exponent.
pub(super) fn scale(mut x: f64, mut exponent: i32) -> f64 {
    let power = |e: i32| f64::from_bits(((1023 + e) as u64) << 52);
    while exponent != 0 && x != 0.0 && x.is_finite() {
        let step = exponent.clamp(-1000, 1000);
        x *= power(step);
        exponent -= step;
    }
    x
}

impl PartialEq for Exact {
    /// Whether the sums are equal, whatever they are of.
    fn eq(&self, other: &Self) -> bool {
        match (&self.limbs, &other.limbs) {
            (None, None) => self.one == other.one,
            (Some(limbs), Some(others)) => limbs == others,
            (Some(limbs), None) => **limbs == Limbs::of(other.one),
            (None, Some(others)) => Limbs::of(self.one) == **others,
        }
    }
}

impl Exact {
    /// Adds x · 2^shift; x is finite.
    pub fn add(&mut self, x: f64, shift: i32) {
        if self.one == 0.0 && shift == 0 && self.limbs.is_none() {
            self.one = x;
        } else if x != 0.0 {
            self.limbs().add(x, shift);
        }
    }

    /// Adds a sum.
    pub fn merge(&mut self, other: &Self) {
        match &other.limbs {
            Some(limbs) => self.limbs().merge(limbs),
            None => self.add(other.one, 0),
        }
    }

    /// This as limbs.
    fn limbs(&mut self) -> &mut Limbs {
        let one = std::mem::take(&mut self.one);
        let limbs = self.limbs.get_or_insert_default();
        limbs.add(one, 0);
        limbs
    }

    /// The sum, rounded once to nearest even.
    pub fn value(&self) -> Scaled {
        match &self.limbs {
            Some(limbs) => limbs.value(),
            None if self.one == 0.0 => Scaled { fraction: 0.0, exponent: 0 },
            None => {
                let exponent = exponent(self.one) - 63;
                Scaled { fraction: scale(self.one, -exponent), exponent }
            }
        }
    }

    /// The nearest f64, at most the largest in magnitude.
    pub fn to_f64(&self) -> f64 {
        self.value().to_f64()
    }
}

impl Limbs {
    fn of(x: f64) -> Self {
        let mut limbs = Self::default();
        limbs.add(x, 0);
        limbs
    }

    /// Adds x · 2^shift; x is finite.
    fn add(&mut self, x: f64, shift: i32) {
        let bits = x.to_bits();
        let (field, fraction) = ((bits >> 52 & 2047) as i32, bits & (u64::MAX >> 12));
        let significand = if field == 0 { fraction } else { fraction | 1 << 52 };
        if significand == 0 {
            return;
        }
        let at = field.max(1) - 1075 + shift;
        let wide = u128::from(significand) << at.rem_euclid(64);
        let term = [wide as u64, (wide >> 64) as u64];
        self.add_limbs(at.div_euclid(64), &term, 0, x < 0.0);
    }

    /// Adds a sum.
    fn merge(&mut self, other: &Self) {
        self.add_limbs(other.low, &other.limbs, other.sign(), false);
    }

    /// All bits of the limbs above.
    fn sign(&self) -> u64 {
        self.limbs.last().map_or(0, |top| ((*top as i64) >> 63) as u64)
    }

    /// Adds or subtracts limbs that go on as `above`.
    fn add_limbs(&mut self, low: i32, term: &[u64], above: u64, subtract: bool) {
        if term.is_empty() {
            return;
        }
        if self.limbs.is_empty() {
            self.low = low;
        }
        if low < self.low {
            let missing = (self.low - low) as usize;
            self.limbs.splice(0..0, std::iter::repeat_n(0, missing));
            self.low = low;
        }
        let first = (low - self.low) as usize;
        // One limb more than either has, for the carry.
        let len = self.limbs.len().max(first + term.len()) + 1;
        let sign = self.sign();
        self.limbs.resize(len, sign);
        let mut carry = u64::from(subtract);
        let term = term.iter().copied().chain(std::iter::repeat(above));
        for (limb, term) in self.limbs[first..].iter_mut().zip(term) {
            let term = if subtract { !term } else { term };
            let (sum, over) = limb.overflowing_add(term);
            let (sum, again) = sum.overflowing_add(carry);
            (*limb, carry) = (sum, u64::from(over | again));
        }
        self.trim();
    }

    fn trim(&mut self) {
        while let [.., below, top] = self.limbs[..] {
            if top != ((below as i64) >> 63) as u64 {
                break;
            }
            self.limbs.pop();
        }
        let zeros = self.limbs.iter().take_while(|limb| **limb == 0).count();
        self.limbs.drain(..zeros);
        self.low = if self.limbs.is_empty() { 0 } else { self.low + zeros as i32 };
    }

    /// The sum, rounded once to nearest even.
    fn value(&self) -> Scaled {
        let negative = self.sign() != 0;
        let mut carry = u64::from(negative);
        let magnitude = |limb: &u64| {
            let (limb, over) = (if negative { !limb } else { *limb }).overflowing_add(carry);
            carry = u64::from(over);
            limb
        };
        let limbs: Vec<u64> = self.limbs.iter().map(magnitude).collect();
        let Some(top) = limbs.iter().rposition(|limb| *limb != 0) else {
            return Scaled { fraction: 0.0, exponent: 0 };
        };
        let below = if top == 0 { 0 } else { limbs[top - 1] };
        let zeros = limbs[top].leading_zeros();
        let wide = (u128::from(limbs[top]) << 64 | u128::from(below)) << zeros;
        let rest = wide as u64 != 0 || limbs[..top.saturating_sub(1)].iter().any(|limb| *limb != 0);
        // The lowest of 64 bits, far below the 53 that stay, stands for all that is under it.
        let fraction = ((wide >> 64) as u64 | u64::from(rest)) as f64;
        let exponent = 64 * (self.low + top as i32) - zeros as i32;
        Scaled { fraction: if negative { -fraction } else { fraction }, exponent }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::RandomStream;
    use std::vec;

    fn sum(terms: &[(f64, i32)]) -> Exact {
        let mut exact = Exact::default();
        terms.iter().for_each(|(x, shift)| exact.add(*x, *shift));
        exact
    }

    #[test]
    fn nothing_is_lost_and_nothing_stays() {
        let huge = [(1e300, 2000), (1.0, 0), (5e-324, -2000), (-1e300, 2000), (-1.0, 0)];
        assert_eq!(sum(&huge), sum(&[(5e-324, -2000)]));
        assert_eq!(sum(&[(3.5, 7), (-3.5, 7)]), Exact::default());
        assert_eq!(sum(&[(f64::MAX, 0); 4]).to_f64(), f64::MAX);
        assert_eq!(sum(&[(-f64::MAX, 0); 4]).to_f64(), f64::MIN);
        assert_eq!(sum(&[(f64::MAX, 0); 4]).value().over(4).to_f64(), f64::MAX);
        assert_eq!(sum(&[(1.0, -64), (-1.0, 0)]).to_f64(), -1.0);
        assert_eq!(sum(&[(1.0, -3), (-1.0, 0)]).to_f64(), -0.875);
    }

    /// A sum of one term is the same record of its limbs.
    #[test]
    fn one_term_is_its_limbs() {
        for x in [1.0, -1.5, 3e-310, 5e-324, f64::MAX, f64::MIN, 0.0, -0.0, 1e-200, f64::EPSILON] {
            let (one, limbs) = (sum(&[(x, 0)]), sum(&[(1.0, 0), (x, 0), (-1.0, 0)]));
            assert!(one.limbs.is_none() && limbs.limbs.is_some());
            assert_eq!((&one, &limbs), (&limbs, &one));
            assert_eq!((one.value(), one.to_f64()), (limbs.value(), x));
            assert_ne!(one, sum(&[(1.0, 0), (x, 0)]));
            let mut merged = limbs.clone();
            merged.merge(&one);
            assert_eq!(merged, sum(&[(x, 1)]));
        }
    }

    /// Against 128-bit integers.
    #[test]
    fn sums_are_those_of_integers() {
        let stream = RandomStream { seed: 1, ..RandomStream::default() };
        for case in 0..2000_u64 {
            let (mut exact, mut integer) = (Exact::default(), 0_i128);
            for i in 0..1 + case % 9 {
                let word = stream.word(16 * case + i);
                let shift = (stream.word(16 * case + i + 8) % 90) as i32;
                let x = f64::from(word as i32);
                exact.add(x, shift);
                integer += i128::from(word as i32) << shift;
                let again = sum(&[(integer as i64 as f64, 0)]);
                if integer.unsigned_abs() < 1 << 53 {
                    assert_eq!(exact, again, "{integer}");
                }
                assert_eq!(exact.to_f64(), integer as f64, "{integer}");
            }
        }
    }

    #[test]
    fn any_order_and_any_parts_give_the_same() {
        let stream = RandomStream { seed: 2, ..RandomStream::default() };
        let term = |i: u64| {
            let bits = u64::from(stream.word(2 * i)) << 32 | u64::from(stream.word(2 * i + 1));
            let x = f64::from_bits(bits);
            if x.is_finite() { x } else { 1.0 }
        };
        let (mut up, mut down) = (Exact::default(), Exact::default());
        let mut parts = vec![Exact::default(); 7];
        for i in 0..500 {
            up.add(term(i), 0);
            down.add(term(499 - i), 0);
            parts[(i % 7) as usize].add(term(i), 0);
        }
        let joined = parts.iter().fold(Exact::default(), |mut all, part| {
            all.merge(part);
            all
        });
        assert_eq!(up, down);
        assert_eq!(up, joined);
        assert!(up.limbs.as_ref().unwrap().limbs.len() > 10, "{up:?}");
    }

    #[test]
    fn quotients_and_roots_of_what_no_f64_holds() {
        let (a, b) = (sum(&[(3.0, 5000)]).value(), sum(&[(0.75, 4998)]).value());
        assert_eq!((a.per(b), b.per(a)), (16.0, 0.0625));
        assert_eq!((a.log2_per(b), a.to_f64()), (4.0, f64::MAX));
        assert_eq!(sum(&[(9.0, 2002)]).value().sqrt().per(sum(&[(3.0, 1001)]).value()), 1.0);
        assert_eq!(sum(&[(2.0, -2001)]).value().sqrt().to_f64(), 2.0_f64.powi(-1000));
        let zero = Exact::default().value();
        assert_eq!((zero.per(a), zero.to_f64(), a.per(zero)), (0.0, 0.0, f64::INFINITY));
        assert_eq!((zero.per(zero), a.per(sum(&[(-1.0, 0)]).value())), (0.0, f64::MIN));
    }
}
