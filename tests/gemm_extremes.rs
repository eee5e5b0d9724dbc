//! The matrix product where arithmetic ends: every pair of E8M0 scales, numbers whose products are
//! subnormal or overflow, scales that are no numbers, and no elements along K at all.
#![cfg(feature = "std")]

mod common;

use common::gemm::draw::{self, CODES, DATA, Data, SPREADS, Spread};
use common::gemm::{
    BLOCKINGS, C, Call, Factor, SMALL, Words, assert_same, defined, paths, product, spread_over,
};
use common::matrices::{KINDS, Kind};
use common::scaling::Source;
use half::bf16;
use quarter::gemm::{Accumulation, Activation, BlockSum, Packed, Workspace};
use quarter::scale::ScaleFormat;
use quarter::tensor::{Quantized, Scales};
use quarter::{F8E5M2, FormatId, Granularity};

/// Elements of a block.
const BLOCK: usize = 32;

/// Two rows of E5M2 whose product over a block is p, and p.
type Sample = ([f32; BLOCK], [f32; BLOCK], f32);

/// p is the smallest and the largest magnitude that a block of E5M2 can have, 1, and a negative one
/// with all the bits that f32 has, whose roundings show.
fn samples() -> [Sample; 4] {
    let one_of = |x: f32| std::array::from_fn(|k| if k == 5 { x } else { 0.0 });
    let (min, max) = (2f32.powi(-16), 57344.0_f32);
    let mut wide = [[0.0; BLOCK]; 2];
    // 2^12 · −2^11 − 2^10 · 2^11 − 2 · 2^9 − 1 · 1, each exact and so is every sum.
    for (k, (x, y)) in
        [(4096.0, -2048.0), (1024.0, -2048.0), (2.0, -512.0), (1.0, -1.0)].into_iter().enumerate()
    {
        (wide[0][8 * k], wide[1][8 * k]) = (x, y);
    }
    [
        (one_of(min), one_of(min), 2f32.powi(-32)),
        ([max; BLOCK], [max; BLOCK], 32.0 * 57344.0 * 57344.0),
        (one_of(1.0), one_of(1.0), 1.0),
        (wide[0], wide[1], -(8_388_608.0 + 2_097_152.0 + 1024.0 + 1.0)),
    ]
}

/// Rows that are all the same, each with a scale byte of its own.
fn rows(row: &[f32; BLOCK], bytes: &[u8]) -> Factor {
    let codes = row.map(|x| F8E5M2::from_f32(x).to_bits());
    assert!(codes.map(|code| F8E5M2::from_bits(code).to_f32()) == *row, "{row:?} is E5M2");
    let codes = bytes.iter().flat_map(|_| codes).collect();
    let scales = Scales::E8M0(bytes.to_vec());
    let shape = (bytes.len(), BLOCK);
    Quantized::from_parts(FormatId::F8E5M2, shape, Granularity::BLOCK_1X32, codes, scales)
        .unwrap()
        .into()
}

/// p · 2^(ea + eb − 254) rounded once, from f64, where nothing is lost; added to +0.
fn scaled(p: f32, a: u8, b: u8) -> f32 {
    if a == 255 || b == 255 {
        return f32::NAN;
    }
    let exponent = i32::from(a) + i32::from(b) - 254;
    0.0 + (f64::from(p) * 2f64.powi(exponent)) as f32
}

#[track_caller]
fn assert_scaled(path: &str, p: f32, (a, b): (u8, u8), got: u64) {
    let want = scaled(p, a, b);
    let same = if want.is_nan() { got == u64::MAX } else { got == u64::from(want.to_bits()) };
    let got = f32::from_bits(got as u32);
    let [got_bits, want_bits] = [got, want].map(f32::to_bits);
    assert!(
        same,
        "{path}: p {p:e} with bytes {a} and {b}\n  got  {got_bits:08x} ({got:e})\n  want {want_bits:08x} \
         ({want:e})"
    );
}

