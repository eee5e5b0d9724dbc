//! The optional features, each against what its trait promises. `cargo test --all-features`.
#![allow(unused_imports)]

use quarter::*;

/// Every code of a type.
#[allow(dead_code)]
fn all<T: Format<Bits = u8>>() -> impl Iterator<Item = T> + Clone {
    (0..1u16 << T::BITS).map(|code| T::from_code(code as u8))
}

#[cfg(feature = "num-traits")]
mod numbers {
    use super::*;
    use half::{bf16, f16};
    use num_traits::float::FloatCore;
    use num_traits::*;

    fn widest<T>()
    where
        T: Num + NumCast + NumAssign + NumRef + NumAssignRef + Signed + Bounded + FromPrimitive,
        T: FloatConst + ConstZero + ConstOne + MulAdd<Output = T> + MulAddAssign + Inv + Euclid,
        T: ToBytes<Bytes = [u8; 1]> + FromBytes<Bytes = [u8; 1]>,
        T: AsPrimitive<f32> + AsPrimitive<f64> + AsPrimitive<f16> + AsPrimitive<bf16>,
        T: AsPrimitive<u8> + AsPrimitive<i128> + AsPrimitive<usize> + AsPrimitive<T>,
        T: AsPrimitive<F8E4M3> + AsPrimitive<F4E2M1> + core::fmt::Debug + Format,
        f32: AsPrimitive<T>,
        f64: AsPrimitive<T>,
        bf16: AsPrimitive<T>,
        u64: AsPrimitive<T>,
    {
        assert_eq!(T::from_str_radix("1.5", 10).ok(), T::from_f64(1.5));
        assert_eq!(T::from_str_radix("1.1", 2).ok(), T::from_f64(1.5));
        assert!(T::from_str_radix("x", 10).is_err() && T::from_str_radix("2", 2).is_err());
        assert_eq!(T::one() + T::zero(), T::ONE);
        assert_eq!(T::from_u64(3).unwrap().to_i8(), Some(3));
        assert_eq!((-T::one()).to_u32(), None);
        assert_eq!(T::from_le_bytes(&T::one().to_le_bytes()), T::one());
        assert_eq!(T::from_be_bytes(&T::one().to_be_bytes()), T::one());
        assert_eq!(T::one().abs_sub(&T::max_value()), T::zero());
        assert_eq!(T::max_value().abs_sub(&T::zero()), T::max_value());
        let three = T::from_i32(3).unwrap();
        let two = T::from_i32(2).unwrap();
        assert_eq!((-three).rem_euclid(&two), T::one());
        assert_eq!((-three).div_euclid(&two), -two);
        let x: i128 = (-three).as_();
        assert_eq!(x, -3);
        let x: u8 = (-three).as_();
        assert_eq!(x, 0, "as saturates");
        let same: T = three.as_();
        assert_eq!(same, three);
        let x: F8E4M3 = three.as_();
        assert_eq!(x.to_f32(), 3.0);
        assert_eq!(three.mul_add(two, -two), T::from_f32(4.0).unwrap());
    }

