//! Operands for matrix units, and their results as the oracle has them.

use proptest::prelude::*;
use quarter::mma::{Output, UNITS, Unit};
use quarter::{FormatSpec, RandomStream};
use std::fmt;

/// A unit with a pair of formats that it multiplies.
pub type Pair = (&'static Unit, [&'static FormatSpec; 2]);

/// Every unit with every pair of formats.
pub fn pairs() -> Vec<Pair> {
    let of = |unit: &&'static Unit| {
        let unit: &'static Unit = unit;
        let formats = unit.inputs().iter();
        let each = formats.flat_map(move |a| unit.inputs().iter().map(move |b| (unit, [*a, *b])));
        each.filter(|(unit, [a, b])| unit.takes(a, b))
    };
    UNITS.iter().flat_map(of).collect()
}

/// What a unit is given.
#[derive(Clone)]
pub struct Case {
    pub unit: &'static Unit,
    pub specs: [&'static FormatSpec; 2],
    pub a: Vec<u32>,
    pub b: Vec<u32>,
    pub c: u32,
}

impl Case {
    /// The unit's sum; scales, where it has some, are 1.
    #[track_caller]
    pub fn dot(&self) -> u32 {
        let scales = if self.unit.has_block_scales() { self.a.len().div_ceil(32) } else { 0 };
        let [a, b] = [(self.specs[0], &self.a[..]), (self.specs[1], &self.b[..])];
        let d = self.unit.dot_scaled(a, b, &vec![[127; 2]; scales], self.c);
        d.unwrap_or_else(|error| panic!("{self:?}: {error}"))
    }

    /// The same on the elements from..to, with another c.
    pub fn part(&self, from: usize, to: usize, c: u32) -> Self {
        Self { a: self.a[from..to].to_vec(), b: self.b[from..to].to_vec(), c, ..self.clone() }
    }

    /// The value of a sum.
    pub fn value(&self, bits: u32) -> f64 {
        value(self.unit, bits)
    }
}

pub fn value(unit: &Unit, bits: u32) -> f64 {
    match unit.output() {
        Output::F32 | Output::E8M13 => f32::from_bits(bits).into(),
        Output::F16 => half::f16::from_bits(bits as u16).to_f64(),
    }
}

/// The same number, or both NaN.
pub fn same(x: f64, y: f64) -> bool {
    x == y || (x.is_nan() && y.is_nan())
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b] = self.specs.map(FormatSpec::name);
        write!(f, "{}, c {:#x}, {a} {:x?}, {b} {:x?}", self.unit, self.c, self.a, self.b)
    }
}

/// How operands are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// Any codes, NaN and Inf among them.
    Any,
    /// Finite numbers of any exponent.
    Finite,
    /// Exponents around 0, and zeros.
    Near,
    /// A few exponents far from each other.
    Gaps,
}

pub const SPREADS: [Spread; 4] = [Spread::Any, Spread::Finite, Spread::Near, Spread::Gaps];

/// A code of a format.
pub fn code(spec: &FormatSpec, spread: Spread, words: [u32; 2]) -> u32 {
    let [word, other] = words;
    let any = word & spec.code_mask() as u32;
    let mantissa = word & ((1 << spec.man_bits()) - 1);
    let sign = word & spec.sign_mask() as u32;
    let with = |exponent: i32| {
        let field = (exponent + spec.bias()).clamp(0, spec.emax() + spec.bias()) as u32;
        let code = sign | field << spec.man_bits() | mantissa;
        let magnitude = u64::from(code) & spec.magnitude_mask();
        if magnitude > spec.max_code() { sign | spec.max_code() as u32 } else { code }
    };
    // Zero for Inf and NaN, whose fields a number shares.
    let finite = |code: u32| {
        let is_inf = spec.decode_f64(code.into()).is_infinite();
        if is_inf || spec.is_nan_code(code.into()) { 0 } else { code }
    };
    finite(match spread {
        Spread::Any => return any,
        Spread::Finite => any,
        Spread::Near if other.is_multiple_of(8) => sign,
        Spread::Near => with((other >> 3) as i32 % 5 - 2),
        Spread::Gaps => {
            let step = 1.max((spec.emax() - spec.emin()) / 4);
            with(spec.emin() - 1 + step * (other % 5) as i32)
        }
    })
}

/// c: zero, any bits, near 1, subnormal, or anywhere.
fn c_of(unit: &Unit, kind: u32, word: u32) -> u32 {
    let (width, fraction, bias) = match unit.output() {
        Output::F32 | Output::E8M13 => (32, 23, 127),
        Output::F16 => (16, 10, 15),
    };
    let any = word >> (32 - width);
    let low = any & ((1 << fraction) - 1);
    let sign = any & 1 << (width - 1);
    match kind % 6 {
        0 => 0,
        1 => any,
        2 => sign | (bias - 8 + word % 24) << fraction | low,
        3 => sign | low,
        4 => sign | (1 + word % (2 * bias - 1)) << fraction | low,
        _ => sign,
    }
}

/// Operands of a unit; c is finite unless any code goes.
pub fn case(pair: Pair, k: usize, spread: Spread, seed: u64) -> Case {
    let (unit, specs) = pair;
    let stream = RandomStream { seed, tensor: 2, step: 0 };
    let words = |i: u64| [stream.word(2 * i), stream.word(2 * i + 1)];
    let codes = |spec, first| (0..k as u64).map(|i| code(spec, spread, words(first + i))).collect();
    let [kind, word] = words(0);
    let c = c_of(unit, kind, word);
    let c = if spread == Spread::Any || value(unit, c).is_finite() { c } else { 0 };
    Case { unit, specs, a: codes(specs[0], 1), b: codes(specs[1], 1 + k as u64), c }
}

/// Cases of units that fit.
pub fn cases(
    k: std::ops::Range<usize>,
    fits: impl Fn(&Unit) -> bool,
) -> impl Strategy<Value = Case> {
    let pairs: Vec<Pair> = pairs().into_iter().filter(|(unit, _)| fits(unit)).collect();
    // Units first, so that one of many formats is no more frequent.
    let units: Vec<Vec<Pair>> = pairs.chunk_by(|x, y| x.0 == y.0).map(<[Pair]>::to_vec).collect();
    (any::<[u16; 3]>(), k, any::<u64>()).prop_map(move |([unit, pair, spread], k, seed)| {
        let pairs = &units[usize::from(unit) % units.len()];
        let spread = SPREADS[usize::from(spread) % SPREADS.len()];
        case(pairs[usize::from(pair) % pairs.len()], k, spread, seed)
    })
}
