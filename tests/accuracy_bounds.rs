//! No error passes its proven bound, and some come near: one rounding of any format, sums of every
//! matrix unit, steps of AdamW; and SQNR is what was predicted. Quantized matrices are in
//! `scaling_bounds`, products in `gemm_bounds`, what is probable in `accuracy_probable`.
#![cfg(feature = "std")]

mod common;

use common::exact::Exact;
use common::units::{SPREADS, case, pairs, value};
use common::{ROUNDINGS, formats, normal, policies, share};
use quarter::accuracy::bounds::{
    AdamWElement, Bound, Density, Product, adamw, rounding, sqnr, sqnr_blocks, sqnr_formula,
    unit_sum,
};
use quarter::nn::{AdamW, AdamWConfig, Exec, MomentType, Moments, Param, WeightType};
use quarter::tensor::{MatMut, MatRef, QuantizeOptions, quantize};
use quarter::{FormatId, RandomStream, Rule, Unpacked};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Mutex;

/// Of an operation: the errors that have a bound, and the largest part of it that one took.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    count: u64,
    most: f64,
}

impl Seen {
    #[track_caller]
    fn note(&mut self, error: f64, bound: &Bound, what: impl Fn() -> String) {
        let total = bound.total();
        if total == f64::INFINITY {
            return; // nothing is said of it
        }
        assert!(error <= total, "{}: {error:e} > {bound}", what());
        self.count += 1;
        if total > 0.0 {
            self.most = self.most.max(error / total);
        }
    }
}

type Table = BTreeMap<String, Seen>;

fn merge(all: &Mutex<Table>, here: Table) {
    let mut all = all.lock().unwrap();
    for (name, seen) in here {
        let of = all.entry(name).or_default();
        (of.count, of.most) = (of.count + seen.count, of.most.max(seen.most));
    }
}

/// Prints and checks: no maximum may be below `least`, a quarter of it in a thin run.
fn show(title: &str, table: Mutex<Table>, least: impl Fn(&str) -> f64) {
    let table = table.into_inner().unwrap();
    println!("{title:44} {:>9} {:>10}", "checked", "err/bound");
    for (name, Seen { count, most }) in &table {
        println!("{name:44} {count:9} {most:10.4}");
    }
    let most = table.values().map(|seen| seen.most).fold(0.0, f64::max);
    common::readme::held(title, table.values().map(|seen| seen.count).sum(), most);
    for (name, seen) in &table {
        let least = least(name) * if share(16) == 1 { 0.25 } else { 1.0 };
        assert!(seen.most >= least, "{name}: nothing comes near its bound: {seen:?}");
    }
}

fn entry(table: &mut Table, name: impl Display) -> &mut Seen {
    table.entry(name.to_string()).or_default()
}

#[test]
fn roundings_keep_a1() {
    let table = Mutex::new(Table::new());
    let formats: Vec<_> = formats().collect();
    common::parallel(formats.len(), |i| {
        let spec = formats[i].spec();
        let values = common::structured_f64(&Exact::new(spec), &[10, 30]);
        let mut here = Table::new();
        for policy in policies(&ROUNDINGS) {
            let name = format!("{:?}", policy.rounding);
            let name = name.split(' ').next().unwrap();
            let seen = entry(&mut here, format!("{} {name}", spec.name()));
            for (n, x) in values.iter().enumerate() {
                let word = common::STREAM.word(n as u64);
                let code = Unpacked::from_f64(*x).encode(spec, policy, word).unwrap();
                let got = spec.decode_f64(code);
                let bound = rounding(spec, policy, *x);
                seen.note((got - x).abs(), &bound, || {
                    format!("{} {policy:?} {x:e} -> {got:e}", spec.name())
                });
            }
        }
        merge(&table, here);
    });
    show("roundings", table, |_| 0.999);
}

