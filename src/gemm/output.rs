//! Where results go.

use super::options::Addend;
use crate::arch::Kernels;
use crate::arch::Words;
use crate::arch::cast::{bytes, to_codes_mut};
use crate::arch::encoder::{Encoder, Method};
use crate::arch::tile::{Line, Sums};
use crate::error::Error;
use crate::format::{FormatId, NanPolicy, Overflow, Policy, Rounding, Unpacked, table};
use crate::slice::ValuesMut;
use crate::tensor::MatMut;

/// The output of a matrix product: numbers, or codes of up to 8 bits.
#[derive(Debug)]
pub struct GemmOutput<'a> {
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) target: Target<'a>,
    pub(super) encoder: Option<(FormatId, Encoder, Policy)>,
}

/// Rows at a distance.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub values: Slice<'a>,
    pub stride: usize,
}

#[derive(Debug)]
pub(super) enum Slice<'a> {
    Values(ValuesMut<'a>),
    Codes(&'a mut [u8]),
}

impl<'a> From<MatMut<'a>> for GemmOutput<'a> {
    fn from(matrix: MatMut<'a>) -> Self {
        let (rows, cols) = matrix.shape();
        let (values, stride) = matrix.into_parts();
        // The distance of a single row to the next may be anything.
        let stride = if rows <= 1 { stride.max(cols) } else { stride };
        let half = match &values {
            ValuesMut::F16(_) => Some((FormatId::F16, &table::F16)),
            ValuesMut::Bf16(_) => Some((FormatId::Bf16, &table::BF16)),
            ValuesMut::F64(_) | ValuesMut::F32(_) => None,
        };
        let encoder = half.map(|(id, spec)| {
            let policy = Policy::NONFINITE;
            (id, Encoder::new(spec, policy, 1.0, false), policy)
        });
        Self { rows, cols, target: Target { values: Slice::Values(values), stride }, encoder }
    }
}

impl<'a> GemmOutput<'a> {
    /// Codes, one a byte: encode(fl(t · scale)), to nearest even, saturating, NaN as 0 where the
    /// format has none: as casts do.
    ///
    /// # Errors
    /// [`Error::Length`] unless there are rows · cols codes; [`Error::CodeWidth`] for a format of
    /// more than 8 bits.
    ///
    /// ```
    /// use quarter::gemm::{GemmOptions, GemmOutput, gemm_nt};
    /// use quarter::{FormatId, tensor::MatRef};
    /// let (a, b) = ([2.0_f32], [3.0_f32]);
    /// let mut codes = [0];
    /// let d = GemmOutput::codes(&mut codes, (1, 1), FormatId::F8E4M3, 0.25)?;
    /// gemm_nt(MatRef::new(&a, 1, 1)?, MatRef::new(&b, 1, 1)?, d, &GemmOptions::new())?;
    /// assert_eq!(codes, [0x3c]); // 1.5
    /// # Ok::<(), quarter::Error>(())
    /// ```
    pub fn codes(
        codes: &'a mut [u8],
        (rows, cols): (usize, usize),
        format: FormatId,
        scale: f32,
    ) -> Result<Self, Error> {
        let spec = format.spec();
        if spec.bits() > 8 {
            return Err(Error::CodeWidth { format: spec.name(), expected: spec.bits(), got: 8 });
        }
        let expected = rows.saturating_mul(cols);
        if codes.len() != expected {
            return Err(Error::Length {
                what: "slice of output codes",
                expected,
                got: codes.len(),
            });
        }
        let policy = Policy {
            rounding: Rounding::NearestEven,
            overflow: Overflow::Saturate,
            nan: NanPolicy::Zero,
        };
        let encoder = Encoder::new(spec, policy, scale, false);
        let target = Target { values: Slice::Codes(codes), stride: cols };
        Ok(Self { rows, cols, target, encoder: Some((format, encoder, policy)) })
    }

