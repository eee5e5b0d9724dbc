//! Casters and quantizers that are wrong on purpose: each is caught, and the message names its
//! symptom. A right one passes the same check.
#![cfg(feature = "std")]

mod common;

use common::planted::planted;
use quarter::accuracy::Distribution;
use quarter::accuracy::check::{
    Symptom, check_quantized, check_quantized_with, check_rounded, check_same_bits,
    check_stochastic,
};
use quarter::tensor::{Cast, MatRef, QuantizeOptions, Quantized, QuantizedView, Scales, quantize};
use quarter::{
    Error, F4E2M1, F8E4M3, F8E5M2, Format, FormatId, Granularity, NanPolicy, Policy, RandomStream,
    Rounding, Rule, Unpacked,
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

// ---------------------------------------------------------------- quantizers: scales

const SHAPE: (usize, usize) = (8, 512);
const BLOCK: usize = 128;

/// Rows and blocks of different sizes, of both signs, and not the same in both halves of a block; some are small.
fn uneven() -> Vec<f32> {
    let size = |i: usize| {
        3f32.powi((i / SHAPE.1 % 5) as i32 - 2) * 7f32.powi((i % SHAPE.1 / BLOCK) as i32 - 1)
    };
    let x = Distribution::Gaussian.matrix(SHAPE.0, SHAPE.1, 3);
    let small = |i: usize| if i % 16 == 5 { 2f32.powi(-14) } else { 1.0 };
    x.into_iter().enumerate().map(|(i, x)| x * size(i) * small(i)).collect()
}

fn matrix(x: &[f32]) -> MatRef<'_> {
    MatRef::new(x, SHAPE.0, SHAPE.1).unwrap()
}

fn amax(block: &[f32]) -> f32 {
    block.iter().fold(0.0, |amax, x| amax.max(x.abs()))
}

fn saturated(x: f32) -> u8 {
    F8E4M3::from_f32_sat(x).to_bits()
}

/// A quantizer of one's own for `e4m3:1x128:te-block-f32`: scales of blocks, codes of scaled numbers.
fn blocks(scale: impl Fn(&[f32]) -> f32, encode: impl Fn(f32) -> u8) -> (Vec<u8>, Scales) {
    let (mut codes, mut scales, mut scale_inv) = (Vec::new(), Vec::new(), Vec::new());
    for block in uneven().chunks(BLOCK) {
        let scale = scale(block);
        scales.push(scale);
        scale_inv.push(1.0 / scale);
        codes.extend(block.iter().map(|x| encode(x * scale)));
    }
    (codes, Scales::F32 { scale: Some(scales), scale_inv })
}

const F32S: &str = "e4m3:1x128:te-block-f32";

#[track_caller]
fn quantizer(
    cast: &str,
    right: &(Vec<u8>, Scales),
    wrong: &(Vec<u8>, Scales),
    symptom: &Symptom,
    words: &[&str],
) {
    let (x, cast) = (uneven(), cast.parse::<Cast>().unwrap());
    let check = |(codes, scales): &(Vec<u8>, Scales)| {
        let view = QuantizedView::new(cast.format, SHAPE, cast.granularity, codes, scales);
        check_quantized(matrix(&x), &cast, view.unwrap())
    };
    planted(check(right), check(wrong), symptom, words);
}

#[track_caller]
fn scales_of_blocks(scale: impl Fn(&[f32]) -> f32, symptom: &Symptom, words: &[&str]) {
    let right = blocks(|block| 448.0 / amax(block), saturated);
    let words = [words, &["scales (scale_inv", "all codes are right for these scales"]].concat();
    quantizer(F32S, &right, &blocks(scale, saturated), symptom, &words);
}

#[test]
fn amax_that_does_not_see_everything() {
    let part = |part| Symptom::AmaxOfPart { part };
    let half = part("the first half of its columns");
    scales_of_blocks(|block| 448.0 / amax(&block[..64]), &half, &["first half"]);
    let even = part("every other element");
    let every = |block: &[f32]| block.iter().step_by(2).copied().collect::<Vec<_>>();
    scales_of_blocks(|block| 448.0 / amax(&every(block)), &even, &["every other"]);
    let signed = |block: &[f32]| 448.0 / block.iter().fold(0.0_f32, |amax, x| amax.max(*x));
    scales_of_blocks(signed, &Symptom::AmaxSigned, &["abs is missing"]);
}

