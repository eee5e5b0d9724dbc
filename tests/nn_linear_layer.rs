//! One linear layer under every recipe: what it keeps, what it casts and counts, ranks that share a
//! batch, what is refused.
#![cfg(feature = "std")]

mod common;
#[path = "common/ranks.rs"]
mod group;
#[path = "common/linear.rs"]
mod linear;

use common::gemm::ordinary;
use common::naive;
use group::{PATIENCE, ranks};
use half::bf16;
use linear::{NAME, SEED, all_presets, bits, recipes};
use quarter::Error;
use quarter::gemm::Workspace;
use quarter::mma::H100_WGMMA_FP8;
use quarter::nn::{Linear, RoleStats, Step};
use quarter::recipe::{AllReduce, NoReduce, Operand, Pass, Recipe, RecipeState, Role, presets};
use quarter::scale::{Native, ScaleFormat};
use quarter::tensor::{MatMut, MatRef};

/// A layer with its state: what a test does with it.
struct Bench {
    layer: Linear,
    state: RecipeState,
    space: Workspace,
    count: bool,
}

impl Bench {
    fn new(recipe: &Recipe, (outputs, inputs): (usize, usize)) -> Self {
        let mut layer = Linear::new(NAME, outputs, inputs, recipe.clone()).unwrap();
        layer.weight_mut().copy_from_slice(&ordinary(outputs * inputs, 3));
        let mut state = RecipeState::new(recipe.clone(), SEED, 0).unwrap();
        layer.register(&mut state).unwrap();
        Self { layer, state, space: Workspace::new(), count: true }
    }

    /// y, dx and what was kept, of so many tokens.
    fn run(&mut self, x: MatRef<'_>, dy: &[f32], group: Option<&dyn AllReduce>) -> [Vec<f32>; 2] {
        let (outputs, inputs) = self.layer.shape();
        let tokens = x.shape().0;
        let mut step = Step::new(&mut self.state, &mut self.space);
        (step.group, step.count) = (group, self.count);
        let [mut y, mut dx] = [vec![0.0; tokens * outputs], vec![0.0; tokens * inputs]];
        let out = MatMut::new(&mut y, tokens, outputs).unwrap();
        let saved = self.layer.forward(x, out, &mut step).unwrap();
        let out = MatMut::new(&mut dx, tokens, inputs).unwrap();
        let dy = MatRef::new(dy, tokens, outputs).unwrap();
        self.layer.backward(dy, &saved, Some(out.into()), &mut step).unwrap();
        [y, dx]
    }

    fn stats(&mut self) -> [RoleStats; 3] {
        [Role::Input, Role::Weight, Role::GradOutput].map(|role| self.layer.take_stats(role))
    }
}

#[test]
fn what_forward_keeps_is_what_wgrad_reads() {
    let (tokens, outputs, inputs) = (256, 8, 128);
    let n = tokens * inputs;
    let known = [
        ("f32", 4 * n),
        ("bf16", 2 * n),
        ("delayed", n + 8),
        ("current", n + 8),
        ("rowwise", n + 8 * inputs),
        ("rowwise_with_gw_hp", 2 * n),
        ("mxfp8", n + n / 32),
        ("nvfp4", n + n / 16),
    ];
    let x = ordinary(n, 1);
    let half: Vec<bf16> = x.iter().map(|x| bf16::from_f32(*x)).collect();
    for recipe in all_presets() {
        // Groups of [inputs, tokens], each with what its scale takes.
        let (of_f32, of_bf16) = match &recipe.wgrad.b {
            Operand::F32 => (4 * n, 2 * n),
            Operand::Bf16 => (2 * n, 2 * n),
            Operand::Cast(cast) => {
                let each = match (cast.rule.scale_format(), cast.rule.native()) {
                    (ScaleFormat::F32, Native::Scale) => 8,
                    (ScaleFormat::F32, Native::ScaleInv) => 4,
                    (ScaleFormat::E8M0 | ScaleFormat::E4M3, _) => 1,
                };
                let scales = each * cast.granularity.groups(inputs, tokens);
                assert!(scales <= n / 8, "{}", recipe.name);
                (n + scales, n + scales)
            }
        };
        if let Some((_, bytes)) = known.iter().find(|(name, _)| *name == recipe.name) {
            assert_eq!(of_f32, *bytes, "{}", recipe.name);
        }
        let of = |x: MatRef<'_>| {
            let mut of = Bench::new(&recipe, (outputs, inputs));
            let mut y = vec![0.0_f32; tokens * outputs];
            let out = MatMut::new(&mut y, tokens, outputs).unwrap();
            let mut step = Step::new(&mut of.state, &mut of.space);
            (of.layer.forward(x, out, &mut step).unwrap().bytes(), y)
        };
        let wide: Vec<f32> = half.iter().map(|x| x.to_f32()).collect();
        let [x, half, wide] = [
            MatRef::new(&x, tokens, inputs),
            MatRef::new(&half, tokens, inputs),
            MatRef::new(&wide, tokens, inputs),
        ]
        .map(Result::unwrap);
        assert_eq!((of(x).0, of(half).0), (of_f32, of_bf16), "{}", recipe.name);
        assert_eq!(bits(&of(half).1), bits(&of(wide).1), "{}: x in bf16", recipe.name);
    }
}

