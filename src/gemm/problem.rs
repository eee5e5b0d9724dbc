//! A product after its checks: operands, where scales meet the sum, the segments of K.

use super::input::{Elements, GemmInput, Operand};
use super::options::{Addend, GemmOptions};
use super::output::GemmOutput;
use super::sums::{Accumulation, Sums};
use crate::arch::tile::QUAD;
use crate::error::Error;
use std::vec::Vec;

/// N_C: the elements of K between promotions where nothing else is said.
const PROMOTE: usize = 1024;

#[derive(Clone, Copy, Debug)]
pub(super) struct Problem<'a> {
    pub a: Operand<'a>,
    pub b: Operand<'a>,
    pub sums: Sums,
    /// Where segments begin, and K at the end: at least 0.
    pub cuts: &'a [usize],
    /// The elements of K of the parts that a unit sums apart.
    pub part: Option<usize>,
    /// Whether the sums of a unit's chains join others in f32.
    pub joins: bool,
    pub options: &'a GemmOptions<'a>,
}

impl<'a> Problem<'a> {
    /// # Errors
    /// Those of [`gemm_nt`](super::gemm_nt).
    pub fn new(
        [a, b]: [Operand<'a>; 2],
        out: &GemmOutput<'_>,
        options: &'a GemmOptions<'a>,
        cuts: &'a mut Vec<usize>,
    ) -> Result<Self, Error> {
        let shape = |what, expected, got| {
            if expected == got { Ok(()) } else { Err(Error::Shape { what, expected, got }) }
        };
        if let Elements::Packed(_) = a.elements {
            return Err(Error::Cast { why: "only the right operand of a product may be packed" });
        }
        shape("right operand (b)", (b.rows, a.k), (b.rows, b.k))?;
        shape("output", (a.rows, b.rows), out.shape())?;
        if let Addend::Matrix(_, c) = &options.c {
            shape("C", (a.rows, b.rows), c.shape())?;
        }
        if let Some(bias) = options.bias
            && bias.len() != b.rows
        {
            return Err(Error::Length { what: "bias", expected: b.rows, got: bias.len() });
        }
        out.check(&options.c)?;
        let sums = Sums::of([a.side(), b.side()], options.sums.block_sum)?;
        let Accumulation { promote, split_k, unit, .. } = options.sums;
        if let Some(unit) = unit {
            super::unit::check(unit, [&a, &b], promote)?;
        }
        let blocks = [a, b].map(|operand| operand.scaling.and_then(|scaling| scaling.block()));
        let split = segments(a.k, &options.sums, blocks, cuts)?;
        if let Elements::Packed(packed) = b.elements {
            packed.check(cuts)?;
        }
        let scaled = unit.is_none_or(|unit| !unit.has_block_scales()) && sums != Sums::After;
        let joins = promote.is_some() || split_k.is_some() || scaled;
        Ok(Self { a, b, sums, cuts, part: split, joins, options })
    }

    /// Multiply-adds, if a matrix unit makes them.
    pub fn on_unit(&self) -> u64 {
        let (m, n) = self.shape();
        self.options.sums.unit.map_or(0, |_| m as u64 * n as u64 * self.a.k as u64)
    }

    /// M and N.
    pub const fn shape(&self) -> (usize, usize) {
        (self.a.rows, self.b.rows)
    }
}

/// Cuts 0..k where sums are cut: `blocks` are the elements along K that share a scale, where that
/// is not all of them. The elements of K of the parts that a unit sums apart, if it does.
///
/// # Errors
/// [`Error::Range`] for an interval or a number of parts that is 0; [`Error::Memory`].
pub(crate) fn segments(
    k: usize,
    sums: &Accumulation,
    blocks: [Option<usize>; 2],
    cuts: &mut Vec<usize>,
) -> Result<Option<usize>, Error> {
    let Accumulation { promote, split_k, unit, .. } = *sums;
    let interval = match promote {
        None if unit.is_some() => usize::MAX,
        None => PROMOTE,
        Some(n) => usize::try_from(n).unwrap_or(usize::MAX),
    };
    let range = |what| Error::Range { what, got: 0, min: 1, max: i64::from(u32::MAX) };
    let split = match (unit, split_k) {
        (_, Some(0)) => return Err(range("parts of a split K")),
        (Some(unit), Some(n)) => {
            let part = k.div_ceil(usize::try_from(n).unwrap_or(usize::MAX));
            // Where packed operands can be cut, too.
            Some(part.next_multiple_of(unit.step().max(QUAD)).max(QUAD))
        }
        (_, None) | (None, _) => None,
    };
    if interval == 0 {
        return Err(range("interval of promotion"));
    }
    let cutting = unit.is_none_or(|unit| !unit.has_block_scales());
    let [a, b] = blocks.map(|block| block.filter(|_| cutting));
    cut(k, split, [Some(interval), a, b], cuts)?;
    Ok(split)
}

/// Cuts 0..k at the beginnings of its parts, and there at every multiple of each interval; the first
/// is counted from a part's beginning, the others, of scales, from 0.
///
/// # Errors
/// [`Error::Memory`].
fn cut(
    k: usize,
    part: Option<usize>,
    intervals: [Option<usize>; 3],
    cuts: &mut Vec<usize>,
) -> Result<(), Error> {
    cuts.clear();
    let part = part.unwrap_or(usize::MAX);
    let [promote, blocks @ ..] = intervals;
    let most = intervals.iter().flatten().chain([&part]).map(|n| k.div_ceil(*n));
    let elements = most.fold(2_usize, usize::saturating_add).saturating_add(k.div_ceil(part));
    let error = Error::Memory { what: "segments of a matrix product", elements };
    cuts.try_reserve(elements).map_err(|_| error)?;
    let mut at = 0;
    while at < k {
        cuts.push(at);
        let begin = at / part * part;
        let promoted =
            promote.map(|n| begin.saturating_add(((at - begin) / n + 1).saturating_mul(n)));
        let edges = blocks.iter().flatten().chain([&part]);
        let edges = edges.map(|n| (at / n + 1).saturating_mul(*n)).chain(promoted);
        at = edges.min().unwrap_or(k).min(k);
    }
    cuts.push(k);
    Ok(())
}

/// The codes of a view, one a byte, in `buffer` where they are packed.
///
/// # Errors
/// [`Error::Memory`].
pub(super) fn unpack<'b>(
    input: &GemmInput<'_>,
    buffer: &'b mut Vec<u8>,
) -> Result<&'b [u8], Error> {
    let GemmInput::Quantized(view) = input else { return Ok(&[]) };
    if !view.is_packed() {
        return Ok(&[]);
    }
    let (rows, cols) = view.shape();
    let codes = super::workspace::room(buffer, rows * cols, 0)?;
    view.format().spec().unpack(view.codes(), codes)?;
    Ok(codes)
}
