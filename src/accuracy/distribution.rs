//! Matrices on which kernels go wrong: drawn from a seed, the same on every machine.

use crate::format::FormatId;
use crate::format::random::philox4x32_10;
use std::fmt;
use std::vec;
use std::vec::Vec;

/// How the elements of a matrix are distributed. Signs are even unless said otherwise.
///
/// ```
/// use quarter::FormatId;
/// use quarter::accuracy::Distribution;
/// for distribution in Distribution::all(FormatId::F8E4M3) {
///     let x = distribution.matrix(3, 64, 1);
///     assert_eq!(x.len(), 3 * 64, "{distribution}");
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Distribution {
    /// Standard normal, exact by Karney's rejections (ACM TOMS 42, 2016, algorithm N).
    Gaussian,
    /// Uniform in \[−1, 1).
    Uniform,
    /// z·|z|⁴ of a standard normal z: a tail over many binades.
    FifthPower,
    /// ±2^(3z) of a standard normal z, linear within a binade.
    LogNormal,
    /// Student's t with two degrees of freedom: no variance.
    StudentT,
    /// Standard normal, every 32nd column times 100 to 1,000.
    OutlierColumns,
    /// Standard normal; each 32 elements of a row times a power of two of 2^-20 ..= 2^20.
    BlockSpread,
    /// The midpoints of neighbours of a format, and the f32 one ulp below and above.
    Midpoints(FormatId),
    /// Multiples of an eighth of the format's smallest number, up to twice its smallest normal.
    Subnormals(FormatId),
    /// f32 subnormals, one in four a normal number of their size.
    TinyF32,
    /// One number for all.
    Constant,
    /// Zeros, some of them −0.
    Zeros,
    /// +a, −a, +a ... along a row, with one a for the row.
    Alternating,
    /// Neighbours in a row that all but cancel: x, then −x one f32 ulp away.
    Cancelling,
    /// Standard normal with NaN, infinities, −0, and f32's largest and smallest numbers strewn in.
    Specials,
}

/// Random words, one after the other: all four of each block.
struct Source {
    key: [u32; 2],
    block: [u32; 4],
    next: u64,
}

impl Source {
    fn new(seed: u64) -> Self {
        Self { key: [seed as u32, (seed >> 32) as u32], block: [0; 4], next: 0 }
    }

    fn word(&mut self) -> u32 {
        let (block, lane) = (self.next / 4, (self.next % 4) as usize);
        if lane == 0 {
            self.block = philox4x32_10([block as u32, (block >> 32) as u32, 0, 0], self.key);
        }
        self.next += 1;
        self.block[lane]
    }

    /// One of `n`.
    fn below(&mut self, n: u64) -> u64 {
        (u64::from(self.word()) << 21 | u64::from(self.word() >> 11)) % n.max(1)
    }

    /// Uniform in \[0, 1), a multiple of 2^-53.
    fn unit(&mut self) -> f64 {
        (u64::from(self.word()) << 21 | u64::from(self.word() >> 11)) as f64 / (1_u64 << 53) as f64
    }

    fn signed(&mut self, x: f64) -> f64 {
        if self.word() & 1 == 0 { x } else { -x }
    }

    /// Whether an event of probability exp(−t) happens, t within \[0, 1\]: von Neumann's falling runs.
    fn decays(&mut self, t: f64) -> bool {
        let (mut last, mut even) = (t, true);
        loop {
            let next = self.unit();
            if next >= last {
                return even;
            }
            (last, even) = (next, !even);
        }
    }

    fn gaussian(&mut self) -> f64 {
        loop {
            let mut k = 0_u32;
            while self.decays(0.5) {
                k += 1;
            }
            if !(0..k * k.saturating_sub(1)).all(|_| self.decays(0.5)) {
                continue;
            }
            let (x, whole) = (self.unit(), f64::from(k));
            let part = x * (2.0 * whole + x) / (2.0 * whole + 2.0);
            if (0..=k).all(|_| self.decays(part)) {
                return self.signed(whole + x);
            }
        }
    }
}

/// 2^e, an f64.
fn power(e: i32) -> f64 {
    f64::from_bits(((1023 + e.clamp(-1022, 1023)) as u64) << 52)
}

/// 2^t, linear within a binade.
fn exp2_linear(t: f64) -> f64 {
    power(t.floor() as i32) * (1.0 + (t - t.floor()))
}

impl Distribution {
    /// Every one, with this format's midpoints and subnormals. The last is the only one with values
    /// that are not finite.
    #[must_use]
    pub const fn all(format: FormatId) -> [Self; 15] {
        [
            Self::Gaussian,
            Self::Uniform,
            Self::FifthPower,
            Self::LogNormal,
            Self::StudentT,
            Self::OutlierColumns,
            Self::BlockSpread,
            Self::Midpoints(format),
            Self::Subnormals(format),
            Self::TinyF32,
            Self::Constant,
            Self::Zeros,
            Self::Alternating,
            Self::Cancelling,
            Self::Specials,
        ]
    }

