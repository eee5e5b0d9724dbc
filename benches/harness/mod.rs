//! A small timing harness: every contestant of a group runs once in every round, so that what
//! disturbs the machine disturbs all of them; medians over the rounds are reported, and ratios are
//! medians of the ratios within a round.
//!
//! Judge by ratios to a row of the same group. On a shared machine absolute figures move by 20 %.

pub mod data;
pub mod limits;
pub mod machine;
pub mod report;

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
}

const USAGE: &str = "\
cargo bench --bench NAME -- [--json] [--all] [--quick] [--sizes 64K,16M,64M] [--threads 1,2] [WORD ...]
  WORD ...   only groups whose title contains every word
  --json     one JSON object a line
  --all      every instruction set in every group, not only in cache
  --quick    a fifth of the time
  --sizes    elements, with K or M for 2^10 or 2^20
  --threads  thread counts";

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
        let seconds = match threads {
            1 => rounds(data, entries, self.options.quick),
            n => machine::pool(*n).install(|| rounds(data, entries, self.options.quick)),
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

/// Seconds a run, by entry and round.
fn rounds<D>(data: &mut D, entries: &[Entry<D>], quick: bool) -> Vec<Vec<f64>> {
    let budget = if quick { BUDGET / 5 } else { BUDGET };
    // The first run warms up: pages, caches, clock. The second says how often to repeat.
    let repeats: Vec<u32> = entries
        .iter()
        .map(|entry| {
            sample(data, entry, 1);
            let once = sample(data, entry, 1).max(1e-9);
            (SAMPLE.as_secs_f64() / once).ceil().max(1.0) as u32
        })
        .collect();
    let start = Instant::now();
    let mut seconds = vec![Vec::new(); entries.len()];
    let mut round = 0;
    while round < *ROUNDS.start() || (round < *ROUNDS.end() && start.elapsed() < budget) {
        // Another one goes first each time, so that nobody always follows the same neighbour.
        for i in 0..entries.len() {
            let i = (i + round as usize) % entries.len();
            seconds[i].push(sample(data, &entries[i], repeats[i]));
        }
        round += 1;
    }
    seconds
}

fn sample<D>(data: &mut D, entry: &Entry<D>, repeats: u32) -> f64 {
    let start = Instant::now();
    for _ in 0..repeats {
        (entry.run)(data);
    }
    start.elapsed().as_secs_f64() / f64::from(repeats)
}
