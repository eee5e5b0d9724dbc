//! Every path of the matrix product gives the bits of its definition: all pairs of codes, the
//! casts of recipes in ragged shapes, and threads.
#![cfg(feature = "std")]

mod common;

use common::gemm::{
    BLOCKINGS, C, Call, Factor, Out, Path, SMALL, assert_same, cuts, implied, paths, spread_over,
};
use common::narrow_formats;
use quarter::gemm::{Accumulation, Activation, BlockSum};
use quarter::scale::ScaleFormat;
use quarter::tensor::{Quantized, Scales};
use quarter::{FormatId, Granularity, Isa};
use std::sync::atomic::{AtomicU64, Ordering};

/// Every code of a format, each in a row of its own.
fn every_code(format: FormatId) -> Factor {
    let codes: Vec<u8> = (0..=format.spec().code_mask() as u8).collect();
    let scales = Scales::F32 { scale: None, scale_inv: vec![1.0] };
    let shape = (codes.len(), 1);
    Quantized::from_parts(format, shape, Granularity::Tensor, codes, scales).unwrap().into()
}

/// With K = 1, the product of each pair of codes of each pair of formats, Inf and NaN among them:
/// 65,536 where both have 8 bits.
#[test]
fn every_pair_of_codes() {
    let formats: Vec<FormatId> = narrow_formats().collect();
    let (pairs, products) = (formats.len() * formats.len(), AtomicU64::new(0));
    let paths = paths(&[1], &BLOCKINGS[..1]);
    let chosen = spread_over(pairs);
    common::parallel(chosen.len(), |i| {
        let [a, b] = [chosen[i] / formats.len(), chosen[i] % formats.len()];
        let [a, b] = [a, b].map(|format| every_code(formats[format]));
        assert_same(&a, &b, &Call::new(), &paths);
        products.fetch_add((a.shape().0 * b.shape().0) as u64, Ordering::Relaxed);
    });
    println!("{} products of {} pairs of formats", products.into_inner(), chosen.len());
}

/// Left and right casts, or types of numbers.
const CASTS: [[&str; 2]; 52] = [
    ["e4m3:tensor:te-current", "e4m3:tensor:te-current"],
    ["e5m2:tensor:te-delayed", "e4m3:tensor:te-delayed"],
    ["e4m3:tensor:msamp", "e5m2:row:msamp"],
    ["e4m3:row:torchao", "e4m3:row:torchao"],
    ["e5m2:row:torchao-pow2", "e5m2:tensor:torchao-pow2"],
    ["e4m3fnuz:tensor:te-current", "e5m2fnuz:row:te-current"],
    ["e4m3b11fnuz:row:te-current", "e4m3ieee:tensor:te-current"],
    ["e3m4:row:te-current", "e3m4:row:te-current"],
    ["e2m3:tensor:te-current", "e3m2:row:te-current"],
    ["e4m3:tensor:te-mx", "e4m3:row:ocp-floor"],
    ["e4m3:1x128:te-block", "e4m3:128x128:te-block"],
    ["e5m2:1x128:te-block-f32", "e4m3:128x128:te-block-f32"],
    ["e4m3:1x128:te-block-f32", "e4m3:1x128:te-block-f32"],
    ["e4m3:1x128:torchao-block", "e4m3:128x128:torchao-block"],
    ["e4m3:1x128:torchao-block", "e4m3:1x128:torchao-block"],
    ["e4m3:1x128:deepseek", "e4m3:128x128:deepseek"],
    ["e4m3:1x128:deepseek-ue8m0", "e4m3:128x128:deepseek-ue8m0"],
    ["e4m3:1x128:deepgemm", "e4m3:128x128:deepgemm"],
    ["e4m3:1x128:deepgemm-ue8m0", "e4m3:1x128:deepgemm-ue8m0"],
    ["e4m3:128x128:te-block", "e5m2:128x128:te-block"],
    ["e3m4:1x32:te-block-f32", "e4m3fnuz:1x48:te-block-f32"],
    ["e4m3:3x5:te-block-f32", "e4m3:7x12:te-block-f32"],
    ["e4m3:1x1:te-block", "e4m3:16x16:te-block"],
    ["e4m3:1x2:te-block-f32", "e5m2:1x6:te-block-f32"],
    ["e2m1:1x16:te-block-f32", "e2m3:1x64:te-block"],
    ["e4m3:1x128:te-block-f32", "e4m3:tensor:te-current"],
    ["e4m3:row:torchao", "e4m3:128x128:torchao-block"],
    ["e4m3:1x128:te-block", "e4m3:tensor:te-mx"],
    ["e4m3:1x32:te-mx", "e4m3:1x32:te-mx"],
    ["e5m2:1x32:ocp-floor", "e4m3:1x32:ocp-floor"],
    ["e5m2:1x32:ocp-rceil", "e5m2:32x32:ocp-rceil"],
    ["e3m2:1x32:ocp-even", "e2m3:1x32:ocp-even"],
    ["e2m1:1x32:microxcaling", "e2m1:1x32:microxcaling"],
    ["e2m1:1x32:ocp-ceil", "e4m3:1x32:ocp-ceil"],
    ["e4m3:1x32:te-mx", "e4m3:row:te-mx"],
    ["e5m2:tensor:te-mx", "e4m3:1x32:te-mx"],
    ["e4m3:1x3:te-mx", "e4m3:1x64:te-mx"],
    ["e2m1:1x16:nvfp4", "e2m1:1x16:nvfp4"],
    ["e2m1:1x16:nvfp4", "e2m1:16x16:nvfp4"],
    ["bf16", "bf16"],
    ["f32", "f32"],
    ["f16", "f64"],
    ["bf16", "f32"],
    ["e4m3:1x128:te-block-f32", "bf16"],
    ["bf16", "e4m3:128x128:deepgemm"],
    ["f32", "e4m3:128x128:torchao-block"],
    ["e4m3:1x32:te-mx", "bf16"],
    ["f16", "e2m1:1x32:ocp-floor"],
    ["e2m1:1x16:nvfp4", "bf16"],
    ["f64", "e2m1:16x16:nvfp4"],
    ["e4m3:tensor:te-current", "f32"],
    ["bf16", "e5m2:row:torchao"],
];

