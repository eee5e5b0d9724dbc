//! No error passes its proven bound, and some come near: one rounding of any format, sums of every
//! matrix unit, steps of AdamW; sums are within what is probable, and SQNR is what was predicted.
//! Quantized matrices are in `scaling_bounds`, products in `gemm_bounds`.
#![cfg(feature = "std")]

mod common;

use common::exact::Exact;
use common::units::{SPREADS, case, pairs, value};
use common::{ROUNDINGS, formats, policies, share};
use quarter::accuracy::bounds::{
    AdamWElement, Bound, Density, Product, adamw, away_probability, gamma, hoeffding, probability,
    probable_gamma, rounding, sqnr, sqnr_blocks, sqnr_formula, stochastic_gamma, unit_roundoff,
    unit_sum,
};
use quarter::nn::{AdamW, AdamWConfig, Exec, MomentType, Moments, Param, WeightType};
use quarter::{FormatId, Policy, RandomStream, Rounding, Rule, Unpacked};
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

// ---------------------------------------------------------------- probably (A6, A7)

/// 16 random words, as a normal number.
fn normal(stream: &RandomStream, i: u64) -> f64 {
    let unit = |n| (f64::from(stream.word(2 * i + n)) + 0.5) * 2f64.powi(-32);
    (-2.0 * unit(0).ln()).sqrt() * (std::f64::consts::TAU * unit(1)).cos()
}

/// Sums in f32 of random numbers: within γₙ always, within γ̃ₙ(λ) as often as promised, and the second
/// is far smaller. Sums that are rounded stochastically to bf16 keep theirs, too.
#[test]
fn sums_keep_what_is_probable() {
    let (n, lambda, sums) = (4096, 5.0, share(400));
    let u = unit_roundoff(FormatId::F32.spec());
    let [sure, probable] = [gamma(n, u), probable_gamma(n, lambda, u)];
    assert!(probability(n, lambda, u) > 0.96 && probable < sure / 12.0);
    let bf16 = FormatId::Bf16.spec();
    let policy = Policy::NONFINITE.rounding(Rounding::STOCHASTIC);
    // Positive numbers, whose roundings all count, and few: bf16 has 8 bits.
    let few = 256;
    let stochastic = stochastic_gamma(few, lambda, unit_roundoff(bf16));
    let (mut most, mut most_stochastic) = (0.0_f64, 0.0_f64);
    for run in 0..sums as u64 {
        let stream = RandomStream { seed: run, tensor: 6, step: 0 };
        let x: Vec<f32> = (0..n as u64).map(|i| normal(&stream, i) as f32).collect();
        let exact: f64 = x.iter().map(|x| f64::from(*x)).sum();
        let size: f64 = x.iter().map(|x| f64::from(x.abs())).sum();
        let sum: f32 = x.iter().sum();
        most = most.max((f64::from(sum) - exact).abs() / size);
        if run < 40 {
            let words = RandomStream { step: 1, ..stream };
            let x: Vec<f64> = x.iter().take(few).map(|x| f64::from(x.abs())).collect();
            let add = |sum: f64, (i, x): (usize, &f64)| {
                let word = words.word(i as u64);
                let code = Unpacked::from_f64(sum + x).encode(bf16, policy, word);
                bf16.decode_f64(code.unwrap())
            };
            let sum = x.iter().enumerate().fold(0.0, add);
            let exact: f64 = x.iter().sum();
            most_stochastic = most_stochastic.max((sum - exact).abs() / exact);
        }
    }
    println!("f32: {:.4} of probable, {:.6} of sure", most / probable, most / sure);
    println!("bf16, stochastic: {:.4} of probable", most_stochastic / stochastic);
    assert!(most <= probable && most > probable / 1e3, "{most:e} {probable:e}");
    assert!(most_stochastic <= stochastic && most_stochastic > stochastic / 100.0, "{stochastic}");
}

