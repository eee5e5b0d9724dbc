//! Where results go: numbers or codes, and the file of them.

use crate::cast::dtype_of;
use crate::checkpoint::buffer::reserve;
use crate::npy::Header;
use crate::output::Output;
use anyhow::{Context as _, bail, ensure};
use half::{bf16, f16};
use quarter::FormatId;
use quarter::gemm::GemmOutput;
use quarter::tensor::MatMut;
use std::io::Write as _;
use std::path::Path;

/// Results of a type.
pub struct Results {
    rows: usize,
    cols: usize,
    format: FormatId,
    /// What results are multiplied by before they become codes.
    scale: f32,
    elements: Elements,
}

enum Elements {
    F32(Vec<f32>),
    F16(Vec<f16>),
    Bf16(Vec<bf16>),
    Codes(Vec<u8>),
}

/// What the conversion to a type does.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The largest value.
    pub max: f64,
    /// The largest relative error.
    pub unit: f64,
    /// The largest error near zero.
    pub small: f64,
}

fn zeros<T: Clone>(n: usize, zero: T) -> anyhow::Result<Vec<T>> {
    let mut elements = Vec::new();
    reserve(&mut elements, n)?;
    elements.resize(n, zero);
    Ok(elements)
}

impl Results {
    /// Room for them.
    ///
    /// # Errors
    /// For a type that results are not written as, a scale where there are no codes, and where
    /// there is not the memory.
    pub fn new(
        (rows, cols): (usize, usize),
        format: FormatId,
        scale: Option<f32>,
    ) -> anyhow::Result<Self> {
        let n = rows.checked_mul(cols);
        let n = n.with_context(|| format!("D [{rows}, {cols}] is too large"))?;
        let spec = format.spec();
        let elements = match format {
            FormatId::F32 => Elements::F32(zeros(n, 0.0)?),
            FormatId::F16 => Elements::F16(zeros(n, f16::ZERO)?),
            FormatId::Bf16 => Elements::Bf16(zeros(n, bf16::ZERO)?),
            _ if spec.bits() <= 8 && spec.has_zero() => Elements::Codes(zeros(n, 0)?),
            _ => bail!(
                "--out-type {format}: results are f32, and become bf16, f16 or a number format of \
                 up to 8 bits"
            ),
        };
        let codes = matches!(elements, Elements::Codes(_));
        ensure!(codes || scale.is_none(), "--out-scale is for codes, and --out-type is {format}");
        let scale = scale.unwrap_or(1.0);
        ensure!(scale.is_finite() && scale != 0.0, "--out-scale {scale} is not finite, or 0");
        Ok(Self { rows, cols, format, scale, elements })
    }

    /// As much room of the same type.
    ///
    /// # Errors
    /// Where there is not the memory.
    pub fn empty(&self) -> anyhow::Result<Self> {
        let scale = matches!(self.elements, Elements::Codes(_)).then_some(self.scale);
        Self::new((self.rows, self.cols), self.format, scale)
    }

    /// Rows and columns.
    #[must_use]
    pub const fn shape(&self) -> (usize, usize) {
        (self.rows, self.cols)
    }

    /// Results of f32; none of another type.
    #[must_use]
    pub fn singles(&self) -> &[f32] {
        match &self.elements {
            Elements::F32(values) => values,
            Elements::F16(_) | Elements::Bf16(_) | Elements::Codes(_) => &[],
        }
    }

    /// Where a product writes them.
    ///
    /// # Errors
    /// None: they are as many as their shape says.
    pub fn place(&mut self) -> quarter::Result<GemmOutput<'_>> {
        let (m, n) = (self.rows, self.cols);
        Ok(match &mut self.elements {
            Elements::F32(values) => MatMut::new(values, m, n)?.into(),
            Elements::F16(values) => MatMut::new(values, m, n)?.into(),
            Elements::Bf16(values) => MatMut::new(values, m, n)?.into(),
            Elements::Codes(codes) => {
                return GemmOutput::codes(codes, (m, n), self.format, self.scale);
            }
        })
    }

    /// The value of result number `i`: of codes, before they were scaled.
    #[must_use]
    pub fn get(&self, i: usize) -> f64 {
        match &self.elements {
            Elements::F32(values) => values[i].into(),
            Elements::F16(values) => values[i].to_f64(),
            Elements::Bf16(values) => values[i].to_f64(),
            Elements::Codes(codes) => {
                self.format.spec().decode_f64(codes[i].into()) / f64::from(self.scale)
            }
        }
    }

    /// What their type does to them.
    #[must_use]
    pub fn limits(&self) -> Limits {
        let spec = self.format.spec();
        let scale = f64::from(self.scale.abs());
        let codes = matches!(self.elements, Elements::Codes(_));
        let (unit, small) = match self.format {
            FormatId::F32 => (0.0, 0.0), // sums are f32
            _ => (spec.epsilon() / 2.0, spec.min_positive() / 2.0),
        };
        // fl(t · scale) is one rounding more.
        let scaling = if codes { f64::from(f32::EPSILON) } else { 0.0 };
        let tiny = if codes { f64::from(f32::from_bits(1)) } else { 0.0 };
        Limits {
            max: spec.max() / scale,
            unit: unit * (1.0 + scaling) + scaling,
            small: (small + tiny) / scale,
        }
    }

    /// Writes them into a file that was begun, and puts it in its place.
    ///
    /// # Errors
    /// If that cannot be written; then there is no file.
    pub fn write(&self, mut output: Output, path: &Path) -> anyhow::Result<()> {
        const PIECE: usize = 1 << 18;
        let shape = vec![self.rows as u64, self.cols as u64];
        let dtype = dtype_of(self.format);
        let header = Header { dtype, big_endian: false, fortran_order: false, shape };
        let mut write = |bytes: &[u8]| output.write_all(bytes);
        let mut start = Vec::new();
        header.write(&mut start)?;
        let written = write(&start).and_then(|()| match &self.elements {
            Elements::F32(values) => values.chunks(PIECE).try_for_each(|values| {
                write(&values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>())
            }),
            Elements::F16(values) => values.chunks(PIECE).try_for_each(|values| {
                write(&values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>())
            }),
            Elements::Bf16(values) => values.chunks(PIECE).try_for_each(|values| {
                write(&values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>())
            }),
            Elements::Codes(codes) => write(codes),
        });
        written.with_context(|| format!("cannot write {}", path.display()))?;
        output.finish_durably()
    }
}
