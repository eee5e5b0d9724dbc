//! Products that are wrong on purpose: in their scales, in what follows the sum, in parts of K, in how
//! they add. Each is caught and named; a right kernel passes the same check, and errors that follow no
//! pattern get no name.
#![cfg(feature = "std")]

mod common;

use common::gemm::{Words, ordinary};
use quarter::accuracy::Distribution;
use quarter::accuracy::bounds::{GemmBound, Operand, Sums};
use quarter::accuracy::check::{Symptom, Violation};
use quarter::gemm::{Accumulation, Activation, GemmOptions, gemm_nt};
use quarter::mma::{H100_WGMMA_FP8, Output, UNITS};
use quarter::tensor::{MatMut, MatRef, QuantizeOptions, Quantized, quantize};
use quarter::{FormatId, Policy, Unpacked};

const M: usize = 6;
const N: usize = 10;

const BLOCKS: [&str; 2] = ["e4m3:1x128:te-block-f32", "e4m3:128x128:te-block-f32"];
const ROWS: [&str; 2] = ["e4m3:row:torchao", "e4m3:row:torchao"];
const MX: [&str; 2] = ["e4m3:1x32:te-mx", "e4m3:1x32:te-mx"];
const NVFP4: [&str; 2] = ["e2m1:1x16:nvfp4", "e2m1:1x16:nvfp4"];

/// What is multiplied, and what is done with the sums.
struct Case {
    k: usize,
    a: Quantized,
    b: Quantized,
    alpha: f32,
    beta: f32,
    c: Vec<f32>,
    bias: Vec<f32>,
    activation: Activation,
    scale: Option<f32>,
}

/// One output as a wrong kernel makes it.
#[derive(Clone, Copy)]
struct Place {
    row: usize,
    col: usize,
}

impl Case {
    fn new(k: usize, casts: [&str; 2], elements: Distribution) -> Self {
        let cast = |rows: usize, seed: u64, cast: &str| {
            let mut x = elements.matrix(rows, k, seed);
            // Rows and blocks of different sizes.
            let size =
                |i: usize| 3f32.powi((i / k % 4) as i32) * 1.7f32.powi((i % k / 32 % 5) as i32);
            x.iter_mut().enumerate().for_each(|(i, x)| *x *= size(i));
            let x = MatRef::new(&x, rows, k).unwrap();
            quantize(x, &cast.parse().unwrap(), &QuantizeOptions::new()).unwrap()
        };
        let (a, b) = (cast(M, 1, casts[0]), cast(N, 2, casts[1]));
        let (c, bias) = (ordinary(M * N, 3), ordinary(N, 4));
        let [c, bias] = [c, bias].map(|x| x.into_iter().map(|x| 2000.0 * x).collect());
        let (activation, scale) = (Activation::None, None);
        Self { k, a, b, alpha: 1.0, beta: 0.0, c, bias, activation, scale }
    }

