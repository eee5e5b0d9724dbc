//! `accuracy::Metrics`: each figure against its definition as a loop in f64, and by hand.

mod common;

use half::{bf16, f16};
use quarter::accuracy::{CompareOptions, Distribution, Meter, Metrics, Numbers, Worst, exponent};
use quarter::slice::Values;
use quarter::tensor::MatRef;
use quarter::{F4E2M1, F8E4M3, F8E5M2, Format, FormatId, FormatSpec, Granularity, Isa};
use quarter::{RandomStream, Specials};

const F32: &FormatSpec = FormatId::F32.spec();
const E4M3: &FormatSpec = FormatId::F8E4M3.spec();

fn options(spec: &FormatSpec) -> CompareOptions {
    CompareOptions::new(spec)
}

/// Expected values of every kind, and actual ones near and far from them.
fn pairs(n: usize, seed: u64) -> (Vec<f32>, Vec<f32>) {
    let y = Distribution::Specials.matrix(1, n, seed);
    let stream = RandomStream { seed, tensor: 1, step: 0 };
    let x = y.iter().enumerate().map(|(i, y)| match stream.word(i as u64) % 24 {
        0 => f32::NAN,
        1 => f32::INFINITY,
        2 => 0.0,
        3 => 448.0,
        4 => 0.001,
        5 => -y,
        6..12 => *y,
        _ => F8E4M3::from_f32_sat(*y).to_f32(),
    });
    (x.collect(), y)
}

/// The sum that the module's documentation defines, of terms by index.
fn sum(terms: &[(usize, f64)]) -> f64 {
    let mut total = 0.0;
    for chunk in terms.chunk_by(|a, b| a.0 / 4096 == b.0 / 4096) {
        let mut lanes = [0.0; 8];
        chunk.iter().for_each(|(i, term)| lanes[i % 8] += term);
        for half in [4, 2, 1] {
            for i in 0..half {
                lanes[i] += lanes[i + half];
            }
        }
        total += lanes[0];
    }
    total
}

fn ulp(spec: &FormatSpec, y: f64) -> f64 {
    let e = if y == 0.0 { spec.emin() } else { exponent(y).clamp(spec.emin(), spec.emax()) };
    2_f64.powi(e - spec.man_bits() as i32)
}

/// The first index of the largest.
fn worst(figures: &[(usize, f64)]) -> Worst {
    let mut worst = Worst::default();
    for (i, figure) in figures {
        if *figure > worst.value {
            worst = Worst { value: *figure, index: Some(*i as u64) };
        }
    }
    worst
}

