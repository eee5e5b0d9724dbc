//! What quantization by blocks must be, for every rule × format × granularity × rounding: what
//! its definition says, whatever the path, the instruction set, the threads and the strides.

mod common;

use common::STREAM;
use common::matrices::{
    Kind, Matrix, Spread, any_cast, any_matrix, casts, differ, difference, wrong,
};
use common::naive::{self, transpose};
use common::scaling::Source;
use half::{bf16, f16};
use proptest::prelude::*;
use quarter::scale::{Context, Rule, ScaleFormat, SourceType};
use quarter::slice::QuantStats;
use quarter::tensor::{
    Cast, DequantizeOptions, MatMut, MatRef, QuantizeOptions, Quantized, Scales, StatsLevel,
    fake_quantize_into, quantize, quantize_both, quantize_both_into, quantize_into,
    quantize_transposed,
};
use quarter::{Error, FormatId, Granularity, Isa, Rounding};

fn options<'a>() -> QuantizeOptions<'a> {
    QuantizeOptions::new().random(STREAM)
}

fn config(cases: u32) -> ProptestConfig {
    let cases = common::share(cases as usize) as u32;
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Passes, or fails with the difference.
fn none(difference: Option<String>) -> Result<(), TestCaseError> {
    difference.map_or(Ok(()), |text| Err(TestCaseError::fail(text)))
}

/// Random words of a transposed matrix are those of the elements in the matrix itself.
fn turned_word((rows, cols): (usize, usize)) -> impl Fn(usize) -> u32 {
    move |i| STREAM.word((i % rows.max(1) * cols + i / rows.max(1)) as u64)
}

/// dequantize(q).
fn values(q: &Quantized) -> Vec<f32> {
    let mut values = vec![0.0_f32; q.rows() * q.cols()];
    q.dequantize_into(MatMut::new(&mut values, q.rows(), q.cols()).unwrap()).unwrap();
    values
}

/// Where values of some type, as `run` writes them, are not the f32 wanted, widened or rounded once.
fn of_all_types(
    want: &[f32],
    (rows, cols): (usize, usize),
    run: impl Fn(MatMut<'_>),
) -> Option<String> {
    macro_rules! check {
        ($($type:ident of $from:expr, at first $first:expr;)*) => { $({
            let mut got = vec![$first; want.len()];
            run(MatMut::new(&mut got, rows, cols).unwrap());
            let from = $from;
            for (i, (got, want)) in got.into_iter().zip(want).enumerate() {
                let want: $type = from(*want);
                if got.to_bits() != want.to_bits() && !(got.is_nan() && want.is_nan()) {
                    return Some(format!(
                        "{} [{}, {}] is {got:e}, not {want:e}",
                        stringify!($type), i / cols, i % cols
                    ));
                }
            }
        })* };
    }
    check! {
        f32 of |x| x, at first 7.0_f32;
        f64 of f64::from, at first 7.0_f64;
        bf16 of bf16::from_f32, at first bf16::ONE;
        f16 of f16::from_f32, at first f16::ONE;
    }
    None
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() }).collect()
}

