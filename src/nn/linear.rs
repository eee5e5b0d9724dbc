//! A linear layer under a recipe.

use super::casting::{CastWeight, RoleStats};
use super::{Param, Step, column_sums_into};
use crate::error::Error;
use crate::gemm::{GemmOptions, GemmOutput};
use crate::recipe::{Pass, Prepared, Recipe, RecipeState, Role, dgrad, fprop, wgrad};
use crate::tensor::{MatMut, MatRef};
use std::string::String;
use std::vec;
use std::vec::Vec;

/// y = x · wᵀ + b, with f32 masters of w and b, and its backward: three matrix products under a
/// [`Recipe`].
///
/// The weight is cast once for each step, however many micro-batches it has; a forward keeps what
/// wgrad reads of x and nothing else, as codes where the recipe casts it; gradients are added up in
/// f32. Histories, where the recipe has them, are in the [`RecipeState`] under the layer's name.
///
/// ```
/// use quarter::gemm::Workspace;
/// use quarter::nn::{Linear, Step};
/// use quarter::recipe::{RecipeState, presets};
/// use quarter::tensor::{MatMut, MatRef};
/// let recipe = presets::mxfp8();
/// let mut layer = Linear::new("mlp", 32, 64, recipe.clone())?;
/// layer.weight_mut().fill(0.5);
/// let (mut state, mut workspace) = (RecipeState::new(recipe, 0, 0)?, Workspace::new());
/// let mut step = Step::new(&mut state, &mut workspace);
/// let (x, mut y, mut dx) = ([1.0_f32; 4 * 64], [0.0_f32; 4 * 32], [0.0_f32; 4 * 64]);
/// let saved = layer.forward(MatRef::new(&x, 4, 64)?, MatMut::new(&mut y, 4, 32)?, &mut step)?;
/// assert_eq!(y, [32.0; 128]);
/// assert_eq!(saved.bytes(), 4 * 64 + 64); // codes, and a byte for each 1 x 32 along the tokens
/// let dy = MatRef::new(&y, 4, 32)?;
/// layer.backward(dy, &saved, Some(MatMut::new(&mut dx, 4, 64)?.into()), &mut step)?;
/// assert_eq!((dx[0], layer.weight_grad()[0]), (32.0 * 32.0 * 0.5, 4.0 * 32.0));
/// # Ok::<(), quarter::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Linear {
    pub(super) name: String,
    pub(super) bias_name: String,
    pub(super) recipe: Recipe,
    /// Outputs and inputs.
    pub(super) shape: (usize, usize),
    pub(super) weight: Vec<f32>,
    pub(super) weight_grad: Vec<f32>,
    /// And its gradient.
    pub(super) bias: Option<[Vec<f32>; 2]>,
    pub(super) cast: Option<CastWeight>,
    pub(super) counts: [RoleStats; 3],
    pub(super) on_unit: [u64; 3],
    /// A step, and the tensors of each role that it has cast: each has random words of its own.
    pub(super) drawn: (u32, [u32; 3]),
}

/// What a forward keeps for its backward: xᵀ as wgrad reads it.
#[derive(Clone, Debug)]
pub struct Saved {
    x_t: Prepared<'static>,
    tokens: usize,
}

impl Saved {
    /// The bytes of its codes and scales or of its values.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.x_t.bytes()
    }

    /// It as the right operand of wgrad.
    #[must_use]
    pub const fn operand(&self) -> &Prepared<'static> {
        &self.x_t
    }
}

impl Linear {
    /// A layer without bias, its weight zero.
    ///
    /// # Errors
    /// As [`Recipe::validate`]; [`Error::Memory`].
    pub fn new(
        name: impl Into<String>,
        outputs: usize,
        inputs: usize,
        recipe: Recipe,
    ) -> Result<Self, Error> {
        recipe.validate()?;
        let elements = outputs.saturating_mul(inputs);
        let zeros = || {
            let mut zeros = Vec::new();
            let missing = |_| Error::Memory { what: "weights of a linear layer", elements };
            zeros.try_reserve_exact(elements).map_err(missing)?;
            zeros.resize(elements, 0.0);
            Ok(zeros)
        };
        let name = name.into();
        Ok(Self {
            bias_name: std::format!("{name}.bias"),
            name,
            recipe,
            shape: (outputs, inputs),
            weight: zeros()?,
            weight_grad: zeros()?,
            bias: None,
            cast: None,
            counts: [RoleStats::default(); 3],
            on_unit: [0; 3],
            drawn: (0, [0; 3]),
        })
    }