fn assert_is_its_definition(metrics: &Metrics, x: &[f64], y: &[f64], spec: &FormatSpec) {
    let all: Vec<(usize, f64, f64)> =
        x.iter().zip(y).enumerate().map(|(i, (x, y))| (i, *x, *y)).collect();
    let finite: Vec<_> =
        all.iter().copied().filter(|(_, x, y)| x.is_finite() && y.is_finite()).collect();
    let count = |test: &dyn Fn(f64, f64) -> bool| {
        all.iter().filter(|(_, x, y)| test(*x, *y)).count() as u64
    };
    assert_eq!((metrics.count, metrics.compared), (x.len() as u64, finite.len() as u64));
    assert_eq!(
        metrics.agreeing,
        count(&|x, y| !y.is_finite() && (x == y || x.is_nan() && y.is_nan()))
    );
    assert_eq!(metrics.nan_made, count(&|x, y| x.is_nan() && !y.is_nan()));
    assert_eq!(metrics.inf_made, count(&|x, y| x.is_infinite() && y.is_finite()));
    let parts = [metrics.compared, metrics.agreeing, metrics.nan_made, metrics.inf_made];
    assert_eq!(metrics.lost, metrics.count - parts.iter().sum::<u64>());
    assert_eq!(metrics.zeros, count(&|x, y| y == 0.0 && x.is_finite()));
    assert_eq!(metrics.from_zero, count(&|x, y| y == 0.0 && x != 0.0 && x.is_finite()));
    assert_eq!(metrics.flushed, count(&|x, y| x == 0.0 && y != 0.0 && y.is_finite()));
    assert_eq!(metrics.saturated, count(&|x, y| x.abs() == spec.max() && y.abs() > spec.max()));
    let small = |x: f64| x != 0.0 && x.abs() < spec.min_normal();
    assert_eq!(metrics.subnormal, count(&|x, y| small(x) && y.is_finite()));

    let figures = |figure: &dyn Fn(f64, f64) -> f64| -> Vec<(usize, f64)> {
        finite.iter().map(|(i, x, y)| (*i, figure(*x, *y))).collect()
    };
    let error = figures(&|x, y| (x - y).abs());
    let relative = figures(&|x, y| if y == 0.0 { 0.0 } else { (x - y).abs() / y.abs() });
    let ulps = figures(&|x, y| (x - y).abs() / ulp(spec, y));
    assert_eq!(metrics.max_abs, worst(&error));
    assert_eq!(metrics.max_relative, worst(&relative));
    assert_eq!(metrics.max_ulps, worst(&ulps));
    // Two chunks at most: their sum is rounded once, as an exact one is.
    assert!(x.len() <= 8192);
    let n = finite.len().max(1) as f64;
    let with_y = (finite.len() as u64 - metrics.zeros).max(1) as f64;
    assert_eq!(metrics.mean_abs(), sum(&error) / n);
    assert_eq!(metrics.mean_relative(), sum(&relative) / with_y);
    assert_eq!(metrics.mean_ulps(), sum(&ulps) / n);
    let [ee, xx, yy] = [
        sum(&figures(&|x, y| (x - y).abs() * (x - y).abs())),
        sum(&figures(&|x, _| x * x)),
        sum(&figures(&|_, y| y * y)),
    ];
    let xy = sum(&figures(&|x, y| x * y));
    assert_eq!(metrics.rms(), (ee / n).sqrt());
    let close = |got: f64, want: f64| {
        assert!((got - want).abs() <= 1e-13 * want.abs(), "{got:e} {want:e}");
    };
    if ee > 0.0 && yy > 0.0 {
        close(metrics.sqnr_db(), 10.0 * (yy / ee).log10());
        close(metrics.calc_diff(), ee / (xx + yy));
        close(metrics.normwise_relative(), (ee / yy).sqrt());
        assert!((metrics.calc_diff() - (1.0 - 2.0 * xy / (xx + yy))).abs() < 1e-12);
    }
    if xx > 0.0 && yy > 0.0 {
        close(metrics.cosine(), (xy / (xx.sqrt() * yy.sqrt())).clamp(-1.0, 1.0));
    }
}

#[test]
fn every_figure_is_its_definition() {
    let specs = [E4M3, F8E5M2::ID.spec(), FormatId::Bf16.spec(), F32, F4E2M1::ID.spec()];
    for (seed, spec) in specs.into_iter().enumerate() {
        for n in [0, 1, 7, 8, 9, 100, 4095, 4096, 4097, 8192] {
            let (x, y) = pairs(n, seed as u64);
            let metrics = Metrics::of(&x, &y, &options(spec)).unwrap();
            let [x, y] = [x, y].map(|values| values.into_iter().map(f64::from).collect::<Vec<_>>());
            assert_is_its_definition(&metrics, &x, &y, spec);
            // f64 of the same values goes another way to the same bits.
            assert_eq!(metrics, Metrics::of(&x, &y, &options(spec)).unwrap());
        }
    }
}

