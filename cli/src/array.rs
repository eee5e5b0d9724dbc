//! Matrices from `.npy` files, whole in memory.

use crate::cast::{dtype_of, fill};
use crate::checkpoint::buffer::reserve;
use crate::npy;
use anyhow::{Context as _, bail, ensure};
use half::{bf16, f16};
use quarter::mma::TF32;
use quarter::slice::{CodesMut, EncodeOptions, Values, encode};
use quarter::tensor::{MatRef, Scales};
use quarter::{FormatId, Policy};
use std::fs::File;
use std::path::Path;
use std::str::FromStr;

/// A matrix of numbers.
pub struct Array {
    /// Its elements.
    pub elements: Elements,
    /// Its rows.
    pub rows: usize,
    /// Its columns.
    pub cols: usize,
    /// Whether columns follow each other instead of rows.
    pub fortran_order: bool,
    /// Whether its elements are f32 without their lower 13 bits.
    pub tf32: bool,
}

/// What the elements of a file are taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Codes of a format; numbers are rounded to f16 and bf16.
    Format(FormatId),
    /// Numbers, cut off to NVIDIA's TF32.
    Tf32,
}

impl FromStr for Taken {
    type Err = quarter::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.eq_ignore_ascii_case(TF32.name()) {
            Ok(Self::Tf32)
        } else {
            text.parse().map(Self::Format)
        }
    }
}

/// Numbers of one type.
#[expect(missing_docs, reason = "the types' names")]
pub enum Elements {
    F64(Vec<f64>),
    F32(Vec<f32>),
    F16(Vec<f16>),
    Bf16(Vec<bf16>),
}

impl Elements {
    /// Them for the library.
    #[must_use]
    pub fn values(&self) -> Values<'_> {
        match self {
            Self::F64(values) => values.into(),
            Self::F32(values) => values.into(),
            Self::F16(values) => values.into(),
            Self::Bf16(values) => values.into(),
        }
    }

    /// Their type.
    #[must_use]
    pub const fn format(&self) -> FormatId {
        match self {
            Self::F64(_) => FormatId::F64,
            Self::F32(_) => FormatId::F32,
            Self::F16(_) => FormatId::F16,
            Self::Bf16(_) => FormatId::Bf16,
        }
    }
}

/// Codes of up to 8 bits, row after row.
pub struct Codes {
    /// What they are.
    pub format: FormatId,
    /// One a byte.
    pub codes: Vec<u8>,
    /// Rows of the matrix.
    pub rows: usize,
    /// Its columns.
    pub cols: usize,
}

/// What a file may hold.
pub enum Matrix {
    /// Numbers.
    Values(Array),
    /// Codes.
    Codes(Codes),
}

/// A file whose header was read.
struct Opened {
    reader: npy::Reader<File>,
    shape: Vec<usize>,
    /// Elements that are there for certain: a file that has a length has them.
    room: usize,
}

/// Elements read at a time.
const PIECE: usize = 1 << 20;

