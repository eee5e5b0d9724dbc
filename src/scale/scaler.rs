//! The formulas of the rules: one match, and the few functions that engines share.

use super::e8m0;
use super::rule::{Context, GroupScale, Rule};
use crate::format::{F8E4M3, FormatSpec};

const EXPONENT: u32 = 0x7f80_0000;
const MANTISSA: u32 = 0x007f_ffff;

/// A rule for one format and context, with what it needs of them at hand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scaler {
    rule: Rule,
    context: Context,
    /// The format's largest number.
    max: f32,
    /// fl(1/max): two engines multiply by it instead of dividing by max.
    reciprocal: f32,
    /// The exponent of the format's largest number.
    emax: i32,
    /// Half of the format's last place, in the mantissa of an f32.
    half: u32,
}

impl Scaler {
    pub fn new(rule: Rule, format: &FormatSpec, context: &Context) -> Self {
        Self {
            rule,
            context: *context,
            max: format.max() as f32,
            reciprocal: (1.0 / format.max()) as f32,
            emax: format.emax(),
            half: 1 << (22 - format.man_bits().min(22)),
        }
    }

    /// [`Rule::scale`].
    pub fn scale(&self, amax: f32) -> GroupScale {
        let (amax, max) = (amax.abs(), self.max);
        let limit = self.context.source.max();
        match self.rule {
            Rule::TeDelayed => native_scale(te_delayed(amax, max, &self.context)),
            Rule::TeCurrent => native_scale(te(amax, max, f32::MAX)),
            Rule::TeCurrentPow2 => native_scale(pow2_floor(te(amax, max, f32::MAX))),
            Rule::TeBlock => native_scale(pow2_floor(te(amax, max, limit))),
            Rule::TeBlockF32 => native_scale(te(amax, max, limit)),
            Rule::TorchAo | Rule::TorchAoBlock => native_scale(torchao(amax, max)),
            Rule::TorchAoPow2 => native_scale(pow2_floor(torchao(amax, max))),
            Rule::MsAmp => native_scale(msamp(amax, max, &self.context)),
            Rule::DeepSeek => native_scale_inv(amax.max(1e-4) / max),
            Rule::DeepSeekUe8m0 => native_scale_inv(pow2_ceil(amax.max(1e-4) / max)),
            Rule::DeepGemm => native_scale_inv(at_least(amax, 1e-4) / max),
            Rule::DeepGemmUe8m0 => native_scale_inv(ue8m0_ceil(at_least(amax, 1e-4) / max)),
            Rule::TeMx if amax.is_nan() => power(e8m0::NAN),
            Rule::TeMx => power(round_up(amax * self.reciprocal)),
            Rule::OcpFloor
            | Rule::OcpCeil
            | Rule::OcpRceil
            | Rule::OcpEven
            | Rule::Microxcaling
                if amax.to_bits() >= EXPONENT =>
            {
                power(e8m0::NAN)
            }
            Rule::OcpFloor | Rule::Microxcaling => power(self.less_emax(amax.to_bits())),
            Rule::OcpCeil => power(self.less_emax(amax.to_bits() + MANTISSA)),
            // Rounded up to Inf, torchao takes it as Inf.
            Rule::OcpEven if amax.to_bits() + self.half >= EXPONENT => power(e8m0::NAN),
            Rule::OcpEven => power(self.less_emax(amax.to_bits() + self.half)),
            Rule::OcpRceil => power(round_up(amax * self.reciprocal)),
            Rule::Nvfp4 => nvfp4(amax, max, self.context.global_scale),
        }
    }

    /// The exponent field of f32 bits less the exponent of the format's largest number.
    fn less_emax(&self, bits: u32) -> u8 {
        ((bits >> 23) as i32 - self.emax).clamp(0, 254) as u8
    }
}

/// Where the rule computes `scale`.
fn native_scale(scale: f32) -> GroupScale {
    GroupScale { scale: plain(scale), scale_inv: plain(1.0 / scale), byte: 0 }
}

/// Where the rule computes `scale_inv`.
fn native_scale_inv(scale_inv: f32) -> GroupScale {
    GroupScale { scale: plain(1.0 / scale_inv), scale_inv: plain(scale_inv), byte: 0 }
}

/// Where `scale_inv` is an E8M0 byte.
pub(crate) fn power(byte: u8) -> GroupScale {
    GroupScale { scale: e8m0::reciprocal(byte), scale_inv: e8m0::value(byte), byte }
}

