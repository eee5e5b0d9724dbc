//! Sums, maxima and counts of how far one slice is from another.
//!
//! Lane i takes elements i, i + 8, i + 16 ... of a chunk, in this order. A pair that is *odd* (not
//! finite, or so large or small that f64 could not hold its squares) adds nothing but to the count
//! of these: the caller looks at it alone.

use super::super::vector::{
    BackwardLanes, ERROR_FIELDS, ERROR_LANES, ErrorBins, ErrorLanes, ErrorRule,
};

/// What a magnitude is at least, unless it is 0: 2^-400. No f32 and no difference of two is below.
const LEAST: f64 = f64::from_bits((1023 - 400) << 52);
/// What a magnitude is below: 2^500.
const MOST: f64 = f64::from_bits((1023 + 500) << 52);
/// Pairs whose exponents are found before they are counted: whole groups of lanes.
const BLOCK: usize = 64;
/// The exponent field of 1.
const ONE: i64 = 1023;
/// That of odd pairs.
const ODD: i64 = 2047;
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

    /// Whether a pair and its magnitude are not odd.
    #[inline(always)]
    pub(crate) fn plain_beside(x: f64, y: f64, m: f64) -> bool {
        Self::plain::<true>(x, y) & held(m.abs())
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
    for (x, y) in xs.iter().zip(ys) {
        for i in 0..ERROR_LANES {
            one::<WIDE>(&rule, x[i].into(), y[i].into(), i, out);
        }
    }
    for (i, (x, y)) in x_tail.iter().zip(y_tail).enumerate() {
        one::<WIDE>(&rule, (*x).into(), (*y).into(), i, out);
    }
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

#[inline(always)]
fn bins<const WIDE: bool, T: Copy + Into<f64>>(
    mut x: &[T],
    mut y: &[T],
    first: usize,
    out: &mut ErrorBins,
) {
    let ErrorBins { bins, low, high } = out;
    let Some(bins) = bins.first_chunk_mut::<ERROR_FIELDS>() else { return };
    let (mut fields, mut errors) = ([0; BLOCK], [0.0; BLOCK]);
    let mut from = first % ERROR_LANES;
    while !x.is_empty() && !y.is_empty() {
        // Lane 0 of a block is its first place, of which those before `from` are left out.
        let n = x.len().min(y.len()).min(BLOCK - from);
        let places = (&mut fields[from..from + n], &mut errors[from..from + n]);
        let (mut least, mut most) = (*low, *high);
        for i in 0..n {
            let (x, y) = (x[i].into(), y[i].into());
            let plain = ErrorRule::plain::<WIDE>(x, y);
            let field = (y.to_bits() >> 52 & 2047) as i64;
            let seen = if plain & (y != 0.0) { field } else { ONE };
            (least, most) = (least.min(seen), most.max(seen));
            places.0[i] = if plain { field } else { ODD };
            places.1[i] = if plain { (x - y).abs() } else { 0.0 };
        }
        (*low, *high) = (least, most);
        let mut put = |lane: usize, field: i64, error: f64| {
            let bin = &mut bins[field as usize % ERROR_FIELDS];
            bin.counts[lane] += 1;
            bin.max[lane] = larger(error, bin.max[lane]);
            bin.squares[lane] += error * error;
        };
        if n == BLOCK {
            let (fields, errors) = (fields.as_chunks().0, errors.as_chunks().0);
            for (fields, errors) in fields.iter().zip(errors) {
                let (fields, errors): (&[_; ERROR_LANES], &[_; ERROR_LANES]) = (fields, errors);
                for lane in 0..ERROR_LANES {
                    put(lane, fields[lane], errors[lane]);
                }
            }
        } else {
            for i in from..from + n {
                put(i % ERROR_LANES, fields[i], errors[i]);
            }
        }
        (x, y, from) = (&x[n..], &y[n..], 0);
    }
}

/// Of f32.
#[inline(always)]
pub(crate) fn error_bins(x: &[f32], y: &[f32], first: usize, out: &mut ErrorBins) {
    bins::<false, f32>(x, y, first, out);
}

/// Of f64.
#[inline(always)]
pub(crate) fn error_bins_f64(x: &[f64], y: &[f64], first: usize, out: &mut ErrorBins) {
    bins::<true, f64>(x, y, first, out);
}

/// Of triples.
#[inline(always)]
pub(crate) fn backward(x: &[f64], y: &[f64], m: &[f64], first: usize, out: &mut BackwardLanes) {
    let n = x.len().min(y.len()).min(m.len());
    let head = ((ERROR_LANES - first) % ERROR_LANES).min(n);
    let mut lanes = *out;
    for i in 0..head {
        one_backward(x[i], y[i], m[i], first + i, &mut lanes);
    }
    let (xs, x_tail) = x[head..n].as_chunks::<ERROR_LANES>();
    let (ys, y_tail) = y[head..n].as_chunks::<ERROR_LANES>();
    let (ms, m_tail) = m[head..n].as_chunks::<ERROR_LANES>();
    for ((x, y), m) in xs.iter().zip(ys).zip(ms) {
        for i in 0..ERROR_LANES {
            one_backward(x[i], y[i], m[i], i, &mut lanes);
        }
    }
    for (i, ((x, y), m)) in x_tail.iter().zip(y_tail).zip(m_tail).enumerate() {
        one_backward(*x, *y, *m, i, &mut lanes);
    }
    *out = lanes;
}

#[inline(always)]
fn one_backward(x: f64, y: f64, m: f64, i: usize, lanes: &mut BackwardLanes) {
    let plain = ErrorRule::plain_beside(x, y, m);
    let (error, m) = if plain { ((x - y).abs(), m.abs()) } else { (0.0, 0.0) };
    let ratio = if error == 0.0 { 0.0 } else { error / m };
    lanes.errors[i] += error * error;
    lanes.magnitudes[i] += m * m;
    lanes.max[i] = larger(ratio, lanes.max[i]);
    lanes.odd[i] += u64::from(!plain);
}
