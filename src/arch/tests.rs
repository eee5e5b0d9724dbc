//! The kernels of groups against naive loops, on every instruction set of this processor.

extern crate std;

use super::Isa;
use super::encoder::{Encoder, Method};
use crate::format::{FormatId, FormatSpec, Policy, RandomStream, Unpacked};
use std::vec::Vec;
use std::{format, vec};

const SIGN: u32 = 1 << 31;
const INF: u32 = 0x7f80_0000;

const GROUPS: [usize; 10] = [1, 3, 16, 32, 48, 64, 128, 192, 300, 1040];
const LENGTHS: [usize; 12] = [0, 1, 15, 16, 63, 64, 127, 300, 640, 1000, 2500, 4096];

/// What goes wrong first: zeros, the ends of f32, Inf, quiet and signalling NaN; of both signs.
const SPECIALS: [u32; 12] = [
    0,
    1,
    0x007f_ffff,
    0x0080_0000,
    0x3f80_0000,
    0x43e0_0000,
    0x43e8_0001,
    0x7f7f_ffff,
    INF,
    0x7f80_0001,
    0x7fc0_0000,
    0x7fff_ffff,
];

/// Bits of values: any, near 1, and every so often (with `specials`) a special one.
fn values(seed: u64, len: usize, specials: bool) -> Vec<f32> {
    let stream = RandomStream { seed, tensor: 0, step: 0 };
    let value = |i: u64| {
        let (word, bits) = (stream.word(2 * i), stream.word(2 * i + 1));
        let near_1 = (bits & (SIGN | 0x007f_ffff)) | ((100 + word % 56) << 23);
        match word >> 24 {
            0..8 if specials => SPECIALS[bits as usize % SPECIALS.len()] | (word << 31),
            8..32 if specials || bits & INF != INF => bits,
            _ => near_1,
        }
    };
    (0..len as u64).map(|i| f32::from_bits(value(i))).collect()
}