    fn bounds(&self) -> GemmBound<'_> {
        let [a, b] = [&self.a, &self.b].map(|q| Operand::exact(q).unwrap());
        let mut bounds = GemmBound::new(a, b, Sums::F32).unwrap();
        if self.alpha != 1.0 {
            bounds = bounds.alpha(self.alpha);
        }
        let c = MatRef::new(&self.c, M, N).unwrap();
        bounds = bounds.c(self.beta, c).unwrap().bias(&self.bias).unwrap();
        bounds = bounds.activation(self.activation);
        match self.scale {
            Some(scale) => bounds.codes(FormatId::F8E4M3.spec(), scale),
            None => bounds,
        }
    }

    fn elements(&self, of: &Quantized, row: usize) -> Vec<f32> {
        let codes = &of.codes()[row * self.k..(row + 1) * self.k];
        codes.iter().map(|code| of.format().spec().decode_f32((*code).into())).collect()
    }

    /// Outputs by a sum over K and what follows it.
    fn run(&self, sum: impl Fn(Place) -> f32, after: impl Fn(Place, f32) -> f32) -> Vec<f32> {
        let places = (0..M * N).map(|i| Place { row: i / N, col: i % N });
        places.map(|at| after(at, sum(at))).collect()
    }

    /// Σ over chosen elements of K, each with the scales that are read for it.
    fn sum(
        &self,
        at: Place,
        times: impl Fn(usize) -> f32,
        scales: impl Fn(usize) -> [f32; 2],
    ) -> f32 {
        let (x, y) = (self.elements(&self.a, at.row), self.elements(&self.b, at.col));
        let term = |k: usize| {
            let [sa, sb] = scales(k);
            (x[k] * y[k]) * sa * sb * times(k)
        };
        (0..self.k).map(term).sum::<f32>()
    }

    /// `scale_inv` of the elements, with the tensor's own factor.
    fn own(&self, at: Place, k: usize) -> [f32; 2] {
        [(&self.a, at.row), (&self.b, at.col)]
            .map(|(q, row)| q.view().scale_inv(row, k) * q.scales().global_scale_inv())
    }

    fn right_sum(&self, at: Place) -> f32 {
        self.sum(at, |_| 1.0, |k| self.own(at, k))
    }

    /// What follows the sum, with each step as it is given.
    fn after(&self, at: Place, sum: f32, change: impl Fn(&mut Steps)) -> f32 {
        let c = self.c[at.row * N + at.col];
        let bias = self.bias[at.col];
        let mut s =
            Steps { alpha: self.alpha, beta: self.beta, bias, last: 0.0, scale: self.scale };
        change(&mut s);
        let t = s.alpha * sum + s.beta * c + s.bias;
        let t = match self.activation {
            Activation::Relu if t < 0.0 => 0.0,
            _ => t,
        } + s.last;
        let Some(scale) = s.scale else { return t };
        let spec = FormatId::F8E4M3.spec();
        spec.decode_f32(Unpacked::from_f32(t * scale).encode(spec, Policy::SATURATE, 0).unwrap())
    }

    fn right(&self, at: Place, sum: f32) -> f32 {
        self.after(at, sum, |_| {})
    }

    /// The wrong kernel is caught, and the first symptom is this; the right one passes.
    #[track_caller]
    fn planted(&self, wrong: &[f32], symptom: &Symptom, words: &str) {
        let right = self.run(|at| self.right_sum(at), |at, sum| self.right(at, sum));
        let report = self.bounds().check(&right);
        let report = report.unwrap_or_else(|violation| panic!("the right kernel: {violation}"));
        assert!(report.count > 0);
        let violation = caught(&self.bounds(), wrong);
        assert_eq!(violation.symptoms().first(), Some(symptom), "{violation}");
        assert!(violation.symptoms().len() < 3, "{violation}");
        assert!(violation.to_string().contains(words), "{words:?} is not in:\n{violation}");
    }
}

/// Steps after the sum.
struct Steps {
    alpha: f32,
    beta: f32,
    bias: f32,
    /// Added after the activation.
    last: f32,
    scale: Option<f32>,
}

#[track_caller]
fn caught(bounds: &GemmBound<'_>, wrong: &[f32]) -> Box<Violation> {
    let violation = bounds.check(wrong).expect_err("the wrong kernel passes");
    println!("{violation}\n");
    violation
}

