//! `quarter train`: N steps are k steps, save, load and N − k steps, bit for bit; so are other
//! threads and instruction sets; Ctrl-C and --stop-at.

use crate::common::{Scene, command, run};
use crate::train_tools::{TINY, bits, f32_bits, start, steps, timeless, tiny, trained, untrained};
use quarter::Isa;
use quarter::recipe::presets;
use quarter_cli::train::save;
use quarter_cli::train::settings::Settings;

/// Steps before and after the break: MS-AMP and delayed scaling are in their warm-up before it, and
/// beyond it at the end.
const BREAK: (u64, u64) = (7, 19);

#[track_caller]
fn resumes(settings: &Settings) {
    let (k, n) = BREAK;
    let what = format!("{settings:?}");
    let mut whole = start(settings);
    let whole_losses = steps(&mut whole, settings, 0..n);
    let whole_bits = bits(&mut whole);

    let scene = Scene::new(b"");
    let folder = scene.dir.path();
    let mut first = [start(settings)];
    let mut losses = steps(&mut first[0], settings, 0..k);
    save::save(folder, settings, &mut first, k).expect("saved");
    let mut second = [start(settings)];
    assert_eq!(save::load(folder, settings, &mut second).expect("loaded"), k, "{what}");
    assert!(bits(&mut first[0]) == bits(&mut second[0]), "what was loaded differs: {what}");
    losses.extend(steps(&mut second[0], settings, k..n));
    assert_eq!(f32_bits(&losses), f32_bits(&whole_losses), "{what}");
    assert!(bits(&mut second[0]) == whole_bits, "after the resume: {what}");
    // The test would see a difference.
    assert!(bits(&mut first[0]) != whole_bits, "nothing was learnt: {what}");
}

#[test]
fn every_preset_resumes_bit_for_bit() {
    for (name, _) in presets::ALL {
        resumes(&tiny(name, BREAK.1));
    }
}

#[test]
fn moments_and_weights_in_bf16_resume_bit_for_bit() {
    for recipe in ["bf16", "delayed"] {
        resumes(&Settings { bf16_moments: true, ..tiny(recipe, BREAK.1) });
        resumes(&Settings { bf16_weights: true, ..tiny(recipe, BREAK.1) });
    }
    let both = Settings { bf16_moments: true, bf16_weights: true, ..tiny("mxfp8", BREAK.1) };
    resumes(&both);
}

/// Rounding of gradients by random words of seed, step and rank.
const STOCHASTIC: &str = "name=random;fprop=e2m1:1x16:nvfp4*e2m1:1x16:nvfp4;\
     dgrad=e2m1:1x16:nvfp4:stochastic*e2m1:1x16:nvfp4;\
     wgrad=e2m1:1x16:nvfp4:stochastic*e2m1:1x16:nvfp4";

#[test]
fn units_micro_batches_ranks_and_random_rounding_resume_bit_for_bit() {
    resumes(&tiny("current@h100-wgmma-fp8", BREAK.1));
    resumes(&tiny("delayed@h100-wgmma-fp8:off", BREAK.1));
    resumes(&tiny(STOCHASTIC, BREAK.1));
    for recipe in ["delayed", "msamp", "mxfp8", STOCHASTIC] {
        resumes(&Settings { accumulate: 2, ..tiny(recipe, BREAK.1) });
        resumes(&Settings { ranks: 2, ..tiny(recipe, BREAK.1) });
    }
    resumes(&Settings { ranks: 2, wire: "bf16".into(), ..tiny("current", BREAK.1) });
    resumes(&Settings { ranks: 2, skip: vec![], ..tiny("delayed", BREAK.1) });
}

/// Without a reduction of amaxes each rank has histories of its own.
#[test]
fn ranks_with_histories_of_their_own_resume_bit_for_bit() {
    let recipe = presets::delayed().to_string() + ";reduce-amax=off";
    let settings = Settings { ranks: 2, ..tiny(&recipe, BREAK.1) };
    let mut run = start(&settings);
    steps(&mut run, &settings, 0..3);
    let states: Vec<_> = run.replicas.iter().map(|rank| rank.state.snapshot().layers).collect();
    assert!(states[0] != states[1], "the histories are the same: this tests nothing");
    resumes(&settings);
}

const MODEL: [&str; 4] = ["--model", "2,2,32,16", "--batch", "2"];

