//! What the ranks of a group tell each other: the largest amaxes, and the sums of gradients.

use crate::error::Error;
use crate::scale::{join_amax, words};
use half::bf16;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::vec::Vec;

words! {
    /// What gradients are sent in.
    Wire "wire" {
        /// As they are.
        F32 "f32",
        /// Rounded to bf16 (nearest even) on each rank, and so is their sum.
        Bf16 "bf16",
    }
}

impl Wire {
    fn round(self, values: &mut [f32]) {
        match self {
            Self::F32 => {}
            Self::Bf16 => {
                values.iter_mut().for_each(|value| *value = bf16::from_f32(*value).to_f32());
            }
        }
    }
}

/// A group of ranks that share a tensor: data- or tensor-parallel.
///
/// The group of a recipe's state should have every rank that holds a part of the tensors or of
/// the tokens; with too small a group, ranks drift apart. All ranks make the same calls in the
/// same order, with equally long slices.
pub trait AllReduce {
    /// How many ranks the group has: what the sum of gradients is divided by for their mean.
    fn ranks(&self) -> usize;

    /// Every element becomes the largest of that element over all ranks; NaN on one rank reaches
    /// all, as Inf does.
    ///
    /// (NCCL and most MPI libraries pass over NaN: send Inf beside it, or the bits as integers,
    /// of which NaN are the largest.)
    ///
    /// # Errors
    /// If a rank is missing, has a slice of another length or makes another call: then on every
    /// rank. The slice may be changed.
    fn max(&self, values: &mut [f32]) -> Result<(), Error>;

    /// x = fl(fl(fl(x₀ + x₁) + x₂) + …), element by element, with x₀, x₁, … those of the ranks in
    /// ascending order: the same bits on all ranks, whichever comes first. −0 stays −0 if all
    /// ranks have it; NaN on one rank reaches all.
    ///
    /// (NCCL and most MPI libraries add in an order that depends on the numbers of ranks and of
    /// elements: for these bits gather, and add.)
    ///
    /// # Errors
    /// As [`max`](Self::max).
    fn sum(&self, values: &mut [f32]) -> Result<(), Error>;

    /// [`sum`](Self::sum) of what is sent: with [`Wire::Bf16`] x = bf16(fl(bf16(x₀) + bf16(x₁)) +
    /// …), each rank's values rounded, added in f32, and the sum rounded. With one rank too.
    ///
    /// A group that crosses a network may send 2 bytes of each value; the bits are these.
    ///
    /// # Errors
    /// As [`max`](Self::max).
    ///
    /// ```
    /// use quarter::recipe::{AllReduce, Wire, thread_group};
    /// use std::time::Duration;
    /// let mean = |wire| {
    ///     let ranks = thread_group(3, Duration::from_secs(60));
    ///     let threads = ranks.into_iter().zip([1.0, 0.003, 2.0]).map(|(group, gradient)| {
    ///         std::thread::spawn(move || {
    ///             let mut gradient = [gradient];
    ///             group.sum_in(&mut gradient, wire)?;
    ///             Ok(gradient[0] / group.ranks() as f32)
    ///         })
    ///     });
    ///     let threads: Vec<_> = threads.collect();
    ///     threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    /// };
    /// let means: Result<Vec<f32>, quarter::Error> = mean(Wire::F32);
    /// assert_eq!(means?, [((1.0 + 0.003) + 2.0) / 3.0; 3]);
    /// assert_eq!(mean(Wire::Bf16)?, [1.0; 3]); // 3.003 is 3 in bf16
    /// # Ok::<(), quarter::Error>(())
    /// ```
    fn sum_in(&self, values: &mut [f32], wire: Wire) -> Result<(), Error> {
        wire.round(values);
        self.sum(values)?;
        wire.round(values);
        Ok(())
    }
}

/// A group of one.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoReduce;

impl AllReduce for NoReduce {
    fn ranks(&self) -> usize {
        1
    }

    fn max(&self, _values: &mut [f32]) -> Result<(), Error> {
        Ok(())
    }

    fn sum(&self, _values: &mut [f32]) -> Result<(), Error> {
        Ok(())
    }
}

/// A group of threads of this process, one handle for each rank.
///
/// A rank that drops its handle (it has finished, failed or panicked), that does not come within
/// `patience` or that makes another call ends the group: all get an [`Error::State`] now and ever
/// after, and none hangs. A sum holds at most one copy more than there are ranks.
///
/// ```
/// use quarter::recipe::{AllReduce, thread_group};
/// use std::time::Duration;
/// let ranks = thread_group(4, Duration::from_secs(60));
/// let threads = ranks.into_iter().enumerate().map(|(rank, group)| {
///     std::thread::spawn(move || {
///         let mut amax = [rank as f32, if rank == 2 { f32::NAN } else { 1.0 }];
///         group.max(&mut amax).map(|()| amax)
///     })
/// });
/// for thread in threads.collect::<Vec<_>>() {
///     let amax = thread.join().unwrap()?;
///     assert!(amax[0] == 3.0 && amax[1].is_nan());
/// }
/// # Ok::<(), quarter::Error>(())
/// ```
#[must_use]
pub fn thread_group(ranks: usize, patience: Duration) -> Vec<ThreadRank> {
    let (arrived, early) = (std::vec![false; ranks], std::vec![Vec::new(); ranks]);
    let round = Round { inside: arrived.clone(), arrived, early, ..Round::default() };
    let shared =
        Arc::new(Shared { ranks, patience, round: Mutex::new(round), turn: Condvar::new() });
    (0..ranks).map(|rank| ThreadRank { rank, shared: Arc::clone(&shared) }).collect()
}

