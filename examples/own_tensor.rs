//! How a training library plugs quarter in: its own tensors, two linear layers with a ReLU between
//! them, delayed scaling, SGD on f32 weights; stopped half-way and resumed to the same bits.
//!
//! `cargo run --release --example own_tensor`

use quarter::gemm::{GemmOptions, Workspace};
use quarter::recipe::{Pass, Prepared, Recipe, RecipeState, dgrad, fprop, wgrad};
use quarter::tensor::{MatMut, MatRef, QuantizeOptions, Scales, StatsLevel, amax};
use quarter::{Error, Granularity, RandomStream};

const STEPS: usize = 400;
const TOKENS: usize = 64;
const RATE: f32 = 4.0;

/// The library's own.
#[derive(Clone, PartialEq)]
struct Tensor {
    data: Vec<f32>,
    shape: [usize; 2],
    strides: [usize; 2],
}

impl Tensor {
    fn new(shape: [usize; 2], value: impl FnMut(usize) -> f32) -> Self {
        let data = (0..shape[0] * shape[1]).map(value).collect();
        Self { data, shape, strides: [shape[1], 1] }
    }

    fn transposed(mut self) -> Self {
        self.shape.reverse();
        self.strides.reverse();
        self
    }

    /// As quarter reads it: nothing is copied.
    fn view(&self) -> Result<MatRef<'_>, Error> {
        MatRef::with_strides(&self.data, self.shape.into(), self.strides.into())
    }
}

/// Random numbers in ±1.
fn uniform(tensor: u32, step: u32) -> impl Fn(usize) -> f32 {
    let stream = RandomStream { seed: 1, tensor, step };
    move |i| stream.word(i as u64) as f32 / (1_u64 << 31) as f32 - 1.0
}

/// A model in training; weights are \[outputs, inputs\].
struct Run {
    up: Tensor,
    down: Tensor,
    state: RecipeState,
    workspace: Workspace,
}

impl Run {
    fn new(recipe: &str) -> Result<Self, Error> {
        let mut state = RecipeState::new(Recipe::preset(recipe)?, 42, 0)?;
        ["up", "down"].iter().try_for_each(|layer| state.add_layer(layer))?;
        let (up, down) = (uniform(0, 0), uniform(1, 0));
        // This library stores [inputs, outputs]: the strides of the transpose say so.
        let up = Tensor::new([32, 64], |i| up(i) * 0.25).transposed();
        let down = Tensor::new([64, 16], |i| down(i) * 0.15).transposed();
        Ok(Self { up, down, state, workspace: Workspace::new() })
    }

    /// One step; its loss is the mean square of y − target.
    fn step(&mut self) -> Result<f32, Error> {
        let Self { up, down, state, workspace } = self;
        let x = Tensor::new([TOKENS, 32], uniform(2, state.step()));
        let target = |i: usize| x.data[i / 16 * 32 + i % 16].abs() + 0.5 * x.data[i / 16 * 32 + 31];
        let mut product = |layer, pass, a, b| product(state, workspace, (layer, pass), [a, b]);

        let h = product("up", Pass::Fprop, &x, up)?;
        let h = Tensor::new(h.shape, |i| h.data[i].max(0.0));
        let y = product("down", Pass::Fprop, &h, down)?;
        let n = y.data.len() as f32;
        let loss = (0..y.data.len()).map(|i| (y.data[i] - target(i)).powi(2)).sum::<f32>() / n;
        let dy = Tensor::new(y.shape, |i| (y.data[i] - target(i)) * 2.0 / n);
        let dh = product("down", Pass::Dgrad, &dy, down)?;
        let dh = Tensor::new(h.shape, |i| if h.data[i] > 0.0 { dh.data[i] } else { 0.0 });
        let dw_up = product("up", Pass::Wgrad, &dh, &x)?;
        let dw_down = product("down", Pass::Wgrad, &dy, &h)?;
        // With ranks: group.sum_in(dw, wire) over group.ranks() here, end_step(Some(&group)) below.
        for (w, dw) in [(up, dw_up), (down, dw_down)] {
            for (i, dw_i) in dw.data.iter().enumerate() {
                let (row, col) = (i / dw.shape[1], i % dw.shape[1]);
                w.data[row * w.strides[0] + col * w.strides[1]] -= RATE * dw_i;
            }
        }
        state.end_step(None)?;
        Ok(loss)
    }
}

