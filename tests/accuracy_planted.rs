//! Kernels that are wrong on purpose: each is caught, and the message names its symptom. A right
//! kernel passes the same check.
#![cfg(feature = "std")]

mod common;

use common::gemm::ordinary;
use common::planted::planted;
use quarter::accuracy::bounds::{GemmBound, Operand, Quantization, Sums};
use quarter::accuracy::check::{Symptom, check_matrix, check_rounded, check_same_bits};
use quarter::gemm::{Accumulation, GemmOptions, gemm_nt};
use quarter::mma::H100_WGMMA_FP8;
use quarter::tensor::{MatMut, MatRef, QuantizeOptions, Quantized, quantize};
use quarter::{FormatId, FormatSpec, Policy, Rounding, Unpacked};

// ---------------------------------------------------------------- conversions

/// Midpoints and their neighbours, subnormals, numbers around the largest, and specials.
fn sources(spec: &FormatSpec) -> Vec<f64> {
    common::structured_f64(&common::exact::Exact::new(spec), &[12, 40])
}

fn codes(spec: &FormatSpec, x: &[f64], kernel: impl Fn(f64) -> u64) -> Vec<u64> {
    x.iter().map(|x| kernel(*x) & spec.code_mask()).collect()
}

#[track_caller]
fn conversion(policy: Policy, wrong: impl Fn(f64) -> u64, symptom: &Symptom, words: &[&str]) {
    let spec = FormatId::F8E5M2.spec();
    let x = sources(spec);
    let right = codes(spec, &x, |x| right(spec, policy, x));
    let wrong = codes(spec, &x, wrong);
    planted(
        check_rounded(spec, policy, &x, &right),
        check_rounded(spec, policy, &x, &wrong),
        symptom,
        words,
    );
}

fn right(spec: &FormatSpec, policy: Policy, x: f64) -> u64 {
    Unpacked::from_f64(x).encode(spec, policy, 0).unwrap()
}

const E5M2: FormatId = FormatId::F8E5M2;

#[test]
fn double_rounding_through_f32() {
    let kernel = |x: f64| right(E5M2.spec(), Policy::NONFINITE, f64::from(x as f32));
    let symptom = Symptom::DoubleRounding { through: "f32" };
    conversion(Policy::NONFINITE, kernel, &symptom, &["double rounding", "f32", "|"]);
}

#[test]
fn truncation_instead_of_nearest() {
    let policy = Policy::NONFINITE.rounding(Rounding::TowardZero);
    let kernel = |x: f64| right(E5M2.spec(), policy, x);
    conversion(Policy::NONFINITE, kernel, &Symptom::Truncation, &["truncation"]);
}

#[test]
fn ties_away_from_zero() {
    let policy = Policy::NONFINITE.rounding(Rounding::NearestAway);
    let kernel = |x: f64| right(E5M2.spec(), policy, x);
    conversion(Policy::NONFINITE, kernel, &Symptom::TiesAway, &["ties away"]);
}

#[test]
fn overflow_tested_before_rounding() {
    let kernel = |x: f64| {
        let beyond = x.abs() > E5M2.spec().max() && x.is_finite();
        right(E5M2.spec(), Policy::NONFINITE, if beyond { x * f64::INFINITY } else { x })
    };
    let symptom = Symptom::OverflowBeforeRounding;
    conversion(Policy::NONFINITE, kernel, &symptom, &["overflow tested before rounding"]);
}

#[test]
fn subnormals_flushed() {
    let kernel = |x: f64| {
        let code = right(E5M2.spec(), Policy::NONFINITE, x);
        if code & 0x7f < 4 { code & 0x80 } else { code }
    };
    conversion(Policy::NONFINITE, kernel, &Symptom::Flushed, &["flush", "|00000|"]);
}

#[test]
fn inf_that_becomes_nan() {
    let kernel = |x: f64| match x {
        x if x.is_infinite() => 0x7e,
        x => right(E5M2.spec(), Policy::NONFINITE, x),
    };
    conversion(Policy::NONFINITE, kernel, &Symptom::InfForNan, &["Inf and NaN are mixed up"]);
}

