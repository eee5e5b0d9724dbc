//! Signal to noise of products, over many pairs of matrices, beside what theory predicts.

use super::casts::percent;
use super::table::{Table, of_recipes};
use super::ways::{How, Way, once};
use super::{Plan, distinct, drawn_from, figure, hyphens};
use quarter::accuracy::Distribution;
use quarter::accuracy::bounds::{Density, erf, sqnr, sqnr_blocks};
use quarter::gemm::{GemmOptions, gemm_nt};
use quarter::recipe::{Operand, Prepared};
use quarter::tensor::{MatMut, MatRef, QuantizeOptions};
use quarter::{FormatId, Granularity, Rounding};
use rayon::prelude::*;
use serde::Serialize;

/// Pairs of matrices, and of distributions whose pairs differ more.
const PAIRS: (usize, usize) = (16, 32);
/// M and N at most; less where products would have more multiplications than that, of sums in f32
/// alone and of all.
const SIDE: usize = 128;
const WORK: (usize, usize) = (1 << 23, 1 << 21);

/// A line of the JSON.
#[derive(Clone, Debug, Serialize)]
pub struct Noise {
    pub kind: &'static str,
    pub recipe: String,
    pub pass: &'static str,
    pub distribution: String,
    /// `f32`, or a unit and its interval of promotion.
    pub sums: String,
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub seed: u64,
    pub pairs: usize,
    /// The mean over the pairs.
    pub sqnr_db: Level,
    /// Of the mean.
    pub standard_error_db: Option<f64>,
    /// Of the casts of normal numbers.
    pub predicted_db: Option<f64>,
    pub outputs: usize,
    /// Outputs that are not finite.
    pub overflow: usize,
}

/// Signal to noise, or why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Level {
    Db(f64),
    /// `exact`, `zeros`: there is no signal; `overflow`: an output is not finite.
    Is(&'static str),
}

impl Level {
    pub const fn db(self) -> Option<f64> {
        match self {
            Self::Db(db) => Some(db),
            Self::Is(_) => None,
        }
    }
}

impl Noise {
    /// The mean and the error of its last digit.
    pub fn cell(&self) -> String {
        match (self.sqnr_db, self.standard_error_db) {
            (Level::Db(mean), error) => with_error(mean, error.unwrap_or(0.0)),
            (Level::Is("overflow"), _) => {
                format!("{}% Inf", percent(self.overflow as f64 / self.outputs.max(1) as f64))
            }
            (Level::Is(word), _) => word.to_owned(),
        }
    }

    pub fn theory(&self) -> String {
        self.predicted_db.map_or_else(|| "-".to_owned(), |db| format!("{db:.2}"))
    }
}

/// `28.46(3)`: 28.46 with a standard error of 0.03.
fn with_error(mean: f64, error: f64) -> String {
    let places = if error < 0.095 { 2 } else { usize::from(error < 0.95) };
    let digit = (error * 10f64.powi(places as i32)).round().max(1.0);
    format!("{mean:.places$}({digit})")
}

/// Of one pair.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    signal: f64,
    noise: f64,
    overflow: usize,
}

/// M and N.
fn side(plan: &Plan, k: usize) -> usize {
    let most = if plan.long { WORK.1 } else { WORK.0 };
    let fits = |side: &usize| side * side * k <= most;
    std::iter::successors(Some(SIDE), |side| Some(side / 2)).find(fits).unwrap_or(1).max(8)
}

fn pairs(distribution: Distribution) -> usize {
    match distribution {
        Distribution::Gaussian | Distribution::Uniform => PAIRS.0,
        _ => PAIRS.1,
    }
}

/// How many, in words.
pub fn pairs_said(plan: &Plan) -> String {
    let mut all: Vec<usize> = plan.shown.iter().map(|d| pairs(*d)).collect();
    all.sort_unstable();
    all.dedup();
    all.iter().map(usize::to_string).collect::<Vec<_>>().join(" or ")
}

