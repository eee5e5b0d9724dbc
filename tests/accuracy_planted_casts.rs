//! Casters that are wrong on purpose: each is caught, and the message names its symptom. A right one
//! passes the same check.
#![cfg(feature = "std")]

mod common;

use common::planted::planted;
use quarter::accuracy::Distribution;
use quarter::accuracy::check::{Symptom, check_rounded, check_same_bits, check_stochastic};
use quarter::{
    F8E4M3, F8E5M2, Format, FormatId, NanPolicy, Policy, RandomStream, Rounding, Unpacked,
};

const E4M3: FormatId = FormatId::F8E4M3;

// ---------------------------------------------------------------- casters

/// Midpoints and their neighbours, subnormals, numbers around the largest, and specials.
fn sources() -> Vec<f64> {
    common::structured_f64(&common::exact::Exact::new(E4M3.spec()), &[12, 40])
}

fn code(policy: Policy, x: f64) -> u8 {
    Unpacked::from_f64(x).encode(E4M3.spec(), policy, 0).unwrap() as u8
}

#[track_caller]
fn caster(policy: Policy, wrong: impl Fn(f64) -> u8, symptom: &Symptom, words: &[&str]) {
    let x = sources();
    let codes = |kernel: &dyn Fn(f64) -> u8| x.iter().map(|x| kernel(*x)).collect::<Vec<u8>>();
    let (right, wrong) = (codes(&|x| code(policy, x)), codes(&wrong));
    let check = |codes: &Vec<u8>| check_rounded(E4M3.spec(), policy, &x, codes);
    planted(check(&right), check(&wrong), symptom, words);
}

#[test]
fn nan_that_is_lost_is_no_saturation() {
    let policy = Policy::NONFINITE;
    for value in [0x00, 0x7e] {
        let kernel = |x: f64| if x.is_nan() { value } else { code(policy, x) };
        caster(policy, kernel, &Symptom::NanLost, &["NaN is lost"]);
    }
    let kernel = |x: f64| if x.is_infinite() { 0 } else { code(policy, x) };
    caster(policy, kernel, &Symptom::InfLost, &["Inf becomes"]);
}

#[test]
fn largest_number_of_another_format() {
    let policy = Policy::SATURATE;
    let kernel = |x: f64| code(policy, x.clamp(-240.0, 240.0));
    caster(policy, kernel, &Symptom::OtherMax { max: 240.0 }, &["nothing is beyond 240"]);
    let (policy, max) = (Policy::NONFINITE, Symptom::OtherMax { max: 240.0 });
    let kernel = |x: f64| if x.abs() > 240.0 { 0x7f } else { code(policy, x) };
    caster(policy, kernel, &max, &["nothing is beyond 240"]);
}

#[test]
fn underflow_tested_before_rounding() {
    let policy = Policy::NONFINITE;
    let kernel = |x: f64| {
        let small = x.abs() < E4M3.spec().min_positive();
        code(policy, if small { 0.0_f64.copysign(x) } else { x })
    };
    let words = ["underflow tested before rounding", "0|0000|001"];
    caster(policy, kernel, &Symptom::UnderflowBeforeRounding, &words);
}

#[test]
fn roundings_of_other_kinds() {
    let policy = Policy::NONFINITE;
    let rounded = |rounding| move |x: f64| code(policy.rounding(rounding), x);
    let [up, down] = [Rounding::Up, Rounding::Down];
    let name = |rounding| Symptom::RoundedAs { rounding };
    caster(policy, rounded(up), &name(up), &["rounded as ru does"]);
    caster(policy, rounded(down), &name(down), &["rounded as rd does"]);
    let toward = policy.rounding(Rounding::TowardZero);
    let nearest = |x: f64| code(policy, x);
    caster(toward, nearest, &name(Rounding::NearestEven), &["rounded as rne does"]);
    let away = |x: f64| code(policy.rounding(if x < 0.0 { down } else { up }), x);
    caster(policy, away, &Symptom::AwayFromZero, &["away from zero"]);
    let ties_up = |x: f64| code(policy, if x == 0.0 || x.is_infinite() { x } else { x.next_up() });
    caster(policy, ties_up, &Symptom::TiesUp, &["ties up"]);
    let magnitude = |x: f64| code(policy, x) & if x.is_nan() { 0xff } else { 0x7f };
    caster(policy, magnitude, &Symptom::SignLost, &["sign of numbers"]);
    caster(policy, |x| code(policy, -x), &Symptom::SignFlipped, &["is turned"]);
    let fnuz = FormatId::F8E4M3FNUZ;
    let other = |x: f64| Unpacked::from_f64(x).encode(fnuz.spec(), policy, 0).unwrap() as u8;
    let symptom = Symptom::OtherFormat { format: fnuz.name() };
    caster(policy, other, &symptom, &["codes are those of"]);
}

