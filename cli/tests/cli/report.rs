//! `quarter report`: its figures against theory and by hand, its options, and the page it prints.

use crate::common::{Run, Scene, command, run};
use crate::inspect::outside::xml;
use quarter::accuracy::Distribution;
use quarter::recipe::presets;
use quarter::{FormatId, Isa};
use serde_json::Value;

fn report(args: &[&str]) -> Run {
    run(command(&[&["report"], args].concat()))
}

/// The output of a report that must work.
#[track_caller]
fn printed(args: &[&str]) -> String {
    let run = report(args);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{args:?}");
    run.stdout
}

/// Its lines as JSON, each with the part that it is of.
#[track_caller]
fn lines(args: &[&str], part: &str) -> Vec<Value> {
    let text = printed(&[args, &["--json"]].concat());
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!lines.is_empty() && lines.iter().all(|line| line["part"] == part), "{args:?}");
    lines
}

#[track_caller]
fn number(line: &Value, key: &str) -> f64 {
    line[key].as_f64().unwrap_or_else(|| panic!("{key} of {line}"))
}

/// Figures are rounded to what every machine has the same.
#[test]
fn the_page_is_what_it_prints() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/accuracy.md");
    let page = std::fs::read_to_string(path).expect("docs/accuracy.md");
    let now = printed(&["--markdown"]);
    for (i, (line, other)) in now.lines().zip(page.lines()).enumerate() {
        assert_eq!(
            line,
            other,
            "line {}: run `quarter report --markdown > docs/accuracy.md`",
            i + 1
        );
    }
    assert!(now == page, "docs/accuracy.md has another length: print it again");
}

#[test]
fn every_instruction_set_and_thread_count_prints_the_same() {
    let args = ["report", "--recipe", "bf16,blockwise,mxfp8,nvfp4", "--k", "300", "--seed", "5"];
    let args =
        [&args[..], &["products", "casts", "--distribution", "gaussian,block-spread"]].concat();
    let expected = run(command(&args)).stdout;
    assert!(expected.contains("nvfp4"), "{expected}");
    for isa in Isa::available() {
        for threads in ["1", "2"] {
            let mut command = command(&[&args[..], &["--threads", threads]].concat());
            command.env("QUARTER_ISA", isa.name());
            assert_eq!(run(command).stdout, expected, "{isa:?} {threads}");
        }
    }
}

/// The page has the default seed; here is another, the last.
#[test]
fn signal_to_noise_is_that_of_theory() {
    let all = lines(&["sqnr", "--seed", "18446744073709551615"], "sqnr");
    let of = |cast: &str, data: &str| {
        let found = all.iter().find(|line| line["cast"] == cast && line["data"] == data);
        found.unwrap_or_else(|| panic!("{cast} {data}"))
    };
    assert_eq!(all.len(), 10 * 2 + 5 * 3 + 1);
    for line in &all {
        let [measured, predicted] = ["measured_db", "predicted_db"].map(|key| number(line, key));
        let difference = number(line, "difference_db");
        assert!((measured - predicted - difference).abs() < 2e-3, "{line}");
        assert!(difference.abs() <= 0.05, "{line}");
    }
    // Tables of exact integrals, made before this was written.
    for (cast, data, want) in [
        ("e4m3", "gaussian", 31.39),
        ("e4m3", "uniform", 31.87),
        ("e4m3fnuz", "uniform", 32.20),
        ("e5m2", "gaussian", 25.52),
        ("e3m4", "gaussian", 36.99),
        ("e2m1", "uniform", 19.15),
        ("e4m3:1x32:ocp-floor", "gaussian", 30.62),
        ("e4m3:1x32:ocp-rceil", "gaussian", 31.52),
        ("e4m3:1x32:te-current", "gaussian", 32.40),
        ("e2m3:1x32:te-current", "gaussian", 32.29),
        ("e2m1:1x32:ocp-floor", "gaussian", 18.79),
        ("e2m1:1x16:nvfp4", "gaussian", 20.43),
    ] {
        let got = number(of(cast, data), "predicted_db");
        assert!((got - want).abs() <= 0.05, "{cast} {data}: {got}, not {want}");
    }
}

