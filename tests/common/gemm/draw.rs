//! Operands, scales and calls drawn from random words, with everything that a format can hold.

use super::{C, Call, Factor, Out, Words};
use crate::common::matrices::{KINDS, Kind};
use crate::common::narrow_formats;
use crate::common::scaling::Source;
use half::{bf16, f16};
use quarter::gemm::{Accumulation, Activation, BlockSum};
use quarter::scale::ScaleFormat;
use quarter::tensor::{Quantized, Scales};
use quarter::{FormatId, Granularity};

/// How numbers are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    Ordinary,
    /// Any bits of the type: every exponent, subnormals, Inf and NaN.
    Bits,
    /// 2^−80 to 2^−50: products on both sides of the smallest normal f32.
    Tiny,
    /// Half of them subnormal, the others small, in a type with the exponents of f32.
    Subnormal,
    /// 2^100 to 2^127: products overflow.
    Huge,
    /// +0 and −0.
    Zeros,
    /// Three in four are zeros.
    Sparse,
}

pub const DATA: [Data; 7] = [
    Data::Ordinary,
    Data::Bits,
    Data::Tiny,
    Data::Subnormal,
    Data::Huge,
    Data::Zeros,
    Data::Sparse,
];

/// How codes are spread; a format may lack what is wanted, and then has its least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codes {
    Any,
    Finite,
    /// Zeros and subnormals.
    Small,
    /// The largest magnitudes.
    Large,
    /// Finite, in runs of sixteen of which half are zeros.
    Runs,
}

pub const CODES: [Codes; 5] = [Codes::Any, Codes::Finite, Codes::Small, Codes::Large, Codes::Runs];

/// How scales are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    Ordinary,
    /// Powers of two near 1.
    Powers,
    /// 2^−75 to 2^−36: two of them beside each other leave the normal numbers, or do not.
    Low,
    /// 2^36 to 2^75: two of them overflow, or do not.
    High,
    /// All powers of two that the form has.
    FarPowers,
    /// Zeros, Inf, NaN, negative and subnormal ones, the smallest and the largest.
    Ends,
    /// Powers of two, few at the ends.
    Rare,
}

pub const SPREADS: [Spread; 7] = [
    Spread::Ordinary,
    Spread::Powers,
    Spread::Low,
    Spread::High,
    Spread::FarPowers,
    Spread::Ends,
    Spread::Rare,
];

fn number(data: Data, words: &mut Words) -> f32 {
    let (word, choice) = (words.word(), words.word());
    let sign = if choice & 1 == 0 { 1.0 } else { -1.0 };
    let frac = 1.0 + f32::from((word >> 16) as u16) / 65536.0;
    let power =
        |from: i32, to: i32| sign * frac * 2f32.powi(from + (word % (to - from) as u32) as i32);
    match data {
        Data::Ordinary => sign * frac * 2f32.powi((word % 8) as i32 - 5),
        Data::Bits => f32::from_bits(word),
        Data::Tiny => power(-80, -50),
        Data::Subnormal if choice & 2 == 0 => f32::from_bits(word & 0x807f_ffff),
        Data::Subnormal => power(-126, -118),
        Data::Huge => power(100, 128),
        Data::Sparse if choice & 6 == 0 => sign * frac,
        Data::Zeros | Data::Sparse => sign * 0.0,
    }
}

/// `n` numbers.
pub fn numbers(words: &mut Words, kind: Kind, data: Data, n: usize) -> Source {
    let bits = data == Data::Bits;
    match kind {
        Kind::F64 => Source::F64(
            (0..n)
                .map(|_| match bits {
                    true => f64::from_bits(u64::from(words.word()) << 32 | u64::from(words.word())),
                    // What f32 does not hold, and ties of it.
                    false => {
                        f64::from(number(data, words))
                            * (1.0 + 2f64.powi(-24 - words.below(8) as i32))
                    }
                })
                .collect(),
        ),
        Kind::F32 => Source::F32((0..n).map(|_| number(data, words)).collect()),
        Kind::Bf16 => Source::Bf16(
            (0..n).map(|_| bf16::from_bits((number(data, words).to_bits() >> 16) as u16)).collect(),
        ),
        Kind::F16 => Source::F16(
            (0..n)
                .map(|_| match bits {
                    true => f16::from_bits(words.word() as u16),
                    false => f16::from_f32(number(data, words)),
                })
                .collect(),
        ),
    }
}

/// Numbers in rows, in columns, with gaps, or over each other.
pub fn strided(words: &mut Words, kind: Kind, data: Data, shape: (usize, usize)) -> Factor {
    let (rows, cols) = shape;
    let strides = match words.below(10) {
        0..3 => (cols, 1),
        3 => (1, rows),
        4 => (cols + 5, 1),
        5 => (3, 2 * rows + 5),
        6 => (0, 1),
        7 => (0, 3),
        8 => (1, 1),
        _ => (2 * cols + 1, 2),
    };
    let last = rows.saturating_sub(1) * strides.0 + cols.saturating_sub(1) * strides.1;
    let n = if rows * cols == 0 { 0 } else { last + 1 + words.below(3) };
    Factor::Values { of: numbers(words, kind, data, n), shape, strides }
}