/// The first bit that is cut off decides; those below it are lost.
#[test]
fn sticky_bits_lost() {
    let policy = Policy::NONFINITE;
    let kernel = |x: f64| {
        // E4M3's last place is 2^(e − 3), and 2^−9 below 2^−6.
        let e = ((x.to_bits() >> 52 & 0x7ff) as i32 - 1023).max(-6);
        let half = 2f64.powi(e - 4);
        code(policy, if x.is_finite() { (x / half).trunc() * half } else { x })
    };
    caster(policy, kernel, &Symptom::StickyLost, &["sticky bits"]);
}

#[test]
fn codes_that_are_none() {
    let (policy, x) = (Policy::NONFINITE, sources());
    let right: Vec<u16> = x.iter().map(|x| code(policy, *x).into()).collect();
    let wrong: Vec<u16> = right.iter().map(|code| code | 0x100).collect();
    let check = |codes: &Vec<u16>| check_rounded(E4M3.spec(), policy, &x, codes);
    let words = ["no code of e4m3", "0x1"];
    planted(check(&right), check(&wrong), &Symptom::NotACode, &words);
}

/// What is refused has no code: it is not counted as right.
#[test]
fn nan_that_is_refused_is_not_checked() {
    let policy = Policy::SATURATE.nan(NanPolicy::Error);
    let (e2m1, x) = (FormatId::F4E2M1.spec(), [1.0_f32, f32::NAN, 3.0]);
    let report = check_rounded(e2m1, policy, &x, &[2_u8, 7, 5]).unwrap();
    assert_eq!((report.count, report.without_bound), (2, 1));
    assert!(report.to_string().contains("1 without a bound"), "{report}");
    let violation = check_rounded(e2m1, policy, &x, &[2_u8, 7, 6]).unwrap_err();
    assert!(violation.to_string().contains("[2]"), "{violation}");
}

#[test]
fn codes_of_every_type_are_taken() {
    let x = [1.0_f32, -2.0];
    let codes = x.map(F8E4M3::from_f32);
    let (format, policy) = (E4M3.spec(), Policy::NONFINITE);
    assert!(check_rounded(format, policy, &x, &codes).is_ok());
    assert!(check_rounded(format, policy, &x, &codes.map(F8E4M3::to_bits)).is_ok());
    assert!(check_rounded(format, policy, &x, &codes[..]).is_ok());
    assert!(check_rounded(format, policy, &x, &[0x38, 0xc0]).is_ok());
    let violation = check_rounded(format, policy, &x, &x.map(F8E5M2::from_f32)).unwrap_err();
    assert!(violation.to_string().contains("numbers of e5m2"), "{violation}");
    // Bits to bits: codes, numbers, both.
    assert!(check_same_bits(&codes, &codes).is_ok());
    assert!(check_same_bits(&codes.map(F8E4M3::to_bits), &codes).is_ok());
    assert!(check_same_bits(&x, &codes).is_ok(), "the same numbers");
    let violation = check_same_bits(&codes, &[0x38_u8, 0xc1]).unwrap_err();
    assert!(violation.to_string().contains("1|1000|001"), "{violation}");
    let violation = check_same_bits(&[1_u8, 2], &[1_u8, 3]).unwrap_err();
    assert!(violation.to_string().contains("0b00000010"), "{violation}");
    quarter::assert_same_bits!(&[1_u16, 2], &[1_u16, 2]);
}

