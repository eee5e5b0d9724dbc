//! Steps of `quarter train`, recipe beside recipe, and where their time goes.

use super::report::Unit;
use super::{Bench, Round, contest};
use crate::train::data::Text;
use crate::train::gpt::{Part, Size};
use crate::train::replica::Replica;
use crate::train::settings::{Named, Settings};
use anyhow::Context as _;
use quarter::recipe::Recipe;

/// Recipes unless some are given: f32 and bf16, and what is compared with them.
const RECIPES: [&str; 8] =
    ["f32", "bf16", "current", "delayed", "rowwise", "blockwise", "mxfp8", "mxfp8_floor"];
/// More steps than a measurement makes.
const STEPS: u64 = 1 << 20;

/// Tokens a second of every recipe beside those of the first, in rounds of whole steps; then the
/// share of each part of a step.
pub fn run(
    bench: &Bench<'_>,
    (model, size, batch): (&str, Size, usize),
    recipes: &[Recipe],
) -> anyhow::Result<()> {
    let named = if recipes.is_empty() {
        RECIPES.iter().map(|name| Named::new(name, None)).collect::<anyhow::Result<Vec<_>>>()?
    } else {
        let named = |r: &Recipe| Named { name: r.name.clone(), recipe: r.to_string() };
        recipes.iter().map(named).collect()
    };
    let text = Text::new(None, size.context)?;
    let settings = Settings::plain(named, size, batch, STEPS);
    settings.check()?;
    let mut replicas = Vec::new();
    for named in &settings.recipes {
        let replica = Replica::new(&settings, &named.parse()?, 0, None, bench.threads);
        replicas.push(replica.with_context(|| format!("recipe {}", named.name))?);
    }
    // Reported in thousands a second: `contest` counts 10^9.
    let amount = settings.tokens() as f64 * 1e6;
    let mut work: Vec<_> = replicas
        .iter_mut()
        .map(|replica| {
            let (settings, text, mut step) = (&settings, &text, 0);
            move || {
                step += 1;
                if replica.step(settings, text, step, false).is_ok() { amount } else { 0.0 }
            }
        })
        .collect();
    let mut rounds: Vec<Round<'_>> = work.iter_mut().map(|work| work as Round<'_>).collect();
    let rates = contest(bench.budget * rounds.len() as u32, &mut rounds);
    drop(rounds);
    drop(work);
    let first = &settings.recipes[0].name;
    let shape = format!("{model}, {batch}x{}", size.context);
    for (i, (named, rates_of)) in settings.recipes.iter().zip(&rates).enumerate() {
        let of = (i > 0).then_some((first.as_str(), &rates[0][..]));
        let kernel = format!("train {}", named.name);
        bench.report.row(&kernel, &shape, bench.threads, Unit::Tokens, rates_of, of)?;
    }
    let columns: Vec<_> = Part::ALL.iter().map(|part| part.name()).collect();
    bench.report.shares_head("share of a step, %", &columns)?;
    for (named, replica) in settings.recipes.iter().zip(&mut replicas) {
        let clock = replica.model.clock_mut();
        let spent = Part::ALL.map(|part| clock.spent(part).as_secs_f64());
        let all: f64 = spent.iter().sum();
        let shares = spent.map(|part| if all > 0.0 { part / all } else { 0.0 });
        let kernel = format!("train {}", named.name);
        bench.report.shares(&kernel, &shape, bench.threads, &columns, &shares)?;
    }
    Ok(())
}
