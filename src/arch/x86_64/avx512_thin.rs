//! A few rows times codes that are decoded in registers: what reads the right operand once.

use super::avx512::{get, portable, put};
use super::avx512_decode::Tables;
use super::avx512_panel::PAIRS;
use super::avx512_tile::{join, load, step_pairs};
use super::fetch_line;
use crate::arch::tile::{Join, LANES, Line, Thin, WideSums};
use core::arch::x86_64::*;

/// How many lines ahead panels are fetched.
const AHEAD: usize = 8;

/// The chains of pairs; f32 goes by the portable kernel.
///
/// Each sum is one chain, and a step of it takes six cycles: there are more panels at a time where
/// there are few rows, and as many rows as registers hold where each panel is decoded once.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,popcnt,avx512bf16")]
pub(super) fn thin_bf16(t: &Thin<'_>, p: &mut WideSums, sums: &mut WideSums) {
    if !t.pairs {
        return portable::thin(t, p, sums);
    }
    match t.rows {
        0 => {}
        1 => panels::<1, 4>(t, p, sums),
        2 => panels::<2, 4>(t, p, sums),
        3 => panels::<3, 2>(t, p, sums),
        4 => panels::<4, 2>(t, p, sums),
        6 => panels::<6, 2>(t, p, sums),
        8 => panels::<8, 2>(t, p, sums),
        12 => panels::<12, 1>(t, p, sums),
        _ => panels::<16, 1>(t, p, sums),
    }
}

/// `P` panels at a time.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,popcnt,avx512bf16")]
fn panels<const R: usize, const P: usize>(t: &Thin<'_>, p: &mut WideSums, sums: &mut WideSums) {
    let given = t.b.iter().filter(|b| !b.is_empty()).count();
    for first in (0..given).step_by(P) {
        let range = (first, given);
        let index = [get(&PAIRS[0]), get(&PAIRS[1])];
        match t.decoder.map(|decoder| Tables::new(decoder)) {
            Some(tables) if tables.plain() => rows::<R, P, 1>(t, range, p, sums, |[quad]| {
                fetch_line::<_MM_HINT_T0>(core::ptr::from_ref(quad).wrapping_add(AHEAD).cast());
                let (high, low) = tables.plain_bytes(get(&quad.0));
                index.map(|index| _mm512_permutex2var_epi8(low, index, high))
            }),
            Some(tables) => rows::<R, P, 1>(t, range, p, sums, |[quad]| {
                let (high, low) = tables.bytes(get(&quad.0));
                index.map(|index| _mm512_permutex2var_epi8(low, index, high))
            }),
            None => rows::<R, P, 2>(t, range, p, sums, |pairs| {
                let next = core::ptr::from_ref(pairs).wrapping_add(AHEAD);
                fetch_line::<_MM_HINT_T0>(next.cast());
                fetch_line::<_MM_HINT_T0>(next.cast::<Line>().wrapping_add(1).cast());
                [get(&pairs[0].0), get(&pairs[1].0)]
            }),
        }
    }
}

/// All rows and the panels from `first` on: where fewer are given, the last is multiplied again,
/// and those results are not looked at. `pairs` makes two lines of pairs of the `L` lines of a quad.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,popcnt,avx512bf16")]
fn rows<const R: usize, const P: usize, const L: usize>(
    t: &Thin<'_>,
    (first, given): (usize, usize),
    p: &mut WideSums,
    sums: &mut WideSums,
    pairs: impl Fn(&[Line; L]) -> [__m512i; 2],
) {
    let (a, _) = t.a.as_chunks::<R>();
    let (a, _) = a.as_chunks::<2>();
    let n = a.len().min(t.b[first].len() / L);
    let mut b = [&[][..]; P];
    let mut scales = [&[][..]; P];
    for (h, (b, scales)) in b.iter_mut().zip(&mut scales).enumerate() {
        let panel = (first + h).min(given - 1);
        *b = &t.b[panel].as_chunks::<L>().0[..n];
        *scales = t.scales_b[panel];
    }
    let line = |r: usize, h: usize| (first + h) * LANES + r;
    let mut chains = [[_mm512_setzero_ps(); P]; R];
    if !t.whole[0] {
        for r in 0..R {
            for h in 0..P {
                chains[r][h] = load(&p[line(r, h)]);
            }
        }
    }
    let (mut at, mut segment) = (0, 0);
    while at < n {
        let end = n.min(at + t.each);
        step(&a[at..end], b.map(|b| &b[at..end]), &mut chains, &pairs);
        if end == n && !t.whole[1] {
            break;
        }
        let mut sa = &Line::ZERO;
        let mut sb = [_mm512_setzero_ps(); P];
        if t.join != Join::Add {
            sa = &t.scales_a[segment];
            for h in 0..P {
                sb[h] = load(&scales[h][segment]);
            }
        }
        for r in 0..R {
            let mut joined = [_mm512_setzero_ps(); P];
            for h in 0..P {
                joined[h] = load(&sums[line(r, h)]);
            }
            let joined = join::<P>(t.join, joined, chains[r], sa, &sb, r);
            for h in 0..P {
                put(&mut sums[line(r, h)].0, _mm512_castps_si512(joined[h]), false);
            }
            chains[r] = [_mm512_setzero_ps(); P];
        }
        (at, segment) = (end, segment + 1);
    }
    for r in 0..R {
        for h in 0..P {
            put(&mut p[line(r, h)].0, _mm512_castps_si512(chains[r][h]), false);
        }
    }
}

/// Some quads of a segment. Not inlined, for the chains stay in registers only where nothing looks
/// into them row by row.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,popcnt,avx512bf16")]
fn step<const R: usize, const P: usize, const L: usize>(
    a: &[[[u32; R]; 2]],
    b: [&[[Line; L]]; P],
    chains: &mut [[__m512; P]; R],
    pairs: &impl Fn(&[Line; L]) -> [__m512i; 2],
) {
    let mut c = *chains;
    for i in 0..a.len() {
        let mut lines = [[_mm512_setzero_si512(); 2]; P];
        for h in 0..P {
            lines[h] = pairs(&b[h][i]);
        }
        for k in 0..2 {
            for r in 0..R {
                let word = _mm512_set1_epi32(a[i][k][r] as i32);
                for h in 0..P {
                    c[r][h] = step_pairs(c[r][h], lines[h][k], word);
                }
            }
        }
    }
    *chains = c;
}
