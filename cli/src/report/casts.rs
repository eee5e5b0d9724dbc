//! What casts saturate, and what they make zero.

use super::history::{self, Kept};
use super::table::{Table, merged};
use super::{Part, Plan, Record, distinct, dots, drawn_from, formats, hyphens};
use quarter::accuracy::Distribution;
use quarter::recipe::{Pass, Recipe};
use quarter::scale::HistoryConfig;
use quarter::tensor::{Cast, MatMut, MatRef, QuantizeOptions, Scales, StatsLevel, quantize};
use quarter::{FormatId, Granularity, Rule};
use rayon::prelude::*;
use serde::Serialize;

/// Of each matrix.
const SHAPE: (usize, usize) = (128, 2048);
/// Formats of OCP's specifications: those that no recipe has, in blocks of 32.
const OCP: [FormatId; 4] = [FormatId::F8E5M2, FormatId::F6E2M3, FormatId::F6E3M2, FormatId::F4E2M1];

/// How numbers are scaled before they become codes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Scaling {
    /// Not at all.
    None(FormatId),
    /// By the cast's rule, from the matrix itself.
    Own(Cast),
}

/// A cast, and what it is for.
#[derive(Clone, Debug)]
struct Row {
    scaling: Scaling,
    recipes: Vec<String>,
    /// Whether it is in the tables, or only in the JSON.
    shown: bool,
}

/// A line of the JSON.
#[derive(Clone, Debug, Serialize)]
pub struct Share {
    /// `cast`.
    pub kind: &'static str,
    pub format: String,
    pub scale: String,
    /// Recipes with this cast.
    pub recipes: Vec<String>,
    pub distribution: String,
    pub rows: usize,
    pub cols: usize,
    pub seed: u64,
    pub elements: u64,
    /// Beyond the largest number.
    pub saturated: u64,
    /// Not 0, and 0 when turned back.
    pub flushed: u64,
    #[serde(skip)]
    pub shown: bool,
}

impl Share {
    /// Of all elements.
    pub fn of(&self, count: u64) -> f64 {
        share(count, self.elements)
    }

    pub fn cast(&self) -> String {
        format!("{}:{}", self.format, self.scale)
    }

    fn cell(&self) -> String {
        both(self.elements, [self.saturated, self.flushed])
    }
}

/// A share of all elements.
pub fn share(count: u64, elements: u64) -> f64 {
    count as f64 / elements.max(1) as f64
}

/// What saturates / what is flushed, as shares.
pub fn both(elements: u64, counts: [u64; 2]) -> String {
    let [saturated, flushed] = counts.map(|count| percent(share(count, elements)));
    format!("{saturated} / {flushed}")
}

/// Casts of a recipe, each once, and how its histories are kept; none of casts without.
pub fn of_recipe(recipe: &Recipe) -> Vec<(Cast, Option<HistoryConfig>)> {
    let mut all = Vec::new();
    for pass in Pass::ALL {
        let gemm = recipe.gemm(*pass);
        for ((role, _), operand) in pass.operands().into_iter().zip([gemm.a, gemm.b]) {
            let Some(cast) = operand.cast() else { continue };
            let delayed = recipe.delayed.as_ref().filter(|_| cast.rule.keeps_history());
            let history = delayed.map(|delayed| *delayed.of(role));
            all.push((*cast, history.filter(|config| config.warm_up != HistoryConfig::ALWAYS)));
        }
    }
    distinct(&all)
}

/// What is cast: by the recipes, and unless some were chosen, by other rules and without scales.
fn rows(plan: &Plan) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut add = |scaling: Scaling, recipe: Option<&str>, shown: bool| {
        let at = rows.iter().position(|row| row.scaling == scaling).unwrap_or_else(|| {
            rows.push(Row { scaling, recipes: Vec::new(), shown });
            rows.len() - 1
        });
        rows[at].recipes.extend(recipe.map(str::to_owned));
        rows[at].recipes.dedup();
    };
    for recipe in &plan.recipes {
        let own = of_recipe(recipe).into_iter().filter(|(_, history)| history.is_none());
        own.for_each(|(cast, _)| add(Scaling::Own(cast), Some(&recipe.name), true));
    }
    if plan.recipes_are_given {
        return rows;
    }
    for format in OCP {
        for rule in [Rule::OcpFloor, Rule::OcpRceil] {
            add(Scaling::Own(Cast::new(format, Granularity::BLOCK_1X32, rule)), None, true);
        }
    }
    for format in formats() {
        let shown = [FormatId::F8E4M3, FormatId::F8E5M2].contains(&format);
        add(Scaling::None(format), None, shown);
        for (granularity, rule) in [
            (Granularity::Tensor, Rule::TeCurrent),
            (Granularity::BLOCK_1X128, Rule::TeBlock),
            (Granularity::BLOCK_1X32, Rule::OcpFloor),
            (Granularity::BLOCK_1X32, Rule::OcpRceil),
        ] {
            add(Scaling::Own(Cast::new(format, granularity, rule)), None, false);
        }
    }
    rows
}

