//! Matrices, casts and comparisons for the properties of quantization by blocks.

use super::describe;
use super::naive::{self, Naive};
use super::scaling::Source;
use half::{bf16, f16};
use proptest::prelude::*;
use quarter::scale::{Context, Rule, ScaleFormat};
use quarter::tensor::{Cast, MatRef, Quantized, Scales};
use quarter::{FormatId, Granularity, RandomStream, Rounding};

/// How elements are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    Normal,
    /// e^(3z): a few elements are far larger than the rest.
    HeavyTail,
    Constant,
    Zeros,
    /// Exponents all over f32's, and zeros of both signs.
    Mixed,
    /// Like `Mixed`, with Inf and NaN.
    Special,
}

pub const SPREADS: [Spread; 6] = [
    Spread::Normal,
    Spread::HeavyTail,
    Spread::Constant,
    Spread::Zeros,
    Spread::Mixed,
    Spread::Special,
];

/// The type of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    F64,
    F32,
    Bf16,
    F16,
}

pub const KINDS: [Kind; 4] = [Kind::F64, Kind::F32, Kind::Bf16, Kind::F16];

fn element(spread: Spread, words: &RandomStream, i: u64) -> f64 {
    let word = |n: u64| words.word(4 * i + n);
    let unit = |n| (f64::from(word(n)) + 0.5) * 2f64.powi(-32);
    let normal = (-2.0 * unit(0).ln()).sqrt() * (std::f64::consts::TAU * unit(1)).cos();
    let sign = if word(2) & 1 == 0 { 1.0 } else { -1.0 };
    let mixed = || sign * (1.0 + unit(1)) * 2f64.powi((word(0) % 274) as i32 - 147);
    match spread {
        Spread::Normal => normal,
        Spread::HeavyTail => sign * (3.0 * normal).exp(),
        Spread::Constant => -0.8125,
        Spread::Zeros => 0.0,
        Spread::Mixed | Spread::Special if word(3) % 16 < 2 => sign * 0.0,
        Spread::Special if word(3) % 64 == 63 => sign * f64::NAN,
        Spread::Special if word(3) % 64 == 62 => sign * f64::INFINITY,
        Spread::Mixed | Spread::Special => mixed(),
    }
}

/// `n` elements; finite in their type unless they are `Special`.
pub fn elements(spread: Spread, kind: Kind, n: usize, seed: u64) -> Source {
    let words = RandomStream { seed, tensor: 3, step: 1 };
    let x = (0..n as u64).map(|i| element(spread, &words, i));
    let within = |max: f64| move |x: f64| if x.is_finite() { x.clamp(-max, max) } else { x };
    match kind {
        Kind::F64 => Source::F64(x.map(within(f32::MAX.into())).collect()),
        Kind::F32 => Source::F32(x.map(within(f32::MAX.into())).map(|x| x as f32).collect()),
        Kind::Bf16 => Source::Bf16(x.map(within(bf16::MAX.to_f64())).map(bf16::from_f64).collect()),
        Kind::F16 => Source::F16(x.map(within(f16::MAX.to_f64())).map(f16::from_f64).collect()),
    }
}

pub const GRANULARITIES: [Granularity; 15] = [
    Granularity::BLOCK_1X128,
    Granularity::BLOCK_1X32,
    Granularity::BLOCK_1X16,
    Granularity::BLOCK_128X128,
    Granularity::Block { rows: 128, cols: 1 },
    Granularity::Block { rows: 32, cols: 1 },
    Granularity::Block { rows: 32, cols: 32 },
    Granularity::Block { rows: 16, cols: 16 },
    Granularity::Block { rows: 3, cols: 5 },
    Granularity::Block { rows: 1, cols: 48 },
    Granularity::Block { rows: 1, cols: 1 },
    Granularity::Block { rows: 7, cols: 100_000 },
    Granularity::Tensor,
    Granularity::Row,
    Granularity::Col,
];