#[test]
fn every_distribution_is_its_definition() {
    for format in [FormatId::F8E4M3, FormatId::F4E2M1, FormatId::Bf16] {
        for distribution in Distribution::all(format) {
            let y = distribution.matrix(20, 64, 5);
            let x: Vec<f32> = y.iter().map(|y| F8E5M2::from_f32(*y).to_f32()).collect();
            let metrics = Metrics::of(&x, &y, &options(format.spec())).unwrap();
            let [x, y] = [x, y].map(|values| values.into_iter().map(f64::from).collect::<Vec<_>>());
            assert_is_its_definition(&metrics, &x, &y, format.spec());
        }
    }
}

/// Errors 0.5, 1, 0 of 2, −4, 0.
#[test]
fn figures_by_hand() {
    let metrics =
        Metrics::of(&[2.5_f32, -3.0, 0.0], &[2.0_f32, -4.0, 0.0], &options(E4M3)).unwrap();
    assert_eq!(metrics.max_abs, Worst { value: 1.0, index: Some(1) });
    assert_eq!(metrics.max_relative, Worst { value: 0.25, index: Some(0) });
    assert_eq!(metrics.max_ulps, Worst { value: 2.0, index: Some(0) }); // ulps 1/4 and 1/2
    assert_eq!((metrics.mean_abs(), metrics.mean_relative()), (0.5, 0.25));
    assert_eq!(metrics.mean_ulps(), 4.0 / 3.0);
    assert_eq!(metrics.rms(), (1.25_f64 / 3.0).sqrt());
    assert!((metrics.sqnr_db() - 12.041_199_826_559_248).abs() < 1e-13, "10 log10(20 / 1.25)");
    assert_eq!(metrics.normwise_relative(), 0.25);
    assert_eq!(metrics.calc_diff(), 1.25 / 35.25);
    assert!((metrics.cosine() - 17.0 / (15.25_f64 * 20.0).sqrt()).abs() < 1e-15);
    assert_eq!(metrics.zeros, 1);
}

/// Of E4M3: the largest is 448 with ulp 32, the smallest normal 2^-6, subnormals 2^-9 apart.
#[test]
fn ulps_are_those_of_the_format() {
    let of = |spec, x: f64, y: f64| Metrics::of(&[x], &[y], &options(spec)).unwrap().max_ulps.value;
    let tiny = 2_f64.powi(-9);
    assert_eq!(of(E4M3, 1.125, 1.0), 1.0);
    assert_eq!(of(E4M3, 1.0, 1.125), 1.0);
    assert_eq!(of(E4M3, 1.0, 0.999), 0.001 * 16.0 - (0.001 * 16.0 - (1.0 - 0.999) * 16.0));
    assert_eq!(of(E4M3, 448.0, 480.0), 1.0);
    assert_eq!(of(E4M3, 448.0, 5e5), (5e5 - 448.0) / 32.0);
    assert_eq!([0.0, 1e-9, 3.0 * tiny].map(|y| of(E4M3, y + tiny, y)), [1.0; 3]);
    assert_eq!(of(F32, 1.0 + f64::from(f32::EPSILON), 1.0), 1.0);
    assert_eq!(of(FormatId::F64.spec(), 1.0 + f64::EPSILON, 1.0), 1.0);
    assert_eq!(of(FormatId::F64.spec(), f64::MAX.next_down(), f64::MAX), 1.0);
    assert_eq!(of(FormatId::F64.spec(), 5e-324, 0.0), 1.0);
    assert_eq!(of(FormatId::F64.spec(), 1.0, 0.0), 2_f64.powi(1000), "the cap");
    assert_eq!(of(FormatId::Bf16.spec(), 1.0, 1.0 + 2_f64.powi(-7)), 1.0);
    assert_eq!(of(FormatId::F16.spec(), 2048.0, 2050.0), 1.0);
}

