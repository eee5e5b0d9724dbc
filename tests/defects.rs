//! One test per defect that another library has or had, named after it: the comment says what it
//! gave, the test what is right. Found by running or reading those libraries in November 2026.

mod common;

use core::num::FpCategory;
use half::{bf16, f16};
use quarter::{
    E8M0, F4E2M1, F6E2M3, F6E3M2, F8E3M4, F8E4M3, F8E4M3B11FNUZ, F8E4M3FNUZ, F8E4M3IEEE, F8E5M2,
    F8E5M2FNUZ, Format, Isa, NanPolicy, Policy, Rounding,
};

const LOOSE: Policy = Policy::NONFINITE;
const SATURATE: Policy = Policy::SATURATE;

/// The code of `x`, which scalar and slices of every instruction set must agree on.
#[track_caller]
fn code<T: Format>(x: f64, policy: Policy) -> u64 {
    let code: u64 = T::convert(x, policy).unwrap().to_code().into();
    let x32 = x as f32;
    for isa in Isa::available() {
        let options = common::options(policy, isa);
        let got = common::encode_slice(&T::SPEC, &[x; 3], &options);
        common::assert_codes(&T::SPEC, policy, isa.name(), &[x; 3], &got, &[code; 3]);
        if f64::from(x32) == x {
            let got = common::encode_slice(&T::SPEC, &[x32; 3], &options);
            common::assert_codes(&T::SPEC, policy, isa.name(), &[x32; 3], &got, &[code; 3]);
        }
    }
    code
}

/// The value of that code.
#[track_caller]
fn round<T: Format>(x: f64, policy: Policy) -> f64 {
    T::SPEC.decode_f64(code::<T>(x, policy))
}

// ---------------------------------------------------------------- constants and classification

/// float8 0.7 has MAX = 416 and, by num_traits, max_value() = 416.
#[test]
fn float8_e4m3_max_is_448_not_416() {
    assert_eq!(F8E4M3::MAX.to_f32(), 448.0);
    assert_eq!(F8E4M3::MIN.to_f32(), -448.0);
    assert_eq!(F8E4M3::SPEC.max(), 448.0);
}

/// float8 0.7 has INFINITY = 448 in a format without infinity, and takes 448 for infinite.
#[test]
fn float8_e4m3_448_is_finite() {
    let max = F8E4M3::from_f32(448.0);
    assert!(max.is_finite() && !max.is_infinite() && max.is_normal());
    assert!(!F8E4M3::HAS_INF && F8E4M3::SPEC.inf_code().is_none());
    assert!((0..=255).all(|code| !F8E4M3::from_bits(code).is_infinite()));
}

/// float8 0.7 has MAX = 49152 and INFINITY = 57344 (its issue 8).
#[test]
fn float8_e5m2_max_is_57344_and_infinity_is_7c() {
    assert_eq!(F8E5M2::MAX.to_f32(), 57344.0);
    assert_eq!(F8E5M2::INFINITY.to_bits(), 0x7c);
    assert!(F8E5M2::MAX.is_finite() && F8E5M2::INFINITY.is_infinite());
    assert_eq!(F8E5M2::INFINITY.classify(), FpCategory::Infinite);
}

/// float8 0.7: is_nan misses 7d, 7f, fd and ff.
#[test]
fn float8_e5m2_has_six_nans() {
    let nans: Vec<u8> = (0..=255).filter(|c| F8E5M2::from_bits(*c).is_nan()).collect();
    assert_eq!(nans, [0x7d, 0x7e, 0x7f, 0xfd, 0xfe, 0xff]);
}

/// float8 0.7: classify() of zero and of NaN is Subnormal.
#[test]
fn float8_classifies_zero_and_nan() {
    assert_eq!(F8E4M3::ZERO.classify(), FpCategory::Zero);
    assert_eq!(F8E4M3::NAN.classify(), FpCategory::Nan);
    assert_eq!(F8E5M2::NEG_ZERO.classify(), FpCategory::Zero);
    assert_eq!(F8E5M2::from_bits(0x01).classify(), FpCategory::Subnormal);
}

