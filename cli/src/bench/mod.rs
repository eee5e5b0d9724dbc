//! `quarter bench`: what this machine can do, and what share of it the library reaches.
//!
//! ```text
//!  yardsticks ─┐
//!              ├─ rounds: one sample of each ──► medians ──► Row ──► table, JSON lines
//!  kernels ────┘
//! ```
//!
//! On a shared machine speeds move by a fifth from one second to the next, and what is measured at
//! another time cannot be compared. So a kernel is measured with its yardstick in rounds of short
//! samples, and its share is that of the medians over the same rounds.
//!
//! To add a kernel: a line in `convert.rs` or `gemm.rs`; `units.rs` has every unit of the library,
//! `train.rs` whole steps of `quarter train`.

mod convert;
mod gemm;
mod measure;
mod report;
mod train;
mod units;
mod yardstick;

use crate::train::Model;
use anyhow::Context as _;
use clap::ValueEnum;
use measure::{Round, contest};
use quarter::mma::{UNITS, Unit};
use quarter::recipe::Recipe;
use report::Report;
use std::str::FromStr;
use std::time::Duration;
use yardstick::Yardstick;

/// Arguments of `quarter bench`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
One thread can do so many multiply-adds of f32 a second, and of pairs of bf16 where there is a unit \
for them; reads and copies memory so fast. A product is compared with the unit that it uses, GFLOP/s, \
or where M is at most 16 and reading b from memory takes longer, with that, GB/s; a conversion with a \
copy of as many bytes in all. Median, lowest and highest are over rounds of short samples, in each of \
which the yardstick is measured too; peak_share is the median over the yardstick's.
With M of at most 16, several b are multiplied in turn, 256 MiB of them if 16 are as much, so that \
they come from memory; \"packed\" are those that were packed before.
units are products through matrix units of chips (`quarter units`), of standard normals in the first \
format that each multiplies, as they are or, where its operands have scales, cast by 1x32:te-mx: 10^9 \
multiply-adds a second of each thread, GMA/s/thread. No peak is known for them: peak_share is there \
the share that they reach of the product of the same operands with sums in f32, measured in the \
same rounds; 1 / peak_share is how many times as long the unit's sums take.
train makes steps of `quarter train`, one recipe after the other in rounds: thousands of tokens a \
second, the share is that of the first recipe's in the same rounds; then where the time of a step goes.
JSON has one object a line: kernel, shape, threads, median, min, max, unit, peak_share.")]
pub struct Args {
    /// What to measure; conversions and products unless one is given
    #[arg(value_enum, value_name = "KERNELS")]
    what: Option<What>,
    /// M, N and K of a product; what is converted is a matrix [M, K]. Several may be given
    #[arg(long = "shape", value_name = "MxNxK")]
    shapes: Vec<Shape>,
    /// A recipe: its product of the forward pass, or all of its casts. Several may be given
    #[arg(long = "recipe", value_name = "NAME")]
    recipes: Vec<Recipe>,
    /// A unit for `bench units`, which measures all if none is given. Several may be given
    #[arg(long = "unit", value_name = "NAME")]
    units: Vec<&'static Unit>,
    /// The model of `bench train`: nano, baby, or LAYERS,HEADS,WIDTH,CONTEXT
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// Print JSON lines
    #[arg(long)]
    json: bool,
    /// About how many seconds a kernel is measured
    #[arg(long, value_name = "S", default_value_t = 0.5)]
    seconds: f64,
    /// The most threads to use; 0 for one a processor
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) threads: usize,
}

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// Conversions of slices, quantizing, dequantizing
    Convert,
    /// Matrix products
    Gemm,
    /// Matrix products through units of chips
    Units,
    /// Steps of `quarter train`
    Train,
}

/// M, N and K.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    m: usize,
    n: usize,
    k: usize,
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let sizes: Vec<usize> = text.split('x').map_while(|size| size.parse().ok()).collect();
        let whole = sizes.len() == text.split('x').count();
        match sizes[..] {
            [m, n, k] if whole && m > 0 && n > 0 && k > 0 => {
                // Bytes and operations are counted without overflow.
                let all = [(m, k), (n, k), (m, n)].map(|(a, b)| a.checked_mul(b));
                let fit = all.iter().all(|size| size.is_some_and(|size| size < 1 << 44));
                if fit { Ok(Self { m, n, k }) } else { Err("it is too large".to_owned()) }
            }
            _ => Err("M, N and K are written as 1024x1024x1024, none 0".to_owned()),
        }
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}x{}", self.m, self.n, self.k)
    }
}

