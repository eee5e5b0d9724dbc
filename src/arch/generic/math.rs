//! exp, tanh, ln and GELU: ours, for the platform's differ in their last bits.
//!
//! ```text
//!  exp(x)  = 2^n · e^r     n = x / ln 2 to the nearest integer, |r| ≤ ln 2 / 2, e^r a polynomial
//!  tanh(x) = x + x³ · P(x²)           for |x| < 11/16, where the other form would cancel
//!          = 1 − 2 / (exp(2x) + 1)    above; the sign is put back last
//!  ln(x)   = k · ln 2 + ln(1 + f)     x = 2^k · (1 + f), √½ ≤ 1 + f < √2; s = f / (2 + f),
//!                                     ln(1 + f) = 2s + s · R(s²), and 2s = f − f²/2 + s · f²/2
//!  gelu(x) = x / (1 + exp(−2u))       u = √(2/π) · (x + 0.044715 x³)
//! ```
//!
//! Each is a fixed sequence of f32 additions, multiplications, divisions, selects and integer
//! operations, without a fused one, which is slow where the processor has none. Both sides of a
//! select are computed: a branch would keep a loop from being vectorised.
//! A NaN gives the quiet one with its sign.
//!
//! The polynomials are minimax in relative error, found by Remez' algorithm in 60 digits for this
//! file, and their coefficients then rounded to f32. An ulp is the distance of the f32 next to the
//! exact result, 2^-149 among the subnormal ones.

use core::f32::consts::LOG2_E;

const SIGN: u32 = 1 << 31;
const INF: u32 = 0x7f80_0000;
const QUIET_NAN: u32 = 0x7fc0_0000;
const SQRT_HALF: u32 = 0x3f35_04f3;

/// 1.5 · 2^23: what is added to it is rounded to an integer, which its low bits then hold.
const ROUND: f32 = 12_582_912.0;
/// ln 2 in two parts. The first has 15 bits: times an n of 8 bits it is exact.
const LN_2: [f32; 2] = [f32::from_bits(0x3f31_7200), 1.428_606_8e-6];

/// e^x, at most 0.98 ulp from it.
///
/// **Range** Inf from 88.72284 on, 0 from −103.972084 down; subnormal results are not flushed.
#[inline(always)]
#[cfg_attr(not(feature = "std"), allow(dead_code))] // networks need it
pub(crate) fn exp(x: f32) -> f32 {
    unless_nan(x, exp_of_number(x))
}

/// tanh(x), at most 1.23 ulp from it.
///
/// **Range** ±0 and ±Inf give ±0 and ±1; from 9.011 on it is 1.
#[inline(always)]
#[allow(dead_code)] // the layers that call it come
pub(crate) fn tanh(x: f32) -> f32 {
    let a = x.abs();
    let z = a * a;
    let p = 0.020_191_055 + z * -0.005_232_239;
    let p = -0.333_332_12 + z * (0.133_296_12 + z * (-0.053_594_61 + z * p));
    let small = a + a * (z * p);
    let large = 1.0 - 2.0 / (exp_of_number(a + a) + 1.0);
    let y = if a < 0.6875 { small } else { large };
    unless_nan(x, f32::from_bits(y.to_bits() | x.to_bits() & SIGN))
}

/// The natural logarithm, at most 0.84 ulp from it.
///
/// **Range** −Inf of ±0, Inf of Inf, the quiet NaN of what is below zero; subnormal x are as
/// accurate as any.
#[inline(always)]
#[cfg_attr(not(feature = "std"), allow(dead_code))] // networks need it
pub(crate) fn ln(x: f32) -> f32 {
    // 1. A subnormal x is scaled by 2^25, exactly.
    let tiny = x < f32::MIN_POSITIVE;
    let bits = (if tiny { x * 33_554_432.0 } else { x }).to_bits();

    // 2. x = 2^k · (1 + f).
    let k = (bits.wrapping_sub(SQRT_HALF) as i32) >> 23;
    let f = f32::from_bits(bits.wrapping_sub((k as u32) << 23)) - 1.0;
    let k = (k - if tiny { 25 } else { 0 }) as f32;

    // 3. The large terms last.
    let s = f / (2.0 + f);
    let z = s * s;
    let r = z * (0.666_667_76 + z * (0.399_775_74 + z * 0.298_709_36));
    let h = 0.5 * (f * f);
    let y = k * LN_2[0] - ((h - (s * (h + r) + k * LN_2[1])) - f);

    // 4. What has no logarithm, and those that are not finite.
    let y = if x == 0.0 { f32::NEG_INFINITY } else { y };
    let y = if x == f32::INFINITY { x } else { y };
    let y = if x < 0.0 { f32::from_bits(QUIET_NAN) } else { y };
    unless_nan(x, y)
}