/// All pairs of E8M0 bytes in one product: 65,025 of numbers, and those with byte 255.
#[test]
fn every_pair_of_scales() {
    let bytes: Vec<u8> = (0..=255).collect();
    let mut count = 0;
    for (x, y, p) in samples() {
        let (a, b) = (rows(&x, &bytes), rows(&y, &bytes));
        let packed = Packed::new(b.input()).unwrap();
        let mut check = |path: &str, bits: &[u64]| {
            for (i, got) in bits.iter().enumerate() {
                assert_scaled(path, p, (bytes[i / 256], bytes[i % 256]), *got);
            }
            count += bits.len();
        };
        check("reference", &defined(&a, &b, &Call::new()).unwrap().bits);
        for path in paths(&[1], &BLOCKINGS[..1]) {
            let right = if path.packed { (&packed).into() } else { b.input() };
            let got = product(path, &mut Workspace::new(), &a, right, &Call::new()).unwrap();
            check(path.isa.name(), &got.bits);
        }
    }
    println!("{count} scaled sums");
}

/// The same pairs, each in a product of its own: there the powers may be folded into the elements.
#[test]
fn every_pair_of_scales_alone() {
    let samples = samples();
    let chosen = spread_over(256 * 256 * samples.len());
    let paths: Vec<_> = SMALL.iter().filter(|path| path.blocking == BLOCKINGS[0]).collect();
    let pieces = 64;
    common::parallel(pieces, |piece| {
        let mut space = Workspace::new();
        for i in chosen.iter().skip(piece).step_by(pieces) {
            let (x, y, p) = &samples[i >> 16];
            let bytes = ((i >> 8) as u8, *i as u8);
            let (a, b) = (rows(x, &[bytes.0]), rows(y, &[bytes.1]));
            // A path for each, in turn.
            let path = paths[(i ^ i >> 8) % paths.len()];
            let packed = path.packed.then(|| Packed::new(b.input()).unwrap());
            let right = packed.as_ref().map_or(b.input(), Into::into);
            let got = product(*path, &mut space, &a, right, &Call::new()).unwrap();
            assert_scaled(path.isa.name(), *p, bytes, got.bits[0]);
        }
    });
    println!("{} products", chosen.len());
}

/// Every kind of numbers beside every other, in every type and with any strides: subnormals, tiny
/// ones with products below 2^−126, huge ones that overflow, any bits, zeros of both signs.
#[test]
fn numbers_of_all_sizes() {
    let types = KINDS.iter().flat_map(|a| KINDS.map(|b| [*a, b]));
    let sizes: Vec<[Data; 2]> = DATA.iter().flat_map(|a| DATA.map(|b| [*a, b])).collect();
    let shapes = [(17, 33, 37), (3, 5, 130), (15, 17, 8), (1, 40, 21), (14, 64, 1)];
    let jobs: Vec<_> = types.flat_map(|types| sizes.iter().map(move |d| (types, *d))).collect();
    let chosen = spread_over(jobs.len());
    common::parallel(chosen.len(), |i| {
        let (types, data) = jobs[chosen[i]];
        for (round, (m, n, k)) in shapes.into_iter().enumerate() {
            // Of bf16 all shapes: it is the type with two ways.
            if types != [Kind::Bf16; 2] && round != i % shapes.len() {
                continue;
            }
            let mut words = Words::new((i * shapes.len() + round) as u64);
            let a = draw::strided(&mut words, types[0], data[0], (m, k));
            let b = draw::strided(&mut words, types[1], data[1], (n, k));
            let promote = words.one_of(&[None, Some(4), Some(16), Some(3)]);
            let sums = Accumulation { promote, ..Accumulation::default() };
            assert_same(&a, &b, &Call { sums, ..Call::new() }, &SMALL);
        }
    });
}