/// Either neighbour is right; what is neither has the right name.
#[test]
fn stochastic_casters_that_leave_the_neighbours() {
    for base in [Policy::NONFINITE, Policy::SATURATE] {
        let policy = base.rounding(Rounding::STOCHASTIC);
        let x = sources();
        let codes = |kernel: &dyn Fn(f64, u32) -> u8| -> Vec<u8> {
            x.iter().enumerate().map(|(i, x)| kernel(*x, common::STREAM.word(i as u64))).collect()
        };
        let cast = |policy: Policy, x: f64, word: u32| {
            Unpacked::from_f64(x).encode(E4M3.spec(), policy, word).unwrap() as u8
        };
        let right = codes(&|x, word| cast(policy, x, word));
        let check = |codes: &Vec<u8>| check_rounded(E4M3.spec(), policy, &x, codes);
        let case = |wrong: &dyn Fn(f64, u32) -> u8, symptom: &Symptom, word: &str| {
            planted(check(&right), check(&codes(wrong)), symptom, &[word]);
        };
        let flush = |x, word| {
            let code = cast(policy, x, word);
            if code & 0x7f < 8 { code & 0x80 } else { code }
        };
        case(&flush, &Symptom::Flushed, "flush");
        let zeros = |x, word| match cast(policy, x, word) {
            0x80 => 0,
            code => code,
        };
        case(&zeros, &Symptom::NegativeZero, "sign of zeros");
        let (other, symptom, word) = if base == Policy::NONFINITE {
            (Policy::SATURATE, Symptom::Saturates, "saturation where")
        } else {
            (Policy::NONFINITE, Symptom::NotSaturated, "saturation is expected")
        };
        let other = other.rounding(Rounding::STOCHASTIC);
        case(&|x, word| cast(other, x, word), &symptom, word);
        let moved = |x: f64, word| {
            let code = cast(policy, x, word);
            let exact = F8E4M3::from_bits(code).to_f64() == x && code & 0x7f < 0x7e;
            if exact && x != 0.0 { code + 1 } else { code }
        };
        case(&moved, &Symptom::ExactMoved, "numbers of the format are moved");
    }
}

// ---------------------------------------------------------------- stochastic rounding

const SR: Policy = Policy::SATURATE.rounding(Rounding::Stochastic { bits: 16 });

/// Numbers of several binades, none of them of E4M3.
fn between() -> Vec<f32> {
    let x = Distribution::Gaussian.matrix(1, 1024, 7);
    x.into_iter().filter(|x| F8E4M3::from_f32(*x).to_f32() != *x).collect()
}

fn runs(n: usize, kernel: impl Fn(f32, u32, usize, u32) -> F8E4M3) -> Vec<F8E4M3> {
    let x = between();
    let run = |step| {
        let stream = RandomStream { seed: 3, tensor: 0, step };
        x.iter().enumerate().map(move |(i, x)| (*x, stream.word(i as u64), i, step))
    };
    (0..n as u32).flat_map(run).map(|(x, word, i, run)| kernel(x, word, i, run)).collect()
}

fn drawn(x: f32, word: u32) -> F8E4M3 {
    F8E4M3::convert_stochastic(x, SR, word).unwrap()
}

#[track_caller]
fn draws(kernel: impl Fn(f32, u32, usize, u32) -> F8E4M3, symptom: &Symptom, words: &[&str]) {
    let x = between();
    let check = |codes: &Vec<F8E4M3>| check_stochastic(E4M3.spec(), SR, &x, codes);
    let right = check(&runs(300, |x, word, _, _| drawn(x, word)));
    planted(right, check(&runs(300, kernel)), symptom, words);
}

