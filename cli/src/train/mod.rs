//! `quarter train`: a small byte-level GPT, trained under several recipes side by side.
//!
//! ```text
//!  Settings ──► Run (one a recipe) ──► Replica (one a rank): Gpt, AdamW, RecipeState
//!  Text ──batch of (seed, step, row)──►   step  ──► StepRecord ──► show: progress, charts, table
//!                                          └─────► save: train.json, train.safetensors
//! ```
//!
//! All recipes begin with the same weights and read the same rows at the same steps, so what differs
//! between them is the recipe. No number depends on threads or instruction set, and a training that
//! is interrupted and resumed ends in the same bits.

pub mod data;
pub mod gpt;
pub mod replica;
pub mod run;
pub mod save;
pub mod settings;
pub mod show;

use crate::output::Output;
use anyhow::{Context as _, bail, ensure};
use data::Text;
use gpt::Size;
use run::Run;
use settings::{Named, Settings};
use show::metrics::{self, Metrics};
use show::progress::Progress;
use show::table::{Baselines, summary_table};
use show::{ScaleRecord, StepRecord, Summary, chart, svg};
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Rows that validate at the end, unless the command line says otherwise; along the way a quarter.
const VALIDATED: usize = 256;
/// Columns and lines of the chart.
const CHART: (usize, usize) = (100, 16);
/// Where an interrupted training is saved if no folder was named.
const FOLDER: &str = "quarter-train";

/// Train a byte-level GPT under several recipes from the same seed, and compare.
///
/// Numbers do not depend on --threads or the instruction set. Ctrl-C saves.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// What to learn: any file [default: the sources of this project].
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,

    /// Recipes, separated by commas: names of presets or whole recipes; RECIPE@UNIT[:PROMOTE] puts
    /// one on a matrix unit, with PROMOTE elements (or `off`) between promotions to f32.
    #[arg(long, value_delimiter = ',', default_value = "f32,bf16,current,delayed,blockwise,mxfp8")]
    recipe: Vec<String>,

    /// Put all recipes that cast on this matrix unit: all three passes go through it.
    #[arg(long, value_name = "UNIT[:PROMOTE]")]
    unit: Option<String>,

    /// Layers in bf16 whatever the recipe, separated by commas; one that ends in * is any that
    /// begins so, `none` is none.
    #[arg(long, value_delimiter = ',', default_value = "head")]
    skip: Vec<String>,

    /// nano (4,4,128,128), baby (6,6,384,256), or LAYERS,HEADS,WIDTH,CONTEXT.
    #[arg(long, default_value = "nano")]
    model: Model,

    /// Rows that the last validation reads; those along the way read a quarter of them.
    #[arg(long, value_name = "ROWS", default_value_t = VALIDATED)]
    val_rows: usize,

    /// Rows of a step, of each rank and micro-batch [default: 16, of baby 8].
    #[arg(long)]
    batch: Option<usize>,

    /// Micro-batches of a step: their gradients are added up in f32.
    #[arg(long, default_value_t = 1)]
    accumulate: usize,

    /// Ranks, each with rows of its own, whose gradients are added up.
    #[arg(long, default_value_t = 1)]
    ranks: usize,

    /// What ranks send gradients in: f32 or bf16.
    #[arg(long, default_value = "f32")]
    wire: String,

    /// Steps.
    #[arg(long, default_value_t = 200)]
    steps: u64,

    /// The largest learning rate.
    #[arg(long, default_value_t = 1e-3)]
    lr: f32,

    /// Of the weights, the rows and stochastic rounding.
    #[arg(long, default_value_t = 0)]
    seed: u64,

    /// Keep the optimizer's moments in bf16, as DeepSeek-V3 does.
    #[arg(long)]
    bf16_moments: bool,

    /// Keep no f32 masters: weights are bf16, rounded stochastically.
    #[arg(long)]
    bf16_weights: bool,

    /// Threads; 0 takes all.
    #[arg(long, default_value_t = 0)]
    pub threads: usize,

    /// Where to write metrics.jsonl, loss.svg, scales.svg and what --resume reads.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Save every so many steps too, not only at the end [default: at the end alone].
    #[arg(long, value_name = "STEPS")]
    save_every: Option<u64>,

    /// Stop after so many steps of the training, and save.
    #[arg(long, value_name = "STEP")]
    stop_at: Option<u64>,

    /// Go on with the training in this folder, by its own settings.
    #[arg(long, value_name = "DIR", conflicts_with_all = [
        "text", "recipe", "unit", "skip", "model", "batch", "accumulate", "ranks", "wire", "steps",
        "lr", "seed", "val_rows", "bf16_moments", "bf16_weights", "out",
    ])]
    resume: Option<PathBuf>,

    /// Print so many bytes that each model writes in the end.
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    sample: usize,

    /// No progress on standard error.
    #[arg(long)]
    quiet: bool,
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
    fn settings(&self) -> anyhow::Result<(Settings, Text)> {
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
        let text = Text::new(self.text.as_deref(), size.context)?;
        if let Some(path) = &self.text {
            let path = path.to_str().context("the name of the text is not UTF-8")?;
            settings.text = Some(path.to_owned());
        }
        settings.text_bytes = (text.bytes().len() as u64, text.checksum());
        Ok((settings, text))
    }
}

