//! Parts of a matrix: areas, and pieces of rows.

use crate::slice::PIECE;

/// Rows and columns of the source, from and to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Area {
    pub rows: (usize, usize),
    pub cols: (usize, usize),
}

impl Area {
    pub const fn of(shape: (usize, usize)) -> Self {
        Self { rows: (0, shape.0), cols: (0, shape.1) }
    }

    pub const fn height(self) -> usize {
        self.rows.1 - self.rows.0
    }

    pub const fn width(self) -> usize {
        self.cols.1 - self.cols.0
    }
}

/// Consecutive elements of a row: their groups are `group` long, with the factors from `first` on.
#[derive(Clone, Copy)]
pub(super) struct Piece {
    pub col: usize,
    pub len: usize,
    pub group: usize,
    pub first: usize,
}

/// The group that kernels are told of for groups of this many columns.
pub(super) const fn piece_group(block: usize) -> usize {
    if block > PIECE { PIECE } else { block }
}

/// Cuts columns into pieces: whole groups as far as a piece holds them, or parts of one group.
/// `first` counts groups from the one that holds the first column, which begins there unless
/// groups are longer than pieces.
pub(super) fn pieces((from, to): (usize, usize), block: usize, mut each: impl FnMut(Piece)) {
    let mut col = from;
    if block <= PIECE {
        let groups = PIECE / block;
        let mut first = 0;
        while col < to {
            let end = (col + groups * block).min(to);
            each(Piece { col, len: end - col, group: block, first });
            (col, first) = (end, first + groups);
        }
        return;
    }
    let origin = from / block;
    while col < to {
        let end = ((col / block + 1) * block).min(col + PIECE).min(to);
        each(Piece { col, len: end - col, group: PIECE, first: col / block - origin });
        col = end;
    }
}
