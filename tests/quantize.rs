//! `quantize` and its relatives against the definition as loops: every rule, granularity, source,
//! stride, instruction set and number of threads, bit for bit.
#![cfg(feature = "std")]

mod common;

use common::naive::Naive;
use half::{bf16, f16};
use quarter::scale::{Context, SourceType};
use quarter::slice::Values;
use quarter::tensor::{
    Cast, DequantizeOptions, MatMut, MatRef, QuantizeOptions, Quantized, StatsLevel, amax,
    fake_quantize_into, quantize, quantize_both, quantize_into, quantize_transposed,
};
use quarter::{FormatId, Granularity, Isa, RandomStream, Rounding, Rule};

/// A linear congruential generator's upper bits.
struct Lcg(u64);

impl Lcg {
    fn next(&mut self) -> u32 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32
    }

    /// Mostly ordinary, sometimes special.
    fn value(&mut self, special: u32) -> f32 {
        let bits = self.next();
        let ordinary = (bits as f32 / (1u64 << 31) as f32 - 0.5) * 8.0;
        match self.next() % 1000 {
            n if n >= special => ordinary,
            n => [
                0.0,
                -0.0,
                1e-40,
                -1e-30,
                1e30,
                f32::INFINITY,
                f32::NEG_INFINITY,
                f32::NAN,
                448.0,
                -f32::MAX,
            ][n as usize % 10],
        }
    }
}

fn naive(
    x: &[f32],
    shape: (usize, usize),
    cast: &Cast,
    source: SourceType,
    random: Option<RandomStream>,
) -> Naive {
    let context = Context { source, ..Context::default() };
    let word = |i: usize| random.map_or(0, |stream| stream.word(i as u64));
    common::naive::quantize(x, shape, cast, context, word)
}

fn same_f32(a: &[f32], b: &[f32]) -> bool {
    let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
    a.len() == b.len() && a.iter().zip(b).all(same)
}

#[track_caller]
fn check(q: &Quantized, want: &Naive, what: &str) {
    use quarter::tensor::Scales;
    match q.scales() {
        Scales::F32 { scale, scale_inv } => {
            assert!(
                same_f32(scale_inv, &want.scale_inv),
                "{what}: scale_inv {scale_inv:?} {:?}",
                want.scale_inv
            );
            if let Some(scale) = scale {
                assert!(same_f32(scale, &want.scale), "{what}: scale");
            }
        }
        Scales::E8M0(bytes) | Scales::E4M3 { scale_inv: bytes, .. } => {
            assert_eq!(bytes, &want.bytes, "{what}: bytes");
        }
    }
    assert_eq!(q.codes().len(), want.codes.len(), "{what}");
    for (i, (a, b)) in q.codes().iter().zip(&want.codes).enumerate() {
        assert_eq!(a, b, "{what}: code {i} is {a:#010b}, by definition {b:#010b}");
    }
}

/// Every rule with every granularity; in a thin run a few.
fn casts() -> Vec<Cast> {
    let granularities = [
        "tensor", "row", "col", "1x128", "128x1", "32x32", "1x32", "1x16", "3x5", "128x128", "1x7",
        "9x1",
    ];
    let formats = [FormatId::F8E4M3, FormatId::F8E5M2, FormatId::F6E2M3, FormatId::F8E4M3FNUZ];
    let mut casts = Vec::new();
    for rule in Rule::ALL {
        for (i, granularity) in granularities.iter().enumerate() {
            let granularity = granularity.parse().unwrap();
            let format = if *rule == Rule::Nvfp4 { FormatId::F4E2M1 } else { formats[i % 4] };
            let cast = Cast::new(format, granularity, *rule);
            if cast.check().is_ok() {
                casts.push(cast);
            }
        }
    }
    let step = if common::sweep() == common::Sweep::Thin { 11 } else { 1 };
    casts.into_iter().step_by(step).collect()
}

