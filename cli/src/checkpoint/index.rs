//! `model.safetensors.index.json`: which shard holds which tensor; and JSON beside a model.

use super::header::show;
use anyhow::{Context as _, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// How the names of index files end.
const SUFFIX: &str = ".safetensors.index.json";
/// The longest JSON file read.
const MAX_JSON: u64 = 100_000_000;

/// What an index says.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Index {
    /// The bytes of all tensors, and what else its writer put here.
    #[serde(default)]
    pub metadata: Map<String, Value>,
    /// The file of each tensor.
    pub weight_map: BTreeMap<String, String>,
}

impl Index {
    /// Reads an index.
    ///
    /// # Errors
    /// If it cannot be read or is none.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let value = read_json(path)?.context("cannot read it")?;
        serde_json::from_value(value).context("bad index")
    }

    /// The names of the files, each once.
    ///
    /// # Errors
    /// For a name that is more than the name of a file beside the index.
    pub fn files(&self) -> anyhow::Result<BTreeSet<&str>> {
        let names: BTreeSet<_> = self.weight_map.values().map(String::as_str).collect();
        ensure!(!names.is_empty(), "the index names no tensor");
        for name in &names {
            let plain = !name.contains(['/', '\\', ':', '\0']) && !matches!(*name, "" | "." | "..");
            ensure!(plain, "{} is not the name of a file beside the index", show(name));
            ensure!(name.ends_with(".safetensors"), "{} does not end in .safetensors", show(name));
        }
        Ok(names)
    }
}

/// Whether a file is an index, by its name.
#[must_use]
pub fn is_index(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(SUFFIX))
}

/// The index in a directory: `model.safetensors.index.json`, or the only one.
///
/// # Errors
/// If there are several others.
pub fn find(directory: &Path) -> anyhow::Result<Option<PathBuf>> {
    let usual = directory.join(format!("model{SUFFIX}"));
    if usual.is_file() {
        return Ok(Some(usual));
    }
    let label = directory.display();
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).with_context(|| format!("cannot read {label}"))? {
        let path = entry?.path();
        if is_index(&path) {
            found.push(path);
        }
    }
    if found.len() > 1 {
        bail!("{label} holds {} indices: name one of them", found.len());
    }
    Ok(found.pop())
}

/// The JSON in a file, if there is the file.
///
/// # Errors
/// If it cannot be read, is too long or no JSON.
pub fn read_json(path: &Path) -> anyhow::Result<Option<Value>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut text = Vec::new();
    let got = file.take(MAX_JSON + 1).read_to_end(&mut text)? as u64;
    ensure!(got <= MAX_JSON, "more than {MAX_JSON} bytes of JSON");
    Ok(Some(serde_json::from_slice(&text).context("bad JSON")?))
}