/// Formats that a cast may have.
pub fn cast_formats() -> impl Iterator<Item = FormatId> {
    super::narrow_formats().filter(|id| id.spec().has_zero())
}

/// Every cast of a rule to nearest even, by format and granularity.
pub fn casts(rule: Rule) -> Vec<Cast> {
    let all = cast_formats().flat_map(|format| GRANULARITIES.map(|g| Cast::new(format, g, rule)));
    all.filter(|cast| cast.check().is_ok()).collect()
}

/// Every rounding, stochastic ones with few bits and many.
pub const CAST_ROUNDINGS: [Rounding; 9] = [
    Rounding::NearestEven,
    Rounding::NearestAway,
    Rounding::TowardZero,
    Rounding::Up,
    Rounding::Down,
    Rounding::STOCHASTIC,
    Rounding::StochasticEven { bits: 8 },
    Rounding::StochasticOdd { bits: 23 },
    Rounding::StochasticFast { bits: 9 },
];

/// Any cast, half of them to nearest even.
pub fn any_cast() -> impl Strategy<Value = Cast> {
    let rounding = prop_oneof![
        3 => Just(Rounding::NearestEven),
        2 => prop::sample::select(CAST_ROUNDINGS.to_vec()),
    ];
    let fp8 = |cast: &Cast| matches!(cast.format, FormatId::F8E4M3 | FormatId::F8E5M2);
    (prop::sample::select(Rule::ALL.to_vec()), any::<u32>(), any::<bool>(), rounding).prop_map(
        move |(rule, choice, common, rounding)| {
            let mut casts = casts(rule);
            if common && casts.iter().any(fp8) {
                casts.retain(fp8);
            }
            casts[choice as usize % casts.len()].rounding(rounding)
        },
    )
}

/// A matrix with its shape.
#[derive(Clone, Debug)]
pub struct Matrix {
    pub shape: (usize, usize),
    pub source: Source,
    pub note: (Spread, Kind, u64),
}

impl Matrix {
    pub fn new((rows, cols): (usize, usize), spread: Spread, kind: Kind, seed: u64) -> Self {
        let source = elements(spread, kind, rows * cols, seed);
        Self { shape: (rows, cols), source, note: (spread, kind, seed) }
    }

    pub fn view(&self) -> MatRef<'_> {
        MatRef::new(self.source.values(), self.shape.0, self.shape.1).expect("it fits")
    }

    pub fn transposed(&self) -> Self {
        let (rows, cols) = self.shape;
        Self { shape: (cols, rows), source: self.source.transposed(rows, cols), note: self.note }
    }

    /// What it is by definition under a cast, with the words of its own order.
    pub fn naive(&self, cast: &Cast, stream: RandomStream) -> Naive {
        self.naive_with(cast, |i| stream.word(i as u64))
    }

    pub fn naive_with(&self, cast: &Cast, word: impl Fn(usize) -> u32) -> Naive {
        let context = Context { source: self.source.kind(), ..Context::default() };
        naive::quantize(&self.source.widened(), self.shape, cast, context, word)
    }
}

/// A small matrix of any spread and type.
pub fn any_matrix() -> impl Strategy<Value = Matrix> {
    let shape = prop_oneof![
        6 => (1usize..40, 1usize..300),
        1 => (1usize..3, 1usize..3),
        1 => (120usize..300, 1usize..20),
        1 => (1usize..3, 4000usize..9000),
    ];
    let spread = prop::sample::select(SPREADS.to_vec());
    let kind = prop::sample::select(KINDS.to_vec());
    (shape, spread, kind, any::<u64>())
        .prop_map(|(shape, spread, kind, seed)| Matrix::new(shape, spread, kind, seed))
}