/// Beside the page, the backward passes and lengths that no block divides.
#[test]
fn no_product_is_beyond_its_bound() {
    for pass in ["dgrad", "wgrad"] {
        let args = ["products", "--pass", pass, "--k", "1,33,500", "--seed", "9"];
        let all = lines(&args, "product");
        let mut bounds = 0;
        for line in &all {
            assert_eq!(line["beyond"], 0, "{line}");
            bounds += line["outputs"].as_u64().unwrap() - line["without_bound"].as_u64().unwrap();
            for key in ["of_bound", "sums_of_bound"] {
                assert!((0.0..=1.0).contains(&number(line, key)), "{line}");
            }
            // Products of the tiniest are not f32, and some units lose what sums of constants add.
            if !["tiny-f32", "constant"].contains(&line["distribution"].as_str().unwrap()) {
                assert!(number(line, "sums_norm") < 1e-2, "{line}");
            }
        }
        assert!(bounds > 35_000, "{bounds}");
        // E5M2 gradients are what rules these.
        let sqnr = |recipe: &str| {
            let is = |line: &&Value| {
                line["recipe"] == recipe
                    && line["k"] == 500
                    && line["sums"] == "f32"
                    && line["distribution"] == "gaussian"
            };
            number(all.iter().find(is).expect("a line"), "sqnr_db")
        };
        assert!(sqnr("f32") > 120.0 && sqnr("f32") > sqnr("bf16") + 50.0);
        assert!(
            sqnr("bf16") > sqnr("blockwise") + 15.0 && sqnr("blockwise") > sqnr("current") + 2.0
        );
    }
}

/// A unit that truncates to 13 bits errs more than f32, less where it is promoted; what a long sum of
/// constants loses, promotion gives back.
#[test]
fn promotion_is_seen() {
    let args = ["products", "--recipe", "rowwise", "--unit", "f32,h100-wgmma-fp8", "--k", "8192"];
    let all = lines(&[&args[..], &["--distribution", "uniform,constant"]].concat(), "product");
    assert_eq!(all.len(), 3 * 2);
    let norm = |sums: &str, distribution: &str| {
        let is = |line: &&Value| line["sums"] == sums && line["distribution"] == distribution;
        number(all.iter().find(is).unwrap_or_else(|| panic!("{sums}")), "sums_norm")
    };
    let ways = ["f32", "h100-wgmma-fp8/128", "h100-wgmma-fp8"];
    let [f32, promoted, unit] = ways.map(|sums| norm(sums, "uniform"));
    assert!(f32 * 10.0 < promoted && promoted * 4.0 < unit, "{f32} {promoted} {unit}");
    let [f32, promoted, unit] = ways.map(|sums| norm(sums, "constant"));
    assert!(f32 < 1e-6 && promoted < 1e-3 && unit > 0.01, "{f32} {promoted} {unit}");
}

/// Of numbers even within 1, and of standard normal ones.
#[test]
fn shares_are_probabilities() {
    let all = lines(&["casts", "--distribution", "uniform,gaussian"], "cast");
    let share = |format: &str, scale: &str, distribution: &str, key: &str| {
        let is = |line: &&Value| {
            line["format"] == format
                && line["scale"] == scale
                && line["distribution"] == distribution
        };
        let line = all.iter().find(is).unwrap_or_else(|| panic!("{format} {scale}"));
        number(line, key) / number(line, "elements")
    };
    for (format, distribution, flushed) in [
        ("e4m3", "uniform", 1.0 / 1024.0),
        ("e2m1", "uniform", 0.25),
        ("e2m1", "gaussian", 0.197_41), // erf(0.25 / √2)
        ("e2m3", "gaussian", 0.049_84), // erf(0.0625 / √2)
    ] {
        let got = share(format, "none", distribution, "flushed");
        assert!((got - flushed).abs() < 0.03 * flushed + 2e-4, "{format} {distribution}: {got}");
        assert_eq!(
            share(format, "none", distribution, "saturated"),
            0.0,
            "{format} {distribution}"
        );
    }
    // Rounded up, a scale lets nothing saturate; down, the largest in a block often does.
    assert_eq!(share("e4m3", "1x32:ocp-rceil", "gaussian", "saturated"), 0.0);
    let floor = share("e4m3", "1x32:ocp-floor", "gaussian", "saturated");
    assert!((0.002..0.05).contains(&floor), "{floor}");
}

/// Only what is asked for, in order, once.
#[test]
fn what_is_chosen() {
    let text = printed(&[
        "products",
        "--recipe",
        "rowwise,bf16,rowwise",
        "--k",
        "64,32,64",
        "--unit",
        "f32,f32",
    ]);
    let titles: Vec<_> = text.lines().filter(|line| line.contains("products")).collect();
    assert_eq!(
        titles[..2],
        [
            "Signal to noise of products, dB, fprop, K = 64",
            "Errors of products against their bounds, fprop"
        ]
    );
    let rows = |name: &str| text.lines().filter(|line| line.starts_with(name)).count();
    assert_eq!((rows("rowwise "), rows("bf16 "), rows("mxfp8")), (2, 2, 0), "{text}");
    assert!(text.contains("  norm, K = 32  norm, K = 64  sums/bound"), "{text}");
    let text = printed(&["casts", "--distribution", "tiny-f32,midpoints-of-e4m3"]);
    assert!(text.lines().any(|line| line.ends_with("tiny-f32  midpoints-of-e4m3")), "{text}");
    let custom = "name=mine;fprop=e3m4:row:te-current*bf16;dgrad=f32*f32;wgrad=f32*f32";
    let all = lines(&["products", "--recipe", custom, "--unit", "f32", "--k", "8"], "product");
    assert!(all.iter().all(|line| line["recipe"] == "mine" && line["beyond"] == 0));
}

