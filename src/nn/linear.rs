//! A linear layer under a recipe.

use super::{Param, Step, column_sums_into};
use crate::error::Error;
use crate::gemm::{GemmOptions, GemmOutput, GemmStats};
use crate::recipe::{
    AllReduce, Operand, Pass, Prepared, Recipe, RecipeState, Role, dgrad, fprop, prepare_both, wgrad,
};
use crate::scale::{Granularity, ScaleFormat};
use crate::slice::QuantStats;
use crate::tensor::{Cast, MatMut, MatRef, QuantizeOptions, Scales, StatsLevel, amax};
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
    name: String,
    recipe: Recipe,
    /// Outputs and inputs.
    shape: (usize, usize),
    weight: Vec<f32>,
    weight_grad: Vec<f32>,
    /// And its gradient.
    bias: Option<[Vec<f32>; 2]>,
    cast: Option<CastWeight>,
    counts: [RoleStats; 3],
    on_unit: [u64; 3],
}

/// The weight as the products of one step read it.
#[derive(Clone, Debug)]
struct CastWeight {
    /// Of fprop, and transposed of dgrad; none where the values are read as they are.
    operands: [Option<Prepared<'static>>; 2],
    step: u32,
    stats: Option<RoleStats>,
    /// Whether this step has taken note of the amax.
    noted: bool,
}

/// What casting the tensors of a role did to them, since it was [last asked](Linear::take_stats).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RoleStats {
    /// Of all tensors.
    pub stats: QuantStats,
    /// Their elements.
    pub elements: u64,
    /// The scale of the last one, if it had one for all of it.
    pub scale: Option<f32>,
}

