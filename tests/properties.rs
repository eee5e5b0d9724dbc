//! What every conversion must be, for every format × rounding × overflow: monotone, odd,
//! idempotent, as near as it says, and the same in slices.
//!
//! Bounds: Jeannerod and Rump, "On relative errors of floating-point operations", Math. Comp.
//! 2018, for u/(1 + u). All comparisons are exact; the only tolerance is 0.

mod common;

use common::exact::{Exact, Number, threshold};
use common::{ROUNDINGS, assert_code, encode_scalars, encode_slice, options, policies};
use proptest::collection::vec;
use proptest::prelude::*;
use quarter::slice::{CodesMut, EncodeOptions, QuantStats, encode_stats};
use quarter::{FormatId, FormatSpec, Isa, Overflow, Policy, Rounding, Unpacked};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

static ORACLES: LazyLock<Vec<(&FormatSpec, Exact)>> =
    LazyLock::new(|| common::formats().map(|id| (id.spec(), Exact::new(id.spec()))).collect());

/// f32 as bits, near one, and within the formats' ranges: all signs, NaN and Inf included.
fn any_f32() -> impl Strategy<Value = f32> {
    prop_oneof![
        any::<u32>().prop_map(f32::from_bits),
        (any::<bool>(), 100u32..145, any::<u32>()).prop_map(|(sign, exponent, m)| {
            f32::from_bits(u32::from(sign) << 31 | exponent << 23 | m & 0x7f_ffff)
        }),
        // Few significant bits: values and ties.
        (any::<bool>(), 100u32..145, 0u32..256).prop_map(|(sign, exponent, m)| {
            f32::from_bits(u32::from(sign) << 31 | exponent << 23 | m << 15)
        }),
    ]
}

fn finite_f32() -> impl Strategy<Value = f32> {
    any_f32().prop_filter("finite", |x| x.is_finite())
}

fn encode(spec: &FormatSpec, x: f64, policy: Policy, word: u32) -> u64 {
    Unpacked::from_f64(x).encode(spec, policy, word).unwrap()
}

/// The value of the code of `x`, where overflow to NaN counts as infinite.
fn quantized(spec: &FormatSpec, x: f64, policy: Policy, word: u32) -> f64 {
    let value = spec.decode_f64(encode(spec, x, policy, word));
    if value.is_nan() { f64::INFINITY.copysign(x) } else { value }
}

/// Whether E8M0's nearest has no code for `x`.
fn undefined(spec: &FormatSpec, x: f64) -> bool {
    !spec.signed() && x <= 0.0
}

