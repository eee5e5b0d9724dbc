//! Quantizers that are wrong on purpose: each is caught, and the message names its symptom. A right one
//! passes the same check.
#![cfg(feature = "std")]

mod common;

use common::planted::planted;
use quarter::accuracy::Distribution;
use quarter::accuracy::check::{Symptom, check_quantized, check_quantized_with};
use quarter::tensor::{Cast, MatRef, QuantizeOptions, Quantized, QuantizedView, Scales, quantize};
use quarter::{Error, F8E4M3, Format, FormatId, Granularity, Policy, Rounding, Rule};

const E4M3: FormatId = FormatId::F8E4M3;

// ---------------------------------------------------------------- scales

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

// ---------------------------------------------------------------- codes

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
