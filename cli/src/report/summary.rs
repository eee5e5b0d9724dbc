//! What each recipe costs, in a line.

use super::casts::{Share, most, percent};
use super::history::Kept;
use super::noise::Noise;
use super::table::Table;
use super::{Part, Plan, Record, distinct};
use quarter::recipe::{Operand, Pass, Recipe};

/// Of the other parts.
pub fn table(plan: &Plan, parts: &[Part]) -> Option<Table> {
    let records = || parts.iter().flat_map(|part| &part.records);
    let noises: Vec<&Noise> = records()
        .filter_map(|record| match record {
            Record::Signal(noise) => Some(noise),
            _ => None,
        })
        .collect();
    let shares: Vec<&Share> = records()
        .filter_map(|record| match record {
            Record::Cast(share) => Some(share),
            _ => None,
        })
        .collect();
    let kept: Vec<&Kept> = records()
        .filter_map(|record| match record {
            Record::Kept(kept) => Some(kept),
            _ => None,
        })
        .collect();
    if noises.is_empty() || shares.is_empty() {
        return None;
    }
    let row = |recipe: &Recipe| {
        let name = &recipe.name;
        let own = || noises.iter().filter(|noise| noise.recipe == *name);
        let normal = |noise: &&&Noise| noise.distribution == "gaussian";
        let error = |pass: Pass| {
            let found = own().filter(normal).find(|noise| noise.pass == pass.name());
            relative(found.and_then(|noise| noise.sqnr_db.db()))
        };
        let worst = own().filter_map(|noise| noise.sqnr_db.db()).reduce(f64::min);
        let lost = |normal: bool| {
            let fits = |d: &str| !normal || d == "gaussian";
            let shares =
                shares.iter().filter(|s| s.recipes.contains(name) && fits(&s.distribution));
            let kept = kept.iter().filter(|k| k.recipes.contains(name) && fits(&k.distribution));
            most(shares.copied(), kept.copied())
        };
        let ((over, under), (most_over, most_under)) = (lost(true), lost(false));
        let pair = |a, b| format!("{} / {}", percent(a), percent(b));
        let [x, w, dy] = [recipe.fprop.a, recipe.fprop.b, recipe.dgrad.a];
        let mut cells = vec![name.clone(), short(&x), short(&w), short(&dy), scales(recipe)];
        cells.extend(plan.passes.iter().map(|pass| error(*pass)));
        cells.extend([relative(worst), pair(over, most_over), pair(under, most_under)]);
        cells
    };
    let errors = plan.passes.iter().map(|pass| format!("error of {pass}"));
    let names = ["recipe", "x", "w", "grad", "scales"].map(str::to_owned).into_iter();
    let last = ["worst error", "overflow", "underflow"].map(str::to_owned);
    Some(Table {
        title: "Recipes, %".to_owned(),
        about: "Errors are those of a product of normal numbers, relative to it, after its casts; the \
                worst is over the distributions below. Overflow and underflow are shares of what is cast: \
                elements beyond the largest number, and elements that become 0; of normal numbers / the \
                most over the distributions. A recipe casts x and w for fprop, and grad for the others. A \
                chip's unit adds its own errors and overflow: see those of sums."
            .to_owned(),
        columns: names.chain(errors).chain(last).collect(),
        names: 5,
        rows: plan.recipes.iter().map(row).collect(),
    })
}

/// An error relative to the signal, in percent.
fn relative(db: Option<f64>) -> String {
    db.map_or_else(
        || "-".to_owned(),
        |db| match 100.0 * 10f64.powf(-db / 20.0) {
            x if x < 0.01 => format!("{x:.0e}"),
            x if x < 10.0 => format!("{x:.2}"),
            x => format!("{x:.1}"),
        },
    )
}

/// `e4m3 tensor`.
fn short(operand: &Operand) -> String {
    match operand {
        Operand::Cast(cast) => format!("{} {}", cast.format, cast.granularity),
        other => other.to_string(),
    }
}

/// The rules, each once.
fn scales(recipe: &Recipe) -> String {
    let operands = [recipe.fprop.a, recipe.fprop.b, recipe.dgrad.a];
    let rules: Vec<String> = operands
        .iter()
        .filter_map(|operand| operand.cast().map(|cast| cast.rule.name().to_owned()))
        .collect();
    let rules = distinct(&rules);
    if rules.is_empty() { "-".to_owned() } else { rules.join(", ") }
}
