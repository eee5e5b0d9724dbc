//! The unit `vdpbf16ps` beside the instruction, where the machine has it: millions of lanes of every
//! kind of number, and sums on both sides of 2^−126.

use quarter::mma::VDPBF16PS;
use quarter::{FormatId, RandomStream};
use std::thread;

const LANES: usize = 16;

/// What a lane is given: pairs of a and b, the even element first, and c.
#[derive(Clone, Copy, Debug)]
struct Lane {
    a: [u16; 2],
    b: [u16; 2],
    c: u32,
}

#[cfg(target_arch = "x86_64")]
mod cpu {
    use super::{LANES, Lane};
    use core::arch::x86_64::{__m512, __m512bh, _mm512_dpbf16_ps};

    #[target_feature(enable = "avx512f,avx512bf16")]
    fn instruction(lanes: &[Lane; LANES]) -> [u32; LANES] {
        let pair = |[even, odd]: [u16; 2]| u32::from(even) | u32::from(odd) << 16;
        let [a, b] = [lanes.map(|lane| pair(lane.a)), lanes.map(|lane| pair(lane.b))];
        // SAFETY: 64 bytes, all of whose values are bf16.
        let [a, b] = [a, b].map(|x| unsafe { core::mem::transmute::<[u32; LANES], __m512bh>(x) });
        // SAFETY: 64 bytes, all of whose values are f32.
        let c = unsafe { core::mem::transmute::<[u32; LANES], __m512>(lanes.map(|lane| lane.c)) };
        let d = _mm512_dpbf16_ps(c, a, b);
        // SAFETY: as before.
        unsafe { core::mem::transmute::<__m512, [u32; LANES]>(d) }
    }

    pub fn is_there() -> bool {
        is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16")
    }

