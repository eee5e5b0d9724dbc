//! One rounding from every source, held to the oracle: comparisons with exact midpoints.
//!
//! Where f64 goes through f32 first, every second tie comes out wrong one ulp beside it; where an
//! integer goes through f32, 16,842,753 does. The cases are built so that these mistakes show.

mod common;

use common::exact::{Exact, Number};
use common::{ROUNDINGS, assert_code, assert_codes, encode_exact, encode_scalars, encode_slice};
use common::{Visit, options, policies, share, structured_f64};
use half::bf16;
use quarter::{Format, FormatId, Isa, Policy, RandomStream, Rounding, Unpacked};

/// Relative distances 2^-k from a value or midpoint: below f32's last place, at it, and above.
const NUDGES: std::ops::RangeInclusive<i32> = 20..=52;

fn oracles() -> Vec<(FormatId, Exact)> {
    common::formats().map(|id| (id, Exact::new(id.spec()))).collect()
}

/// Encoder and kernels of every instruction set against the oracle.
fn check(id: FormatId, oracle: &Exact, x: &[f64], policy: Policy) {
    let spec = id.spec();
    let want = encode_exact(oracle, x, policy);
    assert_codes(spec, policy, "Unpacked", x, &encode_scalars(spec, x, policy), &want);
    for isa in Isa::available() {
        let got = encode_slice(spec, x, &options(policy, isa));
        assert_codes(spec, policy, isa.name(), x, &got, &want);
    }
}

/// f64 on and around every value, midpoint and overflow boundary, under every policy.
#[test]
fn double_round() {
    let oracles = oracles();
    common::parallel(oracles.len(), |i| {
        let (id, oracle) = &oracles[i];
        // The 16-bit formats have 65,000 points: fewer nudges do.
        let nudges: Vec<i32> = match id.spec().bits() {
            16 => vec![20, 24, 25, 26, 31, 32, 33, 40, 52],
            _ => NUDGES.collect(),
        };
        let x = structured_f64(oracle, &nudges);
        for policy in policies(&ROUNDINGS) {
            check(*id, oracle, &x, policy);
        }
    });
}

/// Every point of the 16-bit formats too, to nearest even: one ulp of f64 beside each midpoint.
#[test]
fn double_round_at_every_midpoint_of_16_bits() {
    for (id, oracle) in oracles().iter().filter(|(id, _)| id.spec().bits() == 16) {
        let grid = oracle.grid();
        let points: Vec<f64> = grid.windows(2).map(|w| (w[0] + w[1]) / 2.0).collect();
        let x: Vec<f64> = points
            .iter()
            .step_by(if share(16) == 1 { 16 } else { 1 })
            .flat_map(|m| [m.next_down(), *m, m.next_up(), -m.next_down(), -m, -m.next_up()])
            .collect();
        check(*id, oracle, &x, Policy::NONFINITE);
    }
}

/// Two million f64 over 340 binades; half of them with a significand that is nearly short, which
/// is where ties are.
#[test]
fn double_round_at_random() {
    let n = share(2 << 20);
    let [high, low, kind] = [0, 1, 2].map(|step| RandomStream { seed: 64, tensor: 0, step });
    let random = |i: u64| {
        let (a, b, kind) = (high.word(i), low.word(i), kind.word(i));
        let significand = u64::from(a) << 32 | u64::from(b);
        let mantissa = match kind & 3 {
            0 | 1 => significand >> 12,
            // Few leading bits, then zeros or ones, then a last bit that differs or not.
            few => {
                let kept = u64::MAX << (63 - (kind >> 2 & 15));
                let tail = if few == 2 { 0 } else { !kept };
                (significand & kept | tail) >> 12 ^ u64::from(kind >> 6 & 1)
            }
        };
        let exponent = 1023 - 170 + u64::from((kind >> 7) % 341);
        f64::from_bits(u64::from(kind >> 31) << 63 | exponent << 52 | mantissa)
    };
    let x: Vec<f64> = (0..n as u64).map(random).collect();
    let oracles = oracles();
    common::parallel(oracles.len(), |i| {
        let (id, oracle) = &oracles[i];
        for x in x.chunks(1 << 16) {
            check(*id, oracle, x, Policy::NONFINITE);
        }
    });
}

