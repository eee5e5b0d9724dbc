//! Where values come from: an array, a tensor of a checkpoint, or codes and their scales.
//!
//! All are read by position, some elements at a time, as often as it takes.

use super::report::Skipped;
use crate::checkpoint::buffer::{Budget, Buffer, Bytes};
use crate::checkpoint::decode::{Dequantize, To};
use crate::checkpoint::header::Dtype;
use crate::checkpoint::layout::{self, Hints, Layout};
use crate::checkpoint::patterns::PatternArgs;
use crate::checkpoint::pipeline::{Run, Sink, Work as _};
use crate::checkpoint::source::{At, Source, read_at};
use crate::npy;
use anyhow::{Context as _, bail, ensure};
use bytemuck::Pod;
use half::{bf16, f16};
use quarter::slice::Values;
use std::collections::HashSet;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// A type of elements.
pub trait Element: Pod + Send + Sync {
    /// As f64, exactly.
    fn wide(self) -> f64;
}

macro_rules! elements {
    ($($type:ident $kind:ident;)*) => {
        /// What elements are in memory.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind {
            $(
                #[doc = stringify!($type)]
                $kind,
            )*
        }

        impl Kind {
            /// Bytes of an element.
            #[must_use]
            pub const fn size(self) -> usize {
                match self { $(Self::$kind => size_of::<$type>(),)* }
            }

            /// Elements for the library.
            #[must_use]
            pub fn values(self, buffer: &Buffer) -> Values<'_> {
                match self { $(Self::$kind => Values::$kind(buffer.as_slice()),)* }
            }
        }
    };
}

elements! {
    f64 F64;
    f32 F32;
    f16 F16;
    bf16 Bf16;
}

impl Element for f64 {
    fn wide(self) -> f64 {
        self
    }
}

impl Element for f32 {
    fn wide(self) -> f64 {
        self.into()
    }
}

impl Element for f16 {
    fn wide(self) -> f64 {
        self.into()
    }
}

impl Element for bf16 {
    fn wide(self) -> f64 {
        self.into()
    }
}

/// Runs `$body` with the elements of a buffer as `$values: &[impl Element]`.
macro_rules! with_elements {
    ($kind:expr, $buffer:expr, $values:ident => $body:expr) => {
        match $kind.values($buffer) {
            Values::F64($values) => $body,
            Values::F32($values) => $body,
            Values::F16($values) => $body,
            Values::Bf16($values) => $body,
        }
    };
}
pub(super) use with_elements;

/// A tensor that is inspected.
pub struct Tensor<'a> {
    /// Its name.
    pub name: String,
    /// What its elements are in the file.
    pub dtype: String,
    /// The granularity of its scales, if it has some.
    pub scales: Option<String>,
    /// Its shape.
    pub shape: Vec<usize>,
    /// What its elements are in memory.
    pub kind: Kind,
    /// Whether its columns follow each other in the file, instead of its rows.
    pub by_columns: bool,
    data: Data<'a>,
}

enum Data<'a> {
    Array { file: &'a File, start: u64, big_endian: bool },
    Tensor { source: &'a Source, at: At },
    Codes(Box<Codes<'a>>),
}

/// Codes that are decoded a piece at a time; the last piece is kept.
struct Codes<'a> {
    source: &'a Source,
    layout: Layout,
    piece: usize,
    run: Option<Arc<dyn Run>>,
    budget: Budget,
    number: usize,
    values: Option<Bytes>,
}

impl Tensor<'_> {
    /// Its elements.
    #[must_use]
    pub fn elements(&self) -> usize {
        // The header was checked: bytes, and so elements, can be counted.
        self.shape.iter().product()
    }

    /// Rows and columns: a vector is one row, and all dimensions but the last make rows.
    #[must_use]
    pub fn matrix(&self) -> (usize, usize) {
        let cols = self.shape.last().copied().unwrap_or(1);
        let rows = if self.shape.len() < 2 { 1 } else { self.elements() / cols.max(1) };
        (rows, cols)
    }

    /// Fills `bytes` with elements from number `first` on, in the order of the file.
    ///
    /// # Errors
    /// If the file cannot be read, or codes and scales are none.
    pub fn read(&mut self, first: usize, bytes: &mut [u8]) -> anyhow::Result<()> {
        let size = self.kind.size();
        let big_endian = match &mut self.data {
            Data::Array { file, start, big_endian } => {
                read_at(file, bytes, *start + (first * size) as u64).context("cannot read it")?;
                *big_endian
            }
            Data::Tensor { source, at } => {
                source.shards[at.shard].read(at.tensor, first * size, bytes)?;
                false
            }
            Data::Codes(codes) => {
                codes.read(first, bytes)?;
                false
            }
        };
        if big_endian != cfg!(target_endian = "big") {
            bytes.chunks_exact_mut(size).for_each(<[u8]>::reverse);
        }
        Ok(())
    }
}