#[test]
fn scales_off_by_a_factor() {
    let times = |factor: f32| move |block: &[f32]| 448.0 * factor / amax(block);
    let symptom = Symptom::PowerOfTwo { power: 3 };
    scales_of_blocks(times(0.125), &symptom, &["2^3"]);
    let symptom = Symptom::PowerOfTwo { power: 9 };
    scales_of_blocks(times(1.0 / 512.0), &symptom, &["2^9", "= (0, 0)"]);
    let symptom = Symptom::ScaleMax { max: 240.0 };
    scales_of_blocks(|block| 240.0 / amax(block), &symptom, &["largest number of 240"]);
    let right = blocks(|block| 448.0 / amax(block), saturated);
    let wrong = blocks(times(1000.0), saturated);
    let x = uneven();
    let view = |(codes, scales): &'static (Vec<u8>, Scales)| {
        QuantizedView::new(E4M3, SHAPE, Granularity::BLOCK_1X128, codes, scales).unwrap()
    };
    let keep =
        |parts: (Vec<u8>, Scales)| -> &'static (Vec<u8>, Scales) { Box::leak(Box::new(parts)) };
    let cast = F32S.parse().unwrap();
    assert!(check_quantized(matrix(&x), &cast, view(keep(right))).is_ok());
    let violation = check_quantized(matrix(&x), &cast, view(keep(wrong))).unwrap_err();
    match violation.symptoms() {
        [Symptom::Factor { factor }] => assert!((factor * 1000.0 - 1.0).abs() < 1e-5, "{factor}"),
        other => panic!("{other:?}\n{violation}"),
    }
}

/// Right scales in wrong places, and with right codes.
fn moved(name: &str, place: impl Fn(&Vec<f32>, usize) -> f32, symptom: &Symptom, words: &[&str]) {
    let right = blocks(|block| 448.0 / amax(block), saturated);
    let Scales::F32 { scale: Some(scale), scale_inv } = &right.1 else { panic!("f32 scales") };
    let all = |of: &Vec<f32>| (0..of.len()).map(|i| place(of, i)).collect::<Vec<f32>>();
    let scales = Scales::F32 { scale: Some(all(scale)), scale_inv: all(scale_inv) };
    println!("{name}");
    quantizer(F32S, &right, &(right.0.clone(), scales), symptom, words);
}

#[test]
fn scales_in_wrong_places() {
    let next = |of: &Vec<f32>, i: usize| of[(i + 1) % of.len()];
    let symptom = Symptom::ScaleOfNeighbour { offset: 1 };
    moved("the next block's", next, &symptom, &["the one +1 from its own", "not right for these"]);
    let turned = |of: &Vec<f32>, i: usize| of[i % 4 * 8 + i / 4];
    let symptom = Symptom::SwappedAxis { operand: "the tensor" };
    moved("column after column", turned, &symptom, &["swapped scale axis"]);
    let row = |_: &Vec<f32>, i: usize| 448.0 / amax(&uneven()[i / 4 * 512..][..512]);
    let right = blocks(|block| 448.0 / amax(block), saturated);
    let rows: Vec<f32> = (0..32).map(|i| row(&Vec::new(), i)).collect();
    let scale_inv = rows.iter().map(|scale| 1.0 / scale).collect();
    let wrong = (right.0.clone(), Scales::F32 { scale: Some(rows), scale_inv });
    let symptom = Symptom::ScaleGranularity { granularity: Granularity::Row };
    quantizer(F32S, &right, &wrong, &symptom, &["those of granularity row"]);
}

#[test]
fn scale_stored_in_the_other_direction() {
    let right = blocks(|block| 448.0 / amax(block), saturated);
    let Scales::F32 { scale: Some(scale), scale_inv } = right.1.clone() else {
        panic!("f32 scales")
    };
    let turned = Scales::F32 { scale: Some(scale_inv.clone()), scale_inv: scale.clone() };
    let symptom = Symptom::ScaleReciprocal;
    quantizer(F32S, &right, &(right.0.clone(), turned), &symptom, &["reciprocal of the scale"]);
    let twice = Scales::F32 { scale: Some(scale_inv.clone()), scale_inv };
    let words = ["factor on the way in", "reciprocal"];
    quantizer(F32S, &right, &(right.0.clone(), twice), &symptom, &words);
}

