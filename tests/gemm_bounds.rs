//! How far products are from the real numbers: the bounds A2, of a sum of exact products, and A4,
//! of a product of quantized matrices, for casts of recipes × K × spreads. None is passed.
//!
//! A2 (Higham, Accuracy and Stability of Numerical Algorithms, chapter 3): a sum in which each term
//! meets n roundings is off by at most γₙ = n u / (1 − n u) of the sum of magnitudes. A4: x̂, which a
//! code and its scale stand for, is off from x by at most dx (A3), so
//! |ĉ − x·y| ≤ Σ (dx |y| + |x| dy + dx dy) + γₙ Σ (|x| + dx)(|y| + dy).
#![cfg(feature = "std")]

mod common;

use common::gemm::bounds::{U, gamma, roundings, sums_of};
use common::gemm::{Call, Factor, Words, ordinary};
use common::scaling::Source;
use quarter::gemm::{Accumulation, gemm_nt};
use std::sync::Mutex;

const ROWS: usize = 7;

/// The bounds are themselves sums in f64.
const SLACK: f64 = 1e-11;

/// How the numbers of an operand are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spread {
    Gaussian,
    /// x · |x|⁵: a few elements are far larger than the rest.
    HeavyTail,
    /// One element of 1,000 in each run of 32.
    OneHuge,
    /// Equal magnitudes and signs in turn: what is summed cancels.
    Alternating,
    /// Positive: nothing cancels.
    Positive,
    /// The second half of K is the negative of the first, but for the last bits.
    Cancelling,
    /// One large product, then ones of a little more than half of the place that its sum has last:
    /// each is rounded up by almost as much.
    Stagnant,
}

const SPREADS: [Spread; 7] = [
    Spread::Gaussian,
    Spread::HeavyTail,
    Spread::OneHuge,
    Spread::Alternating,
    Spread::Positive,
    Spread::Cancelling,
    Spread::Stagnant,
];

/// Rows of k numbers, for the left operand or the right one.
fn numbers(spread: Spread, k: usize, right: bool, seed: u64) -> Factor {
    let mut x = ordinary(ROWS * k, seed);
    let mut words = Words::new(seed + 1);
    for (i, x) in x.iter_mut().enumerate() {
        let at = i % k;
        *x = match spread {
            Spread::Gaussian => *x,
            Spread::HeavyTail => *x * x.abs().powi(5),
            Spread::OneHuge if at % 32 == words.below(32) => *x * 1000.0,
            Spread::OneHuge => *x,
            Spread::Alternating if right => x.abs() + 1.0,
            Spread::Alternating => {
                if at.is_multiple_of(2) {
                    1.25
                } else {
                    -1.25
                }
            }
            Spread::Positive => x.abs() + 0.01,
            Spread::Cancelling => *x,
            // Products 448 · 448 = 200,704 and 9 · 2^−10, where the last place is 2^−6.
            Spread::Stagnant if at == 0 => 448.0,
            Spread::Stagnant if right => 0.0625,
            Spread::Stagnant => 0.140_625,
        };
    }
    if spread == Spread::Cancelling && !right {
        for row in x.chunks_exact_mut(k) {
            let (first, second) = row.split_at_mut(k / 2);
            second.iter_mut().zip(first).for_each(|(y, x)| *y = -*x * (1.0 + 1e-3));
        }
    }
    Factor::values(Source::F32(x), (ROWS, k))
}

const CASTS: [[&str; 2]; 16] = [
    ["f32", "f32"],
    ["bf16", "bf16"],
    ["e4m3:tensor:te-current", "e4m3:tensor:te-current"],
    ["e5m2:tensor:te-current-pow2", "e4m3:tensor:te-current-pow2"],
    ["e4m3:row:torchao", "e4m3:row:torchao"],
    ["e4m3:1x128:te-block", "e4m3:128x128:te-block"],
    ["e4m3:1x128:te-block-f32", "e4m3:128x128:te-block-f32"],
    ["e4m3:1x128:deepseek", "e4m3:128x128:deepseek"],
    ["e4m3:1x128:deepgemm", "e4m3:1x128:deepgemm"],
    ["e5m2:1x128:torchao-block", "e4m3:1x128:torchao-block"],
    ["e4m3:1x32:te-mx", "e4m3:1x32:te-mx"],
    ["e5m2:1x32:ocp-floor", "e4m3:1x32:ocp-floor"],
    ["e2m3:1x32:ocp-rceil", "e3m2:1x32:ocp-rceil"],
    ["e2m1:1x32:ocp-even", "e2m1:1x32:ocp-even"],
    ["e2m1:1x16:nvfp4", "e2m1:16x16:nvfp4"],
    ["bf16", "e4m3:128x128:te-block-f32"],
];

const DEPTHS: [usize; 7] = [32, 96, 128, 500, 1024, 2048, 4096];

