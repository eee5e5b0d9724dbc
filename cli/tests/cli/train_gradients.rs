//! The loss and every gradient of the GPT, against a naive one in f64 and its central differences.

use crate::train_naive::Naive;
use quarter::RandomStream;
use quarter::gemm::Workspace;
use quarter::nn::{Exec, Skip, Step};
use quarter::recipe::{Recipe, RecipeState, presets};
use quarter_cli::train::gpt::{Gpt, Size};
use std::sync::OnceLock;

const SIZE: Size = Size { layers: 2, heads: 2, width: 32, context: 8 };
const BATCH: usize = 2;
/// Entries of a tensor whose slopes are compared, or all if it has fewer.
const ENTRIES: usize = 48;

/// The loss in f32, relative.
const LOSS: f64 = 2e-7;
/// An entry of a gradient in f32, of the largest entry of its tensor.
const ENTRY: f64 = 4e-6;
/// The slope in a random direction, of the gradient's norm.
const SLOPE: f64 = 1e-6;

/// A number in -1..1 from a stream.
fn unit(seed: u64, tensor: usize, i: usize) -> f64 {
    let stream = RandomStream { seed, tensor: tensor as u32, step: 0 };
    f64::from(stream.word(i as u64)) / f64::from(1_u32 << 31) - 1.0
}

/// A model whose attention, GELU and norms are far from linear: larger weights than a first step
/// has, gains that are not 1.
fn model(recipe: &Recipe) -> Gpt {
    let mut model = Gpt::new(SIZE, recipe, &Skip::default(), 0).expect("a model");
    model.visit(|i, param| {
        let reach = if param.name.starts_with("w") { 1.0 } else { 0.3 };
        for (j, value) in param.value.iter_mut().enumerate() {
            let unit = unit(1, i, j) as f32;
            *value = if param.name.contains("norm") { 1.0 + 0.5 * unit } else { reach * unit };
        }
    });
    model
}

fn rows() -> (Vec<u32>, Vec<u32>) {
    let n = BATCH * SIZE.context;
    let byte = |seed| move |i| ((unit(seed, 0, i) + 1.0) * 20.0) as u32;
    ((0..n).map(byte(2)).collect(), (0..n).map(byte(3)).collect())
}

/// The loss and all gradients after `steps` steps that change no weight.
fn gradients(recipe: &Recipe, steps: usize) -> (f64, Vec<Vec<f64>>) {
    let mut model = model(recipe);
    let mut state = RecipeState::new(recipe.clone(), 0, 0).expect("a state");
    model.register(&mut state).expect("registered");
    let mut workspace = Workspace::new();
    let (inputs, targets) = rows();
    let mut loss = 0.0;
    for _ in 0..steps {
        model.zero_grad();
        let mut step = Step::new(&mut state, &mut workspace);
        step.exec = Exec::new().threads(1);
        let weight = 1.0 / inputs.len() as f32;
        loss = model.train(&inputs, &targets, BATCH, weight, &mut step).expect("a step").0;
        state.end_step(None).expect("the end of a step");
    }
    let f64s = |grad: &mut [f32]| grad.iter().map(|x| f64::from(*x)).collect();
    (f64::from(loss), model.grads_mut().into_iter().map(f64s).collect())
}

/// A tensor of the naive model: some slopes, and one in a random direction of length 1.
struct Slopes {
    name: String,
    entries: Vec<(usize, f64)>,
    direction: Vec<(usize, f64)>,
    slope: f64,
}

/// The naive loss and slopes, made once.
fn naive() -> &'static (f64, Vec<Slopes>) {
    static NAIVE: OnceLock<(f64, Vec<Slopes>)> = OnceLock::new();
    NAIVE.get_or_init(|| {
        let mut naive = Naive::of(&mut model(&presets::f32()));
        let (inputs, targets) = rows();
        let rows = (&inputs[..], &targets[..]);
        let mut all = Vec::new();
        for tensor in 0..naive.tensors.len() {
            let (name, n) =
                (naive.tensors[tensor].name.clone(), naive.tensors[tensor].values.len());
            // Most bytes are in no row: those of the first that are.
            let place = |i: usize| match name.as_str() {
                "wte" => inputs[i % inputs.len()] as usize * SIZE.width + i * 7 % SIZE.width,
                _ if n <= ENTRIES => i,
                _ => ((unit(4, tensor, i) + 1.0) / 2.0 * n as f64) as usize,
            };
            let entries = (0..n.min(ENTRIES)).map(|i| {
                let i = place(i);
                (i, naive.slope(tensor, &[(i, 1.0)], rows))
            });
            let entries = entries.collect();
            let raw: Vec<f64> = (0..n).map(|i| unit(5, tensor, i)).collect();
            let length = raw.iter().map(|x| x * x).sum::<f64>().sqrt();
            let direction: Vec<_> = raw.iter().map(|x| x / length).enumerate().collect();
            let slope = naive.slope(tensor, &direction, rows);
            all.push(Slopes { name, entries, direction, slope });
        }
        (naive.loss(&inputs, &targets), all)
    })
}

