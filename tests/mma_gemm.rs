//! Whole products through matrix units equal the definition: scales, promotion, split K, C,
//! threads, few rows, packed operands, recipes.

mod common;

use common::parallel;
use half::bf16;
use quarter::gemm::{
    Accumulation, GemmInput, GemmOptions, Packed, Workspace, gemm_nt, gemm_nt_in, reference,
};
use quarter::mma::{
    A100_TF32, ADA_FP8, ADA_FP8_F16, ARM_BFDOT, B200_FP8, B200_MXFP8, CDNA3_FP8, EXACT, H100_16BIT,
    H100_TF32, H100_WGMMA_FP8, HOPPER_MMA_SYNC_FP8, HOPPER_MMA_SYNC_FP8_F16, Unit, VDPBF16PS,
};
use quarter::recipe::{Pass, Recipe, presets};
use quarter::tensor::{Cast, MatMut, MatRef, QuantizeOptions, Quantized, quantize};
use quarter::{Error, Isa, RandomStream};

fn values(n: usize, seed: u64) -> Vec<f32> {
    let stream = RandomStream { seed, tensor: 1, step: 0 };
    let uniform = |i: usize| f64::from(stream.word(i as u64)) / 4_294_967_296.0 - 0.5;
    (0..n).map(|i| (uniform(i).powi(3) * 40.0) as f32).collect()
}

fn cast_to(text: &str, x: &[f32], rows: usize, k: usize) -> Quantized {
    let cast: Cast = text.parse().unwrap();
    let x = MatRef::new(x, rows, k).unwrap();
    quantize(x, &cast, &QuantizeOptions::new()).unwrap()
}

fn assert_equal(want: &[f32], got: &[f32], what: &str) {
    for (i, (want, got)) in want.iter().zip(got).enumerate() {
        let equal = want.to_bits() == got.to_bits() || (want.is_nan() && got.is_nan());
        assert!(equal, "{what}, output {i}: {got:?} instead of {want:?}");
    }
}

/// By the definition, and on every instruction set, 1 to 3 threads, packed and not.
fn check(
    (a, b): (GemmInput<'_>, GemmInput<'_>),
    options: &GemmOptions<'_>,
    held: &[f32],
    what: &str,
) {
    let (m, n) = (a.shape().0, b.shape().0);
    let mut want = held.to_vec();
    let out = MatMut::new(&mut want, m, n).unwrap();
    reference::gemm_nt(a, b, out, options).unwrap();
    let packed = Packed::new(b).unwrap();
    let mut space = Workspace::new();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    for isa in Isa::available() {
        for threads in [1, 2, 3] {
            for b in [b, (&packed).into()] {
                let mut got = held.to_vec();
                let out = MatMut::new(&mut got, m, n).unwrap();
                let options = options.isa(isa).threads(threads);
                pool.install(|| gemm_nt_in(&mut space, a, b, out, &options)).unwrap();
                assert_equal(&want, &got, &format!("{what} on {}, {threads} threads", isa.name()));
            }
        }
    }
}

