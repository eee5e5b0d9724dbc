//! Linear layers under every recipe: against the definition bit for bit over steps of training, the
//! same bits by all means, gradients against f64.
#![cfg(feature = "std")]

mod common;
#[path = "common/linear.rs"]
mod linear;

use common::gemm::ordinary;
use common::share;
use linear::{Means, NAME, Script, Trace, all_presets, assert_same, defined, recipes, trained};
use quarter::Isa;
use quarter::gemm::Workspace;
use quarter::nn::{Exec, Linear, Skip, Step};
use quarter::recipe::{Operand, Pass, Recipe, RecipeState, presets};
use quarter::tensor::{MatMut, MatRef};

const SMALL: Script = Script {
    tokens: 5,
    shape: (7, 34),
    steps: 3,
    micro: 2,
    bias: true,
    specials: false,
    elements: None,
};

/// Blocks of 128 end within K of every product; with many steps where there are histories, so that
/// warm-ups of 16 end.
fn scripts(recipe: &Recipe) -> Vec<Script> {
    let steps = if recipe.delayed.is_some() { 19 } else { 2 };
    let mut scripts = vec![
        Script { steps, ..SMALL },
        Script { bias: false, specials: true, ..SMALL },
        Script { tokens: 0, micro: 1, ..SMALL },
        Script { tokens: 1, shape: (1, 1), ..SMALL },
    ];
    if share(16) == 16 {
        let large = Script { tokens: 37, shape: (65, 130), steps: 1, ..SMALL };
        scripts.push(large);
        scripts.push(Script { tokens: 131, shape: (130, 33), micro: 1, bias: false, ..large });
    }
    scripts
}

// ---------------------------------------------------------------- the definition

#[test]
fn every_recipe_is_its_definition() {
    let recipes = recipes();
    common::parallel(recipes.len(), |i| {
        let recipe = &recipes[i];
        for script in scripts(recipe) {
            let want = defined(recipe, &script);
            for count in [false, true] {
                let got = trained([recipe, recipe], &script, Means { count, ..Means::new() });
                assert_same(&format!("{}, {script:?}, count {count}", recipe.name), &got, &want);
            }
        }
    });
}

/// The state aside, of which the layer is no part then.
fn without_state(mut trace: Trace) -> Trace {
    trace.retain(|(name, _)| !name.starts_with("state"));
    trace
}

#[test]
fn a_layer_that_is_left_out_is_bf16() {
    let skip = Skip::new(["blocks.0.*"]);
    for recipe in recipes() {
        let own = skip.recipe(NAME, &recipe);
        let kept = recipe == presets::f32();
        assert_eq!(own, if kept { presets::f32() } else { presets::bf16() }, "{}", recipe.name);
        assert_eq!(skip.recipe("blocks.1.mlp", &recipe), recipe);
        let got = without_state(trained([&own, &recipe], &SMALL, Means::new()));
        assert_same(&recipe.name, &got, &without_state(defined(&own, &SMALL)));
    }
}

#[test]
fn evaluation_and_resuming_change_nothing() {
    let recipes = recipes();
    common::parallel(recipes.len(), |i| {
        let recipe = &recipes[i];
        let steps = if recipe.delayed.is_some() { 19 } else { 3 };
        let script = Script { steps, ..SMALL };
        let want = trained([recipe, recipe], &script, Means::new());
        for (eval, resume) in [(true, false), (false, true), (true, true)] {
            let means = Means { eval, resume, count: eval, ..Means::new() };
            let run = format!("{}, {means:?}", recipe.name);
            assert_same(&run, &trained([recipe, recipe], &script, means), &want);
        }
    });
}

#[test]
fn bits_are_the_same_on_every_instruction_set_and_number_of_threads() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap();
    // In a full run casts of x are cut in two, products in four.
    let large = Script { tokens: 520, shape: (64, 512), steps: 1, micro: 1, ..SMALL };
    let script = if share(16) == 16 { large } else { Script { tokens: 40, ..SMALL } };
    for recipe in recipes() {
        let on_unit = recipe.fprop.sums.unit.is_some();
        let script =
            if on_unit { Script { tokens: 150, shape: (64, 96), ..script } } else { script };
        let run = |isa, threads| {
            let exec = Exec::new().isa(isa).threads(threads);
            let means = Means { exec, ..Means::new() };
            pool.install(|| trained([&recipe, &recipe], &script, means))
        };
        let want = run(Isa::best(), 1);
        for isa in Isa::available() {
            let few: &[usize] = if isa == Isa::SCALAR { &[4] } else { &[1, 2, 4] };
            for threads in few {
                let got = run(isa, *threads);
                assert_same(&format!("{}, {isa:?}, {threads} threads", recipe.name), &got, &want);
            }
        }
    }
}