/// E8M0 scales and codes that go with them.
fn mx(rule: Rule, by: i32) -> (Vec<u8>, Scales) {
    let cast = Cast::new(E4M3, Granularity::BLOCK_1X32, rule);
    let x = uneven();
    let q = quantize(matrix(&x), &cast, &QuantizeOptions::new()).unwrap();
    let Scales::E8M0(bytes) = q.scales() else { panic!("E8M0 scales") };
    let bytes: Vec<u8> = bytes.iter().map(|byte| (i32::from(*byte) + by) as u8).collect();
    let scale = |i: usize| 2f32.powi(127 - i32::from(bytes[i / 32]));
    let codes = x.iter().enumerate().map(|(i, x)| saturated(x * scale(i))).collect();
    (codes, Scales::E8M0(bytes))
}

#[test]
fn scales_of_another_rule() {
    let rule = |rule| Symptom::ScaleRule { rule };
    let [floor, ceil] = [Rule::OcpFloor, Rule::OcpCeil];
    let words = ["those of ocp-floor", "|01", "code 0x"];
    quantizer("e4m3:1x32:ocp-ceil", &mx(ceil, 0), &mx(floor, 0), &rule(floor), &words[..1]);
    let words = ["those of ocp-ceil"];
    quantizer("e4m3:1x32:ocp-floor", &mx(floor, 0), &mx(ceil, 0), &rule(ceil), &words);
    let words = ["those of ocp-ceil"];
    quantizer("e4m3:1x32:te-mx", &mx(Rule::TeMx, 0), &mx(ceil, 0), &rule(ceil), &words);
    let right = blocks(|block| 448.0 / amax(block), saturated);
    let power = |block: &[f32]| f32::from_bits((448.0 / amax(block)).to_bits() & 0x7f80_0000);
    let wrong = blocks(power, saturated);
    quantizer(F32S, &right, &wrong, &rule(Rule::TeCurrentPow2), &["te-current-pow2"]);
    let inverse = |(codes, scales): &(Vec<u8>, Scales)| {
        let Scales::F32 { scale_inv, .. } = scales else { panic!("f32 scales") };
        (codes.clone(), Scales::F32 { scale: None, scale_inv: scale_inv.clone() })
    };
    quantizer(
        F32S,
        &inverse(&right),
        &inverse(&wrong),
        &rule(Rule::TeCurrentPow2),
        &["te-current"],
    );
}

#[test]
fn mx_scales_off_by_a_power_of_two() {
    for power in [-2, -1, 1, 3] {
        let (right, wrong) = (mx(Rule::TeMx, 0), mx(Rule::TeMx, power));
        let word = format!("2^{power}");
        let symptom = Symptom::PowerOfTwo { power };
        quantizer("e4m3:1x32:te-mx", &right, &wrong, &symptom, &[&word, "code 0x"]);
    }
}

/// 448 / 0 in a block of zeros.
#[test]
fn scale_of_a_block_of_zeros() {
    let mut x = uneven();
    x[128..256].fill(0.0);
    let cast: Cast = F32S.parse().unwrap();
    let q = quantize(matrix(&x), &cast, &QuantizeOptions::new()).unwrap();
    let Scales::F32 { scale: Some(mut scale), mut scale_inv } = q.scales().clone() else {
        panic!("f32 scales")
    };
    (scale[1], scale_inv[1]) = (f32::INFINITY, 0.0);
    let wrong = Scales::F32 { scale: Some(scale), scale_inv };
    let wrong = QuantizedView::new(E4M3, SHAPE, cast.granularity, q.codes(), &wrong).unwrap();
    let [right, wrong] = [q.view(), wrong].map(|view| check_quantized(matrix(&x), &cast, view));
    planted(right, wrong, &Symptom::ScaleOfZeros, &["groups of zeros", "[1] = (0, 1)"]);
}

