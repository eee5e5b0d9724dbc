//! A tile of a matrix product, and what is done with its sums.
//!
//! Every sum is a chain of fused multiply-adds in ascending k; rows and columns are vectorised and
//! K is not.

use super::decode::one;
use super::math;
use crate::arch::decoder::Decoder;
use crate::arch::tile::{Activation, Finish, Join, LANES, Line, QUAD, Sums, Thin, Tile, WideSums};
use core::hint::black_box;

/// Rows whose sums are kept in registers: compilers find room for no more in sixteen registers.
const ROWS: usize = 4;

/// fma(a, b, c), with one rounding. `FUSED`: the instruction set has it; `exact`: a · b is exact.
#[inline(always)]
fn fma<const FUSED: bool>(exact: bool, a: f32, b: f32, c: f32) -> f32 {
    #[cfg(feature = "std")] // without it core has no mul_add yet, and nobody calls this
    if FUSED {
        return a.mul_add(b, c);
    }
    if exact { a * b + c } else { fma_by_f64(a, b, c) }
}

/// fma(a, b, c) where there is no instruction: the product is exact in f64, the sum is rounded to
/// odd there, and f64 has enough bits more than f32 for the second rounding to be the only one.
#[inline(always)]
pub(crate) fn fma_by_f64(a: f32, b: f32, c: f32) -> f32 {
    sum_to_odd(f64::from(a) * f64::from(b), f64::from(c)) as f32
}

/// product + c in f64, and where that is not exact, the neighbour whose last bit is set.
#[inline(always)]
pub(crate) fn sum_to_odd(product: f64, c: f64) -> f64 {
    let sum = product + c;
    // What the sum lost, exactly (Knuth's TwoSum); NaN where something is not finite.
    let c_part = sum - product;
    let lost = (product - (sum - c_part)) + (c - c_part);
    let bits = sum.to_bits();
    // Toward odd: the last bit is set if anything was lost, after a step toward zero if the sum
    // was rounded away from it.
    let away = ((lost > 0.0) & (sum < 0.0)) | ((lost < 0.0) & (sum > 0.0));
    let inexact = (lost > 0.0) | (lost < 0.0);
    let mask = u64::from(inexact).wrapping_neg();
    f64::from_bits((bits - u64::from(away)) | (1 & mask))
}

/// fl(p · 2^exponent) with one rounding, for integers of −508 to 508; NaN for NaN.
#[inline(always)]
fn scaled(p: f32, exponent: f32) -> f32 {
    let power = f64::from_bits(((exponent as i64 + 1023) as u64) << 52);
    let power = if exponent.is_nan() { f64::NAN } else { power };
    (f64::from(p) * power) as f32
}

/// The sum `acc` after that of a segment joined.
#[inline(always)]
fn join<const FUSED: bool>(join: Join, acc: f32, p: f32, sa: f32, sb: f32) -> f32 {
    match join {
        Join::Add => acc + p,
        Join::DeepSeek => acc + p * sa * sb,
        Join::DeepGemm => acc + p * (sa * sb),
        Join::Te => fma::<FUSED>(false, p * sa, sb, acc),
        Join::Power => acc + scaled(p, sa + sb),
        Join::Product => fma::<FUSED>(false, p, sa * sb, acc),
    }
}

/// Adds the products of the tile's panels to `sums`.
#[inline(always)]
pub(crate) fn tile<const FUSED: bool>(t: &Tile<'_>, sums: &mut Sums) {
    debug_assert!(!t.pairs, "only a unit for bf16 reads pairs");
    if t.fresh {
        *sums = [Line::ZERO; 2 * LANES];
    }
    for half in 0..2 {
        if t.b[half].is_empty() && !t.a.is_empty() {
            continue;
        }
        let sums = &mut sums[half * LANES..][..LANES];
        for from in (0..t.rows).step_by(ROWS) {
            match t.rows - from {
                1 => rows::<1, FUSED>(t, half, from, sums),
                2 => rows::<2, FUSED>(t, half, from, sums),
                3 => rows::<3, FUSED>(t, half, from, sums),
                _ => rows::<ROWS, FUSED>(t, half, from, sums),
            }
        }
    }
}

