//! A linear layer by its definition, and scripts of training that it and the library's run.
#![allow(dead_code)] // each test binary uses a part

use crate::common::gemm::ordinary;
use crate::common::matrices::naive_scales;
use crate::common::naive::{self, scaled, transpose};
use half::bf16;
use quarter::accuracy::Distribution;
use quarter::gemm::{Accumulation, GemmInput, GemmOptions, Workspace, reference};
use quarter::mma::H100_WGMMA_FP8;
use quarter::nn::{Exec, Linear, Step};
use quarter::recipe::{GemmRecipe, Operand, Recipe, RecipeState, Role, presets};
use quarter::scale::Context;
use quarter::tensor::{MatMut, MatRef, Quantized, Scales};
use quarter::{NanPolicy, Overflow, Policy, Unpacked};

pub const NAME: &str = "blocks.0.mlp";
pub const SEED: u64 = 42;

/// Casts of several engines in one product, stochastic rounding, histories of one role or product.
const MORE: [&str; 4] = [
    "name=mixed;fprop=e4m3:1x128:deepseek*e4m3:128x128:deepgemm+promote=32+sum=te;\
     dgrad=bf16*e4m3:row:torchao;wgrad=f32*bf16",
    "name=stochastic;fprop=e4m3:tensor:te-current:stochastic*e4m3:row:torchao:stochastic;\
     dgrad=e2m1:1x16:nvfp4:stochastic*e2m1:1x16:nvfp4;\
     wgrad=e5m2:row:torchao:stochastic*e4m3:tensor:te-current:stochastic",
    "name=dy;fprop=bf16*bf16;dgrad=e5m2:tensor:te-delayed:stochastic*bf16;wgrad=bf16*bf16;\
     delayed=3:max:bulk:te",
    "name=half;fprop=e4m3:tensor:te-delayed*e4m3:tensor:te-current;\
     dgrad=e5m2:tensor:te-current*e4m3:tensor:te-delayed;\
     wgrad=e5m2:tensor:msamp*e4m3:tensor:torchao;delayed=2:most_recent:kernel:safe",
];

pub fn all_presets() -> impl Iterator<Item = Recipe> {
    presets::ALL.iter().map(|(_, recipe)| recipe())
}

/// Every preset, those above, and two through a matrix unit.
pub fn recipes() -> Vec<Recipe> {
    let mut recipes: Vec<Recipe> = all_presets().collect();
    recipes.extend(MORE.map(|line| line.parse().unwrap()));
    let on = |recipe: Recipe| recipe.on(&H100_WGMMA_FP8).unwrap();
    recipes.extend([on(presets::current()), on(presets::delayed())]);
    recipes
}

/// What happens, by name, as bits in which every NaN is the same.
pub type Trace = Vec<(String, Vec<u32>)>;

pub fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() }).collect()
}

fn state_bits(state: &RecipeState) -> Vec<u32> {
    state.to_bytes().into_iter().map(u32::from).collect()
}

#[track_caller]
pub fn assert_same(run: &str, got: &Trace, want: &Trace) {
    assert_eq!(got.len(), want.len(), "{run}");
    for ((name, got), (wanted, want)) in got.iter().zip(want) {
        assert_eq!((name, got.len()), (wanted, want.len()), "{run}");
        let wrong: Vec<usize> = (0..want.len()).filter(|i| got[*i] != want[*i]).collect();
        if let Some(i) = wrong.first() {
            let (many, [got, want]) = (wrong.len(), [got[*i], want[*i]]);
            let [x, y] = [got, want].map(f32::from_bits);
            panic!(
                "{run}: {name}: {many} differ, first [{i}]: {got:08x} ({x:e}), not {want:08x} ({y:e})"
            );
        }
    }
}

/// Steps of training: weights change, micro-batches differ in tokens, magnitudes jump.
#[derive(Clone, Copy, Debug)]
pub struct Script {
    pub tokens: usize,
    /// Outputs and inputs.
    pub shape: (usize, usize),
    pub steps: u64,
    pub micro: u64,
    pub bias: bool,
    /// NaN among the inputs and Inf among the gradients of the second step; the third has the
    /// opposite.
    pub specials: bool,
    /// What elements are before magnitudes jump; ordinary ones if it is none.
    pub elements: Option<Distribution>,
}