#[test]
fn a_scale_moves_the_format() {
    let scale_inv = 0.3_f32;
    let max = 448.0 * scale_inv;
    let small = 2_f32.powi(-9) * scale_inv;
    let options = options(E4M3).scale_inv(scale_inv);
    let metrics = Metrics::of(&[max, small, 0.0], &[200.0, 1e-9, 1e-9], &options).unwrap();
    assert_eq!((metrics.saturated, metrics.subnormal, metrics.flushed), (1, 1, 1));
    let step = f64::from(0.125_f32) * f64::from(scale_inv);
    let y = f64::from(scale_inv) * 1.5;
    let metrics = Metrics::of(&[y + step], &[y], &options).unwrap();
    assert!((metrics.max_ulps.value - 1.0).abs() < 1e-12);
    let plain = Metrics::of(&[max], &[200.0_f32], &CompareOptions::new(E4M3)).unwrap();
    assert_eq!(plain.saturated, 0);
}

#[test]
fn counts_by_hand() {
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    let x = [nan, 1.0, nan, inf, inf, -inf, 448.0, 448.0, 0.0, 1.0, 0.01, -448.0, 0.0];
    let y = [nan, nan, 1.0, inf, 1.0, inf, inf, 448.0, 1.0, 0.0, 0.01, -449.0, -0.0];
    let metrics = Metrics::of(&x, &y, &options(E4M3)).unwrap();
    assert_eq!((metrics.count, metrics.compared, metrics.agreeing), (13, 6, 2));
    assert_eq!((metrics.nan_made, metrics.inf_made, metrics.lost), (1, 1, 3));
    assert_eq!((metrics.zeros, metrics.from_zero, metrics.flushed), (2, 1, 1));
    assert_eq!((metrics.saturated, metrics.subnormal), (2, 1));
    let shown = metrics.to_string();
    assert_eq!(
        shown,
        "pairs      13  finite 6\n\
         absolute   max 1.000e0 at 8  mean 5.000e-1\n\
         relative   max 1.000e0 at 8  mean 2.506e-1\n\
         ulps       max 5.120e2 at 9  mean 8.667e1\n\
         rms        7.071e-1  SQNR 51.27 dB\n\
         cosine     0.999996890  calc_diff 3.733e-6  normwise 2.731e-3\n\
         counts     saturated 2  flushed 1  subnormal 1  NaN made 1  Inf made 1  lost 3  \
         agreeing 2  zeros 2  from zero 1"
    );
}

#[test]
fn nothing_and_zeros_have_figures() {
    let none = Metrics::of(&[0.0_f32; 0], &[0.0_f32; 0], &options(F32)).unwrap();
    assert_eq!(none, Metrics::default());
    let zeros = Metrics::of(&[0.0_f32; 3], &[-0.0_f32; 3], &options(F32)).unwrap();
    for metrics in [&none, &zeros] {
        assert_eq!((metrics.mean_abs(), metrics.mean_relative(), metrics.rms()), (0.0, 0.0, 0.0));
        assert_eq!((metrics.sqnr_db(), metrics.cosine()), (f64::INFINITY, 1.0));
        assert_eq!((metrics.calc_diff(), metrics.normwise_relative()), (0.0, 0.0));
        assert_eq!((metrics.max_abs.index, metrics.normwise_backward()), (None, None));
    }
    let noise = Metrics::of(&[1.0_f32; 3], &[0.0_f32; 3], &options(F32)).unwrap();
    assert_eq!((noise.sqnr_db(), noise.cosine()), (f64::NEG_INFINITY, 0.0));
    assert_eq!((noise.normwise_relative(), noise.calc_diff()), (f64::INFINITY, 1.0));
    assert_eq!((noise.max_relative.value, noise.from_zero), (0.0, 3));
    let nans = Metrics::of(&[f32::NAN; 9], &[f32::NAN; 9], &options(F32)).unwrap();
    assert_eq!((nans.agreeing, nans.compared, nans.sqnr_db()), (9, 0, f64::INFINITY));
}