#[test]
fn scales_of_others() {
    for casts in [BLOCKS, ROWS, MX, NVFP4] {
        let case = Case::new(512, casts, Distribution::Gaussian);
        let with = |scales: &dyn Fn(Place, usize) -> [f32; 2]| {
            case.run(|at| case.sum(at, |_| 1.0, |k| scales(at, k)), |at, sum| case.right(at, sum))
        };
        let operand = "a";
        let wrong = "of the first block of K, for all of it";
        if casts != ROWS {
            let of = |at: Place, k: usize| [case.own(at, 0)[0], case.own(at, k)[1]];
            case.planted(&with(&of), &Symptom::Scales { operand, wrong }, "first block");
            let block = [128, 0, 32, 16]
                [[BLOCKS, ROWS, MX, NVFP4].iter().position(|c| *c == casts).unwrap()];
            let of =
                |at: Place, k: usize| [case.own(at, (k + block).min(511))[0], case.own(at, k)[1]];
            let wrong = "of the next block of K";
            case.planted(&with(&of), &Symptom::Scales { operand, wrong }, "next block");
        }
        let first = |at: Place| Place { row: 0, ..at };
        let of = |at: Place, k: usize| [case.own(first(at), k)[0], case.own(at, k)[1]];
        let wrong = "of the first row, for all rows";
        case.planted(&with(&of), &Symptom::Scales { operand, wrong }, "first row");
        if casts == NVFP4 {
            let global = case.a.scales().global_scale_inv();
            let of = |at: Place, k: usize| [case.own(at, k)[0] / global, case.own(at, k)[1]];
            let wrong = "without the tensor's own factor";
            case.planted(&with(&of), &Symptom::Scales { operand, wrong }, "tensor's own factor");
        }
        if casts == BLOCKS {
            let of = |at: Place, k: usize| {
                [case.own(at, k)[0].log2().floor().exp2(), case.own(at, k)[1]]
            };
            let wrong = "cut to powers of two";
            case.planted(&with(&of), &Symptom::Scales { operand, wrong }, "powers of two");
        }
        let both = Symptom::ScaleMissing { operand: "a and of b" };
        if casts == ROWS {
            case.planted(&with(&|_, _| [1.0; 2]), &both, "of a and of b is not applied");
        }
    }
}

#[test]
fn parts_of_k() {
    for (casts, elements) in [
        (BLOCKS, Distribution::Gaussian),
        (MX, Distribution::Uniform),
        (ROWS, Distribution::Gaussian),
    ] {
        let case = Case::new(500, casts, elements);
        let with = |times: &dyn Fn(usize) -> f32| {
            case.run(|at| case.sum(at, times, |k| case.own(at, k)), |at, sum| case.right(at, sum))
        };
        let keeps = |is: bool| if is { 1.0 } else { 0.0 };
        for (from, to) in [(492, 500), (375, 500), (0, 3), (128, 256), (32, 64)] {
            let symptom = Symptom::PartOfK { from, to, twice: false };
            let wrong = with(&|k| keeps(!(from..to).contains(&k)));
            case.planted(&wrong, &symptom, &format!("{from}..{to} of K are left out"));
        }
        let symptom = Symptom::PartOfK { from: 384, to: 500, twice: true };
        case.planted(&with(&|k| 1.0 + keeps(k >= 384)), &symptom, "counted twice");
        let symptom = Symptom::EveryOther { first: 1, twice: false };
        case.planted(&with(&|k| keeps(k % 2 == 0)), &symptom, "every other element of K from 1");
    }
}