    #[test]
    fn number_types_have_the_widest_set() {
        macro_rules! check {
            ($(#[$doc:meta])* $type:ident $spec:ident $specials:ident) => {
                widest::<$type>();
            };
        }
        for_each_number!(check);
    }

    #[test]
    fn as_is_as_of_the_value() {
        for x in all::<F8E5M2>() {
            let (i, u, f): (i16, u128, f64) = (x.as_(), x.as_(), x.as_());
            assert_eq!((i, u), (x.to_f32() as i16, x.to_f32() as u128));
            assert!(f == x.to_f64() || x.is_nan());
            let y: F8E4M3 = x.as_();
            assert_eq!(y.to_bits(), F8E4M3::from_f32(x.to_f32()).to_bits());
        }
        let ties: [F8E4M3; 2] = [((1u64 << 60) + 1).as_(), 465u128.as_()];
        assert!(ties.iter().all(|x| x.is_nan()));
    }

    /// Through f32 each of these would be rounded twice.
    #[test]
    fn casts_double_round() {
        let x = 1.0 + 2f64.powi(-4) + 2f64.powi(-40); // above the tie of E4M3
        assert_eq!(<F8E4M3 as NumCast>::from(x).unwrap().to_f32(), 1.125);
        assert_eq!(F8E4M3::from_f64(x).to_f32(), 1.125);
        assert_eq!(<F8E4M3 as NumCast>::from(464u64).unwrap().to_f32(), 448.0);
        assert!(<F8E4M3 as NumCast>::from(i128::MAX).unwrap().is_nan());
        assert_eq!(<F4E2M1 as NumCast>::from(u64::MAX), Some(F4E2M1::MAX));
    }

    #[test]
    fn float_where_infinities_exist() {
        fn check<T: Float + FloatCore + Format + core::fmt::Debug>() {
            let f = |x: f64| <T as NumCast>::from(x).unwrap();
            assert!(<T as Float>::infinity() > <T as Float>::max_value());
            assert!(Float::is_nan(<T as Float>::nan()));
            assert_eq!(Float::exp(f(0.0)), f(1.0));
            assert_eq!(Float::powi(f(1.5), 2), f(2.25));
            assert_eq!(FloatCore::floor(f(-1.5)), f(-2.0));
            assert_eq!(Float::sqrt(f(2.0)), f(core::f64::consts::SQRT_2));
            assert_eq!(Float::hypot(f(3.0), f(4.0)), f(5.0));
            assert_eq!(Float::sin_cos(f(0.0)), (f(0.0), f(1.0)));
            assert!(Float::is_nan(Float::ln(f(-1.0))));
            for code in 0..=255 {
                let x = T::from_code(Code::from_u64(code));
                if Float::is_finite(x) {
                    let (mantissa, exponent, sign) = Float::integer_decode(x);
                    let value = mantissa as f64 * 2f64.powi(exponent.into()) * sign as f64;
                    assert_eq!(Some(value), x.to_f64());
                }
            }
        }
        check::<F8E5M2>();
        check::<F8E3M4>();
        check::<F8E4M3IEEE>();
    }
}

#[cfg(feature = "serde")]
mod text {
    use super::*;
    use ::serde::{Deserialize, Serialize};

    #[derive(Serialize, Deserialize)]
    struct Value<T: Format + core::fmt::Display>(
        #[serde(with = "quarter::interop::serde::as_f32")] T,
        #[serde(with = "quarter::interop::serde::as_string")] T,
    );

    fn check<T: Format<Bits = u8> + Serialize + for<'a> Deserialize<'a> + core::fmt::Display>() {
        for x in all::<T>() {
            let code = serde_json::to_string(&x).unwrap();
            assert_eq!(code, u64::from(x.to_code()).to_string());
            assert_eq!(serde_json::from_str::<T>(&code).unwrap().to_code(), x.to_code());
            let value: Unpacked = x.into();
            let text = serde_json::to_string(&Value(x, x)).unwrap();
            if value.to_f64().is_finite() {
                let back: Value<T> = serde_json::from_str(&text).unwrap();
                assert_eq!((back.0.to_code(), back.1.to_code()), (x.to_code(), x.to_code()));
            } else {
                assert!(text.starts_with("[null,\""), "{text}"); // JSON has no NaN; text keeps it
            }
        }
        let above = (1u32 << T::BITS).to_string();
        let error = serde_json::from_str::<T>(&above).err().unwrap().to_string();
        assert!(T::BITS == 8 || error.contains(&format!("a code of {}", T::ID)), "{error}");
        assert!(
            serde_json::from_str::<T>("-1").is_err() && serde_json::from_str::<T>("\"1\"").is_err()
        );
        assert!(serde_json::from_str::<Value<T>>("[1, \"one\"]").is_err());
        assert!(serde_json::from_str::<Value<T>>("[\"1\", \"1\"]").is_err());
        assert!(serde_json::from_str::<Value<T>>("[1, \"1\"]").is_ok());
    }

