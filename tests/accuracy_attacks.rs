//! Results of the library, and of right kernels of f32, against their bounds where these are attacked:
//! scales and numbers near both ends of f32, zero blocks, subnormal C, factors that overflow only
//! together, NaN and Inf. What is held is counted, so that no bound is infinite for nothing.
#![cfg(feature = "std")]

mod common;

use common::gemm::{C, Call, Factor, Out, Words, draw};
use common::scaling::Source;
use common::units::{Case, pairs, value};
use common::{parallel, share};
use half::{bf16, f16};
use quarter::accuracy::bounds::{Bound, GemmBound, Operand, Product, Quantization, Sums, unit_sum};
use quarter::gemm::{Accumulation, Activation};
use quarter::mma::{ADA_F16_F16, ADA_FP8_F16, H100_16BIT, Output, Unit, VDPBF16PS};
use quarter::recipe::{Pass, presets};
use quarter::tensor::{MatMut, MatRef, QuantizeOptions, Quantized, Scales, quantize};
use quarter::{FormatId, FormatSpec, Granularity};
use std::sync::atomic::{AtomicU64, Ordering};

fn bounds<'a>(a: &'a Factor, b: &'a Factor, call: &'a Call) -> GemmBound<'a> {
    let [a, b] = [a, b].map(|factor| Operand::exact(factor.input()).unwrap());
    call.bound(a, b)
}

/// Results with a bound, and without.
#[derive(Default)]
struct Held([AtomicU64; 2]);

impl Held {
    #[track_caller]
    fn note(&self, got: f64, (want, bound): (f64, Bound), what: impl Fn() -> String) {
        let total = bound.total();
        assert!(!total.is_nan(), "{}: {bound}", what());
        let same = got == want || got.is_nan() && want.is_nan();
        let within = same || total == f64::INFINITY || (got - want).abs() <= total;
        assert!(within, "{}: {got:e}, not {want:e}: {bound}", what());
        self.0[usize::from(total == f64::INFINITY)].fetch_add(1, Ordering::Relaxed);
    }

    #[track_caller]
    fn product(&self, a: &Factor, b: &Factor, call: &Call) {
        let Ok(got) = call.outputs(a, b) else { return };
        let (bound, cols) = (bounds(a, b, call), b.shape().0);
        for (i, got) in got.into_iter().enumerate() {
            let at = || format!("[{i}] of {a} * {b}, K = {}, {call}", a.shape().1);
            self.note(got, bound.at(i / cols, i % cols), at);
        }
    }

    /// How many are held, of which these parts of a hundred must have a bound.
    fn show(&self, what: &str, percent: u64) {
        let [held, without] = [0, 1].map(|i| self.0[i].load(Ordering::Relaxed));
        println!("{what}: {held} held, {without} without a bound");
        assert!(held > 0 && 100 * held >= percent * (held + without), "{what}: {held} {without}");
    }
}

/// Every format, granularity, form of scale, kind of number, option and output, scales as far out as f32
/// has them.
#[test]
fn products_of_anything() {
    let held = Held::default();
    parallel(share(12_000), |i| {
        let mut words = Words::new(i as u64 * 77 + 5);
        let k = words.one_of(&[0, 1, 2, 3, 5, 16, 17, 33, 64, 100]);
        let shape = (1 + words.below(3), 1 + words.below(3), k);
        let [a, b] = draw::factors(&mut words, shape);
        let mut call = draw::call(&mut words, (a.shape().0, b.shape().0));
        (call.gap, call.amax) = (0, false);
        if matches!(call.c, C::Output(_)) {
            call.c = C::None;
        }
        if words.below(2) == 0 {
            call = Call { sums: call.sums, ..Call::new() };
        }
        held.product(&a, &b, &call);
    });
    held.show("products of anything", 60);
}