    /// With a bias of zeros.
    #[must_use]
    pub fn with_bias(self) -> Self {
        let zeros = || vec![0.0; self.shape.0];
        Self { bias: Some([zeros(), zeros()]), ..self }
    }

    /// Adds the layer to the histories of a state, if its recipe keeps any.
    ///
    /// # Errors
    /// As [`RecipeState::add_layer`].
    pub fn register(&self, state: &mut RecipeState) -> Result<(), Error> {
        let keeps = Role::ALL.iter().any(|role| self.recipe.history_cast(*role).is_some());
        if keeps { state.add_layer(&self.name) } else { Ok(()) }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its recipe.
    #[must_use]
    pub const fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// Outputs and inputs.
    #[must_use]
    pub const fn shape(&self) -> (usize, usize) {
        self.shape
    }

    /// The master weight, \[outputs, inputs\].
    #[must_use]
    pub fn weight(&self) -> &[f32] {
        &self.weight
    }

    /// The weight, to be changed: it is cast anew then.
    pub fn weight_mut(&mut self) -> &mut [f32] {
        self.cast = None;
        &mut self.weight
    }

    /// The sum of the gradients since [`zero_grad`](Self::zero_grad).
    #[must_use]
    pub fn weight_grad(&self) -> &[f32] {
        &self.weight_grad
    }

    /// The gradient, to be changed: to be joined over ranks, say.
    pub fn weight_grad_mut(&mut self) -> &mut [f32] {
        &mut self.weight_grad
    }

    /// Weight and bias as an optimizer wants them, under `NAME` and `NAME.bias`; the weight is cast
    /// anew then.
    ///
    /// ```
    /// use quarter::nn::{AdamW, AdamWConfig, Exec, Linear, Param};
    /// use quarter::recipe::presets;
    /// let mut layers =
    ///     ["up", "down"].map(|name| Ok(Linear::new(name, 8, 8, presets::mxfp8())?.with_bias()));
    /// let mut params = Vec::new();
    /// for layer in &mut layers {
    ///     params.extend(layer.as_mut().map_err(|error: &mut quarter::Error| *error)?.params());
    /// }
    /// let names: Vec<_> = params.iter().map(|param| param.name).collect();
    /// assert_eq!(names, ["up", "up.bias", "down", "down.bias"]);
    /// AdamW::new(AdamWConfig::default())?.step(&mut params, 1e-3, Exec::new())?;
    /// # Ok::<(), quarter::Error>(())
    /// ```
    pub fn params(&mut self) -> impl Iterator<Item = Param<'_>> {
        self.cast = None;
        let Self { name, weight, weight_grad, bias, bias_name, .. } = self;
        let bias =
            bias.as_mut().map(|[value, grad]| Param { name: bias_name, value, grad, decay: false });
        let weight = Param { name, value: weight, grad: weight_grad, decay: true };
        [Some(weight), bias].into_iter().flatten()
    }

    /// The bias, if it has one.
    #[must_use]
    pub fn bias(&self) -> Option<&[f32]> {
        self.bias.as_ref().map(|[bias, _]| &bias[..])
    }

    /// The bias and its gradient, to be changed.
    #[must_use]
    pub fn bias_and_grad(&mut self) -> Option<[&mut [f32]; 2]> {
        self.bias.as_mut().map(|both| both.each_mut().map(|values| &mut values[..]))
    }

    /// Sets the gradients to zero.
    pub fn zero_grad(&mut self) {
        self.weight_grad.fill(0.0);
        if let Some([_, grad]) = &mut self.bias {
            grad.fill(0.0);
        }
    }

    /// What casting did to x, w and dy since the last call.
    pub fn take_stats(&mut self, role: Role) -> RoleStats {
        core::mem::take(&mut self.counts[role as usize])
    }

    /// The multiply-adds of a pass that went through a matrix unit since the last call.
    pub fn take_on_unit(&mut self, pass: Pass) -> u64 {
        core::mem::take(&mut self.on_unit[pass as usize])
    }

