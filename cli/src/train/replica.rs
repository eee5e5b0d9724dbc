//! One rank of one recipe's training: a model, its optimizer and its state.

use super::data::{Batch, Text};
use super::gpt::{Gpt, Part, VOCAB};
use super::settings::Settings;
use anyhow::ensure;
use quarter::gemm::Workspace;
use quarter::nn::{self, AdamW, Exec, RoleStats, Step, Update};
use quarter::recipe::{AllReduce, Recipe, RecipeState, Role, ThreadRank};

/// What a rank has for itself.
pub struct Replica {
    /// The model.
    pub model: Gpt,
    /// The moments of its parameters.
    pub optimizer: AdamW,
    /// Histories, seed and step.
    pub state: RecipeState,
    workspace: Workspace,
    group: Option<ThreadRank>,
    exec: Exec,
}

/// What a step gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stepped {
    /// Mean loss over all ranks and micro-batches.
    pub loss: f32,
    /// What the optimizer did.
    pub update: Update,
    /// Bytes of activations that were kept for backward at one time, on this rank.
    pub saved_bytes: u64,
}

/// A layer's role after a step that was counted.
#[derive(Clone, Debug)]
pub struct Counted {
    /// The layer.
    pub layer: String,
    /// The role.
    pub role: Role,
    /// What casting did.
    pub stats: RoleStats,
}

impl Replica {
    /// A rank at its first step. With a group it runs on one thread, as its peers do.
    ///
    /// # Errors
    /// Those of the recipe and of memory.
    pub fn new(
        settings: &Settings,
        recipe: &Recipe,
        rank: usize,
        group: Option<ThreadRank>,
        threads: usize,
    ) -> anyhow::Result<Self> {
        let model = Gpt::new(settings.size, recipe, &settings.skip(), settings.seed)?;
        let mut state = RecipeState::new(recipe.clone(), settings.seed, rank as u32)?;
        model.register(&mut state)?;
        let optimizer = AdamW::new(settings.optimizer())?;
        let threads = if group.is_some() { 1 } else { threads };
        let exec = Exec::new().threads(threads);
        let mut replica =
            Self { model, optimizer, state, workspace: Workspace::new(), group, exec };
        if settings.bf16_weights {
            // There is no master: the first weights are bf16 as all later ones are.
            replica.model.visit(|_, param| {
                param.value.iter_mut().for_each(|w| *w = half::bf16::from_f32(*w).to_f32());
            });
        }
        Ok(replica)
    }

    /// One step of training, on this rank's rows.
    ///
    /// # Errors
    /// Those of the layers and of the group; then the group is left, and no rank waits for this one.
    pub fn step(
        &mut self,
        settings: &Settings,
        text: &Text,
        index: u64,
        count: bool,
    ) -> anyhow::Result<Stepped> {
        let done = self.run(settings, text, index, count);
        if done.is_err() {
            self.group = None;
        }
        done
    }

    fn run(
        &mut self,
        settings: &Settings,
        text: &Text,
        index: u64,
        count: bool,
    ) -> anyhow::Result<Stepped> {
        let Settings { batch, accumulate, ranks, seed, .. } = *settings;
        let group = self.group.as_ref();
        ensure!(ranks == 1 || group.is_some(), "rank {} has left its group", self.state.rank());
        let wire = settings.wire()?;
        let weight = 1.0 / settings.tokens() as f32;
        let context = settings.size.context;
        self.model.zero_grad();
        let (mut loss, mut saved_bytes) = ([0.0], 0);
        for micro in 0..accumulate {
            // Rows are counted over micro-batches, and in each over ranks.
            let first = (micro * ranks + self.state.rank() as usize) * batch;
            let Batch { inputs, targets } = text.batch(seed, index, first..first + batch, context);
            let mut step = Step {
                state: &mut self.state,
                workspace: &mut self.workspace,
                group: group.map(|group| group as &dyn AllReduce),
                exec: self.exec,
                count,
            };
            let (own, bytes) = self.model.train(&inputs, &targets, batch, weight, &mut step)?;
            loss[0] += own;
            saved_bytes = saved_bytes.max(bytes);
        }
        if let Some(group) = group {
            for grad in self.model.grads_mut() {
                group.sum_in(grad, wire)?;
            }
            group.sum(&mut loss)?;
        }
        let mut params = self.model.params();
        let update = self.optimizer.step(&mut params, settings.lr_at(index), self.exec)?;
        self.state.end_step(group.map(|group| group as &dyn AllReduce))?;
        self.model.clock_mut().lap(Part::Optimizer);
        Ok(Stepped { loss: loss[0] / (accumulate * ranks) as f32, update, saved_bytes })
    }

    /// The mean loss of `n` rows that are not trained on, a batch at a time: nothing changes.
    ///
    /// # Errors
    /// Those of the layers.
    pub fn validate(&mut self, text: &Text, n: usize, settings: &Settings) -> anyhow::Result<f32> {
        let (context, mut sum) = (settings.size.context, 0.0);
        for first in (0..n).step_by(settings.batch) {
            let rows = first..n.min(first + settings.batch);
            let Batch { inputs, targets } = text.validation(n, rows, context);
            let logits = self.logits(&inputs, inputs.len() / context)?;
            let loss = nn::cross_entropy(&logits, VOCAB, &targets, None, 0.0, self.exec)?;
            sum += loss * inputs.len() as f32;
        }
        Ok(sum / (n * context).max(1) as f32)
    }

    /// The logits of rows of bytes.
    ///
    /// # Errors
    /// Those of the layers.
    pub fn logits(&mut self, inputs: &[u32], batch: usize) -> anyhow::Result<Vec<f32>> {
        self.state.set_training(false);
        let mut step = Step {
            state: &mut self.state,
            workspace: &mut self.workspace,
            group: None,
            exec: self.exec,
            count: false,
        };
        let logits = self.model.infer(inputs, batch, &mut step);
        self.state.set_training(true);
        Ok(logits?)
    }

    /// What casting did in the steps that were counted since the last call.
    pub fn counted(&mut self) -> Vec<Counted> {
        let mut all = Vec::new();
        for linear in self.model.linears_mut() {
            for role in Role::ALL {
                let stats = linear.take_stats(*role);
                if stats.elements > 0 {
                    all.push(Counted { layer: linear.name().to_owned(), role: *role, stats });
                }
            }
        }
        all
    }
}
