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

/// Its lines of a kind as JSON, all of the same part.
#[track_caller]
fn lines(args: &[&str], part: &str, kind: &str) -> Vec<Value> {
    let text = printed(&[args, &["--json"]].concat());
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().all(|line| line["part"] == part), "{args:?}");
    let lines: Vec<Value> = lines.into_iter().filter(|line| line["kind"] == kind).collect();
    assert!(!lines.is_empty(), "{args:?}");
    lines
}

#[track_caller]
fn number(line: &Value, key: &str) -> f64 {
    line[key].as_f64().unwrap_or_else(|| panic!("{key} of {line}"))
}

/// The page and its pictures: figures are rounded to what every machine has the same.
#[test]
fn the_page_is_what_it_prints() {
    const AGAIN: &str = "run `quarter report --markdown --out docs > docs/accuracy.md`";
    let docs = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs"));
    let page = std::fs::read_to_string(docs.join("accuracy.md")).expect("docs/accuracy.md");
    let scene = Scene::new(&[]);
    let out = scene.path("out");
    let now = printed(&["--markdown", "--out", out.to_str().unwrap()]);
    for (i, (line, other)) in now.lines().zip(page.lines()).enumerate() {
        assert_eq!(line, other, "line {}: {AGAIN}", i + 1);
    }
    assert!(now == page, "docs/accuracy.md has another length: {AGAIN}");
    for name in PICTURES {
        let read = |at: &std::path::Path| std::fs::read(at.join(name)).expect(name);
        assert!(read(&out) == read(docs), "{name} is another picture: {AGAIN}");
        assert!(page.contains(&format!("({name})")), "{name}");
    }
    assert!(page.contains(" 0 of ") && page.contains(" proven bounds are passed."));
}

const PICTURES: [&str; 4] =
    ["accuracy-casts.svg", "accuracy-products.svg", "accuracy-recipes.svg", "accuracy-sqnr.svg"];

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
    let args = ["sqnr", "--seed", "18446744073709551615"];
    let all = [lines(&args, "sqnr", "format"), lines(&args, "sqnr", "block")].concat();
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

/// Beside the page, other lengths, which no block divides.
#[test]
fn no_product_is_beyond_its_bound() {
    let args = ["products", "--k", "1,33,500", "--seed", "9"];
    let all = lines(&[&args[..], &["--pass", "dgrad,wgrad"]].concat(), "products", "bounds");
    let mut bounds = 0;
    for line in &all {
        assert_eq!(line["beyond"], 0, "{line}");
        let bounded = line["outputs"].as_u64().unwrap() - line["without_bound"].as_u64().unwrap();
        bounds += bounded;
        let part = |key: &str| line[key].as_f64();
        let overflow = line["sums"].as_str().unwrap().ends_with("f16");
        for key in ["of_bound", "sums_of_bound"] {
            assert!(part(key).is_some() || overflow || bounded == 0, "{line}");
            assert!(part(key).is_none_or(|part| (0.0..=1.0).contains(&part)), "{line}");
        }
        assert!(overflow || line["overflow"] == 0, "{line}");
        // Products of the tiniest are not f32, and some units lose what sums of constants add.
        if !["tiny-f32", "constant"].contains(&line["distribution"].as_str().unwrap()) {
            assert!(part("sums_norm").is_none_or(|norm| norm < 1e-2), "{line}");
        }
    }
    assert!(bounds > 70_000, "{bounds}");
}