/// One of a layer's three products, of its tensors in their own layout.
fn product(
    state: &mut RecipeState,
    workspace: &mut Workspace,
    (layer, pass): (&str, Pass),
    [a, b]: [&Tensor; 2],
) -> Result<Tensor, Error> {
    let (a, b) = (cast(state, (layer, pass, 0), a)?, cast(state, (layer, pass, 1), b)?);
    let shape = [a.input()?.shape().0, b.input()?.shape().0];
    let mut out = Tensor::new(shape, |_| 0.0);
    let d = MatMut::new(&mut out.data, shape[0], shape[1])?;
    let (recipe, options) = (state.recipe(), GemmOptions::new());
    match pass {
        Pass::Fprop => fprop(recipe, &a, &b, d, &options, workspace)?,
        Pass::Dgrad => dgrad(recipe, &a, &b, d, &options, workspace)?,
        Pass::Wgrad => wgrad(recipe, &a, &b, d, &options, workspace)?,
    };
    Ok(out)
}

/// A tensor as operand a (0) or b (1) of a product: where the recipe keeps a history, by the scale
/// of earlier steps, and with the amax noted for later ones.
fn cast<'a>(
    state: &mut RecipeState,
    (layer, pass, side): (&str, Pass, usize),
    tensor: &'a Tensor,
) -> Result<Prepared<'a>, Error> {
    let (role, transposed) = pass.operands()[side];
    let gemm = state.recipe().gemm(pass);
    let operand = [gemm.a, gemm.b][side];
    let mut options = QuantizeOptions::new().stats(StatsLevel::Tensor);
    let scales;
    if state.history(layer, role).is_some() {
        let amax = amax(tensor.view()?, Granularity::Tensor, false)?[0]; // counts in a warm-up
        scales = Scales::from_scale(state.scale_for(layer, role, amax)?);
        options = options.scales(&scales);
    }
    let prepared = operand.prepare(tensor.view()?, transposed, &options)?;
    if let Prepared::Quantized(quantized) = &prepared {
        quantized.stats().map_or(Ok(()), |stats| state.record_stats(layer, role, stats))?;
    }
    Ok(prepared)
}

fn main() -> Result<(), Error> {
    let (mut plain, mut run) = (Run::new("f32")?, Run::new("delayed")?);
    let (mut losses, mut saved) = (Vec::new(), None);
    for i in 0..STEPS {
        if i == STEPS / 2 {
            // All that a checkpoint must hold.
            saved = Some((run.up.clone(), run.down.clone(), run.state.to_bytes()));
        }
        losses.push([plain.step()?, run.step()?]);
        if i % 50 == 0 || i == STEPS - 1 {
            println!("step {i:>3}: loss in f32 {:.5}, delayed {:.5}", losses[i][0], losses[i][1]);
        }
    }
    assert!((0..2).all(|of| losses[STEPS - 1][of] < losses[0][of] / 10.0));

    let (up, down, bytes) = saved.expect("half of the steps");
    let state = RecipeState::from_bytes(&bytes)?;
    let mut resumed = Run { up, down, state, workspace: Workspace::new() };
    for [_, loss] in &losses[STEPS / 2..] {
        assert_eq!(resumed.step()?.to_bits(), loss.to_bits());
    }
    assert!(resumed.up == run.up && resumed.down == run.down && resumed.state == run.state);
    println!("resumed after step {}: the same bits in every loss, weight and scale", STEPS / 2);
    Ok(())
}
