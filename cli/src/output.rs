//! An output file that appears whole or not at all.

use anyhow::{Context as _, ensure};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// A file in the making: a temporary one in the same directory, renamed when it is complete.
///
/// Dropped before [`finish`](Self::finish), it leaves nothing behind, and a file that was there
/// before stays as it was.
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
        let parent = path.parent().filter(|parent| *parent != Path::new(""));
        let directory = parent.unwrap_or(Path::new("."));
        ensure!(path.file_name().is_some(), "it is not the name of a file");
        ensure!(directory.is_dir(), "{} is not a directory", directory.display());
        let mut builder = tempfile::Builder::new();
        builder.prefix(".quarter-").suffix(".tmp");
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666)); // less the umask
        let file = builder.tempfile_in(directory)?;
        if let Some(old) = old {
            file.as_file().set_permissions(old.permissions())?;
        }
        Ok(Self { file, path })
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
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
