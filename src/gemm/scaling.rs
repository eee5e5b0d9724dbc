//! The scales of an operand: one by one, and as lines for the tiles.

use super::input::Operand;
use crate::arch::Kernels;
use crate::arch::cast::bytes;
use crate::arch::tile::{LANES, Line, QUAD};
use crate::format::F8E4M3;
use crate::scale::{Granularity, Rule, e8m0};
use crate::tensor::Scales;
use core::ops::Range;

/// Scales, and where the operand lies in the matrix that they are of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scaling<'a> {
    pub scales: &'a Scales,
    pub granularity: Granularity,
    pub rule: Option<Rule>,
    /// Columns of the whole matrix.
    pub cols: usize,
    pub first_row: usize,
    pub first_col: usize,
}

impl Scaling<'_> {
    /// The index of the scale of an element of the operand.
    pub const fn group(&self, row: usize, k: usize) -> usize {
        let (row, col) = (row + self.first_row, k + self.first_col);
        match self.granularity {
            Granularity::Tensor => 0,
            Granularity::Row => row,
            Granularity::Col => col,
            Granularity::Block { rows, cols } => row / rows * self.cols.div_ceil(cols) + col / cols,
        }
    }

    /// The elements along K that share a scale, where that is not all of them.
    pub const fn block(&self) -> Option<usize> {
        match self.granularity {
            Granularity::Block { cols, .. } => Some(cols),
            Granularity::Tensor | Granularity::Row | Granularity::Col => None,
        }
    }
}

impl Operand<'_> {
    /// The scale of an element, without the tensor's own factor; 1 where there is none.
    pub fn scale_inv(&self, row: usize, k: usize) -> f32 {
        self.scaling.map_or(1.0, |scaling| scaling.scales.scale_inv(scaling.group(row, k)))
    }

    /// The exponent of an E8M0 scale, NaN for byte 255; 0 where there is none.
    pub fn exponent(&self, row: usize, k: usize) -> f32 {
        let Some(scaling) = self.scaling else { return 0.0 };
        match scaling.scales {
            Scales::E8M0(bytes) => exponent(bytes[scaling.group(row, k)]),
            Scales::F32 { .. } | Scales::E4M3 { .. } => 0.0,
        }
    }
}

/// The exponent of an E8M0 byte; NaN for 255.
pub(super) fn exponent(byte: u8) -> f32 {
    if byte == u8::MAX { f32::NAN } else { f32::from(byte) - 127.0 }
}

/// What a tile reads of a scale.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    /// `scale_inv` as f32.
    Value,
    /// The exponent of an E8M0 scale as f32, NaN for byte 255.
    Exponent,
    /// The exponent of a power of two as i32; 0 where it is outside.
    Power { least: i32, most: i32 },
}

impl Form {
    const fn of_f32(self, bits: u32) -> u32 {
        match self {
            Self::Value => bits,
            Self::Exponent => 0,
            Self::Power { .. } => self.power((bits >> 23) as i32 - 127),
        }
    }

    fn of_e8m0(self, byte: u8) -> u32 {
        match self {
            Self::Value => e8m0::value(byte).to_bits(),
            Self::Exponent => exponent(byte).to_bits(),
            Self::Power { .. } => self.power(i32::from(byte) - 127),
        }
    }

    const fn power(self, x: i32) -> u32 {
        match self {
            Self::Power { least, most } if x >= least && x <= most => x as u32,
            Self::Power { .. } | Self::Value | Self::Exponent => 0,
        }
    }
}

