//! By what means an operation runs.

use crate::arch::Isa;

/// How many threads an operation may use, and which instruction set: neither changes a bit.
///
/// ```
/// use quarter::nn::Exec;
/// let alone = Exec::new().threads(1);
/// assert_ne!(alone, Exec::new());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Exec {
    threads: usize,
    isa: Isa,
}

impl Default for Exec {
    fn default() -> Self {
        Self::new()
    }
}

impl Exec {
    /// All threads of the caller's pool, the best instruction set.
    pub fn new() -> Self {
        Self { threads: 0, isa: Isa::best() }
    }

    /// The most threads of the caller's pool to use; 1 keeps off rayon, 0 asks for all.
    pub const fn threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    /// Another instruction set: the bits are the same.
    pub const fn isa(self, isa: Isa) -> Self {
        Self { isa, ..self }
    }

    /// Threads and instruction set.
    pub(super) const fn means(self) -> (usize, Isa) {
        (self.threads, self.isa)
    }
}
