//! What `quarter train` shows: metrics that survive a resume, charts, the table, pictures.

use crate::common::Scene;
use crate::inspect::outside::xml;
use quarter_cli::train::show::chart::{gap_chart, loss_chart};
use quarter_cli::train::show::metrics::{Metrics, read};
use quarter_cli::train::show::svg::{PANELS, loss_svg, scales_svg};
use quarter_cli::train::show::table::{Baselines, summary_table};
use quarter_cli::train::show::{RoleShare, ScaleRecord, StepRecord, Summary};

fn record(recipe: &str, step: u64, train_loss: f32) -> StepRecord {
    StepRecord {
        step,
        recipe: recipe.to_owned(),
        train_loss,
        val_loss: (step.is_multiple_of(100)).then_some(train_loss + 0.05),
        lr: 1e-3,
        grad_norm: 0.7,
        tokens_per_s: 12_345.6,
        skipped: 0,
    }
}

/// Runs that fall from 5.5 to about 2 and differ by a little noise of their own.
fn records(recipes: &[&str], steps: u64) -> Vec<StepRecord> {
    let noise = |seed: u64| {
        let mixed = (seed ^ (seed >> 7)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as f32
            / (1 << 24) as f32
            - 0.5
    };
    let loss = |recipe: usize, step: u64| {
        let t = step as f32 / 1000.0;
        let shared = 1.9 + 3.6 / (1.0 + 14.0 * t) + 0.12 * noise(step);
        shared * (1.0 + recipe as f32 * (0.0012 + 0.004 * noise(step * 31 + recipe as u64 * 7919)))
    };
    let of = |step: u64| {
        recipes.iter().enumerate().map(move |(i, name)| record(name, step, loss(i, step)))
    };
    (1..=steps).flat_map(of).collect()
}

/// A chart's lines are none too long, and have no control characters.
#[track_caller]
fn fits(chart: &str, width: usize) {
    for line in chart.lines() {
        assert!(line.chars().count() <= width, "{} columns: {line}", line.chars().count());
        assert!(!line.contains(char::is_control) && line.trim_end() == line, "{line:?}");
    }
    assert!(chart.ends_with('\n'), "{chart:?}");
}

const NAMES: [&str; 5] = ["f32", "bf16", "current", "delayed", "mxfp8"];

#[test]
fn a_chart_has_lines_letters_labels_and_a_legend() {
    let records = records(&NAMES, 1000);
    for ascii in [false, true] {
        let chart = loss_chart(&records, 90, 20, ascii);
        fits(&chart, 90);
        assert_eq!(chart.lines().count(), 20 + 2, "{chart}");
        assert_eq!(chart.is_ascii(), ascii, "{chart}");
        for part in ["train loss, mean of 14 steps", "A f32 2.1", "E mxfp8 2.1", "step"] {
            assert!(chart.contains(part), "{part} in\n{chart}");
        }
        let labels = chart.lines().skip(1).filter_map(|line| line.get(..7)?.trim().parse().ok());
        let labels: Vec<f32> = labels.collect();
        assert!(labels.len() >= 3 && labels.is_sorted_by(|a, b| a > b), "{labels:?}\n{chart}");
        let drawn = chart.lines().skip(1).take(17).collect::<String>();
        for letter in ["A", "B", "C", "D", "E"] {
            assert!(drawn.matches(letter).count() >= 3, "{letter} in\n{chart}");
        }
        let gaps = gap_chart(&records, 90, ascii);
        fits(&gaps, 90);
        assert_eq!(gaps.is_ascii(), ascii, "{gaps}");
        assert!(gaps.starts_with("gap to bf16, %"), "{gaps}");
        assert_eq!(gaps.lines().count(), NAMES.len(), "all but the baseline, and a title\n{gaps}");
        println!("{chart}\n{gaps}");
    }
}

#[test]
fn charts_of_little_or_nothing() {
    assert_eq!(loss_chart(&[], 80, 16, false), "no steps yet\n");
    assert_eq!(gap_chart(&[], 80, false), "");
    let nan = [record("current", 1, f32::NAN), record("current", 2, f32::INFINITY)];
    assert_eq!(loss_chart(&nan, 80, 16, false), "no finite training loss\n");
    for steps in [1, 2, 3] {
        for names in [&NAMES[..1], &NAMES[..2], &NAMES] {
            let equal: Vec<_> = (1..=steps)
                .flat_map(|step| names.iter().map(move |name| record(name, step, 2.0)))
                .collect();
            for (width, height) in [(0, 0), (40, 8), (80, 16), (200, 60)] {
                for ascii in [false, true] {
                    fits(&loss_chart(&equal, width, height, ascii), width.max(40));
                    let gaps = gap_chart(&equal, width, ascii);
                    assert_eq!(gaps.is_empty(), names.len() == 1);
                    let all_zero =
                        gaps.lines().skip(1).all(|line| line.ends_with("0        0        0"));
                    assert!(all_zero, "{gaps}");
                }
            }
        }
    }
    let zero = [record("a", 1, 0.0), record("b", 1, -0.0)];
    fits(&loss_chart(&zero, 80, 16, false), 80);
    assert!(gap_chart(&zero, 80, false).ends_with("-        -        -\n"), "no gap to 0");
}

#[test]
fn hostile_numbers_and_names_are_drawn() {
    let mut hostile = vec![
        record("a\u{1b}[31m\n\u{fffe}", 0, f32::MAX),
        record("a\u{1b}[31m\n\u{fffe}", u64::MAX, -f32::MAX),
        record("b<&>\"", u64::MAX, f32::MIN_POSITIVE),
        record("b<&>\"", 7, f32::NAN),
        record(&"long".repeat(1000), 1 << 60, 3.0),
    ];
    for n in 0..70 {
        hostile.push(record(&format!("recipe{n}"), n, n as f32));
    }
    for ascii in [false, true] {
        for width in [0, 40, 77, 300] {
            let chart = loss_chart(&hostile, width, 20, ascii);
            assert!(chart.contains("and 21 more recipes"), "{chart}");
            assert!(!chart.contains('\u{1b}'));
            let _ = gap_chart(&hostile, width, ascii);
        }
    }
    let _ = xml(&loss_svg(&hostile).expect("a picture"));
}

#[test]
fn losses_that_are_not_finite_are_left_out_and_counted() {
    let mut records = records(&["f32", "current"], 100);
    let spoil = |record: &&mut StepRecord| record.recipe == "current" && record.step > 60;
    records.iter_mut().filter(spoil).for_each(|record| record.train_loss = f32::NAN);
    let chart = loss_chart(&records, 80, 16, false);
    fits(&chart, 80);
    assert!(chart.contains("(40 not finite)") && !chart.contains("NaN"), "{chart}");
    let gaps = gap_chart(&records, 80, false);
    assert!(gaps.starts_with("gap to f32, %"), "{gaps}");
    let twenty: Vec<_> = (0..20).map(|n| format!("recipe{n}")).collect();
    let names: Vec<_> = twenty.iter().map(String::as_str).collect();
    let many = self::records(&names, 300);
    fits(&loss_chart(&many, 80, 20, false), 80);
    assert_eq!(gap_chart(&many, 80, false).lines().count(), 20);
}

fn summary(recipe: &str, val_loss: f32, shares: &[(u64, u64)]) -> Summary {
    let role = |(role, (saturated, flushed)): (&str, &(u64, u64))| RoleShare {
        role: role.to_owned(),
        saturated: *saturated,
        flushed: *flushed,
        elements: 1_000_000,
    };
    Summary {
        recipe: recipe.to_owned(),
        steps: 1000,
        train_loss: val_loss - 0.01,
        val_loss,
        tokens_per_s: 12_345.6,
        saved_bytes: 3 << 19,
        shares: ["input", "weight", "grad_output"].into_iter().zip(shares).map(role).collect(),
        skipped: 0,
        seconds: 61.0,
    }
}

fn row<'a>(start: &[&'a str], rest: &[&'a str]) -> Vec<&'a str> {
    [start, rest].concat()
}

#[test]
fn the_table_has_the_figures() {
    let mut all = vec![
        summary("f32", 2.0, &[]),
        summary("bf16", 2.5, &[]),
        summary("current", 2.002, &[(0, 12_345), (1, 999_999), (100_000, 1)]),
    ];
    let table = summary_table(&all, Baselines::of(&all));
    fits(&table, 110);
    println!("{table}");
    let rows: Vec<Vec<_>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    let dashes = ["-"; 6];
    assert_eq!(rows[2], row(&["f32", "1.9900", "2.0000", "0", "-20.00", "12'346", "1.5"], &dashes));
    assert_eq!(
        rows[3],
        row(&["bf16", "2.4900", "2.5000", "+25.00", "0", "12'346", "1.5"], &dashes)
    );
    let start = ["current", "1.9920", "2.0020", "+0.10", "-19.92", "12'346", "1.5"];
    assert_eq!(rows[4], row(&start, &["0", "<.001", "10.0", "1.234", "100.0", "<.001"]));
    assert!(!table.contains("skipped"));

    all[2].skipped = 3;
    all[2].val_loss = f32::NAN;
    let table = summary_table(&all[2..], Baselines { f32: Some(2.0), bf16: None });
    let last: Vec<_> = table.lines().last().expect("a row").split_whitespace().collect();
    assert_eq!(last[2..5], ["NaN", "-", "-"]);
    assert_eq!(last.last(), Some(&"3"));
    assert!(table.contains("skipped"), "{table}");

    let plain = summary_table(&all[..2], Baselines::default());
    assert!(!plain.contains("saturated"), "{plain}");
    assert_eq!(summary_table(&[], Baselines::default()).lines().count(), 2);
    let wide = Summary { skipped: 999, ..summary("blockwise", 2.0, &[(123_456, 234_567); 3]) };
    fits(&summary_table(&[wide], Baselines { f32: Some(9.0), bf16: Some(0.01) }), 110);
}

#[test]
fn metrics_come_back_and_have_exactly_their_keys() {
    let scene = Scene::new(b"");
    let path = scene.path("metrics.jsonl");
    let mut want = records(&NAMES[..2], 200);
    want[1].tokens_per_s = 0.1;
    let mut metrics = Metrics::open(&path, 0).expect("a new file");
    for (i, record) in want.iter().enumerate() {
        metrics.write(record).expect("a line");
        assert_eq!(read(&path).expect("flushed").len(), i + 1);
    }
    assert_eq!(read(&path).expect("records"), want);
    metrics
        .write(&StepRecord { val_loss: Some(f32::NAN), ..record("x", 201, f32::NAN) })
        .expect("NaN");
    let text = String::from_utf8(scene.get("metrics.jsonl")).expect("UTF-8");
    let last = text.lines().last().expect("a line");
    assert_eq!(
        last,
        r#"{"step":201,"recipe":"x","train_loss":null,"val_loss":null,"lr":0.001,"grad_norm":0.7,"tokens_per_s":12345.6,"skipped":0}"#
    );
    let back = read(&path).expect("records").pop().expect("the last");
    assert!(back.train_loss.is_nan() && back.val_loss.is_none());
    assert_eq!(scene.names(), ["in.npy", "metrics.jsonl"], "no temporary file is left");
}

#[test]
fn a_resume_drops_what_came_after_the_checkpoint() {
    let scene = Scene::new(b"");
    let path = scene.path("metrics.jsonl");
    let all = records(&NAMES[..2], 30);
    let mut metrics = Metrics::open(&path, 0).expect("a new file");
    all.iter().for_each(|record| metrics.write(record).expect("a line"));
    let whole = scene.get("metrics.jsonl");
    for cut in [0, 1, 20, 130] {
        scene.put("metrics.jsonl", &whole[..whole.len() - cut]);
        let mut metrics = Metrics::open(&path, 20).expect("it goes on");
        assert_eq!(read(&path).expect("records"), all[..40], "cut by {cut}");
        all[40..].iter().for_each(|record| metrics.write(record).expect("a line"));
        assert_eq!(scene.get("metrics.jsonl"), whole, "byte for byte");
    }
    // A last line without its line feed is a line; what is kept of it has one.
    scene.put("metrics.jsonl", &whole[..whole.len() - 1]);
    drop(Metrics::open(&path, 30).expect("it goes on"));
    assert_eq!(scene.get("metrics.jsonl"), whole);
    let one = |record: &StepRecord| record.recipe == "f32" || record.step <= 10;
    drop(Metrics::open_where(&path, one).expect("recipes of their own"));
    assert_eq!(read(&path).expect("records").len(), 40);
    drop(Metrics::open(&path, 0).expect("a new start"));
    assert_eq!(scene.get("metrics.jsonl"), b"");
    drop(Metrics::open(&scene.path("none.jsonl"), 20).expect("there was none"));
    assert!(Metrics::open(scene.dir.path(), 0).is_err(), "a directory");
    assert!(read(&scene.path("absent")).is_err());
}

#[test]
fn hostile_metrics_are_errors_with_their_line() {
    let scene = Scene::new(b"");
    let path = scene.path("metrics.jsonl");
    let good = r#"{"step":1,"recipe":"f32","train_loss":1,"val_loss":null,"lr":1,"grad_norm":1,"tokens_per_s":1,"skipped":0}"#;
    let bad: [&[u8]; 12] = [
        b"",
        b"\xff\xfe",
        b"\0\0\0\0",
        b"[]",
        b"{}",
        &good.as_bytes()[1..],
        &good.as_bytes()[..good.len() - 1],
        &good.replace("\"step\":1", "\"step\":-1").into_bytes(),
        &good.replace("\"skipped\":0", "\"skipped\":0,\"more\":1").into_bytes(),
        &good.replace("\"val_loss\":null,", "").into_bytes(),
        &good.replace("\"lr\":1", "\"lr\":1e999").into_bytes(),
        &[b'['; 70_000],
    ];
    for line in bad {
        let shown = String::from_utf8_lossy(&line[..line.len().min(200)]).into_owned();
        let file = [good.as_bytes(), b"\n", line, b"\n", good.as_bytes(), b"\n"].concat();
        scene.put("metrics.jsonl", &file);
        let error = read(&path).expect_err(&shown);
        let message = format!("{error:#}");
        assert!(message.contains("metrics.jsonl, line 2: "), "{message}");
        assert!(!message.contains('\n') && message.len() < 600, "{message}");
        assert!(Metrics::open(&path, 5).is_err(), "{shown}");
        assert_eq!(scene.get("metrics.jsonl"), file, "a file that is refused stays");
        // The same at the end, cut, is what a killed run leaves.
        scene.put("metrics.jsonl", &[good.as_bytes(), b"\n", line].concat());
        if line.len() < 1 << 16 {
            assert_eq!(read(&path).expect(&shown).len(), 1);
        }
    }
    for n in 0..good.len() {
        scene.put("metrics.jsonl", &good.as_bytes()[..n]);
        assert_eq!(read(&path).expect("a cut line").len(), 0);
    }
    assert_eq!(scene.names(), ["in.npy", "metrics.jsonl"]);
}

#[test]
fn the_picture_of_losses_has_a_line_for_each_recipe() {
    let svg = loss_svg(&records(&NAMES, 500)).expect("a picture");
    assert!(svg.starts_with("<svg"));
    let _ = xml(&svg);
    for name in NAMES {
        assert!(svg.contains(name), "{name}");
    }
    for color in ["#000000", "#E69F00", "#56B4E9", "#009E73", "#D55E00"] {
        let lines = svg.lines().filter(|line| line.contains("<polyline") && line.contains(color));
        assert!(lines.count() >= 3, "{color}: loss, gap, legend");
    }
    for few in [records(&[], 0), records(&NAMES[..1], 1), vec![record("a", 1, f32::NAN)]] {
        let _ = xml(&loss_svg(&few).expect("a picture"));
    }
    if let Some(folder) = std::env::var_os("QUARTER_SHOW") {
        std::fs::write(std::path::Path::new(&folder).join("loss.svg"), svg).expect("written");
    }
}

#[test]
fn the_picture_of_scales_has_a_panel_for_each_layer() {
    let records = |layers: usize| -> Vec<ScaleRecord> {
        let at = |step: u64, layer: usize, role: usize| ScaleRecord {
            step,
            recipe: "current".to_owned(),
            layer: format!("blocks.{layer}.mlp<up>"),
            role: ["input", "weight", "grad_output"][role],
            amax: 10_f32.powi(-3 * role as i32) * (1.0 + (step as f32 / 30.0).sin() / 2.0),
            scale: 448.0 * 10_f32.powi(3 * role as i32),
            saturated: 0,
            flushed: 0,
            elements: 1,
        };
        let steps = (1..=300).step_by(5);
        let each =
            |step| (0..layers).flat_map(move |layer| (0..3).map(move |role| at(step, layer, role)));
        steps.flat_map(each).collect()
    };
    let svg = scales_svg(&records(5)).expect("a picture");
    assert!(svg.starts_with("<svg"));
    let _ = xml(&svg);
    assert_eq!(svg.matches("mlp&lt;up&gt;").count(), 5);
    assert!(!svg.contains("first 24"));
    if let Some(folder) = std::env::var_os("QUARTER_SHOW") {
        std::fs::write(std::path::Path::new(&folder).join("scales.svg"), svg).expect("written");
    }
    let svg = scales_svg(&records(30)).expect("a picture");
    assert_eq!(svg.matches("mlp&lt;up&gt;").count(), PANELS);
    assert!(svg.contains("first 24 of 30"));

    let mut odd = records(3)[..9].to_vec();
    odd[0].amax = f32::NAN;
    odd[1].scale = f32::INFINITY;
    odd.iter_mut().skip(2).for_each(|record| (record.amax, record.scale) = (0.0, -1.0));
    odd[3].amax = f32::MAX;
    odd[4].scale = f32::from_bits(1);
    for records in [&odd[..], &odd[..1], &[]] {
        let _ = xml(&scales_svg(records).expect("a picture"));
    }
}
