//! The definition of every unit: wide integers, no floating point, never optimised.

use super::number::{Number, special};
use super::unit::{Fused, Output, Rule, Unit};
use super::wide::Wide;
use crate::error::Error;
use crate::format::{FormatSpec, table};

/// Bits of the only NaN that units give.
pub(super) const NAN: u32 = 0x7fff_ffff;
/// The same of an output of f16.
pub(super) const NAN_F16: u32 = 0x7fff;

/// How a sum becomes a result.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Round {
    TowardZero,
    NearestEven,
    Odd,
}

/// The bits of a sum in a format: `kept` bits of the fraction, the others zero.
fn encode(sum: &Wide, spec: &FormatSpec, kept: i32, round: Round) -> u32 {
    let Some(exponent) = sum.exponent() else { return 0 };
    let grid = exponent.max(spec.emin()) - kept;
    let rounded = match round {
        Round::TowardZero => sum.truncated(grid),
        Round::NearestEven => sum.nearest_even(grid),
        Round::Odd => sum.odd(grid),
    };
    let sign = if rounded.is_negative() { spec.sign_mask() as u32 } else { 0 };
    let fraction = spec.man_bits() as i32;
    let Some(exponent) = rounded.exponent() else { return 0 };
    if exponent > spec.emax() {
        return sign | infinity(spec);
    }
    let unit = exponent.max(spec.emin()) - fraction;
    let significand = rounded.significand(unit) as u32;
    let field = (exponent.max(spec.emin()) + spec.bias()) as u32;
    // Without its leading bit; of a subnormal number there is none, and the field is 0.
    sign | if significand >> fraction == 0 {
        significand
    } else {
        field << fraction | (significand - (1 << fraction))
    }
}

/// The f32 nearest to a sum.
#[cfg(feature = "std")] // for the fast path of products
pub(super) fn nearest_f32(sum: &Wide) -> u32 {
    encode(sum, &table::F32, 23, Round::NearestEven)
}

fn infinity(spec: &FormatSpec) -> u32 {
    spec.inf_code().unwrap_or(0) as u32
}

/// The bits of NaN or Inf.
fn encode_special(special: Number, output: Output) -> u32 {
    match (special, output) {
        (Number::Inf { negative }, Output::F32 | Output::E8M13) => {
            u32::from(negative) << 31 | infinity(&table::F32)
        }
        (Number::Inf { negative }, Output::F16) => {
            u32::from(negative) << 15 | infinity(&table::F16)
        }
        (Number::Nan | Number::Finite { .. }, Output::F32 | Output::E8M13) => NAN,
        (Number::Nan | Number::Finite { .. }, Output::F16) => NAN_F16,
    }
}

/// The format of c and d.
pub(super) const fn accumulator(output: Output) -> &'static FormatSpec {
    match output {
        Output::F32 | Output::E8M13 => &table::F32,
        Output::F16 => &table::F16,
    }
}

impl Unit {
    /// c + Σₖ aₖ · bₖ as the unit chains it over its steps: bits of its output from codes.
    ///
    /// This is the definition: slow, in integers. c is the bits of an f32, or of an f16 where the
    /// output is one.
    ///
    /// # Errors
    /// [`Error::Unit`] for formats that it does not multiply; [`Error::Length`]; [`Error::Code`] for
    /// bits above a format's width.
    pub fn dot(
        &self,
        a: (&FormatSpec, &[u32]),
        b: (&FormatSpec, &[u32]),
        c: u32,
    ) -> Result<u32, Error> {
        self.dot_scaled(a, b, &[], c)
    }

