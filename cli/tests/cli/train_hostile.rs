//! `quarter train` on files that are damaged or nobody would write, on other texts, and on settings
//! that are none: a message, never a panic, and nothing half done.

use crate::common::{Scene, command, run};
use crate::train_tools::{bits, start, steps, tiny, train, trained, untrained};
use quarter_cli::train::data::Text;
use quarter_cli::train::save::{restore, save};
use quarter_cli::train::settings::Settings;

/// A training of 3 steps, saved: its file, and its bits.
fn saved(settings: &Settings) -> (Vec<u8>, Vec<Vec<u8>>) {
    let scene = Scene::new(b"");
    let mut runs = [start(settings)];
    steps(&mut runs[0], settings, 0..3);
    save(scene.dir.path(), settings, &mut runs, 3).expect("saved");
    (scene.get("train.safetensors"), bits(&mut runs[0]))
}

/// What a file is restored to: an error, or all of what was saved.
#[track_caller]
fn all_or_error(bytes: &[u8], settings: &Settings, whole: &[Vec<u8>], what: &str) -> bool {
    let mut runs = [start(settings)];
    match restore(bytes, settings, &mut runs) {
        Ok(step) => {
            assert_eq!(step, 3, "{what}");
            assert!(bits(&mut runs[0]) == whole, "{what}: restored to other bits");
            true
        }
        Err(error) => {
            assert!(!format!("{error:#}").is_empty());
            false
        }
    }
}

#[test]
fn cut_files() {
    let settings = tiny("delayed", 9);
    let (file, whole) = saved(&settings);
    assert!(all_or_error(&file, &settings, &whole, "whole"));
    let cuts = (0..file.len()).step_by(file.len() / 60).chain([1, 7, 8, 9, file.len() - 1]);
    for cut in cuts {
        assert!(!all_or_error(&file[..cut], &settings, &whole, "cut"), "cut to {cut} bytes");
    }
    let longer = [&file[..], b"\0"].concat();
    assert!(!all_or_error(&longer, &settings, &whole, "longer"), "a byte more");
}

#[test]
fn flipped_bits() {
    let settings = tiny("delayed", 9);
    let (file, whole) = saved(&settings);
    let header = 8 + usize::from(file[0]) + 256 * usize::from(file[1]);
    // A bit of every byte of the header, and of bytes all over the data.
    let places = (0..header).chain((header..file.len()).step_by((file.len() - header) / 300));
    let mut restored = 0;
    for (i, place) in places.enumerate() {
        let mut flipped = file.clone();
        flipped[place] ^= 1 << (i % 8);
        let ok = all_or_error(&flipped, &settings, &whole, &format!("bit {} of {place}", i % 8));
        assert!(!ok || place < header, "a change of data at {place} was not seen");
        restored += usize::from(ok);
    }
    // Blanks of the header mean nothing, and upper case digits of \u escapes; little else does.
    assert!(restored < 16, "{restored} changes of the header were not seen");
}

