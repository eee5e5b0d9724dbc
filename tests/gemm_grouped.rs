//! Groups along M and along K equal a loop of plain products, bit for bit, and refuse what such a
//! loop refuses.
#![cfg(feature = "std")]

mod common;

use common::gemm::{Call, Factor, Out, POOL, ordinary};
use half::bf16;
use quarter::gemm::{
    Accumulation, Activation, GemmInput, GemmOptions, GemmOutput, Packed, Workspace, gemm_nt,
    gemm_nt_grouped, gemm_nt_grouped_k,
};
use quarter::mma::{A100_TF32, B200_MXFP8, H100_16BIT, H100_WGMMA_FP8, Unit};
use quarter::tensor::{MatMut, MatRef, QuantizeOptions, Quantized, Scales, quantize};
use quarter::{Error, FormatId, Isa};

fn cast(values: &[f32], (rows, cols): (usize, usize), name: &str) -> Quantized {
    let values = MatRef::new(values, rows, cols).unwrap();
    quantize(values, &name.parse().unwrap(), &QuantizeOptions::new()).unwrap()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

const CASTS: [(&str, &str); 5] = [
    ("e4m3:tensor:torchao", "e4m3:tensor:torchao"),
    ("e5m2:row:te-current", "e4m3:row:te-current"),
    ("e4m3:1x128:deepseek", "e4m3:128x128:deepseek"),
    ("e4m3:1x32:te-mx", "e4m3:1x32:te-mx"),
    ("e2m1:1x16:nvfp4", "e2m1:1x16:nvfp4"),
];

#[test]
fn groups_along_m_equal_a_loop() {
    let ends: [&[usize]; 4] = [&[90], &[0, 90], &[1, 1, 34, 34, 35, 90], &[7; 13]];
    let (n, k) = (37, 200);
    for (a_cast, b_cast) in CASTS {
        for ends in ends {
            let m = ends[ends.len() - 1];
            let a = cast(&ordinary(m * k, 1), (m, k), a_cast);
            let experts: Vec<_> = (0..ends.len() as u64)
                .map(|g| cast(&ordinary(n * k, 2 + g), (n, k), b_cast))
                .collect();
            let packed: Vec<_> = experts.iter().map(|b| Packed::new(b).unwrap()).collect();
            let (c, bias) = (ordinary(m * n, 99), ordinary(n, 98));
            let options = GemmOptions::new().alpha(0.5).bias(&bias).amax();
            let options = options.activation(Activation::Gelu);
            let (mut want, mut amax, mut from) = (vec![0.0; m * n], 0.0_f32, 0);
            for (b, &to) in experts.iter().zip(ends) {
                let a = a.view().slice_rows(from, to).unwrap();
                let c = MatRef::new(&c[from * n..to * n], to - from, n).unwrap();
                let out = MatMut::new(&mut want[from * n..to * n], to - from, n).unwrap();
                let stats = gemm_nt(a, b, out, &options.c(2.0, c)).unwrap();
                amax = amax.max(stats.amax.unwrap());
                from = to;
            }
            let options = options.c(2.0, MatRef::new(&c, m, n).unwrap());
            let mut space = Workspace::new();
            let plain: Vec<GemmInput<'_>> = experts.iter().map(GemmInput::from).collect();
            let packed: Vec<GemmInput<'_>> = packed.iter().map(GemmInput::from).collect();
            for (operands, threads) in [(&plain, 1), (&packed, 1), (&plain, 2), (&packed, 0)] {
                let mut got = vec![f32::NAN; m * n];
                let out = MatMut::new(&mut got, m, n).unwrap();
                let options = options.threads(threads);
                let run = || gemm_nt_grouped(&mut space, &a, operands, ends, out, &options);
                let stats = POOL.install(run).unwrap();
                assert!(bits(&got) == bits(&want), "{a_cast} * {b_cast}, ends {ends:?}");
                assert_eq!(stats.amax, Some(amax), "{a_cast} * {b_cast}, ends {ends:?}");
            }
        }
    }
}

/// Enough work that threads take groups apart.
#[test]
fn many_groups_on_many_threads_equal_a_loop() {
    let (n, k, rows) = (96, 256, 48);
    let ends: Vec<usize> = (1..=24).map(|g| g * rows).collect();
    let m = ends.len() * rows;
    let a = cast(&ordinary(m * k, 5), (m, k), "e4m3:1x128:te-block");
    let b = cast(&ordinary(n * k, 6), (n, k), "e4m3:128x128:te-block");
    let experts = vec![GemmInput::from(&b); ends.len()];
    let (mut want, mut got) = (vec![0.0; m * n], vec![f32::NAN; m * n]);
    gemm_nt(&a, &b, MatMut::new(&mut want, m, n).unwrap(), &GemmOptions::new()).unwrap();
    let out = MatMut::new(&mut got, m, n).unwrap();
    let mut space = Workspace::new();
    let run = || gemm_nt_grouped(&mut space, &a, &experts, &ends, out, &GemmOptions::new());
    POOL.install(run).unwrap();
    assert!(bits(&got) == bits(&want));
}

#[test]
fn groups_along_k_equal_a_loop() {
    let (m, n, ends) = (19, 33, [128_usize, 128, 384, 1408, 1500]);
    let k = ends[ends.len() - 1];
    let (x, y) = (ordinary(m * k, 3), ordinary(n * k, 4));
    let blocks = [("e4m3:1x128:deepgemm", "e4m3:1x128:deepgemm"), CASTS[3], CASTS[4]];
    for (a_cast, b_cast) in blocks {
        let (a, b) = (cast(&x, (m, k), a_cast), cast(&y, (n, k), b_cast));
        let mut got = vec![vec![1.0_f32; m * n]; ends.len()];
        let mut want = got.clone();
        let mut from = 0;
        for (out, &to) in want.iter_mut().zip(&ends) {
            let [a, b] = [&a, &b].map(|whole| part(whole, (from, to)));
            let out = MatMut::new(out, m, n).unwrap();
            gemm_nt(&a, &b, out, &GemmOptions::new().accumulate(0.5)).unwrap();
            from = to;
        }
        let outs: Vec<_> =
            got.iter_mut().map(|out| MatMut::new(out, m, n).unwrap().into()).collect();
        let (mut space, options) = (Workspace::new(), GemmOptions::new().accumulate(0.5));
        gemm_nt_grouped_k(&mut space, &a, &b, &ends, outs, &options).unwrap();
        for (group, (got, want)) in got.iter().zip(&want).enumerate() {
            let differ = bits(got).iter().zip(&bits(want)).filter(|(x, y)| x != y).count();
            assert_eq!(differ, 0, "{a_cast} * {b_cast}, group {group}: of {} elements", m * n);
        }
    }
}

/// Operands, and the unit that multiplies them.
const MORE: [([&str; 2], Option<&Unit>); 8] = [
    (["f32", "f32"], None),
    (["e4m3:tensor:torchao", "e4m3:tensor:torchao"], Some(&H100_WGMMA_FP8)),
    (["f16", "e4m3:row:torchao"], None),
    (["e4m3:1x32:te-mx", "e4m3:1x32:te-mx"], Some(&B200_MXFP8)),
    (["bf16", "bf16"], None),
    (["bf16", "e4m3:128x128:te-block-f32"], None),
    (["bf16", "bf16"], Some(&H100_16BIT)),
    (["f32", "f32"], Some(&A100_TF32)),
];

/// Columns of every output.
const N: usize = 37;

/// Some of those, with and without promotion, to bf16 and to codes, on every instruction set.
fn each_call(some: usize, check: impl Fn([&str; 2], &Call, Isa)) {
    let outs = [Out::Bf16, Out::Codes(FormatId::F8E4M3, 0.7)];
    for (casts, unit) in &MORE[..some] {
        for (promote, out) in [None, Some(64)].into_iter().flat_map(|p| outs.map(|out| (p, out))) {
            let sums = Accumulation { promote, unit: *unit, ..Accumulation::default() };
            let bias = Some(ordinary(N, 98));
            let call = Call { sums, alpha: Some(0.5), bias, out, ..Call::new() };
            Isa::available().for_each(|isa| check(*casts, &call, isa));
        }
    }
}

/// The memory of an output of bf16 or codes.
#[derive(Clone, PartialEq)]
struct Memory {
    half: Vec<bf16>,
    codes: Vec<u8>,
}

impl Memory {
    fn new(rows: usize) -> Self {
        Self { half: vec![bf16::ONE; rows * N], codes: vec![0x55; rows * N] }
    }

    /// Some rows of it.
    fn rows(&mut self, out: Out, (from, to): (usize, usize)) -> GemmOutput<'_> {
        let (place, shape) = (from * N..to * N, (to - from, N));
        match out {
            Out::Codes(format, scale) => {
                GemmOutput::codes(&mut self.codes[place], shape, format, scale).unwrap()
            }
            _ => MatMut::new(&mut self.half[place], shape.0, shape.1).unwrap().into(),
        }
    }
}

