//! What is asked of a matrix product beside the sums: C, bias, activations, outputs of every type,
//! memory that is kept, and errors that leave everything as it was.
#![cfg(feature = "std")]

mod common;

use common::gemm::{
    BLOCKINGS, C, Call, Factor, Out, POOL, Path, SMALL, assert_same, defined, ordinary, paths,
    product,
};
use common::scaling::Source;
use common::{Sweep, narrow_formats, sweep};
use half::bf16;
use quarter::gemm::{
    Accumulation, Activation, BlockSum, GemmInput, GemmOptions, GemmOutput, Packed, Workspace,
    gemm_nt, gemm_nt_grouped, gemm_nt_in, reference,
};
use quarter::tensor::{MatMut, MatRef, Quantized, Scales};
use quarter::{Error, FormatId, Granularity, Isa};

/// One number in a row of its own: a product's sums are then its products.
fn column(x: &[f32]) -> Factor {
    Factor::values(Source::F32(x.to_vec()), (x.len(), 1))
}

/// The f32 that are results of a call on one row and one column of K = 1.
#[track_caller]
fn results(a: f32, b: f32, call: &Call) -> f32 {
    let (a, b) = (column(&[a]), column(&[b]));
    assert_same(&a, &b, call, &SMALL);
    let bits = defined(&a, &b, call).unwrap().bits[0];
    if bits == u64::MAX { f32::NAN } else { f32::from_bits(bits as u32) }
}

/// The steps after the sum, each rounded once, in their order.
#[test]
fn steps() {
    let ulp = f32::EPSILON;
    let c = |beta, c: f32| C::Matrix(beta, column(&[c]));
    let bias = |bias| Some(vec![bias]);
    // fl(3 · fl(1 · (1 + ulp))), a tie.
    let alpha = Call { alpha: Some(3.0), ..Call::new() };
    assert_eq!(results(1.0, 1.0 + ulp, &alpha), 3.0 + 4.0 * ulp);
    // fma(1 + ulp, 1 + ulp, −1 − 2 ulp) is ulp², which a product rounded by itself loses.
    let fused = Call { c: c(1.0 + ulp, 1.0 + ulp), ..Call::new() };
    assert_eq!(results(-1.0, 1.0 + 2.0 * ulp, &fused), ulp * ulp);
    // Bias after C: (1 + 2^24 rounded to 2^24) − 2^24.
    let biased = Call { c: c(1.0, 16_777_216.0), bias: bias(-16_777_216.0), ..Call::new() };
    assert_eq!(results(1.0, 1.0, &biased), 0.0);
    // The activation is last, and amax is of its results.
    let relu = Call { bias: bias(-3.0), activation: Activation::Relu, amax: true, ..Call::new() };
    assert_eq!(results(1.0, 2.0, &relu), 0.0);
    let amax = defined(&column(&[1.0]), &column(&[2.0]), &relu).unwrap().amax;
    assert_eq!(amax, Some(0));
}

/// max(t, 0) is +0 for −0 and NaN for NaN; amax passes over NaN.
#[test]
fn relu_of_what_is_special() {
    let x = column(&[-0.0, f32::NAN, -1.0, 2.0, f32::NEG_INFINITY, f32::INFINITY, -f32::NAN]);
    let call = Call { activation: Activation::Relu, amax: true, ..Call::new() };
    assert_same(&x, &column(&[1.0]), &call, &SMALL);
    let got = defined(&x, &column(&[1.0]), &call).unwrap();
    let [two, inf] = [2.0_f32, f32::INFINITY].map(|x| u64::from(x.to_bits()));
    assert_eq!(got.bits, [0, u64::MAX, 0, two, 0, inf, u64::MAX]);
    assert_eq!(got.amax, Some(f32::INFINITY.to_bits()));
    let nan = defined(&column(&[f32::NAN]), &column(&[1.0]), &call).unwrap();
    assert_eq!(nan.amax, Some(0));
}

