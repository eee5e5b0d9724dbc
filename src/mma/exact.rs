//! The correctly rounded dot product: in 128-bit integers where its terms are no further apart.

use super::oracle::NAN;
use super::wide::Wide;
use crate::arch::tile::{LANES, Line};
use crate::arch::units::{Accumulators, Chain};

/// Of rows times sixteen columns.
pub(super) fn chain(t: &Chain<'_>, c: &mut Accumulators) {
    for (r, c) in c.iter_mut().enumerate().take(t.rows) {
        for j in 0..LANES {
            c.0[j] = dot(t.a, t.b, (r, j), t.depth, c.0[j]);
        }
    }
}

/// An f32 as significand and the exponent of its last bit.
fn parts(x: f32) -> (i64, i32) {
    let (bits, magnitude) = (x.to_bits(), x.to_bits() & 0x7fff_ffff);
    let (significand, exponent) = match magnitude >> 23 {
        0 => (magnitude, -149),
        field => (magnitude & 0x007f_ffff | 0x0080_0000, field as i32 - 150),
    };
    let significand = i64::from(significand);
    (if bits >> 31 == 1 { -significand } else { significand }, exponent)
}

fn dot(a: &[Line], b: &[Line], (r, j): (usize, usize), depth: usize, c: u32) -> u32 {
    let c32 = f32::from_bits(c);
    let terms = || a.iter().zip(b).take(depth).map(|(a, b)| (a.f32(r), b.f32(j)));
    let (mut low, mut high, mut special) = (i32::MAX, i32::MIN, !c32.is_finite());
    for (significand, exponent) in terms()
        .map(|(x, y)| {
            special |= !(x.is_finite() && y.is_finite());
            let ((m, e), (n, f)) = (parts(x), parts(y));
            (m * n, e + f)
        })
        .chain([parts(c32)])
    {
        if significand != 0 {
            let zeros = significand.trailing_zeros() as i32;
            low = low.min(exponent + zeros);
            high = high.max(exponent + 64 - significand.unsigned_abs().leading_zeros() as i32);
        }
    }
    if special {
        // The sum of what is not finite is that of f64, where nothing overflows.
        let sum = terms().map(|(x, y)| f64::from(x) * f64::from(y)).sum::<f64>() + f64::from(c32);
        return if sum.is_nan() { NAN } else { (sum as f32).to_bits() };
    }
    if low > high {
        return 0;
    }
    let carry = usize::BITS - depth.leading_zeros();
    if high - low + carry as i32 + 2 < 127 {
        let at = |(significand, exponent): (i64, i32)| {
            let shift = exponent - low;
            // Zeros below the last bit that any term has are cut off.
            let significand = i128::from(significand);
            if shift < 0 { significand >> -shift } else { significand << shift }
        };
        let product = |(x, y): (f32, f32)| {
            let ((m, e), (n, f)) = (parts(x), parts(y));
            if m * n == 0 { (0, low) } else { (m * n, e + f) }
        };
        let c = parts(c32);
        let c = if c.0 == 0 { (0, low) } else { c };
        return nearest(terms().map(product).chain([c]).map(at).sum(), low);
    }
    let sum = terms().fold(Wide::of_f32(c32), |sum, (x, y)| {
        let ((m, e), (n, f)) = (parts(x), parts(y));
        sum.plus(&Wide::new(m * n < 0, (m * n).unsigned_abs(), e + f))
    });
    super::oracle::nearest_f32(&sum)
}

/// The f32 nearest to sum · 2^exponent.
fn nearest(sum: i128, exponent: i32) -> u32 {
    let magnitude = sum.unsigned_abs();
    // 52 bits, the last one set if anything is lost: f64 holds them, and f32 rounds them as the sum.
    let shift = (128 - magnitude.leading_zeros() as i32 - 52).max(0);
    let kept = (magnitude >> shift) as u64;
    let lost = u64::from(magnitude & ((1 << shift) - 1) != 0);
    // Exponents of products of f32 are far from the ends of f64's.
    let power = f64::from_bits(((exponent + shift + 1023) as u64) << 52);
    let x = (kept | lost) as f64 * power;
    // No −0 of what is too small.
    (if sum < 0 { -x } else { x } as f32 + 0.0).to_bits()
}
