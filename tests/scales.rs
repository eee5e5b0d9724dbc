//! E8M0 over all its codes, and what `half` rounds twice, rounded once.

use half::{bf16, f16};
use quarter::*;

fn all() -> impl Iterator<Item = E8M0> {
    (0..=255).map(E8M0::from_bits)
}

#[test]
fn e8m0_values_and_limits() {
    for x in all() {
        let want = if x.to_bits() == 255 {
            f64::NAN
        } else {
            2f64.powi(x.to_bits().into()) / 2f64.powi(127)
        };
        assert_eq!(x.is_nan(), want.is_nan());
        assert_eq!((x.is_finite(), x.is_normal()), (!want.is_nan(), !want.is_nan()));
        assert!(!x.is_infinite() && !x.is_subnormal() && x.is_sign_positive());
        let values = [x.to_f64(), x.to_f32().into(), x.to_bf16().into(), x.into()];
        assert!(values.iter().all(|v| *v == want || x.is_nan() && v.is_nan()), "{x}");
        if !x.is_nan() {
            assert_eq!(E8M0::from_f32(x.to_f32()), x);
            assert_eq!(E8M0::from_f32_floor(-x.to_f32()), x);
            assert_eq!(E8M0::from_f32_ceil(x.to_f32()), x);
            assert_eq!(x.to_string().parse(), Ok(x));
            assert_eq!(x.next_up().to_bits(), (x.to_bits() + 1).min(254));
            assert_eq!(x.next_down().to_bits(), x.to_bits().saturating_sub(1));
        }
        for y in all() {
            assert_eq!(x.partial_cmp(&y), x.to_f32().partial_cmp(&y.to_f32()));
            assert_eq!(x.total_cmp(&y), x.to_bits().cmp(&y.to_bits()));
        }
    }
    assert!(E8M0::NAN.next_up().is_nan() && E8M0::NAN.next_down().is_nan());
    assert_eq!((E8M0::ONE.to_bits(), E8M0::MAX.to_bits(), E8M0::MIN.to_bits()), (127, 254, 0));
    assert_eq!((E8M0::MIN_POSITIVE, E8M0::MANTISSA_DIGITS, E8M0::DIGITS), (E8M0::MIN, 1, 0));
    assert_eq!((E8M0::MIN_EXP, E8M0::MAX_EXP, E8M0::RADIX), (-126, 128, 2));
    assert_eq!((E8M0::MIN_10_EXP, E8M0::MAX_10_EXP), (-38, 38));
    assert_eq!(E8M0::ONE.max(E8M0::MAX), E8M0::NAN.max(E8M0::MAX));
    assert_eq!(
        format!("{:?} {:x} {:e}", E8M0::MAX, E8M0::MAX, E8M0::ONE),
        format!("{:?} fe 1e0", 2f32.powi(127))
    );
}

#[test]
fn e8m0_roundings() {
    let nearest = |x: f32| E8M0::from_f32(x).to_f32();
    assert_eq!((nearest(1.5), nearest(1.4999), nearest(3.0), nearest(2.9)), (2.0, 1.0, 4.0, 2.0));
    for x in [0.0, -0.0, -1.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MAX] {
        assert!(E8M0::from_f32(x).is_nan(), "{x}");
    }
    let (floor, ceil) = (E8M0::from_f32_floor, E8M0::from_f32_ceil);
    assert_eq!((floor(1.99), ceil(1.01)), (E8M0::ONE, E8M0::from_f32(2.0)));
    assert_eq!(
        (floor(0.0), ceil(0.0), floor(1e-45), ceil(1e-45)),
        (E8M0::MIN, E8M0::MIN, E8M0::MIN, E8M0::MIN)
    );
    assert_eq!(floor(f32::MAX), E8M0::MAX);
    assert!(ceil(f32::MAX).is_nan() && ceil(f32::INFINITY).is_nan() && floor(f32::NAN).is_nan());
    let up = Policy::SATURATE.rounding(Rounding::Up);
    assert_eq!(E8M0::from_f32_with(f32::MAX, up), Ok(E8M0::MAX));
    assert_eq!(E8M0::from_f32_sat(f32::INFINITY), E8M0::MAX);
    assert_eq!(
        (E8M0::from_u8(3), E8M0::from_i64(1 << 40).to_f64()),
        (E8M0::from_f32(4.0), 2f64.powi(40))
    );
}

