//! Loss curves: records by recipe, means over bins of steps, paired gaps.

use super::StepRecord;
use std::collections::{BTreeMap, HashMap};

/// Recipes that are drawn, at most.
const MOST: usize = 52;

/// One recipe; of two records of one step the later counts.
#[derive(Debug, Default)]
pub struct Curve {
    pub name: String,
    /// Finite training losses by step.
    pub train: BTreeMap<u64, f64>,
    /// Finite validation losses by step.
    pub val: BTreeMap<u64, f64>,
    /// Training losses that are not finite.
    pub left_out: u64,
}

/// All of them, in the order in which they occur.
#[derive(Debug)]
pub struct Curves {
    pub curves: Vec<Curve>,
    /// Recipes beyond [`MOST`].
    pub more: usize,
    first: u64,
    last: u64,
}

/// Equal pieces of the steps; the last may be shorter.
#[derive(Clone, Copy, Debug)]
pub struct Bins {
    pub first: u64,
    pub last: u64,
    /// Steps of each.
    pub each: u64,
    pub count: usize,
}

impl Curves {
    pub fn new(records: &[StepRecord]) -> Self {
        let mut places = HashMap::new();
        let mut curves: Vec<Curve> = Vec::new();
        for record in records {
            let next = places.len();
            let place = *places.entry(record.recipe.as_str()).or_insert(next);
            if place >= MOST {
                continue;
            }
            if place == curves.len() {
                curves.push(Curve { name: record.recipe.clone(), ..Curve::default() });
            }
            let curve = &mut curves[place];
            if record.train_loss.is_finite() {
                curve.train.insert(record.step, record.train_loss.into());
            } else {
                curve.left_out += 1;
            }
            if let Some(loss) = record.val_loss.filter(|loss| loss.is_finite()) {
                curve.val.insert(record.step, loss.into());
            }
        }
        let steps = || records.iter().map(|record| record.step);
        let more = places.len().saturating_sub(MOST);
        let (first, last) = (steps().min().unwrap_or(1), steps().max().unwrap_or(1));
        Self { curves, more, first, last }
    }

    /// Whether there is nothing to draw.
    pub fn is_empty(&self) -> bool {
        self.curves.iter().all(|curve| curve.train.is_empty())
    }

    /// At most so many bins.
    pub fn bins(&self, most: usize) -> Bins {
        let span = (self.last - self.first).saturating_add(1);
        let each = span.div_ceil(most.max(1) as u64);
        let count = span.div_ceil(each) as usize;
        Bins { first: self.first, last: self.last, each, count }
    }

    /// What gaps are to: bf16, else f32, else the first recipe.
    pub fn baseline(&self) -> Option<&Curve> {
        let named = |name: &str| self.curves.iter().find(|curve| curve.name == name);
        named("bf16").or_else(|| named("f32")).or_else(|| self.curves.first())
    }
}

impl Curve {
    /// The mean training loss of each bin.
    pub fn smooth(&self, bins: &Bins) -> Vec<Option<f64>> {
        let mut sums = vec![(0.0, 0_u64); bins.count];
        for (&step, loss) in &self.train {
            let (sum, n) = &mut sums[bins.of(step)];
            *sum += loss;
            *n += 1;
        }
        sums.into_iter().map(|(sum, n)| (n > 0).then(|| sum / n as f64)).collect()
    }

    /// How much more the training loss is than another's in each bin, in percent of the other's:
    /// over the steps that both have.
    pub fn gaps(&self, other: &Self, bins: &Bins) -> Vec<Option<f64>> {
        let mut sums = vec![(0.0, 0.0); bins.count];
        for (&step, loss) in &self.train {
            if let Some(base) = other.train.get(&step) {
                let (difference, all) = &mut sums[bins.of(step)];
                *difference += loss - base;
                *all += base;
            }
        }
        let percent = |(difference, all): (f64, f64)| (all > 0.0).then(|| 100.0 * difference / all);
        sums.into_iter().map(percent).collect()
    }
}

impl Bins {
    fn of(&self, step: u64) -> usize {
        (step.saturating_sub(self.first) / self.each).min(self.count as u64 - 1) as usize
    }

    /// The step in the middle of a bin.
    pub fn middle(&self, bin: usize) -> f64 {
        let begin = self.first.saturating_add(self.each.saturating_mul(bin as u64));
        let end = begin.saturating_add(self.each - 1).min(self.last);
        f64::midpoint(begin as f64, end as f64)
    }
}

/// The least and the largest of some values.
pub fn extent(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    values.into_iter().fold(None, |seen, x| {
        Some(seen.map_or((x, x), |(low, high): (f64, f64)| (low.min(x), high.max(x))))
    })
}

/// The limit of a picture of gaps: the largest magnitude, but not far beyond what most recipes
/// have, so that one that diverged does not make lines of the rest.
pub fn gap_limit(rows: &[Vec<Option<f64>>]) -> f64 {
    let largest = |row: &Vec<Option<f64>>| {
        let sizes = row.iter().flatten().map(|gap| gap.abs());
        sizes.fold(0.0, f64::max)
    };
    let mut all: Vec<f64> = rows.iter().map(largest).collect();
    all.sort_by(f64::total_cmp);
    let median = all.get(all.len().saturating_sub(1) / 2).copied().unwrap_or(0.0);
    let limit = all.last().copied().unwrap_or(0.0);
    let limit = if median > 0.0 { limit.min(4.0 * median) } else { limit };
    if limit > 0.0 { limit } else { 0.01 }
}

/// A distance between labels, 1, 2 or 5 times a power of ten: at most so many in a range.
/// With it the decimals that it needs.
pub fn tick(range: f64, most: usize) -> (f64, usize) {
    let least = (range / most.max(1) as f64).max(1e-9);
    let power = 10_f64.powf(least.log10().floor());
    let step = [1.0, 2.0, 5.0].map(|n| n * power).into_iter().find(|step| *step >= least);
    let step = step.unwrap_or(10.0 * power);
    (step, (-(step * 1.000_001).log10().floor()).clamp(0.0, 9.0) as usize)
}