fn is_nearest(rounding: Rounding) -> bool {
    matches!(rounding, Rounding::NearestEven | Rounding::NearestAway)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn monotone(mut xs in vec(finite_f32(), 64), word in any::<u32>()) {
        xs.sort_by(f32::total_cmp);
        for (spec, _) in ORACLES.iter() {
            for policy in policies(&ROUNDINGS) {
                let mut last = f64::NEG_INFINITY;
                for x in xs.iter().map(|x| f64::from(*x)).filter(|x| !undefined(spec, *x)) {
                    let q = quantized(spec, x, policy, word);
                    prop_assert!(last <= q, "{} {policy:?}: {x:e} gives {q:e} after {last:e}", spec.name());
                    last = q;
                }
            }
        }
    }

    #[test]
    fn odd(xs in vec(any_f32(), 64), word in any::<u32>()) {
        for (spec, _) in ORACLES.iter().filter(|(spec, _)| spec.signed()) {
            for policy in policies(&ROUNDINGS) {
                let mirrored = policy.rounding(match policy.rounding {
                    Rounding::Up => Rounding::Down,
                    Rounding::Down => Rounding::Up,
                    same => same,
                });
                for x in &xs {
                    if x.is_nan() && !spec.has_nan() {
                        continue; // a positive code, whatever the sign
                    }
                    let [x, minus] = [f64::from(*x), f64::from(-*x)];
                    let code = encode(spec, x, policy, word);
                    let opposite = encode(spec, minus, mirrored, word);
                    // FNUZ has one zero and one NaN, both their own opposite.
                    let alone = !spec.has_neg_zero() && code & spec.magnitude_mask() == 0;
                    let want = if alone { code } else { code ^ spec.sign_mask() };
                    assert_code(spec, minus, opposite, want, policy);
                }
            }
        }
    }

    /// |Q(x) − x| ≤ max(u/(1+u)·|x|, s/2) where nothing overflows, and never farther than the
    /// other neighbour; f32 sources, so that both sides are exact in f64.
    #[test]
    fn nearest_is_near(xs in vec(finite_f32(), 64)) {
        for (spec, oracle) in ORACLES.iter() {
            for policy in policies(&ROUNDINGS).filter(|p| is_nearest(p.rounding)) {
                for x in xs.iter().map(|x| f64::from(*x)).filter(|x| !undefined(spec, *x)) {
                    let q = quantized(spec, x, policy, 0);
                    let (low, high) = neighbours(oracle, x.abs());
                    if !high.is_finite() || spec.decode_f64(encode(spec, x, policy, 0)).is_nan() {
                        continue; // overflow: see `neighbours_on_the_right_side`
                    }
                    let error = (q - x).abs();
                    let other = (q.abs() - low - high).abs();
                    if !spec.has_zero() && x < spec.min_positive() * 2.0 {
                        continue; // see `e8m0_nearest_takes_its_code_0_for_a_zero`
                    }
                    prop_assert!(error <= (other - x.abs()).abs(), "{} {policy:?}: {x:e} gives {q:e}", spec.name());
                    // u/(1+u) = 1/(2^p + 1)
                    let relative = error * (2f64.powi(spec.precision() as i32) + 1.0) <= x.abs();
                    let absolute = spec.has_zero() && error <= spec.min_positive() / 2.0;
                    prop_assert!(relative || absolute, "{} {policy:?}: {x:e} gives {q:e}", spec.name());
                }
            }
        }
    }

    /// Every rounding gives one of the two neighbours, directed ones that on their side; inside
    /// the largest finite number nothing overflows, and beyond it no directed mode inwards does.
    #[test]
    fn neighbours_on_the_right_side(xs in vec(finite_f32(), 64), word in any::<u32>()) {
        for (spec, oracle) in ORACLES.iter() {
            for policy in policies(&ROUNDINGS) {
                let directed = matches!(policy.rounding, Rounding::TowardZero | Rounding::Up | Rounding::Down);
                for x in xs.iter().map(|x| f64::from(*x)).filter(|x| directed || !undefined(spec, *x)) {
                    // E8M0 rounds |x| when directed.
                    let x = if spec.signed() { x } else { x.abs() };
                    let q = quantized(spec, x, policy, word);
                    let (low, high) = neighbours(oracle, x.abs());
                    prop_assert!(
                        q.abs() == low || q.abs() == high || low == spec.max() && q.is_infinite(),
                        "{} {policy:?}: {x:e} gives {q:e}, not {low:e} or {high:e}", spec.name()
                    );
                    let saturates = policy.overflow == Overflow::Saturate || !spec.has_nan();
                    let clamped = x.abs() > spec.max() && saturates;
                    let floor = !spec.has_zero() && x.abs() < spec.min_positive();
                    let right = clamped || floor || match policy.rounding {
                        Rounding::TowardZero => q.abs() <= x.abs(),
                        Rounding::Up => q >= x,
                        Rounding::Down => q <= x,
                        _ => true,
                    };
                    prop_assert!(right, "{} {policy:?}: {x:e} gives {q:e}", spec.name());
                    prop_assert!(q.is_finite() || x.abs() > spec.max());
                    prop_assert!(q.is_finite() || policy.overflow == Overflow::NonFinite);
                }
            }
        }
    }

    /// Of the 256 words of 8 bits, exactly t round away from zero: of numbers between two neighbours of
    /// each format, with 24 bits of where between.
    #[test]
    fn stochastic_counts_are_exact(
        places in vec((any::<prop::sample::Index>(), 1u32..1 << 24, any::<bool>()), 4),
    ) {
        let mut counted = 0;
        for (spec, oracle) in ORACLES.iter() {
            let finite = oracle.finite();
            for rounding in [
                Rounding::Stochastic { bits: 8 },
                Rounding::StochasticEven { bits: 8 },
                Rounding::StochasticOdd { bits: 8 },
                Rounding::StochasticFast { bits: 8 },
            ] {
                let policy = Policy::SATURATE.rounding(rounding);
                for (at, fraction, negative) in &places {
                    let at = at.index(finite.len() - 1);
                    let (low, high) = (finite[at], finite[at + 1]);
                    let fraction = f64::from(*fraction) / 2f64.powi(24);
                    let size = low + (high - low) * fraction;
                    let x = if *negative && spec.signed() { -size } else { size };
                    let want = threshold(rounding, fraction);
                    let away = |r: &u32| quantized(spec, x, policy, r << 24 | 0xff_ffff).abs() == high;
                    let got = (0..256).filter(away).count() as u64;
                    prop_assert_eq!(got, want, "{} {:?}: {:e}", spec.name(), rounding, x);
                    counted += 1;
                }
            }
        }
        prop_assert_eq!(counted, ORACLES.len() * 4 * places.len());
    }

    #[test]
    fn slices_are_scalars(
        xs in vec(any_f32(), 0..300), cut in any::<(prop::sample::Index, bool)>(), format in 0usize..14,
    ) {
        let (spec, _) = ORACLES[format % ORACLES.len()];
        let start = if xs.is_empty() { 0 } else { cut.0.index(xs.len()) };
        let xs = &xs[start..];
        let wide: Vec<f64> = xs.iter().map(|x| f64::from(*x) * if cut.1 { 1.0 } else { 1.1 }).collect();
        for policy in policies(&ROUNDINGS) {
            let [want, want_wide] = [encode_scalars(spec, xs, policy), encode_scalars(spec, &wide, policy)];
            for isa in Isa::available() {
                let options = options(policy, isa);
                common::assert_codes(spec, policy, isa.name(), xs, &encode_slice(spec, xs, &options), &want);
                common::assert_codes(spec, policy, isa.name(), &wide, &encode_slice(spec, &wide, &options), &want_wide);
            }
        }
    }

    #[test]
    fn packing_is_undone_by_unpacking(codes in vec(any::<u8>(), 0..200)) {
        for id in [FormatId::F4E2M1, FormatId::F6E2M3, FormatId::F6E3M2] {
            let spec = id.spec();
            let codes: Vec<u8> = codes.iter().map(|c| c & spec.code_mask() as u8).collect();
            let bytes = spec.packed_len(codes.len()).unwrap();
            prop_assert_eq!(bytes, (codes.len() * spec.bits() as usize).div_ceil(8));
            let mut packed = vec![0xff; bytes];
            spec.pack(&codes, &mut packed).unwrap();
            // The definition: a little-endian stream of bits, and zeros after it.
            let bit = |i: usize| packed[i / 8] >> (i % 8) & 1;
            let width = spec.bits() as usize;
            for (i, code) in codes.iter().enumerate() {
                let read = (0..width).fold(0, |c, k| c | bit(i * width + k) << k);
                prop_assert_eq!(read, *code, "{} code {} of {:02x?}", spec.name(), i, &packed);
            }
            prop_assert!((codes.len() * width..bytes * 8).all(|i| bit(i) == 0), "{:02x?}", packed);
            let mut back = vec![0xff; codes.len()];
            spec.unpack(&packed, &mut back).unwrap();
            prop_assert_eq!(back, codes);
        }
    }

    /// The statistics of a tensor do not depend on its order, nor on where it is cut.
    #[test]
    fn statistics_have_no_order(mut xs in vec(any_f32(), 1..400), cut in any::<prop::sample::Index>()) {
        let stats = |xs: &[f32], spec: &FormatSpec, scale: f32| -> QuantStats {
            let options = EncodeOptions::new(Policy::SATURATE).scale(scale);
            let mut codes = vec![0u8; xs.len()];
            encode_stats(spec, xs, CodesMut::U8(&mut codes), &options).unwrap()
        };
        let shuffled: Vec<f32> = {
            let mut order: Vec<usize> = (0..xs.len()).collect();
            order.sort_by_key(|i| common::STREAM.word(*i as u64));
            order.into_iter().map(|i| xs[i]).collect()
        };
        for id in common::narrow_formats() {
            for scale in [1.0, 0.37, 64.0] {
                let all = stats(&xs, id.spec(), scale);
                prop_assert_eq!(stats(&shuffled, id.spec(), scale), all, "{} shuffled", id);
                let (a, b) = xs.split_at(cut.index(xs.len()));
                let merged = stats(b, id.spec(), scale).merge(stats(a, id.spec(), scale));
                prop_assert_eq!(merged, all, "{} cut", id);
            }
        }
        xs.reverse();
        let reversed: Vec<f32> = xs.iter().rev().copied().collect();
        let e5m2 = FormatId::F8E5M2.spec();
        prop_assert_eq!(stats(&xs, e5m2, 1.0), stats(&reversed, e5m2, 1.0));
    }
}