#[test]
fn files_of_other_trainings() {
    let settings = tiny("delayed", 9);
    let (file, _) = saved(&settings);
    let refusal = |bytes: &[u8], settings: &Settings| {
        format!("{:#}", restore(bytes, settings, &mut [start(settings)]).expect_err("refused"))
    };
    for other in [
        tiny("delayed", 10),
        tiny("current", 9),
        Settings { lr: 1e-3, ..settings.clone() },
        Settings { bf16_moments: true, ..settings.clone() },
    ] {
        let message = refusal(&file, &other);
        assert!(
            message.starts_with("it is of a training with other settings (checksum "),
            "{message}"
        );
    }
    // The same length with another number, in the metadata.
    let replaced = |from: &str, to: &str| {
        let at = file.windows(from.len()).position(|part| part == from.as_bytes());
        let at = at.unwrap_or_else(|| panic!("no {from} in the file"));
        [&file[..at], to.as_bytes(), &file[at + from.len()..]].concat()
    };
    for (from, to, message) in [
        (r#"\"step\":3"#, r#"\"step\":4"#, "made 3 steps and left out 0, of 4"),
        (r#"[3,0]"#, r#"[0,0]"#, "made 0 steps and left out 0, of 3"),
        (r#"[3,0]"#, r#"[3,9]"#, "made 3 steps and left out 9, of 3"),
        (r#"\"delayed\":["#, r#"\"delayee\":["#, "it has no optimizer of recipe delayed"),
        (r#""delayed/state""#, r#""delayed/stat3""#, "it is damaged"),
        (r#""quarter":"#, r#""quarteR":"#, "it tells of no training"),
    ] {
        let got = refusal(&replaced(from, to), &settings);
        assert!(got.contains(message), "{from} to {to}: {got}");
    }
    for bytes in [&b""[..], b"{}", &[0xff; 64], b"\x02\0\0\0\0\0\0\0{}"] {
        let got = refusal(bytes, &settings);
        assert!(
            got.contains("no safetensors file") || got.contains("it tells of no training"),
            "{got}"
        );
    }
}

const TINY: [&str; 8] =
    ["--model", "1,1,16,8", "--batch", "1", "--recipe", "f32", "--threads", "1"];

/// A folder with a training that was stopped after 2 of 4 steps of this text.
fn stopped() -> Scene {
    let scene = Scene::new(b"");
    scene.put("text", &b"to be or not to be, ".repeat(20));
    let args = ["--steps", "4", "--stop-at", "2", "--text", "text", "--out", "cut"];
    trained(&scene, &[&TINY[..], &args].concat());
    scene
}

/// A resume that must fail and leave every file as it is.
#[track_caller]
fn not_resumed(scene: &Scene) -> String {
    let all = || -> Vec<_> {
        let entries = std::fs::read_dir(scene.path("cut")).expect("a folder");
        let mut names: Vec<_> = entries.map(|entry| entry.expect("an entry").file_name()).collect();
        names.sort();
        let bytes = |name| std::fs::read(scene.path("cut").join(&name)).expect("a file");
        names.into_iter().map(|name| (name.clone(), bytes(name))).collect()
    };
    let before = all();
    let message = untrained(scene, &["--resume", "cut"]);
    assert!(all() == before, "files have changed: {message}");
    assert!(message.lines().count() == 1 && message.len() < 500, "{message}");
    message
}

#[test]
fn another_text() {
    let scene = stopped();
    let text = scene.get("text");
    let checksum = crc32fast::hash(&text);
    // Stored as an absolute path.
    let path = std::fs::canonicalize(scene.path("text")).expect("a file");
    let path = path.to_str().expect("UTF-8").to_owned();
    for other in [b"to be or not to be; ".repeat(20), b"to be or not to be, ".repeat(21)] {
        scene.put("text", &other);
        let message = not_resumed(&scene);
        let expected = if other.len() == text.len() {
            let other = crc32fast::hash(&other);
            format!(
                "400 bytes with checksum {other:08x}, the training began with 400 and {checksum:08x}"
            )
        } else {
            format!("{} bytes, the training began with 400", other.len())
        };
        assert_eq!(message, format!("{path} has {expected}"));
    }
    scene.put("text", b"short");
    let short = format!("{path} has 5 bytes, the training began with 400");
    assert_eq!(not_resumed(&scene), short);
    std::fs::remove_file(scene.path("text")).expect("removed");
    assert!(not_resumed(&scene).starts_with(&format!("text {path}: ")));
    std::fs::create_dir(scene.path("text")).expect("a folder");
    assert_eq!(not_resumed(&scene), format!("text {path}: it is not a regular file"));
    std::fs::remove_dir(scene.path("text")).expect("removed");
    scene.put("text", &text);
    // From another folder too.
    let mut command = command(&["train", "--quiet", "--resume"]);
    command.arg(scene.path("cut")).current_dir(std::env::temp_dir());
    let ran = run(command);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
}

/// The default text is the program's own sources: those of another program are another text.
#[test]
fn other_sources() {
    let settings = tiny("f32", 2);
    let text = crate::train_tools::text(&settings);
    let of = (text.bytes().len() as u64, text.checksum());
    let same = Settings { text_bytes: of, ..settings.clone() };
    assert_eq!(Text::again(&same).expect("the same").checksum(), of.1);
    for other in [(of.0 + 1, of.1), (of.0, !of.1)] {
        let error = Text::again(&Settings { text_bytes: other, ..settings.clone() });
        let error = format!("{:#}", error.expect_err("other sources"));
        let told = "this program was built from other sources than the one that began";
        assert!(error.starts_with(told), "{error}");
    }
}

#[test]
fn damaged_settings() {
    let scene = stopped();
    let json = String::from_utf8(scene.get("cut/train.json")).expect("UTF-8");
    for (from, to, message) in [
        (r#""layers": 1"#, r#""layers": 0"#, "layers: 0 is not in 1 to 1024"),
        (r#""layers": 1"#, r#""layers": 1000000000"#, "layers: 1000000000 is not in 1 to 1024"),
        (r#""width": 16"#, r#""width": 65536"#, "this training takes 768."),
        (r#""heads": 1"#, r#""heads": 3"#, "the width 16 is not a multiple of the 3 heads"),
        (r#""heads": 1"#, r#""heads": -1"#, "invalid value: integer `-1`"),
        (
            r#""steps": 4"#,
            r#""steps": 99999999999"#,
            "steps: 99999999999 is not in 1 to 4294967295",
        ),
        (r#""steps": 4"#, r#""steps": 5"#, "other settings"),
        (r#""lr": 0.001"#, r#""lr": 1e99"#, "lr: inf is not a positive number"),
        (r#""batch": 1"#, r#""batch": 2"#, "other settings"),
        (r#""wire": "f32""#, r#""wire": "f16""#, "wire: "),
        (r#""recipes""#, r#""recipe""#, "missing field `recipes`"),
        (r#""name": "f32""#, r#""name": "f33""#, "other settings"),
        (r#"=f32*f32"#, r#"=f31*f32"#, "recipe f32: "),
    ] {
        let changed = json.replacen(from, to, 1);
        assert!(changed != json, "no {from} in {json}");
        scene.put("cut/train.json", changed.as_bytes());
        let got = not_resumed(&scene);
        assert!(got.contains(message), "{to}: {got}");
    }
    for (bytes, message) in [(&b""[..], "EOF"), (b"\xff\xfe", "expected value"), (b"[]", "")] {
        scene.put("cut/train.json", bytes);
        assert!(not_resumed(&scene).contains(message));
    }
    let half = &json.as_bytes()[..json.len() / 2];
    scene.put("cut/train.json", half);
    assert!(not_resumed(&scene).starts_with("cut/train.json: EOF"));
    scene.put("cut/train.json", json.as_bytes());
    for name in ["train.safetensors", "metrics.jsonl", "scales.jsonl"] {
        let whole = scene.get(&format!("cut/{name}"));
        let junk = format!("cut/{name}");
        scene.put(&junk, b"\x10\0\0\0\0\0\0\0{\"a\":\n junk \n\n");
        assert!(not_resumed(&scene).contains(name));
        std::fs::remove_file(scene.path(&junk)).expect("removed");
        let message = not_resumed(&scene);
        if name == "train.safetensors" {
            assert_eq!(message, "cut has no checkpoint yet: start anew with --out");
        } else {
            assert!(message.starts_with(&format!("cannot read cut/{name}: ")), "{message}");
        }
        scene.put(&junk, &whole);
    }
    trained(&scene, &["--resume", "cut"]);
    assert!(untrained(&scene, &["--resume", "none"]).starts_with("cannot read none/train.json: "));
}

/// Settings that are none are told with both numbers, before any file is made.
#[test]
fn settings_that_are_none() {
    let scene = Scene::new(b"");
    scene.put("short", b"a short text");
    let names = scene.names();
    for (args, message) in [
        (&["--model", "0,1,16,8"][..], "layers: 0 is not in 1 to 1024"),
        (&["--model", "1,3,16,8"], "the width 16 is not a multiple of the 3 heads"),
        (&["--model", "1,0,16,8"], "heads: 0 is not in 1 to 1024"),
        (&["--model", "1,1,16,70000"], "context: 70000 is not in 1 to 65536"),
        (&["--batch", "0"], "batch: 0 is not in 1 to 65536"),
        (&["--accumulate", "0"], "micro-batches: 0 is not in 1 to 65536"),
        (&["--ranks", "300"], "ranks: 300 is not in 1 to 256"),
        (&["--steps", "0"], "steps: 0 is not in 1 to 4294967295"),
        (&["--lr", "0"], "lr: 0 is not a positive number"),
        (&["--lr", "nan"], "lr: NaN is not a positive number"),
        (&["--recipe", "f32,f32"], "recipe f32 is given twice"),
        (&["--recipe", "fp8"], "fp8"),
        (&["--recipe", "current@h200"], "h200"),
        (&["--recipe", "nvfp4@h100-wgmma-fp8"], "recipe nvfp4@h100-wgmma-fp8"),
        (&["--unit", "h200"], "h200"),
        (&["--wire", "f16"], "wire: "),
        (
            &["--skip", "head,blocks.1*"],
            "--skip blocks.1*: no layer is called so; there are head and",
        ),
        (&["--model", "1024,1024,65536,65536"], "GiB of memory or more, this machine has "),
        (&["--ranks", "256", "--batch", "65536"], "GiB of memory or more, this machine has "),
        (&["--text", "."], "text .: it is not a regular file"),
        (&["--text", "short"], "short has 12 bytes: a context of 8 takes 90 at least"),
        (&["--text", "none"], "text none: "),
    ] {
        let mut all = vec!["--out", "out", "--steps", "2"];
        all.extend(TINY);
        // A flag is given once.
        for flag in args.chunks(2) {
            if let Some(at) = all.iter().position(|arg| *arg == flag[0]) {
                all.drain(at..at + 2);
            }
        }
        all.extend(args);
        if args[0] == "--unit" {
            let at = all.iter().position(|arg| *arg == "f32").expect("the recipe");
            all[at] = "current";
        }
        let got = untrained(&scene, &all);
        assert!(got.contains(message), "{args:?}: {got}");
        assert_eq!(scene.names(), names, "{args:?}");
    }
    let message = untrained(&scene, &["--save-every", "2"]);
    assert_eq!(message, "--save-every needs a folder: --out DIR");
    for args in [
        &["--model", "big"][..],
        &["--model", "1,2,3"],
        &["--resume", "x", "--lr", "1"],
        &["--out", "x", "--save-every", "0"],
    ] {
        let ran = train(&scene, args);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{args:?}");
    }
    assert_eq!(scene.names(), names);
}