/// M around the heights of tiles, and N around their widths.
const HEIGHTS: [usize; 22] =
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 29, 31, 33, 97];
const WIDTHS: [usize; 11] = [0, 1, 2, 15, 16, 17, 31, 32, 33, 65, 97];

/// K around quads, blocks and segments.
const DEPTHS: [usize; 24] = [
    0, 1, 2, 3, 4, 5, 15, 16, 17, 31, 32, 33, 47, 48, 63, 65, 127, 128, 129, 255, 257, 1023, 1024,
    1025,
];

fn shapes() -> Vec<[usize; 3]> {
    let rows = HEIGHTS.map(|m| [m, 33, 17]);
    let cols = WIDTHS.map(|n| [15, n, 35]);
    let depths = DEPTHS.map(|k| if k < 130 { [15, 33, k] } else { [3, 17, k] });
    let long = [[1, 3, 2049], [15, 2, 2500], [2, 65, 320], [29, 70, 129]];
    rows.into_iter().chain(cols).chain(depths).chain(long).collect()
}

/// Every cast of a recipe and others, with each block sum where there is a choice, in shapes
/// around every edge of tiles and segments; operands of 4 and 6 bits also packed.
#[test]
fn casts_in_ragged_shapes() {
    let mut jobs = Vec::new();
    for casts in CASTS {
        let factors = casts.map(|cast| Factor::cast(cast, (1, 1), 0));
        let mut sums = vec![None];
        if factors.iter().any(|of| of.blocks() == Some(ScaleFormat::F32)) {
            let others = [BlockSum::DeepSeek, BlockSum::DeepGemm, BlockSum::Te].map(Some);
            sums.extend(others.into_iter().filter(|sum| *sum != implied(&factors[0], &factors[1])));
        }
        jobs.extend(
            sums.iter().flat_map(|sum| shapes().into_iter().map(move |s| (casts, *sum, s))),
        );
    }
    let chosen = spread_over(jobs.len());
    common::parallel(chosen.len(), |i| {
        let (casts, block_sum, [m, n, k]) = jobs[chosen[i]];
        let mut a = Factor::cast(casts[0], (m, k), 2 * i as u64);
        let mut b = Factor::cast(casts[1], (n, k), 2 * i as u64 + 1);
        let call =
            Call { sums: Accumulation { block_sum, ..Accumulation::default() }, ..Call::new() };
        assert_same(&a, &b, &call, &SMALL);
        let packable = [&mut a, &mut b].map(Factor::pack);
        if packable != [false; 2] {
            assert_same(&a, &b, &call, &SMALL);
        }
    });
    println!("{} products on {} paths each", chosen.len(), SMALL.len());
}