/// Some rows of an operand.
fn rows(of: &Factor, (from, to): (usize, usize)) -> Factor {
    match of {
        Factor::Codes { .. } => of.rows(from, to).unwrap(),
        Factor::Values { of, shape: (_, k), .. } => {
            Factor::values(of.part(from * k, (to - from) * k), (to - from, *k))
        }
    }
}

/// Some columns of an operand.
fn columns(of: &Factor, k: (usize, usize)) -> Factor {
    match of {
        Factor::Codes { of, .. } => part(of, k).into(),
        Factor::Values { of, shape: (m, cols), .. } => {
            let turned = of.transposed(*m, *cols).part(k.0 * m, (k.1 - k.0) * m);
            Factor::values(turned.transposed(k.1 - k.0, *m), (*m, k.1 - k.0))
        }
    }
}

/// Numbers of every type, scales of every kind and units, into other types than f32.
#[test]
fn groups_of_everything_along_m() {
    let (k, ends) = (160, [3, 3, 20, 41]);
    let m = ends[ends.len() - 1];
    each_call(MORE.len(), |casts, call, isa| {
        let a = Factor::cast(casts[0], (m, k), 1);
        let experts: Vec<_> = (0..4).map(|g| Factor::cast(casts[1], (N, k), 2 + g)).collect();
        let (mut want, mut got, mut from) = (Memory::new(m), Memory::new(m), 0);
        for (b, to) in experts.iter().zip(ends) {
            let (a, out) = (rows(&a, (from, to)), want.rows(call.out, (from, to)));
            gemm_nt(a.input(), b.input(), out, &call.options()).unwrap();
            from = to;
        }
        let experts: Vec<_> = experts.iter().map(Factor::input).collect();
        let (out, options) = (got.rows(call.out, (0, m)), call.options().isa(isa));
        gemm_nt_grouped(&mut Workspace::new(), a.input(), &experts, &ends, out, &options).unwrap();
        assert!(got == want, "{casts:?}, {call}, unit {:?}, {}", call.sums.unit, isa.name());
    });
}

