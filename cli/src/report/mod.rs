//! `quarter report`: errors measured, against proven bounds and theory.
//!
//! ```text
//!  Args ──► Plan ──┬─► signal:   formats, blocks        ─┐
//!                  ├─► products: recipes, sums, K, noise ─┼─► Part { records, tables } ──► text, Markdown, JSON
//!                  └─► casts:    recipes, rules, history ─┘         └─► plot: SVG
//! ```
//!
//! Data come from a seed and every figure is a sum in a fixed order, printed in few digits: each
//! machine prints the same. `docs/accuracy.md` is what `quarter report --markdown --out docs` prints,
//! and a test holds it and its pictures to that.
//!
//! To add a part: a file that gives a `Part`, a variant of `Which`, and a line in [`run`].

mod casts;
mod dots;
mod history;
mod noise;
mod plot;
mod products;
mod signal;
mod summary;
mod table;
mod ways;

use crate::gemm::compare::Other;
use crate::output::Output;
use crate::units::OnUnit;
use anyhow::{Context as _, ensure};
use clap::ValueEnum;
use quarter::accuracy::Distribution;
use quarter::mma::{B200_MXFP8, H100_16BIT, H100_TF32, H100_WGMMA_FP8, H100_WGMMA_FP8_F16};
use quarter::recipe::{Pass, Recipe, presets};
use quarter::{FormatId, tensor};
use serde::Serialize;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use table::Table;

/// Arguments of `quarter report`.
#[derive(Debug, clap::Args)]
#[command(after_help = after_help())]
pub struct Args {
    /// What to report; all unless some are given
    #[arg(value_enum, value_name = "PART")]
    parts: Vec<Which>,
    /// The recipes instead of all presets, with commas between; NAME@UNIT is on a unit
    #[arg(long = "recipe", value_name = "NAME", value_delimiter = ',')]
    recipes: Vec<OnUnit>,
    /// The products of a layer, with commas between: fprop, dgrad, wgrad (all)
    #[arg(long = "pass", value_name = "PASS", value_delimiter = ',')]
    passes: Vec<Pass>,
    /// How sums are kept, with commas between: f32, or units (`quarter units` has the names)
    #[arg(long = "unit", value_name = "NAME|f32", value_delimiter = ',')]
    sums: Vec<Other>,
    /// The lengths of sums, with commas between (of bounds 128,1024,4096; of
    /// signal to noise 256)
    #[arg(long, value_name = "K", value_delimiter = ',')]
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
    /// Write pictures to this directory: accuracy-sqnr.svg, -recipes, -products, -casts
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The most threads to use; 0 for one a processor
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) threads: usize,
}

/// What stands below the options.
fn after_help() -> String {
    let distributions: Vec<String> =
        finite().map(|d| format!("  {:20} {}", hyphens(d), meaning(d))).collect();
    format!("{HELP}\nDistributions:\n{}", distributions.join("\n"))
}

const HELP: &str = "\
sqnr: numbers there and back, measured and as theory predicts it (quarter::accuracy::bounds): each format \
on normal numbers whose amax is about its largest number (3.7 standard deviations) and on numbers spread \
evenly up to it, each block rule on normal numbers.
products: signal to noise of each recipe's products, the mean over pairs of matrices, beside what theory \
predicts of normal numbers; and 8 x 4 outputs for each recipe, pass, distribution, K and way to sum, held \
to bounds. Errors with casts are those against the product of the numbers before they were cast; those of \
sums are against the exact product of the codes. Bounds are proven, element by element; probable ones \
are seldom passed (lambda = 3). No output may be beyond a proven bound. Overflow: outputs that are not \
finite. A unit is left out where it does not multiply a recipe's operands; NAME/128 is promoted every 128 \
elements. Where a recipe, unit, K or distribution is chosen, each case has a row.
casts: the share of elements that are beyond the largest number, and of those that become 0 and were not, \
for each cast of the recipes; and of matrices that overflow under delayed scaling.
JSON has one object a line: part is an argument of this command, kind says which keys it has. What is not \
defined is null; sqnr_db is a number, or exact, zeros (no signal) or overflow.
";

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
    recipes_are_given: bool,
    passes: Vec<Pass>,
    sums: Vec<Other>,
    /// Whether somebody chose them: then each is to be of use.
    sums_are_given: bool,
    /// Lengths of sums that are held to bounds, and of those whose signal to noise is measured.
    k: Vec<usize>,
    signal_k: Vec<usize>,
    distributions: Vec<Distribution>,
    /// Those with a column.
    shown: Vec<Distribution>,
    /// Whether something was chosen: then each case has a row.
    long: bool,
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
    #[serde(rename = "products")]
    Signal(noise::Noise),
    #[serde(rename = "products")]
    Product(products::Product),
    #[serde(rename = "casts")]
    Cast(casts::Share),
    #[serde(rename = "casts")]
    Kept(history::Kept),
}

