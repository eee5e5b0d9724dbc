//! Operands that own what they are of, and the sums of their products as the law of bits says them
//! in words: shares only the decoding of codes and scales with the library.

use crate::common::scaling::Source;
use half::{bf16, f16};
use quarter::Granularity;
use quarter::gemm::{Accumulation, BlockSum, GemmInput};
use quarter::scale::ScaleFormat;
use quarter::tensor::{MatRef, QuantizeOptions, Quantized, Scales, quantize};
use std::fmt;

/// An operand that owns what it is of.
#[derive(Clone, Debug)]
pub enum Factor {
    /// Rows from one to another of codes and scales.
    Codes { of: Quantized, rows: (usize, usize) },
    /// Numbers with any strides.
    Values { of: Source, shape: (usize, usize), strides: (usize, usize) },
}

impl From<Quantized> for Factor {
    fn from(of: Quantized) -> Self {
        let rows = (0, of.rows());
        Self::Codes { of, rows }
    }
}

impl fmt::Display for Factor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Codes { of, rows } => {
                let (form, all) = (of.scales().format(), (0, of.rows()));
                write!(f, "{}:{} with {form:?} scales", of.format(), of.granularity())?;
                if let Some(rule) = of.rule() {
                    write!(f, " of {rule}")?;
                }
                let part = if *rows == all { "" } else { ", some rows" };
                write!(f, "{part}{}", if of.is_packed() { ", packed" } else { "" })
            }
            Self::Values { of, strides, .. } => write!(f, "{} by {strides:?}", kind(of)),
        }
    }
}

const fn kind(source: &Source) -> &'static str {
    match source {
        Source::F64(_) => "f64",
        Source::F32(_) => "f32",
        Source::Bf16(_) => "bf16",
        Source::F16(_) => "f16",
    }
}

impl Factor {
    /// Numbers row after row.
    pub fn values(of: Source, (rows, k): (usize, usize)) -> Self {
        Self::Values { of, shape: (rows, k), strides: (k, 1) }
    }

    /// Ordinary numbers under a cast, or as numbers of the type that is named.
    #[track_caller]
    pub fn cast(name: &str, (rows, k): (usize, usize), seed: u64) -> Self {
        let x = ordinary(rows * k, seed);
        Self::values(Source::F32(x), (rows, k)).cast_to(name)
    }

    /// The same numbers under a cast, or of another type.
    #[track_caller]
    pub fn cast_to(&self, name: &str) -> Self {
        let (shape, x) = (self.shape(), self.elements());
        let source = match name {
            "f64" => Source::F64(x.iter().map(|x| f64::from(*x) * (1.0 + 1e-11)).collect()),
            "f32" => Source::F32(x),
            "bf16" => Source::Bf16(x.iter().map(|x| bf16::from_f32(*x)).collect()),
            "f16" => Source::F16(x.iter().map(|x| f16::from_f32(*x)).collect()),
            cast => {
                let cast = cast.parse().unwrap_or_else(|error| panic!("{cast}: {error}"));
                let view = MatRef::new(&x, shape.0, shape.1).unwrap();
                return quantize(view, &cast, &QuantizeOptions::new()).unwrap().into();
            }
        };
        Self::values(source, shape)
    }

    /// Packs its codes; false if that cannot be.
    pub fn pack(&mut self) -> bool {
        let Self::Codes { of, .. } = self else { return false };
        of.pack().is_ok()
    }

    /// Some of its rows; none for numbers.
    pub fn rows(&self, from: usize, to: usize) -> Option<Self> {
        let Self::Codes { of, .. } = self else { return None };
        Some(Self::Codes { of: of.clone(), rows: (from, to) })
    }

    /// Numbers that are all NaN.
    pub fn poisoned(self) -> Self {
        let Self::Values { of, shape, strides } = self else { return self };
        let nan = vec![f32::NAN; of.widened().len()];
        Self::Values { of: Source::F32(nan), shape, strides }
    }

