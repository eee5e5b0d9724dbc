//! Products of recipes, held to their bounds.

use super::casts::percent;
use super::noise::{self, Noise};
use super::table::{Table, of_recipes};
use super::ways::{How, Way, once, ways};
use super::{Part, Plan, Record, dots, drawn_from, figure, hyphens, plot};
use crate::gemm::compare::Other;
use anyhow::{Context as _, ensure};
use quarter::accuracy::bounds::{Bound, GemmBound, Operand};
use quarter::accuracy::check::{Element, check_matrix};
use quarter::accuracy::{CompareOptions, Distribution, Metrics};
use quarter::gemm::{GemmOptions, gemm_nt};
use quarter::tensor::{MatMut, MatRef, QuantizeOptions};
use quarter::{FormatId, Rounding};
use rayon::prelude::*;
use serde::Serialize;

/// M and N of outputs that are held to bounds.
const SHAPE: (usize, usize) = (8, 4);

/// A line of the JSON.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Product {
    pub kind: &'static str,
    pub recipe: String,
    pub pass: &'static str,
    pub distribution: String,
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub seed: u64,
    /// `f32`, or a unit and its interval of promotion.
    pub sums: String,
    /// The largest part of its bound that an error took; none where no finite output has a bound.
    pub of_bound: Option<f64>,
    /// The same of the probable bound.
    pub of_probable: Option<f64>,
    /// ‖error of sums‖ / ‖|A||B|‖; none where no output is finite.
    pub sums_norm: Option<f64>,
    /// The same as above of the sums alone.
    pub sums_of_bound: Option<f64>,
    pub sums_of_probable: Option<f64>,
    pub outputs: usize,
    /// Outputs that are not finite.
    pub overflow: usize,
    /// Outputs that may overflow: nothing is proven of them.
    pub without_bound: usize,
    /// Outputs beyond a bound.
    pub beyond: usize,
}

pub fn part(plan: &Plan, draw: bool) -> anyhow::Result<Part> {
    let all = ways(plan, &plan.sums);
    for other in plan.sums.iter().filter(|_| plan.sums_are_given) {
        let is_used = |way: &Way| way.how.sums.unit == other.unit();
        let unit = other.name();
        ensure!(all.iter().any(is_used), "--unit {unit}: it multiplies the operands of no recipe");
    }
    let (hows, places) = once(&all);
    let data: Vec<(Distribution, usize)> =
        plan.distributions.iter().flat_map(|d| plan.k.iter().map(|k| (*d, *k))).collect();
    let found = data.par_iter().map(|(distribution, k)| sweep(plan, &hows, *distribution, *k));
    let found: Vec<Vec<Product>> = found.collect::<anyhow::Result<_>>()?;
    // Way by way.
    let of_way = |(way, place): (&Way, usize)| {
        let named = |products: &Vec<Product>| Product {
            recipe: way.recipe.clone(),
            pass: way.pass.name(),
            sums: way.label.clone(),
            ..products[place].clone()
        };
        found.iter().map(named).collect()
    };
    let products: Vec<Vec<Product>> = all.iter().zip(places).map(of_way).collect();
    // Units change little of this; where something is chosen, they are measured.
    let signals = if plan.long { all } else { ways(plan, &[Other::F32]) };
    let noises = noise::measure(plan, &signals)?;
    let mut pictures = Vec::new();
    if draw {
        pictures.push(("recipes", dots::recipes(&noises)?));
        pictures.push(("products", plot::products(plan, &products)?));
    }
    let tables = if plan.long {
        vec![long(plan, &products, &noises)]
    } else {
        vec![noise::table(plan, &noises), errors(plan, &products)]
    };
    let noises = noises.into_iter().flatten().map(Record::Signal);
    let records = noises.chain(products.into_iter().flatten().map(Record::Product)).collect();
    Ok(Part { records, tables, pictures })
}

/// All products of a pair of matrices.
fn sweep(
    plan: &Plan,
    hows: &[How],
    distribution: Distribution,
    k: usize,
) -> anyhow::Result<Vec<Product>> {
    let seeds = [0, 1].map(|n| drawn_from(plan.seed, n));
    let (m, n) = SHAPE;
    let (x, y) = (distribution.matrix(m, k, seeds[0]), distribution.matrix(n, k, seeds[1]));
    let magnitude = |i: usize| {
        let rows = x[i / n * k..].iter().zip(&y[i % n * k..]).take(k);
        rows.map(|(x, y)| (f64::from(*x) * f64::from(*y)).abs()).sum::<f64>()
    };
    let magnitudes: Vec<f64> = (0..m * n).map(magnitude).collect();
    let product = |how: &How| {
        let kind = hyphens(distribution);
        measure(how, [&x, &y], k, &magnitudes)
            .map(|product| Product { distribution: kind, seed: plan.seed, ..product })
            .with_context(|| format!("{} * {} of {distribution}", how.a, how.b))
    };
    hows.iter().map(product).collect()
}