#[test]
fn groups_of_more_along_k() {
    let (m, ends) = (19, [64, 160, 400]);
    each_call(4, |casts, call, isa| {
        let [a, b] = [(casts[0], m, 3), (casts[1], N, 4)]
            .map(|(cast, rows, seed)| Factor::cast(cast, (rows, 400), seed));
        let mut want = vec![Memory::new(m); ends.len()];
        let (mut got, mut from) = (want.clone(), 0);
        for (out, to) in want.iter_mut().zip(ends) {
            let [a, b] = [&a, &b].map(|of| columns(of, (from, to)));
            let out = out.rows(call.out, (0, m));
            gemm_nt(a.input(), b.input(), out, &call.options()).unwrap();
            from = to;
        }
        let outs: Vec<_> = got.iter_mut().map(|out| out.rows(call.out, (0, m))).collect();
        let (mut space, options) = (Workspace::new(), call.options().isa(isa));
        gemm_nt_grouped_k(&mut space, a.input(), b.input(), &ends, outs, &options).unwrap();
        for (g, (got, want)) in got.iter().zip(&want).enumerate() {
            assert!(got == want, "{casts:?}, {call}, {}: group {g}", isa.name());
        }
    });
}

/// Some columns of a matrix, with the codes and scales that it has there.
fn part(whole: &Quantized, k: (usize, usize)) -> Quantized {
    let (rows, cols) = (whole.rows(), whole.cols());
    let codes = whole.codes().chunks_exact(cols).flat_map(|row| &row[k.0..k.1]).copied().collect();
    let (_, block) = whole.granularity().block(rows, cols);
    let per_row = cols.div_ceil(block);
    let groups = k.0 / block..k.1.div_ceil(block);
    let groups = if k.0 == k.1 { 0..0 } else { groups };
    fn pick<T: Copy>(all: &[T], per_row: usize, groups: &std::ops::Range<usize>) -> Vec<T> {
        all.chunks_exact(per_row).flat_map(|row| &row[groups.clone()]).copied().collect()
    }
    let scales = match whole.scales() {
        Scales::F32 { scale_inv, .. } => {
            Scales::F32 { scale: None, scale_inv: pick(scale_inv, per_row, &groups) }
        }
        Scales::E8M0(bytes) => Scales::E8M0(pick(bytes, per_row, &groups)),
        Scales::E4M3 { scale_inv, global_scale_inv } => Scales::E4M3 {
            scale_inv: pick(scale_inv, per_row, &groups),
            global_scale_inv: *global_scale_inv,
        },
    };
    let (shape, granularity) = ((rows, k.1 - k.0), whole.granularity());
    let part = Quantized::from_parts(whole.format(), shape, granularity, codes, scales).unwrap();
    part.with_rule(whole.rule().unwrap())
}

