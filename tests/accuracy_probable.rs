//! What is probable, where draws are many: sums are within A6 and A7, and stochastic rounding goes
//! away from zero as often as it says.
#![cfg(feature = "std")]

mod common;

use common::exact::Exact;
use common::matrices::CAST_ROUNDINGS;
use common::{ROUNDINGS, formats, normal, share};
use quarter::accuracy::bounds::{
    away_probability, gamma, hoeffding, probability, probable_gamma, stochastic_gamma,
    unit_roundoff,
};
use quarter::tensor::{Cast, MatRef, QuantizeOptions, Scales, quantize};
use quarter::{FormatId, Isa, Policy, RandomStream, Rounding, Unpacked};
use std::sync::Mutex;

/// Sums in f32 of random numbers: within γₙ always, within γ̃ₙ(λ) as often as promised, and the second
/// is far smaller. Sums that are rounded stochastically to bf16 keep theirs, too.
#[test]
fn sums_keep_what_is_probable() {
    let (n, lambda, sums) = (4096, 5.0, share(400));
    let u = unit_roundoff(FormatId::F32.spec());
    let [sure, probable] = [gamma(n, u), probable_gamma(n, lambda, u)];
    assert!(probability(n, lambda, u) > 0.96 && probable < sure / 12.0);
    let bf16 = FormatId::Bf16.spec();
    let policy = Policy::NONFINITE.rounding(Rounding::STOCHASTIC);
    // Positive numbers, whose roundings all count, and few: bf16 has 8 bits.
    let few = 256;
    let stochastic = stochastic_gamma(few, lambda, unit_roundoff(bf16));
    let (mut most, mut most_stochastic) = (0.0_f64, 0.0_f64);
    for run in 0..sums as u64 {
        let stream = RandomStream { seed: run, tensor: 6, step: 0 };
        let x: Vec<f32> = (0..n as u64).map(|i| normal(&stream, i) as f32).collect();
        let exact: f64 = x.iter().map(|x| f64::from(*x)).sum();
        let size: f64 = x.iter().map(|x| f64::from(x.abs())).sum();
        let sum: f32 = x.iter().sum();
        most = most.max((f64::from(sum) - exact).abs() / size);
        if run < 40 {
            let words = RandomStream { step: 1, ..stream };
            let x: Vec<f64> = x.iter().take(few).map(|x| f64::from(x.abs())).collect();
            let add = |sum: f64, (i, x): (usize, &f64)| {
                let word = words.word(i as u64);
                let code = Unpacked::from_f64(sum + x).encode(bf16, policy, word);
                bf16.decode_f64(code.unwrap())
            };
            let sum = x.iter().enumerate().fold(0.0, add);
            let exact: f64 = x.iter().sum();
            most_stochastic = most_stochastic.max((sum - exact).abs() / exact);
        }
    }
    println!("f32: {:.4} of probable, {:.6} of sure", most / probable, most / sure);
    println!("bf16, stochastic: {:.4} of probable", most_stochastic / stochastic);
    assert!(most <= probable && most > probable / 1e3, "{most:e} {probable:e}");
    assert!(most_stochastic <= stochastic && most_stochastic > stochastic / 100.0, "{stochastic}");
}

/// Of N draws in each mode as many go away from zero as the fraction says, within Hoeffding's bound and
/// what the mode's random bits do not tell: of subnormal, ordinary and large numbers of every format, as
/// slices.
#[test]
fn stochastic_shares_keep_a7() {
    let alpha = 1e-9;
    let modes = ROUNDINGS.into_iter().filter(|rounding| rounding.is_stochastic());
    let modes: Vec<Rounding> = modes.collect();
    let formats: Vec<_> = formats().filter(|id| id.spec().has_zero()).collect();
    let n = share(1 << 16);
    let most = hoeffding(n as u64, alpha);
    assert!(share(16) == 1 || most < 0.013);
    let cases = Mutex::new(0);
    common::parallel(formats.len(), |i| {
        let spec = formats[i].spec();
        let finite = Exact::new(spec).finite().to_vec();
        for (part, fraction) in [(0, 0.3), (finite.len() / 2, 0.55), (finite.len() - 2, 0.011)] {
            let (low, high) = (finite[part], finite[part + 1]);
            let x = -(low + (high - low) * fraction);
            let (lo, hi, p) = away_probability(spec, x).unwrap();
            assert_eq!((lo, hi), (low, high), "{} {x:e}", spec.name());
            let copies = vec![x; n];
            for rounding in &modes {
                let policy = Policy::SATURATE.rounding(*rounding);
                let options = common::options(policy, Isa::best());
                let codes = common::encode_slice(spec, &copies, &options);
                let sizes = codes.into_iter().map(|code| spec.decode_f64(code).abs());
                share_is(sizes, (lo, hi, p), most + not_told(*rounding), || {
                    format!("{} {rounding:?} {x:e}", spec.name())
                });
                *cases.lock().unwrap() += 1;
            }
        }
    });
    assert_eq!(cases.into_inner().unwrap(), formats.len() * modes.len() * 3);
}

/// How far from its fraction the probability of a mode may be.
fn not_told(rounding: Rounding) -> f64 {
    let bits = i32::from(rounding.random_bits());
    2f64.powi(if matches!(rounding, Rounding::Stochastic { .. }) { -bits } else { -bits - 1 })
}

/// The share of the larger of two sizes.
#[track_caller]
fn share_is(
    sizes: impl ExactSizeIterator<Item = f64>,
    (lo, hi, p): (f64, f64, f64),
    most: f64,
    what: impl Fn() -> String,
) {
    let n = sizes.len() as f64;
    let away = sizes.filter(|size| {
        assert!(*size == lo || *size == hi, "{}: became {size:e}", what());
        *size == hi
    });
    let share = away.count() as f64 / n;
    assert!((share - p).abs() <= most, "{}: {share}, not {p}", what());
}

/// The same of a cast whose scale, 448 / 0.9, is no power of two.
#[test]
fn shares_of_a_cast_keep_a7() {
    let n = share(1 << 16);
    let most = hoeffding(n as u64, 1e-9);
    let e4m3 = FormatId::F8E4M3.spec();
    for rounding in CAST_ROUNDINGS.into_iter().filter(|rounding| rounding.is_stochastic()) {
        let cast: Cast = "e4m3:tensor:te-current".parse().unwrap();
        let mut x = vec![0.31_f32; n + 1];
        x[0] = -0.9;
        let options = QuantizeOptions::new().random(common::STREAM);
        let q = quantize(MatRef::new(&x, 1, n + 1).unwrap(), &cast.rounding(rounding), &options);
        let q = q.unwrap();
        let Scales::F32 { scale: Some(scale), .. } = q.scales() else { panic!("{:?}", q.scales()) };
        assert!(scale[0].to_bits() & 0x7f_ffff != 0, "{scale:?} is a power of two");
        let between = away_probability(e4m3, f64::from(0.31 * scale[0])).unwrap();
        let sizes = q.codes()[1..].iter().map(|code| e4m3.decode_f64((*code).into()));
        share_is(sizes, between, most + not_told(rounding), || format!("{rounding:?}"));
    }
}