/// float8 0.7: digits and exponents one or two off f32's conventions, DIGITS of 0.
#[test]
fn float8_digits_follow_f32() {
    assert_eq!((F8E4M3::MANTISSA_DIGITS, F8E5M2::MANTISSA_DIGITS), (4, 3));
    assert_eq!((F8E4M3::MIN_EXP, F8E4M3::MAX_EXP), (-5, 9));
    assert_eq!((F8E5M2::MIN_EXP, F8E5M2::MAX_EXP), (-13, 16));
    assert_eq!((F8E4M3::MIN_10_EXP, F8E4M3::MAX_10_EXP), (-1, 2));
    // C's rule ⌊(p − 1)·log10 2⌋: 0.9 for E4M3, and 1.2 for E3M4.
    assert_eq!((F8E4M3::DIGITS, F8E3M4::DIGITS), (0, 1));
}

/// float8 0.7 saturates where its documentation promises infinity: ∞ − ∞ = 0, 448 + 448 = 448.
#[test]
fn float8_operators_overflow() {
    let max = F8E4M3::MAX;
    assert!((max + max).is_nan());
    assert!((F8E5M2::MAX + F8E5M2::MAX).is_infinite());
    assert!((F8E5M2::INFINITY - F8E5M2::INFINITY).is_nan());
}

/// microfloat 0.1 has EPSILON = 1.125 and 1.25: the number after 1, not its distance.
#[test]
fn microfloat_epsilon_is_a_distance() {
    assert_eq!(F8E4M3::EPSILON.to_f32(), 0.125);
    assert_eq!(F8E5M2::EPSILON.to_f32(), 0.25);
    assert_eq!(F8E3M4::EPSILON.to_f32(), 0.0625);
}

/// cubecl before 0.12 has e2m3 MAX = 3.75 and e3m2 MAX = 14.
#[test]
fn cubecl_fp6_max() {
    assert_eq!(F6E2M3::MAX.to_f32(), 7.5);
    assert_eq!(F6E3M2::MAX.to_f32(), 28.0);
}

/// trustformers-core 0.2 states a smallest normal of 2^-9, which is the smallest subnormal.
#[test]
fn trustformers_min_normal() {
    assert_eq!(F8E4M3::MIN_POSITIVE.to_f64(), 2f64.powi(-6));
    assert_eq!(F8E4M3::MIN_POSITIVE_SUBNORMAL.to_f64(), 2f64.powi(-9));
}

// ---------------------------------------------------------------- overflow

/// microfloat 0.1 takes the tie 464 to NaN, alone of 2^32 f32.
#[test]
fn microfloat_464_is_448() {
    assert_eq!(round::<F8E4M3>(464.0, LOOSE), 448.0);
    assert_eq!(round::<F8E4M3>(-464.0, LOOSE), -448.0);
    assert!(round::<F8E4M3>(464.0f64.next_up(), LOOSE).is_nan());
    assert_eq!(code::<F8E4M3>(f32::from_bits(0x43e8_0001).into(), LOOSE), 0x7f);
}

/// The other formats' ties at the end go to the even code, which is overflow.
#[test]
fn ties_at_the_end_of_the_range() {
    assert_eq!(code::<F8E5M2>(61440.0, LOOSE), 0x7c);
    assert_eq!(code::<F8E5M2>(61440.0f64.next_down(), LOOSE), 0x7b);
    assert_eq!(code::<F8E4M3FNUZ>(248.0, LOOSE), 0x80);
    assert_eq!(code::<F8E5M2FNUZ>(61440.0, LOOSE), 0x80);
    assert_eq!(code::<F8E4M3B11FNUZ>(31.0, LOOSE), 0x80);
    assert_eq!(code::<F8E3M4>(15.75, LOOSE), 0x70);
    assert_eq!(code::<F8E4M3IEEE>(248.0, LOOSE), 0x78);
}