impl Script {
    fn draw(&self, n: usize, tensor: u64, (step, micro): (u64, u64), size: f32) -> Vec<f32> {
        let seed = step << 16 | micro << 8 | tensor;
        let mut x = self.elements.map_or_else(|| ordinary(n, seed), |d| d.matrix(1, n, seed));
        x.iter_mut().for_each(|x| *x *= size);
        if let (true, 1 | 2, 1 | 2, Some(x)) = (self.specials, step, tensor, x.get_mut(n / 2)) {
            *x = [f32::NAN, f32::INFINITY][(tensor + step) as usize % 2];
        }
        x
    }

    pub fn tokens(&self, micro: u64) -> usize {
        self.tokens + 3 * micro as usize
    }

    pub fn x(&self, at: (u64, u64)) -> Vec<f32> {
        let size = [1.0, 40.0, 0.01, 900.0][at.0 as usize % 4];
        self.draw(self.tokens(at.1) * self.shape.1, 1, at, size * (1.0 + at.1 as f32))
    }

    pub fn dy(&self, at: (u64, u64)) -> Vec<f32> {
        let size = [1e-3, 2.0, 1e-6][at.0 as usize % 3];
        self.draw(self.tokens(at.1) * self.shape.0, 2, at, size * (1.0 + at.1 as f32))
    }

    pub fn w(&self, step: u64) -> Vec<f32> {
        self.draw(self.shape.0 * self.shape.1, 3, (step, 0), 0.3 + step as f32)
    }

    pub fn b(&self, step: u64) -> Vec<f32> {
        self.draw(self.shape.0, 4, (step, 0), 1.0)
    }

    /// Whether a micro-batch asks for dx.
    const fn wants_dx(at: (u64, u64)) -> bool {
        (at.0 + at.1) % 3 != 2
    }
}

/// How the library's layer is run: none of it changes a bit.
#[derive(Clone, Copy, Debug)]
pub struct Means {
    pub exec: Exec,
    pub count: bool,
    /// Evaluates before, between and after.
    pub eval: bool,
    /// Saves the state after each step, and goes on with a new layer and what was saved.
    pub resume: bool,
}

impl Means {
    pub fn new() -> Self {
        Self { exec: Exec::new(), count: false, eval: false, resume: false }
    }
}

fn layer(recipe: &Recipe, script: &Script) -> Linear {
    let layer = Linear::new(NAME, script.shape.0, script.shape.1, recipe.clone()).unwrap();
    if script.bias { layer.with_bias() } else { layer }
}

/// What the library's layer does in a script: its recipe, and that of the state.
pub fn trained(recipes: [&Recipe; 2], script: &Script, means: Means) -> Trace {
    let (outputs, inputs) = script.shape;
    let (mut trace, mut space, mut of) =
        (Trace::new(), Workspace::new(), layer(recipes[0], script));
    let mut state = RecipeState::new(recipes[1].clone(), SEED, 0).unwrap();
    of.register(&mut state).unwrap();
    for step in 0..script.steps {
        if means.resume {
            state = RecipeState::from_bytes(&state.to_bytes()).unwrap();
            (of, space) = (layer(recipes[0], script), Workspace::new());
        }
        of.weight_mut().copy_from_slice(&script.w(step));
        if let Some([bias, _]) = of.bias_and_grad() {
            bias.copy_from_slice(&script.b(step));
        }
        of.zero_grad();
        for micro in 0..script.micro {
            let (at, tokens) = ((step, micro), script.tokens(micro));
            let (x, dy) = (script.x(at), script.dy(at));
            let mut keep = |what: &str, x: &[f32]| {
                trace.push((format!("{what} of step {step}, batch {micro}"), bits(x)));
            };
            let [x, dy] = [(&x, inputs), (&dy, outputs)]
                .map(|(x, cols)| MatRef::new(x, tokens, cols).unwrap());
            let infer = |of: &mut Linear, state: &mut RecipeState, space: &mut Workspace| {
                let mut y = vec![f32::NAN; tokens * outputs];
                if means.eval {
                    state.set_training(false);
                    let mut step = Step::new(state, space);
                    (step.exec, step.count) = (means.exec, means.count);
                    let out = MatMut::new(&mut y, tokens, outputs).unwrap();
                    of.infer(x, out, &mut step).unwrap();
                    state.set_training(true);
                }
                y
            };
            let evaluated = infer(&mut of, &mut state, &mut space);
            let mut y = vec![f32::NAN; tokens * outputs];
            let mut dx = vec![f32::NAN; tokens * inputs];
            let mut now = Step::new(&mut state, &mut space);
            (now.exec, now.count) = (means.exec, means.count);
            let out = MatMut::new(&mut y, tokens, outputs).unwrap();
            let saved = of.forward(x, out, &mut now).unwrap();
            keep("y", &y);
            assert!(!means.eval || bits(&evaluated) == bits(&y), "evaluation of {at:?}");
            infer(&mut of, &mut state, &mut space);
            let mut now = Step::new(&mut state, &mut space);
            (now.exec, now.count) = (means.exec, means.count);
            let out = MatMut::new(&mut dx, tokens, inputs).unwrap();
            let out = Script::wants_dx(at).then(|| out.into());
            of.backward(dy, &saved, out, &mut now).unwrap();
            if Script::wants_dx(at) {
                keep("dx", &dx);
            }
            keep("dw", of.weight_grad());
            if let Some([_, grad]) = of.bias_and_grad() {
                keep("db", grad);
            }
            infer(&mut of, &mut state, &mut space);
        }
        state.end_step(None).unwrap();
        trace.push((format!("state after step {step}"), state_bits(&state)));
    }
    trace
}