/// The same metrics and the same file on every instruction set, with one thread and with two, of all
/// presets and one on a unit.
#[test]
fn isas_and_threads_give_the_same_bytes() {
    assert_eq!((TINY.layers, TINY.width), (2, 32), "what MODEL says");
    let presets: Vec<_> = presets::ALL.iter().map(|(name, _)| *name).collect();
    let recipes = presets.join(",") + ",current@h100-wgmma-fp8";
    let mut first: Option<(_, [Vec<u8>; 2])> = None;
    for isa in Isa::available() {
        for threads in ["1", "2"] {
            let scene = Scene::new(b"");
            let steps = ["--steps", "6", "--val-rows", "8", "--threads", threads, "--out", "out"];
            let mut command = command(&["train", "--quiet"]);
            command
                .args(MODEL)
                .args(["--recipe", &recipes])
                .args(steps)
                .current_dir(scene.dir.path());
            let ran = run(command_on(command, isa));
            assert_eq!((ran.code, &*ran.stderr), (Some(0), ""), "{isa:?}");
            let files = ["train.safetensors", "scales.jsonl"];
            let got = (timeless(&scene.path("out")), files.map(|f| scene.get(&format!("out/{f}"))));
            let (metrics, bytes) = first.get_or_insert_with(|| got.clone());
            assert_eq!(&got.0, metrics, "{isa:?}, {threads} threads");
            assert!(got.1 == *bytes, "the files: {isa:?}, {threads} threads");
        }
    }
}

fn command_on(mut command: std::process::Command, isa: Isa) -> std::process::Command {
    command.env("QUARTER_ISA", isa.name());
    command
}