/// Numbers of every size, Inf and NaN into every type and format, with rows at a distance and
/// pieces of rows of every length.
#[test]
fn outputs() {
    let mut values: Vec<f32> =
        (-30..30).map(|e| 1.37 * 2f32.powi(e) * (1 - e % 2 * 2) as f32).collect();
    values.extend([0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -f32::NAN, 448.0, 464.0]);
    values.extend([465.0, -61440.0, 65504.0, 65520.0, 1e-40, 3e38, 57344.0, 0.25, 1.0, 1.75]);
    let formats =
        narrow_formats().flat_map(|f| [1.0, 0.3, -2.0, f32::NAN].map(|s| Out::Codes(f, s)));
    let outs = [Out::F64, Out::F32, Out::F16, Out::Bf16].into_iter().chain(formats);
    for out in outs {
        for cols in [1, 15, 31, 32, 33, 64, values.len()] {
            let call = Call { out, gap: cols % 3, amax: true, ..Call::new() };
            let (a, b) = (column(&[1.0, -1.0, 1.5]), column(&values[values.len() - cols..]));
            assert_same(&a, &b, &call, &SMALL);
        }
    }
}

/// C of NaN is not read where beta is 0, nor is an output of NaN; and what an output holds is C if
/// it is asked for.
#[test]
fn c() {
    let (a, b) = (Factor::cast("e4m3:row:torchao", (20, 33), 1), Factor::cast("bf16", (40, 33), 2));
    for beta in [0.0, -0.0, 1.0, -0.75, f32::NAN] {
        let c = Factor::cast("f16", (20, 40), 3);
        let c = if beta == 0.0 { c.poisoned() } else { c };
        for c in [C::Matrix(beta, c), C::Output(beta)] {
            for out in [Out::F64, Out::F32, Out::F16, Out::Bf16] {
                assert_same(&a, &b, &Call { c: c.clone(), out, gap: 2, ..Call::new() }, &SMALL);
            }
        }
    }
    // C may have any strides.
    for strides in [(1, 20), (0, 1), (3, 0), (81, 2)] {
        let of = Source::F32(ordinary(20 * 81, 4));
        let c = C::Matrix(0.5, Factor::Values { of, shape: (20, 40), strides });
        assert_same(&a, &b, &Call { c, ..Call::new() }, &SMALL);
    }
}

/// Products of different shapes and kinds, one after the other in the same memory.
#[test]
fn a_workspace_is_used_again() {
    let products = [
        ["e4m3:1x128:te-block", "e4m3:128x128:te-block"],
        ["f32", "f32"],
        ["e2m1:1x16:nvfp4", "e2m1:16x16:nvfp4"],
        ["bf16", "bf16"],
        ["e5m2:1x32:te-mx", "e4m3:1x32:te-mx"],
        ["e4m3:tensor:te-current", "f16"],
    ];
    let shapes =
        [(31, 50, 700), (1, 1, 1), (15, 200, 33), (3, 90, 2100), (100, 7, 0), (64, 64, 64)];
    let calls = [Call::new(), Call { c: C::Output(0.5), out: Out::Bf16, ..Call::new() }];
    let mut jobs = Vec::new();
    for (i, casts) in products.into_iter().enumerate() {
        for (j, (m, n, k)) in shapes.into_iter().enumerate() {
            let mut a = Factor::cast(casts[0], (m, k), 5);
            a.pack();
            jobs.push((a, Factor::cast(casts[1], (n, k), 6), &calls[(i + j) % 2]));
        }
    }
    let every = if sweep() == Sweep::Thin { 5 } else { 1 };
    let jobs: Vec<_> = jobs.into_iter().step_by(every).collect();
    let kept =
        |path: &Path| path.isa == Isa::best() || path.blocking == BLOCKINGS[2] && !path.packed;
    for path in paths(&[1], &BLOCKINGS).into_iter().filter(kept) {
        let mut space = Workspace::new();
        let mut bytes = Vec::new();
        for round in 0..2 {
            for (i, (a, b, call)) in jobs.iter().enumerate() {
                let packed = path.packed.then(|| Packed::new(b.input()).unwrap());
                let right = || packed.as_ref().map_or(b.input(), Into::into);
                let got = product(path, &mut space, a, right(), call).unwrap();
                let fresh = product(path, &mut Workspace::new(), a, right(), call).unwrap();
                assert_eq!(got, fresh, "{a} * {b}, {call}, {path:?}, round {round}");
                bytes.push(space.bytes());
                let again = product(path, &mut space, a, right(), call).unwrap();
                assert_eq!(again, fresh, "{a} * {b}, {call}, {path:?}, at once again");
                assert_eq!(
                    space.bytes(),
                    bytes[bytes.len() - 1],
                    "{a} * {b}, {path:?}, product {i}"
                );
            }
        }
        assert!(bytes.is_sorted(), "{path:?}: {bytes:?}");
        assert_eq!(bytes[jobs.len() - 1], bytes[2 * jobs.len() - 1], "{path:?}: it grows no more");
    }
}

