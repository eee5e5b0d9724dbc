//! What a recipe remembers from step to step: amax histories by layer and role, seed and step.

use super::{AllReduce, Recipe, Role, bytes};
use crate::error::{Error, Name};
use crate::format::RandomStream;
use crate::scale::{AmaxHistory, HistorySnapshot};
use crate::slice::QuantStats;
use std::collections::BTreeMap;
use std::string::{String, ToString};
use std::vec::Vec;

/// The longest name of a layer, in bytes.
const NAME_MAX: usize = 1024;

/// The histories of a layer's x, w and dy, where their casts keep one.
type Histories<T> = [Option<T>; 3];

/// The state of a training run under a [`Recipe`].
///
/// Within a step nothing that a scale depends on changes: [`record_amax`](Self::record_amax)
/// takes notes for [`end_step`](Self::end_step), so that a second forward sees the scales of the
/// first. Evaluation ([`set_training`](Self::set_training)) reads and takes no notes. Running N
/// steps, and running k, saving, loading and running N − k, end in the same bits.
///
/// A step may hold several forwards and backwards (gradient accumulation): their amaxes are
/// joined.
///
/// ```
/// use quarter::recipe::{Recipe, RecipeState, Role};
/// let mut state = RecipeState::new(Recipe::preset("delayed")?, 42, 0)?;
/// state.add_layer("mlp.0")?;
/// assert_eq!(state.scale("mlp.0", Role::Input)?, 1.0);
/// state.record_amax("mlp.0", Role::Input, 3.5)?;
/// state.end_step(None)?;
/// assert_eq!(state.scale("mlp.0", Role::Input)?, 128.0);
/// let resumed = RecipeState::from_bytes(&state.to_bytes())?;
/// assert_eq!(resumed, state);
/// # Ok::<(), quarter::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct RecipeState {
    recipe: Recipe,
    seed: u64,
    step: u32,
    rank: u32,
    training: bool,
    layers: BTreeMap<String, Histories<AmaxHistory>>,
}

impl PartialEq for RecipeState {
    /// Whether they hold the same bits; training or evaluation is no part of it.
    fn eq(&self, other: &Self) -> bool {
        let key = |state: &Self| (state.seed, state.step, state.rank);
        key(self) == key(other) && self.recipe == other.recipe && self.layers == other.layers
    }
}

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

fn check_name(name: &str) -> Result<(), Error> {
    if name.is_empty() || name.len() > NAME_MAX {
        let got = i64::try_from(name.len()).unwrap_or(i64::MAX);
        let what = "length of a layer's name";
        return Err(Error::Range { what, got, min: 1, max: NAME_MAX as i64 });
    }
    Ok(())
}

impl RecipeState {
    /// No layers, step 0, training. `seed` is that of stochastic rounding, the same on all ranks.
    ///
    /// # Errors
    /// As [`Recipe::validate`].
    pub fn new(recipe: Recipe, seed: u64, rank: u32) -> Result<Self, Error> {
        recipe.validate()?;
        Ok(Self { recipe, seed, step: 0, rank, training: true, layers: BTreeMap::new() })
    }

    /// The recipe.
    #[must_use]
    pub const fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// Steps ended so far; it wraps after 2^32.
    #[must_use]
    pub const fn step(&self) -> u32 {
        self.step
    }

    /// The seed of stochastic rounding.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// The rank of this process.
    #[must_use]
    pub const fn rank(&self) -> u32 {
        self.rank
    }

    /// Whether amaxes are noted; not so in evaluation.
    #[must_use]
    pub const fn is_training(&self) -> bool {
        self.training
    }

    /// Training (`true`) or evaluation, which changes nothing: amaxes are not noted, steps cannot
    /// be ended, layers cannot be added.
    pub fn set_training(&mut self, training: bool) {
        self.training = training;
    }

    /// The layers in ascending order of their names.
    pub fn layers(&self) -> impl Iterator<Item = &str> {
        self.layers.keys().map(String::as_str)
    }

    /// Adds a layer with empty histories, unless it is there.
    ///
    /// # Errors
    /// [`Error::Range`] for a name that is empty or longer than 1,024 bytes; [`Error::Recipe`] in
    /// evaluation.
    pub fn add_layer(&mut self, name: &str) -> Result<(), Error> {
        check_name(name)?;
        if !self.layers.contains_key(name) {
            self.must_train("add_layer")?;
            let histories = self.empty()?;
            self.layers.insert(name.into(), histories);
        }
        Ok(())
    }

    /// The history of a layer's role; none if the layer is unknown or the role's cast keeps none.
    #[must_use]
    pub fn history(&self, layer: &str, role: Role) -> Option<&AmaxHistory> {
        self.layers.get(layer)?[role as usize].as_ref()
    }

    /// The scale of this step, of a role whose cast is `te-delayed` or `msamp`.
    ///
    /// While the history [warms up](AmaxHistory::in_warm_up) that is not what the tensor is cast
    /// with: ask [`scale_for`](Self::scale_for) then, or always.
    ///
    /// # Errors
    /// [`Error::Name`] for an unknown layer, [`Error::Recipe`] for another cast.
    pub fn scale(&self, layer: &str, role: Role) -> Result<f32, Error> {
        self.kept(layer, role).map(AmaxHistory::scale)
    }