#[inline(always)]
fn rows<const R: usize, const FUSED: bool>(
    t: &Tile<'_>,
    half: usize,
    from: usize,
    sums: &mut [Line],
) {
    let (mut a, mut b) = (t.a, t.b[half]);
    for (segment, lines) in t.segments.iter().enumerate() {
        let (a_now, a_rest) = a.split_at(*lines as usize);
        let (b_now, b_rest) = b.split_at(*lines as usize);
        (a, b) = (a_rest, b_rest);
        let mut p = [[0.0_f32; LANES]; R];
        if t.exact && !FUSED {
            chain::<R, FUSED>(true, from, a_now, b_now, &mut p);
        } else {
            chain::<R, FUSED>(false, from, a_now, b_now, &mut p);
        }
        joined::<R, FUSED>(t, (half, segment), from, &p, sums);
    }
}

/// Joins the chains of R rows to the sums of one half.
#[inline(always)]
pub(crate) fn joined<const R: usize, const FUSED: bool>(
    t: &Tile<'_>,
    (half, segment): (usize, usize),
    from: usize,
    p: &[[f32; LANES]; R],
    sums: &mut [Line],
) {
    let (mut sa, mut sb) = (Line::ZERO, Line::ZERO);
    if t.join != Join::Add {
        (sa, sb) = (t.scales_a[segment], t.scales_b[half][segment]);
    }
    // Hides from the compiler that the sums of two segments are in the same place: it would keep
    // them in registers that it does not have.
    let sums = &mut black_box(&mut *sums)[from..from + R];
    for (r, (sums, p)) in sums.iter_mut().zip(p).enumerate() {
        let sa = sa.f32(from + r);
        each(sums, |acc, j| join::<FUSED>(t.join, acc, p[j], sa, sb.f32(j)));
    }
}

/// Sums of segments, of rows times sixteen columns, join those before them, by the rows' scales and the
/// columns'.
#[inline(always)]
pub(crate) fn join_sums<const FUSED: bool>(
    rule: Join,
    rows: usize,
    [sa, sb]: &[Line; 2],
    p: &[Line; LANES],
    sums: &mut [Line; LANES],
) {
    for (r, (sum, p)) in sums.iter_mut().zip(p).enumerate().take(rows) {
        let sa = sa.f32(r);
        each(sum, |acc, j| join::<FUSED>(rule, acc, p.f32(j), sa, sb.f32(j)));
    }
}

#[inline(always)]
fn chain<const R: usize, const FUSED: bool>(
    exact: bool,
    from: usize,
    a: &[Line],
    b: &[Line],
    p: &mut [[f32; LANES]; R],
) {
    for (a, b) in a.iter().zip(b) {
        for (r, p) in p.iter_mut().enumerate() {
            let x = a.f32(from + r);
            for (j, p) in p.iter_mut().enumerate() {
                *p = fma::<FUSED>(exact, x, b.f32(j), *p);
            }
        }
    }
}

/// Continues the chains `p`, and joins those that end.
#[inline(always)]
pub(crate) fn thin<const FUSED: bool>(t: &Thin<'_>, p: &mut WideSums, sums: &mut WideSums) {
    debug_assert!(!t.pairs, "only a unit for bf16 reads pairs");
    let Some(decoder) = t.decoder else { return };
    for (panel, quads) in t.b.iter().enumerate() {
        let rows = panel * LANES..panel * LANES + t.rows;
        let (p, sums) = (&mut p[rows.clone()], &mut sums[rows]);
        for (segment, quads) in quads.chunks(t.each).enumerate() {
            let last = (segment + 1) * t.each >= t.b[panel].len();
            if segment > 0 || t.whole[0] {
                p.fill(Line::ZERO);
            }
            for (quad, i) in quads.iter().zip(segment * t.each..) {
                quad_of::<FUSED>(decoder, t, quad, QUAD * i, p);
            }
            if last && !t.whole[1] {
                continue;
            }
            let (mut sa, mut sb) = (Line::ZERO, Line::ZERO);
            if t.join != Join::Add {
                (sa, sb) = (t.scales_a[segment], t.scales_b[panel][segment]);
            }
            for (r, (sum, p)) in sums.iter_mut().zip(&*p).enumerate() {
                let sa = sa.f32(r);
                each(sum, |acc, j| join::<FUSED>(t.join, acc, p.f32(j), sa, sb.f32(j)));
            }
        }
    }
}