/// onnxruntime 1.31 Cast saturate=0 gives NaN from 61440 up to 65536.
#[test]
fn onnxruntime_e5m2_61440_to_65536_is_inf() {
    for x in [61440.0, 61440.004, 62000.0, 65535.996, 65536.0] {
        assert_eq!(code::<F8E5M2>(x, LOOSE), 0x7c, "{x}");
        assert_eq!(code::<F8E5M2>(-x, LOOSE), 0xfc, "-{x}");
    }
}

/// onnxruntime 1.31 Cast saturate=0 gives 448 from 480 up to 496, and NaN on either side.
#[test]
fn onnxruntime_e4m3_480_to_496_is_nan() {
    for x in [464.1, 480.0, 487.5, 495.9, 496.0, 512.0] {
        assert!(round::<F8E4M3>(x, LOOSE).is_nan(), "{x}");
        assert_eq!(round::<F8E4M3>(x, SATURATE), 448.0, "{x}");
    }
}

/// ROCm's host code tests for overflow before it rounds: 448.00003 gives NaN.
#[test]
fn rocm_overflow_is_tested_after_rounding() {
    assert_eq!(round::<F8E4M3>(f64::from(448.0f32.next_up()), LOOSE), 448.0);
    assert_eq!(round::<F8E5M2>(f64::from(57344.0f32.next_up()), LOOSE), 57344.0);
}

/// ROCm's host code takes NaN to the largest number of an FNUZ format when it saturates.
#[test]
fn rocm_fnuz_saturating_keeps_nan() {
    assert_eq!(code::<F8E4M3FNUZ>(f64::NAN, SATURATE), 0x80);
    assert_eq!(code::<F8E5M2FNUZ>(f64::NAN, SATURATE), 0x80);
    assert_eq!(code::<F8E4M3FNUZ>(f64::INFINITY, SATURATE), 0x7f);
}

/// stillwater/universal issue 1302: without saturation Inf became zero.
#[test]
fn universal_inf_is_not_zero() {
    assert_eq!(code::<F8E4M3>(f64::INFINITY, LOOSE), 0x7f);
    assert_eq!(code::<F8E4M3>(f64::NEG_INFINITY, LOOSE), 0xff);
    assert_eq!(code::<F8E5M2>(f64::INFINITY, LOOSE), 0x7c);
}

/// QEMU's OCP patches: Inf under saturation at the format's boundary.
#[test]
fn qemu_inf_saturates() {
    assert_eq!(round::<F8E5M2>(f64::INFINITY, SATURATE), 57344.0);
    assert_eq!(round::<F8E5M2>(f64::NEG_INFINITY, SATURATE), -57344.0);
    assert_eq!(round::<F8E4M3>(f64::INFINITY, SATURATE), 448.0);
}

/// saturn-vectors issue 101: rounding toward zero overflowed.
#[test]
fn saturn_directed_rounding_stays_inside() {
    for x in [500.0, 1e30, f64::MAX] {
        assert_eq!(round::<F8E4M3>(x, LOOSE.rounding(Rounding::TowardZero)), 448.0);
        assert_eq!(round::<F8E5M2>(x.max(1e5), LOOSE.rounding(Rounding::Down)), 57344.0);
        assert_eq!(round::<F8E4M3>(-x, LOOSE.rounding(Rounding::Up)), -448.0);
        assert!(round::<F8E4M3>(x, LOOSE.rounding(Rounding::Up)).is_nan());
    }
    // Inf itself is no finite value that overflows.
    assert_eq!(code::<F8E5M2>(f64::INFINITY, LOOSE.rounding(Rounding::TowardZero)), 0x7c);
}

// ---------------------------------------------------------------- two roundings

/// half 2.7: bf16::from_f64 drops the low 32 bits before it rounds (issue 151).
#[test]
fn half_bf16_from_f64_truncates() {
    let x = 1.0 + 2f64.powi(-8) + 2f64.powi(-40);
    assert_eq!(round::<bf16>(x, LOOSE), 1.0078125);
    assert_eq!(quarter::bf16_from_f64(x).to_f64(), 1.0078125);
}

