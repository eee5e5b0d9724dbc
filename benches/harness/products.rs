//! Matrix products: contestants that count operations or bytes, each beside the yardsticks that it
//! is a share of.

use super::report::{Rate, sorted_median};
use super::{Length, Suite, machine, rounds};
use quarter::Isa;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Operations of floating-point numbers, or bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Operations,
    Bytes,
}

/// One way to do something, and how much that is.
pub struct Runner<'a, D> {
    pub name: String,
    pub work: f64,
    /// Bytes that it must read, where it is a share of reading.
    pub bytes: f64,
    pub unit: Unit,
    /// The runners of the contest that it is a share of.
    pub of: Vec<usize>,
    pub run: Box<dyn Fn(&mut D) + Send + Sync + 'a>,
}

impl<'a, D> Runner<'a, D> {
    /// Operations of a product.
    pub fn product(
        name: impl Into<String>,
        work: f64,
        of: &[usize],
        run: impl Fn(&mut D) + Send + Sync + 'a,
    ) -> Self {
        let (name, of) = (name.into(), of.to_vec());
        Self { name, work, bytes: 0.0, unit: Unit::Operations, of, run: Box::new(run) }
    }

    /// The most that a unit of an instruction set can do; none if there is no such unit.
    pub fn peak(isa: Isa, pairs: bool, threads: usize) -> Option<Self> {
        // Some 50 us each, 2 ms in all.
        const ROUNDS: usize = 1 << 13;
        const PIECES: usize = 32;
        let once = isa.peak(pairs, 1) as f64;
        let name = if pairs { "peak of bf16 pairs" } else { "peak of f32" };
        let run = move |_: &mut D| {
            share_out(threads, PIECES * threads, &|_| {
                black_box(isa.peak(pairs, ROUNDS));
            });
        };
        let work = once * (ROUNDS * PIECES * threads) as f64;
        (once > 0.0).then(|| Self::product(name, work, &[], run))
    }

    /// Reading memory.
    pub fn read(bytes: &'a [u8], threads: usize) -> Self {
        const PIECE: usize = 1 << 20;
        let run = move |_: &mut D| {
            let pieces = bytes.len().div_ceil(PIECE);
            share_out(threads, pieces, &|i| {
                let end = ((i + 1) * PIECE).min(bytes.len());
                black_box(any_bits(&bytes[i * PIECE..end]));
            });
        };
        let (name, work) = ("reading".into(), bytes.len() as f64);
        Self { name, work, bytes: work, unit: Unit::Bytes, of: vec![], run: Box::new(run) }
    }
}

/// Does each of so many pieces of work once, on so many threads: whoever is free takes the next.
fn share_out(threads: usize, pieces: usize, work: &(dyn Fn(usize) + Sync)) {
    if threads == 1 {
        return (0..pieces).for_each(work);
    }
    let next = AtomicUsize::new(0);
    rayon::broadcast(|_| {
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= pieces {
                return;
            }
            work(i);
        }
    });
}

/// The bits that are set anywhere, two halves at a time: two streams keep more of the memory's
/// channels busy than one.
fn any_bits(bytes: &[u8]) -> u64 {
    let (lines, _) = bytes.as_chunks::<64>();
    let (one, two) = lines.split_at(lines.len() / 2);
    let mut seen = [[0; 8]; 2];
    for (one, two) in one.iter().zip(two) {
        for (seen, line) in seen.iter_mut().zip([one, two]) {
            for (seen, word) in seen.iter_mut().zip(line.as_chunks().0) {
                *seen |= u64::from_ne_bytes(*word);
            }
        }
    }
    seen.as_flattened().iter().fold(0, |all, word| all | word)
}

/// Runners in the same rounds.
pub struct Contest<'a, D> {
    pub case: String,
    pub threads: usize,
    pub runners: Vec<Runner<'a, D>>,
    /// The runners that others are so many times as slow as.
    pub first: Vec<usize>,
}

fn title(case: &str, threads: usize) -> String {
    let s = if threads == 1 { "" } else { "s" };
    format!("{case}, {threads} thread{s}")
}

/// Samples are a quarter of the longest run, within these.
const SAMPLE: [Duration; 2] = [Duration::from_millis(4), Duration::from_millis(100)];
const BUDGET: Duration = Duration::from_millis(1500);

impl Suite {
    /// Whether a contest will run: else its data need not be made.
    pub fn wants(&self, case: &str, threads: usize) -> bool {
        self.options.wants(&title(case, threads))
    }

    pub fn contest<D: Send>(&self, data: &mut D, contest: &Contest<'_, D>) {
        let Contest { case, threads, runners, first } = contest;
        if !self.wants(case, *threads) {
            return;
        }
        let runs: Vec<_> = runners.iter().map(|runner| &*runner.run).collect();
        let budget = if self.options.quick { BUDGET / 5 } else { BUDGET };
        let length = Length { sample: SAMPLE, budget };
        let seconds = match threads {
            1 => rounds(data, &runs, length),
            n => machine::pool(*n).install(|| rounds(data, &runs, length)),
        };
        let rates: Vec<Vec<f64>> = runners
            .iter()
            .zip(&seconds)
            .map(|(runner, seconds)| seconds.iter().map(|s| runner.work / s / 1e9).collect())
            .collect();
        let medians: Vec<f64> = rates.iter().map(|rates| sorted_median(rates.clone())).collect();
        let rows: Vec<Rate> = (0..runners.len())
            .map(|i| {
                let runner = &runners[i];
                let shares = runner.of.iter().map(|of| {
                    let yardstick = &runners[*of];
                    let amount =
                        if yardstick.unit == runner.unit { runner.work } else { runner.bytes };
                    let share = medians[i] / runner.work * amount / medians[*of];
                    (share, yardstick.name.as_str())
                });
                let others = first.iter().filter(|first| **first != i && !runner.of.is_empty());
                let ratios = others.map(|first| {
                    let ratios =
                        rates[*first].iter().zip(&rates[i]).map(|(first, own)| first / own);
                    (sorted_median(ratios.collect()), runners[*first].name.as_str())
                });
                let bytes = runner.unit == Unit::Bytes;
                let unit = if bytes { "GB/s" } else { "GFLOP/s" };
                Rate::new(&runner.name, unit, &rates[i], shares.collect(), ratios.collect())
            })
            .collect();
        self.report.contest(&title(case, *threads), case, *threads, &rows);
    }
}
