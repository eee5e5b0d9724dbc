//! A few rows times codes that are decoded in registers: what reads the right operand once.

use super::avx512::{get, portable, put};
use super::avx512_decode::Tables;
use super::avx512_panel::PAIRS;
use super::avx512_tile::{join, load, step_pairs};
use crate::arch::decoder::Decoder;
use crate::arch::tile::{Join, LANES, Line, Sums, THIN, Thin};
use core::arch::x86_64::*;

/// The chains of pairs; f32 goes by the portable kernel.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,popcnt,avx512bf16")]
pub(super) fn thin_bf16(d: &Decoder, t: &Thin<'_>, p: &mut Sums, sums: &mut Sums) {
    if !t.pairs {
        return portable::thin(d, t, p, sums);
    }
    match t.a.len() {
        0 => {}
        1 => rows::<1>(d, t, p, sums),
        2 => rows::<2>(d, t, p, sums),
        3 => rows::<3>(d, t, p, sums),
        4 => rows::<4>(d, t, p, sums),
        5 => rows::<5>(d, t, p, sums),
        6 => rows::<6>(d, t, p, sums),
        7 => rows::<7>(d, t, p, sums),
        _ => rows::<THIN>(d, t, p, sums),
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,popcnt,avx512bf16")]
fn rows<const R: usize>(d: &Decoder, t: &Thin<'_>, p: &mut Sums, sums: &mut Sums) {
    let tables = Tables::new(d);
    let index = [get(&PAIRS[0]), get(&PAIRS[1])];
    let n = t.b[0].len();
    // Without a second panel the first is multiplied twice, and one result is not looked at.
    let b = if t.b[1].is_empty() { [t.b[0]; 2] } else { t.b };
    let mut a = [&[][..]; R];
    for (words, row) in a.iter_mut().zip(t.a) {
        *words = &row.as_chunks::<2>().0[..n];
    }
    let row = |r: usize| (t.first + r) % LANES;
    let mut chains = [[_mm512_setzero_ps(); 2]; R];
    if !t.whole[0] {
        for r in 0..R {
            chains[r] = [load(&p[row(r)]), load(&p[LANES + row(r)])];
        }
    }
    let pairs = |quad: &Line| {
        let (high, low) = tables.bytes(get(&quad.0));
        index.map(|index| _mm512_permutex2var_epi8(low, index, high))
    };
    let (mut at, mut segment) = (0, 0);
    while at < n {
        let end = n.min(at + t.each);
        for (i, (left, right)) in (at..end).zip(b[0][at..end].iter().zip(&b[1][at..end])) {
            let (x, y) = (pairs(left), pairs(right));
            for r in 0..R {
                for k in 0..2 {
                    let word = _mm512_set1_epi32(a[r][i][k] as i32);
                    chains[r][0] = step_pairs(chains[r][0], word, x[k]);
                    chains[r][1] = step_pairs(chains[r][1], word, y[k]);
                }
            }
        }
        if end == n && !t.whole[1] {
            break;
        }
        let mut sa = &Line::ZERO;
        let mut sb = [_mm512_setzero_ps(); 2];
        if t.join != Join::Add {
            let second = t.scales_b[1].get(segment).unwrap_or(&Line::ZERO);
            sa = &t.scales_a[segment];
            sb = [load(&t.scales_b[0][segment]), load(second)];
        }
        for r in 0..R {
            let s = [load(&sums[row(r)]), load(&sums[LANES + row(r)])];
            let [x, y] = join::<2>(t.join, s, chains[r], sa, sb, row(r));
            put(&mut sums[row(r)].0, _mm512_castps_si512(x), false);
            put(&mut sums[LANES + row(r)].0, _mm512_castps_si512(y), false);
            chains[r] = [_mm512_setzero_ps(); 2];
        }
        (at, segment) = (end, segment + 1);
    }
    for r in 0..R {
        put(&mut p[row(r)].0, _mm512_castps_si512(chains[r][0]), false);
        put(&mut p[LANES + row(r)].0, _mm512_castps_si512(chains[r][1]), false);
    }
}
