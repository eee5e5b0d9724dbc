//! Whether ranks are in one state, and which random words are whose: hashes.

use super::state::RecipeState;
use super::{AllReduce, Role};
use crate::error::Error;
use std::string::ToString;

impl RecipeState {
    /// What all ranks must have the same: recipe (with the formats and lengths of histories), seed,
    /// step, layers, and of joined histories all but the slot of the step that runs.
    fn hash(&self, joined: bool) -> u64 {
        let mut hash = Fnv::default();
        hash.name(&self.recipe.to_string());
        hash.add(&self.seed.to_le_bytes());
        hash.add(&self.step.to_le_bytes());
        for (layer, histories) in &self.layers {
            hash.name(layer);
            for history in histories.iter().flatten().filter(|_| joined) {
                hash.word(history.scale().to_bits());
                hash.word(history.counter());
                history.window()[1..].iter().for_each(|amax| hash.word(amax.to_bits()));
            }
        }
        hash.0
    }

    /// Fails, on every rank, unless all have the same [`hash`](Self::hash) h: three parts p of h
    /// are the same everywhere iff the maxima of p and of 2^24 − p still add up to 2^24.
    pub(super) fn agree(&self, group: &dyn AllReduce, joined: bool) -> Result<(), Error> {
        const LIMIT: u32 = 1 << 24;
        let hash = self.hash(joined);
        let parts = [0, 24, 48].map(|at| (hash >> at) as u32 % LIMIT);
        let mut told = parts.map(|part| [part as f32, (LIMIT - part) as f32]);
        group.max(told.as_flattened_mut())?;
        // In f64: 2^24 + 1 is no f32.
        let whole = |[high, low]: [f32; 2]| f64::from(high) + f64::from(low) == f64::from(LIMIT);
        if told.into_iter().all(whole) {
            return Ok(());
        }
        let why = "ranks differ in recipe, seed, step, layers or histories: begin all with one \
                   recipe and seed and the same layers, or resume all from the same step of one run";
        Err(Error::Recipe { field: "end_step", why })
    }
}

/// Which tensor a random stream is of: FNV-1a (64 bits, the halves joined by exclusive or) of the
/// layer's name, the role's and the rank, with their lengths.
pub(super) fn tensor_id(layer: &str, role: Role, rank: u32) -> u32 {
    let mut hash = Fnv::default();
    hash.name(layer);
    hash.name(role.name());
    hash.add(&rank.to_le_bytes());
    hash.halves()
}

/// The same of a tensor that belongs to no layer's role, by its name.
pub(crate) fn name_id(name: &str) -> u32 {
    let mut hash = Fnv::default();
    hash.name(name);
    hash.halves()
}

/// FNV-1a: every byte that changes changes the hash.
pub(super) struct Fnv(pub u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    pub fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// As one byte more: a word that changes changes the hash.
    fn word(&mut self, word: u32) {
        self.0 = (self.0 ^ u64::from(word)).wrapping_mul(0x0000_0100_0000_01b3);
    }

    /// Both halves, joined by exclusive or.
    const fn halves(&self) -> u32 {
        (self.0 >> 32) as u32 ^ self.0 as u32
    }

    fn name(&mut self, text: &str) {
        self.add(&(text.len() as u64).to_le_bytes());
        self.add(text.as_bytes());
    }
}
