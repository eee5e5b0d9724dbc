//! The command line of the [`quarter`] crate: what the binary `quarter` runs.
//!
//! ```text
//! quarter formats                          limits and epsilons of every format
//! quarter formats --codes e4m3             every code of a format, and its value
//! quarter units                            matrix units of chips, and how well each is known
//! quarter cast IN.npy OUT.npy --to e4m3    an array to another format, one rounding an element
//! quarter quantize IN OUT --cast e4m3:128x128:deepseek     an array or a model to codes and scales
//! quarter dequantize IN OUT --to bf16      the way back
//! quarter gemm A B -o D.npy                a product: time, error, bound; --unit, --selftest
//! quarter inspect FILE                     ranges, what casts lose, which one to take
//! quarter report                           errors measured, against bounds and theory
//! quarter train                            a GPT under several recipes side by side
//! quarter bench                            what this machine can do, and the share that is reached
//! ```
//!
//! The exit status is 0 when all is done, 1 on failure (`quarter: ...` on stderr, and no output
//! file) and 2 for a command line that is not understood. It is a library so that tests and fuzz
//! targets reach [`npy`] and [`checkpoint`]; programs use `quarter` itself.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod array;
pub mod bench;
pub mod cast;
pub mod checkpoint;
pub mod dequantize;
mod draw;
pub mod formats;
pub mod gemm;
pub mod inspect;
pub mod npy;
pub mod output;
pub mod quantize;
pub mod report;
pub mod train;
pub mod units;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use quarter::Isa;
use std::io::{self, Write as _};
use std::thread::available_parallelism;

/// FP8, MX and BF16 number formats, exact in every bit.
///
/// The environment variable QUARTER_ISA names the instruction set to use instead of the best one
/// (scalar, avx2, avx512, avx512bf16, neon); the bits are the same.
#[derive(Debug, Parser)]
#[command(name = "quarter", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the limits of every format, or every code of one.
    Formats(formats::Args),
    /// Show the matrix units of chips, and how well each is known.
    Units(units::Args),
    /// Convert an .npy array to another format, rounding each element once.
    Cast(cast::Args),
    /// Quantize an array, a safetensors file or a model: codes and scales.
    Quantize(quantize::Args),
    /// Turn codes and scales of a safetensors file or a model into values.
    Dequantize(dequantize::Args),
    /// Multiply two matrices under a recipe or as a chip's unit does; or check this machine's bits.
    Gemm(Box<gemm::Args>),
    /// Show the range of tensors, what casts lose of them, and which cast to take.
    Inspect(inspect::Args),
    /// Measure errors of casts and products, and compare them with proven bounds and theory.
    Report(report::Args),
    /// Train a small GPT under several recipes side by side, and compare.
    Train(Box<train::Args>),
    /// Measure what this machine can do, and what share of it each kernel reaches.
    Bench(bench::Args),
}

/// Runs a command line.
///
/// # Errors
/// What went wrong, with the file or the flag it went wrong with.
pub fn run(cli: &Cli) -> anyhow::Result<()> {
    check_isa()?;
    let mut text = Vec::new();
    match &cli.command {
        Command::Formats(args) => formats::run(args, &mut text)?,
        Command::Units(args) => units::run(args, &mut text)?,
        Command::Cast(args) => writeln!(text, "{}", in_pool(args.threads, || cast::run(args))??)?,
        Command::Quantize(args) => {
            writeln!(text, "{}", in_pool(args.threads, || quantize::run(args))??)?;
        }
        Command::Dequantize(args) => {
            writeln!(text, "{}", in_pool(args.threads, || dequantize::run(args))??)?;
        }
        Command::Gemm(args) => writeln!(text, "{}", in_pool(args.threads, || gemm::run(args))??)?,
        Command::Inspect(args) => {
            writeln!(text, "{}", in_pool(args.threads, || inspect::run(args))??)?;
        }
        Command::Report(args) => write!(text, "{}", in_pool(args.threads, || report::run(args))??)?,
        Command::Train(args) => writeln!(text, "{}", in_pool(args.threads, || train::run(args))??)?,
        Command::Bench(args) => in_pool(args.threads, || bench::run(args))??,
    }
    let mut stdout = io::stdout().lock();
    stdout.write_all(&text).and_then(|()| stdout.flush()).context("standard output")
}

/// Runs in a pool of at most so many threads, none more than the machine has; 0 asks for those.
/// (The library uses the pool it is called in, and builds none.)
fn in_pool<T: Send>(threads: usize, run: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
    let cores = available_parallelism().map_or(1, usize::from);
    let threads = if threads == 0 { cores } else { threads.min(cores) };
    if threads == 1 {
        return Ok(run());
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    Ok(pool.with_context(|| format!("cannot start {threads} threads"))?.install(run))
}

/// Whether a command failed because nobody reads its output any more, as under `| head`.
#[must_use]
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kind = error.root_cause().downcast_ref::<io::Error>().map(io::Error::kind);
    kind == Some(io::ErrorKind::BrokenPipe)
}

/// The library ignores a QUARTER_ISA that this processor lacks; somebody at a terminal is told.
fn check_isa() -> anyhow::Result<()> {
    Isa::from_environment().map(drop).with_context(|| {
        let names: Vec<_> = Isa::available().map(Isa::name).collect();
        format!("environment variable QUARTER_ISA (this processor has {})", names.join(", "))
    })
}