/// f64 → f32 and every integer → f32 and f64 are what the processor's own conversions give.
#[test]
fn to_f32_and_f64() {
    let x = structured_f64(&Exact::new(FormatId::Bf16.spec()), &[24, 25, 26, 29, 30, 52]);
    let [f32_spec, f64_spec] = [FormatId::F32, FormatId::F64].map(FormatId::spec);
    for x in x {
        let got = x.into_code(f32_spec);
        let want = if x.is_nan() { f32::NAN.copysign(x as f32) } else { x as f32 };
        assert_code(f32_spec, x, got, want.to_bits().into(), "as f32");
    }
    for i in integers::<i128>(&[0.0, 1.0, 16_777_217.0, 2f64.powi(53), 2f64.powi(100)]) {
        let note = "as the processor has it";
        assert_code(f32_spec, i, i.into_code(f32_spec), (i as f32).to_bits().into(), note);
        assert_code(f64_spec, i, i.into_code(f64_spec), (i as f64).to_bits(), note);
        let u = i.unsigned_abs() << 1;
        assert_code(f32_spec, u, u.into_code(f32_spec), (u as f32).to_bits().into(), note);
        assert_code(f64_spec, u, u.into_code(f64_spec), (u as f64).to_bits(), note);
    }
}

trait IntoCode: Into<Unpacked> {
    fn into_code(self, spec: &quarter::FormatSpec) -> u64 {
        self.into().encode(spec, Policy::NONFINITE, 0).unwrap()
    }
}
impl<T: Into<Unpacked>> IntoCode for T {}

/// An integer type, and what of it an i128 or u128 is.
trait Int: Copy + core::fmt::Debug + Into<Unpacked> {
    fn wrap(x: i128) -> Self;
    fn number(self) -> Number;
}

macro_rules! ints {
    ($($type:ty)*) => { $(
        impl Int for $type {
            fn wrap(x: i128) -> Self {
                x as Self
            }
            #[allow(unused_comparisons)]
            fn number(self) -> Number {
                let magnitude = if self < 0 { (self as i128).unsigned_abs() } else { self as u128 };
                Number::Int { negative: self < 0, magnitude }
            }
        }
    )* };
}
ints! { i8 i16 i32 i64 i128 isize u8 u16 u32 u64 u128 usize }

/// Integers of type `I` on and around `points`, their negatives, powers of two and the extremes;
/// what does not fit wraps to something else, which is as good.
fn integers<I: Int>(points: &[f64]) -> Vec<I> {
    let powers = (0..128).map(|k| 1i128.wrapping_shl(k));
    let points = points.iter().filter(|p| **p < 2f64.powi(128)).map(|p| *p as u128 as i128);
    let around = |x: i128| {
        let near = (0..=40).step_by(5).map(move |k| x.wrapping_add(1 << k));
        let below = (0..=40).step_by(5).map(move |k| x.wrapping_sub(1 << k));
        near.chain(below).chain([x, x.wrapping_add(2), x.wrapping_sub(2)])
    };
    let all = points.chain(powers).flat_map(around).chain([i128::MIN, i128::MAX]);
    all.flat_map(|x| [x, x.wrapping_neg()]).map(I::wrap).collect()
}

/// Encodes integers of type `I` into every format.
struct Integers<'a, I>(&'a [I], &'a Exact);

impl<I: Int> Visit for Integers<'_, I> {
    type Out = ();
    fn visit<T: Format>(self) {
        for policy in policies(&Rounding::DETERMINISTIC) {
            for x in self.0 {
                let got: u64 = T::convert(*x, policy).unwrap().to_code().into();
                let want = self.1.encode(x.number(), policy, 0).unwrap();
                assert_code(&T::SPEC, x, got, want, (policy, core::any::type_name::<I>()));
            }
        }
    }
}

