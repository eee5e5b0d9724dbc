//! No error passes its proven bound, and some come near: one rounding of any format, sums of every
//! matrix unit, products of every preset through every unit.
#![cfg(feature = "std")]

mod common;

use common::exact::Exact;
use common::units::{SPREADS, case, pairs, value};
use common::{ROUNDINGS, formats, policies, share};
use quarter::accuracy::bounds::{Bound, Product, rounding, unit_sum};
use quarter::Unpacked;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Mutex;

/// Of an operation: the errors seen, and the largest part of a bound that one took.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    count: u64,
    most: f64,
}

impl Seen {
    #[track_caller]
    fn note(&mut self, error: f64, bound: &Bound, what: impl Fn() -> String) {
        let total = bound.total();
        assert!(error <= total, "{}: {error:e} > {bound}", what());
        self.count += 1;
        if total.is_finite() && total > 0.0 {
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

/// Prints and checks: no maximum may be below `least`.
fn show(title: &str, table: Mutex<Table>, least: impl Fn(&str) -> f64) {
    let table = table.into_inner().unwrap();
    println!("{title:44} {:>9} {:>10}", "checked", "err/bound");
    for (name, Seen { count, most }) in &table {
        println!("{name:44} {count:9} {most:10.4}");
    }
    let all: u64 = table.values().map(|seen| seen.count).sum();
    println!("{all} in all, no violation");
    for (name, seen) in &table {
        assert!(seen.most >= least(name), "{name}: nothing comes near its bound: {seen:?}");
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
                let error = if bound.total() == f64::INFINITY { 0.0 } else { (got - x).abs() };
                seen.note(error, &bound, || format!("{} {policy:?} {x:e} -> {got:e}", spec.name()));
            }
        }
        merge(&table, here);
    });
    show("rounding", table, |_| 0.999);
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
            let number = |i: usize, code: u32| (case.specs[i].decode_f64(code.into()), case.specs[i]);
            let codes = case.a.iter().zip(&case.b);
            let products: Vec<Product> =
                codes.map(|(a, b)| Product::new(number(0, *a), number(1, *b), 0)).collect();
            let (expected, bound) = unit_sum(case.unit, &products, case.value(case.c));
            let got = value(case.unit, case.dot());
            let error = if bound.total() == f64::INFINITY { 0.0 } else { (got - expected).abs() };
            seen.note(error, &bound, || format!("{case:?}: {got:e}, not {expected:e}"));
        }
        merge(&table, here);
    });
    show("unit", table, |_| 0.2);
}
