//! The amaxes of one step, joined over the ranks of a group.

use crate::error::Error;
use crate::scale::join_amax;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::vec::Vec;

/// A group of ranks that share a tensor: data- or tensor-parallel.
///
/// The group of a recipe's state should have every rank that holds a part of the tensors or of
/// the tokens; with too small a group, ranks drift apart.
pub trait AllReduce {
    /// Every element becomes the largest of that element over all ranks; NaN on one rank reaches
    /// all, as Inf does. All ranks call it with equally long slices, in the same order.
    ///
    /// (NCCL and most MPI libraries pass over NaN: send Inf beside it, or the bits as integers,
    /// of which NaN are the largest.)
    ///
    /// # Errors
    /// If a rank is missing, or has a slice of another length: then on every rank. The slice may
    /// be changed.
    fn max(&self, values: &mut [f32]) -> Result<(), Error>;
}

/// A group of one.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoReduce;

impl AllReduce for NoReduce {
    fn max(&self, _values: &mut [f32]) -> Result<(), Error> {
        Ok(())
    }
}

/// A group of threads of this process, one handle for each rank.
///
/// A rank that drops its handle (it has finished, failed or panicked), or that does not come
/// within `patience`, ends the group: the others get an [`Error::State`] now and ever after, and
/// none hangs.
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
    let round = Round { arrived: std::vec![false; ranks], ..Round::default() };
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

#[derive(Debug, Default)]
struct Round {
    /// How many rounds are complete.
    number: u64,
    arrived: Vec<bool>,
    joined: Vec<f32>,
    /// What the last complete round gave: no rank can complete another before all have read it.
    result: Vec<f32>,
    left: usize,
    broken: Option<Error>,
}

impl Round {
    fn is_first(&self) -> bool {
        !self.arrived.contains(&true)
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
}

impl AllReduce for ThreadRank {
    fn max(&self, values: &mut [f32]) -> Result<(), Error> {
        let shared = &*self.shared;
        let deadline = Instant::now().checked_add(shared.patience);
        let mut round = shared.lock();
        if let Some(error) = round.broken {
            return Err(error);
        }
        if round.arrived[self.rank] {
            // Two threads on one handle: the first still waits for the others.
            let what = "number of calls of a rank in one round";
            return Err(shared.fail(round, Error::State { what, expected: 1, got: 2 }));
        }
        if round.is_first() {
            round.joined.clear();
            round.joined.extend_from_slice(values);
        } else if round.joined.len() != values.len() {
            let (expected, got) = (round.joined.len() as u64, values.len() as u64);
            let what = "number of amaxes of a rank";
            return Err(shared.fail(round, Error::State { what, expected, got }));
        } else {
            for (joined, value) in round.joined.iter_mut().zip(&*values) {
                *joined = join_amax(*joined, *value);
            }
        }
        round.arrived[self.rank] = true;
        let number = round.number;
        if round.arrived.iter().all(|arrived| *arrived) {
            round.arrived.fill(false);
            round.number += 1;
            round.result = core::mem::take(&mut round.joined);
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