/// A code of about this exponent, subnormal below the normal ones.
fn near(spec: &FormatSpec, words: &mut Words, (from, to): (i32, i32)) -> u32 {
    let e = from + words.below((to - from + 1) as usize) as i32;
    let field = (e + spec.bias()).clamp(0, spec.emax() + spec.bias()) as u32;
    let ones = (1 << spec.man_bits()) - 1;
    let man = if words.below(3) == 0 { ones } else { words.word() & ones };
    let sign = if words.below(3) == 0 { words.word() & spec.sign_mask() as u32 } else { 0 };
    let code = sign | field << spec.man_bits() | man;
    if spec.decode_f64(code.into()).is_finite() { code } else { 0 }
}

/// Chains whose products and C are about as small, or as large, as the unit's own numbers.
#[test]
fn units_where_their_numbers_end() {
    let (held, pairs) = (Held::default(), pairs());
    parallel(share(800) * pairs.len(), |i| {
        let (unit, specs) = pairs[i % pairs.len()];
        let mut words = Words::new(i as u64 * 13 + 1);
        let k = 1 + words.below(70);
        let of_c = match unit.output() {
            Output::F16 => FormatId::F16.spec(),
            Output::F32 | Output::E8M13 => FormatId::F32.spec(),
        };
        let t = match words.below(4) {
            0 => of_c.emin() - 30 + words.below(40) as i32,
            1 => of_c.emin() - 2,
            2 => of_c.emax() - 6 + words.below(8) as i32,
            _ => words.below(20) as i32 - 10,
        };
        let ends = specs.map(|spec| (spec.emin() - 1, spec.emax()));
        let ea = (t / 2 + words.below(8) as i32 - 4).clamp(ends[0].0, ends[0].1);
        let exponents = [ea, (t - ea).clamp(ends[1].0, ends[1].1)];
        let wide = words.below(6) as i32;
        let [a, b] = [0, 1].map(|s: usize| -> Vec<u32> {
            let e = exponents[s];
            (0..k).map(|_| near(specs[s], &mut words, (e - wide, e))).collect()
        });
        let c = match words.below(4) {
            0 => 0,
            1 => near(of_c, &mut words, (of_c.emin() - 1, of_c.emin() - 1)),
            _ => near(of_c, &mut words, (ea + exponents[1] - 9, ea + exponents[1] + 19)),
        };
        let number = |i: usize, code: u32| (specs[i].decode_f64(code.into()), specs[i]);
        let products = a.iter().zip(&b).map(|(x, y)| Product::new(number(0, *x), number(1, *y), 0));
        let bound = unit_sum(unit, &products.collect::<Vec<_>>(), value(unit, c));
        let case = Case { unit, specs, a, b, c };
        held.note(case.value(case.dot()), bound, || format!("{case:?}"));
    });
    held.show("units where their numbers end", 90);
}

fn row(of: Vec<f32>) -> Factor {
    let k = of.len();
    Factor::values(Source::F32(of), (1, k))
}

fn on(unit: &'static Unit) -> Accumulation {
    Accumulation { unit: Some(unit), ..Accumulation::F32 }
}