#[test]
fn markdown_has_tables() {
    let text =
        printed(&["products", "casts", "--markdown", "--k", "16", "--distribution", "zeros"]);
    assert!(text.starts_with("# Accuracy\n\n"), "{text}");
    assert_eq!(text.matches("\n## ").count(), 3);
    let mut cells = 0;
    for line in text.lines() {
        let here = line.matches(" | ").count();
        if line.starts_with("| ") {
            assert!(line.ends_with(" |") && (cells == 0 || cells == here), "{line}");
        }
        // A table's columns are counted afresh.
        cells = if line.starts_with('|') { cells.max(here) } else { 0 };
    }
}

#[test]
fn pictures() {
    let scene = Scene::new(&[]);
    let out = scene.path("a").join("b");
    let small = ["--k", "16,32", "--recipe", "current,mxfp8", "--distribution", "gaussian,zeros"];
    let _ = printed(&[&small[..], &["--out", out.to_str().unwrap()]].concat());
    let mut names: Vec<_> =
        std::fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["casts.svg", "products.svg", "sqnr.svg"]);
    for (name, words) in [
        ("sqnr.svg", ["e4m3b11fnuz", "standard deviation"]),
        ("products.svg", ["h100-wgmma-fp8/128", "largest error of sums"]),
        ("casts.svg", ["1x32:ocp-floor", "gaussian"]),
    ] {
        let text = std::fs::read_to_string(out.join(name)).unwrap();
        assert!(text.starts_with("<svg") && xml(&text) > 50, "{name}");
        for word in words {
            assert!(text.contains(word), "{name}: {word}");
        }
    }
    // Nothing but zeros, one length, and more ways than colours.
    let least = ["products", "--k", "1", "--recipe", "f32", "--distribution", "zeros"];
    let _ = printed(&[&least[..], &["--out", out.to_str().unwrap()]].concat());
    xml(&std::fs::read_to_string(out.join("products.svg")).unwrap());
}

#[test]
fn refused() {
    let scene = Scene::new(&[]);
    let file = scene.path("in.npy");
    let inside = file.join("deep");
    let small = ["products", "--recipe", "current", "--k", "8"];
    let with = |more: &[&str]| report(&[&small[..], more].concat());
    for (run, code, words) in [
        (with(&["--out", file.to_str().unwrap()]), 1, "in.npy"),
        (with(&["--out", inside.to_str().unwrap()]), 1, "deep"),
        (
            with(&["--unit", "b200-mxfp8"]),
            1,
            "--unit b200-mxfp8: it multiplies the operands of no recipe",
        ),
        (with(&["--unit", "abacus"]), 2, "abacus"),
        (with(&["--distribution", "specials"]), 2, "no distribution (of gaussian, uniform"),
        (with(&["--pass", "sideways"]), 2, "sideways"),
        (with(&["--json", "--markdown"]), 2, "--markdown"),
        (with(&["--seed", "-1"]), 2, "-1"),
        (report(&["--k", "0"]), 2, "1..=65536"),
        (report(&["--k", "65537"]), 2, "65537"),
        (report(&["--k", ""]), 2, "--k"),
        (report(&["--recipe", "nonsense"]), 2, "nonsense"),
        (report(&["--recipe", "name=|;fprop=f32*f32;dgrad=f32*f32;wgrad=f32*f32"]), 2, "name"),
        (report(&["nonsense"]), 2, "nonsense"),
        (report(&["sqnr", "--recipe", "bf16"]), 1, "--recipe is for the part products"),
        (report(&["casts", "--unit", "f32"]), 1, "--unit is for the part products"),
        (
            report(&["sqnr", "--distribution", "zeros"]),
            1,
            "--distribution is not for the part sqnr",
        ),
    ] {
        assert_eq!((run.code, run.stdout.as_str()), (Some(code), ""), "{words}: {}", run.stderr);
        assert!(run.stderr.contains(words), "{words}: {}", run.stderr);
    }
    assert_eq!(scene.names(), ["in.npy"]);
}

#[test]
fn help_names_every_distribution() {
    let help = printed(&["--help"]).replace('\n', " ");
    for distribution in Distribution::finite(FormatId::F8E4M3) {
        let name = distribution.to_string().replace(' ', "-");
        assert!([',', '.'].iter().any(|end| help.contains(&format!(" {name}{end}"))), "{name}");
    }
}

/// The recipes of the page are all that there are.
#[test]
fn every_preset_is_there() {
    let page = include_str!("../../../docs/accuracy.md");
    for (name, _) in presets::ALL {
        assert!(page.contains(&format!("\n| {name} | f32 |")), "{name}");
    }
}