/// Memory beside the operands is bounded, in the worst way to pack them.
#[test]
fn a_workspace_is_bounded() {
    let slow = sweep() == Sweep::Thin || Isa::best() == Isa::SCALAR;
    let (n, k) = if slow { (300, 1024) } else { (4096, 4096) };
    // Rows over each other: a whole matrix of numbers in few.
    let numbers = |rows: usize| Factor::Values {
        of: Source::F32(ordinary(rows + k, 1)),
        shape: (rows, k),
        strides: (1, 1),
    };
    let codes = |rows: usize| {
        let codes = ordinary(rows * k, 2).iter().map(|x| (x.to_bits() & 0x3f) as u8).collect();
        let (format, block) = (FormatId::F8E4M3, Granularity::BLOCK_1X32);
        let scales = Scales::E8M0(vec![126; rows * k.div_ceil(32)]);
        Factor::from(Quantized::from_parts(format, (rows, k), block, codes, scales).unwrap())
    };
    let b = [numbers(n), codes(n)];
    for m in [1, 40, 66, 100] {
        for (i, a) in [numbers(m), codes(m)].iter().enumerate() {
            let mut first = None;
            for threads in [1, 2, 3] {
                let (blocking, packed) = (BLOCKINGS[0], false);
                let path = Path { isa: Isa::best(), threads, blocking, packed };
                let mut space = Workspace::new();
                let got = product(path, &mut space, a, b[i].input(), &Call::new()).unwrap();
                let bytes = space.bytes();
                let again = product(path, &mut space, a, b[i].input(), &Call::new()).unwrap();
                assert!(again == got, "{a}, {m} x {n} x {k}, {threads} threads: again");
                assert_eq!(bytes, space.bytes(), "{a}, {m} x {n} x {k}, {threads} threads: again");
                println!("{a} * {}, {m} x {n} x {k}, {threads} threads: {bytes} bytes", b[i]);
                assert!(bytes < 32 << 20, "{a}, {m} x {n} x {k}, {threads} threads: {bytes} bytes");
                let first = first.get_or_insert_with(|| got.clone());
                assert!(*first == got, "{a}, {m} x {n} x {k}, {threads} threads: other bits");
            }
        }
    }
}

/// Outside a pool the calling thread does it all, whatever is asked for.
#[test]
fn threads_without_a_pool() {
    let (a, b) = (Factor::cast("bf16", (64, 512), 1), Factor::cast("bf16", (300, 512), 2));
    let run = |threads| {
        Call::new().run((64, 300), |out, options| {
            gemm_nt(a.input(), b.input(), out, &options.threads(threads))
        })
    };
    let want = run(1).unwrap();
    for threads in [0, 2, 1000] {
        assert!(run(threads).unwrap() == want, "{threads} threads without a pool");
        assert!(POOL.install(|| run(threads)).unwrap() == want, "{threads} threads of three");
    }
}

/// The error that the product and the definition give; neither writes anything then.
#[track_caller]
fn error(a: GemmInput<'_>, b: GemmInput<'_>, shape: (usize, usize), call: &Call) -> Error {
    let fast = call.run(shape, |out, options| gemm_nt(a, b, out, &options));
    let slow = call.run(shape, |out, options| reference::gemm_nt(a, b, out, &options));
    let (fast, slow) = (fast.expect_err("it is wrong"), slow.expect_err("it is wrong"));
    assert_eq!(fast, slow);
    fast
}

