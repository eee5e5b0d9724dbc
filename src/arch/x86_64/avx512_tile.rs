//! Tiles of a matrix product with AVX-512: sums in registers, a's values broadcast from memory.
//!
//! Where segments are long, the sums of 14 × 32 stay in 28 registers and join what is in memory.
//! Where they are short, so would stores be frequent: two times 7 × 32 leave room for the joined
//! sums beside those of the segment. Both read two lines of b for 14 or 7 words of a.

use super::avx512::{get, put};
use super::fetch_line;
use crate::arch::tile::{Join, LANES, Line, Sums, Tile};
use core::arch::x86_64::*;
use core::hint::black_box;

/// Segments of so many lines and more are summed by tall tiles.
const LONG: u32 = 128;

/// How many lines ahead panels are fetched.
const AHEAD: usize = 24;

/// A row's sums with both panels of b, or with one.
pub(super) type Pair<const H: usize> = [__m512; H];

/// The tile functions of one instruction set, with `$step` for a line's multiply-adds.
macro_rules! tiles {
    ($tile:ident, $step:ident, $feature:literal) => {
        #[target_feature(enable = $feature)]
        pub(super) fn $tile(t: &Tile<'_>, sums: &mut Sums) {
            if t.fresh && t.segments.is_empty() {
                *sums = [Line::ZERO; 2 * LANES];
            }
            let long = t.segments.first().is_some_and(|lines| *lines >= LONG);
            match (t.b[1].is_empty(), t.rows, long) {
                (false, 8.., true) => match t.rows {
                    8 => tall::<8>(t, sums),
                    9 => tall::<9>(t, sums),
                    10 => tall::<10>(t, sums),
                    11 => tall::<11>(t, sums),
                    12 => tall::<12>(t, sums),
                    13 => tall::<13>(t, sums),
                    _ => tall::<14>(t, sums),
                },
                (one, rows, _) => {
                    let first = rows.div_ceil(rows.div_ceil(7).max(1));
                    let mut from = 0;
                    while from < rows {
                        let here = first.min(rows - from);
                        if one {
                            short::<1>(t, from, here, sums)
                        } else {
                            short::<2>(t, from, here, sums)
                        }
                        from += here;
                    }
                }
            }

            #[inline]
            #[target_feature(enable = $feature)]
            fn short<const H: usize>(t: &Tile<'_>, from: usize, rows: usize, sums: &mut Sums) {
                match rows {
                    1 => flat::<1, H>(t, from, sums),
                    2 => flat::<2, H>(t, from, sums),
                    3 => flat::<3, H>(t, from, sums),
                    4 => flat::<4, H>(t, from, sums),
                    5 => flat::<5, H>(t, from, sums),
                    6 => flat::<6, H>(t, from, sums),
                    _ => flat::<7, H>(t, from, sums),
                }
            }

            /// The sums of R rows in one segment.
            #[inline]
            #[target_feature(enable = $feature)]
            fn segment<const R: usize, const H: usize>(
                a: &[Line],
                b: [&[Line]; H],
                from: usize,
            ) -> [Pair<H>; R] {
                let mut p = [[_mm512_setzero_ps(); H]; R];
                let b = [b[0], b[H - 1]];
                for ((a, b0), b1) in a.iter().zip(b[0]).zip(b[1]) {
                    fetch_line::<_MM_HINT_T0>(core::ptr::from_ref(a).wrapping_add(AHEAD).cast());
                    fetch_line::<_MM_HINT_T0>(core::ptr::from_ref(b0).wrapping_add(AHEAD).cast());
                    if H == 2 {
                        fetch_line::<_MM_HINT_T0>(
                            core::ptr::from_ref(b1).wrapping_add(AHEAD).cast(),
                        );
                    }
                    let lines = [get(&b0.0), get(&b1.0)];
                    for r in 0..R {
                        let word = _mm512_set1_epi32(a.0[(from + r) % LANES] as i32);
                        for h in 0..H {
                            p[r][h] = $step(p[r][h], word, lines[h]);
                        }
                    }
                }
                p
            }

            /// R rows and 32 columns, joining sums that are in memory.
            #[target_feature(enable = $feature)]
            fn tall<const R: usize>(t: &Tile<'_>, sums: &mut Sums) {
                let (mut a, mut b) = (t.a, t.b);
                for (i, lines) in t.segments.iter().enumerate() {
                    let now = take(&mut a, &mut b, *lines);
                    let p = segment::<R, 2>(now.0, now.1, 0);
                    let (sa, sb) = scales(t, i);
                    // Hides from the compiler that the sums of two segments are in the same
                    // place: it would keep them in registers that it does not have.
                    let (left, right) = black_box(&mut *sums).split_at_mut(LANES);
                    let fresh = t.fresh && i == 0;
                    for r in 0..R {
                        let s = if fresh {
                            [_mm512_setzero_ps(); 2]
                        } else {
                            [load(&left[r]), load(&right[r])]
                        };
                        let [x, y] = join::<2>(t.join, s, p[r], sa, &sb, r);
                        put(&mut left[r].0, _mm512_castps_si512(x), false);
                        put(&mut right[r].0, _mm512_castps_si512(y), false);
                    }
                }
            }

            /// R rows and 16 or 32 columns, all sums in registers.
            #[target_feature(enable = $feature)]
            fn flat<const R: usize, const H: usize>(t: &Tile<'_>, from: usize, sums: &mut Sums) {
                let mut s = [[_mm512_setzero_ps(); H]; R];
                for r in 0..if t.fresh { 0 } else { R } {
                    for h in 0..H {
                        s[r][h] = load(&sums[h * LANES + (from + r) % LANES]);
                    }
                }
                let (mut a, mut b) = (t.a, t.b);
                if H == 1 {
                    b[1] = b[0];
                }
                for (i, lines) in t.segments.iter().enumerate() {
                    let now = take(&mut a, &mut b, *lines);
                    let mut panels = [now.1[0]; H];
                    panels[H - 1] = now.1[H - 1];
                    let p = segment::<R, H>(now.0, panels, from);
                    let (sa, sb) = scales(t, i);
                    for r in 0..R {
                        s[r] = join::<H>(t.join, s[r], p[r], sa, &sb, (from + r) % LANES);
                    }
                }
                for r in 0..R {
                    for h in 0..H {
                        let place = &mut sums[h * LANES + (from + r) % LANES];
                        put(&mut place.0, _mm512_castps_si512(s[r][h]), false);
                    }
                }
            }
        }
    };
}