#[test]
fn stochastic_rounding_that_is_none() {
    let as_if = |rounding| {
        move |x: f32, _: u32, _: usize, _: u32| {
            F8E4M3::convert(x, Policy::SATURATE.rounding(rounding)).unwrap()
        }
    };
    draws(as_if(Rounding::TowardZero), &Symptom::NeverAway, &["always goes toward zero", "share"]);
    draws(as_if(Rounding::NearestEven), &Symptom::AlwaysNearest, &["to the nearest"]);
    // One run is enough for that.
    let x = between();
    let one = runs(1, as_if(Rounding::TowardZero));
    let violation = check_stochastic(E4M3.spec(), SR, &x, &one).unwrap_err();
    assert_eq!(violation.symptoms(), [Symptom::NeverAway], "{violation}");
}

#[test]
fn probabilities_that_are_wrong() {
    let inverted = |x: f32, word: u32, _: usize, _: u32| {
        let [lo, hi] = [0, u32::MAX].map(|word| drawn(x, word));
        if drawn(x, word) == lo { hi } else { lo }
    };
    draws(inverted, &Symptom::InvertedProbability, &["the other neighbour"]);
    let coin =
        |x, word: u32, _: usize, _: u32| drawn(x, if word >> 31 == 0 { 0 } else { u32::MAX });
    draws(coin, &Symptom::EvenOdds, &["equally likely"]);
    let bf16 = |x: f32, word, _: usize, _: u32| drawn(half::bf16::from_f32(x).to_f32(), word);
    draws(bf16, &Symptom::DoubleRounding { through: "bf16" }, &["bf16", "x bound"]);
    let three = |x, word: u32, _: usize, _: u32| drawn(x, word & 0xe000_0000);
    draws(three, &Symptom::FewRandomBits { bits: 3 }, &["those of 3"]);
}

#[test]
fn random_words_that_are_shared() {
    let same = |x, _: u32, _: usize, run: u32| drawn(x, common::STREAM.word(run.into()));
    draws(same, &Symptom::SharedWords { distance: 1 }, &["share random words"]);
    let pairs = |x, _: u32, i: usize, run: u32| {
        let stream = RandomStream { seed: 4, tensor: 0, step: run };
        drawn(x, stream.word(i as u64 % 32))
    };
    draws(pairs, &Symptom::SharedWords { distance: 32 }, &["32 apart"]);
    let again = |x, _: u32, i: usize, _: u32| drawn(x, common::STREAM.word(i as u64));
    draws(again, &Symptom::SameRuns, &["one run is as the other"]);
}

#[test]
fn what_is_no_stochastic_case() {
    let x = [1.0_f32, 1.1, 500.0];
    let refused = |policy, codes: &[u8]| {
        check_stochastic(E4M3.spec(), policy, &x, codes).unwrap_err().to_string()
    };
    assert!(refused(Policy::SATURATE, &[0; 3]).contains("rne is not stochastic"));
    assert!(refused(SR, &[0; 4]).contains("4 codes are not whole runs of 3"));
    let none: [u8; 0] = [];
    assert_eq!(check_stochastic(E4M3.spec(), SR, &x, &none).unwrap().count, 0);
    let report = check_stochastic(E4M3.spec(), SR, &x, &[0x38_u8, 0x39, 0x7e]).unwrap();
    assert_eq!((report.count, report.without_bound), (2, 1));
    // A number of the format moves.
    let violation = check_stochastic(E4M3.spec(), SR, &x, &[0x39_u8, 0x39, 0x7e]).unwrap_err();
    assert_eq!(violation.symptoms(), [Symptom::ExactMoved], "{violation}");
}

/// Right kernels of every mode and few bits are within the bounds.
#[test]
fn right_stochastic_rounding_passes() {
    let x = between();
    for rounding in common::ROUNDINGS.into_iter().filter(|rounding| rounding.is_stochastic()) {
        let policy = Policy::SATURATE.rounding(rounding);
        let codes = runs(40, |x, word, _, _| F8E4M3::convert_stochastic(x, policy, word).unwrap());
        let report = check_stochastic(E4M3.spec(), policy, &x, &codes).unwrap();
        assert_eq!(report.count, 40 * x.len());
        assert!(report.most_of_bound < 1.0, "{rounding}: {report}");
    }
}