    /// Rows and K.
    pub const fn shape(&self) -> (usize, usize) {
        match self {
            Self::Codes { of, rows } => (rows.1 - rows.0, of.cols()),
            Self::Values { shape, .. } => *shape,
        }
    }

    pub fn input(&self) -> GemmInput<'_> {
        match self {
            Self::Codes { of, rows } if *rows == (0, of.rows()) => of.into(),
            Self::Codes { of, rows } => of.view().slice_rows(rows.0, rows.1).unwrap().into(),
            Self::Values { .. } => self.matrix().into(),
        }
    }

    /// It as a matrix of numbers, which it must be.
    pub fn matrix(&self) -> MatRef<'_> {
        let Self::Values { of, shape, strides } = self else { panic!("{self}: no numbers") };
        MatRef::with_strides(of.values(), *shape, *strides).unwrap()
    }

    /// Its elements without scales, row after row, as f32.
    pub fn elements(&self) -> Vec<f32> {
        match self {
            Self::Codes { of, rows } => {
                let (mut of, spec) = (of.clone(), of.format().spec());
                of.unpack();
                let codes = &of.codes()[rows.0 * of.cols()..rows.1 * of.cols()];
                let values: Vec<f32> =
                    (0..=spec.code_mask()).map(|code| spec.decode_f32(code)).collect();
                codes.iter().map(|code| values[usize::from(*code)]).collect()
            }
            Self::Values { of, shape, strides } => {
                let (x, places) = (of.widened(), (0..shape.0 * shape.1));
                let at = |i| i / shape.1 * strides.0 + i % shape.1 * strides.1;
                places.map(|i| x[at(i)]).collect()
            }
        }
    }

    /// The numbers that its elements stand for, with all scales; exact, as f64 has bits enough.
    pub fn numbers(&self) -> Vec<f64> {
        let (x, cols) = (self.elements(), self.shape().1);
        let of_all = self.scales().map_or(1.0, |scales| f64::from(scales.global_scale_inv()));
        let scale = |i: usize| self.scale(i / cols, i % cols).map_or(1.0, f64::from);
        x.iter().enumerate().map(|(i, x)| f64::from(*x) * scale(i) * of_all).collect()
    }

    pub const fn scales(&self) -> Option<&Scales> {
        match self {
            Self::Codes { of, .. } => Some(of.scales()),
            Self::Values { .. } => None,
        }
    }

    /// The form of its scales, if they are of blocks along K.
    pub fn blocks(&self) -> Option<ScaleFormat> {
        let Self::Codes { of, .. } = self else { return None };
        let form = of.scales().format();
        let blocks = matches!(of.granularity(), Granularity::Block { .. });
        (blocks || form == ScaleFormat::E4M3).then_some(form)
    }

    /// Whether its scales change at an element of K.
    fn edge(&self, k: usize) -> bool {
        let Self::Codes { of, .. } = self else { return false };
        matches!(of.granularity(), Granularity::Block { cols, .. } if k.is_multiple_of(cols))
    }

    /// The index of the scale of an element.
    fn group(&self, row: usize, k: usize) -> usize {
        let Self::Codes { of, rows } = self else { return 0 };
        let (r, c) = of.granularity().block(of.rows(), of.cols());
        (row + rows.0) / r * of.granularity().grid(of.rows(), of.cols()).1 + k / c
    }

    pub fn scale(&self, row: usize, k: usize) -> Option<f32> {
        self.scales().map(|scales| scales.scale_inv(self.group(row, k)))
    }

    /// The exponent of an E8M0 scale: 0 where there is none, and none for byte 255.
    fn exponent(&self, row: usize, k: usize) -> Option<i32> {
        let Some(Scales::E8M0(bytes)) = self.scales() else { return Some(0) };
        let byte = bytes[self.group(row, k)];
        (byte != 255).then_some(i32::from(byte) - 127)
    }
}

