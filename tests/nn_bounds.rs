//! Linear layers forward and backward, and operands by every rounding, against the real products of the
//! numbers before any cast: no result is farther from them than A4 says.
#![cfg(feature = "std")]

mod common;
#[path = "common/linear.rs"]
mod linear;

use common::matrices::CAST_ROUNDINGS;
use common::readme::held;
use common::{STREAM, share};
use linear::{Means, Script, Tensor, Trace, cast, defined_by, recipes, trained};
use quarter::Rounding;
use quarter::accuracy::Distribution;
use quarter::accuracy::bounds::{GemmBound, Operand, U32, chain};
use quarter::accuracy::check::{Report, Violation};
use quarter::gemm::{Accumulation, GemmOptions, gemm_nt};
use quarter::mma::B200_MXFP8;
use quarter::recipe::{self, GemmRecipe, Pass, Recipe, presets};
use quarter::tensor::{Cast, MatMut, MatRef, QuantizeOptions, quantize};
use std::sync::Mutex;

/// Results and the largest part of a bound.
#[derive(Clone, Copy, Debug, Default)]
struct Found(u64, f64);

impl Found {
    fn note(&mut self, report: &Report) {
        *self = Self(self.0 + report.count as u64, self.1.max(report.most_of_bound));
    }
}

// ---------------------------------------------------------------- operands

const CASTS: [&str; 4] =
    ["e4m3:tensor:te-current", "e5m2:row:torchao", "e2m1:1x16:nvfp4", "e3m2:1x32:ocp-floor"];