/// The bound A3 on |x̂ − x| of each element: of its format, its scale, and what saturates.
fn distances(x: &Factor, cast: &Factor) -> Vec<f64> {
    let (k, numbers) = (x.shape().1, x.elements());
    let Factor::Codes { of, .. } = cast else {
        // One rounding to bf16, or none.
        let u = if matches!(cast, Factor::Values { of: Source::Bf16(_), .. }) {
            2f64.powi(-9)
        } else {
            0.0
        };
        return numbers.iter().map(|x| f64::from(x.abs()) * 2.0 * u).collect();
    };
    let spec = of.format().spec();
    let u = 2f64.powi(-(spec.precision() as i32));
    let e = u / (1.0 + u) + 6.0 * U;
    let (half, max) = (spec.min_positive() / 2.0, spec.max());
    let global = cast.scales().map_or(1.0, |scales| f64::from(scales.global_scale_inv()));
    let one = |(i, x): (usize, &f32)| {
        let scale = cast.scale(i / k, i % k).map_or(1.0, f64::from) * global;
        let size = f64::from(x.abs());
        // Half of the smallest code, or what is beyond the largest.
        size * e + half * scale + (size - max * scale).max(0.0)
    };
    numbers.iter().enumerate().map(one).collect()
}

/// What was found under a cast: dots, and the largest parts of A2 and A4 that an error took.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    dots: usize,
    a2: f64,
    a4: f64,
}

fn check(casts: [&str; 2], k: usize, spread: Spread, promote: Option<u32>, found: &mut Found) {
    let seed = (k * 31 + spread as usize) as u64;
    let values = [numbers(spread, k, false, seed), numbers(spread, k, true, seed + 99)];
    let [a, b] = [0, 1].map(|i| values[i].cast_to(casts[i]));
    let sums = Accumulation { promote, ..Accumulation::default() };
    let call = Call { sums, ..Call::new() };
    let got = call.run((ROWS, ROWS), |out, options| gemm_nt(a.input(), b.input(), out, &options));
    let got = got.unwrap_or_else(|error| panic!("{a} * {b}: {error}")).bits;
    let part = gamma(roundings(&a, &b, sums));
    // A2: from what the codes and scales stand for.
    let [x_hat, y_hat] = [&a, &b].map(Factor::numbers);
    let exact = sums_of(&x_hat, &y_hat, k);
    // A4: from the numbers before.
    let [x, y] = [0, 1].map(|i| values[i].numbers());
    let [dx, dy] = [distances(&values[0], &a), distances(&values[1], &b)];
    let wide =
        |x: &[f64], dx: &[f64]| x.iter().zip(dx).map(|(x, d)| x.abs() + d).collect::<Vec<_>>();
    let [wide_x, wide_y] = [wide(&x, &dx), wide(&y, &dy)];
    let real = sums_of(&x, &y, k);
    let widest = sums_of(&wide_x, &wide_y, k);
    for (i, bits) in got.iter().enumerate() {
        let got = f64::from(f32::from_bits(*bits as u32));
        let at = || {
            format!(
                "{a} * {b}, K = {k}, {spread:?}, promote {promote:?}: [{}, {}] {:08x} ({got:e})",
                i / ROWS,
                i % ROWS,
                bits
            )
        };
        let (c, size) = exact[i];
        let (error, bound) = ((got - c).abs(), part * size + SLACK * size);
        assert!(error <= bound, "{}: A2: {error:e} from {c:e}, more than {bound:e}", at());
        found.a2 = found.a2.max(if bound > 0.0 { error / bound } else { 0.0 });
        let ((c, size), (wide, _)) = (real[i], widest[i]);
        // Σ (|x| + dx)(|y| + dy) − Σ |x||y| is what quantizing may do.
        let bound = (wide - size) + part * wide + SLACK * wide;
        let error = (got - c).abs();
        assert!(error <= bound, "{}: A4: {error:e} from {c:e}, more than {bound:e}", at());
        found.a4 = found.a4.max(if bound > 0.0 { error / bound } else { 0.0 });
        found.dots += 1;
    }
}

/// No product is farther from the real numbers than A2 and A4 say; some are almost as far.
#[test]
fn no_bound_is_passed() {
    let found = Mutex::new([Found::default(); CASTS.len()]);
    let jobs = CASTS.len() * DEPTHS.len();
    let chosen = common::gemm::spread_over(jobs);
    common::parallel(chosen.len(), |i| {
        let (cast, k) = (chosen[i] % CASTS.len(), DEPTHS[chosen[i] / CASTS.len()]);
        let mut here = Found::default();
        for spread in SPREADS {
            for promote in [None, Some(64), Some(5000)] {
                check(CASTS[cast], k, spread, promote, &mut here);
            }
        }
        let all = &mut found.lock().unwrap()[cast];
        all.dots += here.dots;
        (all.a2, all.a4) = (all.a2.max(here.a2), all.a4.max(here.a4));
    });
    let found = found.into_inner().unwrap();
    println!(
        "{:56} {:>7} {:>10} {:>10}",
        "largest part of a bound that an error took", "dots", "A2", "A4"
    );
    for (casts, Found { dots, a2, a4 }) in CASTS.iter().zip(&found) {
        println!("{:56} {dots:7} {a2:10.4} {a4:10.4}", casts.join(" * "));
    }
    let dots: usize = found.iter().map(|found| found.dots).sum();
    let [a2, a4] =
        [|f: &Found| f.a2, |f: &Found| f.a4].map(|of| found.iter().map(of).fold(0.0, f64::max));
    println!("{dots} dots, no violation; at most {a2:.4} of A2 and {a4:.4} of A4");
    assert!(a2 > 0.3 && a4 > 0.3, "bounds that nothing comes near prove nothing: {a2}, {a4}");
    for (casts, found) in CASTS.iter().zip(&found).filter(|(_, found)| found.dots > 0) {
        assert!(found.a2 > 1e-3 && found.a4 > 1e-3, "{casts:?}: {found:?}");
    }
}
