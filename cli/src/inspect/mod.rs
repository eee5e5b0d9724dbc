//! `quarter inspect`: what the numbers of a tensor are, and what casts make of them.
//!
//! ```text
//!  source ──tiles──► measure ──► Report ──► text, JSON, svg
//!                      │ stats: what they are; each cast there and back: what is lost
//!                      └─► recommend
//! ```
//!
//! The keys of the JSON are the fields of [`report::Report`]. Figures are sums in f64 in a fixed
//! order: the same on every instruction set and number of threads.
//!
//! To add a figure: a field in [`report`], and a line in `text.rs`. To add a default cast: a row of
//! [`CASTS`].

mod measure;
pub mod recommend;
pub mod report;
mod source;
mod stats;
mod svg;
mod text;

use crate::checkpoint::header::show;
use crate::checkpoint::patterns::PatternArgs;
use crate::output::Output;
use anyhow::{Context as _, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use measure::{Buffers, measure};
use quarter::tensor::Cast;
use recommend::recommend;
use report::{Report, TensorReport};
use source::{Input, Tensor};
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use svg::{PANELS, svg};
pub use text::count;

/// What is tried if nothing is said: the granularities in use, each with the rule of an engine.
pub const CASTS: [&str; 10] = [
    "e4m3:tensor:te-current",
    "e5m2:tensor:te-current",
    "e4m3:row:torchao",
    "e4m3:128x128:te-block",
    "e4m3:1x128:te-block",
    "e4m3:1x32:te-mx",
    "e2m3:1x32:ocp-rceil",
    "e3m2:1x32:ocp-rceil",
    "e2m1:1x32:ocp-rceil",
    "e2m1:1x16:nvfp4",
];

/// Arguments of `quarter inspect`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
FILE: an .npy array (float64, float32, float16), a .safetensors file, a model's index or the \
directory of a model. Codes with scales are the values that they stand for, codes without are \
their own. A vector is one row; of more than two dimensions all but the last make rows.
amax: the largest finite magnitude. The histogram counts elements by power of two (2^e <= |x| < \
2^(e+1)) on a logarithmic scale; below it is what e5m2, e4m3 and e2m1 reach, if a scale brings \
amax to their largest number.
bits: of an element, its part of the scales included. SQNR: 10 log10(sum x^2 / sum (x - y)^2) of \
the finite elements, y what comes back. saturates: the share of the elements (zeros and NaN \
apart) that is more than half a step beyond the largest number (`quarter quantize` counts all \
that is beyond). flushes: the share of the same whose code is zero.
Recommended is, of the casts within 1 dB of the best 8-bit one that flush less than 0.1 % and \
saturate nothing, the one with the fewest bits, then the fewest scales, then the best SQNR; bf16 \
if there is none, or for Inf and NaN. It goes by numbers, not by roles: embeddings, norms and heads \
are better left as they are.
--json has file, tensors, skipped (name, dtype, reason). A tensor has name, dtype, scales (their \
granularity, of codes), shape, matrix (rows, columns), elements, zeros, nan, inf, amax, smallest, \
mean_abs, rms, range_log2, histogram (exponent, count), casts (cast, bits, groups, sqnr_db, \
saturated, saturated_share, flushed, flushed_share, spoilt: finite elements that are not when they \
come back), recommended (cast, reason). What is not defined is null, an infinite number \"inf\".")]
pub struct Args {
    /// What to read
    #[arg(value_name = "FILE")]
    input: PathBuf,
    /// Print one JSON document instead
    #[arg(long)]
    json: bool,
    /// Draw the histograms, a panel for each of the first 48 tensors
    #[arg(long, value_name = "OUT.svg")]
    svg: Option<PathBuf>,
    #[command(flatten)]
    patterns: PatternArgs,
    /// The casts to try instead, with commas between: FORMAT:GRANULARITY:RULE
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    casts: Vec<Cast>,
    /// Columns of the terminal
    #[arg(long, value_name = "N", default_value_t = 80)]
    #[arg(value_parser = clap::value_parser!(u16).range(40..=400))]
    width: u16,
    /// The most threads to use; 0 for one a processor
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) threads: usize,
}

/// Inspects the file or the model; gives what is printed.
///
/// # Errors
/// What is wrong, with the file or the tensor it is wrong with. Then there is no picture.
pub fn run(args: &Args) -> anyhow::Result<String> {
    let casts = if args.casts.is_empty() {
        CASTS.iter().map(|cast| cast.parse()).collect::<Result<Vec<Cast>, _>>()?
    } else {
        args.casts.clone()
    };
    let input = Input::open(&args.input)?;
    let file = args.input.display().to_string();
    let picture = match &args.svg {
        Some(path) => {
            let same = fs::canonicalize(path)
                .is_ok_and(|path| fs::canonicalize(&args.input).is_ok_and(|input| input == path));
            ensure!(!same, "cannot write {}: it is the input", path.display());
            Some((Output::create(path)?, path))
        }
        None => None,
    };
    let (tensors, skipped) = input.tensors(&args.patterns).with_context(|| file.clone())?;
    let mut report = Report { file: file.clone(), tensors: Vec::new(), skipped };
    let bar = progress(&tensors);
    let mut buffers = Buffers::default();
    for mut tensor in tensors {
        bar.set_message(tensor.name.escape_debug().to_string());
        let found = inspect(&mut tensor, &casts, &mut buffers);
        report
            .tensors
            .push(found.with_context(|| format!("{file}: tensor {}", show(&tensor.name)))?);
        bar.inc(tensor.elements() as u64);
    }
    bar.finish_and_clear();
    if let Some((mut output, path)) = picture {
        let writing = || format!("cannot write {}", path.display());
        output.write_all(svg(&report)?.as_bytes()).with_context(writing)?;
        output.finish()?;
        let all = report.tensors.len();
        if all > PANELS {
            eprintln!(
                "{}: the first {PANELS} of {all} tensors; --include chooses others",
                path.display()
            );
        }
    }
    if args.json {
        return Ok(serde_json::to_string_pretty(&report)?);
    }
    Ok(text::text(&report, args.width.into()))
}

fn inspect(
    tensor: &mut Tensor<'_>,
    casts: &[Cast],
    buffers: &mut Buffers,
) -> anyhow::Result<TensorReport> {
    let (stats, casts) = measure(tensor, casts, buffers)?;
    let finite = stats.finite();
    let mean = |sum: f64| (finite > 0).then(|| sum / finite as f64);
    let smallest = stats.smallest.is_finite().then_some(stats.smallest);
    Ok(TensorReport {
        name: tensor.name.clone(),
        dtype: tensor.dtype.clone(),
        scales: tensor.scales.clone(),
        shape: tensor.shape.clone(),
        matrix: tensor.matrix(),
        elements: stats.elements,
        zeros: stats.zeros,
        nan: stats.nan,
        inf: stats.inf,
        amax: (finite > 0).then_some(stats.amax),
        smallest,
        mean_abs: mean(stats.sum_abs),
        rms: mean(stats.sum_squares).map(f64::sqrt),
        range_log2: smallest.map(|smallest| (stats.amax / smallest).log2()),
        histogram: stats.histogram(),
        recommended: recommend(&stats, &casts),
        casts,
    })
}

fn progress(tensors: &[Tensor<'_>]) -> ProgressBar {
    let elements = tensors.iter().map(|tensor| tensor.elements() as u64).sum();
    let bar = ProgressBar::new(elements); // on stderr, if that is a terminal
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent} % {eta} {msg}") {
        bar.set_style(style);
    }
    bar
}