/// Another seed differs by no more than the standard errors say, and normal numbers are those of
/// theory.
#[test]
fn products_have_the_noise_of_theory() {
    let one = |seed: &str| {
        let args = ["products", "--k", "256", "--unit", "f32", "--seed", seed];
        lines(&args, "products", "signal")
    };
    let (first, second) = (one("1"), one("2"));
    assert_eq!((first.len(), second.len()), (12 * 3 * 7, 12 * 3 * 7));
    let mut predicted = 0;
    for (a, b) in first.iter().zip(&second) {
        let [x, y] = [a, b].map(|line| number(line, "sqnr_db"));
        let [dx, dy] = [a, b].map(|line| number(line, "standard_error_db"));
        assert!((x - y).abs() <= 4.0 * (dx * dx + dy * dy).sqrt() + 0.01, "{a}\n{b}");
        for line in [a, b].into_iter().filter(|line| !line["predicted_db"].is_null()) {
            let off = (number(line, "sqnr_db") - number(line, "predicted_db")).abs();
            let error = number(line, "standard_error_db");
            assert!(error < 0.06 && off < 0.1 + 2.0 * error, "{line}");
            predicted += 1;
        }
    }
    // All but f32.
    assert_eq!(predicted, 2 * 11 * 3);
    let sqnr = |recipe: &str, pass: &str| {
        let is = |line: &&Value| {
            line["recipe"] == recipe && line["pass"] == pass && line["distribution"] == "gaussian"
        };
        number(first.iter().find(is).expect("a line"), "sqnr_db")
    };
    assert!(sqnr("f32", "fprop") > 120.0 && sqnr("f32", "fprop") > sqnr("bf16", "fprop") + 50.0);
    assert!(sqnr("bf16", "fprop") > sqnr("blockwise", "dgrad") + 15.0);
    // E5M2 gradients.
    assert!(sqnr("current", "fprop") > sqnr("current", "dgrad") + 3.0);
}

/// Sums in f16 are infinite where codes are large: they are counted, and have no figures.
#[test]
fn overflow_is_counted() {
    let args = ["products", "--recipe", "current", "--unit", "h100-wgmma-fp8-f16", "--k", "4096"];
    let args = [&args[..], &["--pass", "fprop", "--distribution", "gaussian,zeros"]].concat();
    let all = lines(&args, "products", "bounds");
    let [gaussian, zeros] = &all[..] else { panic!("{} lines", all.len()) };
    let overflow = number(gaussian, "overflow");
    assert!((24.0..=32.0).contains(&overflow) && gaussian["beyond"] == 0, "{gaussian}");
    for key in ["of_bound", "of_probable", "sums_of_bound", "sums_of_probable"] {
        assert!(gaussian[key].is_null() && zeros[key] == 0.0, "{gaussian} {zeros}");
    }
    assert_eq!(gaussian["sums_norm"].is_null(), overflow == 32.0, "{gaussian}");
    let signals = lines(&args, "products", "signal");
    let levels: Vec<_> = signals.iter().map(|line| &line["sqnr_db"]).collect();
    assert_eq!(levels, ["overflow", "zeros"]);
    let text = printed(&args);
    assert!(text.lines().any(|line| line.contains("% Inf")), "{text}");
    // Numbers that the format has.
    let args = ["products", "--recipe", "f32", "--k", "1", "--distribution", "constant"];
    let exact = lines(&[&args[..], &["--unit", "f32"]].concat(), "products", "signal");
    assert!(exact.iter().all(|line| line["sqnr_db"] != "zeros"), "{exact:?}");
}

/// Of independent matrices one in H + 1 is larger than H others.
#[test]
fn histories_overflow_as_theory_says() {
    let all = lines(&["casts", "--distribution", "gaussian,student-t"], "casts", "history");
    let mut reaches = Vec::new();
    for line in &all {
        let share = number(line, "overflowing") / number(line, "matrices");
        let (predicted, matrices) = (number(line, "predicted"), number(line, "matrices"));
        assert_eq!(predicted, 1.0 / (number(line, "reach") + 1.0), "{line}");
        let error = (predicted * (1.0 - predicted) / matrices).sqrt();
        assert!(share < predicted + 4.0 * error, "{line}");
        // msamp leaves room.
        if line["cast"].as_str().unwrap().ends_with("te-delayed") {
            assert!(share > predicted - 4.0 * error, "{line}");
            reaches.push(number(line, "reach") as u32);
        }
    }
    reaches.sort_unstable();
    reaches.dedup();
    assert_eq!(reaches, [1, 16, 1024]);
}

