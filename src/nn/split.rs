//! Work in parts, for the caller's rayon pool.

use crate::slice::parallel::{join, parts_from};
use std::ops::Range;

/// Elements from which work at the speed of memory is worth a second thread.
pub(super) const LIGHT: usize = 1 << 18;
/// The same where an exponential is computed of each.
pub(super) const HEAVY: usize = 1 << 15;
/// Elements of a unit where there are no rows.
pub(super) const UNIT: usize = 4096;

/// What is written by several threads: units of it can be split off.
pub(super) trait Cut: Send + Sized {
    /// The first so many units, and the others.
    fn cut(self, units: usize) -> (Self, Self);
}

/// Units of so many elements; the last may be short.
pub(super) struct Units<'a, T>(pub &'a mut [T], pub usize);

impl<T: Send> Cut for Units<'_, T> {
    fn cut(self, units: usize) -> (Self, Self) {
        let Self(all, len) = self;
        let (first, rest) = all.split_at_mut((units * len).min(all.len()));
        (Self(first, len), Self(rest, len))
    }
}

impl<A: Cut, B: Cut> Cut for (A, B) {
    fn cut(self, units: usize) -> (Self, Self) {
        let ((a, a_rest), (b, b_rest)) = (self.0.cut(units), self.1.cut(units));
        ((a, b), (a_rest, b_rest))
    }
}

impl<A: Cut> Cut for Option<A> {
    fn cut(self, units: usize) -> (Self, Self) {
        self.map_or((None, None), |a| {
            let (first, rest) = a.cut(units);
            (Some(first), Some(rest))
        })
    }
}

/// Runs `work` on these units of `out`, in one part or, where `elements` are at least `least`, in
/// several at the same time; of no units, not at all. No result may depend on where they are cut.
pub(super) fn split<C: Cut>(
    (least, elements, threads): (usize, usize, usize),
    units: usize,
    out: C,
    work: impl Fn(Range<usize>, C) + Sync,
) {
    if units > 0 {
        halve(parts_from(least, elements, threads), 0..units, out, &work);
    }
}

fn halve<C: Cut>(
    parts: usize,
    units: Range<usize>,
    out: C,
    work: &(impl Fn(Range<usize>, C) + Sync),
) {
    let left = units.len() * (parts / 2) / parts.max(1);
    if left == 0 {
        return work(units, out);
    }
    let (first, rest) = out.cut(left);
    let at = units.start + left;
    join(
        || halve(parts / 2, units.start..at, first, work),
        || halve(parts - parts / 2, at..units.end, rest, work),
    );
}

/// The elements of these units of `len`, of `all`.
pub(super) fn elements(units: &Range<usize>, len: usize, all: usize) -> Range<usize> {
    (units.start * len).min(all)..(units.end * len).min(all)
}
