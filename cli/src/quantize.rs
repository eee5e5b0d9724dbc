//! `quarter quantize`: values to codes and scales.

use crate::array::Array;
use crate::checkpoint::convert::{convert, metadata};
use crate::checkpoint::encode::{
    Quantize, code_bytes, codes_dtype, recipe_cast, scale_bytes, scale_dtype, single_bytes,
};
use crate::checkpoint::header::{Dtype, Header, TensorInfo, Texts, show};
use crate::checkpoint::layout::CAST;
use crate::checkpoint::patterns::{PatternArgs, Patterns};
use crate::checkpoint::pipeline::{Copy, Plan, Target, Task, verify};
use crate::checkpoint::source::{At, Source};
use crate::checkpoint::{config, layout};
use crate::output::Output;
use anyhow::{Context as _, bail, ensure};
use quarter::slice::QuantStats;
use quarter::tensor::{Cast, QuantizeOptions, Quantized, Scales, StatsLevel, quantize};
use quarter::{FormatId, Granularity, RandomStream};
use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Arguments of `quarter quantize`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
SPEC is FORMAT:GRANULARITY:RULE and, unless it is to nearest even, :ROUNDING, as e4m3:1x128:te-block, \
e5m2:tensor:te-current, e4m3:row:torchao-pow2, e4m3:128x128:deepseek, e2m1:1x16:nvfp4.
IN.npy: a float64, float32 or float16 array [M, K]. OUT is a safetensors file with codes [M, K], \
scale (what values were multiplied by, where the rule has it), scale_inv (what codes are multiplied \
by; with global_scale_inv for nvfp4); its metadata has cast, format and source.
IN: a .safetensors file, a model's index or the directory of a model. OUT is then a file or a \
directory: as many shards, with an index and a config.json with quantization_config. Quantized are \
matrices named *.weight, but no embeddings, norms, output heads and routers; --include chooses others. \
128x128 casts to e4m3 have DeepSeek-V3's layout. A directory OUT that holds a model which quarter did \
not make is refused.
Shards appear when they are complete and have been read back. After a kill, the same command goes on.")]
#[command(group(clap::ArgGroup::new("how").required(true)))]
pub struct Args {
    /// What to read
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// What to write
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// Format, granularity, scale rule and rounding
    #[arg(long, value_name = "SPEC", group = "how")]
    cast: Option<Cast>,
    /// A recipe: its cast of weights in the forward product
    #[arg(long, value_name = "NAME", group = "how")]
    recipe: Option<String>,
    /// What an array's values are taken as (bf16: rounded to it first; some rules look at the type)
    #[arg(long, value_name = "TYPE")]
    source: Option<FormatId>,
    /// Two 4-bit codes a byte, the element of even index in the low half (F4)
    #[arg(long)]
    packed: bool,
    /// Seed of stochastic rounding; equal seeds give equal bits
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    patterns: PatternArgs,
    /// The most threads to use; 0 for one a processor
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) threads: usize,
}

/// Quantizes the array, the file or the model; gives the line that is printed.
///
/// # Errors
/// What is wrong, with the file or the tensor it is wrong with.
pub fn run(args: &Args) -> anyhow::Result<String> {
    let cast = match (&args.cast, &args.recipe) {
        (Some(cast), _) => *cast,
        (None, Some(recipe)) => recipe_cast(recipe)?,
        (None, None) => bail!("--cast or --recipe is needed"),
    };
    cast.check()?;
    if args.input.extension().is_some_and(|extension| extension == "npy") {
        ensure!(!args.patterns.is_given(), "--include and --exclude are for models");
        return array(args, &cast);
    }
    ensure!(args.source.is_none(), "--source is for arrays: a model's tensors say what they are");
    model(args, &cast)
}