/// The finite numbers of the format on either side of |x|, equal where |x| is one; above the
/// largest, the largest and infinity.
fn neighbours(oracle: &Exact, x: f64) -> (f64, f64) {
    let finite = oracle.finite();
    let not_above = finite.partition_point(|v| *v <= x);
    let low = finite[not_above.saturating_sub(1)];
    match finite.get(not_above) {
        _ if low == x || not_above == 0 => (low, low),
        Some(high) => (low, *high),
        None => (low, f64::INFINITY),
    }
}

/// Every code is a fixed point of every policy: values, Inf (unless it saturates) and NaN.
#[test]
fn idempotent() {
    for (spec, oracle) in ORACLES.iter() {
        for policy in policies(&ROUNDINGS) {
            for code in 0..=spec.code_mask() {
                let x = Unpacked::decode(spec, code);
                let value = oracle.decode(code);
                let negative = code & spec.sign_mask();
                let want = if value.is_nan() {
                    spec.nan_code().unwrap() | negative
                } else if value.is_infinite() && policy.overflow == Overflow::Saturate {
                    spec.max_code() | negative
                } else {
                    code
                };
                for word in [0, 0x8000_0000, u32::MAX] {
                    let got = x.encode(spec, policy, word).unwrap();
                    assert_code(spec, (code, value), got, want, (policy, word));
                }
            }
        }
    }
}

