//! The header of a safetensors file: a length, then JSON that places every tensor.
//!
//! The `safetensors` crate knows the element types and the entries. Its own reader wants the whole
//! file in memory and takes the last of two tensors with the same name; what it refuses it
//! names without numbers. So the text is read and checked here, and [`check`] holds this to what
//! the crate says of the same bytes.

use anyhow::{Context as _, bail, ensure};
pub use safetensors::Dtype;
pub use safetensors::tensor::TensorInfo;
use serde::de::{self, MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::io::Read;

/// The longest header read, as in the reference implementation.
const MAX_HEADER: u64 = 100_000_000;
/// Bytes of the length before the header.
const PREFIX: u64 = 8;
/// What the data is aligned to, by spaces after the JSON.
const ALIGN: usize = 8;
/// The key of the texts that are no tensors.
const METADATA: &str = "__metadata__";

/// Texts about a file.
pub type Texts = BTreeMap<String, String>;

/// What a file holds. Tensors lie one after the other, without gaps, up to its end.
#[derive(Clone, Debug, Default)]
pub struct Header {
    /// Texts about the file.
    pub metadata: Texts,
    /// Names and places, in the order of the data.
    pub tensors: Vec<(String, TensorInfo)>,
    /// Where the data starts in the file: offsets count from here.
    pub start: u64,
}

impl Header {
    /// Reads the header of a file of `len` bytes, and holds it to that length.
    ///
    /// # Errors
    /// Whatever is wrong with it.
    pub fn read(mut file: impl Read, len: u64) -> anyhow::Result<Self> {
        ensure!(len >= PREFIX, "truncated: {len} of the {PREFIX} bytes of its header's length");
        let mut prefix = [0; PREFIX as usize];
        file.read_exact(&mut prefix)?;
        let length = u64::from_le_bytes(prefix);
        ensure!(
            length <= MAX_HEADER,
            "not a safetensors file: header of {length} bytes, but {MAX_HEADER} are the most"
        );
        let rest = len - PREFIX;
        ensure!(length <= rest, "truncated: {rest} of the {length} bytes of its header");
        let mut text = Vec::new();
        let got = file.take(length).read_to_end(&mut text)? as u64;
        ensure!(got == length, "truncated: {got} of the {length} bytes of its header");
        Self::parse(&text, rest - length)
    }

    /// The texts of a file, whatever its tensors are: it may have been cut.
    ///
    /// # Errors
    /// If there is no header.
    pub fn texts(mut file: impl Read) -> anyhow::Result<Texts> {
        let mut prefix = [0; PREFIX as usize];
        file.read_exact(&mut prefix)?;
        let length = u64::from_le_bytes(prefix);
        ensure!(length <= MAX_HEADER, "header of {length} bytes, but {MAX_HEADER} are the most");
        let mut text = Vec::new();
        file.take(length).read_to_end(&mut text)?;
        Ok(serde_json::from_slice::<Entries>(&text)?.metadata)
    }

    /// Parses the JSON of a file that has `data` bytes after it.
    fn parse(text: &[u8], data: u64) -> anyhow::Result<Self> {
        let Entries { metadata, mut tensors } = serde_json::from_slice(text)
            .map_err(|error| anyhow::anyhow!("bad header: {}", plain(&error.to_string())))?;
        let mut names = HashSet::new();
        if let Some((name, _)) = tensors.iter().find(|(name, _)| !names.insert(name.as_str())) {
            bail!("bad header: two tensors are named {}", show(name));
        }
        tensors.sort_by(|(a, x), (b, y)| (x.data_offsets, a).cmp(&(y.data_offsets, b)));
        let mut end = 0;
        for (name, info) in &tensors {
            end = check_tensor(info, end).with_context(|| format!("tensor {}", show(name)))?;
        }
        let end = end as u64;
        ensure!(data >= end, "truncated: {data} of the {end} bytes of its tensors");
        ensure!(data == end, "more bytes follow the {end} of its tensors: {data} in all");
        Ok(Self { metadata, tensors, start: PREFIX + text.len() as u64 })
    }

    /// Places tensors one after the other: those of wide elements first, then by name, as the
    /// reference implementation does, so that each is aligned.
    ///
    /// # Errors
    /// For a tensor whose bytes cannot be counted.
    pub fn place(
        metadata: Texts,
        tensors: impl IntoIterator<Item = (String, Dtype, Vec<usize>)>,
    ) -> anyhow::Result<Self> {
        let mut tensors: Vec<_> = tensors.into_iter().collect();
        tensors.sort_by(|(a, x, _), (b, y, _)| y.cmp(x).then_with(|| a.cmp(b)));
        let mut end = 0_usize;
        let mut placed = Vec::with_capacity(tensors.len());
        for (name, dtype, shape) in tensors {
            let context = || format!("tensor {}", show(&name));
            let bytes = byte_len(dtype, &shape).with_context(context)?;
            let next = end.checked_add(bytes).context("the file is too large")?;
            let data_offsets = (end, next);
            end = next;
            placed.push((name, TensorInfo { dtype, shape, data_offsets }));
        }
        let mut header = Self { metadata, tensors: placed, start: 0 };
        header.start = header.bytes()?.len() as u64;
        Ok(header)
    }

    /// The start of the file, up to the data.
    ///
    /// # Errors
    /// If it is longer than a reader would take.
    pub fn bytes(&self) -> anyhow::Result<Vec<u8>> {
        let mut text = serde_json::to_vec(self)?;
        text.resize(text.len().next_multiple_of(ALIGN), b' ');
        let length = text.len() as u64;
        ensure!(length <= MAX_HEADER, "header of {length} bytes, but {MAX_HEADER} are the most");
        Ok([&length.to_le_bytes()[..], &text].concat())
    }

    /// The bytes of the whole file.
    #[must_use]
    pub fn file_len(&self) -> u64 {
        self.start + self.tensors.last().map_or(0, |(_, info)| info.data_offsets.1 as u64)
    }
}

impl Serialize for Header {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if !self.metadata.is_empty() {
            map.serialize_entry(METADATA, &self.metadata)?;
        }
        for (name, info) in &self.tensors {
            map.serialize_entry(name, info)?;
        }
        map.end()
    }
}

