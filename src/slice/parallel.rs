//! Cutting a slice for the caller's rayon pool.

use super::PIECE;

/// The number of elements from which a slice is worth a second thread.
pub const PARALLEL: usize = 1 << 18;

/// How many parts to cut `n` elements into when `threads` are asked for; 0 asks for the pool's.
pub(crate) fn parts(n: usize, threads: usize) -> usize {
    parts_from(PARALLEL, n, threads)
}

/// The same where `least` elements are worth a second thread.
pub(crate) fn parts_from(least: usize, n: usize, threads: usize) -> usize {
    if threads == 1 || n < least {
        return 1;
    }
    #[cfg(feature = "rayon")]
    {
        // Outside a pool rayon would build the global one, which is not ours to build.
        let Some(_) = rayon::current_thread_index() else { return 1 };
        let threads = if threads == 0 { rayon::current_num_threads() } else { threads };
        threads.min(n / (least / 2)).max(1)
    }
    #[cfg(not(feature = "rayon"))]
    1
}

/// Where to cut `n` elements for `left` of `parts` parts: whole pieces.
pub(super) const fn cut(n: usize, parts: usize, left: usize) -> usize {
    n / parts * left / PIECE * PIECE
}

/// Runs both, at the same time if the pool has a free thread.
#[cfg(feature = "rayon")]
pub(crate) fn join<A: Send, B: Send>(
    a: impl FnOnce() -> A + Send,
    b: impl FnOnce() -> B + Send,
) -> (A, B) {
    rayon::join(a, b)
}

/// Runs both.
#[cfg(not(feature = "rayon"))]
pub(crate) fn join<A, B>(a: impl FnOnce() -> A, b: impl FnOnce() -> B) -> (A, B) {
    (a(), b())
}