    #[test]
    fn codes_values_and_texts() {
        macro_rules! each {
            ($(#[$doc:meta])* $type:ident $spec:ident $specials:ident) => {
                check::<$type>();
            };
        }
        for_each_number!(each);
        for_each_scale!(each);
    }

    #[test]
    fn values_double_round() {
        let text = "[1.0625000000000002, \"1.0625000000000000000000000000001\"]";
        let Value(a, b) = serde_json::from_str::<Value<F8E4M3>>(text).unwrap();
        assert_eq!((a.to_f32(), b.to_f32()), (1.125, 1.125));
    }
}

#[cfg(feature = "bytemuck")]
#[test]
fn bytemuck_casts() {
    use ::bytemuck::{Pod, Zeroable, bytes_of, cast_slice, checked};
    fn pod<T: Pod>() {}
    pod::<F8E4M3>();
    pod::<E8M0>();
    let codes = [0x38u8, 0x80];
    assert_eq!(cast_slice::<u8, F8E4M3>(&codes)[0], F8E4M3::ONE);
    assert_eq!(bytes_of(&F8E4M3::ONE), [0x38]);
    let codes = checked::try_cast_slice::<u8, F4E2M1>(&[0x2, 0xf]).unwrap();
    assert_eq!(codes, [F4E2M1::ONE, F4E2M1::MIN]);
    assert!(checked::try_cast_slice::<u8, F4E2M1>(&[0x10]).is_err());
    assert!(checked::try_cast_slice::<u8, F6E3M2>(&[0x3f]).is_ok());
    assert!(checked::try_cast_slice::<u8, F6E3M2>(&[0x40]).is_err());
    assert_eq!(::bytemuck::cast_slice::<F6E2M3, u8>(&[F6E2M3::ONE]), [0x08]);
    assert_eq!(F6E2M3::zeroed(), F6E2M3::ZERO);
}

#[cfg(feature = "zerocopy")]
#[test]
fn zerocopy_casts() {
    use ::zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};
    fn all_traits<T: IntoBytes + Immutable + KnownLayout + Unaligned>() {}
    all_traits::<F8E5M2>();
    all_traits::<F4E2M1>();
    all_traits::<E8M0>();
    assert_eq!(<[F8E4M3]>::ref_from_bytes(&[0x38, 0x7e]).unwrap()[1], F8E4M3::MAX);
    assert_eq!([F4E2M1::ONE].as_bytes(), [0x02]);
}

#[cfg(feature = "approx")]
#[test]
fn approximate_equality() {
    use ::approx::{abs_diff_eq, relative_eq, ulps_eq};
    let f = F8E4M3::from_f32;
    assert!(abs_diff_eq!(f(1.0), f(1.125)) && !abs_diff_eq!(f(1.0), f(1.25)));
    assert!(!abs_diff_eq!(f(448.0), f(-448.0), epsilon = f(448.0)), "448 + 448 is no NaN here");
    assert!(relative_eq!(f(384.0), f(416.0)) && !relative_eq!(f(320.0), f(416.0)));
    assert!(ulps_eq!(f(416.0), f(448.0)) && !ulps_eq!(f(384.0), f(448.0)));
    assert!(ulps_eq!(f(384.0), f(448.0), max_ulps = 2));
    assert!(ulps_eq!(F8E4M3::ZERO, F8E4M3::NEG_ZERO, epsilon = F8E4M3::ZERO, max_ulps = 0));
    let (least, none) = (F8E4M3::from_bits(1), F8E4M3::ZERO);
    assert!(ulps_eq!(least, -least, epsilon = none, max_ulps = 2), "through zero");
    assert!(!ulps_eq!(least, -least, epsilon = none, max_ulps = 1));
    let nan = F8E4M3::NAN;
    assert!(!abs_diff_eq!(nan, nan) && !relative_eq!(nan, nan) && !ulps_eq!(nan, nan));
    let inf = F8E5M2::INFINITY;
    assert!(relative_eq!(inf, inf) && !relative_eq!(inf, F8E5M2::MAX, max_relative = F8E5M2::MAX));
}

#[cfg(all(feature = "approx", feature = "std"))]
#[test]
fn approximately_equal_tensors() {
    use ::approx::{abs_diff_eq, relative_eq, ulps_eq};
    use quarter::tensor::{MatRef, QuantizeOptions, Quantized, Scales, quantize};
    let x = [1.0_f32, -2.0, 0.0, 300.0];
    let up = x.map(|x| if x == 300.0 { x.next_up() } else { x });
    let nan = [f32::NAN; 4];
    let [a, b, c] = [&x, &up, &nan].map(|x| MatRef::new(x, 2, 2).unwrap());
    let turned = [1.0_f64, 0.0, -2.0, 300.0];
    let turned = MatRef::new(&turned, 2, 2).unwrap().transposed();
    assert!(a == turned && a != b && c != c && a != a.transposed());
    assert!(!abs_diff_eq!(a, b) && abs_diff_eq!(a, b, epsilon = 2e-4) && abs_diff_eq!(a, turned));
    assert!(relative_eq!(a, b) && !relative_eq!(a, b, max_relative = 1e-9, epsilon = 0.0));
    assert!(ulps_eq!(a, b, max_ulps = 1) && !ulps_eq!(a, b, max_ulps = 0));
    assert!(!abs_diff_eq!(c, c) && !relative_eq!(c, c) && !ulps_eq!(c, c));
    let wide = MatRef::new(&x, 1, 4).unwrap();
    assert!(!abs_diff_eq!(a, wide, epsilon = 1e9) && !ulps_eq!(a, wide, max_ulps = 99));

    // The same values by other codes: 0x40 is 2, 0x38 is 1.
    let tensor = |code: u8, scale_inv: f32, cols: usize| {
        let scales = Scales::F32 { scale: None, scale_inv: vec![scale_inv] };
        let codes = vec![code; cols];
        Quantized::from_parts(FormatId::F8E4M3, (1, cols), Granularity::Tensor, codes, scales)
            .unwrap()
    };
    let (two, same) = (tensor(0x40, 1.0, 3), tensor(0x38, 2.0, 3));
    assert!(two != same && abs_diff_eq!(two, same, epsilon = 0.0) && ulps_eq!(two, same));
    let near = tensor(0x38, 2.0_f32.next_up(), 3);
    assert!(relative_eq!(two, near) && !relative_eq!(two, near, max_relative = 0.0, epsilon = 0.0));
    assert!(ulps_eq!(two, near, max_ulps = 1, epsilon = 0.0));
    assert!(!ulps_eq!(two, near, max_ulps = 0, epsilon = 0.0));
    assert!(!abs_diff_eq!(two, tensor(0x40, 1.0, 4), epsilon = 1e9));
    let cast = "e4m3:tensor:te-current".parse().unwrap();
    let quantized = quantize(a, &cast, &QuantizeOptions::new()).unwrap();
    assert!(relative_eq!(quantized, quantized.clone()));
}

/// Steps are those of the type, and go through zero, as for numbers.
#[cfg(all(feature = "approx", feature = "std"))]
#[test]
fn steps_of_matrices() {
    use ::approx::ulps_eq;
    use quarter::slice::Values;
    use quarter::tensor::MatRef;
    fn near<'a>(x: impl Into<Values<'a>>, y: impl Into<Values<'a>>, steps: u32) -> bool {
        let (x, y) = (MatRef::new(x, 1, 1).unwrap(), MatRef::new(y, 1, 1).unwrap());
        ulps_eq!(x, y, epsilon = 0.0, max_ulps = steps)
    }
    // Apart by this many steps and not by one less.
    let apart_f64 = |x: f64, y: f64, n: u32| near(&[x], &[y], n) && !near(&[x], &[y], n - 1);
    let apart_f32 = |x: f32, y: f32, n: u32| near(&[x], &[y], n) && !near(&[x], &[y], n - 1);
    assert!(!near(&[1e300], &[9e307], u32::MAX) && !near(&[1e-300], &[1e-301], u32::MAX));
    assert!(apart_f64(1e300, 1e300_f64.next_up().next_up(), 2));
    assert!(apart_f64(5e-324, -5e-324, 2) && apart_f64(-5e-324, 0.0, 1));
    assert!(apart_f64(f64::MAX, f64::INFINITY, 1) && near(&[-0.0], &[0.0], 0));
    assert!(apart_f32(1e-45, -1e-45, 2) && apart_f32(-1e-45, 3e-45, 3));
    assert!(apart_f32(1.0, 1.0_f32.next_down(), 1) && apart_f32(f32::MAX, f32::INFINITY, 1));
    assert!(!near(&[f64::NAN], &[f64::NAN], u32::MAX) && !near(&[f32::NAN], &[0_f32], u32::MAX));
    assert!(!near(&[1.0], &[-1.0], u32::MAX) && !near(&[1_f32], &[-1_f32], 1 << 30));
    // Beside f32, an f64 is rounded to it, if it can be.
    assert!(near(&[1.0 + 1e-9], &[1_f32], 0) && !near(&[1.0 + 1e-9], &[1.0_f64], 1000));
    assert!(!near(&[1e300], &[f32::INFINITY], u32::MAX) && !near(&[1e300], &[f32::MAX], u32::MAX));
    assert!(near(&[f64::INFINITY], &[f32::INFINITY], 0));
    let half = half::bf16::from_f32;
    assert!(near(&[half(1.0)], &[half(1.0)], 0) && !near(&[half(1.0)], &[half(1.0078125)], 65535));
    assert!(near(&[half(1.0)], &[half(1.0078125)], 65536), "f32's steps");
}

