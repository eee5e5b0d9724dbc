//! The transpose of a matrix of bytes.
//!
//! Eight rows of eight bytes are eight integers. Swapping the upper half of each of the first four
//! with the lower half of each of the last four moves quarters of the square to where they belong;
//! so do quarters of integers, then bytes, within. Two squares, one below the other, go together.

const SIDE: usize = 8;
const ROWS: usize = 2 * SIDE;

/// `dst[c · rows + r] = src[r · cols + c]`.
#[inline(always)]
pub(crate) fn transpose(rows: usize, cols: usize, src: &[u8], dst: &mut [u8]) {
    if src.is_empty() {
        return;
    }
    let (tall, wide) = (rows - rows % ROWS, cols - cols % SIDE);
    for (band, row) in src.chunks_exact(ROWS * cols).zip((0..).step_by(ROWS)) {
        let mut lines = [&[][..]; ROWS];
        for (line, bytes) in lines.iter_mut().zip(band.chunks_exact(cols)) {
            *line = &bytes.as_chunks::<SIDE>().0[..wide / SIDE];
        }
        for (square, out) in (0..wide / SIDE).zip(dst.chunks_exact_mut(SIDE * rows)) {
            squares(&lines, square, out, rows, row);
        }
    }
    beyond([tall, wide], rows, cols, src, dst);
}

/// Two squares, to the columns from `col` on of eight rows.
#[inline(always)]
fn squares(
    src: &[&[[u8; SIDE]]; ROWS],
    square: usize,
    mut dst: &mut [u8],
    cols: usize,
    col: usize,
) {
    let mut a = [[0; 2]; SIDE];
    for (i, pair) in a.iter_mut().enumerate() {
        *pair = [src[i][square], src[SIDE + i][square]].map(u64::from_le_bytes);
    }
    swap::<4>(&mut a, 0x0000_0000_ffff_ffff);
    swap::<2>(&mut a, 0x0000_ffff_0000_ffff);
    swap::<1>(&mut a, 0x00ff_00ff_00ff_00ff);
    for [upper, lower] in a {
        let (line, rest) = dst.split_at_mut(cols);
        let (halves, _) = line[col..col + ROWS].as_chunks_mut();
        halves[0] = upper.to_le_bytes();
        halves[1] = lower.to_le_bytes();
        dst = rest;
    }
}

/// Swaps the bytes outside `mask` of each row with those inside of the row `DISTANCE` below.
#[inline(always)]
fn swap<const DISTANCE: usize>(a: &mut [[u64; 2]; SIDE], mask: u64) {
    for i in (0..SIDE).filter(|i| i & DISTANCE == 0) {
        let (above, below) = a.split_at_mut(i + DISTANCE);
        for (x, y) in above[i].iter_mut().zip(&mut below[0]) {
            let differ = ((*x >> (8 * DISTANCE)) ^ *y) & mask;
            *y ^= differ;
            *x ^= differ << (8 * DISTANCE);
        }
    }
}

/// What lies below or to the right of so many rows and columns, byte by byte.
#[inline(always)]
pub(crate) fn beyond(
    [tall, wide]: [usize; 2],
    rows: usize,
    cols: usize,
    src: &[u8],
    dst: &mut [u8],
) {
    for (of_rows, of_cols) in [(0..tall, wide..cols), (tall..rows, 0..cols)] {
        for c in of_cols {
            for r in of_rows.clone() {
                dst[c * rows + r] = src[r * cols + c];
            }
        }
    }
}