/// NVFP4's factor of the tensor.
#[test]
fn factor_of_the_tensor() {
    let (x, cast) = (uneven(), "e2m1:1x16:nvfp4".parse::<Cast>().unwrap());
    let q = quantize(matrix(&x), &cast, &QuantizeOptions::new()).unwrap();
    let Scales::E4M3 { scale_inv, global_scale_inv } = q.scales().clone() else {
        panic!("E4M3 scales")
    };
    let check = |scales: &Scales| {
        let view = QuantizedView::new(cast.format, SHAPE, cast.granularity, q.codes(), scales);
        check_quantized(matrix(&x), &cast, view.unwrap())
    };
    let with = |global_scale_inv| Scales::E4M3 { scale_inv: scale_inv.clone(), global_scale_inv };
    let wrong = check(&with(1.0 / global_scale_inv));
    planted(check(q.scales()), wrong, &Symptom::ScaleReciprocal, &["factors of the tensor"]);
    let wrong = check(&with(global_scale_inv * 448.0));
    let symptom = Symptom::ScaleMax { max: 6.0 };
    planted(check(q.scales()), wrong, &symptom, &["largest number of 6"]);
    // Block scales one code too large.
    let larger = scale_inv.iter().map(|code| code + 8).collect();
    let wrong = check(&Scales::E4M3 { scale_inv: larger, global_scale_inv });
    let symptom = Symptom::PowerOfTwo { power: 1 };
    planted(check(q.scales()), wrong, &symptom, &["off by 2^1", "0|"]);
}

// ---------------------------------------------------------------- quantizers: codes

#[track_caller]
fn codes_of_blocks(encode: impl Fn(f32) -> u8, symptom: &Symptom, words: &[&str]) {
    let scale = |block: &[f32]| 448.0 / amax(block);
    let words = [words, &["scale_inv", "of group (", "values "]].concat();
    quantizer(F32S, &blocks(scale, saturated), &blocks(scale, encode), symptom, &words);
}

#[test]
fn codes_that_are_rounded_wrongly() {
    let as_if = |rounding| {
        move |x: f32| F8E4M3::convert(x, Policy::SATURATE.rounding(rounding)).unwrap().to_bits()
    };
    codes_of_blocks(as_if(Rounding::TowardZero), &Symptom::Truncation, &["truncation"]);
    codes_of_blocks(as_if(Rounding::Up), &Symptom::RoundedAs { rounding: Rounding::Up }, &["ru"]);
    let bf16 = |x: f32| saturated(half::bf16::from_f32(x).to_f32());
    let symptom = Symptom::DoubleRounding { through: "bf16" };
    codes_of_blocks(bf16, &symptom, &["double rounding"]);
    let flush = |x: f32| {
        let code = saturated(x);
        if code & 0x7f < 8 { code & 0x80 } else { code }
    };
    codes_of_blocks(flush, &Symptom::Flushed, &["flush", "|0000|000"]);
    let positive = |x: f32| match saturated(x) {
        0x80 => 0,
        code => code,
    };
    codes_of_blocks(positive, &Symptom::NegativeZero, &["sign of zeros"]);
    codes_of_blocks(|x| saturated(x.abs()), &Symptom::SignLost, &["sign of numbers"]);
}

/// Ties are rare but where scales are powers of two.
#[test]
fn ties_of_scaled_numbers() {
    let x: Vec<f32> = uneven().iter().map(|x| half::bf16::from_f32(*x).to_f32()).collect();
    let cast: Cast = "e4m3:1x32:te-mx".parse().unwrap();
    let q = quantize(matrix(&x), &cast, &QuantizeOptions::new()).unwrap();
    let away = Policy::SATURATE.rounding(Rounding::NearestAway);
    let inv = |i: usize| q.view().scale_inv(i / SHAPE.1, i % SHAPE.1);
    let code = |(i, x): (usize, &f32)| F8E4M3::convert(x / inv(i), away).unwrap().to_bits();
    let codes: Vec<u8> = x.iter().enumerate().map(code).collect();
    let wrong = QuantizedView::new(E4M3, SHAPE, cast.granularity, &codes, q.scales()).unwrap();
    let [right, wrong] = [q.view(), wrong].map(|view| check_quantized(matrix(&x), &cast, view));
    planted(right, wrong, &Symptom::TiesAway, &["ties away", "group ("]);
}