#[test]
fn shapes_that_do_not_fit() {
    let [a, b] = [(3, 8), (5, 8)].map(|shape| Factor::cast("e4m3:tensor:te-current", shape, 1));
    let short = Factor::cast("bf16", (5, 7), 1);
    let shape = |what, expected, got| Error::Shape { what, expected, got };
    let call = Call::new();
    let got = error(a.input(), short.input(), (3, 5), &call);
    assert_eq!(got, shape("right operand (b)", (5, 8), (5, 7)));
    for wrong in [(5, 3), (3, 4), (0, 0), (4, 5)] {
        let got = error(a.input(), b.input(), wrong, &call);
        assert_eq!(got, shape("output", (3, 5), wrong));
        let c = C::Matrix(0.0, Factor::cast("f32", wrong, 1));
        let got = error(a.input(), b.input(), (3, 5), &Call { c, ..Call::new() });
        assert_eq!(got, shape("C", (3, 5), wrong));
    }
    for len in [0, 3, 4, 6] {
        let call = Call { bias: Some(vec![1.0; len]), ..Call::new() };
        let got = error(a.input(), b.input(), (3, 5), &call);
        assert_eq!(got, Error::Length { what: "bias", expected: 5, got: len });
    }
}

#[test]
fn casts_that_do_not_fit() {
    let call = Call::new();
    let good = Factor::cast("e4m3:1x4:te-block", (4, 8), 1);
    for cast in ["e4m3:col:te-current", "e4m3:2x1:te-block", "e4m3:128x1:te-block"] {
        let bad = Factor::cast(cast, (4, 8), 1);
        for [a, b] in [[&bad, &good], [&good, &bad]] {
            let got = error(a.input(), b.input(), (4, 4), &call);
            assert!(matches!(got, Error::Cast { why } if why.contains("each k")), "{cast}: {got}");
        }
        assert!(matches!(Packed::new(bad.input()), Err(Error::Cast { .. })), "{cast}");
    }
    let codes = Call { c: C::Output(0.0), out: Out::Codes(FormatId::F8E4M3, 1.0), ..Call::new() };
    let got = error(good.input(), good.input(), (4, 4), &codes);
    assert!(matches!(got, Error::Cast { why } if why.contains("accumulated")), "{got}");
    let packed = Packed::new(good.input()).unwrap();
    let got = error((&packed).into(), good.input(), (4, 4), &call);
    assert!(matches!(got, Error::Cast { why } if why.contains("right operand")), "{got}");
    // A packed operand is cut where its quads are.
    let sums = Accumulation { promote: Some(6), ..Accumulation::default() };
    let got = error(good.input(), (&packed).into(), (4, 4), &Call { sums, ..Call::new() });
    assert!(matches!(got, Error::Cast { why } if why.contains("multiples of 4")), "{got}");
    assert!(
        gemm_nt(
            good.input(),
            good.input(),
            GemmOutput::from(MatMut::new(&mut [0.0_f32; 16], 4, 4).unwrap()),
            &GemmOptions::new().sums(sums)
        )
        .is_ok()
    );
}

