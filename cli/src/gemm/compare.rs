//! Where the same product through another unit differs.

use crate::inspect::count;
use quarter::mma::Unit;
use std::fmt::Write as _;
use std::str::FromStr;

/// Positions that are printed.
const SHOWN: usize = 5;

/// Whose sums a product is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Other {
    /// Those of the library in f32.
    F32,
    /// Those of a unit.
    Unit(&'static Unit),
}

impl Other {
    /// The unit, if it is one.
    #[must_use]
    pub const fn unit(self) -> Option<&'static Unit> {
        match self {
            Self::F32 => None,
            Self::Unit(unit) => Some(unit),
        }
    }

    /// `f32`, or the unit's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Unit(unit) => unit.name(),
        }
    }
}

impl FromStr for Other {
    type Err = quarter::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "f32" { Ok(Self::F32) } else { text.parse().map(Self::Unit) }
    }
}

/// How two products differ. NaN is equal to NaN, whatever its bits.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Outputs that were compared.
    pub outputs: usize,
    /// Outputs whose bits differ.
    pub differing: usize,
    /// Of those, the ones where one is NaN: the figures below are of the others.
    pub nans: usize,
    /// The largest and the median number of steps from one f32 to the other; from −0 to +0 there is
    /// none.
    pub ulps: [f64; 2],
    /// The largest and the median |x − y| / max(|x|, |y|) of those that are finite.
    pub relative: [f64; 2],
    /// The first that differ: where, and both.
    pub first: Vec<(usize, [f32; 2])>,
}

/// Compares outputs one by one.
#[must_use]
pub fn difference(here: &[f32], there: &[f32]) -> Difference {
    let (mut ulps, mut relative, mut first) = (Vec::new(), Vec::new(), Vec::new());
    let (mut differing, mut nans) = (0, 0);
    for (i, (x, y)) in here.iter().zip(there).enumerate() {
        if x.to_bits() == y.to_bits() || (x.is_nan() && y.is_nan()) {
            continue;
        }
        differing += 1;
        if first.len() < SHOWN {
            first.push((i, [*x, *y]));
        }
        if x.is_nan() || y.is_nan() {
            nans += 1;
            continue;
        }
        ulps.push(place(*x).abs_diff(place(*y)) as f64);
        if x.is_finite() && y.is_finite() {
            let (x, y) = (f64::from(*x), f64::from(*y));
            relative.push((x - y).abs() / x.abs().max(y.abs()).max(f64::MIN_POSITIVE));
        }
    }
    let [ulps, relative] = [ulps, relative].map(largest_and_median);
    Difference { outputs: here.len().min(there.len()), differing, nans, ulps, relative, first }
}

/// The number of an f32 among all in order; both zeros are 0.
fn place(x: f32) -> i64 {
    let magnitude = i64::from(x.to_bits() & 0x7fff_ffff);
    if x.is_sign_negative() { -magnitude } else { magnitude }
}

fn largest_and_median(mut figures: Vec<f64>) -> [f64; 2] {
    figures.sort_unstable_by(f64::total_cmp);
    let (low, high) = (figures.len().saturating_sub(1) / 2, figures.len() / 2);
    match figures[..] {
        [] => [0.0; 2],
        [.., largest] => [largest, f64::midpoint(figures[low], figures[high])],
    }
}

impl Difference {
    /// The lines that are printed of it; `n` is the outputs of a row.
    #[must_use]
    pub fn lines(&self, other: Other, n: usize) -> String {
        let Self { outputs, differing, nans, ulps, relative, first } = self;
        let (all, name) = (count(*outputs as u64), other.name());
        let mut text =
            format!("other  {name}: {} of {all} outputs differ", count(*differing as u64));
        if *differing == 0 {
            return text;
        }
        // Writing to a String does not fail.
        let _ = write!(text, " ({:.3} %)", 100.0 * *differing as f64 / *outputs as f64);
        if *nans > 0 {
            let _ = write!(text, ", {} of them where one is NaN", count(*nans as u64));
        }
        let _ = write!(
            text,
            "\nulps   max {}  median {}  relative: max {:.3e}  median {:.3e}",
            ulps[0], ulps[1], relative[0], relative[1]
        );
        for (line, (i, [x, y])) in first.iter().enumerate() {
            let title = if line == 0 { "first" } else { "" };
            let (row, col) = (i / n, i % n);
            let _ = write!(
                text,
                "\n{title:5}  [{row}, {col}]  {:#010x} here  {:#010x} there  {x:e}  {y:e}",
                x.to_bits(),
                y.to_bits()
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_from_one_to_the_other() {
        let next = |x: f32, steps: u32| f32::from_bits(x.to_bits() + steps);
        let tiny = f32::from_bits(1);
        let here = [1.0, 1.0, 2.0, -tiny, 0.0, f32::NAN, f32::NAN, f32::MAX, 5.0];
        let there =
            [1.0, next(1.0, 3), next(2.0, 8), tiny, -0.0, -f32::NAN, 1.0, f32::INFINITY, 5.0];
        let found = difference(&here, &there);
        assert_eq!((found.outputs, found.differing, found.nans), (9, 6, 1));
        assert_eq!(found.ulps, [8.0, 2.0]); // of 0, 1, 2, 3, 8
        assert_eq!(found.relative[0], 2.0); // -tiny, tiny
        let positions: Vec<_> = found.first.iter().map(|(i, _)| *i).collect();
        assert_eq!(positions, [1, 2, 3, 4, 6]);
        let lines = found.lines(Other::F32, 4);
        assert!(lines.starts_with("other  f32: 6 of 9 outputs differ (66.667 %), 1 of them where"));
        assert!(lines.contains("\n       [0, 2]  0x40000000 here  0x40000008 there"), "{lines}");
        assert!(lines.contains("\n       [1, 2]  0x7fc00000 here  0x3f800000 there  NaN  1e0"));
    }

    #[test]
    fn even_and_none() {
        assert_eq!(largest_and_median(Vec::new()), [0.0; 2]);
        assert_eq!(largest_and_median(vec![4.0, 1.0, 2.0, 8.0]), [8.0, 3.0]);
        let most = difference(&[f32::MIN], &[f32::MAX]);
        assert_eq!(most.ulps, [f64::from(0x7f7f_ffff_u32) * 2.0; 2]);
    }
}
