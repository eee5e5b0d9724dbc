//! The order of the modules, and where unsafe code is: read from the sources.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

/// Modules in order: each may use itself and those before it.
const LAYERS: [&str; 12] = [
    "error", "format", "arch", "mma", "slice", "scale", "tensor", "gemm", "recipe", "nn",
    "accuracy", "interop",
];

/// Exceptions, each with its reason: file, module, what is named.
const ALLOWED: [(&str, &str, &str); 1] = [
    // A link in the documentation of what is no error.
    ("error.rs", "slice", "crate::slice::QuantStats"),
];

/// About 450.
const MAX_LINES: usize = 480;

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                walk(&entry, files);
            } else if entry.extension().is_some_and(|e| e == "rs") {
                files.push(entry);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files = Vec::new();
    walk(&root, &mut files);
    assert!(!files.is_empty(), "no sources in {}", root.display());
    let read = |file: PathBuf| {
        let text = fs::read_to_string(&file).unwrap();
        (file.strip_prefix(&root).unwrap().to_path_buf(), text)
    };
    files.into_iter().map(read).collect()
}

/// The top module of a file under src; none for lib.rs.
fn module(file: &Path) -> Option<String> {
    let first = file.iter().next()?.to_string_lossy();
    let name = first.trim_end_matches(".rs");
    (name != "lib").then(|| name.to_owned())
}

/// Every `crate::NAME` of a text with its line number; `crate::{a, b}` counts for both.
fn crate_paths(text: &str) -> Vec<(usize, String)> {
    let mut paths = Vec::new();
    for (line, content) in text.lines().enumerate() {
        for (at, _) in content.match_indices("crate::") {
            let rest = &content[at + "crate::".len()..];
            let end = |rest: &str| {
                rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':')
                    .unwrap_or(rest.len())
            };
            if let Some(list) = rest.strip_prefix('{') {
                for name in list.split(&[',', '}'][..]).map(str::trim).filter(|n| !n.is_empty()) {
                    paths.push((line + 1, name[..end(name)].to_owned()));
                }
            } else {
                paths.push((line + 1, rest[..end(rest)].to_owned()));
            }
        }
    }
    paths
}

#[test]
fn modules_use_only_those_before_them() {
    let position = |name: &str| LAYERS.iter().position(|layer| *layer == name);
    let mut seen = 0;
    for (file, text) in sources("src") {
        let Some(module) = module(&file) else { continue };
        let own = position(&module)
            .unwrap_or_else(|| panic!("{} is in no layer: add it to LAYERS", file.display()));
        for (line, path) in crate_paths(&text) {
            let used = path.split("::").next().unwrap_or_default();
            // A re-export at the root (a type) tells nothing of its layer but in documentation.
            let Some(layer) = position(used) else { continue };
            seen += 1;
            let excused = ALLOWED.iter().any(|(f, m, what)| {
                Path::new(f) == file && *m == used && format!("crate::{path}") == *what
            });
            assert!(
                layer <= own || excused,
                "src/{}:{line}: {module} uses crate::{path}, but {used} comes after it in {LAYERS:?}",
                file.display()
            );
        }
    }
    assert!(seen > 20, "the search for crate:: finds nothing");
}

/// A line of code, without the comment at its end.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

#[test]
fn unsafe_is_in_arch_alone() {
    for (file, text) in sources("src") {
        if module(&file).as_deref() == Some("arch") {
            continue;
        }
        for (line, content) in text.lines().enumerate() {
            let words = code(content).split(|c: char| !c.is_alphanumeric() && c != '_');
            let found = words.into_iter().any(|word| word == "unsafe");
            assert!(!found, "src/{}:{}: unsafe code outside arch", file.display(), line + 1);
        }
        assert!(!text.contains("allow(unsafe_code)"), "src/{}", file.display());
    }
    let root =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    assert!(root.contains("#![deny(unsafe_code)]"));
}

/// Every unsafe block says why it is right here, and there are few.
#[test]
fn unsafe_blocks_give_reasons() {
    let mut blocks = 0;
    for (file, text) in sources("src/arch") {
        let lines: Vec<&str> = text.lines().collect();
        for (i, line) in
            lines.iter().enumerate().filter(|(_, line)| code(line).contains("unsafe {"))
        {
            blocks += 1;
            let above = lines[..i].iter().rev().take(8);
            let reason =
                above.take_while(|l| !l.trim().is_empty()).any(|l| l.contains("// SAFETY:"));
            assert!(
                reason,
                "src/arch/{}:{}: no SAFETY comment above {line:?}",
                file.display(),
                i + 1
            );
        }
    }
    assert!((1..20).contains(&blocks), "{blocks} unsafe blocks, fewer than 20 are wanted");
    common::readme::counted("`unsafe` blocks", blocks);
}

#[test]
fn files_are_short() {
    for folder in ["src", "tests"] {
        for (file, text) in sources(folder) {
            let lines = text.lines().count();
            assert!(lines <= MAX_LINES, "{folder}/{}: {lines} lines", file.display());
        }
    }
}

/// No path calls what `half` rounds twice.
#[test]
fn halfs_conversions_from_f64_are_not_called() {
    for (file, text) in sources("src") {
        for (line, content) in text.lines().map(code).enumerate() {
            for call in ["bf16::from_f64(", "f16::from_f64(", "from_f64_const("] {
                assert!(!content.contains(call), "src/{}:{}: {call}", file.display(), line + 1);
            }
        }
    }
}
