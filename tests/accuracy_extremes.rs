//! Bounds where numbers end: near f32's largest number and below its smallest, and beyond the largest
//! of a result's type.
#![cfg(feature = "std")]

mod common;

use common::matrices::{CAST_ROUNDINGS, casts};
use common::{STREAM, share};
use quarter::accuracy::bounds::{
    AdamWElement, GemmBound, Operand, Quantization, Sums, Term, adamw,
};
use quarter::nn::AdamWConfig;
use quarter::scale::Rule;
use quarter::tensor::{MatMut, MatRef, QuantizeOptions, Quantized, Scales, quantize};
use quarter::{FormatId, Granularity};

/// Dequantized, a power of two rounded up times the largest code may be Inf.
#[test]
fn casts_of_the_largest_numbers() {
    let row = [f32::MAX, -3.2e38, 1e38, -f32::MAX, 2f32.powi(127), 1.0, 3e38, 0.0];
    let x: Vec<f32> = (0..4 * 64).map(|i| row[(i + i / 64) % 8] * [1.0, 0.5][i / 128]).collect();
    let wide: Vec<f64> = x.iter().map(|x| f64::from(*x) * 1.5).collect();
    let sources = [MatRef::new(&x, 4, 64).unwrap(), MatRef::new(&wide, 4, 64).unwrap()];
    let (mut held, mut without) = (0, 0);
    for rule in Rule::ALL.iter().step_by(17 - share(16)) {
        for cast in casts(*rule) {
            for by in CAST_ROUNDINGS {
                let cast = cast.rounding(by);
                for source in sources.into_iter().filter(|_| cast.check().is_ok()) {
                    let q =
                        quantize(source, &cast, &QuantizeOptions::new().random(STREAM)).unwrap();
                    let mut back = vec![0.0_f32; x.len()];
                    q.dequantize_into(MatMut::new(&mut back, 4, 64).unwrap()).unwrap();
                    let bounds = Quantization::new(source, q.view()).unwrap().rounding(by);
                    let report = bounds.check(&back).unwrap_or_else(|v| panic!("{cast}: {v}"));
                    (held, without) = (held + report.count, without + report.without_bound);
                }
            }
        }
    }
    println!("{held} elements, {without} without a bound");
    assert!(held > 10_000 && without > 1_000 && without < held, "{held} {without}");
}

/// What is rounded to f16 may be any number up to the largest sum, not that sum alone.
#[test]
fn an_output_near_its_largest_number() {
    let [x, y] = [[65_488.0_f32, 0.0], [1.0, 1.0]];
    let bound = |roundoff: f64| {
        let [a, b] = [&x, &y].map(|x| Operand::exact(MatRef::new(x, 1, 2).unwrap()).unwrap());
        let sums = Sums::AnyOrder { roundoff };
        GemmBound::new(a, b, sums).unwrap().output(FormatId::F16.spec()).at(0, 0).1
    };
    for roundoff in [1e-6, 1e-4, 1.3e-4, 1.6e-4, 2e-4] {
        let bound = bound(roundoff);
        assert!(bound.term(Term::Output) >= 15.9, "{roundoff:e}: {bound}");
    }
    assert_eq!(bound(3e-4).total(), f64::INFINITY, "65,520 becomes Inf");
}

fn operand(codes: &[u8], scale: f32) -> Quantized {
    let scales = Scales::F32 { scale: Some(vec![1.0 / scale]), scale_inv: vec![scale] };
    let (shape, tensor) = ((1, codes.len()), Granularity::Tensor);
    Quantized::from_parts(FormatId::F8E4M3, shape, tensor, codes.to_vec(), scales).unwrap()
}

/// Scales that meet codes, products, sums or each other first: each order is within the bound.
#[test]
fn any_order_of_scales() {
    let codes: Vec<u8> = (1..=100).collect();
    let spec = FormatId::F8E4M3.spec();
    let numbers: Vec<f32> = codes.iter().map(|code| spec.decode_f32(u64::from(*code))).collect();
    let (mut finite, mut infinite) = (0, 0);
    for sa in [-148, -140, -100, -20, 0, 60, 126] {
        for sb in [-147, -120, -60, 0, 20, 100, 127] {
            let [sa, sb] = [sa, sb].map(|e| (1.3 * 2f64.powi(e)) as f32);
            let (a, b) = (operand(&codes, sa), operand(&codes, sb));
            let [left, right] = [&a, &b].map(|q| Operand::exact(q).unwrap());
            let bounds = GemmBound::new(left, right, Sums::F32).unwrap();
            let sum = |of: &dyn Fn(f32) -> f32| numbers.iter().map(|x| of(*x)).sum::<f32>();
            let orders = [
                sum(&|x| (x * sa) * (x * sb)),
                sum(&|x| x * x * (sa * sb)),
                sum(&|x| x * x) * sa * sb,
                sum(&|x| x * x) * sb * sa,
                sum(&|x| x * x) * (sa * sb),
                sum(&|x| (x * sa) * x) * sb,
                sum(&|x| (x * sb) * x) * sa,
            ];
            for (order, got) in orders.into_iter().enumerate() {
                let report = bounds.check(&[got]);
                let report = report.unwrap_or_else(|v| panic!("{order}, {sa:e}, {sb:e}: {v}"));
                infinite += report.without_bound;
                finite += 1 - report.without_bound;
            }
        }
    }
    println!("{finite} held, {infinite} without a bound");
    assert!(finite > 150 && infinite > 30, "{finite} {infinite}");
}

/// A second moment that is Inf in f32 has no bound; one that is not has one.
#[test]
fn moments_beyond_f32() {
    let element = |grad: f32| AdamWElement { grad, weight: 1.0, m: 0.0, v: 0.0, decay: false };
    let bound = |grad: f32| adamw(&AdamWConfig::default(), (1, 1e-3, 1.0), element(grad));
    assert!(bound(1e3).v.1.total().is_finite());
    assert_eq!(bound(3e20).v.1.total(), f64::INFINITY);
}