#[test]
fn every_rule_and_granularity_is_the_definition() {
    for (special, shape) in
        [(0, (37, 301)), (30, (37, 301)), (2, (140, 1100)), (0, (1, 5000)), (9, (130, 3))]
    {
        let mut lcg = Lcg(special as u64 + 7);
        let x: Vec<f32> = (0..shape.0 * shape.1).map(|_| lcg.value(special)).collect();
        let half: Vec<bf16> = x.iter().map(|x| bf16::from_f32(*x)).collect();
        let wide: Vec<f32> = half.iter().map(|x| x.to_f32()).collect();
        for cast in casts() {
            let want = naive(&x, shape, &cast, Default::default(), None);
            let want_half = naive(&wide, shape, &cast, SourceType::Bf16, None);
            for isa in Isa::available() {
                let options = QuantizeOptions::new().isa(isa).threads(1);
                let q =
                    quantize(MatRef::new(&x, shape.0, shape.1).unwrap(), &cast, &options).unwrap();
                check(&q, &want, &format!("{cast} {shape:?} {isa:?}"));
                let q = quantize(MatRef::new(&half, shape.0, shape.1).unwrap(), &cast, &options)
                    .unwrap();
                check(&q, &want_half, &format!("{cast} {shape:?} {isa:?} bf16"));
            }
        }
    }
}

#[test]
fn transposes_and_both_at_once_are_the_definition() {
    for shape in [(37, 301), (140, 1100), (1, 300), (300, 1), (2100, 40)] {
        let mut lcg = Lcg(3);
        let x: Vec<f32> = (0..shape.0 * shape.1).map(|_| lcg.value(3)).collect();
        let src = MatRef::new(&x, shape.0, shape.1).unwrap();
        let xt: Vec<f32> = (0..x.len()).map(|i| x[i % shape.0 * shape.1 + i / shape.0]).collect();
        let options = QuantizeOptions::new().threads(1).stats(StatsLevel::Blocks);
        for cast in casts() {
            let want = naive(&xt, (shape.1, shape.0), &cast, Default::default(), None);
            let plain = options.stats(StatsLevel::None);
            let turned = quantize_transposed(src, &cast, &plain).unwrap();
            check(&turned, &want, &format!("{cast} {shape:?} transposed"));
            let strided = quantize(src.transposed(), &cast, &plain).unwrap();
            check(&strided, &want, &format!("{cast} {shape:?} strided"));
            for first in ["e4m3:1x128:te-block", "e5m2:tensor:te-current", "e4m3:row:torchao"] {
                let first: Cast = first.parse().unwrap();
                for options in [options, plain] {
                    let (a, b) = quantize_both(src, &first, &cast, &options).unwrap();
                    assert_eq!(
                        a,
                        quantize(src, &first, &options).unwrap(),
                        "{first} {cast} {shape:?}"
                    );
                    assert_eq!(
                        b,
                        quantize_transposed(src, &cast, &options).unwrap(),
                        "{cast} {shape:?}"
                    );
                    check(&b, &want, &format!("{cast} {shape:?} both"));
                }
            }
        }
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let shape = (700, 900);
    let mut lcg = Lcg(5);
    let x: Vec<f32> = (0..shape.0 * shape.1).map(|_| lcg.value(1)).collect();
    let src = MatRef::new(&x, shape.0, shape.1).unwrap();
    let stream = RandomStream { seed: 1, tensor: 2, step: 3 };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    let rules =
        [Rule::TeBlock, Rule::TorchAo, Rule::DeepSeek, Rule::TeMx, Rule::Microxcaling, Rule::Nvfp4];
    for cast in casts().into_iter().filter(|cast| rules.contains(&cast.rule)) {
        for (rounding, level) in [
            (Rounding::NearestEven, StatsLevel::None),
            (Rounding::NearestEven, StatsLevel::Blocks),
            (Rounding::Stochastic { bits: 32 }, StatsLevel::Tensor),
        ] {
            let cast = cast.rounding(rounding);
            let options = QuantizeOptions::new().random(stream).stats(level);
            let alone = options.threads(1);
            let one = quantize(src, &cast, &alone).unwrap();
            let (two, three) = quantize_both(src, &cast, &cast, &alone).unwrap();
            let mut four = vec![0.0f32; x.len()];
            let dst = MatMut::new(&mut four, shape.0, shape.1).unwrap();
            fake_quantize_into(src, &cast, &alone, dst).unwrap();
            pool.install(|| {
                assert_eq!(quantize(src, &cast, &options).unwrap(), one, "{cast}");
                let both = quantize_both(src, &cast, &cast, &options).unwrap();
                assert!(both == (two, three), "{cast} both");
                let mut values = vec![0.0f32; x.len()];
                let dst = MatMut::new(&mut values, shape.0, shape.1).unwrap();
                fake_quantize_into(src, &cast, &options, dst).unwrap();
                assert!(same_f32(&values, &four), "{cast} fake");
                let dst = MatMut::new(&mut values, shape.0, shape.1).unwrap();
                one.dequantize_into(dst).unwrap();
                assert!(same_f32(&values, &four), "{cast} dequantized");
            });
        }
    }
}

#[test]
fn roundings_and_sources_are_the_definition() {
    let shape = (33, 260);
    let mut lcg = Lcg(11);
    let x: Vec<f32> = (0..shape.0 * shape.1).map(|_| lcg.value(5)).collect();
    let stream = RandomStream { seed: 9, tensor: 8, step: 7 };
    let options = QuantizeOptions::new().random(stream);
    for rounding in [
        "rna",
        "rz",
        "ru",
        "rd",
        "stochastic",
        "stochastic:8",
        "stochastic-even",
        "stochastic-odd:23",
    ] {
        for cast in casts() {
            let cast = cast.rounding(rounding.parse().unwrap());
            let want = naive(&x, shape, &cast, Default::default(), Some(stream));
            let q = quantize(MatRef::new(&x, shape.0, shape.1).unwrap(), &cast, &options).unwrap();
            check(&q, &want, &format!("{cast}"));
        }
    }
    let halves: Vec<f16> = x.iter().map(|x| f16::from_f32(*x)).collect();
    let from_halves: Vec<f32> = halves.iter().map(|x| x.to_f32()).collect();
    let doubles: Vec<f64> = x.iter().map(|x| f64::from(*x) * 1.000_000_1).collect();
    let from_doubles: Vec<f32> = doubles.iter().map(|x| *x as f32).collect();
    let options = QuantizeOptions::new();
    for cast in casts() {
        for (values, f32s, source) in [
            (Values::F16(&halves), &from_halves, SourceType::F16),
            (Values::F64(&doubles), &from_doubles, SourceType::F32),
        ] {
            let want = naive(f32s, shape, &cast, source, None);
            let q =
                quantize(MatRef::new(values, shape.0, shape.1).unwrap(), &cast, &options).unwrap();
            check(&q, &want, &format!("{cast} {source:?}"));
        }
    }
}

#[test]
fn results_reuse_memory_and_given_scales() {
    let mut lcg = Lcg(1);
    let x: Vec<f32> = (0..64 * 256).map(|_| lcg.value(0)).collect();
    let mut q = Quantized::default();
    for cast in casts() {
        let src = MatRef::new(&x, 64, 256).unwrap();
        let fresh = quantize(src, &cast, &QuantizeOptions::new()).unwrap();
        quantize_into(src, &cast, &QuantizeOptions::new(), &mut q).unwrap();
        assert_eq!(q, fresh, "{cast}");
        let again = quantize(src, &cast, &QuantizeOptions::new().scales(fresh.scales())).unwrap();
        assert_eq!(again, fresh, "{cast} with its own scales");
        let turned = quantize_transposed(src, &cast, &QuantizeOptions::new()).unwrap();
        let options = QuantizeOptions::new().scales(turned.scales());
        assert_eq!(quantize_transposed(src, &cast, &options).unwrap(), turned, "{cast} turned");
    }
}

#[test]
fn amaxes_are_the_definition() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    for shape in [(37, 301), (1, 3000), (700, 500), (3000, 1), (0, 4), (4, 0)] {
        let mut lcg = Lcg(17);
        let x: Vec<f32> = (0..shape.0 * shape.1).map(|_| lcg.value(2)).collect();
        let src = MatRef::new(&x, shape.0, shape.1).unwrap();
        for cast in casts().into_iter().filter(|c| [Rule::TeMx, Rule::TorchAo].contains(&c.rule)) {
            let want = naive(&x, shape, &cast, SourceType::F32, None).amax;
            let got = || amax(src, cast.granularity, cast.rule.drops_nan()).unwrap();
            let (alone, shared) = (got(), pool.install(got));
            assert!(same_f32(&alone, &want), "{} of {shape:?}", cast.granularity);
            assert!(same_f32(&shared, &want), "{} of {shape:?}", cast.granularity);
        }
    }
}

