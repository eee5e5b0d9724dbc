//! Vector operations where they are hard: rows whose mean is far larger than what it is taken from,
//! rows of equal numbers, one column and many, large logits. Each result is within a bound that is
//! derived here, from the order of sums that the law says; u = 2^-24.
#![cfg(feature = "std")]

mod common;
#[path = "common/vector.rs"]
mod vector;

use common::share;
use quarter::nn::{Exec, Mask, RowMoments, cross_entropy, layer_norm, softmax};
use vector::{exact, values, wide};

const U: f64 = 1.0 / (1 << 24) as f64;
/// Below the normal numbers an exponential may be any number.
const TINY: f64 = f32::MIN_POSITIVE as f64;

/// The most additions that a term of n meets: in one of 16 lanes of a chunk of 4,096, as lanes are
/// folded, and as chunks are added.
fn depth(n: usize) -> f64 {
    (n.min(4096).div_ceil(16) + 4 + n.div_ceil(4096)) as f64
}

/// Holds results to |result − exact| ≤ bound(i), and gives the largest part of it.
#[track_caller]
fn hold(what: &str, got: &[f32], want: &[f64], bound: impl Fn(usize) -> f64) -> f64 {
    assert_eq!(got.len(), want.len(), "{what}");
    let mut most = 0.0_f64;
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let (error, bound) = ((f64::from(*got) - want).abs(), bound(i));
        assert!(error <= bound, "{what}[{i}]: {got:e}, not {want:e}: off by {error:e} > {bound:e}");
        most = most.max(if error == 0.0 { 0.0 } else { error / bound });
    }
    println!("{what}: at most {most:.4} of the bound");
    most
}

/// With d = [`depth`], the mean is off by δ = (d + 1) u · mean |x|. Squares of what is off by that add
/// to the variance + δ², within (d + 4) u of it; eps, the root and the quotient make it (d + 9) u / 2
/// of rstd, and three more roundings are of (x − mean) · rstd · gain. With κ = δ · rstd,
///
/// |y − exact| ≤ |gain| κ + |exact − bias| ((d/2 + 8) u + κ²/2) + u |exact|
///
/// but for products of two roundings.
#[test]
fn layer_norm_of_hard_rows() {
    let eps = 1e-5_f32;
    for cols in [1, 2, 33, 4097] {
        let rows = share(16).min(if cols > 1000 { 4 } else { 16 });
        let ordinary = values(30, rows * cols);
        // σ of numbers that are even between −4 and 4 is 8 / √12.
        let far = |x: &f32| x + 1e3 * 8.0 / 12f32.sqrt();
        for (name, x) in [
            ("ordinary", ordinary.clone()),
            ("mean of 1,000 sigma", ordinary.iter().map(far).collect()),
            ("mean of -1,000 sigma", ordinary.iter().map(|x| -far(x)).collect()),
            ("constant", (0..rows * cols).map(|i| 0.1 + (i / cols) as f32).collect()),
            ("small", ordinary.iter().map(|x| x * 1e-6).collect()),
        ] {
            let (gain, bias) = (values(31, cols), values(32, cols));
            let (mut y, mut moments) = (vec![0.0; x.len()], vec![RowMoments::default(); rows]);
            let exec = Exec::new().threads(1);
            layer_norm(&x, &gain, Some(&bias), eps, &mut y, &mut moments, exec).unwrap();
            let (x, gain, bias) = (wide(&x), wide(&gain), wide(&bias));
            let want = exact::layer_norm(&x, &gain, &bias, eps.into());
            let (d, n) = (depth(cols), cols as f64);
            let kappas: Vec<f64> = x
                .chunks(cols)
                .map(|x| {
                    let [mean, size] = [|x: &f64| *x, |x: &f64| x.abs()]
                        .map(|of| x.iter().map(of).sum::<f64>() / n);
                    let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
                    (d + 1.0) * U * size / (variance + f64::from(eps)).sqrt()
                })
                .collect();
            let what = format!("layer_norm of {cols} columns, {name}");
            let most = hold(&what, &y, &want, |i| {
                let (kappa, col) = (kappas[i / cols], i % cols);
                let own = (want[i] - bias[col]).abs();
                let sum = gain[col].abs() * kappa
                    + own * ((d / 2.0 + 8.0) * U + kappa * kappa / 2.0)
                    + U * want[i].abs();
                sum * 1.001
            });
            let exact = cols == 1 || cols == 2 && name == "constant";
            assert!(most > 0.01 || exact, "{what}: {most}");
        }
    }
}

