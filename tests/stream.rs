//! Slices so long that stores go around the cache give what their pieces give, wherever they begin.
//! Only x86-64 has such stores.
#![cfg(target_arch = "x86_64")]

use half::bf16;
use quarter::slice::{
    Codes, CodesMut, DecodeOptions, EncodeOptions, QuantStats, Random, Values, decode, encode_stats,
};
use quarter::{FormatId, FormatSpec, Isa, Policy, RandomStream, Rounding};

/// Source and destination of it are over 8 MiB in every conversion here.
const LEN: usize = 2_900_003;
/// A piece that is not long; a multiple of four for packed codes.
const SHORT: usize = 100_000;
const STREAM: RandomStream = RandomStream { seed: 2, tensor: 3, step: 4 };

fn floats() -> Vec<f32> {
    (0..LEN as u64).map(|i| f32::from_bits(STREAM.word(i))).collect()
}

fn policies() -> [Policy; 3] {
    let stochastic = Policy::SATURATE.rounding(Rounding::STOCHASTIC);
    [Policy::NONFINITE, Policy::SATURATE.rounding(Rounding::Up), stochastic]
}

/// Encodes at an offset into a longer buffer, whole and in pieces; the surroundings stay.
fn encodes<'s, T: 's + Copy>(spec: &FormatSpec, x: &'s [T], offset: usize)
where
    &'s [T]: Into<Values<'s>>,
{
    for isa in Isa::available() {
        for policy in policies() {
            let options = |start| {
                let random = Random::Stream { stream: STREAM, start };
                EncodeOptions::new(policy).isa(isa).threads(1).scale(0.5).random(random)
            };
            macro_rules! both {
                ($int:ty) => {{
                    let mut whole = vec![<$int>::MAX; LEN + 64];
                    let mut pieces = whole.clone();
                    let inner = &mut whole[offset..offset + LEN];
                    let stats = encode_stats(spec, x, inner, &options(0)).unwrap();
                    let mut sum = QuantStats::default();
                    let inner = &mut pieces[offset..offset + LEN];
                    for (i, (s, d)) in x.chunks(SHORT).zip(inner.chunks_mut(SHORT)).enumerate() {
                        let options = options((i * SHORT) as u64);
                        sum = sum.merge(encode_stats(spec, s, d, &options).unwrap());
                    }
                    assert!(whole == pieces, "{} {policy} {isa:?} {offset}", spec.name());
                    assert_eq!(stats, sum, "{} {policy} {isa:?} {offset}", spec.name());
                }};
            }
            if spec.bits() > 8 { both!(u16) } else { both!(u8) }
        }
    }
}

#[test]
fn long_slices_encode_as_their_pieces() {
    let x = floats();
    let narrow: Vec<bf16> = x.iter().map(|x| bf16::from_f32(*x)).collect();
    let wide: Vec<f64> = x.iter().map(|x| f64::from(*x) * 1.000_001).collect();
    for (id, offset) in [(FormatId::F8E4M3, 0), (FormatId::F8E5M2FNUZ, 1), (FormatId::F6E2M3, 63)] {
        encodes(id.spec(), &x, offset);
        encodes(id.spec(), &narrow, offset);
    }
    encodes(FormatId::F8E4M3.spec(), &wide, 5);
    encodes(FormatId::Bf16.spec(), &x, 3);
    encodes(FormatId::F16.spec(), &x, 0);
    encodes(FormatId::Bf16.spec(), &wide, 1);
}

/// The plain conversion to bf16, without a scale.
#[test]
fn long_slices_narrow_as_their_pieces() {
    let (x, spec) = (floats(), FormatId::Bf16.spec());
    for isa in Isa::available() {
        let options = EncodeOptions::new(Policy::NONFINITE).isa(isa).threads(1);
        let (mut whole, mut pieces) = (vec![0u16; LEN + 1], vec![0u16; LEN + 1]);
        encode_stats(spec, &x, &mut whole[1..], &options).unwrap();
        quarter::slice::encode(spec, &x, &mut pieces[1..], &options).unwrap();
        assert!(whole == pieces, "{isa:?}");
        for (s, d) in x.chunks(SHORT).zip(pieces[1..].chunks_mut(SHORT)) {
            quarter::slice::encode(spec, s, d, &options).unwrap();
        }
        assert!(whole == pieces, "{isa:?}");
    }
}

#[test]
fn long_slices_decode_as_their_pieces() {
    let codes: Vec<u8> = (0..LEN as u64).map(|i| STREAM.word(i) as u8).collect();
    let wide: Vec<u16> = (0..LEN as u64).map(|i| STREAM.word(i) as u16).collect();
    for (id, offset) in [
        (FormatId::F8E4M3, 0),
        (FormatId::F8E4M3FNUZ, 1),
        (FormatId::E8M0, 5),
        (FormatId::F4E2M1, 63),
        (FormatId::Bf16, 3),
        (FormatId::F16, 2),
    ] {
        let spec = id.spec();
        let src = |from: usize, to: usize| {
            if spec.bits() > 8 { Codes::U16(&wide[from..to]) } else { Codes::U8(&codes[from..to]) }
        };
        for isa in Isa::available() {
            for scale in [None, Some(0.75)] {
                let options = DecodeOptions::new().isa(isa).threads(1);
                let options = scale.map_or(options, |scale| options.scale_inv(scale));
                macro_rules! both {
                    ($type:ty) => {{
                        let zero = <$type>::from(false as u8);
                        let mut whole = vec![zero; LEN + 64];
                        let mut pieces = whole.clone();
                        decode(spec, src(0, LEN), &mut whole[offset..offset + LEN], &options)
                            .unwrap();
                        let inner = &mut pieces[offset..offset + LEN];
                        for (i, d) in inner.chunks_mut(SHORT).enumerate() {
                            let at = i * SHORT;
                            decode(spec, src(at, at + d.len()), d, &options).unwrap();
                        }
                        let equal = |(a, b): (&$type, &$type)| {
                            a.to_bits() == b.to_bits()
                                || a.is_nan() && b.is_nan() && scale.is_some()
                        };
                        let same = whole.iter().zip(&pieces).all(equal);
                        assert!(same, "{id} {isa:?} {scale:?} {offset} {}", stringify!($type));
                    }};
                }
                both!(f32);
                both!(bf16);
                both!(f64);
            }
        }
    }
}

#[test]
fn long_packed_slices_as_their_codes() {
    let (x, spec) = (floats(), FormatId::F4E2M1.spec());
    for isa in Isa::available() {
        let options = EncodeOptions::new(Policy::SATURATE).isa(isa).threads(1);
        let mut codes = vec![0u8; LEN];
        let stats = encode_stats(spec, &x, &mut codes, &options).unwrap();
        let mut packed = vec![0u8; spec.packed_len(LEN).unwrap()];
        let again = encode_stats(spec, &x, CodesMut::Packed(&mut packed), &options).unwrap();
        let mut unpacked = vec![0u8; LEN];
        spec.unpack(&packed, &mut unpacked).unwrap();
        assert!(codes == unpacked && stats == again, "{isa:?}");
        let options = DecodeOptions::new().isa(isa).threads(1);
        let (mut a, mut b) = (vec![0.0f32; LEN], vec![0.0f32; LEN]);
        decode(spec, &codes, &mut a, &options).unwrap();
        decode(spec, Codes::Packed(&packed), &mut b, &options).unwrap();
        assert!(a == b, "{isa:?}");
        let (mut a, mut b) = (vec![bf16::ZERO; LEN], vec![bf16::ZERO; LEN]);
        decode(spec, &codes, &mut a, &options).unwrap();
        decode(spec, Codes::Packed(&packed), &mut b, &options).unwrap();
        assert!(a == b, "{isa:?}");
    }
}
