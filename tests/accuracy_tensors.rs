//! Distributions are what they say; failing matrices become small (feature `proptest`).

use quarter::accuracy::Distribution;
use quarter::{FormatId, Policy, Rounding, Unpacked};

const ROWS: usize = 64;
const COLS: usize = 512;

fn draw(distribution: Distribution) -> Vec<f32> {
    distribution.matrix(ROWS, COLS, 7)
}

fn all() -> [Distribution; 15] {
    Distribution::all(FormatId::F8E4M3)
}

#[test]
fn a_seed_is_a_matrix() {
    let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    for distribution in all() {
        let x = draw(distribution);
        assert_eq!(bits(&x), bits(&draw(distribution)), "{distribution}");
        let other = distribution.matrix(ROWS, COLS, 8);
        assert_ne!(bits(&x), bits(&other), "{distribution}");
        assert!(distribution.matrix(0, 5, 1).is_empty() && distribution.matrix(5, 0, 1).is_empty());
        let finite = x.iter().all(|x| x.is_finite());
        assert_eq!(finite, distribution != Distribution::Specials, "{distribution}");
    }
    assert_eq!(Distribution::finite(FormatId::F8E4M3).count(), 14);
    let mut names: Vec<String> = all().iter().map(|d| d.to_string()).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 15);
}

/// Mean, variance, fourth moment and the share within one: each within five standard errors.
#[test]
fn gaussians_are_normal() {
    let x = Distribution::Gaussian.matrix(1, 1 << 18, 1);
    let n = x.len() as f64;
    let moment = |f: &dyn Fn(f64) -> f64| x.iter().map(|x| f(f64::from(*x))).sum::<f64>() / n;
    let near = |got: f64, want: f64, deviation: f64| {
        assert!((got - want).abs() < 5.0 * deviation / n.sqrt(), "{got} for {want}");
    };
    near(moment(&|x| x), 0.0, 1.0);
    near(moment(&|x| x * x), 1.0, 2_f64.sqrt());
    near(moment(&|x| x.powi(4)), 3.0, 96_f64.sqrt());
    let within = |t: f64| moment(&|x| f64::from(u8::from(x.abs() < t)));
    near(within(1.0), 0.682_689_492, 0.47);
    near(within(0.5), 0.382_924_923, 0.49);
    near(within(2.5), 0.987_580_669, 0.11);
    let uniform = draw(Distribution::Uniform);
    assert!(uniform.iter().all(|x| (-1.0..=1.0).contains(x)));
    assert!(uniform.iter().any(|x| *x < -0.99) && uniform.iter().any(|x| *x > 0.99));
}

#[test]
fn tails_are_heavy() {
    let largest = |d| draw(d).iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    assert!((3.5..5.5).contains(&largest(Distribution::Gaussian)));
    for (distribution, least) in [
        (Distribution::FifthPower, 500.0),
        (Distribution::LogNormal, 1000.0),
        (Distribution::StudentT, 50.0),
        (Distribution::OutlierColumns, 300.0),
        (Distribution::BlockSpread, 1e5),
    ] {
        assert!(largest(distribution) > least, "{distribution} {}", largest(distribution));
    }
    // Half of all t are within √(2/3) ± 0.03 of ±0.8165.
    let t = draw(Distribution::StudentT);
    let within = t.iter().filter(|t| t.abs() < 0.816_5).count() as f64 / t.len() as f64;
    assert!((within - 0.5).abs() < 0.02, "{within}");
}

#[test]
fn outliers_are_columns_and_spreads_are_blocks() {
    let rms = |values: &mut dyn Iterator<Item = f32>| {
        let (mut sum, mut n) = (0.0, 0.0);
        values.for_each(|x| (sum, n) = (sum + f64::from(x) * f64::from(x), n + 1.0));
        (sum / n).sqrt()
    };
    let x = draw(Distribution::OutlierColumns);
    let columns: Vec<f64> =
        (0..COLS).map(|c| rms(&mut x.iter().skip(c).step_by(COLS).copied())).collect();
    assert_eq!(columns.iter().filter(|rms| **rms > 50.0).count(), COLS / 32);
    assert_eq!(columns.iter().filter(|rms| **rms < 2.0).count(), COLS - COLS / 32);
    let x = draw(Distribution::BlockSpread);
    let blocks: Vec<f64> =
        x.chunks(32).map(|block| rms(&mut block.iter().copied()).log2()).collect();
    let (low, high) = blocks.iter().fold((0.0_f64, 0.0_f64), |(a, b), x| (a.min(*x), b.max(*x)));
    assert!(low < -18.0 && high > 18.0, "{low} {high}");
}