/// Codes with scales of any form and spread.
pub fn codes(
    words: &mut Words,
    (format, codes): (FormatId, Codes),
    (rows, cols): (usize, usize),
    granularity: Granularity,
    (form, spread): (ScaleFormat, Spread),
) -> Factor {
    let spec = format.spec();
    let mut finite: Vec<u8> = (0..=spec.code_mask() as u8).collect();
    finite.retain(|code| spec.decode_f64(u64::from(*code)).is_finite());
    let size = |code: &u8| spec.decode_f64(u64::from(*code)).abs();
    finite.sort_by(|a, b| size(a).total_cmp(&size(b)));
    let zero = finite[0];
    let small = 2 << spec.man_bits();
    let mut run = false;
    let code = |i: usize| match codes {
        Codes::Any => words.word() as u8 & spec.code_mask() as u8,
        Codes::Finite => words.one_of(&finite),
        Codes::Small => words.one_of(&finite[..small.min(finite.len())]),
        Codes::Large => words.one_of(&finite[finite.len().saturating_sub(4)..]),
        Codes::Runs => {
            if i.is_multiple_of(16) || i.is_multiple_of(cols) {
                run = words.below(2) == 0;
            }
            if run { zero } else { words.one_of(&finite) }
        }
    };
    let all = (0..rows * cols).map(code).collect();
    let scales = scales(words, form, spread, granularity.groups(rows, cols));
    let made = Quantized::from_parts(format, (rows, cols), granularity, all, scales);
    made.unwrap_or_else(|error| panic!("{format}:{granularity} of {rows} x {cols}: {error}")).into()
}

const ENDS: [f32; 12] = [
    0.0,
    -0.0,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
    -1.5,
    1e-40,
    f32::MIN_POSITIVE,
    f32::MAX,
    -f32::from_bits(1),
    1.0,
    0.3,
];

fn scales(words: &mut Words, form: ScaleFormat, spread: Spread, n: usize) -> Scales {
    let f32 = |words: &mut Words| {
        let word = words.word();
        match spread {
            Spread::Ordinary => {
                (1.0 + f32::from((word >> 16) as u16) / 65537.0) * 2f32.powi((word % 9) as i32 - 5)
            }
            Spread::Low => 2f32.powi((word % 40) as i32 - 75),
            Spread::High => 2f32.powi((word % 40) as i32 + 36),
            Spread::FarPowers => f32::from_bits((1 + word % 254) << 23),
            Spread::Ends => ENDS[word as usize % ENDS.len()],
            Spread::Rare if word.is_multiple_of(16) => ENDS[(word >> 4) as usize % ENDS.len()],
            Spread::Powers | Spread::Rare => 2f32.powi((word % 17) as i32 - 8),
        }
    };
    let e8m0 = |words: &mut Words| {
        let word = words.word();
        match spread {
            Spread::Low => 52 + (word % 40) as u8,
            Spread::High => 163 + (word % 40) as u8,
            Spread::FarPowers => (word % 255) as u8,
            Spread::Ends => [0, 1, 2, 100, 127, 128, 253, 254, 255][word as usize % 9],
            Spread::Rare if word.is_multiple_of(16) => {
                [0, 1, 253, 254, 255][(word >> 4) as usize % 5]
            }
            Spread::Ordinary | Spread::Powers | Spread::Rare => 119 + (word % 17) as u8,
        }
    };
    let e4m3 = |words: &mut Words| match spread {
        Spread::Ordinary => 1 + words.below(126) as u8,
        Spread::Ends => words.one_of(&[0, 0x80, 1, 0x7e, 0x7f, 0xff, 0xfe, 0x38, 0xb8]),
        Spread::Low => 1 + words.below(16) as u8,
        Spread::High => 110 + words.below(17) as u8,
        Spread::Powers | Spread::FarPowers => words.below(16) as u8 * 8,
        Spread::Rare => words.word() as u8,
    };
    match form {
        ScaleFormat::F32 => {
            Scales::F32 { scale: None, scale_inv: (0..n).map(|_| f32(words)).collect() }
        }
        ScaleFormat::E8M0 => Scales::E8M0((0..n).map(|_| e8m0(words)).collect()),
        ScaleFormat::E4M3 => Scales::E4M3 {
            scale_inv: (0..n).map(|_| e4m3(words)).collect(),
            global_scale_inv: f32(words),
        },
    }
}

