//! Every unit a second time, by what the processor's f32 and f64 do: beside the definition in wide
//! integers. f64 holds each product, and each sum of what is left of products.

mod common;

use common::units::{Case, cases, value};
use proptest::prelude::*;
use quarter::mma::{Fused, Output, Rule, Unit};
use quarter::{FormatId, FormatSpec};

fn pow2(exponent: i32) -> f64 {
    2f64.powi(exponent)
}

/// floor(log2 |x|), and no less than that of the smallest normal number; none of zero, Inf and NaN.
fn exponent(spec: &FormatSpec, x: f64) -> Option<i32> {
    let exponent = ((x.to_bits() >> 52) & 0x7ff) as i32 - 1023;
    (x != 0.0 && x.is_finite()).then_some(exponent.max(spec.emin()))
}

/// An f32 toward zero, with overflow to Inf.
fn toward_zero(x: f64) -> f32 {
    let nearest = x as f32;
    let beyond = x.abs() < pow2(128) && f64::from(nearest).abs() > x.abs();
    f32::from_bits(nearest.to_bits() - u32::from(beyond))
}

/// +0 for −0, and the one NaN.
fn canonical(unit: &Unit, bits: u32) -> u32 {
    match (value(unit, bits), unit.output()) {
        (0.0, _) => 0,
        (x, Output::F32 | Output::E8M13) if x.is_nan() => 0x7fff_ffff,
        (x, Output::F16) if x.is_nan() => 0x7fff,
        _ => bits,
    }
}

/// A sum in the output's type: toward zero, or to nearest where that is f16.
fn narrowed(unit: &Unit, sum: f64) -> u32 {
    let bits = match unit.output() {
        Output::F32 => toward_zero(sum).to_bits(),
        Output::E8M13 => toward_zero(sum).to_bits() & !0x3ff,
        Output::F16 => quarter::f16_from_f64(sum).to_bits().into(),
    };
    canonical(unit, bits)
}

/// Numbers with the exponents that they are aligned by.
struct Terms(Vec<(f64, Option<i32>)>);

impl Terms {
    /// What is left of the terms above 2^(e − fraction), e the largest exponent, and that.
    fn aligned(&self, fraction: i32, zero: i32) -> (f64, i32) {
        let largest = self.0.iter().map(|(_, e)| e.unwrap_or(zero)).max().unwrap_or(zero);
        let grid = pow2(largest - fraction);
        // Inf and NaN go their way.
        (self.0.iter().map(|(x, _)| (x / grid).trunc() * grid).sum(), largest)
    }
}

fn products(case: &Case, places: impl Iterator<Item = usize>) -> Terms {
    let product = |k: usize| {
        let [(a, x), (b, y)] = [(case.specs[0], case.a[k]), (case.specs[1], case.b[k])]
            .map(|(spec, code)| (spec, spec.decode_f64(code.into())));
        (x * y, exponent(a, x).zip(exponent(b, y)).map(|(x, y)| x + y))
    };
    Terms(places.map(product).collect())
}

fn step(case: &Case, rule: Fused, c: u32, places: impl Iterator<Item = usize>) -> u32 {
    let spec = match case.unit.output() {
        Output::F32 | Output::E8M13 => FormatId::F32.spec(),
        Output::F16 => FormatId::F16.spec(),
    };
    let mut terms = products(case, places);
    let c = case.value(c);
    terms.0.push((c, exponent(spec, c)));
    narrowed(case.unit, terms.aligned(rule.fraction as i32, rule.zero).0)
}

/// Steps, or instructions of which each begins at 0 and is added to c.
fn fused(case: &Case, rule: Fused) -> u32 {
    let (unit, k) = (case.unit, case.a.len());
    let Some(late) = rule.late else {
        let products = rule.products as usize;
        let part = |c, first| step(case, rule, c, first..k.min(first + products));
        return (0..k).step_by(products).fold(case.c, part);
    };
    (0..k).step_by(late as usize).fold(case.c, |c, first| {
        let all = first..k.min(first + late as usize);
        let sum = step(case, rule, 0, all.clone().filter(|k| k % 4 < 2));
        let sum = step(case, rule, sum, all.filter(|k| k % 4 >= 2));
        match unit.output() {
            // f64 has the sum of two f16.
            Output::F16 => narrowed(unit, case.value(c) + case.value(sum)),
            Output::F32 | Output::E8M13 => {
                let sum = f32::from_bits(c) + f32::from_bits(sum);
                canonical(unit, sum.to_bits())
            }
        }
    })
}

/// The largest multiple of 2^grid below.
fn floor(x: f64, grid: i32) -> f64 {
    (x / pow2(grid)).floor() * pow2(grid)
}

fn cdna3(case: &Case, step: usize, halves: bool) -> u32 {
    const NONE: i32 = -400;
    let k = case.a.len();
    (0..k).step_by(step).fold(case.c, |c, first| {
        let all = first..k.min(first + step);
        let part = |odd: Option<usize>| {
            let chosen = all.clone().filter(|k| odd.is_none_or(|odd| k % 2 == odd));
            let mut terms = products(case, chosen);
            for (x, _) in &mut terms.0 {
                *x *= if x.abs() >= pow2(128) { f64::INFINITY } else { 1.0 };
            }
            terms.aligned(24, NONE)
        };
        let (sum, largest) = if halves {
            let [(x, e), (y, f)] = [part(Some(0)), part(Some(1))];
            (floor(x, e.max(f) - 24) + floor(y, e.max(f) - 24), e.max(f))
        } else {
            part(None)
        };
        let c = f64::from(f32::from_bits(c));
        let own = exponent(FormatId::F32.spec(), c).unwrap_or(-126);
        let e = largest.max(own);
        let dropped = halves && c.is_finite() && own < e - 25;
        let kept = if dropped { 0.0 } else { floor(c, e - 24) };
        let sum = floor(sum, e - 32) + kept;
        let top = exponent(FormatId::F32.spec(), sum).unwrap_or(0);
        canonical(case.unit, (floor(sum, top - 31) as f32).to_bits())
    })
}

