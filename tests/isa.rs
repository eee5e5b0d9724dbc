//! Every instruction set that this processor has gives the bits of the integer encoder and the
//! exact decoder, for every source, format, policy and kind of code.
//!
//! `QUARTER_ISA` picks what conversions use; here each is asked for by name, best first.

mod common;

use common::{ROUNDINGS, STREAM, Source, assert_codes, options, policies, structured_f32};
use half::{bf16, f16};
use quarter::slice::{Codes, CodesMut, DecodeOptions, EncodeOptions, QuantStats, Random, Values};
use quarter::slice::{decode, encode, encode_stats};
use quarter::{FormatId, FormatSpec, Isa, NanPolicy, Overflow, Policy, Rounding, Unpacked};

/// Values around what formats decide on, in an order that mixes magnitudes, and random patterns:
/// not a multiple of any block, so that tails run too.
fn inputs<S: Source>(n: usize) -> Vec<S> {
    let tops = (0..=255u8).step_by(5).flat_map(|top| structured_f32(top).into_iter().step_by(397));
    let structured = tops.map(|x| narrow::<S>(x.into()));
    let random = (0..n as u64).map(|i| S::from_word(u64::from(STREAM.word(i)) << 32 | !i));
    let random = random.chain((0..n as u64).map(|i| S::from_word(STREAM.word(i).into())));
    let mut all: Vec<S> = structured.chain(random).collect();
    let len = all.len();
    for i in 0..len {
        all.swap(i, STREAM.word(i as u64) as usize % len);
    }
    all
}

fn narrow<S: Source>(x: f64) -> S {
    S::from_word(match S::NAME {
        "f64" => (x * (1.0 + 2f64.powi(-33))).to_bits(),
        "f32" => (x as f32).to_bits().into(),
        "f16" => f16::from_f64(x).to_bits().into(),
        _ => bf16::from_f64(x).to_bits().into(),
    })
}

/// fl(x · scale) of the definition: f64 is f32 first, and NaN takes the product of the signs.
fn scaled<S: Source>(x: S, scale: f32) -> Unpacked {
    let x = x.to_f64() as f32;
    let negative = x.is_sign_negative() != scale.is_sign_negative();
    Unpacked::from_f32(x.abs() * scale.abs()).with_sign(negative)
}

/// A conversion of one source to one format on every instruction set.
struct Case<'a, S> {
    spec: &'a FormatSpec,
    policy: Policy,
    scale: Option<f32>,
    x: &'a [S],
}

impl<S: Source> Case<'_, S> {
    fn reference(&self, i: usize) -> u64 {
        let x = match self.scale {
            None => self.x[i].unpacked(),
            Some(scale) => scaled(self.x[i], scale),
        };
        x.encode(self.spec, self.policy, STREAM.word(i as u64)).unwrap()
    }

    fn stats(&self, codes: &[u64]) -> QuantStats {
        let mut stats = QuantStats::default();
        let mut amax = 0.0f64;
        for (x, code) in self.x.iter().zip(codes) {
            let value = x.to_f64().abs();
            if value.is_nan() {
                stats.nan += 1;
                continue;
            }
            amax = amax.max(value);
            let beyond = match self.scale {
                None => value,
                Some(scale) => f64::from(value as f32 * scale.abs()),
            };
            stats.saturated += u64::from(beyond > self.spec.max());
            stats.flushed += u64::from(value != 0.0 && self.spec.decode_f64(*code) == 0.0);
        }
        stats.amax = amax as f32;
        stats
    }

    fn run(&self) {
        let Self { spec, policy, scale, x } = *self;
        let want: Vec<u64> = (0..x.len()).map(|i| self.reference(i)).collect();
        let stats = self.stats(&want);
        for isa in Isa::available() {
            let mut options = options(policy, isa);
            if let Some(scale) = scale {
                options = options.scale(scale);
            }
            let path = format!("{}, scale {scale:?}", isa.name());
            let check = |kind: &str, got: &[u64]| {
                assert_codes(spec, policy, format_args!("{path}, {kind}"), x, got, &want);
            };
            check("codes", &common::encode_slice(spec, x, &options));
            let (got, counted) = with_stats(spec, S::values(x), &options);
            check("codes with statistics", &got);
            assert_eq!(counted, stats, "{} {policy:?} {path}, {}", spec.name(), S::NAME);
            if let Ok(bytes) = spec.packed_len(x.len()) {
                let (mut packed, mut codes) = (vec![0xff; bytes], vec![0xff; x.len()]);
                encode(spec, S::values(x), CodesMut::Packed(&mut packed), &options).unwrap();
                spec.unpack(&packed, &mut codes).unwrap();
                check("packed", &codes.iter().map(|c| u64::from(*c)).collect::<Vec<_>>());
            }
        }
    }
}