#[test]
fn units_keep_a5() {
    let table = Mutex::new(Table::new());
    let pairs = pairs();
    common::parallel(pairs.len(), |n| {
        let pair = pairs[n];
        let mut here = Table::new();
        let seen = entry(&mut here, pair.0);
        for round in 0..share(1600) {
            let spread = SPREADS[1 + round % 3];
            let k = 1 + (round * 7919) % 130;
            let case = case(pair, k, spread, (n * 10_000 + round) as u64);
            let number =
                |i: usize, code: u32| (case.specs[i].decode_f64(code.into()), case.specs[i]);
            let codes = case.a.iter().zip(&case.b);
            let products: Vec<Product> =
                codes.map(|(a, b)| Product::new(number(0, *a), number(1, *b), 0)).collect();
            let (expected, bound) = unit_sum(case.unit, &products, case.value(case.c));
            let got = value(case.unit, case.dot());
            seen.note((got - expected).abs(), &bound, || {
                format!("{case:?}: {got:e}, not {expected:e}")
            });
        }
        merge(&table, here);
    });
    show("sums of matrix units", table, |_| 0.2);
}

// ---------------------------------------------------------------- SQNR (A8)

const SEEDS: u64 = 8;

/// dB of normal numbers under a cast, measured.
fn measured(cast: &str, shape: (usize, usize), x: impl Fn(u64) -> f32 + Sync) -> f64 {
    let x: Vec<f32> = (0..(shape.0 * shape.1) as u64).map(x).collect();
    let mut back = vec![0.0_f32; x.len()];
    let q = quantize(
        MatRef::new(&x, shape.0, shape.1).unwrap(),
        &cast.parse().unwrap(),
        &QuantizeOptions::new(),
    );
    q.unwrap().dequantize_into(MatMut::new(&mut back, shape.0, shape.1).unwrap()).unwrap();
    let square = |x: f64| x * x;
    let signal: f64 = x.iter().map(|x| square((*x).into())).sum();
    let noise: f64 = x.iter().zip(&back).map(|(x, y)| square(f64::from(*x) - f64::from(*y))).sum();
    10.0 * (signal / noise).log10()
}

/// The table of specs: formula, amax at 3.7 sigma, uniform.
#[test]
fn sqnr_is_the_tables() {
    for (id, formula, normal, uniform) in [
        (FormatId::F8E4M3, 31.52, 31.39, 31.87),
        (FormatId::F8E4M3FNUZ, 31.52, 31.39, 32.20),
        (FormatId::F8E4M3IEEE, 31.52, 31.39, 32.20),
        (FormatId::F8E4M3B11FNUZ, 31.52, 31.39, 32.20),
        (FormatId::F8E5M2, 25.50, 25.52, 25.85),
        (FormatId::F8E5M2FNUZ, 25.50, 25.52, 25.85),
        (FormatId::F8E3M4, 37.54, 36.99, 38.38),
        (FormatId::F6E2M3, 31.52, 30.81, 32.14),
        (FormatId::F6E3M2, 25.50, 25.52, 25.85),
        (FormatId::F4E2M1, 19.48, 18.60, 19.15),
    ] {
        let spec = id.spec();
        let max = spec.max();
        let got = [
            sqnr_formula(spec.precision()),
            sqnr(spec, Density::Normal { sigma: max / 3.7 }),
            sqnr(spec, Density::Uniform { most: max }),
        ];
        println!(
            "{:12} formula {:.3}, normal {:.3}, uniform {:.3}",
            spec.name(),
            got[0],
            got[1],
            got[2]
        );
        for (got, want) in got.into_iter().zip([formula, normal, uniform]) {
            assert!((got - want).abs() < 0.05, "{}: {got}, not {want}", spec.name());
        }
    }
    // The best of sigma/M, from 2^-12 to 1/2: of formats with many binades it is nearly that of any.
    for (id, best) in [
        (FormatId::F8E4M3, 31.56),
        (FormatId::F8E4M3FNUZ, 31.56),
        (FormatId::F8E4M3IEEE, 31.56),
        (FormatId::F8E4M3B11FNUZ, 31.56),
        (FormatId::F8E5M2, 25.58),
        (FormatId::F8E5M2FNUZ, 25.58),
    ] {
        let spec = id.spec();
        let part = |i: i32| 2f64.powf(-1.0 - f64::from(i) / 16.0);
        let of = |i| sqnr(spec, Density::Normal { sigma: part(i) * spec.max() });
        let got = (0..=176).map(of).fold(0.0, f64::max);
        println!("{id}: at best {got:.3}, table {best}");
        assert!((got - best).abs() < 0.05, "{id}: {got}, not {best}");
    }
    // The same, and where it is.
    for (id, best, at) in [
        (FormatId::F6E2M3, 30.81, 0.267),
        (FormatId::F6E3M2, 25.58, 0.221),
        (FormatId::F4E2M1, 18.97, 0.341),
        (FormatId::F8E3M4, 37.56, 0.196),
    ] {
        let of = |part: f64| sqnr(id.spec(), Density::Normal { sigma: part * id.spec().max() });
        let got = of(at);
        assert!((got - best).abs() < 0.05, "{}: {got}, not {best}", id.name());
        assert!(of(at * 1.1) < got && of(at / 1.5) < got + 0.01, "{}", id.name());
    }
}