#[test]
fn the_weight_is_cast_once_a_step_and_again_when_it_changes() {
    let ((outputs, inputs), tokens) = ((9, 40), 6);
    let (x, dy) = (ordinary(tokens * inputs, 1), ordinary(tokens * outputs, 2));
    let x = MatRef::new(&x, tokens, inputs).unwrap();
    // Random words differ from one micro-batch to the next.
    let random = |recipe: &Recipe| recipe.to_string().contains("stochastic");
    for recipe in recipes().into_iter().filter(|recipe| !random(recipe)) {
        let name = &recipe.name;
        let mut of = Bench::new(&recipe, (outputs, inputs));
        let casts = |pass: &dyn Fn(&Recipe) -> [Operand; 2]| {
            pass(&recipe).iter().any(|operand| operand.cast().is_some())
        };
        let counted = [
            casts(&|r| [r.fprop.a, r.wgrad.b]),
            casts(&|r| [r.fprop.b, r.dgrad.b]),
            casts(&|r| [r.dgrad.a, r.wgrad.a]),
        ];
        let first = of.run(x, &dy, None);
        assert_eq!(first, of.run(x, &dy, None), "{name}: again in the same step");
        let elements = [2 * tokens * inputs, outputs * inputs, 2 * tokens * outputs];
        let want = [0, 1, 2].map(|i| if counted[i] { elements[i] as u64 } else { 0 });
        assert_eq!(of.stats().map(|stats| stats.elements), want, "{name}");
        assert_eq!(of.stats(), [RoleStats::default(); 3], "{name}: asked again");
        of.state.set_training(false);
        let mut y = vec![0.0; tokens * outputs];
        let mut step = Step::new(&mut of.state, &mut of.space);
        step.count = true;
        let out = MatMut::new(&mut y, tokens, outputs).unwrap();
        of.layer.infer(x, out, &mut step).unwrap();
        of.state.set_training(true);
        assert_eq!(y, first[0], "{name}: evaluated");
        assert_eq!(of.stats(), [RoleStats::default(); 3], "{name}: evaluation is not counted");
        // In the same step, by both ways to change it.
        for way in 0..2 {
            let change = |of: &mut Bench| match way {
                0 => of.layer.weight_mut().iter_mut().for_each(|w| *w *= 1.7),
                _ => of.layer.params().next().unwrap().value.iter_mut().for_each(|w| *w = 0.3 - *w),
            };
            change(&mut of);
            let mut fresh = Bench::new(&recipe, (outputs, inputs));
            fresh.layer.weight_mut().copy_from_slice(of.layer.weight());
            let (changed, want) = (of.run(x, &dy, None), fresh.run(x, &dy, None));
            assert!(changed != first && changed == want, "{name}: changed by way {way}");
        }
        of.count = false;
        of.stats();
        of.run(x, &dy, None);
        assert_eq!(of.stats(), [RoleStats::default(); 3], "{name}: not to be counted");
    }
    // Unchanged, but with the scale of the next step.
    let mut of = Bench::new(&presets::delayed(), (outputs, inputs));
    let amax = naive::amax(of.layer.weight().iter().copied(), true);
    for want in [1.0, 448.0 / amax, 448.0 / amax] {
        of.run(x, &dy, None);
        assert_eq!(of.stats()[Role::Weight as usize].scale, Some(want));
        of.state.end_step(None).unwrap();
    }
}

