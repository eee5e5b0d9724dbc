//! Quantization of matrices that are cut for threads and go through tiles: the same bits for
//! every pool, and those of the definition. And what is refused.

mod common;

use common::STREAM;
use common::matrices::{Kind, Matrix, Spread, differ, wrong};
use common::naive;
use half::bf16;
use quarter::slice::PARALLEL;
use quarter::tensor::{
    Cast, MatMut, MatRef, QuantizeOptions, Quantized, Scales, StatsLevel, fake_quantize_into,
    quantize, quantize_both, quantize_into, quantize_transposed,
};
use quarter::{Error, FormatId, Granularity};

/// One for every way through the library.
const CASTS: [&str; 16] = [
    "e4m3:1x128:te-block",
    "e4m3:128x1:deepseek",
    "e4m3:128x128:te-block-f32",
    "e4m3:128x128:deepgemm:stochastic",
    "e4m3:tensor:te-current",
    "e5m2:tensor:te-current:stochastic",
    "e5m2:tensor:deepseek",
    "e4m3:row:torchao",
    "e4m3:col:torchao-pow2",
    "e4m3:1x32:te-mx",
    "e3m2:32x1:ocp-rceil",
    "e2m3:3x5:ocp-even",
    "e2m1:1x16:nvfp4",
    "e2m1:16x16:nvfp4",
    "e2m1:7x1000000:nvfp4",
    "e4m3:2x1000000:microxcaling",
];

/// Enough for three threads.
fn shapes() -> [(usize, usize); 6] {
    let n = PARALLEL / 2 * 3 + 77;
    [(n / 1000 + 1, 1000), (1, n), (n, 1), (n / 5000 + 1, 5000), (n / 130 + 1, 130), (n / 7 + 1, 7)]
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() }).collect()
}

/// The result in each of these forms, on the threads of a pool.
struct Everything {
    q: Quantized,
    t: Quantized,
    fake: Vec<u32>,
    narrow: Vec<bf16>,
}

fn everything(x: &Matrix, cast: &Cast, threads: usize) -> Everything {
    let options = QuantizeOptions::new().random(STREAM).threads(threads).stats(StatsLevel::Blocks);
    let (rows, cols) = x.shape;
    let (q, t) = quantize_both(x.view(), cast, &cast.transposed(), &options).unwrap();
    let quiet = options.stats(StatsLevel::None);
    for (one, other) in [
        (quantize(x.view(), cast, &options).unwrap(), &q),
        (quantize(x.view(), cast, &quiet).unwrap(), &q),
        (quantize_transposed(x.view(), &cast.transposed(), &options).unwrap(), &t),
        (quantize_transposed(x.view(), &cast.transposed(), &quiet).unwrap(), &t),
    ] {
        assert_eq!(differ(cast, x, &one, other), None);
        assert!(one.stats().is_none() || one.stats() == other.stats(), "{cast}: statistics");
        let blocks = one.block_stats() == other.block_stats();
        assert!(one.stats().is_none() || blocks, "{cast}: statistics of blocks");
    }
    let (mut wide, mut narrow) = (vec![0.0_f32; rows * cols], vec![bf16::ZERO; rows * cols]);
    q.dequantize_into(MatMut::new(&mut wide, rows, cols).unwrap()).unwrap();
    let mut fake = vec![0.0_f32; rows * cols];
    fake_quantize_into(x.view(), cast, &quiet, MatMut::new(&mut fake, rows, cols).unwrap())
        .unwrap();
    assert!(bits(&wide) == bits(&fake), "{cast} of {:?}: fake_quantize", x.shape);
    fake_quantize_into(x.view(), cast, &quiet, MatMut::new(&mut narrow, rows, cols).unwrap())
        .unwrap();
    Everything { q, t, fake: bits(&fake), narrow }
}

