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
    use quarter::accuracy::bounds::{GemmBound, Sums};
    use quarter::interop::proptest::{Matrix, Tensors, any_tensor, operands, tensor};

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
        let (mut runner, mut shapes, mut drawn) = (runner(), Vec::new(), Vec::new());
        for _ in 0..600 {
            let x =
                any_tensor(1..=3, 0..=2, FormatId::F8E4M3).new_tree(&mut runner).unwrap().current();
            assert_eq!(x.view().unwrap().shape(), (x.rows, x.cols));
            shapes.push((x.rows, x.cols));
            drawn.push(x.distribution);
        }
        shapes.sort_unstable();
        shapes.dedup();
        assert_eq!(shapes.len(), 9);
        assert!(all().iter().all(|distribution| drawn.contains(distribution)));
    }

    /// All ways to say how large.
    #[test]
    fn ranges_are_those_of_collections() {
        let mut runner = runner();
        let mut shape = |strategy: Tensors| {
            let drawn = (0..200).map(|_| strategy.new_tree(&mut runner).unwrap().current());
            let shapes: Vec<_> = drawn.map(|x| (x.rows, x.cols)).collect();
            let least = shapes.iter().copied().reduce(|x, y| (x.0.min(y.0), x.1.min(y.1)));
            let most = shapes.iter().copied().reduce(|x, y| (x.0.max(y.0), x.1.max(y.1)));
            (least.unwrap(), most.unwrap())
        };
        let one = [Distribution::Constant];
        assert_eq!(shape(tensor(1..8, 1..=8, one)), ((1, 1), (7, 8)));
        assert_eq!(shape(tensor(3, ..4, one)), ((3, 0), (3, 3)));
        assert_eq!(shape(any_tensor(..=2, 5, FormatId::F8E4M3)), ((0, 5), (2, 5)));
        for empty in [3..3, 0..0] {
            let made = std::panic::catch_unwind(|| tensor(empty, 1, one));
            let message = made.unwrap_err().downcast::<String>().unwrap();
            assert!(message.starts_with("no rows: "), "{message}");
        }
    }

    fn smallest_operands(test: impl Fn(&Matrix, &Matrix) -> bool) -> (Matrix, Matrix) {
        let strategy = operands(1..8, 1..=9, 1..300, [Distribution::Gaussian]);
        let result = runner().run(&strategy, |(a, b)| {
            assert_eq!((a.cols, a.values.len()), (b.cols, a.rows * a.cols));
            assert_eq!(b.values.len(), b.rows * b.cols);
            if test(&a, &b) { Ok(()) } else { Err(TestCaseError::fail("as planned")) }
        });
        let Err(TestError::Fail(_, (a, b))) = result else { panic!("no failure: {result:?}") };
        assert!(!test(&a, &b), "what is shown must fail: {a:?} {b:?}");
        (a, b)
    }

    #[test]
    fn operands_shrink_together() {
        // K has to be 56 or more, as for a kernel that leaves the rest of a block out.
        let (a, b) = smallest_operands(|a, _| a.cols < 56);
        assert_eq!((a.rows, b.rows, a.cols, b.cols), (1, 1, 56, 56));
        assert!(a.values.iter().chain(&b.values).all(|x| *x == 0.0), "{a:?} {b:?}");
        let (a, b) = smallest_operands(|a, b| a.rows < 3 || b.rows < 5);
        assert_eq!((a.rows, b.rows, a.cols), (3, 5, 1));
        // The product at k = 2, whatever is at others.
        let (a, b) = smallest_operands(|a, b| a.cols < 3 || a.values[2] * b.values[2] == 0.0);
        assert_eq!((a.rows, b.rows, a.cols), (1, 1, 3));
        for x in [&a, &b] {
            assert_eq!(x.values[..2], [0.0; 2], "{x:?}");
            assert_eq!(x.values[2].to_bits() & 0x7f_ffff, 0, "a power of two: {x:?}");
        }
    }

    #[test]
    fn operands_are_drawn_apart() {
        let (mut runner, finite) = (runner(), Distribution::finite(FormatId::F8E4M3));
        let strategy = operands(2, 2, 64, finite);
        let mut others = 0;
        for _ in 0..100 {
            let (a, b) = strategy.new_tree(&mut runner).unwrap().current();
            assert_ne!(a.seed, b.seed);
            others += usize::from(a.distribution != b.distribution);
        }
        assert!(others > 60, "{others}");
    }

    /// The three lines of the documentation, and a kernel that leaves out the last element.
    #[test]
    fn a_kernel_is_held_and_a_wrong_one_found() {
        let check = |used: fn(usize) -> usize| {
            let inputs = operands(1..8, 1..8, 1..100, Distribution::finite(FormatId::F8E4M3));
            let result = runner().run(&inputs, |(a, b)| {
                let dot = |x: &[f32], y: &[f32]| -> f32 {
                    x.iter().zip(y).take(used(x.len())).map(|(x, y)| x * y).sum()
                };
                let row = |x| b.values.chunks(b.cols).map(move |y| dot(x, y));
                let y: Vec<f32> = a.values.chunks(a.cols).flat_map(row).collect();
                let bounds = GemmBound::new(a.operand()?, b.operand()?, Sums::F32)?;
                bounds.check(&y)?;
                Ok(())
            });
            result.map_err(Box::new)
        };
        check(|k| k).unwrap();
        let wrong = check(|k| if k > 55 { k - 1 } else { k });
        let TestError::Fail(why, (a, b)) = *wrong.unwrap_err() else { panic!("aborted") };
        assert_eq!((a.rows, b.rows, a.cols), (1, 1, 56), "{a:?} {b:?}");
        assert!(why.message().starts_with("1 of 1 elements"), "{why}");
        let shown = format!("{a:?}");
        assert!(shown.contains("): [0.0; 55], ") && shown.len() < 120, "{shown}");
    }

    #[test]
    fn what_is_shown_is_short() {
        let strategy = tensor(4, 3, [Distribution::StudentT]);
        let mut x = strategy.new_tree(&mut runner()).unwrap().current();
        assert_eq!(x.values, x.distribution.matrix(x.drawn.0, x.drawn.1, x.seed));
        x.seed = 7;
        x.values = vec![0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, -0.0, 0.0, f32::NAN, f32::NAN, 1e-45];
        assert_eq!(
            format!("{x:?}"),
            "[4, 3] of student t (seed 7): rows 0 to 1: [0.0; 3]; row 2: 1.0, -0.0, 0.0; \
             row 3: [NaN; 2], 1e-45"
        );
        (x.rows, x.cols) = (1, 12);
        let text = format!("{x:?}");
        assert!(text.starts_with("[1, 12] of student t (seed 7, drawn as [4, 3]): [0.0; 6], 1.0"));
        (x.rows, x.cols) = (12, 1);
        assert_eq!(format!("{x:#?}").lines().nth(1), Some("    rows 0 to 5: 0.0;"));
        (x.rows, x.values) = (0, Vec::new());
        assert_eq!(format!("{x:?}"), "[0, 1] of student t (seed 7, drawn as [4, 3]): no elements");
        let large = tensor(64, 512, [Distribution::Gaussian]);
        let large = large.new_tree(&mut runner()).unwrap().current();
        let text = format!("{large:?}");
        assert!(text.ends_with("and 480 more; and 48 more rows"), "{text}");
    }
}