proptest! {
    #![proptest_config(config(600))]

    /// Codes and scales are those of the definition on every instruction set; so is the amax over
    /// blocks, of which every rule but a few gives the scale.
    #[test]
    fn as_defined(x in any_matrix(), cast in any_cast()) {
        let want = x.naive(&cast, STREAM);
        for isa in Isa::available() {
            let got = quantize(x.view(), &cast, &options().isa(isa)).unwrap();
            none(wrong(&cast, &x, &got, &want).map(|text| format!("{}: {text}", isa.name())))?;
        }
        let mut again = quantize(x.view(), &cast, &options()).unwrap();
        let first = again.clone();
        quantize_into(x.view(), &cast, &options(), &mut again).unwrap();
        none(differ(&cast, &x, &again, &first))?;
    }

    /// Transposed, both at once, and with scales that are given.
    #[test]
    fn transposed(x in any_matrix(), cast in any_cast(), other in any_cast()) {
        let other = Cast { rounding: cast.rounding, ..other };
        let xt = x.transposed();
        let want = xt.naive_with(&cast, turned_word(x.shape));
        let got = quantize_transposed(x.view(), &cast, &options()).unwrap();
        none(wrong(&cast, &xt, &got, &want))?;
        for isa in Isa::available() {
            let options = options().isa(isa);
            let (a, b) = quantize_both(x.view(), &other, &cast, &options).unwrap();
            none(differ(&other, &x, &a, &quantize(x.view(), &other, &options).unwrap()))?;
            none(differ(&cast, &xt, &b, &got))?;
            // Into the memory of the other one.
            let (mut first, mut second) = (b, a);
            quantize_both_into(x.view(), (&other, &cast), &options, (&mut first, &mut second)).unwrap();
            none(differ(&other, &x, &first, &quantize(x.view(), &other, &options).unwrap()))?;
            none(differ(&cast, &xt, &second, &got))?;
            let wrong = Scales::F32 { scale: None, scale_inv: vec![1.0; x.shape.0 * x.shape.1 + 2] };
            for options in [options.scales(&wrong), options.scales_t(&wrong)] {
                let both = (&mut first, &mut second);
                let error = quantize_both_into(x.view(), (&other, &cast), &options, both);
                prop_assert!(matches!(error, Err(Error::Length { .. })), "{other}, {cast}: {error:?}");
                prop_assert!(
                    [&first, &second].into_iter().all(|q| *q == Quantized::default()),
                    "{other}, {cast}: not empty after an error"
                );
                (first, second) = (got.clone(), got.clone());
            }
        }
        let given = quantize_transposed(x.view(), &cast, &options().scales(got.scales())).unwrap();
        none(differ(&cast, &xt, &given, &got))?;
        if !cast.rounding.is_stochastic() {
            none(differ(&cast, &xt, &got, &quantize(xt.view(), &cast, &options()).unwrap()))?;
        }
        let own = quantize(x.view(), &cast, &options()).unwrap();
        let given = quantize(x.view(), &cast, &options().scales(own.scales())).unwrap();
        none(differ(&cast, &x, &given, &own))?;
    }

    /// A matrix in a larger slice, read backwards in rows and columns, is the same matrix.
    #[test]
    fn strided(
        x in any_matrix(),
        cast in any_cast(),
        gap in 0usize..5,
        step in 1usize..4,
        turned in any::<bool>(),
    ) {
        let (rows, cols) = x.shape;
        let want = quantize(x.view(), &cast, &options()).unwrap();
        // Rows or columns are `step` apart, and lines have a gap behind them.
        let (lines, len) = if turned { (cols, rows) } else { (rows, cols) };
        let pitch = len * step + gap;
        let line = if turned { x.transposed().source } else { x.source.clone() };
        macro_rules! spread {
            ($variant:ident, $x:expr, $filler:expr) => {{
                let mut all = vec![$filler; lines * pitch + 1];
                for i in 0..lines * len {
                    all[i / len * pitch + i % len * step] = $x[i];
                }
                Source::$variant(all)
            }};
        }
        let all = match &line {
            Source::F64(x) => spread!(F64, x, f64::INFINITY),
            Source::F32(x) => spread!(F32, x, f32::INFINITY),
            Source::Bf16(x) => spread!(Bf16, x, bf16::INFINITY),
            Source::F16(x) => spread!(F16, x, f16::INFINITY),
        };
        let strides = if turned { (step, pitch) } else { (pitch, step) };
        let view = MatRef::with_strides(all.values(), (rows, cols), strides).unwrap();
        none(differ(&cast, &x, &quantize(view, &cast, &options()).unwrap(), &want))?;
        let got = quantize_transposed(view.transposed(), &cast, &QuantizeOptions::new().random(STREAM));
        if !cast.rounding.is_stochastic() {
            none(differ(&cast, &x, &got.unwrap(), &want))?;
        }
        let (both, _) = quantize_both(view, &cast, &cast, &options()).unwrap();
        none(differ(&cast, &x, &both, &want))?;
        let mut fake = vec![0.0_f32; rows * cols];
        let dst = MatMut::new(&mut fake, rows, cols).unwrap();
        fake_quantize_into(view, &cast, &options(), dst).unwrap();
        prop_assert!(bits(&fake) == bits(&values(&want)), "fake_quantize, {}", cast);
    }

    /// Partial blocks are what they would be with zeros behind them.
    #[test]
    fn ragged_is_padded(x in any_matrix(), cast in any_cast(), more in (0usize..3, 0usize..40)) {
        let (rows, cols) = x.shape;
        let cast = cast.rounding(if cast.rounding.is_stochastic() { Rounding::NearestEven } else { cast.rounding });
        let padded = match cast.granularity {
            Granularity::Tensor => (rows + more.0, cols + more.1),
            Granularity::Row => (rows, cols + more.1),
            Granularity::Col => (rows + more.0, cols),
            Granularity::Block { cols: c, .. } if c > 1000 => return Ok(()),
            Granularity::Block { rows: r, cols: c } => (rows.next_multiple_of(r), cols.next_multiple_of(c)),
        };
        let mut large = Matrix::new(padded, Spread::Zeros, x.note.1, 0);
        macro_rules! copy {
            ($(($variant:ident)),*) => {
                match (&mut large.source, &x.source) {
                    $((Source::$variant(to), Source::$variant(from)) => {
                        for i in 0..rows * cols {
                            to[i / cols * padded.1 + i % cols] = from[i];
                        }
                    })*
                    _ => unreachable!(),
                }
            };
        }
        copy!((F64), (F32), (Bf16), (F16));
        let got = quantize(x.view(), &cast, &options()).unwrap();
        let want = quantize(large.view(), &cast, &options()).unwrap();
        let inner: Vec<u8> =
            (0..rows * cols).map(|i| want.codes()[i / cols * padded.1 + i % cols]).collect();
        none(difference(&cast, &x, (got.codes(), got.scales()), (&inner, want.scales())))?;
    }

    /// fake_quantize = dequantize(quantize), in every type; dequantize = code · scale_inv.
    #[test]
    fn values_of_codes(x in any_matrix(), cast in any_cast(), gap in 0usize..4) {
        let (rows, cols) = x.shape;
        let q = quantize(x.view(), &cast, &options()).unwrap();
        let wide = values(&q);
        let want = naive::dequantize(&cast, x.shape, &x.naive(&cast, STREAM));
        let scales = q.scales();
        let mut codes = vec![bf16::NAN; rows * cols];
        q.codes_as_bf16(&mut codes).unwrap();
        for i in 0..rows * cols {
            let (row, col) = (i / cols, i % cols);
            let g = naive::group(&cast, rows, cols, row, col);
            let product = codes[i].to_f32() * scales.scale_inv(g) * scales.global_scale_inv();
            for (path, got) in [
                ("dequantize", wide[i]),
                ("value", q.view().value(row, col)),
                ("codes_as_bf16", product),
            ] {
                prop_assert!(
                    common::replay::same(got, want[i]),
                    "{path}, {cast} of {rows} x {cols}, {:?}: [{row}, {col}] is {got:e}, not {:e}",
                    x.note, want[i]
                );
            }
        }
        none(of_all_types(&wide, x.shape, |dst| q.dequantize_into(dst).unwrap()))?;
        // Rows at a distance; what is between them stays.
        let pitch = cols + gap;
        let mut wide_again = vec![7.0_f32; rows * pitch];
        for isa in Isa::available() {
            let options = options().isa(isa);
            let dst = MatMut::with_row_stride(&mut wide_again, (rows, cols), pitch).unwrap();
            fake_quantize_into(x.view(), &cast, &options, dst).unwrap();
            for (i, &got) in wide_again.iter().enumerate() {
                let (row, col) = (i / pitch.max(1), i % pitch.max(1));
                let want = if col < cols { wide[row * cols + col] } else { 7.0 };
                prop_assert!(
                    common::replay::same(got, want),
                    "fake, {}, {cast} of {rows} x {cols}, {:?}: [{row}, {col}] is {:e}, not {want:e}",
                    isa.name(), x.note, got
                );
            }
            let fake = |dst: MatMut<'_>| fake_quantize_into(x.view(), &cast, &options, dst).unwrap();
            let how = DequantizeOptions::new().isa(isa);
            let real = |dst: MatMut<'_>| q.view().dequantize_with(dst, &how).unwrap();
            for (path, wrong) in [
                ("fake_quantize", of_all_types(&wide, x.shape, fake)),
                ("dequantize", of_all_types(&wide, x.shape, real)),
            ] {
                none(wrong.map(|text| format!("{path}, {}, {cast}, {:?}: {text}", isa.name(), x.note)))?;
            }
        }
    }

    /// Packed codes are the same codes, whole and by rows.
    #[test]
    fn packed(x in any_matrix(), cast in any_cast(), cut in (0usize..40, 0usize..40)) {
        let mut q = quantize(x.view(), &cast, &options()).unwrap();
        let before = q.clone();
        let want = bits(&values(&q));
        let packed = q.pack();
        prop_assert_eq!(packed.is_ok(), matches!(cast.format.spec().bits(), 4 | 6));
        prop_assert!(bits(&values(&q)) == want, "{cast}: values of packed codes");
        let (rows, cols) = x.shape;
        let (from, to) = (cut.0.min(cut.1).min(rows), cut.0.max(cut.1).min(rows));
        if let Ok(view) = q.view().slice_rows(from, to) {
            let mut part = vec![0.0_f32; (to - from) * cols];
            view.dequantize_into(MatMut::new(&mut part, to - from, cols).unwrap()).unwrap();
            prop_assert!(bits(&part) == want[from * cols..to * cols], "{cast}: rows {from}..{to}");
        } else {
            prop_assert!(q.is_packed(), "{cast}: rows {from}..{to}");
        }
        if q.is_packed() {
            let again = Quantized::from_packed(
                cast.format, x.shape, cast.granularity, q.codes(), q.scales().clone(),
            ).unwrap();
            none(differ(&cast, &x, &again, &q))?;
        }
        q.unpack();
        none(differ(&cast, &x, &q, &before))?;
        let (codes, scales) = q.into_parts();
        let again = Quantized::from_parts(cast.format, x.shape, cast.granularity, codes, scales);
        none(differ(&cast, &x, &again.unwrap(), &before))?;
    }

    /// Statistics are those of the values, by blocks and in sum, and change no code.
    #[test]
    fn statistics(x in any_matrix(), cast in any_cast()) {
        let (rows, cols) = x.shape;
        let plain = quantize(x.view(), &cast, &options()).unwrap();
        let q = quantize(x.view(), &cast, &options().stats(StatsLevel::Blocks)).unwrap();
        none(differ(&cast, &x, &q, &plain))?;
        let naive = x.naive(&cast, STREAM);
        let (values, spec) = (x.source.widened(), cast.format.spec());
        let mut want = vec![QuantStats::default(); cast.granularity.groups(rows, cols)];
        for (i, x) in values.iter().enumerate() {
            let g = naive::group(&cast, rows, cols, i / cols, i % cols);
            let y = naive::scaled(*x, cast.rule.operation(), naive.scale[g], naive.scale_inv[g]);
            let zero = spec.decode_f32(naive.codes[i].into()) == 0.0;
            want[g] = want[g].merge(QuantStats {
                amax: if x.is_nan() { 0.0 } else { x.abs() },
                saturated: u64::from(f64::from(y.abs()) > spec.max()),
                flushed: u64::from(*x != 0.0 && zero && !x.is_nan()),
                nan: u64::from(x.is_nan()),
            });
        }
        for (g, (got, want)) in q.block_stats().iter().zip(&want).enumerate() {
            prop_assert!(got == want, "{cast}, {:?}: group {g} has {got:?}, not {want:?}", x.note);
        }
        prop_assert_eq!(q.block_stats().len(), want.len());
        let sum = want.iter().fold(QuantStats::default(), |sum, s| sum.merge(*s));
        prop_assert_eq!(q.stats(), Some(&sum), "{}", cast);
        let only = quantize(x.view(), &cast, &options().stats(StatsLevel::Tensor)).unwrap();
        prop_assert_eq!((only.stats(), only.block_stats().len()), (Some(&sum), 0));
        let t = quantize_transposed(x.view(), &cast.transposed(), &options().stats(StatsLevel::Blocks)).unwrap();
        let grid = cast.granularity.grid(rows, cols);
        prop_assert!(
            t.block_stats() == transpose(&want, grid.0, grid.1),
            "{cast}: statistics of the transposed blocks"
        );
        prop_assert_eq!(t.stats(), Some(&sum));
    }
}