#[test]
fn saturation_that_was_not_asked_for() {
    let kernel = |x: f64| right(E5M2.spec(), Policy::SATURATE, x);
    conversion(Policy::NONFINITE, kernel, &Symptom::Saturates, &["saturation where"]);
    let kernel = |x: f64| right(E5M2.spec(), Policy::NONFINITE, x);
    conversion(Policy::SATURATE, kernel, &Symptom::NotSaturated, &["saturation is expected"]);
}

#[test]
fn zeros_that_lose_their_sign() {
    let kernel = |x: f64| {
        let code = right(E5M2.spec(), Policy::NONFINITE, x);
        if code == 0x80 { 0 } else { code }
    };
    conversion(Policy::NONFINITE, kernel, &Symptom::NegativeZero, &["sign of zeros"]);
    let x = [0.0_f32, -0.0, 1.0];
    let same = check_same_bits(&x, &x);
    planted(same, check_same_bits(&[0.0_f32, 0.0, 1.0], &x), &Symptom::NegativeZero, &["zeros"]);
}

// ---------------------------------------------------------------- quantization

const SHAPE: (usize, usize) = (8, 256);

/// Rows of different sizes, and blocks too.
fn uneven(seed: u64, (rows, cols): (usize, usize)) -> Vec<f32> {
    let x = ordinary(rows * cols, seed);
    let size = |i: usize| 3f32.powi((i / cols % 5) as i32) * 5f32.powi((i % cols / 32 % 3) as i32);
    x.into_iter().enumerate().map(|(i, x)| x * size(i)).collect()
}

fn cast(x: &[f32], shape: (usize, usize), cast: &str) -> Quantized {
    let x = MatRef::new(x, shape.0, shape.1).unwrap();
    quantize(x, &cast.parse().unwrap(), &QuantizeOptions::new()).unwrap()
}

fn dequantized(q: &Quantized) -> Vec<f32> {
    let mut values = vec![0.0; q.rows() * q.cols()];
    q.dequantize_into(MatMut::new(&mut values, q.rows(), q.cols()).unwrap()).unwrap();
    values
}

#[track_caller]
fn quantization(
    name: &str,
    wrong: impl Fn(&Quantized, &[f32], &[f32]) -> Vec<f32>,
    symptom: &Symptom,
    words: &[&str],
) {
    let x = uneven(5, SHAPE);
    let q = cast(&x, SHAPE, name);
    let values = dequantized(&q);
    let bounds = Quantization::new(MatRef::new(&x, SHAPE.0, SHAPE.1).unwrap(), q.view()).unwrap();
    planted(bounds.check(&values), bounds.check(&wrong(&q, &x, &values)), symptom, words);
}

fn by_scale(q: &Quantized, values: &[f32], power: i32) -> Vec<f32> {
    let one = |(i, x): (usize, &f32)| x * q.view().scale_inv(i / SHAPE.1, i % SHAPE.1).powi(power);
    values.iter().enumerate().map(one).collect()
}

#[test]
fn scale_off_by_a_power_of_two() {
    let kernel =
        |_: &Quantized, _: &[f32], values: &[f32]| values.iter().map(|x| x / 4.0).collect();
    let symptom = Symptom::PowerOfTwo { power: -2 };
    quantization("e4m3:row:te-current", kernel, &symptom, &["scale off by 2^-2", "x bound"]);
}

#[test]
fn scale_applied_twice() {
    let kernel = |q: &Quantized, _: &[f32], values: &[f32]| by_scale(q, values, 1);
    let symptom = Symptom::ScaleTwice { operand: "the tensor" };
    quantization("e4m3:row:te-current", kernel, &symptom, &["applied twice"]);
}

#[test]
fn scale_in_the_wrong_direction() {
    let kernel = |q: &Quantized, _: &[f32], values: &[f32]| by_scale(q, values, -2);
    let symptom = Symptom::ScaleInverse { operand: "the tensor" };
    quantization("e4m3:row:te-current", kernel, &symptom, &["wrong direction"]);
}

#[test]
fn scale_axis_swapped() {
    let kernel = |q: &Quantized, _: &[f32], values: &[f32]| {
        let (rows, cols) = (SHAPE.0, SHAPE.1 / 32);
        let scale = |g: usize| q.scales().scale_inv(g);
        let one = |(i, x): (usize, &f32)| {
            let (r, c) = (i / SHAPE.1, i % SHAPE.1 / 32);
            x / scale(r * cols + c) * scale(c * rows + r)
        };
        values.iter().enumerate().map(one).collect()
    };
    let symptom = Symptom::SwappedAxis { operand: "the tensor" };
    quantization("e4m3:1x32:te-mx", kernel, &symptom, &["swapped scale axis"]);
}