fn model(args: &Args, cast: &Cast) -> anyhow::Result<String> {
    let label = args.input.display();
    let patterns = args.patterns.weights()?;
    let source = Source::open(&args.input)?;
    if let Some(settings) = source.config.as_ref().and_then(config::quantization) {
        let method = settings.get("quant_method").and_then(|method| method.as_str());
        bail!(
            "{label} is quantized (quant_method {:?}): dequantize it first",
            method.unwrap_or("")
        );
    }
    if let Some(at) = source.tensors().find(|at| layout::scale_of(&source, *at).is_some()) {
        let name = source.tensor(at).0;
        bail!("{label} is quantized ({name:?} has a scale): dequantize it first");
    }
    let mut settings = format!("quantize {} {}", cast, patterns.text());
    if args.packed {
        settings.push_str(" packed");
    }
    if args.seed != 0 {
        settings.push_str(&format!(" seed={}", args.seed));
    }
    let (mut plans, mut count, mut skipped) = (Vec::new(), 0, Vec::new());
    for (number, shard) in source.shards.iter().enumerate() {
        let inputs = BTreeSet::from([number]);
        let mut texts = metadata(&source, number, &inputs, &settings, false)?;
        let (mut tasks, mut sources) = (Vec::new(), BTreeSet::new());
        for tensor in 0..shard.header.tensors.len() {
            let input = At { shard: number, tensor };
            match chosen(&source, input, &patterns) {
                Some(dtype) => {
                    sources.insert(dtype.to_string().to_lowercase());
                    count += 1;
                    tasks.push(quantized(&source, input, cast, args)?);
                }
                None => {
                    let (name, info) = source.tensor(input);
                    if let (Some(module), 2) = (name.strip_suffix(".weight"), info.shape.len()) {
                        skipped.push(module.to_owned());
                    }
                    let (name, dtype, shape) = (name.to_owned(), info.dtype, info.shape.clone());
                    let targets = vec![Target { name, dtype, shape }];
                    tasks.push(Task { input, targets, work: Box::new(Copy) });
                }
            }
        }
        describe(&mut texts, cast, sources);
        plans.push(Plan::new(shard.name.clone(), texts, inputs, tasks)?);
    }
    ensure!(count > 0, "{label}: no tensor is to be quantized{}", why(&source, &patterns));
    skipped.sort();
    let config =
        source.config.as_ref().map(|config| config::with_quantization(config, cast, &skipped));
    let done = convert(&source, &plans, &args.output, config.as_ref())?;
    Ok(format!("{cast} tensors={count} {done}"))
}

/// The type of a matrix that is to be quantized.
fn chosen(source: &Source, at: At, patterns: &Patterns) -> Option<Dtype> {
    let (name, info) = source.tensor(at);
    let matrix = info.shape.len() == 2 && !info.shape.contains(&0);
    (matrix && Quantize::takes(info.dtype) && patterns.choose(name)).then_some(info.dtype)
}

/// What a shard's metadata says of its codes.
fn describe(texts: &mut Texts, cast: &Cast, mut sources: BTreeSet<String>) {
    let Some(first) = sources.pop_first() else { return };
    texts.insert(CAST.to_owned(), cast.to_string());
    // A model's format is its framework's name, without which engines do not load it.
    texts.entry("format".to_owned()).or_insert_with(|| cast.format.to_string());
    if sources.is_empty() {
        texts.insert("source".to_owned(), first);
    } else {
        texts.remove("source"); // no one type holds for all
    }
}

/// Why patterns choose nothing, after "no tensor is to be quantized".
fn why(source: &Source, patterns: &Patterns) -> String {
    let named =
        source.tensors().map(|at| source.tensor(at)).filter(|(name, _)| patterns.choose(name));
    let Some((name, info)) = named.max_by_key(|(_, info)| info.shape.len()) else {
        return "; --include GLOB chooses some".to_owned();
    };
    let (name, TensorInfo { dtype, shape, .. }) = (show(name), info);
    if shape.len() != 2 || shape.contains(&0) {
        return format!(": only matrices are, and {name} has shape {shape:?}");
    }
    format!(": only F64, F32, F16 and BF16 are, and {name} is of {dtype}")
}