/// half 2.7: f16::from_f64 goes through f32 on x86 and truncates elsewhere.
#[test]
fn half_f16_from_f64_rounds_twice() {
    let x = 65519.99999999999;
    assert_eq!(round::<f16>(x, LOOSE), 65504.0);
    assert_eq!(quarter::f16_from_f64(x).to_f64(), 65504.0);
    let x = 1.0 + 2f64.powi(-11) + 2f64.powi(-45);
    assert_eq!(quarter::f16_from_f64(x).to_f64(), 1.0 + 2f64.powi(-10));
}

/// half 2.7: mul_add rounds to f32 and then again.
#[test]
fn half_mul_add_rounds_twice() {
    // 3 · 129/256 = 1 + 65.5/128 is a tie of bf16; a little less goes down to the odd 65.
    let [a, b, c] = [3.0, 129.0 / 256.0, -(2f32.powi(-40))].map(bf16::from_f32);
    assert_eq!(quarter::bf16_mul_add(a, b, c).to_f32(), 1.0 + 65.0 / 128.0);
    assert_eq!(quarter::bf16_mul_add(a, b, bf16::ZERO).to_f32(), 1.0 + 66.0 / 128.0);
    // (1 + 2^-10)(1 − 2^-10)·2^-11 is 2^-31 short of half of f16's last place at 1.
    let e = 2f32.powi(-10);
    let [a, b] = [1.0 + e, (1.0 - e) / 2048.0].map(f16::from_f32);
    assert_eq!(quarter::f16_mul_add(a, b, a), a);
}

/// microfloat 0.1 and numpy with ml_dtypes: f64 goes through f32.
#[test]
fn microfloat_and_numpy_f64_round_twice() {
    assert_eq!(code::<F8E4M3>(2f64.powi(-10) * (1.0 + f64::EPSILON), LOOSE), 0x01);
    assert_eq!(code::<F8E4M3>(2f64.powi(-10), LOOSE), 0x00);
    assert_eq!(round::<F8E4M3>(463.9999999999999, LOOSE), 448.0);
    assert_eq!(round::<F8E5M2>(61439.99999999999, LOOSE), 57344.0);
    assert_eq!(round::<F8E4M3>(1.0625 + 2f64.powi(-52), LOOSE), 1.125);
    assert_eq!(round::<F8E4M3>(1.1875 - 2f64.powi(-52), LOOSE), 1.125);
}

/// arch-com issue 629: integers go through f32.
#[test]
fn arch_integers_round_once() {
    assert_eq!(bf16::convert(16_842_753_i64, LOOSE).unwrap().to_bits(), 0x4b81);
    assert_eq!(bf16::convert(16_842_753_u32, LOOSE).unwrap().to_bits(), 0x4b81);
}

/// float8 and microfloat parse through f32.
#[test]
fn text_rounds_once() {
    for (text, want) in [("1.06250000001", 1.125), ("1.18749999999", 1.125), ("1.0625", 1.0)] {
        assert_eq!(text.parse::<F8E4M3>().unwrap().to_f32(), want, "{text}");
    }
    // Even through f64: a tie of E4M3 and the smallest excess that is written.
    let text = "1.06250000000000000000000000000000000000000000000000001";
    assert_eq!(text.parse::<F8E4M3>().unwrap().to_f32(), 1.125);
}

// ---------------------------------------------------------------- small numbers and carries

/// ROCm's host code shifts by 64 and more, so inputs from 2^-74 up give 2^-9.
#[test]
fn rocm_tiny_inputs_do_not_shift_by_64() {
    for exponent in -1022..-10 {
        let x = 2f64.powi(exponent);
        assert_eq!(code::<F8E4M3>(x, LOOSE), 0, "2^{exponent}");
        assert_eq!(code::<F8E4M3>(-x, LOOSE), 0x80, "-2^{exponent}");
        assert_eq!(code::<F8E4M3>(x, LOOSE.rounding(Rounding::Up)), 1, "2^{exponent} up");
    }
    assert_eq!(code::<F8E4M3>(5.3e-23, LOOSE), 0);
    assert_eq!(code::<F8E5M2>(5.3e-23, LOOSE), 0);
}

