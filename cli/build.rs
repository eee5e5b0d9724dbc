//! Gathers the project's sources into one text: what `quarter train` learns by default.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

fn main() {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let mut text = Vec::new();
    for folder in ["../src", "src"] {
        let folder = root.join(folder);
        println!("cargo::rerun-if-changed={}", folder.display());
        add(&folder, &mut text);
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("sources.txt"), text).expect("the build directory can be written");
}

/// Adds every Rust file of a folder, in the order of their names.
fn add(folder: &Path, text: &mut Vec<u8>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            add(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.extend(fs::read(&path).unwrap_or_default());
        }
    }
}
