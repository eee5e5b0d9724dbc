//! `metrics.jsonl`: a [`StepRecord`] a line, its fields the keys.
//!
//! `val_loss` is null where it was not measured. JSON has no NaN and no infinity: a number that is
//! not finite is null, and is read as NaN (a `val_loss` as absent).

use super::StepRecord;
use crate::output::Output;
use anyhow::{Context as _, anyhow};
use serde::{Deserialize, Deserializer};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// Bytes of a line, at most.
const LINE: u64 = 1 << 16;

/// The file, open at its end.
#[derive(Debug)]
pub struct Metrics {
    file: File,
    path: PathBuf,
}

impl Metrics {
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
        Self::open_where(path, |record| record.step <= first_step)
    }

    /// As [`open`](Self::open), but says of each record whether it stays.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_where(path: &Path, keep: impl Fn(&StepRecord) -> bool) -> anyhow::Result<Self> {
        let output = Output::create(path)?;
        let mut writer = BufWriter::new(output);
        if path.try_exists().with_context(|| format!("cannot read {}", path.display()))? {
            each_line(path, |line, record| {
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
        Ok(Self { file, path: path.to_owned() })
    }

    /// Writes one line, in one piece.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&mut self, record: &StepRecord) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        let written = self.file.write_all(&line).and_then(|()| self.file.flush());
        written.with_context(|| format!("cannot write {}", self.path.display()))
    }
}

/// All records of a file; a last line that was cut is none.
///
/// # Errors
/// If it cannot be read, or a line is no record: its number is in the message.
pub fn read(path: &Path) -> anyhow::Result<Vec<StepRecord>> {
    let mut records = Vec::new();
    each_line(path, |_, record| {
        records.push(record);
        Ok(())
    })?;
    Ok(records)
}

fn each_line(
    path: &Path,
    mut found: impl FnMut(&[u8], StepRecord) -> anyhow::Result<()>,
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
            serde_json::from_slice::<Line>(&line).map_err(plain_error)
        };
        match parsed {
            Ok(record) => found(&line, record.into()),
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

/// A line as it is read: all keys, no other.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
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

/// A number or null; unlike a plain `Option` it must be there.
fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    Option::deserialize(from)
}

impl From<Line> for StepRecord {
    fn from(line: Line) -> Self {
        Self {
            step: line.step,
            recipe: line.recipe,
            train_loss: line.train_loss.unwrap_or(f32::NAN),
            val_loss: line.val_loss,
            lr: line.lr.unwrap_or(f32::NAN),
            grad_norm: line.grad_norm.unwrap_or(f32::NAN),
            tokens_per_s: line.tokens_per_s.unwrap_or(f64::NAN),
            skipped: line.skipped,
        }
    }
}