/// Where pairs of bf16 may be summed by their unit, and where no more, as sums become subnormal:
/// products of 16 bits whose smallest is 2^(total − 14).
#[test]
fn bf16_around_the_smallest_normal() {
    let chosen = spread_over(60);
    common::parallel(chosen.len(), |i| {
        let total = -145 + chosen[i] as i32;
        let mut words = Words::new(i as u64);
        for ea in [total / 2, -120, 3] {
            let eb = total - ea;
            if !(-126..=127).contains(&eb) {
                continue;
            }
            let mut numbers = |exponent: i32, rows: usize| {
                let number = |word: u32| {
                    let sign = (word & 1) << 15;
                    bf16::from_bits((sign | ((exponent + 127) as u32) << 7 | word >> 25) as u16)
                };
                let all = (0..rows * 23).map(|_| number(words.word())).collect();
                Factor::values(Source::Bf16(all), (rows, 23))
            };
            assert_same(&numbers(ea, 5), &numbers(eb, 18), &Call::new(), &SMALL);
        }
    });
}

/// One subnormal among normal numbers, wherever it is: each thread looks at its part of an operand.
#[test]
fn one_subnormal_of_many() {
    let shape = (1536, 256); // as many as are worth three threads
    let places = [(0, 0), (333, 17), (700, 255), (1023, 128)];
    for (row, col) in &places[..common::share(4)] {
        let mut values = vec![bf16::ONE; shape.0 * shape.1];
        values[row * shape.1 + col] = bf16::from_bits(1);
        let a = Factor::values(Source::Bf16(values), shape);
        let mut values = vec![bf16::ZERO; 17 * shape.1];
        values[*col] = bf16::from_f32(2f32.powi(100));
        let b = Factor::values(Source::Bf16(values), (17, shape.1));
        assert_same(&a, &b, &Call::new(), &paths(&[2, 3, 5], &BLOCKINGS[..1]));
    }
}

/// Two products of bf16 that differ in the last place that their sum can have: that is the smallest
/// normal number, or twice or half of it, which the unit for pairs takes for 0.
#[test]
fn bf16_sums_in_the_last_place() {
    // Significands of eight bits with m · n − x · y of 1, 2 or 3.
    let all = (129..=255).flat_map(|m: i32| (129..=255).map(move |n: i32| (m, n)));
    let mut found = Vec::new();
    for (m, n) in all.step_by(7) {
        let near = (129..=255).find_map(|x| {
            let y = (m * n - 1) / x;
            ((129..=255).contains(&y) && x != n && (1..=3).contains(&(m * n - x * y)))
                .then_some((x, y))
        });
        found.extend(near.map(|(x, y)| [m, x, n, y]));
    }
    found.truncate(64);
    assert_eq!(found.len(), 64, "there are enough of them");
    let bf16 = |significand: i32, exponent: i32| {
        bf16::from_bits((((exponent + 127) << 7) + significand - 128) as u16)
    };
    let mut small = 0;
    for total in -118..-108 {
        for ea in [total / 2, -120, 10] {
            let eb = total - ea;
            let a = found.iter().flat_map(|[m, x, _, _]| [bf16(*m, ea), bf16(*x, ea)]).collect();
            let b = found.iter().flat_map(|[_, _, n, y]| [bf16(*n, eb), -bf16(*y, eb)]).collect();
            let [a, b] = [a, b].map(|x| Factor::values(Source::Bf16(x), (64, 2)));
            let sums = defined(&a, &b, &Call::new()).unwrap();
            let subnormal = |bits: &&u64| (1..0x0080_0000).contains(&(**bits & 0x7fff_ffff));
            small += sums.bits.iter().filter(subnormal).count();
            assert_same(&a, &b, &Call::new(), &SMALL);
        }
    }
    assert!(small > 300, "{small} subnormal sums");
}

