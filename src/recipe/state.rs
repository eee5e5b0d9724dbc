//! What a recipe remembers from step to step: amax histories by layer and role, seed and step.

use super::agree::tensor_id;
use super::saved::check_name;
use super::{AllReduce, Recipe, Role};
use crate::error::{Error, Name};
use crate::format::RandomStream;
use crate::scale::AmaxHistory;
use crate::slice::QuantStats;
use std::collections::BTreeMap;
use std::string::String;
use std::vec::Vec;

/// The histories of a layer's x, w and dy, where their casts keep one.
pub(super) type Histories<T> = [Option<T>; 3];

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
    pub(super) recipe: Recipe,
    pub(super) seed: u64,
    pub(super) step: u32,
    pub(super) rank: u32,
    pub(super) training: bool,
    pub(super) layers: BTreeMap<String, Histories<AmaxHistory>>,
}

impl PartialEq for RecipeState {
    /// Whether they hold the same bits; training or evaluation is no part of it.
    fn eq(&self, other: &Self) -> bool {
        let key = |state: &Self| (state.seed, state.step, state.rank);
        key(self) == key(other) && self.recipe == other.recipe && self.layers == other.layers
    }
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

    fn must_train(&self, field: &'static str) -> Result<(), Error> {
        let why = "evaluation changes no state: call set_training(true) first";
        if self.training { Ok(()) } else { Err(Error::Recipe { field, why }) }
    }

    pub(super) fn empty(&self) -> Result<Histories<AmaxHistory>, Error> {
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
}

fn unknown(layer: &str) -> Error {
    Error::Name { what: "layer of this state: call add_layer first", got: Name::new(layer) }
}