/// Zero for a subnormal number.
fn flushed(x: f32) -> f32 {
    if x.abs() < f32::MIN_POSITIVE { 0f32.copysign(x) } else { x }
}

/// Zero too for what 24 bits without a least exponent would have below 2^−126.
fn fma(a: f32, b: f32, c: f32) -> f32 {
    let [a, b, c] = [a, b, c].map(flushed);
    let d = a.mul_add(b, c);
    // Near there, factors and c are far from f32's upper end, or zero.
    let part = 2f32.powi(32);
    let (x, y) = if a.abs() < b.abs() { (a * part * part, b) } else { (a, b * part * part) };
    let large = x.mul_add(y, c * part * part);
    if d.abs() <= f32::MIN_POSITIVE && large.abs() < f32::MIN_POSITIVE * part * part {
        0f32.copysign(large)
    } else {
        d
    }
}

/// x + y with a last bit of f64 that is odd if any is lost.
fn sum_to_odd(x: f64, y: f64) -> f64 {
    let sum = x + y;
    let (large, small) = if x.abs() < y.abs() { (y, x) } else { (x, y) };
    let lost = small - (sum - large);
    if !sum.is_finite() || lost == 0.0 {
        return sum;
    }
    // The neighbour toward zero where the sum is beyond.
    let beyond = lost.is_sign_negative() != sum.is_sign_negative();
    f64::from_bits((sum.to_bits() - u64::from(beyond)) | 1)
}

/// x + y with a last bit of f32 that is odd if any is lost; Inf from 2^128 on, no subnormals.
fn odd(x: f32, y: f32) -> f32 {
    let sum = sum_to_odd(flushed(x).into(), flushed(y).into());
    let cut = toward_zero(sum);
    let lost = cut.is_finite() && f64::from(cut) != sum;
    flushed(f32::from_bits(cut.to_bits() | u32::from(lost)))
}

/// The units of CPUs: NaN is a class.
fn cpu(case: &Case) -> f32 {
    let value = |spec: &FormatSpec, code: Option<&u32>| {
        code.map_or(0.0, |code| spec.decode_f32(u64::from(*code)))
    };
    let pair =
        |k: usize| [value(case.specs[0], case.a.get(k)), value(case.specs[1], case.b.get(k))];
    let (c, k) = (f32::from_bits(case.c), case.a.len());
    let pairs = (0..k).step_by(2).map(|k| [pair(k), pair(k + 1)]);
    match case.unit.rule() {
        Rule::FmaPairs => pairs.fold(c, |c, [[a, b], [x, y]]| fma(a, b, fma(x, y, c))),
        Rule::Amx => (0..k).step_by(32).fold(c, |c, first| {
            let chain = |first| {
                (first..k.min(first + 32)).step_by(2).fold(0.0, |sum, k| {
                    let [a, b] = pair(k);
                    fma(a, b, sum)
                })
            };
            fma(1.0, c, fma(1.0, chain(first), chain(first + 1)))
        }),
        // The product of two bf16 is an f32, or beyond f32's ends.
        Rule::BfDot { extended: false } => pairs.fold(c, |c, pairs| {
            let [x, y] = pairs.map(|[a, b]| flushed(a) * flushed(b));
            odd(odd(x, y), c)
        }),
        Rule::BfDot { extended: true } => {
            // f64 has the products.
            let product = |[a, b]: [f32; 2]| f64::from(a) * f64::from(b);
            pairs.fold(c, |c, [x, y]| sum_to_odd(product(x), product(y)) as f32 + c)
        }
        rule => unreachable!("{rule:?} is no CPU's"),
    }
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(1 << 15))]

    #[test]
    fn fused_sums(case in cases(0..100, |unit| matches!(unit.rule(), Rule::Fused(_)))) {
        let Rule::Fused(rule) = case.unit.rule() else { unreachable!("no other was asked for") };
        let (got, want) = (case.dot(), fused(&case, rule));
        prop_assert_eq!(got, want, "{:08x}, in f64 {:08x}", got, want);
    }

    #[test]
    fn cdna3_sums(case in cases(0..50, |unit| matches!(unit.rule(), Rule::Cdna3 { .. }))) {
        let Rule::Cdna3 { products, halves } = case.unit.rule() else {
            unreachable!("no other was asked for")
        };
        let (got, want) = (case.dot(), cdna3(&case, products as usize, halves));
        prop_assert_eq!(got, want, "{:08x}, in f64 {:08x}", got, want);
    }

    #[test]
    fn sums_of_cpus(case in cases(0..100, |unit| {
        matches!(unit.rule(), Rule::FmaPairs | Rule::Amx | Rule::BfDot { .. })
    })) {
        let (got, want) = (case.dot(), cpu(&case));
        let same = got == want.to_bits() || (f32::from_bits(got).is_nan() && want.is_nan());
        prop_assert!(same, "{got:08x}, in f32 {:08x}", want.to_bits());
    }
}
