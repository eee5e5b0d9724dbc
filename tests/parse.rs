//! Text → code against decimal expansions of the test's own: traps beside every tie.

#[path = "common/oracle.rs"]
mod oracle;

use core::cmp::Ordering;
use half::{bf16, f16};
use oracle::Oracle;
use quarter::*;

/// 0.d₁d₂... · 10^point, d₁ ≠ 0 and the last digit too; no digits for 0.
#[derive(Clone, Debug, PartialEq)]
struct Decimal {
    digits: Vec<u8>,
    point: i64,
}

impl Decimal {
    fn new(mut digits: Vec<u8>, mut point: i64) -> Self {
        let zeros = digits.iter().take_while(|d| **d == 0).count();
        digits.drain(..zeros);
        point -= zeros as i64;
        while digits.last() == Some(&0) {
            digits.pop();
        }
        Self { digits, point }
    }

    /// Exactly `x` ≥ 0, by doubling or halving its significand in decimal.
    fn of(x: f64) -> Self {
        let (mut integer, mut power) = (x, 0);
        while integer != integer.trunc() {
            integer *= 2.0;
            power -= 1;
        }
        while integer >= 2f64.powi(53) {
            integer /= 2.0;
            power += 1;
        }
        let mut digits: Vec<u8> = (integer as u64).to_string().bytes().map(|b| b - b'0').collect();
        let mut point = digits.len() as i64;
        for _ in 0..i32::abs(power) {
            // Times 2, or times 5 and a tenth.
            let factor = if power > 0 { 2 } else { 5 };
            let mut carry = 0;
            for digit in digits.iter_mut().rev() {
                carry += *digit * factor;
                *digit = carry % 10;
                carry /= 10;
            }
            digits.insert(0, carry);
            point += i64::from(power > 0);
        }
        Self::new(digits, point)
    }

    fn cmp(&self, other: &Self) -> Ordering {
        match (self.digits.is_empty(), other.digits.is_empty()) {
            (false, false) => {
                self.point.cmp(&other.point).then_with(|| self.digits.cmp(&other.digits))
            }
            (empty, other) => other.cmp(&empty),
        }
    }

    /// A little more: a digit 1 after `zeros` zeros.
    fn more(&self, zeros: usize) -> Self {
        let mut digits = self.digits.clone();
        digits.resize(digits.len() + zeros, 0);
        digits.push(1);
        Self { digits, point: self.point }
    }

    /// A little less: the last digit less one, and `nines` nines.
    fn less(&self, nines: usize) -> Self {
        let mut digits = self.digits.clone();
        *digits.last_mut().unwrap() -= 1;
        digits.resize(digits.len() + nines + 1, 9);
        Self::new(digits, self.point)
    }

    /// The value written in a few ways.
    fn texts(&self) -> Vec<String> {
        let digits: String = self.digits.iter().map(|d| char::from(d + b'0')).collect();
        let (first, rest) = digits.split_at(1);
        let point = self.point;
        let mut texts = vec![
            format!("{first}.{rest}e{}", point - 1),
            format!("+000{digits}.000E{}", point - digits.len() as i64),
            format!(".00{digits}0e{:+}", point + 2),
        ];
        if point <= 0 && point > -400 {
            texts.push(format!("0.{}{digits}", "0".repeat(point.unsigned_abs() as usize)));
        }
        texts
    }
}

fn assert_parses(spec: &FormatSpec, value: &Decimal, want: u64) {
    for text in value.texts() {
        let got = spec.parse_code(&text, Policy::NONFINITE).unwrap();
        assert_eq!(got, want, "{}: {text}", spec.name());
        let got = spec.parse_code(&format!("-{}", text.replace('+', "")), Policy::NONFINITE);
        let negative = if want == 0 && !spec.has_neg_zero() || spec.is_nan_code(want) {
            want
        } else {
            want | spec.sign_mask()
        };
        let got = got.unwrap();
        assert!(got == negative || spec.is_nan_code(got) && spec.is_nan_code(want), "-{text}");
    }
}

