//! A file or a whole model: what is done already, what is to do, in which order.
//!
//! A shard takes its name when it is on the disk and has been read back; the index follows when
//! all have theirs. While shards change there is no index and no config, so nobody loads half of a
//! model. A second run finds the shards that are complete by their headers, in which the settings
//! and a number for the input stand, and goes on. A directory that holds anything else of a model
//! is refused before it is touched: see `check_own`.

use super::header::{Header, Texts, show};
use super::index::{Index, is_index};
use super::pipeline::{Plan, verify};
use super::source::{CONFIG, Source, read_at};
use crate::output::{Output, directory_of, remove_stale};
use anyhow::{Context as _, anyhow, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::thread;

/// The key of a file's metadata under which it says what made it.
pub const MADE: &str = "quarter";
/// Every text under that key has it.
const INPUT: &str = " input=";
/// Files beside a model that go with it, by extension.
const BESIDE: [&str; 6] = ["json", "txt", "model", "tiktoken", "jinja", "py"];
/// Larger ones are left.
const MAX_BESIDE: u64 = 64 << 20;

/// What was done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Done {
    /// Files that were written.
    pub files: usize,
    /// Files that were complete already.
    pub kept: usize,
    /// Bytes that were read.
    pub read: u64,
    /// Bytes that were written.
    pub written: u64,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { files, kept, read, written } = self;
        write!(f, "files={files} kept={kept} read={read} written={written}")
    }
}

/// The metadata of an output: the input's, less what this crate says of codes unless some stay;
/// and the settings and a number for the `inputs`, by which a second run knows its own.
///
/// # Errors
/// If the input cannot be read.
pub fn metadata(
    source: &Source,
    shard: usize,
    inputs: &BTreeSet<usize>,
    settings: &str,
    stay: bool,
) -> anyhow::Result<Texts> {
    let crc = source.fingerprint(inputs)?;
    let mut texts = source.shards[shard].header.metadata.clone();
    if !stay && texts.remove(super::layout::CAST).is_some() {
        texts.remove("source");
        if texts.get("format").is_some_and(|text| text.parse::<quarter::FormatId>().is_ok()) {
            texts.remove("format");
        }
    }
    let version = env!("CARGO_PKG_VERSION");
    texts.insert(MADE.to_owned(), format!("{version} {settings}{INPUT}{crc:08x}"));
    Ok(texts)
}

/// Writes all plans: to the file `out`, or into the directory if the source is one. What is in a
/// directory and was not made here stays as it is.
///
/// # Errors
/// Whatever goes wrong. Then shards that are complete stay, and nothing else.
pub fn convert(
    source: &Source,
    plans: &[Plan],
    out: &Path,
    config: Option<&Value>,
) -> anyhow::Result<Done> {
    let Some(root) = &source.root else {
        let [plan] = plans else { bail!("{} files for one output", plans.len()) };
        let directory = directory_of(out);
        if directory.is_dir() {
            let _ = remove_stale(directory); // what cannot be tidied is no reason to stop
        }
        return shards(source, &[(plan, out.to_owned())], || Ok(()));
    };
    let created = start_directory(root, out)?;
    let result = directory(source, plans, root, out, config);
    if result.is_err() && created {
        let _ = fs::remove_dir(out); // if there is nothing in it
    }
    result
}

/// Makes the directory if it is not there; whether it was not.
fn start_directory(root: &Path, out: &Path) -> anyhow::Result<bool> {
    let cannot = || format!("cannot write {}", out.display());
    match fs::create_dir(out) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            ensure!(out.is_dir(), "cannot write {}: it exists and is no directory", out.display());
            let same = fs::canonicalize(root)? == fs::canonicalize(out)?;
            ensure!(!same, "cannot write {}: the input is there", out.display());
            Ok(false)
        }
        Err(error) => Err(error).with_context(cannot),
    }
}

