//! Sums as matrix units keep them, sixteen columns side by side, in f64: it holds every product and
//! every aligned sum exactly.

#![allow(clippy::needless_range_loop)] // lanes of several lines side by side

use super::tile::sum_to_odd;
use crate::arch::tile::{LANES, Line};
use crate::arch::units::{Accumulators, Chain, Fused, NO_EXPONENT, NO_SCALE, Output, Rule};

type Wide = [f64; LANES];

/// Exponents of elements, at least `least`.
#[inline(always)]
pub(crate) fn exponents(least: i32, values: &[Line], out: &mut [Line]) {
    for (value, out) in values.iter().zip(out) {
        for j in 0..LANES {
            out.0[j] = exponent_of(value.0[j], least, NO_EXPONENT) as u32;
        }
    }
}

/// Continues the chains of c over all of K.
#[inline(always)]
pub(crate) fn chain(t: &Chain<'_>, c: &mut Accumulators) {
    let c = &mut c[..t.rows];
    match t.rule {
        Rule::Fused(rule) => {
            for (r, c) in c.iter_mut().enumerate() {
                if t.small && narrow_fits(&rule, t) && moderate(c) {
                    narrow(t, rule, r, c);
                } else {
                    fused(t, rule, r, c);
                }
            }
        }
        Rule::Cdna3 { products, halves } => {
            for (r, c) in c.iter_mut().enumerate() {
                cdna3(t, products as usize, halves, r, c);
            }
        }
        // Each step waits for the one before it: rows go side by side.
        Rule::FmaPairs => fma_pairs(t, c),
        Rule::Amx => amx(t, c),
        Rule::BfDot { extended } => bf_dot(t, extended, c),
        Rule::Exact => debug_assert!(false, "has a path of its own"),
    }
}

/// Whether every aligned term and their sum fit f32.
pub(crate) const fn narrow_fits(rule: &Fused, t: &Chain<'_>) -> bool {
    rule.fraction <= 13
        && rule.products <= 32
        && rule.late.is_none()
        && !rule.scaled
        && matches!(t.output, Output::E8M13)
}

/// Whether these are zeros or of magnitudes that leave room for scaling.
#[inline(always)]
pub(crate) fn moderate(c: &Line) -> bool {
    const RANGE: core::ops::Range<u32> = (127 - 90) << 23..(127 + 100) << 23;
    let inside = |bits: &u32| *bits << 1 == 0 || RANGE.contains(&(bits & 0x7fff_ffff));
    c.0.iter().fold(true, |all, bits| all & inside(bits))
}

/// 8-bit elements in f32: products are exact, aligned terms below 2^15, sums below 2^21.
#[inline(always)]
fn narrow(t: &Chain<'_>, rule: Fused, r: usize, c: &mut Line) {
    let (products, fraction) = (rule.products as usize, rule.fraction as i32);
    for from in (0..t.depth).step_by(products) {
        let ks = from..t.depth.min(from + products);
        let e = largest(t, r, ks.clone(), NO_EXPONENT);
        let (mut scale, mut back, mut sum) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
        for j in 0..LANES {
            let e = e[j].max(exponent_of(c.0[j], -126, rule.zero)).max(-100);
            scale[j] = f32::from_bits(((fraction - e + 127) as u32) << 23);
            back[j] = f32::from_bits(((e - fraction + 127) as u32) << 23);
            sum[j] = whole(c.f32(j) * scale[j]);
        }
        for k in ks {
            let x = t.a[k].f32(r);
            for j in 0..LANES {
                sum[j] += whole(x * t.b[k].f32(j) * scale[j]);
            }
        }
        for j in 0..LANES {
            // 13 bits below the leading one, and no −0.
            let kept = f32::from_bits(sum[j].to_bits() & !0x3ff);
            c.0[j] = (kept * back[j] + 0.0).to_bits();
        }
    }
}

/// Toward zero, of numbers below 2^22.
#[inline(always)]
fn whole(x: f32) -> f32 {
    const WHOLE: f32 = (1 << 23) as f32;
    let magnitude = x.abs();
    let near = (magnitude + WHOLE) - WHOLE;
    (if near > magnitude { near - 1.0 } else { near }).copysign(x)
}