fn factors(seed: u64, len: usize, specials: bool) -> Vec<f32> {
    values(seed ^ 0xfac7, len, specials).into_iter().map(f32::abs).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

/// Every instruction set, length, and data with few, many, no special values.
fn each(mut check: impl FnMut(Isa, usize, bool, u64)) {
    for isa in Isa::available() {
        for len in LENGTHS {
            for seed in 0..4 {
                check(isa, len, seed != 0, seed);
            }
        }
    }
}

fn naive_amax(drop_nan: bool, src: &[f32]) -> u32 {
    let magnitudes = src.iter().map(|x| x.to_bits() & !SIGN);
    magnitudes.filter(|x| !drop_nan || *x <= INF).max().unwrap_or(0)
}

#[test]
fn amax() {
    each(|isa, len, specials, seed| {
        let src = values(seed, len, specials);
        let halves: Vec<u16> = src.iter().map(|x| (x.to_bits() >> 16) as u16).collect();
        let wide: Vec<f32> = halves.iter().map(|x| f32::from_bits(u32::from(*x) << 16)).collect();
        for drop_nan in [false, true] {
            let at = format!("{isa:?} drop_nan {drop_nan} length {len} seed {seed}");
            let k = isa.kernels();
            assert_eq!(k.amax(drop_nan, &src), naive_amax(drop_nan, &src), "{at}");
            assert_eq!(k.amax_bf16(drop_nan, &halves), naive_amax(drop_nan, &wide), "bf16 {at}");
        }
    });
}

/// One special value at each place of a slice.
#[test]
fn amax_sees_every_place() {
    for isa in Isa::available() {
        let k = isa.kernels();
        for len in [1, 40, 300] {
            for (place, special) in (0..len).flat_map(|i| [(i, 3.0), (i, f32::NAN)]) {
                let mut src = vec![1.0; len];
                src[place] = special;
                let halves: Vec<u16> = src.iter().map(|x| (x.to_bits() >> 16) as u16).collect();
                for drop_nan in [false, true] {
                    let expected = naive_amax(drop_nan, &src);
                    assert_eq!(k.amax(drop_nan, &src), expected, "{isa:?} {place} of {len}");
                    assert_eq!(
                        k.amax_bf16(drop_nan, &halves),
                        expected,
                        "{isa:?} {place} of {len}"
                    );
                    for group in GROUPS {
                        let mut peaks = vec![0; len.div_ceil(group)];
                        k.amax_groups(drop_nan, group, &src, &mut peaks);
                        let expected: Vec<_> =
                            src.chunks(group).map(|group| naive_amax(drop_nan, group)).collect();
                        assert_eq!(peaks, expected, "{isa:?} {place} of {len} by {group}");
                    }
                }
            }
        }
    }
}

#[test]
fn amax_groups_and_columns() {
    each(|isa, len, specials, seed| {
        let src = values(seed, len, specials);
        for (drop_nan, group) in GROUPS.iter().flat_map(|g| [(false, *g), (true, *g)]) {
            let at = format!("{isa:?} drop_nan {drop_nan} length {len} group {group} seed {seed}");
            // What is there already: anything, NaN too.
            let before = bits(&factors(seed + 9, len.div_ceil(group), specials));
            let mut peaks = before.clone();
            isa.kernels().amax_groups(drop_nan, group, &src, &mut peaks);
            let expected: Vec<_> = src
                .chunks(group)
                .zip(&before)
                .map(|(group, before)| naive_amax(drop_nan, group).max(*before))
                .collect();
            assert_eq!(peaks, expected, "{at}");
            if group == 1 {
                let mut peaks = before.clone();
                isa.kernels().amax_columns(drop_nan, &src, &mut peaks);
                assert_eq!(peaks, expected, "columns {at}");
            }
        }
    });
}

/// Some of them negative.
fn signed(seed: u64, factors: Vec<f32>) -> Vec<f32> {
    let stream = RandomStream { seed: seed ^ 0x51, tensor: 0, step: 0 };
    let sign = |(i, x): (usize, f32)| if stream.word(i as u64) < 1 << 29 { -x } else { x };
    factors.into_iter().enumerate().map(sign).collect()
}

/// The definition: one f32 operation, a NaN quiet with the sign of the value times the factor's.
fn naive_scale(divide: bool, group: usize, factors: &[f32], src: &[f32]) -> Vec<f32> {
    let one = |(i, x): (usize, &f32)| {
        let factor = factors[i / group];
        let y = if divide { x / factor } else { x * factor };
        let sign = f32::from_bits((x.to_bits() ^ factor.to_bits()) & SIGN | 0x3f80_0000);
        if y.is_nan() { f32::NAN.copysign(sign) } else { y }
    };
    src.iter().enumerate().map(one).collect()
}

#[test]
fn scale_and_unscale_groups() {
    each(|isa, len, specials, seed| {
        let src = values(seed, len, specials);
        for group in GROUPS {
            let factors = signed(seed, factors(seed, len.div_ceil(group), specials));
            for divide in [false, true] {
                let at = format!("{isa:?} divide {divide} length {len} group {group} seed {seed}");
                let expected = naive_scale(divide, group, &factors, &src);
                let mut dst = vec![9.0; len];
                isa.kernels().scale_groups(divide, group, &factors, &src, &mut dst);
                assert_eq!(bits(&dst), bits(&expected), "{at}");
                if !divide {
                    let mut values = src.clone();
                    isa.kernels().unscale_groups(group, &factors, &mut values);
                    assert_eq!(bits(&values), bits(&expected), "in place {at}");
                }
            }
        }
    });
}

#[test]
fn encode_groups() {
    let formats = FormatId::ALL.iter().map(|id| id.spec()).filter(|spec| spec.storage_bits() == 8);
    for spec in formats {
        for policy in [Policy::SATURATE, Policy::NONFINITE] {
            let e = Encoder::new(spec, policy, 1.0, false);
            if e.method == Method::Nearest {
                encode_groups_of(spec, policy, &e);
            }
        }
    }
}

fn encode_groups_of(spec: &FormatSpec, policy: Policy, e: &Encoder) {
    each(|isa, len, specials, seed| {
        // Without NaN in the format there is none in the data.
        let specials = specials && spec.has_nan();
        // Seeds 2 and 3: factors that are no special ones.
        let src = values(seed, len, specials);
        for group in GROUPS.into_iter().filter(|group| group % 16 == 0) {
            let factors = signed(seed, factors(seed, len.div_ceil(group), specials && seed < 2));
            let scaled = naive_scale(false, group, &factors, &src);
            let code =
                |x: &f32| Unpacked::from_f64(f64::from(*x)).encode(spec, policy, 0).unwrap() as u8;
            let expected: Vec<u8> = scaled.iter().map(code).collect();
            for (past, shift) in [(false, 0), (true, 0), (true, 7)] {
                let mut memory = vec![0xaa; len + 128];
                let start = memory.as_ptr().align_offset(64) + shift;
                let dst = &mut memory[start..][..len];
                isa.kernels().encode_groups(e, group, &factors, &src, dst, past);
                isa.kernels().fence();
                let wrong = dst.iter().zip(&expected).position(|(a, b)| a != b);
                assert!(
                    wrong.is_none(),
                    "{} {isa:?} length {len} group {group} seed {seed} past {past}: {:?}",
                    spec.name(),
                    wrong.map(|i| format!(
                        "[{i}] {:08b} for {:08b}, of {:?} · {:?}",
                        dst[i],
                        expected[i],
                        src[i],
                        factors[i / group]
                    ))
                );
            }
        }
    });
}

#[test]
fn transpose_u8() {
    let sizes = [0, 1, 7, 8, 9, 16, 40, 63, 64, 72, 100, 128, 136, 200];
    for isa in Isa::available() {
        for (rows, cols) in sizes.iter().flat_map(|r| sizes.map(|c| (*r, c))) {
            let stream = RandomStream { seed: 5, tensor: 0, step: 0 };
            let src: Vec<u8> = (0..rows * cols).map(|i| stream.word(i as u64) as u8).collect();
            let mut dst = vec![0; rows * cols];
            isa.kernels().transpose_u8(rows, cols, &src, &mut dst);
            for (r, c) in (0..rows).flat_map(|r| (0..cols).map(move |c| (r, c))) {
                let (from, to) = (src[r * cols + c], dst[c * rows + r]);
                assert_eq!(from, to, "{isa:?} {rows}x{cols} at {r}, {c}");
            }
        }
    }
}

/// The fused multiply-add of targets without one, on any bits, and where a second rounding would
/// show: sums of two magnitudes, ties, subnormal results, overflow.
#[test]
fn fma_by_f64_is_fused() {
    use super::generic::tile::fma_by_f64;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut word = || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 32) as u32
    };
    let check = |a: f32, b: f32, c: f32| {
        let (got, want) = (fma_by_f64(a, b, c), a.mul_add(b, c));
        let same = got.to_bits() == want.to_bits() || (got.is_nan() && want.is_nan());
        assert!(same, "fma({a:e}, {b:e}, {c:e}) = {want:e}, not {got:e}");
    };
    for _ in 0..400_000 {
        let [a, b, c] = [0; 3].map(|_| f32::from_bits(word()));
        check(a, b, c);
        // C at each distance from the product: what is lost is a tie, or next to one.
        let near = f32::from_bits((a * b).to_bits().wrapping_add(word() % 5).wrapping_sub(2));
        let shift = (word() % 61) as i32 - 30;
        check(a, b, -near);
        check(a, b, near * (shift as f32).exp2());
        // Few bits each, so that sums are ties often.
        let small = |word: u32| (word % 33) as f32 - 16.0;
        let power = f32::from_bits((word() % 254 + 1) << 23);
        check(small(word()) * power, small(word()), small(word()) * power * (shift as f32).exp2());
        // Near the smallest subnormals.
        check(small(word()) * f32::MIN_POSITIVE, small(word()) * 1e-3, f32::from_bits(word() % 64));
    }
}