/// `x`, or the quiet NaN without a sign: the one an operation makes differs between processors.
#[inline(always)]
#[cfg_attr(not(feature = "std"), allow(dead_code))] // networks need it
pub(crate) fn quiet(x: f32) -> f32 {
    let bits = x.to_bits();
    f32::from_bits(if (bits & !SIGN) as i32 > INF as i32 { QUIET_NAN } else { bits })
}

/// The derivative of [`gelu`], s · (1 − x·w′ · (1 − s)) with s = 1 / (1 + e^w), w as there:
/// at most 2.22 ulp of max(|exact|, 1) from it.
///
/// **Range** 1 from 10 on and at Inf, 0 from −10.1 down and at −Inf. A NaN of NaN.
#[inline(always)]
#[cfg_attr(not(feature = "std"), allow(dead_code))] // networks need it
pub(crate) fn gelu_slope(x: f32) -> f32 {
    let x = if x < -11.0 { -11.0 } else { x };
    let x = if x > 11.0 { 11.0 } else { x };
    let z = x * x;
    let e = exp_of_number(x * (-1.595_769 + -0.071_354_814 * z));
    let s = 1.0 / (1.0 + e);
    // 1 − s is e · s, which cancels nothing; s is 0 where e is Inf.
    let e = if e > f32::MAX { f32::MAX } else { e };
    s * (1.0 - (x * (-1.595_769 + -0.214_064_44 * z)) * (e * s))
}

/// How far [`gelu`] is from the exact value, at most, in ulp of max(|exact|, 1/4).
#[cfg_attr(not(feature = "std"), allow(dead_code))] // bounds need it
pub(crate) const GELU_ULPS: f64 = 2.05;

/// GELU in its tanh form, 0.5·x·(1 + tanh u): `x / (1 + exp(x · (c₁ + c₂ · (x · x))))` with
/// c₁ = −2√(2/π) and c₂ = 0.044715 c₁, which unlike 1 + tanh cancels nothing below zero.
///
/// At most [`GELU_ULPS`] from it, and 2^-15 of it from −10 on: the rounding of
/// exp's argument counts for more the larger that is.
///
/// **Range** From −10.1 down it is −0, where the exact value is above −2^-124; −Inf and Inf give
/// −0 and Inf.
#[inline(always)]
pub(crate) fn gelu(x: f32) -> f32 {
    let w = x * (-1.595_769 + -0.071_354_814 * (x * x));
    let finite = if x < f32::MIN { f32::MIN } else { x };
    unless_nan(x, finite / (1.0 + exp_of_number(w)))
}

/// exp, but any number where x is NaN.
#[inline(always)]
fn exp_of_number(x: f32) -> f32 {
    // 1. Beyond these ends the result is 0 or Inf, as it is there.
    let x = if x < -104.0 { -104.0 } else { x };
    let x = if x > 89.0 { 89.0 } else { x };

    // 2. x = n · ln 2 + r.
    let shifted = x * LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * LN_2[0]) - n * LN_2[1];

    // 3. e^r = 1 + r + r² · q, the large terms last.
    let q = 0.041_668_39 + r * (0.008_368_745 + r * 0.001_381_454);
    let q = 0.499_999_94 + r * (0.166_665_21 + r * q);
    let y = 1.0 + (r + (r * r) * q);

    // 4. 2^n in two factors, for n reaches from −150 to 128: only the second one can round.
    let n = shifted.to_bits().wrapping_sub(ROUND.to_bits()) as i32;
    let first = n >> 1;
    let second = n.wrapping_sub(first).wrapping_add(127) as u32;
    f32::from_bits(y.to_bits().wrapping_add((first as u32) << 23)) * f32::from_bits(second << 23)
}

