//! The random words of stochastic rounding: a counter-based stream, so that an element's word
//! depends on where it stands and never on traversal order, blocking or threads.
//!
//! Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3",
//! SC'11), key = seed, counter = (element index, tensor, step); word 0 is used.

const MULTIPLIERS: [u64; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// Philox4x32-10: ten rounds over a 128-bit counter under a 64-bit key.
///
/// The words are kept in 64-bit lanes whose upper halves are never read: so each product is one
/// vector multiplication, and nothing is widened or narrowed between rounds.
#[must_use]
#[inline(always)]
pub const fn philox4x32_10(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    const LOW: u64 = 0xffff_ffff;
    let [c0, c1, c2, c3] = counter;
    let (mut c0, mut c1, mut c2, mut c3) = (c0 as u64, c1 as u64, c2 as u64, c3 as u64);
    let [mut k0, mut k1] = key;
    let mut round = 0;
    while round < 10 {
        let p0 = MULTIPLIERS[0] * (c0 & LOW);
        let p1 = MULTIPLIERS[1] * (c2 & LOW);
        (c0, c1) = ((p1 >> 32) ^ c1 ^ k0 as u64, p1);
        (c2, c3) = ((p0 >> 32) ^ c3 ^ k1 as u64, p0);
        k0 = k0.wrapping_add(WEYL[0]);
        k1 = k1.wrapping_add(WEYL[1]);
        round += 1;
    }
    [c0 as u32, c1 as u32, c2 as u32, c3 as u32]
}

/// Random words addressed by element: `word(i)` is the word of the element at index i.
///
/// The element index is row · cols + col in the *untransposed* source, so a transposed or blocked
/// traversal draws the same words. Seed, tensor and step are a recipe's state: save all three.
///
/// ```
/// use quarter::RandomStream;
/// let stream = RandomStream { seed: 7, tensor: 0, step: 3 };
/// assert_eq!(stream.word(5), stream.word(5));
/// assert_ne!(stream.word(5), RandomStream { step: 4, ..stream }.word(5));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct RandomStream {
    /// The key: one a training run.
    pub seed: u64,
    /// Which tensor: a hash of layer, role and rank.
    pub tensor: u32,
    /// Which training step.
    pub step: u32,
}

impl RandomStream {
    /// The 32-bit word of an element.
    #[must_use]
    #[inline(always)]
    pub const fn word(&self, element: u64) -> u32 {
        let counter = [element as u32, (element >> 32) as u32, self.tensor, self.step];
        philox4x32_10(counter, [self.seed as u32, (self.seed >> 32) as u32])[0]
    }
}
