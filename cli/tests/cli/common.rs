//! Running the binary; `.npy` files by hand, so that reader and writer are not their own judges.

use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// What a run left.
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// The binary with these arguments and one environment variable.
pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quarter"));
    command.args(args).env_remove("QUARTER_ISA");
    command
}

pub fn run(mut command: Command) -> Run {
    let output = command.output().expect("the binary starts");
    let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
    Run { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// A directory for one test, with an input and an output file.
pub struct Scene {
    pub dir: TempDir,
}

impl Scene {
    pub fn new(input: &[u8]) -> Self {
        let scene = Self { dir: tempfile::tempdir().expect("a temporary directory") };
        scene.put("in.npy", input);
        scene
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn put(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).expect("a test file is written");
    }

    pub fn get(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).expect("a file is there")
    }

    /// The names of all files, sorted: temporary ones would show.
    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path()).expect("the directory is there");
        let name = |entry: std::io::Result<std::fs::DirEntry>| entry.map(|e| e.file_name());
        let mut names: Vec<_> = entries
            .map(|entry| name(entry).expect("an entry").to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// `quarter cast in.npy out.npy` and these.
    pub fn cast(&self, args: &[&str]) -> Run {
        run(self.command("in.npy", "out.npy", args))
    }

    pub fn command(&self, input: &str, output: &str, args: &[&str]) -> Command {
        let mut command = command(&["cast", input, output]);
        command.args(args).current_dir(self.dir.path());
        command
    }

    /// The result of a cast that must work, as (start up to the elements, elements).
    #[track_caller]
    pub fn result(&self, args: &[&str]) -> (String, Vec<u8>) {
        let run = self.cast(args);
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{args:?}");
        split(&self.get("out.npy"))
    }

    /// The message of a cast that must fail and leave nothing behind.
    #[track_caller]
    pub fn refusal(&self, args: &[&str]) -> String {
        let before = self.names();
        let run = self.cast(args);
        assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""), "{args:?} {}", run.stderr);
        assert_eq!(self.names(), before, "{args:?} left something behind");
        let message = run.stderr.strip_prefix("quarter: ").expect("the message names the program");
        assert_eq!(message.matches('\n').count(), 1, "one line: {message}");
        message.trim_end().to_owned()
    }
}

/// A version 1 file with this header text.
pub fn raw(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

/// A file as NumPy writes it, but for the padding.
pub fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    raw(&format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n"), data)
}

/// One dimension.
pub fn array(descr: &str, size: usize, data: &[u8]) -> Vec<u8> {
    npy(descr, &format!("({},)", data.len() / size), data)
}

/// An f32 array.
pub fn singles(values: &[f32]) -> Vec<u8> {
    let data: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
    array("<f4", 4, &data)
}

/// The dict of a written file, and what follows it.
#[track_caller]
pub fn split(bytes: &[u8]) -> (String, Vec<u8>) {
    assert!(bytes.starts_with(b"\x93NUMPY\x01\x00"), "{bytes:x?}");
    let end = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    assert_eq!(end % 64, 0, "elements are aligned");
    assert_eq!(bytes[end - 1], b'\n');
    let text = str::from_utf8(&bytes[10..end]).expect("the header is ASCII");
    (text.trim_end().to_owned(), bytes[end..].to_vec())
}

pub fn exists(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}