/// Scales as bits that `==` compares, every NaN the same: encode, decode, bytes, the tensor's own.
pub fn scale_bits(scales: &Scales) -> [Vec<u32>; 2] {
    let bits = |x: f32| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() };
    let all = |x: &[f32]| x.iter().copied().map(bits).collect::<Vec<_>>();
    match scales {
        Scales::F32 { scale, scale_inv } => {
            [all(scale.as_deref().unwrap_or_default()), all(scale_inv)]
        }
        Scales::E8M0(bytes) => [Vec::new(), bytes.iter().map(|b| u32::from(*b)).collect()],
        Scales::E4M3 { scale_inv, global_scale_inv } => {
            [vec![bits(*global_scale_inv)], scale_inv.iter().map(|b| u32::from(*b)).collect()]
        }
    }
}

/// What the library would store of the naive scales.
pub fn naive_scales(cast: &Cast, naive: &Naive) -> Scales {
    match cast.rule.scale_format() {
        ScaleFormat::F32 => Scales::F32 {
            scale: (cast.rule.native() == quarter::scale::Native::Scale)
                .then(|| naive.scale.clone()),
            scale_inv: naive.scale_inv.clone(),
        },
        ScaleFormat::E8M0 => Scales::E8M0(naive.bytes.clone()),
        ScaleFormat::E4M3 => Scales::E4M3 {
            scale_inv: naive.bytes.clone(),
            global_scale_inv: 1.0 / naive.global_scale,
        },
    }
}

/// The first difference of codes and scales.
pub fn difference(
    cast: &Cast,
    x: &Matrix,
    (codes, scales): (&[u8], &Scales),
    (want_codes, want_scales): (&[u8], &Scales),
) -> Option<String> {
    let (rows, cols) = x.shape;
    let head = format!("{cast} of {rows} x {cols}, {:?}", x.note);
    let lengths = |codes: &[u8], scales: &Scales| (codes.len(), scales.len(), scales.format());
    let (got, want) = (lengths(codes, scales), lengths(want_codes, want_scales));
    if got != want {
        return Some(format!("{head}: codes and scales {got:?}, not {want:?}"));
    }
    let (got, want) = (scale_bits(scales), scale_bits(want_scales));
    for (what, got, want) in [("scale", &got[0], &want[0]), ("scale_inv", &got[1], &want[1])] {
        if let Some(g) = (0..got.len().max(want.len())).find(|g| got.get(*g) != want.get(*g)) {
            let [got, want] = [got, want].map(|all| all.get(g));
            return Some(format!("{head}: {what} {g} is {got:08x?}, not {want:08x?}"));
        }
    }
    let spec = cast.format.spec();
    let values = x.source.widened();
    (0..codes.len()).find(|i| codes[*i] != want_codes[*i]).map(|i| {
        let g = naive::group(cast, rows, cols, i / cols, i % cols);
        let [got, want] = [codes[i], want_codes[i]].map(|code| describe(spec, code.into()));
        let (bits, scale_inv) = (values[i].to_bits(), scales.scale_inv(g));
        format!(
            "{head}: x[{}, {}] = {bits:08x} ({:e}), group {g}, scale_inv {scale_inv:e}\n  \
             got  {got}\n  want {want}",
            i / cols,
            i % cols,
            values[i]
        )
    })
}

/// The first difference of two results.
pub fn differ(cast: &Cast, x: &Matrix, got: &Quantized, want: &Quantized) -> Option<String> {
    let shape = |q: &Quantized| (q.rows(), q.cols(), q.granularity(), q.format(), q.is_packed());
    if shape(got) != shape(want) {
        return Some(format!("{cast}: {:?}, not {:?}", shape(got), shape(want)));
    }
    difference(cast, x, (got.codes(), got.scales()), (want.codes(), want.scales()))
}

/// The first difference of a result and the definition.
pub fn wrong(cast: &Cast, x: &Matrix, got: &Quantized, want: &Naive) -> Option<String> {
    let scales = naive_scales(cast, want);
    difference(cast, x, (got.codes(), got.scales()), (&want.codes, &scales))
}