/// The largest number that becomes zero is exactly half the smallest subnormal.
#[test]
fn hipdnn_subnormal_ties() {
    fn check<T: Format>(half: f64) {
        assert_eq!(code::<T>(half, LOOSE), 0, "{}", T::SPEC.name());
        assert_eq!(code::<T>(half.next_up(), LOOSE), 1, "{}", T::SPEC.name());
        assert_eq!(code::<T>(half * 3.0, LOOSE), 2, "{}", T::SPEC.name());
        assert_eq!(code::<T>((half * 3.0).next_down(), LOOSE), 1, "{}", T::SPEC.name());
    }
    check::<F8E4M3>(2f64.powi(-10));
    check::<F8E5M2>(2f64.powi(-17));
    check::<F8E4M3FNUZ>(2f64.powi(-11));
    check::<F8E5M2FNUZ>(2f64.powi(-18));
    check::<F8E4M3B11FNUZ>(2f64.powi(-14));
    check::<F4E2M1>(0.25);
}

/// trustformers-core 0.2 loses the carry out of the mantissa: 1.95 becomes 1.
#[test]
fn trustformers_mantissa_carry() {
    assert_eq!(round::<F8E4M3>(1.95, LOOSE), 2.0);
    assert_eq!(round::<F8E4M3>(3.95, LOOSE), 4.0);
    assert_eq!(round::<F8E4M3>(-247.9, LOOSE), -240.0);
    assert_eq!(round::<F8E4M3>(-248.1, LOOSE), -256.0);
    assert_eq!(round::<F8E5M2>(7.9, LOOSE), 8.0);
}

/// trustformers-core 0.2 flushes subnormals.
#[test]
fn trustformers_subnormals() {
    for k in 1..8 {
        let x = f64::from(k) * 2f64.powi(-9);
        assert_eq!(code::<F8E4M3>(x, LOOSE), k as u64);
        assert_eq!(F8E4M3::from_bits(k as u8).to_f64(), x);
    }
}

/// trustformers-core 0.2 reaches no more than 240, and decodes NaN to 448.
#[test]
fn trustformers_range_and_nan() {
    assert_eq!(round::<F8E4M3>(447.0, LOOSE), 448.0);
    assert_eq!(round::<F8E4M3>(250.0, LOOSE), 256.0);
    assert!(F8E4M3::from_bits(0x7f).to_f32().is_nan() && F8E4M3::from_bits(0xff).is_nan());
}

// ---------------------------------------------------------------- zeros and NaN

/// FNUZ: the code of −0 is NaN, so −0 and what underflows to it must become +0.
#[test]
fn fnuz_negative_zero_is_not_nan() {
    fn check<T: Format>() {
        for rounding in Rounding::DETERMINISTIC {
            assert_eq!(code::<T>(-0.0, SATURATE.rounding(rounding)), 0, "{rounding:?}");
        }
        assert_eq!(code::<T>(-1e-30, LOOSE), 0);
        assert_eq!(code::<T>(-1e-30, LOOSE.rounding(Rounding::TowardZero)), 0);
        assert_eq!(code::<T>(-1e-30, LOOSE.rounding(Rounding::Up)), 0);
        assert_eq!(code::<T>(-1e-30, LOOSE.rounding(Rounding::Down)), 0x81);
    }
    check::<F8E4M3FNUZ>();
    check::<F8E5M2FNUZ>();
    check::<F8E4M3B11FNUZ>();
}

