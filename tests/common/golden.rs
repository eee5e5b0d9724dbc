//! Outputs of other engines: a part in tests/data (see NOTICE), the rest under `QUARTER_GOLDEN`.

use quarter::FormatId;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// A file of tests/data.
pub fn bytes(name: &str) -> Vec<u8> {
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name))
}

pub fn words(name: &str) -> Vec<u32> {
    to_words(&bytes(name))
}

pub fn floats(name: &str) -> Vec<f32> {
    words(name).into_iter().map(f32::from_bits).collect()
}

pub fn json(name: &str) -> Value {
    serde_json::from_slice(&bytes(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The folder of all the conversions, unless this machine has none: then says what is left out.
pub fn all(what: &str) -> Option<PathBuf> {
    folder("conversions", what)
}

/// A folder of the golden data: `conversions`, `scaling`.
pub fn folder(name: &str, what: &str) -> Option<PathBuf> {
    match std::env::var_os("QUARTER_GOLDEN") {
        Some(folder) if !folder.is_empty() => Some(PathBuf::from(folder).join(name)),
        _ => {
            println!("skipped: {what}; set QUARTER_GOLDEN to the golden folder");
            None
        }
    }
}

pub fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn to_words(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().expect("4 bytes"))).collect()
}

/// The format with a name of ml_dtypes.
pub fn format(name: &str) -> FormatId {
    name.parse().unwrap_or_else(|error| panic!("{error}"))
}

/// The number behind a string of hexadecimal digits.
pub fn hex(value: &Value) -> u32 {
    let text = value.as_str().expect("a string of hexadecimal digits");
    u32::from_str_radix(text, 16).unwrap_or_else(|error| panic!("{text}: {error}"))
}
