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

mod args;
pub mod data;
pub mod gpt;
pub mod memory;
pub mod replica;
mod report;
pub mod run;
pub mod save;
pub mod settings;
pub mod show;

pub use args::Args;
pub(crate) use args::Model;

use crate::output::remove_stale;
use anyhow::{Context as _, bail, ensure};
use data::Text;
use run::Run;
use settings::Settings;
use show::metrics::{self, Metrics, Scales};
use show::progress::Progress;
use show::{ScaleRecord, StepRecord};
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Where an interrupted training is saved if no folder was named, or in the first of FOLDER-2,
/// FOLDER-3 and so on that is not there.
const FOLDER: &str = "quarter-train";

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
    /// Likewise, of the steps that were counted.
    scales: Vec<ScaleRecord>,
    files: Option<Files>,
}

/// What is written at every step.
struct Files {
    metrics: Metrics,
    scales: Scales,
}

impl Files {
    /// Opens those of a folder at the step of its checkpoint.
    fn open(folder: &Path, step: u64) -> anyhow::Result<Self> {
        let metrics = Metrics::open(&folder.join("metrics.jsonl"), step)?;
        let scales = Scales::open(&folder.join("scales.jsonl"), step)?;
        Ok(Self { metrics, scales })
    }

    fn write(&mut self, records: &[StepRecord], scales: &[ScaleRecord]) -> anyhow::Result<()> {
        records.iter().try_for_each(|record| self.metrics.write(record))?;
        scales.iter().try_for_each(|record| self.scales.write(record))
    }
}

/// Trains, and gives the table and the charts. What models write comes after them: then they are
/// printed first.
///
/// # Errors
/// What went wrong, with the flag, the recipe or the file it went wrong with.
pub fn run(args: &Args) -> anyhow::Result<String> {
    args.check()?;
    let mut training = Training::new(args)?;
    let stop = stop_on_ctrl_c();
    let steps = training.settings.steps;
    let last = args.stop_at.unwrap_or(u64::MAX).min(steps);
    let every = args.save_every.unwrap_or((steps / 10).max(1));
    let progress = if args.quiet {
        Progress::hidden()
    } else {
        let names: Vec<_> = training.runs.iter().map(|run| run.name.clone()).collect();
        progress_heading(&training);
        Progress::new(&names, steps, training.step)
    };
    while training.step < last && !stop.load(Ordering::Relaxed) {
        training.step_all(&progress)?;
        if training.step.is_multiple_of(every) && training.step < last {
            training.save()?;
        }
    }
    progress.finish();
    let done = training.step == steps;
    if !done && training.out.is_none() {
        training.move_out()?;
    }
    training.save()?;
    let report = training.report(done)?;
    if args.sample == 0 {
        return Ok(report);
    }
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{report}").and_then(|()| stdout.flush()).context("standard output")?;
    drop(stdout);
    training.samples(args.sample)
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
        // Nobody may read standard error; that is no reason to panic.
        let _ = writeln!(io::stderr(), "stopping after this step; again to quit without saving");
    });
    stop
}

/// Makes the first folder of [`FOLDER`] that is not there.
fn free_folder() -> anyhow::Result<PathBuf> {
    for n in 1_u32.. {
        let name = if n == 1 { FOLDER.to_owned() } else { format!("{FOLDER}-{n}") };
        match fs::create_dir(&name) {
            Ok(()) => return Ok(name.into()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("cannot make {name}")),
        }
    }
    bail!("{FOLDER}: no name is free")
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
                ensure!(
                    save::is_there(folder) || !folder.is_dir(),
                    "{} has no checkpoint yet: start anew with --out",
                    folder.display()
                );
                let settings = save::load_settings(folder)?;
                let text = Text::again(&settings)?;
                (settings, text, Some(folder.clone()))
            }
        };
        let runs = settings.recipes.iter().map(|named| Run::new(&settings, named, args.threads));
        let mut runs = runs.collect::<anyhow::Result<Vec<_>>>()?;
        let mut step = 0;
        let (mut records, mut scales) = (Vec::new(), Vec::new());
        if let Some(folder) = &args.resume {
            step = save::load(folder, &settings, &mut runs)?;
            records = metrics::read(&folder.join("metrics.jsonl"))?;
            records.retain(|record| record.step <= step);
            scales = metrics::read_lines::<ScaleRecord>(&folder.join("scales.jsonl"))?;
            scales.retain(|record| record.step <= step);
        }
        if let Some(stop) = args.stop_at
            && stop < step
        {
            bail!("--stop-at {stop}: {step} steps are done");
        }
        if let Some(out) = &out {
            let _ = remove_stale(out); // what cannot be tidied is no reason to stop
        }
        let files = out.as_ref().map(|out| Files::open(out, step)).transpose()?;
        Ok(Self { settings, text, runs, step, out, records, scales, files })
    }

    /// One step of every recipe.
    fn step_all(&mut self, progress: &Progress) -> anyhow::Result<()> {
        let Self { settings, text, runs, step, records, scales, .. } = self;
        let known = (records.len(), scales.len());
        let next = *step + 1;
        let rows = match next {
            next if next == settings.steps => Some(settings.val_rows),
            next if next.is_multiple_of(settings.validate) => Some(settings.val_rows.div_ceil(4)),
            _ => None,
        };
        for (i, run) in runs.iter_mut().enumerate() {
            let mut record = run.step(settings, text, *step)?;
            record.val_loss = rows.map(|n| run.validate(text, n, settings)).transpose()?;
            progress.step(i, &record);
            records.push(record);
            scales.append(&mut run.scales);
        }
        *step = next;
        let Some(files) = &mut self.files else { return Ok(()) };
        let Err(error) = files.write(&self.records[known.0..], &self.scales[known.1..]) else {
            return Ok(());
        };
        progress.finish();
        // The step is done: it is kept if it can be.
        Err(match self.save() {
            Ok(()) => error.context(format!("saved after {next} steps, the last without records")),
            Err(unsaved) => error.context(format!("step {next} is not saved ({unsaved:#})")),
        })
    }

    fn save(&mut self) -> anyhow::Result<()> {
        match &self.out {
            Some(out) => save::save(out, &self.settings, &mut self.runs, self.step),
            None => Ok(()),
        }
    }

    /// Gives a training a folder that began without one.
    fn move_out(&mut self) -> anyhow::Result<()> {
        let folder = free_folder()?;
        save::save_settings(&folder, &self.settings)?;
        Files::open(&folder, 0)?.write(&self.records, &self.scales)?;
        self.out = Some(folder);
        Ok(())
    }
}
