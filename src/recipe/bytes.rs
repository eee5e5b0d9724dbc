//! A saved state as bytes: little endian, with a version and a checksum.
//!
//! ```text
//!  "quarter\0"  version u32 = 1  seed u64  step u32  rank u32
//!  recipe: length u32, text      layers: count u32, then of each
//!     name: length u32, text     for x, w, dy: 0, or 1 and
//!        scale: bits u32  counter u32  window: length u32, bits u32 each
//!  checksum u64: FNV-1a of all bytes before it
//! ```

use super::agree::Fnv;
use super::saved::{check_next, windows};
use super::{LayerSnapshot, Recipe, StateSnapshot};
use crate::error::Error;
use crate::scale::HistorySnapshot;
use std::string::{String, ToString};
use std::vec::Vec;

const MAGIC: &[u8; 8] = b"quarter\0";
const VERSION: u32 = 1;

/// The least bytes of a layer: a name of one, and no histories.
const LAYER_MIN: usize = 4 + 1 + 3;

pub(super) fn write(state: &StateSnapshot) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(MAGIC);
    let word = |out: &mut Vec<u8>, word: u32| out.extend_from_slice(&word.to_le_bytes());
    // Lengths are below 2^32: names have at most 1,024 bytes, windows 2^16 slots; of 2^32 layers
    // there are too few bytes in a machine.
    let text = |out: &mut Vec<u8>, text: &str| {
        word(out, text.len() as u32);
        out.extend_from_slice(text.as_bytes());
    };
    word(&mut out, VERSION);
    out.extend_from_slice(&state.seed.to_le_bytes());
    word(&mut out, state.step);
    word(&mut out, state.rank);
    text(&mut out, &state.recipe.to_string());
    word(&mut out, state.layers.len() as u32);
    for layer in &state.layers {
        text(&mut out, &layer.name);
        for history in &layer.histories {
            out.push(history.is_some().into());
            let Some(history) = history else { continue };
            word(&mut out, history.scale.to_bits());
            word(&mut out, history.counter);
            word(&mut out, history.window.len() as u32);
            history.window.iter().for_each(|amax| word(&mut out, amax.to_bits()));
        }
    }
    let mut hash = Fnv::default();
    hash.add(&out);
    out.extend_from_slice(&hash.0.to_le_bytes());
    out
}

/// # Errors
/// [`Error::State`] for other bytes than [`write`] gives, [`Error::Range`] for a name's length,
/// and as [`Recipe::validate`].
///
/// No count or length is believed: memory grows with the bytes that were read and checked. A
/// window takes its bytes; a layer without windows is 8 bytes or more in the file, each under a
/// name of its own, and a few hundred in memory.
pub(super) fn read(bytes: &[u8]) -> Result<StateSnapshot, Error> {
    let (body, checksum) = bytes.split_last_chunk::<8>().ok_or(wrong("bytes", 8, bytes.len()))?;
    let mut reader = Reader(body);
    if reader.take(MAGIC.len())? != MAGIC {
        return Err(wrong("number of files that begin as a state does", 1, 0));
    }
    let version = reader.word()?;
    if version != VERSION {
        return Err(wrong("version", VERSION as usize, version as usize));
    }
    let mut hash = Fnv::default();
    hash.add(body);
    let (expected, got) = (u64::from_le_bytes(*checksum), hash.0);
    if expected != got {
        return Err(Error::State { what: "checksum", expected, got });
    }
    let seed = u64::from(reader.word()?) | u64::from(reader.word()?) << 32;
    let (step, rank) = (reader.word()?, reader.word()?);
    let recipe: Recipe = reader.text()?.parse()?;
    let windows = windows(&recipe);
    let count = reader.word()? as usize;
    let most = reader.0.len() / LAYER_MIN;
    if count > most {
        return Err(wrong("number of layers, at most as many as the bytes hold", most, count));
    }
    let mut layers: Vec<LayerSnapshot> = Vec::new();
    for _ in 0..count {
        let name = reader.text()?;
        check_next(layers.last().map(|layer| &layer.name), name)?;
        let mut histories = [None, None, None];
        for (history, window) in histories.iter_mut().zip(windows) {
            *history = reader.history(window)?;
        }
        layers.push(LayerSnapshot { name: String::from(name), histories });
    }
    if !reader.0.is_empty() {
        return Err(wrong("number of bytes too many", 0, reader.0.len()));
    }
    Ok(StateSnapshot { recipe, seed, step, rank, layers })
}

fn wrong(what: &'static str, expected: usize, got: usize) -> Error {
    Error::State { what, expected: expected as u64, got: got as u64 }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(wrong(
            "number of bytes that are left",
            len,
            self.0.len(),
        ))?;
        self.0 = rest;
        Ok(taken)
    }

    fn word(&mut self) -> Result<u32, Error> {
        let bytes = self.take(4)?;
        Ok(bytes.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte)))
    }

    fn text(&mut self) -> Result<&'a str, Error> {
        let len = self.word()? as usize;
        let text = core::str::from_utf8(self.take(len)?);
        text.map_err(|error| wrong("number of bytes that are text", len, error.valid_up_to()))
    }

    /// The history of a role, with a window of this length; none where its cast keeps none.
    fn history(&mut self, window: Option<usize>) -> Result<Option<HistorySnapshot>, Error> {
        let (expected, got) = (window.is_some().into(), self.take(1)?[0].into());
        if expected != got {
            return Err(wrong("number of histories of a layer's role", expected, got));
        }
        let Some(expected) = window else { return Ok(None) };
        let (scale, counter) = (f32::from_bits(self.word()?), self.word()?);
        let len = self.word()? as usize;
        if expected != len {
            return Err(wrong("length of a saved window", expected, len));
        }
        // At most 4 · 2^16, as the recipe is valid.
        let bytes = self.take(4 * len)?;
        let (words, _) = bytes.as_chunks::<4>();
        let window = words.iter().map(|word| f32::from_le_bytes(*word)).collect();
        Ok(Some(HistorySnapshot { scale, counter, window }))
    }
}
