//! Products of recipes, held to their bounds.

use super::table::Table;
use super::{Part, Plan, Record, figure, hyphens, plot};
use crate::gemm::compare::Other;
use anyhow::{Context as _, ensure};
use quarter::accuracy::bounds::{GemmBound, Operand};
use quarter::accuracy::check::{Element, check_matrix};
use quarter::accuracy::{CompareOptions, Distribution, Metrics};
use quarter::gemm::{Accumulation, GemmOptions, gemm_nt};
use quarter::mma::Output;
use quarter::recipe::{GemmRecipe, Pass, Recipe};
use quarter::tensor::{MatMut, MatRef, QuantizeOptions};
use quarter::{FormatId, Granularity, Rounding};
use rayon::prelude::*;
use serde::Serialize;

/// M and N.
const SHAPE: (usize, usize) = (8, 4);
/// The interval of promotion, as libraries have it.
const PROMOTE: u32 = 128;

/// A line of the JSON.
#[derive(Clone, Debug, Serialize)]
pub struct Product {
    pub recipe: String,
    pub pass: &'static str,
    pub distribution: String,
    pub k: usize,
    /// `f32`, or a unit and its interval of promotion.
    pub sums: String,
    /// Of all that is finite.
    pub sqnr_db: Option<f64>,
    /// The largest part of its bound that an error took.
    pub of_bound: Option<f64>,
    /// The same of the probable bound.
    pub of_probable: Option<f64>,
    /// ‖error of sums‖ / ‖|A||B|‖.
    pub sums_norm: Option<f64>,
    /// The same as above of the sums alone.
    pub sums_of_bound: Option<f64>,
    pub sums_of_probable: Option<f64>,
    pub outputs: usize,
    /// Outputs that may overflow: nothing is proven of them.
    pub without_bound: usize,
    /// Outputs beyond a bound.
    pub beyond: usize,
}

/// A recipe's product, summed in one way.
struct Way<'a> {
    recipe: &'a Recipe,
    label: String,
    sums: Accumulation,
}

/// Every way to sum that was chosen and that multiplies the recipe's operands.
fn ways<'a>(recipe: &'a Recipe, pass: Pass, chosen: &[Other]) -> Vec<Way<'a>> {
    let gemm = *recipe.gemm(pass);
    let way = |label: String, sums| Way { recipe, label, sums };
    if let Some(unit) = gemm.sums.unit {
        return vec![way(unit.to_string(), gemm.sums)];
    }
    let block = |operand: &quarter::recipe::Operand| {
        operand.cast().is_some_and(|cast| matches!(cast.granularity, Granularity::Block { .. }))
    };
    let blocked = block(&gemm.a) || block(&gemm.b);
    let mut ways = Vec::new();
    for other in chosen {
        let Some(unit) = other.unit() else {
            ways.push(way("f32".to_owned(), gemm.sums));
            continue;
        };
        let Ok(GemmRecipe { sums, .. }) = gemm.fast().on(unit) else { continue };
        ways.push(way(unit.to_string(), sums));
        // Blocks of scales cut chains anyway.
        if unit.output() == Output::E8M13 && sums.promote.is_none() && !blocked {
            let sums = Accumulation { promote: Some(PROMOTE), ..sums };
            ways.push(way(format!("{unit}/{PROMOTE}"), sums));
        }
    }
    ways
}

pub fn part(plan: &Plan, draw: bool) -> anyhow::Result<Part> {
    let mut all = Vec::new();
    for recipe in &plan.recipes {
        all.extend(ways(recipe, plan.pass, &plan.sums));
    }
    for other in plan.sums.iter().filter(|_| plan.sums_are_given) {
        let is_used = |way: &Way<'_>| way.sums.unit == other.unit();
        let unit = other.name();
        ensure!(all.iter().any(is_used), "--unit {unit}: it multiplies the operands of no recipe");
    }
    let data: Vec<(Distribution, usize)> =
        plan.distributions.iter().flat_map(|d| plan.k.iter().map(|k| (*d, *k))).collect();
    let found = data.par_iter().map(|(distribution, k)| sweep(plan, &all, *distribution, *k));
    let found: Vec<Vec<Product>> = found.collect::<anyhow::Result<_>>()?;
    // Way by way.
    let products: Vec<Vec<Product>> = (0..all.len())
        .map(|i| found.iter().map(|products| products[i].clone()).collect())
        .collect();
    let picture =
        if draw { Some(("products.svg", plot::products(plan, &products)?)) } else { None };
    let tables = vec![signal(plan, &products), errors(plan, &products)];
    let records = products.into_iter().flatten().map(Record::Product).collect();
    Ok(Part { records, tables, picture })
}