/// A training under way.
struct Training {
    settings: Settings,
    text: Text,
    runs: Vec<Run>,
    /// Steps done.
    step: u64,
    out: Option<PathBuf>,
    /// Of all steps, those of earlier processes too.
    records: Vec<StepRecord>,
}

/// Trains, and gives the table and the charts.
///
/// # Errors
/// What went wrong, with the flag, the recipe or the file it went wrong with.
pub fn run(args: &Args) -> anyhow::Result<String> {
    let mut training = Training::new(args)?;
    let stop = stop_on_ctrl_c();
    let last = args.stop_at.unwrap_or(u64::MAX).min(training.settings.steps);
    let progress = if args.quiet {
        Progress::hidden()
    } else {
        let names: Vec<_> = training.runs.iter().map(|run| run.name.clone()).collect();
        progress_heading(&training);
        Progress::new(&names, training.settings.steps, training.step)
    };
    let mut metrics = training.metrics()?;
    while training.step < last && !stop.load(Ordering::Relaxed) {
        training.step_all(metrics.as_mut(), &progress)?;
        let due = args.save_every.is_some_and(|n| training.step.is_multiple_of(n.max(1)));
        if due && training.out.is_some() {
            training.save()?;
        }
    }
    progress.finish();
    let done = training.step == training.settings.steps;
    if !done && training.out.is_none() {
        training.out = Some(FOLDER.into());
        save::save_settings(Path::new(FOLDER), &training.settings)?;
        let mut metrics = Metrics::open(&Path::new(FOLDER).join("metrics.jsonl"), 0)?;
        training.records.iter().try_for_each(|record| metrics.write(record))?;
    }
    training.save()?;
    training.report(args.sample, done)
}

fn progress_heading(training: &Training) {
    let Settings { size, .. } = &training.settings;
    eprintln!(
        "{} layers, {} heads, width {}, context {}: {} parameters; {} tokens a step; {} bytes of {}",
        size.layers,
        size.heads,
        size.width,
        size.context,
        size.parameters(),
        training.settings.tokens(),
        training.text.bytes().len(),
        training.text.source,
    );
}

/// A flag that Ctrl-C sets; a second one ends the program.
fn stop_on_ctrl_c() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    // It fails where a handler is set already: then that one decides.
    let _ = ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    });
    stop
}

impl Training {
    fn new(args: &Args) -> anyhow::Result<Self> {
        let (settings, text, out) = match &args.resume {
            None => {
                let (settings, text) = args.settings()?;
                if let Some(out) = &args.out {
                    ensure!(
                        !save::is_there(out),
                        "{} holds a training: go on with it by --resume, or name another folder",
                        out.display()
                    );
                    save::save_settings(out, &settings)?;
                }
                (settings, text, args.out.clone())
            }
            Some(folder) => {
                let settings = save::load_settings(folder)?;
                let path = settings.text.as_ref().map(PathBuf::from);
                let text = Text::new(path.as_deref(), settings.size.context)?;
                let got = (text.bytes().len() as u64, text.checksum());
                ensure!(
                    got == settings.text_bytes,
                    "{} has {} bytes with checksum {:08x}, the training began with {} and {:08x}",
                    text.source,
                    got.0,
                    got.1,
                    settings.text_bytes.0,
                    settings.text_bytes.1
                );
                (settings, text, Some(folder.clone()))
            }
        };
        let runs = settings.recipes.iter().map(|named| Run::new(&settings, named, args.threads));
        let mut runs = runs.collect::<anyhow::Result<Vec<_>>>()?;
        let mut step = 0;
        let mut records = Vec::new();
        if let Some(folder) = &args.resume {
            step = save::load(folder, &settings, &mut runs)?;
            records = metrics::read(&folder.join("metrics.jsonl"))?;
            records.retain(|record| record.step <= step);
        }
        if let Some(stop) = args.stop_at
            && stop < step
        {
            bail!("--stop-at {stop}: {step} steps are done");
        }
        Ok(Self { settings, text, runs, step, out, records })
    }

