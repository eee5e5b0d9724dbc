//! The number types over all their codes, against tables and exact arithmetic of the test's own.

#[path = "common/oracle.rs"]
mod oracle;

use core::cmp::Ordering;
use core::num::FpCategory;
use half::{bf16, f16};
use oracle::Oracle;
use quarter::*;

/// A small generator for samples (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
}

fn same(a: f64, b: f64) -> bool {
    a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
}

/// Compares code with code; the message is a diagnosis.
macro_rules! assert_code {
    ($got:expr, $want:expr, $($why:tt)+) => {{
        let (got, want) = ($got.to_bits(), $want);
        assert!(got == want, "{}: got {got:#010b}, want {want:#010b}", format_args!($($why)+));
    }};
}

/// One module of tests for each number type, T.
macro_rules! suite {
    ($(#[$doc:meta])* $type:ident $spec:ident $specials:ident) => {
        #[allow(non_snake_case)]
        mod $type {
            use super::*;
            type T = quarter::$type;

            fn all() -> impl Iterator<Item = T> + Clone {
                (0..1u16 << T::BITS).map(|code| T::from_bits(code as u8))
            }

            fn oracle() -> Oracle {
                Oracle::new::<T>()
            }

            #[test]
            fn bits_and_values() {
                let oracle = oracle();
                for x in all() {
                    let (bits, value) = (x.to_bits(), oracle.decode(x.to_bits()));
                    assert!(same(x.to_f64(), value), "{bits:#x}");
                    assert!(same(f64::from(x.to_f32()), value), "{bits:#x}");
                    assert!(same(x.to_f16().to_f64(), value), "{bits:#x}");
                    assert!(same(x.to_bf16().to_f64(), value), "{bits:#x}");
                    assert!(same(f64::from(x), value) && same(f32::from(x).into(), value));
                    assert!(same(f16::from(x).into(), value) && same(bf16::from(x).into(), value));
                    assert_eq!(x.to_f32().is_sign_negative(), value.is_sign_negative() || x.is_sign_negative());
                    assert_code!(T::from_le_bytes(x.to_le_bytes()), bits, "le");
                    assert_code!(T::from_be_bytes(x.to_be_bytes()), bits, "be");
                    assert_code!(T::from_ne_bytes(x.to_ne_bytes()), bits, "ne");
                    if !x.is_nan() {
                        assert_code!(T::from_f32(x.to_f32()), bits, "f32 {x}");
                        assert_code!(T::from_f64(x.to_f64()), bits, "f64 {x}");
                        assert_code!(T::from_f16(x.to_f16()), bits, "f16 {x}");
                        assert_code!(T::from_bf16(x.to_bf16()), bits, "bf16 {x}");
                        assert_code!(x.to_string().parse::<T>().unwrap(), bits, "text {x}");
                    } else {
                        assert!(T::from_f32(x.to_f32()).is_nan() && T::from_f64(f64::from(x)).is_nan());
                    }
                }
                for byte in 0..=255u8 {
                    let mask = ((1u16 << T::BITS) - 1) as u8;
                    assert_code!(T::from_bits(byte), byte & mask, "{byte:#x}");
                }
            }

            #[test]
            fn constants() {
                let finite: Vec<f64> = all().filter(|x| x.is_finite()).map(f64::from).collect();
                let max = finite.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let least = finite.iter().copied().filter(|&x| x > 0.0).fold(max, f64::min);
                assert_eq!(T::MAX.to_f64(), max);
                assert_eq!(T::MIN.to_f64(), -max);
                assert_eq!(T::MIN_POSITIVE_SUBNORMAL.to_f64(), least);
                assert_eq!(T::MAX_SUBNORMAL.to_f64() + least, T::MIN_POSITIVE.to_f64());
                let normals = all().filter(|x| x.is_normal() && x.is_sign_positive());
                let subnormals = all().filter(|x| x.is_subnormal());
                assert_eq!(normals.map(f64::from).fold(max, f64::min), T::MIN_POSITIVE.to_f64());
                assert_eq!(subnormals.map(f64::from).fold(0.0, f64::max), T::MAX_SUBNORMAL.to_f64());
                assert_eq!((T::ZERO.to_f64(), T::ONE.to_f64(), T::NEG_ONE.to_f64()), (0.0, 1.0, -1.0));
                assert!(T::ZERO.is_sign_positive() && T::default().to_bits() == 0);
                assert_eq!(T::EPSILON.to_f64(), T::ONE.next_up().to_f64() - 1.0);
                assert_eq!(T::EPSILON.to_f64(), 2f64.powi(1 - T::MANTISSA_DIGITS as i32));
                assert_eq!(T::MIN_POSITIVE.to_f64(), 2f64.powi(T::MIN_EXP - 1));
                assert!(2f64.powi(T::MAX_EXP - 1) <= max && max < 2f64.powi(T::MAX_EXP));
                assert!(10f64.powi(T::MAX_10_EXP) <= max && max < 10f64.powi(T::MAX_10_EXP + 1));
                let ten = |n| 10f64.powi(n) >= T::MIN_POSITIVE.to_f64();
                assert!(ten(T::MIN_10_EXP) && !ten(T::MIN_10_EXP - 1));
                let digits = (f64::from(T::MANTISSA_DIGITS - 1) * 2f64.log10()).floor();
                assert_eq!((T::DIGITS, T::RADIX), (digits as u32, 2));
                specials!(T $specials);
            }

            #[test]
            fn math_constants_are_nearest() {
                let oracle = oracle();
                macro_rules! check {
                    ($name:ident) => {
                        let want = oracle.encode(core::f64::consts::$name);
                        assert_code!(T::$name, want, "{}", stringify!($name));
                    };
                }
                check!(E);
                check!(PI);
                check!(FRAC_1_PI);
                check!(FRAC_1_SQRT_2);
                check!(FRAC_2_PI);
                check!(FRAC_2_SQRT_PI);
                check!(FRAC_PI_2);
                check!(FRAC_PI_3);
                check!(FRAC_PI_4);
                check!(FRAC_PI_6);
                check!(FRAC_PI_8);
                check!(LN_10);
                check!(LN_2);
                check!(LOG10_E);
                check!(LOG10_2);
                check!(LOG2_E);
                check!(LOG2_10);
                check!(SQRT_2);
                check!(TAU);
            }

            #[test]
            fn classes_and_signs() {
                for x in all() {
                    let value = x.to_f32();
                    let magnitude = value.abs();
                    let class = match value.classify() {
                        FpCategory::Normal if f64::from(magnitude) < T::MIN_POSITIVE.into() => {
                            FpCategory::Subnormal
                        }
                        class => class,
                    };
                    assert_eq!(x.classify(), class, "{x}");
                    assert_eq!(x.is_nan(), class == FpCategory::Nan);
                    assert_eq!(x.is_infinite(), class == FpCategory::Infinite);
                    assert_eq!(x.is_finite(), value.is_finite());
                    assert_eq!(x.is_normal(), class == FpCategory::Normal);
                    assert_eq!(x.is_subnormal(), class == FpCategory::Subnormal);
                    assert_eq!(x.is_sign_negative(), value.is_sign_negative());
                    assert_eq!(x.is_sign_positive(), value.is_sign_positive());
                    let unsigned = x.to_bits() & ((1u16 << (T::BITS - 1)) - 1) as u8 == 0
                        && !T::HAS_NEG_ZERO; // zero and NaN of FNUZ
                    let keep = |negated: T, want: f32| {
                        if unsigned {
                            assert_code!(negated, x.to_bits(), "{x}");
                        } else {
                            assert!(same(negated.into(), want.into()));
                            assert_eq!(negated.is_sign_negative(), want.is_sign_negative());
                        }
                    };
                    keep(-x, -value);
                    keep(-&x, -value);
                    keep(x.abs(), value.abs());
                    for sign in all() {
                        keep(x.copysign(sign), value.copysign(sign.to_f32()));
                    }
                    assert!(same(x.signum().into(), value.signum().into()));
                }
            }

            #[test]
            fn order() {
                for (x, y) in all().flat_map(|x| all().map(move |y| (x, y))) {
                    let (a, b) = (x.to_f32(), y.to_f32());
                    assert_eq!(x.partial_cmp(&y), a.partial_cmp(&b), "{x} {y}");
                    assert_eq!(x == y, a == b);
                    if !(x.is_nan() && y.is_nan()) {
                        assert_eq!(x.total_cmp(&y), a.total_cmp(&b), "{x} {y}");
                    }
                    let either = |got: T, want: f32| {
                        assert!(got.to_f32() == want || got.is_nan() && want.is_nan(), "{x} {y}");
                    };
                    either(x.max(y), a.max(b));
                    either(x.min(y), a.min(b));
                    if a <= b {
                        for z in [T::ZERO, T::ONE, x, y, T::MIN, T::MAX, -T::EPSILON] {
                            either(z.clamp(x, y), z.to_f32().clamp(a, b));
                        }
                    }
                }
                let mut codes: Vec<T> = all().collect();
                codes.sort_by(T::total_cmp);
                assert!(codes.windows(2).all(|pair| pair[0].total_cmp(&pair[1]) == Ordering::Less));
            }

            #[test]
            fn neighbours() {
                let mut numbers: Vec<T> = all().filter(|x| !x.is_nan() && *x != T::ZERO).collect();
                numbers.sort_by(T::total_cmp);
                let middle = numbers.partition_point(|x| x.is_sign_negative());
                for i in 0..numbers.len() {
                    let x = numbers[i];
                    let zero_sign = T::NEG_ONE * T::ZERO;
                    let up = match i {
                        _ if i + 1 == middle => zero_sign, // -min -> -0, as f32
                        _ => numbers[(i + 1).min(numbers.len() - 1)],
                    };
                    let down = if i == middle { T::ZERO } else { numbers[i.saturating_sub(1)] };
                    assert_code!(x.next_up(), up.to_bits(), "{x}");
                    assert_code!(x.next_down(), down.to_bits(), "{x}");
                }
                for zero in all().filter(|x| *x == T::ZERO) {
                    assert_code!(zero.next_up(), T::MIN_POSITIVE_SUBNORMAL.to_bits(), "0");
                    assert_code!(zero.next_down(), (-T::MIN_POSITIVE_SUBNORMAL).to_bits(), "0");
                }
                assert!(all().filter(|x| x.is_nan()).all(|x| x.next_up().is_nan() && x.next_down().is_nan()));
            }

            #[test]
            fn double_round() {
                // Every midpoint of every source, and its neighbours there.
                let oracle = oracle();
                for t in oracle.midpoints().chain([0.0, 1e-300, 1e300, f64::INFINITY]) {
                    for step in -2i64..=2 {
                        let x = f64::from_bits((t.to_bits() as i64 + step).max(0) as u64);
                        for x in [x, -x].into_iter().filter(|x| !x.is_nan()) {
                            assert_code!(T::from_f64(x), oracle.encode(x), "f64 {x:e}");
                        }
                        let x = f32::from_bits(((t as f32).to_bits() as i64 + step).max(0) as u32);
                        for x in [x, -x].into_iter().filter(|x| !x.is_nan()) {
                            assert_code!(T::from_f32(x), oracle.encode(x.into()), "f32 {x:e}");
                        }
                    }
                }
            }

            /// `from_f32` has a path of its own; the definition is `Unpacked::encode`.
            #[test]
            fn from_f32_is_the_definition() {
                for bits in (0..=u32::MAX).step_by(997).chain([0x7f80_0000, 0xff80_0000, 0x7f80_0001]) {
                    let x = Unpacked::from_f32(f32::from_bits(bits));
                    let want = x.encode(&T::SPEC, Policy::NONFINITE, 0).unwrap() as u8;
                    assert_code!(T::from_f32(f32::from_bits(bits)), want, "f32 {bits:#010x}");
                    let want = x.encode(&T::SPEC, Policy::SATURATE, 0).unwrap() as u8;
                    assert_code!(T::from_f32_sat(f32::from_bits(bits)), want, "f32 {bits:#010x}");
                }
            }

            #[test]
            fn from_16_bits_and_integers() {
                let oracle = oracle();
                for bits in 0..=u16::MAX {
                    let (a, b) = (f16::from_bits(bits), bf16::from_bits(bits));
                    if !a.is_nan() {
                        assert_code!(T::from_f16(a), oracle.encode(a.into()), "f16 {a}");
                    }
                    if !b.is_nan() {
                        assert_code!(T::from_bf16(b), oracle.encode(b.into()), "bf16 {b}");
                    }
                    let want = oracle.encode(f64::from(bits));
                    assert_code!(T::from_u16(bits), want, "u16 {bits}");
                    assert_code!(T::from_i16(bits as i16), oracle.encode(f64::from(bits as i16)), "i16");
                    assert_code!(T::from_u8(bits as u8), oracle.encode(f64::from(bits as u8)), "u8");
                    assert_code!(T::from_i8(bits as i8), oracle.encode(f64::from(bits as i8)), "i8");
                    assert_code!(T::from_u32(bits.into()), want, "u32 {bits}");
                    assert_code!(T::from_u64(bits.into()), want, "u64 {bits}");
                    assert_code!(T::from_u128(bits.into()), want, "u128 {bits}");
                    assert_code!(T::from_usize(bits.into()), want, "usize {bits}");
                    let (n, want) = (-i32::from(bits), oracle.encode(0.0 - f64::from(bits)));
                    assert_code!(T::from_i32(n), want, "i32 {n}");
                    assert_code!(T::from_i64(n.into()), want, "i64 {n}");
                    assert_code!(T::from_i128(n.into()), want, "i128 {n}");
                    assert_code!(T::from_isize(n as isize), want, "isize {n}");
                }
                assert_code!(T::from_u128(u128::MAX), oracle.encode(f64::INFINITY), "u128::MAX");
                assert_code!(T::from_i128(i128::MIN), oracle.encode(f64::NEG_INFINITY), "i128::MIN");
            }

            #[test]
            fn policies() {
                let random = Policy::SATURATE.rounding(Rounding::STOCHASTIC);
                assert_eq!(T::from_f32_with(1.0, random), Err(Error::RandomMissing));
                assert_eq!(T::from_f64_with(1.0, random), Err(Error::RandomMissing));
                let x = T::ONE.to_f32() + T::EPSILON.to_f32() * 0.75; // 3/4 of the way
                let of = |word| T::from_f32_stochastic(x, random, word).unwrap();
                assert_eq!((of(1 << 30), of((1 << 30) - 1)), (T::ONE.next_up(), T::ONE));
                for (big, max) in [(1e30, T::MAX), (f64::INFINITY, T::MAX), (-1e30, T::MIN)] {
                    assert_eq!((T::from_f64_sat(big), T::from_f32_sat(big as f32)), (max, max));
                    assert_eq!(T::from_f64_with(big, Policy::SATURATE), Ok(max));
                    let (want, x) = (T::from_f64(big), T::from_f64_with(big, Policy::NONFINITE));
                    assert_eq!(x.unwrap().to_bits(), want.to_bits());
                    let inward = Policy::NONFINITE.rounding(Rounding::TowardZero);
                    if big.is_finite() {
                        assert_eq!(T::from_f32_with(big as f32, inward), Ok(max));
                    }
                }
                let error = T::from_f32_with(f32::NAN, Policy::SATURATE.nan(NanPolicy::Error));
                assert_eq!(error.is_err(), !T::HAS_NAN);
            }

            #[test]
            fn arithmetic_of_all_pairs() {
                let oracle = oracle();
                let close = |a: f64, t: f64| a.abs().partial_cmp(&t).unwrap();
                for (x, y) in all().flat_map(|x| all().map(move |y| (x, y))) {
                    let (a, b) = (x.to_f64(), y.to_f64());
                    let mut z = x;
                    z += y;
                    assert_code!(x + y, oracle.result(oracle.encode(a + b)), "{x} + {y}"); // exact in f64
                    assert_code!(z, (x + y).to_bits(), "+=");
                    assert_code!(x - y, oracle.result(oracle.encode(a - b)), "{x} - {y}");
                    assert_code!(x * y, oracle.result(oracle.encode(a * b)), "{x} * {y}");
                    assert_code!(x % y, oracle.encode(a % b), "{x} % {y}"); // exact too
                    let quotient = a / b;
                    let want = if quotient == 0.0 || !quotient.is_finite() {
                        oracle.encode(quotient)
                    } else {
                        // |a / b| against t is |a| against |b| t, exact.
                        oracle.nearest(quotient < 0.0, |t| close(a, t * b.abs()))
                    };
                    assert_code!(x / y, oracle.result(want), "{x} / {y}");
                    for (got, want) in [
                        (x + &y, x + y), (&x + y, x + y), (&x + &y, x + y), (&x - &y, x - y),
                        (&x * &y, x * y), (&x / &y, x / y), (&x % &y, x % y),
                    ] {
                        assert_code!(got, want.to_bits(), "references");
                    }
                }
                let (mut x, two) = (T::ONE, T::ONE + T::ONE);
                x *= two;
                x -= &T::ONE;
                x /= &two;
                x += &x.clone();
                x *= &two;
                x %= &two;
                assert_eq!(x, T::ZERO);
                for x in all() {
                    let a = x.to_f64();
                    let want = if a > 0.0 && a.is_finite() {
                        oracle.nearest(false, |t| close(a, t * t))
                    } else {
                        oracle.encode(a.sqrt())
                    };
                    assert_code!(x.sqrt(), want, "sqrt {x}");
                    assert_code!(x.recip(), (T::ONE / x).to_bits(), "1 / {x}");
                }
            }

            #[test]
            fn mul_add_rounds_once() {
                let oracle = oracle();
                let mut random = Random(0x9E37_79B9);
                // In units of least² / 2, every number and every midpoint is an i128.
                let unit = T::MIN_POSITIVE_SUBNORMAL.to_f64();
                let integer = |x: f64| (x / unit) as i128;
                let per = (1.0 / unit) as i128;
                for (x, y) in all().flat_map(|x| all().map(move |y| (x, y))) {
                    for _ in 0..3 {
                        let z = T::from_bits(random.next() as u8);
                        let (a, b, c) = (x.to_f64(), y.to_f64(), z.to_f64());
                        let rough = a * b + c;
                        let want = if !rough.is_finite() || rough == 0.0 {
                            oracle.encode(rough)
                        } else {
                            let exact = 2 * (integer(a) * integer(b) + integer(c) * per);
                            oracle.nearest(exact < 0, |t| {
                                exact.abs().cmp(&(integer(2.0 * t) * per))
                            })
                        };
                        assert_code!(x.mul_add(y, z), oracle.result(want), "{x} * {y} + {z}");
                    }
                }
            }

            #[test]
            fn sums_accumulate_in_f32() {
                let mut random = Random(42);
                for _ in 0..200 {
                    let terms: Vec<T> =
                        (0..100).map(|_| T::from_bits(random.next() as u8)).filter(|x| x.is_finite()).collect();
                    let sum = terms.iter().fold(0.0, |sum, x| sum + x.to_f32());
                    let product = terms[..5].iter().fold(1.0, |product, x| product * x.to_f32());
                    let oracle = oracle();
                    let sum = oracle.result(oracle.encode(sum.into()));
                    let product = oracle.result(oracle.encode(product.into()));
                    assert_code!(terms.iter().sum::<T>(), sum, "{terms:?}");
                    assert_code!(terms.iter().copied().sum::<T>(), sum, "{terms:?}");
                    assert_code!(terms[..5].iter().product::<T>(), product, "{terms:?}");
                    assert_code!(terms[..5].iter().copied().product::<T>(), product, "{terms:?}");
                }
                // The sum in T would stand still at 1/EPSILON · 2.
                let many = vec![T::MIN_POSITIVE_SUBNORMAL; 64];
                assert_eq!(many.iter().sum::<T>(), T::from_f64(64.0 * T::MIN_POSITIVE_SUBNORMAL.to_f64()));
            }

            #[test]
            fn text_is_that_of_f32_and_of_the_code() {
                for x in all() {
                    let (value, bits) = (x.to_f32(), x.to_bits());
                    assert_eq!(format!("{x} {x:?} {x:e} {x:E}"), format!("{value} {value:?} {value:e} {value:E}"));
                    assert_eq!(
                        format!("{x:+9.3}|{x:<9}|{x:^12.1e}|{x:012.2}|{x:.4?}"),
                        format!("{value:+9.3}|{value:<9}|{value:^12.1e}|{value:012.2}|{value:.4?}")
                    );
                    assert_eq!(
                        format!("{x:b} {x:#010b} {x:o} {x:x} {x:#04X}"),
                        format!("{bits:b} {bits:#010b} {bits:o} {bits:x} {bits:#04X}")
                    );
                }
            }
        }
    };
}

/// Which special constants exist, and their codes.
macro_rules! specials {
    ($t:ident Ieee) => {
        assert!($t::INFINITY.to_f64() == f64::INFINITY && $t::NEG_INFINITY.to_f64() == f64::NEG_INFINITY);
        specials!($t NanAllOnes);
    };
    ($t:ident NanAllOnes) => {
        specials!($t None);
        specials!($t NanNegZero);
        assert!($t::NAN.is_sign_positive());
    };
    ($t:ident NanNegZero) => {
        assert!($t::NAN.is_nan() && $t::NAN != $t::NAN);
        assert_eq!($t::NAN.to_string(), "NaN");
    };
    ($t:ident None) => {
        assert!($t::NEG_ZERO == $t::ZERO && $t::NEG_ZERO.is_sign_negative());
        assert_eq!($t::NEG_ZERO.to_string(), "-0");
    };
}

for_each_number!(suite);

/// ml_dtypes' tables of + − × ÷ and √; QUARTER_GOLDEN is the folder that holds `conversions/`.
#[test]
fn golden_arithmetic() {
    let Ok(folder) = std::env::var("QUARTER_GOLDEN") else { return };
    macro_rules! check {
        ($type:ident $name:literal) => {
            let file = format!("{folder}/conversions/arith.{}.ml_dtypes.bin", $name);
            let table = std::fs::read(&file).unwrap();
            assert_eq!(table.len(), 4 * 65536 + 256);
            let of = |code: usize| quarter::$type::from_bits(code as u8);
            for (i, &want) in table.iter().enumerate() {
                let (x, y) = (of(i >> 8), of(i));
                let got = match i >> 16 {
                    0 => x + y,
                    1 => x - y,
                    2 => x * y,
                    3 => x / y,
                    _ => of(i).sqrt(),
                };
                assert_code!(got, want, "{file}: entry {i}");
            }
        };
    }
    check!(F8E4M3 "float8_e4m3fn");
    check!(F8E5M2 "float8_e5m2");
}
