//! Slices: any length at any offset gives the scalars' codes, a wrong call is an error that leaves
//! everything as it was, and statistics are what a plain count says.

mod common;

use common::{STREAM, Source, assert_codes, encode_scalars, options};
use half::{bf16, f16};
use quarter::slice::{
    Codes, CodesMut, DecodeOptions, EncodeOptions, FormatSliceExt, FormatVecExt, QuantStats,
    Random, Values, decode, encode, encode_stats,
};
use quarter::{Error, F8E4M3, F8E5M2, FormatId, FormatSpec, Isa, NanPolicy, Policy, Rounding};

/// Values of every magnitude that formats have, and NaN, Inf and zeros among them.
fn inputs<S: Source>(n: usize) -> Vec<S> {
    let value = |i: u64| {
        let word = STREAM.word(i);
        match word % 16 {
            0 => [0.0, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY][word as usize / 16 % 5],
            _ => {
                let exponent = (STREAM.word(i + (1 << 20)) % 56) as i32 - 28;
                (1.0 + f64::from(word) / 2f64.powi(32)) * 2f64.powi(exponent)
            }
        }
    };
    (0..n as u64).map(|i| from_f64(value(i))).collect()
}

fn from_f64<S: Source>(x: f64) -> S {
    S::from_word(match S::NAME {
        "f64" => x.to_bits(),
        "f32" => (x as f32).to_bits().into(),
        "f16" => f16::from_f64(x).to_bits().into(),
        _ => bf16::from_f64(x).to_bits().into(),
    })
}

fn lengths_and_offsets<S: Source>() {
    const LONGEST: usize = 200;
    const OFFSETS: [usize; 4] = [0, 1, 3, 8];
    let x = inputs::<S>(LONGEST + 8);
    for spec in FormatId::ALL.iter().map(|id| id.spec()) {
        for rounding in [Rounding::NearestEven, Rounding::Up, Rounding::STOCHASTIC] {
            let policy = Policy::SATURATE.rounding(rounding);
            // With no start given to the stream, words follow the position in the slice.
            let want = OFFSETS.map(|offset| encode_scalars(spec, &x[offset..], policy));
            for isa in Isa::available() {
                let options = options(policy, isa);
                for len in 0..=LONGEST {
                    for (offset, want) in OFFSETS.iter().zip(&want) {
                        let x = &x[*offset..offset + len];
                        let got = common::encode_slice(spec, x, &options);
                        assert_codes(spec, policy, isa.name(), x, &got, &want[..len]);
                    }
                }
            }
        }
    }
}

#[test]
fn lengths_and_offsets_of_f64() {
    lengths_and_offsets::<f64>();
}

#[test]
fn lengths_and_offsets_of_f32() {
    lengths_and_offsets::<f32>();
}

#[test]
fn lengths_and_offsets_of_f16() {
    lengths_and_offsets::<f16>();
}

#[test]
fn lengths_and_offsets_of_bf16() {
    lengths_and_offsets::<bf16>();
}

/// Nothing is written beside the destination, and codes there decode to their values.
#[test]
fn neighbours_of_a_destination_are_untouched() {
    let x = inputs::<f32>(300);
    for id in common::narrow_formats() {
        let spec = id.spec();
        for isa in Isa::available() {
            for (start, len) in (0..5).flat_map(|s| (0..150).map(move |l| (s, l))) {
                let mut codes = [0xa5u8; 300];
                let to = CodesMut::U8(&mut codes[start..start + len]);
                encode(spec, &x[..len], to, &options(Policy::SATURATE, isa)).unwrap();
                let outside = codes[..start].iter().chain(&codes[start + len..]);
                assert!(outside.copied().all(|c| c == 0xa5), "{id} {isa:?} {start} {len}");
                let mut values = [7.5f32; 300];
                let from = Codes::U8(&codes[start..start + len]);
                let options = DecodeOptions::new().isa(isa);
                decode(spec, from, &mut values[start..start + len], &options).unwrap();
                let outside = values[..start].iter().chain(&values[start + len..]);
                assert!(outside.copied().all(|v| v == 7.5), "{id} {isa:?} {start} {len}");
                for i in start..start + len {
                    let want = spec.decode_f32(codes[i].into());
                    assert_eq!(values[i].to_bits(), want.to_bits(), "{id} {isa:?} [{i}]");
                }
            }
        }
    }
}