/// Predicted, tabled, and measured on normal numbers, for every rule of blocks.
#[test]
fn sqnr_of_blocks_is_the_tables() {
    let rules = [Rule::OcpFloor, Rule::OcpRceil, Rule::TeCurrent];
    for (id, wants) in [
        (FormatId::F8E4M3, [30.62, 31.52, 32.40]),
        (FormatId::F8E5M2, [25.36, 25.54, 26.39]),
        (FormatId::F6E3M2, [25.36, 25.54, 26.40]),
        (FormatId::F6E2M3, [30.94, 30.96, 32.29]),
        (FormatId::F4E2M1, [18.79, 18.75, 19.90]),
    ] {
        for (rule, want) in rules.into_iter().zip(wants) {
            let predicted = sqnr_blocks(id.spec(), rule, 32, 1.0);
            println!("{} {rule}: predicted {predicted:.3}, table {want}", id.name());
            assert!(
                (predicted - want).abs() < 0.05,
                "{} {rule}: {predicted}, not {want}",
                id.name()
            );
            let stream = RandomStream { seed: SEEDS, tensor: 7, step: 0 };
            let got = measured(&format!("{id}:1x32:{rule}"), (share(512), 1024), |i| {
                normal(&stream, i) as f32
            });
            println!("{id} {rule}: measured {got:.3}");
            assert!((predicted - got).abs() < 0.05, "{} {rule}: {got}, not {predicted}", id.name());
        }
    }
    let stream = RandomStream { seed: SEEDS, tensor: 8, step: 0 };
    let x = |i| normal(&stream, i) as f32;
    let shape = (share(512), 1024);
    let amax = (0..(shape.0 * shape.1) as u64).map(|i| x(i).abs()).fold(0.0, f32::max);
    let spec = FormatId::F4E2M1.spec();
    let predicted = sqnr_blocks(spec, Rule::Nvfp4, 16, Rule::Nvfp4.global_scale(spec, amax));
    let got = measured("e2m1:1x16:nvfp4", shape, x);
    println!("nvfp4: predicted {predicted:.3}, measured {got:.3}, table 20.43");
    assert!(
        (predicted - 20.43).abs() < 0.05 && (got - predicted).abs() < 0.05,
        "{predicted} {got}"
    );
}

// ---------------------------------------------------------------- AdamW

/// beta1, beta2, eps, lambda, max_norm, the learning rate, and whether λ applies.
type Settings = (f32, f32, f32, f32, Option<f32>, f32, bool);

/// The defaults, and ends: no memory and much, no eps and a large one, norms that always or never cut.
fn settings() -> [Settings; 6] {
    let AdamWConfig { beta1, beta2, eps, weight_decay, max_norm, .. } = AdamWConfig::default();
    [
        (beta1, beta2, eps, weight_decay, max_norm, 0.003, true),
        (0.9, 0.95, 1e-8, 0.1, None, 0.003, false),
        (0.0, 0.0, 1e-12, 0.0, Some(1e-3), 1.0, true),
        (0.5, 0.99999, 1.0, 0.5, Some(1e6), 0.0, true),
        (0.999, 0.999, 1e-15, 0.1, Some(1.0), 1e-6, true),
        (0.9, 0.999, 1e-8, 0.01, None, 0.1, true),
    ]
}

