//! `quarter cast`: an array to another format.
//!
//! The file is converted in pieces, so memory does not grow with it. Elements are independent and
//! numbered as they stand in the file, so the pieces, the threads and the instruction set change
//! no bit, of stochastic rounding neither.

use crate::npy::{Dtype, Header, Reader};
use crate::output::Output;
use anyhow::{Context as _, bail};
use quarter::slice::{Codes, CodesMut, DecodeOptions, EncodeOptions, QuantStats, Random};
use quarter::slice::{Values, ValuesMut, decode, encode_stats};
use quarter::{FormatId, NanPolicy, Overflow, Policy, RandomStream, Rounding};
use std::fmt;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// Elements converted at a time: enough for 16 threads.
const PIECE: usize = 1 << 21;

/// Arguments of `quarter cast`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Nothing is scaled: the defaults give the bits of ml_dtypes' astype (save that a NaN which becomes zero \
loses its sign).
Formats: see `quarter formats`; the names of torch and ml_dtypes (float8_e4m3fn) are understood too.
Input without --from: float64, float32 or float16. With --from: codes as uint8 (uint16 for bf16 and \
f16), or an array that ml_dtypes saved (V1, f1, V2).
Output: codes as uint8 (uint16 for bf16 and f16), values with --to f32 or --to f64. Shape and order \
are kept. OUT appears when all is done: an error leaves nothing, or what was there before.
One line is printed: amax is the largest magnitude, saturated counts the values beyond the largest \
finite number (under nonfinite they became Inf or NaN), flushed those that became zero, nan the NaN.")]
pub struct Args {
    /// The array to convert
    #[arg(value_name = "IN.npy")]
    input: PathBuf,
    /// Where the result goes; may be IN.npy
    #[arg(value_name = "OUT.npy")]
    output: PathBuf,
    /// The format to convert to
    #[arg(long, value_name = "FORMAT")]
    to: FormatId,
    /// The format of the codes in IN.npy
    #[arg(long, value_name = "FORMAT")]
    from: Option<FormatId>,
    /// rne (nearest, ties to even), rna (nearest, ties away), rz (toward zero), ru (up), rd (down)
    /// or stochastic
    #[arg(long, value_name = "MODE", default_value = "rne")]
    rounding: Rounding,
    /// sat (the largest finite number) or nonfinite (Inf, else NaN, else the largest)
    #[arg(long, value_name = "POLICY", default_value = "nonfinite")]
    overflow: Overflow,
    /// What NaN becomes in a format without NaN: zero, max or error
    #[arg(long, value_name = "POLICY", default_value = "zero")]
    nan: NanPolicy,
    /// Seed of stochastic rounding; equal seeds give equal bits
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// The most threads to use; 0 for one a processor
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) threads: usize,
}

/// What was done: the line that is printed.
#[derive(Clone, Debug)]
pub struct Summary {
    to: FormatId,
    shape: String,
    values: u64,
    stats: QuantStats,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { to, shape, values, stats } = self;
        let QuantStats { amax, saturated, flushed, nan } = stats;
        write!(f, "{to} shape={shape} values={values} amax={amax:?} ")?;
        write!(f, "saturated={saturated} flushed={flushed} nan={nan}")
    }
}

