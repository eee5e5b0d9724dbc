//! The training of one recipe: its ranks, and what is told of it.

use super::data::{Batch, Text};
use super::gpt::VOCAB;
use super::replica::{Replica, Stepped};
use super::settings::{Named, Settings};
use super::show::{RoleShare, ScaleRecord, StepRecord, Summary};
use anyhow::{Context as _, anyhow};
use quarter::RandomStream;
use quarter::nn::{Exec, Mask, RoleStats, softmax};
use quarter::recipe::{Role, thread_group};
use std::thread;
use std::time::{Duration, Instant};

/// How long ranks wait for each other.
const PATIENCE: Duration = Duration::from_secs(600);
/// Every how many steps casts are counted.
const COUNTED: u64 = 20;
/// Which random words choose sampled bytes.
const SAMPLE: u32 = 0x7361_6d70;

/// A recipe in training.
pub struct Run {
    /// Its name.
    pub name: String,
    /// One a rank.
    pub replicas: Vec<Replica>,
    /// What was told of its steps by this process.
    pub records: Vec<StepRecord>,
    /// Amaxes and scales of the steps that were counted.
    pub scales: Vec<ScaleRecord>,
    shares: [RoleStats; 3],
    saved_bytes: u64,
    /// Seconds and tokens of this process.
    spent: (f64, u64),
}

impl Run {
    /// At its first step.
    ///
    /// # Errors
    /// Those of the recipe and of memory.
    pub fn new(settings: &Settings, named: &Named, threads: usize) -> anyhow::Result<Self> {
        let recipe = named.parse()?;
        let mut groups = thread_group(settings.ranks, PATIENCE).into_iter();
        let replicas = (0..settings.ranks).map(|rank| {
            let group = groups.next().filter(|_| settings.ranks > 1);
            Replica::new(settings, &recipe, rank, group, threads)
                .with_context(|| format!("recipe {}", named.name))
        });
        Ok(Self {
            name: named.name.clone(),
            replicas: replicas.collect::<anyhow::Result<_>>()?,
            records: Vec::new(),
            scales: Vec::new(),
            shares: [RoleStats::default(); 3],
            saved_bytes: 0,
            spent: (0.0, 0),
        })
    }

    /// Step `index`, from 0 on.
    ///
    /// # Errors
    /// Those of a rank.
    pub fn step(
        &mut self,
        settings: &Settings,
        text: &Text,
        index: u64,
    ) -> anyhow::Result<&mut StepRecord> {
        let count = index.is_multiple_of(COUNTED) || index + 1 == settings.steps;
        let start = Instant::now();
        let stepped = match &mut self.replicas[..] {
            [alone] => alone.step(settings, text, index, count)?,
            ranks => all(ranks, |rank| rank.step(settings, text, index, count))?,
        };
        let seconds = start.elapsed().as_secs_f64();
        let tokens = settings.tokens() as u64;
        self.spent = (self.spent.0 + seconds, self.spent.1 + tokens);
        self.saved_bytes = self.saved_bytes.max(stepped.saved_bytes);
        self.count(index + 1, count);
        self.records.push(StepRecord {
            step: index + 1,
            recipe: self.name.clone(),
            train_loss: stepped.loss,
            val_loss: None,
            lr: settings.lr_at(index),
            grad_norm: stepped.update.grad_norm,
            tokens_per_s: tokens as f64 / seconds,
            skipped: self.replicas[0].optimizer.skipped(),
        });
        self.records.last_mut().context("a record")
    }

    /// Takes what the first rank's layers counted; steps of histories count anyway, and only those
    /// that all recipes count are told.
    fn count(&mut self, step: u64, told: bool) {
        for counted in self.replicas[0].counted() {
            if !told {
                continue;
            }
            let share = &mut self.shares[counted.role as usize];
            *share = share.merge(counted.stats);
            self.scales.push(ScaleRecord {
                step,
                recipe: self.name.clone(),
                layer: counted.layer,
                role: counted.role.name(),
                amax: counted.stats.stats.amax,
                scale: counted.stats.scale.unwrap_or(f32::NAN),
            });
        }
    }

    /// The loss of rows that are not trained on.
    ///
    /// # Errors
    /// Those of the layers.
    pub fn validate(&mut self, rows: &Batch, settings: &Settings) -> anyhow::Result<f32> {
        self.replicas[0].validate(rows, settings.batch, settings.size.context)
    }

    /// What came of it.
    #[must_use]
    pub fn summary(&self, records: &[StepRecord], val_loss: f32, settings: &Settings) -> Summary {
        let own: Vec<_> = records.iter().filter(|record| record.recipe == self.name).collect();
        let last = &own[own.len() - own.len().min((settings.steps / 10).max(1) as usize)..];
        let sum: f64 = last.iter().map(|record| f64::from(record.train_loss)).sum();
        let role = |(role, stats): (&Role, &RoleStats)| RoleShare {
            role: role.name().to_owned(),
            saturated: stats.stats.saturated,
            flushed: stats.stats.flushed,
            elements: stats.elements,
        };
        let shares = Role::ALL.iter().zip(&self.shares).filter(|(_, stats)| stats.elements > 0);
        let (seconds, tokens) = self.spent;
        Summary {
            recipe: self.name.clone(),
            steps: own.last().map_or(0, |record| record.step),
            train_loss: (sum / last.len().max(1) as f64) as f32,
            val_loss,
            tokens_per_s: if tokens == 0 { 0.0 } else { tokens as f64 / seconds },
            saved_bytes: self.saved_bytes,
            shares: shares.map(role).collect(),
            skipped: self.replicas[0].optimizer.skipped(),
            seconds,
        }
    }

    /// `n` bytes that the model writes after `prompt`, at a temperature of 0.8.
    ///
    /// # Errors
    /// Those of the layers.
    pub fn sample(
        &mut self,
        prompt: &[u8],
        n: usize,
        settings: &Settings,
    ) -> anyhow::Result<Vec<u8>> {
        let mut bytes: Vec<u32> = prompt.iter().map(|byte| u32::from(*byte)).collect();
        let stream = RandomStream { seed: settings.seed, tensor: SAMPLE, step: 0 };
        for i in 0..n {
            let seen = &bytes[bytes.len().saturating_sub(settings.size.context)..];
            let logits = self.replicas[0].logits(seen, 1)?;
            let mut p = logits[(seen.len() - 1) * VOCAB..].to_vec();
            softmax(&mut p, VOCAB, 1.25, Mask::None, Exec::new().threads(1))?;
            let mut left = (stream.word(i as u64) >> 8) as f32 * 2.0_f32.powi(-24);
            let byte = p.iter().position(|p| {
                left -= p;
                left < 0.0
            });
            bytes.push(byte.unwrap_or(VOCAB - 1) as u32);
        }
        Ok(bytes[prompt.len()..].iter().map(|byte| *byte as u8).collect())
    }
}

/// Runs all ranks, a thread each. What the first of them gave is told; its loss is that of all.
fn all(
    ranks: &mut [Replica],
    run: impl Fn(&mut Replica) -> anyhow::Result<Stepped> + Sync,
) -> anyhow::Result<Stepped> {
    let results: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = ranks.iter_mut().map(|rank| scope.spawn(|| run(rank))).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|_| Err(anyhow!("a rank panicked")))
        };
        threads.into_iter().map(join).collect()
    });
    let mut first = None;
    for (rank, result) in results.into_iter().enumerate() {
        let stepped = result.with_context(|| format!("rank {rank}"))?;
        first.get_or_insert(stepped);
    }
    first.context("no rank")
}