fn quantized(source: &Source, input: At, cast: &Cast, args: &Args) -> anyhow::Result<Task> {
    let (name, info) = source.tensor(input);
    let [rows, cols] = info.shape[..] else { bail!("{name:?} is no matrix") };
    // By its name: the words do not depend on what else is in the file.
    let number = crc32fast::hash(name.as_bytes());
    let stream = RandomStream { seed: args.seed, tensor: number, step: 0 };
    let work = Quantize { cast: *cast, dtype: info.dtype, rows, cols, packed: args.packed, stream };
    let targets = work.targets(name).with_context(|| format!("tensor {name:?}"))?;
    Ok(Task { input, targets, work: Box::new(work) })
}

/// Scales of an array without elements: a header of some bytes may ask for any number.
const MOST_SCALES: usize = 1 << 20;

fn array(args: &Args, cast: &Cast) -> anyhow::Result<String> {
    let label = args.input.display();
    let array = Array::read(&args.input, "quantized").with_context(|| label.to_string())?;
    let array = match args.source {
        Some(source) => array.taken_as(source).with_context(|| label.to_string())?,
        None => array,
    };
    let (rows, cols) = (array.rows, array.cols);
    if rows == 0 || cols == 0 {
        let (high, wide) = cast.granularity.grid(rows, cols);
        let scales = high.saturating_mul(wide);
        ensure!(
            scales <= MOST_SCALES,
            "{label}: shape ({rows}, {cols}) has 0 elements and {scales} scales for {}, \
             and without elements {MOST_SCALES} are the most",
            cast.granularity
        );
    }
    let stream = RandomStream { seed: args.seed, tensor: 0, step: 0 };
    let options = QuantizeOptions::new().random(stream).stats(StatsLevel::Tensor);
    let codes = codes_dtype(cast, args.packed, cols)?; // before the work
    let quantized = quantize(array.matrix()?, cast, &options)?;
    let QuantStats { amax, saturated, flushed, nan } =
        quantized.stats().copied().unwrap_or_default();
    let metadata = [
        (CAST, cast.to_string()),
        ("format", cast.format.to_string()),
        ("source", array.elements.format().to_string()),
    ];
    let metadata = metadata.map(|(key, text)| (key.to_owned(), text)).into();
    drop(array);
    write(quantized, cast, codes, metadata, &args.output)?;
    Ok(format!(
        "{cast} shape=({rows}, {cols}) amax={amax:?} saturated={saturated} flushed={flushed} nan={nan}"
    ))
}

/// Writes codes and scales.
fn write(
    quantized: Quantized,
    cast: &Cast,
    codes: Dtype,
    metadata: Texts,
    path: &Path,
) -> anyhow::Result<()> {
    let (rows, cols) = (quantized.rows(), quantized.cols());
    let (high, wide) = cast.granularity.grid(rows, cols);
    let shape = match cast.granularity {
        Granularity::Tensor => vec![1],
        Granularity::Row => vec![high],
        Granularity::Col => vec![wide],
        Granularity::Block { .. } => vec![high, wide],
    };
    let (bytes, scales) = code_bytes(quantized, codes == Dtype::F4)?;
    let mut tensors = vec![("codes", codes, vec![rows, cols], bytes)];
    if let Scales::F32 { scale: Some(scale), .. } = &scales {
        tensors.push(("scale", Dtype::F32, shape.clone(), single_bytes(scale)));
    }
    let (scale_inv, global) = scale_bytes(scales);
    tensors.push(("scale_inv", scale_dtype(cast), shape, scale_inv));
    if let Some(global) = global {
        tensors.push(("global_scale_inv", Dtype::F32, vec![1], global));
    }
    let entries =
        tensors.iter().map(|(name, dtype, shape, _)| ((*name).to_owned(), *dtype, shape.clone()));
    let header = Header::place(metadata, entries)?;
    let writing = || format!("cannot write {}", path.display());
    let mut output = Output::create(path)?;
    output.write_all(&header.bytes()?).with_context(writing)?;
    let mut sums = Vec::new();
    for (name, _) in &header.tensors {
        let bytes = tensors.iter().find(|tensor| tensor.0 == name).map(|tensor| &tensor.3);
        let bytes = bytes.map_or(&[][..], |bytes| bytes);
        output.write_all(bytes).with_context(writing)?;
        sums.push(crc32fast::hash(bytes));
    }
    verify(output.file(), &header, &sums).with_context(writing)?;
    output.finish_durably()
}
