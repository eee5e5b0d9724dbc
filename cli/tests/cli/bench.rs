//! `quarter bench`: what it prints; how fast it is nobody's business here.

use crate::common::{Run, command, run};
use quarter::Isa;
use quarter::mma::UNITS;
use serde_json::Value;

fn bench(args: &[&str]) -> Run {
    run(command(&[&["bench", "--seconds", "0"], args].concat()))
}

#[track_caller]
fn rows(args: &[&str]) -> Vec<Value> {
    let run = bench(&[args, &["--json"]].concat());
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{args:?}");
    run.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key].as_str().expect("a text")
}

const KEYS: [&str; 8] =
    ["kernel", "max", "median", "min", "peak_share", "shape", "threads", "unit"];

#[test]
fn json_has_a_line_for_each_kernel() {
    let args = ["--shape", "33x20x65", "--shape", "2x64x32", "--threads", "1"];
    let recipes = ["--recipe", "f32", "--recipe", "tensorwise"];
    let rows = rows(&[&args[..], &recipes].concat());
    for row in &rows {
        let keys: Vec<_> = row.as_object().expect("an object").keys().collect();
        assert_eq!(keys, KEYS, "{row}");
        let [min, median, max] = ["min", "median", "max"].map(|key| row[key].as_f64().unwrap());
        assert!(0.0 < min && min <= median && median <= max, "{row}");
        assert!(row["peak_share"].as_f64().unwrap() > 0.0, "{row}");
        assert_eq!(row["threads"], 1, "{row}");
        assert!(["GFLOP/s", "GB/s"].contains(&text(row, "unit")), "{row}");
    }
    let pairs = Isa::best().peak(true, 1) > 0;
    let kernels: Vec<_> =
        rows.iter().map(|row| (text(row, "kernel"), text(row, "shape"))).collect();
    let machine = ["peak f32", "peak bf16 pairs", "copy", "read"];
    let machine: Vec<_> =
        machine.into_iter().filter(|name| pairs || *name != "peak bf16 pairs").collect();
    let (there, rest) = kernels.split_at(machine.len());
    assert_eq!(there, machine.into_iter().map(|name| (name, "-")).collect::<Vec<_>>());
    for expected in [
        ("f32 to e4m3, scaled", "33x65"),
        ("e4m3 to bf16", "2x32"),
        ("quantize e4m3:tensor:torchao", "33x65"),
        ("quantize e5m2:tensor:torchao", "2x32"),
        ("dequantize e4m3:tensor:torchao to bf16", "33x65"),
        ("gemm f32", "33x20x65"),
        ("gemm tensorwise", "33x20x65"),
        ("gemm tensorwise", "2x64x32"),
        ("gemm tensorwise, packed", "2x64x32"), // few rows
    ] {
        assert_eq!(
            rest.iter().filter(|row| **row == expected).count(),
            1,
            "{expected:?}: {rest:?}"
        );
    }
    assert!(!rest.contains(&("gemm f32, packed", "33x20x65")));
}

#[test]
fn every_recipe_and_an_own_one_on_two_threads() {
    let own =
        "name=mine;fprop=e4m3:1x128:deepseek*e4m3:128x128:deepseek;dgrad=bf16*bf16;wgrad=bf16*bf16";
    let names: Vec<_> = quarter::recipe::presets::ALL.iter().map(|(name, _)| *name).collect();
    let mut args = vec!["gemm", "--shape", "48x40x260", "--threads", "2", "--recipe", own];
    for name in &names {
        args.extend(["--recipe", name]);
    }
    let rows = rows(&args);
    for name in names.into_iter().chain(["mine"]) {
        let kernel = format!("gemm {name}");
        assert_eq!(rows.iter().filter(|row| text(row, "kernel") == kernel).count(), 1, "{kernel}");
    }
    assert!(rows.iter().all(|row| !text(row, "kernel").contains("quantize")));
}

