//! `quarter report`: errors measured, against proven bounds and theory.
//!
//! ```text
//!  Args ──► Plan ──┬─► signal:   formats, blocks   ─┐
//!                  ├─► products: recipes, sums, K  ─┼─► Part { records, tables } ──► text, Markdown, JSON
//!                  └─► casts:    formats, rules    ─┘         └─► plot: SVG
//! ```
//!
//! Data come from a seed and every figure is a sum in a fixed order, printed in few digits: each
//! machine prints the same. `docs/accuracy.md` is what `quarter report --markdown` prints, and a test
//! holds it to that.
//!
//! To add a part: a file that gives a `Part`, a variant of `Which`, and a line in [`run`].

mod casts;
mod plot;
mod products;
mod signal;
mod table;

use crate::gemm::compare::Other;
use crate::output::Output;
use anyhow::{Context as _, ensure};
use clap::ValueEnum;
use quarter::accuracy::Distribution;
use quarter::mma::{B200_MXFP8, H100_16BIT, H100_TF32, H100_WGMMA_FP8};
use quarter::recipe::{Pass, Recipe, presets};
use quarter::{FormatId, tensor};
use serde::Serialize;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::str::FromStr;
use table::Table;

/// Arguments of `quarter report`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
sqnr: numbers there and back, measured and as theory predicts it (quarter::accuracy::bounds): each format \
on normal numbers whose amax is about its largest number (3.7 standard deviations) and on numbers spread \
evenly up to it, each block rule on normal numbers.
products: 8 x 4 outputs for each recipe, distribution, K and way to sum. Errors are those against the \
product of the numbers before they were cast; those of sums are against the exact product of the codes, \
and norm is their norm relative to that of |A||B|. Bounds are proven, element by element; probable ones \
are seldom passed (lambda = 3). No output may be beyond a bound. A unit is left out where it does not \
multiply a recipe's operands; NAME/128 is promoted every 128 elements.
casts: the share of elements that saturate, and that become 0 and were not.
Distributions: gaussian, uniform, fifth-power, log-normal, student-t, outlier-columns, block-spread, \
midpoints-of-e4m3, subnormals-of-e4m3, tiny-f32, constant, zeros, alternating, cancelling.
JSON has one object a line; part says which keys it has. What is not defined is null.")]
pub struct Args {
    /// What to report; all unless some are given
    #[arg(value_enum, value_name = "PART")]
    parts: Vec<Which>,
    /// The recipes instead of all presets, with commas between
    #[arg(long = "recipe", value_name = "NAME", value_delimiter = ',')]
    recipes: Vec<Recipe>,
    /// The products of a layer: fprop, dgrad or wgrad
    #[arg(long, value_name = "PASS", default_value = "fprop")]
    pass: Pass,
    /// How sums are kept, with commas between: f32, or units (`quarter units` has the names)
    #[arg(long = "unit", value_name = "NAME|f32", value_delimiter = ',')]
    sums: Vec<Other>,
    /// The lengths of sums, with commas between
    #[arg(long, value_name = "K", value_delimiter = ',', default_value = "128,1024,4096")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=65536))]
    k: Vec<u32>,
    /// The distributions of elements, with commas between
    #[arg(long = "distribution", value_name = "NAME", value_delimiter = ',')]
    distributions: Vec<Named>,
    /// What all data are drawn from
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Print Markdown instead of a terminal's table
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    /// Print JSON lines
    #[arg(long)]
    json: bool,
    /// Write pictures to this directory: sqnr.svg, products.svg, casts.svg
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The most threads to use; 0 for one a processor
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) threads: usize,
}

/// What to report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Which {
    /// Signal to noise of formats and of blocks, against theory
    Sqnr,
    /// Matrix products, against their bounds
    Products,
    /// What casts saturate and flush
    Casts,
}

/// A distribution by its name, with hyphens.
#[derive(Clone, Copy, Debug)]
struct Named(Distribution);

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = finite().find(|distribution| hyphens(*distribution) == text);
        let all: Vec<_> = finite().map(hyphens).collect();
        found.map(Self).ok_or_else(|| format!("no distribution (of {})", all.join(", ")))
    }
}

/// Every distribution without NaN and Inf: what is not finite has no bound.
fn finite() -> impl Iterator<Item = Distribution> {
    Distribution::finite(FormatId::F8E4M3)
}

fn hyphens(distribution: Distribution) -> String {
    distribution.to_string().replace(' ', "-")
}

/// Those that have a column each unless some are chosen: of the others a ratio says little.
const SHOWN: [Distribution; 7] = [
    Distribution::Gaussian,
    Distribution::Uniform,
    Distribution::FifthPower,
    Distribution::LogNormal,
    Distribution::StudentT,
    Distribution::OutlierColumns,
    Distribution::BlockSpread,
];

/// What is swept.
struct Plan {
    recipes: Vec<Recipe>,
    pass: Pass,
    sums: Vec<Other>,
    /// Whether somebody chose them: then each is to be of use.
    sums_are_given: bool,
    k: Vec<usize>,
    distributions: Vec<Distribution>,
    /// Those with a column.
    shown: Vec<Distribution>,
    seed: u64,
}