fn directory(
    source: &Source,
    plans: &[Plan],
    root: &Path,
    out: &Path,
    config: Option<&Value>,
) -> anyhow::Result<Done> {
    // One run at a time: while it lasts this file is locked.
    #[cfg(unix)]
    let lock = File::open(out)?;
    #[cfg(unix)]
    if let Err(fs::TryLockError::WouldBlock) = lock.try_lock() {
        bail!("cannot write {}: another quarter is writing it", out.display());
    }
    check_own(source, plans, root, out)
        .with_context(|| format!("cannot write {}", out.display()))?;
    remove_stale(out).with_context(|| format!("cannot read {}", out.display()))?;
    let index = source.index.as_ref().map(|(name, index)| {
        let mut new = Index { metadata: index.metadata.clone(), ..Index::default() };
        let mut total = 0;
        for plan in plans {
            for (name, info) in &plan.header.tensors {
                total += (info.data_offsets.1 - info.data_offsets.0) as u64;
                new.weight_map.insert(name.clone(), plan.name.clone());
            }
        }
        new.metadata.insert("total_size".to_owned(), total.into());
        let made = plans.first().and_then(|plan| plan.header.metadata.get(MADE));
        new.metadata.extend(made.map(|made| (MADE.to_owned(), made.clone().into())));
        (out.join(name), new)
    });
    let files: Vec<_> = plans.iter().map(|plan| (plan, out.join(&plan.name))).collect();
    let done = shards(source, &files, || {
        let paths = index.iter().map(|(path, _)| path.clone()).chain([out.join(CONFIG)]);
        for path in paths {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot write {}", path.display()));
                }
                _ => {}
            }
        }
        Ok(())
    })?;
    copy_beside(root, out)?;
    if let Some(config) = config {
        write_json(&out.join(CONFIG), config)?;
    }
    if let Some((path, index)) = &index {
        write_json(path, &serde_json::to_value(index)?)?;
    }
    Ok(done)
}

/// That a directory holds nothing of a model but what this program made, under names that it would
/// give now. A config has no mark of its own: it is ours if the index or a shard beside it is. Nor
/// have other files: where nothing is ours, none of them is replaced by a different one.
fn check_own(source: &Source, plans: &[Plan], root: &Path, out: &Path) -> anyhow::Result<()> {
    let index = source.index.as_ref().map(|(name, _)| name.as_str());
    let mut own = false;
    for entry in fs::read_dir(out)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let shard = path.extension().is_some_and(|extension| extension == "safetensors");
        if !shard && !is_index(&path) || path.is_dir() {
            continue;
        }
        let shown = show(&name);
        ensure!(is_made(&path, shard), "it holds {shown}, which quarter did not make");
        let known = index == Some(&name) || plans.iter().any(|plan| plan.name == name);
        ensure!(known, "it holds {shown} of another model");
        own = true;
    }
    if own {
        return Ok(());
    }
    let config = fs::symlink_metadata(out.join(CONFIG)).is_ok();
    ensure!(!config, "it holds {CONFIG:?}, and nothing that quarter made");
    for (name, path) in beside(root)? {
        let old = out.join(&name);
        if fs::symlink_metadata(&old).is_ok() {
            let shown = show(&name.to_string_lossy());
            let same = fs::read(&path)? == fs::read(&old).with_context(|| shown.clone())?;
            ensure!(same, "it holds another {shown}, and nothing that quarter made");
        }
    }
    Ok(())
}

/// Whether this program made a shard or an index, by what is written in it.
fn is_made(path: &Path, shard: bool) -> bool {
    if !path.is_file() {
        return false;
    }
    let made = if shard {
        File::open(path).ok().and_then(|file| Header::texts(file).ok()?.remove(MADE))
    } else {
        let index = Index::read(path).ok();
        index.and_then(|index| Some(index.metadata.get(MADE)?.as_str()?.to_owned()))
    };
    made.is_some_and(|made| made.contains(INPUT))
}