/// The bytes of a tensor.
///
/// # Errors
/// If its shape overflows, or its bits fill no whole bytes.
pub fn byte_len(dtype: Dtype, shape: &[usize]) -> anyhow::Result<usize> {
    let bits = shape.iter().try_fold(dtype.bitsize(), |bits, n| bits.checked_mul(*n));
    let bits = bits.with_context(|| format!("the size of shape {shape:?} of {dtype} overflows"))?;
    ensure!(bits % 8 == 0, "shape {shape:?} of {dtype} takes {bits} bits, no whole bytes");
    Ok(bits / 8)
}

/// Where it ends, if it starts at `start` and is as long as its shape says.
fn check_tensor(info: &TensorInfo, start: usize) -> anyhow::Result<usize> {
    let (begin, end) = info.data_offsets;
    ensure!(begin >= start, "it starts at byte {begin}, before another's end at {start}");
    ensure!(begin == start, "bytes {start} to {begin} before it belong to no tensor");
    let wanted = byte_len(info.dtype, &info.shape)?;
    let Some(got) = end.checked_sub(begin) else {
        bail!("it ends at byte {end}, before its start at {begin}");
    };
    let TensorInfo { dtype, shape, .. } = info;
    ensure!(got == wanted, "shape {shape:?} of {dtype} takes {wanted} bytes, and it has {got}");
    Ok(end)
}

/// The entries as they stand in the file, a name that comes twice included.
#[derive(Default)]
struct Entries {
    metadata: Texts,
    tensors: Vec<(String, TensorInfo)>,
}

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map;
        impl<'de> Visitor<'de> for Map {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let (mut entries, mut seen) = (Entries::default(), false);
                while let Some(name) = map.next_key::<String>()? {
                    if name == METADATA {
                        if std::mem::replace(&mut seen, true) {
                            return Err(de::Error::duplicate_field(METADATA));
                        }
                        entries.metadata = map.next_value::<Option<Texts>>()?.unwrap_or_default();
                    } else {
                        entries.tensors.push((name, map.next_value()?));
                    }
                }
                Ok(entries)
            }
        }
        deserializer.deserialize_map(Map)
    }
}

/// A name from a file, for a message: in quotes, escaped, not too long.
#[must_use]
pub fn show(name: &str) -> String {
    const MOST: usize = 120;
    let short: String = name.chars().take(MOST).collect();
    let cut = if short.len() < name.len() { "..." } else { "" };
    format!("{short:?}{cut}")
}

/// A message that quotes a file, on one line.
fn plain(text: &str) -> String {
    const MOST: usize = 200;
    let short: String = text.chars().take(MOST).collect();
    short.escape_debug().to_string().replace("\\\"", "\"").replace("\\'", "'")
}

/// The body of the fuzz target: reads any bytes as a file, and if they are one, holds the reader
/// to its word and to that of the `safetensors` crate.
///
/// # Errors
/// What is wrong with the file.
///
/// # Panics
/// If a law does not hold: that is the finding.
pub fn check(bytes: &[u8]) -> anyhow::Result<Header> {
    let reference = safetensors::SafeTensors::read_metadata(bytes);
    let header = Header::read(bytes, bytes.len() as u64)?;
    let (_, reference) = reference.expect("what is read here is read by the crate");
    assert_eq!(header.tensors.len(), reference.tensors().len(), "as many tensors");
    for (name, info) in &header.tensors {
        let other = reference.info(name).expect("the crate knows the tensor");
        assert_eq!(info.dtype, other.dtype, "{name}");
        assert_eq!(info.shape, other.shape, "{name}");
        assert_eq!(info.data_offsets, other.data_offsets, "{name}");
    }
    assert_eq!(header.file_len(), bytes.len() as u64, "the data ends where the file ends");
    let tensors =
        header.tensors.iter().map(|(name, info)| (name.clone(), info.dtype, info.shape.clone()));
    let placed = Header::place(header.metadata.clone(), tensors)?;
    let mut copy = placed.bytes()?;
    copy.resize(placed.file_len() as usize, 0);
    let again = Header::read(&copy[..], copy.len() as u64).expect("what is written is read");
    assert_eq!(again.metadata, header.metadata);
    assert_eq!(again.tensors.len(), header.tensors.len());
    Ok(header)
}
