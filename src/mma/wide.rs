//! A fixed-point number wide enough for every sum of products: integers only.

use core::cmp::Ordering;

const WORDS: usize = 10;

/// The weight of the lowest bit is 2^−LOW.
const LOW: i32 = 320;

/// A multiple of 2^−320 below 2^319 in magnitude, in two's complement, lowest word first.
///
/// Products of f32 are multiples of 2^−298 below 2^256, products of 8 bits times two
/// E8M0 scales multiples of 2^−286 below 2^287.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wide([u64; WORDS]);

impl Wide {
    pub const ZERO: Self = Self([0; WORDS]);

    /// significand · 2^exponent, cut off below 2^−320.
    pub fn new(negative: bool, significand: u64, exponent: i32) -> Self {
        let mut words = [0; WORDS];
        let at = exponent + LOW;
        if at < 0 {
            words[0] = significand.checked_shr(at.unsigned_abs()).unwrap_or(0);
        } else {
            let (word, bit) = (at as usize / 64, at as usize % 64);
            words[word] = significand << bit;
            if bit > 0
                && let Some(next) = words.get_mut(word + 1)
            {
                *next = significand >> (64 - bit);
            }
        }
        if negative { Self(words).negated() } else { Self(words) }
    }

    /// An f32 that is finite.
    #[cfg(feature = "std")] // for the fast path of products
    pub fn of_f32(x: f32) -> Self {
        let bits = x.to_bits();
        let (mantissa, field) = (u64::from(bits & 0x007f_ffff), (bits >> 23 & 0xff) as i32);
        let (significand, exponent) =
            if field == 0 { (mantissa, -149) } else { (mantissa | 0x0080_0000, field - 150) };
        Self::new(bits >> 31 == 1, significand, exponent)
    }

    pub const fn is_negative(&self) -> bool {
        self.0[WORDS - 1] >> 63 == 1
    }

    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }

    pub fn plus(&self, other: &Self) -> Self {
        let (mut sum, mut carry) = (*self, false);
        for (x, y) in sum.0.iter_mut().zip(other.0) {
            let (partial, over) = x.overflowing_add(y);
            let (total, again) = partial.overflowing_add(u64::from(carry));
            (*x, carry) = (total, over | again);
        }
        sum
    }

    pub fn negated(&self) -> Self {
        let flipped = Self(self.0.map(|word| !word));
        let mut one = Self::ZERO;
        one.0[0] = 1;
        flipped.plus(&one)
    }

    fn magnitude(&self) -> Self {
        if self.is_negative() { self.negated() } else { *self }
    }

    /// floor(log2 |x|); none of zero.
    pub fn exponent(&self) -> Option<i32> {
        let magnitude = self.magnitude();
        let word = magnitude.0.iter().rposition(|word| *word != 0)?;
        Some(64 * word as i32 + 63 - magnitude.0[word].leading_zeros() as i32 - LOW)
    }

    /// The largest multiple of 2^grid that is not above x.
    pub fn floor(&self, grid: i32) -> Self {
        let below = (grid + LOW).max(0) as usize;
        let mut words = self.0;
        for (i, word) in words.iter_mut().enumerate() {
            let bits = below.saturating_sub(64 * i);
            *word &= u64::MAX.checked_shl(bits as u32).unwrap_or(0);
        }
        Self(words)
    }

    /// x without its magnitude's bits below 2^grid: rounded toward zero.
    pub fn truncated(&self, grid: i32) -> Self {
        let cut = self.magnitude().floor(grid);
        if self.is_negative() { cut.negated() } else { cut }
    }

    /// The bit of weight 2^exponent, of a magnitude.
    fn bit(&self, exponent: i32) -> bool {
        let at = exponent + LOW;
        at >= 0 && self.0[at as usize / 64] >> (at % 64) & 1 == 1
    }

    /// The nearest multiple of 2^grid, ties to the even one.
    pub fn nearest_even(&self, grid: i32) -> Self {
        let magnitude = self.magnitude();
        let down = magnitude.floor(grid);
        let up = down.plus(&Self::new(false, 1, grid));
        let half = Self::new(false, 1, grid - 1);
        let lost = magnitude.plus(&down.negated());
        let rounded = match lost.compare(&half) {
            Ordering::Less => down,
            Ordering::Greater => up,
            Ordering::Equal if down.bit(grid) => up,
            Ordering::Equal => down,
        };
        if self.is_negative() { rounded.negated() } else { rounded }
    }

    /// A multiple of 2^grid: x if it is one, else the odd one of its two neighbours.
    pub fn odd(&self, grid: i32) -> Self {
        let magnitude = self.magnitude();
        let down = magnitude.floor(grid);
        let rounded = if down == magnitude || down.bit(grid) {
            down
        } else {
            down.plus(&Self::new(false, 1, grid))
        };
        if self.is_negative() { rounded.negated() } else { rounded }
    }

    fn compare(&self, other: &Self) -> Ordering {
        let difference = self.plus(&other.negated());
        match (difference.is_zero(), difference.is_negative()) {
            (true, _) => Ordering::Equal,
            (false, true) => Ordering::Less,
            (false, false) => Ordering::Greater,
        }
    }

    /// |x| / 2^exponent, which is an integer below 2^64.
    pub fn significand(&self, exponent: i32) -> u64 {
        let magnitude = self.magnitude();
        let at = exponent + LOW;
        debug_assert!(at >= 0);
        let (word, bit) = (at as usize / 64, at as usize % 64);
        let high = magnitude.0.get(word + 1).copied().unwrap_or(0);
        magnitude.0[word] >> bit | if bit > 0 { high << (64 - bit) } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::Wide;

    /// Small integers · 2^−6 in every operation, against i64.
    #[test]
    fn as_integers() {
        let wide = |x: i64| Wide::new(x < 0, x.unsigned_abs(), -6);
        for x in -300_i64..300 {
            assert_eq!(wide(x).is_negative(), x < 0);
            assert_eq!(wide(x).negated(), wide(-x));
            assert_eq!(wide(x).exponent(), (x != 0).then(|| x.unsigned_abs().ilog2() as i32 - 6));
            assert_eq!(wide(x).significand(-6), x.unsigned_abs());
            for y in -300..300 {
                assert_eq!(wide(x).plus(&wide(y)), wide(x + y));
            }
            for grid in 0..12 {
                let unit = 1 << grid;
                let floor = x.div_euclid(unit) * unit;
                assert_eq!(wide(x).floor(grid - 6), wide(floor));
                assert_eq!(wide(x).truncated(grid - 6), wide(x / unit * unit));
                let (lost, low) = (x - floor, floor / unit % 2 == 0);
                let up = 2 * lost > unit || (2 * lost == unit && !low);
                assert_eq!(wide(x).nearest_even(grid - 6), wide(floor + unit * i64::from(up)));
                let odd = floor + unit * i64::from(lost > 0 && low);
                assert_eq!(wide(x).odd(grid - 6), wide(odd), "{x} to {unit}");
            }
        }
    }
}