/// Squares beyond f64, and below it.
#[test]
fn no_infinity_comes_of_finite_numbers() {
    let big = [f64::MAX, 1e300, -f64::MAX];
    let far = [-f64::MAX, 1e-300, f64::MAX];
    let metrics = Metrics::of(&big, &far, &options(FormatId::F64.spec())).unwrap();
    for figure in [metrics.max_abs.value, metrics.mean_abs(), metrics.rms()] {
        assert!(figure.is_finite() && figure >= 1e300, "{figure:e}");
    }
    assert!((metrics.sqnr_db() + 20.0 * 2_f64.log10()).abs() < 1e-9, "{}", metrics.sqnr_db());
    assert_eq!(metrics.max_relative, Worst { value: 2_f64.powi(1000), index: Some(1) });
    assert_eq!((metrics.cosine(), metrics.calc_diff()), (-1.0, 2.0));
    assert!((metrics.normwise_relative() - 2.0).abs() < 1e-15);

    // Quotients beyond f64 are its largest number: no y and no magnitude is 0.
    let far = Metrics::of_product(&[1e300], &[1e-300], &[1e-300], &options(F32)).unwrap();
    assert_eq!(far.normwise_relative(), f64::MAX);
    assert_eq!(far.normwise_backward(), Some(f64::MAX));
    assert_eq!(far.componentwise_backward().unwrap().value, f64::MAX);

    let tiny = Metrics::of(&[3e-320, 4e-320], &[3e-320, 0.0], &options(F32)).unwrap();
    assert_eq!((tiny.max_abs.index, tiny.from_zero), (Some(1), 1));
    assert!((tiny.normwise_relative() - 4.0 / 3.0).abs() < 1e-3);
    assert!((tiny.sqnr_db() + 20.0 * (4.0_f64 / 3.0).log10()).abs() < 1e-2);

    // One of each kind beside 2^20 plain ones: nothing is lost.
    let mut y = vec![1.0_f64; 1 << 13];
    (y[100], y[5000]) = (1e200, 1e-200);
    let mut x = y.clone();
    (x[100], x[5000]) = (2e200, 2e-200);
    let metrics = Metrics::of(&x, &y, &options(F32)).unwrap();
    assert_eq!((metrics.max_abs.index, metrics.max_relative.index), (Some(100), Some(100)));
    assert!((metrics.rms() / (1e200 / 8192_f64.sqrt()) - 1.0).abs() < 1e-15);
}

#[test]
fn backward_errors_by_hand() {
    let (x, y) = ([1.0_f32, 5.0, 7.0, 1.0, f32::NAN], [1.5_f32, 5.0, 9.0, 1.0, 2.0]);
    let m = [2.0_f32, 0.0, -4.0, f32::INFINITY, 1.0];
    let metrics = Metrics::of_product(&x, &y, &m, &options(F32)).unwrap();
    let worst = metrics.componentwise_backward().unwrap();
    assert_eq!(worst, Worst { value: 0.5, index: Some(2) });
    let normwise = metrics.normwise_backward().unwrap();
    assert!((normwise - (4.25_f64 / 20.0).sqrt()).abs() < 1e-15);
    assert!(
        metrics.to_string().contains("\nbackward   normwise 4.610e-1  componentwise 5.000e-1 at 2")
    );
    let none = Metrics::of_product(&[1.0_f32], &[2.0_f32], &[0.0_f32], &options(F32)).unwrap();
    assert_eq!(none.componentwise_backward().unwrap().value, f64::INFINITY);
    let huge = Metrics::of_product(&[1e300, 0.0], &[2e300, 0.0], &[4e300, 1.0], &options(F32));
    assert_eq!(huge.unwrap().normwise_backward(), Some(0.25));
}