/// Of N draws as many go away from zero as the fraction says, within Hoeffding's bound.
#[test]
fn stochastic_shares_keep_a7() {
    let (n, alpha) = (1 << 16, 1e-9);
    let most = hoeffding(n, alpha);
    for (id, x) in [
        (FormatId::F8E4M3, 1.3),
        (FormatId::F8E5M2, -0.011),
        (FormatId::F4E2M1, 0.2),
        (FormatId::Bf16, 3.001),
    ] {
        let spec = id.spec();
        let (lo, hi, p) = away_probability(spec, x).unwrap();
        let stream = RandomStream { seed: 4, tensor: id as u32, step: 2 };
        let policy = Policy::SATURATE.rounding(Rounding::STOCHASTIC);
        let away = (0..n).filter(|i| {
            let code = Unpacked::from_f64(x).encode(spec, policy, stream.word(*i)).unwrap();
            let size = spec.decode_f64(code).abs();
            assert!(size == lo || size == hi, "{x} became {size}");
            size == hi
        });
        let share = away.count() as f64 / n as f64;
        assert!((share - p).abs() <= most + 2f64.powi(-32), "{}: {share}, not {p}", spec.name());
    }
    assert!(most < 0.013);
}

// ---------------------------------------------------------------- SQNR (A8)

const SEEDS: u64 = 8;

/// dB of normal numbers under a cast, measured.
fn measured(cast: &str, shape: (usize, usize), x: impl Fn(u64) -> f32 + Sync) -> f64 {
    use quarter::tensor::{MatMut, MatRef, QuantizeOptions, quantize};
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
    // The best of sigma/M.
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
            if rule == Rule::TeCurrent {
                continue;
            }
            let stream = RandomStream { seed: SEEDS, tensor: 7, step: 0 };
            let got = measured(&format!("{id}:1x32:{rule}"), (share(512), 1024), |i| {
                normal(&stream, i) as f32
            });
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

/// Every element of every step, from what was before it: weights, both moments.
#[test]
fn adamw_keeps_its_bounds() {
    let kinds = [MomentType::F32, MomentType::Bf16];
    let weights = [WeightType::F32, WeightType::StochasticBf16];
    let table = Mutex::new(Table::new());
    for (moments, weights) in kinds.into_iter().flat_map(|m| weights.map(|w| (m, w))) {
        let config = AdamWConfig { moments, weights, ..AdamWConfig::default() };
        let mut optimizer = AdamW::new(config).unwrap();
        let n = share(3000);
        let number = |step: u64, i: usize| {
            let stream = RandomStream { seed: step, tensor: 9, step: 0 };
            normal(&stream, i as u64) as f32
        };
        let half = |x: f32| half::bf16::from_f32(x).to_f32();
        let mut w: Vec<f32> = (0..n).map(|i| half(number(100, i))).collect();
        let (mut m, mut v) = (vec![0.0_f32; n], vec![0.0_f32; n]);
        let mut here = Table::new();
        for step in 1..=12 {
            let size = [1e-4, 0.2, 30.0][step as usize % 3];
            let grad: Vec<f32> = (0..n).map(|i| size * number(step, i)).collect();
            let before = w.clone();
            let mut params = [Param { name: "w", value: &mut w, grad: &grad, decay: true }];
            let lr = 0.003;
            let norm = optimizer.step(&mut params, lr, Exec::new()).unwrap().grad_norm;
            let [m_after, v_after] = match &optimizer.moments()[0].1 {
                Moments::F32(m, v) => [m.clone(), v.clone()],
                Moments::Bf16(m, v) => [m, v].map(|x| x.iter().map(|x| x.to_f32()).collect()),
            };
            for i in 0..n {
                let element = AdamWElement {
                    weight: before[i],
                    grad: grad[i],
                    m: m[i],
                    v: v[i],
                    decay: true,
                };
                let bounds = adamw(&config, (step, lr, norm), element);
                let all = [
                    ("weight", w[i], bounds.weight),
                    ("m", m_after[i], bounds.m),
                    ("v", v_after[i], bounds.v),
                ];
                for (name, got, (want, bound)) in all {
                    let seen = entry(&mut here, format!("adamw {name}, {moments:?} {weights:?}"));
                    seen.note((f64::from(got) - want).abs(), &bound, || {
                        format!("{config:?} {step} {element:?}: {name} {got:e}, not {want:e}")
                    });
                }
            }
            (m, v) = (m_after, v_after);
        }
        merge(&table, here);
    }
    show("steps of AdamW", table, |_| 0.2);
}
