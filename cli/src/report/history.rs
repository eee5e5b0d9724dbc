//! What delayed scaling saturates: a tensor larger than all that its history saw.

use super::casts::{both, of_recipe, percent, share};
use super::table::{Table, merged};
use super::{Plan, drawn_from, hyphens};
use quarter::scale::{AmaxAlgo, AmaxHistory, HistoryConfig};
use quarter::tensor::{Cast, MatRef, QuantizeOptions, Scales, StatsLevel, amax, quantize};
use quarter::{Granularity, Rule};
use rayon::prelude::*;
use serde::Serialize;

/// Of each matrix.
pub const SHAPE: (usize, usize) = (4, 128);
/// Matrices that are counted, after those that fill the longest history.
pub const STEPS: usize = 2048;

/// Megatron-LM's: the amax of the step before. And a length between.
const SHORTER: [HistoryConfig; 2] = [
    HistoryConfig { len: 1, algo: AmaxAlgo::MostRecent, ..HistoryConfig::TE },
    HistoryConfig { len: 16, ..HistoryConfig::TE },
];

/// A line of the JSON.
#[derive(Clone, Debug, Serialize)]
pub struct Kept {
    /// `history`.
    pub kind: &'static str,
    pub cast: String,
    pub history: String,
    /// The amaxes that a scale follows from.
    pub reach: usize,
    pub recipes: Vec<String>,
    pub distribution: String,
    pub rows: usize,
    pub cols: usize,
    pub seed: u64,
    /// Drawn one by one, and scaled by what those before them were.
    pub matrices: usize,
    /// Matrices of which an element is beyond the largest number.
    pub overflowing: usize,
    /// The probability that a matrix is larger than so many others: 1 / (H + 1).
    pub predicted: f64,
    pub elements: u64,
    pub saturated: u64,
    pub flushed: u64,
}

impl Kept {
    /// Of all elements.
    pub fn of(&self, count: u64) -> f64 {
        share(count, self.elements)
    }

    pub fn name(&self) -> String {
        format!("{} H={}", self.cast, self.reach)
    }

    pub fn recipes(&self) -> String {
        if self.recipes.is_empty() { "-".to_owned() } else { self.recipes.join(", ") }
    }

    pub fn share_cell(&self) -> String {
        both(self.elements, [self.saturated, self.flushed])
    }
}

/// Amaxes that a scale follows from.
const fn reach(config: &HistoryConfig) -> usize {
    match config.algo {
        AmaxAlgo::Max => config.len,
        AmaxAlgo::MostRecent => 1,
    }
}

/// Casts with histories, and the recipes that have them.
fn histories(plan: &Plan) -> Vec<(Cast, HistoryConfig, Vec<String>)> {
    let mut all: Vec<(Cast, HistoryConfig, Vec<String>)> = Vec::new();
    for recipe in &plan.recipes {
        for (cast, history) in of_recipe(recipe) {
            let Some(config) = history else { continue };
            match all.iter_mut().find(|(c, h, _)| (*c, *h) == (cast, config)) {
                Some((_, _, recipes)) => recipes.push(recipe.name.clone()),
                None => all.push((cast, config, vec![recipe.name.clone()])),
            }
        }
    }
    if !plan.recipes_are_given {
        let cast = all.iter().map(|(cast, ..)| *cast).find(|cast| cast.rule == Rule::TeDelayed);
        let shorter = cast.into_iter().flat_map(|cast| SHORTER.map(|h| (cast, h, Vec::new())));
        all.extend(shorter);
    }
    all
}

