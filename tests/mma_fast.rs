//! The fast paths of every matrix unit equal the definition in wide integers, bit for bit.
//!
//! `QUARTER_SWEEP=full` runs ten million dots a unit, and all two-term sums of e4m3 on Hopper;
//! `QUARTER_UNITS=exact,gaudi3` runs these units alone.

mod common;

use common::products::{Codes, is_nan, product};
use common::units::{Pair, pairs};
use quarter::gemm::Workspace;
use quarter::mma::{H100_WGMMA_FP8, Output, UNITS, Unit};
use quarter::{FormatSpec, Isa, RandomStream};
use std::collections::HashMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

fn sweeps(how: &str) -> bool {
    std::env::var("QUARTER_SWEEP").is_ok_and(|sweep| sweep == how)
}

/// Dots of a unit.
fn wanted() -> usize {
    match (sweeps("full"), sweeps("thin")) {
        (true, _) => 10_000_000,
        (false, true) => 4_000, // an emulator takes a minute for more
        (false, false) => 60_000,
    }
}

/// Dots of a pair of formats, so that those of a unit are at least ten million in the full sweep.
fn dots(unit: &Unit) -> usize {
    let pairs = pairs().iter().filter(|(other, _)| *other == unit).count();
    wanted() / pairs + 1
}

struct Draw(RandomStream, u64);

impl Draw {
    fn new(seed: u64) -> Self {
        Self(RandomStream { seed, tensor: 7, step: 0 }, 0)
    }

    fn bits(&mut self) -> u32 {
        self.1 += 1;
        self.0.word(self.1)
    }

    fn below(&mut self, n: u32) -> u32 {
        ((u64::from(self.bits()) * u64::from(n)) >> 32) as u32
    }

    /// Codes around one exponent, or everywhere; specials or none.
    fn codes(&mut self, spec: &FormatSpec, n: usize) -> Vec<u32> {
        let mask = spec.code_mask() as u32;
        let finite = spec.max_code() as u32;
        let (kind, width) = (self.below(4), 1 + self.below(6));
        let base = self.below(finite + 1);
        let spread = (width << spec.man_bits()).min(finite);
        let one = |draw: &mut Self| {
            let sign = if draw.bits() & 1 == 1 { spec.sign_mask() as u32 } else { 0 };
            let code = match kind {
                0 => return draw.bits() & mask,
                1 => draw.below(finite + 1),
                _ => (base + draw.below(spread + 1)) % (finite + 1),
            };
            let code = if draw.below(16) == 0 { 0 } else { code };
            let code = code | sign;
            // The code of −0 may be NaN.
            if spec.is_nan_code(code.into()) { finite } else { code }
        };
        (0..n).map(|_| one(self)).collect()
    }

    fn c(&mut self, unit: &Unit, n: usize) -> Vec<u32> {
        let half = unit.output() == Output::F16;
        let (mask, fraction, fields) = if half { (0xffff, 10, 31) } else { (u32::MAX, 23, 255) };
        let (kind, base) = (self.below(4), self.below(fields));
        let one = |draw: &mut Self| match kind {
            0 => 0,
            1 => draw.bits() & mask,
            // Near the sums, of any sign, sometimes a zero.
            2 => {
                let field = (fields / 2 + draw.below(20)).saturating_sub(10);
                draw.bits() & ((1 << fraction) - 1)
                    | field << fraction
                    | draw.bits() & (mask ^ mask >> 1)
            }
            _ => {
                draw.bits() & ((1 << fraction) - 1)
                    | base << fraction
                    | draw.bits() & (mask ^ mask >> 1)
            }
        };
        (0..n).map(|_| one(self)).collect()
    }
}

/// Products of all shapes until there are enough dots: the number of them, and of those with NaN.
fn sweep((unit, specs): &Pair, dots: usize, seed: u64) -> [usize; 2] {
    let mut draw = Draw::new(seed);
    let mut space = Workspace::new();
    let isas: Vec<Isa> = Isa::available().collect();
    let (mut done, mut nans, mut round) = (0, 0, 0_usize);
    while done < dots {
        let (m, n) = (1 + draw.below(18) as usize, 1 + draw.below(36) as usize);
        let k = match draw.below(4) {
            0 => draw.below(5),
            1 => draw.below(40),
            2 => draw.below(70),
            _ => 32,
        } as usize;
        let codes = [(0, m), (1, n)].map(|(i, rows)| draw.codes(specs[i], rows * k));
        let scales = [m, n].map(|rows| {
            unit.has_block_scales().then(|| {
                let (base, any) = (draw.below(250), draw.below(2) == 0);
                let mut one = || if any { draw.bits() >> 24 } else { base + draw.below(6) };
                (0..rows * k.div_ceil(32)).map(|_| one() as u8).collect::<Vec<_>>()
            })
        });
        let c = draw.c(unit, m * n);
        let a = Codes::new(specs[0], (m, k), &codes[0], scales[0].clone());
        let b = Codes::new(specs[1], (n, k), &codes[1], scales[1].clone());
        let isa = isas[round % isas.len()];
        let inputs = (a.input((m, k)), b.input((n, k)));
        let d = product(&mut space, unit, inputs, &c, isa, 1);
        for (i, d) in d.iter().enumerate() {
            let (row, col) = (i / n, i % n);
            let x = &codes[0][row * k..(row + 1) * k];
            let y = &codes[1][col * k..(col + 1) * k];
            let per = k.div_ceil(32);
            let of = |scales: &Option<Vec<u8>>, row: usize, block: usize| {
                scales.as_ref().map_or(127, |scales| scales[row * per + block])
            };
            let blocks = if unit.has_block_scales() { per } else { 0 };
            let both: Vec<[u8; 2]> = (0..blocks)
                .map(|block| [of(&scales[0], row, block), of(&scales[1], col, block)])
                .collect();
            let want = unit.dot_scaled((specs[0], x), (specs[1], y), &both, c[i]).unwrap();
            let nan = is_nan(unit, want);
            nans += usize::from(nan);
            let equal = if nan { is_nan(unit, *d) } else { *d == want };
            assert!(
                equal,
                "{unit} {} {} on {}: {d:#x} instead of {want:#x}, c {:#x}, {x:x?}, {y:x?}, {both:?}",
                specs[0].name(),
                specs[1].name(),
                isa.name(),
                c[i],
            );
        }
        (done, round) = (done + m * n, round + 1);
    }
    [done, nans]
}