#[test]
fn integers_round_once() {
    let oracles = oracles();
    common::parallel(oracles.len(), |i| {
        let (id, oracle) = &oracles[i];
        let grid = oracle.grid();
        let middles = grid.windows(2).map(|pair| (pair[0] + pair[1]) / 2.0);
        let thin = (grid.len() / 256).max(1);
        let points: Vec<f64> = grid.iter().copied().chain(middles).step_by(thin).collect();
        macro_rules! each {
            ($($type:ty)*) => {
                $(common::with_type(*id, Integers(&integers::<$type>(&points), oracle));)*
            };
        }
        each! { i8 i16 i32 i64 i128 isize u8 u16 u32 u64 u128 usize }
    });
}

/// The trap of going through f32: 2^24 + 2^16 + 1 is just above a bf16 tie.
#[test]
fn integer_16842753_to_bf16_is_4b81() {
    for x in [16_842_753_i64, 16_842_753 << 20] {
        let got = bf16::convert(x, Policy::NONFINITE).unwrap();
        assert_eq!(got.to_bits() & 0x7f, 0x01, "{x}: {:04x}", got.to_bits());
        assert_eq!(bf16::from_f32(x as f32).to_bits() & 0x7f, 0x00, "the trap is one");
    }
    assert_eq!(bf16::convert(16_842_753_u128, Policy::NONFINITE).unwrap().to_bits(), 0x4b81);
    // The same one bit beyond 64: what is lost must stick.
    let wide = (1u128 << 100) + (1 << 92) + 1;
    assert_eq!(bf16::convert(wide, Policy::NONFINITE).unwrap().to_bits() & 0x7f, 0x01);
    assert_eq!(bf16::convert(wide - 1, Policy::NONFINITE).unwrap().to_bits() & 0x7f, 0x00);
}

/// Roots that lie closer to a number, or to the middle of two, than 64 bits of them tell.
#[test]
fn roots_round_once() {
    let root = |square: u64, rounding| {
        let policy = Policy::NONFINITE.rounding(rounding);
        Unpacked::from(square).sqrt().encode(FormatId::Bf16.spec(), policy, 0).unwrap()
    };
    let code = |x: u64| u64::from(bf16::from_f64(x as f64).to_bits());
    let (number, middle) = (386_u64 << 23, 385_u64 << 23);
    for rounding in Rounding::DETERMINISTIC {
        assert_eq!(root(number * number, rounding), code(number), "{rounding:?} of a square");
    }
    for (off, rounding, want) in [
        (1, Rounding::NearestEven, 386_u64 << 23),
        (1, Rounding::Up, 388 << 23),
        (1, Rounding::Down, 386 << 23),
        (-1, Rounding::NearestEven, 386 << 23),
        (-1, Rounding::Up, 386 << 23),
        (-1, Rounding::TowardZero, 384 << 23),
    ] {
        let got = root((number * number).wrapping_add_signed(off), rounding);
        assert_eq!(got, code(want), "{rounding:?} of a square and {off}");
    }
    for (off, want) in [(-1, 384_u64 << 23), (0, 384 << 23), (1, 386 << 23)] {
        let got = root((middle * middle).wrapping_add_signed(off), Rounding::NearestEven);
        assert_eq!(got, code(want), "the square of a middle and {off}");
    }
}

/// The types' own `from_f64` and the crate's narrowing functions round once too.
#[test]
fn functions_from_f64() {
    for x in structured_f64(&Exact::new(FormatId::Bf16.spec()), &[25, 33, 52]) {
        let want = x.into_code(FormatId::Bf16.spec());
        assert_eq!(u64::from(quarter::bf16_from_f64(x).to_bits()), want, "{x:e}");
    }
    for x in structured_f64(&Exact::new(FormatId::F16.spec()), &[25, 33, 52]) {
        let want = x.into_code(FormatId::F16.spec());
        assert_eq!(u64::from(quarter::f16_from_f64(x).to_bits()), want, "{x:e}");
    }
}