/// Through units, in the first format of each.
#[test]
fn products_through_units() {
    let args = ["units", "--shape", "20x33x65", "--threads", "1"];
    let all: Vec<_> = rows(&args);
    let all: Vec<_> = all.iter().filter(|row| text(row, "kernel").starts_with("unit ")).collect();
    assert_eq!(all.len(), UNITS.len());
    for (unit, row) in UNITS.iter().zip(all) {
        let first = format!("unit {unit}, {}", unit.inputs()[0].name());
        assert!(text(row, "kernel").starts_with(&first), "{row}");
        assert_eq!((text(row, "unit"), text(row, "shape")), ("GMA/s/thread", "20x33x65"), "{row}");
        let [min, median, max] = ["min", "median", "max"].map(|key| row[key].as_f64().unwrap());
        assert!(0.0 < min && min <= median && median <= max, "{row}");
        assert!(row["peak_share"].as_f64().unwrap() > 0.0, "{row}");
    }
    let some = ["--unit", "b200-mxfp8", "--unit", "a100-tf32", "--threads", "2"];
    let run = bench(&[&args[..3], &some].concat());
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    let lines: Vec<_> = run.stdout.lines().filter(|line| line.starts_with("unit ")).collect();
    assert_eq!(lines.len(), 2, "{}", run.stdout);
    assert!(lines[0].starts_with("unit b200-mxfp8, e4m3:1x32:te-mx  "), "{}", lines[0]);
    assert!(lines[1].starts_with("unit a100-tf32, tf32  "), "{}", lines[1]);
    assert!(lines.iter().all(|line| line.contains(" GMA/s/thread ")), "{}", run.stdout);
    assert!(lines.iter().all(|line| line.ends_with(" %  f32 sums")), "{}", run.stdout);
}

#[test]
fn a_table_for_people() {
    let run = bench(&["convert", "--shape", "8x8x96", "--recipe", "mxfp8", "--threads", "1"]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    let mut lines = run.stdout.lines();
    assert_eq!(lines.next(), Some(&*format!("{}, 1 thread", Isa::best().name())));
    let mut lines = lines.skip(1);
    let title = lines.next().expect("a title");
    let unit = title.find("unit").expect("a unit");
    for line in lines {
        assert!(line[unit..].starts_with("GFLOP/s") || line[unit..].starts_with("GB/s"), "{line}");
    }
    assert!(run.stdout.contains("quantize e4m3:1x32:te-mx"), "{}", run.stdout);
    assert!(run.stdout.contains(" %  copy\n"), "{}", run.stdout);
    assert!(!run.stdout.contains("gemm"), "{}", run.stdout);
}

#[test]
fn what_is_not_understood() {
    for (args, code, expected) in [
        (&["--shape", "3x0x3"][..], 2, "none 0"),
        (&["--shape", "3x4"], 2, "1024x1024x1024"),
        (&["--shape", "3x4x5x"], 2, "1024x1024x1024"),
        (&["--shape", "999999999x999999999x1"], 2, "too large"),
        (&["--shape", "99999999999999999999x1x1"], 2, "1024x1024x1024"),
        (&["--recipe", "fp8"], 2, "blockwise"),
        (&["inspect"], 2, "possible values: convert, gemm, units"),
        (&["units", "--unit", "h100"], 2, "\"h100\" is no matrix unit (see `quarter units`)"),
        (&["gemm", "--unit", "exact"], 1, "--unit is for `bench units`"),
        (&["units", "--recipe", "mxfp8"], 1, "--recipe is not for `bench units`"),
        (&["--seconds=-1"], 1, "--seconds -1: from 0 to 3600"),
        (&["--seconds=nan"], 1, "--seconds NaN: from 0 to 3600"),
    ] {
        let run = run(command(&[&["bench"], args].concat()));
        assert_eq!((run.code, run.stdout.as_str()), (Some(code), ""), "{args:?}");
        assert!(run.stderr.contains(expected), "{args:?}: {}", run.stderr);
    }
}

/// `quarter bench | head -1`, and a disk that is full.
#[test]
fn a_reader_that_leaves_is_no_failure() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut leaving = command(&["bench", "gemm", "--seconds", "0", "--shape", "8x8x8"]);
    leaving.stdout(writer);
    let left = run(leaving);
    assert_eq!((left.code, left.stderr.as_str()), (Some(0), ""));
}