/// Codes under scales of other groups, or the wrong way round; scales themselves are right.
#[test]
fn codes_under_wrong_scales() {
    let (x, cast) = (uneven(), F32S.parse::<Cast>().unwrap());
    let right = blocks(|block| 448.0 / amax(block), saturated);
    let Scales::F32 { scale: Some(scale), scale_inv } = &right.1 else { panic!("f32 scales") };
    let case = |y: &dyn Fn(usize, f32) -> f32, symptom: &Symptom, word: &str| {
        let code = |(i, x): (usize, &f32)| saturated(y(i / BLOCK, *x));
        let codes = x.iter().enumerate().map(code).collect();
        quantizer(F32S, &right, &(codes, right.1.clone()), symptom, &[word, "of group ("]);
    };
    assert_eq!(cast.rule, Rule::TeBlockF32);
    let operand = "the tensor";
    case(&|_, x| x, &Symptom::ScaleMissing { operand }, "not applied");
    case(&|i, x| x * scale_inv[i], &Symptom::ScaleInverse { operand }, "wrong direction");
    let next = |i: usize, x| x * scale[(i + 1) % 32];
    case(&next, &Symptom::ScaleOfNeighbour { offset: 1 }, "+1 from its own");
    let turned = |i: usize, x| x * scale[i % 4 * 8 + i / 4];
    case(&turned, &Symptom::SwappedAxis { operand }, "swapped scale axis");
}

/// DeepSeek's kernel divides; a reciprocal is not the same.
#[test]
fn division_that_is_a_product() {
    let (cast, x) = ("e4m3:1x128:deepseek".parse::<Cast>().unwrap(), uneven());
    let q = quantize(matrix(&x), &cast, &QuantizeOptions::new()).unwrap();
    let inv = |i: usize| q.view().scale_inv(i / SHAPE.1, i % SHAPE.1);
    // Midpoints, which either operation reaches from one side or the other.
    let x: Vec<f32> = (0..x.len())
        .map(|i| {
            if i % 128 == 0 {
                amax(&x[i..i + 128])
            } else {
                (1.0 + (2 * (i % 8) + 1) as f32 / 16.0) * inv(i)
            }
        })
        .collect();
    let q = quantize(matrix(&x), &cast, &QuantizeOptions::new()).unwrap();
    let inv = |i: usize| q.view().scale_inv(i / SHAPE.1, i % SHAPE.1);
    let code = |(i, x): (usize, &f32)| saturated(x * (1.0 / inv(i)));
    let codes: Vec<u8> = x.iter().enumerate().map(code).collect();
    let wrong = QuantizedView::new(E4M3, SHAPE, cast.granularity, &codes, q.scales()).unwrap();
    let [right, wrong] = [q.view(), wrong].map(|view| check_quantized(matrix(&x), &cast, view));
    planted(right, wrong, &Symptom::OtherOperation, &["divided", "scaled"]);
}

#[test]
fn nibbles_in_the_wrong_order() {
    let (x, cast) = (uneven(), "e2m1:1x32:ocp-rceil".parse::<Cast>().unwrap());
    let mut q = quantize(matrix(&x), &cast, &QuantizeOptions::new()).unwrap();
    q.pack().unwrap();
    let swapped: Vec<u8> = q.codes().iter().map(|byte| byte.rotate_left(4)).collect();
    let scales = q.scales().clone();
    let packed = Quantized::from_packed(cast.format, SHAPE, cast.granularity, &swapped, scales);
    let check = |q: &Quantized| check_quantized(matrix(&x), &cast, q.view());
    let words = ["each packed byte", "0|", "group ("];
    planted(check(&q), check(&packed.unwrap()), &Symptom::NibblesSwapped, &words);
    assert_eq!(F4E2M1::BITS, 4);
}

/// −0 where the engine has +0.
#[test]
fn negative_zero_that_is_kept() {
    let (mut x, cast) = (uneven(), "e2m1:1x16:nvfp4".parse::<Cast>().unwrap());
    x.iter_mut().step_by(7).for_each(|x| *x = -0.0);
    let q = quantize(matrix(&x), &cast, &QuantizeOptions::new()).unwrap();
    let codes: Vec<u8> = q
        .codes()
        .iter()
        .zip(&x)
        .map(|(code, x)| if *code == 0 && x.is_sign_negative() { 8 } else { *code })
        .collect();
    let wrong =
        QuantizedView::new(cast.format, SHAPE, cast.granularity, &codes, q.scales()).unwrap();
    let [right, wrong] = [q.view(), wrong].map(|view| check_quantized(matrix(&x), &cast, view));
    planted(right, wrong, &Symptom::KeepsNegativeZero, &["-0 where", "1|00|0"]);
}