/// Packed codes of every length, through the cuts between pieces too.
#[test]
fn packed_lengths() {
    let lengths = (0..200).chain([2047, 2048, 2049, 2050, 2051, 4095, 4097, 6145]);
    let x = inputs::<f32>(6145);
    for spec in [FormatId::F4E2M1, FormatId::F6E2M3, FormatId::F6E3M2].map(FormatId::spec) {
        let want: Vec<u8> =
            encode_scalars(spec, &x, Policy::SATURATE).iter().map(|c| *c as u8).collect();
        for len in lengths.clone() {
            let mut expected = vec![0; spec.packed_len(len).unwrap()];
            spec.pack(&want[..len], &mut expected).unwrap();
            for isa in Isa::available() {
                let mut packed = vec![0xff; expected.len()];
                let options = options(Policy::SATURATE, isa);
                encode(spec, &x[..len], CodesMut::Packed(&mut packed), &options).unwrap();
                assert!(packed == expected, "{} {isa:?}: {len} codes", spec.name());
                let mut values = vec![0.0f64; len];
                let options = DecodeOptions::new().isa(isa);
                decode(spec, Codes::Packed(&packed), &mut values[..], &options).unwrap();
                let code = |i: &usize| spec.decode_f64(want[*i].into()).to_bits();
                let wrong = (0..len).find(|i| values[*i].to_bits() != code(i));
                assert_eq!(wrong, None, "{} {isa:?}: {len} codes", spec.name());
            }
        }
    }
}

// ---------------------------------------------------------------- errors

const SENTINEL: u8 = 0xa5;

/// Fails unless the call is this error and wrote nothing.
#[track_caller]
fn refused(spec: &FormatSpec, x: Values, n: usize, options: &EncodeOptions, want: Error) {
    // Operands are named in words that may change: the numbers may not.
    let numbers = |error: Error| match error {
        Error::Length { expected, got, .. } => Error::Length { what: "", expected, got },
        other => other,
    };
    let mut codes = vec![SENTINEL; n];
    let got = encode_stats(spec, x, CodesMut::U8(&mut codes), options);
    assert_eq!(got.map_err(numbers), Err(numbers(want)));
    assert!(codes.iter().all(|c| *c == SENTINEL), "half-written");
    let got = encode(spec, x, CodesMut::U8(&mut codes), options);
    assert_eq!(got.map_err(numbers), Err(numbers(want)));
    assert!(codes.iter().all(|c| *c == SENTINEL), "half-written");
    assert!(!want.to_string().is_empty());
}