/// `y`, or where `x` is NaN the quiet one with its sign.
#[inline(always)]
fn unless_nan(x: f32, y: f32) -> f32 {
    let nan = x.to_bits() & SIGN | QUIET_NAN;
    f32::from_bits(if x.is_nan() { nan } else { y.to_bits() })
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use core::f32::consts::{FRAC_1_SQRT_2, SQRT_2};
    use std::println;

    /// One bit pattern in how many, and how many on each side of a function's ends.
    type Sweep = (usize, u32);
    const ALL: Sweep = (1, 0);
    const SAMPLE: Sweep = (509, 1 << 19);
    const THIN: Sweep = (65_521, 1 << 9);
    const SUMMED: Sweep = (4093, 0);

    const EXP_ENDS: [f32; 8] =
        [-104.0, -103.972_084, -87.336_55, -5.860_646, -0.346_573_6, 1.0, 88.722_84, 89.0];
    const TANH_ENDS: [f32; 6] = [2.441_406_3e-4, -0.6875, 0.6875, 0.688_683_9, 9.011, 44.5];
    const LN_ENDS: [f32; 6] = [1.175_494_4e-38, FRAC_1_SQRT_2, 1.0, 1.413_318_5, SQRT_2, 2.0];
    const SLOPE_ENDS: [f32; 4] = [-10.061, -1.0, 1.083_706_9, 10.0];
    const GELU_ENDS: [f32; 6] = [-10.061, -10.0, -1.0, 0.654_143_7, 1.0, 5.0];

    fn exact_gelu(x: f64) -> f64 {
        let u = (2.0 / core::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
        if x == f64::NEG_INFINITY { 0.0 } else { x / (1.0 + (-2.0 * u).exp()) }
    }

    fn exact_gelu_slope(x: f64) -> f64 {
        let c = (8.0 / core::f64::consts::PI).sqrt();
        let x = x.clamp(-20.0, 20.0);
        let s = |w: f64| 1.0 / (1.0 + w.exp());
        let w = -c * (x + 0.044715 * x * x * x);
        s(w) * (1.0 + x * c * (1.0 + 3.0 * 0.044715 * x * x) * s(-w))
    }

    /// The distance of f32 about `y`.
    fn ulp(y: f64) -> f64 {
        let exponent = (y.abs().to_bits() >> 52) as i32 - 1023;
        2f64.powi(exponent.max(-126) - 23)
    }

    /// How far `y` is from `exact` in ulp of it, or of `floor` if that is larger. Inf and NaN must
    /// be where they are in `exact`.
    fn distance(y: f32, exact: f64, floor: f64) -> f64 {
        let rounded = exact as f32;
        if rounded.is_finite() && y.is_finite() {
            (f64::from(y) - exact).abs() / ulp(exact.abs().max(floor))
        } else if rounded == y || rounded.is_nan() && y.is_nan() {
            0.0
        } else {
            f64::INFINITY
        }
    }

    /// What `QUARTER_SWEEP` asks for: an emulator takes a minute for more than the thin one.
    fn sample() -> Sweep {
        if std::env::var("QUARTER_SWEEP").is_ok_and(|s| s == "thin") { THIN } else { SAMPLE }
    }

    fn inputs((stride, near): Sweep, ends: &[f32]) -> impl Iterator<Item = f32> {
        let about = move |x: &f32| x.to_bits() - near..x.to_bits() + near;
        let sweep = (0..=u32::MAX).step_by(stride).chain(ends.iter().flat_map(about));
        sweep.map(f32::from_bits)
    }

    /// The largest error over `inputs` must be `bound`, rounded up to two places.
    fn check(
        name: &str,
        inputs: impl Iterator<Item = f32>,
        f: impl Fn(f32) -> f32,
        exact: impl Fn(f64) -> f64,
        floor: f64,
        bound: f64,
    ) {
        let mut worst = (0.0, 0.0f32);
        for x in inputs {
            let error = distance(f(x), exact(f64::from(x)), floor);
            if error > worst.0 {
                worst = (error, x);
            }
        }
        let (error, x) = worst;
        println!("{name}: {error:.4} ulp at {x:e} = {:#010x}", x.to_bits());
        assert!(error <= bound, "{name}({x:e}) = {:e}: {error} ulp, not {bound}", f(x));
        assert!(error > bound - 0.01, "{name}: {error} ulp, far below {bound}");
    }

    fn check_all(sweep: Sweep) {
        check("exp", inputs(sweep, &EXP_ENDS), exp, f64::exp, 0.0, 0.98);
        check("tanh", inputs(sweep, &TANH_ENDS), tanh, f64::tanh, 0.0, 1.23);
        check("ln", inputs(sweep, &LN_ENDS), ln, f64::ln, 0.0, 0.84);
        check("gelu", inputs(sweep, &GELU_ENDS), gelu, exact_gelu, 0.25, GELU_ULPS);
        check("gelu'", inputs(sweep, &SLOPE_ENDS), gelu_slope, exact_gelu_slope, 1.0, 2.22);
    }

    #[test]
    fn errors_of_a_sample() {
        check_all(sample());
    }

    #[test]
    #[ignore = "all 2^32 inputs of five functions: minutes"]
    fn errors_of_all_inputs() {
        check_all(ALL);
    }

    #[test]
    fn gelu_is_relatively_accurate_from_minus_10() {
        for x in inputs(sample(), &GELU_ENDS).filter(|x| *x >= -10.0 && x.is_finite()) {
            let exact = exact_gelu(f64::from(x));
            let error = (f64::from(gelu(x)) - exact).abs();
            let half_of_the_smallest = 2f64.powi(-150);
            let bound = 2f64.powi(-15) * exact.abs() + half_of_the_smallest;
            assert!(error <= bound, "gelu({x:e}) = {:e}, not {exact:e}", gelu(x));
        }
        for x in inputs(sample(), &[-10.1]).filter(|x| *x <= -10.1) {
            assert_eq!(gelu(x).to_bits(), SIGN, "{x:e}");
        }
        assert!(exact_gelu(-10.061) > -2f64.powi(-124) && gelu(-10.1).to_bits() == SIGN);
    }

    #[test]
    fn exp_at_its_ends() {
        assert_eq!(exp(0.0).to_bits(), exp(-0.0).to_bits());
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f32::INFINITY), f32::INFINITY);
        assert_eq!(exp(f32::NEG_INFINITY).to_bits(), 0);
        let last = 88.722_84f32.next_down();
        assert!(exp(last) < f32::INFINITY && exp(88.722_84) == f32::INFINITY);
        let first = (-103.972_084f32).next_up();
        assert!(exp(first).to_bits() == 1 && exp(-103.972_084).to_bits() == 0);
        assert!(exp(-90.0).is_subnormal());
    }

    #[test]
    fn tanh_at_its_ends() {
        for tiny in [0, 1, 0x007f_ffff, 0x0080_0000, 0x3980_0000] {
            for bits in [tiny, tiny | SIGN] {
                assert_eq!(tanh(f32::from_bits(bits)).to_bits(), bits);
            }
        }
        for x in [9.011, 44.5, 89.0, f32::MAX, f32::INFINITY] {
            assert_eq!((tanh(x), tanh(-x)), (1.0, -1.0));
        }
        assert!(tanh(9.0) < 1.0);
    }

    #[test]
    fn ln_at_its_ends() {
        assert_eq!((ln(0.0), ln(-0.0)), (f32::NEG_INFINITY, f32::NEG_INFINITY));
        assert_eq!((ln(1.0).to_bits(), ln(f32::INFINITY)), (0, f32::INFINITY));
        for x in [f32::NEG_INFINITY, f32::MIN, -1.0, -f32::from_bits(1)] {
            assert_eq!(ln(x).to_bits(), QUIET_NAN);
        }
        assert_eq!(ln(f32::from_bits(1)), -103.278_93);
        assert_eq!((ln(2.0), ln(0.5)), (core::f32::consts::LN_2, -core::f32::consts::LN_2));
    }

    #[test]
    fn gelu_slope_at_its_ends() {
        for x in [10.0, 11.0, f32::MAX, f32::INFINITY] {
            assert_eq!(gelu_slope(x), 1.0);
        }
        for x in [-10.1, -11.0, f32::MIN, f32::NEG_INFINITY] {
            assert_eq!(gelu_slope(x).to_bits(), 0);
        }
        assert_eq!((gelu_slope(0.0), gelu_slope(-0.0)), (0.5, 0.5));
        assert!(gelu_slope(f32::NAN).is_nan());
    }

    #[test]
    fn gelu_at_its_ends() {
        for bits in [0, SIGN] {
            assert_eq!(gelu(f32::from_bits(bits)).to_bits(), bits);
        }
        assert_eq!(gelu(f32::INFINITY), f32::INFINITY);
        assert_eq!(gelu(f32::MAX), f32::MAX);
        assert_eq!(gelu(f32::NEG_INFINITY).to_bits(), SIGN);
        assert_eq!(gelu(f32::MIN).to_bits(), SIGN);
        assert_eq!(gelu(f32::from_bits(2)).to_bits(), 1);
    }

    #[test]
    fn nan_is_the_quiet_one_with_its_sign() {
        for bits in [INF + 1, QUIET_NAN, 0x7fff_ffff] {
            for sign in [0, SIGN] {
                for f in [exp, tanh, ln, gelu] {
                    assert_eq!(f(f32::from_bits(bits | sign)).to_bits(), QUIET_NAN | sign);
                }
                assert_eq!(quiet(f32::from_bits(bits | sign)).to_bits(), QUIET_NAN);
            }
        }
    }

    /// The same bits on every platform, whatever the compiler makes of the loops.
    #[test]
    fn checksums() {
        let sum = |f: fn(f32) -> f32| {
            let mix = |sum: u32, x: f32| (sum ^ f(x).to_bits()).wrapping_mul(0x0100_0193);
            inputs(SUMMED, &[]).fold(0x811c_9dc5, mix)
        };
        assert_eq!([sum(exp), sum(tanh), sum(gelu)], [0xea42_8cf0, 0xf55b_67f8, 0x378c_73db]);
        let slope = |x| quiet(gelu_slope(x));
        assert_eq!([sum(ln), sum(slope)], [0xfd41_61b1, 0xabd9_f53f]);
    }
}