impl Opened {
    fn new(path: &Path) -> anyhow::Result<Self> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        let len = metadata.is_file().then_some(metadata.len());
        let reader = npy::Reader::new(file, len)?;
        let header = reader.header();
        let shape = header.shape.iter().map(|n| usize::try_from(*n)).collect::<Result<_, _>>();
        let shape: Vec<_> =
            shape.with_context(|| format!("shape {} is too large", header.shape_text()))?;
        let room = if len.is_some() { shape.iter().product() } else { 0 };
        Ok(Self { reader, shape, room })
    }

    fn header(&self) -> &npy::Header {
        self.reader.header()
    }

    /// Rows and columns; `done` is what is done to arrays, for messages.
    fn matrix(&self, done: &str) -> anyhow::Result<(usize, usize)> {
        let (text, n) = (self.header().shape_text(), self.shape.len());
        let [rows, cols] = self.shape[..] else {
            bail!("shape {text} has {n} dimensions, and two are {done}: [M, K]");
        };
        Ok((rows, cols))
    }

    /// All elements, from the bytes of each.
    fn all<T: Copy, const N: usize>(
        &mut self,
        little: impl Fn([u8; N]) -> T,
        big: impl Fn([u8; N]) -> T,
    ) -> anyhow::Result<Vec<T>> {
        let big_endian = self.header().big_endian;
        let (mut all, mut bytes, mut piece) = (Vec::new(), Vec::new(), Vec::new());
        reserve(&mut all, self.room)?;
        while self.reader.read(&mut bytes, PIECE)? != 0 {
            fill(&mut piece, &bytes, big_endian, &little, &big);
            all.extend_from_slice(&piece);
        }
        Ok(all)
    }

    fn words<T>(&mut self, from: impl Fn(u16) -> T) -> anyhow::Result<Vec<T>> {
        let words = self.all(u16::from_le_bytes, u16::from_be_bytes)?;
        Ok(words.into_iter().map(from).collect())
    }

    fn bytes(&mut self) -> anyhow::Result<Vec<u8>> {
        self.all(|[byte]| byte, |[byte]| byte)
    }

    /// Numbers, as NumPy knows them.
    fn values(mut self, done: &str) -> anyhow::Result<Array> {
        let shape = self.matrix(done)?;
        let elements = match self.header().dtype {
            npy::Dtype::F64 => Elements::F64(self.all(f64::from_le_bytes, f64::from_be_bytes)?),
            npy::Dtype::F32 => Elements::F32(self.all(f32::from_le_bytes, f32::from_be_bytes)?),
            npy::Dtype::F16 => Elements::F16(self.words(f16::from_bits)?),
            dtype @ (npy::Dtype::U8 | npy::Dtype::U16) => {
                bail!("{dtype} elements are not {done}, but float64, float32 and float16 are")
            }
        };
        Ok(self.array(shape, elements))
    }

    fn array(&self, (rows, cols): (usize, usize), elements: Elements) -> Array {
        let fortran_order = self.header().fortran_order;
        Array { elements, rows, cols, fortran_order, tf32: false }
    }
}

impl Array {
    /// Reads numbers; `done` is what is done to arrays, for messages.
    ///
    /// # Errors
    /// Whatever is wrong with the file.
    pub fn read(path: &Path, done: &str) -> anyhow::Result<Self> {
        Opened::new(path)?.values(done)
    }

    /// Its values as another type: only bf16, rounded once to nearest even.
    ///
    /// # Errors
    /// For another type.
    pub fn taken_as(self, source: FormatId) -> anyhow::Result<Self> {
        let own = self.elements.format();
        if source == own {
            return Ok(self);
        }
        ensure!(
            source == FormatId::Bf16,
            "--source {source}: values of {own} are taken as {own} or bf16"
        );
        self.rounded(source)
    }

    /// Its values as bf16 or f16, rounded once to nearest even.
    fn rounded(self, format: FormatId) -> anyhow::Result<Self> {
        let values = self.elements.values();
        let mut words = vec![0_u16; values.len()];
        let options = EncodeOptions::new(Policy::NONFINITE);
        encode(format.spec(), values, CodesMut::U16(&mut words), &options)?;
        let words = words.into_iter();
        let elements = match format {
            FormatId::F16 => Elements::F16(words.map(f16::from_bits).collect()),
            _ => Elements::Bf16(words.map(bf16::from_bits).collect()),
        };
        Ok(Self { elements, ..self })
    }

    /// Its values as f32, rounded once, without their lower 13 bits: as units multiply TF32.
    #[must_use]
    pub fn cut_to_tf32(self) -> Self {
        let cut = |x: f32| f32::from_bits(x.to_bits() & !0x1fff);
        let values: Vec<f32> = match self.elements {
            Elements::F64(values) => values.into_iter().map(|x| cut(x as f32)).collect(),
            Elements::F32(values) => values.into_iter().map(cut).collect(),
            Elements::F16(values) => values.into_iter().map(|x| cut(x.to_f32())).collect(),
            Elements::Bf16(values) => values.into_iter().map(|x| cut(x.to_f32())).collect(),
        };
        Self { elements: Elements::F32(values), tf32: true, ..self }
    }

    /// What its elements are.
    #[must_use]
    pub fn text(&self) -> String {
        if self.tf32 { TF32.name().to_owned() } else { self.elements.format().to_string() }
    }

