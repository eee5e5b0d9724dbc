//! What a layer's tensors become before they are multiplied, and what is noted of that.

use super::Step;
use super::linear::Linear;
use crate::error::Error;
use crate::format::RandomStream;
use crate::gemm::GemmStats;
use crate::recipe::{AllReduce, Operand, Prepared, Role, prepare_both};
use crate::scale::{Granularity, ScaleFormat};
use crate::slice::QuantStats;
use crate::tensor::{Cast, MatRef, QuantizeOptions, Scales, StatsLevel, amax};

/// What tells the random words of a micro-batch from those before it in the same step: micro-batch m
/// adds m times this to the tensor's number.
const NEXT_TENSOR: u32 = 0x9e37_79b9;

/// The weight as the products of one step read it.
#[derive(Clone, Debug)]
pub(super) struct CastWeight {
    /// Of fprop, and transposed of dgrad; none where the values are read as they are.
    operands: [Option<Prepared<'static>>; 2],
    step: u32,
    stats: Option<RoleStats>,
    /// Whether it was cast in a step that counts.
    counted: bool,
    /// For the history, if there is one: until a training step has taken note of it.
    amax: Option<f32>,
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

impl Linear {
    /// The weight as fprop reads it, or transposed as dgrad does.
    pub(super) fn with_weight(
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
    pub(super) fn cast_weight(&mut self, step: &mut Step<'_>) -> Result<(), Error> {
        let now = step.state.step();
        let counts = step.count && step.state.is_training();
        let stale = |cast: &CastWeight| cast.step != now || (counts && !cast.counted);
        if self.cast.as_ref().is_none_or(stale) {
            let weight = MatRef::new(&self.weight, self.shape.0, self.shape.1)?;
            let operands = [&self.recipe.fprop.b, &self.recipe.dgrad.b];
            // Ranks have the same weights: nothing is to be joined.
            let alone = None;
            let scales = self.scales(Role::Weight, weight, operands.map(Some), (step, alone))?;
            let options = self.quantizing(Role::Weight, &scales, step);
            let (w, w_t) = prepare_both(weight, operands, &options)?;
            let stats = stats_of([Some(&w), Some(&w_t)], weight.shape());
            let amax = self.amax(Role::Weight, weight)?;
            let keep = |prepared| match prepared {
                Prepared::Values(_) => Ok(None),
                prepared => Prepared::keep(prepared).map(Some),
            };
            let operands = [keep(w)?, keep(w_t)?];
            self.cast = Some(CastWeight { operands, step: now, stats, counted: step.count, amax });
        }
        if let (Some(cast), true) = (&mut self.cast, step.state.is_training()) {
            let (stats, amax) = (cast.stats.take(), cast.amax.take());
            self.note(Role::Weight, stats, amax, step)?;
        }
        Ok(())
    }

    /// The amax that enters a role's history, if it has one.
    fn amax(&self, role: Role, tensor: MatRef<'_>) -> Result<Option<f32>, Error> {
        let Some(cast) = self.recipe.history_cast(role) else { return Ok(None) };
        Ok(amax(tensor, Granularity::Tensor, cast.rule.drops_nan())?.first().copied())
    }

    fn note(
        &mut self,
        role: Role,
        stats: Option<RoleStats>,
        amax: Option<f32>,
        step: &mut Step<'_>,
    ) -> Result<(), Error> {
        let counts = &mut self.counts[role as usize];
        *counts = counts.merge(stats.unwrap_or_default());
        match amax {
            Some(amax) => step.state.record_amax(&self.name, role, amax),
            None => Ok(()),
        }
    }

    /// A tensor and its transpose as the products read them, and takes note of what that did.
    pub(super) fn cast<'a>(
        &mut self,
        role: Role,
        tensor: MatRef<'a>,
        operands: [Option<Operand>; 2],
        step: &mut Step<'_>,
    ) -> Result<[Option<Prepared<'a>>; 2], Error> {
        let [first, second] = operands;
        let scales =
            self.scales(role, tensor, [first.as_ref(), second.as_ref()], (step, step.group))?;
        let options = self.quantizing(role, &scales, step);
        if step.state.is_training() {
            self.drawn(step)[role as usize] += 1;
        }
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
        if step.state.is_training() {
            let stats = stats_of([a, b], tensor.shape());
            let amax = self.amax(role, tensor)?;
            self.note(role, stats, amax, step)?;
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
        let level = if step.count { StatsLevel::Tensor } else { StatsLevel::None };
        let mut options = QuantizeOptions::new().threads(threads).isa(isa).stats(level);
        let stream = step.state.stream(&self.name, role);
        let before = if self.drawn.0 == stream.step { self.drawn.1[role as usize] } else { 0 };
        let tensor = stream.tensor.wrapping_add(before.wrapping_mul(NEXT_TENSOR));
        options = options.random(RandomStream { tensor, ..stream });
        if let Some(scales) = &scales[0] {
            options = options.scales(scales);
        }
        match &scales[1] {
            Some(scales) => options.scales_t(scales),
            None => options,
        }
    }

    /// The tensors of each role that this step has cast.
    fn drawn(&mut self, step: &Step<'_>) -> &mut [u32; 3] {
        let now = step.state.step();
        if self.drawn.0 != now {
            self.drawn = (now, [0; 3]);
        }
        &mut self.drawn.1
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
