//! Every instruction set gives the bits of the integer reference.

use quarter::slice::{CodesMut, EncodeOptions, Random, encode, encode_stats};
use quarter::*;

fn inputs() -> Vec<f32> {
    // Every exponent with structured mantissas, both signs, and random patterns.
    let mut x = Vec::new();
    for sign in [0u32, 1 << 31] {
        for exponent in 0..256u32 {
            for low in [0u32, 1, 2, 0x7ffff, 0x80000, 0x80001, 0xfffff, 0x100000, 0x100001] {
                for high in 0..8u32 {
                    x.push(f32::from_bits(sign | exponent << 23 | ((high << 20) + low) & 0x7fffff));
                }
            }
        }
    }
    let stream = RandomStream { seed: 1, tensor: 2, step: 3 };
    x.extend((0..60_000).map(|i| f32::from_bits(stream.word(i))));
    x
}

#[test]
fn every_isa_equals_the_reference() {
    let x = inputs();
    let stream = RandomStream { seed: 11, tensor: 5, step: 9 };
    let mut roundings = Rounding::DETERMINISTIC.to_vec();
    roundings.extend([
        Rounding::STOCHASTIC,
        Rounding::Stochastic { bits: 8 },
        Rounding::StochasticOdd { bits: 9 },
    ]);
    for id in FormatId::ALL {
        let spec = id.spec();
        for rounding in &roundings {
            for overflow in [Overflow::NonFinite, Overflow::Saturate] {
                for nan in [NanPolicy::Zero, NanPolicy::Max] {
                    let policy = Policy { rounding: *rounding, overflow, nan };
                    for scale in [None, Some(1.25f32), Some(-3e-5)] {
                        let want: Vec<u64> = x
                            .iter()
                            .enumerate()
                            .map(|(i, x)| {
                                let u = match scale {
                                    None => Unpacked::from_f32(*x),
                                    Some(q) => Unpacked::from_f32((x.abs() * q.abs()).abs())
                                        .with_sign(x.is_sign_negative() != q.is_sign_negative()),
                                };
                                u.encode(spec, policy, stream.word(i as u64 + 7)).unwrap()
                            })
                            .collect();
                        for isa in Isa::available() {
                            let mut o = EncodeOptions::new(policy)
                                .isa(isa)
                                .threads(1)
                                .random(Random::Stream { stream, start: 7 });
                            if let Some(q) = scale {
                                o = o.scale(q);
                            }
                            let got: Vec<u64> = match spec.storage_bits() {
                                8 => {
                                    let mut c = vec![0u8; x.len()];
                                    encode(spec, &x[..], CodesMut::U8(&mut c), &o).unwrap();
                                    c.iter().map(|c| *c as u64).collect()
                                }
                                16 => {
                                    let mut c = vec![0u16; x.len()];
                                    encode_stats(spec, &x[..], CodesMut::U16(&mut c), &o).unwrap();
                                    c.iter().map(|c| *c as u64).collect()
                                }
                                32 => {
                                    let mut c = vec![0u32; x.len()];
                                    encode(spec, &x[..], CodesMut::U32(&mut c), &o).unwrap();
                                    c.iter().map(|c| *c as u64).collect()
                                }
                                _ => continue,
                            };
                            for i in 0..x.len() {
                                assert_eq!(
                                    got[i],
                                    want[i],
                                    "{id} {policy:?} {isa:?} scale {scale:?} x[{i}] = {:e} {:08x}: got {:x} want {:x}",
                                    x[i],
                                    x[i].to_bits(),
                                    got[i],
                                    want[i]
                                );
                            }
                        }
                    }
                }
            }
        }
    }
}