#[test]
fn stale_amax() {
    // The scale of an earlier step goes out with codes of this one.
    let kernel =
        |_: &Quantized, _: &[f32], values: &[f32]| values.iter().map(|x| x * 0.8).collect();
    let x = uneven(5, SHAPE);
    let q = cast(&x, SHAPE, "e4m3:tensor:te-current");
    let bounds = Quantization::new(MatRef::new(&x, SHAPE.0, SHAPE.1).unwrap(), q.view()).unwrap();
    let values = dequantized(&q);
    let stale: Vec<f32> = kernel(&q, &x, &values);
    assert!(bounds.check(&values).is_ok());
    let violation = bounds.check(&stale).unwrap_err();
    println!("{violation}");
    match violation.symptoms() {
        [Symptom::Factor { factor }] => assert!((factor - 0.8).abs() < 0.03, "{factor}"),
        other => panic!("{other:?}\n{violation}"),
    }
    assert!(violation.to_string().contains("stale amax"));
}

// ---------------------------------------------------------------- products

const M: usize = 6;
const N: usize = 10;

/// A kernel of one's own: sums of f32 in four lanes.
fn kernel(k: usize, product: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0.0_f32; 4];
    (0..k).for_each(|i| lanes[i % 4] += product(i));
    (lanes[0] + lanes[1]) + (lanes[2] + lanes[3])
}

struct Case {
    k: usize,
    a: Quantized,
    b: Quantized,
    x: Vec<f32>,
    y: Vec<f32>,
    bias: Vec<f32>,
}

impl Case {
    fn new(k: usize, casts: [&str; 2]) -> Self {
        let (x, y) = (uneven(1, (M, k)), uneven(2, (N, k)));
        let (a, b) = (cast(&x, (M, k), casts[0]), cast(&y, (N, k), casts[1]));
        let bias = (0..N).map(|n| 1000.0 * (n as f32 - 3.5)).collect();
        Self { k, a, b, x, y, bias }
    }

    fn codes(q: &Quantized) -> Vec<f32> {
        q.codes().iter().map(|code| q.format().spec().decode_f32((*code).into())).collect()
    }

    /// Outputs of a kernel that is given row, col, and an element of a and b with their scales.
    fn run(&self, one: impl Fn(usize, usize, &dyn Fn(usize) -> [f32; 4]) -> f32) -> Vec<f32> {
        let (x, y) = (Self::codes(&self.a), Self::codes(&self.b));
        let at = |i: usize| {
            let (row, col) = (i / N, i % N);
            let element = |k: usize| {
                let scales = [self.a.view().scale_inv(row, k), self.b.view().scale_inv(col, k)];
                [x[row * self.k + k], y[col * self.k + k], scales[0], scales[1]]
            };
            one(row, col, &element)
        };
        (0..M * N).map(at).collect()
    }

    /// From codes and scales: sums alone are inexact.
    fn bounds(&self, sums: Sums) -> GemmBound<'_> {
        let [a, b] = [&self.a, &self.b].map(|q| Operand::exact(q).unwrap());
        GemmBound::new(a, b, sums).unwrap()
    }

    fn right(&self) -> Vec<f32> {
        self.run(|_, _, at| {
            kernel(self.k, |k| {
                let [x, y, sa, sb] = at(k);
                x * y * (sa * sb)
            })
        })
    }

    #[track_caller]
    fn planted(&self, wrong: &[f32], symptom: &Symptom, words: &[&str]) {
        let bounds = self.bounds(Sums::F32);
        planted(bounds.check(&self.right()), bounds.check(wrong), symptom, words);
    }
}

const BLOCKS: [&str; 2] = ["e4m3:1x32:te-mx", "e4m3:1x32:te-mx"];
const TENSORS: [&str; 2] = ["e4m3:tensor:te-current", "e4m3:tensor:te-current"];

