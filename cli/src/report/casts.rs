//! What casts saturate, and what they make zero.

use super::table::Table;
use super::{Part, Plan, Record, formats, hyphens, plot};
use quarter::accuracy::Distribution;
use quarter::tensor::{Cast, MatRef, QuantizeOptions, Scales, StatsLevel, amax, quantize};
use quarter::{FormatId, Granularity, Rule};
use rayon::prelude::*;
use serde::Serialize;

/// Of each matrix.
const SHAPE: (usize, usize) = (128, 2048);

/// How numbers are scaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scaling {
    /// Not at all.
    None,
    /// By the amax of another matrix from the same distribution.
    Earlier,
    /// By a rule, from the matrix itself.
    Rule(Granularity, Rule),
}

impl Scaling {
    /// Those of a format.
    fn all(format: FormatId) -> impl Iterator<Item = Self> {
        let nvfp4 = Self::Rule(Granularity::BLOCK_1X16, Rule::Nvfp4);
        let nvfp4 = Some(nvfp4).filter(|_| format == FormatId::F4E2M1);
        [
            Self::None,
            Self::Earlier,
            Self::Rule(Granularity::Tensor, Rule::TeCurrent),
            Self::Rule(Granularity::BLOCK_1X128, Rule::TeBlock),
            Self::Rule(Granularity::BLOCK_1X32, Rule::OcpFloor),
            Self::Rule(Granularity::BLOCK_1X32, Rule::OcpRceil),
        ]
        .into_iter()
        .chain(nvfp4)
    }

    fn name(self) -> String {
        match self {
            Self::None => "none".to_owned(),
            Self::Earlier => format!("{}:{}", Granularity::Tensor, Rule::TeDelayed),
            Self::Rule(granularity, rule) => format!("{granularity}:{rule}"),
        }
    }
}

/// A line of the JSON.
#[derive(Clone, Debug, Serialize)]
pub struct Share {
    pub format: String,
    pub scale: String,
    pub distribution: String,
    pub elements: u64,
    pub saturated: u64,
    pub flushed: u64,
}

impl Share {
    /// Of all elements.
    pub fn of(&self, count: u64) -> f64 {
        count as f64 / self.elements.max(1) as f64
    }
}

pub fn part(plan: &Plan, draw: bool) -> anyhow::Result<Part> {
    let all = plan.shown.par_iter().map(|distribution| shares(plan, *distribution));
    let all: Vec<Vec<Share>> = all.collect::<quarter::Result<_>>()?;
    let rows = all.first().map_or(0, Vec::len);
    let row = |i: usize| {
        let cell = |shares: &Vec<Share>| {
            let share = &shares[i];
            format!("{} / {}", percent(share.of(share.saturated)), percent(share.of(share.flushed)))
        };
        let names = [all[0][i].format.clone(), all[0][i].scale.clone()];
        names.into_iter().chain(all.iter().map(cell)).collect()
    };
    let shown = plan.shown.iter().map(|shown| hyphens(*shown));
    let table = Table {
        title: "What casts saturate and flush, %".to_owned(),
        about: format!(
            "Of {} elements, those beyond the largest number / those that become 0 and were not. \
             te-delayed has the amax of another matrix from the same distribution, the others their own.",
            SHAPE.0 * SHAPE.1
        ),
        columns: ["format", "scale"].map(str::to_owned).into_iter().chain(shown).collect(),
        names: 2,
        rows: (0..rows).map(row).collect(),
    };
    let picture = if draw { Some(("casts.svg", plot::casts(&all)?)) } else { None };
    let records = all.into_iter().flatten().map(Record::Cast).collect();
    Ok(Part { records, tables: vec![table], picture })
}

fn shares(plan: &Plan, distribution: Distribution) -> quarter::Result<Vec<Share>> {
    let (rows, cols) = SHAPE;
    let x = distribution.matrix(rows, cols, plan.seed);
    let earlier = distribution.matrix(rows, cols, !plan.seed);
    let [x, earlier] = [&x, &earlier].map(|x| MatRef::new(x, rows, cols));
    let (x, earlier) = (x?, amax(earlier?, Granularity::Tensor, true)?[0]);
    let mut shares = Vec::new();
    for format in formats() {
        for scaling in Scaling::all(format) {
            let cast = match scaling {
                Scaling::None => Cast::new(format, Granularity::Tensor, Rule::TeCurrent),
                Scaling::Earlier => Cast::new(format, Granularity::Tensor, Rule::TeDelayed),
                Scaling::Rule(granularity, rule) => Cast::new(format, granularity, rule),
            };
            let given = match scaling {
                Scaling::None => Some(Scales::from_scale(1.0)),
                Scaling::Earlier => Some(Scales::from_amax(&cast, earlier)),
                Scaling::Rule(..) => None,
            };
            let options = QuantizeOptions::new().stats(StatsLevel::Tensor);
            let options = given.as_ref().map_or(options, |scales| options.scales(scales));
            let codes = quantize(x, &cast, &options)?;
            let stats = codes.stats().copied().unwrap_or_default();
            shares.push(Share {
                format: format.to_string(),
                scale: scaling.name(),
                distribution: hyphens(distribution),
                elements: (rows * cols) as u64,
                saturated: stats.saturated,
                flushed: stats.flushed,
            });
        }
    }
    Ok(shares)
}

/// In percent: what is not 0 is not printed as 0.
fn percent(share: f64) -> String {
    match 100.0 * share {
        0.0 => "0".to_owned(),
        x if x < 0.01 => "<.01".to_owned(),
        x if x < 10.0 => format!("{x:.2}"),
        x => format!("{x:.1}"),
    }
}