#[test]
fn scales_promotion_and_split_k() {
    let block = "e4m3:1x128:te-block*e4m3:128x128:te-block-f32";
    let cases: &[(&'static Unit, &str)] = &[
        (&H100_WGMMA_FP8, "e4m3:tensor:torchao*e5m2:tensor:torchao"),
        (&H100_WGMMA_FP8, "e4m3:row:torchao*e4m3:row:torchao"),
        (&H100_WGMMA_FP8, block),
        (&H100_WGMMA_FP8, "e4m3:1x128:deepseek*e4m3:128x128:deepseek"),
        (&H100_WGMMA_FP8, "e4m3:1x128:deepgemm*e4m3:1x128:deepgemm"),
        (&ADA_FP8, "e5m2:tensor:torchao*e4m3:row:torchao"),
        (&HOPPER_MMA_SYNC_FP8, "e4m3:tensor:torchao*e4m3:tensor:torchao"),
        (&B200_FP8, "e2m1:1x32:ocp-floor*e4m3:1x32:te-mx"),
        (&B200_MXFP8, "e4m3:1x32:te-mx*e5m2:1x32:te-mx"),
        (&B200_MXFP8, "e2m1:1x32:ocp-floor*e2m3:1x32:ocp-floor"),
        (&CDNA3_FP8, "e4m3fnuz:tensor:torchao*e5m2fnuz:tensor:torchao"),
        (&HOPPER_MMA_SYNC_FP8_F16, "e4m3:tensor:torchao*e4m3:tensor:torchao"),
        (&EXACT, "e4m3:tensor:torchao*e4m3:tensor:torchao"),
    ];
    let shapes = [(1, 40, 300), (3, 33, 129), (2, 5, 0), (37, 17, 260)];
    // An emulator takes minutes for the last.
    let thin = std::env::var("QUARTER_SWEEP").is_ok_and(|sweep| sweep == "thin");
    let shapes = &shapes[..if thin { 3 } else { 4 }];
    parallel(cases.len() * shapes.len(), |i| {
        let ((unit, casts), (m, n, k)) = (cases[i / shapes.len()], shapes[i % shapes.len()]);
        let (left, right) = casts.split_once('*').unwrap();
        let a = cast_to(left, &values(m * k, 1), m, k);
        let b = cast_to(right, &values(n * k, 2), n, k);
        let held = values(m * n, 3);
        let c = MatRef::new(&held, m, n).unwrap();
        for (promote, split_k) in
            [(None, None), (Some(128), None), (Some(96), Some(2)), (None, Some(3))]
        {
            let block_sum = casts.contains("te-block").then_some(quarter::gemm::BlockSum::Te);
            let sums = Accumulation { unit: Some(unit), promote, split_k, block_sum, fast: false };
            let plain = GemmOptions::new().sums(sums);
            let bias = values(n, 4);
            for (which, options) in [
                plain,
                plain.c(1.0, c),
                plain.accumulate(1.0),
                plain.accumulate(0.5).alpha(2.0).bias(&bias),
            ]
            .iter()
            .enumerate()
            {
                let what = format!("{unit} {casts} {m}x{n}x{k} {promote:?} {split_k:?} {which}");
                check(((&a).into(), (&b).into()), options, &held, &what);
            }
        }
    });
}

/// Elements that are numbers: bf16, and f32, of which the units see TF32.
#[test]
fn wide_elements() {
    let (m, n, k) = (19, 35, 100);
    let (x, y) = (values(m * k, 1), values(n * k, 2));
    let check = |a: MatRef<'_>, b: MatRef<'_>, units: &[&'static Unit]| {
        for unit in units {
            let options =
                GemmOptions::new().sums(Accumulation { unit: Some(unit), ..Accumulation::F32 });
            check((a.into(), b.into()), &options.accumulate(1.0), &values(m * n, 3), unit.name());
        }
    };
    macro_rules! of {
        ($as:expr, $units:expr) => {
            let [a, b] = [&x, &y].map(|x| x.iter().map($as).collect::<Vec<_>>());
            check(MatRef::new(&a, m, k).unwrap(), MatRef::new(&b, n, k).unwrap(), $units);
        };
    }
    of!(|x| bf16::from_f32(*x), &[&H100_16BIT, &VDPBF16PS, &ARM_BFDOT]);
    of!(|x| *x, &[&A100_TF32, &H100_TF32]);
}

/// A scale of 1 leaves C where the unit's chain begins; any other makes it join at the end.
#[test]
fn where_c_joins() {
    // 2²⁴ + 3 in a unit that cuts off: 2²⁴ + 2 inside, 2²⁴ + 4 by a rounding at the end.
    let e4m3 = quarter::FormatId::F8E4M3;
    let codes = |code| {
        let scales = quarter::tensor::Scales::from_scale(1.0);
        Quantized::from_parts(e4m3, (1, 1), quarter::Granularity::Tensor, vec![code], scales)
            .unwrap()
    };
    let (three, one) = (codes(0x44), codes(0x38));
    let sums = Accumulation { unit: Some(&B200_FP8), ..Accumulation::F32 };
    let d = |options: GemmOptions<'_>| {
        let mut d = [16_777_216.0_f32];
        gemm_nt(&three, &one, MatMut::new(&mut d, 1, 1).unwrap(), &options.sums(sums)).unwrap();
        d[0]
    };
    let plain = GemmOptions::new();
    assert_eq!(d(plain.accumulate(1.0)), 16_777_218.0);
    assert_eq!(d(plain.accumulate(1.0).alpha(1.0)), 16_777_218.0);
    let promoted = Accumulation { promote: Some(32), ..sums };
    let mut late = [16_777_216.0_f32];
    let out = MatMut::new(&mut late, 1, 1).unwrap();
    gemm_nt(&three, &one, out, &plain.accumulate(1.0).sums(promoted)).unwrap();
    assert_eq!(late, [16_777_220.0]);
    assert_eq!(d(plain.accumulate(0.5)), 8_388_611.0);
}

