//! Codes of one format to codes of another, and the policies as text.

use quarter::slice::{Codes, CodesMut, EncodeOptions, Random, transcode};
use quarter::{Error, FormatId, NanPolicy, Overflow, Policy, RandomStream, Rounding, Unpacked};

const STREAM: RandomStream = RandomStream { seed: 5, tensor: 6, step: 7 };

/// Every code of every format of up to 16 bits into every other, by slice and by definition.
#[test]
fn every_code_into_every_format() {
    let formats = || FormatId::ALL.iter().filter(|id| id.spec().bits() <= 16);
    for (n, (from, to)) in formats().flat_map(|a| formats().map(move |b| (a, b))).enumerate() {
        let (from, to) = (from.spec(), to.spec());
        let codes: Vec<u16> = (0..=from.code_mask() as u16).collect();
        let bytes: Vec<u8> = codes.iter().map(|c| *c as u8).collect();
        let mut roundings = Rounding::DETERMINISTIC.to_vec();
        roundings.push(Rounding::STOCHASTIC);
        let policy = Policy::default().rounding(roundings[n % roundings.len()]);
        for policy in [policy, policy.overflow(Overflow::Saturate)] {
            let random = Random::Stream { stream: STREAM, start: 0 };
            let options = EncodeOptions::new(policy).random(random);
            let src = || if from.bits() > 8 { Codes::U16(&codes) } else { Codes::U8(&bytes) };
            let (mut out8, mut out16) = (vec![0u8; codes.len()], vec![0u16; codes.len()]);
            let got: Vec<u64> = if to.bits() > 8 {
                transcode(from, src(), to, &mut out16, &options).unwrap();
                out16.iter().map(|c| (*c).into()).collect()
            } else {
                transcode(from, src(), to, &mut out8, &options).unwrap();
                out8.iter().map(|c| (*c).into()).collect()
            };
            for (i, code) in codes.iter().enumerate() {
                let x = Unpacked::decode(from, (*code).into());
                let want = x.encode(to, policy, STREAM.word(i as u64)).unwrap();
                let (a, b) = (from.name(), to.name());
                assert_eq!(got[i], want, "{a} {code:#x} to {b} {policy}: {:#x}", got[i]);
            }
        }
    }
}

#[test]
fn wide_and_packed_codes() {
    let (f64s, f32s) = (FormatId::F64.spec(), FormatId::F32.spec());
    // A double-rounding trap: through f32 it would be a tie.
    let trap = [(1.0 + 2f64.powi(-4) + 2f64.powi(-40)).to_bits()];
    let (mut e4m3, options) = ([0u8; 1], EncodeOptions::new(Policy::NONFINITE));
    transcode(f64s, &trap, FormatId::F8E4M3.spec(), &mut e4m3, &options).unwrap();
    assert_eq!(e4m3, [0x39]);
    let mut bits = [0u32; 1];
    transcode(f64s, &[0.1f64.to_bits()], f32s, &mut bits, &options).unwrap();
    assert_eq!(bits, [0.1f32.to_bits()]);

    let (e3m2, e2m1) = (FormatId::F6E3M2.spec(), FormatId::F4E2M1.spec());
    for n in [0usize, 1, 2, 3, 5, 4095, 4096, 4097, 8193] {
        let codes: Vec<u8> = (0..n).map(|i| (i * 7 % 64) as u8).collect();
        let mut packed = vec![0; e3m2.packed_len(n).unwrap()];
        e3m2.pack(&codes, &mut packed).unwrap();
        let (mut plain, mut unpacked) = (vec![0u8; n], vec![0u8; n]);
        transcode(e3m2, &codes, e2m1, &mut plain, &options).unwrap();
        transcode(e3m2, Codes::Packed(&packed), e2m1, &mut unpacked, &options).unwrap();
        assert_eq!(plain, unpacked);
        let mut narrow = vec![0; e2m1.packed_len(n).unwrap()];
        transcode(e3m2, &codes, e2m1, CodesMut::Packed(&mut narrow), &options).unwrap();
        e2m1.unpack(&narrow, &mut unpacked).unwrap();
        assert_eq!(plain, unpacked);
    }
}

#[test]
fn refused_and_untouched() {
    let (e4m3, e2m1) = (FormatId::F8E4M3.spec(), FormatId::F4E2M1.spec());
    let options = EncodeOptions::new(Policy::default().nan(NanPolicy::Error));
    let mut codes = vec![0x38u8; 5000];
    codes[4500] = 0xff;
    let mut out = vec![9u8; 5000];
    let error = transcode(e4m3, &codes, e2m1, &mut out, &options);
    assert_eq!(error, Err(Error::Nan { format: "e2m1", index: 4500 }));
    let error = transcode(e4m3, &codes[1..], e2m1, &mut out, &options).unwrap_err();
    assert_eq!(error.to_string(), "destination has 5000 elements, but 4999 are needed");
    let error = transcode(FormatId::Bf16.spec(), &codes, e2m1, &mut out, &options).unwrap_err();
    assert_eq!(error.to_string(), "codes of bf16 are u16, not u8");
    assert!(out.iter().all(|c| *c == 9));
}

/// `FromStr` reads what `Display` writes, and names what it does not know.
#[test]
fn policies_as_text() {
    let mut roundings = Rounding::DETERMINISTIC.to_vec();
    for bits in 8..=32 {
        roundings.extend([
            Rounding::Stochastic { bits },
            Rounding::StochasticEven { bits },
            Rounding::StochasticOdd { bits },
            Rounding::StochasticFast { bits },
        ]);
    }
    for rounding in roundings {
        assert_eq!(rounding.to_string().parse(), Ok(rounding));
    }
    for overflow in [Overflow::NonFinite, Overflow::Saturate] {
        assert_eq!(overflow.to_string().parse(), Ok(overflow));
    }
    for nan in [NanPolicy::Zero, NanPolicy::Max, NanPolicy::Error] {
        assert_eq!(nan.to_string().parse(), Ok(nan));
    }
    assert_eq!(Policy::SATURATE.to_string(), "rne,sat,nan=zero");
    let error = "stochastic:7".parse::<Rounding>().unwrap_err().to_string();
    assert_eq!(error, "number of random bits is 7, outside 8..=32");
    for text in ["", "rne:8", "stochastic:", "stochastic:x", "nearest"] {
        let error = text.parse::<Rounding>().unwrap_err().to_string();
        assert!(error.starts_with(&format!("{text:?} is no rounding (rne, ")), "{error}");
    }
    let error = "clip".parse::<Overflow>().unwrap_err().to_string();
    assert_eq!(error, "\"clip\" is no overflow policy (of sat nonfinite)");
}