#[cfg(feature = "arbitrary")]
#[test]
fn arbitrary_codes() {
    use ::arbitrary::{Arbitrary, Unstructured};
    let mut data = Unstructured::new(&[0xff, 0x7e, 0x00]);
    assert_eq!(F4E2M1::arbitrary(&mut data).unwrap().to_bits(), 0x0f);
    assert_eq!(F8E4M3::arbitrary(&mut data).unwrap(), F8E4M3::MAX);
    assert_eq!(E8M0::arbitrary(&mut data).unwrap(), E8M0::MIN);
}

#[cfg(feature = "proptest")]
mod strategies {
    use super::*;
    use ::proptest::prelude::*;
    use quarter::interop::proptest as of;

    proptest! {
        #[test]
        fn classes(
            any in any::<F8E4M3FNUZ>(), scale in any::<E8M0>(), wide in of::codes::<half::bf16>(),
            finite in of::finite::<F8E4M3FNUZ>(), normal in of::normal::<F8E5M2>(),
            subnormal in of::subnormal::<F4E2M1>(), positive in of::positive::<E8M0>(),
            non_negative in of::non_negative::<F8E4M3>(),
        ) {
            prop_assert_eq!(F8E4M3FNUZ::from_bits(any.to_bits()).to_bits(), any.to_bits());
            prop_assert_eq!(scale.is_nan(), scale.to_bits() == 255);
            prop_assert_eq!(wide.to_f32().is_nan(), wide.is_nan());
            prop_assert!(finite.is_finite());
            prop_assert!(normal.is_normal());
            prop_assert!(subnormal.is_subnormal());
            prop_assert!(positive.is_finite());
            prop_assert!(non_negative.is_finite() && non_negative.is_sign_positive());
        }
    }
}