impl Codes<'_> {
    /// Little-endian f32 values.
    fn read(&mut self, mut first: usize, mut bytes: &mut [u8]) -> anyhow::Result<()> {
        let bits = if self.layout.packed { self.layout.format.spec().bits() as usize } else { 8 };
        let elements = self.piece * 8 / bits;
        while !bytes.is_empty() {
            let number = first / elements;
            let values = match self.values.take().filter(|_| self.number == number) {
                Some(values) => values,
                None => self.decode(number)?,
            };
            let from = (first - number * elements) * size_of::<f32>();
            let rest = values.as_slice().get(from..).unwrap_or_default();
            let n = rest.len().min(bytes.len());
            ensure!(n > 0, "element {first} is beyond the last code");
            let (now, then) = bytes.split_at_mut(n);
            now.copy_from_slice(&rest[..n]);
            (bytes, first) = (then, first + n / size_of::<f32>());
            (self.number, self.values) = (number, Some(values));
        }
        Ok(())
    }

    fn decode(&mut self, number: usize) -> anyhow::Result<Bytes> {
        let run = match &self.run {
            Some(run) => run,
            None => {
                let work = Dequantize { layout: self.layout.clone(), to: To::F32 };
                self.run.insert(work.start(self.source)?)
            }
        };
        let At { shard, tensor } = self.layout.codes;
        let (begin, end) = self.source.tensor(self.layout.codes).1.data_offsets;
        let at = number * self.piece;
        let len = self.piece.min((end - begin).saturating_sub(at));
        let mut codes = self.budget.buffer(len)?;
        self.source.shards[shard].read(tensor, at, codes.as_mut_slice())?;
        let mut sink = Sink::new(&self.budget);
        run.run(at, codes, &mut sink)?;
        let values = sink.into_results().pop().context("nothing was decoded")?;
        Ok(values.2)
    }
}

/// A file that was opened.
pub enum Input {
    /// An `.npy` array.
    Array {
        /// The file.
        file: File,
        /// What it is called.
        name: String,
        /// What it says.
        header: npy::Header,
        /// Where its elements start.
        start: u64,
    },
    /// A checkpoint.
    Model(Source),
}

impl Input {
    /// Opens an `.npy` file, a safetensors file, an index or a directory.
    ///
    /// # Errors
    /// Whatever is wrong with it.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        if path.extension().is_none_or(|extension| extension != "npy") {
            return Source::open(path).map(Self::Model);
        }
        let label = path.display();
        let cannot = || format!("cannot read {label}");
        let file = File::open(path).with_context(cannot)?;
        let metadata = file.metadata().with_context(cannot)?;
        ensure!(metadata.is_file(), "{label} is not a file");
        let reader = npy::Reader::new(&file, Some(metadata.len()));
        let header = reader.with_context(|| label.to_string())?.header().clone();
        // The elements are all that follows the header.
        let bytes = header.elements()? * header.dtype.size() as u64;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self::Array { file, name, header, start: metadata.len() - bytes })
    }

    /// The tensors that are inspected, and those that are not.
    ///
    /// # Errors
    /// For patterns that are none or choose nothing, and codes whose scales do not fit.
    pub fn tensors(
        &self,
        patterns: &PatternArgs,
    ) -> anyhow::Result<(Vec<Tensor<'_>>, Vec<Skipped>)> {
        match self {
            Self::Array { file, name, header, start } => {
                ensure!(!patterns.is_given(), "--include and --exclude are for models");
                let tensor = array(file, name, header, *start).with_context(|| name.clone())?;
                Ok((vec![tensor], Vec::new()))
            }
            Self::Model(source) => model(source, patterns),
        }
    }
}

