//! What recipes cost: the gap of each preset's loss to that of f32 after a short training, and a
//! planted fault that goes beyond it.

use crate::train_tools::{f32_bits, start, steps, text, tiny};
use quarter::gemm::Workspace;
use quarter::nn::{AdamW, Exec, Step};
use quarter::recipe::{Prepared, RecipeState, presets};
use quarter::tensor::{MatRef, QuantizeOptions};
use quarter_cli::train::gpt::{Gpt, Size};
use quarter_cli::train::settings::Settings;
use std::sync::OnceLock;

const STEPS: u64 = 60;

fn settings(recipe: &str) -> Settings {
    Settings {
        size: Size { layers: 2, heads: 4, width: 64, context: 64 },
        batch: 8,
        ..tiny(recipe, STEPS)
    }
}

/// A layer whose weight is multiplied as if its `scale_inv` were twice what it is.
///
/// Codes of 2·w under a scale of half the size are those of w, so a doubled weight, put back before
/// the optimizer, has the products of that fault.
#[derive(Clone, Copy)]
struct Fault(&'static str);

/// A training by hand, to plant faults in.
fn by_hand(settings: &Settings, fault: Option<Fault>) -> Vec<f32> {
    let recipe = settings.recipes[0].parse().expect("a recipe");
    let mut model = Gpt::new(settings.size, &recipe, &settings.skip(), settings.seed).unwrap();
    let mut state = RecipeState::new(recipe, settings.seed, 0).unwrap();
    model.register(&mut state).unwrap();
    let mut optimizer = AdamW::new(settings.optimizer()).unwrap();
    let mut workspace = Workspace::new();
    let (text, exec) = (text(settings), Exec::new().threads(1));
    let mut losses = Vec::new();
    for index in 0..settings.steps {
        model.zero_grad();
        let rows = text.batch(settings.seed, index, 0..settings.batch, settings.size.context);
        let multiply = |model: &mut Gpt, factor: f32| {
            let Some(Fault(name)) = fault else { return };
            let linear = model.linears_mut().find(|linear| linear.name() == name);
            let linear = linear.expect("the layer of the fault");
            linear.weight_mut().iter_mut().for_each(|w| *w *= factor);
        };
        multiply(&mut model, 2.0);
        let mut step = Step { exec, ..Step::new(&mut state, &mut workspace) };
        let weight = 1.0 / settings.tokens() as f32;
        let (loss, _) =
            model.train(&rows.inputs, &rows.targets, settings.batch, weight, &mut step).unwrap();
        multiply(&mut model, 0.5);
        optimizer.step(&mut model.params(), settings.lr_at(index), exec).unwrap();
        state.end_step(None).unwrap();
        losses.push(loss);
    }
    losses
}

/// The gap of the mean of the last losses to that of f32, in percent.
fn gap(losses: &[f32], f32: &[f32]) -> f32 {
    let mean = |losses: &[f32]| losses[losses.len() - 6..].iter().sum::<f32>() / 6.0;
    100.0 * (mean(losses) / mean(f32) - 1.0)
}

/// The largest gap in percent, up or down: a fault may lower the loss of a short training too.
const GAPS: &[(&str, f32)] = &[
    ("f32", 0.0),
    ("bf16", 0.05),
    ("delayed", FP8),
    ("current", FP8),
    ("tensorwise", FP8),
    ("rowwise", FP8),
    ("rowwise_with_gw_hp", FP8),
    ("blockwise", FP8),
    ("mxfp8", FP8),
    ("mxfp8_floor", FP8),
    ("msamp", FP8),
    ("nvfp4", 0.6),
];
const FP8: f32 = 0.3;

/// The loss of f32, made once.
fn f32() -> &'static [f32] {
    static LOSSES: OnceLock<Vec<f32>> = OnceLock::new();
    LOSSES.get_or_init(|| {
        let settings = settings("f32");
        steps(&mut start(&settings), &settings, 0..STEPS)
    })
}

#[test]
fn every_preset_stays_close_to_f32() {
    let names: Vec<_> = presets::ALL.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, GAPS.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    for (name, most) in GAPS {
        let settings = settings(name);
        let losses = steps(&mut start(&settings), &settings, 0..STEPS);
        let (first, last) = (losses[0], losses[STEPS as usize - 1]);
        assert!(first > 5.4 && last < 3.5, "{name}: the loss goes from {first} to {last}");
        let gap = gap(&losses, f32());
        println!("{name}: {first} to {last}, gap {gap:+.4} %");
        assert!(gap.abs() <= *most, "{name}: the gap to f32 is {gap} %");
    }
}

/// What stands for the fault is the fault: the same codes, and a `scale_inv` twice as large.
#[test]
fn a_doubled_weight_is_a_doubled_scale_inv() {
    for recipe in [presets::current(), presets::mxfp8()] {
        let w: Vec<f32> = (0..32 * 64).map(|i| ((i * 37 % 101) as f32 - 50.0) * 1.3e-3).collect();
        let twice: Vec<f32> = w.iter().map(|w| 2.0 * w).collect();
        for operand in [recipe.fprop.b, recipe.dgrad.b] {
            let [one, two] = [&w, &twice].map(|w| {
                let w = MatRef::new(&w[..], 32, 64).expect("a matrix");
                let prepared = operand.prepare(w, false, &QuantizeOptions::new().threads(1));
                let Prepared::Quantized(codes) = prepared.expect("codes") else {
                    panic!("{} casts nothing", recipe.name)
                };
                codes
            });
            assert_eq!(one.codes(), two.codes(), "{}", recipe.name);
            for i in 0..one.scales().len() {
                assert_eq!(2.0 * one.scales().scale_inv(i), two.scales().scale_inv(i));
            }
        }
    }
}

/// The first layer shows it by 1.8 % and more. Not every layer does: `blocks.1.up` is 0.3 to 0.6 %
/// below f32, `blocks.1.proj` within the bound, as the optimizer follows a constant factor.
#[test]
fn a_scale_off_by_two_goes_beyond_the_bound() {
    let current = settings("current");
    let run = steps(&mut start(&current), &current, 0..STEPS);
    assert_eq!(
        f32_bits(&by_hand(&current, None)),
        f32_bits(&run),
        "by hand it is another training"
    );
    for (recipe, layer) in
        [("current", "blocks.0.qkv"), ("blockwise", "blocks.0.qkv"), ("mxfp8", "blocks.0.qkv")]
    {
        let losses = by_hand(&settings(recipe), Some(Fault(layer)));
        let gap = gap(&losses, f32());
        println!("{recipe}, {layer}: gap {gap:+.4} %");
        assert!(gap.abs() > FP8, "{recipe}: {layer} with twice its scale is not seen: {gap} %");
    }
}