/// Distribution by distribution.
pub fn measure(plan: &Plan) -> anyhow::Result<Vec<Vec<Kept>>> {
    let all = histories(plan);
    if all.is_empty() {
        return Ok(Vec::new());
    }
    let kept = plan.shown.iter().map(|distribution| {
        let fill = all.iter().map(|(_, config, _)| config.len.max(config.warm_up as usize));
        let fill = fill.max().unwrap_or(0).min(HistoryConfig::MAX_LEN);
        let (high, wide) = SHAPE;
        let draw = |i: usize| {
            let x = distribution.matrix(high, wide, drawn_from(plan.seed, i as u64 + (1 << 40)));
            let amax = amax(MatRef::new(&x, high, wide)?, Granularity::Tensor, true)?[0];
            Ok((x, amax))
        };
        let drawn = (0..fill + STEPS).into_par_iter().map(draw);
        let drawn: Vec<(Vec<f32>, f32)> = drawn.collect::<quarter::Result<_>>()?;
        let one = |(cast, config, recipes): &(Cast, HistoryConfig, Vec<String>)| {
            let kept = steps(cast, config, &drawn, fill)?;
            let (recipes, distribution) = (recipes.clone(), hyphens(*distribution));
            Ok(Kept { recipes, distribution, seed: plan.seed, ..kept })
        };
        all.par_iter().map(one).collect()
    });
    Ok(kept.collect::<quarter::Result<_>>()?)
}

/// Each matrix by the scale that those before it gave; the first fill histories and warm up.
fn steps(
    cast: &Cast,
    config: &HistoryConfig,
    drawn: &[(Vec<f32>, f32)],
    fill: usize,
) -> quarter::Result<Kept> {
    let (rows, cols) = SHAPE;
    let mut history = AmaxHistory::new(*config, cast.format, cast.rule)?;
    let mut kept = Kept {
        kind: "history",
        cast: cast.to_string(),
        history: config.to_string(),
        reach: reach(config),
        recipes: Vec::new(),
        distribution: String::new(),
        rows,
        cols,
        seed: 0,
        matrices: drawn.len() - fill,
        overflowing: 0,
        predicted: 1.0 / (reach(config) + 1) as f64,
        elements: ((drawn.len() - fill) * rows * cols) as u64,
        saturated: 0,
        flushed: 0,
    };
    for (i, (x, amax)) in drawn.iter().enumerate() {
        if i >= fill {
            let scales = Scales::from_scale(history.scale_for(*amax));
            let options = QuantizeOptions::new().stats(StatsLevel::Tensor).threads(1);
            let codes = quantize(MatRef::new(x, rows, cols)?, cast, &options.scales(&scales))?;
            let stats = codes.stats().copied().unwrap_or_default();
            kept.overflowing += usize::from(stats.saturated > 0);
            kept.saturated += stats.saturated;
            kept.flushed += stats.flushed;
        }
        history.record(*amax);
        history.update();
    }
    Ok(kept)
}

/// The share of matrices that overflow.
pub fn table(plan: &Plan, kept: &[Vec<Kept>]) -> Option<Table> {
    let first = kept.first()?;
    let row = |i: usize| {
        let cell = |all: &Vec<Kept>| percent(all[i].overflowing as f64 / all[i].matrices as f64);
        let names = [first[i].name(), first[i].recipes(), percent(first[i].predicted)];
        names.into_iter().chain(kept.iter().map(cell)).collect()
    };
    let shown = plan.shown.iter().map(|shown| hyphens(*shown));
    let names = ["cast", "recipes", "theory"].map(str::to_owned).into_iter();
    Some(Table {
        title: "Probability that a matrix overflows under delayed scaling, %".to_owned(),
        about: format!(
            "Of {STEPS} independent matrices [{}, {}], drawn one after the other, those with an element \
             beyond the largest number. A scale follows from the largest of H earlier \
             amaxes; the next matrix is the largest of H + 1 with probability \
             1 / (H + 1). msamp rounds scales down to powers of two, which leaves room: theory is the \
             most there. Megatron-LM has H=1. Tensors of a training \
             run are not independent.",
            SHAPE.0, SHAPE.1
        ),
        columns: names.chain(shown).collect(),
        names: 2,
        rows: merged((0..first.len()).map(row).collect(), &[0, 1]),
    })
}
