//! What is multiplied, and how it is summed.

use super::{Plan, distinct};
use crate::gemm::compare::Other;
use quarter::Granularity;
use quarter::gemm::Accumulation;
use quarter::mma::Output;
use quarter::recipe::{GemmRecipe, Operand, Pass, Recipe};

/// The interval of promotion, as libraries have it.
const PROMOTE: u32 = 128;

/// A product: recipes that make the same are measured once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct How {
    pub a: Operand,
    pub b: Operand,
    pub sums: Accumulation,
}

/// A recipe's product, summed in one way.
#[derive(Clone, Debug)]
pub struct Way {
    pub recipe: String,
    pub pass: Pass,
    /// `f32`, or a unit and its interval of promotion.
    pub label: String,
    pub how: How,
}

/// Every product of every recipe, by every way to sum that was chosen and that multiplies its operands.
pub fn ways(plan: &Plan, chosen: &[Other]) -> Vec<Way> {
    let one = |recipe: &Recipe| {
        let name = recipe.name.clone();
        let all = plan.passes.iter().flat_map(|pass| {
            let (name, gemm) = (name.clone(), *recipe.gemm(*pass));
            of_product(gemm, chosen).into_iter().map(move |(label, sums)| {
                let how = How { a: gemm.a, b: gemm.b, sums };
                Way { recipe: name.clone(), pass: *pass, label, how }
            })
        });
        all.collect::<Vec<_>>()
    };
    plan.recipes.iter().flat_map(one).collect()
}

fn of_product(gemm: GemmRecipe, chosen: &[Other]) -> Vec<(String, Accumulation)> {
    if let Some(unit) = gemm.sums.unit {
        let promote = gemm.sums.promote.map(|n| format!("/{n}")).unwrap_or_default();
        return vec![(format!("{unit}{promote}"), gemm.sums)];
    }
    let block = |operand: &Operand| {
        operand.cast().is_some_and(|cast| matches!(cast.granularity, Granularity::Block { .. }))
    };
    let blocked = block(&gemm.a) || block(&gemm.b);
    let mut ways = Vec::new();
    for other in chosen {
        let Some(unit) = other.unit() else {
            ways.push(("f32".to_owned(), gemm.fast().sums));
            continue;
        };
        let Ok(GemmRecipe { sums, .. }) = gemm.fast().on(unit) else { continue };
        ways.push((unit.to_string(), sums));
        // Blocks of scales cut chains anyway.
        if unit.output() == Output::E8M13 && sums.promote.is_none() && !blocked {
            let sums = Accumulation { promote: Some(PROMOTE), ..sums };
            ways.push((format!("{unit}/{PROMOTE}"), sums));
        }
    }
    ways
}

/// Each product once, and which of them each way is.
pub fn once(ways: &[Way]) -> (Vec<How>, Vec<usize>) {
    let all: Vec<How> = ways.iter().map(|way| way.how).collect();
    let once = distinct(&all);
    let place = |how: &How| once.iter().position(|other| other == how).unwrap_or(0);
    let places = all.iter().map(place).collect();
    (once, places)
}