fn with_stats(spec: &FormatSpec, x: Values, options: &EncodeOptions) -> (Vec<u64>, QuantStats) {
    if spec.storage_bits() == 8 {
        let mut codes = vec![0u8; x.len()];
        let stats = encode_stats(spec, x, CodesMut::U8(&mut codes), options).unwrap();
        (codes.into_iter().map(u64::from).collect(), stats)
    } else {
        let mut codes = vec![0u16; x.len()];
        let stats = encode_stats(spec, x, CodesMut::U16(&mut codes), options).unwrap();
        (codes.into_iter().map(u64::from).collect(), stats)
    }
}

fn every_policy<S: Source>() {
    let x = inputs::<S>(common::share(1500));
    let formats: Vec<FormatId> = common::formats().collect();
    common::parallel(formats.len(), |i| {
        let spec = formats[i].spec();
        for policy in policies(&ROUNDINGS) {
            for scale in [None, Some(1.25), Some(3e-5), Some(-0.3)] {
                Case { spec, policy, scale, x: &x }.run();
            }
        }
    });
}

#[test]
fn from_f64() {
    every_policy::<f64>();
}

#[test]
fn from_f32() {
    every_policy::<f32>();
}

#[test]
fn from_f16() {
    every_policy::<f16>();
}

#[test]
fn from_bf16() {
    every_policy::<bf16>();
}

/// Scales that are no ordinary number, and the other choice for NaN.
#[test]
fn odd_scales_and_nan_policies() {
    let x = inputs::<f32>(common::share(1500));
    let scales = [0.0, -0.0, f32::MIN_POSITIVE, 1e-45, 1e38, f32::INFINITY, f32::NAN];
    for id in common::formats() {
        for nan in [NanPolicy::Zero, NanPolicy::Max] {
            for overflow in [Overflow::NonFinite, Overflow::Saturate] {
                for rounding in [Rounding::NearestEven, Rounding::Up, Rounding::STOCHASTIC] {
                    let policy = Policy { rounding, overflow, nan };
                    for scale in scales {
                        let spec = id.spec();
                        let want: Vec<u64> = (0..x.len())
                            .map(|i| {
                                let x = scaled(x[i], scale);
                                x.encode(spec, policy, STREAM.word(i as u64)).unwrap()
                            })
                            .collect();
                        for isa in Isa::available() {
                            let options = options(policy, isa).scale(scale);
                            let got = common::encode_slice(spec, &x, &options);
                            let path = format!("{}, scale {scale:e}", isa.name());
                            assert_codes(spec, policy, path, &x, &got, &want);
                        }
                    }
                }
            }
        }
    }
}

/// The caller's own words instead of a stream.
#[test]
fn given_words() {
    let x = inputs::<f32>(common::share(3000));
    let words: Vec<u32> = (0..x.len() as u64).map(|i| STREAM.word(i)).collect();
    for id in common::formats() {
        for policy in policies(&ROUNDINGS[5..]) {
            let want = common::encode_scalars(id.spec(), &x, policy);
            for isa in Isa::available() {
                let options = EncodeOptions::new(policy).isa(isa).random(Random::Words(&words));
                let got = common::encode_slice(id.spec(), &x, &options);
                assert_codes(id.spec(), policy, isa.name(), &x, &got, &want);
            }
        }
    }
}

// ---------------------------------------------------------------- decoding

/// A destination, and what a code should be in it.
trait Target: Source + Default {
    fn decode(spec: &FormatSpec, codes: Codes, dst: &mut [Self], options: &DecodeOptions);
    fn want(x: Unpacked, scale: Option<f32>) -> Self;
}

macro_rules! targets {
    ($($type:ty: $id:ident;)*) => { $(
        impl Target for $type {
            fn decode(spec: &FormatSpec, codes: Codes, dst: &mut [Self], options: &DecodeOptions) {
                decode(spec, codes, dst, options).expect("lengths fit");
            }
            fn want(x: Unpacked, scale: Option<f32>) -> Self {
                let x = match scale {
                    None => x,
                    Some(scale) => Unpacked::from_f32(x.to_f32() * scale),
                };
                Self::from_word(x.encode(FormatId::$id.spec(), Policy::NONFINITE, 0).unwrap())
            }
        }
    )* };
}
targets! { f64: F64; f32: F32; f16: F16; bf16: Bf16; }