/// Where the scale of a block is 0, its elements are flushed and not saturated.
#[test]
fn a_scale_of_zero_flushes() {
    let args = ["casts", "--recipe", "nvfp4", "--distribution", "block-spread"];
    let all = lines(&args, "casts", "cast");
    let [line] = &all[..] else { panic!("{} lines", all.len()) };
    let share = |key: &str| number(line, key) / number(line, "elements");
    assert!((0.55..0.62).contains(&share("flushed")), "{line}");
    assert!(share("saturated") < 0.03, "{line}");
}

/// A unit that truncates to 13 bits errs more than f32, less where it is promoted; what a long sum of
/// constants loses, promotion gives back.
#[test]
fn promotion_is_seen() {
    let args = ["products", "--recipe", "rowwise", "--unit", "f32,h100-wgmma-fp8", "--k", "8192"];
    let more = ["--distribution", "uniform,constant", "--pass", "fprop"];
    let all = lines(&[&args[..], &more].concat(), "products", "bounds");
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
    let all = lines(&["casts", "--distribution", "uniform,gaussian"], "casts", "cast");
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
    assert!(text.starts_with("Products, case by case\n"), "{text}");
    // Of 7 distributions and 2 lengths; all passes are the same.
    let rows = |name: &str| text.lines().filter(|line| line.starts_with(name)).count();
    assert_eq!((rows("rowwise "), rows("bf16 "), rows("mxfp8")), (14, 14, 0), "{text}");
    let text = printed(&[
        "products",
        "--recipe",
        "current@h100-wgmma-fp8",
        "--pass",
        "dgrad",
        "--k",
        "64",
    ]);
    assert!(
        text.contains("\ncurrent-h100-wgmma-fp8  dgrad  h100-wgmma-fp8/128  gaussian "),
        "{text}"
    );
    let text = printed(&["casts", "--distribution", "tiny-f32,midpoints-of-e4m3"]);
    let title = text.lines().find(|line| line.starts_with("cast ")).expect("titles");
    assert!(title.ends_with("of-e4m3") && title.contains(" tiny-f32 "), "{text}");
    let custom = "name=mine;fprop=e3m4:row:te-current*bf16;dgrad=f32*f32;wgrad=f32*f32";
    let args = ["products", "--recipe", custom, "--unit", "f32", "--k", "8"];
    let all = lines(&args, "products", "bounds");
    assert!(all.iter().all(|line| line["recipe"] == "mine" && line["beyond"] == 0));
}

#[test]
fn markdown_has_tables() {
    let text =
        printed(&["products", "casts", "--markdown", "--k", "16", "--distribution", "zeros"]);
    assert!(text.starts_with("# Accuracy\n\n"), "{text}");
    assert_eq!(text.matches("\n## ").count(), 5, "{text}");
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
    assert_eq!(names, PICTURES);
    for (name, words) in [
        ("accuracy-sqnr.svg", ["e4m3b11fnuz", "standard deviation"]),
        ("accuracy-recipes.svg", ["mxfp8", "theory"]),
        ("accuracy-products.svg", ["h100-wgmma-fp8/128", "worst error of sums"]),
        ("accuracy-casts.svg", ["1x32:te-mx", "gaussian"]),
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
    xml(&std::fs::read_to_string(out.join("accuracy-products.svg")).unwrap());
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
        (report(&["sqnr", "--recipe", "bf16"]), 1, "--recipe is not for the part sqnr"),
        (report(&["sqnr", "--k", "5"]), 1, "--k is for the part products"),
        (report(&["sqnr", "--pass", "dgrad"]), 1, "--pass is for the part products"),
        (report(&["casts", "--k", "5"]), 1, "--k is for the part products"),
        (report(&["--recipe", "current@abacus"]), 2, "abacus"),
        (report(&["--recipe", "current@b200-mxfp8"]), 2, "current@b200-mxfp8"),
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
        assert!(help.contains(&format!("  {name} ")), "{name}");
    }
}

/// The recipes of the page are all that there are.
#[test]
fn every_preset_is_there() {
    let page = include_str!("../../../docs/accuracy.md");
    for (name, _) in presets::ALL {
        assert!(page.contains(&format!("\n| {name} | ")), "{name}");
    }
}