tiles!(tile_f32, step_f32, "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,popcnt");
tiles!(tile_pairs, step_pairs, "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,popcnt,avx512bf16");

/// f32 lines with every unit; the table of processors without one for bf16.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,popcnt")]
pub(super) fn tile(t: &Tile<'_>, sums: &mut Sums) {
    debug_assert!(!t.pairs, "only a unit for bf16 reads pairs");
    tile_f32(t, sums);
}

/// Pairs of bf16 with their unit.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,popcnt,avx512bf16")]
pub(super) fn tile_bf16(t: &Tile<'_>, sums: &mut Sums) {
    if t.pairs { tile_pairs(t, sums) } else { tile_f32(t, sums) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn step_f32(sum: __m512, a: __m512i, b: __m512i) -> __m512 {
    _mm512_fmadd_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), sum)
}

/// sum + a · b of the high halves, then of the low ones, each fused and rounded once: so this unit
/// computes, with subnormals taken for zeros, of which there are none.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
pub(super) fn step_pairs(sum: __m512, a: __m512i, b: __m512i) -> __m512 {
    _mm512_dpbf16_ps(sum, as_bf16(a), as_bf16(b))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn as_bf16(x: __m512i) -> __m512bh {
    // SAFETY: both are 64 bytes of any bits; they differ in name.
    unsafe { core::mem::transmute::<__m512i, __m512bh>(x) }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn load(line: &Line) -> __m512 {
    _mm512_castsi512_ps(get(&line.0))
}

/// Cuts the lines of a segment off both operands.
#[inline(always)]
fn take<'a>(
    a: &mut &'a [Line],
    b: &mut [&'a [Line]; 2],
    lines: u32,
) -> (&'a [Line], [&'a [Line]; 2]) {
    let lines = lines as usize;
    let (a_now, a_rest) = a.split_at(lines);
    let (b0_now, b0_rest) = b[0].split_at(lines);
    let (b1_now, b1_rest) = b[1].split_at(lines);
    (*a, *b) = (a_rest, [b0_rest, b1_rest]);
    (a_now, [b0_now, b1_now])
}

/// The scales of a segment, where the join reads any.
#[inline]
#[target_feature(enable = "avx512f")]
fn scales<'a>(t: &Tile<'a>, segment: usize) -> (&'a Line, [__m512; 2]) {
    if t.join == Join::Add {
        return (&Line::ZERO, [_mm512_setzero_ps(); 2]);
    }
    let sb = t.scales_b.map(|scales| scales.get(segment).unwrap_or(&Line::ZERO));
    (&t.scales_a[segment], [load(sb[0]), load(sb[1])])
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn join<const H: usize>(
    join: Join,
    mut sums: Pair<H>,
    p: Pair<H>,
    sa: &Line,
    sb: &[__m512],
    row: usize,
) -> Pair<H> {
    let sa = _mm512_set1_ps(sa.f32(row));
    for h in 0..H {
        let (acc, p, sb) = (sums[h], p[h], sb[h]);
        sums[h] = match join {
            Join::Add => _mm512_add_ps(acc, p),
            Join::DeepSeek => _mm512_add_ps(acc, _mm512_mul_ps(_mm512_mul_ps(p, sa), sb)),
            Join::DeepGemm => _mm512_add_ps(acc, _mm512_mul_ps(p, _mm512_mul_ps(sa, sb))),
            Join::Te => _mm512_fmadd_ps(_mm512_mul_ps(p, sa), sb, acc),
            Join::Power => _mm512_add_ps(acc, _mm512_scalef_ps(p, _mm512_add_ps(sa, sb))),
            Join::Product => _mm512_fmadd_ps(p, _mm512_mul_ps(sa, sb), acc),
        };
    }
    sums
}