#[test]
fn multiply_adds_of_a_unit_are_counted() {
    let ((outputs, inputs), tokens) = ((9, 40), 6);
    let (x, dy) = (ordinary(tokens * inputs, 1), ordinary(tokens * outputs, 2));
    let x = MatRef::new(&x, tokens, inputs).unwrap();
    for recipe in recipes() {
        let mut of = Bench::new(&recipe, (outputs, inputs));
        let work = |pass| match recipe.gemm(pass).sums.unit {
            Some(_) => (tokens * inputs * outputs) as u64,
            None => 0,
        };
        for times in [1, 2] {
            (0..times).for_each(|_| drop(of.run(x, &dy, None)));
            for &pass in Pass::ALL {
                let got = of.layer.take_on_unit(pass);
                assert_eq!(got, times * work(pass), "{}, {pass}", recipe.name);
            }
        }
    }
    let on = presets::current().on(&H100_WGMMA_FP8).unwrap();
    assert!(Pass::ALL.iter().all(|pass| on.gemm(*pass).sums.unit.is_some()));
}

/// Each of x, dy, y and dx in bf16 or f32: elements are widened before anything else, and results
/// rounded after all.
#[test]
fn activations_in_bf16() {
    let ((outputs, inputs), tokens) = ((20, 150), 37);
    let half = |n: usize, seed| -> Vec<bf16> {
        ordinary(n, seed).into_iter().map(bf16::from_f32).collect()
    };
    let wide = |x: &[bf16]| x.iter().map(|x| x.to_f32()).collect::<Vec<f32>>();
    let (x, dy) = (half(tokens * inputs, 1), half(tokens * outputs, 2));
    let (wide_x, wide_dy) = (wide(&x), wide(&dy));
    // y and dx are rounded to bf16 here where the layer did not.
    let run = |recipe: &Recipe, narrow: [bool; 4]| {
        let mut of = Bench::new(recipe, (outputs, inputs));
        of.layer = of.layer.with_bias();
        of.layer.bias_and_grad().unwrap()[0].copy_from_slice(&ordinary(outputs, 4));
        let mut step = Step::new(&mut of.state, &mut of.space);
        let (mut y, mut dx) = (vec![0.0; tokens * outputs], vec![0.0; tokens * inputs]);
        let mut half_y = vec![bf16::NAN; y.len()];
        let mut half_dx = vec![bf16::NAN; dx.len()];
        let x = match narrow[0] {
            true => MatRef::new(&x, tokens, inputs).unwrap(),
            false => MatRef::new(&wide_x, tokens, inputs).unwrap(),
        };
        let out = match narrow[2] {
            true => MatMut::new(&mut half_y, tokens, outputs).unwrap(),
            false => MatMut::new(&mut y, tokens, outputs).unwrap(),
        };
        let saved = of.layer.forward(x, out, &mut step).unwrap();
        let dy = match narrow[1] {
            true => MatRef::new(&dy, tokens, outputs).unwrap(),
            false => MatRef::new(&wide_dy, tokens, outputs).unwrap(),
        };
        let out = match narrow[3] {
            true => MatMut::new(&mut half_dx, tokens, inputs).unwrap(),
            false => MatMut::new(&mut dx, tokens, inputs).unwrap(),
        };
        of.layer.backward(dy, &saved, Some(out.into()), &mut step).unwrap();
        let rounded = |values: Vec<f32>| values.into_iter().map(bf16::from_f32).collect();
        let y: Vec<bf16> = if narrow[2] { half_y } else { rounded(y) };
        let dx: Vec<bf16> = if narrow[3] { half_dx } else { rounded(dx) };
        let db = of.layer.bias_and_grad().unwrap()[1].to_vec();
        [wide(&y), wide(&dx), of.layer.weight_grad().to_vec(), db].map(|x| bits(&x))
    };
    for recipe in recipes() {
        let want = run(&recipe, [false; 4]);
        for which in 1..16 {
            let narrow = [0, 1, 2, 3].map(|i| which >> i & 1 == 1);
            for (i, got) in run(&recipe, narrow).iter().enumerate() {
                let name = ["y", "dx", "dw", "db"][i];
                assert!(*got == want[i], "{}: {name} with x, dy, y, dx {narrow:?}", recipe.name);
            }
        }
    }
}

