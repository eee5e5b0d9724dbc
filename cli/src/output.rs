//! An output file that appears whole or not at all.

use anyhow::{Context as _, ensure};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// How the names of temporary files start and end.
const PREFIX: &str = ".quarter-";
const SUFFIX: &str = ".tmp";

/// A file in the making: a temporary one in the same directory, renamed when it is complete.
///
/// Dropped before [`finish`](Self::finish), it leaves nothing behind, and a file that was there
/// before stays as it was. A process that is killed leaves the temporary file; it is locked while
/// somebody writes it, so [`remove_stale`] knows which are left over.
#[derive(Debug)]
pub struct Output {
    file: NamedTempFile,
    path: PathBuf,
}

impl Output {
    /// Starts to write `path`, through a symbolic link if it is one.
    ///
    /// # Errors
    /// If there is something at `path` that is not a file, or may not be written; if its
    /// directory does not exist or may not be written.
    pub fn create(path: &Path) -> anyhow::Result<Self> {
        Self::start(path).with_context(|| format!("cannot write {}", path.display()))
    }

    fn start(path: &Path) -> anyhow::Result<Self> {
        let old = match fs::metadata(path) {
            Ok(old) => Some(old),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        };
        let mut path = path.to_owned();
        if let Some(old) = &old {
            ensure!(old.is_file(), "it exists and is not a file");
            ensure!(!old.permissions().readonly(), "it is read-only");
            path = fs::canonicalize(&path)?;
        }
        let directory = directory_of(&path);
        ensure!(path.file_name().is_some(), "it is not the name of a file");
        ensure!(directory.is_dir(), "{} is not a directory", directory.display());
        let mut builder = tempfile::Builder::new();
        builder.prefix(PREFIX).suffix(SUFFIX);
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666)); // less the umask
        let file = builder.tempfile_in(directory)?;
        let _ = file.as_file().try_lock(); // some file systems know no locks: see `remove_stale`
        if let Some(old) = old {
            file.as_file().set_permissions(old.permissions())?;
        }
        Ok(Self { file, path })
    }

    /// The file, for positioned writes.
    #[must_use]
    pub fn file(&self) -> &File {
        self.file.as_file()
    }

    /// Puts the file in its place.
    ///
    /// # Errors
    /// If it cannot be renamed; then it is removed.
    pub fn finish(self) -> anyhow::Result<()> {
        let Self { file, path } = self;
        let done = file.persist(&path).map(drop).map_err(|error| error.error);
        done.with_context(|| format!("cannot write {}", path.display()))
    }

    /// Puts the file in its place, and waits until the disk has it: a power cut leaves the whole
    /// file or none.
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    pub fn finish_durably(self) -> anyhow::Result<()> {
        let path = self.path.clone();
        let context = || format!("cannot write {}", path.display());
        self.file.as_file().sync_all().with_context(context)?;
        self.finish()?;
        // The name is on the disk when its directory is.
        #[cfg(unix)]
        File::open(directory_of(&path)).and_then(|file| file.sync_all()).with_context(context)?;
        Ok(())
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The directory that a file is in.
#[must_use]
pub fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."))
}

/// Removes the temporary files of runs that were killed. One that cannot be locked has an owner;
/// one that cannot be removed is left.
///
/// # Errors
/// If the directory cannot be read.
pub fn remove_stale(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(PREFIX) && name.ends_with(SUFFIX) && entry.file_type()?.is_file() {
            let path = entry.path();
            // Its owner holds the lock until it is renamed or the process ends.
            if File::open(&path).is_ok_and(|file| file.try_lock().is_ok()) {
                let _ = fs::remove_file(path);
            }
        }
    }
    Ok(())
}
