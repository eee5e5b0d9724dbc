//! Over all tiles of an engine's matrix, on one thread or several.

use super::engine::{Engine, How};
use super::options::StatsLevel;
use super::pieces::{Area, piece_group};
use super::scales::Places;
use super::target::Target;
use super::view::Widened;
use crate::scale::GroupScale;
use crate::slice::parallel::{join, parts};
use crate::slice::{PIECE, QuantStats};
use std::vec;
use std::vec::Vec;

/// Elements of a tile of several rows: they fit the second-level cache beside their codes.
pub(super) const TILE: usize = 1 << 16;

/// Rows from which a group is too tall for one tile: amaxes had better come first.
pub(super) const TALL: usize = 512;

/// Elements of a tile of one row: they fit the first-level cache beside their codes, and the next
/// ones are on their way.
const STRIP: usize = 1024;

/// The least columns of a tile of several rows, so that rows are read in whole pages.
const NARROW: usize = 1024;

/// What was counted of an area: in all, and in each of its groups where that was asked for.
#[derive(Clone, Debug)]
pub(super) struct Counted {
    pub total: QuantStats,
    /// Of groups that follow each other in the grid.
    pub blocks: Vec<QuantStats>,
    /// The first one's index.
    pub start: usize,
}

impl Counted {
    pub fn new(engine: &Engine<'_>, area: Area) -> Self {
        let total = QuantStats::default();
        if engine.stats != StatsLevel::Blocks || area.height() * area.width() == 0 {
            return Self { total, blocks: Vec::new(), start: 0 };
        }
        let index =
            |row: usize, col: usize| row / engine.block.0 * engine.grid_cols + col / engine.block.1;
        let start = index(area.rows.0, area.cols.0);
        let end = index(area.rows.1 - 1, area.cols.1 - 1) + 1;
        Self { total, blocks: vec![total; end - start], start }
    }

    /// Of one slice that is one group.
    pub fn of_slice(total: QuantStats) -> Self {
        Self { total, blocks: vec![total], start: 0 }
    }

    /// The statistics of groups from this index on.
    fn from(&mut self, index: usize) -> &mut [QuantStats] {
        self.blocks.get_mut(index.wrapping_sub(self.start)..).unwrap_or_default()
    }

    /// With those of an area that follows: its first groups may be the last ones here.
    pub fn merge(mut self, other: Self) -> Self {
        if self.blocks.is_empty() {
            (self.blocks, self.start) = (other.blocks, other.start);
        } else if !other.blocks.is_empty() {
            let at = other.start - self.start;
            let shared = self.blocks.len() - at;
            for (a, b) in self.blocks[at..].iter_mut().zip(&other.blocks) {
                *a = a.merge(*b);
            }
            self.blocks.extend(other.blocks.into_iter().skip(shared));
        }
        Self { total: self.total.merge(other.total), ..self }
    }
}

/// Buffers of one thread: of a piece, and of the groups of a tile.
pub(super) struct Scratch {
    pub values: Widened,
    pub scaled: Vec<f32>,
    pub peaks: Vec<u32>,
    pub scale: Vec<f32>,
    pub scale_inv: Vec<f32>,
    pub bytes: Vec<u8>,
}

impl Scratch {
    pub fn new() -> Self {
        Self {
            values: Widened::new(),
            scaled: vec![0.0; PIECE],
            peaks: Vec::new(),
            scale: Vec::new(),
            scale_inv: Vec::new(),
            bytes: Vec::new(),
        }
    }

    /// Room for this many groups.
    fn grow(&mut self, groups: usize) {
        if self.peaks.len() < groups {
            self.peaks.resize(groups, 0);
            self.scale.resize(groups, 0.0);
            self.scale_inv.resize(groups, 0.0);
            self.bytes.resize(groups, 0);
        }
    }

    #[inline(always)]
    fn set(&mut self, i: usize, group: GroupScale) {
        self.scale[i] = group.scale;
        self.scale_inv[i] = group.scale_inv;
        self.bytes[i] = group.byte;
    }
}