/// Way by way the figures of each distribution and K.
pub fn measure(plan: &Plan, ways: &[Way]) -> anyhow::Result<Vec<Vec<Noise>>> {
    let (hows, places) = once(ways);
    let cases: Vec<(Distribution, usize)> =
        plan.shown.iter().flat_map(|d| plan.signal_k.iter().map(|k| (*d, *k))).collect();
    let draws: Vec<(usize, usize)> = cases
        .iter()
        .enumerate()
        .flat_map(|(case, (distribution, _))| (0..pairs(*distribution)).map(move |i| (case, i)))
        .collect();
    let found = draws.par_iter().map(|(case, i)| {
        let (distribution, k) = cases[*case];
        pair(plan, &hows, distribution, k, *i).map(|sums| (*case, sums))
    });
    let found: Vec<(usize, Vec<Sums>)> = found.collect::<quarter::Result<_>>()?;
    let noises = ways.iter().zip(places).map(|(way, place)| {
        let case = |(case, (distribution, k)): (usize, &(Distribution, usize))| {
            let here = found.iter().filter(|(other, _)| *other == case);
            let sums: Vec<Sums> = here.map(|(_, sums)| sums[place]).collect();
            noise(plan, way, *distribution, *k, &sums)
        };
        cases.iter().enumerate().map(case).collect()
    });
    Ok(noises.collect())
}

/// All products of a pair of matrices.
fn pair(
    plan: &Plan,
    hows: &[How],
    distribution: Distribution,
    k: usize,
    i: usize,
) -> quarter::Result<Vec<Sums>> {
    let side = side(plan, k);
    let draw = |which: u64| {
        distribution.matrix(side, k, drawn_from(plan.seed, 2 * i as u64 + which + (1 << 32)))
    };
    let (x, y) = (draw(0), draw(1));
    let exact = product(&x, &y, side, k);
    let [x, y] = [MatRef::new(&x, side, k)?, MatRef::new(&y, side, k)?];
    let (as_a, as_b) = (prepare(hows, |how| how.a, x)?, prepare(hows, |how| how.b, y)?);
    let mut actual = vec![0.0_f32; side * side];
    let mut sums = Vec::with_capacity(hows.len());
    for how in hows {
        let place = |all: &[(Operand, Prepared<'_>)], operand| {
            all.iter().position(|(other, _)| *other == operand).unwrap_or(0)
        };
        let (a, b) = (&as_a[place(&as_a, how.a)].1, &as_b[place(&as_b, how.b)].1);
        let options = GemmOptions::new().sums(how.sums).threads(1);
        gemm_nt(a.input()?, b.input()?, MatMut::new(&mut actual, side, side)?, &options)?;
        let mut sum = Sums::default();
        for (actual, exact) in actual.iter().zip(&exact) {
            if !actual.is_finite() {
                sum.overflow += 1;
                continue;
            }
            let error = f64::from(*actual) - exact;
            sum.signal += exact * exact;
            sum.noise += error * error;
        }
        sums.push(sum);
    }
    Ok(sums)
}

/// Each cast once.
fn prepare<'a>(
    hows: &[How],
    of: fn(&How) -> Operand,
    x: MatRef<'a>,
) -> quarter::Result<Vec<(Operand, Prepared<'a>)>> {
    let casts = QuantizeOptions::new().threads(1);
    let operands = distinct(&hows.iter().map(of).collect::<Vec<_>>());
    operands.iter().map(|one| Ok((*one, one.prepare(x, false, &casts)?))).collect()
}

/// In f64, terms in order.
fn product(x: &[f32], y: &[f32], side: usize, k: usize) -> Vec<f64> {
    let mut turned = vec![0.0_f64; y.len()];
    for (col, row) in y.chunks(k).enumerate() {
        row.iter().enumerate().for_each(|(i, y)| turned[i * side + col] = f64::from(*y));
    }
    let mut all = vec![0.0_f64; side * side];
    for (row, sums) in x.chunks(k).zip(all.chunks_mut(side)) {
        for (x, y) in row.iter().zip(turned.chunks(side)) {
            let x = f64::from(*x);
            sums.iter_mut().zip(y).for_each(|(sum, y)| *sum += x * y);
        }
    }
    all
}

fn noise(plan: &Plan, way: &Way, distribution: Distribution, k: usize, sums: &[Sums]) -> Noise {
    let side = side(plan, k);
    let overflow = sums.iter().map(|sum| sum.overflow).sum();
    let noisy = sums.iter().filter(|sum| sum.noise > 0.0 && sum.signal > 0.0);
    let db: Vec<f64> = noisy.map(|sum| 10.0 * (sum.signal / sum.noise).log10()).collect();
    let n = db.len() as f64;
    let mean = db.iter().sum::<f64>() / n;
    let spread = db.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    let none = |of: fn(&Sums) -> f64| sums.iter().all(|sum| of(sum) == 0.0);
    let level = match figure(mean) {
        _ if overflow > 0 => Level::Is("overflow"),
        _ if none(|sum| sum.signal) => Level::Is("zeros"),
        Some(db) => Level::Db(db),
        None => Level::Is("exact"),
    };
    let normal = distribution == Distribution::Gaussian;
    Noise {
        kind: "signal",
        recipe: way.recipe.clone(),
        pass: way.pass.name(),
        distribution: hyphens(distribution),
        sums: way.label.clone(),
        m: side,
        n: side,
        k,
        seed: plan.seed,
        pairs: sums.len(),
        sqnr_db: level,
        standard_error_db: level.db().and(figure((spread / n).sqrt())),
        predicted_db: normal.then(|| predicted(&way.how, (side, k))).flatten(),
        outputs: side * side * sums.len(),
        overflow,
    }
}