#[test]
fn groups_that_do_not_fit_are_refused_and_nothing_is_written() {
    let (m, n, k) = (8, 4, 64);
    let a = cast(&ordinary(m * k, 7), (m, k), "e4m3:1x32:te-mx");
    let b = cast(&ordinary(n * k, 8), (n, k), "e4m3:1x32:te-mx");
    let short = cast(&ordinary(n * 32, 9), (n, 32), "e4m3:1x32:te-mx");
    let mut space = Workspace::new();
    let mut out = vec![7.0_f32; m * n];
    let mut rows = |b: &[GemmInput<'_>], ends: &[usize]| {
        let error = gemm_nt_grouped(
            &mut space,
            &a,
            b,
            ends,
            MatMut::new(&mut out, m, n).unwrap(),
            &GemmOptions::new(),
        );
        assert!(out.iter().all(|x| *x == 7.0), "{ends:?} wrote something");
        error.unwrap_err()
    };
    let both = [GemmInput::from(&b), (&b).into()];
    assert!(matches!(rows(&both, &[8]), Error::Length { expected: 2, got: 1, .. }));
    assert!(matches!(rows(&both, &[5, 4]), Error::Range { got: 4, min: 8, max: 8, .. }));
    assert!(matches!(rows(&both, &[9, 8]), Error::Range { got: 9, min: 0, max: 8, .. }));
    assert!(matches!(rows(&[], &[]), Error::Range { got: 0, min: 8, .. }));
    let mixed = [GemmInput::from(&b), (&short).into()];
    assert!(matches!(rows(&mixed, &[4, 8]), Error::Shape { .. }), "the second group is wrong");

    let mut along_k = |b: GemmInput<'_>, ends: &[usize]| {
        let mut outs = vec![vec![7.0_f32; m * n]; ends.len()];
        let targets: Vec<_> =
            outs.iter_mut().map(|out| MatMut::new(out, m, n).unwrap().into()).collect();
        let error = gemm_nt_grouped_k(&mut space, &a, b, ends, targets, &GemmOptions::new());
        assert!(outs.iter().flatten().all(|x| *x == 7.0), "{ends:?} wrote something");
        error.unwrap_err()
    };
    assert!(matches!(along_k((&b).into(), &[40, 64]), Error::Cast { .. }));
    assert!(matches!(along_k((&short).into(), &[32, 64]), Error::Shape { .. }));
    let packed = Packed::new(&b).unwrap();
    assert!(matches!(along_k((&packed).into(), &[32, 64]), Error::Cast { .. }));
    assert!(matches!(along_k((&b).into(), &[32, 63]), Error::Range { got: 63, min: 64, .. }));
}