/// Ties, and a little to either side of them, for some codes.
fn ties(spec: &FormatSpec, codes: impl Iterator<Item = u64>) {
    for code in codes {
        let last = code == spec.max_code();
        let low = spec.decode_f64(code);
        let half = (low - if code > 0 { spec.decode_f64(code - 1) } else { 0.0 }) / 2.0;
        let half = if code == 0 || last { half } else { (spec.decode_f64(code + 1) - low) / 2.0 };
        let half = if code == 0 { spec.decode_f64(1) / 2.0 } else { half };
        let beyond = spec.inf_code().or(spec.nan_code()).unwrap_or(code);
        let high = if last { beyond } else { code + 1 };
        let tie = Decimal::of(low + half);
        assert_parses(spec, &tie, if code % 2 == 0 { code } else { high });
        for n in [20, 59, 1000] {
            assert_parses(spec, &tie.more(n), high);
            assert_parses(spec, &tie.less(n), code);
        }
        if code > 0 && !last {
            let value = Decimal::of(low);
            for (rounding, less, exact, more) in [
                (Rounding::TowardZero, code - 1, code, code),
                (Rounding::Down, code - 1, code, code),
                (Rounding::Up, code, code, code + 1),
            ] {
                let policy = Policy::SATURATE.rounding(rounding);
                let parse = |value: &Decimal| spec.parse_code(&value.texts()[0], policy);
                assert_eq!(parse(&value.less(70)), Ok(less), "{rounding:?} {value:?}");
                assert_eq!(parse(&value), Ok(exact), "{rounding:?} {value:?}");
                assert_eq!(parse(&value.more(70)), Ok(more), "{rounding:?} {value:?}");
            }
        }
    }
}