/// What came of a part.
struct Part {
    records: Vec<Record>,
    tables: Vec<Table>,
    /// The names of pictures, and them.
    pictures: Vec<(&'static str, String)>,
}

/// How the Markdown begins.
const INTRODUCTION: &str = "\
# Accuracy

What each recipe, cast and unit costs, as `quarter report --markdown --out docs` measures it on every \
machine the same, beside what theory predicts and what is proven \
([`quarter::accuracy::bounds`](../src/accuracy/bounds/mod.rs)). All data are drawn from a seed; `quarter \
report --help` says more of the figures, and `--json` has every case. A test holds this page and its \
pictures to the command.
";

/// The distributions of the page.
fn definitions(plan: &Plan) -> Table {
    let row = |d: &Distribution| vec![hyphens(*d), meaning(*d).to_owned()];
    let others = plan.distributions.iter().filter(|d| !plan.shown.contains(d));
    let names: Vec<String> = others.map(|d| hyphens(*d)).collect();
    let others = match names.len() {
        0 => String::new(),
        _ => format!(" Bounds are also held on {}.", names.join(", ")),
    };
    Table {
        title: "Distributions".to_owned(),
        about: format!(
            "What elements are drawn from, with even signs ([`Distribution`]\
             (../src/accuracy/distribution.rs)).{others}"
        ),
        columns: ["distribution", "elements"].map(str::to_owned).to_vec(),
        names: 2,
        rows: plan.shown.iter().map(row).collect(),
    }
}

/// What a distribution is, as its definition says.
const fn meaning(distribution: Distribution) -> &'static str {
    match distribution {
        Distribution::Gaussian => "standard normal",
        Distribution::Uniform => "uniform in [-1, 1], rounded to f32",
        Distribution::FifthPower => "z |z|^4 of a standard normal z: a tail over many binades",
        Distribution::LogNormal => "2^(3z) of a standard normal z, linear within a binade",
        Distribution::StudentT => "Student's t with two degrees of freedom: no variance",
        Distribution::OutlierColumns => "standard normal, every 32nd column times 100 to 1,000",
        Distribution::BlockSpread => {
            "standard normal, each 32 elements of a row times a power of two of 2^-20 to 2^20"
        }
        Distribution::Midpoints(_) => {
            "midpoints of neighbours of a format, and one ulp beside them"
        }
        Distribution::Subnormals(_) => {
            "eighths of a format's smallest number, up to small normal ones"
        }
        Distribution::TinyF32 => "f32 subnormals, one in four a normal number of their size",
        Distribution::Constant => "one number for all",
        Distribution::Zeros => "zeros, some of them -0",
        Distribution::Alternating => "+a, -a, +a ... along a row, with one a for the row",
        Distribution::Cancelling => "neighbours that all but cancel: x, then -x one ulp away",
        _ => "see quarter::accuracy::Distribution",
    }
}

