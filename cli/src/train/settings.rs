//! What a training is: everything that its bits depend on.

use super::gpt::Size;
use super::memory;
use anyhow::{Context as _, bail, ensure};
use quarter::mma::Unit;
use quarter::nn::{AdamWConfig, MomentType, Skip, WeightType};
use quarter::recipe::{Recipe, Wire};
use serde::{Deserialize, Serialize};

/// A recipe and what it is called in tables and files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// Its name, with that of its unit.
    pub name: String,
    /// The recipe as text.
    pub recipe: String,
}

/// Everything that the numbers of a training depend on: what is saved beside them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// What is trained side by side.
    pub recipes: Vec<Named>,
    /// The model.
    pub size: Size,
    /// Rows of a micro-batch of a rank.
    pub batch: usize,
    /// Micro-batches of a step.
    pub accumulate: usize,
    /// Ranks, each with its own rows.
    pub ranks: usize,
    /// What gradients are sent in: `f32` or `bf16`.
    pub wire: String,
    /// Steps of the whole training.
    pub steps: u64,
    /// The largest learning rate.
    pub lr: f32,
    /// Of weights, rows and stochastic rounding.
    pub seed: u64,
    /// Layers in bf16.
    pub skip: Vec<String>,
    /// Whether moments are bf16.
    pub bf16_moments: bool,
    /// Whether weights are bf16, rounded stochastically.
    pub bf16_weights: bool,
    /// Steps from one validation to the next.
    pub validate: u64,
    /// Rows that the last validation reads; those before it read a quarter of them.
    pub val_rows: usize,
    /// Where the text was.
    pub text: Option<String>,
    /// Its bytes and their checksum.
    pub text_bytes: (u64, u32),
}

impl Settings {
    /// One rank and micro-batch, nothing but the head skipped, f32 masters and moments, seed 0, the
    /// sources as text.
    #[must_use]
    pub fn plain(recipes: Vec<Named>, size: Size, batch: usize, steps: u64) -> Self {
        Self {
            recipes,
            size,
            batch,
            accumulate: 1,
            ranks: 1,
            wire: "f32".into(),
            steps,
            lr: 1e-3,
            seed: 0,
            skip: vec!["head".into()],
            bf16_moments: false,
            bf16_weights: false,
            validate: (steps / 10).max(1),
            val_rows: 64,
            text: None,
            text_bytes: (0, 0),
        }
    }

    /// What must hold of numbers from a command line or a file.
    ///
    /// # Errors
    /// What is wrong, with the numbers.
    pub fn check(&self) -> anyhow::Result<()> {
        let Size { layers, heads, width, context } = self.size;
        for (what, n, most) in [
            ("layers", layers, 1 << 10),
            ("heads", heads, 1 << 10),
            ("width", width, 1 << 16),
            ("context", context, 1 << 16),
            ("batch", self.batch, 1 << 16),
            ("micro-batches", self.accumulate, 1 << 16),
            ("ranks", self.ranks, 1 << 8),
            ("rows of the last validation", self.val_rows, 1 << 20),
        ] {
            ensure!((1..=most).contains(&n), "{what}: {n} is not in 1 to {most}");
        }
        ensure!(
            width.is_multiple_of(heads),
            "the width {width} is not a multiple of the {heads} heads"
        );
        let most = u64::from(u32::MAX);
        ensure!((1..=most).contains(&self.steps), "steps: {} is not in 1 to {most}", self.steps);
        ensure!(self.lr.is_finite() && self.lr > 0.0, "lr: {} is not a positive number", self.lr);
        ensure!(!self.recipes.is_empty(), "no recipe is given");
        for (i, named) in self.recipes.iter().enumerate() {
            let twice = self.recipes[..i].iter().any(|other| other.name == named.name);
            ensure!(!twice, "recipe {} is given twice", named.name);
            named.parse()?;
        }
        self.wire()?;
        memory::check(self)
    }

    /// Tokens of a step, over all ranks and micro-batches.
    #[must_use]
    pub const fn tokens(&self) -> usize {
        self.ranks * self.accumulate * self.batch * self.size.context
    }

    /// The learning rate of a step, from 0 on: up over the first twentieth, then down to zero, both
    /// in straight lines.
    #[must_use]
    pub fn lr_at(&self, step: u64) -> f32 {
        let warm = (self.steps / 20).max(1);
        if step < warm {
            return self.lr * (step + 1) as f32 / warm as f32;
        }
        let left = (self.steps - step.min(self.steps)) as f32 / (self.steps - warm).max(1) as f32;
        self.lr * left
    }

    /// The optimizer's numbers.
    #[must_use]
    pub fn optimizer(&self) -> AdamWConfig {
        AdamWConfig {
            moments: if self.bf16_moments { MomentType::Bf16 } else { MomentType::F32 },
            weights: if self.bf16_weights { WeightType::StochasticBf16 } else { WeightType::F32 },
            seed: self.seed,
            ..AdamWConfig::default()
        }
    }

    /// The layers that are left out of recipes.
    #[must_use]
    pub fn skip(&self) -> Skip {
        Skip::new(self.skip.iter().cloned())
    }

    /// What gradients are sent in.
    ///
    /// # Errors
    /// For another word.
    pub fn wire(&self) -> anyhow::Result<Wire> {
        self.wire.parse().context("wire")
    }
}

impl Named {
    /// The recipe.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(&self) -> anyhow::Result<Recipe> {
        self.recipe.parse().with_context(|| format!("recipe {}", self.name))
    }

    /// `RECIPE`, `RECIPE@UNIT` or `RECIPE@UNIT:PROMOTE` with `PROMOTE` a number or `off`; a recipe
    /// of high precision is left as it is where all are put on a unit.
    ///
    /// # Errors
    /// For names that are unknown, and units that do not multiply what the recipe casts to.
    pub fn new(text: &str, unit: Option<&str>) -> anyhow::Result<Self> {
        let (recipe, own) = match text.split_once('@') {
            Some((recipe, unit)) => (recipe, Some(unit)),
            None => (text, None),
        };
        let parsed: Recipe = recipe.parse()?;
        let Some(unit) = own.or(unit.filter(|_| parsed.has_casts())) else {
            return Ok(Self { name: parsed.name.clone(), recipe: parsed.to_string() });
        };
        let (unit, promote) = match unit.split_once(':') {
            Some((unit, promote)) => (unit, Some(promote)),
            None => (unit, None),
        };
        let mut name = format!("{}@{unit}", parsed.name);
        let unit: &'static Unit = unit.parse()?;
        let mut on = parsed.on(unit).with_context(|| format!("recipe {text}"))?;
        if let Some(promote) = promote {
            let every = match promote {
                "off" => None,
                n => match n.parse::<u32>() {
                    Ok(n) if n > 0 => Some(n),
                    _ => bail!("promotion: {n} is neither off nor a number of elements"),
                },
            };
            for gemm in [&mut on.fprop, &mut on.dgrad, &mut on.wgrad] {
                if gemm.sums.unit.is_some() {
                    gemm.sums.promote = every;
                }
            }
            on.name = format!("{}-{promote}", on.name);
            on.validate().with_context(|| format!("recipe {text}"))?;
            name = format!("{name}:{promote}");
        }
        Ok(Self { name, recipe: on.to_string() })
    }
}
