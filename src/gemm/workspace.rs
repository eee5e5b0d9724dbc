//! Memory that products use and leave for the next one.

use crate::arch::tile::{Line, Sums};
use crate::error::Error;
use std::vec::Vec;

/// Memory for packed operands, reused from product to product.
///
/// Of one product: 16 MiB for panels of the right operand (where threads share the columns, each has
/// its part), sums of at most 2,048 rows of them where K is longer than 8,192, and less than 4 MiB a
/// thread for the left operand. More is held where one segment of K is longer than 8,192; for results
/// that wait, 4 bytes each, where threads share the columns; for codes that are given packed, a byte
/// each; and for each thread that computes groups apart. Through a matrix unit, for each
/// thread: 8 bytes for each element of sixteen rows of a, or of more where that is at most 2 MiB, and
/// of 32 rows of b, whatever K is, and their scales.
///
/// ```
/// use quarter::gemm::{GemmOptions, Workspace, gemm_nt_in};
/// use quarter::tensor::{MatMut, MatRef};
/// let mut workspace = Workspace::new();
/// let (a, b, mut d) = ([1.0_f32; 64], [2.0_f32; 64], [0.0_f32; 64]);
/// for _ in 0..3 {
///     let [a, b] = [&a, &b].map(|x| MatRef::new(x, 8, 8));
///     gemm_nt_in(&mut workspace, a?, b?, MatMut::new(&mut d, 8, 8)?, &GemmOptions::new())?;
/// }
/// assert_eq!(d[0], 16.0);
/// assert!(workspace.bytes() < 1 << 20);
/// # Ok::<(), quarter::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Workspace {
    pub(super) unpacked: [Vec<u8>; 2],
    pub(super) cuts: Vec<usize>,
    pub(super) segments: Vec<u32>,
    pub(super) right: Side,
    pub(super) parts: Vec<Part>,
    /// Where threads compute groups apart.
    pub(super) groups: Vec<Self>,
}

/// Panels of an operand, and the scales that meet its sums.
#[derive(Debug, Default)]
pub(super) struct Side {
    pub lines: Vec<Line>,
    pub scales: Vec<Line>,
}

/// What one thread has for itself.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub left: Side,
    /// Where threads share columns.
    pub right: Side,
    /// Sums that wait for the rest of K.
    pub sums: Vec<Sums>,
    /// Results that wait for their place.
    pub results: Vec<f32>,
    /// Rows of the left operand, word by word, where they are few.
    pub words: Vec<u32>,
    /// Of panels of a matrix unit's operands, whether their elements are small.
    pub small: Vec<bool>,
}

impl Workspace {
    /// Empty: it grows as products need it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The bytes it holds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let lines = |side: &Side| (side.lines.capacity() + side.scales.capacity()) * LINE;
        let part = |part: &Part| {
            let sums = part.sums.capacity() * size_of::<Sums>();
            let words = (part.results.capacity() + part.words.capacity()) * size_of::<u32>();
            lines(&part.left) + lines(&part.right) + sums + words + part.small.capacity()
        };
        self.unpacked.iter().map(Vec::capacity).sum::<usize>()
            + self.cuts.capacity() * size_of::<usize>()
            + self.segments.capacity() * size_of::<u32>()
            + lines(&self.right)
            + self.parts.capacity() * size_of::<Part>()
            + self.parts.iter().map(part).sum::<usize>()
            + self.groups.capacity() * size_of::<Self>()
            + self.groups.iter().map(Self::bytes).sum::<usize>()
    }
}

const LINE: usize = size_of::<Line>();

/// Makes room for `n` elements, and gives them; what they hold is not said.
///
/// # Errors
/// [`Error::Memory`] if there is not enough.
pub(super) fn room<T: Copy>(vec: &mut Vec<T>, n: usize, fill: T) -> Result<&mut [T], Error> {
    if vec.len() < n {
        let missing = n - vec.len();
        let error = Error::Memory { what: "workspace of a matrix product", elements: n };
        vec.try_reserve_exact(missing).map_err(|_| error)?;
        vec.resize(n, fill);
    }
    Ok(&mut vec[..n])
}