/// All products of a pair of matrices.
fn sweep(
    plan: &Plan,
    ways: &[Way<'_>],
    distribution: Distribution,
    k: usize,
) -> anyhow::Result<Vec<Product>> {
    let seeds = [2, 3].map(|n| plan.seed.wrapping_mul(2).wrapping_add(n));
    let (m, n) = SHAPE;
    let (x, y) = (distribution.matrix(m, k, seeds[0]), distribution.matrix(n, k, seeds[1]));
    let magnitude = |i: usize| {
        let rows = x[i / n * k..].iter().zip(&y[i % n * k..]).take(k);
        rows.map(|(x, y)| (f64::from(*x) * f64::from(*y)).abs()).sum::<f64>()
    };
    let magnitudes: Vec<f64> = (0..m * n).map(magnitude).collect();
    let product = |way: &Way<'_>| {
        measure(way, plan.pass, [&x, &y], k, &magnitudes)
            .map(|product| Product { distribution: hyphens(distribution), ..product })
            .with_context(|| format!("{} of {distribution}, {}", way.recipe.name, way.label))
    };
    ways.iter().map(product).collect()
}

fn measure(
    way: &Way<'_>,
    pass: Pass,
    [x, y]: [&[f32]; 2],
    k: usize,
    magnitudes: &[f64],
) -> quarter::Result<Product> {
    let gemm = way.recipe.gemm(pass);
    let (m, n) = SHAPE;
    let (x, y) = (MatRef::new(x, m, k)?, MatRef::new(y, n, k)?);
    let casts = QuantizeOptions::new().threads(1);
    let (a, b) = (gemm.a.prepare(x, false, &casts)?, gemm.b.prepare(y, false, &casts)?);
    let mut actual = vec![0.0_f32; m * n];
    let options = GemmOptions::new().sums(way.sums).threads(1);
    gemm_nt(a.input()?, b.input()?, MatMut::new(&mut actual, m, n)?, &options)?;
    let of_codes =
        GemmBound::new(Operand::exact(a.input()?)?, Operand::exact(b.input()?)?, way.sums)?;
    let [by_a, by_b] = [&gemm.a, &gemm.b]
        .map(|operand| operand.cast().map_or(Rounding::NearestEven, |cast| cast.rounding));
    let [x, y] = [Operand::cast_by(x, a.input()?, by_a)?, Operand::cast_by(y, b.input()?, by_b)?];
    let of_source = GemmBound::new(x, y, way.sums)?;
    let mut product = Product {
        recipe: way.recipe.name.clone(),
        pass: pass.name(),
        distribution: String::new(),
        k,
        sums: way.label.clone(),
        sqnr_db: None,
        of_bound: None,
        of_probable: None,
        sums_norm: None,
        sums_of_bound: None,
        sums_of_probable: None,
        outputs: actual.len(),
        without_bound: 0,
        beyond: 0,
    };
    let f32 = CompareOptions::new(FormatId::F32.spec()).threads(1);
    for (alone, gemm) in [(false, of_source), (true, of_codes)] {
        let (expected, bounds) = gemm.all();
        let held = check_matrix(&actual, &expected, n, |row, col| bounds[row * n + col]);
        let (most, probable) = match held {
            Ok(report) => (figure(report.most_of_bound), report.most_of_probable.and_then(figure)),
            Err(violation) => {
                let wrong = violation.elements();
                product.beyond = product.beyond.max(wrong.len());
                let most = wrong.iter().map(Element::part).fold(0.0, f64::max);
                (figure(most), None)
            }
        };
        let metrics = Metrics::of_product(&actual, &expected, magnitudes, &f32)?;
        if alone {
            product.sums_norm = metrics.normwise_backward().and_then(figure);
            (product.sums_of_bound, product.sums_of_probable) = (most, probable);
        } else {
            product.sqnr_db = figure(metrics.sqnr_db());
            (product.of_bound, product.of_probable) = (most, probable);
            let infinite = bounds.iter().filter(|bound| !bound.total().is_finite());
            product.without_bound = infinite.count();
        }
    }
    Ok(product)
}