#[test]
fn huge_empty_matrices_end_at_once() {
    let none: [f32; 0] = [];
    let src = MatRef::new(&none, 1 << 60, 0).unwrap();
    let options = QuantizeOptions::new().stats(StatsLevel::Blocks);
    for cast in
        ["e2m1:1x16:nvfp4", "e4m3:tensor:te-current", "e4m3:col:torchao", "e4m3:128x1:te-mx"]
    {
        let cast: Cast = cast.parse().unwrap();
        let q = quantize(src, &cast, &options).unwrap();
        assert_eq!((q.codes().len(), q.rows()), (0, 1 << 60), "{cast}");
        quantize_both(src, &cast, &cast, &options).map(drop).unwrap_or_default();
        let mut values = [0.0_f32; 0];
        let dst = MatMut::new(&mut values, 1 << 60, 0).unwrap();
        fake_quantize_into(src, &cast, &options, dst).unwrap();
        q.dequantize_into(MatMut::new(&mut values, 1 << 60, 0).unwrap()).unwrap();
        amax(src, cast.granularity, true).unwrap();
    }
    let rows = "e4m3:row:te-current".parse().unwrap();
    assert!(quantize(src, &rows, &options).is_err(), "2^60 scales");
}

#[test]
fn both_at_once_take_given_scales() {
    let shape = (200, 330);
    let mut lcg = Lcg(4);
    let x: Vec<f32> = (0..shape.0 * shape.1).map(|_| lcg.value(1)).collect();
    let src = MatRef::new(&x, shape.0, shape.1).unwrap();
    let options = QuantizeOptions::new();
    for cast in casts() {
        let (a, b) = quantize_both(src, &cast, &cast, &options).unwrap();
        let given = options.scales(a.scales()).scales_t(b.scales());
        assert!(
            (a.clone(), b.clone()) == quantize_both(src, &cast, &cast, &given).unwrap(),
            "{cast}"
        );
        let half = options.scales_t(b.scales());
        assert!((a, b.clone()) == quantize_both(src, &cast, &cast, &half).unwrap(), "{cast}");
    }
}