/// Codes of every spread with scales of every spread and form, in blocks along K: powers of two
/// that can be folded into the elements, that cannot, and that only zeros have.
#[test]
fn scales_of_all_sizes() {
    let forms = [ScaleFormat::F32, ScaleFormat::E8M0];
    let mut jobs = Vec::new();
    for form in forms {
        for (a, b) in SPREADS.iter().flat_map(|a| SPREADS.map(|b| (*a, b))) {
            for codes in CODES {
                let all = [BlockSum::DeepSeek, BlockSum::DeepGemm, BlockSum::Te];
                let sums = if form == ScaleFormat::F32 { &all[..] } else { &all[..1] };
                jobs.extend(sums.iter().map(|sum| (form, a, b, codes, *sum)));
            }
        }
    }
    let formats = [FormatId::F8E4M3, FormatId::F8E5M2, FormatId::F4E2M1, FormatId::F8E4M3FNUZ];
    let chosen = spread_over(jobs.len());
    common::parallel(chosen.len(), |i| {
        let (form, sa, sb, kind, block_sum) = jobs[chosen[i]];
        let mut words = Words::new(i as u64);
        let format = formats[i % formats.len()];
        let other = formats[i / formats.len() % formats.len()];
        let block = Granularity::Block { rows: 1, cols: 16 };
        let a = draw::codes(&mut words, (format, kind), (9, 80), block, (form, sa));
        let b = draw::codes(&mut words, (other, kind), (20, 80), block, (form, sb));
        let sums = Accumulation { block_sum: Some(block_sum), ..Accumulation::default() };
        assert_same(&a, &b, &Call { sums, ..Call::new() }, &SMALL);
    });
}

/// One power of two, of any size, for all blocks, beside bf16 whose products with it are about 1: it
/// may be folded into the codes only as far as they stay normal there.
#[test]
fn powers_beside_their_inverse() {
    let chosen = spread_over(255);
    common::parallel(chosen.len(), |i| {
        let power = chosen[i] as i32 - 127;
        let mut words = Words::new(i as u64);
        for (j, kind) in CODES.into_iter().enumerate() {
            let format = [FormatId::F8E4M3, FormatId::F8E5M2, FormatId::F6E2M3][(i + j) % 3];
            let (block, one) = (Granularity::BLOCK_1X16, (ScaleFormat::F32, Spread::Powers));
            let codes = draw::codes(&mut words, (format, kind), (5, 40), block, one);
            let Factor::Codes { of, .. } = codes else { unreachable!("they are codes") };
            let (codes, _) = of.into_parts();
            let powers = [
                Scales::F32 { scale: None, scale_inv: vec![2f32.powi(power); 15] },
                Scales::E8M0(vec![(power + 127) as u8; 15]),
            ];
            let exponent = (-power + words.below(40) as i32 - 20).clamp(-126, 127) + 127;
            let number = |word: u32| {
                bf16::from_bits(((word & 1) << 15 | (exponent as u32) << 7 | word >> 25) as u16)
            };
            let numbers = (0..18 * 40).map(|_| number(words.word())).collect();
            let b = Factor::values(Source::Bf16(numbers), (18, 40));
            for scales in powers {
                let a = Quantized::from_parts(format, (5, 40), block, codes.clone(), scales);
                let a = Factor::from(a.unwrap());
                for block_sum in [BlockSum::DeepSeek, BlockSum::DeepGemm, BlockSum::Te] {
                    let sums =
                        Accumulation { block_sum: Some(block_sum), ..Accumulation::default() };
                    assert_same(&a, &b, &Call { sums, ..Call::new() }, &SMALL);
                    if a.blocks() == Some(ScaleFormat::E8M0) {
                        break;
                    }
                }
            }
        }
    });
}

