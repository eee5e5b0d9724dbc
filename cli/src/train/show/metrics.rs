//! `metrics.jsonl`: a [`StepRecord`] a line, its fields the keys; `scales.jsonl`, the same of
//! [`ScaleRecord`].
//!
//! `val_loss` is null where it was not measured. JSON has no NaN and no infinity: a number that is
//! not finite is null, and is read as NaN (a `val_loss` as absent).

use super::{ScaleRecord, StepRecord};
use crate::output::Output;
use anyhow::{Context as _, anyhow};
use quarter::recipe::Role;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Read as _, Write as _};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

/// Bytes of a line, at most.
const LINE: u64 = 1 << 16;

/// What a line of a file says.
pub trait Record: Serialize + Sized {
    /// A line as it is read.
    #[doc(hidden)]
    type Line: DeserializeOwned;

    /// Steps done.
    fn step(&self) -> u64;

    /// From a line.
    ///
    /// # Errors
    /// If it has words that are none.
    #[doc(hidden)]
    fn from_line(line: Self::Line) -> anyhow::Result<Self>;
}

/// A file of records, open at its end.
#[derive(Debug)]
pub struct Lines<R> {
    file: File,
    path: PathBuf,
    of: PhantomData<R>,
}

/// `metrics.jsonl`.
pub type Metrics = Lines<StepRecord>;
/// `scales.jsonl`.
pub type Scales = Lines<ScaleRecord>;

impl<R: Record> Lines<R> {
    /// Opens the file; `first_step` is that of the checkpoint that training goes on from, 0 without
    /// one. Of a file that is there the lines up to this step stay, byte for byte; what comes after
    /// it, and a last line that was cut, goes.
    ///
    /// # Errors
    /// If it cannot be read or written, or has a line that is no record: then it stays as it is.
    pub fn open(path: &Path, first_step: u64) -> anyhow::Result<Self> {
        if first_step == 0 {
            // Nothing of it stays, so it may be anything.
            Output::create(path)?.finish()?;
            return Self::append(path);
        }
        Self::open_where(path, |record: &R| record.step() <= first_step)
    }

    /// As [`open`](Self::open), but says of each record whether it stays.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_where(path: &Path, keep: impl Fn(&R) -> bool) -> anyhow::Result<Self> {
        let output = Output::create(path)?;
        let mut writer = BufWriter::new(output);
        if path.try_exists().with_context(|| format!("cannot read {}", path.display()))? {
            each_line(path, |line, record: R| {
                if keep(&record) {
                    writer.write_all(line)?;
                    writer.write_all(b"\n")?;
                }
                Ok(())
            })?;
        }
        let writing = || format!("cannot write {}", path.display());
        let output =
            writer.into_inner().map_err(|error| error.into_error()).with_context(writing)?;
        output.finish()?;
        Self::append(path)
    }

    fn append(path: &Path) -> anyhow::Result<Self> {
        let file = OpenOptions::new().append(true).open(path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { file, path: path.to_owned(), of: PhantomData })
    }

    /// Writes one line, in one piece.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&mut self, record: &R) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        let written = self.file.write_all(&line).and_then(|()| self.file.flush());
        written.with_context(|| format!("cannot write {}", self.path.display()))
    }
}

/// All records of `metrics.jsonl`; a last line that was cut is none.
///
/// # Errors
/// As [`read_lines`].
pub fn read(path: &Path) -> anyhow::Result<Vec<StepRecord>> {
    read_lines(path)
}

/// All records of a file; a last line that was cut is none.
///
/// # Errors
/// If it cannot be read, or a line is no record: its number is in the message.
pub fn read_lines<R: Record>(path: &Path) -> anyhow::Result<Vec<R>> {
    let mut records = Vec::new();
    each_line(path, |_, record| {
        records.push(record);
        Ok(())
    })?;
    Ok(records)
}

fn each_line<R: Record>(
    path: &Path,
    mut found: impl FnMut(&[u8], R) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let reading = || format!("cannot read {}", path.display());
    let mut reader = BufReader::new(File::open(path).with_context(reading)?);
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        // One byte more tells a line that is too long.
        let n = (&mut reader).take(LINE + 1).read_until(b'\n', &mut line).with_context(reading)?;
        if n == 0 {
            break;
        }
        let whole = line.pop_if(|byte| *byte == b'\n').is_some();
        let end = !whole && reader.fill_buf().with_context(reading)?.is_empty();
        let parsed = if line.len() as u64 > LINE {
            Err(anyhow!("it is longer than {LINE} bytes"))
        } else {
            serde_json::from_slice(&line).map_err(plain_error).and_then(R::from_line)
        };
        match parsed {
            Ok(record) => found(&line, record),
            Err(_) if end => break,
            Err(error) => Err(error),
        }
        .with_context(|| format!("{}, line {number}", path.display()))?;
    }
    Ok(())
}

/// What is wrong, without serde's own line number (it is always 1), on one line.
fn plain_error(error: serde_json::Error) -> anyhow::Error {
    let text: String = error.to_string().chars().take(200).collect();
    anyhow!(
        "{}",
        text.replace("at line 1 column", "at column")
            .escape_debug()
            .to_string()
            .replace("\\\"", "\"")
    )
}

/// A line of `metrics.jsonl`: all keys, no other.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepLine {
    step: u64,
    recipe: String,
    #[serde(deserialize_with = "nullable")]
    train_loss: Option<f32>,
    #[serde(deserialize_with = "nullable")]
    val_loss: Option<f32>,
    #[serde(deserialize_with = "nullable")]
    lr: Option<f32>,
    #[serde(deserialize_with = "nullable")]
    grad_norm: Option<f32>,
    #[serde(deserialize_with = "nullable")]
    tokens_per_s: Option<f64>,
    skipped: u64,
}

/// A line of `scales.jsonl`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScaleLine {
    step: u64,
    recipe: String,
    layer: String,
    role: String,
    #[serde(deserialize_with = "nullable")]
    amax: Option<f32>,
    #[serde(deserialize_with = "nullable")]
    scale: Option<f32>,
    saturated: u64,
    flushed: u64,
    elements: u64,
}

/// A number or null; unlike a plain `Option` it must be there.
fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    Option::deserialize(from)
}

impl Record for StepRecord {
    type Line = StepLine;

    fn step(&self) -> u64 {
        self.step
    }

    fn from_line(line: StepLine) -> anyhow::Result<Self> {
        Ok(Self {
            step: line.step,
            recipe: line.recipe,
            train_loss: line.train_loss.unwrap_or(f32::NAN),
            val_loss: line.val_loss,
            lr: line.lr.unwrap_or(f32::NAN),
            grad_norm: line.grad_norm.unwrap_or(f32::NAN),
            tokens_per_s: line.tokens_per_s.unwrap_or(f64::NAN),
            skipped: line.skipped,
        })
    }
}

impl Record for ScaleRecord {
    type Line = ScaleLine;

    fn step(&self) -> u64 {
        self.step
    }

    fn from_line(line: ScaleLine) -> anyhow::Result<Self> {
        let role = Role::ALL.iter().find(|role| role.name() == line.role);
        Ok(Self {
            step: line.step,
            recipe: line.recipe,
            layer: line.layer,
            role: role.context("role: it is none")?.name(),
            amax: line.amax.unwrap_or(f32::NAN),
            scale: line.scale.unwrap_or(f32::NAN),
            saturated: line.saturated,
            flushed: line.flushed,
            elements: line.elements,
        })
    }
}
