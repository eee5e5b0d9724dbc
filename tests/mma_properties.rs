//! What matrix units must be, whatever their parameters: each law holds for every unit that it names.

mod common;

use common::units::{Case, Spread, case, cases, pairs, same, value};
use half::f16;
use proptest::prelude::*;
use quarter::mma::{CDNA3_16BIT, Fused, Output, Rule, TF32, UNITS, Unit};
use quarter::{Error, FormatId, FormatSpec, RandomStream};

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn is_fused(unit: &Unit) -> bool {
    matches!(unit.rule(), Rule::Fused(_))
}

/// The negative of a number that a code has; zero's and NaN's own code where there is no −0.
fn negative(spec: &FormatSpec, code: u32) -> u32 {
    let flips = spec.has_neg_zero() || u64::from(code) & spec.magnitude_mask() != 0;
    if flips { code ^ spec.sign_mask() as u32 } else { code }
}

proptest! {
    #![proptest_config(config(4096))]

    #[test]
    fn factors_commute(case in cases(0..100, |_| true)) {
        let [a, b] = case.specs;
        let swapped = Case { specs: [b, a], a: case.b.clone(), b: case.a.clone(), ..case.clone() };
        prop_assert_eq!(case.dot(), swapped.dot());
    }

    /// Σ aₖ · bₖ of e4m3 in units of 2^−60 fits an i128, whose conversion to f32 is rounded once.
    #[test]
    fn exact_is_the_rounded_sum_of_integers(
        codes in proptest::collection::vec((0_u32..256, 0_u32..256), 0..200),
        c in any::<u32>(),
        near in any::<bool>(),
    ) {
        // Exponents −31 to 32, or any.
        let field = if c & 0x100 == 0 { 0x3000_0000 } else { 0x4000_0000 };
        let c = if near { c & 0x8fff_ffff | field } else { c };
        let spec = FormatId::F8E4M3.spec();
        let (a, b): (Vec<u32>, Vec<u32>) = codes.into_iter().unzip();
        let unit: &Unit = "exact".parse().unwrap();
        let got = unit.dot((spec, &a), (spec, &b), c).unwrap();
        let c = f32::from_bits(c);
        // Multiples of 2^−9.
        let integer = |code: &u32| spec.decode_f64(u64::from(*code)) * 512.0;
        let has_nan = a.iter().chain(&b).any(|code| integer(code).is_nan());
        if has_nan || c.is_nan() {
            prop_assert_eq!(got, 0x7fff_ffff);
            return Ok(());
        }
        let sum: i128 = a.iter().zip(&b).map(|(a, b)| (integer(a) * integer(b)) as i128).sum();
        let want = if sum == 0 {
            c + 0.0
        } else if c.abs() >= 2f32.powi(60) {
            c // half its last place is 2^35 or more, and the sum is below 2^26
        } else {
            // Of a c below 2^−60 only the sign counts: the sum is a multiple of 2^−18.
            let scaled = f64::from(c) * 2f64.powi(60);
            let c = if scaled.abs() < 1.0 { scaled.signum() * f64::from(c != 0.0) } else { scaled };
            ((sum << 42) + c as i128) as f32 * 2f32.powi(-60)
        };
        prop_assert_eq!(got, want.to_bits(), "{:?} {:?} {}", a, b, c);
    }

    /// Sums within a step are exact, so their order is free; with late sums it is not, nor in CPUs.
    #[test]
    fn the_order_within_a_step_is_free(
        case in cases(0..100, |unit| match unit.rule() {
            Rule::Fused(rule) => rule.late.is_none(),
            Rule::Cdna3 { halves, .. } => !halves,
            Rule::Exact => true,
            Rule::FmaPairs | Rule::Amx | Rule::BfDot { .. } => false,
        }),
        seed in any::<u64>(),
    ) {
        let keys = RandomStream { seed, tensor: 3, step: 0 };
        let step = if case.unit.rule() == Rule::Exact { 100 } else { case.unit.step() };
        let mut order: Vec<usize> = (0..case.a.len()).collect();
        for part in order.chunks_mut(step) {
            part.sort_by_key(|k| keys.word(*k as u64));
        }
        let by_order = |codes: &[u32]| order.iter().map(|k| codes[*k]).collect();
        let moved = Case { a: by_order(&case.a), b: by_order(&case.b), ..case.clone() };
        prop_assert_eq!(case.dot(), moved.dot());
    }

    /// −a and −c give −d wherever what is cut off is cut off of magnitudes.
    #[test]
    fn signs_are_symmetric(
        case in cases(0..100, |unit| !matches!(unit.rule(), Rule::Cdna3 { .. })),
    ) {
        let top = if case.unit.output() == Output::F16 { 1 << 15 } else { 1 << 31 };
        let a = case.a.iter().map(|code| negative(case.specs[0], *code)).collect();
        let other = Case { a, c: case.c ^ top, ..case.clone() };
        let [d, minus] = [case.dot(), other.dot()].map(|bits| case.value(bits));
        prop_assert!(same(d, -minus), "{d:e} {minus:e}");
    }

    /// The steps of K are a chain: any of them ends where the next one begins.
    #[test]
    fn steps_are_chained(
        case in cases(1..200, |unit| unit.rule() != Rule::Exact),
        at in any::<prop::sample::Index>(),
    ) {
        let (k, step) = (case.a.len(), case.unit.step());
        let cut = step * at.index(k.div_ceil(step));
        let first = case.part(0, cut, case.c).dot();
        prop_assert_eq!(case.part(cut, k, first).dot(), case.dot());
    }

    /// Zeros after the end of K fill its last step and change no number.
    #[test]
    fn zeros_fill_a_step(case in cases(1..100, |_| true)) {
        let mut longer = case.clone();
        for codes in [&mut longer.a, &mut longer.b] {
            codes.resize(case.a.len().next_multiple_of(case.unit.step()), 0);
        }
        let [d, with] = [case.dot(), longer.dot()].map(|bits| case.value(bits));
        prop_assert!(same(d, with), "{d:e} {with:e}");
    }

    /// A power of two on the scales of both, or on the sums.
    #[test]
    fn scales_are_powers_of_two(
        case in cases(1..32, Unit::has_block_scales),
        scales in any::<[u8; 2]>(),
    ) {
        let dot = |scales, c| {
            let [a, b] = [(case.specs[0], &case.a[..]), (case.specs[1], &case.b[..])];
            case.unit.dot_scaled(a, b, &[scales], c).unwrap()
        };
        let fp8 = Case { unit: "b200-fp8".parse().unwrap(), ..case.clone() };
        prop_assert_eq!(dot([127, 127], case.c), fp8.dot());
        let [a, b] = scales;
        if scales.contains(&255) {
            prop_assert_eq!(dot(scales, case.c), 0x7fff_ffff);
            return Ok(());
        }
        prop_assert_eq!(dot(scales, case.c), dot([b, a], case.c));
        // Where nothing is subnormal, and zeros are small: 2^(sa + sb) times the sum without scales.
        let power = i32::from(a) + i32::from(b) - 254;
        if power.abs() < 60 {
            let without = f32::from_bits(dot([127, 127], 0)) * 2f32.powi(power);
            prop_assert!(same(f32::from_bits(dot(scales, 0)).into(), without.into()));
        }
    }
}

