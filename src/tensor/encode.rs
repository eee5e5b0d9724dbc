//! A row of a tile: scaled, encoded, counted.

use super::engine::{Engine, How};
use super::options::StatsLevel;
use super::pieces::{Area, pieces};
use super::target::Target;
use super::tiles::Scratch;
use crate::arch::Words;
use crate::format::{Rounding, Unpacked};
use crate::scale::{Operation, Rule};
use crate::slice::QuantStats;

const SIGN: u32 = 1 << 31;
const INF: u32 = 0x7f80_0000;

impl Engine<'_> {
    /// Codes of the groups of a tile in one row, into the target; `blocks` are its groups'.
    pub fn encode_row<T: Target>(
        &self,
        row: usize,
        tile: Area,
        scratch: &mut Scratch,
        target: &mut T,
        blocks: &mut [QuantStats],
    ) -> QuantStats {
        let Scratch { values: buffer, scaled, scale, scale_inv, .. } = scratch;
        let factors = match self.cast.rule.operation() {
            Operation::Multiply => &scale[..],
            Operation::Divide => &scale_inv[..],
        };
        let mut total = QuantStats::default();
        pieces(tile.cols, self.block.1, |piece| {
            let values = self.src.load(self.kernels, (row, piece.col), piece.len, buffer);
            let scaled = &mut scaled[..piece.len];
            let n = piece.len.div_ceil(piece.group);
            let groups = piece.first..piece.first + n;
            let factors = &factors[groups.clone()];
            let index = row as u64 * self.src.shape().1 as u64 + piece.col as u64;
            let codes = target.codes(row, piece.col, piece.len);
            self.encode(piece.group, factors, index, values, scaled, codes);
            if self.stats != StatsLevel::None {
                let each = values.chunks(piece.group).zip(scaled.chunks(piece.group));
                for (i, ((x, y), c)) in each.zip(codes.chunks(piece.group)).enumerate() {
                    let stats = self.count(x, y, c);
                    total = total.merge(stats);
                    if let Some(block) = blocks.get_mut(piece.first + i) {
                        *block = block.merge(stats);
                    }
                }
            }
            let group = piece.group;
            let piece = Area { rows: (row, row + 1), cols: (piece.col, piece.col + piece.len) };
            target.done(self, piece, group, &scale_inv[groups]);
        });
        total
    }

    /// codes\[i\] = the code of values\[i\] under its group's factor; `scaled` on the way, unless
    /// one kernel does it.
    fn encode(
        &self,
        group: usize,
        factors: &[f32],
        index: u64,
        values: &[f32],
        scaled: &mut [f32],
        codes: &mut [u8],
    ) {
        if self.how == How::Fused && group.is_multiple_of(16) {
            return self.kernels.encode_groups(&self.encoder, group, factors, values, codes, false);
        }
        let divide = self.cast.rule.operation() == Operation::Divide;
        self.kernels.scale_groups(divide, group, factors, values, scaled);
        if self.cast.rule.drops_neg_zero() {
            self.quirks(scaled);
        }
        let words = self.random.map_or(Words::None, |stream| Words::Stream(stream, index));
        if self.how == How::Reference {
            for (i, (y, code)) in scaled.iter().zip(codes).enumerate() {
                let word = self.random.map_or(0, |stream| stream.word(index + i as u64));
                *code = Unpacked::from_f32(*y).round(self.spec, self.cast.policy(), word) as u8;
                if y.is_nan() && !self.spec.has_nan() {
                    *code = self.nan_code;
                }
            }
            return;
        }
        let screen = !self.spec.has_nan();
        let seen = self.kernels.encode_u8(&self.encoder, words, scaled, codes, screen, false);
        if screen && seen.peak > INF {
            for (code, _) in codes.iter_mut().zip(scaled).filter(|(_, y)| y.is_nan()) {
                *code = self.nan_code;
            }
        }
    }

    /// What two engines do with values that are nearly zero.
    fn quirks(&self, scaled: &mut [f32]) {
        let least = self.spec.min_positive() as f32;
        let below_half = (least / 2.0).to_bits() - 1;
        let to_nearest = self.cast.rounding == Rounding::NearestEven;
        let rounds_up = self.cast.rule == Rule::Microxcaling && to_nearest;
        for y in scaled {
            let magnitude = y.to_bits() & !SIGN;
            if magnitude == 0 {
                *y = 0.0;
            } else if rounds_up && magnitude == below_half {
                *y = least.copysign(*y);
            }
        }
    }

    /// Statistics of some values, scaled values and codes.
    fn count(&self, values: &[f32], scaled: &[f32], codes: &[u8]) -> QuantStats {
        let limits = (self.max, self.encoder.zero_mask);
        self.kernels.count_scaled(limits, values, scaled, codes).into()
    }
}