#[test]
fn one_k_dropped() {
    let case = Case::new(256, BLOCKS);
    let wrong = case.run(|_, _, at| {
        kernel(case.k, |k| {
            let [x, y, sa, sb] = at(k);
            if k == 77 { 0.0 } else { x * y * (sa * sb) }
        })
    });
    case.planted(&wrong, &Symptom::DroppedTerm { k: 77 }, &["k = 77", "left out"]);
}

#[test]
fn one_k_counted_twice() {
    let case = Case::new(256, BLOCKS);
    let wrong = case.run(|_, _, at| {
        let product = |k: usize| {
            let [x, y, sa, sb] = at(k);
            x * y * (sa * sb)
        };
        kernel(case.k, product) + product(255)
    });
    case.planted(&wrong, &Symptom::TermTwice { k: 255 }, &["k = 255", "twice"]);
}

/// Half of a product looks like sums that are cut off, too.
#[test]
fn scale_of_a_product_off_by_a_power_of_two() {
    let case = Case::new(512, TENSORS);
    let wrong: Vec<f32> = case.right().iter().map(|x| x / 2.0).collect();
    case.planted(&wrong, &Symptom::PowerOfTwo { power: -1 }, &["off by 2^-1"]);
}

#[test]
fn scale_of_a_product_applied_twice_never_or_inverted() {
    let case = Case::new(128, TENSORS);
    let with = |change: fn(f32) -> f32| {
        case.run(move |_, _, at| {
            kernel(128, |k| {
                let [x, y, sa, sb] = at(k);
                x * y * (sa * change(sb))
            })
        })
    };
    let operand = "b";
    case.planted(&with(|s| s * s), &Symptom::ScaleTwice { operand }, &["of b is applied twice"]);
    case.planted(&with(|_| 1.0), &Symptom::ScaleMissing { operand }, &["of b is not applied"]);
    case.planted(&with(|s| 1.0 / s), &Symptom::ScaleInverse { operand }, &["wrong direction"]);
}

#[test]
fn scale_axis_of_a_product_swapped() {
    let case = Case::new(256, BLOCKS);
    let blocks = 256 / 32;
    let wrong = case.run(|row, _, at| {
        kernel(case.k, |k| {
            let [x, y, _, sb] = at(k);
            let group = row * blocks + k / 32;
            let turned = group % blocks * M + group / blocks;
            x * y * (case.a.scales().scale_inv(turned) * sb)
        })
    });
    case.planted(&wrong, &Symptom::SwappedAxis { operand: "a" }, &["swapped scale axis", "of a"]);
}

#[test]
fn bias_added_twice_or_left_out() {
    let case = Case::new(128, TENSORS);
    let with = |times: i32| {
        let right = case.right();
        let add = |(i, x): (usize, &f32)| (0..times).fold(*x, |x, _| x + case.bias[i % N]);
        right.iter().enumerate().map(add).collect::<Vec<f32>>()
    };
    let bounds = || case.bounds(Sums::F32).bias(&case.bias).unwrap();
    for (times, symptom, word) in
        [(2, Symptom::BiasTwice, "added twice"), (0, Symptom::BiasMissing, "left out")]
    {
        planted(bounds().check(&with(1)), bounds().check(&with(times)), &symptom, &[word]);
    }
}

/// 14 bits over K = 4096, as H100's unit without promotion, held to what promotion each 128 gives.
#[test]
fn promotion_missing() {
    let k = 4096;
    let positive =
        |seed| ordinary(M.max(N) * k, seed).into_iter().map(f32::abs).collect::<Vec<_>>();
    let (x, y) = (positive(1), positive(2));
    let name = "e4m3:tensor:te-current-pow2";
    let (a, b) = (cast(&x[..M * k], (M, k), name), cast(&y[..N * k], (N, k), name));
    let run = |sums: Accumulation| {
        let mut d = vec![0.0_f32; M * N];
        let out = MatMut::new(&mut d, M, N).unwrap();
        gemm_nt(&a, &b, out, &GemmOptions::new().sums(sums)).unwrap();
        d
    };
    let unit = Accumulation { unit: Some(&H100_WGMMA_FP8), ..Accumulation::F32 };
    let promoted = Accumulation { promote: Some(128), ..unit };
    let operands = || [&a, &b].map(|q| Operand::exact(q).unwrap());
    let [left, right] = operands();
    let bounds = GemmBound::new(left, right, promoted).unwrap();
    // The unit without promotion is within its own bound, and it is 14 bits.
    let [left, right] = operands();
    let own = GemmBound::new(left, right, unit).unwrap();
    let report = own.check(&run(unit)).unwrap();
    assert!(report.most_of_bound > 0.1, "{report:?}");
    let symptom = Symptom::AddsAs { unit: "h100-wgmma-fp8", promote: None };
    let words = ["missing promotion", "the bits of h100-wgmma-fp8"];
    planted(bounds.check(&run(promoted)), bounds.check(&run(unit)), &symptom, &words);
    let [left, right] = operands();
    let f32s = GemmBound::new(left, right, Sums::F32).unwrap();
    planted(f32s.check(&run(Accumulation::F32)), f32s.check(&run(unit)), &symptom, &words);
}