/// What once was beyond its bound.
#[test]
fn single_products() {
    let held = Held::default();
    let plain = Call::new();
    let bf = |x: &[f32]| {
        let x: Vec<bf16> = x.iter().map(|x| bf16::from_f32(*x)).collect();
        let k = x.len();
        Factor::values(Source::Bf16(x), (1, k))
    };
    // Partial sums beyond f32 that cancel.
    let [large, ones] = [vec![3e38, 3e38, -3e38, -3e38], vec![1.0; 4]];
    held.product(&row(large.clone()), &row(ones.clone()), &plain);
    held.product(&bf(&large), &row(ones.clone()).cast_to("e4m3:tensor:te-current"), &plain);
    // Inf times a zero alpha, or a zero scale of codes.
    for call in [
        Call { alpha: Some(0.0), ..Call::new() },
        Call { out: Out::Codes(FormatId::F8E4M3, 0.0), ..Call::new() },
    ] {
        held.product(&row(large.clone()), &row(large.clone()), &call);
    }
    // C as f16, and of f64.
    let c = |x: f64| C::Matrix(1.0, Factor::values(Source::F64(vec![x]), (1, 1)));
    let half = |x: f32| Factor::values(Source::F16(vec![f16::from_f32(x)]), (1, 1));
    let none = Factor::values(Source::F16(Vec::new()), (1, 0));
    let start = Call { sums: on(&ADA_F16_F16), c: c(1.0 + 2f64.powi(-11)), ..Call::new() };
    held.product(&half(2f32.powi(-6)), &half(2f32.powi(-5)), &start);
    held.product(&none, &none, &start);
    held.product(&none, &none, &Call { c: c(1e6), ..start });
    held.product(
        &row(vec![-1.0]),
        &row(vec![1.0]),
        &Call { c: c(1.0 + 2f64.powi(-30)), ..Call::new() },
    );
    // The product of two scales is Inf, and what it meets is 0.
    let [mut x, mut y] = [vec![0.0; 128], vec![0.0; 128]];
    (x[0], y[1]) = (1e23, 1e23);
    let [x, y] = [row(x).cast_to("e4m3:1x128:deepgemm"), row(y).cast_to("e4m3:128x128:deepgemm")];
    held.product(&x, &y, &plain);
    // A block of NVFP4 with a scale that only its tensor's factor makes small.
    let [mut x, mut y] = [vec![0.0; 16], vec![0.0; 16]];
    (x[0], y[0]) = (2e35, 2.688);
    held.product(&bf(&x), &row(y).cast_to("e2m1:1x16:nvfp4"), &plain);
    // A subnormal C is flushed by some units, and is aligned as normal numbers are by others.
    let bf16s = FormatId::Bf16.spec();
    let code = |e: i32| ((127 + e) << 7 | 0x7f) as u32;
    for (unit, e, c) in [(&VDPBF16PS, -64, 0x007f_ffff), (&H100_16BIT, -76, 1)] {
        let case = Case { unit, specs: [bf16s; 2], a: vec![code(e); 8], b: vec![code(e); 8], c };
        let x = bf16s.decode_f64(code(e).into());
        let products = [Product::new((x, bf16s), (x, bf16s), 0); 8];
        held.note(case.value(case.dot()), unit_sum(unit, &products, value(unit, c)), || {
            unit.name().into()
        });
    }
    let e5m2 = FormatId::F8E5M2.spec();
    let case = Case { unit: &ADA_FP8_F16, specs: [e5m2; 2], a: vec![4; 16], b: vec![4; 16], c: 1 };
    let x = 2f64.powi(-14);
    let products = [Product::new((x, e5m2), (x, e5m2), 0); 16];
    held.note(case.value(case.dot()), unit_sum(&ADA_FP8_F16, &products, x.powi(2) * 16.0), || {
        "f16".into()
    });
    held.show("single products", 40);
}

/// Negative scales are scales, and one that is Inf makes NaN of 0.
#[test]
fn scales_of_every_kind() {
    let x = [3.0_f32, 100.0, 1e-37, 0.0];
    let source = MatRef::new(&x, 1, 4).unwrap();
    let given = Scales::F32 { scale: Some(vec![-2.0]), scale_inv: vec![-0.5] };
    for (cast, options) in [
        ("e4m3:row:te-current", QuantizeOptions::new().scales(&given)),
        ("e4m3:row:te-current:ru", QuantizeOptions::new().scales(&given)),
        ("e4m3:row:te-current:rd", QuantizeOptions::new().scales(&given)),
        ("e4m3:row:msamp", QuantizeOptions::new()),
    ] {
        let cast: quarter::tensor::Cast = cast.parse().unwrap();
        for source in [source, MatRef::new(&x[2..], 1, 2).unwrap()] {
            let q = quantize(source, &cast, &options).unwrap();
            let mut back = vec![0.0_f32; q.cols()];
            q.dequantize_into(MatMut::new(&mut back, 1, q.cols()).unwrap()).unwrap();
            let bounds = Quantization::new(source, q.view()).unwrap().rounding(cast.rounding);
            bounds.check(&back).unwrap_or_else(|violation| panic!("{cast}: {violation}"));
        }
    }
}