// ---------------------------------------------------------------- the definition

/// An operand as it is multiplied, K last.
pub enum Cast {
    F32(Vec<f32>),
    Bf16(Vec<bf16>),
    Codes(Box<Quantized>),
}

impl Cast {
    pub fn input(&self, (rows, k): (usize, usize)) -> GemmInput<'_> {
        match self {
            Self::F32(values) => MatRef::new(values, rows, k).unwrap().into(),
            Self::Bf16(values) => MatRef::new(values, rows, k).unwrap().into(),
            Self::Codes(quantized) => (&**quantized).into(),
        }
    }
}

/// A tensor of a step: its role, elements, rows and columns, and the micro-batch.
pub type Tensor<'a> = (Role, &'a [f32], (usize, usize), u32);

/// Cast by the definition, element after element.
pub fn cast(state: &RecipeState, tensor: Tensor<'_>, operand: &Operand, turned: bool) -> Cast {
    let (role, x, (rows, cols), micro) = tensor;
    let (values, shape) = match turned {
        true => (transpose(x, rows, cols), (cols, rows)),
        false => (x.to_vec(), (rows, cols)),
    };
    let cast = match operand {
        Operand::F32 => return Cast::F32(values),
        Operand::Bf16 => return Cast::Bf16(values.into_iter().map(bf16::from_f32).collect()),
        Operand::Cast(cast) => cast,
    };
    // Counted in the tensor as it was.
    let mut stream = state.stream(NAME, role);
    stream.tensor = stream.tensor.wrapping_add(micro.wrapping_mul(0x9e37_79b9));
    let at = |i: usize| if turned { i % rows * cols + i / rows } else { i };
    let word = |i: usize| stream.word(at(i) as u64);
    let (codes, scales) = if cast.rule.keeps_history() {
        let amax = naive::amax(x.iter().copied(), cast.rule.drops_nan());
        let scale = state.scale_for(NAME, role, amax).unwrap();
        let (overflow, nan) = (Overflow::Saturate, NanPolicy::Zero);
        let policy = Policy { rounding: cast.rounding, overflow, nan };
        let code = |(i, x): (usize, &f32)| {
            let x = scaled(*x, cast.rule.operation(), scale, 1.0 / scale);
            Unpacked::from_f32(x).encode(cast.format.spec(), policy, word(i)).unwrap() as u8
        };
        let scales = Scales::F32 { scale: Some(vec![scale]), scale_inv: vec![1.0 / scale] };
        (values.iter().enumerate().map(code).collect(), scales)
    } else {
        let of = naive::quantize(&values, shape, cast, Context::default(), word);
        let scales = naive_scales(cast, &of);
        (of.codes, scales)
    };
    let whole = Quantized::from_parts(cast.format, shape, cast.granularity, codes, scales);
    Cast::Codes(Box::new(whole.unwrap().with_rule(cast.rule)))
}