/// With L the largest |scale · x|, each argument of an exponential is off by u (L + 2 L), but for the
/// maximum that all have in common, and the exponential by 2 u of itself. The sum is off by d u more,
/// and the quotient by u: p by (6 L + d + 5) u of itself.
#[test]
fn softmax_of_large_logits() {
    for (cols, scale) in [(7, 1.0_f32), (4097, 1.0), (4097, 0.7), (share(50_000), 0.9)] {
        let x: Vec<f32> = values(33, 3 * cols).into_iter().map(|x| 20.0 * x).collect();
        let mut p = x.clone();
        softmax(&mut p, cols, scale, Mask::None, Exec::new().threads(1)).unwrap();
        let want = exact::softmax(&wide(&x), cols, scale.into(), false);
        let part = (6.0 * 80.0 * f64::from(scale) + depth(cols) + 5.0) * U * 1.001;
        let what = format!("softmax of {cols} logits within 80, scale {scale}");
        let most = hold(&what, &p, &want, |i| part * want[i] + TINY);
        assert!(most > 0.03, "{what}: {most}");
    }
}

/// Arguments are off by 2 L u and exponentials by 2 u of themselves, so that ln Σ is off by
/// (2 L + d + 2) u and 2 u of itself, max − l by u of it, a loss by u of it, and the mean of r losses by
/// depth(r) u + u more. What p is in the gradient is off by (4 L + d + 5) u of itself, and two
/// roundings follow.
#[test]
fn cross_entropy_of_many_large_logits() {
    let (vocab, rows) = (4097, 5);
    for size in [1.0_f32, 20.0] {
        let logits: Vec<f32> = values(34, rows * vocab).into_iter().map(|x| size * x).collect();
        // The last, the first, and others; of one row the largest.
        let row = &logits[3 * vocab..4 * vocab];
        let largest = (0..vocab).max_by(|i, j| row[*i].total_cmp(&row[*j])).unwrap();
        let targets = [4096, 0, 2000, largest as u32, 17];
        let mut gradient = vec![7.0; logits.len()];
        let (weight, exec) = (0.25_f32, Exec::new().threads(1));
        let loss = cross_entropy(&logits, vocab, &targets, Some(&mut gradient), weight, exec);
        let logits = wide(&logits);
        let (limit, d) = (4.0 * f64::from(size), depth(vocab));
        let want = exact::cross_entropy(&logits, vocab, &targets);
        let each = (2.0 * limit + d + 2.0 + 2.0 * (vocab as f64).ln() + 2.0 * limit) * U;
        let bound = each + want * (1.0 + depth(rows) + 1.0) * U;
        let what = format!("cross entropy of {vocab} logits within {limit}");
        let most = hold(&what, &[loss.unwrap()], &[want], |_| bound * 1.001);
        assert!(most > 0.0, "{what}");
        let p = exact::softmax(&logits, vocab, 1.0, false);
        let hit = |i: usize| if targets[i / vocab] as usize == i % vocab { 1.0 } else { 0.0 };
        let want: Vec<f64> = (0..p.len()).map(|i| 0.25 * (p[i] - hit(i))).collect();
        let what = format!("its gradient, logits within {limit}");
        let most = hold(&what, &gradient, &want, |i| {
            let own = p[i] * (4.0 * limit + d + 5.0) + (p[i] - hit(i)).abs() * 2.0;
            0.25 * own * U * 1.001 + TINY
        });
        assert!(most > 0.03, "{what}: {most}");
    }
}