fn measure(
    how: &How,
    [x, y]: [&[f32]; 2],
    k: usize,
    magnitudes: &[f64],
) -> quarter::Result<Product> {
    let (m, n) = SHAPE;
    let (x, y) = (MatRef::new(x, m, k)?, MatRef::new(y, n, k)?);
    let casts = QuantizeOptions::new().threads(1);
    let (a, b) = (how.a.prepare(x, false, &casts)?, how.b.prepare(y, false, &casts)?);
    let mut actual = vec![0.0_f32; m * n];
    let options = GemmOptions::new().sums(how.sums).threads(1);
    gemm_nt(a.input()?, b.input()?, MatMut::new(&mut actual, m, n)?, &options)?;
    let of_codes =
        GemmBound::new(Operand::exact(a.input()?)?, Operand::exact(b.input()?)?, how.sums)?;
    let [by_a, by_b] = [&how.a, &how.b]
        .map(|operand| operand.cast().map_or(Rounding::NearestEven, |cast| cast.rounding));
    let [x, y] = [Operand::cast_by(x, a.input()?, by_a)?, Operand::cast_by(y, b.input()?, by_b)?];
    let of_source = GemmBound::new(x, y, how.sums)?;
    let mut product =
        Product { kind: "bounds", m, n, k, outputs: actual.len(), ..Product::default() };
    // In f64 the product of finite f32 is finite.
    product.overflow = actual.iter().filter(|x| !x.is_finite()).count();
    let f32 = CompareOptions::new(FormatId::F32.spec()).threads(1);
    for (alone, gemm) in [(false, of_source), (true, of_codes)] {
        let (expected, bounds) = gemm.all();
        let held = check_matrix(&actual, &expected, n, |row, col| bounds[row * n + col]);
        let bounded = |(x, bound): (&f32, &Bound)| x.is_finite() && bound.total().is_finite();
        let some = actual.iter().zip(&bounds).any(bounded);
        let (most, probable) = match held {
            Ok(report) => (figure(report.most_of_bound), report.most_of_probable.and_then(figure)),
            Err(violation) => {
                let wrong = violation.elements();
                product.beyond = product.beyond.max(wrong.len());
                let most = wrong.iter().map(Element::part).fold(0.0, f64::max);
                (figure(most), None)
            }
        };
        let (most, probable) = (most.filter(|_| some), probable.filter(|_| some));
        if alone {
            let metrics = Metrics::of_product(&actual, &expected, magnitudes, &f32)?;
            let norm = metrics.normwise_backward().and_then(figure);
            product.sums_norm = norm.filter(|_| product.overflow < product.outputs);
            (product.sums_of_bound, product.sums_of_probable) = (most, probable);
        } else {
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

fn part_of(x: Option<f64>) -> String {
    match x {
        None => "-".to_owned(),
        Some(0.0) => "0".to_owned(),
        Some(x) if x < 0.001 => format!("{x:.0e}"),
        Some(x) => format!("{x:.3}"),
    }
}

fn norm_of(norm: Option<f64>) -> String {
    match norm {
        None => "-".to_owned(),
        Some(0.0) => "0".to_owned(),
        Some(norm) => format!("{norm:.1e}"),
    }
}

fn count(products: &[Product], of: fn(&Product) -> usize) -> usize {
    products.iter().map(of).sum()
}

/// What is said of bounds.
fn passed(products: &[Vec<Product>]) -> String {
    let all = products.iter().flatten();
    let (mut total, mut beyond) = (0, 0);
    for product in all {
        total += product.outputs - product.without_bound;
        beyond += product.beyond;
    }
    let (s, are) = if total == 1 { ("", "is") } else { ("s", "are") };
    format!("{beyond} of {total} proven bound{s} {are} passed.")
}

fn errors(plan: &Plan, products: &[Vec<Product>]) -> Table {
    let row = |products: &Vec<Product>| {
        let Some(first) = products.first() else { return Vec::new() };
        let shown: Vec<_> = products.iter().filter(|p| plan.is_shown(&p.distribution)).collect();
        let norm = |k: &usize| {
            let here = shown.iter().copied().filter(|p| p.k == *k);
            norm_of(largest(here, |p| p.sums_norm))
        };
        let mut cells = vec![first.recipe.clone(), first.pass.to_owned(), first.sums.clone()];
        cells.extend(plan.k.iter().map(norm));
        cells.push(part_of(largest(products, |p| p.sums_of_bound)));
        cells.push(part_of(largest(shown.iter().copied(), |p| p.sums_of_probable)));
        cells.push(part_of(largest(products, |p| p.of_bound)));
        cells.push(part_of(largest(shown.iter().copied(), |p| p.of_probable)));
        let of = |of: fn(&Product) -> usize| shown.iter().copied().map(of).sum::<usize>();
        cells.push(percent(of(|p| p.overflow) as f64 / of(|p| p.outputs).max(1) as f64));
        let bounded = count(products, |p| p.outputs) - count(products, |p| p.without_bound);
        cells.push(bounded.to_string());
        cells.push(count(products, |p| p.beyond).to_string());
        cells
    };
    let norms = plan.k.iter().map(|k| format!("error of sums / |A||B|, K = {k}"));
    let last = [
        "worst error of sums / proven bound",
        ".../ probable bound",
        "worst error with casts / proven bound",
        ".../ probable bound",
        "overflow, %",
        "outputs checked",
        "outputs beyond",
    ];
    let kinds = plan.distributions.len();
    let columns = ["recipe", "pass", "sums"].map(str::to_owned).into_iter();
    Table {
        title: "Errors and overflow of sums, and bounds".to_owned(),
        about: format!(
            "Errors of sums are against the exact product of the codes: their norm relative to that of \
             |A||B|, and the worst relative to its bound. Errors with casts are against the product of \
             the numbers before they were cast. Bounds are proven, element by element; probable ones are \
             seldom passed where errors are independent (lambda = 3). Overflow: outputs that are not \
             finite though the exact ones are; where they may be, nothing is proven, and they are not \
             checked. {} x {} outputs for each K and distribution; worst errors / proven bounds are over \
             {kinds} distribution{}, other figures over the {} of this page. A unit is left out where it \
             does not multiply a recipe's operands; NAME/128 is promoted every 128 elements. {}",
            SHAPE.0,
            SHAPE.1,
            if kinds == 1 { "" } else { "s" },
            plan.shown.len(),
            passed(products)
        ),
        columns: columns.chain(norms).chain(last.map(str::to_owned)).collect(),
        names: 3,
        rows: of_recipes(products.iter().map(row).collect()),
    }
}

/// A row for each case, where something was chosen.
fn long(plan: &Plan, products: &[Vec<Product>], noises: &[Vec<Noise>]) -> Table {
    let row = |noise: &Noise, products: &Vec<Product>| {
        let is = |p: &&Product| p.k == noise.k && p.distribution == noise.distribution;
        let it = products.iter().find(is);
        let names = [&*noise.recipe, noise.pass, &noise.sums, &noise.distribution];
        let mut cells: Vec<String> = names.map(str::to_owned).to_vec();
        let share = noise.overflow as f64 / noise.outputs.max(1) as f64;
        cells.extend([noise.k.to_string(), noise.cell(), noise.theory()]);
        cells.push(norm_of(it.and_then(|p| p.sums_norm)));
        cells.push(part_of(it.and_then(|p| p.sums_of_bound)));
        cells.push(part_of(it.and_then(|p| p.of_bound)));
        cells.push(percent(share));
        cells
    };
    let all = noises.iter().zip(products);
    let rows = all.flat_map(|(noises, products)| noises.iter().map(move |n| row(n, products)));
    let columns = [
        "recipe",
        "pass",
        "sums",
        "distribution",
        "K",
        "SQNR, dB",
        "theory",
        "error of sums / |A||B|",
        "worst error of sums / proven bound",
        "worst error with casts / proven bound",
        "overflow, %",
    ];
    Table {
        title: "Products, case by case".to_owned(),
        about: format!(
            "SQNR is against the product of the numbers before they were cast, the mean over {} pairs of \
             matrices and in brackets the standard error of its last digit; theory is that of the casts, \
             of gaussian. Overflow is over these pairs: outputs that are not finite. Bounds are those of \
             {} x {} other outputs: errors of sums are against the exact product of the codes, errors \
             with casts against that of the numbers. {}",
            noise::pairs_said(plan),
            SHAPE.0,
            SHAPE.1,
            passed(products)
        ),
        columns: columns.map(str::to_owned).to_vec(),
        names: 4,
        rows: of_recipes(rows.collect()),
    }
}
