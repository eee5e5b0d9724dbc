//! The chapter of `quarter::mma`: every number of it is computed here and looked for in its text, and
//! the plots in docs/ are those that the example draws.

mod common;
#[path = "../examples/accumulators/measure.rs"]
mod measure;
#[path = "../examples/accumulators/plot.rs"]
mod plot;

use common::{Sweep, sweep};
use measure::{Draw, LINES, Line, Random};
use quarter::F8E4M3;
use quarter::mma::{ADA_FP8, B200_FP8, Fused, H100_WGMMA_FP8, HOPPER_MMA_SYNC_FP8};
use quarter::mma::{Output, Rule, UNITS, Unit};
use std::fs;
use std::path::Path;

/// The chapter's text without line ends.
fn chapter() -> String {
    let lines = include_str!("../src/mma/mod.rs").lines();
    let lines = lines.map_while(|line| line.strip_prefix("//!")).map(str::trim);
    lines.collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn says(text: &str) {
    assert!(chapter().contains(text), "the chapter has no {text:?}");
}

/// A share in percent.
fn percent(share: f64, digits: usize) -> String {
    format!("{:.digits$} %", 100.0 * share).replace('-', "−")
}

/// Units are slow in an emulator, and that bits are the same there is seen by other tests.
fn is_thin() -> bool {
    let thin = sweep() == Sweep::Thin;
    if thin {
        println!("skipped: QUARTER_SWEEP=thin leaves out large products");
    }
    thin
}

/// k, aₖ and bₖ.
type Term = (usize, f32, f32);

/// c + Σ aₖ · bₖ over 32 elements of E4M3, those that are given and zeros.
fn dot(unit: &Unit, terms: &[Term], c: f32) -> f32 {
    let (mut a, mut b) = ([0; 32], [0; 32]);
    for (k, x, y) in terms {
        let codes = [*x, *y].map(F8E4M3::from_f32);
        assert_eq!(codes.map(F8E4M3::to_f32), [*x, *y]);
        [a[*k], b[*k]] = codes.map(|code| code.to_bits().into());
    }
    let spec = quarter::FormatId::F8E4M3.spec();
    f32::from_bits(unit.dot((spec, &a), (spec, &b), c.to_bits()).expect("a product"))
}

/// Hopper's unit, chained or promoted.
fn hopper(promote: Option<u32>) -> Line {
    Line { promote, label: "", unit: &H100_WGMMA_FP8 }
}

#[test]
fn parameters() {
    let text = include_str!("../src/mma/mod.rs");
    let rows = text.lines().filter_map(|line| line.strip_prefix("//! | [`"));
    let mut seen = Vec::new();
    for row in rows {
        let cells: Vec<&str> = row.split(" | ").collect();
        let [names, steps, fraction, output, joins, evidence] = cells[..] else { panic!("{row}") };
        let names = names.split("`], [`").map(|name| name.trim_end_matches("`]"));
        for (i, name) in names.enumerate() {
            let name = name.to_lowercase().replace('_', "-");
            let unit: &Unit = name.parse().unwrap_or_else(|error| panic!("{row}: {error}"));
            let step = *steps.split(", ").collect::<Vec<_>>().get(i).unwrap_or(&steps);
            let (expected, bits, c) = match unit.rule() {
                Rule::Fused(Fused { products, fraction, late, .. }) => {
                    let c = if late.is_some() { "after two steps" } else { "in the step" };
                    (products.to_string(), fraction.to_string(), c)
                }
                Rule::Exact => ("all".into(), "all".into(), "in the step"),
                Rule::FmaPairs => {
                    (unit.step().to_string(), "see [`Rule`]".into(), "before the products")
                }
                Rule::Cdna3 { .. } | Rule::Amx | Rule::BfDot { .. } => {
                    (unit.step().to_string(), "see [`Rule`]".into(), "after the products")
                }
            };
            assert_eq!([step, fraction, joins], [&expected, &bits, c], "{name}");
            assert_eq!(output, unit.output().to_string(), "{name}");
            assert_eq!(evidence.trim_end_matches(" |"), unit.evidence().to_string(), "{name}");
            seen.push(unit);
        }
    }
    let rule = |unit: &Unit| match unit.rule() {
        Rule::Fused(rule) => Fused { zero: 0, ..rule },
        other => panic!("{unit}: {other:?}"),
    };
    for unit in UNITS {
        let Some(name) = unit.name().strip_suffix("-f16").filter(|_| unit.output() == Output::F16)
        else {
            assert_eq!(seen.iter().filter(|seen| *seen == unit).count(), 1, "{unit}");
            continue;
        };
        let namesake = |name: &str| UNITS.iter().find(|unit| unit.name() == name);
        let same = namesake(name).or_else(|| namesake(&name.replace("-f16", "-16bit")));
        assert_eq!(rule(unit), rule(same.expect("a namesake")), "{unit}");
    }
}

#[test]
fn every_unit_names_its_source() {
    for unit in UNITS {
        assert!(unit.source().len() > 8, "{unit}: {:?}", unit.source());
    }
}

#[test]
fn picture() {
    let products: Vec<_> = (0..32).map(|k| (k, measure::ELEMENT, measure::ELEMENT)).collect();
    let d = dot(&H100_WGMMA_FP8, &products, 32.0);
    assert_eq!(d, 32.0 + 32.0 * 2.0 / 256.0);
    says(&format!("D      {d} "));
    let product = f64::from(measure::ELEMENT).powi(2);
    says(&format!("2/256 of {:.2}/256", product * 256.0));
    says(&format!("not {:.2}", 32.0 + 32.0 * product));
    // Bits down to 2^−14, of which those above 2^−8 are kept.
    says(&format!("{:08b}|{:06b}", (product * 256.0) as u32, (product * 16384.0) as u32 % 64));
    says(&format!("{:014b}|", (d * 256.0) as u32).replacen("100000", "100000.", 1));
}

#[test]
fn equal_products() {
    says("4096 products 0.1015625 · 0.1015625 are 42.25.");
    let of = |unit| Line { unit, ..hopper(None) }.constant(4096).expect("a product");
    let (sum, error) = of(&H100_WGMMA_FP8);
    assert_eq!(sum.to_bits(), 0x421b_1800);
    says(&format!("makes {sum} of them, which is {}", percent(error, 2)));
    let (sum, error) = of(&ADA_FP8);
    says(&format!("[`ADA_FP8`] {sum}, {}", percent(error, 2)));
    assert_eq!(of(&B200_FP8), (42.25, 0.0));
    for k in (32..=160).step_by(32) {
        let (_, error) = hopper(None).constant(k).expect("a product");
        assert_eq!(error == 0.0, k <= 128, "{k}");
    }
}

#[test]
fn random_matrices() {
    if is_thin() {
        return;
    }
    let both = |random: &Random| {
        [None, Some(128)].map(|promote| random.errors(&hopper(promote)).expect("a product"))
    };
    let row = |name: &str, shares: [f64; 2], digits: [usize; 2]| {
        let [chained, promoted] = [0, 1].map(|i| percent(shares[i], digits[i]));
        says(&format!("| {name} | {chained} | {promoted} |"));
    };
    let [large, small] =
        [512, 64].map(|rows| Random::new(Draw::Normal, rows, 4096).expect("a product"));
    let (large, small) = (both(&large), both(&small));
    let median = |errors: &measure::Errors| errors.own[errors.own.len() / 2];
    let last = |errors: &measure::Errors| errors.own[errors.own.len() - 1];
    let name = "normal, 512 × 512 outputs";
    let by = "error / outputs' rms";
    row(&format!("{name}: largest {by}"), large.each_ref().map(|errors| errors.largest), [2, 3]);
    row("the same of 64 × 64 outputs", small.map(|errors| errors.largest), [2, 3]);
    row(&format!("{name}: rms {by}"), large.each_ref().map(|errors| errors.rms), [3, 3]);
    row("the same: median of error / own output", large.each_ref().map(median), [3, 3]);
    row("the same: largest error / own output", large.each_ref().map(last), [0, 0]);
    let uniform = both(&Random::new(Draw::Uniform, 128, 4096).expect("a product"));
    assert!(uniform[0].own[0] > 0.06);
    let name = "uniform from 0 to 1, 128 × 128 outputs: median of error / own output";
    row(name, uniform.each_ref().map(median), [2, 3]);
    row("the same: largest error / own output", uniform.each_ref().map(last), [2, 3]);
}

#[test]
fn four_units() {
    let tiny = 2.0_f32.powi(-7);
    let ones = |n: usize| (0..n).map(|k| (k, 1.0, 1.0)).collect();
    let v4 = [(0, 1.0, 1.0)].into_iter().chain((1..32).map(|k| (k, tiny, tiny))).collect();
    let v7b = vec![(0, 16.0, 16.0), (1, -16.0, 16.0), (16, 0.125, 0.125)];
    let rows: [(&str, Vec<Term>, f32); 6] = [
        ("V1 | c = 3.0003717 and no product", vec![], f32::from_bits(0x4040_0617)),
        ("V4 | 1 + 31 · 2⁻¹⁴, each cut off by itself", v4, 0.0),
        ("V5 | 1 − 2⁻¹⁴, toward zero and not down", vec![(0, 1.0, 1.0), (1, -tiny, tiny)], 0.0),
        ("V7b | 16² − 16² + 2⁻⁶, the last at k = 16", v7b, 0.0),
        ("V8 | c = 2²⁴ and 32 · 1", ones(32), 2.0_f32.powi(24)),
        ("V10 | c = 2²⁴ and 3", vec![(0, 3.0, 1.0)], 2.0_f32.powi(24)),
    ];
    assert_eq!(rows[0].2, 3.0003717);
    for (name, terms, c) in rows {
        let units = [&H100_WGMMA_FP8, &ADA_FP8, &B200_FP8, &HOPPER_MMA_SYNC_FP8];
        let [h100, ada, b200, mma_sync] = units.map(|unit| dot(unit, &terms, c));
        says(&format!("| {name} | {h100} | {ada} | {b200} | {mma_sync} |"));
    }
}

#[test]
fn promotion() {
    if is_thin() {
        return;
    }
    let intervals = [32, 64, 128, 256, 512, 1024].map(Some);
    let random = Random::new(Draw::Normal, 128, 4096).expect("a product");
    let (mut equal, mut largest, mut rms) = (String::new(), String::new(), String::new());
    for promote in intervals.into_iter().chain([None]) {
        let (_, error) = hopper(promote).constant(4096).expect("a product");
        equal += &format!(" {} |", percent(error, if error == 0.0 { 0 } else { 2 }));
        let errors = random.errors(&hopper(promote)).expect("a product");
        largest += &format!(" {} |", percent(errors.largest, 3));
        rms += &format!(" {} |", percent(errors.rms, 4));
    }
    says(&format!("| 0.1015625² |{equal}"));
    says(&format!("| normal, largest |{largest}"));
    says(&format!("| normal, rms |{rms}"));
    let Rule::Fused(rule) = H100_WGMMA_FP8.rule() else { panic!("a fused sum") };
    assert_eq!(128 / rule.products, 4);
}

#[test]
fn bits() {
    let Rule::Fused(rule) = H100_WGMMA_FP8.rule() else { panic!("a fused sum") };
    assert_eq!((1 + rule.fraction, H100_WGMMA_FP8.output()), (14, Output::E8M13));
    assert_eq!(1 + 8 + 13, 22);
    let small = 2.0_f32.powi(-6);
    let terms = [(0, 1.5, 1.5), (1, -1.5, 1.5), (2, small, small / 2.0)];
    assert_eq!(dot(&H100_WGMMA_FP8, &terms, 0.0), 2.0_f32.powi(-13));
    assert_eq!(1 - (-13) + 1, 15);
    // A bit less is not kept.
    let terms = [(0, 1.5, 1.5), (1, -1.5, 1.5), (2, small / 2.0, small / 2.0)];
    assert_eq!(dot(&H100_WGMMA_FP8, &terms, 0.0), 0.0);
}

#[test]
fn plots_are_current() {
    if is_thin() {
        return;
    }
    assert_eq!(LINES.len(), 4);
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    for (name, text) in plot::plots().expect("products") {
        says(&format!("docs/{name}"));
        let file = fs::read_to_string(docs.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let same = file == text;
        assert!(same, "docs/{name} is old: cargo run --release --example accumulators -- docs");
        assert!(text.len() < 30_000, "{name}: {} bytes", text.len());
    }
}
