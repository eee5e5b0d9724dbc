//! Stores past the cache, which portable code has not.

/// An ordinary copy.
#[inline(always)]
pub(crate) fn copy(src: &[u8], dst: &mut [u8]) {
    dst.copy_from_slice(src);
}

/// Nothing: an ordinary copy is visible.
#[inline(always)]
pub(crate) fn no_fence() {}
