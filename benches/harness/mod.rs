//! A small timing harness: every contestant of a group runs once in every round, so that what
//! disturbs the machine disturbs all of them; medians over the rounds are reported, and ratios are
//! medians of the ratios within a round.
//!
//! Judge by ratios to a row of the same group. On a shared machine absolute figures move by 20 %.

pub mod data;
pub mod limits;
pub mod machine;
pub mod matrix;
pub mod products;
pub mod report;
pub mod serve;

use report::{Report, Row};
use std::time::{Duration, Instant};

/// What the command line asks for.
pub struct Options {
    /// Only groups whose title contains all of these.
    filters: Vec<String>,
    /// JSON lines instead of tables.
    json: bool,
    /// Every instruction set in every group, not only in cache.
    pub all: bool,
    /// Fewer and shorter rounds: does it run?
    quick: bool,
    /// Sizes to run, in elements.
    pub sizes: Vec<usize>,
    /// Thread counts to run.
    pub threads: Vec<usize>,
    /// M, N and K of products to run; none for those of the bench.
    pub shapes: Vec<[usize; 3]>,
    /// Whether to time products that another program asks for.
    pub serve: bool,
}

const USAGE: &str = "\
cargo bench --bench NAME -- [--json] [--all] [--quick] [--sizes 64K,16M,64M | --shapes 512x512x512,...]
                            [--threads 1,2] [WORD ...]
  WORD ...   only groups whose title contains every word
  --json     one JSON object a line
  --all      every instruction set in every group, not only in cache; every shape and recipe
  --quick    a fifth of the time
  --sizes    elements, with K or M for 2^10 or 2^20
  --shapes   M, N and K of matrix products
  --threads  thread counts
  --serve    time matrix products that standard input asks for (benches/peers/gemm_torch.py)";

impl Options {
    /// Reads the command line; `cargo bench` itself adds `--bench`.
    fn from_args(sizes: &[usize]) -> Self {
        let mut options = Self {
            filters: Vec::new(),
            json: false,
            all: false,
            quick: false,
            sizes: sizes.to_vec(),
            threads: vec![1, 2],
            shapes: Vec::new(),
            serve: false,
        };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut list = || args.next().unwrap_or_default();
            match arg.as_str() {
                "--bench" => {}
                "--json" => options.json = true,
                "--all" => options.all = true,
                "--quick" => options.quick = true,
                "--sizes" => options.sizes = numbers(&list()),
                "--threads" => options.threads = numbers(&list()),
                "--shapes" => options.shapes = list().split(',').map(shape).collect(),
                "--serve" => options.serve = true,
                word if !word.starts_with('-') => options.filters.push(word.into()),
                _ => refuse(),
            }
        }
        options
    }

    fn wants(&self, title: &str) -> bool {
        self.filters.iter().all(|word| title.contains(word.as_str()))
    }
}

fn refuse() -> ! {
    eprintln!("{USAGE}");
    std::process::exit(2);
}

fn numbers(list: &str) -> Vec<usize> {
    let number = |text: &str| {
        let digits = text.trim_end_matches(['K', 'M']);
        let unit = match &text[digits.len()..] {
            "" => 1,
            "K" => 1 << 10,
            "M" => 1 << 20,
            _ => return None,
        };
        digits.parse::<usize>().ok().filter(|n| *n > 0).map(|n| n * unit)
    };
    list.split(',').map(|text| number(text).unwrap_or_else(|| refuse())).collect()
}

fn shape(text: &str) -> [usize; 3] {
    let sizes: Vec<_> = text.split('x').map(|size| size.parse().unwrap_or(0)).collect();
    match sizes[..] {
        [m, n, k] if m * n * k > 0 => [m, n, k],
        _ => refuse(),
    }
}

/// A count of elements as people write it.
pub fn count(n: usize) -> String {
    match n {
        n if n % (1 << 20) == 0 => format!("{}M", n >> 20),
        n if n % (1 << 10) == 0 => format!("{}K", n >> 10),
        n => n.to_string(),
    }
}

/// One way to do a group's job on data `D`.
pub struct Entry<D> {
    pub name: String,
    /// Bytes read and written an element.
    pub bytes: f64,
    pub run: Box<dyn Fn(&mut D) + Send + Sync>,
}