    fn metrics(&self) -> anyhow::Result<Option<Metrics>> {
        let path = self.out.as_ref().map(|out| out.join("metrics.jsonl"));
        path.map(|path| Metrics::open(&path, self.step)).transpose()
    }

    /// One step of every recipe.
    fn step_all(
        &mut self,
        mut metrics: Option<&mut Metrics>,
        progress: &Progress,
    ) -> anyhow::Result<()> {
        let Self { settings, text, runs, step, .. } = self;
        let next = *step + 1;
        let validated = next.is_multiple_of(settings.validate) && next < settings.steps;
        let rows = validated
            .then(|| text.validation(settings.val_rows.div_ceil(4), settings.size.context));
        for (i, run) in runs.iter_mut().enumerate() {
            let mut record = run.step(settings, text, *step)?.clone();
            if next == settings.steps {
                let rows = text.validation(settings.val_rows, settings.size.context);
                record.val_loss = Some(run.validate(&rows, settings)?);
            } else if let Some(rows) = &rows {
                record.val_loss = Some(run.validate(rows, settings)?);
            }
            progress.step(i, &record);
            if let Some(metrics) = &mut metrics {
                metrics.write(&record)?;
            }
            self.records.push(record);
        }
        *step = next;
        Ok(())
    }

    fn save(&mut self) -> anyhow::Result<()> {
        match &self.out {
            Some(out) => save::save(out, &self.settings, &mut self.runs, self.step),
            None => Ok(()),
        }
    }

    /// The table, the charts, and where everything is.
    fn report(&mut self, sample: usize, done: bool) -> anyhow::Result<String> {
        let mut text = String::new();
        let ascii = !std::io::stdout().is_terminal() && std::env::var_os("LANG").is_none();
        text += &chart::loss_chart(&self.records, CHART.0, CHART.1, ascii);
        if self.runs.len() > 1 {
            text.push('\n');
            text += &chart::gap_chart(&self.records, CHART.0, ascii);
        }
        text.push('\n');
        let summaries = self.summaries()?;
        text += &summary_table(&summaries, Baselines::of(&summaries));
        if let Some(out) = &self.out {
            let scales: Vec<ScaleRecord> =
                self.runs.iter().flat_map(|run| run.scales.iter().cloned()).collect();
            for (name, picture) in [
                ("loss.svg", svg::loss_svg(&self.records)?),
                ("scales.svg", svg::scales_svg(&scales)?),
            ] {
                let mut file = Output::create(&out.join(name))?;
                file.write_all(picture.as_bytes())?;
                file.finish()?;
            }
            writeln!(text, "\n{}: metrics.jsonl, loss.svg, scales.svg, train.*", out.display())?;
            if !done {
                let (step, steps) = (self.step, self.settings.steps);
                let out = out.display();
                writeln!(text, "stopped after {step} of {steps} steps; to go on:")?;
                writeln!(text, "    quarter train --resume {out}")?;
            }
        }
        if sample > 0 {
            let prompt = self.text.validation(1, self.settings.size.context / 2);
            let prompt: Vec<u8> = prompt.inputs.iter().map(|byte| *byte as u8).collect();
            for run in &mut self.runs {
                let bytes = run.sample(&prompt, sample, &self.settings)?;
                writeln!(text, "\n--- {} goes on\n{}", run.name, String::from_utf8_lossy(&bytes))?;
            }
        }
        Ok(text.trim_end().to_owned())
    }

    fn summaries(&mut self) -> anyhow::Result<Vec<Summary>> {
        let Self { settings, text, runs, records, .. } = self;
        let mut summaries = Vec::new();
        for run in runs {
            let last = records.iter().rev().find(|record| record.recipe == run.name);
            let val_loss = match last.and_then(|record| record.val_loss) {
                Some(loss) => loss,
                None => {
                    let rows = text.validation(settings.val_rows, settings.size.context);
                    run.validate(&rows, settings)?
                }
            };
            summaries.push(run.summary(records, val_loss, settings));
        }
        Ok(summaries)
    }
}