/// Measures; gives what is printed.
///
/// # Errors
/// Options that do not go together; recipes that no chosen unit multiplies; a directory that cannot be
/// written.
pub fn run(args: &Args) -> anyhow::Result<String> {
    let plan = plan(args)?;
    if let Some(out) = &args.out {
        writable(out)?;
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
    let pictures = || parts.iter().flat_map(|part| &part.pictures);
    if let Some(out) = &args.out {
        let writing = || format!("cannot write {}", out.display());
        for (name, picture) in pictures() {
            let mut file = Output::create(&out.join(format!("accuracy-{name}.svg")))?;
            file.write_all(picture.as_bytes()).with_context(writing)?;
            file.finish()?;
        }
    }
    if args.json {
        let records = parts.iter().flat_map(|part| &part.records);
        let lines = records.map(|record| serde_json::to_string(record).map(|line| line + "\n"));
        return Ok(lines.collect::<Result<_, _>>()?);
    }
    let first = summary::table(&plan, &parts);
    let needs = args.has(Which::Products) || args.has(Which::Casts);
    let last = Some(definitions(&plan)).filter(|_| needs && args.markdown);
    if !args.markdown {
        let tables = first.iter().chain(parts.iter().flat_map(|part| &part.tables));
        return Ok(tables.map(Table::text).collect::<Vec<_>>().join("\n"));
    }
    let mut text = INTRODUCTION.to_owned();
    for table in first.iter().chain(&last) {
        text.push_str(&format!("\n{}", table.markdown()));
    }
    for part in parts.iter().filter(|part| !part.tables.is_empty()) {
        part.tables.iter().for_each(|table| text.push_str(&format!("\n{}", table.markdown())));
        for (name, _) in &part.pictures {
            text.push_str(&format!("\n![{name}](accuracy-{name}.svg)\n"));
        }
    }
    Ok(text)
}

/// Finds out before anything is measured.
fn writable(out: &Path) -> anyhow::Result<()> {
    let writing = || format!("cannot write {}", out.display());
    fs::create_dir_all(out).with_context(writing)?;
    match tempfile::tempfile_in(out) {
        Ok(_) => Ok(()),
        // Without the name of that file.
        Err(error) => Err(io::Error::from(error.kind())).with_context(writing),
    }
}

impl Args {
    fn has(&self, which: Which) -> bool {
        self.parts.is_empty() || self.parts.contains(&which)
    }
}

fn plan(args: &Args) -> anyhow::Result<Plan> {
    for (given, flag) in
        [(args.sums.len(), "--unit"), (args.passes.len(), "--pass"), (args.k.len(), "--k")]
    {
        ensure!(given == 0 || args.has(Which::Products), "{flag} is for the part products");
    }
    let some = args.has(Which::Products) || args.has(Which::Casts);
    for (given, flag) in
        [(args.recipes.len(), "--recipe"), (args.distributions.len(), "--distribution")]
    {
        ensure!(some || given == 0, "{flag} is not for the part sqnr");
    }
    let recipes = if args.recipes.is_empty() {
        presets::ALL.iter().map(|(_, recipe)| recipe()).collect()
    } else {
        distinct(&args.recipes.iter().map(|on| on.0.clone()).collect::<Vec<_>>())
    };
    let sums = if args.sums.is_empty() {
        let units = [&H100_TF32, &H100_16BIT, &H100_WGMMA_FP8, &H100_WGMMA_FP8_F16, &B200_MXFP8];
        [Other::F32].into_iter().chain(units.map(Other::Unit)).collect()
    } else {
        distinct(&args.sums)
    };
    let sorted = |k: &[u32]| {
        let mut k: Vec<usize> = k.iter().map(|k| *k as usize).collect();
        k.sort_unstable();
        k.dedup();
        k
    };
    let given: Vec<_> = args.distributions.iter().map(|named| named.0).collect();
    let given = distinct(&given);
    let (distributions, shown) = if given.is_empty() {
        (finite().collect(), SHOWN.to_vec())
    } else {
        (given.clone(), given)
    };
    let chosen = args.recipes.len() + args.sums.len() + args.k.len() + args.distributions.len();
    let long = chosen > 0;
    let k = if args.k.is_empty() { vec![128, 1024, 4096] } else { sorted(&args.k) };
    Ok(Plan {
        recipes,
        recipes_are_given: !args.recipes.is_empty(),
        passes: if args.passes.is_empty() { Pass::ALL.to_vec() } else { distinct(&args.passes) },
        sums,
        sums_are_given: !args.sums.is_empty(),
        signal_k: if long { k.clone() } else { vec![256] },
        k,
        distributions,
        shown,
        long,
        seed: args.seed,
    })
}

/// What the matrix with this number is drawn from (splitmix64).
fn drawn_from(seed: u64, number: u64) -> u64 {
    let mix = |x: u64| {
        let x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    };
    mix(mix(seed.wrapping_add(0x9e37_79b9_7f4a_7c15)).wrapping_add(number))
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