#[test]
fn steps_after_the_sum() {
    for scale in [None, Some(0.0013)] {
        let mut case = Case::new(256, ROWS, Distribution::Gaussian);
        (case.alpha, case.beta, case.scale) = (0.37, -0.75, scale);
        let with = |case: &Case, change: &dyn Fn(&mut Steps)| {
            case.run(|at| case.right_sum(at), |at, sum| case.after(at, sum, change))
        };
        let named = |wrong| Symptom::Epilogue { wrong };
        for (change, symptom, words) in [
            (
                (&|s: &mut Steps| s.bias *= 2.0) as &dyn Fn(&mut Steps),
                Symptom::BiasTwice,
                "added twice",
            ),
            (&|s| s.bias = 0.0, Symptom::BiasMissing, "left out"),
            (&|s| s.bias = -s.bias, named("the bias is subtracted"), "subtracted"),
            (&|s| s.bias *= s.alpha, named("alpha multiplies the bias, too"), "alpha"),
            (&|s| s.alpha = 1.0, named("alpha is not applied"), "alpha is not"),
            (&|s| s.alpha *= s.alpha, named("alpha is applied twice"), "twice"),
            (&|s| s.beta = 1.0, named("beta is not applied: all of C is added"), "beta"),
            (&|s| s.beta = 0.0, named("C is not added"), "C is not"),
        ] {
            case.planted(&with(&case, change), &symptom, words);
        }
        if scale.is_some() {
            for (change, wrong) in [
                (
                    (&|s: &mut Steps| s.scale = s.scale.map(|x| x * x)) as &dyn Fn(&mut Steps),
                    "the output's scale is applied twice",
                ),
                (&|s| s.scale = Some(1.0), "the output's scale is not applied"),
            ] {
                case.planted(&with(&case, change), &named(wrong), wrong);
            }
        }
        let wrong = "ReLU, which is not asked for";
        let relu = |case: &Case| {
            let (sum, mut with_relu) =
                (|at| case.right_sum(at), Case::new(256, ROWS, Distribution::Gaussian));
            (with_relu.alpha, with_relu.beta, with_relu.scale) =
                (case.alpha, case.beta, case.scale);
            with_relu.activation = Activation::Relu;
            with_relu.run(sum, |at, sum| with_relu.right(at, sum))
        };
        case.planted(&relu(&case), &named(wrong), "ReLU");
        let plain = with(&case, &|_| {});
        case.activation = Activation::Relu;
        let wrong = "the activation is left out";
        case.planted(&plain, &named(wrong), wrong);
        let late = with(&case, &|s| (s.bias, s.last) = (0.0, s.bias));
        let wrong = "the bias is added after the activation";
        case.planted(&late, &named(wrong), wrong);
    }
    let case = Case::new(256, ROWS, Distribution::Gaussian);
    let turned = |i: usize| Place { row: i % M, col: i / M };
    let wrong: Vec<f32> =
        (0..M * N).map(turned).map(|at| case.right(at, case.right_sum(at))).collect();
    let symptom = Symptom::Epilogue { wrong: "outputs are written column after column" };
    case.planted(&wrong, &symptom, "column after column");
}

#[test]
fn what_is_not_written_or_has_another_sign() {
    let case = Case::new(256, ROWS, Distribution::Gaussian);
    let right = case.run(|at| case.right_sum(at), |at, sum| case.right(at, sum));
    case.planted(&[0.0; M * N], &Symptom::Zeros, "nothing was written");
    let some: Vec<f32> =
        right.iter().enumerate().map(|(i, x)| if i % N < 7 { *x } else { 0.0 }).collect();
    case.planted(&some, &Symptom::Zeros, "zeros");
    let negated: Vec<f32> = right.iter().map(|x| -x).collect();
    case.planted(&negated, &Symptom::SignFlipped, "turned");
    let positive: Vec<f32> = right.iter().map(|x| x.abs()).collect();
    case.planted(&positive, &Symptom::SignLost, "sign of numbers is lost");
    let more: Vec<f32> = right.iter().map(|x| x + 64.0).collect();
    let violation = caught(&case.bounds(), &more);
    let [Symptom::Offset { by }] = violation.symptoms() else { panic!("{violation}") };
    assert!((by - 64.0).abs() < 1e-3);
}

