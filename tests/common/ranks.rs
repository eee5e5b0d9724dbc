//! Groups of threads.

use quarter::recipe::{ThreadRank, thread_group};
use std::time::Duration;

pub const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a job on each rank of a group of threads.
pub fn ranks<T: Send>(
    n: usize,
    patience: Duration,
    job: impl Fn(ThreadRank) -> T + Sync,
) -> Vec<T> {
    let job = &job;
    std::thread::scope(|scope| {
        let group = thread_group(n, patience);
        let threads: Vec<_> =
            group.into_iter().map(|rank| scope.spawn(move || job(rank))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}
