//! `quarter train --unit`: every product of the layers that are cast goes through the unit, once.

use crate::common::Scene;
use crate::train_tools::{bits, named, start, steps, text, tiny, trained, untrained};
use quarter::mma::UNITS;
use quarter::recipe::{Pass, presets};
use quarter_cli::train::gpt::{Size, VOCAB};
use quarter_cli::train::run::Run;
use quarter_cli::train::settings::{Named, Settings};

/// Multiply-adds on the unit since the last call: of the blocks and of the head, for each pass.
fn on_unit(run: &mut Run) -> [[u64; 2]; 3] {
    let mut counts = [[0; 2]; 3];
    for linear in run.replicas[0].model.linears_mut() {
        let head = usize::from(linear.name() == "head");
        for (count, pass) in counts.iter_mut().zip(Pass::ALL) {
            count[head] += linear.take_on_unit(*pass);
        }
    }
    counts
}

#[test]
fn every_product_of_the_blocks_goes_through_the_unit() {
    for skip in [true, false] {
        let mut settings = tiny("current@h100-wgmma-fp8", 2);
        settings.accumulate = 2;
        if !skip {
            settings.skip.clear();
        }
        let tokens = settings.tokens() as u64;
        assert_eq!(tokens, 2 * 2 * 16);
        let products = settings.size.products();
        // qkv, proj, up and down, written out.
        assert_eq!(products, 2 * (32 * 96 + 32 * 32 + 32 * 128 + 128 * 32));
        let head = if skip { 0 } else { tokens * (VOCAB * 32) as u64 };
        let mut run = start(&settings);
        for step in 0..2 {
            steps(&mut run, &settings, step..step + 1);
            assert_eq!(on_unit(&mut run), [[tokens * products, head]; 3], "step {step}");
        }
        assert_eq!(on_unit(&mut run), [[0; 2]; 3], "taken");
        // Validation is a forward alone.
        run.validate(&text(&settings), 4, &settings).expect("a loss");
        let seen = 4 * 16;
        let head = head / tokens * seen;
        assert_eq!(on_unit(&mut run), [[seen * products, head], [0; 2], [0; 2]]);
    }
}

/// What a size tells before there is a model is what the model has.
#[test]
fn a_size_tells_of_its_model() {
    let settings = tiny("bf16", 1);
    let mut run = start(&settings);
    let model = &mut run.replicas[0].model;
    let names: Vec<_> = model.linears_mut().map(|linear| linear.name().to_owned()).collect();
    assert_eq!(settings.size.linears(), names);
    let numbers: usize = model.params().iter().map(|param| param.value.len()).sum();
    assert_eq!(settings.size.parameters(), numbers as u64);
}

/// An operand b that alone is cast puts a recipe on the unit that is given for all.
#[test]
fn one_operand_that_is_cast_is_enough() {
    let cast = "name=b;fprop=bf16*e4m3:tensor:torchao;dgrad=bf16*bf16;wgrad=bf16*bf16";
    assert!(Named::new(cast, Some("h100-wgmma-fp8")).is_err(), "the unit takes no bf16");
    let plain = Named::new("bf16", Some("h100-wgmma-fp8")).expect("left as it is");
    assert_eq!(plain, Named { name: "bf16".into(), recipe: presets::bf16().to_string() });
}

/// Every preset on every unit that takes it: passes on the unit count all, others nothing.
#[test]
fn every_preset_on_every_unit() {
    let mut on = 0;
    for (preset, recipe) in presets::ALL {
        let mut settings = tiny(preset, 1);
        settings.size = Size { layers: 1, heads: 1, width: 16, context: 4 };
        let mut run = start(&settings);
        steps(&mut run, &settings, 0..1);
        assert_eq!(on_unit(&mut run), [[0; 2]; 3], "{preset} without a unit");
        for unit in UNITS {
            let Ok(named) = Named::new(&format!("{preset}@{unit}"), None) else {
                assert!(recipe().on(unit).is_err(), "{preset}@{unit}");
                continue;
            };
            on += 1;
            let recipe = named.parse().expect("a recipe");
            settings.recipes = vec![named];
            let mut run = start(&settings);
            steps(&mut run, &settings, 0..1);
            let all = settings.tokens() as u64 * settings.size.products();
            for (pass, [blocks, head]) in Pass::ALL.iter().zip(on_unit(&mut run)) {
                let expected = if recipe.gemm(*pass).sums.unit.is_some() { all } else { 0 };
                assert_eq!(blocks, expected, "{preset}@{unit} {pass}");
                // What has no casts is never skipped.
                let casts = recipe.fprop.a.cast().is_some();
                let expected = (VOCAB * 16 * settings.tokens()) as u64;
                assert_eq!(head, if casts { 0 } else { expected }, "{preset}@{unit} {pass}");
            }
        }
    }
    assert!(on >= 12, "{on} pairs");
}

/// Depths beyond 128, so that promotion matters.
fn deep(recipe: &str) -> Settings {
    Settings {
        size: Size { layers: 1, heads: 2, width: 64, context: 32 },
        batch: 6,
        ..tiny(recipe, 3)
    }
}

#[test]
fn promotion_is_part_of_the_recipe() {
    let mut seen: Vec<(String, Vec<Vec<u8>>)> = Vec::new();
    for recipe in [
        "current",
        "current@h100-wgmma-fp8:off",
        "current@h100-wgmma-fp8:128",
        "current@h100-wgmma-fp8:64",
    ] {
        let settings = deep(recipe);
        assert_eq!(settings.recipes[0].name, recipe);
        let mut run = start(&settings);
        steps(&mut run, &settings, 0..2);
        // Bits without the name of the recipe, which the state has.
        let mut weights = Vec::new();
        run.replicas[0].model.visit(|_, param| {
            weights.push(param.value.iter().flat_map(|x| x.to_le_bytes()).collect());
        });
        for (other, bits) in &seen {
            assert!(*bits != weights, "{recipe} is {other}");
        }
        seen.push((recipe.to_owned(), weights));
    }
    // Without a number the recipe's own: another run of it has the same bits.
    let settings = deep("current@h100-wgmma-fp8");
    let runs = [0, 1].map(|_| {
        let mut run = start(&settings);
        steps(&mut run, &settings, 0..1);
        bits(&mut run)
    });
    assert!(runs[0] == runs[1]);
}

#[test]
fn one_unit_for_all_recipes_that_cast() {
    for (recipe, name) in [
        ("f32", "f32"),
        ("bf16", "bf16"),
        ("current", "current@h100-wgmma-fp8"),
        ("current@ada-fp8", "current@ada-fp8"),
    ] {
        let named = Named::new(recipe, Some("h100-wgmma-fp8")).expect("a recipe");
        assert_eq!(named.name, name);
    }
    let a = Named::new("current", Some("h100-wgmma-fp8:128")).expect("a recipe");
    assert_eq!(a, named("current@h100-wgmma-fp8:128"));
    let scene = Scene::new(b"");
    let model = ["--model", "1,1,16,8", "--batch", "1", "--steps", "1", "--threads", "1"];
    let unit = ["--recipe", "f32,current", "--unit", "h100-wgmma-fp8"];
    let lines = trained(&scene, &[&model[..], &unit].concat());
    // The table cuts long names.
    assert!(lines.contains("current@h100-wg"), "{lines}");
    let wrong = [&model[..], &["--recipe", "current@h100-wgmma-fp8:0"]].concat();
    let message = untrained(&scene, &wrong);
    assert_eq!(message, "promotion: 0 is neither off nor a number of elements");
    assert_eq!(scene.names(), ["in.npy"]);
}