#[test]
fn histograms_by_hand() {
    let y = [1.0_f64, -1.5, 0.75, 0.0, 0.0, f64::NAN, 1e300, 5e-324, 3.0];
    let x = [1.5_f64, -1.75, 0.75, 0.5, 0.0, 1.0, 2e300, 5e-324, f64::INFINITY];
    let metrics = Metrics::of(&x, &y, &options(F32).histogram(true)).unwrap();
    let bins: Vec<_> = metrics.histogram().unwrap().bins().collect();
    let facts: Vec<_> = bins.iter().map(|b| (b.exponent, b.count, b.max, b.sum_squares)).collect();
    assert_eq!(
        facts[..4],
        [
            (None, 2, 0.5, 0.25),
            (Some(-1074), 1, 0.0, 0.0),
            (Some(-1), 1, 0.0, 0.0),
            (Some(0), 2, 0.5, 0.25 + 0.0625),
        ]
    );
    assert_eq!(facts[4..], [(Some(996), 1, 1e300, f64::MAX)]);
    assert!(Metrics::of(&x, &y, &options(F32)).unwrap().histogram().is_none());
}

/// Random cuts, threads and instruction sets: not a bit moves.
#[test]
fn a_stream_is_its_whole() {
    let n = 700_001;
    let (x, y) = pairs(n, 11);
    let m: Vec<f32> = y.iter().map(|y| 2.0 * y.abs() + 0.1).collect();
    let options = options(E4M3).histogram(true);
    let whole = Metrics::of_product(&x, &y, &m, &options.threads(1)).unwrap();
    for isa in Isa::available() {
        let other = Metrics::of_product(&x, &y, &m, &options.isa(isa).threads(1)).unwrap();
        assert_eq!(whole, other, "{isa:?}");
    }
    for threads in [1, 2, 3, 4] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let other = pool.install(|| Metrics::of_product(&x, &y, &m, &options).unwrap());
        assert_eq!(whole, other, "{threads} threads");
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap();
    for seed in 0..12 {
        let stream = RandomStream { seed, ..RandomStream::default() };
        let most = [5, 100, 5000, 300_000][seed as usize % 4];
        let (mut meter, mut at, mut piece) = (Meter::new(&options), 0, 0);
        while at < n.min(60_000 * (1 + most as usize / 1000)) {
            piece += 1;
            let end = n.min(at + (stream.word(piece) % most) as usize);
            let [x, y, m] = [&x, &y, &m].map(|values| &values[at..end]);
            pool.install(|| meter.add_product(x, y, m)).unwrap();
            at = end;
        }
        let until = Metrics::of_product(&x[..at], &y[..at], &m[..at], &options).unwrap();
        assert_eq!(meter.metrics(), until, "pieces below {most}, seed {seed}");
        assert_eq!(meter.take(), until);
        assert_eq!(meter.take(), Metrics::default());
    }
}

#[test]
fn merges_are_associative_and_those_of_whole_chunks_are_the_whole() {
    let (x, y) = pairs(40_000, 3);
    let options = options(E4M3).histogram(true);
    let of = |range: std::ops::Range<usize>| {
        Metrics::of(&x[range.clone()], &y[range], &options).unwrap()
    };
    let merged = |parts: &[Metrics]| {
        parts.iter().fold(Metrics::default(), |mut all, part| {
            all.merge(part);
            all
        })
    };
    assert_eq!(merged(&[of(0..4096), of(4096..20_480), of(20_480..40_000)]), of(0..40_000));
    let [a, b, c] = [of(0..17), of(17..9000), of(9000..40_000)];
    let left = merged(&[merged(&[a.clone(), b.clone()]), c.clone()]);
    assert_eq!(left, merged(&[a.clone(), merged(&[b, c])]));
    assert_eq!(merged(&[Metrics::default(), a.clone()]), a);
    let whole = of(0..40_000);
    assert_eq!((left.max_abs, left.count), (whole.max_abs, whole.count));
    assert!((left.mean_abs() / whole.mean_abs() - 1.0).abs() < 1e-14);
}