/// Every element of every step, from what was before it: weights, both moments.
#[test]
fn adamw_keeps_its_bounds() {
    let moments = [MomentType::F32, MomentType::Bf16];
    let weights = [WeightType::F32, WeightType::StochasticBf16];
    let kinds = moments.into_iter().flat_map(|m| weights.map(|w| (m, w)));
    let jobs: Vec<_> =
        kinds.flat_map(|kind| (0..settings().len()).map(move |i| (kind, i))).collect();
    let table = Mutex::new(Table::new());
    common::parallel(jobs.len(), |i| merge(&table, steps(jobs[i].0, jobs[i].1)));
    // With a rate of 0 a weight is what it was. With one of 1e-6 a weight of bf16 seldom changes: not
    // among the few of a thin run.
    let seldom = |name: &str| name.contains("StochasticBf16") && share(16) == 1;
    let still = |name: &str| {
        let rate = settings()[number(name)].5;
        name.contains("weight") && (rate == 0.0 || rate < 1e-5 && seldom(name))
    };
    show("steps of AdamW", table, |name| if still(name) { 0.0 } else { 0.2 });
}

/// Of a name, the number of its settings.
fn number(name: &str) -> usize {
    name[name.rfind(' ').unwrap() + 1..].parse().unwrap()
}

fn steps((moments, weights): (MomentType, WeightType), setting: usize) -> Table {
    let (beta1, beta2, eps, weight_decay, max_norm, lr, decay) = settings()[setting];
    let config = AdamWConfig {
        moments,
        weights,
        beta1,
        beta2,
        eps,
        weight_decay,
        max_norm,
        ..AdamWConfig::default()
    };
    let mut optimizer = AdamW::new(config).unwrap();
    let n = share(400);
    let number = |step: u64, i: usize| {
        let stream = RandomStream { seed: step, tensor: 9, step: 0 };
        normal(&stream, i as u64) as f32
    };
    let half = |x: f32| half::bf16::from_f32(x).to_f32();
    let mut w: Vec<f32> = (0..n).map(|i| half(number(100, i))).collect();
    let (mut m, mut v) = (vec![0.0_f32; n], vec![0.0_f32; n]);
    let mut here = Table::new();
    for step in 1..=60 {
        let size = [1e-4, 0.2, 30.0, 0.0, 1e-18, 1e10][step as usize % 6];
        let grad: Vec<f32> = (0..n).map(|i| size * number(step, i)).collect();
        let before = w.clone();
        let mut params = [Param { name: "w", value: &mut w, grad: &grad, decay }];
        let norm = optimizer.step(&mut params, lr, Exec::new()).unwrap().grad_norm;
        let [m_after, v_after] = match &optimizer.moments()[0].1 {
            Moments::F32(m, v) => [m.clone(), v.clone()],
            Moments::Bf16(m, v) => [m, v].map(|x| x.iter().map(|x| x.to_f32()).collect()),
        };
        for i in 0..n {
            let (weight, grad) = (before[i], grad[i]);
            let element = AdamWElement { weight, grad, m: m[i], v: v[i], decay };
            let bounds = adamw(&config, (step, lr, norm), element);
            let all = [
                ("weight", w[i], bounds.weight),
                ("m", m_after[i], bounds.m),
                ("v", v_after[i], bounds.v),
            ];
            for (name, got, (want, bound)) in all {
                let name = format!("adamw {name}, {moments:?} {weights:?} {setting}");
                entry(&mut here, name).note((f64::from(got) - want).abs(), &bound, || {
                    format!("{config:?} {step} {element:?}: {got:e}, not {want:e}")
                });
            }
        }
        (m, v) = (m_after, v_after);
    }
    here
}
