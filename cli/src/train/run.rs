//! The training of one recipe: its ranks, and what is told of it.

use super::data::Text;
use super::gpt::VOCAB;
use super::replica::{Replica, Stepped};
use super::settings::{Named, Settings};
use super::show::{RoleShare, ScaleRecord, StepRecord, Summary};
use anyhow::{Context as _, anyhow};
use quarter::nn::{Exec, Mask, softmax};
use quarter::recipe::{Role, thread_group};
use quarter::{Error, RandomStream};
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
    /// What the last step counted, if it did.
    pub scales: Vec<ScaleRecord>,
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
            scales: Vec::new(),
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
    ) -> anyhow::Result<StepRecord> {
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
        Ok(StepRecord {
            step: index + 1,
            recipe: self.name.clone(),
            train_loss: stepped.loss,
            val_loss: None,
            lr: settings.lr_at(index),
            grad_norm: stepped.update.grad_norm,
            tokens_per_s: tokens as f64 / seconds,
            skipped: self.replicas[0].optimizer.skipped(),
        })
    }

    /// Takes what the first rank's layers counted; of a step that is not told it is dropped.
    fn count(&mut self, step: u64, told: bool) {
        self.scales.clear();
        for counted in self.replicas[0].counted().into_iter().filter(|_| told) {
            self.scales.push(ScaleRecord {
                step,
                recipe: self.name.clone(),
                layer: counted.layer,
                role: counted.role.name(),
                amax: counted.stats.stats.amax,
                scale: counted.stats.scale.unwrap_or(f32::NAN),
                saturated: counted.stats.stats.saturated,
                flushed: counted.stats.stats.flushed,
                elements: counted.stats.elements,
            });
        }
    }

    /// The loss of `n` rows that are not trained on.
    ///
    /// # Errors
    /// Those of the layers.
    pub fn validate(&mut self, text: &Text, n: usize, settings: &Settings) -> anyhow::Result<f32> {
        self.replicas[0].validate(text, n, settings)
    }

    /// What came of it, from all that was told of its steps, by earlier processes too.
    #[must_use]
    pub fn summary(
        &self,
        records: &[StepRecord],
        scales: &[ScaleRecord],
        val_loss: f32,
        settings: &Settings,
    ) -> Summary {
        let own: Vec<_> = records.iter().filter(|record| record.recipe == self.name).collect();
        let last = &own[own.len() - own.len().min((settings.steps / 10).max(1) as usize)..];
        let sum: f64 = last.iter().map(|record| f64::from(record.train_loss)).sum();
        let role = |role: &Role| {
            let of = |scale: &&ScaleRecord| scale.recipe == self.name && scale.role == role.name();
            let sum = |what: fn(&ScaleRecord) -> u64| {
                scales.iter().filter(of).map(what).fold(0, u64::saturating_add)
            };
            RoleShare {
                role: role.name().to_owned(),
                saturated: sum(|scale| scale.saturated),
                flushed: sum(|scale| scale.flushed),
                elements: sum(|scale| scale.elements),
            }
        };
        let (seconds, tokens) = self.spent;
        Summary {
            recipe: self.name.clone(),
            steps: own.last().map_or(0, |record| record.step),
            train_loss: (sum / last.len().max(1) as f64) as f32,
            val_loss,
            tokens_per_s: if tokens == 0 { f64::NAN } else { tokens as f64 / seconds },
            saved_bytes: self.saved_bytes,
            shares: Role::ALL.iter().map(role).filter(|share| share.elements > 0).collect(),
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

/// Runs all ranks, a thread each, and gives what the first one gave; its loss is the mean of all. If
/// some fail, the error is the one that the others failed of, not that they were left alone.
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
    first_or_cause(results)
}

/// The first of the ranks' results, or the error behind the others.
fn first_or_cause<T>(results: Vec<anyhow::Result<T>>) -> anyhow::Result<T> {
    let of_group =
        |error: &anyhow::Error| matches!(error.downcast_ref::<Error>(), Some(Error::State { .. }));
    let (mut first, mut cause) = (None, None);
    for (rank, result) in results.into_iter().enumerate() {
        match result {
            Ok(stepped) => {
                first.get_or_insert(stepped);
            }
            Err(error) => {
                if cause.as_ref().is_none_or(|(_, known)| of_group(known) && !of_group(&error)) {
                    cause = Some((rank, error));
                }
            }
        }
    }
    match cause {
        Some((rank, error)) => Err(error.context(format!("rank {rank}"))),
        None => first.context("no rank"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_of_a_group_is_not_the_cause() {
        let state = || Err(Error::State { what: "the ranks", expected: 3, got: 2 }.into());
        let all = vec![state(), Err(anyhow!("no memory")), Err(anyhow!("later")), Ok(1)];
        let error = first_or_cause(all).expect_err("an error");
        assert_eq!(format!("{error:#}"), "rank 1: no memory");
        let error = first_or_cause(vec![Ok(1), state(), state()]).expect_err("an error");
        assert!(format!("{error:#}").starts_with("rank 1: state: "), "{error:#}");
        assert_eq!(first_or_cause(vec![Ok(1), Ok(2)]).expect("the first"), 1);
    }
}
