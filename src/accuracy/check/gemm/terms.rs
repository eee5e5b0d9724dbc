//! Elements of K that are left out or counted twice.

use super::{GemmBound, Trials, stored};
use crate::accuracy::check::evidence::is_found;
use crate::accuracy::check::{Element, Symptom};
use std::collections::BTreeSet;
use std::vec::Vec;

/// A part of K.
#[derive(Clone, Copy)]
enum Part {
    Range(usize, usize),
    /// Even elements, or odd ones.
    Every(usize),
}

/// Blocks that a kernel may skip.
const BLOCKS: [usize; 6] = [16, 32, 64, 128, 256, 512];

impl GemmBound<'_> {
    pub(super) fn terms_of(&self, trials: &mut Trials<'_>) {
        let k = self.depth();
        if k < 2 {
            return; // that is a factor
        }
        let prefixes: Vec<Prefixes> = trials.look.iter().map(|e| self.prefixes(e)).collect();
        let steps: Vec<_> = trials
            .look
            .iter()
            .map(|e| (e, self.place(e)))
            .map(|(e, p)| (e, self.steps(p.0, p.1)))
            .collect();
        let trial = |i: usize, part: Part, sign: f64| {
            let prefixes = &prefixes[i];
            steps[i].1.of(prefixes.all[k] + sign * prefixes.of(part))
        };
        let ends = (1..k).flat_map(|at| [(0, at), (at, k)]);
        let ones = (0..k).map(|at| (at, at + 1));
        let blocks = BLOCKS
            .iter()
            .filter(|size| **size < k)
            .flat_map(|size| (0..k).step_by(*size).map(move |from| (from, k.min(from + size))));
        let ranges: BTreeSet<_> = ones.chain(ends).chain(blocks).collect();
        let ranges = ranges.into_iter().map(|(from, to)| Part::Range(from, to));
        let all: Vec<Part> = ranges.chain([Part::Every(0), Part::Every(1)]).collect();
        let count = 2 * all.len();
        // The first two tell most of them apart.
        for part in all {
            for (sign, twice) in [(-1.0, false), (1.0, true)] {
                let some = steps.iter().take(2).enumerate();
                if !some
                    .into_iter()
                    .any(|(i, (e, _))| is_found(e, stored(trials.stored, trial(i, part, sign))))
                {
                    continue;
                }
                let symptom = match part {
                    Part::Range(from, to) if to == from + 1 && twice => {
                        Symptom::TermTwice { k: from }
                    }
                    Part::Range(from, to) if to == from + 1 => Symptom::DroppedTerm { k: from },
                    Part::Range(from, to) => Symptom::PartOfK { from, to, twice },
                    Part::Every(first) => Symptom::EveryOther { first, twice },
                };
                let at = |e: &Element| steps.iter().position(|(other, _)| other.index == e.index);
                trials.one(count, symptom, |e| at(e).map_or(f64::NAN, |i| trial(i, part, sign)));
            }
        }
    }

    fn prefixes(&self, element: &Element) -> Prefixes {
        let (row, col) = self.place(element);
        let (x, y) = (self.a.row(&self.a.exact, row), self.b.row(&self.b.exact, col));
        let (mut all, mut even) = (Vec::with_capacity(x.len() + 1), 0.0);
        let mut sum = 0.0;
        all.push(sum);
        for (i, (x, y)) in x.iter().zip(y).enumerate() {
            sum += x * y;
            even += if i % 2 == 0 { x * y } else { 0.0 };
            all.push(sum);
        }
        Prefixes { all, even }
    }
}

/// Sums of an output's terms up to each element of K, and of the even ones.
struct Prefixes {
    all: Vec<f64>,
    even: f64,
}

impl Prefixes {
    fn of(&self, part: Part) -> f64 {
        let last = self.all[self.all.len() - 1];
        match part {
            Part::Range(from, to) => self.all[to] - self.all[from],
            Part::Every(0) => self.even,
            Part::Every(_) => last - self.even,
        }
    }
}
