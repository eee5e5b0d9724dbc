//! A conversion to codes as plain numbers: what the kernels read instead of a format and a policy.

use crate::format::{FormatSpec, Overflow, Policy, Rounding, beyond, nan};

/// Everything a kernel needs to encode f32 values into one format under one policy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encoder {
    pub method: Method,
    /// Multiplies every value first; 1 where there is no scale. Positive and finite unless the
    /// method is `Reference`.
    pub scale: f32,
    /// Stored mantissa bits.
    pub man_bits: u32,
    /// f32's stored mantissa bits less those.
    pub man_lift: u32,
    /// Exponent of the smallest normal number.
    pub emin: i32,
    /// The bits that are all clear in a zero and in nothing else.
    pub zero_mask: u32,
    /// All bits of a code.
    pub code_mask: u32,
    pub sign_mask: u32,
    /// From bit 31 to the sign bit of a code.
    pub sign_shift: u32,
    pub has_neg_zero: bool,
    /// The largest finite number, as f32 bits.
    pub max: u32,
    /// Bits of the largest |x| that does not exceed the largest finite number when scaled.
    pub beyond: u32,
    /// Bits of the largest |x| that nearest even takes to zero; of other roundings, of the
    /// largest that is below the smallest positive number when scaled.
    pub small: u32,
    pub nearest: Nearest,
    pub general: General,
}

/// Which loop computes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// Nearest even by one f32 addition.
    Nearest,
    /// Nearest even for a format with f32's exponents (bf16), by one integer addition.
    Truncating,
    /// Any deterministic rounding, and stochastic rounding toward the floor of t.
    General,
    /// One value at a time by `Unpacked::round`.
    Reference,
}

/// Constants of [`Method::Nearest`] and [`Method::Truncating`]; see `generic/encode.rs`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nearest {
    /// Magnitudes are clamped to this: max, or the value that the overflow code would stand for.
    pub limit: f32,
    /// Bits of the value that the NaN code would stand for; a NaN's own bits are above.
    pub nan: u32,
    /// Bits of 2^emin.
    pub floor: u32,
    /// Added to the exponent bits of a magnitude to make the constant that rounds it; for
    /// [`Method::Truncating`] just under half of the last place.
    pub lift: u32,
}

/// Constants of [`Method::General`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct General {
    /// A positive value goes away from zero iff frac · 2^32 > `above[0]`, a negative `above[1]`.
    pub above: [u32; 2],
    /// 1 if an odd code lowers the threshold by one: ties to even.
    pub odd: u32,
    /// The random bits used; 0 where the rounding is deterministic.
    pub random_mask: u32,
    pub max_code: u32,
    /// Code of a finite value beyond max, by sign.
    pub over: [u32; 2],
    pub inf_code: u32,
    /// Code of a NaN, by sign.
    pub nan_code: [u32; 2],
}

impl Encoder {
    /// Without `stats` the thresholds of a screen are not worked out.
    pub fn new(spec: &FormatSpec, policy: Policy, scale: f32, stats: bool) -> Self {
        let man_bits = spec.man_bits();
        let max_code = spec.max_code() as u32;
        let over = |negative| {
            let inward = policy.rounding.is_inward(negative);
            if inward { max_code } else { beyond(spec, policy.overflow) as u32 }
        };
        let (never, any) = (u32::MAX, 0);
        let (above, odd, random_mask) = match policy.rounding {
            Rounding::NearestEven => ([1 << 31; 2], 1, 0),
            Rounding::NearestAway => ([(1 << 31) - 1; 2], 0, 0),
            Rounding::TowardZero => ([never; 2], 0, 0),
            Rounding::Up => ([any, never], 0, 0),
            Rounding::Down => ([never, any], 0, 0),
            Rounding::Stochastic { bits }
            | Rounding::StochasticEven { bits }
            | Rounding::StochasticOdd { bits }
            | Rounding::StochasticFast { bits } => ([0; 2], 0, u32::MAX << (32 - u32::from(bits))),
        };
        let nan_magnitude = nan(spec, policy.nan, false) as u32;
        // The numbers that codes past max would stand for if the exponent went on.
        let virtual_bits = |code: u32| {
            let field = (code >> man_bits) as i32 - spec.bias() + 127;
            let mantissa = code & ((1 << man_bits) - 1);
            ((field as u32) << 23) + (mantissa << (23 - man_bits))
        };
        let limit = match policy.overflow {
            Overflow::Saturate => max_code,
            Overflow::NonFinite => beyond(spec, policy.overflow) as u32,
        };
        let method = method(spec, policy, scale);
        let man_lift = 23_u32.saturating_sub(man_bits);
        let (nearest, max) = if method == Method::Reference {
            (Nearest { limit: 0.0, nan: 0, floor: 0, lift: 0 }, 0)
        } else {
            let floor = ((spec.emin() + 127) as u32) << 23;
            let lift = if method == Method::Truncating {
                (1 << (man_lift - 1)) - 1
            } else {
                // The last places make the field of 2^emin zero in the bits that are kept.
                let kept = u32::MAX >> (32 - spec.storage_bits());
                (man_lift << 23) + ((floor >> man_lift).wrapping_neg() & kept)
            };
            // Without NaN in the format the caller writes those codes afterwards.
            let nan = virtual_bits(if spec.has_nan() { nan_magnitude } else { max_code });
            let limit = f32::from_bits(virtual_bits(limit));
            (Nearest { limit, nan, floor, lift }, virtual_bits(max_code))
        };
        let screen = if stats && method != Method::Reference {
            thresholds(spec, method, scale)
        } else {
            (0, 0)
        };
        Self {
            method,
            scale,
            man_bits,
            man_lift,
            emin: spec.emin(),
            zero_mask: spec.zero_mask() as u32,
            code_mask: spec.code_mask() as u32,
            sign_mask: spec.sign_mask() as u32,
            sign_shift: 32_u32.saturating_sub(spec.bits()),
            has_neg_zero: spec.has_neg_zero(),
            max,
            beyond: screen.0,
            small: screen.1,
            nearest,
            general: General {
                above,
                odd,
                random_mask,
                max_code,
                over: [over(false), over(true)],
                inf_code: beyond(spec, policy.overflow) as u32,
                nan_code: [nan_magnitude, nan(spec, policy.nan, true) as u32],
            },
        }
    }
}