/// A block of zeros whose scale is 2^127 beside one of 2: their product is Inf, and by DeepGEMM's
/// rule the sum NaN; by the others 0.
#[test]
fn zeros_with_the_largest_power() {
    for block_sum in [BlockSum::DeepSeek, BlockSum::DeepGemm, BlockSum::Te] {
        for other in [2.0, 0.5, 1.0] {
            let factor = |first: u8, scales: [f32; 2]| {
                let mut codes = vec![0x38; 64]; // 1
                codes[..32].fill(first);
                let scales = Scales::F32 { scale: None, scale_inv: scales.to_vec() };
                let (format, block) = (FormatId::F8E4M3, Granularity::BLOCK_1X32);
                Factor::from(Quantized::from_parts(format, (1, 64), block, codes, scales).unwrap())
            };
            let (a, b) = (factor(0, [2f32.powi(127), 1.0]), factor(0x38, [other, 1.0]));
            let sums = Accumulation { block_sum: Some(block_sum), ..Accumulation::default() };
            let call = Call { sums, ..Call::new() };
            let want = if block_sum == BlockSum::DeepGemm && other == 2.0 {
                u64::MAX
            } else {
                u64::from(32f32.to_bits())
            };
            let got = defined(&a, &b, &call).unwrap().bits;
            assert_eq!(got, [want], "{block_sum} with scales 2^127 and {other:e}");
            assert_same(&a, &b, &call, &SMALL);
            assert_same(&b, &a, &call, &SMALL);
        }
    }
}

/// E8M0 as a format of elements: 2^−127 is subnormal in bf16, whatever stands beside it.
#[test]
fn e8m0_elements() {
    let mut words = Words::new(7);
    for data in [Data::Huge, Data::Ordinary, Data::Tiny] {
        for kind in KINDS {
            let x = draw::numbers(&mut words, kind, data, 6 * 40);
            let x = Factor::values(x, (6, 40));
            for codes in CODES {
                let codes = (FormatId::E8M0, codes);
                let one = (ScaleFormat::F32, Spread::Powers);
                let y = draw::codes(&mut words, codes, (19, 40), Granularity::Tensor, one);
                assert_same(&x, &y, &Call::new(), &SMALL);
                assert_same(&y, &x, &Call::new(), &SMALL);
            }
        }
    }
}

/// Without elements along K the sums are +0 and no scale is read; what follows is done all the
/// same, in every tile.
#[test]
fn nothing_along_k() {
    let nan = |form, rows: usize, granularity: Granularity| {
        let spread = (form, Spread::Ends);
        let codes = (FormatId::F8E4M3, CODES[0]);
        draw::codes(&mut Words::new(1), codes, (rows, 0), granularity, spread)
    };
    let numbers = |rows: usize, strides| Factor::Values {
        of: Source::Bf16(vec![]),
        shape: (rows, 0),
        strides,
    };
    let block = Granularity::BLOCK_1X32;
    for (m, n) in [(1, 1), (3, 100), (40, 17), (30, 65)] {
        let pairs = [
            (
                nan(ScaleFormat::F32, m, Granularity::Tensor),
                nan(ScaleFormat::E8M0, n, Granularity::Row),
            ),
            (nan(ScaleFormat::F32, m, block), nan(ScaleFormat::F32, n, block)),
            (nan(ScaleFormat::E8M0, m, block), nan(ScaleFormat::E8M0, n, Granularity::Tensor)),
            (nan(ScaleFormat::E4M3, m, block), nan(ScaleFormat::E4M3, n, block)),
            (numbers(m, (0, 1)), numbers(n, (0, 1))),
            (numbers(m, (7, 1)), numbers(n, (1, 9))),
            (numbers(m, (3, 1)).cast_to("f32"), numbers(n, (5, 2))),
        ];
        let sums = Accumulation { block_sum: Some(BlockSum::Te), ..Accumulation::default() };
        let bias: Vec<f32> = (0..n).map(|i| i as f32 - 20.0).collect();
        let plain = Call { sums, amax: true, ..Call::new() };
        let more = Call {
            alpha: Some(3.0),
            bias: Some(bias),
            c: C::Output(0.5),
            activation: Activation::Relu,
            ..plain.clone()
        };
        for (a, b) in &pairs {
            let zeros = defined(a, b, &plain).unwrap();
            assert_eq!(zeros.bits, vec![0; m * n], "{a} * {b}: {m} x {n} x 0");
            assert_same(a, b, &plain, &SMALL);
            assert_same(a, b, &more, &SMALL);
        }
    }
}