#[test]
fn wrong_lengths_and_widths() {
    let x = [1.0f32; 100];
    let e4m3 = FormatId::F8E4M3.spec();
    let plain = EncodeOptions::new(Policy::SATURATE);
    for n in [0, 99, 101] {
        let want = Error::Length { what: "destination", expected: 100, got: n };
        refused(e4m3, Values::F32(&x), n, &plain, want);
    }
    let bf16_spec = FormatId::Bf16.spec();
    let want = Error::CodeWidth { format: "bf16", expected: 16, got: 8 };
    refused(bf16_spec, Values::F32(&x), 100, &plain, want);
    let mut codes = [0u16; 100];
    let got = encode(e4m3, &x, CodesMut::U16(&mut codes), &plain);
    assert_eq!(got, Err(Error::CodeWidth { format: "e4m3", expected: 8, got: 16 }));
    let mut packed = [SENTINEL; 50];
    let got = encode(e4m3, &x, CodesMut::Packed(&mut packed), &plain);
    assert_eq!(got, Err(Error::NotPackable { format: "e4m3", bits: 8 }));
    let e2m1 = FormatId::F4E2M1.spec();
    let got = encode(e2m1, &x, CodesMut::Packed(&mut packed[..49]), &plain);
    assert!(matches!(got, Err(Error::Length { expected: 50, got: 49, .. })), "{got:?}");
    assert_eq!(packed, [SENTINEL; 50]);

    let mut values = [7.5f32; 100];
    let options = DecodeOptions::new();
    for n in [0, 99, 101] {
        let got = decode(e4m3, &vec![0u8; n][..], &mut values, &options);
        let Err(Error::Length { got, .. }) = got else { panic!("{n} codes: {got:?}") };
        assert_eq!(got, n);
    }
    let got = decode(e4m3, &[0u16; 100], &mut values, &options);
    assert_eq!(got, Err(Error::CodeWidth { format: "e4m3", expected: 8, got: 16 }));
    assert_eq!(values, [7.5; 100]);

    let mut numbers = [F8E4M3::ONE; 3];
    assert!(numbers.convert_from_f32_slice(&[0.0; 2]).is_err());
    assert!(numbers.convert_to_f64_slice(&mut [0.0; 4]).is_err());
    assert_eq!(numbers, [F8E4M3::ONE; 3]);
}

#[test]
fn random_words_missing_or_too_few() {
    let x = [1.03f32; 100];
    let e4m3 = FormatId::F8E4M3.spec();
    let policy = |bits| Policy::SATURATE.rounding(Rounding::Stochastic { bits });
    let options = EncodeOptions::new(policy(32));
    refused(e4m3, Values::F32(&x), 100, &options, Error::RandomMissing);
    for n in [0, 99, 101] {
        let words = vec![0; n];
        let want = Error::Length { what: "random words", expected: 100, got: n };
        refused(e4m3, Values::F32(&x), 100, &options.random(Random::Words(&words)), want);
    }
    for bits in [0, 7, 33, 255] {
        let options = EncodeOptions::new(policy(bits)).random(Random::Words(&[0; 100]));
        let (what, got) = ("number of random bits", i64::from(bits));
        let want = Error::Range { what, got, min: 8, max: 32 };
        refused(e4m3, Values::F32(&x), 100, &options, want);
    }
    // A deterministic rounding reads no words.
    let options = EncodeOptions::new(Policy::SATURATE).random(Random::Words(&[]));
    assert!(encode(e4m3, &x, &mut [0u8; 100], &options).is_ok());
}

/// The error names the first NaN; formats that have one take it.
#[test]
fn nan_as_an_error() {
    let options = EncodeOptions::new(Policy::SATURATE.nan(NanPolicy::Error));
    for at in [0, 1, 63, 64, 2047, 2048, 2999] {
        let mut x = vec![1.0f32; 3000];
        x[at] = f32::NAN;
        x[2999] = f32::NAN;
        for id in [FormatId::F4E2M1, FormatId::F6E2M3, FormatId::F6E3M2] {
            let want = Error::Nan { format: id.name(), index: at };
            refused(id.spec(), Values::F32(&x), 3000, &options, want);
            let wide: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
            refused(id.spec(), Values::F64(&wide), 3000, &options, want);
        }
        assert!(encode(FormatId::F8E4M3.spec(), &x[..], &mut [0u8; 3000][..], &options).is_ok());
    }
    // 0 · Inf is one that the scale makes.
    let want = Error::Nan { format: "e2m1", index: 1 };
    let x = [1.0, f32::INFINITY];
    refused(FormatId::F4E2M1.spec(), Values::F32(&x), 2, &options.scale(0.0), want);
}

// ---------------------------------------------------------------- statistics

