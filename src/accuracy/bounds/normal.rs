//! The normal distribution in f64.

use core::f64::consts::{FRAC_1_SQRT_2, PI};

/// erf(x) = 2/√π ∫₀ˣ exp(−t²) dt, to 1e-15.
///
/// Below 2.5 by the series 2/√π exp(−x²) Σ 2ⁿ x^(2n+1) / (2n+1)!!, whose terms are all positive; beyond,
/// 1 − [`erfc`].
///
/// Source: Abramowitz and Stegun 7.1.6.
#[must_use]
pub fn erf(x: f64) -> f64 {
    let size = x.abs();
    if size > 2.5 {
        return (1.0 - erfc(size)).copysign(x);
    }
    let (mut term, mut sum, mut n) = (x, x, 1.0);
    while term.abs() > sum.abs() * 1e-17 {
        term *= 2.0 * x * x / (2.0 * n + 1.0);
        sum += term;
        n += 1.0;
    }
    2.0 / PI.sqrt() * (-x * x).exp() * sum
}

/// 1 − erf(x), relatively exact far out, too: from 2.5 on by the continued fraction
/// exp(−x²)/√π · 1/(x + (1/2)/(x + 1/(x + (3/2)/(x + ...)))).
///
/// Source: Abramowitz and Stegun 7.1.14.
#[must_use]
pub fn erfc(x: f64) -> f64 {
    if x < 2.5 {
        return 1.0 - erf(x);
    }
    let fraction = (1..=80).rev().fold(x, |below, n| x + f64::from(n) / 2.0 / below);
    (-x * x).exp() / PI.sqrt() / fraction
}

/// exp(−x²/2) / √(2π).
pub(super) fn density(x: f64) -> f64 {
    (-x * x / 2.0).exp() * FRAC_1_SQRT_2 / PI.sqrt()
}

/// The probability of |z| ≤ x.
pub(super) fn within(x: f64) -> f64 {
    erf(x * FRAC_1_SQRT_2)
}

/// ∫ f over a..b by Gauss and Legendre in eight points: exact for polynomials of degree 15.
pub(super) fn integral(a: f64, b: f64, f: impl Fn(f64) -> f64) -> f64 {
    const POINTS: [(f64, f64); 4] = [
        (0.183_434_642_495_649_8, 0.362_683_783_378_362),
        (0.525_532_409_916_329, 0.313_706_645_877_887_3),
        (0.796_666_477_413_626_7, 0.222_381_034_453_374_48),
        (0.960_289_856_497_536_3, 0.101_228_536_290_376_26),
    ];
    let (middle, half) = ((a + b) / 2.0, (b - a) / 2.0);
    half * POINTS
        .iter()
        .map(|(x, w)| w * (f(middle - half * x) + f(middle + half * x)))
        .sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Digits of Abramowitz and Stegun, tables 7.1 and 7.3, and symmetry.
    #[test]
    fn erf_has_the_tables_digits() {
        for (x, want) in [
            (0.0, 0.0),
            (0.5, 0.520_499_877_813_046_5),
            (1.0, 0.842_700_792_949_714_9),
            (2.0, 0.995_322_265_018_952_7),
            (3.0, 0.999_977_909_503_001_4),
        ] {
            assert!((erf(x) - want).abs() < 1e-15, "erf({x}) = {}", erf(x));
            assert_eq!(erf(-x), -erf(x));
        }
        let far = erfc(5.0) / 1.537_459_794_428_035e-12;
        assert!((far - 1.0).abs() < 1e-13, "{far}");
        // Series and fraction meet.
        let (below, above) = (erfc(2.5_f64.next_down()), erfc(2.5));
        assert!((below - above).abs() < 1e-15, "{below:e} {above:e}");
    }

    #[test]
    fn densities_integrate_to_probabilities() {
        for x in [0.1, 0.7, 1.0, 3.0] {
            let sum: f64 = (0..64)
                .map(|i| integral(x * f64::from(i) / 64.0, x * f64::from(i + 1) / 64.0, density))
                .sum();
            assert!((2.0 * sum - within(x)).abs() < 1e-14, "{x}");
        }
    }
}