/// Rounding down and to nearest of x and of one ulp off: midpoints decide differently.
#[test]
fn midpoints_are_within_an_ulp_of_ties() {
    for format in [FormatId::F8E4M3, FormatId::F4E2M1, FormatId::F8E5M2FNUZ, FormatId::Bf16] {
        let spec = format.spec();
        let round = |x: f32, rounding| {
            let policy = Policy { rounding, ..Policy::SATURATE };
            spec.decode_f64(Unpacked::from_f64(x.into()).encode(spec, policy, 0).unwrap())
        };
        let (mut ties, mut below, mut above) = (0, 0, 0);
        for x in draw(Distribution::Midpoints(format)) {
            let x = x.abs();
            let at = [x.next_down(), x, x.next_up()].into_iter().filter(|x| *x >= 0.0).find(|x| {
                let down = round(*x, Rounding::Down);
                let up = round(*x, Rounding::Up);
                f64::from(*x) - down == up - f64::from(*x) && up > down
            });
            match at.unwrap_or_else(|| panic!("{x:e} is near no midpoint of {format}")) {
                tie if tie == x => ties += 1,
                tie if tie > x => below += 1,
                _ => above += 1,
            }
        }
        assert!(ties.min(below).min(above) > 9000, "{format}: {ties} {below} {above}");
    }
}

#[test]
fn subnormals_are_mixed() {
    let spec = FormatId::F8E4M3.spec();
    let x = draw(Distribution::Subnormals(FormatId::F8E4M3));
    let count = |test: &dyn Fn(f64) -> bool| x.iter().filter(|x| test(x.abs().into())).count();
    let (min, normal) = (spec.min_positive(), spec.min_normal());
    assert!(count(&|x| x > 0.0 && x < min / 2.0) > 300, "flushed");
    assert!(count(&|x| x < normal) > 10_000 && count(&|x| x >= normal) > 10_000);
    let tiny = draw(Distribution::TinyF32);
    let subnormal = tiny.iter().filter(|x| x.is_subnormal()).count();
    assert!((20_000..28_000).contains(&subnormal), "{subnormal}");
    assert!(tiny.iter().all(|x| x.abs() < 2.0 * f32::MIN_POSITIVE));
}

#[test]
fn structures_are_there() {
    let constant = draw(Distribution::Constant);
    assert!(constant.iter().all(|x| *x == constant[0]) && constant[0] != 0.0);
    let zeros = draw(Distribution::Zeros);
    assert!(zeros.iter().all(|x| *x == 0.0));
    assert!(
        zeros.iter().any(|x| x.is_sign_negative()) && zeros.iter().any(|x| x.is_sign_positive())
    );
    let rows = draw(Distribution::Alternating);
    for row in rows.chunks(COLS) {
        assert!(row.windows(2).all(|pair| pair[0] == -pair[1] && pair[0] != 0.0));
    }
    assert_ne!(rows[0].abs(), rows[COLS].abs());
    for pair in draw(Distribution::Cancelling).chunks(2) {
        assert_eq!(pair[0].to_bits().abs_diff((-pair[1]).to_bits()), 1);
    }
    let specials = draw(Distribution::Specials);
    let has = |test: fn(&f32) -> bool| assert!(specials.iter().any(test));
    has(|x| x.is_nan());
    has(|x| *x == f32::INFINITY);
    has(|x| *x == f32::NEG_INFINITY);
    has(|x| x.to_bits() == 1 << 31);
    has(|x| *x == f32::MIN);
    has(|x| x.is_subnormal());
}

#[cfg(feature = "proptest")]
mod strategies {
    use super::*;
    use proptest::prelude::*;
    use proptest::strategy::ValueTree;
    use proptest::test_runner::{Config, TestError, TestRunner};
    use quarter::interop::proptest::{Matrix, any_tensor, tensor};

    fn runner() -> TestRunner {
        TestRunner::new(Config { failure_persistence: None, ..Config::default() })
    }

    fn smallest(test: impl Fn(&Matrix) -> bool) -> Matrix {
        let strategy = tensor(1..=20, 2..=40, [Distribution::Gaussian]);
        let result = runner().run(&strategy, |x| {
            if test(&x) { Ok(()) } else { Err(TestCaseError::fail("as planned")) }
        });
        let Err(TestError::Fail(_, x)) = result else { panic!("nothing failed: {result:?}") };
        assert!(!test(&x), "what is shown must fail: {x:?}");
        x
    }

    #[test]
    fn a_failing_matrix_becomes_small() {
        let large = smallest(|x| x.values.iter().all(|x| x.abs() < 1.0));
        assert_eq!((large.rows, large.cols), (1, 2), "{large:?}");
        assert!(large.values.contains(&0.0), "{large:?}");
        assert!(large.values.iter().any(|x| x.abs() == 1.0 || x.abs() == 2.0), "{large:?}");
        let wide = smallest(|x| x.cols < 17);
        assert_eq!((wide.rows, wide.cols, wide.values), (1, 17, vec![0.0; 17]));
        let two = smallest(|x| x.values.iter().filter(|x| **x > 0.5).count() < 2);
        assert_eq!(two.rows * two.cols, 2, "{two:?}");
    }

    #[test]
    fn every_distribution_and_shape_comes() {
        let (mut runner, mut shapes, mut specials) = (runner(), Vec::new(), 0);
        for _ in 0..400 {
            let x =
                any_tensor(1..=3, 0..=2, FormatId::F8E4M3).new_tree(&mut runner).unwrap().current();
            assert_eq!(x.view().unwrap().shape(), (x.rows, x.cols));
            shapes.push((x.rows, x.cols));
            specials += usize::from(x.values.iter().any(|x| !x.is_finite()));
        }
        shapes.sort_unstable();
        shapes.dedup();
        assert_eq!(shapes.len(), 9);
        assert!(specials > 0);
    }
}
