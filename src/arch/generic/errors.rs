//! Sums, maxima and counts of how far one slice is from another.
//!
//! Lane i takes elements i, i + 8, i + 16 ... of a chunk, in this order. A pair that is *odd* (not
//! finite, or so large or small that f64 could not hold its squares) adds nothing but to the count
//! of these: the caller looks at it alone.

use super::super::vector::{ERROR_LANES, ErrorLanes, ErrorRule};

/// What a magnitude is at least, unless it is 0: 2^-400. No f32 and no difference of two is below.
const LEAST: f64 = f64::from_bits((1023 - 400) << 52);
/// What a magnitude is below: 2^500.
const MOST: f64 = f64::from_bits((1023 + 500) << 52);
/// Relative errors and those in ulps are at most this: 2^1000.
const CAP: f64 = f64::from_bits((1023 + 1000) << 52);

#[inline(always)]
fn larger(a: f64, b: f64) -> f64 {
    if a > b { a } else { b }
}

#[inline(always)]
fn smaller(a: f64, b: f64) -> f64 {
    if a < b { a } else { b }
}

/// Whether squares and products of this are held.
#[inline(always)]
fn held(magnitude: f64) -> bool {
    (magnitude < MOST) & ((magnitude >= LEAST) | (magnitude == 0.0))
}

impl ErrorRule {
    /// Whether a pair is not odd. Pairs of f32 are odd only if one is not finite, and then the
    /// difference says so.
    #[inline(always)]
    pub(crate) fn plain<const WIDE: bool>(x: f64, y: f64) -> bool {
        let error = (x - y).abs();
        if WIDE { held(x.abs()) & held(y.abs()) & held(error) } else { error < f64::INFINITY }
    }

    /// error / |y|, at most 2^1000; 0 where y is.
    #[inline(always)]
    pub(crate) fn relative(error: f64, y: f64) -> f64 {
        if y == 0.0 { 0.0 } else { smaller(error / y.abs(), CAP) }
    }

    /// error / ulp(y), at most 2^1000.
    #[inline(always)]
    pub(crate) fn ulps(&self, error: f64, y: f64) -> f64 {
        let clamped = smaller(larger(y.abs() * self.units, self.low), self.high);
        // 2^e of the clamped magnitude, and from it 2^(1 − e), a normal number for every e of f64.
        let power = clamped.to_bits() & (2047 << 52);
        let inverse = f64::from_bits((2047 << 52) - power);
        smaller(error * inverse * self.steps, CAP)
    }
}

#[inline(always)]
fn run<const WIDE: bool, T: Copy + Into<f64>>(
    x: &[T],
    y: &[T],
    first: usize,
    rule: &ErrorRule,
    out: &mut ErrorLanes,
) {
    // To where lane 0 begins, then in whole groups of lanes.
    let head = ((ERROR_LANES - first) % ERROR_LANES).min(x.len()).min(y.len());
    let rule = *rule;
    for (i, (x, y)) in x[..head].iter().zip(&y[..head]).enumerate() {
        one::<WIDE>(&rule, (*x).into(), (*y).into(), first + i, out);
    }
    let (xs, x_tail) = x[head..].as_chunks::<ERROR_LANES>();
    let (ys, y_tail) = y[head..].as_chunks::<ERROR_LANES>();
    let mut lanes = *out;
    for (x, y) in xs.iter().zip(ys) {
        for i in 0..ERROR_LANES {
            one::<WIDE>(&rule, x[i].into(), y[i].into(), i, &mut lanes);
        }
    }
    for (i, (x, y)) in x_tail.iter().zip(y_tail).enumerate() {
        one::<WIDE>(&rule, (*x).into(), (*y).into(), i, &mut lanes);
    }
    *out = lanes;
}

#[inline(always)]
fn one<const WIDE: bool>(rule: &ErrorRule, x: f64, y: f64, i: usize, lanes: &mut ErrorLanes) {
    let plain = ErrorRule::plain::<WIDE>(x, y);
    let (x, y) = if plain { (x, y) } else { (0.0, 0.0) };
    let error = (x - y).abs();
    let relative = ErrorRule::relative(error, y);
    let ulps = rule.ulps(error, y);
    lanes.error[i] += error;
    lanes.relative[i] += relative;
    lanes.ulps[i] += ulps;
    lanes.error_squares[i] += error * error;
    lanes.actual_squares[i] += x * x;
    lanes.expected_squares[i] += y * y;
    lanes.products[i] += x * y;
    lanes.max_error[i] = larger(error, lanes.max_error[i]);
    lanes.max_relative[i] = larger(relative, lanes.max_relative[i]);
    lanes.max_ulps[i] = larger(ulps, lanes.max_ulps[i]);
    let (a, b) = (x.abs(), y.abs());
    lanes.odd[i] += u64::from(!plain);
    lanes.zeros[i] += u64::from(b == 0.0);
    lanes.flushed[i] += u64::from((a == 0.0) & (b != 0.0));
    lanes.from_zero[i] += u64::from((a != 0.0) & (b == 0.0));
    lanes.saturated[i] += u64::from((a == rule.limit) & (b > a));
    lanes.subnormal[i] += u64::from((a != 0.0) & (a < rule.min_normal));
}

/// Of f32.
#[inline(always)]
pub(crate) fn errors(x: &[f32], y: &[f32], first: usize, rule: &ErrorRule, lanes: &mut ErrorLanes) {
    run::<false, f32>(x, y, first, rule, lanes);
}

/// Of f64.
#[inline(always)]
pub(crate) fn errors_f64(
    x: &[f64],
    y: &[f64],
    first: usize,
    rule: &ErrorRule,
    lanes: &mut ErrorLanes,
) {
    run::<true, f64>(x, y, first, rule, lanes);
}