/// Contestants in the same job; the first is the one the others are compared with.
pub struct Group<D> {
    pub case: String,
    pub elements: usize,
    pub threads: usize,
    pub entries: Vec<Entry<D>>,
}

/// Runs groups and prints them.
pub struct Suite {
    pub options: Options,
    report: Report,
}

impl Suite {
    /// `sizes` unless the command line names others.
    pub fn new(title: &str, sizes: &[usize]) -> Self {
        let options = Options::from_args(sizes);
        machine::pin(0);
        if options.serve {
            serve::serve();
            std::process::exit(0);
        }
        let report = Report::new(options.json);
        report.machine(title, &machine::describe());
        Self { options, report }
    }

    pub fn group<D: Send>(&self, data: &mut D, group: &Group<D>) {
        let Group { case, elements, threads, entries } = group;
        let title = title(case, *elements, *threads);
        if !self.options.wants(&title) {
            return;
        }
        let runs: Vec<_> = entries.iter().map(|entry| &*entry.run).collect();
        let budget = if self.options.quick { BUDGET / 5 } else { BUDGET };
        let length = Length { sample: [SAMPLE; 2], budget };
        let seconds = match threads {
            1 => rounds(data, &runs, length),
            n => machine::pool(*n).install(|| rounds(data, &runs, length)),
        };
        let rows: Vec<Row> = entries
            .iter()
            .zip(&seconds)
            .map(|(e, s)| Row::new(&e.name, *elements, e.bytes, s, &seconds[0]))
            .collect();
        self.report.group(&title, case, *elements, *threads, &rows);
    }
}

fn title(case: &str, elements: usize, threads: usize) -> String {
    let s = if threads == 1 { "" } else { "s" };
    format!("{case}, {} elements, {threads} thread{s}", count(elements))
}

/// A sample lasts at least this long: short runs are repeated within it.
const SAMPLE: Duration = Duration::from_millis(1);
/// About how long a group is measured.
const BUDGET: Duration = Duration::from_millis(1500);
const ROUNDS: std::ops::RangeInclusive<u32> = 7..=301;

/// Beyond this a round is long, and there are fewer.
const LONG_ROUND: Duration = Duration::from_secs(3);

/// How long to measure.
#[derive(Clone, Copy)]
struct Length {
    /// A sample is a quarter as long as the longest run, within these.
    sample: [Duration; 2],
    budget: Duration,
}

/// A way to do a group's job.
type Run<'a, D> = &'a (dyn Fn(&mut D) + Send + Sync);

/// Seconds a run, by contestant and round.
fn rounds<D>(data: &mut D, runs: &[Run<'_, D>], length: Length) -> Vec<Vec<f64>> {
    // The first run warms up: pages, caches, clock. The second says how often to repeat.
    let once: Vec<f64> = runs
        .iter()
        .map(|run| {
            sample(data, *run, 1);
            sample(data, *run, 1).max(1e-9)
        })
        .collect();
    let [least, most] = length.sample.map(|sample| sample.as_secs_f64());
    let target = (once.iter().copied().fold(0.0, f64::max) / 4.0).clamp(least, most);
    let repeats: Vec<u32> =
        once.iter().map(|once| (target / once).ceil().max(1.0) as u32).collect();
    let long = once.iter().sum::<f64>() > LONG_ROUND.as_secs_f64();
    let least = if long { 5 } else { *ROUNDS.start() };
    let start = Instant::now();
    let mut seconds = vec![Vec::new(); runs.len()];
    let mut round = 0;
    while round < least || (round < *ROUNDS.end() && start.elapsed() < length.budget) {
        // Another one goes first each time, so that nobody always follows the same neighbour.
        for i in 0..runs.len() {
            let i = (i + round as usize) % runs.len();
            seconds[i].push(sample(data, runs[i], repeats[i]));
        }
        round += 1;
    }
    seconds
}

fn sample<D>(data: &mut D, run: Run<'_, D>, repeats: u32) -> f64 {
    let start = Instant::now();
    for _ in 0..repeats {
        run(data);
    }
    start.elapsed().as_secs_f64() / f64::from(repeats)
}
