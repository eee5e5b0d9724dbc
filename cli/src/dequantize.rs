//! `quarter dequantize`: codes and scales to values.

use crate::checkpoint::convert::{convert, metadata};
use crate::checkpoint::decode::{Dequantize, To};
use crate::checkpoint::layout::{self, Hints, Layout};
use crate::checkpoint::patterns::{PatternArgs, Patterns};
use crate::checkpoint::pipeline::{Copy, Plan, Target, Task};
use crate::checkpoint::source::{At, Source};
use crate::checkpoint::{config, to_npy};
use anyhow::{Context as _, ensure};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::PathBuf;

/// Arguments of `quarter dequantize`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The value of an element is fl(code * scale_inv) in f32, then rounded to nearest even for bf16.
IN: a .safetensors file, a model's index (model.safetensors.index.json) or the directory of a model. \
OUT is then a file or a directory: as many shards, with an index and with a config.json without \
quantization_config. Tensors that hold no codes are copied as they are. DeepSeek-V3's layout \
(weight_scale_inv), compressed-tensors' and ModelOpt's (weight_scale), torchao's and MX are understood. \
A directory OUT that holds a model which quarter did not make is refused.
OUT.npy: for a file that `quarter quantize` made of an array. It holds float32; with --to bf16 \
its values are those of bf16, for which NumPy has no type.
Shards appear when they are complete and have been read back. After a kill, the same command goes on.")]
pub struct Args {
    /// What to read
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// What to write
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// What the values become
    #[arg(long, value_name = "TYPE", default_value = "bf16")]
    to: To,
    #[command(flatten)]
    patterns: PatternArgs,
    /// Take codes that have no scale for values
    #[arg(long)]
    unscaled: bool,
    /// The most threads to use; 0 for one a processor
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) threads: usize,
}

/// Converts the file or the model; gives the line that is printed.
///
/// # Errors
/// What is wrong, with the file or the tensor it is wrong with.
pub fn run(args: &Args) -> anyhow::Result<String> {
    let label = args.input.display().to_string();
    let patterns = args.patterns.all()?;
    let source = Source::open(&args.input)?;
    let found = layouts(&source, args, &patterns).with_context(|| label.clone())?;
    let to = args.to;
    if args.output.extension().is_some_and(|extension| extension == "npy") {
        let layout = source.find("codes").and_then(|at| found.get(&at));
        let layout = layout.with_context(|| {
            format!(
                "{label} holds no codes of an array: {} can hold no model",
                args.output.display()
            )
        })?;
        let shape = to_npy::write(&source, layout, to, &args.output)?;
        return Ok(format!("{} shape={shape} from {}", to.name(), layout.format));
    }
    ensure!(!found.is_empty(), "{label}: no tensor holds codes that are to be dequantized");
    let count = found.len();
    let settings = format!("dequantize to={} {}", to.name(), patterns.text());
    // Codes that stay want what is said about them.
    let left = source
        .tensors()
        .any(|at| !found.contains_key(&at) && layout::scale_of(&source, at).is_some());
    let plans = plans(&source, found, &settings, to, left)?;
    let config = source.config.as_ref().map(|config| {
        if left { config.clone() } else { config::without_quantization(config, torch_name(to)) }
    });
    let done = convert(&source, &plans, &args.output, config.as_ref())?;
    Ok(format!("{} tensors={count} {done}", to.name()))
}

const fn torch_name(to: To) -> &'static str {
    match to {
        To::Bf16 => "bfloat16",
        To::F32 => "float32",
    }
}

/// The tensors to dequantize.
fn layouts(
    source: &Source,
    args: &Args,
    patterns: &Patterns,
) -> anyhow::Result<HashMap<At, Layout>> {
    let mut hints = Hints::of(source.config.as_ref()).context("config.json")?;
    hints.unscaled = args.unscaled;
    let mut found = HashMap::new();
    // A scale may look like codes: E4M3 beside NVFP4's.
    let mut scales = HashSet::new();
    for at in source.tensors() {
        scales.extend(layout::scale_of(source, at));
    }
    for at in source.tensors() {
        let (name, _) = source.tensor(at);
        let chosen = !scales.contains(&at) && patterns.choose(name);
        if chosen && let Some(layout) = layout::find(source, at, &hints)? {
            found.insert(at, layout);
        }
    }
    Ok(found)
}

/// One plan a shard.
fn plans(
    source: &Source,
    mut found: HashMap<At, Layout>,
    settings: &str,
    to: To,
    left: bool,
) -> anyhow::Result<Vec<Plan>> {
    let dropped: HashSet<At> = found.values().flat_map(|l| l.drop.iter().copied()).collect();
    let mut plans = Vec::new();
    for (number, shard) in source.shards.iter().enumerate() {
        let (mut tasks, mut inputs) = (Vec::new(), BTreeSet::from([number]));
        for (tensor, (name, info)) in shard.header.tensors.iter().enumerate() {
            let input = At { shard: number, tensor };
            if let Some(layout) = found.remove(&input) {
                inputs.extend(layout.drop.iter().map(|at| at.shard));
                let (name, shape) = (layout.name.clone(), layout.shape.clone());
                let targets = vec![Target { name, dtype: to.dtype(), shape }];
                let work = Box::new(Dequantize { layout, to });
                tasks.push(Task { input, targets, work });
            } else if !dropped.contains(&input) {
                let target =
                    Target { name: name.clone(), dtype: info.dtype, shape: info.shape.clone() };
                tasks.push(Task { input, targets: vec![target], work: Box::new(Copy) });
            }
        }
        let metadata = metadata(source, number, &inputs, settings, left)?;
        let plan = Plan::new(shard.name.clone(), metadata, inputs, tasks);
        plans.push(plan.with_context(|| shard.label.clone())?);
    }
    Ok(plans)
}
