//! Quantization by blocks as its definition says it: one group after another, one element after
//! another, with the integer encoder. Shares only the scale rule with the library.

use quarter::scale::{Context, Operation, Rule, ScaleFormat};
use quarter::tensor::Cast;
use quarter::{NanPolicy, Overflow, Policy, Rounding, Unpacked};

/// What a quantized matrix holds; scales in row-major order of the grid.
#[derive(Clone, Debug, PartialEq)]
pub struct Naive {
    pub codes: Vec<u8>,
    pub amax: Vec<f32>,
    pub scale: Vec<f32>,
    pub scale_inv: Vec<f32>,
    /// `scale_inv` as E8M0 or E4M3; zeros where the rule has f32 scales.
    pub bytes: Vec<u8>,
    /// NVFP4's scale of the tensor, else 1.
    pub global_scale: f32,
}

/// The index of the group of an element.
pub fn group(cast: &Cast, rows: usize, cols: usize, row: usize, col: usize) -> usize {
    let (r, c) = cast.granularity.block(rows, cols);
    row / r * cast.granularity.grid(rows, cols).1 + col / c
}

/// The largest magnitude; a NaN is passed over, or is the result.
pub fn amax(values: impl IntoIterator<Item = f32>, drops_nan: bool) -> f32 {
    values.into_iter().fold(0.0, |max: f32, x| match x.abs() {
        x if x.is_nan() && drops_nan => max,
        x if x.is_nan() || max.is_nan() => f32::NAN,
        x if x > max => x,
        _ => max,
    })
}

/// fl(x · scale) or fl(x / scale_inv), which are not negative: with the sign of x, a NaN too.
pub fn scaled(x: f32, operation: Operation, scale: f32, scale_inv: f32) -> f32 {
    let magnitude = match operation {
        Operation::Multiply => x.abs() * scale,
        Operation::Divide => x.abs() / scale_inv,
    };
    if magnitude.is_nan() { f32::NAN.copysign(x) } else { magnitude.copysign(x) }
}

/// `x` is the matrix in row-major order, already f32, with a random word for each index;
/// `context.global_scale` is not read.
pub fn quantize(
    x: &[f32],
    (rows, cols): (usize, usize),
    cast: &Cast,
    context: Context,
    word: impl Fn(usize) -> u32,
) -> Naive {
    assert_eq!(x.len(), rows * cols);
    let (rule, spec) = (cast.rule, cast.format.spec());
    let groups = cast.granularity.groups(rows, cols);
    let at = |i: usize| group(cast, rows, cols, i / cols, i % cols);
    let mut members = vec![Vec::new(); groups];
    for (i, x) in x.iter().enumerate() {
        members[at(i)].push(*x);
    }
    let of = |members: &[f32]| amax(members.iter().copied(), rule.drops_nan());
    let amaxes: Vec<f32> = members.iter().map(|m| of(m)).collect();
    let mut global_scale = 1.0;
    if rule.scale_format() == ScaleFormat::E4M3 {
        global_scale = rule.global_scale(spec, of(x));
    }
    let context = Context { global_scale, ..context };
    let scales: Vec<_> = amaxes.iter().map(|amax| rule.scale(spec, *amax, &context)).collect();
    let policy =
        Policy { rounding: cast.rounding, overflow: Overflow::Saturate, nan: NanPolicy::Zero };
    let code = |(i, x): (usize, &f32)| {
        let s = scales[at(i)];
        let mut value = scaled(*x, rule.operation(), s.scale, s.scale_inv);
        if rule.drops_neg_zero() && value == 0.0 && value.is_sign_negative() {
            value = 0.0;
        }
        // floor(x + 0.5) in f32: just below half of the smallest code, the sum rounds to 1.
        let half = spec.min_positive() as f32 / 2.0;
        if rule == Rule::Microxcaling
            && cast.rounding == Rounding::NearestEven
            && value.abs() == half.next_down()
        {
            value = spec.min_positive() as f32 * value.signum();
        }
        if value.is_nan() && !spec.has_nan() {
            value = rule.nan_value();
        }
        Unpacked::from_f32(value).encode(spec, policy, word(i)).unwrap() as u8
    };
    Naive {
        codes: x.iter().enumerate().map(code).collect(),
        scale: scales.iter().map(|s| s.scale).collect(),
        scale_inv: scales.iter().map(|s| s.scale_inv).collect(),
        bytes: scales.iter().map(|s| s.byte).collect(),
        amax: amaxes,
        global_scale,
    }
}

/// The transpose of a row-major matrix.
pub fn transpose<T: Copy>(x: &[T], rows: usize, cols: usize) -> Vec<T> {
    (0..cols).flat_map(|c| (0..rows).map(move |r| x[r * cols + c])).collect()
}

/// fl(code · scale_inv), and then times the tensor's own factor where there is one.
pub fn dequantize(cast: &Cast, shape: (usize, usize), of: &Naive) -> Vec<f32> {
    let decode = |(i, code): (usize, &u8)| {
        let g = group(cast, shape.0, shape.1, i / shape.1, i % shape.1);
        let code = cast.format.spec().decode_f32(u64::from(*code));
        match cast.rule.scale_format() {
            ScaleFormat::E4M3 => code * of.scale_inv[g] * (1.0 / of.global_scale),
            ScaleFormat::F32 | ScaleFormat::E8M0 => code * of.scale_inv[g],
        }
    };
    of.codes.iter().enumerate().map(decode).collect()
}
