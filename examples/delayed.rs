//! Delayed scaling over a scripted run, interrupted half-way and resumed: the same scales.
//!
//! `cargo run --release --example delayed`

use quarter::recipe::{Recipe, RecipeState, Role};
use quarter::{Error, F8E4M3};

/// One step: quantize a tensor of one element by the step's scale and note its amax.
fn step(state: &mut RecipeState, x: f32) -> Result<(f32, F8E4M3), Error> {
    let scale = state.scale("mlp", Role::Input)?;
    let code = F8E4M3::from_f32_sat(x * scale);
    state.record_amax("mlp", Role::Input, x.abs())?;
    state.end_step(None)?;
    Ok((scale, code))
}

fn main() -> Result<(), Error> {
    // The defaults of TransformerEngine, with a window of 4 steps, and an Inf that does not poison it.
    let line =
        Recipe::preset("delayed")?.to_string().replace("1024:max:bulk:te", "4:max:bulk:safe");
    let recipe: Recipe = line.parse()?;
    println!("{recipe}");

    let amaxes = [2.0, 3.0, 40.0, 4.0, f32::INFINITY, 5.0, 0.0, 6.0, 7.0, 0.5];
    let mut state = RecipeState::new(recipe, 42, 0)?;
    state.add_layer("mlp")?;
    let mut saved = Vec::new();
    let mut scales = Vec::new();
    for (i, x) in amaxes.into_iter().enumerate() {
        if i == amaxes.len() / 2 {
            saved = state.to_bytes();
        }
        let (scale, code) = step(&mut state, x)?;
        println!(
            "step {i}: x {x:>4} · scale {scale:>7.3} -> {:>5} -> {:.3}",
            code,
            code.to_f32() / scale
        );
        scales.push(scale);
    }

    let mut resumed = RecipeState::from_bytes(&saved)?;
    for (i, x) in amaxes.into_iter().enumerate().skip(resumed.step() as usize) {
        assert_eq!(step(&mut resumed, x)?.0.to_bits(), scales[i].to_bits());
    }
    assert_eq!(resumed, state);
    println!("resumed from {} bytes after half of the steps: every bit is the same", saved.len());
    Ok(())
}
