//! How far a product may be from the real numbers that its operands stand for.

use super::{Factor, cuts};
use quarter::gemm::Accumulation;
use quarter::scale::ScaleFormat;

/// Half of the distance of 1 and the next f32.
pub const U: f64 = 1.0 / (1u64 << 24) as f64;

/// The roundings that a product of two elements can go through on its way into the result, at
/// most: those of its segment's sum, of its scales, and of the joining of segments.
pub fn roundings(a: &Factor, b: &Factor, how: Accumulation) -> usize {
    let cuts = cuts(a, b, how.promote);
    let segments = cuts.len() - 1;
    let longest = cuts.windows(2).map(|s| s[1] - s[0]).max().unwrap_or(0);
    // Products of codes are exact, and so is what is added to +0 first.
    let codes = |of: &Factor| matches!(of, Factor::Codes { .. });
    let inner = if codes(a) && codes(b) { longest.saturating_sub(1) } else { longest };
    let joined = segments.saturating_sub(1);
    let blocks = [a.blocks(), b.blocks()];
    let has = |form| blocks.contains(&Some(form));
    let scales = usize::from(codes(a)) + usize::from(codes(b));
    inner
        + if has(ScaleFormat::E4M3) {
            segments + scales
        } else if has(ScaleFormat::E8M0) {
            joined // a power of two rounds nothing that is not subnormal
        } else {
            joined + scales
        }
}

/// A sum of n terms is off by at most this much of the sum of their magnitudes: γₙ.
pub fn gamma(n: usize) -> f64 {
    let nu = n as f64 * U;
    nu / (1.0 - nu)
}

/// Each sum over K of products of two matrices of numbers, row after row, and that of the products'
/// magnitudes.
pub fn sums_of(x: &[f64], y: &[f64], k: usize) -> Vec<(f64, f64)> {
    let one = |(x, y): (&[f64], &[f64])| {
        let products = x.iter().zip(y).map(|(x, y)| x * y);
        products.fold((0.0, 0.0), |(sum, size), p: f64| (sum + p, size + p.abs()))
    };
    x.chunks_exact(k).flat_map(|x| y.chunks_exact(k).map(move |y| one((x, y)))).collect()
}