#[test]
fn every_type_is_its_values() {
    let (x, y) = pairs(5000, 8);
    let options = options(E4M3);
    let halves: Vec<bf16> = x.iter().map(|x| bf16::from_f32(*x)).collect();
    let floats: Vec<f16> = y.iter().map(|y| f16::from_f32(*y)).collect();
    let codes: Vec<F8E5M2> = y.iter().map(|y| F8E5M2::from_f32(*y)).collect();
    let bytes: Vec<u8> = codes.iter().map(|code| code.to_bits()).collect();
    let wide: Vec<f64> = codes.iter().map(|code| code.to_f64()).collect();
    let [a, b] = [
        halves.iter().map(|x| x.to_f32()).collect::<Vec<_>>(),
        floats.iter().map(|x| x.to_f32()).collect(),
    ];
    let of = |x: Numbers<'_>, y: Numbers<'_>| Metrics::of(x, y, &options).unwrap();
    assert_eq!(of((&halves).into(), (&floats).into()), of((&a).into(), (&b).into()));
    let bytes = Numbers::codes(F8E5M2::ID.spec(), &bytes).unwrap();
    assert_eq!(of((&codes).into(), (&a).into()), of((&wide).into(), (&a).into()));
    assert_eq!(of((&codes).into(), (&a).into()), of(bytes, Values::F32(&a).into()));
    // Beyond f32: 2^-255.
    let custom = FormatSpec::custom("far", 3, 2, 255, Specials::None).unwrap();
    let far = Metrics::of(Numbers::codes(&custom, &[4]).unwrap(), &[0.0_f32], &options).unwrap();
    assert_eq!(far.max_abs.value, 2_f64.powi(-254));
}

#[test]
fn matrices_are_their_rows() {
    let (rows, cols) = (70, 130);
    let (x, y) = pairs(rows * cols, 6);
    let turn = |values: &[f32]| -> Vec<f32> {
        (0..rows * cols).map(|i| values[i % rows * cols + i / rows]).collect()
    };
    let gaps: Vec<f32> =
        x.chunks(cols).flat_map(|row| row.iter().copied().chain([7.0; 3])).collect();
    let options = options(E4M3);
    let whole = Metrics::of(&x, &y, &options).unwrap();
    let turned = turn(&y);
    let crosswise = MatRef::new(&turned, cols, rows).unwrap().transposed();
    let spaced = MatRef::with_strides(&gaps, (rows, cols), (cols + 3, 1)).unwrap();
    assert_eq!(Metrics::of(spaced, crosswise, &options).unwrap(), whole);
    let wide: Vec<f64> = turned.iter().map(|y| f64::from(*y)).collect();
    let crosswise = MatRef::new(&wide, cols, rows).unwrap().transposed();
    assert_eq!(Metrics::of(spaced, crosswise, &options).unwrap(), whole);

    for granularity in ["tensor", "row", "col", "1x32", "32x32", "7x200"] {
        let granularity: Granularity = granularity.parse().unwrap();
        let groups = Metrics::by_group(spaced, crosswise, granularity, &options).unwrap();
        assert_eq!(groups.len(), granularity.groups(rows, cols));
        let ((high, wide), across) =
            (granularity.block(rows, cols), granularity.grid(rows, cols).1);
        for (i, group) in groups.iter().enumerate() {
            let (row, col) = (i / across * high, i % across * wide);
            let pick = |values: &[f32]| -> Vec<f32> {
                let rows = values.chunks(cols).skip(row).take(high);
                rows.flat_map(|line| line.iter().skip(col).take(wide).copied()).collect()
            };
            let alone = Metrics::of(&pick(&x), &pick(&y), &options).unwrap();
            assert_eq!(*group, alone, "{granularity} group {i}");
        }
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    let (x, y) = pairs(600 * 1000, 2);
    let [x, y] = [&x, &y].map(|values| MatRef::new(values, 600, 1000).unwrap());
    let rows = |threads| {
        let options = options.threads(threads);
        pool.install(|| Metrics::by_group(x, y, Granularity::Row, &options).unwrap())
    };
    assert_eq!(rows(1), rows(0));
}