/// Every cast of every rule on matrices of one group or few, or without elements: those have the
/// scales that the granularity says, of amax 0.
#[test]
fn every_cast_of_small_matrices() {
    for (shape, spread) in [
        ((1, 1), Spread::Normal),
        ((1, 150), Spread::HeavyTail),
        ((6, 9), Spread::Special),
        ((33, 1), Spread::Mixed),
        ((0, 0), Spread::Zeros),
        ((0, 5), Spread::Zeros),
        ((3, 0), Spread::Zeros),
    ] {
        let x = Matrix::new(shape, spread, Kind::F32, 1);
        let xt = x.transposed();
        for cast in Rule::ALL.iter().flat_map(|rule| casts(*rule)) {
            let (want, want_t) = (x.naive(&cast, STREAM), xt.naive(&cast, STREAM));
            let got = quantize(x.view(), &cast, &options()).unwrap();
            assert_eq!(wrong(&cast, &x, &got, &want), None, "quantize");
            let got_t = quantize_transposed(x.view(), &cast, &options()).unwrap();
            assert_eq!(wrong(&cast, &xt, &got_t, &want_t), None, "quantize_transposed");
            let (a, b) = quantize_both(x.view(), &cast, &cast, &options()).unwrap();
            assert_eq!(wrong(&cast, &x, &a, &want), None, "quantize_both");
            assert_eq!(differ(&cast, &xt, &b, &got_t), None, "quantize_both");
            let mut fake = vec![0.0_f32; shape.0 * shape.1];
            let dst = MatMut::new(&mut fake, shape.0, shape.1).unwrap();
            fake_quantize_into(x.view(), &cast, &options(), dst).unwrap();
            let values = naive::dequantize(&cast, shape, &want);
            assert!(bits(&fake) == bits(&values), "{cast} of {shape:?}: {fake:?}, not {values:?}");
        }
    }
}