    /// The same with the E8M0 scales of blocks of 32, those of a and of b.
    ///
    /// # Errors
    /// As [`dot`](Self::dot); [`Error::Length`] unless there is a pair for each block, and none
    /// where the unit has no scales.
    pub fn dot_scaled(
        &self,
        a: (&FormatSpec, &[u32]),
        b: (&FormatSpec, &[u32]),
        scales: &[[u8; 2]],
        c: u32,
    ) -> Result<u32, Error> {
        self.check(a.0, b.0)?;
        let (what, expected) = ("b", a.1.len());
        if b.1.len() != expected {
            return Err(Error::Length { what, expected, got: b.1.len() });
        }
        let expected = if self.has_block_scales() { a.1.len().div_ceil(32) } else { 0 };
        if scales.len() != expected {
            return Err(Error::Length { what: "scales of blocks", expected, got: scales.len() });
        }
        for (spec, codes) in [a, b, (accumulator(self.output), &[c])] {
            if let Some(code) = codes.iter().find(|code| u64::from(**code) > spec.code_mask()) {
                let (format, bits) = (spec.name(), spec.bits());
                return Err(Error::Code { format, bits, got: *code });
            }
        }
        let pair = |k: usize| {
            [(a.0, a.1[k]), (b.0, b.1[k])].map(|(spec, code)| Number::of(spec, u64::from(code)))
        };
        let product = |k: usize| {
            let [x, y] = pair(k);
            match scales.get(k / 32) {
                Some(scales) if scales.contains(&u8::MAX) => Number::Nan,
                Some([sa, sb]) => x.times(y).scaled(i32::from(*sa) + i32::from(*sb) - 254),
                None => x.times(y),
            }
        };
        let k = a.1.len();
        Ok(match self.rule {
            Rule::Fused(rule) => self.fused(rule, k, c, product),
            Rule::Cdna3 { products, halves } => cdna3(products as usize, halves, k, c, product),
            Rule::FmaPairs => {
                // Beyond the end there are zeros.
                let at = |i: usize| if i < k { pair(i) } else { [Number::of(&table::BF16, 0); 2] };
                let step = |c, first| fma_flushed(at(first), fma_flushed(at(first + 1), c));
                (0..k).step_by(2).fold(c, step)
            }
            Rule::Amx => {
                let mut c = c;
                for from in (0..k).step_by(32) {
                    let mut chains = [0, 0];
                    for k in from..k.min(from + 32) {
                        chains[k % 2] = fma_flushed(pair(k), chains[k % 2]);
                    }
                    c = add_flushed(c, add_flushed(chains[0], chains[1]));
                }
                c
            }
            Rule::BfDot { extended } => {
                let zero = [Number::of(&table::BF16, 0); 2];
                let d = (0..k).step_by(2).fold(c, |c, first| {
                    let second = if first + 1 < k { pair(first + 1) } else { zero };
                    bf_dot(extended, [pair(first), second], c)
                });
                if f32::from_bits(d).is_nan() { QUIET_ARM } else { d }
            }
            Rule::Exact => {
                let terms = (0..k).map(product).chain([Number::of(&table::F32, u64::from(c))]);
                match special(terms.clone()) {
                    Some(special) => encode_special(special, self.output),
                    None => {
                        let sum = terms.fold(Wide::ZERO, |sum, term| sum.plus(&term.wide()));
                        encode(&sum, &table::F32, 23, Round::NearestEven)
                    }
                }
            }
        })
    }

    /// The chain of steps, or of instructions that are added late.
    fn fused(&self, rule: Fused, k: usize, c: u32, product: impl Fn(usize) -> Number) -> u32 {
        let products = rule.products as usize;
        let Some(late) = rule.late else {
            return (0..k).step_by(products).fold(c, |c, first| {
                self.step_of(rule, c, (first..k.min(first + products)).map(&product))
            });
        };
        (0..k).step_by(late as usize).fold(c, |c, first| {
            let all = first..k.min(first + late as usize);
            let sum = [[0, 1], [2, 3]].iter().fold(0, |sum, places| {
                let chosen = all.clone().filter(|k| places.contains(&(k % 4)));
                self.step_of(rule, sum, chosen.map(&product))
            });
            self.added(c, sum)
        })
    }

    /// One step.
    fn step_of(&self, rule: Fused, c: u32, products: impl Iterator<Item = Number> + Clone) -> u32 {
        let terms = products.chain([Number::of(accumulator(self.output), u64::from(c))]);
        if let Some(special) = special(terms.clone()) {
            return encode_special(special, self.output);
        }
        let largest = terms.clone().map(|term| term.exponent(rule.zero)).max();
        let grid = largest.unwrap_or(rule.zero) - rule.fraction as i32;
        let sum = terms.fold(Wide::ZERO, |sum, term| sum.plus(&term.cut(grid)));
        match self.output {
            Output::F32 => encode(&sum, &table::F32, 23, Round::TowardZero),
            Output::E8M13 => encode(&sum, &table::F32, 13, Round::TowardZero),
            Output::F16 => encode(&sum, &table::F16, 10, Round::NearestEven),
        }
    }

    /// c + sum, one rounding to nearest in the output's type; zeros are +0.
    fn added(&self, c: u32, sum: u32) -> u32 {
        let spec = accumulator(self.output);
        let terms = [c, sum].map(|bits| Number::of(spec, u64::from(bits)));
        match special(terms.into_iter()) {
            Some(special) => encode_special(special, self.output),
            None => {
                let sum = terms[0].wide().plus(&terms[1].wide());
                encode(&sum, spec, spec.man_bits() as i32, Round::NearestEven)
            }
        }
    }
}

