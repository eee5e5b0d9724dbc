//! What may befall a training: kill -9 at any moment, a full disk, a folder that cannot be written,
//! texts that are none. It leaves a folder that resumes or starts anew, and a clear message.

use crate::common::Scene;
use crate::train_tools::{timeless, train, trained, untrained};

const TINY: [&str; 8] =
    ["--model", "1,1,16,8", "--batch", "1", "--recipe", "f32,delayed", "--threads", "1"];

#[cfg(unix)]
mod unix {
    use super::*;
    use crate::common::command;
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::{Command, Stdio};
    use std::thread::sleep;
    use std::time::{Duration, Instant};

    const STEPS: &str = "3000";

    fn started(scene: &Scene, out: &str) -> std::process::Child {
        let mut command = command(&["train", "--quiet", "--steps", STEPS, "--out", out]);
        command.args(TINY).args(["--save-every", "50"]).current_dir(scene.dir.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("the binary starts")
    }

    /// Waits until this holds, or the process has ended.
    fn wait(child: &mut std::process::Child, until: impl Fn() -> bool) {
        let start = Instant::now();
        while !until() && child.try_wait().expect("a process").is_none() {
            assert!(start.elapsed() < Duration::from_secs(60), "nothing for a minute");
            sleep(Duration::from_micros(200));
        }
    }

    /// Kills it, if it has not ended.
    fn kill(mut child: std::process::Child) {
        let _ = child.kill();
        let status = child.wait().expect("it ends");
        assert!(status.signal() == Some(9) || status.success(), "{status}");
    }

    #[test]
    fn kill_9_at_any_moment_leaves_what_resumes_or_starts_anew() {
        let scene = Scene::new(b"");
        let mut anew = 0;
        let mut resumed = 0;
        for (i, moment) in
            ["", "train.json", "metrics.jsonl", "train.safetensors"].iter().enumerate()
        {
            // Right then, and a little later: while it saves, or writes a line.
            for later in 0..4_u64 {
                let out = format!("out{i}-{later}");
                let mut child = started(&scene, &out);
                wait(&mut child, || scene.path(&out).join(moment).exists());
                sleep(Duration::from_millis(7 * later));
                kill(child);
                let there = scene.path(&out).exists();
                let checkpoint = scene.path(&out).join("train.safetensors").exists();
                assert!(checkpoint || *moment != "train.safetensors");
                if checkpoint {
                    resumed += 1;
                    let lines = trained(&scene, &["--resume", &out, "--stop-at", STEPS]);
                    assert!(!lines.contains("stopped after"), "{lines}");
                } else {
                    anew += 1;
                    let message = untrained(&scene, &["--resume", &out]);
                    let expected = format!("{out} has no checkpoint yet: start anew with --out");
                    assert!(!there || message == expected, "{message}");
                    let args = ["--steps", "2", "--out", &out];
                    trained(&scene, &[&TINY[..], &args].concat());
                    assert_eq!(timeless(&scene.path(&out)).len(), 4, "nothing of before is left");
                }
                let entries = std::fs::read_dir(scene.path(&out)).expect("a folder");
                let mut names: Vec<_> =
                    entries.map(|entry| entry.expect("an entry").file_name()).collect();
                names.sort();
                let all = [
                    "loss.svg",
                    "metrics.jsonl",
                    "scales.jsonl",
                    "scales.svg",
                    "train.json",
                    "train.safetensors",
                ];
                assert_eq!(names, all, "temporary files are removed");
            }
        }
        assert!(anew > 0 && resumed >= 4, "{anew} before a checkpoint, {resumed} after");
    }

    /// A killed training ends in the bits of one that was not.
    #[test]
    fn kill_9_changes_no_bit() {
        let scene = Scene::new(b"");
        let mut child = started(&scene, "cut");
        wait(&mut child, || scene.path("cut/train.safetensors").exists());
        kill(child);
        trained(&scene, &["--resume", "cut"]);
        trained(&scene, &[&TINY[..], &["--steps", STEPS, "--out", "whole"]].concat());
        assert_eq!(timeless(&scene.path("cut")), timeless(&scene.path("whole")));
        for file in ["train.safetensors", "scales.jsonl", "train.json"] {
            let [a, b] = ["cut", "whole"].map(|folder| scene.get(&format!("{folder}/{file}")));
            assert!(a == b, "{file}");
        }
    }

    /// The training in a shell that lets no file grow beyond so many blocks of 512 or 1024 bytes.
    fn limited(scene: &Scene, blocks: u64, args: &[&str]) -> (Option<i32>, String) {
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
        let program = command(&[]).get_program().to_owned();
        let mut command = Command::new("sh");
        command.args(["-c", &script]).arg(program).args(["train", "--quiet"]).args(args);
        let output = command.current_dir(scene.dir.path()).output().expect("a shell");
        (output.status.code(), String::from_utf8(output.stderr).expect("UTF-8"))
    }

    const ALONE: [&str; 8] =
        ["--model", "1,1,8,4", "--batch", "1", "--recipe", "f32", "--threads", "1"];

    /// metrics.jsonl cannot grow, the checkpoint can be written: the step is kept.
    #[test]
    fn metrics_that_cannot_be_written_lose_no_step() {
        let scene = Scene::new(b"");
        let args = ["--steps", "4000", "--out", "cut", "--save-every", "4000"];
        let args = [&ALONE[..], &args].concat();
        let (code, message) = limited(&scene, 200, &args);
        assert_eq!(code, Some(1), "{message}");
        assert!(message.starts_with("quarter: saved after "), "{message}");
        let (_, rest) = message.split_once(", the last without records: ").expect(&message);
        assert!(rest.starts_with("cannot write cut/metrics.jsonl: "), "{message}");
        let step = message.split_whitespace().nth(3).expect("the step");
        let lines = trained(&scene, &["--resume", "cut", "--stop-at", step]);
        assert!(lines.contains(&format!("\nstopped after {step} of 4000 steps")), "{lines}");
        trained(&scene, &["--resume", "cut"]);
        trained(&scene, &[&ALONE[..], &["--steps", "4000", "--out", "whole"]].concat());
        assert!(scene.get("cut/train.safetensors") == scene.get("whole/train.safetensors"));
    }

    /// No room for the checkpoint either: an error that says so, and no half of it.
    #[test]
    fn a_full_disk_is_a_clear_error() {
        let scene = Scene::new(b"");
        let args = [&ALONE[..], &["--steps", "400", "--out", "cut", "--save-every", "2"]].concat();
        let (code, message) = limited(&scene, 8, &args);
        assert_eq!(code, Some(1), "{message}");
        assert!(message.starts_with("quarter: ") && message.lines().count() == 1, "{message}");
        assert!(message.contains("File too large"), "{message}");
        assert!(!scene.path("cut/train.safetensors").exists());
        let message = untrained(&scene, &["--resume", "cut"]);
        assert_eq!(message, "cut has no checkpoint yet: start anew with --out");
        // With room again a checkpoint, which a full disk leaves as it is.
        trained(&scene, &[&args[..], &["--stop-at", "4"]].concat());
        let before = scene.get("cut/train.safetensors");
        let (code, message) = limited(&scene, 8, &["--resume", "cut"]);
        assert_eq!(code, Some(1), "{message}");
        assert!(before == scene.get("cut/train.safetensors"));
        trained(&scene, &["--resume", "cut", "--stop-at", "6"]);
    }

    #[test]
    fn devices_are_no_files() {
        let scene = Scene::new(b"");
        for (file, device) in [("metrics.jsonl", "/dev/full"), ("scales.jsonl", "/dev/null")] {
            let folder = format!("to-{file}");
            std::fs::create_dir(scene.path(&folder)).expect("a folder");
            let link = scene.path(&folder).join(file);
            std::os::unix::fs::symlink(device, link).expect("a link");
            let args = [&TINY[..], &["--steps", "2", "--out", &folder]].concat();
            let message = untrained(&scene, &args);
            let expected = format!("cannot write {folder}/{file}: it exists and is not a file");
            assert_eq!(message, expected);
        }
        for device in ["/dev/zero", "/dev/null"] {
            let message = untrained(&scene, &[&TINY[..], &["--text", device]].concat());
            assert_eq!(message, format!("text {device}: it is not a regular file"));
        }
    }

    #[test]
    fn a_folder_that_cannot_be_written() {
        use std::os::unix::fs::PermissionsExt;
        let scene = Scene::new(b"");
        let folder = scene.path("closed");
        std::fs::create_dir(&folder).expect("a folder");
        let mode = |mode| std::fs::set_permissions(&folder, PermissionsExt::from_mode(mode));
        mode(0o555).expect("closed");
        // Root may write everywhere.
        if std::fs::write(folder.join("probe"), b"").is_err() {
            let args = [&TINY[..], &["--steps", "2", "--out", "closed"]].concat();
            let message = untrained(&scene, &args);
            assert!(message.starts_with("cannot write closed/train.json: "), "{message}");
            let args = [&TINY[..], &["--steps", "2", "--out", "closed/new"]].concat();
            let message = untrained(&scene, &args);
            assert!(message.starts_with("cannot make closed/new: "), "{message}");
        }
        mode(0o755).expect("open");
    }
}

#[test]
fn a_file_where_a_folder_should_be() {
    let scene = Scene::new(b"");
    let args = ["--steps", "2", "--out"];
    for out in ["in.npy", "in.npy/new"] {
        let message = untrained(&scene, &[&TINY[..], &args, &[out]].concat());
        assert!(message.starts_with(&format!("cannot make {out}: ")), "{message}");
    }
    assert_eq!(scene.names(), ["in.npy"]);
}

#[test]
fn texts_of_any_bytes() {
    let scene = Scene::new(b"");
    scene.put("empty", b"");
    let message = untrained(&scene, &[&TINY[..], &["--text", "empty"]].concat());
    assert_eq!(message, "empty has 0 bytes: a context of 8 takes 90 at least");
    let binary: Vec<u8> =
        (0..2000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for (name, bytes) in [("binary", &binary[..]), ("zeros", &[0; 90]), ("ones", &[0xff; 200])] {
        scene.put(name, bytes);
        let args = ["--text", name, "--steps", "3", "--sample", "20"];
        let lines = trained(&scene, &[&TINY[..], &args].concat());
        assert!(lines.contains("\n--- f32 goes on\n"), "{lines}");
    }
}

/// A prompt is half of the context, but one byte at least.
#[test]
fn a_context_of_one_byte_writes_too() {
    let scene = Scene::new(b"");
    let args = ["--model", "1,1,16,1", "--batch", "2", "--recipe", "f32", "--steps", "2"];
    let lines = trained(&scene, &[&args[..], &["--sample", "5"]].concat());
    assert_eq!(lines.matches("\n--- f32 goes on\n").count(), 1, "{lines}");
    assert!(lines.find("tokens/s") < lines.find("goes on"), "{lines}");
}

/// A learning rate that makes all go to pieces: the table warns.
#[test]
fn skipped_steps_are_told() {
    let scene = Scene::new(b"");
    let args = ["--recipe", "f32", "--steps", "30", "--lr", "1e30", "--val-rows", "4"];
    let ran = train(&scene, &[&["--model", "1,1,16,8", "--batch", "1"], &args[..]].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains("\nwarning: "), "{}", ran.stdout);
    assert!(ran.stdout.contains(" of 30 steps of f32 were skipped: "), "{}", ran.stdout);
}
