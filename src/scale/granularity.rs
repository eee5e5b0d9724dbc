//! Which elements of a matrix share a scale.

use crate::error::{Error, Name};
use core::fmt;
use core::str::FromStr;

/// The groups of a \[rows, cols\] matrix that share a scale.
///
/// Groups are numbered row-major over the [`grid`](Self::grid). Where a block does not divide the
/// matrix, the last block of a row or column is smaller, with the scale that it would have if it
/// were padded with zeros.
///
/// ```
/// use quarter::Granularity;
/// let blocks: Granularity = "1x128".parse()?;
/// assert_eq!(blocks, Granularity::Block { rows: 1, cols: 128 });
/// assert_eq!(blocks.grid(5, 300), (5, 3));
/// assert_eq!(blocks.transposed().to_string(), "128x1");
/// assert_eq!(Granularity::Row.grid(5, 300), (5, 1));
/// # Ok::<(), quarter::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Granularity {
    /// One scale for all.
    Tensor,
    /// A scale for each row: it runs along the columns.
    Row,
    /// A scale for each column.
    Col,
    /// A scale for each block of `rows` × `cols`, both at least 1.
    Block {
        /// Rows of a block.
        rows: usize,
        /// Columns of a block.
        cols: usize,
    },
}

impl Granularity {
    /// Blocks of one row and 128 columns: activations of DeepSeek-V3.
    pub const BLOCK_1X128: Self = Self::Block { rows: 1, cols: 128 };
    /// Blocks of 128 × 128: weights of DeepSeek-V3.
    pub const BLOCK_128X128: Self = Self::Block { rows: 128, cols: 128 };
    /// Blocks of one row and 32 columns: OCP MX.
    pub const BLOCK_1X32: Self = Self::Block { rows: 1, cols: 32 };
    /// Blocks of one row and 16 columns: NVFP4.
    pub const BLOCK_1X16: Self = Self::Block { rows: 1, cols: 16 };

    /// Rows and columns of a whole group of a \[rows, cols\] matrix, both at least 1.
    #[must_use]
    pub const fn block(self, rows: usize, cols: usize) -> (usize, usize) {
        let (r, c) = match self {
            Self::Tensor => (rows, cols),
            Self::Row => (1, cols),
            Self::Col => (rows, 1),
            Self::Block { rows, cols } => (rows, cols),
        };
        (if r == 0 { 1 } else { r }, if c == 0 { 1 } else { c })
    }

    /// Rows and columns of the matrix of scales of a \[rows, cols\] matrix: (1, 1), (rows, 1),
    /// (1, cols), or (⌈rows/r⌉, ⌈cols/c⌉).
    #[must_use]
    pub const fn grid(self, rows: usize, cols: usize) -> (usize, usize) {
        match self {
            Self::Tensor => (1, 1),
            Self::Row => (rows, 1),
            Self::Col => (1, cols),
            Self::Block { .. } => {
                let (r, c) = self.block(rows, cols);
                (rows.div_ceil(r), cols.div_ceil(c))
            }
        }
    }

    /// The number of scales of a \[rows, cols\] matrix.
    #[must_use]
    pub const fn groups(self, rows: usize, cols: usize) -> usize {
        let (r, c) = self.grid(rows, cols);
        r.saturating_mul(c)
    }

    /// The same groups of the transposed matrix.
    #[must_use]
    pub const fn transposed(self) -> Self {
        match self {
            Self::Tensor => Self::Tensor,
            Self::Row => Self::Col,
            Self::Col => Self::Row,
            Self::Block { rows, cols } => Self::Block { rows: cols, cols: rows },
        }
    }

    /// Whether a matrix and its transpose have the same groups: codes may then be transposed
    /// instead of being made anew.
    #[must_use]
    pub const fn is_symmetric(self) -> bool {
        match self {
            Self::Tensor => true,
            Self::Row | Self::Col => false,
            Self::Block { rows, cols } => rows == cols,
        }
    }

    /// # Errors
    /// [`Error::Range`] for a block without rows or columns.
    pub(crate) fn check(self) -> Result<(), Error> {
        if let Self::Block { rows, cols } = self {
            for (what, got) in [("block rows", rows), ("block columns", cols)] {
                if got == 0 || i64::try_from(got).is_err() {
                    let got = i64::try_from(got).unwrap_or(i64::MAX);
                    return Err(Error::Range { what, got, min: 1, max: i64::MAX - 1 });
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for Granularity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tensor => f.pad("tensor"),
            Self::Row => f.pad("row"),
            Self::Col => f.pad("col"),
            Self::Block { rows, cols } => write!(f, "{rows}x{cols}"),
        }
    }
}

impl FromStr for Granularity {
    type Err = Error;

    /// `tensor`, `row`, `col`, or `ROWSxCOLS`: `1x128`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let unknown =
            Error::Name { what: "granularity (tensor row col ROWSxCOLS)", got: Name::new(text) };
        let digits = |text: &str| {
            let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            if plain { text.parse().map_err(|_| unknown) } else { Err(unknown) }
        };
        let granularity = match text {
            "tensor" => Self::Tensor,
            "row" => Self::Row,
            "col" => Self::Col,
            _ => {
                let (rows, cols) = text.split_once('x').ok_or(unknown)?;
                Self::Block { rows: digits(rows)?, cols: digits(cols)? }
            }
        };
        granularity.check()?;
        Ok(granularity)
    }
}