/// With the one NaN: processors differ in the sign of those that they make.
fn plain(x: f32) -> f32 {
    if x.is_nan() { f32::NAN } else { x }
}

/// `max(x, floor)` that keeps NaN, as torch's clamp does.
fn at_least(x: f32, floor: f32) -> f32 {
    if x < floor { floor } else { x }
}

/// Down to a power of two: the mantissa is cleared.
fn pow2_floor(x: f32) -> f32 {
    if x.is_nan() { x } else { f32::from_bits(x.to_bits() & EXPONENT) }
}

/// Up to a power of two; of normal numbers, Inf and NaN.
fn pow2_ceil(x: f32) -> f32 {
    if x.is_nan() { x } else { f32::from_bits((x.to_bits() + MANTISSA) & EXPONENT) }
}

/// Up to a power of two, with the exponent field kept in 1 to 254.
fn ue8m0_ceil(x: f32) -> f32 {
    let field = (x.to_bits() >> 23) + u32::from(x.to_bits() & MANTISSA != 0);
    f32::from_bits(field.clamp(1, 254) << 23)
}

fn te(amax: f32, max: f32, limit: f32) -> f32 {
    if amax == 0.0 || !amax.is_finite() {
        return 1.0;
    }
    let scale = max / amax;
    if scale == f32::INFINITY { limit } else { scale }
}

fn te_delayed(amax: f32, max: f32, context: &Context) -> f32 {
    let max = max * power_of_two(-i64::from(context.margin));
    let scale = if amax > 0.0 && amax < f32::INFINITY { max / amax } else { context.previous };
    if scale == f32::INFINITY { f32::MAX } else { scale }
}

fn torchao(amax: f32, max: f32) -> f32 {
    let amax = f64::from(amax);
    (f64::from(max) / if amax < 1e-12 { 1e-12 } else { amax }) as f32
}

fn msamp(amax: f32, max: f32, context: &Context) -> f32 {
    let ratio = max / amax;
    if amax == f32::INFINITY {
        return 1.0 / context.previous;
    }
    if amax == 0.0 || amax.is_nan() {
        return context.previous;
    }
    if ratio == f32::INFINITY {
        return f32::INFINITY;
    }
    let exponent = i64::from(exponent_of(ratio)) - i64::from(context.margin);
    // 2^|exponent|, which f32 has up to 127, and its reciprocal for negative ones.
    let scale = power_of_two(exponent.abs());
    if exponent < 0 { 1.0 / scale } else { scale }
}

/// ⌊log2 x⌋ of a positive finite number.
fn exponent_of(x: f32) -> i32 {
    let bits = x.to_bits();
    if bits >> 23 == 0 { -118 - bits.leading_zeros() as i32 } else { (bits >> 23) as i32 - 127 }
}

/// 2^e, 0 below the smallest f32 and Inf above the largest.
fn power_of_two(e: i64) -> f32 {
    match e {
        128.. => f32::INFINITY,
        -126..128 => f32::from_bits(((e + 127) as u32) << 23),
        -149..-126 => f32::from_bits(1 << (e + 149)),
        _ => 0.0,
    }
}

/// The exponent field of a number rounded up to a power of two: that of 2^−127, the smallest E8M0
/// has, is 0, and that of 2^127, the largest, is also Inf's.
fn round_up(x: f32) -> u8 {
    let (field, mantissa) = (x.to_bits() >> 23, x.to_bits() & MANTISSA);
    let up = if field == 0 { mantissa > 0x40_0000 } else { mantissa > 0 };
    (field + u32::from(up)).min(254) as u8
}

fn nvfp4(amax: f32, max: f32, global_scale: f32) -> GroupScale {
    let wanted = (amax * (global_scale * (1.0 / max))).min(f32::MAX);
    let block = F8E4M3::from_f32_sat(wanted);
    nvfp4_group(block.to_bits(), 1.0 / global_scale)
}

/// The scale of an E4M3 byte in a tensor of this factor.
pub(crate) fn nvfp4_group(byte: u8, global_scale_inv: f32) -> GroupScale {
    let scale_inv = F8E4M3::from_bits(byte).to_f32();
    let scale = (1.0 / (scale_inv * global_scale_inv)).min(f32::MAX);
    GroupScale { scale, scale_inv, byte }
}