// ---------------------------------------------------------------- gradients

/// Largest |got − exact| / ‖exact‖ per element of the f32 preset, and ‖got − exact‖ / ‖exact‖ of
/// others: by the narrowest elements of a product, about what rounding both operands gives.
fn allowed(recipe: &Recipe, pass: Pass) -> f64 {
    let gemm = recipe.gemm(pass);
    let man_bits = |operand: &Operand| match operand {
        Operand::F32 => 20, // K sums in f32
        Operand::Bf16 => 7,
        Operand::Cast(cast) => cast.format.spec().man_bits() as i32,
    };
    [&gemm.a, &gemm.b].map(|operand| 2f64.powi(-1 - man_bits(operand))).iter().sum()
}

/// Gradients of Σ y·r by central differences in f64: y is linear in each of x, w and b.
#[test]
fn gradients_are_differences_in_f64() {
    let (tokens, outputs, inputs) = (6, 7, 32);
    let tensors = [(tokens, inputs), (outputs, inputs), (1, outputs), (tokens, outputs)];
    let f32s: Vec<Vec<f32>> =
        tensors.iter().zip(1..).map(|((rows, cols), seed)| ordinary(rows * cols, seed)).collect();
    let wide: Vec<Vec<f64>> =
        f32s.iter().map(|x| x.iter().map(|x| f64::from(*x)).collect()).collect();
    let forward = |x: &[f64], w: &[f64], b: &[f64]| -> Vec<f64> {
        let y = |i: usize| {
            let (x, w) = (&x[i / outputs * inputs..], &w[i % outputs * inputs..]);
            b[i % outputs] + (0..inputs).map(|k| x[k] * w[k]).sum::<f64>()
        };
        (0..tokens * outputs).map(y).collect()
    };
    let difference = |of: usize, i: usize| {
        let loss = |h: f64| {
            let mut all = wide[..3].to_vec();
            all[of][i] += h;
            let y = forward(&all[0], &all[1], &all[2]);
            y.iter().zip(&wide[3]).map(|(y, r)| y * r).sum::<f64>()
        };
        (loss(0.5) - loss(-0.5)) / 1.0
    };
    let exact =
        [0, 1, 2].map(|of| (0..wide[of].len()).map(|i| difference(of, i)).collect::<Vec<_>>());
    let y_exact = forward(&wide[0], &wide[1], &wide[2]);
    let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
    for recipe in all_presets() {
        let mut layer = Linear::new(NAME, outputs, inputs, recipe.clone()).unwrap().with_bias();
        layer.weight_mut().copy_from_slice(&f32s[1]);
        layer.bias_and_grad().unwrap()[0].copy_from_slice(&f32s[2]);
        let (mut state, mut space) =
            (RecipeState::new(recipe.clone(), 0, 0).unwrap(), Workspace::new());
        layer.register(&mut state).unwrap();
        let mut step = Step::new(&mut state, &mut space);
        let [mut y, mut dx] = [vec![0.0_f32; tokens * outputs], vec![0.0_f32; tokens * inputs]];
        let x = MatRef::new(&f32s[0], tokens, inputs).unwrap();
        let saved =
            layer.forward(x, MatMut::new(&mut y, tokens, outputs).unwrap(), &mut step).unwrap();
        let out = MatMut::new(&mut dx, tokens, inputs).unwrap();
        let r = MatRef::new(&f32s[3], tokens, outputs).unwrap();
        layer.backward(r, &saved, Some(out.into()), &mut step).unwrap();
        let off = |got: &[f32], exact: &[f64]| {
            let off: Vec<f64> = got.iter().zip(exact).map(|(g, e)| f64::from(*g) - e).collect();
            norm(&off) / norm(exact)
        };
        let dw = layer.weight_grad().to_vec();
        let db = layer.bias_and_grad().unwrap()[1].to_vec();
        for (what, pass, got, exact) in [
            ("y", Pass::Fprop, &y, &y_exact),
            ("dx", Pass::Dgrad, &dx, &exact[0]),
            ("dw", Pass::Wgrad, &dw, &exact[1]),
        ] {
            let (off, allowed) = (off(got, exact), allowed(&recipe, pass));
            println!("{} {what}: off by {off:.2e} of {allowed:.2e}", recipe.name);
            assert!(off <= allowed, "{what} of {} is off by {off}, over {allowed}", recipe.name);
        }
        assert!(off(&db, &exact[2]) < 1e-6, "db is summed in f32 whatever the recipe is");
    }
}