#[cfg(feature = "rand")]
mod random {
    use super::*;
    use ::rand::distr::{Distribution, Uniform};
    use ::rand::{Rng, RngCore};
    use rand_distr::{Exp1, Open01, OpenClosed01, StandardNormal, StandardUniform};

    /// The library's own random words as a generator.
    struct Stream(RandomStream, u64);

    impl RngCore for Stream {
        fn next_u32(&mut self) -> u32 {
            self.1 += 1;
            self.0.word(self.1)
        }

        fn next_u64(&mut self) -> u64 {
            u64::from(self.next_u32()) << 32 | u64::from(self.next_u32())
        }

        fn fill_bytes(&mut self, bytes: &mut [u8]) {
            bytes.fill_with(|| self.next_u32() as u8);
        }
    }

    #[test]
    fn samples_stay_in_range() {
        let mut rng = Stream(RandomStream { seed: 7, tensor: 0, step: 0 }, 0);
        macro_rules! check {
            ($(#[$doc:meta])* $type:ident $spec:ident $specials:ident) => {
                let (zero, one) = ($type::ZERO, $type::ONE);
                let two = one + one;
                let half_open = Uniform::new(-one, two).unwrap();
                let closed = Uniform::new_inclusive(-one, two).unwrap();
                let (mut seen_two, mut sum) = (false, 0.0);
                for _ in 0..2000 {
                    let x: $type = rng.sample(StandardUniform);
                    assert!(x >= zero && x < one);
                    let x: $type = rng.sample(OpenClosed01);
                    assert!(x > zero && x <= one);
                    let x: $type = rng.sample(Open01);
                    assert!(x > zero && x < one);
                    let x: $type = rng.sample(Exp1);
                    assert!(x >= zero && x.is_finite());
                    let x: $type = rng.sample(StandardNormal);
                    sum += x.to_f64();
                    let x = half_open.sample(&mut rng);
                    assert!(x >= -one && x < two);
                    let x = closed.sample(&mut rng);
                    assert!(x >= -one && x <= two);
                    seen_two |= x == two;
                }
                assert!(seen_two && f64::abs(sum) < 200.0, "{sum}");
            };
        }
        for_each_number!(check);
    }
}