fn decoded<T: Target>() {
    for id in common::formats() {
        let spec = id.spec();
        // Every code, in an order that mixes them; of 8-bit storage also with high bits to ignore.
        let n = 1usize << spec.storage_bits();
        let codes: Vec<u64> = (0..n + 77).map(|i| (i * 167 % n) as u64).collect();
        let bytes: Vec<u8> = codes.iter().map(|c| *c as u8).collect();
        let shorts: Vec<u16> = codes.iter().map(|c| *c as u16).collect();
        let masked: Vec<u8> = bytes.iter().map(|c| c & spec.code_mask() as u8).collect();
        for scale in [None, Some(1.0f32), Some(0.37), Some(-3e30), Some(1e-38), Some(f32::NAN)] {
            let want: Vec<T> =
                codes.iter().map(|c| T::want(Unpacked::decode(spec, *c), scale)).collect();
            for isa in Isa::available() {
                let mut options = DecodeOptions::new().isa(isa).threads(1);
                if let Some(scale) = scale {
                    options = options.scale_inv(scale);
                }
                let check = |got: &[T], kind: &str| {
                    for i in 0..got.len() {
                        let nans = got[i].to_f64().is_nan() && want[i].to_f64().is_nan();
                        assert!(
                            got[i].hex() == want[i].hex() || nans && scale.is_some(),
                            "{} code {:#x} ({kind}) to {}, {}, scale {scale:?}: got {} ({:e}), \
                             want {} ({:e})",
                            spec.name(),
                            codes[i],
                            T::NAME,
                            isa.name(),
                            got[i].hex(),
                            got[i].to_f64(),
                            want[i].hex(),
                            want[i].to_f64(),
                        );
                    }
                };
                let mut got = vec![T::default(); codes.len()];
                let there = if n > 256 { Codes::U16(&shorts) } else { Codes::U8(&bytes) };
                T::decode(spec, there, &mut got, &options);
                check(&got, "a code each");
                if let Ok(len) = spec.packed_len(codes.len()) {
                    let mut packed = vec![0; len];
                    spec.pack(&masked, &mut packed).unwrap();
                    let mut got = vec![T::default(); codes.len()];
                    T::decode(spec, Codes::Packed(&packed), &mut got, &options);
                    check(&got, "packed");
                }
            }
        }
    }
}

#[test]
fn to_f64() {
    decoded::<f64>();
}

#[test]
fn to_f32() {
    decoded::<f32>();
}

#[test]
fn to_f16() {
    decoded::<f16>();
}

#[test]
fn to_bf16() {
    decoded::<bf16>();
}

// ---------------------------------------------------------------- large slices

/// Above 8 MiB stores go around the cache: the same codes and values.
#[test]
fn large_slices() {
    let n = if common::share(16) == 1 { 1 << 18 } else { (3 << 20) + 4097 };
    let x: Vec<f32> = (0..n as u64).map(|i| f32::from_bits(STREAM.word(i))).collect();
    let spec = FormatId::F8E4M3.spec();
    let want: Vec<u8> = x.iter().map(|x| quarter::F8E4M3::from_f32_sat(*x).to_bits()).collect();
    let values: Vec<u32> = want.iter().map(|c| spec.decode_f32((*c).into()).to_bits()).collect();
    for isa in Isa::available() {
        // An odd start: vectors are not aligned.
        for start in [0, 1, 13] {
            let mut codes = vec![0u8; n];
            let to = CodesMut::U8(&mut codes[start..]);
            encode(spec, &x[start..], to, &options(Policy::SATURATE, isa)).unwrap();
            let wrong = (start..n).find(|i| codes[*i] != want[*i]);
            assert_eq!(wrong.map(|i| (i, x[i], codes[i], want[i])), None, "{isa:?} from {start}");
            let mut back = vec![0.0f32; n];
            let options = DecodeOptions::new().isa(isa).threads(1);
            decode(spec, &want[start..], &mut back[start..], &options).unwrap();
            let wrong = (start..n).find(|i| back[*i].to_bits() != values[*i]);
            assert_eq!(wrong.map(|i| (i, want[i], back[i])), None, "{isa:?} from {start}");
            let mut back = vec![bf16::ZERO; n];
            decode(spec, &want[start..], &mut back[start..], &options).unwrap();
            let wrong = (start..n).find(|i| u32::from(back[*i].to_bits()) << 16 != values[*i]);
            assert_eq!(wrong.map(|i| (i, want[i], back[i])), None, "{isa:?} from {start}");
        }
    }
}

/// Best first, scalar last, each once, and found by its name.
#[test]
fn available() {
    let all: Vec<Isa> = Isa::available().collect();
    assert_eq!(all.last(), Some(&Isa::SCALAR));
    for isa in &all {
        assert_eq!(Isa::named(isa.name()), Ok(*isa));
        assert_eq!(all.iter().filter(|other| *other == isa).count(), 1);
    }
    assert!(Isa::named("avx1024").is_err());
    let asked = std::env::var("QUARTER_ISA").unwrap_or_default();
    let best = if asked.is_empty() { all[0].name() } else { &asked };
    assert_eq!(Isa::best().name(), best);
}
