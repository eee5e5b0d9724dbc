//! Tiny trainings for the tests of `quarter train`: settings, and all bits of a run.

use crate::common::{Run as Ran, Scene, command, run};
use half::bf16;
use quarter::nn::Moments;
use quarter_cli::train::data::Text;
use quarter_cli::train::gpt::Size;
use quarter_cli::train::run::Run;
use quarter_cli::train::settings::{Named, Settings};
use quarter_cli::train::show::StepRecord;
use quarter_cli::train::show::metrics::read;
use std::path::Path;

/// 2 layers, 2 heads, width 32, 16 bytes.
pub const TINY: Size = Size { layers: 2, heads: 2, width: 32, context: 16 };

/// The recipe that a command line names.
pub fn named(recipe: &str) -> Named {
    Named::new(recipe, None).unwrap_or_else(|error| panic!("{recipe}: {error:#}"))
}

/// One recipe, `steps` steps of 2 rows on one rank.
pub fn tiny(recipe: &str, steps: u64) -> Settings {
    Settings {
        recipes: vec![named(recipe)],
        size: TINY,
        batch: 2,
        accumulate: 1,
        ranks: 1,
        wire: "f32".into(),
        steps,
        lr: 2e-3,
        seed: 7,
        skip: vec!["head".into()],
        bf16_moments: false,
        bf16_weights: false,
        validate: steps,
        val_rows: 8,
        text: None,
        text_bytes: (0, 0),
    }
}

/// The sources of the project.
pub fn text(settings: &Settings) -> Text {
    Text::new(None, settings.size.context).expect("the sources are long enough")
}

/// The first recipe of a training, at its first step.
pub fn start(settings: &Settings) -> Run {
    settings.check().expect("settings");
    Run::new(settings, &settings.recipes[0], 1).expect("a run")
}

/// Runs these steps; their losses.
pub fn steps(run: &mut Run, settings: &Settings, which: std::ops::Range<u64>) -> Vec<f32> {
    let text = text(settings);
    let step = |index| run.step(settings, &text, index).expect("a step").train_loss;
    which.map(step).collect()
}

/// Bits of each rank: weights, moments, counts of the optimizer and the state as it is saved.
pub fn bits(run: &mut Run) -> Vec<Vec<u8>> {
    let mut ranks = Vec::new();
    for replica in &mut run.replicas {
        let mut bytes = Vec::new();
        let f32s = |bytes: &mut Vec<u8>, values: &[f32]| {
            bytes.extend(values.iter().flat_map(|x| x.to_le_bytes()));
        };
        replica.model.visit(|_, param| {
            bytes.extend(param.name.as_bytes());
            f32s(&mut bytes, param.value);
        });
        for (name, moments) in replica.optimizer.moments() {
            bytes.extend(name.as_bytes());
            let bf16s = |values: &[bf16]| -> Vec<u8> {
                values.iter().flat_map(|x| x.to_le_bytes()).collect()
            };
            match moments {
                Moments::F32(m, v) => [m, v].iter().for_each(|x| f32s(&mut bytes, x)),
                Moments::Bf16(m, v) => [m, v].iter().for_each(|x| bytes.extend(bf16s(x))),
            }
        }
        bytes.extend(replica.optimizer.steps().to_le_bytes());
        bytes.extend(replica.optimizer.skipped().to_le_bytes());
        bytes.extend(replica.state.to_bytes());
        ranks.push(bytes);
    }
    ranks
}

/// The bits of numbers.
pub fn f32_bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

/// `quarter train --quiet` and these, in the scene's folder.
pub fn train(scene: &Scene, args: &[&str]) -> Ran {
    let mut command = command(&["train", "--quiet"]);
    command.args(args).current_dir(scene.dir.path());
    run(command)
}

/// A training that must work.
#[track_caller]
pub fn trained(scene: &Scene, args: &[&str]) -> String {
    let ran = train(scene, args);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{args:?}");
    ran.stdout
}

/// The message of a training that must fail.
#[track_caller]
pub fn untrained(scene: &Scene, args: &[&str]) -> String {
    let ran = train(scene, args);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{args:?}: {}", ran.stderr);
    assert!(!ran.stderr.contains("panicked"), "{args:?}: {}", ran.stderr);
    let message = ran.stderr.strip_prefix("quarter: ");
    message.expect("the message names the program").trim_end().to_owned()
}

/// What does not depend on the clock of the metrics in a folder.
pub fn timeless(folder: &Path) -> Vec<(u64, String, Vec<Option<u32>>, u64)> {
    let records = read(&folder.join("metrics.jsonl")).expect("metrics");
    let bits = |record: &StepRecord| {
        let some =
            [Some(record.train_loss), record.val_loss, Some(record.lr), Some(record.grad_norm)];
        some.iter().map(|x| x.map(f32::to_bits)).collect()
    };
    records.iter().map(|r| (r.step, r.recipe.clone(), bits(r), r.skipped)).collect()
}