/// Rows of a view begin where the scales of the whole do not.
#[test]
fn rows_of_a_view() {
    for i in spread_over(CASTS.len()) {
        let [a, b] = CASTS[i].map(|cast| Factor::cast(cast, (150, 70), 5));
        for (from, to) in [(0, 150), (1, 20), (127, 140), (150, 150)] {
            let [Some(a), Some(b)] = [a.rows(from, to), b.rows(from / 2, to)] else { continue };
            assert_same(&a, &b, &Call::new(), &paths(&[1], &BLOCKINGS[..1]));
        }
    }
}

/// K beyond the 2^16 up to which few rows take a way of their own, and beyond what is packed at a time.
#[test]
fn long_k() {
    for casts in [CASTS[0], ["bf16", "bf16"]] {
        let (a, b) =
            (Factor::cast(casts[0], (3, 70_000), 8), Factor::cast(casts[1], (17, 70_000), 9));
        let all = paths(&[1, 3], &BLOCKINGS[..1]);
        assert_same(&a, &b, &Call::new(), &all);
    }
}

/// Intervals of promotion that cut blocks, or that no packed operand may have.
#[test]
fn promotion() {
    let casts = [CASTS[0], CASTS[10], CASTS[11], CASTS[28], CASTS[37], CASTS[39], CASTS[40]];
    let intervals = [1, 2, 3, 4, 7, 20, 32, 100, 128, 1000, 1024, 5000, u32::MAX];
    let jobs: Vec<_> =
        casts.iter().flat_map(|casts| intervals.map(|promote| (*casts, promote))).collect();
    let chosen = spread_over(jobs.len());
    common::parallel(chosen.len(), |i| {
        let (casts, promote) = jobs[chosen[i]];
        let (a, b) = (Factor::cast(casts[0], (5, 1301), 3), Factor::cast(casts[1], (34, 1301), 4));
        let sums = Accumulation { promote: Some(promote), ..Accumulation::default() };
        let all = cuts(&a, &b, Some(promote));
        let least = 1301usize.div_ceil(promote as usize);
        assert!(all.len() > least, "{promote}: {all:?}");
        assert_same(&a, &b, &Call { sums, ..Call::new() }, &SMALL);
    });
}

/// M, N, K of products that are worth three threads: few rows share columns, many share rows; sums
/// wait where K is cut, and where they wait for more rows than may.
const LARGE: [[usize; 3]; 7] = [
    [1, 4100, 3077],
    [15, 1031, 830],
    [66, 449, 431],
    [211, 257, 239],
    [33, 40, 9600],
    [2063, 37, 170],
    [4100, 1, 3100],
];

/// What is asked for of large products.
fn calls(shape: [usize; 3]) -> [Call; 3] {
    let bias = (0..shape[1]).map(|i| (i % 7) as f32 - 3.0).collect();
    let sums = Accumulation { promote: Some(32), ..Accumulation::default() };
    let c = Factor::cast("bf16", (shape[0], shape[1]), 8);
    [
        Call::new(),
        Call {
            alpha: Some(0.3),
            c: C::Output(-1.5),
            bias: Some(bias),
            activation: Activation::Relu,
            amax: true,
            gap: 3,
            ..Call::new()
        },
        Call {
            sums,
            c: C::Matrix(0.7, c),
            amax: true,
            out: Out::Codes(FormatId::F8E5M2, 0.01),
            ..Call::new()
        },
    ]
}

/// Threads share rows or columns, and change no bit.
#[test]
fn threads() {
    let casts = [CASTS[0], CASTS[11], CASTS[28], CASTS[38], CASTS[39], CASTS[40], CASTS[10]];
    let jobs: Vec<_> = (0..LARGE.len())
        .flat_map(|i| {
            [i % 3, (i + 1) % 3].map(|call| (LARGE[i], casts[(i + call * 2) % casts.len()], call))
        })
        .collect();
    let chosen = spread_over(jobs.len());
    let all = paths(&[1, 2, 3], &BLOCKINGS);
    // The others differ from the best in how they are fast; without intrinsics one suffices.
    let some = |path: &&Path| {
        path.isa == Isa::best() || path.blocking == BLOCKINGS[0] && path.threads == 3
    };
    let some: Vec<Path> = all.iter().filter(some).copied().collect();
    common::parallel(chosen.len(), |i| {
        let (shape, casts, call) = jobs[chosen[i]];
        let [m, n, k] = shape;
        let (a, b) = (Factor::cast(casts[0], (m, k), 6), Factor::cast(casts[1], (n, k), 7));
        assert_same(&a, &b, &calls(shape)[call], &some);
    });
    println!("{} large products on {} paths each", chosen.len(), some.len());
}