#[test]
fn symmetric_codes_turn() {
    for shape in [(37, 301), (300, 130), (1, 5), (5, 0)] {
        let mut lcg = Lcg(6);
        let x: Vec<f32> = (0..shape.0 * shape.1).map(|_| lcg.value(1)).collect();
        let src = MatRef::new(&x, shape.0, shape.1).unwrap();
        let options = QuantizeOptions::new().stats(StatsLevel::Blocks);
        for cast in casts() {
            let turned = quantize(src, &cast, &options).unwrap().transposed();
            if cast.granularity.is_symmetric() {
                let want = quantize_transposed(src, &cast, &options).unwrap();
                assert!(turned.unwrap() == want, "{cast} of {shape:?}");
            } else {
                assert!(turned.is_err(), "{cast}");
            }
        }
    }
}

#[test]
fn negative_scales_are_the_same_everywhere() {
    use quarter::tensor::Scales;
    let scale_inv = vec![-0.5, -0.0, 2.0, f32::NEG_INFINITY];
    let scales = Scales::F32 { scale: None, scale_inv };
    let format = FormatId::F8E4M3;
    let codes: Vec<u8> = (0..4 * 64).map(|i| (i * 5) as u8).collect();
    let q = Quantized::from_parts(format, (4, 64), Granularity::Row, codes, scales).unwrap();
    for isa in Isa::available() {
        let mut values = vec![0.0_f32; 4 * 64];
        let dst = MatMut::new(&mut values, 4, 64).unwrap();
        q.view().dequantize_with(dst, &DequantizeOptions::new().isa(isa)).unwrap();
        for (i, x) in values.iter().enumerate() {
            let want = q.view().value(i / 64, i % 64);
            let same = x.to_bits() == want.to_bits() || x.is_nan() && want.is_nan();
            assert!(same, "{isa:?} {i}: {x} {want}");
        }
    }
    let x: Vec<f32> = (0..4 * 64).map(|i| i as f32 - 100.0).collect();
    let cast: Cast = "e4m3:row:torchao".parse().unwrap();
    let scale = vec![-2.0, 1.0, -0.5, 3.0];
    let given = Scales::F32 { scale: Some(scale.clone()), scale_inv: vec![1.0; 4] };
    for isa in Isa::available() {
        let options = QuantizeOptions::new().scales(&given).isa(isa);
        let q = quantize(MatRef::new(&x, 4, 64).unwrap(), &cast, &options).unwrap();
        for (i, code) in q.codes().iter().enumerate() {
            let want = quarter::F8E4M3::from_f32_sat(x[i] * scale[i / 64]).to_bits();
            assert_eq!(*code, want, "{isa:?} {i}");
        }
    }
}

/// What `codes_as_bf16` says of products.
#[test]
fn products_of_codes_are_exact_in_f32() {
    for spec in common::narrow_formats().map(FormatId::spec).filter(|spec| spec.has_zero()) {
        assert!(2 * (spec.man_bits() + 1) <= 10, "{}", spec.name());
        assert!(spec.min_positive().powi(2) >= 2f64.powi(-34), "{}", spec.name());
        assert!(spec.max().powi(2) < f64::from(f32::MAX), "{}", spec.name());
    }
}