/// Of the product of normal numbers after these casts, in dB: noise that is independent adds up. None
/// of casts for which there is no theory, and where nothing is cast.
fn predicted(how: &How, shape: (usize, usize)) -> Option<f64> {
    let noise = noise_of(&how.a, shape)? + noise_of(&how.b, shape)?;
    if noise > 0.0 { figure(-10.0 * noise.log10()) } else { None }
}

/// Noise / signal of an operand of standard normal numbers.
fn noise_of(operand: &Operand, (rows, cols): (usize, usize)) -> Option<f64> {
    let db = match operand {
        Operand::F32 => return Some(0.0),
        Operand::Bf16 => sqnr(FormatId::Bf16.spec(), Density::Normal { sigma: 1.0 }),
        Operand::Cast(cast) if cast.rounding == Rounding::NearestEven => {
            let group = match cast.granularity {
                Granularity::Tensor => rows * cols,
                Granularity::Row => cols,
                Granularity::Col => rows,
                Granularity::Block { rows: high, cols: wide } => high.min(rows) * wide.min(cols),
            };
            let spec = cast.format.spec();
            let global = cast.rule.global_scale(spec, median_amax(rows * cols) as f32);
            sqnr_blocks(spec, cast.rule, group, global)
        }
        Operand::Cast(_) => return None,
    };
    Some(10f64.powf(-db / 10.0))
}

/// The amax that half of all matrices of n normal numbers exceed.
fn median_amax(n: usize) -> f64 {
    let (mut low, mut high) = (0.0, 12.0);
    for _ in 0..60 {
        let middle: f64 = (low + high) / 2.0;
        let below = erf(middle * std::f64::consts::FRAC_1_SQRT_2).powf(n as f64);
        if below < 0.5 { low = middle } else { high = middle }
    }
    low
}

/// Rows of recipes and passes, those that say the same as one.
pub fn table(plan: &Plan, noises: &[Vec<Noise>]) -> Table {
    let several = plan.signal_k.len() > 1;
    let row = |(noises, k): (&Vec<Noise>, &usize)| {
        let first = noises.first();
        let name = |of: fn(&Noise) -> &str| first.map_or_else(String::new, |n| of(n).to_owned());
        let mut cells = vec![name(|n| &n.recipe), name(|n| n.pass)];
        cells.extend(several.then(|| k.to_string()));
        for noise in noises.iter().filter(|noise| noise.k == *k) {
            cells.push(noise.cell());
            if noise.distribution == "gaussian" {
                cells.push(noise.theory());
            }
        }
        cells
    };
    let rows = noises.iter().flat_map(|noises| plan.signal_k.iter().map(move |k| (noises, k)));
    let shown = plan.shown.iter().flat_map(|shown| {
        let theory = (*shown == Distribution::Gaussian).then(|| "theory".to_owned());
        [hyphens(*shown)].into_iter().chain(theory)
    });
    let names = ["recipe", "pass"].into_iter().chain(several.then_some("K")).map(str::to_owned);
    let k: Vec<String> = plan.signal_k.iter().map(usize::to_string).collect();
    let side = plan.signal_k.first().map_or(SIDE, |k| side(plan, *k));
    Table {
        title: format!("Signal to noise of products, dB, K = {}", k.join(", ")),
        about: format!(
            "What casts cost: sums are in f32, against the product of the numbers before they were \
             cast, in f64. The mean over {} pairs of matrices of {side} rows ({} of gaussian and \
             uniform), and in brackets the standard error of its last digit. Theory is of gaussian: \
             the noise of both operands added, -10 log10(10^(-a/10) + 10^(-b/10)), where a and b are \
             sqnr_blocks of quarter::accuracy::bounds for the cast's groups, or sqnr of bf16. 20 dB \
             are an error of 10 % of the signal, 30 dB of 3 %, 50 dB of 0.3 %. Recipes with histories \
             scale by the tensor's own amax here. With --unit, --k, --recipe or \
             --distribution each unit and K has its own rows.",
            PAIRS.1, PAIRS.0
        ),
        columns: names.chain(shown).collect(),
        names: 2,
        rows: of_recipes(rows.map(row).collect()),
    }
}