/// Writes the files that are not complete; `before` runs if there is any.
fn shards(
    source: &Source,
    files: &[(&Plan, PathBuf)],
    before: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<Done> {
    let mut done = Done::default();
    let mut open = Vec::new();
    for (plan, path) in files {
        if is_complete(source, plan, path)? {
            done.kept += 1;
        } else {
            done.read += plan.input_bytes(source);
            done.written += plan.header.file_len();
            open.push((*plan, path));
        }
    }
    done.files = open.len();
    if open.is_empty() {
        return Ok(done);
    }
    before()?;
    let bar = progress(done.read);
    // While one file is written, the one before it is read back and brought to the disk.
    let (finish, finished) = sync_channel::<(Output, &Plan, Vec<u32>)>(0);
    thread::scope(|scope| {
        let finisher = scope.spawn(move || {
            for (output, plan, sums) in finished {
                verify(output.file(), &plan.header, &sums).with_context(|| plan.name.clone())?;
                output.finish_durably()?;
            }
            anyhow::Ok(())
        });
        let written = open.iter().try_for_each(|(plan, path)| {
            let output = Output::create(path)?;
            bar.set_message(plan.name.clone());
            let sums = plan.write(source, output.file(), &bar)?;
            // If nobody listens, the finisher has failed: its error is the one that is given.
            finish.send((output, plan, sums)).map_err(|_| anyhow!("a file before it failed"))
        });
        drop(finish);
        finisher.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        written
    })?;
    bar.finish_and_clear();
    Ok(done)
}

/// Whether a file is what the plan would make it, and no input is newer. It has its name since it
/// was whole.
fn is_complete(source: &Source, plan: &Plan, path: &Path) -> anyhow::Result<bool> {
    let Ok(file) = File::open(path) else { return Ok(false) };
    let Ok(metadata) = file.metadata() else { return Ok(false) };
    if !metadata.is_file() || metadata.len() != plan.header.file_len() {
        return Ok(false);
    }
    if let Ok(made) = metadata.modified() {
        let newer = |shard: &usize| source.shards[*shard].modified.is_some_and(|time| time > made);
        if plan.inputs.iter().any(newer) {
            return Ok(false);
        }
    }
    let want = plan.header.bytes()?;
    let mut start = vec![0; want.len()];
    Ok(read_at(&file, &mut start, 0).is_ok() && start == want)
}

fn progress(bytes: u64) -> ProgressBar {
    let bar = ProgressBar::new(bytes); // on stderr, if that is a terminal
    let template = "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta} {msg}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

fn write_json(path: &Path, value: &Value) -> anyhow::Result<()> {
    let mut output = Output::create(path)?;
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    output
        .write_all(text.as_bytes())
        .with_context(|| format!("cannot write {}", path.display()))?;
    output.finish_durably()
}

/// The tokenizer and what else is small and goes with a model: names and paths.
fn beside(root: &Path) -> io::Result<Vec<(OsString, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let (name, path) = (entry.file_name(), entry.path());
        let known = path.extension().and_then(|extension| extension.to_str());
        let known = known.is_some_and(|extension| BESIDE.contains(&extension));
        if !known || name == CONFIG || is_index(&path) {
            continue;
        }
        let Ok(metadata) = fs::metadata(&path) else { continue };
        if metadata.is_file() && metadata.len() <= MAX_BESIDE {
            found.push((name, path));
        }
    }
    Ok(found)
}

fn copy_beside(root: &Path, out: &Path) -> anyhow::Result<()> {
    for (name, path) in beside(root)? {
        let label = || format!("cannot copy {}", show(&name.to_string_lossy()));
        let mut output = Output::create(&out.join(&name))?;
        let mut file = File::open(&path).with_context(label)?;
        io::copy(&mut file, &mut output).with_context(label)?;
        output.finish()?;
    }
    Ok(())
}
