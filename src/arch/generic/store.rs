//! Stores past the cache and fetches ahead of time, which portable code has not.

/// An ordinary copy.
#[inline(always)]
pub(crate) fn copy(src: &[u8], dst: &mut [u8]) {
    dst.copy_from_slice(src);
}

/// Nothing: an ordinary copy is visible.
#[inline(always)]
pub(crate) fn no_fence() {}

/// Nothing: what is needed is fetched when it is.
#[inline(always)]
pub(crate) fn no_fetch(_: &[u8]) {}