/// [`Encoder::beyond`] and [`Encoder::small`].
fn thresholds(spec: &FormatSpec, method: Method, scale: f32) -> (u32, u32) {
    let (max, min) = (spec.max(), spec.min_positive());
    let saturated = last(max / f64::from(scale), |x| f64::from(x * scale) <= max);
    let small = match method {
        Method::Nearest | Method::Truncating => {
            last(min / 2.0 / f64::from(scale), |x| f64::from(x * scale) <= min / 2.0)
        }
        Method::General | Method::Reference => {
            last(min / f64::from(scale), |x| f64::from(x * scale) < min)
        }
    };
    (saturated, small)
}

/// Bits of the largest f32 ≥ 0 of which `holds`, which is true of 0 and false from some f32 on, or
/// true of Inf; near `guess`.
fn last(guess: f64, holds: impl Fn(f32) -> bool) -> u32 {
    let top = f32::INFINITY.to_bits();
    let holds = |bits: u32| holds(f32::from_bits(bits));
    let guess = (guess as f32).to_bits().min(top);
    // Bracket the last one in steps that double, then halve.
    let (mut yes, mut no, mut step) = (guess, guess, 1);
    while yes > 0 && !holds(yes) {
        (no, yes) = (yes, yes.saturating_sub(step));
        step *= 2;
    }
    while no <= yes {
        no = yes.saturating_add(step).min(top + 1);
        if no <= top && holds(no) {
            yes = no;
        }
        step *= 2;
    }
    while no - yes > 1 {
        let middle = yes + (no - yes) / 2;
        if holds(middle) {
            yes = middle;
        } else {
            no = middle;
        }
    }
    yes
}

/// The fastest loop that gives the reference's bits for this format, policy and scale.
fn method(spec: &FormatSpec, policy: Policy, scale: f32) -> Method {
    // Kernels see a value as f32 exponent and 24 bits, and store u8 or u16. Beyond f32's range an
    // f64 would be cut to f32's largest number first; limits are normal numbers.
    let scales = scale > 0.0 && scale < f32::INFINITY;
    let in_range = spec.emin() >= -126 && spec.emin() <= spec.emax() && spec.emax() <= 127;
    let fits = spec.signed() && spec.has_zero() && spec.storage_bits() <= 16 && in_range;
    if !fits || !scales {
        return Method::Reference;
    }
    match policy.rounding {
        Rounding::NearestEven => {
            // The magic constant of the largest magnitude must be an f32 too.
            let lift = 23 - spec.man_bits() as i32;
            if spec.emax() + 1 + lift <= 127 && spec.man_bits() > 0 {
                Method::Nearest
            } else if spec.emin() == -126 && spec.emax() == 127 && spec.has_inf() {
                Method::Truncating
            } else {
                Method::General
            }
        }
        Rounding::NearestAway | Rounding::TowardZero | Rounding::Up | Rounding::Down => {
            Method::General
        }
        Rounding::Stochastic { .. } => Method::General,
        Rounding::StochasticEven { .. }
        | Rounding::StochasticOdd { .. }
        | Rounding::StochasticFast { .. } => Method::Reference,
    }
}