#[inline(always)]
fn quad_of<const FUSED: bool>(d: &Decoder, t: &Thin<'_>, quad: &Line, at: usize, p: &mut [Line]) {
    for k in 0..QUAD {
        let mut values = [0.0; LANES];
        for (value, codes) in values.iter_mut().zip(&quad.0) {
            let code = (codes >> (8 * k)) as u8;
            let bits = if d.arithmetic { one(d, code) } else { d.table[usize::from(code)] };
            *value = f32::from_bits(bits);
        }
        for (p, a) in p.iter_mut().zip(&t.a[(at + k) * t.rows..]) {
            let a = f32::from_bits(*a);
            each(p, |p, j| fma::<FUSED>(t.exact, a, values[j], p));
        }
    }
}

/// Scales, alpha, C, bias and activation, in place, of the first `rows` rows.
#[inline(always)]
pub(crate) fn finish<const FUSED: bool>(f: &Finish<'_>, rows: usize, sums: &mut Sums) {
    if let (Some(a), Some(b), None, None, None, Activation::None) =
        (f.scale_a, f.scale_b, f.alpha, f.c, f.bias, f.activation)
    {
        // What most products ask for, in one pass.
        for (sums, b) in sums.as_chunks_mut::<LANES>().0.iter_mut().zip(b) {
            for (r, line) in sums.iter_mut().enumerate().take(rows) {
                let a = a.f32(r);
                each(line, |t, j| t * a * b.f32(j));
            }
        }
        return;
    }
    for half in 0..2 {
        for r in 0..rows {
            let line = &mut sums[half * LANES + r];
            if let Some(scale) = f.scale_a {
                let scale = scale.f32(r);
                each(line, |t, _| t * scale);
            }
            if let Some(scale) = f.scale_b {
                each(line, |t, j| t * scale[half].f32(j));
            }
            if let Some(alpha) = f.alpha {
                each(line, |t, _| alpha * t);
            }
            if let Some((beta, c)) = f.c {
                let c = &c[half * LANES + r];
                each(line, |t, j| fma::<FUSED>(false, beta, c.f32(j), t));
            }
            if let Some(bias) = f.bias {
                each(line, |t, j| t + bias[half].f32(j));
            }
            match f.activation {
                Activation::None => {}
                Activation::Relu => each(line, |t, _| if t > 0.0 || t.is_nan() { t } else { 0.0 }),
                Activation::Gelu => each(line, |t, _| math::gelu(t)),
            }
        }
    }
}

#[inline(always)]
fn each(line: &mut Line, f: impl Fn(f32, usize) -> f32) {
    for j in 0..LANES {
        line.0[j] = f(line.f32(j), j).to_bits();
    }
}

/// Copies the first `rows` rows of 32 to places at a distance.
#[inline(always)]
pub(crate) fn store(rows: usize, stride: usize, sums: &Sums, out: &mut [u32]) {
    let (left, right) = sums.split_at(LANES);
    for ((left, right), row) in left.iter().zip(right).take(rows).zip(out.chunks_mut(stride)) {
        if let Some(row) = row.first_chunk_mut::<{ 2 * LANES }>() {
            row[..LANES].copy_from_slice(&left.0);
            row[LANES..].copy_from_slice(&right.0);
        }
    }
}

/// The same, rounded to bf16: to nearest even, NaN quiet.
#[inline(always)]
pub(crate) fn store_bf16(rows: usize, stride: usize, sums: &Sums, out: &mut [u16]) {
    let (left, right) = sums.split_at(LANES);
    for ((left, right), row) in left.iter().zip(right).take(rows).zip(out.chunks_mut(stride)) {
        for (line, place) in [left, right].into_iter().zip(row.chunks_exact_mut(LANES)) {
            for (place, bits) in place.iter_mut().zip(&line.0) {
                let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
                let nan = (bits >> 16) | 0x40;
                *place = (if bits & 0x7fff_ffff > 0x7f80_0000 { nan } else { rounded }) as u16;
            }
        }
    }
}
