//! What the command line of `quarter train` says, and the settings that follow from it.

use super::data::Text;
use super::gpt::Size;
use super::settings::{Named, Settings};
use anyhow::{Context as _, ensure};
use quarter::nn::Skip;
use std::fs;
use std::path::PathBuf;
use std::str::FromStr;

/// Rows that validate at the end, unless the command line says otherwise; along the way a quarter.
const VALIDATED: usize = 256;

/// Layers that a message names: those of a block.
const SHOWN: usize = 4;

/// Train a byte-level GPT under several recipes from the same seed, and compare.
///
/// Numbers do not depend on --threads or the instruction set. Ctrl-C saves.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// What to learn: any file [default: the sources of this project].
    #[arg(long, value_name = "FILE")]
    pub(super) text: Option<PathBuf>,

    /// Recipes, separated by commas: names of presets or whole recipes; RECIPE@UNIT[:PROMOTE] puts
    /// one on a matrix unit, with PROMOTE elements (or `off`) between promotions to f32.
    #[arg(long, value_delimiter = ',', default_value = "f32,bf16,current,delayed,blockwise,mxfp8")]
    pub(super) recipe: Vec<String>,

    /// Put all recipes that cast on this matrix unit: all three passes go through it.
    #[arg(long, value_name = "UNIT[:PROMOTE]")]
    pub(super) unit: Option<String>,

    /// Layers in bf16 whatever the recipe, separated by commas; one that ends in * is any that
    /// begins so, `none` is none.
    #[arg(long, value_delimiter = ',', default_value = "head")]
    pub(super) skip: Vec<String>,

    /// nano (4,4,128,128), baby (6,6,384,256), or LAYERS,HEADS,WIDTH,CONTEXT.
    #[arg(long, default_value = "nano")]
    pub(super) model: Model,

    /// Rows that the last validation reads; those along the way read a quarter of them.
    #[arg(long, value_name = "ROWS", default_value_t = VALIDATED)]
    pub(super) val_rows: usize,

    /// Rows of a step, of each rank and micro-batch [default: 16, of baby 8].
    #[arg(long)]
    pub(super) batch: Option<usize>,

    /// Micro-batches of a step: their gradients are added up in f32.
    #[arg(long, default_value_t = 1)]
    pub(super) accumulate: usize,

    /// Ranks, each with rows of its own, whose gradients are added up.
    #[arg(long, default_value_t = 1)]
    pub(super) ranks: usize,

    /// What ranks send gradients in: f32 or bf16.
    #[arg(long, default_value = "f32")]
    pub(super) wire: String,

    /// Steps.
    #[arg(long, default_value_t = 150)]
    pub(super) steps: u64,

    /// The largest learning rate.
    #[arg(long, default_value_t = 1e-3)]
    pub(super) lr: f32,

    /// Of the weights, the rows and stochastic rounding.
    #[arg(long, default_value_t = 0)]
    pub(super) seed: u64,

    /// Keep the optimizer's moments in bf16, as DeepSeek-V3 does.
    #[arg(long)]
    pub(super) bf16_moments: bool,

    /// Keep no f32 masters: weights are bf16, rounded stochastically.
    #[arg(long)]
    pub(super) bf16_weights: bool,

    /// Threads; 0 takes all.
    #[arg(long, default_value_t = 0)]
    pub threads: usize,

    /// Where to write metrics.jsonl, scales.jsonl, loss.svg, scales.svg and what --resume reads.
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,

    /// Save every so many steps too, not only at the end [default: a tenth of them].
    #[arg(long, value_name = "STEPS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) save_every: Option<u64>,

    /// Stop after so many steps of the training, and save.
    #[arg(long, value_name = "STEP")]
    pub(super) stop_at: Option<u64>,

    /// Go on with the training in this folder, by its own settings.
    #[arg(long, value_name = "DIR", conflicts_with_all = [
        "text", "recipe", "unit", "skip", "model", "batch", "accumulate", "ranks", "wire", "steps",
        "lr", "seed", "val_rows", "bf16_moments", "bf16_weights", "out",
    ])]
    pub(super) resume: Option<PathBuf>,

    /// Print so many bytes that each model writes in the end.
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub(super) sample: usize,

    /// No progress on standard error.
    #[arg(long)]
    pub(super) quiet: bool,
}

/// A size, and the rows that go with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Model {
    pub(crate) size: Size,
    pub(crate) batch: usize,
}

impl FromStr for Model {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (numbers, batch) = match text {
            "nano" => ([4, 4, 128, 128], 16),
            "baby" => ([6, 6, 384, 256], 8),
            _ => {
                let numbers: Result<Vec<usize>, _> = text.split(',').map(str::parse).collect();
                let numbers = numbers.ok().and_then(|numbers| numbers.try_into().ok());
                let what = "it is not nano, baby or LAYERS,HEADS,WIDTH,CONTEXT";
                (numbers.context(what)?, 16)
            }
        };
        let [layers, heads, width, context] = numbers;
        Ok(Self { size: Size { layers, heads, width, context }, batch })
    }
}

impl Args {
    /// The settings of a new training, and its text.
    ///
    /// # Errors
    /// What is wrong, with the numbers.
    pub(super) fn settings(&self) -> anyhow::Result<(Settings, Text)> {
        let named = |text: &String| Named::new(text, self.unit.as_deref());
        let size = self.model.size;
        let mut settings = Settings {
            recipes: self.recipe.iter().map(named).collect::<anyhow::Result<_>>()?,
            size,
            batch: self.batch.unwrap_or(self.model.batch),
            accumulate: self.accumulate,
            ranks: self.ranks,
            wire: self.wire.clone(),
            steps: self.steps,
            lr: self.lr,
            seed: self.seed,
            skip: self.skip.iter().filter(|name| *name != "none").cloned().collect(),
            bf16_moments: self.bf16_moments,
            bf16_weights: self.bf16_weights,
            validate: (self.steps / 10).max(1),
            val_rows: self.val_rows,
            text: None,
            text_bytes: (0, 0),
        };
        settings.check()?;
        Self::check_skip(&settings)?;
        let text = Text::new(self.text.as_deref(), size.context)?;
        if let Some(path) = &self.text {
            // Another process may be in another folder when it goes on.
            let path =
                fs::canonicalize(path).with_context(|| format!("text {}", path.display()))?;
            let path = path.to_str().context("the name of the text is not UTF-8")?;
            settings.text = Some(path.to_owned());
        }
        settings.text_bytes = (text.bytes().len() as u64, text.checksum());
        Ok((settings, text))
    }

    /// Every pattern of layers is of one at least.
    fn check_skip(settings: &Settings) -> anyhow::Result<()> {
        let layers = settings.size.linears();
        for pattern in &settings.skip {
            let skip = Skip::new([pattern.as_str()]);
            ensure!(
                layers.iter().any(|layer| skip.has(layer)),
                "--skip {pattern}: no layer is called so; there are head and {}{}",
                layers[..layers.len().min(SHOWN)].join(", "),
                if settings.size.layers > 1 { ", and so on in each block" } else { "" }
            );
        }
        Ok(())
    }

    /// Flags that go together.
    ///
    /// # Errors
    /// If it is to save and has no folder.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let folder = self.out.is_some() || self.resume.is_some();
        ensure!(folder || self.save_every.is_none(), "--save-every needs a folder: --out DIR");
        Ok(())
    }
}