/// 2^exponent.
#[inline(always)]
fn power(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

/// Toward zero, of numbers below 2^51.
#[inline(always)]
fn trunc(x: f64) -> f64 {
    const WHOLE: f64 = (1_u64 << 52) as f64;
    let magnitude = x.abs();
    let near = (magnitude + WHOLE) - WHOLE;
    (if near > magnitude { near - 1.0 } else { near }).copysign(x)
}

#[inline(always)]
fn floor(x: f64) -> f64 {
    let cut = trunc(x);
    if cut > x { cut - 1.0 } else { cut }
}

/// The largest exponent of a row's products, at least `least`.
#[inline(always)]
fn largest(t: &Chain<'_>, r: usize, ks: impl Iterator<Item = usize>, least: i32) -> [i32; LANES] {
    let mut e = [least; LANES];
    for k in ks {
        let x = t.ea[k].0[r] as i32;
        for j in 0..LANES {
            e[j] = e[j].max(x + t.eb[k].0[j] as i32);
        }
    }
    e
}

/// The exponent of an f32, at least `least`; of a zero `zero`.
#[inline(always)]
fn exponent_of(bits: u32, least: i32, zero: i32) -> i32 {
    let magnitude = bits & 0x7fff_ffff;
    if magnitude == 0 { zero } else { ((magnitude >> 23) as i32 - 127).max(least) }
}

#[inline(always)]
fn fused(t: &Chain<'_>, rule: Fused, r: usize, c: &mut Line) {
    let products = rule.products as usize;
    match rule.late {
        None => {
            for from in (0..t.depth).step_by(products) {
                *c = step(t, rule, r, from..t.depth.min(from + products), c);
            }
        }
        Some(late) => {
            for from in (0..t.depth).step_by(late as usize) {
                let all = from..t.depth.min(from + late as usize);
                let first = step(t, rule, r, all.clone().filter(|k| k % 4 < 2), &Line::ZERO);
                let sum = step(t, rule, r, all.filter(|k| k % 4 >= 2), &first);
                for j in 0..LANES {
                    let x = f64::from(c.f32(j)) + f64::from(sum.f32(j));
                    c.0[j] = match t.output {
                        Output::F16 => to_f16(x),
                        Output::F32 | Output::E8M13 => canonical(c.f32(j) + sum.f32(j)),
                    };
                }
            }
        }
    }
}

/// One step of c and the products of these elements of K.
#[inline(always)]
fn step(
    t: &Chain<'_>,
    rule: Fused,
    r: usize,
    ks: impl Iterator<Item = usize> + Clone,
    c: &Line,
) -> Line {
    let least = if t.output == Output::F16 { -14 } else { -126 };
    let fraction = rule.fraction as i32;
    let e = largest(t, r, ks.clone(), 2 * NO_EXPONENT);
    let mut shift = [0; LANES];
    if rule.scaled
        && let Some(block) = ks.clone().next().map(|k| k / 32)
    {
        let x = t.scales[0][block].0[r] as i32;
        for j in 0..LANES {
            shift[j] = x + t.scales[1][block].0[j] as i32;
        }
    }
    let (mut scale, mut own, mut back) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
    for j in 0..LANES {
        let nan = shift[j] >= NO_SCALE / 2;
        let shift = if nan { 0 } else { shift[j] };
        let e = (e[j] + shift).max(exponent_of(c.0[j], least, rule.zero));
        scale[j] = if nan { f64::NAN } else { power(fraction - e + shift) };
        own[j] = power(fraction - e);
        back[j] = power(e - fraction);
    }
    let mut sum = [0.0; LANES];
    for j in 0..LANES {
        sum[j] = trunc(f64::from(c.f32(j)) * own[j]);
    }
    for k in ks {
        let x = f64::from(t.a[k].f32(r));
        for j in 0..LANES {
            sum[j] += trunc(x * f64::from(t.b[k].f32(j)) * scale[j]);
        }
    }
    let mut d = Line::ZERO;
    for j in 0..LANES {
        d.0[j] = finished(sum[j] * back[j], t.output);
    }
    d
}

/// The bits of a sum.
#[inline(always)]
fn finished(x: f64, output: Output) -> u32 {
    match output {
        Output::F32 => cut_off::<23>(x),
        Output::E8M13 => cut_off::<13>(x),
        Output::F16 => to_f16(x),
    }
}

/// Toward zero, to so many bits of f32's fraction.
#[inline(always)]
fn cut_off<const KEPT: u32>(x: f64) -> u32 {
    let magnitude = x.abs();
    let normal = f64::from_bits(magnitude.to_bits() & !((1 << (52 - KEPT)) - 1));
    let ulp = power(126 + KEPT as i32);
    // Below 2^−126 in multiples of the smallest number; elsewhere the result is not looked at.
    let small = if magnitude < 1.0 { magnitude } else { 0.0 };
    let subnormal = trunc(small * ulp) * power(-126 - KEPT as i32);
    let cut = if magnitude < f64::from(f32::MIN_POSITIVE) { subnormal } else { normal };
    canonical(cut.copysign(x) as f32)
}

/// −0 as 0, any NaN as one.
#[inline(always)]
fn canonical(x: f32) -> u32 {
    unless_nan(x + 0.0, 0x7fff_ffff)
}

/// The f32 bits of the nearest f16, ties to even.
#[inline(always)]
fn to_f16(x: f64) -> u32 {
    let magnitude = x.abs();
    let exponent = ((magnitude.to_bits() >> 52) as i32 - 1023).clamp(-14, 16);
    let whole = 1.5 * power(52 + exponent - 10);
    let near = (magnitude + whole) - whole;
    let near = if near >= 65536.0 { f64::INFINITY } else { near };
    canonical(near.copysign(x) as f32)
}

#[inline(always)]
fn cdna3(t: &Chain<'_>, products: usize, halves: bool, r: usize, c: &mut Line) {
    for from in (0..t.depth).step_by(products) {
        let all = from..t.depth.min(from + products);
        let (e, sum) = if halves {
            // Steps begin at even elements.
            let (e0, s0) = aligned(t, r, all.clone().step_by(2));
            let (e1, s1) = aligned(t, r, all.skip(1).step_by(2));
            let (mut e, mut sum) = ([0; LANES], [0.0; LANES]);
            for j in 0..LANES {
                e[j] = e0[j].max(e1[j]);
                let at = |own: i32, sum: f64| floor(sum * power((own - e[j]).max(-500)));
                sum[j] = at(e0[j], s0[j]) + at(e1[j], s1[j]);
            }
            (e, sum)
        } else {
            aligned(t, r, all)
        };
        for j in 0..LANES {
            let own = exponent_of(c.0[j], -126, -126);
            let both = e[j].max(own);
            let c64 = f64::from(c.f32(j));
            let floored = floor(c64 * power(24 - both)) * 256.0;
            let floored =
                if halves && own < both - 25 && c64.abs() < f64::INFINITY { 0.0 } else { floored };
            let total = floor(sum[j] * power((e[j] - both + 8).max(-500))) + floored;
            // To 31 bits below its leading one, or below 2^−126.
            let value = total * power(both - 32);
            let leading = ((value.to_bits() >> 52 & 0x7ff) as i32 - 1023).clamp(-126, 900);
            let kept = floor(value * power(31 - leading)) * power(leading - 31);
            let kept = if value.abs() < f64::INFINITY { kept } else { value };
            c.0[j] = canonical(kept as f32);
        }
    }
}

/// Products cut off 24 bits below the largest exponent: that exponent, and their sum in these units.
#[inline(always)]
fn aligned(
    t: &Chain<'_>,
    r: usize,
    ks: impl Iterator<Item = usize> + Clone,
) -> ([i32; LANES], Wide) {
    let e = largest(t, r, ks.clone(), -1000);
    let mut scale = [0.0; LANES];
    for j in 0..LANES {
        scale[j] = power((24 - e[j]).min(1000));
    }
    let mut sum = [0.0; LANES];
    for k in ks {
        let x = f64::from(t.a[k].f32(r));
        for j in 0..LANES {
            const END: f64 = 2.0 * (1_u128 << 127) as f64;
            let product = x * f64::from(t.b[k].f32(j));
            let big = if product.abs() >= END { f64::INFINITY.copysign(product) } else { product };
            sum[j] += trunc(big * scale[j]);
        }
    }
    (e, sum)
}

/// x, or a zero of its sign. As masks: compilers see branches otherwise, and no vectors.
#[inline(always)]
fn or_zero(x: f64, zero: bool) -> f64 {
    let kept = u64::from(zero).wrapping_sub(1);
    f64::from_bits(x.to_bits() & (kept | 1 << 63))
}

/// Zero instead of a subnormal number.
#[inline(always)]
fn daz(x: f32) -> f64 {
    or_zero(f64::from(x), x.abs() < f32::MIN_POSITIVE)
}

/// Below this, the nearest number of 24 bits is subnormal.
const TINY: f64 = {
    let least = f32::MIN_POSITIVE as f64;
    least - least / (1 << 25) as f64
};

/// The nearest f32 of an exact or odd sum; zero instead of a subnormal one.
#[inline(always)]
fn ftz(x: f64) -> f32 {
    or_zero(x, x.abs() < TINY) as f32
}

const QUIET_X86: u32 = 0xffc0_0000;
const QUIET_ARM: u32 = 0x7fc0_0000;

#[inline(always)]
fn x86(x: f32) -> u32 {
    unless_nan(x, QUIET_X86)
}

/// The bits of x, or these instead of any NaN.
#[inline(always)]
fn unless_nan(x: f32, quiet: u32) -> u32 {
    // As a mask: compilers see a branch otherwise.
    let nan = u32::from(x.is_nan()).wrapping_neg();
    (x.to_bits() & !nan) | (quiet & nan)
}

/// c = fma(x, y, c).
#[inline(always)]
fn fma_flushed(x: f32, y: &Line, c: &mut Line) {
    let x = daz(x);
    for j in 0..LANES {
        c.0[j] = x86(ftz(sum_to_odd(x * daz(y.f32(j)), daz(c.f32(j)))));
    }
}

#[inline(always)]
fn fma_pairs(t: &Chain<'_>, c: &mut [Line]) {
    for k in (0..t.depth).step_by(2) {
        // The odd element first; beyond the end there are zeros.
        let odd = |lines: &[Line]| if k + 1 < t.depth { lines[k + 1] } else { Line::ZERO };
        for (a, b) in [(odd(t.a), odd(t.b)), (t.a[k], t.b[k])] {
            for (r, c) in c.iter_mut().enumerate() {
                fma_flushed(a.f32(r), &b, c);
            }
        }
    }
}

#[inline(always)]
fn amx(t: &Chain<'_>, c: &mut [Line]) {
    for from in (0..t.depth).step_by(32) {
        let mut chains = [[Line::ZERO; LANES]; 2];
        for k in from..t.depth.min(from + 32) {
            for (r, chain) in chains[k % 2].iter_mut().enumerate().take(c.len()) {
                fma_flushed(t.a[k].f32(r), &t.b[k], chain);
            }
        }
        let [even, odd] = &chains;
        for (c, (even, odd)) in c.iter_mut().zip(even.iter().zip(odd)) {
            for j in 0..LANES {
                let add = |a: f32, b: f32| x86(ftz(daz(a) + daz(b)));
                let sum = add(even.f32(j), odd.f32(j));
                c.0[j] = add(c.f32(j), f32::from_bits(sum));
            }
        }
    }
}

/// The f32 next to x on the side of an odd last bit, where x is none; zero below the normal ones.
#[inline(always)]
fn odd(x: f64) -> f32 {
    const LOST: u64 = (1 << 29) - 1;
    let bits = x.to_bits();
    let odd = bits & !LOST | u64::from(bits & LOST > 0) << 29;
    or_zero(f64::from_bits(odd), x.abs() < f64::from(f32::MIN_POSITIVE)) as f32
}

#[inline(always)]
fn bf_dot(t: &Chain<'_>, extended: bool, c: &mut [Line]) {
    for k in (0..t.depth).step_by(2) {
        // Beyond the end there are zeros.
        let second = |lines: &[Line]| if k + 1 < t.depth { lines[k + 1] } else { Line::ZERO };
        let [x, y] = [t.a, t.b].map(|lines| [lines[k], second(lines)]);
        for (r, c) in c.iter_mut().enumerate() {
            let (x0, x1) = (x[0].f32(r), x[1].f32(r));
            if extended {
                for j in 0..LANES {
                    let p0 = f64::from(x0) * f64::from(y[0].f32(j));
                    let p1 = f64::from(x1) * f64::from(y[1].f32(j));
                    c.0[j] = unless_nan(sum_to_odd(p0, p1) as f32 + c.f32(j), QUIET_ARM);
                }
            } else {
                for j in 0..LANES {
                    let product = |x: f32, y: f32| f64::from(odd(daz(x) * daz(y)));
                    let (p0, p1) = (product(x0, y[0].f32(j)), product(x1, y[1].f32(j)));
                    let sum = f64::from(odd(sum_to_odd(p0, p1)));
                    c.0[j] = unless_nan(odd(sum_to_odd(sum, daz(c.f32(j)))), QUIET_ARM);
                }
            }
        }
    }
}