/// A NaN whose payload is in the bits that are cut off stays one; CUDA's f32 path drops the sign
/// and its f64 path lets the payload into the code.
#[test]
fn nan_payloads_make_neither_inf_nor_another_nan() {
    for payload in [1u64, 2, 1 << 20, 1 << 51, (1 << 52) - 1] {
        for (sign, want) in [(0, 0x7e), (1 << 63, 0xfe)] {
            let x = f64::from_bits(sign | 0x7ff << 52 | payload);
            assert_eq!(F8E5M2::convert(x, LOOSE).unwrap().to_bits(), want, "{payload:x}");
            let x = f32::from_bits((sign >> 32) as u32 | 0x7f80_0000 | (payload >> 29) as u32 | 1);
            assert_eq!(code::<F8E5M2>(x.into(), LOOSE), u64::from(want), "{payload:x}");
        }
    }
    let x = f16::from_bits(0x7c01);
    assert_eq!(F8E5M2::convert(x, LOOSE).unwrap().to_bits(), 0x7e);
}

/// ml_dtypes gives −0 for +NaN in FP6 and FP4; float4 gives 6. Here it is asked for, or +0.
#[test]
fn nan_into_formats_without_nan_is_a_choice() {
    for x in [f64::NAN, -f64::NAN] {
        assert_eq!(code::<F6E2M3>(x, LOOSE), 0);
        assert_eq!(code::<F4E2M1>(x, LOOSE), 0);
        assert_eq!(code::<F6E3M2>(x, LOOSE.nan(NanPolicy::Max)), 0x1f);
        assert_eq!(code::<F4E2M1>(x, LOOSE.nan(NanPolicy::Max)), 0x07);
        assert!(F4E2M1::convert(x, LOOSE.nan(NanPolicy::Error)).is_err());
    }
}

// ---------------------------------------------------------------- E8M0

/// float4::E8M0 rounds the logarithm: 1.42 becomes 2.
#[test]
fn float4_e8m0_rounds_the_value() {
    assert_eq!(round::<E8M0>(1.42, LOOSE), 1.0);
    assert_eq!(round::<E8M0>(1.4999, LOOSE), 1.0);
    assert_eq!(round::<E8M0>(1.5, LOOSE), 2.0);
}

/// float4::E8M0 takes zero and negatives to 2^-127, and Inf to 2^127.
#[test]
fn float4_e8m0_of_zero_negatives_and_inf_is_nan() {
    for x in [0.0, -0.0, -1.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
        assert_eq!(code::<E8M0>(x, LOOSE), 0xff, "{x}");
    }
    assert_eq!(code::<E8M0>(f64::INFINITY, SATURATE), 0xfe);
}

/// microfloat 0.1 takes f32::MAX to 2^127 without being asked to saturate.
#[test]
fn microfloat_e8m0_of_f32_max_is_nan() {
    assert_eq!(code::<E8M0>(f32::MAX.into(), LOOSE), 0xff);
    assert_eq!(code::<E8M0>(f32::MAX.into(), SATURATE), 0xfe);
    assert_eq!(code::<E8M0>(f32::MAX.into(), LOOSE.rounding(Rounding::TowardZero)), 0xfe);
}

/// LLVM's APFloat keeps a sign in this format without one: -1e30 becomes -2^100.
#[test]
fn apfloat_e8m0_has_no_sign() {
    assert_eq!(code::<E8M0>(-1e30, LOOSE), 0xff);
    assert_eq!(round::<E8M0>(-1e30, LOOSE.rounding(Rounding::TowardZero)), 2f64.powi(99));
    assert_eq!(round::<E8M0>(-1e30, LOOSE.rounding(Rounding::Up)), 2f64.powi(100));
}

// ---------------------------------------------------------------- sums

/// candle sums in the element type: 100 ones in E4M3 stop at 16.
#[test]
fn candle_sums_do_not_stall() {
    let ones = [F8E4M3::ONE; 104];
    assert_eq!(ones.iter().sum::<F8E4M3>().to_f32(), 104.0);
    assert_eq!(ones.iter().copied().sum::<F8E4M3>().to_f32(), 104.0);
}