/// Every unit with every pair of formats that it takes, over all exponents, subnormals, NaN, Inf,
/// zeros of both signs and c of every magnitude.
#[test]
fn fast_paths_are_the_definition() {
    let mut all = pairs();
    if let Ok(names) = std::env::var("QUARTER_UNITS") {
        all.retain(|(unit, _)| names.split(',').any(|name| name == unit.name()));
    }
    let done: Vec<[AtomicUsize; 2]> = UNITS.iter().map(|_| Default::default()).collect();
    common::parallel(all.len(), |i| {
        let [dots, nans] = sweep(&all[i], dots(all[i].0), i as u64);
        let unit = UNITS.iter().position(|unit| *unit == all[i].0).unwrap();
        done[unit][0].fetch_add(dots, Ordering::Relaxed);
        done[unit][1].fetch_add(nans, Ordering::Relaxed);
    });
    for (unit, [dots, nans]) in UNITS.iter().zip(&done) {
        if all.iter().all(|(other, _)| other != unit) {
            continue;
        }
        println!("{unit}: {dots:?} dots, {nans:?} of them NaN");
        assert!(dots.load(Ordering::Relaxed) >= wanted());
    }
}

/// p₀ + p₁ for all pairs of codes of both products on Hopper: a product is its value and exponent,
/// so that the definition is asked once for each pair of these. Some left pairs, or all.
#[test]
fn all_two_term_sums_of_hopper() {
    let unit = &H100_WGMMA_FP8;
    let e4m3 = quarter::FormatId::F8E4M3.spec();
    // What a product is to the unit: NaN, or significand and exponent.
    let class_of = |x: u32, y: u32| {
        let part = |code: u32| {
            let (field, mantissa) = (code >> 3 & 15, code & 7);
            if field == 0 { (mantissa, 1) } else { (mantissa + 8, field) }
        };
        let nan = [x, y].iter().any(|code| code & 0x7f == 0x7f);
        let ((m, e), (n, f)) = (part(x), part(y));
        match (nan, m * n) {
            (true, _) => (u32::MAX, 0, 0),
            (false, 0) => (0, 0, 0),
            (false, product) => (product, e + f, (x ^ y) >> 7),
        }
    };
    let mut classes: HashMap<(u32, u32, u32), u16> = HashMap::new();
    let mut first = Vec::new();
    let mut class = vec![0_u16; 1 << 16];
    for x in 0..256 {
        for y in 0..256 {
            let next = classes.len() as u16;
            let found = *classes.entry(class_of(x, y)).or_insert(next);
            if found == next {
                first.push([x, y]);
            }
            class[(x << 8 | y) as usize] = found;
        }
    }
    let n = first.len();
    let table: Vec<OnceLock<Vec<u32>>> = (0..n).map(|_| OnceLock::new()).collect();
    common::parallel(n, |i| {
        let [a0, b0] = first[i];
        let dot = |[a1, b1]: &[u32; 2]| unit.dot((e4m3, &[a0, *a1]), (e4m3, &[b0, *b1]), 0);
        table[i].set(first.iter().map(|pair| dot(pair).unwrap()).collect()).unwrap();
    });
    let right: Vec<u32> = (0..1 << 16).flat_map(|pair: u32| [pair >> 8, pair & 255]).collect();
    let b = Codes::new(e4m3, (1 << 16, 2), &right, None);
    let step = if sweeps("full") { 1 } else { 65_536 / (wanted() / 64) };
    let lefts: Vec<u32> = (0..1 << 16).step_by(step).collect();
    let chunks: Vec<&[u32]> = lefts.chunks(16).collect();
    common::parallel(chunks.len(), |i| {
        let rows = chunks[i];
        let codes: Vec<u32> = rows.iter().flat_map(|pair| [pair >> 8, pair & 255]).collect();
        let a = Codes::new(e4m3, (rows.len(), 2), &codes, None);
        let c = vec![0; rows.len() << 16];
        let inputs = (a.input((rows.len(), 2)), b.input((1 << 16, 2)));
        let d = product(&mut Workspace::new(), unit, inputs, &c, Isa::best(), 1);
        for (left, d) in rows.iter().zip(d.chunks_exact(1 << 16)) {
            for (right, d) in (0_u32..).zip(d) {
                let [x, y] = [left & 0xff00 | right >> 8, (left & 255) << 8 | right & 255];
                let row = table[usize::from(class[x as usize])].get().unwrap();
                let want = row[usize::from(class[y as usize])];
                let equal = *d == want || (is_nan(unit, want) && is_nan(unit, *d));
                assert!(equal, "{left:#x} {right:#x}: {d:#x} instead of {want:#x}");
            }
        }
    });
    println!("{} left pairs × 65536 right ones, {n} kinds of products", lefts.len());
}