#[test]
fn stochastic_quantizers() {
    let (x, cast) = (uneven(), format!("{F32S}:stochastic").parse::<Cast>().unwrap());
    let options = QuantizeOptions::new().random(common::STREAM);
    let q = quantize(matrix(&x), &cast, &options).unwrap();
    let codes: Vec<u8> =
        q.codes().iter().map(|code| if code & 0x7f < 8 { code & 0x80 } else { *code }).collect();
    let wrong = QuantizedView::new(E4M3, SHAPE, cast.granularity, &codes, q.scales()).unwrap();
    let [right, wrong] = [q.view(), wrong].map(|view| check_quantized(matrix(&x), &cast, view));
    planted(right, wrong, &Symptom::Flushed, &["flush"]);
}

// ---------------------------------------------------------------- what passes, and what is refused

/// Every rule, over sources that hurt.
#[test]
fn own_quantizers_pass() -> Result<(), Error> {
    let rules = Rule::ALL.iter().map(|rule| match rule {
        Rule::Nvfp4 => "e2m1:1x16:nvfp4".to_string(),
        rule => format!("e4m3:1x32:{rule}"),
    });
    let casts = ["e5m2:tensor:te-current", "e2m1:1x32:ocp-even", "e3m2:128x128:te-mx"];
    for cast in rules.chain(casts.map(String::from)) {
        let cast: Cast = cast.parse()?;
        for rounding in [Rounding::NearestEven, Rounding::STOCHASTIC, Rounding::TowardZero] {
            let cast = cast.rounding(rounding);
            for (i, distribution) in Distribution::all(cast.format).into_iter().enumerate() {
                let x = distribution.matrix(6, 80, i as u64);
                let x = MatRef::new(&x, 6, 80)?;
                let q = quantize(x, &cast, &QuantizeOptions::new().random(common::STREAM))?;
                let report = quarter::assert_quantized!(x, &cast, q.view());
                assert_eq!(report.count, 480);
            }
        }
    }
    Ok(())
}

/// Delayed scaling: the scale is another step's.
#[test]
fn given_scales_are_held_to() -> Result<(), Error> {
    let (x, cast) = (uneven(), "e4m3:tensor:te-delayed".parse::<Cast>()?);
    let scales = Scales::from_scale(3.0);
    let options = QuantizeOptions::new().scales(&scales);
    let q = quantize(matrix(&x), &cast, &options)?;
    assert!(check_quantized_with(matrix(&x), &cast, &options, q.view()).is_ok());
    assert!(check_quantized(matrix(&x), &cast, q.view()).is_err());
    Ok(())
}

#[test]
fn what_cannot_be_compared_is_refused() -> Result<(), Error> {
    let (x, cast) = (uneven(), F32S.parse::<Cast>()?);
    let q = quantize(matrix(&x), &cast, &QuantizeOptions::new())?;
    let why = |x, cast: &str, view| {
        let violation = check_quantized(x, &cast.parse().unwrap(), view).unwrap_err();
        assert!(violation.to_string().starts_with("nothing was checked: "), "{violation}");
        violation.to_string()
    };
    let turned = matrix(&x).transposed();
    assert!(why(turned, F32S, q.view()).contains("8 x 512, the source is 512 x 8"));
    assert!(why(matrix(&x), "e5m2:1x128:te-block", q.view()).contains("codes are e4m3"));
    assert!(why(matrix(&x), "e4m3:row:te-block", q.view()).contains("scales are of 1x128"));
    let part = q.view().slice_rows(4, 8)?;
    let rows = MatRef::new(&x[4 * 512..], 4, 512)?;
    assert!(why(rows, F32S, part).contains("some rows of a matrix"));
    let plain = Quantized::from_parts(
        FormatId::F4E2M1,
        SHAPE,
        Granularity::BLOCK_1X16,
        vec![0; 8 * 512],
        Scales::F32 { scale: None, scale_inv: vec![1.0; 8 * 32] },
    )?;
    assert!(why(matrix(&x), "e2m1:1x16:nvfp4", plain.view()).contains("but as E4M3 by nvfp4"));
    // No elements.
    let none = MatRef::new(&[0.0_f32; 0], 0, 128)?;
    let q = quantize(none, &cast, &QuantizeOptions::new())?;
    assert_eq!(check_quantized(none, &cast, q.view()).unwrap().count, 0);
    Ok(())
}