/// x, cast, times numbers that are not cast, held to the bound of a rounding that is stated.
fn rounded(
    [x, y]: [MatRef<'_>; 2],
    cast: &Cast,
    stated: Rounding,
) -> Result<Report, Box<Violation>> {
    let (m, n) = (x.shape().0, y.shape().0);
    let codes = quantize(x, cast, &QuantizeOptions::new().random(STREAM)).unwrap();
    let mut d = vec![0.0_f32; m * n];
    gemm_nt(&codes, y, MatMut::new(&mut d, m, n).unwrap(), &GemmOptions::new()).unwrap();
    let a = Operand::cast_by(x, codes.view(), stated).unwrap();
    let b = Operand::exact(y).unwrap();
    GemmBound::new(a, b, Accumulation::default()).unwrap().check(&d)
}

#[test]
fn operands_of_every_rounding() {
    let (m, n, k) = (3, 5, 96);
    let y = Distribution::Gaussian.matrix(n, k, 2);
    let mut found = Found::default();
    for cast in CASTS.map(|cast| cast.parse::<Cast>().unwrap()) {
        for by in CAST_ROUNDINGS {
            let cast = cast.rounding(by);
            for elements in Distribution::finite(cast.format) {
                let x = elements.matrix(m, k, 1);
                let operands = [(&x, m), (&y, n)].map(|(x, rows)| MatRef::new(x, rows, k).unwrap());
                let report = rounded(operands, &cast, by);
                found.note(&report.unwrap_or_else(|v| panic!("{cast}, {elements}: {v}")));
            }
        }
    }
    held("products of operands by every rounding", found.0, found.1);
}

/// 17.5, of which E4M3 has the neighbours 16 and 18, is beyond the bound of what is rounded to
/// nearest where it became 16.
#[test]
fn other_roundings_are_wider() {
    let cast: Cast = "e4m3:tensor:te-current".parse().unwrap();
    let x = [448.0_f32, 17.5].repeat(64); // a scale of 1
    let operands = [(&x[..], 64), (&[0.0, 1.0], 1)].map(|(x, m)| MatRef::new(x, m, 2).unwrap());
    for by in CAST_ROUNDINGS {
        let cast = cast.rounding(by);
        let nearest = matches!(by, Rounding::NearestEven | Rounding::NearestAway | Rounding::Up);
        let found = rounded(operands, &cast, Rounding::NearestEven).map_err(|v| v.elements().len());
        assert_eq!(found.is_ok(), nearest, "{cast}: {found:?}");
        if by == Rounding::TowardZero {
            assert_eq!(found.unwrap_err(), 64);
        }
        assert!(rounded(operands, &cast, by).is_ok(), "{cast}");
    }
}

// ---------------------------------------------------------------- layers

const SMALL: Script = Script {
    tokens: 5,
    shape: (7, 34),
    steps: 2,
    micro: 2,
    bias: true,
    specials: false,
    elements: Some(Distribution::Gaussian),
};

const ELEMENTS: [Distribution; 5] = [
    Distribution::Gaussian,
    Distribution::StudentT,
    Distribution::OutlierColumns,
    Distribution::BlockSpread,
    Distribution::Cancelling,
];

fn numbers(trace: &Trace, name: &str) -> Vec<f32> {
    let found = trace.iter().find(|(other, _)| other == name);
    let (_, bits) = found.unwrap_or_else(|| panic!("no {name}"));
    bits.iter().map(|bits| f32::from_bits(*bits)).collect()
}

/// The dw of the batch before, to which this one's is added.
fn before(trace: &Trace, name: &str, n: usize) -> Vec<f32> {
    match name.strip_suffix("batch 0") {
        Some(_) => vec![0.0; n],
        None => numbers(trace, &name.replace("batch 1", "batch 0")),
    }
}

/// What a layer gives, the first three by the passes of [`Pass::ALL`].
const RESULTS: [&str; 4] = ["y", "dx", "dw", "db"];

/// Holds what a layer gave in a script to its bounds; those that it breaks.
fn check(recipe: &Recipe, script: &Script, got: &Trace, found: &mut [Found; 4]) -> Vec<String> {
    let mut broken = Vec::new();
    let mut hold = |name: &str,
                    state: &recipe::RecipeState,
                    gemm: &GemmRecipe,
                    of: [(Tensor<'_>, bool); 2]| {
        let sides = [(0, &gemm.a), (1, &gemm.b)].map(|(i, operand)| {
            let ((role, x, (rows, cols), micro), turned) = of[i];
            let by = operand.cast().map_or(Rounding::NearestEven, |cast| cast.rounding);
            let codes = cast(state, (role, x, (rows, cols), micro), operand, turned);
            let view = MatRef::new(x, rows, cols).unwrap();
            let (view, shape) =
                if turned { (view.transposed(), (cols, rows)) } else { (view, (rows, cols)) };
            (codes, view, shape, by)
        });
        let [a, b] = sides.each_ref().map(|(codes, view, shape, by)| {
            Operand::cast_by(*view, codes.input(*shape), *by).unwrap()
        });
        let result = RESULTS.iter().position(|result| name.split(' ').next() == Some(result));
        let result = result.unwrap_or_else(|| panic!("{name} is no result"));
        let mut bound = GemmBound::of_pass(recipe, Pass::ALL[result], a, b).unwrap();
        let (m, n) = bound.shape();
        let (biases, added);
        match Pass::ALL[result] {
            Pass::Fprop if script.bias => {
                biases = script.b(step_of(name));
                bound = bound.bias(&biases).unwrap();
            }
            Pass::Fprop | Pass::Dgrad => {}
            Pass::Wgrad => {
                added = before(got, name, m * n);
                bound = bound.c(1.0, MatRef::new(&added, m, n).unwrap()).unwrap();
            }
        }
        match bound.check(&numbers(got, name)) {
            Ok(report) => found[result].note(&report),
            Err(violation) => {
                broken.push(format!("{}, {script:?}: {name}: {violation}", recipe.name))
            }
        }
        vec![0.0; m * n] // nobody looks at it
    };
    defined_by(recipe, script, &mut hold);
    if script.bias {
        db(script, got, &mut found[3]);
    }
    broken
}

fn step_of(name: &str) -> u64 {
    let rest = &name[name.find("step ").unwrap() + 5..];
    rest[..rest.find(',').unwrap()].parse().unwrap()
}

/// Sums of columns in f32, each batch added to those before.
fn db(script: &Script, got: &Trace, found: &mut Found) {
    let (outputs, _) = script.shape;
    for step in 0..script.steps {
        let mut columns = vec![Vec::new(); outputs];
        for micro in 0..script.micro {
            let dy = script.dy((step, micro));
            dy.iter().enumerate().for_each(|(i, dy)| columns[i % outputs].push(f64::from(*dy)));
            let db = numbers(got, &format!("db of step {step}, batch {micro}"));
            for (column, db) in columns.iter().zip(db) {
                let size: f64 = column.iter().map(|x| x.abs()).sum();
                let bound = chain(column.len(), U32) * size;
                let off = (f64::from(db) - column.iter().sum::<f64>()).abs();
                assert!(off <= bound, "db: {off} > {bound}");
                *found =
                    Found(found.0 + 1, found.1.max(if off == 0.0 { 0.0 } else { off / bound }));
            }
        }
    }
}

/// Some shapes: ragged blocks along K, one row, more than a block of 128, and histories' warm-ups.
fn scripts(recipe: &Recipe, elements: Distribution) -> Vec<Script> {
    let small = Script { elements: Some(elements), ..SMALL };
    let steps = if recipe.delayed.is_some() { 5 } else { 2 };
    let mut scripts = vec![Script { steps, ..small }];
    if share(16) == 16 {
        scripts.push(Script { tokens: 1, shape: (33, 1), steps: 1, micro: 1, ..small });
        scripts.push(Script { tokens: 37, shape: (20, 150), steps: 1, bias: false, ..small });
    }
    scripts
}

#[test]
fn linear_layers_keep_their_bounds() {
    let mut recipes = recipes();
    recipes.push(presets::mxfp8().on(&B200_MXFP8).unwrap());
    let all = Mutex::new([Found::default(); 4]);
    common::parallel(recipes.len(), |i| {
        let (recipe, mut found) = (&recipes[i], [Found::default(); 4]);
        for elements in &ELEMENTS[..share(ELEMENTS.len())] {
            for script in scripts(recipe, *elements) {
                let got = trained([recipe, recipe], &script, Means::new());
                let broken = check(recipe, &script, &got, &mut found);
                assert!(broken.is_empty(), "{} broken, first {}", broken.len(), broken[0]);
            }
        }
        println!("{:30} {found:.4?}", recipe.name);
        for ((result, found), least) in RESULTS.iter().zip(&found).zip([0.5, 0.4, 0.8, 0.2]) {
            let least = if share(16) == 16 { least } else { 0.01 };
            assert!(found.1 > least, "{result} of {}: nothing comes near: {found:?}", recipe.name);
        }
        for (all, found) in all.lock().unwrap().iter_mut().zip(found) {
            *all = Found(all.0 + found.0, all.1.max(found.1));
        }
    });
    for (result, found) in RESULTS.iter().zip(all.into_inner().unwrap()) {
        held(&format!("{result} of linear layers"), found.0, found.1);
    }
}

/// The gradient of another batch, a product with the bias of none, and casts of another recipe.
#[test]
fn wrong_layers_break_them() {
    let (recipe, script) = (presets::current(), SMALL);
    let right = trained([&recipe, &recipe], &script, Means::new());
    let broken = |trace: &Trace| check(&recipe, &script, trace, &mut [Found::default(); 4]);
    assert!(broken(&right).is_empty());
    let mut wrong = right.clone();
    let place = |name: &str| right.iter().position(|(other, _)| other == name).unwrap();
    wrong[place("dw of step 1, batch 1")].1 = right[place("dw of step 1, batch 0")].1.clone();
    let y = &mut wrong[place("y of step 0, batch 1")].1;
    *y = y.iter().zip(script.b(0).iter().cycle()).map(without).collect();
    let found = broken(&wrong);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0].contains("y of step 0, batch 1") && found[1].contains("dw of step 1, batch 1")
    );
    let coarse = presets::nvfp4();
    let found = broken(&trained([&coarse, &coarse], &script, Means::new()));
    assert!(found.len() > 4, "FP4 is no FP8: {found:?}");
}

fn without((y, bias): (&u32, &f32)) -> u32 {
    (f32::from_bits(*y) - bias).to_bits()
}
