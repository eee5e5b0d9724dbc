//! Rounding by search: the numbers of a format as a sorted table, and a comparison with midpoints.
//!
//! It shares no code with the library: values come from the definition, codes from the table.

use core::cmp::Ordering;
use quarter::{Format, Specials};

/// The finite numbers ≥ 0 of a format by code, with one more step above the last.
#[allow(dead_code)] // each test file uses a part
pub struct Oracle {
    values: Vec<f64>,
    finite: usize,
    overflow: u8,
    nan: u8,
    sign: u8,
    neg_zero: bool,
}

#[allow(dead_code)]
impl Oracle {
    /// Of a signed format of up to 8 bits.
    pub fn new<T: Format<Bits = u8>>() -> Self {
        let (exp, man, bias) = (T::EXP_BITS, T::MAN_BITS, T::BIAS);
        let value = |code: u32| {
            let (e, m) = ((code >> man) as i32, f64::from(code & ((1 << man) - 1)));
            let hidden = f64::from(u8::from(e > 0));
            2f64.powi(e.max(1) - bias) * (m / f64::from(1 << man) + hidden)
        };
        let all = 1u32 << (exp + man);
        let (sign, all_ones) = ((1u32 << (exp + man)) as u8, (all - 1) as u8);
        let top_field = (((1 << exp) - 1) << man) as u8;
        let quiet = top_field | (1 << man >> 1) as u8;
        let (finite, overflow, nan) = match T::SPEC.specials() {
            Specials::Ieee => (usize::from(top_field), top_field, quiet),
            Specials::NanAllOnes => (all as usize - 1, all_ones, all_ones),
            Specials::NanNegZero => (all as usize, sign, sign),
            Specials::None => (all as usize, all_ones, 0),
        };
        let neg_zero = !matches!(T::SPEC.specials(), Specials::NanNegZero);
        let values = (0..=finite as u32).map(value).collect();
        Self { values, finite, overflow, nan, sign, neg_zero }
    }

    /// The finite numbers ≥ 0.
    pub fn finite(&self) -> &[f64] {
        &self.values[..self.finite]
    }

    /// The value of a code.
    pub fn decode(&self, code: u8) -> f64 {
        let magnitude = code & (self.sign - 1);
        if code == self.sign && !self.neg_zero {
            return f64::NAN;
        }
        let value = match self.finite().get(usize::from(magnitude)) {
            Some(&value) => value,
            None if magnitude == self.overflow && self.overflow != self.nan => f64::INFINITY,
            None => f64::NAN,
        };
        if code & self.sign != 0 { -value } else { value }
    }

    /// Every midpoint, with the codes below and above; the last is where overflow begins.
    pub fn midpoints(&self) -> impl Iterator<Item = f64> + '_ {
        self.values.windows(2).map(|pair| (pair[0] + pair[1]) / 2.0)
    }

    /// The code nearest to a number of this sign, given how its magnitude compares with a
    /// midpoint; a tie goes to the even code.
    pub fn nearest(&self, negative: bool, order: impl Fn(f64) -> Ordering) -> u8 {
        let (mut low, mut high) = (0, self.finite); // of values
        while low < high {
            let middle = (low + high) / 2;
            let above = match order((self.values[middle] + self.values[middle + 1]) / 2.0) {
                Ordering::Less => false,
                Ordering::Equal => middle % 2 == 1,
                Ordering::Greater => true,
            };
            (low, high) = if above { (middle + 1, high) } else { (low, middle) };
        }
        let code = if low == self.finite { self.overflow } else { low as u8 };
        if negative { self.negate(code) } else { code }
    }

    fn negate(&self, code: u8) -> u8 {
        if code == 0 && !self.neg_zero { 0 } else { code | self.sign }
    }

    /// The result of an operation: every NaN is the positive quiet one.
    pub fn result(&self, code: u8) -> u8 {
        if self.decode(code).is_nan() { self.nan } else { code }
    }

    /// The code of an exact f64; NaN gives the positive quiet NaN.
    pub fn encode(&self, x: f64) -> u8 {
        if x.is_nan() {
            return self.nan;
        }
        self.nearest(x.is_sign_negative(), |t| x.abs().partial_cmp(&t).unwrap())
    }
}