/// The bits of every unit that multiplies E4M3 or bf16, where sums of f32 are asked for, and of Hopper's
/// without promotion or with another one.
#[test]
fn sums_of_units() {
    let mut named = 0;
    for elements in [Distribution::Gaussian, Distribution::Uniform, Distribution::Constant] {
        let (m, n, k) = (M, N, 1024);
        let (x, y) = (elements.matrix(m, k, 5), elements.matrix(n, k, 6));
        let cast = |x: &[f32], rows: usize| {
            let x = MatRef::new(x, rows, k).unwrap();
            let cast = "e4m3:tensor:te-current-pow2".parse().unwrap();
            quantize(x, &cast, &QuantizeOptions::new()).unwrap()
        };
        let (a, b) = (cast(&x, m), cast(&y, n));
        let run = |sums: Accumulation| {
            let mut d = vec![0.0_f32; m * n];
            let out = MatMut::new(&mut d, m, n).unwrap();
            gemm_nt(&a, &b, out, &GemmOptions::new().sums(sums)).map(|_| d)
        };
        let unit = Accumulation { unit: Some(&H100_WGMMA_FP8), ..Accumulation::F32 };
        let promoted = |n| Accumulation { promote: Some(n), ..unit };
        let bounds = |sums: Sums| {
            let [a, b] = [&a, &b].map(|q| Operand::exact(q).unwrap());
            GemmBound::new(a, b, sums).unwrap()
        };
        for (asked, given, promote) in
            [(promoted(128), unit, None), (promoted(128), promoted(512), Some(512))]
        {
            let asked = bounds(asked.into());
            let given = run(given).unwrap();
            let Err(violation) = asked.check(&given) else { continue };
            let symptom = Symptom::AddsAs { unit: "h100-wgmma-fp8", promote };
            assert_eq!(violation.symptoms(), [symptom], "{elements}: {violation}");
            named += 1;
        }
        // What overflows in f16 is alike in many units.
        for unit in UNITS.iter().filter(|unit| unit.output() != Output::F16) {
            let Ok(given) = run(Accumulation { unit: Some(unit), ..Accumulation::F32 }) else {
                continue;
            };
            let Err(violation) = bounds(Sums::F32).check(&given) else { continue };
            let [Symptom::AddsAs { unit: other, promote: None }] = violation.symptoms() else {
                panic!("{elements}, {}: {violation}", unit.name())
            };
            let other = UNITS.iter().find(|unit| unit.name() == *other).unwrap();
            let theirs = run(Accumulation { unit: Some(other), ..Accumulation::F32 }).unwrap();
            // Some units differ in few products.
            let same = theirs.iter().zip(&given).filter(|(x, y)| x == y).count();
            assert!(10 * same >= 9 * m * n, "{} for {}", other.name(), unit.name());
            named += 1;
        }
    }
    assert!(named > 8, "{named}");
}

/// A sum that is cut off to 12 bits after each element, which no unit does: positive numbers lose alike.
#[test]
fn an_accumulator_too_narrow() {
    let k = 1024;
    let positive =
        |rows, seed| ordinary(rows * k, seed).into_iter().map(f32::abs).collect::<Vec<f32>>();
    let (x, y) = (positive(M, 1), positive(N, 2));
    let sum = |i: usize, bits: u32| {
        let cut = |x: f32| f32::from_bits(x.to_bits() >> (24 - bits) << (24 - bits));
        let terms = (0..k).map(|j| x[i / N * k + j] * y[i % N * k + j]);
        terms.fold(0.0_f32, |sum, term| cut(sum + term))
    };
    let run = |bits| (0..M * N).map(|i| sum(i, bits)).collect::<Vec<f32>>();
    let [a, b] = [(&x, M), (&y, N)].map(|(x, rows)| MatRef::new(x, rows, k).unwrap());
    let [a, b] = [a, b].map(|x| Operand::exact(x).unwrap());
    let bounds = GemmBound::new(a, b, Sums::F32).unwrap();
    assert!(bounds.check(&run(24)).is_ok());
    let violation = caught(&bounds, &run(12));
    assert_eq!(violation.symptoms(), [Symptom::NarrowAccumulator { bits: 12 }], "{violation}");
    assert!(violation.to_string().contains("accumulator too narrow"));
}

/// Errors of no pattern, in two outputs or in many, have no name.
#[test]
fn chance_has_no_name() {
    let (mut named, tried) = (Vec::new(), common::share(160));
    for seed in 0..tried as u64 {
        let case = Case::new(256, ROWS, Distribution::Gaussian);
        let bounds = case.bounds();
        let (expected, all) = bounds.all();
        let mut words = Words::new(seed);
        let mut wrong: Vec<f32> = expected.iter().map(|x| *x as f32).collect();
        for _ in 0..[2, 3, 10, 40][seed as usize % 4] {
            let i = words.below(M * N);
            let size = 1.1 + 3.0 * words.below(1000) as f64 / 1000.0;
            let sign = if words.below(2) == 0 { 1.0 } else { -1.0 };
            wrong[i] = (expected[i] + sign * size * all[i].total()) as f32;
        }
        let Err(violation) = bounds.check(&wrong) else { continue };
        if !violation.symptoms().is_empty() {
            named.push(format!("{seed}: {:?}", violation.symptoms()));
        }
    }
    assert!(50 * named.len() <= tried, "{} of {tried}: {named:#?}", named.len());
}
