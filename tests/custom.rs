//! Formats that are not in the table, at the limits of what `FormatSpec::custom` allows: the
//! kernels of every instruction set equal the scalar definition, and what does not fit is refused.

use quarter::slice::{
    CodesMut, DecodeOptions, EncodeOptions, Random, decode, encode, encode_stats,
};
use quarter::{
    Error, FormatId, FormatSpec, Isa, Policy, RandomStream, Rounding, Specials, Unpacked,
};

const STREAM: RandomStream = RandomStream { seed: 3, tensor: 1, step: 4 };

fn specs() -> Vec<FormatSpec> {
    use Specials::{Ieee, NanAllOnes, NanNegZero};
    let mut specs = Vec::new();
    for specials in [Ieee, NanAllOnes, NanNegZero, Specials::None] {
        for exp in [1, 2, 3, 5, 7, 8] {
            for man in [0, 1, 2, 3, 6, 7, 10, 14, 22] {
                for bias in [-127, -20, 0, 1, 15, 101, 102, 126, 127, 128, 232, 255] {
                    specs.extend(FormatSpec::custom("custom", exp, man, bias, specials));
                }
            }
        }
    }
    assert!(specs.len() > 1500, "{}", specs.len());
    specs
}

/// Values around everything a format distinguishes, and specials.
fn values(spec: &FormatSpec) -> Vec<f32> {
    let (max, min, normal) = (spec.max() as f32, spec.min_positive() as f32, spec.min_normal());
    let around =
        |x: f32| [x, x * 0.5, x * 0.75, x * 1.25, x * 1.5, f32::from_bits(x.to_bits() + 1)];
    let mut x: Vec<f32> =
        [max, min, normal as f32, 1.0, 3.1].into_iter().flat_map(around).collect();
    x.extend([0.0, f32::INFINITY, f32::NAN, f32::MAX, f32::MIN_POSITIVE, f32::from_bits(1)]);
    x.extend((0..20).map(|i| f32::from_bits(STREAM.word(i))));
    x.iter().flat_map(|x| [*x, -*x]).collect()
}

/// The codes of a slice conversion, whatever stores them.
fn codes(spec: &FormatSpec, x: &[f32], options: &EncodeOptions) -> Vec<u64> {
    macro_rules! run {
        ($int:ty, $variant:ident) => {{
            let mut codes = vec![<$int>::MAX; x.len()];
            encode(spec, x, CodesMut::$variant(&mut codes), options).unwrap();
            codes.into_iter().map(u64::from).collect()
        }};
    }
    match spec.storage_bits() {
        8 => run!(u8, U8),
        16 => run!(u16, U16),
        _ => run!(u32, U32),
    }
}

#[test]
fn kernels_encode_as_defined() {
    let mut roundings = Rounding::DETERMINISTIC.to_vec();
    roundings.extend([Rounding::STOCHASTIC, Rounding::StochasticOdd { bits: 11 }]);
    for (n, spec) in specs().iter().enumerate() {
        let x = values(spec);
        let rounding = roundings[n % roundings.len()];
        for policy in [Policy::NONFINITE, Policy::SATURATE].map(|p| p.rounding(rounding)) {
            let word = |i: usize| STREAM.word(i as u64);
            let exact = |(i, x): (usize, &f32)| {
                Unpacked::from_f32(*x).encode(spec, policy, word(i)).unwrap()
            };
            let want: Vec<u64> = x.iter().enumerate().map(exact).collect();
            for isa in Isa::available() {
                let random = Random::Stream { stream: STREAM, start: 0 };
                let options = EncodeOptions::new(policy).isa(isa).random(random);
                let got = codes(spec, &x, &options);
                for i in 0..x.len() {
                    let at = format!("{spec:?}\n{policy:?} {isa:?} x[{i}] = {:e}", x[i]);
                    assert_eq!(got[i], want[i], "{at}: got {:b}, want {:b}", got[i], want[i]);
                }
            }
        }
    }
}