    /// y\[T,O\] = x\[T,I\] · wᵀ + b, and what backward needs of x.
    ///
    /// # Errors
    /// As [`gemm_nt`](crate::gemm::gemm_nt); [`Error::Name`] for a layer that is not
    /// [registered](Self::register) where the recipe keeps histories; those of the group.
    pub fn forward<'o>(
        &mut self,
        x: MatRef<'_>,
        y: impl Into<GemmOutput<'o>>,
        step: &mut Step<'_>,
    ) -> Result<Saved, Error> {
        let operands = [Some(self.recipe.fprop.a), Some(self.recipe.wgrad.b)];
        let y = y.into();
        self.check_forward(x, &y)?;
        let [Some(a), Some(x_t)] = self.cast(Role::Input, x, operands, step)? else {
            return Err(NOT_CAST);
        };
        self.fprop(&a, y, step)?;
        Ok(Saved { x_t: x_t.keep()?, tokens: x.shape().0 })
    }

    /// The same y without keeping or noting anything: for evaluation.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn infer<'o>(
        &mut self,
        x: MatRef<'_>,
        y: impl Into<GemmOutput<'o>>,
        step: &mut Step<'_>,
    ) -> Result<(), Error> {
        let y = y.into();
        self.check_forward(x, &y)?;
        let training = step.state.is_training();
        step.state.set_training(false);
        let done = self.cast(Role::Input, x, [Some(self.recipe.fprop.a), None], step);
        let done = done.and_then(|prepared| match prepared {
            [Some(a), _] => self.fprop(&a, y, step),
            [None, _] => Err(NOT_CAST),
        });
        step.state.set_training(training);
        done
    }

    /// From dy\[T,O\]: dx\[T,I\] = dy · w if it is wanted; dw += dyᵀ · x, db += Σ dy.
    ///
    /// # Errors
    /// As [`forward`](Self::forward); [`Error::Shape`] for a dy of other tokens than those of the
    /// forward. Then no gradient has changed.
    pub fn backward(
        &mut self,
        dy: MatRef<'_>,
        saved: &Saved,
        dx: Option<GemmOutput<'_>>,
        step: &mut Step<'_>,
    ) -> Result<(), Error> {
        let (outputs, inputs) = self.shape;
        shape("gradient of a linear layer's output", (saved.tokens, outputs), dy.shape())?;
        let kept = saved.x_t.input()?.shape();
        shape("what a linear layer's forward kept", (inputs, saved.tokens), kept)?;
        if let Some(dx) = &dx {
            shape("gradient of a linear layer's input", (saved.tokens, inputs), dx.shape())?;
        }
        let first = dx.is_some().then_some(self.recipe.dgrad.a);
        let operands = [first, Some(self.recipe.wgrad.a)];
        let [dy_a, Some(dy_t)] = self.cast(Role::GradOutput, dy, operands, step)? else {
            return Err(NOT_CAST);
        };
        let options = options(step);
        if let (Some(a), Some(dx)) = (dy_a, dx) {
            self.cast_weight(step)?;
            let stats = self.with_weight(true, |w_t| {
                dgrad(&self.recipe, &a, w_t, dx, &options, step.workspace)
            })?;
            self.on_unit[Pass::Dgrad as usize] += stats.on_unit;
        }
        let out = MatMut::new(&mut self.weight_grad, outputs, inputs)?;
        let options = options.accumulate(1.0);
        let stats = wgrad(&self.recipe, &dy_t, &saved.x_t, out, &options, step.workspace)?;
        self.on_unit[Pass::Wgrad as usize] += stats.on_unit;
        if let Some([_, grad]) = &mut self.bias {
            column_sums_into(&dy.f32s(), outputs, grad, step.exec)?;
        }
        Ok(())
    }

    fn check_forward(&self, x: MatRef<'_>, y: &GemmOutput<'_>) -> Result<(), Error> {
        let (outputs, inputs) = self.shape;
        let tokens = x.shape().0;
        shape("input of a linear layer", (tokens, inputs), x.shape())?;
        shape("output of a linear layer", (tokens, outputs), y.shape())
    }

    fn fprop(
        &mut self,
        x: &Prepared<'_>,
        y: GemmOutput<'_>,
        step: &mut Step<'_>,
    ) -> Result<(), Error> {
        self.cast_weight(step)?;
        let options = match &self.bias {
            Some([bias, _]) => options(step).bias(bias),
            None => options(step),
        };
        let stats =
            self.with_weight(false, |w| fprop(&self.recipe, x, w, y, &options, step.workspace))?;
        self.on_unit[Pass::Fprop as usize] += stats.on_unit;
        Ok(())
    }
}

/// No product comes before its operands were cast.
pub(super) const NOT_CAST: Error =
    Error::Recipe { field: "operand", why: "it was not cast before its product" };

fn shape(what: &'static str, expected: (usize, usize), got: (usize, usize)) -> Result<(), Error> {
    if expected == got { Ok(()) } else { Err(Error::Shape { what, expected, got }) }
}

fn options<'a>(step: &Step<'_>) -> GemmOptions<'a> {
    let (threads, isa) = step.exec.means();
    GemmOptions::new().threads(threads).isa(isa)
}