/// A product of two tensors, each turned or not, by the law of bits as loops.
fn product(state: &RecipeState, gemm: &GemmRecipe, tensors: [(Tensor<'_>, bool); 2]) -> Vec<f32> {
    let shapes =
        tensors.map(|((.., (rows, cols), _), t)| if t { (cols, rows) } else { (rows, cols) });
    let casts = [(0, &gemm.a), (1, &gemm.b)]
        .map(|(i, operand)| cast(state, tensors[i].0, operand, tensors[i].1));
    let (m, n) = (shapes[0].0, shapes[1].0);
    let block_sum = gemm.block_sum().unwrap();
    let options = GemmOptions::new().sums(Accumulation { block_sum, ..gemm.sums });
    let mut out = vec![f32::NAN; m * n];
    let [a, b] = [0, 1].map(|i| casts[i].input(shapes[i]));
    reference::gemm_nt(a, b, MatMut::new(&mut out, m, n).unwrap(), &options).unwrap();
    out
}

/// Sums of columns: row r of 4,096 goes to lane r mod 16, lanes are folded by halves.
fn column_sums(x: &[f32], cols: usize) -> Vec<f32> {
    let mut sums = vec![0.0; cols];
    for x in x.chunks(4096 * cols) {
        for (col, sum) in sums.iter_mut().enumerate() {
            let mut lanes = [0.0_f32; 16];
            x.chunks(cols).enumerate().for_each(|(r, x)| lanes[r % 16] += x[col]);
            for half in [8, 4, 2, 1] {
                (0..half).for_each(|i| lanes[i] += lanes[i + half]);
            }
            *sum += lanes[0];
        }
    }
    sums
}

/// What a layer does in a script, by definition: y = x · wᵀ + b, dx = dy · w, dw = fma(1, dw, dyᵀ · x).
pub fn defined(recipe: &Recipe, script: &Script) -> Trace {
    defined_by(recipe, script, |_, state, gemm, tensors| product(state, gemm, tensors))
}

/// The same with another product: it gets the name under which its result is kept.
pub fn defined_by(
    recipe: &Recipe,
    script: &Script,
    mut product: impl FnMut(&str, &RecipeState, &GemmRecipe, [(Tensor<'_>, bool); 2]) -> Vec<f32>,
) -> Trace {
    let (outputs, inputs) = script.shape;
    let mut trace = Trace::new();
    let mut state = RecipeState::new(recipe.clone(), SEED, 0).unwrap();
    if Role::ALL.iter().any(|role| recipe.history_cast(*role).is_some()) {
        state.add_layer(NAME).unwrap();
    }
    for step in 0..script.steps {
        let (w, b) = (script.w(step), script.b(step));
        let (mut dw, mut db) = (vec![0.0_f32; w.len()], vec![0.0_f32; outputs]);
        for micro in 0..script.micro {
            let (at, tokens) = ((step, micro), script.tokens(micro));
            let (x, dy) = (script.x(at), script.dy(at));
            let name = |what: &str| format!("{what} of step {step}, batch {micro}");
            let mut keep = |what: &str, x: &[f32]| trace.push((name(what), bits(x)));
            let nth = micro as u32;
            let x = (Role::Input, &x[..], (tokens, inputs), nth);
            let w = (Role::Weight, &w[..], (outputs, inputs), 0);
            let dy = (Role::GradOutput, &dy[..], (tokens, outputs), nth);
            let mut y = product(&name("y"), &state, &recipe.fprop, [(x, false), (w, false)]);
            if script.bias {
                y.iter_mut().enumerate().for_each(|(i, y)| *y += b[i % outputs]);
            }
            keep("y", &y);
            if Script::wants_dx(at) {
                let operands = [(dy, false), (w, true)];
                keep("dx", &product(&name("dx"), &state, &recipe.dgrad, operands));
            }
            let new = product(&name("dw"), &state, &recipe.wgrad, [(dy, true), (x, true)]);
            dw.iter_mut().zip(new).for_each(|(dw, new)| *dw = 1f32.mul_add(*dw, new));
            keep("dw", &dw);
            if script.bias {
                let new = column_sums(dy.1, outputs);
                db.iter_mut().zip(new).for_each(|(db, new)| *db += new);
                keep("db", &db);
            }
            for (role, values, ..) in [x, w, dy] {
                if let Some(cast) = recipe.history_cast(role) {
                    let amax = naive::amax(values.iter().copied(), cast.rule.drops_nan());
                    state.record_amax(NAME, role, amax).unwrap();
                }
            }
        }
        state.end_step(None).unwrap();
        trace.push((format!("state after step {step}"), state_bits(&state)));
    }
    trace
}
