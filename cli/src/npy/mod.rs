//! NumPy's `.npy` files, read from bytes that nobody vouches for, and written.
//!
//! A file is a magic number, a version, the length of a header, the header (a Python dict literal
//! with the keys `descr`, `fortran_order` and `shape`), then the elements.
//!
//! **Why not a crate.** `npyz` 0.9.1 multiplies the shape unchecked: a file that says
//! `(4294967296, 4294967296)` panics in a debug build and is an *empty array* in a release build,
//! so that a cast of it would succeed. It reads element by element and brings 27 crates, a parser
//! generator among them, for a dict with three keys. `ndarray-npy` 0.10 allocates whatever header
//! length a file claims, up to 4 GiB, before it reads, and wants `ndarray` and the same parser.
//!
//! What holds here: memory grows with what has been read and never with what a header claims; the
//! shape is kept as it stands, and checked as NumPy checks it; the bytes after the header are
//! exactly those of the elements, no fewer and no more. Files written are byte for byte those of
//! `numpy.save`.

mod header;

use header::Parser;
pub use header::{Dtype, Header};
use quarter::error::Name;
use std::fmt;
use std::io::{self, Read};

const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// The longest header read: all that version 1 can say. NumPy itself stops at 10 000 bytes.
const MAX_HEADER: u64 = 65_535;
/// NumPy's limit.
const MAX_DIMENSIONS: usize = 64;
/// What `numpy.save` aligns the data to.
const ALIGN: usize = 64;

/// What is wrong with a file.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// Reading failed.
    Io(io::Error),
    /// The file does not start with the magic number.
    Magic,
    /// A version other than 1.0, 2.0 and 3.0.
    Version(u8, u8),
    /// The header is said to be longer than any that describes an array.
    HeaderLength(u64),
    /// The header is not the dict that it should be.
    Header {
        /// What was expected.
        expected: &'static str,
        /// At which byte of the header.
        at: usize,
    },
    /// An element type that is not one of [`Dtype`].
    Dtype(Name),
    /// More dimensions than NumPy allows.
    Dimensions(usize),
    /// More bytes than a signed 64-bit number counts, as NumPy has it.
    TooLarge,
    /// The file ends early.
    Truncated {
        /// Where it ends.
        what: &'static str,
        /// The bytes that this part should have.
        expected: u64,
        /// The bytes that it has.
        got: u64,
    },
    /// Something follows the elements.
    Trailing {
        /// The bytes of the elements.
        expected: u64,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Magic => f.write_str("not an .npy file: the magic number is missing"),
            Self::Version(major, minor) => {
                write!(f, ".npy version {major}.{minor}, but 1.0, 2.0 and 3.0 are known")
            }
            Self::HeaderLength(got) => {
                write!(f, "header of {got} bytes, but {MAX_HEADER} are the most")
            }
            Self::Header { expected, at } => {
                write!(f, "bad header: {expected} expected at byte {at} of it")
            }
            Self::Dtype(name) => {
                write!(f, "dtype {name:?} is not one of f8, f4, f2, u1, u2 (or V1, f1, V2)")
            }
            Self::Dimensions(got) => {
                write!(f, "{got} dimensions, but {MAX_DIMENSIONS} are the most")
            }
            Self::TooLarge => f.write_str("the shape asks for 2^63 bytes or more"),
            Self::Truncated { what, expected, got } => {
                write!(f, "truncated: {got} of the {expected} bytes of its {what}")
            }
            Self::Trailing { expected } => {
                write!(f, "more bytes follow the {expected} that its shape asks for")
            }
        }
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A file whose header has been read, and whose elements follow.
#[derive(Debug)]
pub struct Reader<R> {
    source: R,
    header: Header,
    /// Bytes of all elements.
    bytes: u64,
    /// Those read.
    read: u64,
}

