//! What is learnt: the bytes of a text, and which of them a step reads.

use super::memory;
use super::settings::Settings;
use anyhow::{Context as _, ensure};
use quarter::RandomStream;
use std::fs;
use std::path::Path;

/// The sources of the library and of this program, as they were when it was built.
const SOURCES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/sources.txt"));
/// One byte in so many at the end of a text is for validation.
const VALIDATION: usize = 10;
/// Which random words choose the rows of a batch.
const ROWS: u32 = 0x6461_7461;

/// A text, cut into what is trained on and what validates.
#[derive(Clone, Debug)]
pub struct Text {
    bytes: Vec<u8>,
    train: usize,
    /// Where it came from.
    pub source: String,
}

/// Rows of bytes, and the byte that follows each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Row after row.
    pub inputs: Vec<u32>,
    /// As many.
    pub targets: Vec<u32>,
}

impl Text {
    /// A file, or the project's own sources; long enough for rows of `context` bytes.
    ///
    /// # Errors
    /// If it is no regular file, cannot be read, or is too short or too long.
    pub fn new(path: Option<&Path>, context: usize) -> anyhow::Result<Self> {
        let (bytes, source) = match path {
            Some(path) => {
                let reading = || format!("text {}", path.display());
                let length = length(path).with_context(reading)?;
                let most = memory::limit();
                ensure!(
                    u128::from(length) <= most,
                    "text {} has {length} bytes, this machine has memory for {most}",
                    path.display()
                );
                (fs::read(path).with_context(reading)?, path.display().to_string())
            }
            None => (SOURCES.to_vec(), "the sources of quarter".to_owned()),
        };
        let least = VALIDATION * (context + 1);
        let got = bytes.len();
        ensure!(
            got >= least,
            "{source} has {got} bytes: a context of {context} takes {least} at least"
        );
        let train = got - got / VALIDATION;
        Ok(Self { bytes, train, source })
    }

    /// The text that a training began with.
    ///
    /// # Errors
    /// As [`new`](Self::new), and if it is another one.
    pub fn again(settings: &Settings) -> anyhow::Result<Self> {
        let (bytes, checksum) = settings.text_bytes;
        let path = settings.text.as_ref().map(Path::new);
        if let Some(path) = path {
            let got = length(path).with_context(|| format!("text {}", path.display()))?;
            ensure!(
                got == bytes,
                "{} has {got} bytes, the training began with {bytes}",
                path.display()
            );
        }
        let text = Self::new(path, settings.size.context)?;
        let got = (text.bytes.len() as u64, text.checksum());
        ensure!(
            got == settings.text_bytes || path.is_some(),
            "this program was built from other sources than the one that began, and they are the \
             text: build that one, or start anew with --text"
        );
        ensure!(
            got == settings.text_bytes,
            "{} has {} bytes with checksum {:08x}, the training began with {bytes} and \
             {checksum:08x}",
            text.source,
            got.0,
            got.1
        );
        Ok(text)
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// A checksum of its bytes.
    #[must_use]
    pub fn checksum(&self) -> u32 {
        crc32fast::hash(&self.bytes)
    }

    /// Rows `rows` of a step, at random places of the training part: seed, step and row alone say
    /// where.
    #[must_use]
    pub fn batch(
        &self,
        seed: u64,
        step: u64,
        rows: std::ops::Range<usize>,
        context: usize,
    ) -> Batch {
        let stream = RandomStream { seed, tensor: ROWS, step: step as u32 };
        let places = (self.train - context) as u64;
        let start = |row: usize| ((u64::from(stream.word(row as u64)) * places) >> 32) as usize;
        self.rows(rows.map(start), context)
    }

    /// Some of `n` rows that are evenly spread over the validation part.
    #[must_use]
    pub fn validation(&self, n: usize, rows: std::ops::Range<usize>, context: usize) -> Batch {
        let places = self.bytes.len() - self.train - context;
        let start = |row| self.train + places * row / n.max(1);
        self.rows(rows.map(start), context)
    }

    fn rows(&self, starts: impl Iterator<Item = usize>, context: usize) -> Batch {
        let mut batch = Batch::default();
        for start in starts {
            let row = &self.bytes[start..=start + context];
            batch.inputs.extend(row[..context].iter().map(|byte| u32::from(*byte)));
            batch.targets.extend(row[1..].iter().map(|byte| u32::from(*byte)));
        }
        batch
    }
}

/// The bytes of a file. A device or a pipe has no end that could be relied on, and no second reading.
fn length(path: &Path) -> anyhow::Result<u64> {
    let metadata = fs::metadata(path)?;
    ensure!(metadata.is_file(), "it is not a regular file");
    Ok(metadata.len())
}