/// An accumulator of two halves of 16 bits: the carry of one place is lost.
#[test]
fn carry_lost() {
    let (k, shape) = (64, (M, N));
    // Integers, whose sums are exact.
    let whole = |seed| ordinary(N * k, seed).iter().map(|x| (x * 40.0).round()).collect::<Vec<_>>();
    let (x, y) = (whole(3), whole(4));
    let sum = |i: usize, lose: bool| {
        let terms = (0..k).map(|j| (x[i / N * k + j] * y[i % N * k + j]) as i64);
        let (mut low, mut high) = (0_i64, 0_i64);
        for (j, term) in terms.enumerate() {
            low += term & 0xffff;
            high += term >> 16;
            let carry = low >> 16;
            low &= 0xffff;
            // At the end of the first half of K it is forgotten.
            high += if lose && j == k / 2 { 0 } else { carry };
        }
        (high * 65536 + low) as f32
    };
    let run = |lose| (0..M * N).map(|i| sum(i, lose)).collect::<Vec<f32>>();
    let operand = |x: &'_ [f32], rows| {
        let x: &'static [f32] = Box::leak(x[..rows * k].to_vec().into_boxed_slice());
        Operand::exact(MatRef::new(x, rows, k).unwrap()).unwrap()
    };
    let bounds = GemmBound::new(operand(&x, shape.0), operand(&y, shape.1), Sums::F32).unwrap();
    let symptom = Symptom::LostCarry { power: 16 };
    planted(bounds.check(&run(false)), bounds.check(&run(true)), &symptom, &["lost carry", "2^16"]);
}

/// One row, one column, every eighth column: the message says where.
#[test]
fn messages_say_where() {
    let case = Case::new(64, TENSORS);
    let (right, bounds) = (case.right(), case.bounds(Sums::F32));
    let (expected, all) = bounds.all();
    let broken = |is: fn(usize, usize) -> bool| {
        let one = |(i, x): (usize, &f32)| if is(i / N, i % N) { x * 1.5 } else { *x };
        let d: Vec<f32> = right.iter().enumerate().map(one).collect();
        check_matrix(&d, &expected, N, |row, col| all[row * N + col]).unwrap_err().to_string()
    };
    for (is, place) in [
        ((|row, _| row == 4) as fn(usize, usize) -> bool, "all in row 4"),
        (|_, col| col == 7, "all in column 7"),
        (|_, col| col % 4 == 1, "every 4 columns, from 1 on"),
        (|row, _| row >= 4, "all of the last 20 elements"),
        (|_, _| true, "all elements"),
    ] {
        let text = broken(is);
        assert!(text.contains(place), "{place:?} is not in:\n{text}");
        assert!(text.contains("x bound") && text.contains("accumulation"), "{text}");
    }
}

/// What the source's casts did is in the bound, and the right product is within it.
#[test]
fn products_of_casts_are_within_their_bounds() {
    let case = Case::new(256, BLOCKS);
    let [x, y] = [(&case.x, M), (&case.y, N)].map(|(x, n)| MatRef::new(x, n, case.k).unwrap());
    let [a, b] = [Operand::cast(x, &case.a).unwrap(), Operand::cast(y, &case.b).unwrap()];
    let report = GemmBound::new(a, b, Sums::F32).unwrap().check(&case.right()).unwrap();
    assert!(report.most_of_bound > 0.01 && report.most_of_probable < Some(1.0), "{report:?}");
}