/// 1 − 2^−30 is below 1, and −1 + 2^−30 is −1: floors.
#[test]
fn signs_are_not_symmetric_on_cdna3() {
    let spec = FormatId::Bf16.spec();
    let (one, minus_one) = (0x3f80, 0xbf80);
    let dot = |a, c: f32| {
        let d = CDNA3_16BIT.dot((spec, &[a]), (spec, &[one]), c.to_bits());
        f32::from_bits(d.expect("bf16"))
    };
    let small = 2f32.powi(-30);
    assert_eq!(dot(one, -small), 1.0 - f32::EPSILON / 2.0);
    assert_eq!(dot(minus_one, small), -1.0);
}

/// A number as a unit's output, if it is one.
fn held(unit: &Unit, x: f64) -> Option<u32> {
    let bits = match unit.output() {
        Output::F32 | Output::E8M13 => (x as f32).to_bits(),
        Output::F16 => f16::from_f64(x).to_bits().into(),
    };
    let whole = unit.output() != Output::E8M13 || bits & 0x3ff == 0;
    (x.is_finite() && whole && value(unit, bits) == x).then_some(if x == 0.0 { 0 } else { bits })
}

/// One product and c = 0: the product, if the output holds it, at any place.
#[test]
fn one_product_is_itself() {
    for (n, pair) in pairs().into_iter().enumerate() {
        let (unit, specs) = pair;
        let flushes = !(is_fused(unit) || matches!(unit.rule(), Rule::Cdna3 { .. } | Rule::Exact))
            && unit.rule() != (Rule::BfDot { extended: true });
        let mut seen = 0;
        for round in 0..1000 {
            let mut one = case(pair, 1, Spread::Finite, (n * 1000 + round) as u64);
            let value = |i: usize, code: u32| specs[i].decode_f64(u64::from(code));
            let [x, y] = [value(0, one.a[0]), value(1, one.b[0])];
            let small = |x: f64| x.abs() < f64::from(f32::MIN_POSITIVE);
            if flushes && [x, y, x * y].into_iter().any(small) {
                continue;
            }
            let Some(want) = held(unit, x * y) else { continue };
            seen += 1;
            // Zeros around it, in steps before and after.
            let (place, k) = (round % 67, 67 + round % 31);
            for codes in [&mut one.a, &mut one.b] {
                let code = codes[0];
                *codes = vec![0; k];
                codes[place] = code;
            }
            one.c = 0;
            let got = one.dot();
            assert_eq!(got, want, "{unit}: {x:e} * {y:e} at {place}: {got:08x}, not {want:08x}");
        }
        // Products of two f32 seldom are f32.
        let least = if specs[0].bits() == 32 { 0 } else { 51 };
        assert!(
            seen >= least,
            "{unit}, {specs:?}: {seen} products of 1000 are numbers of the output"
        );
    }
}

