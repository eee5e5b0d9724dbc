//! A model of at least 3 GiB: how fast it becomes BF16 beside `cp` and `sync` of the same bytes,
//! and what is left of it when the program is killed.
//!
//! ```text
//! QUARTER_BIG=/some/disk cargo test --release -p quarter-cli --test big -- --ignored --nocapture --test-threads 1
//! ```
//!
//! Without `QUARTER_BIG` the system's temporary directory is used. It takes 16 GiB of disk.

#![forbid(unsafe_code)]
#![cfg(unix)]

#[allow(dead_code)]
#[path = "../examples/make_checkpoint.rs"]
mod make_checkpoint;

use quarter::RandomStream;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const GIB: f64 = 3.0;
const ROUNDS: usize = 3;
const KILLS: u32 = 20;

struct Scene {
    dir: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let root = std::env::var_os("QUARTER_BIG").map_or_else(std::env::temp_dir, PathBuf::from);
        let dir = tempfile::tempdir_in(root).unwrap();
        make_checkpoint::make(&dir.path().join("in"), GIB, 1).unwrap();
        sync();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn dequantize(&self, out: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quarter"));
        command.arg("dequantize").arg(self.path("in")).arg(self.path(out)).stdout(Stdio::null());
        command
    }

    fn clear(&self, name: &str) {
        let _ = fs::remove_dir_all(self.path(name));
        sync();
    }
}

fn sync() {
    assert!(Command::new("sync").status().unwrap().success());
}

fn size(directory: &Path) -> u64 {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

fn timed(run: impl FnOnce()) -> f64 {
    let start = Instant::now();
    run();
    start.elapsed().as_secs_f64()
}

/// Seconds of `cp` and `sync`.
fn copy(scene: &Scene, from: &str) -> f64 {
    scene.clear("copy");
    let seconds = timed(|| {
        let mut command = Command::new("cp");
        command.arg("-r").arg(scene.path(from)).arg(scene.path("copy"));
        assert!(command.status().unwrap().success());
        sync();
    });
    scene.clear("copy");
    seconds
}

#[test]
#[ignore = "takes minutes and 16 GiB of disk"]
fn speed() {
    let scene = Scene::new();
    let read = size(&scene.path("in")) as f64 / 1e9;
    let mut rows = Vec::new();
    for round in 0..ROUNDS {
        scene.clear("out");
        let convert = timed(|| {
            assert!(scene.dequantize("out").status().unwrap().success());
            sync();
        });
        let written = size(&scene.path("out")) as f64 / 1e9;
        let (copy_out, copy_in) = (copy(&scene, "out"), copy(&scene, "in"));
        println!(
            "round {round}: dequantize {convert:.1} s ({read:.2} GB read, {written:.2} GB written: \
             {:.2} GB/s), cp and sync of what it wrote {copy_out:.1} s ({:.2} GB/s), of what it read \
             {copy_in:.1} s ({:.2} GB/s)",
            (read + written) / convert,
            2.0 * written / copy_out,
            2.0 * read / copy_in,
        );
        rows.push(convert / copy_out);
    }
    rows.sort_by(f64::total_cmp);
    println!("median of dequantize / cp and sync of what it wrote: {:.2}", rows[ROUNDS / 2]);
}

#[test]
#[ignore = "takes minutes and 16 GiB of disk"]
fn kills() {
    let scene = Scene::new();
    let whole = timed(|| assert!(scene.dequantize("want").status().unwrap().success()));
    let stream = RandomStream { seed: std::process::id().into(), ..RandomStream::default() };
    let (mut seen, mut died, mut finished) = (HashSet::new(), 0, 0);
    for kill in 0.. {
        if died == KILLS {
            break;
        }
        let moment = Duration::from_secs_f64(whole * f64::from(stream.word(kill)) / 2f64.powi(32));
        let mut child = scene.dequantize("out").spawn().unwrap();
        std::thread::sleep(moment);
        let _ = child.kill();
        let success = child.wait().unwrap().success();
        died += u32::from(!success);
        finished += u32::from(success);
        let (shards, left) = check(&scene, &mut seen);
        println!("kill {kill} after {moment:.2?}: {shards} whole shards, {left} temporary files");
        if success {
            scene.clear("out");
            seen.clear();
        }
    }
    assert!(scene.dequantize("out").status().unwrap().success());
    seen.clear();
    assert_eq!(check(&scene, &mut seen), (3, 0));
    println!("{died} runs killed, {finished} had finished; the last run's files are whole");
}

/// Every file that has its name is what it is to be; how many are, and how many temporary files
/// there are.
fn check(scene: &Scene, seen: &mut HashSet<PathBuf>) -> (usize, usize) {
    let Ok(entries) = fs::read_dir(scene.path("out")) else { return (0, 0) };
    let (mut shards, mut left, mut index) = (0, 0, false);
    for entry in entries {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        index |= name.ends_with("index.json");
        if name.ends_with(".tmp") {
            left += 1;
            continue;
        }
        shards += usize::from(name.ends_with(".safetensors"));
        let want = scene.path("want").join(name);
        if seen.insert(path.clone()) {
            assert!(equal(&path, &want), "{} is not what it is to be", path.display());
        }
    }
    assert!(!index || shards == 3, "an index of a model that is not whole");
    (shards, left)
}

fn equal(a: &Path, b: &Path) -> bool {
    let (mut a, mut b) = (File::open(a).unwrap(), File::open(b).unwrap());
    let (mut x, mut y) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    if a.metadata().unwrap().len() != b.metadata().unwrap().len() {
        return false;
    }
    loop {
        let n = a.read(&mut x).unwrap();
        if n == 0 {
            return true;
        }
        b.read_exact(&mut y[..n]).unwrap();
        if x[..n] != y[..n] {
            return false;
        }
    }
}