/// AMD's steps: c is aligned with the sum of the products, and what lies below is floored.
fn cdna3(
    products: usize,
    halves: bool,
    k: usize,
    c: u32,
    product: impl Fn(usize) -> Number,
) -> u32 {
    (0..k).step_by(products).fold(c, |c, first| {
        let all = first..k.min(first + products);
        let products = all.clone().map(&product).map(|product| match product {
            // Beyond f32 before anything is added.
            Number::Finite { negative, .. }
                if product.wide().exponent().is_some_and(|exponent| exponent >= 128) =>
            {
                Number::Inf { negative }
            }
            _ => product,
        });
        let c = Number::of(&table::F32, u64::from(c));
        if let Some(special) = special(products.clone().chain([c])) {
            return encode_special(special, Output::F32);
        }
        // Of some products: the largest exponent, none if all are zero, and the sum of what is kept.
        let sum_of = |odd: Option<usize>| {
            let chosen = (all.clone().zip(products.clone()))
                .filter(|(k, _)| odd.is_none_or(|odd| k % 2 == odd))
                .map(|(_, product)| product);
            let exponents = chosen.clone().map(|product| product.exponent(i32::MIN));
            let largest = exponents.max().filter(|exponent| *exponent != i32::MIN)?;
            let add = |sum: Wide, product: Number| sum.plus(&product.cut(largest - 24));
            Some((largest, chosen.fold(Wide::ZERO, add)))
        };
        let (largest, sum) = if halves {
            let both = [sum_of(Some(0)), sum_of(Some(1))];
            let largest = both.iter().flatten().map(|(largest, _)| *largest).max();
            let add = |sum: Wide, part: &Wide| sum.plus(&part.floor(largest.unwrap_or(0) - 24));
            (largest, both.iter().flatten().map(|(_, sum)| sum).fold(Wide::ZERO, add))
        } else {
            let found = sum_of(None);
            (found.map(|(largest, _)| largest), found.map_or(Wide::ZERO, |(_, sum)| sum))
        };
        let exponent = c.exponent(-126);
        let e = largest.map_or(exponent, |largest| largest.max(exponent));
        let dropped = halves && exponent < e - 25;
        let c = if dropped { Wide::ZERO } else { c.wide().floor(e - 24) };
        let sum = sum.floor(e - 32).plus(&c);
        let own = sum.exponent().unwrap_or(-126).max(-126);
        encode(&sum.floor(own - 31), &table::F32, 23, Round::NearestEven)
    })
}

/// The NaN of x86 and of Arm; units of CPUs give no other.
const QUIET_X86: u32 = 0xffc0_0000;
const QUIET_ARM: u32 = 0x7fc0_0000;

/// An f32 result of a CPU: zero with its sign instead of a subnormal number.
fn rounded(sum: &Wide, zero: bool, round: Round) -> u32 {
    let Some(exponent) = sum.exponent() else { return u32::from(zero) << 31 };
    let sign = u32::from(sum.is_negative()) << 31;
    // To 24 bits, as if exponents had no end.
    let unbounded = match round {
        Round::NearestEven => sum.nearest_even(exponent - 23),
        Round::Odd => sum.odd(exponent - 23),
        Round::TowardZero => sum.truncated(exponent - 23),
    };
    if unbounded.exponent().is_none_or(|exponent| exponent < -126) {
        return sign;
    }
    encode(sum, &table::F32, 23, round)
}

/// Sign bits of Inf and NaN as CPUs give them.
fn encode_cpu(special: Number) -> u32 {
    match special {
        Number::Inf { negative } => u32::from(negative) << 31 | infinity(&table::F32),
        Number::Nan | Number::Finite { .. } => QUIET_X86,
    }
}

fn negative(x: Number) -> bool {
    matches!(x, Number::Finite { negative: true, .. } | Number::Inf { negative: true })
}

/// The sum of terms, with subnormal ones taken for zeros beforehand.
fn sum_flushed(terms: [Number; 2], round: Round) -> u32 {
    if let Some(special) = special(terms.into_iter()) {
        return encode_cpu(special);
    }
    let sum = terms[0].wide().plus(&terms[1].wide());
    // −0 only of two −0.
    rounded(&sum, terms.into_iter().all(negative), round)
}

fn f32_flushed(bits: u32) -> Number {
    Number::of(&table::F32, u64::from(bits)).flushed(-126)
}

fn fma_flushed([a, b]: [Number; 2], c: u32) -> u32 {
    let product = a.flushed(-126).times(b.flushed(-126));
    sum_flushed([product, f32_flushed(c)], Round::NearestEven)
}

fn add_flushed(a: u32, b: u32) -> u32 {
    sum_flushed([f32_flushed(a), f32_flushed(b)], Round::NearestEven)
}

fn bf_dot(extended: bool, [first, second]: [[Number; 2]; 2], c: u32) -> u32 {
    if extended {
        // The sum of both products has one rounding, and so has that with c.
        let products = [first, second].map(|[a, b]| a.times(b));
        let add = |terms: [Number; 2]| match special(terms.into_iter()) {
            Some(special) => encode_cpu(special),
            None => {
                let sum = terms[0].wide().plus(&terms[1].wide());
                // −0 of two −0, and of what is too small.
                let minus = sum.is_negative() || (sum.is_zero() && terms.into_iter().all(negative));
                u32::from(minus) << 31 | encode(&sum, &table::F32, 23, Round::NearestEven)
            }
        };
        let sum = Number::of(&table::F32, u64::from(add(products)));
        return add([sum, Number::of(&table::F32, u64::from(c))]);
    }
    let product = |[a, b]: [Number; 2]| {
        let product = a.flushed(-126).times(b.flushed(-126));
        match product {
            Number::Finite { negative, .. } => rounded(&product.wide(), negative, Round::Odd),
            Number::Nan | Number::Inf { .. } => encode_cpu(product),
        }
    };
    let products = [first, second].map(|pair| f32_flushed(product(pair)));
    sum_flushed([f32_flushed(sum_flushed(products, Round::Odd)), f32_flushed(c)], Round::Odd)
}