/// The recipes unless some are given: each granularity once, and what they are compared with.
const RECIPES: [&str; 7] = ["f32", "bf16", "tensorwise", "rowwise", "blockwise", "mxfp8", "nvfp4"];

/// What holds for all that is measured.
struct Bench<'a> {
    report: &'a Report,
    threads: usize,
    budget: Duration,
}

/// Measures, and prints each row as soon as it is known.
///
/// # Errors
/// If there is not the memory, or standard output takes no more.
pub fn run(args: &Args) -> anyhow::Result<()> {
    anyhow::ensure!(
        args.seconds >= 0.0 && args.seconds <= 3600.0,
        "--seconds {}: from 0 to 3600",
        args.seconds
    );
    let of_units = args.what == Some(What::Units);
    anyhow::ensure!(of_units || args.units.is_empty(), "--unit is for `bench units`");
    anyhow::ensure!(!of_units || args.recipes.is_empty(), "--recipe is not for `bench units`");
    let of_training = args.what == Some(What::Train);
    anyhow::ensure!(of_training || args.model.is_none(), "--model is for `bench train`");
    let recipes = if args.recipes.is_empty() {
        RECIPES.iter().map(|name| Recipe::preset(name)).collect::<Result<_, _>>()?
    } else {
        args.recipes.clone()
    };
    // Outside of a pool there is one thread.
    let threads = rayon::current_thread_index().map_or(1, |_| rayon::current_num_threads());
    let report = Report::new(args.json);
    let budget = Duration::from_secs_f64(args.seconds);
    let bench = Bench { report: &report, threads, budget };
    report.head(threads)?;
    bench.machine()?;
    if of_training {
        let model = args.model.as_deref().unwrap_or("nano");
        let Model { size, batch } = model.parse().context("--model")?;
        return train::run(&bench, (model, size, batch), &args.recipes);
    }
    if of_units {
        let shapes = pick(&args.shapes, &[Shape { m: 256, n: 256, k: 1024 }]);
        return units::run(&bench, shapes, pick(&args.units, UNITS));
    }
    if args.what != Some(What::Gemm) {
        let shapes = pick(&args.shapes, &[Shape { m: 4096, n: 4096, k: 4096 }]);
        convert::run(&bench, shapes, &recipes)?;
    }
    if args.what != Some(What::Convert) {
        let squares = [1024, 2048].map(|n| Shape { m: n, n, k: n });
        let flat = [1, 16].map(|m| Shape { m, n: 4096, k: 4096 });
        gemm::run(&bench, pick(&args.shapes, &[squares, flat].concat()), &recipes)?;
    }
    Ok(())
}

fn pick<'a, T>(given: &'a [T], default: &'a [T]) -> &'a [T] {
    if given.is_empty() { default } else { given }
}

impl Bench<'_> {
    /// The yardsticks themselves.
    fn machine(&self) -> anyhow::Result<()> {
        const BYTES: usize = 256 << 20;
        let mut all = [
            Yardstick::fma(self.threads),
            Yardstick::pairs(self.threads),
            Yardstick::copy(self.threads, BYTES)?,
            Yardstick::read(self.threads, BYTES)?,
        ];
        let mut there: Vec<_> = all.iter_mut().flatten().collect();
        let names: Vec<_> =
            there.iter().map(|yardstick| (yardstick.name, yardstick.unit)).collect();
        let mut rounds: Vec<Round<'_>> =
            there.iter_mut().map(|y| &mut y.work as Round<'_>).collect();
        let rates = contest(self.budget * names.len() as u32, &mut rounds);
        for ((name, unit), rates) in names.into_iter().zip(&rates) {
            self.report.row(name, "-", self.threads, unit, rates, None)?;
        }
        Ok(())
    }
}