/// Converts the file.
///
/// # Errors
/// What is wrong, with the file it is wrong with. Then no output file is left.
pub fn run(args: &Args) -> anyhow::Result<Summary> {
    let input = args.input.display();
    let (file, len) = open(&args.input).with_context(|| format!("cannot read {input}"))?;
    let mut reader = Reader::new(file, len).with_context(|| input.to_string())?;
    let header = reader.header().clone();
    let source = Source::of(header.dtype, args.from).with_context(|| input.to_string())?;
    let job = Job { source, big_endian: header.big_endian, args };
    let mut out = Output::create(&args.output)?;
    let writing = || format!("cannot write {}", args.output.display());
    let dtype = dtype_of(args.to);
    let written = Header { dtype, big_endian: false, ..header.clone() };
    written.write(&mut out).with_context(writing)?;
    let (mut bytes, mut buffers) = (Vec::new(), Buffers::default());
    let (mut values, mut stats) = (0, QuantStats::default());
    loop {
        let n = reader.read(&mut bytes, PIECE).with_context(|| input.to_string())?;
        if n == 0 {
            break;
        }
        let piece = job.piece(&bytes, values, &mut buffers).with_context(|| input.to_string())?;
        stats = stats.merge(piece);
        out.write_all(&buffers.bytes).with_context(writing)?;
        values += n as u64;
    }
    drop(reader); // IN may be OUT, and some systems do not replace an open file
    out.finish()?;
    Ok(Summary { to: args.to, shape: header.shape_text(), values, stats })
}

/// The file, and its length if it is one that has a length.
fn open(path: &Path) -> std::io::Result<(impl Read, Option<u64>)> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let len = metadata.is_file().then_some(metadata.len());
    Ok((file, len))
}

/// What the elements of the input are.
#[derive(Clone, Copy, Debug)]
enum Source {
    F64,
    F32,
    /// Codes of a format, exact in f32. An f16 is one: its value is exact too.
    Codes(FormatId),
}

impl Source {
    fn of(dtype: Dtype, from: Option<FormatId>) -> anyhow::Result<Self> {
        Ok(match (dtype, from) {
            (Dtype::F64, None | Some(FormatId::F64)) => Self::F64,
            (Dtype::F32, None | Some(FormatId::F32)) => Self::F32,
            (Dtype::F16, None | Some(FormatId::F16)) => Self::Codes(FormatId::F16),
            (Dtype::U8 | Dtype::U16, None) => {
                bail!("{dtype} elements are codes of a format: name it with --from")
            }
            (Dtype::U8 | Dtype::U16, Some(id)) if dtype_of(id) == dtype => Self::Codes(id),
            (_, Some(id)) => {
                let expected = dtype_of(id);
                bail!("--from {id} needs {expected} elements, and these are {dtype}")
            }
        })
    }
}

/// The element type that holds a format: codes, or values where NumPy has them.
pub(crate) fn dtype_of(id: FormatId) -> Dtype {
    match id.spec().storage_bits() {
        8 => Dtype::U8,
        16 => Dtype::U16,
        32 => Dtype::F32,
        _ => Dtype::F64,
    }
}

/// What a piece needs, kept for the next.
#[derive(Debug, Default)]
struct Buffers {
    doubles: Vec<f64>,
    singles: Vec<f32>,
    halves: Vec<u16>,
    words: Vec<u32>,
    longs: Vec<u64>,
    /// The result, as it stands in the file.
    bytes: Vec<u8>,
}

struct Job<'a> {
    source: Source,
    big_endian: bool,
    args: &'a Args,
}