// ---------------------------------------------------------------- ranks

/// Each of two ranks has half of the tokens, of other magnitudes: scales of whole tensors are those
/// of one rank with all tokens, and so is each row of y and dx.
#[test]
fn two_ranks_are_one_with_their_tokens() {
    let ((outputs, inputs), tokens, steps) = ((9, 40), 12, 18_u64);
    let half = tokens / 2;
    let tensor = |cols: usize, seed| {
        let mut all = ordinary(tokens * cols, seed);
        let sizes = [[1.0, 7.0], [30.0, 0.1]][seed as usize % 2];
        all.iter_mut().enumerate().for_each(|(i, x)| *x *= sizes[i / (half * cols)]);
        all
    };
    let run = |recipe: &Recipe, group: &dyn AllReduce, rows: std::ops::Range<usize>| {
        let mut of = Bench::new(recipe, (outputs, inputs));
        let step = |step| {
            let (x, dy) = (tensor(inputs, 2 * step), tensor(outputs, 2 * step + 1));
            let x = &x[rows.start * inputs..rows.end * inputs];
            let dy = &dy[rows.start * outputs..rows.end * outputs];
            let of_step = of.run(MatRef::new(x, rows.len(), inputs).unwrap(), dy, Some(group));
            of.state.end_step(Some(group)).unwrap();
            (of.stats().map(|stats| stats.scale.map(f32::to_bits)), of_step)
        };
        (0..steps).map(step).collect::<Vec<_>>()
    };
    for recipe in all_presets() {
        let one = run(&recipe, &NoReduce, 0..tokens);
        let two = ranks(2, PATIENCE, |rank| {
            let first = rank.rank() * half;
            run(&recipe, &rank, first..first + half)
        });
        let of_tensors = ["current", "tensorwise", "delayed", "msamp"].contains(&&*recipe.name);
        // NVFP4's factor of a tensor is of the part that a rank has.
        let own = recipe.fprop.a.cast().is_some_and(|c| c.rule.scale_format() == ScaleFormat::E4M3);
        for (step, (scales, [y, dx])) in one.iter().enumerate() {
            assert_eq!(scales.iter().all(Option::is_some), of_tensors, "{}", recipe.name);
            for (rank, steps) in two.iter().enumerate() {
                let (got, [part_y, part_dx]) = &steps[step];
                assert_eq!(got, scales, "scales of {}, rank {rank}, step {step}", recipe.name);
                if !own {
                    let at = |all: &[f32], cols| bits(&all[rank * half * cols..][..half * cols]);
                    assert_eq!(bits(part_y), at(y, outputs), "y of {}, step {step}", recipe.name);
                    assert_eq!(bits(part_dx), at(dx, inputs), "dx of {}, step {step}", recipe.name);
                }
            }
        }
    }
}

// ---------------------------------------------------------------- what is refused