fn array<'a>(
    file: &'a File,
    name: &str,
    header: &npy::Header,
    start: u64,
) -> anyhow::Result<Tensor<'a>> {
    let npy::Header { dtype, big_endian, fortran_order, ref shape } = *header;
    let kind = match dtype {
        npy::Dtype::F64 => Kind::F64,
        npy::Dtype::F32 => Kind::F32,
        npy::Dtype::F16 => Kind::F16,
        npy::Dtype::U8 | npy::Dtype::U16 => bail!(
            "{dtype} elements are codes of a format: `quarter cast --from FORMAT --to f32` makes \
             values of them"
        ),
    };
    let text = header.shape_text();
    let dimensions = shape.iter().map(|n| usize::try_from(*n)).collect::<Result<_, _>>();
    let shape: Vec<usize> = dimensions.with_context(|| format!("shape {text} is too large"))?;
    ensure!(
        !fortran_order || shape.len() <= 2,
        "shape {text} in Fortran order has {} dimensions, but 2 are the most",
        shape.len()
    );
    Ok(Tensor {
        name: name.to_owned(),
        dtype: dtype.to_string(),
        scales: None,
        by_columns: fortran_order && shape.len() == 2,
        shape,
        kind,
        data: Data::Array { file, start, big_endian },
    })
}

fn model<'a>(
    source: &'a Source,
    patterns: &PatternArgs,
) -> anyhow::Result<(Vec<Tensor<'a>>, Vec<Skipped>)> {
    let given = patterns.is_given();
    let patterns = patterns.all()?;
    let mut hints = Hints::of(source.config.as_ref()).context("config.json")?;
    hints.unscaled = true;
    let mut scales: HashSet<At> =
        source.tensors().filter_map(|at| layout::scale_of(source, at)).collect();
    let mut chosen = Vec::new();
    for at in source.tensors().filter(|at| patterns.choose(source.tensor(*at).0)) {
        let layout = if scales.contains(&at) { None } else { layout::find(source, at, &hints)? };
        scales.extend(layout.iter().flat_map(|layout| &layout.drop));
        chosen.push((at, layout));
    }
    ensure!(!given || !chosen.is_empty(), "no tensor matches --include and --exclude");
    let (mut tensors, mut skipped) = (Vec::new(), Vec::new());
    for (at, layout) in chosen {
        let (name, info) = source.tensor(at);
        let (name, dtype) = (name.to_owned(), info.dtype.to_string());
        if scales.contains(&at) {
            skipped.push(Skipped { name, dtype, reason: "scales of codes" });
            continue;
        }
        let (shape, scales, kind, data) = match (layout, info.dtype) {
            (Some(layout), _) => {
                let shape = layout.shape.clone();
                let scales = layout.scale.map(|_| layout.granularity.to_string());
                let codes = Codes::new(source, layout);
                (shape, scales, Kind::F32, Data::Codes(Box::new(codes)))
            }
            (None, dtype) => {
                let kind = match dtype {
                    Dtype::F64 => Kind::F64,
                    Dtype::F32 => Kind::F32,
                    Dtype::F16 => Kind::F16,
                    Dtype::BF16 => Kind::Bf16,
                    _ => {
                        let (dtype, reason) = (dtype.to_string(), "no floating-point numbers");
                        skipped.push(Skipped { name, dtype, reason });
                        continue;
                    }
                };
                (info.shape.clone(), None, kind, Data::Tensor { source, at })
            }
        };
        tensors.push(Tensor { name, dtype, scales, shape, kind, by_columns: false, data });
    }
    Ok((tensors, skipped))
}

impl<'a> Codes<'a> {
    fn new(source: &'a Source, layout: Layout) -> Self {
        let piece = Dequantize { layout: layout.clone(), to: To::F32 }.piece();
        let (run, budget, values) = (None, Budget::new(0), None);
        Self { source, layout, piece, run, budget, number: 0, values }
    }
}