    /// Every one whose values are finite.
    pub fn finite(format: FormatId) -> impl Iterator<Item = Self> {
        Self::all(format).into_iter().filter(|distribution| *distribution != Self::Specials)
    }

    /// A \[rows, cols\] matrix, row after row. The same seed gives the same bits.
    ///
    /// # Panics
    /// If there is no memory for so many elements, as `vec!` does.
    #[must_use]
    pub fn matrix(self, rows: usize, cols: usize, seed: u64) -> Vec<f32> {
        let mut source = Source::new(seed);
        let mut values = vec![0.0; rows.saturating_mul(cols)];
        // What a column, a row or the whole has in common.
        let loud = 32.min(cols.max(1)) as u64;
        let (loud, offset) = (loud, source.below(loud));
        let whole = source.gaussian();
        for row in values.chunks_mut(cols.max(1)) {
            let mut common = whole;
            if self == Self::Alternating {
                common = source.gaussian();
            }
            for (col, value) in row.iter_mut().enumerate() {
                let x = match self {
                    Self::Gaussian => source.gaussian(),
                    Self::Uniform => 2.0 * source.unit() - 1.0,
                    Self::FifthPower => {
                        let z = source.gaussian();
                        z * (z * z) * (z * z)
                    }
                    Self::LogNormal => {
                        let x = exp2_linear(3.0 * source.gaussian());
                        source.signed(x)
                    }
                    Self::StudentT => {
                        let [z, a, b] = [(); 3].map(|()| source.gaussian());
                        // f32 holds it: a and b are both 0 once in 2^106.
                        z / ((a * a + b * b) / 2.0).sqrt().max(power(-60))
                    }
                    Self::OutlierColumns => {
                        let z = source.gaussian();
                        let spread = (col as u64).wrapping_mul(0x9e37_79b9) >> 7 & 1023;
                        let gain = 100.0 + spread as f64 * (900.0 / 1023.0);
                        if col as u64 % loud == offset { z * gain } else { z }
                    }
                    Self::BlockSpread => {
                        if col % 32 == 0 {
                            common = power(source.below(41) as i32 - 20);
                        }
                        source.gaussian() * common
                    }
                    Self::Midpoints(format) => {
                        let x = midpoint(format, &mut source);
                        source.signed(x)
                    }
                    Self::Subnormals(format) => {
                        let (least, normal) =
                            (format.spec().min_positive(), format.spec().min_normal());
                        let steps = (16.0 * normal / least) as u64;
                        let x = source.below(steps + 1) as f64 * (least / 8.0);
                        source.signed(x)
                    }
                    Self::TinyF32 => {
                        let bits = source.word() >> 9 | u32::from(source.word() & 3 == 0) << 23;
                        let x = f32::from_bits(bits).into();
                        source.signed(x)
                    }
                    Self::Constant => common,
                    Self::Zeros => source.signed(0.0),
                    Self::Alternating => {
                        if col % 2 == 0 {
                            common
                        } else {
                            -common
                        }
                    }
                    Self::Cancelling => {
                        if col % 2 == 0 {
                            common = source.gaussian();
                            common
                        } else {
                            (-f32::from_bits((common as f32).to_bits() ^ 1)).into()
                        }
                    }
                    Self::Specials => match source.below(48) {
                        0 => f64::NAN,
                        1 => f64::INFINITY,
                        2 => f64::NEG_INFINITY,
                        3 => -0.0,
                        4 => f32::MAX.into(),
                        5 => f32::MIN.into(),
                        6 => f32::from_bits(1).into(),
                        7 => f32::MIN_POSITIVE.into(),
                        _ => source.gaussian(),
                    },
                };
                *value = x as f32;
            }
        }
        values
    }
}

/// A midpoint of two neighbours, or the f32 below or above it; of formats as fine as f32 the numbers.
fn midpoint(format: FormatId, source: &mut Source) -> f64 {
    let spec = format.spec();
    let code = source.below(spec.max_code());
    let (low, high) = (spec.decode_f64(code), spec.decode_f64(code + 1));
    let middle = (low / 2.0 + high / 2.0) as f32;
    let x = match source.below(3) {
        0 => middle,
        1 => middle.next_down(),
        _ => middle.next_up(),
    };
    x.clamp(0.0, f32::MAX).into()
}

impl fmt::Display for Distribution {
    /// `gaussian`, `midpoints of e4m3` ...
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Gaussian => "gaussian",
            Self::Uniform => "uniform",
            Self::FifthPower => "fifth power",
            Self::LogNormal => "log-normal",
            Self::StudentT => "student t",
            Self::OutlierColumns => "outlier columns",
            Self::BlockSpread => "block spread",
            Self::Midpoints(format) => return write!(f, "midpoints of {format}"),
            Self::Subnormals(format) => return write!(f, "subnormals of {format}"),
            Self::TinyF32 => "tiny f32",
            Self::Constant => "constant",
            Self::Zeros => "zeros",
            Self::Alternating => "alternating",
            Self::Cancelling => "cancelling",
            Self::Specials => "specials",
        };
        f.pad(name)
    }
}