/// Every unit, every pair of formats: any codes, any c, K from 0 to 200.
#[test]
fn any_operands_have_a_sum() {
    for (n, pair) in pairs().into_iter().enumerate() {
        for k in 0..=200 {
            case(pair, k, Spread::Any, (n * 201 + k) as u64).dot();
        }
        let empty = Case { c: 0x1234, ..case(pair, 0, Spread::Any, 0) };
        assert_eq!(empty.dot(), 0x1234, "{}: c without products", pair.0);
    }
}

#[test]
fn operands_that_do_not_fit_are_errors() {
    let formats: Vec<&FormatSpec> =
        FormatId::ALL.iter().map(|id| id.spec()).chain([&TF32]).collect();
    for unit in UNITS {
        let mut taken = 0;
        for (a, b) in formats.iter().flat_map(|a| formats.iter().map(move |b| (*a, *b))) {
            let scales = if unit.has_block_scales() { &[[127; 2]][..] } else { &[] };
            let dot = |x: &[u32], y: &[u32], scales: &[[u8; 2]]| {
                unit.dot_scaled((a, x), (b, y), scales, 0)
            };
            let has = |spec| unit.inputs().contains(&spec);
            let takes = has(a) && has(b) && (a == b || (a.bits() <= 8 && b.bits() <= 8));
            assert_eq!(unit.takes(a, b), takes, "{unit}, {} and {}", a.name(), b.name());
            if !takes {
                let got = dot(&[0], &[0], scales);
                let refused = match got {
                    Err(Error::Unit { unit: name, .. }) => name == unit.name(),
                    Err(Error::Cast { .. }) => has(a) && has(b),
                    _ => false,
                };
                assert!(refused, "{unit}, {} and {}: {got:?}", a.name(), b.name());
                continue;
            }
            taken += 1;
            assert!(dot(&[0], &[0], scales).is_ok());
            for (x, y) in [(&[0; 2][..], &[0; 1][..]), (&[0; 3], &[0; 4]), (&[], &[0])] {
                let (expected, length) = (x.len(), y.len());
                match dot(x, y, scales) {
                    Err(Error::Length { what: "b", expected: e, got }) => {
                        assert_eq!((e, got), (expected, length));
                    }
                    other => panic!("{unit}: {expected} and {length} codes: {other:?}"),
                }
            }
            let more = [[127; 2]; 2];
            for wrong in [&more[..], if scales.is_empty() { &more[..1] } else { &[] }] {
                let got = dot(&[0], &[0], wrong);
                assert!(matches!(got, Err(Error::Length { .. })), "{unit}: {got:?}");
            }
            if a.bits() == 32 {
                continue; // every u32 is a code
            }
            for (spec, x, y) in [(a, 1_u32 << a.bits(), 0), (b, 0, 1 << b.bits())] {
                match dot(&[0, x], &[0, y], scales) {
                    Err(Error::Code { format, bits, got }) => {
                        assert_eq!((format, bits, got), (spec.name(), spec.bits(), x | y));
                    }
                    other => panic!("{unit}: code {:#x} of {}: {other:?}", x | y, spec.name()),
                }
            }
        }
        assert!(taken > 0, "{unit} multiplies nothing");
    }
}

/// No two units have a name, and each is found by its own.
#[test]
fn names_find_units() {
    for unit in UNITS {
        let found = unit.name().parse::<&Unit>();
        assert!(found.is_ok_and(|found| std::ptr::eq(found, *unit)), "{unit}");
    }
    assert!(matches!("h100".parse::<&Unit>(), Err(Error::Name { .. })));
    let late =
        UNITS.iter().filter(|unit| matches!(unit.rule(), Rule::Fused(Fused { late: Some(_), .. })));
    assert_eq!(late.count(), 2);
}