/// `n` numbers that are spread about as those of a normal distribution are.
pub fn ordinary(n: usize, seed: u64) -> Vec<f32> {
    let mut words = Words::new(seed);
    let sum = |word: u32| word.to_le_bytes().iter().map(|byte| f32::from(*byte)).sum::<f32>();
    let one = |word: u32| (sum(word) - 510.0) / 148.0 * (1.0 + (word & 0xffff) as f32 / 1e6);
    (0..n).map(|_| one(words.word())).collect()
}

/// Where K is cut: a segment begins at each, and the last is its end.
pub fn cuts(a: &Factor, b: &Factor, promote: Option<u32>) -> Vec<usize> {
    let (k, every) = (a.shape().1, promote.unwrap_or(1024) as usize);
    let edge = |at: &usize| at.is_multiple_of(every) || a.edge(*at) || b.edge(*at);
    (0..k).filter(edge).chain([k]).collect()
}

/// The block sum of the engine whose rule made the scales of blocks.
pub fn implied(a: &Factor, b: &Factor) -> Option<BlockSum> {
    [a, b].into_iter().find_map(|of| match of {
        Factor::Codes { of: q, .. } if of.blocks().is_some() => q.rule().and_then(BlockSum::of),
        Factor::Codes { .. } | Factor::Values { .. } => None,
    })
}

/// The sums of a product, after all scales, in the words of the law.
pub fn sums(a: &Factor, b: &Factor, how: Accumulation) -> Vec<f32> {
    let (x, y, k) = (a.elements(), b.elements(), a.shape().1);
    let cuts = cuts(a, b, how.promote);
    let blocks = [a.blocks(), b.blocks()];
    let has = |form| blocks.contains(&Some(form));
    let [products, powers] = [ScaleFormat::E4M3, ScaleFormat::E8M0].map(has);
    let after = blocks == [None, None];
    let rule = how.block_sum.or(implied(a, b));
    let one = |row: usize, col: usize| {
        let mut acc = 0.0_f32;
        for segment in cuts.windows(2) {
            let (at, end) = (segment[0], segment[1]);
            let pairs = x[row * k + at..row * k + end].iter().zip(&y[col * k + at..]);
            let p = pairs.fold(0.0_f32, |p, (x, y)| x.mul_add(*y, p));
            let (sa, sb) = (a.scale(row, at), b.scale(col, at));
            let [sa, sb] = [sa, sb].map(|scale| scale.unwrap_or(1.0));
            acc = if after {
                acc + p
            } else if products {
                p.mul_add(sa * sb, acc)
            } else if powers {
                let power = a.exponent(row, at).zip(b.exponent(col, at));
                let power = power.map_or(f64::NAN, |(ea, eb)| 2f64.powi(ea + eb));
                acc + (f64::from(p) * power) as f32
            } else {
                match rule.expect("blocks of f32 scales have a block sum") {
                    BlockSum::DeepSeek => acc + p * sa * sb,
                    BlockSum::DeepGemm => acc + p * (sa * sb),
                    BlockSum::Te => (p * sa).mul_add(sb, acc),
                }
            };
        }
        let factor = |of: &Factor, row| match of.scales() {
            Some(scales) if products => scales.global_scale_inv(),
            Some(_) if after => of.scale(row, 0).unwrap_or(1.0),
            _ => 1.0,
        };
        if k == 0 { acc } else { acc * factor(a, row) * factor(b, col) }
    };
    let (m, n) = (a.shape().0, b.shape().0);
    (0..m * n).map(|i| one(i / n, i % n)).collect()
}

/// Random words, by Steele, Lea and Flood's SplitMix64.
#[derive(Clone, Debug)]
pub struct Words(u64);

impl Words {
    pub const fn new(seed: u64) -> Self {
        Self(seed ^ 0x5851_f42d_4c95_7f2d)
    }

    pub fn word(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) as u32
    }

    pub fn below(&mut self, n: usize) -> usize {
        self.word() as usize % n
    }

    pub fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}