/// Two operands \[m, k\] and \[n, k\] that go together; blocks of f32 scales need a block sum.
pub fn factors(words: &mut Words, (m, n, k): (usize, usize, usize)) -> [Factor; 2] {
    let forms = [ScaleFormat::F32, ScaleFormat::E8M0];
    let whole = [Granularity::Tensor, Granularity::Row];
    let block = |words: &mut Words| Granularity::Block {
        rows: words.one_of(&[1, 1, 1, 2, 16, 128]),
        cols: words.one_of(&[2, 3, 4, 8, 12, 16, 16, 32, 32, 48, 64, 128, 1000]),
    };
    let single = Granularity::Block { rows: 1, cols: 1 };
    // One that decides, and what may stand beside it.
    let kind = words.below(6);
    let (form, blocks) = match kind {
        0 | 1 => (words.one_of(&forms), false),
        2 | 3 => (ScaleFormat::F32, true),
        4 => (ScaleFormat::E8M0, true),
        _ => (ScaleFormat::E4M3, words.below(4) > 0),
    };
    let granularity = |words: &mut Words, blocks: bool| match (blocks, words.below(16)) {
        (false, _) => words.one_of(&whole),
        (true, 0) => single,
        (true, _) => block(words),
    };
    let one = |words: &mut Words, rows: usize, first: bool| {
        if kind == 0 || !first && words.below(3) == 0 {
            let (kind, data) = (words.one_of(&KINDS), words.one_of(&DATA));
            return strided(words, kind, data, (rows, k));
        }
        let blocks = if first { blocks } else { words.below(2) == 0 && kind > 1 };
        let form = match form {
            ScaleFormat::F32 if !blocks => words.one_of(&forms),
            form if kind == 1 => words.one_of(&[form, ScaleFormat::F32]),
            form => form,
        };
        let formats: Vec<FormatId> = narrow_formats().collect();
        let common = [FormatId::F8E4M3, FormatId::F8E5M2, FormatId::F4E2M1];
        let format =
            if words.below(2) == 0 { words.one_of(&common) } else { words.one_of(&formats) };
        let spread = (words.one_of(&CODES), words.one_of(&SPREADS));
        let granularity = granularity(words, blocks);
        let mut factor = codes(words, (format, spread.0), (rows, k), granularity, (form, spread.1));
        if words.below(2) == 0 {
            factor.pack();
        }
        factor
    };
    let turned = words.below(2) == 0;
    let first = one(words, if turned { n } else { m }, true);
    let second = one(words, if turned { m } else { n }, false);
    if turned { [second, first] } else { [first, second] }
}

/// Anything that may be asked for, into an output of m × n.
pub fn call(words: &mut Words, (m, n): (usize, usize)) -> Call {
    let promote = [None, None, None, Some(1), Some(3), Some(7), Some(32), Some(100), Some(1000)];
    let sums = Accumulation {
        promote: words.one_of(&promote).or(if words.below(9) == 0 { Some(5000) } else { None }),
        block_sum: Some(words.one_of(&[BlockSum::DeepSeek, BlockSum::DeepGemm, BlockSum::Te])),
        fast: words.below(2) == 0,
        ..Accumulation::F32
    };
    let formats: Vec<FormatId> = narrow_formats().collect();
    let scale = words.one_of(&[1.0, 1.0, 0.01, 300.0, 0.0, f32::NAN, f32::INFINITY, -1.0]);
    let codes = Out::Codes(words.one_of(&formats), scale);
    let out = words.one_of(&[Out::F32, Out::F32, Out::F32, Out::F64, Out::F16, Out::Bf16, codes]);
    let beta = words.one_of(&[0.0, -0.0, 1.0, 0.5, -1.5, 1e-40, f32::INFINITY, f32::NAN]);
    let c = match words.below(4) {
        0 | 1 => C::None,
        2 if !matches!(out, Out::Codes(..)) => C::Output(beta),
        _ => {
            let kind = words.one_of(&KINDS);
            let c = strided(words, kind, Data::Ordinary, (m, n));
            // What is multiplied by 0 is not read.
            C::Matrix(beta, if beta == 0.0 { c.poisoned() } else { c })
        }
    };
    let special = [0.0, -0.0, f32::INFINITY, f32::NAN, 1e-30, -2.0, 0.3, 1.0];
    let bias = |words: &mut Words| match words.below(8) {
        0 => words.one_of(&special),
        _ => number(Data::Ordinary, words),
    };
    Call {
        sums,
        alpha: (words.below(2) == 0).then(|| words.one_of(&special)),
        c,
        bias: (words.below(3) == 0).then(|| (0..n).map(|_| bias(words)).collect()),
        activation: words.one_of(&[Activation::None, Activation::Relu, Activation::Gelu]),
        amax: words.below(2) == 0,
        out,
        gap: words.below(2) * words.below(4),
    }
}
