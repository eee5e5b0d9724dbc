//! What is read: one file, or the shards of a model.
//!
//! Reads are positioned. A memory map of a file that somebody truncates ends the program with a
//! signal; a read that comes short is an error.

use super::buffer::reserve;
use super::header::{Header, TensorInfo, show};
use super::index::{self, Index};
use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The file beside a model that describes it.
pub const CONFIG: &str = "config.json";

/// A tensor of a [`Source`]: its shard, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct At {
    /// The number of the shard.
    pub shard: usize,
    /// The number of the tensor in the order of the shard's data.
    pub tensor: usize,
}

/// One file.
#[derive(Debug)]
pub struct Shard {
    /// Its name, without directories.
    pub name: String,
    /// How messages call it.
    pub label: String,
    /// What it holds.
    pub header: Header,
    /// When it was last written, if the system says so.
    pub modified: Option<SystemTime>,
    file: File,
}

impl Shard {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// If it cannot be read, or whatever is wrong with its header.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let label = path.display().to_string();
        let cannot = || format!("cannot read {label}");
        let file = File::open(path).with_context(cannot)?;
        let metadata = file.metadata().with_context(cannot)?;
        ensure!(metadata.is_file(), "{label} is not a file");
        let header = Header::read(&file, metadata.len()).with_context(|| label.clone())?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, label, header, modified: metadata.modified().ok(), file })
    }

    /// Fills `bytes` from byte `at` of tensor number `tensor`.
    ///
    /// # Errors
    /// If the file has become shorter, or cannot be read.
    pub fn read(&self, tensor: usize, at: usize, bytes: &mut [u8]) -> anyhow::Result<()> {
        let (name, info) = &self.header.tensors[tensor];
        let start = self.header.start + (info.data_offsets.0 + at) as u64;
        read_at(&self.file, bytes, start)
            .with_context(|| format!("cannot read {} of {}", show(name), self.label))
    }

    fn sample(&self, crc: &mut crc32fast::Hasher) -> anyhow::Result<()> {
        const SAMPLES: usize = 64;
        const LENGTH: usize = 4096;
        crc.update(&serde_json::to_vec(&self.header)?);
        let count = self.header.tensors.len();
        let mut bytes = Vec::new();
        for tensor in (0..count).step_by(count.div_ceil(SAMPLES).max(1)) {
            let (begin, end) = self.header.tensors[tensor].1.data_offsets;
            let length = (end - begin).min(LENGTH);
            bytes.resize(length, 0);
            self.read(tensor, (end - begin - length) / 2, &mut bytes)?;
            crc.update(&bytes);
        }
        Ok(())
    }
}

/// Fills `bytes` from byte `at` of a file on.
///
/// # Errors
/// Those of the system, and that the file ends before.
pub fn read_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    #[cfg(unix)]
    return std::os::unix::fs::FileExt::read_exact_at(file, bytes, at);
    #[cfg(windows)]
    {
        let mut done = 0;
        while done < bytes.len() {
            let place = at + done as u64;
            match std::os::windows::fs::FileExt::seek_read(file, &mut bytes[done..], place)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => done += n,
            }
        }
        Ok(())
    }
}

/// A file, or a model of several.
#[derive(Debug)]
pub struct Source {
    /// The files, by name.
    pub shards: Vec<Shard>,
    /// The index of a model that has one, and its name.
    pub index: Option<(String, Index)>,
    /// The directory of a model.
    pub root: Option<PathBuf>,
    /// What is beside a model as [`CONFIG`].
    pub config: Option<Value>,
    names: HashMap<String, At>,
}

impl Source {
    /// Opens a safetensors file, an index, or a directory that holds either.
    ///
    /// # Errors
    /// Whatever is wrong with any of the files.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let label = path.display();
        let kind = fs::metadata(path).with_context(|| format!("cannot read {label}"))?;
        if kind.is_dir() {
            return match index::find(path)? {
                Some(index) => Self::open_index(&index),
                None => Self::open_directory(path),
            };
        }
        if index::is_index(path) {
            return Self::open_index(path);
        }
        Self::new(vec![Shard::open(path)?], None, None)
    }

    fn open_directory(root: &Path) -> anyhow::Result<Self> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(root)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "safetensors") {
                paths.push(path);
            }
        }
        paths.sort();
        ensure!(!paths.is_empty(), "{} holds no .safetensors file", root.display());
        let shards = paths.iter().map(|path| Shard::open(path)).collect::<Result<_, _>>()?;
        Self::new(shards, None, Some(root.to_owned()))
    }

    fn open_index(path: &Path) -> anyhow::Result<Self> {
        let label = path.display().to_string();
        let index = Index::read(path).with_context(|| label.clone())?;
        let parent = path.parent().filter(|parent| *parent != Path::new(""));
        let root = parent.unwrap_or(Path::new(".")).to_owned();
        let files = index.files().with_context(|| label.clone())?;
        let shards: Vec<_> =
            files.iter().map(|name| Shard::open(&root.join(name))).collect::<Result<_, _>>()?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let source = Self::new(shards, Some((name, index)), Some(root))?;
        for (name, file) in source.index.iter().flat_map(|(_, index)| &index.weight_map) {
            match source.find(name) {
                Some(at) if source.shards[at.shard].name == *file => {}
                _ => bail!("{label}: {} is not in {}", show(name), show(file)),
            }
        }
        Ok(source)
    }

    fn new(
        shards: Vec<Shard>,
        index: Option<(String, Index)>,
        root: Option<PathBuf>,
    ) -> anyhow::Result<Self> {
        let mut names = HashMap::new();
        for (shard, file) in shards.iter().enumerate() {
            for (tensor, (name, _)) in file.header.tensors.iter().enumerate() {
                if let Some(old) = names.insert(name.clone(), At { shard, tensor }) {
                    let (name, old) = (show(name), &shards[old.shard].label);
                    bail!("tensor {name} is both in {old} and in {}", file.label);
                }
            }
        }
        let config = match &root {
            Some(root) => index::read_json(&root.join(CONFIG))
                .with_context(|| root.join(CONFIG).display().to_string())?,
            None => None,
        };
        Ok(Self { shards, index, root, config, names })
    }

    /// The tensor of this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<At> {
        self.names.get(name).copied()
    }

    /// Its name and its entry in the header.
    #[must_use]
    pub fn tensor(&self, at: At) -> (&str, &TensorInfo) {
        let (name, info) = &self.shards[at.shard].header.tensors[at.tensor];
        (name, info)
    }

    /// All tensors, shard by shard.
    pub fn tensors(&self) -> impl Iterator<Item = At> {
        self.shards.iter().enumerate().flat_map(|(shard, file)| {
            (0..file.header.tensors.len()).map(move |tensor| At { shard, tensor })
        })
    }

    /// The bytes of a whole tensor that is to be small.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read_all(&self, at: At) -> anyhow::Result<Vec<u8>> {
        let (begin, end) = self.tensor(at).1.data_offsets;
        let mut bytes = Vec::new();
        reserve(&mut bytes, end - begin)?;
        bytes.resize(end - begin, 0);
        self.shards[at.shard].read(at.tensor, 0, &mut bytes)?;
        Ok(bytes)
    }

    /// A number for what some shards hold: of their headers, and of samples of up to 64 tensors of
    /// each.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn fingerprint(&self, shards: &BTreeSet<usize>) -> anyhow::Result<u32> {
        let mut crc = crc32fast::Hasher::new();
        for shard in shards {
            self.shards[*shard].sample(&mut crc)?;
        }
        Ok(crc.finalize())
    }
}