    pub fn measured(lanes: &[[Lane; LANES]]) -> Vec<[u32; LANES]> {
        assert!(is_there());
        // SAFETY: both features were found.
        lanes.iter().map(|lanes| unsafe { instruction(lanes) }).collect()
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod cpu {
    use super::{LANES, Lane};

    pub fn is_there() -> bool {
        false
    }

    pub fn measured(_: &[[Lane; LANES]]) -> Vec<[u32; LANES]> {
        unreachable!("the instruction is x86's")
    }
}

/// Whether there is something to compare with; else says so.
fn is_there() -> bool {
    let there = cpu::is_there();
    if !there {
        println!("skipped: this machine has no AVX512-BF16, vdpbf16ps is not compared");
    }
    there
}

fn unit(lane: &Lane) -> u32 {
    let spec = FormatId::Bf16.spec();
    let [a, b] = [lane.a, lane.b].map(|pair| pair.map(u32::from));
    VDPBF16PS.dot((spec, &a), (spec, &b), lane.c).expect("two bf16")
}

/// The lanes on which they differ; NaN is a class.
fn differences(lanes: &[[Lane; LANES]], measured: &[[u32; LANES]]) -> Vec<(Lane, u32, u32)> {
    let is_nan = |bits| f32::from_bits(bits).is_nan();
    let each = lanes.as_flattened().iter().zip(measured.as_flattened());
    each.map(|(lane, want)| (*lane, unit(lane), *want))
        .filter(|(_, got, want)| got != want && !(is_nan(*got) && is_nan(*want)))
        .collect()
}

/// Random bits, the next in turn.
struct Bits {
    stream: RandomStream,
    next: u64,
}

impl Bits {
    fn word(&mut self) -> u32 {
        self.next += 1;
        self.stream.word(self.next)
    }

    /// From ..to.
    fn within(&mut self, from: i32, to: i32) -> i32 {
        from + (self.word() % (to - from) as u32) as i32
    }

    fn sign(&mut self) -> u32 {
        self.word() & 0x8000_0000
    }

    /// A normal f32 of this exponent, with few or all bits of its fraction.
    fn f32(&mut self, exponent: i32) -> u32 {
        let kept = [0, 0x7f_ffff, 0x7f_0000, 0x7f, 0x40_0001][self.word() as usize % 5];
        self.sign() | ((exponent + 127).clamp(0, 254) as u32) << 23 | self.word() & kept
    }

    fn bf16(&mut self, exponent: i32) -> u16 {
        (self.f32(exponent) >> 16) as u16
    }

    /// Two factors whose product is near 2^exponent.
    fn factors(&mut self, exponent: i32) -> [u16; 2] {
        let [low, high] = [(exponent - 126).max(-126), (exponent + 126).min(126)];
        let first = self.within(low, high + 1);
        [self.bf16(first), self.bf16(exponent - first)]
    }

    /// One of the numbers that are unlike others, or any one.
    fn special(&mut self) -> u32 {
        const NUMBERS: [u32; 10] = [
            0,
            0x0001_0000,
            0x007f_0000,
            0x0080_0000,
            0x0081_0000,
            0x3f80_0000,
            0x7f7f_0000,
            0x7f80_0000,
            0x7f81_0000,
            0x7fc0_0000,
        ];
        let at = self.word() as usize % (NUMBERS.len() + 2);
        self.sign() | NUMBERS.get(at).copied().unwrap_or_else(|| self.word() & 0x7fff_ffff)
    }
}

/// Ways to make a lane.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Any bits.
    Any,
    /// Exponents around 0.
    Near,
    /// Exponents of products and of c at every distance, anywhere.
    Magnitudes,
    /// Subnormal factors, and c.
    Subnormal,
    /// Sums around 2^−126.
    Least,
    /// c and the first product, or both products, cancel but for a few bits.
    Cancel,
    /// Zeros, limits, Inf and NaN.
    Special,
}

const KINDS: [Kind; 7] = [
    Kind::Any,
    Kind::Near,
    Kind::Magnitudes,
    Kind::Subnormal,
    Kind::Least,
    Kind::Cancel,
    Kind::Special,
];

fn lane(kind: Kind, bits: &mut Bits) -> Lane {
    let of = |[odd, even]: [[u16; 2]; 2], c| Lane { a: [even[0], odd[0]], b: [even[1], odd[1]], c };
    match kind {
        Kind::Any => {
            let [a, b] = [bits.word(), bits.word()].map(|word| [word as u16, (word >> 16) as u16]);
            Lane { a, b, c: bits.word() }
        }
        Kind::Near => {
            let factors = [(); 2].map(|()| {
                let exponent = bits.within(-12, 12);
                bits.factors(exponent)
            });
            let exponent = bits.within(-14, 14);
            of(factors, bits.f32(exponent))
        }
        Kind::Magnitudes => {
            let exponent = bits.within(-160, 130);
            let [first, second, third] = [(); 3].map(|()| exponent + bits.within(-30, 31));
            of([bits.factors(first), bits.factors(second)], bits.f32(third))
        }
        Kind::Subnormal => {
            // Two in three of the numbers are below 2^−126, and the other factor is large.
            let [odd, even] = [(); 2].map(|()| {
                let large = bits.within(0, 128);
                match bits.word() % 3 {
                    0 => bits.factors(-126),
                    _ => [(bits.word() & 0x807f) as u16, bits.bf16(large)],
                }
            });
            let c = match bits.word() % 3 {
                0 => bits.f32(-126),
                _ => bits.word() & 0x807f_ffff,
            };
            of([odd, even], c)
        }
        Kind::Least => {
            // About 2^−126, and what takes a little or half of it away.
            let near = |bits: &mut Bits| {
                let exponent = bits.within(-127, -124);
                let below = bits.within(-180, -123);
                if bits.word().is_multiple_of(2) { exponent } else { below }
            };
            let [first, second, third] = [(); 3].map(|()| near(bits));
            let c = match bits.word() % 4 {
                0 => 0,
                1 => bits.f32(third.clamp(-126, -124)),
                _ => bits.sign() | (0x0080_0000 + bits.word() % 8),
            };
            let empty = [0, 0];
            match bits.word() % 3 {
                0 => of([bits.factors(first), empty], c),
                1 => of([empty, bits.factors(first)], c),
                _ => of([bits.factors(first), bits.factors(second)], c),
            }
        }
        Kind::Cancel => {
            let exponent = bits.within(-130, 120);
            let odd = bits.factors(exponent);
            let [x, y] = odd.map(|code| f32::from_bits(u32::from(code) << 16));
            let c = (-x * y).to_bits().wrapping_add_signed(bits.within(-2, 3));
            let even = match bits.word() % 3 {
                0 => [odd[0] ^ 0x8000, odd[1]],
                1 => bits.factors(exponent - 24),
                _ => [0, 0],
            };
            of([odd, even], if bits.word().is_multiple_of(4) { 0 } else { c })
        }
        Kind::Special => {
            let [odd, even] = [(); 2].map(|()| [(); 2].map(|()| (bits.special() >> 16) as u16));
            of([odd, even], bits.special())
        }
    }
}

/// 2^−126 − x for x up to 2^−149: where 24 bits without a least exponent round it up to 2^−126 it
/// stays, and else it is zero. So subnormal results are found after rounding, and before there are
/// fewer bits for them.
#[test]
fn sums_that_round_up_to_the_least_normal_number_stay() {
    let bf16 = |x: f32| (x.to_bits() >> 16) as u16;
    // x = m · 2^−158, of which the bits that a factor holds.
    let ms = (1..=512_u16).filter(|m| m >> m.trailing_zeros() < 256);
    let each = ms.flat_map(|m| [(m, 0, 1.0), (m, 1, 1.0), (m, 0, -1.0), (m, 1, -1.0)]);
    let make = |(m, element, sign): (u16, usize, f32)| {
        let mut lane = Lane { a: [0, 0], b: [0, 0], c: (sign * f32::MIN_POSITIVE).to_bits() };
        lane.a[element] = bf16(-sign * f32::from(m) * 2f32.powi(-79));
        lane.b[element] = bf16(2f32.powi(-79));
        lane
    };
    let cases: Vec<_> = each.map(|case| (case, make(case))).collect();
    for ((m, element, sign), lane) in &cases {
        // x up to 2^−151, the middle between two numbers of 24 bits; ties go to the even one.
        let want = if *m <= 1 << 7 { sign * f32::MIN_POSITIVE } else { 0.0 };
        let got = f32::from_bits(unit(lane));
        assert_eq!(got, want, "{sign} (2^-126 - {m} * 2^-158), element {element}");
    }
    let mut lanes = Vec::new();
    for some in cases.chunks(LANES) {
        lanes.push(core::array::from_fn(|i| some[i % some.len()].1));
    }
    if !is_there() {
        return;
    }
    let measured = cpu::measured(&lanes);
    assert_eq!(differences(&lanes, &measured).first().map(|found| format!("{found:04x?}")), None);
}

/// 16 · 2^15 lanes of each kind.
#[test]
fn the_instruction_on_millions_of_lanes() {
    const VECTORS: usize = 1 << 15;
    if !is_there() {
        return;
    }
    let compare = |(seed, kind): (usize, Kind)| {
        let stream = RandomStream { seed: seed as u64, tensor: 1, step: 0 };
        let mut bits = Bits { stream, next: 0 };
        let lanes: Vec<[Lane; LANES]> =
            (0..VECTORS).map(|_| [(); LANES].map(|()| lane(kind, &mut bits))).collect();
        let measured = cpu::measured(&lanes);
        (kind, differences(&lanes, &measured), measured)
    };
    let results: Vec<_> = thread::scope(|scope| {
        let start = |job| scope.spawn(move || compare(job));
        let threads: Vec<_> = KINDS.into_iter().enumerate().map(start).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    for (kind, wrong, measured) in &results {
        let class = |is: fn(f32) -> bool| {
            let bits = measured.as_flattened().iter();
            bits.filter(|bits| is(f32::from_bits(**bits))).count()
        };
        println!(
            "{kind:?}: {} lanes, of which {} are 0, {} in [2^-126, 2^-125), {} NaN; {} differ",
            measured.len() * LANES,
            class(|x| x == 0.0),
            class(|x| (f32::MIN_POSITIVE..2.0 * f32::MIN_POSITIVE).contains(&x.abs())),
            class(f32::is_nan),
            wrong.len()
        );
    }
    for (kind, wrong, _) in results {
        if let Some((lane, got, want)) = wrong.first() {
            panic!("{kind:?}, {lane:04x?}: the unit {got:08x}, the instruction {want:08x}");
        }
    }
}