/// Every midpoint of bf16 and f16 and its neighbours in f64.
#[test]
fn half_from_f64_double_round() {
    fn check(spec: &FormatSpec, narrow: impl Fn(f64) -> u16) {
        for code in 0..spec.max_code() as u16 {
            let (low, high) = (spec.decode_f64(code.into()), spec.decode_f64(u64::from(code) + 1));
            let tie = f64::midpoint(low, high);
            assert_eq!(narrow(tie), code + code % 2, "{tie:e}");
            assert_eq!(
                (narrow(tie.next_down()), narrow(tie.next_up())),
                (code, code + 1),
                "{tie:e}"
            );
            assert_eq!(narrow(-tie.next_up()), (code + 1) | 0x8000);
        }
    }
    check(&bf16::SPEC, |x| bf16_from_f64(x).to_bits());
    check(&f16::SPEC, |x| f16_from_f64(x).to_bits());
    assert_eq!((bf16_from_f64(1e300), f16_from_f64(-65520.0)), (bf16::INFINITY, f16::NEG_INFINITY));
    assert!(bf16_from_f64(f64::NAN).is_nan() && f16_from_f64(f64::NAN).is_nan());
    // arch-com #629: 16842753 lies just above a tie of bf16.
    assert_eq!(bf16::convert(16_842_753_i64, Policy::NONFINITE).unwrap().to_bits(), 0x4b81);
}

/// a·b + c as an i128 in units of 2^-48, and from there to 16 bits by `Unpacked`'s sticky bit.
#[test]
fn half_mul_add_rounds_once() {
    let mut state = 1u64;
    let mut random = move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as u16
    };
    let integer = |x: f64, scale: i32| (x * 2f64.powi(scale)) as i128;
    let mut twice = 0;
    for _ in 0..300_000 {
        let [a, b, c] = [(); 3].map(|()| f16::from_bits(random()));
        let (x, y, z) = (a.to_f64(), b.to_f64(), c.to_f64());
        let got = f16_mul_add(a, b, c);
        let rough = x * y + z;
        if !rough.is_finite() || rough == 0.0 {
            assert!(got.to_f64() == rough || got.is_nan() && rough.is_nan());
            continue;
        }
        let exact = integer(x, 24) * integer(y, 24) + integer(z, 48);
        // The scaled value overflows f16, so round in a copy of f16 with its bias moved.
        let moved = FormatSpec::custom("f16 · 2^48", 5, 10, 15 - 48, Specials::Ieee).unwrap();
        let want = Unpacked::from_i128(exact).encode(&moved, Policy::NONFINITE, 0).unwrap();
        assert_eq!(u64::from(got.to_bits()), want, "{a} * {b} + {c}");

        // bf16 with exponents that keep the sum in an i128.
        let small = |x: u16| bf16::from_bits(x & 0x807f | (0x70 + (x >> 7 & 31)) << 7);
        let [a, b, c] = [a, b, c].map(|x| small(x.to_bits()));
        let got = bf16_mul_add(a, b, c);
        let (x, y, z) = (a.to_f64(), b.to_f64(), c.to_f64());
        let exact = integer(x, 22) * integer(y, 22) + integer(z, 44);
        if exact != 0 {
            let moved = FormatSpec::custom("bf16 · 2^44", 8, 7, 127 - 44, Specials::Ieee).unwrap();
            let want = Unpacked::from_i128(exact).encode(&moved, Policy::NONFINITE, 0).unwrap();
            assert_eq!(u64::from(got.to_bits()), want, "{a} * {b} + {c}");
            twice += u32::from(got != bf16::from_f32((x as f32).mul_add(y as f32, z as f32)));
        }
    }
    println!("rounded twice, as half does, {twice} of these differ");
}

/// 259 and 261 are ties between even numbers: what is added decides, however little it is.
#[test]
fn half_mul_add_keeps_what_f64_does_not() {
    for (a, b, below, above) in [(7.0, 37.0, 258.0, 260.0), (9.0, 29.0, 260.0, 262.0)] {
        for (sign, [less, more]) in [(1.0, [below, above]), (-1.0, [above, below])] {
            for tiny in [2f32.powi(-60), f32::MIN_POSITIVE] {
                let sum = |c: f32| {
                    let [a, b, c] = [a * sign, b, c].map(bf16::from_f32);
                    bf16_mul_add(a, b, c).to_f32() * sign
                };
                assert_eq!((sum(-tiny), sum(tiny)), (less, more), "{a} * {b}, {sign}, {tiny:e}");
            }
        }
    }
}
