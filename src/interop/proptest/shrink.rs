//! How failing matrices become small.

use super::Matrix;
use core::ops::Range;
use proptest::strategy::ValueTree;

/// What is tried to make matrices simpler, of one of them or of all.
#[derive(Clone, Copy, Debug)]
enum Phase {
    Rows(usize),
    Cols,
    Zeros(usize),
    Powers(usize),
}

/// N matrices with the same columns on their way to simple ones: pieces of them are removed, then
/// zeroed, then made powers of two; first the half, then quarters, down to single ones.
///
/// What is tried is a piece, not a copy: a step costs what is looked at, and a copy is made only
/// for the test.
#[derive(Clone, Debug)]
pub struct Shrinking<const N: usize> {
    /// The simplest for which the test fails.
    failing: [Matrix; N],
    /// The piece without which they are tried.
    tried: Option<Range<usize>>,
    /// The least rows of each, and the least columns.
    least: ([usize; N], usize),
    /// Phases that are done.
    done: usize,
    /// Rows, columns or elements of a piece, 0 before the first; and where the next one begins.
    size: usize,
    at: usize,
}

/// The power of two that x is rounded to, toward zero; x where there is none.
fn power(x: f32) -> f32 {
    let power = f32::from_bits(x.to_bits() & 0xff80_0000);
    if x.is_nan() || power == 0.0 { x } else { power }
}

impl<const N: usize> Shrinking<N> {
    pub(super) const fn new(failing: [Matrix; N], least: ([usize; N], usize)) -> Self {
        Self { failing, tried: None, least, done: 0, size: 0, at: 0 }
    }

    /// Rows of each, columns of all, zeros of each, powers of each.
    const fn phase(&self) -> Option<Phase> {
        let done = self.done;
        if done < N {
            Some(Phase::Rows(done))
        } else if done == N {
            Some(Phase::Cols)
        } else if done <= 2 * N {
            Some(Phase::Zeros(done - N - 1))
        } else if done <= 3 * N {
            Some(Phase::Powers(done - 2 * N - 1))
        } else {
            None
        }
    }

    /// Rows, columns or elements that pieces are of.
    const fn all(&self, phase: Phase) -> usize {
        match phase {
            Phase::Rows(i) => self.failing[i].rows,
            Phase::Cols => self.failing[0].cols,
            Phase::Zeros(i) | Phase::Powers(i) => self.failing[i].values.len(),
        }
    }

    /// Goes to the next piece that is worth a try, if there is one.
    fn advance(&mut self) -> bool {
        self.tried = None;
        while let Some(phase) = self.phase() {
            let all = self.all(phase);
            if self.size == 0 {
                (self.size, self.at) = (all.div_ceil(2).max(1), 0);
            }
            if self.at >= all {
                if self.size > 1 {
                    (self.size, self.at) = (self.size / 2, 0);
                } else {
                    (self.size, self.done) = (0, self.done + 1);
                }
                continue;
            }
            let piece = self.at..(self.at + self.size).min(all);
            self.at = piece.end;
            if self.is_worth(phase, &piece) {
                self.tried = Some(piece);
                return true;
            }
        }
        false
    }

    /// Whether they are other ones, of an allowed shape, without a piece.
    fn is_worth(&self, phase: Phase, piece: &Range<usize>) -> bool {
        let any = |i: usize, change: fn(f32) -> f32| {
            let mut values = self.failing[i].values[piece.clone()].iter();
            values.any(|x| change(*x).to_bits() != x.to_bits())
        };
        match phase {
            Phase::Rows(i) => self.failing[i].rows - piece.len() >= self.least.0[i],
            Phase::Cols => self.failing[0].cols - piece.len() >= self.least.1,
            Phase::Zeros(i) => any(i, |_| 0.0),
            Phase::Powers(i) => any(i, power),
        }
    }
}

/// Takes a piece away.
fn remove<const N: usize>(phase: Phase, piece: &Range<usize>, matrices: &mut [Matrix; N]) {
    match phase {
        Phase::Rows(i) => {
            let Matrix { rows, cols, values, .. } = &mut matrices[i];
            values.drain(piece.start * *cols..piece.end * *cols);
            *rows -= piece.len();
        }
        Phase::Cols => {
            for Matrix { cols, values, .. } in matrices {
                let mut col = (0..*cols).cycle();
                values.retain(|_| col.next().is_some_and(|col| !piece.contains(&col)));
                *cols -= piece.len();
            }
        }
        Phase::Zeros(i) => matrices[i].values[piece.clone()].fill(0.0),
        Phase::Powers(i) => {
            matrices[i].values[piece.clone()].iter_mut().for_each(|x| *x = power(*x));
        }
    }
}

impl<const N: usize> Shrinking<N> {
    fn shown(&self) -> [Matrix; N] {
        let mut shown = self.failing.clone();
        if let (Some(piece), Some(phase)) = (&self.tried, self.phase()) {
            remove(phase, piece, &mut shown);
        }
        shown
    }

    /// What is shown fails: from it on.
    fn onward(&mut self) -> bool {
        if let (Some(piece), Some(phase)) = (self.tried.take(), self.phase()) {
            remove(phase, &piece, &mut self.failing);
            if matches!(phase, Phase::Rows(_) | Phase::Cols) {
                // A piece that is gone leaves the next one in its place.
                self.at = piece.start;
            }
        }
        self.advance()
    }
}

impl ValueTree for Shrinking<1> {
    type Value = Matrix;

    fn current(&self) -> Matrix {
        let [x] = self.shown();
        x
    }

    fn simplify(&mut self) -> bool {
        self.onward()
    }

    /// What is shown does not fail: back, and something else.
    fn complicate(&mut self) -> bool {
        self.advance()
    }
}

impl ValueTree for Shrinking<2> {
    type Value = (Matrix, Matrix);

    fn current(&self) -> (Matrix, Matrix) {
        self.shown().into()
    }

    fn simplify(&mut self) -> bool {
        self.onward()
    }

    /// What is shown does not fail: back, and something else.
    fn complicate(&mut self) -> bool {
        self.advance()
    }
}