pub fn part(plan: &Plan, draw: bool) -> anyhow::Result<Part> {
    let rows = rows(plan);
    let all = plan.shown.par_iter().map(|distribution| shares(plan, &rows, *distribution));
    let all: Vec<Vec<Share>> = all.collect::<quarter::Result<_>>()?;
    let kept = history::measure(plan)?;
    let cells = |i: usize| {
        let first = all.first().map(|shares| &shares[i]).filter(|share| share.shown)?;
        let names = match first.recipes.join(", ") {
            names if names.is_empty() => "-".to_owned(),
            names => names,
        };
        let cells = all.iter().map(|shares| shares[i].cell());
        Some([first.cast(), names].into_iter().chain(cells).collect())
    };
    let of_kept = (0..kept.first().map_or(0, Vec::len)).map(|i| {
        let first = &kept[0][i];
        let names = [first.name(), first.recipes()];
        names.into_iter().chain(kept.iter().map(|all| all[i].share_cell())).collect()
    });
    let shown = plan.shown.iter().map(|shown| hyphens(*shown));
    let columns = ["cast", "recipes"].map(str::to_owned).into_iter().chain(shown).collect();
    let mut tables = vec![Table {
        title: "Probability of overflow (saturation) and of underflow (to 0), %".to_owned(),
        about: format!(
            "Of elements of a matrix [{}, {}]: those beyond the largest number / those that are 0 when \
             turned back, and were not. Scales are by the matrix's own amax but where there is none, \
             and where a history is named: of those the mean over {} matrices [{}, {}].",
            SHAPE.0,
            SHAPE.1,
            history::STEPS,
            history::SHAPE.0,
            history::SHAPE.1
        ),
        columns,
        names: 2,
        rows: merged(of_kept.chain((0..rows.len()).filter_map(cells)).collect(), &[0, 1]),
    }];
    tables.extend(history::table(plan, &kept));
    let pictures = if draw { vec![("casts", dots::casts(&all, &kept)?)] } else { Vec::new() };
    let kept = kept.into_iter().flatten().map(Record::Kept);
    let records = all.into_iter().flatten().map(Record::Cast).chain(kept).collect();
    Ok(Part { records, tables, pictures })
}

fn shares(plan: &Plan, rows: &[Row], distribution: Distribution) -> quarter::Result<Vec<Share>> {
    let (high, wide) = SHAPE;
    let x = distribution.matrix(high, wide, drawn_from(plan.seed, 2));
    let matrix = MatRef::new(&x, high, wide)?;
    let mut back = vec![0.0_f32; x.len()];
    let unscaled = Scales::from_scale(1.0);
    let mut share = |row: &Row| {
        let (cast, given, scale) = match row.scaling {
            Scaling::None(format) => {
                let cast = Cast::new(format, Granularity::Tensor, Rule::TeCurrent);
                (cast, Some(&unscaled), "none".to_owned())
            }
            Scaling::Own(cast) => {
                let name = cast.to_string();
                let scale = name.split_once(':').map_or("", |(_, scale)| scale).to_owned();
                (cast, None, scale)
            }
        };
        let options = QuantizeOptions::new().stats(StatsLevel::Blocks);
        let options = given.map_or(options, |scales| options.scales(scales));
        let codes = quantize(matrix, &cast, &options)?;
        codes.dequantize_into(MatMut::new(&mut back, high, wide)?)?;
        // Times a scale of 0, the largest number is 0: such a block is no overflow.
        let blocks = codes.block_stats().iter().enumerate();
        let scaled = blocks.filter(|(i, _)| codes.scales().scale_inv(*i) != 0.0);
        let flushed = x.iter().zip(&back).filter(|(x, y)| **x != 0.0 && **y == 0.0);
        Ok(Share {
            kind: "cast",
            format: cast.format.to_string(),
            scale,
            recipes: row.recipes.clone(),
            distribution: hyphens(distribution),
            rows: high,
            cols: wide,
            seed: plan.seed,
            elements: x.len() as u64,
            saturated: scaled.map(|(_, stats)| stats.saturated).sum(),
            flushed: flushed.count() as u64,
            shown: row.shown,
        })
    };
    rows.iter().map(&mut share).collect()
}

/// In percent, in few letters: what is not 0 is not printed as 0.
pub fn percent(share: f64) -> String {
    match 100.0 * share {
        0.0 => "0".to_owned(),
        x if x < 0.01 => format!("{x:.0e}"),
        x if x < 10.0 => format!("{x:.2}"),
        x if x < 99.95 => format!("{x:.1}"),
        x => format!("{x:.0}"),
    }
}

/// Of all that a recipe casts, the most that saturates and that becomes 0, by distribution.
pub fn most<'a>(
    shares: impl Iterator<Item = &'a Share>,
    kept: impl Iterator<Item = &'a Kept>,
) -> (f64, f64) {
    let own = shares.map(|share| (share.of(share.saturated), share.of(share.flushed)));
    let kept = kept.map(|kept| (kept.of(kept.saturated), kept.of(kept.flushed)));
    own.chain(kept).fold((0.0, 0.0), |most, (a, b)| (most.0.max(a), most.1.max(b)))
}