/// Q(2^k x) = 2^k Q(x) with the same word, where neither is subnormal or overflows: half of the
/// numbers are ties or values. E8M0 has no ties here, as they go to the even one of its exponents.
#[test]
fn powers_of_two_pass_through() {
    let count = AtomicUsize::new(0);
    common::parallel(ORACLES.len(), |i| {
        let spec = ORACLES[i].0;
        let (least, most) = (2.0 * spec.min_normal(), spec.max() / 2.0);
        let inside = |x: f64| (least..=most).contains(&x.abs());
        let mut held = 0;
        for policy in policies(&ROUNDINGS) {
            for i in 0..common::share(1000) as u64 {
                let [word, place] = [0, 1].map(|n| common::STREAM.word(2 * i + n));
                let binades = (most / least).log2().floor() as u32 + 1;
                let bits = if i % 2 == 0 && spec.man_bits() > 0 { spec.precision() } else { 32 };
                let fraction = f64::from(word >> (32 - bits)) / 2f64.powi(bits as i32);
                let sign = if place >> 31 == 1 && spec.signed() { -1.0 } else { 1.0 };
                let x = sign * least * (1.0 + fraction) * 2f64.powi((place % binades) as i32);
                for k in [1, 2, 5, -1, -3, 40, -40] {
                    let y = x * 2f64.powi(k);
                    if inside(x) && inside(y) {
                        let [got, want] = [y, x].map(|x| quantized(spec, x, policy, place));
                        let want = want * 2f64.powi(k);
                        assert_eq!(got, want, "{} {policy:?}: {x:e} times 2^{k}", spec.name());
                        held += 1;
                    }
                }
            }
        }
        let binades = most / least;
        assert!(binades < 2.0 || held > 1000, "{}: {held}", spec.name());
        println!("{}: {held} times a power of two", spec.name());
        count.fetch_add(held, Ordering::Relaxed);
    });
    let count = count.into_inner();
    assert!(count > common::share(1_000_000), "{count}");
}