#[test]
fn any_number_of_threads() {
    let pools: Vec<_> = [1, 2, 3, 4]
        .map(|n| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap())
        .into();
    for (i, shape) in shapes().into_iter().enumerate() {
        let (spread, kind) = [
            (Spread::Normal, Kind::F32),
            (Spread::Special, Kind::Bf16),
            (Spread::HeavyTail, Kind::F32),
            (Spread::Mixed, Kind::Bf16),
            (Spread::HeavyTail, Kind::F64),
            (Spread::Special, Kind::F16),
        ][i];
        let x = Matrix::new(shape, spread, kind, 5);
        // Each shape takes every other cast, and of the pools two.
        for (c, text) in CASTS.iter().enumerate().filter(|(c, _)| (i + c) % 2 == 0) {
            let cast: Cast = text.parse().unwrap();
            let want = x.naive(&cast, STREAM);
            let serial = everything(&x, &cast, 1);
            assert_eq!(wrong(&cast, &x, &serial.q, &want), None);
            let values = naive::dequantize(&cast, shape, &want);
            assert!(serial.fake == bits(&values), "{cast} of {shape:?}: values");
            let turned = naive::transpose(serial.q.codes(), shape.0, shape.1);
            assert!(serial.t.codes() == turned, "{cast} of {shape:?}: transposed codes");
            let pools = pools.iter().enumerate().filter(|(n, _)| *n == 3 || *n == c / 2 % 3);
            for (n, pool) in pools {
                let got = pool.install(|| everything(&x, &cast, 0));
                let note = format!("{cast} of {shape:?} on {} threads", n + 1);
                assert_eq!(differ(&cast, &x, &got.q, &serial.q), None, "{note}");
                assert_eq!(differ(&cast, &x, &got.t, &serial.t), None, "{note}");
                assert!(got.q.stats() == serial.q.stats(), "{note}: statistics");
                assert!(got.q.block_stats() == serial.q.block_stats(), "{note}: of blocks");
                assert!(got.t.block_stats() == serial.t.block_stats(), "{note}: of blocks");
                assert!(got.fake == serial.fake, "{note}: values");
                let same =
                    |(a, b): (&bf16, &bf16)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
                assert!(got.narrow.iter().zip(&serial.narrow).all(same), "{note}: bf16 values");
            }
        }
    }
}

/// Whether it is an error of this kind.
macro_rules! refused {
    ($call:expr, $error:pat) => {
        match $call {
            Err($error) => {}
            Err(other) => panic!("{}: another error: {other}", stringify!($call)),
            Ok(_) => panic!("{}: no error", stringify!($call)),
        }
    };
}

#[test]
fn bad_matrices() {
    let x = [1.0_f32; 12];
    for (rows, cols) in [(3, 5), (0, 5), (usize::MAX, 2), (usize::MAX / 2 + 7, 2), (1 << 63, 2)] {
        refused!(MatRef::new(&x, rows, cols), Error::Length { got: 12, .. });
        let mut y = x;
        refused!(MatMut::new(&mut y, rows, cols), Error::Length { got: 12, .. });
    }
    for (shape, strides) in [
        ((3, 4), (5, 1)),
        ((3, 4), (4, 2)),
        ((2, 2), (usize::MAX, 1)),
        ((2, 2), (usize::MAX, usize::MAX)),
        ((3, 2), (usize::MAX / 2 + 1, 1)),
        ((13, 1), (1, 1)),
        // As many elements as no slice of codes can have, all of them the same one.
        ((usize::MAX, usize::MAX), (0, 0)),
    ] {
        refused!(MatRef::with_strides(&x, shape, strides), Error::Strides { len: 12, .. });
    }
    let mut y = x;
    refused!(MatMut::with_row_stride(&mut y, (3, 4), 3), Error::Strides { .. });
    refused!(MatMut::with_row_stride(&mut y, (3, 4), 5), Error::Strides { .. });
    assert!(MatRef::with_strides(&x, (3, 4), (4, 1)).is_ok());
    // More codes than there is memory for.
    let huge = MatRef::with_strides(&x, (1 << 40, 1 << 20), (0, 0)).unwrap();
    let cast: Cast = "e4m3:tensor:te-current".parse().unwrap();
    refused!(quantize(huge, &cast, &QuantizeOptions::new()), Error::Memory { .. });
    let blocks: Cast = "e4m3:1x1:te-current".parse().unwrap();
    refused!(quantize(huge, &blocks, &QuantizeOptions::new()), Error::Memory { .. });
}