#[test]
fn ties_of_every_number_type() {
    macro_rules! check {
        ($(#[$doc:meta])* $type:ident $spec:ident $specials:ident) => {
            ties(&$type::SPEC, 0..=$type::SPEC.max_code());
        };
    }
    for_each_number!(check);
}

#[test]
fn ties_of_wide_formats() {
    for (spec, step) in [(&bf16::SPEC, 331), (&f16::SPEC, 331), (&f32::SPEC, 0x01ff_ffff)] {
        ties(spec, (0..=spec.max_code()).step_by(step));
        ties(spec, [1, 2, spec.min_normal_code() - 1, spec.max_code()].into_iter());
    }
    let custom = FormatSpec::custom("e8m22", 8, 22, 255, Specials::Ieee).unwrap();
    ties(&custom, (0..=custom.max_code()).step_by(0x00ff_ffff));
    let custom = FormatSpec::custom("e8m3", 8, 3, -127, Specials::None).unwrap();
    ties(&custom, (0..=custom.max_code()).step_by(97));
}

#[test]
fn random_decimals() {
    let mut state = 1u64;
    let mut random = move |n: u64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    macro_rules! check {
        ($(#[$doc:meta])* $type:ident $spec:ident $specials:ident) => {
            let oracle = Oracle::new::<$type>();
            for _ in 0..3000 {
                let length = [1, 3, 8, 20, 40, 900][random(6) as usize];
                let digits = (0..length).map(|_| random(10) as u8).collect();
                let value = Decimal::new(digits, random(14) as i64 - 7);
                if !value.digits.is_empty() {
                    let want = oracle.nearest(false, |t| value.cmp(&Decimal::of(t)));
                    assert_parses(&$type::SPEC, &value, want.into());
                }
            }
        };
    }
    for_each_number!(check);
}

#[test]
fn f64_agrees_with_core() {
    for text in ["0.1", "-1e-320", "1e400", "nan", "5e-324", "2.4e-324", "1.7976931348623159e308"] {
        let want = text.parse::<f64>().unwrap();
        assert_eq!(f64::SPEC.parse_code(text, Policy::NONFINITE), Ok(want.to_bits()), "{text}");
    }
    let up = Policy::NONFINITE.rounding(Rounding::Up);
    let parse = |text, policy| f64::from_bits(f64::SPEC.parse_code(text, policy).unwrap());
    assert_eq!(parse("0.1", up), 0.1); // 0.1 the f64 is above 0.1
    assert_eq!(parse("0.3", up), 0.3f64.next_up());
    assert_eq!(parse("1e999", up.rounding(Rounding::TowardZero)), f64::MAX);
    assert_eq!(parse("1e-999", up), f64::from_bits(1));
}

#[test]
fn names_zeros_and_scales() {
    assert!("inf".parse::<F8E4M3>().unwrap().is_nan(), "no infinity");
    assert_eq!("-Infinity".parse(), Ok(F8E5M2::NEG_INFINITY));
    assert_eq!("inf".parse(), Ok(F4E2M1::MAX));
    assert_eq!("nan".parse(), Ok(F4E2M1::ZERO));
    assert!("NaN".parse::<F8E5M2>().unwrap().is_nan());
    assert_eq!("-0.000e99".parse::<F8E4M3>().unwrap().to_bits(), 0x80);
    assert_eq!("-0".parse::<F8E4M3FNUZ>().unwrap().to_bits(), 0);
    assert_eq!("-1e-400".parse::<F8E4M3>().unwrap().to_bits(), 0x80);
    assert_eq!("1e400".parse(), Ok(F8E5M2::INFINITY));
    assert_eq!(F8E5M2::parse("1e400", Policy::SATURATE), Ok(F8E5M2::MAX));
    let inward = Policy::NONFINITE.rounding(Rounding::TowardZero);
    assert_eq!(F8E5M2::parse("1e400", inward), Ok(F8E5M2::MAX), "finite, so it never overflows");
    assert_eq!(F8E5M2::parse("inf", inward), Ok(F8E5M2::INFINITY));
    assert!("0".parse::<E8M0>().unwrap().is_nan());
    assert!("-1".parse::<E8M0>().unwrap().is_nan());
    assert!("inf".parse::<E8M0>().unwrap().is_nan());
    assert_eq!("1e-400".parse(), Ok(E8M0::MIN));
    assert_eq!("1.5".parse(), Ok(E8M0::from_f32(2.0)), "a tie to the even code");
    assert_eq!("1.499999999999999999999999".parse(), Ok(E8M0::ONE));
    assert_eq!("3.00000000000000000000000000001".parse(), Ok(E8M0::from_f32(4.0)));
    assert_eq!(
        bf16::parse("1.00390625000000000000001", Policy::NONFINITE).unwrap().to_bits(),
        0x3f81
    );
    let random = Policy::NONFINITE.rounding(Rounding::STOCHASTIC);
    assert_eq!(F8E4M3::parse("1", random), Err(Error::RandomMissing));
}

#[test]
fn hostile_texts() {
    let long = "9".repeat(100_000);
    let bad = [
        "", "+", "-", ".", "e", "e5", ".e5", "1e", "1e+", "1_000", "0x10", " 1", "1 ", "1.2.3",
        "--1", "infinit", "nanny", "é", "١", "1e٣", "\0", "1\u{0}", "𝟙",
    ];
    for text in bad {
        let error = text.parse::<F8E4M3>().unwrap_err();
        assert!(matches!(error, Error::Parse { .. }), "{text:?}");
        assert!(text.parse::<f64>().is_err());
    }
    let good = [
        "1e999999999999",
        "1e-999999999999",
        "1e99999999999999999999999999",
        "0e99999999999999999999",
        "-1e-99999999999999999999999999",
        "000000000000000000000000000001",
        "1.",
        ".5",
        "+.5E-0003",
        "+inf",
        "-nan",
        "INFINITY",
        &long,
        &format!("0.{long}"),
        &format!("1e-{long}"),
        &format!("0.{}1e100000", "0".repeat(99_999)),
    ];
    for text in good {
        let f64 = text.parse::<f64>().unwrap();
        let (x, scale) = (text.parse::<F8E4M3>().unwrap(), text.parse::<E8M0>());
        assert!(
            x == F8E4M3::from_f64(f64) || x.is_nan() && F8E4M3::from_f64(f64).is_nan(),
            "{text:.40}"
        );
        assert!(scale.is_ok());
    }
}