/// A margin that takes the scale's power of two below the normal numbers.
#[test]
fn a_margin_of_any_size() {
    let e4m3 = FormatId::F8E4M3.spec();
    for (margin, amax, want) in [
        (3, 7.0, 8.0),
        (-3, 7.0, 512.0),
        (130, 2f32.powi(-100), 448.0 * 2f32.powi(-30)),
        (148, f32::MIN_POSITIVE, 448.0 * 2f32.powi(-22)),
        (150, 1.0, 0.0),
    ] {
        let context = Context { margin, ..Context::default() };
        let got = Rule::TeDelayed.scale(e4m3, amax, &context).scale;
        assert_eq!(got, want, "margin {margin}, amax {amax:e}");
        // The same down to a power of two.
        if want > 0.0 && (448.0 / amax).is_finite() {
            let got = Rule::MsAmp.scale(e4m3, amax, &context).scale;
            assert_eq!(
                got,
                2f32.powi(want.log2().floor() as i32),
                "margin {margin}, amax {amax:e}"
            );
        }
    }
}

/// An E8M0 scale of what has no amax is NaN, by every rule.
#[test]
fn a_nan_amax_has_no_power_of_two() {
    let mut rules = 0;
    for rule in Rule::ALL.iter().filter(|rule| rule.scale_format() == ScaleFormat::E8M0) {
        for id in [FormatId::F8E4M3, FormatId::F4E2M1] {
            let got = rule.scale(id.spec(), f32::NAN, &Context::default());
            assert!(got.byte == 0xff && got.scale_inv.is_nan(), "{rule} {id}: {got:?}");
        }
        rules += 1;
    }
    assert!(rules >= 6, "{rules}");
}

/// The tensor's factor of NVFP4, 448 · 6 / amax, is 1 where that is no positive number.
#[test]
fn a_global_scale_of_any_amax() {
    let e2m1 = FormatId::F4E2M1.spec();
    for (amax, want) in [
        (2688.0, 1.0),
        (-5376.0, 0.5),
        (1e-45, f32::MAX),
        (0.0, 1.0),
        (f32::INFINITY, 1.0),
        (f32::NAN, 1.0),
    ] {
        assert_eq!(Rule::Nvfp4.global_scale(e2m1, amax), want, "amax {amax:e}");
        assert_eq!(Rule::OcpFloor.global_scale(e2m1, amax), 1.0);
    }
}

#[test]
fn source_types_are_named() {
    let all = [SourceType::F32, SourceType::Bf16, SourceType::F16];
    assert_eq!(all.map(SourceType::name), ["f32", "bf16", "f16"]);
}