#[test]
fn what_does_not_fit_is_named_and_changes_nothing() {
    let (t, o, i) = (4, 3, 32);
    let zeros = vec![1.0_f32; 4096];
    let matrix = |rows: usize, cols: usize| MatRef::new(&zeros[..rows * cols], rows, cols).unwrap();
    for recipe in recipes() {
        let mut of = Bench::new(&recipe, (o, i));
        of.layer = of.layer.with_bias();
        let mut y = vec![0.0; t * o];
        let mut step = Step::new(&mut of.state, &mut of.space);
        let out = MatMut::new(&mut y, t, o).unwrap();
        let saved = of.layer.forward(matrix(t, i), out, &mut step).unwrap();
        of.layer.weight_grad_mut().fill(7.0);
        of.layer.bias_and_grad().unwrap()[1].fill(8.0);
        let before = of.state.clone();
        let refused = |error: Error, expected, got: (usize, usize)| {
            let Error::Shape { expected: e, got: g, .. } = error else { panic!("{error}") };
            assert_eq!((e, g), (expected, got), "{error}");
            let text = error.to_string();
            assert!(text.contains(&format!("{} x {}", e.0, e.1)), "{text}");
            assert!(text.contains(&format!("{} x {}", g.0, g.1)), "{text}");
        };
        let mut out = vec![9.0; 4096];
        for (x, y, expected, got) in [
            ((t, i + 1), (t, o), (t, i), (t, i + 1)),
            ((t, i), (t, o + 1), (t, o), (t, o + 1)),
            ((t, i), (t + 1, o), (t, o), (t + 1, o)),
        ] {
            let mut step = Step::new(&mut of.state, &mut of.space);
            let mut output = MatMut::new(&mut out[..y.0 * y.1], y.0, y.1).unwrap();
            let error = of.layer.infer(matrix(x.0, x.1), output, &mut step).unwrap_err();
            refused(error, expected, got);
            output = MatMut::new(&mut out[..y.0 * y.1], y.0, y.1).unwrap();
            let error = of.layer.forward(matrix(x.0, x.1), output, &mut step).unwrap_err();
            refused(error, expected, got);
        }
        for (dy, dx, expected, got) in [
            ((t + 1, o), (t, i), (t, o), (t + 1, o)),
            ((t, o + 1), (t, i), (t, o), (t, o + 1)),
            ((t, o), (t + 1, i), (t, i), (t + 1, i)),
            ((t, o), (t, i + 1), (t, i), (t, i + 1)),
        ] {
            let mut step = Step::new(&mut of.state, &mut of.space);
            let dx = MatMut::new(&mut out[..dx.0 * dx.1], dx.0, dx.1).unwrap();
            let dy = matrix(dy.0, dy.1);
            let error = of.layer.backward(dy, &saved, Some(dx.into()), &mut step).unwrap_err();
            refused(error, expected, got);
        }
        assert_eq!(of.state, before, "{}: a note was taken", recipe.name);
        // What a layer of other inputs kept.
        let mut other = Bench::new(&recipe, (o, i + 16));
        let mut step = Step::new(&mut other.state, &mut other.space);
        let y = MatMut::new(&mut y, t, o).unwrap();
        let wrong = other.layer.forward(matrix(t, i + 16), y, &mut step).unwrap();
        let mut step = Step::new(&mut of.state, &mut of.space);
        let error = of.layer.backward(matrix(t, o), &wrong, None, &mut step).unwrap_err();
        assert!(matches!(error, Error::Shape { .. }), "{error}");
        assert!(of.layer.weight_grad().iter().all(|dw| *dw == 7.0), "{}", recipe.name);
        assert_eq!(of.layer.bias_and_grad().unwrap()[1], [8.0; 3], "{}", recipe.name);
        assert!(out.iter().all(|out| *out == 9.0), "{}: half-written", recipe.name);

        let mut state = RecipeState::new(recipe.clone(), SEED, 0).unwrap();
        let mut step = Step::new(&mut state, &mut of.space);
        let y = MatMut::new(&mut out[..t * o], t, o).unwrap();
        let unknown = of.layer.forward(matrix(t, i), y, &mut step).map(drop);
        let keeps = [Role::Input, Role::Weight].iter().any(|r| recipe.history_cast(*r).is_some());
        assert_eq!(unknown.is_err(), keeps, "{}", recipe.name);
        if let Err(error) = unknown {
            assert!(
                matches!(error, Error::Name { .. }) && error.to_string().contains(NAME),
                "{error}"
            );
            assert_eq!(state, RecipeState::new(recipe, SEED, 0).unwrap());
        }
    }
    let mut wrong = presets::mxfp8();
    wrong.name.clear();
    assert!(matches!(Linear::new(NAME, 1, 1, wrong), Err(Error::Recipe { field: "name", .. })));
    let huge = Linear::new(NAME, usize::MAX, 2, presets::f32()).unwrap_err();
    assert!(matches!(huge, Error::Memory { elements: usize::MAX, .. }), "{huge}");
}