    /// It for the library.
    ///
    /// # Errors
    /// None: it has as many elements as its shape says.
    pub fn matrix(&self) -> quarter::Result<MatRef<'_>> {
        let Self { elements, rows, cols, fortran_order, .. } = self;
        if *fortran_order {
            return MatRef::with_strides(elements.values(), (*rows, *cols), (1, *rows));
        }
        MatRef::new(elements.values(), *rows, *cols)
    }
}

impl Matrix {
    /// Reads numbers, or codes of a format, which `flag` names: bytes, or 16-bit words of bf16 and
    /// f16. Numbers are rounded to those two, and cut off to TF32. `done` is what is done to arrays,
    /// for messages.
    ///
    /// # Errors
    /// Whatever is wrong with the file.
    pub fn read(path: &Path, done: &str, flag: &str, taken: Option<Taken>) -> anyhow::Result<Self> {
        let mut file = Opened::new(path)?;
        let (rows, cols) = file.matrix(done)?;
        let dtype = file.header().dtype;
        let coded = matches!(dtype, npy::Dtype::U8 | npy::Dtype::U16);
        let format = match taken {
            None => {
                ensure!(!coded, "{dtype} elements are codes of a format: name it with {flag}");
                return file.values(done).map(Self::Values);
            }
            Some(Taken::Tf32) => {
                ensure!(!coded, "{flag} tf32 needs float32 elements, and these are {dtype}");
                return Ok(Self::Values(file.values(done)?.cut_to_tf32()));
            }
            Some(Taken::Format(format)) => format,
        };
        if !coded && matches!(format, FormatId::Bf16 | FormatId::F16) {
            let array = file.values(done)?;
            let there = array.elements.format() == format;
            return Ok(Self::Values(if there { array } else { array.rounded(format)? }));
        }
        let expected = dtype_of(format);
        ensure!(
            dtype == expected,
            "{flag} {format} needs {expected} elements, and these are {dtype}"
        );
        let elements = match format {
            FormatId::F64 | FormatId::F32 => return file.values(done).map(Self::Values),
            FormatId::Bf16 => Elements::Bf16(file.words(bf16::from_bits)?),
            FormatId::F16 => Elements::F16(file.words(f16::from_bits)?),
            _ => {
                let mut codes = file.bytes()?;
                if file.header().fortran_order {
                    codes = by_rows(&codes, rows, cols);
                }
                return Ok(Self::Codes(Codes { format, codes, rows, cols }));
            }
        };
        Ok(Self::Values(file.array((rows, cols), elements)))
    }
}

/// A matrix whose columns follow each other, row after row.
fn by_rows<T: Copy>(values: &[T], rows: usize, cols: usize) -> Vec<T> {
    let row = |row| values.iter().skip(row).step_by(rows).take(cols);
    (0..rows).flat_map(row).copied().collect()
}

/// Reads scales, row after row, and their shape: float32, or the bytes of E8M0.
///
/// # Errors
/// Whatever is wrong with the file.
pub fn read_scales(path: &Path) -> anyhow::Result<(Scales, Vec<usize>)> {
    let mut file = Opened::new(path)?;
    let text = file.header().shape_text();
    ensure!(
        file.shape.len() <= 2,
        "shape {text} has {} dimensions, and scales have at most two",
        file.shape.len()
    );
    let turned = file.header().fortran_order && file.shape.len() == 2;
    let (rows, cols) = if turned { (file.shape[0], file.shape[1]) } else { (0, 0) };
    let scales = match file.header().dtype {
        npy::Dtype::F32 => {
            let scale_inv = file.all(f32::from_le_bytes, f32::from_be_bytes)?;
            let scale_inv = if turned { by_rows(&scale_inv, rows, cols) } else { scale_inv };
            Scales::F32 { scale: None, scale_inv }
        }
        npy::Dtype::U8 => {
            let bytes = file.bytes()?;
            Scales::E8M0(if turned { by_rows(&bytes, rows, cols) } else { bytes })
        }
        dtype => bail!("scales are float32, or uint8 for those of e8m0, and these are {dtype}"),
    };
    Ok((scales, file.shape))
}