impl Scaling<'_> {
    /// The indices of a row's scales for segments that have one each, in order; none where segments
    /// are not blocks.
    fn consecutive(&self, row: usize, cuts: &[usize]) -> Option<Range<usize>> {
        let segments = cuts.len() - 1;
        let len = cuts.get(1).map_or(0, |cut| cut - cuts[0]);
        let each = self.block() == Some(len) && cuts[0].is_multiple_of(len);
        let start = self.group(row, cuts[0]);
        (segments == 1 || each).then_some(start..start + segments)
    }

    /// Whether a row has one scale for all segments.
    const fn uniform(&self) -> bool {
        self.block().is_none()
    }

    /// A line for each segment, with what the tiles read of the scales of up to sixteen rows.
    pub fn lines(
        &self,
        kernels: &Kernels,
        form: Form,
        (from, to): (usize, usize),
        (cuts, even): (&[usize], bool),
        out: &mut [Line],
    ) {
        let segments = cuts.len() - 1;
        if segments == 0 {
            return;
        }
        if self.uniform() {
            let mut line = Line::ZERO;
            for (row, lane) in (from..to).zip(&mut line.0) {
                *lane = self.one(form, self.group(row, 0));
            }
            return out.fill(line);
        }
        if !even || self.consecutive(from, cuts).is_none() {
            for (line, k) in out.iter_mut().zip(cuts) {
                *line = Line::ZERO;
                for (row, lane) in (from..to).zip(&mut line.0) {
                    *lane = self.one(form, self.group(row, *k));
                }
            }
            return;
        }
        let mut ranges = [const { 0..0 }; LANES];
        let (first, next) = (self.group(from, cuts[0]), self.group(from + 1, cuts[0]));
        // Rows of blocks that are one row high begin at a distance; else groups are asked for.
        let apart = matches!(self.granularity, Granularity::Block { rows: 1, .. });
        for ((i, row), range) in (from..to).enumerate().zip(&mut ranges) {
            let start = if apart { first + i * (next - first) } else { self.group(row, cuts[0]) };
            *range = start..start + segments;
        }
        match self.scales {
            Scales::F32 { scale_inv, .. } => {
                let rows = ranges.map(|range| bytes(&scale_inv[range]));
                kernels.lanes(&rows, false, &[], &mut out[..segments]);
                if !matches!(form, Form::Value) {
                    out.iter_mut().flat_map(|line| &mut line.0).for_each(|x| *x = form.of_f32(*x));
                }
            }
            Scales::E8M0(bytes) | Scales::E4M3 { scale_inv: bytes, .. } => {
                let e8m0 = matches!(self.scales, Scales::E8M0(_));
                let mut rows = ranges.map(|range| &bytes[range]);
                for lines in out[..segments].chunks_mut(QUAD * LANES) {
                    let mut quads = [Line::ZERO; LANES];
                    let quads = &mut quads[..lines.len().div_ceil(QUAD)];
                    kernels.lanes(&rows, false, &[], quads);
                    rows = rows.map(|row| row.get(lines.len()..).unwrap_or_default());
                    for (i, line) in lines.iter_mut().enumerate() {
                        for (lane, four) in line.0.iter_mut().zip(&quads[i / QUAD].0) {
                            let byte = (four >> (8 * (i % QUAD))) as u8;
                            *lane = if e8m0 { form.of_e8m0(byte) } else { value_of_e4m3(byte) };
                        }
                    }
                }
            }
        }
    }

    fn one(&self, form: Form, group: usize) -> u32 {
        match self.scales {
            Scales::F32 { scale_inv, .. } => form.of_f32(scale_inv[group].to_bits()),
            Scales::E8M0(bytes) => form.of_e8m0(bytes[group]),
            Scales::E4M3 { scale_inv, .. } => value_of_e4m3(scale_inv[group]),
        }
    }

    /// The smallest and largest exponent of a row's scales, if all are powers of two.
    pub fn powers(&self, row: usize, (cuts, even): (&[usize], bool)) -> Option<(i32, i32)> {
        let segments = cuts.len() - 1;
        let slow = |found: (i32, i32), x: i32| (found.0.min(x), found.1.max(x));
        const NONE: (i32, i32) = (i32::MAX, i32::MIN);
        let range = match self.consecutive(row, cuts) {
            _ if self.uniform() => {
                let group = self.group(row, 0);
                group..group + 1
            }
            Some(range) if even => range,
            _ => {
                let mut found = NONE;
                for k in &cuts[..segments] {
                    found = slow(found, self.power(self.group(row, *k))?);
                }
                return Some(found);
            }
        };
        match self.scales {
            Scales::F32 { scale_inv, .. } => {
                let mut found = NONE;
                for scale in &scale_inv[range] {
                    found = slow(found, power_of_f32(*scale)?);
                }
                Some(found)
            }
            Scales::E8M0(bytes) => {
                let bytes = &bytes[range];
                let least = bytes.iter().copied().min().unwrap_or(127);
                let most = bytes.iter().copied().max().unwrap_or(127);
                (most != u8::MAX).then_some((i32::from(least) - 127, i32::from(most) - 127))
            }
            Scales::E4M3 { .. } => None,
        }
    }

    /// x, if a scale is 2^x.
    pub fn power(&self, group: usize) -> Option<i32> {
        match self.scales {
            Scales::E8M0(bytes) => (bytes[group] != u8::MAX).then(|| i32::from(bytes[group]) - 127),
            Scales::F32 { scale_inv, .. } => power_of_f32(scale_inv[group]),
            Scales::E4M3 { .. } => None,
        }
    }
}

/// x, if this is 2^x and no subnormal.
const fn power_of_f32(scale: f32) -> Option<i32> {
    let bits = scale.to_bits();
    if bits & 0x807f_ffff == 0 && bits != 0 && bits != 0x7f80_0000 {
        Some((bits >> 23) as i32 - 127)
    } else {
        None
    }
}

fn value_of_e4m3(byte: u8) -> u32 {
    F8E4M3::from_bits(byte).to_f32().to_bits()
}