/// One rank of a [`thread_group`].
#[derive(Debug)]
pub struct ThreadRank {
    rank: usize,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    ranks: usize,
    patience: Duration,
    round: Mutex<Round>,
    turn: Condvar,
}

/// What a rank asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Call {
    Max,
    Sum(Wire),
}

impl Call {
    const WHAT: &str = "call of a rank (0: max, 1: sum in f32, 2: sum in bf16)";

    fn number(self) -> u64 {
        match self {
            Self::Max => 0,
            Self::Sum(Wire::F32) => 1,
            Self::Sum(Wire::Bf16) => 2,
        }
    }
}

#[derive(Debug, Default)]
struct Round {
    /// How many rounds are complete.
    number: u64,
    /// What the first rank asked for, and of how many values.
    call: Option<(Call, usize)>,
    arrived: Vec<bool>,
    /// Which ranks have not read their last result.
    inside: Vec<bool>,
    /// Of a sum, what came before a lower rank.
    early: Vec<Vec<f32>>,
    /// Of `joins` ranks: of a sum, of the lowest.
    joined: Vec<f32>,
    joins: usize,
    /// What the last complete round gave: no rank can complete another before all have read it.
    result: Vec<f32>,
    left: usize,
    broken: Option<Error>,
}

impl Round {
    /// Takes a rank's values, which are as many as the others'.
    fn arrive(&mut self, rank: usize, call: Call, values: &[f32]) {
        (self.arrived[rank], self.inside[rank]) = (true, true);
        match call {
            Call::Max => self.join(values, join_amax),
            Call::Sum(_) if rank != self.joins => self.early[rank] = values.to_vec(),
            Call::Sum(_) => {
                self.join(values, |sum, value| sum + value);
                while self.arrived.get(self.joins) == Some(&true) {
                    let early = core::mem::take(&mut self.early[self.joins]);
                    self.join(&early, |sum, value| sum + value);
                }
            }
        }
    }

    fn join(&mut self, values: &[f32], join: impl Fn(f32, f32) -> f32) {
        if self.joins == 0 {
            self.joined = values.to_vec(); // not from 0: −0 stays
        } else {
            for (joined, value) in self.joined.iter_mut().zip(values) {
                *joined = join(*joined, *value);
            }
        }
        self.joins += 1;
    }

    /// Ends the round if all ranks have come.
    fn complete(&mut self) -> bool {
        let all = self.joins == self.arrived.len();
        if all {
            self.number += 1;
            self.call = None;
            self.arrived.fill(false);
            self.joins = 0;
            self.result = core::mem::take(&mut self.joined);
        }
        all
    }
}

impl Shared {
    /// A panic elsewhere cannot leave a round half-changed: nothing in between can panic.
    fn lock(&self) -> MutexGuard<'_, Round> {
        self.round.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, mut round: MutexGuard<'_, Round>, error: Error) -> Error {
        let error = *round.broken.get_or_insert(error);
        self.turn.notify_all();
        error
    }

    fn absent(&self, got: usize) -> Error {
        let what = "number of ranks that came to the reduction";
        Error::State { what, expected: self.ranks as u64, got: got as u64 }
    }
}

impl ThreadRank {
    /// 0 to the number of ranks less 1.
    #[must_use]
    pub const fn rank(&self) -> usize {
        self.rank
    }

    fn reduce(&self, call: Call, values: &mut [f32]) -> Result<(), Error> {
        let shared = &*self.shared;
        let deadline = Instant::now().checked_add(shared.patience);
        let mut round = shared.lock();
        if let Some(error) = round.broken {
            return Err(error);
        }
        if round.inside[self.rank] {
            // Two threads on one handle: the first still waits for the others, or to read.
            let what = "number of calls of a rank in one round";
            return Err(shared.fail(round, Error::State { what, expected: 1, got: 2 }));
        }
        let (first, len) = *round.call.get_or_insert((call, values.len()));
        if first != call {
            let (expected, got) = (first.number(), call.number());
            return Err(shared.fail(round, Error::State { what: Call::WHAT, expected, got }));
        }
        if len != values.len() {
            let (expected, got) = (len as u64, values.len() as u64);
            let what = "number of values of a rank";
            return Err(shared.fail(round, Error::State { what, expected, got }));
        }
        let number = round.number;
        round.arrive(self.rank, call, values);
        if round.complete() {
            shared.turn.notify_all();
        }
        while round.number == number {
            if let Some(error) = round.broken {
                return Err(error);
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                let got = round.arrived.iter().filter(|arrived| **arrived).count();
                return Err(shared.fail(round, shared.absent(got)));
            }
            let left = left.unwrap_or(Duration::from_secs(3600));
            let woken = shared.turn.wait_timeout(round, left);
            round = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        values.copy_from_slice(&round.result);
        round.inside[self.rank] = false;
        Ok(())
    }
}

impl AllReduce for ThreadRank {
    fn ranks(&self) -> usize {
        self.shared.ranks
    }

    fn max(&self, values: &mut [f32]) -> Result<(), Error> {
        self.reduce(Call::Max, values)
    }

    fn sum(&self, values: &mut [f32]) -> Result<(), Error> {
        self.reduce(Call::Sum(Wire::F32), values)
    }

    /// Ranks that differ in the wire differ in their call.
    fn sum_in(&self, values: &mut [f32], wire: Wire) -> Result<(), Error> {
        wire.round(values);
        self.reduce(Call::Sum(wire), values)?;
        wire.round(values);
        Ok(())
    }
}

impl Drop for ThreadRank {
    fn drop(&mut self) {
        let mut round = self.shared.lock();
        round.left += 1;
        let present = self.shared.ranks - round.left;
        self.shared.fail(round, self.shared.absent(present));
    }
}
