//! A right operand that is packed once and multiplied often.

use super::input::{Elements, GemmInput, Operand};
use super::pack::{Elementwise, rows_of};
use super::problem::unpack;
use super::scaling::Scaling;
use super::workspace::room;
use crate::arch::Isa;
use crate::arch::cast::to_codes;
use crate::arch::decoder::decoder_of;
use crate::arch::tile::{LANES, Line, QUAD};
use crate::error::Error;
use crate::format::FormatId;
use crate::scale::{Granularity, Rule};
use crate::slice::Values;
use crate::tensor::Scales;
use std::vec::Vec;

/// The right operand of a product in the order in which it is read: weights that many
/// micro-batches meet. One byte a code, as before; bf16 and f32 as before.
///
/// ```
/// use quarter::gemm::{GemmOptions, Packed, gemm_nt};
/// use quarter::tensor::{MatMut, MatRef, QuantizeOptions, quantize};
/// let w: Vec<f32> = (0..48 * 64).map(|i| (i as f32).sin()).collect();
/// let x = [0.5_f32; 64];
/// let w = quantize(MatRef::new(&w, 48, 64)?, &"e4m3:tensor:torchao".parse()?, &QuantizeOptions::new())?;
/// let (mut plain, mut packed) = ([0.0_f32; 48], [0.0_f32; 48]);
/// let (x, options) = (MatRef::new(&x, 1, 64)?, GemmOptions::new());
/// gemm_nt(x, &w, MatMut::new(&mut plain, 1, 48)?, &options)?;
/// gemm_nt(x, &Packed::new(&w)?, MatMut::new(&mut packed, 1, 48)?, &options)?;
/// assert_eq!(plain, packed);
/// # Ok::<(), quarter::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Packed {
    rows: usize,
    k: usize,
    kind: Kind,
    /// Panels of sixteen rows, each of [`Kind::lines`].
    lines: Vec<Line>,
    range: (u16, u16),
    scaling: Option<Kept>,
}

/// What its lines hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Quads of codes.
    Codes(FormatId),
    /// Pairs.
    Bf16,
    /// One k.
    F32,
}

impl Kind {
    /// The lines of `k` elements of K.
    pub const fn lines(self, k: usize) -> usize {
        let per_quad = match self {
            Self::Codes(_) => 1,
            Self::Bf16 => 2,
            Self::F32 => 4,
        };
        k.div_ceil(QUAD) * per_quad
    }
}

#[derive(Clone, Debug)]
struct Kept {
    scales: Scales,
    granularity: Granularity,
    rule: Option<Rule>,
    first_row: usize,
}

impl Packed {
    /// Packs a right operand b \[N, K\].
    ///
    /// # Errors
    /// As [`gemm_nt`](super::gemm_nt) for its right operand; [`Error::Memory`].
    pub fn new<'a>(b: impl Into<GemmInput<'a>>) -> Result<Self, Error> {
        let b = b.into();
        if let GemmInput::Packed(packed) = b {
            return Ok(packed.clone());
        }
        let mut codes = Vec::new();
        let operand = Operand::new(b, unpack(&b, &mut codes)?)?;
        let (rows, k) = (operand.rows, operand.k);
        let kind = match operand.elements {
            Elements::Codes { format, .. } => Kind::Codes(format),
            Elements::Values(values) => match values.parts().0 {
                Values::Bf16(_) => Kind::Bf16,
                Values::F64(_) | Values::F32(_) | Values::F16(_) => Kind::F32,
            },
            Elements::Packed(packed) => packed.kind,
        };
        let mut lines = Vec::new();
        let panel = kind.lines(k);
        room(&mut lines, rows.div_ceil(LANES).saturating_mul(panel), Line::ZERO)?;
        let kernels = Isa::best().kernels();
        for (i, out) in lines.chunks_exact_mut(panel.max(1)).enumerate() {
            let here = (i * LANES, rows.min((i + 1) * LANES));
            match operand.elements {
                Elements::Codes { codes, stride, .. } => {
                    kernels.lanes(&rows_of(codes, stride, here, (0, k)), false, &[], out);
                }
                Elements::Values(values) => {
                    Elementwise { values, rows: here, k: (0, k) }.pack(kernels, kind, out);
                }
                Elements::Packed(_) => {}
            }
        }
        let scaling = operand.scaling.map(|scaling| Kept {
            scales: scaling.scales.clone(),
            granularity: scaling.granularity,
            rule: scaling.rule,
            first_row: scaling.first_row,
        });
        let range = match operand.elements {
            Elements::Values(values) => match values.parts().0 {
                Values::Bf16(slice) => kernels.range_bf16(1, 0, slice.len(), to_codes(slice)),
                Values::F64(_) | Values::F32(_) | Values::F16(_) => (u16::MAX, 0),
            },
            Elements::Codes { .. } | Elements::Packed(_) => (u16::MAX, 0),
        };
        Ok(Self { rows, k, kind, lines, range, scaling })
    }

    /// N and K.
    #[must_use]
    pub const fn shape(&self) -> (usize, usize) {
        (self.rows, self.k)
    }

    /// The smallest and largest magnitude of bf16 elements that are not zero, Inf or NaN.
    pub(super) const fn range(&self) -> (u16, u16) {
        self.range
    }

    pub(super) const fn kind(&self) -> Kind {
        self.kind
    }

    /// The lines of the panel that begins at a row, from an element of K on.
    pub(super) fn panel(&self, row: usize, k: (usize, usize)) -> &[Line] {
        let start = row / LANES * self.kind.lines(self.k) + self.kind.lines(k.0);
        &self.lines[start..start + self.kind.lines(k.1 - k.0)]
    }

    pub(super) fn scaling(&self) -> Option<Scaling<'_>> {
        self.scaling.as_ref().map(|kept| Scaling {
            scales: &kept.scales,
            granularity: kept.granularity,
            rule: kept.rule,
            cols: self.k,
            first_row: kept.first_row,
            first_col: 0,
        })
    }

    /// The value of an element without its scale.
    pub(super) fn get(&self, row: usize, k: usize) -> f32 {
        let panel = self.panel(row, (0, self.k));
        let lane = row % LANES;
        match self.kind {
            Kind::F32 => panel[k].f32(lane),
            Kind::Bf16 => {
                let pair = panel[k / 2].0[lane];
                f32::from_bits(if k.is_multiple_of(2) { pair & 0xffff_0000 } else { pair << 16 })
            }
            Kind::Codes(format) => {
                let code = self.bits(row, k) as usize;
                decoder_of(format).map_or(f32::NAN, |d| f32::from_bits(d.table[code]))
            }
        }
    }

    /// The bits of an element: a code, a bf16 or an f32.
    pub(super) fn bits(&self, row: usize, k: usize) -> u32 {
        match self.kind {
            Kind::Codes(_) => {
                let quads = self.panel(row, (0, self.k));
                u32::from(quads[k / QUAD].0[row % LANES].to_le_bytes()[k % QUAD])
            }
            Kind::Bf16 => self.get(row, k).to_bits() >> 16,
            Kind::F32 => self.get(row, k).to_bits(),
        }
    }

    /// # Errors
    /// [`Error::Cast`] unless segments begin where quads do.
    pub(super) fn check(&self, cuts: &[usize]) -> Result<(), Error> {
        let (_, edges) = cuts.split_last().unwrap_or((&0, &[]));
        if edges.iter().all(|cut| cut % QUAD == 0) {
            return Ok(());
        }
        let why = "a packed operand is cut at multiples of 4 elements of K: choose promotion and \
                   blocks of such a length, or give it unpacked";
        Err(Error::Cast { why })
    }
}
