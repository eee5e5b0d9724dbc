//! What a state saves, and how it is taken up again.

use super::state::{Histories, RecipeState};
use super::{Recipe, Role, bytes};
use crate::error::Error;
use crate::scale::{AmaxHistory, HistorySnapshot};
use std::collections::BTreeMap;
use std::string::String;
use std::vec::Vec;

/// The longest name of a layer, in bytes.
const NAME_MAX: usize = 1024;

/// A layer of a [`StateSnapshot`].
#[derive(Clone, Debug, PartialEq)]
pub struct LayerSnapshot {
    /// Its name, 1 to 1,024 bytes.
    pub name: String,
    /// The histories of x, w and dy, where the recipe's casts keep one.
    pub histories: [Option<HistorySnapshot>; 3],
}

/// All that a [`RecipeState`] saves, as plain data.
#[derive(Clone, Debug, PartialEq)]
pub struct StateSnapshot {
    /// The recipe that the histories were kept under.
    pub recipe: Recipe,
    /// The seed of stochastic rounding.
    pub seed: u64,
    /// Steps ended so far.
    pub step: u32,
    /// The rank that saved it.
    pub rank: u32,
    /// In ascending order of their names.
    pub layers: Vec<LayerSnapshot>,
}

impl StateSnapshot {
    /// # Errors
    /// As [`Recipe::validate`], and [`Error::State`] for what no state can hold.
    fn check(&self) -> Result<(), Error> {
        self.recipe.validate()?;
        let wrong = |what, expected: usize, got: usize| {
            Err(Error::State { what, expected: expected as u64, got: got as u64 })
        };
        let windows = windows(&self.recipe);
        let mut before = None;
        for layer in &self.layers {
            check_next(before, &layer.name)?;
            before = Some(&layer.name);
            for (window, saved) in windows.iter().zip(&layer.histories) {
                match (window, saved) {
                    (Some(expected), Some(saved)) => {
                        saved.check()?;
                        let (expected, got) = (*expected, saved.window.len());
                        if expected != got {
                            return wrong("length of a saved window", expected, got);
                        }
                    }
                    (None, None) => {}
                    (window, saved) => {
                        let what = "number of histories of a layer's role";
                        return wrong(what, window.is_some().into(), saved.is_some().into());
                    }
                }
            }
        }
        Ok(())
    }
}

/// The lengths of the windows of x, w and dy, where their casts keep one.
pub(super) fn windows(recipe: &Recipe) -> Histories<usize> {
    let mut windows = [None; 3];
    for (window, role) in windows.iter_mut().zip(Role::ALL) {
        let kept = recipe.history_cast(*role).and(recipe.delayed.as_ref());
        *window = kept.map(|delayed| delayed.of(*role).len);
    }
    windows
}

/// Whether a layer's name can follow that of the layer before.
pub(super) fn check_next(before: Option<&String>, name: &str) -> Result<(), Error> {
    if before.is_some_and(|before| before.as_str() >= name) {
        let what = "number of layers out of order or twice";
        return Err(Error::State { what, expected: 0, got: 1 });
    }
    check_name(name)
}

pub(super) fn check_name(name: &str) -> Result<(), Error> {
    if name.is_empty() || name.len() > NAME_MAX {
        let got = i64::try_from(name.len()).unwrap_or(i64::MAX);
        let what = "length of a layer's name";
        return Err(Error::Range { what, got, min: 1, max: NAME_MAX as i64 });
    }
    Ok(())
}

impl RecipeState {
    /// What must be saved; a step that has not ended too.
    #[must_use]
    pub fn snapshot(&self) -> StateSnapshot {
        let layer = |(name, histories): (&String, &Histories<AmaxHistory>)| LayerSnapshot {
            name: name.clone(),
            histories: histories.each_ref().map(|h| h.as_ref().map(AmaxHistory::snapshot)),
        };
        StateSnapshot {
            recipe: self.recipe.clone(),
            seed: self.seed,
            step: self.step,
            rank: self.rank,
            layers: self.layers.iter().map(layer).collect(),
        }
    }

    /// The state that was saved, with its recipe and rank.
    ///
    /// # Errors
    /// As [`Recipe::validate`]; [`Error::State`] for what no state can hold.
    pub fn from_snapshot(saved: &StateSnapshot) -> Result<Self, Error> {
        let mut state = Self::new(saved.recipe.clone(), saved.seed, saved.rank)?;
        state.restore(saved)?;
        Ok(state)
    }

    /// Takes seed, step and histories of a saved state; recipe and rank stay.
    ///
    /// Windows of another length are cut, or filled with zeros, at their end, as
    /// TransformerEngine does. If layers were added already, the saved ones must be the same.
    ///
    /// # Errors
    /// As [`from_snapshot`](Self::from_snapshot); [`Error::State`] for other layers;
    /// [`Error::Recipe`] for histories of other casts. Then nothing is changed.
    pub fn restore(&mut self, saved: &StateSnapshot) -> Result<(), Error> {
        saved.check()?;
        let cast = |recipe: &Recipe, role| recipe.history_cast(role).map(|c| (c.format, c.rule));
        for role in Role::ALL {
            if cast(&self.recipe, *role) != cast(&saved.recipe, *role) {
                let why = "the saved histories are of another format or rule: load them under the \
                           recipe they were saved with, or begin anew";
                return Err(Error::Recipe { field: role.name(), why });
            }
        }
        if !self.layers.is_empty() {
            let known = saved.layers.iter().filter(|l| self.layers.contains_key(&l.name)).count();
            for (expected, got) in [(self.layers.len(), known), (known, saved.layers.len())] {
                if expected != got {
                    let what = "number of layers that are both in the state and saved";
                    let (expected, got) = (expected as u64, got as u64);
                    return Err(Error::State { what, expected, got });
                }
            }
        }
        let mut layers = BTreeMap::new();
        for layer in &saved.layers {
            let mut histories = self.empty()?;
            for (history, saved) in histories.iter_mut().zip(&layer.histories) {
                if let (Some(history), Some(saved)) = (history, saved) {
                    history.restore(saved)?;
                }
            }
            layers.insert(layer.name.clone(), histories);
        }
        (self.seed, self.step, self.layers) = (saved.seed, saved.step, layers);
        Ok(())
    }

    /// The state as bytes: small, exact and checked, without any feature.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        bytes::write(&self.snapshot())
    }

    /// What [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    /// [`Error::State`] for bytes that are cut, changed, of another version or no state; as
    /// [`from_snapshot`](Self::from_snapshot). No length is believed before it is checked.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        Self::from_snapshot(&bytes::read(bytes)?)
    }

    /// [`restore`](Self::restore) from what [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    /// As [`from_bytes`](Self::from_bytes) and [`restore`](Self::restore).
    pub fn restore_bytes(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.restore(&bytes::read(bytes)?)
    }
}