/// Callers of recipes change nothing: one line puts `blockwise` on Hopper.
#[test]
fn a_recipe_on_hopper() {
    let recipe = presets::blockwise().on(&H100_WGMMA_FP8).unwrap();
    assert_eq!(recipe.to_string().parse::<Recipe>().unwrap(), recipe);
    assert!(recipe.to_string().contains("+promote=128+unit=h100-wgmma-fp8"));
    let (t, i, o) = (40, 256, 24);
    let (x, w, dy) = (values(t * i, 1), values(o * i, 2), values(t * o, 3));
    let [x, w, dy] =
        [(&x, t, i), (&w, o, i), (&dy, t, o)].map(|(v, r, c)| MatRef::new(v, r, c).unwrap());
    for (pass, a, b, shape) in [
        (Pass::Fprop, x, w, (t, o)),
        (Pass::Dgrad, dy, w.transposed(), (t, i)),
        (Pass::Wgrad, dy.transposed(), x.transposed(), (o, i)),
    ] {
        let gemm = recipe.gemm(pass);
        let [qa, qb] = [(a, gemm.a), (b, gemm.b)].map(|(x, operand)| {
            quantize(x, operand.cast().unwrap(), &QuantizeOptions::new()).unwrap()
        });
        let mut want = vec![0.0_f32; shape.0 * shape.1];
        let mut plain = want.clone();
        let out = MatMut::new(&mut want, shape.0, shape.1).unwrap();
        reference::gemm_nt(&qa, &qb, out, &GemmOptions::new().sums(gemm.sums)).unwrap();
        let out = MatMut::new(&mut plain, shape.0, shape.1).unwrap();
        gemm_nt(&qa, &qb, out, &GemmOptions::new()).unwrap();
        assert_ne!(want, plain, "the unit differs from f32 sums");
        let mut got = vec![0.0_f32; shape.0 * shape.1];
        let out = MatMut::new(&mut got, shape.0, shape.1).unwrap();
        gemm_nt(&qa, &qb, out, &GemmOptions::new().sums(gemm.sums)).unwrap();
        assert_equal(&want, &got, "blockwise");
    }
}