impl RoleStats {
    /// Of two groups of tensors as one; the scale is the second's.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        Self {
            stats: self.stats.merge(other.stats),
            elements: self.elements + other.elements,
            scale: other.scale.or(self.scale),
        }
    }
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
        Ok(Self {
            name: name.into(),
            recipe,
            shape: (outputs, inputs),
            weight: zeros()?,
            weight_grad: zeros()?,
            bias: None,
            cast: None,
            counts: [RoleStats::default(); 3],
            on_unit: [0; 3],
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

    /// The weight as an optimizer wants it, under the layer's name: it is cast anew then.
    pub fn weight_param(&mut self) -> Param<'_> {
        self.cast = None;
        let (value, grad) = (&mut self.weight[..], &self.weight_grad[..]);
        Param { name: &self.name, value, grad, decay: true }
    }

    /// The bias and its gradient.
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

    /// The same y without keeping anything: for evaluation.
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
        let [Some(a), _] = self.cast(Role::Input, x, [Some(self.recipe.fprop.a), None], step)?
        else {
            return Err(NOT_CAST);
        };
        self.fprop(&a, y, step)
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
            column_sums_into(&dy.to_f32(), outputs, grad, step.exec)?;
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

    /// The weight as fprop reads it, or transposed as dgrad does.
    fn with_weight(
        &self,
        transposed: bool,
        run: impl FnOnce(&Prepared<'_>) -> Result<GemmStats, Error>,
    ) -> Result<GemmStats, Error> {
        let operands = self.cast.as_ref().map(|cast| &cast.operands[usize::from(transposed)]);
        if let Some(Some(operand)) = operands {
            return run(operand);
        }
        let weight = MatRef::new(&self.weight, self.shape.0, self.shape.1)?;
        let weight = if transposed { weight.transposed() } else { weight };
        run(&Prepared::Values(weight))
    }

    /// Casts the weight unless this step has it, and takes note of its amax once a step.
    fn cast_weight(&mut self, step: &mut Step<'_>) -> Result<(), Error> {
        let now = step.state.step();
        if self.cast.as_ref().is_none_or(|cast| cast.step != now) {
            let weight = MatRef::new(&self.weight, self.shape.0, self.shape.1)?;
            let operands = [&self.recipe.fprop.b, &self.recipe.dgrad.b];
            // Ranks have the same weights: nothing is to be joined.
            let alone = None;
            let scales = self.scales(Role::Weight, weight, operands.map(Some), (step, alone))?;
            let options = self.quantizing(Role::Weight, &scales, step);
            let (w, w_t) = prepare_both(weight, operands, &options)?;
            let stats = stats_of([Some(&w), Some(&w_t)], weight.shape());
            let keep = |prepared| match prepared {
                Prepared::Values(_) => Ok(None),
                prepared => Prepared::keep(prepared).map(Some),
            };
            let operands = [keep(w)?, keep(w_t)?];
            self.cast = Some(CastWeight { operands, step: now, stats, noted: false });
        }
        if let Some(cast) = &mut self.cast
            && step.state.is_training()
            && !cast.noted
        {
            cast.noted = true;
            if let Some(stats) = cast.stats {
                note(&self.name, &self.recipe, &mut self.counts, (Role::Weight, stats), step)?;
            }
        }
        Ok(())
    }

    /// A tensor and its transpose as the products read them, and takes note of what that did.
    fn cast<'a>(
        &mut self,
        role: Role,
        tensor: MatRef<'a>,
        operands: [Option<Operand>; 2],
        step: &mut Step<'_>,
    ) -> Result<[Option<Prepared<'a>>; 2], Error> {
        let [first, second] = operands;
        let scales = self.scales(role, tensor, [first.as_ref(), second.as_ref()], (step, step.group))?;
        let options = self.quantizing(role, &scales, step);
        let prepared = match (&first, &second) {
            (Some(first), Some(second)) => {
                let (a, b) = prepare_both(tensor, [first, second], &options)?;
                [Some(a), Some(b)]
            }
            (Some(first), None) => [Some(first.prepare(tensor, false, &options)?), None],
            (None, Some(second)) => {
                [None, Some(second.prepare(tensor, true, &options.of_transpose())?)]
            }
            (None, None) => [None, None],
        };
        let [a, b] = prepared.each_ref().map(Option::as_ref);
        if let Some(stats) = stats_of([a, b], tensor.shape())
            && step.state.is_training()
        {
            note(&self.name, &self.recipe, &mut self.counts, (role, stats), step)?;
        }
        Ok(prepared)
    }

    fn quantizing<'s>(
        &self,
        role: Role,
        scales: &'s [Option<Scales>; 2],
        step: &Step<'_>,
    ) -> QuantizeOptions<'s> {
        let (threads, isa) = step.exec.means();
        // The weight that evaluation casts may be that of the next training step.
        let noted = step.state.is_training() || role == Role::Weight;
        let keeps = self.recipe.history_cast(role).is_some() && noted;
        let level = if keeps || step.count { StatsLevel::Tensor } else { StatsLevel::None };
        let mut options = QuantizeOptions::new().threads(threads).isa(isa).stats(level);
        options = options.random(step.state.stream(&self.name, role));
        if let Some(scales) = &scales[0] {
            options = options.scales(scales);
        }
        match &scales[1] {
            Some(scales) => options.scales_t(scales),
            None => options,
        }
    }

    /// The scales that do not follow from the tensor alone: by history, and of a tensor that ranks
    /// share.
    fn scales(
        &self,
        role: Role,
        tensor: MatRef<'_>,
        operands: [Option<&Operand>; 2],
        (step, group): (&Step<'_>, Option<&dyn AllReduce>),
    ) -> Result<[Option<Scales>; 2], Error> {
        let casts = operands.map(|operand| operand.and_then(Operand::cast));
        let first = self.scale(role, tensor, casts[0], step, group)?;
        let second = match casts {
            [Some(a), Some(b)] if a == b => first.clone(),
            _ => self.scale(role, tensor, casts[1], step, group)?,
        };
        Ok([first, second])
    }

    fn scale(
        &self,
        role: Role,
        tensor: MatRef<'_>,
        cast: Option<&Cast>,
        step: &Step<'_>,
        group: Option<&dyn AllReduce>,
    ) -> Result<Option<Scales>, Error> {
        let Some(cast) = cast else { return Ok(None) };
        let joined = || -> Result<f32, Error> {
            let drop_nan = cast.rule.drops_nan();
            let mut peak = amax(tensor, Granularity::Tensor, drop_nan)?;
            if let Some(group) = group {
                group.max(&mut peak)?;
            }
            Ok(peak.first().copied().unwrap_or(0.0))
        };
        if cast.rule.keeps_history() {
            let name = &self.name;
            let warm = step.state.history(name, role).is_some_and(|history| history.in_warm_up());
            let scale = if warm {
                step.state.scale_for(name, role, joined()?)
            } else {
                step.state.scale(name, role)
            }?;
            return Ok(Some(Scales::from_scale(scale)));
        }
        let whole = cast.granularity == Granularity::Tensor;
        if group.is_none() || !whole || cast.rule.scale_format() == ScaleFormat::E4M3 {
            return Ok(None);
        }
        Ok(Some(Scales::from_amax(cast, joined()?)))
    }
}

/// No product comes before its operands were cast.
const NOT_CAST: Error =
    Error::Recipe { field: "operand", why: "it was not cast before its product" };

fn shape(what: &'static str, expected: (usize, usize), got: (usize, usize)) -> Result<(), Error> {
    if expected == got { Ok(()) } else { Err(Error::Shape { what, expected, got }) }
}

fn options<'a>(step: &Step<'_>) -> GemmOptions<'a> {
    let (threads, isa) = step.exec.means();
    GemmOptions::new().threads(threads).isa(isa)
}

/// The statistics of the first that was quantized.
fn stats_of(prepared: [Option<&Prepared<'_>>; 2], shape: (usize, usize)) -> Option<RoleStats> {
    let quantized = prepared.into_iter().flatten().find_map(|prepared| match prepared {
        Prepared::Quantized(quantized) => Some(quantized),
        Prepared::Values(_) | Prepared::Kept(_) => None,
    })?;
    let scales = quantized.scales();
    let scale = if scales.len() == 1 { scales.scale(0) } else { None };
    let elements = (shape.0 * shape.1) as u64;
    Some(RoleStats { stats: *quantized.stats()?, elements, scale })
}

fn note(
    name: &str,
    recipe: &Recipe,
    counts: &mut [RoleStats; 3],
    (role, stats): (Role, RoleStats),
    step: &mut Step<'_>,
) -> Result<(), Error> {
    counts[role as usize] = counts[role as usize].merge(stats);
    match recipe.history_cast(role) {
        Some(_) => step.state.record_stats(name, role, &stats.stats),
        None => Ok(()),
    }
}
