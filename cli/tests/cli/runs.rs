//! Runs over a model that end early, meet another one, or find files that are not theirs.

use crate::checkpoint::*;
use crate::common::{Scene, command, run};
use crate::model::{INDEX, check_values, deepseek, listing, load, shard};
use std::fs;
use std::time::{Duration, Instant};

#[test]
fn a_second_run_does_what_is_left() {
    let scene = scene();
    let source = deepseek(&scene);
    let out = scene.path("out");
    fs::create_dir(&out).unwrap();
    fs::write(out.join(".quarter-Ab12Cd.tmp"), "left over").unwrap();
    done(&scene, &["dequantize", "in", "out"]);
    check_values(&load(&scene, "out"), &source);
    let line = done(&scene, &["dequantize", "in", "out"]);
    assert_eq!(line, "bf16 tensors=4 files=0 kept=3 read=0 written=0\n");
    // A shard that is missing or cut is made again, and the others are not touched.
    let time = |i| fs::metadata(out.join(shard(i))).unwrap().modified().unwrap();
    let before = time(1);
    fs::remove_file(out.join(shard(2))).unwrap();
    let cut = fs::read(out.join(shard(3))).unwrap();
    fs::write(out.join(shard(3)), &cut[..cut.len() - 1]).unwrap();
    let line = done(&scene, &["dequantize", "in", "out"]);
    assert!(line.starts_with("bf16 tensors=4 files=2 kept=1 "), "{line}");
    check_values(&load(&scene, "out"), &source);
    assert_eq!(time(1), before);
    // Other settings, another input: what depends on it is made again.
    let line = done(&scene, &["dequantize", "in", "out", "--to", "f32"]);
    assert!(line.contains("files=3 kept=0"), "{line}");
    let path = scene.path("in").join(shard(1));
    let mut bytes = fs::read(&path).unwrap();
    let start = bytes.len() - 20;
    bytes[start] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let line = done(&scene, &["dequantize", "in", "out", "--to", "f32"]);
    assert!(line.contains("files=2 kept=1"), "a shard's scales may be in another: {line}");
}

/// While shards are of two kinds, there is no index.
#[test]
fn an_error_leaves_no_index() {
    let scene = scene();
    deepseek(&scene);
    done(&scene, &["dequantize", "in", "out"]);
    let blocked = scene.path("out").join(shard(2));
    fs::remove_file(&blocked).unwrap();
    fs::create_dir(&blocked).unwrap();
    let run = quarter(&scene, &["dequantize", "in", "out", "--to", "f32"]);
    let expected = format!("quarter: cannot write out/{}: it exists and is not a file\n", shard(2));
    assert_eq!((run.code, run.stderr), (Some(1), expected));
    assert_eq!(listing(&scene, "out"), [shard(1), shard(2), shard(3), "tokenizer.json".to_owned()]);
    fs::remove_dir(&blocked).unwrap();
    done(&scene, &["dequantize", "in", "out", "--to", "f32"]);
    load(&scene, "out");
}

#[test]
fn the_input_is_never_the_output() {
    let scene = scene();
    let source = deepseek(&scene);
    for (input, output) in
        [("in", "in"), ("in", "in/../in"), ("in/model.safetensors.index.json", "in")]
    {
        let message = refused(&scene, &["dequantize", input, output]);
        assert_eq!(message, format!("cannot write {output}: the input is there"));
    }
    scene.put("file", b"");
    let message = refused(&scene, &["dequantize", "in", "file"]);
    assert_eq!(message, "cannot write file: it exists and is no directory");
    done(&scene, &["dequantize", "in", "out"]);
    check_values(&load(&scene, "out"), &source);
}

/// The names and bytes of all files of a directory.
fn contents(scene: &Scene, directory: &str) -> Vec<(String, Vec<u8>)> {
    let read = |name: &String| fs::read(scene.path(directory).join(name)).unwrap();
    listing(scene, directory).into_iter().map(|name| (name.clone(), read(&name))).collect()
}

/// Names and bytes.
type Files<'a> = &'a [(&'a str, &'a [u8])];

