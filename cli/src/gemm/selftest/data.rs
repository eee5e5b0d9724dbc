//! Data that is the same on every machine: integers, and f32 that are exact products of an integer
//! and a power of two.

use half::bf16;

/// Words from a seed, by splitmix64.
///
/// Source: Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators, OOPSLA 2014.
pub struct Data(u64);

impl Data {
    /// The words of a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next word.
    pub const fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// From 0 to n − 1.
    pub const fn below(&mut self, n: u64) -> u64 {
        ((self.word() >> 32) * n) >> 32
    }

    /// A signed integer of 24 bits times a power of two from 2^(low − 23) to 2^(high − 23).
    pub fn number(&mut self, low: i32, high: i32) -> f32 {
        let exponent = low + self.below((high - low + 1) as u64) as i32;
        let significand = (self.word() >> 40) as i32 - (1 << 23);
        significand as f32 * power(exponent - 23)
    }

    /// A matrix as layers have it: magnitudes over some powers of two that differ from row to row,
    /// an element in 16 zero, and in large ones a block of zeros.
    pub fn matrix(&mut self, rows: usize, cols: usize) -> Vec<f32> {
        let mut values = Vec::with_capacity(rows * cols);
        for row in 0..rows {
            let level = row as i32 % 7 - 3;
            for col in 0..cols {
                let x = self.number(level - 9, level + 2);
                let hole = row / 32 == 1 && col / 32 == 1;
                values.push(if hole || self.below(16) == 0 { 0.0 } else { x });
            }
        }
        values
    }

    /// The same in bf16.
    pub fn halves(&mut self, rows: usize, cols: usize) -> Vec<bf16> {
        self.matrix(rows, cols).into_iter().map(bf16::from_f32).collect()
    }
}

/// 2^e, for e from −126 to 127.
pub const fn power(e: i32) -> f32 {
    f32::from_bits(((e + 127) as u32) << 23)
}

/// Zeros, ones, the smallest, the largest, Inf, NaN and others where something may go wrong.
pub fn specials() -> Vec<f32> {
    const BITS: [u32; 14] = [
        0,           // 0
        0x0000_0001, // the smallest
        0x000c_cccd, // subnormal
        0x007f_ffff, // the largest subnormal
        0x0080_0000, // the smallest normal
        0x1fff_ffff, // squares are just above that
        0x3380_0000, // 2^-24
        0x3f7f_ffff, // just below 1
        0x3f80_0000, // 1
        0x3fc9_0fdb, // between codes
        0x43e0_0000, // 448
        0x5f7f_ffff, // squares are near the largest
        0x7f7f_ffff, // the largest
        0x7f80_0000, // Inf
    ];
    let signs = BITS.iter().flat_map(|bits| [*bits, *bits | 1 << 31]);
    signs.chain([0x7fc0_0000]).map(f32::from_bits).collect()
}