    /// The scale of this step for a tensor with this amax: by the amax in a warm-up, else
    /// [`scale`](Self::scale). In a warm-up with several ranks, join the amax over them first.
    ///
    /// # Errors
    /// As [`scale`](Self::scale).
    pub fn scale_for(&self, layer: &str, role: Role, amax: f32) -> Result<f32, Error> {
        self.kept(layer, role).map(|history| history.scale_for(amax))
    }

    /// Notes the amax of a tensor for the end of the step; the largest counts, and NaN above all.
    /// Nothing is noted in evaluation, or where the role's cast keeps no history.
    ///
    /// [`QuantStats::amax`] passes over NaN, which `msamp` must not: give it to
    /// [`record_stats`](Self::record_stats).
    ///
    /// # Errors
    /// [`Error::Name`] for an unknown layer.
    pub fn record_amax(&mut self, layer: &str, role: Role, amax: f32) -> Result<(), Error> {
        self.note(layer, role, |history| history.record(amax))
    }

    /// As [`record_amax`](Self::record_amax), with the amax that the rule takes of a tensor with
    /// these statistics: NaN if there is one, unless the rule [drops](crate::Rule::drops_nan) it.
    ///
    /// # Errors
    /// [`Error::Name`] for an unknown layer.
    pub fn record_stats(
        &mut self,
        layer: &str,
        role: Role,
        stats: &QuantStats,
    ) -> Result<(), Error> {
        self.note(layer, role, |history| history.record_stats(stats))
    }

    /// The random words of a tensor in this step, for stochastic rounding; the same for both
    /// products that it enters, as elements are counted in the untransposed tensor.
    #[must_use]
    pub fn stream(&self, layer: &str, role: Role) -> RandomStream {
        let tensor = tensor_id(layer, role, self.rank);
        RandomStream { seed: self.seed, tensor, step: self.step }
    }

    /// Ends the step: the noted amaxes are joined over the ranks of `reduce` (if the recipe says
    /// so), enter the histories, and the next step's scales follow.
    ///
    /// Two reductions are made: a first of 6 numbers tells whether the ranks have the same recipe,
    /// seed, step, layers and histories (scales, counters and windows, but for the amaxes of this
    /// step), a second joins the amaxes. A recipe without histories, or that does not join them,
    /// makes the first alone, and its histories may differ.
    ///
    /// # Errors
    /// [`Error::Recipe`] in evaluation, or if ranks differ, then on every rank; the group's own.
    /// Then nothing has changed, and the step has not ended.
    pub fn end_step(&mut self, reduce: Option<&dyn AllReduce>) -> Result<(), Error> {
        self.must_train("end_step")?;
        let joined = self.recipe.delayed.is_some_and(|delayed| delayed.reduce_amax);
        if let Some(group) = reduce {
            self.agree(group, joined)?;
        }
        if let (Some(group), true) = (reduce, joined) {
            let mut amaxes: Vec<f32> = self.histories_mut().map(|h| h.recorded()).collect();
            group.max(&mut amaxes)?;
            for (history, amax) in self.histories_mut().zip(amaxes) {
                history.record(amax);
            }
        }
        self.histories_mut().for_each(AmaxHistory::update);
        self.step = self.step.wrapping_add(1);
        Ok(())
    }

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

    fn must_train(&self, field: &'static str) -> Result<(), Error> {
        let why = "evaluation changes no state: call set_training(true) first";
        if self.training { Ok(()) } else { Err(Error::Recipe { field, why }) }
    }

    fn empty(&self) -> Result<Histories<AmaxHistory>, Error> {
        let mut histories = [None, None, None];
        for (history, role) in histories.iter_mut().zip(Role::ALL) {
            let cast = self.recipe.history_cast(*role);
            if let (Some(cast), Some(delayed)) = (cast, &self.recipe.delayed) {
                *history = Some(AmaxHistory::new(*delayed.of(*role), cast.format, cast.rule)?);
            }
        }
        Ok(histories)
    }

    fn kept(&self, layer: &str, role: Role) -> Result<&AmaxHistory, Error> {
        let histories = self.layers.get(layer).ok_or(unknown(layer))?;
        let why = "its cast keeps no history: its rule gives the scale from the tensor";
        histories[role as usize].as_ref().ok_or(Error::Recipe { field: role.name(), why })
    }

    fn note(
        &mut self,
        layer: &str,
        role: Role,
        note: impl FnOnce(&mut AmaxHistory),
    ) -> Result<(), Error> {
        let histories = self.layers.get_mut(layer).ok_or(unknown(layer))?;
        if let (true, Some(history)) = (self.training, &mut histories[role as usize]) {
            note(history);
        }
        Ok(())
    }

    fn histories_mut(&mut self) -> impl Iterator<Item = &mut AmaxHistory> {
        self.layers.values_mut().flatten().flatten()
    }

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
    fn agree(&self, group: &dyn AllReduce, joined: bool) -> Result<(), Error> {
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

fn unknown(layer: &str) -> Error {
    Error::Name { what: "layer of this state: call add_layer first", got: Name::new(layer) }
}

/// Which tensor a random stream is of: FNV-1a (64 bits, the halves joined by exclusive or) of the
/// layer's name, the role's and the rank, with their lengths.
pub(super) fn tensor_id(layer: &str, role: Role, rank: u32) -> u32 {
    let mut hash = Fnv::default();
    hash.name(layer);
    hash.name(role.name());
    hash.add(&rank.to_le_bytes());
    (hash.0 >> 32) as u32 ^ hash.0 as u32
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

    fn name(&mut self, text: &str) {
        self.add(&(text.len() as u64).to_le_bytes());
        self.add(text.as_bytes());
    }
}