impl Engine<'_> {
    /// Before and from the group on that begins at this row.
    pub fn split_places<'p>(&self, places: Places<'p>, row: usize) -> (Places<'p>, Places<'p>) {
        match self.given {
            Some(_) => (places, Places::default()),
            None => places.split_at(row / self.block.0 * self.grid_cols),
        }
    }

    /// Everything, on this thread or on those of the caller's pool.
    pub fn run<T: Target>(&self, places: Places<'_>, target: T) -> Counted {
        let (rows, cols) = self.src.shape();
        if rows * cols == 0 {
            return Counted::new(self, Area::of((0, 0)));
        }
        self.split(Area::of((rows, cols)), places, target, parts(rows * cols, self.threads))
    }

    /// Cuts an area in two for the pool: between block rows, or in a single row between groups;
    /// under given scales anywhere.
    fn split<T: Target>(&self, area: Area, places: Places<'_>, target: T, parts: usize) -> Counted {
        let left = parts / 2;
        let by_rows = area.height() > 1;
        let ((from, to), block) =
            if by_rows { (area.rows, self.block.0) } else { (area.cols, self.block.1) };
        let free = self.given.is_some();
        // A part of a group longer than a piece is a piece like any other.
        let unit = match (free, by_rows) {
            (true, true) => 1,
            (true, false) => piece_group(block),
            (false, _) => block,
        };
        let at = from + (to - from) / parts.max(1) * left / unit * unit;
        if parts < 2 || at == from || at == to {
            return self.serial(area, places, target);
        }
        let (a, b) = if by_rows {
            (Area { rows: (from, at), ..area }, Area { rows: (at, to), ..area })
        } else {
            (Area { cols: (from, at), ..area }, Area { cols: (at, to), ..area })
        };
        let (p0, p1) = match (free, by_rows) {
            (_, true) => self.split_places(places, at),
            (true, false) => (places, Places::default()),
            (false, false) => places.split_at(at / block),
        };
        let (t0, t1) = target.split(by_rows, at - from);
        let (one, two) =
            join(|| self.split(a, p0, t0, left), || self.split(b, p1, t1, parts - left));
        one.merge(two)
    }

    fn serial<T: Target>(&self, area: Area, mut places: Places<'_>, mut target: T) -> Counted {
        let mut counted = Counted::new(self, area);
        self.area(area, &mut places, &mut target, &mut Scratch::new(), &mut counted);
        target.finish(self);
        counted
    }

    /// Every tile of an area that begins at a group, on this thread.
    pub fn area<T: Target>(
        &self,
        area: Area,
        places: &mut Places<'_>,
        target: &mut T,
        scratch: &mut Scratch,
        counted: &mut Counted,
    ) {
        let (block_rows, block_cols) = self.block;
        let first = area.cols.0 / block_cols;
        let mut row = area.rows.0;
        while row < area.rows.1 {
            let band = row / block_rows;
            let next = ((band + 1) * block_rows).min(area.rows.1);
            let limit = match (next - row, self.given) {
                (1, _) => STRIP,
                // Rows are read once.
                (_, Some(_)) => TILE,
                (rows, None) => (TILE / rows).max(NARROW),
            };
            let groups = (limit / block_cols).max(1);
            let mut group = first;
            let mut col = area.cols.0;
            while col < area.cols.1 {
                let end = ((group + groups).saturating_mul(block_cols)).min(area.cols.1);
                let tile = Area { rows: (row, next), cols: (col, end) };
                let index = band * self.grid_cols + group;
                self.tile(tile, index, places, target, scratch, counted);
                (col, group) = (end, group + groups);
            }
            row = next;
        }
    }

    /// `index` is that of the tile's first group.
    fn tile<T: Target>(
        &self,
        tile: Area,
        index: usize,
        places: &mut Places<'_>,
        target: &mut T,
        scratch: &mut Scratch,
        counted: &mut Counted,
    ) {
        let groups = tile.cols.1.div_ceil(self.block.1) - tile.cols.0 / self.block.1;
        scratch.grow(groups);
        if let Some(scales) = self.given {
            for i in 0..groups {
                scratch.set(i, scales.group(index + i));
            }
        } else {
            scratch.peaks[..groups].fill(0);
            for row in tile.rows.0..tile.rows.1 {
                // Short pieces of rows that lie far apart: processors do not guess the next one.
                if row + 1 < tile.rows.1 {
                    self.src.fetch(self.kernels, row + 1, tile.cols);
                }
                self.peaks_of_row(row, tile.cols, &mut scratch.peaks, &mut scratch.values);
            }
            for i in 0..groups {
                scratch.set(i, self.scaler.scale(f32::from_bits(scratch.peaks[i])));
            }
            places.set(index, &scratch.scale[..groups], &scratch.scale_inv, &scratch.bytes);
        }
        // The fused kernel fetches for itself what it reads from the source.
        let by_kernel = self.how == How::Fused && self.src.is_direct();
        if tile.rows.1 - tile.rows.0 == 1 && !by_kernel {
            let ahead = (tile.cols.1 + STRIP / 2, tile.cols.1 + STRIP / 2 + STRIP);
            self.src.fetch(self.kernels, tile.rows.0, ahead);
        }
        for row in tile.rows.0..tile.rows.1 {
            let blocks = counted.from(index);
            let total = self.encode_row(row, tile, scratch, target, blocks);
            counted.total = counted.total.merge(total);
        }
    }
}