/// Each instruction set's update is that of its formula, with every operation rounded.
#[cfg(feature = "std")]
#[test]
fn adamw() {
    let h = super::vector::AdamWStep {
        grad_scale: 0.7,
        beta1: 0.9,
        beta2: 0.95,
        one_minus_beta1: 1.0 - 0.9,
        one_minus_beta2: 1.0 - 0.95,
        m_correction: 3.7,
        v_correction: 7.1,
        eps: 1e-8,
        lr: 1e-3,
        decay: 1e-4,
    };
    each(|isa, len, specials, seed| {
        let [w, grads, m, v] = [0, 1, 2, 3].map(|i| values(seed + 4 * i, len, specials));
        let v: Vec<f32> = v.into_iter().map(f32::abs).collect();
        let quiet = |x: f32| if x.is_nan() { 0x7fc0_0000 } else { x.to_bits() };
        let mut want = [vec![], vec![], vec![]];
        for i in 0..len {
            let g = grads[i] * h.grad_scale;
            let m = h.beta1 * m[i] + h.one_minus_beta1 * g;
            let v = h.beta2 * v[i] + h.one_minus_beta2 * (g * g);
            let decayed = w[i] - h.decay * w[i];
            let w = decayed - h.lr * (m * h.m_correction) / ((v * h.v_correction).sqrt() + h.eps);
            for (want, x) in want.iter_mut().zip([w, m, v]) {
                want.push(quiet(x));
            }
        }
        let mut got = [w, m, v];
        let [w, m, v] = &mut got;
        isa.kernels().adamw(&h, w, &grads, m, v);
        assert_eq!(got.map(|x| bits(&x)), want, "{isa:?} length {len} seed {seed}");
    });
}