#[test]
fn bad_casts() {
    let x = [1.0_f32; 12];
    let x = MatRef::new(&x, 3, 4).unwrap();
    let options = QuantizeOptions::new();
    let good: Cast = "e4m3:1x2:te-block".parse().unwrap();
    let block = |rows, cols| Cast { granularity: Granularity::Block { rows, cols }, ..good };
    let all = |cast: &Cast, options: &QuantizeOptions<'_>| {
        let mut y = [7.0_f32; 12];
        let mut old = quantize(x, &good, &QuantizeOptions::new()).unwrap();
        let results = [
            quantize(x, cast, options).err(),
            quantize_transposed(x, cast, options).err(),
            quantize_into(x, cast, options, &mut old).err(),
            fake_quantize_into(x, cast, options, MatMut::new(&mut y, 3, 4).unwrap()).err(),
        ];
        assert!(y == [7.0; 12], "{cast:?}: written in spite of an error");
        assert!(old == Quantized::default(), "{cast:?}: something is left after an error");
        results.map(|error| error.unwrap_or_else(|| panic!("{cast:?}: no error")))
    };
    for cast in [block(0, 4), block(4, 0)] {
        assert!(all(&cast, &options).iter().all(|e| matches!(e, Error::Range { .. })));
    }
    let casts = [
        Cast { format: FormatId::Bf16, ..good },
        Cast { format: FormatId::E8M0, ..good },
        Cast { rule: quarter::Rule::Nvfp4, ..good },
        Cast {
            rule: quarter::Rule::Nvfp4,
            format: FormatId::F4E2M1,
            granularity: Granularity::Row,
            ..good
        },
    ];
    for cast in casts {
        assert!(all(&cast, &options).iter().all(|e| matches!(e, Error::Cast { .. })), "{cast:?}");
    }
    let stochastic = good.rounding(quarter::Rounding::STOCHASTIC);
    assert!(all(&stochastic, &options).iter().all(|e| *e == Error::RandomMissing));
    // Scales of another number, or kind, than the cast has.
    let scales = Scales::F32 { scale: None, scale_inv: vec![1.0; 5] };
    let given = options.scales(&scales);
    assert!(all(&good, &given).iter().all(|e| matches!(e, Error::Length { got: 5, .. })));
    let scales = Scales::E8M0(vec![127; 6]);
    let given = options.scales(&scales);
    assert!(quantize(x, &good, &given).is_err() && quantize_transposed(x, &good, &given).is_err());
    let uneven = Scales::F32 { scale: Some(vec![1.0; 5]), scale_inv: vec![1.0; 6] };
    refused!(quantize(x, &good, &options.scales(&uneven)), Error::Length { .. });
    refused!(quantize_both(x, &good, &good, &given), Error::Cast { .. });
}

#[test]
fn bad_parts() {
    let (id, shape, block) = (FormatId::F8E4M3, (3, 4), Granularity::Block { rows: 1, cols: 2 });
    let scales = |n| Scales::F32 { scale: None, scale_inv: vec![0.5; n] };
    let parts =
        |codes: usize, n| Quantized::from_parts(id, shape, block, vec![0x38; codes], scales(n));
    let q = parts(12, 6).unwrap();
    refused!(parts(11, 6), Error::Length { .. });
    refused!(parts(12, 5), Error::Length { .. });
    let zero = Granularity::Block { rows: 0, cols: 1 };
    refused!(Quantized::from_parts(id, shape, zero, vec![0; 12], scales(6)), Error::Range { .. });
    let wide = FormatId::Bf16;
    refused!(
        Quantized::from_parts(wide, shape, block, vec![0; 12], scales(6)),
        Error::CodeWidth { .. }
    );
    let huge = (usize::MAX, 3);
    refused!(Quantized::from_parts(id, huge, block, vec![0; 12], scales(6)), Error::Length { .. });
    let four = FormatId::F4E2M1;
    refused!(
        Quantized::from_parts(four, shape, block, vec![0x10; 12], scales(6)),
        Error::Code { .. }
    );
    refused!(
        Quantized::from_packed(id, shape, block, &[0; 12], scales(6)),
        Error::NotPackable { .. }
    );
    refused!(Quantized::from_packed(four, shape, block, &[0; 5], scales(6)), Error::Length { .. });
    refused!(Quantized::from_packed(four, huge, block, &[0; 5], scales(6)), Error::Length { .. });
    assert!(Quantized::from_packed(four, shape, block, &[0; 6], scales(6)).is_ok());
    let mut y = [7.0_f32; 12];
    refused!(q.dequantize_into(MatMut::new(&mut y, 4, 3).unwrap()), Error::Shape { .. });
    refused!(q.codes_as_bf16(&mut [bf16::ONE; 11]), Error::Shape { .. });
    refused!(q.dequantize_by_division(&mut y), Error::Cast { .. });
    refused!(q.view().slice_rows(2, 4), Error::Range { .. });
    refused!(q.view().slice_rows(2, 1), Error::Range { .. });
    let x = [1.0_f32; 12];
    let (x, cast) = (MatRef::new(&x, 3, 4).unwrap(), "e4m3:1x2:te-block".parse().unwrap());
    let dst = MatMut::new(&mut y, 4, 3).unwrap();
    refused!(fake_quantize_into(x, &cast, &QuantizeOptions::new(), dst), Error::Shape { .. });
    assert!(y == [7.0; 12], "written in spite of an error");
}