#[test]
fn kernels_decode_as_defined() {
    for spec in specs().iter().filter(|spec| spec.bits() <= 8) {
        let codes: Vec<u8> = (0..=spec.code_mask() as u8).collect();
        let n = codes.len();
        let exact = |code: u8| Unpacked::decode(spec, code.into());
        for isa in Isa::available() {
            let options = DecodeOptions::new().isa(isa);
            let (mut f64s, mut f32s) = (vec![0.0f64; n], vec![0.0f32; n]);
            let (mut bf16s, mut f16s) = (vec![half::bf16::ZERO; n], vec![half::f16::ZERO; n]);
            decode(spec, &codes, &mut f64s, &options).unwrap();
            decode(spec, &codes, &mut f32s, &options).unwrap();
            decode(spec, &codes, &mut bf16s, &options).unwrap();
            decode(spec, &codes, &mut f16s, &options).unwrap();
            for (i, code) in codes.iter().enumerate() {
                let (x, at) = (exact(*code), format!("{spec:?} {isa:?} code {code:#04x}"));
                let narrow = |id: FormatId| x.encode(id.spec(), Policy::NONFINITE, 0);
                assert_eq!(f64s[i].to_bits(), x.to_f64().to_bits(), "f64 {at}");
                assert_eq!(f32s[i].to_bits(), x.to_f32().to_bits(), "f32 {at}");
                let bf16 = u64::from(bf16s[i].to_bits());
                assert_eq!(Ok(bf16), narrow(FormatId::Bf16), "bf16 {at}");
                let f16 = u64::from(f16s[i].to_bits());
                assert_eq!(Ok(f16), narrow(FormatId::F16), "f16 {at}");
            }
        }
    }
}

/// In a format whose NaN has the code of −0, an overflow is not a flush; wherever a NaN of the
/// source stands.
#[test]
fn fnuz_statistics_do_not_depend_on_order() {
    let spec = FormatId::F8E5M2FNUZ.spec();
    for nan in [None, Some(0), Some(4095), Some(4096)] {
        let mut x = vec![1e9f32; 4097];
        if let Some(nan) = nan {
            x[nan] = f32::NAN;
        }
        for rounding in Rounding::DETERMINISTIC {
            let options = EncodeOptions::new(Policy::NONFINITE.rounding(rounding));
            let stats = encode_stats(spec, &x, &mut vec![0u8; x.len()], &options).unwrap();
            let nans = u64::from(nan.is_some());
            let counts = (stats.saturated, stats.flushed, stats.nan);
            assert_eq!(counts, (4097 - nans, 0, nans), "{nan:?} {rounding:?}");
        }
    }
}

#[test]
fn impossible_formats_are_refused() {
    let refused = |exp, man, bias, specials| {
        let error = FormatSpec::custom("none", exp, man, bias, specials).unwrap_err();
        assert!(matches!(error, Error::Range { .. }), "{error}");
        error.to_string()
    };
    assert_eq!(refused(9, 3, 7, Specials::None), "exponent width is 9, outside 1..=8");
    assert_eq!(refused(1, 3, 1, Specials::Ieee), "exponent width is 1, outside 2..=8");
    assert_eq!(refused(4, 23, 7, Specials::None), "mantissa width is 23, outside 0..=22");
    assert_eq!(refused(4, 0, 7, Specials::Ieee), "mantissa width is 0, outside 1..=22");
    assert_eq!(
        refused(1, 0, 1, Specials::None),
        "exponent and mantissa width is 1, outside 2..=31"
    );
    assert_eq!(refused(4, 3, 256, Specials::None), "bias is 256, outside -127..=255");
}

/// A byte with bits above a 4- or 6-bit format's width reads as the code in its low bits.
#[test]
fn bits_above_the_width_are_ignored() {
    use quarter::slice::FormatSliceExt;
    use quarter::{F4E2M1, F6E3M2};
    let x = <[F4E2M1]>::from_codes(&[0xf7, 0xff, 0x80]);
    assert_eq!(x.iter().map(|x| x.to_bits()).collect::<Vec<_>>(), [0x7, 0xf, 0x0]);
    assert_eq!((x[0], x[0].next_up(), x[1].next_down()), (F4E2M1::MAX, F4E2M1::MAX, F4E2M1::MIN));
    assert_eq!(format!("{:x} {:?}", x[1], x[2]), "f 0.0");
    let mut y = [F6E3M2::ZERO];
    y.reinterpret_cast_mut()[0] = 0xdf;
    assert_eq!((y[0].to_bits(), y[0]), (0x1f, F6E3M2::MAX));
}

/// The counts of codes are what counting them gives.
#[test]
fn counts_of_codes() {
    for id in FormatId::ALL.iter().filter(|id| id.spec().bits() <= 16) {
        let spec = id.spec();
        let count = |of: fn(f64) -> bool| {
            (0..=spec.code_mask()).filter(|code| of(spec.decode_f64(*code))).count() as u64
        };
        assert_eq!(spec.finite_codes(), count(f64::is_finite), "{id}");
        assert_eq!(spec.nan_codes(), count(f64::is_nan), "{id}");
    }
}