#[test]
fn statistics_are_a_plain_count() {
    let x = inputs::<f32>(10_000);
    for id in common::narrow_formats() {
        for scale in [None, Some(1.0f32), Some(1000.0), Some(1e-4)] {
            let spec = id.spec();
            let mut want = QuantStats::default();
            for value in x.iter().copied() {
                let scaled = f64::from(value.abs() * scale.unwrap_or(1.0));
                if value.is_nan() {
                    want.nan += 1;
                    continue;
                }
                want.amax = want.amax.max(value.abs());
                want.saturated += u64::from(scaled > spec.max());
                // Half the smallest number is the last that becomes zero.
                let zero = spec.has_zero() && scaled <= spec.min_positive() / 2.0;
                want.flushed += u64::from(value != 0.0 && zero);
            }
            for isa in Isa::available() {
                let mut options = EncodeOptions::new(Policy::SATURATE).isa(isa);
                if let Some(scale) = scale {
                    options = options.scale(scale);
                }
                for len in [0, 1, 63, 64, 65, 100, 4097, x.len()] {
                    let mut codes = vec![0u8; len];
                    let got = encode_stats(spec, &x[..len], &mut codes[..], &options).unwrap();
                    if len == x.len() {
                        assert_eq!(got, want, "{id} {isa:?} scale {scale:?}");
                    }
                    assert_eq!(got.nan as usize, x[..len].iter().filter(|x| x.is_nan()).count());
                }
            }
        }
    }
}

/// Exactly the largest number is not saturated; what rounds to it is.
#[test]
fn saturated_is_above_the_largest() {
    let x = [448.0f32, -448.0, 448.00003, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 0.0, 1e-9];
    let mut codes = [F8E4M3::ZERO; 8];
    let stats = codes.convert_from_stats(&x, &EncodeOptions::new(Policy::SATURATE)).unwrap();
    let want = QuantStats { amax: f32::INFINITY, saturated: 3, flushed: 1, nan: 1 };
    assert_eq!(stats, want);
}

// ---------------------------------------------------------------- half's names

#[test]
fn halfs_names() {
    let x = inputs::<f32>(1000);
    let wide: Vec<f64> = x.iter().map(|x| f64::from(*x) * (1.0 + 1e-12)).collect();
    let mut numbers = vec![F8E5M2::ZERO; x.len()];
    numbers.convert_from_f32_slice(&x).unwrap();
    assert_eq!(numbers.reinterpret_cast(), Vec::<F8E5M2>::from_f32_slice(&x).reinterpret_cast());
    for (x, y) in x.iter().zip(&numbers) {
        assert_eq!(F8E5M2::from_f32(*x).to_bits(), y.to_bits(), "{x:e}");
    }
    let values = numbers.to_f32_vec();
    assert!(values.iter().zip(&numbers).all(|(v, n)| v.to_bits() == n.to_f32().to_bits()));
    numbers.convert_from_f64_slice(&wide).unwrap();
    assert_eq!(numbers.reinterpret_cast(), Vec::<F8E5M2>::from_f64_slice(&wide).reinterpret_cast());
    for (x, y) in wide.iter().zip(&numbers) {
        assert_eq!(F8E5M2::from_f64(*x).to_bits(), y.to_bits(), "{x:e}");
    }
    let stats = numbers.convert_from_f32_slice_scaled(&x, 0.5).unwrap();
    assert!(stats.nan > 0 && stats.saturated > 0);
    let mut back = vec![0.0; x.len()];
    numbers.convert_to_f32_slice_scaled(&mut back, 2.0).unwrap();
    for (n, v) in numbers.iter().zip(back) {
        assert!((n.to_f32() * 2.0).to_bits() == v.to_bits() || v.is_nan());
    }
    assert_eq!(<[F8E5M2]>::from_codes(numbers.reinterpret_cast()).len(), numbers.len());
}