impl Plan {
    /// Whether a distribution has a column.
    fn is_shown(&self, name: &str) -> bool {
        self.shown.iter().any(|shown| hyphens(*shown) == name)
    }
}

/// A line of the JSON.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "part", rename_all = "lowercase")]
enum Record {
    Sqnr(signal::Signal),
    Product(products::Product),
    Cast(casts::Share),
}

/// What came of a part.
struct Part {
    records: Vec<Record>,
    tables: Vec<Table>,
    /// The name of the picture, and it.
    picture: Option<(&'static str, String)>,
}

/// How the Markdown begins.
const INTRODUCTION: &str = "\
# Accuracy

What `quarter report --markdown` prints, on every machine the same: errors that were measured, beside \
what theory predicts and what is proven of them ([`quarter::accuracy::bounds`](../src/accuracy/bounds/mod.rs)). \
All data are drawn from a seed; `quarter report --help` says what each figure is, `--json` has every case, \
and `--out DIR` draws them. A test holds this page to the command.
";

/// Measures; gives what is printed.
///
/// # Errors
/// Options that do not go together; recipes that no chosen unit multiplies; a directory that cannot be
/// written.
pub fn run(args: &Args) -> anyhow::Result<String> {
    let plan = plan(args)?;
    if let Some(out) = &args.out {
        fs::create_dir_all(out).with_context(|| format!("cannot write {}", out.display()))?;
    }
    let all = [Which::Sqnr, Which::Products, Which::Casts];
    let chosen = all.into_iter().filter(|which| args.has(*which));
    let draw = args.out.is_some();
    let mut parts = Vec::new();
    for which in chosen {
        parts.push(match which {
            Which::Sqnr => signal::part(&plan, draw)?,
            Which::Products => products::part(&plan, draw)?,
            Which::Casts => casts::part(&plan, draw)?,
        });
    }
    if let Some(out) = &args.out {
        let writing = || format!("cannot write {}", out.display());
        for (name, picture) in parts.iter().filter_map(|part| part.picture.as_ref()) {
            let mut file = Output::create(&out.join(name))?;
            file.write_all(picture.as_bytes()).with_context(writing)?;
            file.finish()?;
        }
    }
    if args.json {
        let records = parts.iter().flat_map(|part| &part.records);
        let lines = records.map(|record| serde_json::to_string(record).map(|line| line + "\n"));
        return Ok(lines.collect::<Result<_, _>>()?);
    }
    let tables = parts.iter().flat_map(|part| &part.tables);
    if args.markdown {
        return Ok(
            tables.fold(INTRODUCTION.to_owned(), |text, table| text + "\n" + &table.markdown())
        );
    }
    Ok(tables.map(Table::text).collect::<Vec<_>>().join("\n"))
}

impl Args {
    fn has(&self, which: Which) -> bool {
        self.parts.is_empty() || self.parts.contains(&which)
    }
}

fn plan(args: &Args) -> anyhow::Result<Plan> {
    for (given, flag) in [(args.recipes.len(), "--recipe"), (args.sums.len(), "--unit")] {
        ensure!(given == 0 || args.has(Which::Products), "{flag} is for the part products");
    }
    let some = args.has(Which::Products) || args.has(Which::Casts);
    ensure!(some || args.distributions.is_empty(), "--distribution is not for the part sqnr");
    let recipes = if args.recipes.is_empty() {
        presets::ALL.iter().map(|(_, recipe)| recipe()).collect()
    } else {
        distinct(&args.recipes)
    };
    let sums = if args.sums.is_empty() {
        let units = [&H100_TF32, &H100_16BIT, &H100_WGMMA_FP8, &B200_MXFP8];
        [Other::F32].into_iter().chain(units.map(Other::Unit)).collect()
    } else {
        distinct(&args.sums)
    };
    let mut k: Vec<usize> = args.k.iter().map(|k| *k as usize).collect();
    k.sort_unstable();
    k.dedup();
    let given: Vec<_> = args.distributions.iter().map(|named| named.0).collect();
    let given = distinct(&given);
    let (distributions, shown) = if given.is_empty() {
        (finite().collect(), SHOWN.to_vec())
    } else {
        (given.clone(), given)
    };
    Ok(Plan {
        recipes,
        pass: args.pass,
        sums,
        sums_are_given: !args.sums.is_empty(),
        k,
        distributions,
        shown,
        seed: args.seed,
    })
}

/// Each once, in the order in which they came.
fn distinct<T: Clone + PartialEq>(given: &[T]) -> Vec<T> {
    let first = |(i, one): &(usize, &T)| !given[..*i].contains(one);
    given.iter().enumerate().filter(first).map(|(_, one)| one.clone()).collect()
}

/// Formats that casts make.
fn formats() -> impl Iterator<Item = FormatId> {
    let any = quarter::Granularity::Tensor;
    let is_cast = move |format: &FormatId| {
        tensor::Cast::new(*format, any, quarter::Rule::TeCurrent).check().is_ok()
    };
    FormatId::ALL.iter().copied().filter(is_cast)
}

/// A figure of the JSON: six digits, which every machine has the same; none if it is not finite.
fn figure(x: f64) -> Option<f64> {
    if !x.is_finite() { None } else { format!("{x:.5e}").parse().ok() }
}