#[test]
fn what_does_not_fit_is_an_error() {
    let x = values(64, 1);
    let q = |cast: &str| cast_to(cast, &x, 2, 32);
    let run = |a: &Quantized, unit: &'static Unit, promote, split_k| {
        let mut d = [0.0_f32; 4];
        let sums = Accumulation { unit: Some(unit), promote, split_k, ..Accumulation::F32 };
        let out = MatMut::new(&mut d, 2, 2).unwrap();
        let done = gemm_nt(a, a, out, &GemmOptions::new().sums(sums));
        assert_eq!(d, [0.0; 4], "nothing is written");
        done.unwrap_err()
    };
    let error = run(&q("e4m3fnuz:tensor:torchao"), &H100_WGMMA_FP8, None, None);
    let expected = "the unit h100-wgmma-fp8 multiplies e4m3, e5m2, not e4m3fnuz";
    assert_eq!(error.to_string(), expected);
    assert!(matches!(run(&q("e4m3:tensor:torchao"), &B200_MXFP8, None, None), Error::Cast { .. }));
    assert!(matches!(run(&q("e4m3:1x32:te-mx"), &B200_MXFP8, Some(48), None), Error::Cast { .. }));
    let zero = run(&q("e4m3:tensor:torchao"), &H100_WGMMA_FP8, None, Some(0));
    assert!(matches!(zero, Error::Range { got: 0, .. }));
    let none = presets::bf16().on(&H100_WGMMA_FP8).unwrap_err();
    assert!(none.to_string().contains("not bf16"));
    let text = presets::tensorwise().to_string().replace("+fast", "+unit=ampere");
    assert!(text.parse::<Recipe>().unwrap_err().to_string().contains("ampere"));
}

/// C that is no f16 is rounded first where sums are, also without products.
#[test]
fn c_of_f16_sums() {
    let codes = |rows: usize, k: usize| {
        let scales = quarter::tensor::Scales::from_scale(1.0);
        let all = vec![0x38; rows * k];
        let e4m3 = quarter::FormatId::F8E4M3;
        Quantized::from_parts(e4m3, (rows, k), quarter::Granularity::Tensor, all, scales).unwrap()
    };
    for k in [0, 3, 30, 40] {
        for unit in [&ADA_FP8_F16, &HOPPER_MMA_SYNC_FP8_F16] {
            let (a, b) = (codes(3, k), codes(2, k));
            let sums = Accumulation { unit: Some(unit), ..Accumulation::F32 };
            let options = GemmOptions::new().sums(sums).accumulate(1.0);
            let held = [0.1, 1e6, -1e-9, 2049.0, f32::NAN, -0.0];
            check(((&a).into(), (&b).into()), &options, &held, &format!("{unit}, K = {k}"));
        }
    }
}

/// Parts of K are summed apart, promoted from their own beginning on, and added in order.
#[test]
fn parts_of_k() {
    let unit = &H100_WGMMA_FP8;
    let (m, n, k) = (3, 4, 384);
    let a = cast_to("e4m3:tensor:te-current-pow2", &values(m * k, 1), m, k);
    let b = cast_to("e4m3:tensor:te-current-pow2", &values(n * k, 2), n, k);
    let run = |from: usize, to: usize, promote, split_k| {
        let part = |q: &Quantized, rows: usize| {
            let codes = (0..rows).flat_map(|r| q.codes()[r * k + from..r * k + to].to_vec());
            let (codes, shape, scales) = (codes.collect(), (rows, to - from), q.scales().clone());
            Quantized::from_parts(q.format(), shape, q.granularity(), codes, scales).unwrap()
        };
        let mut d = vec![0.0_f32; m * n];
        let sums = Accumulation { unit: Some(unit), promote, split_k, ..Accumulation::F32 };
        let out = MatMut::new(&mut d, m, n).unwrap();
        gemm_nt(&part(&a, m), &part(&b, n), out, &GemmOptions::new().sums(sums)).unwrap();
        d
    };
    for promote in [None, Some(128)] {
        let parts = [run(0, 192, promote, None), run(192, 384, promote, None)];
        let sums: Vec<f32> = parts[0].iter().zip(&parts[1]).map(|(x, y)| x + y).collect();
        // The scales are powers of two: they may as well be applied to the parts.
        assert_eq!(run(0, 384, promote, Some(2)), sums, "{promote:?}");
    }
}