/// The largest of a figure.
pub fn largest<'a>(
    products: impl IntoIterator<Item = &'a Product>,
    of: impl Fn(&Product) -> Option<f64>,
) -> Option<f64> {
    products.into_iter().filter_map(of).reduce(f64::max)
}

fn names(products: &[Product]) -> Vec<String> {
    products.first().map_or_else(Vec::new, |first| vec![first.recipe.clone(), first.sums.clone()])
}

fn signal(plan: &Plan, products: &[Vec<Product>]) -> Table {
    let most = plan.k.last().copied().unwrap_or(0);
    let shown: Vec<String> = plan.shown.iter().map(|shown| hyphens(*shown)).collect();
    let row = |products: &Vec<Product>| {
        let of = |shown: &String| {
            let it = products.iter().find(|p| p.k == most && p.distribution == *shown);
            it.and_then(|p| p.sqnr_db).map_or_else(|| "-".to_owned(), |db| format!("{db:.2}"))
        };
        names(products).into_iter().chain(shown.iter().map(of)).collect()
    };
    Table {
        title: format!("Signal to noise of products, dB, {}, K = {most}", plan.pass.name()),
        about: "Against the product of the numbers before they were cast, in f64. Recipes with \
                histories scale by the tensor's own amax here."
            .to_owned(),
        columns: ["recipe", "sums"].map(str::to_owned).into_iter().chain(shown.clone()).collect(),
        names: 2,
        rows: products.iter().map(row).collect(),
    }
}

fn errors(plan: &Plan, products: &[Vec<Product>]) -> Table {
    let part = |x: Option<f64>| x.map_or_else(|| "-".to_owned(), |x| format!("{x:.3}"));
    let row = |products: &Vec<Product>| {
        let shown: Vec<_> = products.iter().filter(|p| plan.is_shown(&p.distribution)).collect();
        let norm = |k: &usize| {
            let here = shown.iter().copied().filter(|p| p.k == *k);
            let norm = largest(here, |p| p.sums_norm);
            match norm {
                None => "-".to_owned(),
                Some(0.0) => "0".to_owned(),
                Some(norm) => format!("{norm:.1e}"),
            }
        };
        let mut cells = names(products);
        cells.extend(plan.k.iter().map(norm));
        cells.push(part(largest(products, |p| p.sums_of_bound)));
        cells.push(part(largest(shown.iter().copied(), |p| p.sums_of_probable)));
        cells.push(part(largest(products, |p| p.of_bound)));
        cells.push(part(largest(shown.iter().copied(), |p| p.of_probable)));
        let count = |of: fn(&Product) -> usize| products.iter().map(of).sum::<usize>();
        cells.push((count(|p| p.outputs) - count(|p| p.without_bound)).to_string());
        cells.push(count(|p| p.beyond).to_string());
        cells
    };
    let norms = plan.k.iter().map(|k| format!("norm, K = {k}"));
    let last = ["sums/bound", "sums/probable", "all/bound", "all/probable", "bounds", "beyond"];
    let total: usize = products.iter().flatten().map(|p| p.outputs - p.without_bound).sum();
    let beyond: usize = products.iter().flatten().map(|p| p.beyond).sum();
    let kinds = plan.distributions.len();
    let (s, are) = if kinds == 1 { ("", "") } else { ("s", "s") };
    Table {
        title: format!("Errors of products against their bounds, {}", plan.pass.name()),
        about: format!(
            "norm is that of the errors of sums relative to that of |A||B|; sums is against the exact \
             product of the codes, all against that of the numbers before they were cast. The largest \
             parts of bounds are over {kinds} distribution{s} of elements, norms and parts of probable \
             bounds over the {} with columns above: those bounds are seldom passed where errors are \
             independent. Of {total} proven bound{are} {beyond} are passed.",
            plan.shown.len()
        ),
        columns: ["recipe", "sums"]
            .map(str::to_owned)
            .into_iter()
            .chain(norms)
            .chain(last.map(str::to_owned))
            .collect(),
        names: 2,
        rows: products.iter().map(row).collect(),
    }
}