impl Job<'_> {
    /// Converts elements from number `first` on: from `bytes` to `buffers.bytes`.
    fn piece(&self, bytes: &[u8], first: u64, buffers: &mut Buffers) -> anyhow::Result<QuantStats> {
        let Buffers { doubles, singles, halves, words, longs, bytes: out } = buffers;
        let values = match self.source {
            Source::F64 => {
                fill(doubles, bytes, self.big_endian, f64::from_le_bytes, f64::from_be_bytes);
                Values::F64(doubles)
            }
            Source::F32 => {
                fill(singles, bytes, self.big_endian, f32::from_le_bytes, f32::from_be_bytes);
                Values::F32(singles)
            }
            Source::Codes(id) => {
                let codes = if dtype_of(id) == Dtype::U8 {
                    Codes::U8(bytes)
                } else {
                    fill(halves, bytes, self.big_endian, u16::from_le_bytes, u16::from_be_bytes);
                    Codes::U16(halves)
                };
                check_codes(id, codes, first)?;
                let n = bytes.len() / dtype_of(id).size();
                singles.resize(n, 0.0);
                let options = DecodeOptions::new().threads(self.args.threads);
                decode(id.spec(), codes, ValuesMut::F32(singles), &options)?;
                Values::F32(singles)
            }
        };
        let n = values.len();
        // Decoded values need no rounding to f32. Their statistics come from encoding them into
        // the format that they are from, which is fast and changes none.
        let exact = self.decodes();
        let target = exact.unwrap_or(self.args.to);
        let encode = |codes: CodesMut| self.encode(target, values, codes, first);
        let stats = match dtype_of(target) {
            Dtype::U8 => {
                out.resize(n, 0);
                encode(CodesMut::U8(out))?
            }
            Dtype::U16 | Dtype::F16 => {
                // The source may have used them; it is in f32 now.
                halves.resize(n, 0);
                let stats = encode(CodesMut::U16(halves))?;
                spill(halves, out, u16::to_le_bytes);
                stats
            }
            Dtype::F32 => {
                words.resize(n, 0);
                let stats = encode(CodesMut::U32(words))?;
                spill(words, out, u32::to_le_bytes);
                stats
            }
            Dtype::F64 => {
                longs.resize(n, 0);
                let stats = encode(CodesMut::U64(longs))?;
                spill(longs, out, u64::to_le_bytes);
                stats
            }
        };
        if exact.is_some() {
            spill(singles, out, f32::to_le_bytes);
        }
        Ok(stats)
    }

    /// The source's format, if its values are wanted in f32 as they are.
    fn decodes(&self) -> Option<FormatId> {
        let Source::Codes(id) = self.source else { return None };
        let inf_stays = self.args.overflow == Overflow::NonFinite || !id.spec().has_inf();
        (self.args.to == FormatId::F32 && inf_stays).then_some(id)
    }

    fn encode(
        &self,
        to: FormatId,
        values: Values,
        codes: CodesMut,
        first: u64,
    ) -> anyhow::Result<QuantStats> {
        let Args { rounding, overflow, nan, seed, threads, .. } = *self.args;
        let stream = RandomStream { seed, tensor: 0, step: 0 };
        let options = EncodeOptions::new(Policy { rounding, overflow, nan })
            .random(Random::Stream { stream, start: first })
            .threads(threads);
        encode_stats(to.spec(), values, codes, &options).map_err(|error| match error {
            quarter::Error::Nan { format, index } => {
                quarter::Error::Nan { format, index: first as usize + index }.into()
            }
            error => error.into(),
        })
    }
}

/// Refuses codes with bits above the format's, which a decoder ignores.
fn check_codes(id: FormatId, codes: Codes, first: u64) -> anyhow::Result<()> {
    let Codes::U8(codes) = codes else { return Ok(()) };
    let most = id.spec().code_mask();
    if let Some(at) = codes.iter().position(|code| u64::from(*code) > most) {
        let (element, code) = (first + at as u64, codes[at]);
        bail!("element {element} is {code:#04x}, and the codes of {id} end at {most:#04x}");
    }
    Ok(())
}

/// Numbers from the bytes of a file.
pub(crate) fn fill<T, const N: usize>(
    numbers: &mut Vec<T>,
    bytes: &[u8],
    big_endian: bool,
    little: impl Fn([u8; N]) -> T,
    big: impl Fn([u8; N]) -> T,
) {
    let (chunks, _) = bytes.as_chunks::<N>();
    numbers.clear();
    if big_endian {
        numbers.extend(chunks.iter().map(|chunk| big(*chunk)));
    } else {
        numbers.extend(chunks.iter().map(|chunk| little(*chunk)));
    }
}

/// The bytes of numbers, for a file.
fn spill<T: Copy, const N: usize>(
    numbers: &[T],
    bytes: &mut Vec<u8>,
    little: impl Fn(T) -> [u8; N],
) {
    bytes.clear();
    bytes.extend(numbers.iter().flat_map(|number| little(*number)));
}