#[test]
fn sums_that_do_not_fit() {
    let call = |block_sum, promote| Call {
        sums: Accumulation { block_sum, promote, ..Accumulation::default() },
        ..Call::new()
    };
    let factor = |cast| Factor::cast(cast, (4, 64), 1);
    let recipes = [
        ["e4m3:1x32:te-mx", "e4m3:1x32:te-block"],
        ["e4m3:1x32:te-mx", "e4m3:tensor:te-current"],
        ["e4m3:row:torchao", "e4m3:1x32:te-mx"],
        ["e2m1:1x16:nvfp4", "e4m3:tensor:te-current"],
        ["e4m3:1x32:te-mx", "e2m1:1x16:nvfp4"],
        ["e2m1:1x32:te-mx", "e2m1:1x16:nvfp4"],
    ];
    for [a, b] in recipes.map(|casts| casts.map(factor)) {
        for sum in [None, Some(BlockSum::Te)] {
            let got = error(a.input(), b.input(), (4, 4), &call(sum, None));
            assert!(matches!(got, Error::Recipe { field: "sums", .. }), "{a} * {b}: {got}");
        }
    }
    // Two engines, or none that is known: only a block sum that is given decides.
    let [te, deepseek] = ["e4m3:1x32:te-block", "e4m3:1x32:deepseek"].map(factor);
    let (codes, scales) = match &te {
        Factor::Codes { of, .. } => of.clone().into_parts(),
        Factor::Values { .. } => unreachable!("a cast makes codes"),
    };
    let (format, block) = (FormatId::F8E4M3, Granularity::BLOCK_1X32);
    let nobody = Quantized::from_parts(format, (4, 64), block, codes, scales).unwrap().into();
    let bf16 = factor("bf16");
    for [a, b] in [[&te, &deepseek], [&nobody, &nobody], [&nobody, &bf16], [&bf16, &nobody]] {
        let got = error(a.input(), b.input(), (4, 4), &call(None, None));
        assert!(matches!(got, Error::Recipe { field: "sums", .. }), "{a} * {b}: {got}");
        for sum in [BlockSum::DeepSeek, BlockSum::DeepGemm, BlockSum::Te] {
            assert_same(a, b, &call(Some(sum), None), &SMALL);
        }
    }
    let got = error(te.input(), te.input(), (4, 4), &call(None, Some(0)));
    let what = "interval of promotion";
    assert_eq!(got, Error::Range { what, got: 0, min: 1, max: i64::from(u32::MAX) });
}

#[test]
fn what_cannot_be_made() {
    let got = GemmOutput::codes(&mut [0; 5], (2, 3), FormatId::F8E4M3, 1.0).unwrap_err();
    assert_eq!(got, Error::Length { what: "slice of output codes", expected: 6, got: 5 });
    let got = GemmOutput::codes(&mut [0; 6], (2, 3), FormatId::Bf16, 1.0).unwrap_err();
    assert_eq!(got, Error::CodeWidth { format: "bf16", expected: 16, got: 8 });
    // One number over and over: 2^57 lines are more than there can be.
    let endless = MatRef::with_strides(&[1.0_f32], (1, 1 << 57), (0, 0)).unwrap();
    let got = Packed::new(endless).unwrap_err();
    assert!(matches!(got, Error::Memory { .. }), "{got}");
    // After an error the memory is as good as new.
    let mut space = Workspace::new();
    let x = [1.0_f32; 6];
    let [a, b] = [(2, 3), (3, 2)].map(|(rows, k)| MatRef::new(&x, rows, k).unwrap());
    let (mut d, options) = ([0.0_f32; 4], GemmOptions::new());
    let mut run = |b| gemm_nt_in(&mut space, a, b, MatMut::new(&mut d, 2, 2).unwrap(), &options);
    assert!(run(b).is_err());
    assert!(run(a).is_ok());
    assert_eq!(d, [3.0; 4]);
}

/// The distance to a row that is not there may be anything.
#[test]
fn one_row_at_any_distance() {
    let (a, b) = (ordinary(64, 1), ordinary(40 * 64, 2));
    let [a, b] = [MatRef::new(&a, 1, 64).unwrap(), MatRef::new(&b, 40, 64).unwrap()];
    let options = GemmOptions::new();
    let mut want = vec![0.0_f32; 40];
    reference::gemm_nt(a, b, MatMut::new(&mut want, 1, 40).unwrap(), &options).unwrap();
    for stride in [0, 1, 16, 31, 40, 1000] {
        let mut got = vec![0.0_f32; 40];
        let out = MatMut::with_row_stride(&mut got, (1, 40), stride).unwrap();
        gemm_nt(a, b, out, &options).unwrap();
        assert_eq!(got, want, "distance {stride}");
        let mut got = vec![bf16::ZERO; 40];
        let out = MatMut::with_row_stride(&mut got, (1, 40), stride).unwrap();
        gemm_nt_grouped(&mut Workspace::new(), a, &[b.into()], &[1], out, &options).unwrap();
        let rounded: Vec<bf16> = want.iter().copied().map(bf16::from_f32).collect();
        assert_eq!(got, rounded, "distance {stride}");
    }
}