/// ml_dtypes takes 2^-127, the smallest E8M0, for what a zero is elsewhere: everything above it
/// is nearer to 2^-126, and a tie below does not exist. The other roundings know no such thing.
#[test]
fn e8m0_nearest_takes_its_code_0_for_a_zero() {
    let spec = FormatId::E8M0.spec();
    let least = 2f64.powi(-127);
    for (x, want) in [
        (f64::from(f32::from_bits(1)), 0),
        (least, 0),
        (least.next_up(), 1),
        (least * 1.25, 1),
        (least * 1.5, 1),
        (least * 2.0, 1),
        (least * 3.0, 2), // a tie: its lower neighbour's significand is odd
        ((least * 3.0).next_down(), 1),
    ] {
        let got = encode(spec, x, Policy::NONFINITE, 0);
        assert_code(spec, x, got, want, "nearest even");
    }
    let away = Policy::NONFINITE.rounding(Rounding::NearestAway);
    assert_code(spec, least * 1.25, encode(spec, least * 1.25, away, 0), 0, "nearest away");
    assert_code(spec, least * 1.5, encode(spec, least * 1.5, away, 0), 1, "nearest away");
    // Nothing at or below zero has a code; directed modes round |x|.
    for x in [0.0, -0.0, -1.0, f64::NEG_INFINITY] {
        assert_code(spec, x, encode(spec, x, Policy::NONFINITE, 0), 0xff, "NaN");
        assert_code(spec, x, encode(spec, x, Policy::SATURATE, 0), 0, "the smallest");
    }
    for (rounding, want) in
        [(Rounding::TowardZero, 0x7f), (Rounding::Up, 0x80), (Rounding::Down, 0x7f)]
    {
        assert_code(
            spec,
            -1.5,
            encode(spec, -1.5, Policy::NONFINITE.rounding(rounding), 0),
            want,
            rounding,
        );
    }
}

/// The oracle itself: where a value lies between two codes, it says so.
#[test]
fn the_oracle_knows_the_famous_values() {
    for (name, code, value) in [
        ("e4m3", 0x7e, 448.0),
        ("e4m3", 0x01, 2f64.powi(-9)),
        ("e5m2", 0x7b, 57344.0),
        ("e4m3fnuz", 0x7f, 240.0),
        ("e5m2fnuz", 0xff, -57344.0),
        ("e4m3b11fnuz", 0x7f, 30.0),
        ("e3m4", 0x6f, 15.5),
        ("e4m3ieee", 0x77, 240.0),
        ("e2m3", 0x1f, 7.5),
        ("e3m2", 0x3f, -28.0),
        ("e2m1", 0x07, 6.0),
        ("e8m0", 0xfe, 2f64.powi(127)),
        ("bf16", 0x3f80, 1.0),
        ("f16", 0x7bff, 65504.0),
    ] {
        let id: FormatId = name.parse().unwrap();
        let oracle = Exact::new(id.spec());
        assert_eq!(oracle.decode(code), value, "{name} {code:#x}");
        assert_eq!(oracle.encode(Number::Float(value), Policy::NONFINITE, 0), Some(code), "{name}");
    }
}