    /// Rows and columns.
    #[must_use]
    pub const fn shape(&self) -> (usize, usize) {
        (self.rows, self.cols)
    }

    /// Cuts it to its first rows, and gives the rest.
    pub(super) fn rows_from(&mut self, row: usize) -> Self {
        let empty = Target { values: Slice::Codes(&mut []), stride: 0 };
        let target = core::mem::replace(&mut self.target, empty);
        let (first, rest) = target.split_rows(row);
        let rows = self.rows - row;
        (self.target, self.rows) = (first, row);
        Self { rows, cols: self.cols, target: rest, encoder: self.encoder }
    }

    /// # Errors
    /// [`Error::Cast`] where codes would be read as C.
    pub(super) fn check(&self, addend: &Addend<'_>) -> Result<(), Error> {
        if let (Addend::Output(_), Slice::Codes(_)) = (addend, &self.target.values) {
            let why = "codes cannot be accumulated into: give C as a matrix of numbers";
            return Err(Error::Cast { why });
        }
        Ok(())
    }
}

impl Target<'_> {
    /// The first `row` rows, and the rest.
    pub fn split_rows(self, row: usize) -> (Self, Self) {
        fn cut<T>(slice: &mut [T], at: usize) -> (&mut [T], &mut [T]) {
            slice.split_at_mut(at.min(slice.len()))
        }
        let (stride, at) = (self.stride, row.saturating_mul(self.stride));
        macro_rules! cut {
            ($make:path, $slice:expr) => {{
                let (x, y) = cut($slice, at);
                ($make(x), $make(y))
            }};
        }
        let (first, rest) = match self.values {
            Slice::Codes(s) => cut!(Slice::Codes, s),
            Slice::Values(values) => {
                let (first, rest) = match values {
                    ValuesMut::F64(s) => cut!(ValuesMut::F64, s),
                    ValuesMut::F32(s) => cut!(ValuesMut::F32, s),
                    ValuesMut::F16(s) => cut!(ValuesMut::F16, s),
                    ValuesMut::Bf16(s) => cut!(ValuesMut::Bf16, s),
                };
                (Slice::Values(first), Slice::Values(rest))
            }
        };
        (Self { values: first, stride }, Self { values: rest, stride })
    }

    /// It for a shorter time.
    pub fn reborrow(&mut self) -> Target<'_> {
        let values = match &mut self.values {
            Slice::Codes(s) => Slice::Codes(s),
            Slice::Values(values) => Slice::Values(match values {
                ValuesMut::F64(s) => ValuesMut::F64(s),
                ValuesMut::F32(s) => ValuesMut::F32(s),
                ValuesMut::F16(s) => ValuesMut::F16(s),
                ValuesMut::Bf16(s) => ValuesMut::Bf16(s),
            }),
        };
        Target { values, stride: self.stride }
    }

    /// Elements of a row from a column on, as f32.
    pub fn read(&self, row: usize, col: usize, to: &mut [f32]) {
        if let Slice::Values(ValuesMut::F32(s)) = &self.values {
            return to.copy_from_slice(&s[row * self.stride + col..][..to.len()]);
        }
        for (col, value) in (col..).zip(to) {
            *value = self.get(row, col);
        }
    }

    /// Begins to fetch what is about to be written: it is far apart, and a tile takes its time.
    pub fn fetch(&self, kernels: &Kernels, rows: (usize, usize), cols: (usize, usize)) {
        for row in rows.0..rows.1 {
            let range = row * self.stride + cols.0..row * self.stride + cols.1;
            match &self.values {
                Slice::Codes(s) => kernels.fetch(&s[range]),
                Slice::Values(ValuesMut::F64(s)) => kernels.fetch(bytes(&s[range])),
                Slice::Values(ValuesMut::F32(s)) => kernels.fetch(bytes(&s[range])),
                Slice::Values(ValuesMut::F16(s)) => kernels.fetch(bytes(&s[range])),
                Slice::Values(ValuesMut::Bf16(s)) => kernels.fetch(bytes(&s[range])),
            }
        }
    }

    /// An element as f32; 0 for codes.
    pub fn get(&self, row: usize, col: usize) -> f32 {
        let i = row * self.stride + col;
        match &self.values {
            Slice::Codes(_) => 0.0,
            Slice::Values(ValuesMut::F64(s)) => s[i] as f32,
            Slice::Values(ValuesMut::F32(s)) => s[i],
            Slice::Values(ValuesMut::F16(s)) => s[i].to_f32(),
            Slice::Values(ValuesMut::Bf16(s)) => s[i].to_f32(),
        }
    }

    /// Stores whole rows of a tile where they are f32 or bf16; false elsewhere.
    pub fn put_tile(
        &mut self,
        kernels: &Kernels,
        rows: usize,
        (row, col): (usize, usize),
        tile: &Sums,
    ) -> bool {
        let at = row * self.stride + col;
        let stride = self.stride.max(1);
        match &mut self.values {
            Slice::Values(ValuesMut::F32(s)) => {
                kernels.store(rows, stride, tile, to_codes_mut(&mut s[at..]));
            }
            Slice::Values(ValuesMut::Bf16(s)) => {
                kernels.store_bf16(rows, stride, tile, to_codes_mut(&mut s[at..]));
            }
            Slice::Values(ValuesMut::F64(_) | ValuesMut::F16(_)) | Slice::Codes(_) => return false,
        }
        true
    }

    /// Stores `cols` results of a row, each converted once.
    pub fn put(
        &mut self,
        kernels: &Kernels,
        encoder: Option<&(FormatId, Encoder, Policy)>,
        (row, col): (usize, usize),
        lines: [&Line; 2],
        cols: usize,
    ) {
        let at = row * self.stride + col;
        let mut row = [0.0; 32];
        for (value, bits) in row.iter_mut().zip(lines[0].0.iter().chain(&lines[1].0)) {
            *value = f32::from_bits(*bits);
        }
        let row = &row[..cols];
        match (&mut self.values, encoder) {
            (Slice::Values(ValuesMut::F32(s)), _) => s[at..at + cols].copy_from_slice(row),
            (Slice::Values(ValuesMut::F64(s)), _) => {
                kernels.f32_to_f64(row, &mut s[at..at + cols]);
            }
            (Slice::Values(ValuesMut::F16(s)), Some((_, e, _))) => {
                let codes = to_codes_mut(&mut s[at..at + cols]);
                kernels.encode_u16(e, Words::None, row, codes, false, false);
            }
            (Slice::Values(ValuesMut::Bf16(s)), Some((_, e, _))) => {
                let codes = to_codes_mut(&mut s[at..at + cols]);
                kernels.encode_u16(e, Words::None, row, codes, false, false);
            }
            (Slice::Codes(s), Some((format, e, policy))) => {
                let codes = &mut s[at..at + cols];
                let all = e.method == Method::Reference;
                if !all {
                    kernels.encode_u8(e, Words::None, row, codes, false, false);
                }
                // The kernel leaves NaN to its caller where the format has none.
                let without = !format.spec().has_nan();
                for (code, value) in codes.iter_mut().zip(row) {
                    let scaled = *value * e.scale;
                    if all || (without && scaled.is_nan()) {
                        *code = encode(*format, *policy, scaled);
                    }
                }
            }
            // 16-bit numbers and codes always have an encoder.
            (Slice::Values(ValuesMut::F16(_) | ValuesMut::Bf16(_)) | Slice::Codes(_), None) => {}
        }
    }
}

/// The code of a value, by the definition; the policy has no error.
fn encode(format: FormatId, policy: Policy, value: f32) -> u8 {
    Unpacked::from(value).encode(format.spec(), policy, 0).unwrap_or_default() as u8
}