/// What this program did not make, it neither removes nor replaces, whether the input is good or
/// bad.
#[test]
fn a_foreign_output_is_refused() {
    let scene = scene();
    deepseek(&scene);
    let own = "nothing that quarter made";
    let index = r#"{"metadata":{"quarter":"third"},"weight_map":{"a":"a.safetensors"}}"#;
    let plain = file(&[tensor("a", Dtype::F32, &[1], vec![0; 4])], &[("quarter", "third")]);
    let other = "other.safetensors.index.json";
    let cases: [(Files<'_>, String); 8] = [
        (&[("config.json", b"{}"), (INDEX, index.as_bytes())], "which quarter did not make".into()),
        (&[("config.json", b"{}")], format!("it holds \"config.json\", and {own}")),
        (&[(INDEX, index.as_bytes())], format!("it holds {INDEX:?}, which quarter did not make")),
        (&[(INDEX, b"not JSON")], format!("it holds {INDEX:?}, which quarter did not make")),
        (&[(other, b"{}")], format!("it holds {other:?}, which quarter did not make")),
        (
            &[("model-00001-of-00003.safetensors", &plain), ("config.json", b"{}")],
            "it holds \"model-00001-of-00003.safetensors\", which quarter did not make".into(),
        ),
        (
            &[("a.safetensors", b"cut")],
            "it holds \"a.safetensors\", which quarter did not make".into(),
        ),
        (&[("tokenizer.json", b"[]")], format!("it holds another \"tokenizer.json\", and {own}")),
    ];
    let path = scene.path("in").join(shard(2));
    for bad in [false, true] {
        if bad {
            // Codes that are found to be none when they are read.
            let cast = [("cast", "e2m1:tensor:ocp-floor"), ("format", "pt")];
            let codes = tensor("z.weight", Dtype::U8, &[1, 4], vec![0xff; 4]);
            let scale = tensor("z.weight_scale", Dtype::F32, &[1], singles(&[1.0]));
            fs::write(&path, file(&[codes, scale], &cast)).unwrap();
            fs::remove_file(scene.path("in").join(INDEX)).unwrap();
        }
        for (files, expected) in &cases {
            fs::create_dir(scene.path("out")).unwrap();
            for (name, bytes) in *files {
                fs::write(scene.path("out").join(name), bytes).unwrap();
            }
            fs::write(scene.path("out/.quarter-Ab12Cd.tmp"), "not even this").unwrap();
            let before = contents(&scene, "out");
            let message = refused(&scene, &["dequantize", "in", "out"]);
            assert!(contents(&scene, "out") == before, "{message}");
            if !bad {
                assert!(message.starts_with("cannot write out: it holds "), "{message}");
                assert!(message.contains(expected), "{message}, not {expected}");
            }
            fs::remove_dir_all(scene.path("out")).unwrap();
        }
    }
    // Where nothing is of a model, and what is copied is there already.
    fs::remove_dir_all(scene.path("in")).unwrap();
    deepseek(&scene);
    fs::create_dir(scene.path("out")).unwrap();
    fs::write(scene.path("out/notes.bin"), "mine").unwrap();
    fs::write(scene.path("out/tokenizer.json"), "{}").unwrap();
    done(&scene, &["dequantize", "in", "out"]);
    assert_eq!(scene.get("out/notes.bin"), b"mine");
    // Ours, but of another model.
    done(&scene, &["quantize", "out", "q", "--cast", "e4m3:row:torchao"]);
    fs::rename(scene.path("q").join(shard(3)), scene.path("q/c.safetensors")).unwrap();
    let before = contents(&scene, "q");
    let message = refused(&scene, &["dequantize", "in", "q"]);
    assert_eq!(message, "cannot write q: it holds \"c.safetensors\" of another model");
    assert!(contents(&scene, "q") == before);
}

/// Killed at any moment, a run leaves shards that are whole, at most one temporary file a shard,
/// and no index; the next run does the rest.
#[test]
fn killed() {
    let scene = scene();
    deepseek(&scene);
    done(&scene, &["dequantize", "in", "want"]);
    let want = load(&scene, "want");
    let start = Instant::now();
    done(&scene, &["dequantize", "in", "time"]);
    let whole = start.elapsed();
    for i in 0..20 {
        let mut child = command(&["dequantize", "in", "out"])
            .current_dir(scene.dir.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(whole * i / 20);
        child.kill().unwrap();
        child.wait().unwrap();
        check_whole(&scene);
    }
    done(&scene, &["dequantize", "in", "out"]);
    let got = load(&scene, "out");
    assert!(want.iter().all(|(name, tensor)| got[name].data == tensor.data));
}

/// Every file that has a name is whole.
fn check_whole(scene: &Scene) {
    if !scene.path("out").exists() {
        return;
    }
    let names = listing(scene, "out");
    for i in 1..=3 {
        if names.contains(&shard(i)) {
            let read = |directory: &str| fs::read(scene.path(directory).join(shard(i))).unwrap();
            assert!(read("out") == read("want"), "shard {i} is whole");
        }
    }
    if names.contains(&INDEX.to_owned()) {
        assert_eq!(names.iter().filter(|name| name.starts_with("model-")).count(), 3);
    }
}

/// Two runs at a time: the second is told.
#[cfg(unix)]
#[test]
fn one_run_at_a_time() {
    let scene = scene();
    deepseek(&scene);
    fs::create_dir(scene.path("out")).unwrap();
    let lock = fs::File::open(scene.path("out")).unwrap();
    lock.lock().unwrap();
    let mut command = command(&["dequantize", "in", "out"]);
    command.current_dir(scene.dir.path());
    let run = run(command);
    let expected = "quarter: cannot write out: another quarter is writing it\n";
    assert_eq!((run.code, run.stderr.as_str()), (Some(1), expected));
    drop(lock);
    std::thread::sleep(Duration::from_millis(1));
    done(&scene, &["dequantize", "in", "out"]);
}