/// Blocks of zeros, and of numbers far smaller than the others, are no reason to know nothing.
#[test]
fn zero_blocks_have_bounds() {
    let (k, n) = (256, 4);
    for mode in 0..4 {
        let (mut x, y) = (common::gemm::ordinary(n * k, 1), common::gemm::ordinary(n * k, 2));
        for (i, x) in x.iter_mut().enumerate() {
            *x *= match mode {
                1 if i % k >= 128 => 0.0,
                2 if i % k >= 128 => 1e-30,
                3 if i / k == 0 => 0.0,
                _ => 1.0,
            };
        }
        let [x, y] = [x, y].map(|x| Factor::values(Source::F32(x), (n, k)));
        for (name, preset) in presets::ALL {
            for pass in Pass::ALL {
                let gemm = *preset().gemm(*pass);
                let [a, b] =
                    [(&x, gemm.a), (&y, gemm.b)].map(|(x, cast)| x.cast_to(&cast.to_string()));
                let call = Call { sums: gemm.sums, ..Call::new() };
                let report = bounds(&a, &b, &call).check(&call.outputs(&a, &b).unwrap()).unwrap();
                assert_eq!(
                    (report.count, report.without_bound),
                    (n * n, 0),
                    "{name} {pass}, {mode}"
                );
                let any = [&a, &b].map(|x| Operand::exact(x.input()).unwrap());
                let any =
                    GemmBound::new(any[0].clone(), any[1].clone(), Sums::F32).unwrap().all().1;
                assert!(any.iter().all(|bound| bound.total().is_finite()), "{name} {pass}, {mode}");
            }
        }
    }
}

/// Kernels of f32 that apply NVFP4's scales in other orders, and one that begins with C.
#[test]
fn right_kernels_in_any_order() {
    let held = Held::default();
    parallel(share(6_000), |i| {
        let mut words = Words::new(i as u64 * 7 + 3);
        let k = words.one_of(&[1, 1, 2, 3, 16]);
        let low = words.one_of(&[0, 0, -66, -60, -70]);
        let mut make = || {
            let global = ((1.0 + f64::from(words.word()) * 2f64.powi(-32)) * 2f64.powi(low)) as f32;
            let codes = (0..k).map(|_| 1 + words.below(7) as u8).collect();
            let scale_inv = vec![1 + words.below(126) as u8];
            let scales = Scales::E4M3 { scale_inv, global_scale_inv: global };
            Quantized::from_parts(FormatId::F4E2M1, (1, k), Granularity::BLOCK_1X16, codes, scales)
        };
        let [a, b] = [make(), make()].map(Result::unwrap);
        let values = |q: &Quantized| -> Vec<f32> {
            q.codes().iter().map(|code| q.format().spec().decode_f32((*code).into())).collect()
        };
        let ([x, y], [sa, sb]) = ([&a, &b].map(values), [&a, &b].map(|q| q.scales().scale_inv(0)));
        let [ga, gb] = [&a, &b].map(|q| q.scales().global_scale_inv());
        let dot = |by: f32, or: f32| {
            x.iter().zip(&y).fold(0.0_f32, |sum, (x, y)| sum + (x * by) * (y * or))
        };
        let twice = x.iter().zip(&y).map(|(x, y)| (x * sa * ga) * (y * sb * gb)).sum::<f32>();
        let kernels = [
            dot(sa * ga, sb * gb),
            twice,
            dot(sa, sb) * (ga * gb),
            dot(1.0, 1.0) * ((sa * ga) * (sb * gb)),
        ];
        let [left, right] = [&a, &b].map(|q| Operand::exact(q).unwrap());
        let bound = GemmBound::new(left, right, Sums::F32).unwrap().at(0, 0);
        for (n, got) in kernels.into_iter().enumerate() {
            held.note(got.into(), bound, || format!("kernel {n}, {a:?} {b:?}"));
        }
    });
    let (x, y, c) = ([1e-3_f32; 64], [1.1_f32; 64], [1e4_f32]);
    let sum = x.iter().zip(&y).fold(c[0], |sum, (x, y)| x.mul_add(*y, sum));
    let [a, b] = [&x, &y].map(|x| Operand::exact(MatRef::new(x, 1, 64).unwrap()).unwrap());
    let bound = GemmBound::new(a, b, Sums::F32).unwrap();
    let bound = bound.c(1.0, MatRef::new(&c, 1, 1).unwrap()).unwrap().at(0, 0);
    held.note(sum.into(), bound, || "C first".into());
    held.show("right kernels in any order", 99);
}