/// What the user types: --stop-at, without a folder too, then --resume; the same bytes as at once.
#[test]
fn stop_and_resume() {
    let scene = Scene::new(b"");
    let steps = ["--steps", "9", "--recipe", "f32,msamp"];
    let args = |more: &[&'static str]| [&MODEL[..], &steps, more].concat();
    trained(&scene, &args(&["--out", "whole"]));
    for (stop, folder) in [(&["--out", "cut"][..], "cut"), (&[], "quarter-train")] {
        let lines = trained(&scene, &args(&[stop, &["--stop-at", "4"]].concat()));
        let told = format!(
            "\nstopped after 4 of 9 steps; to go on:\n    quarter train --resume {folder}\n"
        );
        assert!(lines.contains(&told), "{lines}");
        assert_eq!(timeless(&scene.path(folder)).len(), 8, "4 steps of 2 recipes");
        let lines = trained(&scene, &["--resume", folder, "--stop-at", "6"]);
        assert!(lines.contains("\nstopped after 6 of 9 steps"), "{lines}");
        let message = untrained(&scene, &["--resume", folder, "--stop-at", "5"]);
        assert_eq!(message, "--stop-at 5: 6 steps are done");
        let lines = trained(&scene, &["--resume", folder]);
        assert!(!lines.contains("stopped"), "{lines}");
        for file in ["train.json", "train.safetensors", "scales.jsonl", "scales.svg"] {
            let [a, b] = ["whole", folder].map(|folder| scene.get(&format!("{folder}/{file}")));
            assert!(a == b, "{folder}/{file}");
        }
        // A stop is no validation: all else is the same.
        assert_eq!(timeless(&scene.path(folder)), timeless(&scene.path("whole")));
        // All is done: a further resume changes nothing.
        let before = all_files(&scene, folder);
        let lines = trained(&scene, &["--resume", folder]);
        assert!(before == all_files(&scene, folder), "{folder}");
        // This process knows no speed and no memory; shares come from scales.jsonl.
        let row = lines.lines().find(|line| line.starts_with("msamp ")).expect("a row");
        let cells: Vec<_> = row.split_whitespace().collect();
        assert_eq!(cells[5..7], ["-", "-"], "{row}");
        assert!(cells[7..].len() == 6 && !cells[7..].contains(&"-"), "{row}");
    }
}

fn all_files(scene: &Scene, folder: &str) -> Vec<Vec<u8>> {
    ["train.json", "train.safetensors", "metrics.jsonl", "scales.jsonl", "loss.svg", "scales.svg"]
        .map(|file| scene.get(&format!("{folder}/{file}")))
        .to_vec()
}

/// Interrupted trainings without a folder do not overwrite each other.
#[test]
fn every_interrupted_training_has_a_folder_of_its_own() {
    let scene = Scene::new(b"");
    let args = [&MODEL[..], &["--recipe", "current", "--stop-at", "2"]].concat();
    scene.put("quarter-train-2", b"not a folder");
    let mut all = Vec::new();
    for (steps, folder) in
        [("5", "quarter-train"), ("6", "quarter-train-3"), ("7", "quarter-train-4")]
    {
        let lines = trained(&scene, &[&args[..], &["--steps", steps]].concat());
        assert!(lines.contains(&format!("quarter train --resume {folder}\n")), "{lines}");
        all.push((folder, all_files(&scene, folder)));
    }
    assert!(all.iter().all(|(folder, files)| *files == all_files(&scene, folder)));
    trained(&scene, &["--resume", "quarter-train"]);

    // Another training in the same folder: neither takes the other's tensors for its own.
    let settings = tiny("f32", 3);
    save::save_settings(&scene.path("two"), &settings).expect("saved");
    let other = tiny("f32", 4);
    let error = save::save(&scene.path("two"), &other, &mut [start(&other)], 0);
    let error = format!("{:#}", error.expect_err("refused"));
    assert!(error.ends_with("train.json tells of another training by now: nothing is saved"));
    assert!(!save::is_there(&scene.path("two")));
}

/// The table's loss is that of all rows, not of the quarter that a step along the way read.
#[test]
fn the_table_has_the_loss_of_all_rows() {
    let scene = Scene::new(b"");
    let args = ["--steps", "10", "--recipe", "bf16", "--val-rows", "64"];
    let loss = |lines: &str| {
        let row = lines.lines().find(|line| line.starts_with("bf16 ")).expect("a row");
        row.split_whitespace().nth(2).expect("the loss").to_owned()
    };
    let args = [&MODEL[..], &args, &["--out", "cut", "--stop-at", "5"]].concat();
    let stopped = loss(&trained(&scene, &args));
    let (_, _, numbers, _) = timeless(&scene.path("cut")).pop().expect("5 steps");
    let along = f32::from_bits(numbers[1].expect("step 5 validates"));
    assert_ne!(stopped, format!("{along:.4}"));
    assert_eq!(stopped, loss(&trained(&scene, &["--resume", "cut", "--stop-at", "5"])));
    let whole = loss(&trained(&scene, &["--resume", "cut"]));
    assert_eq!(whole, loss(&trained(&scene, &["--resume", "cut"])));
}

/// A crash between two saves: metrics of steps that were not saved go, and come again.
#[test]
fn save_every() {
    let scene = Scene::new(b"");
    let args = [&MODEL[..], &["--steps", "8", "--recipe", "delayed", "--out"]].concat();
    trained(&scene, &[&args[..], &["whole"]].concat());
    let save = ["cut", "--save-every", "3", "--stop-at", "3"];
    trained(&scene, &[&args[..], &save].concat());
    let saved = scene.get("cut/train.safetensors");
    trained(&scene, &["--resume", "cut", "--save-every", "2", "--stop-at", "7"]);
    scene.put("cut/train.safetensors", &saved);
    trained(&scene, &["--resume", "cut"]);
    assert_eq!(timeless(&scene.path("cut")), timeless(&scene.path("whole")));
    assert!(scene.get("cut/train.safetensors") == scene.get("whole/train.safetensors"));
}

/// SIGINT while it trains: it saves, says how to go on, and goes on to the same bits.
#[cfg(unix)]
#[test]
fn ctrl_c_saves() {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};
    let scene = Scene::new(b"");
    let args = [&MODEL[..], &["--steps", "100000", "--recipe", "f32,current"]].concat();
    let mut command = command(&["train", "--quiet", "--out", "cut"]);
    command.args(&args).current_dir(scene.dir.path());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    let started = Instant::now();
    let lines = || {
        let bytes = std::fs::read(scene.path("cut/metrics.jsonl")).unwrap_or_default();
        bytes.iter().filter(|byte| **byte == b'\n').count()
    };
    while lines() < 6 {
        if started.elapsed() > Duration::from_secs(60) {
            let _ = child.kill();
            panic!("no step within a minute");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(kill.expect("kill runs").success());
    let output = child.wait_with_output().expect("it ends");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let errors = String::from_utf8_lossy(&output.stderr);
    let told = "stopping after this step; again to quit without saving\n";
    assert_eq!((output.status.code(), &*errors), (Some(0), told), "{text}");
    let (_, told) = text.split_once("stopped after ").expect("it says where it stopped");
    let (step, rest) = told.split_once(' ').expect("steps");
    assert!(
        rest.starts_with("of 100000 steps; to go on:\n    quarter train --resume cut"),
        "{rest}"
    );
    let step: u64 = step.parse().expect("a number");
    assert!(step >= 3 && lines() as u64 == 2 * step, "{step}");

    let stop = (step + 3).to_string();
    trained(&scene, &["--resume", "cut", "--stop-at", &stop]);
    trained(&scene, &[&args[..], &["--out", "whole", "--stop-at", &stop]].concat());
    assert_eq!(timeless(&scene.path("cut")), timeless(&scene.path("whole")));
    assert!(scene.get("cut/train.safetensors") == scene.get("whole/train.safetensors"));
}