#[test]
fn loss_and_gradients_in_f32() {
    let (loss, tensors) = naive();
    let (got, grads) = gradients(&presets::f32(), 1);
    assert!((got - loss).abs() <= LOSS * loss, "the loss is {got}, not {loss}");
    let names: Vec<_> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    let of = |i: usize, what: &str| format!("blocks.{i}.{what}");
    let layers = ["norm1", "qkv", "proj", "norm2", "up", "down"];
    let mut expected = vec!["wte".to_owned(), "wpe".to_owned()];
    expected.extend((0..2).flat_map(|i| layers.map(|what| of(i, what))));
    expected.extend(["norm".to_owned(), "head".to_owned()]);
    assert_eq!(names, expected);
    assert_eq!(grads.len(), tensors.len());
    let mut worst = [0.0_f64; 2];
    for (tensor, grad) in tensors.iter().zip(&grads) {
        let name = &tensor.name;
        let most = grad.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
        let norm = grad.iter().map(|x| x * x).sum::<f64>().sqrt();
        assert!(most > 1e-4, "{name}: the gradient is {most}, too small to be tested");
        for (i, slope) in &tensor.entries {
            let error = (grad[*i] - slope).abs() / most;
            worst[0] = worst[0].max(error);
            assert!(error <= ENTRY, "{name}[{i}]: {} is not {slope}", grad[*i]);
        }
        let along: f64 = tensor.direction.iter().map(|(i, d)| d * grad[*i]).sum();
        let error = (along - tensor.slope).abs() / norm;
        worst[1] = worst[1].max(error);
        assert!(error <= SLOPE, "{name}: the slope {along} is not {}", tensor.slope);
    }
    let loss_error = (got - loss).abs() / loss;
    println!("largest errors: {:.1e}, {:.1e}; loss {loss_error:.1e}", worst[0], worst[1]);
    // A byte that is in no row has no gradient.
    let absent = 200 * SIZE.width;
    assert_eq!(grads[0][absent..absent + SIZE.width], [0.0; 32]);
}

/// The least cosine of any tensor with the f64 gradient, with all layers cast, the head too. Of
/// delayed scaling it is that of the third step: the first has a scale of 1.
const COSINES: &[(&str, f64)] = &[
    ("f32", 0.999_999),
    ("bf16", 0.9998),
    ("delayed", 0.95),
    ("current", 0.95),
    ("tensorwise", 0.95),
    ("rowwise", 0.98),
    ("rowwise_with_gw_hp", 0.98),
    ("blockwise", 0.98),
    ("mxfp8", 0.98),
    ("mxfp8_floor", 0.975),
    ("msamp", 0.975),
    ("nvfp4", 0.8),
];

#[test]
fn gradients_of_every_preset_point_the_same_way() {
    let names: Vec<_> = presets::ALL.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, COSINES.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    for ((name, recipe), (_, least)) in presets::ALL.iter().zip(COSINES) {
        let (loss, grads) = gradients(&recipe(), 3);
        let mut worst = (1.0_f64, "");
        for (tensor, grad) in naive().1.iter().zip(&grads) {
            let (mut dot, mut own, mut other) = (0.0, 0.0, 0.0);
            for (i, slope) in &tensor.entries {
                dot += grad[*i] * slope;
                own += grad[*i] * grad[*i];
                other += slope * slope;
            }
            let cosine = dot / (own * other).sqrt();
            assert!(!cosine.is_nan(), "{name}: {} has no gradient", tensor.name);
            if cosine < worst.0 {
                worst = (cosine, &tensor.name);
            }
        }
        let error = (loss - naive().0).abs() / naive().0;
        println!("{name}: cosine {:.8} of {}; loss {error:.1e}", worst.0, worst.1);
        assert!(worst.0 >= *least, "{name}: {worst:?}");
    }
}
