//! The machine: what it is, and threads held to its cores.

use quarter::Isa;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Instant;

pub struct Machine {
    pub cpu: String,
    pub cores: usize,
    /// Clock under load.
    pub ghz: f64,
    /// What the library finds at run time, best first.
    pub isas: String,
    /// What the bench and the peers were compiled for.
    pub features: String,
}

pub fn describe() -> Machine {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = cpuinfo.lines().find(|line| line.starts_with(name))?;
        Some(line.split(':').nth(1)?.trim().to_owned())
    };
    let mut cpu = field("model name").unwrap_or_else(|| std::env::consts::ARCH.into());
    if let (Some(family), Some(model)) = (field("cpu family"), field("model\t")) {
        cpu += &format!(" (family {family}, model {model})");
    }
    let isas: Vec<&str> = Isa::available().map(Isa::name).collect();
    let native = cfg!(target_feature = "avx2") || cfg!(target_feature = "avx512f");
    let features = format!(
        "{}{}",
        std::env::consts::ARCH,
        if native { " with more than the baseline" } else { "'s baseline" }
    );
    Machine { cpu, cores: cores().unwrap_or(1), ghz: gigahertz(), isas: isas.join(", "), features }
}

/// The clock, from a chain of operations that take one cycle each and wait for one another.
fn gigahertz() -> f64 {
    const STEPS: u32 = 1 << 20;
    let (mut x, key) = (black_box(1u64), black_box(0x9e37_79b9_7f4a_7c15));
    let best = (0..200)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..STEPS {
                x = (x ^ key).rotate_left(7);
            }
            x = black_box(x);
            start.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min);
    2.0 * f64::from(STEPS) / best / 1e9
}

/// The cores a pinned thread may choose from; none if the process is already held to some.
fn cores() -> Option<usize> {
    static CORES: OnceLock<Option<usize>> = OnceLock::new();
    *CORES.get_or_init(|| {
        let online = std::fs::read_to_string("/proc/cpuinfo").ok()?;
        let online = online.lines().filter(|line| line.starts_with("processor")).count();
        let allowed = std::thread::available_parallelism().ok()?.get();
        (online == allowed).then_some(online)
    })
}

/// Holds the calling thread to one core, counted from the last, if the system has `taskset`: two
/// busy threads otherwise share a core now and then.
pub fn pin(worker: usize) {
    let Some(core) = cores().and_then(|cores| cores.checked_sub(1 + worker)) else { return };
    let Ok(thread) = std::fs::read_link("/proc/thread-self") else { return };
    let Some(thread) = thread.file_name() else { return };
    // The status does not matter: without it the figures are only noisier.
    let _ = Command::new("taskset")
        .args(["-p", "-c", &core.to_string()])
        .arg(thread)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

/// The pool of so many pinned threads.
pub fn pool(threads: usize) -> &'static rayon::ThreadPool {
    static POOLS: Mutex<BTreeMap<usize, &'static rayon::ThreadPool>> = Mutex::new(BTreeMap::new());
    POOLS.lock().unwrap_or_else(PoisonError::into_inner).entry(threads).or_insert_with(|| {
        let builder = rayon::ThreadPoolBuilder::new().num_threads(threads).start_handler(pin);
        Box::leak(Box::new(builder.build().expect("a pool of a few threads")))
    })
}