/// NaN and Inf of operands, scales, C and bias must come through, and what is too large for f16 is Inf.
#[test]
fn what_is_not_finite_is_demanded() {
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    let x = row(vec![1.0, 2.0, nan, 1.0]);
    let ones = row(vec![1.0; 4]);
    let demanded = |a: &Factor, b: &Factor, call: &Call, want: f64| {
        let bound = bounds(a, b, call);
        let (expected, at) = bound.at(0, 0);
        let same = expected == want || expected.is_nan() && want.is_nan();
        assert!(same && at == Bound::ZERO, "{a} * {b}, {call}: {expected:e}, {at}");
        bound.check(&call.outputs(a, b).unwrap()).unwrap();
        for wrong in [0.0, 7.0, if want.is_nan() { f64::INFINITY } else { f64::NAN }] {
            assert!(bound.check(&[wrong]).is_err(), "{call}: {wrong} passes for {want}");
        }
    };
    let plain = Call::new();
    demanded(&x, &ones, &plain, f64::NAN);
    demanded(&row(vec![inf, 1.0, 2.0, 3.0]), &ones, &plain, f64::INFINITY);
    demanded(&row(vec![inf, -inf, 2.0, 3.0]), &ones, &plain, f64::NAN);
    demanded(&row(vec![inf, 1.0, 2.0, 3.0]), &row(vec![0.0; 4]), &plain, f64::NAN);
    demanded(&ones, &ones, &Call { bias: Some(vec![nan]), ..Call::new() }, f64::NAN);
    demanded(&ones, &ones, &Call { bias: Some(vec![-inf]), ..Call::new() }, f64::NEG_INFINITY);
    let c = || C::Matrix(0.5, row(vec![inf]));
    demanded(&ones, &ones, &Call { c: c(), ..Call::new() }, f64::INFINITY);
    demanded(&x, &ones, &Call { activation: Activation::Relu, ..Call::new() }, f64::NAN);
    let large = row(vec![300.0; 4]);
    demanded(&large, &large, &Call { out: Out::F16, ..Call::new() }, f64::INFINITY);
    demanded(&x, &ones, &Call { out: Out::Codes(FormatId::F8E4M3, 2.0), ..Call::new() }, f64::NAN);
    // A block whose E8M0 scale is NaN, and a source that is.
    let q = x.cast_to("e4m3:1x32:te-mx");
    demanded(&q, &ones, &plain, f64::NAN);
    let source = [1.0_f32, nan, 2.0];
    let view = MatRef::new(&source, 1, 3).unwrap();
    let q = quantize(view, &"e4m3:tensor:te-current".parse().unwrap(), &QuantizeOptions::new())
        .unwrap();
    let bounds = Quantization::new(view, q.view()).unwrap();
    assert!(
        bounds.check(&[1.0_f32, nan, 2.0]).is_ok() && bounds.check(&[1.0_f32, 0.0, 2.0]).is_err()
    );
}