impl<R: Read> Reader<R> {
    /// Reads the header. `len` is the length of the whole file where that is known: then a file
    /// that is too short or too long is refused before any element is read.
    ///
    /// # Errors
    /// Whatever is wrong with the header or the length.
    pub fn new(mut source: R, len: Option<u64>) -> Result<Self, Error> {
        let start = read_part(&mut source, 8, "magic number")?;
        let [m0, m1, m2, m3, m4, m5, major, minor] = start[..] else { return Err(Error::Magic) };
        if [m0, m1, m2, m3, m4, m5] != *MAGIC {
            return Err(Error::Magic);
        }
        let width = match (major, minor) {
            (1, 0) => 2,
            (2 | 3, 0) => 4,
            _ => return Err(Error::Version(major, minor)),
        };
        let digits = read_part(&mut source, width, "header length")?;
        let length = digits.iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte));
        if length > MAX_HEADER {
            return Err(Error::HeaderLength(length));
        }
        let text = read_part(&mut source, length, "header")?;
        let header = Parser::new(&text).header()?;
        let bytes = header.elements()? * header.dtype.size() as u64;
        if let Some(len) = len {
            let got = len.saturating_sub(8 + width + length);
            if got < bytes {
                return Err(Error::Truncated { what: "elements", expected: bytes, got });
            }
            if got > bytes {
                return Err(Error::Trailing { expected: bytes });
            }
        }
        Ok(Self { source, header, bytes, read: 0 })
    }

    /// What the header says.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Replaces `buffer` by the bytes of the next elements, at most `most` of them: 0 at the end.
    ///
    /// # Errors
    /// [`Error::Truncated`] if the file ends within the elements, and [`Error::Trailing`] if it
    /// does not end after them.
    pub fn read(&mut self, buffer: &mut Vec<u8>, most: usize) -> Result<usize, Error> {
        let size = self.header.dtype.size();
        let wanted = (self.bytes - self.read).min((most as u64).saturating_mul(size as u64));
        buffer.clear();
        if wanted == 0 {
            let more = read_upto(&mut self.source, 1, buffer)? != 0;
            buffer.clear();
            return if more { Err(Error::Trailing { expected: self.bytes }) } else { Ok(0) };
        }
        let got = read_upto(&mut self.source, wanted, buffer)?;
        self.read += got;
        if got < wanted {
            let (expected, got) = (self.bytes, self.read);
            return Err(Error::Truncated { what: "elements", expected, got });
        }
        Ok(buffer.len() / size)
    }
}

/// `len` bytes; the buffer grows as they come.
fn read_part(source: impl Read, len: u64, what: &'static str) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let got = read_upto(source, len, &mut bytes)?;
    if got < len {
        return Err(Error::Truncated { what, expected: len, got });
    }
    Ok(bytes)
}

fn read_upto(source: impl Read, len: u64, buffer: &mut Vec<u8>) -> io::Result<u64> {
    source.take(len).read_to_end(buffer).map(|got| got as u64)
}

/// The body of the fuzz target: reads any bytes as a file, and if they are one, holds the reader to
/// its word. Gives the header, so that a test can count the files that were read.
///
/// # Panics
/// If a law does not hold: that is the finding.
pub fn check(bytes: &[u8]) -> Result<Header, Error> {
    let told = Reader::new(bytes, Some(bytes.len() as u64)).map(|reader| reader.header);
    let read = read_all(bytes);
    assert_eq!(told.is_ok(), read.is_ok(), "the length of the file decides the same: {told:?}");
    let (header, elements) = read?;
    let size = header.dtype.size();
    assert_eq!(header.elements()? * size as u64, elements.len() as u64, "{header:?}");
    assert!(bytes.ends_with(&elements), "elements are the end of the file: {header:?}");
    let mut copy = Vec::new();
    header.write(&mut copy)?;
    assert_eq!(copy.len() % ALIGN, 0, "elements are aligned: {header:?}");
    copy.extend_from_slice(&elements);
    let again = Header { big_endian: false, ..header.clone() };
    assert_eq!(read_all(&copy)?, (again, elements), "what is written is read again");
    Ok(header)
}

/// The header and the bytes of all elements, a few at a time.
fn read_all(bytes: &[u8]) -> Result<(Header, Vec<u8>), Error> {
    let mut reader = Reader::new(bytes, None)?;
    let (mut elements, mut buffer) = (Vec::new(), Vec::new());
    while reader.read(&mut buffer, 3)? != 0 {
        elements.extend_from_slice(&buffer);
    }
    Ok((reader.header, elements))
}
