//! The header: what it says, how it is read, how it is written.

use super::{ALIGN, Error, MAGIC, MAX_DIMENSIONS};
use quarter::error::Name;
use std::fmt;
use std::io::{self, Write};

/// Digits that `numpy.save` leaves room for in the dimension that may grow.
const GROWTH_DIGITS: usize = 21;

/// The element types that the command line knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    /// f64.
    F64,
    /// f32.
    F32,
    /// f16.
    F16,
    /// One byte: `u1`, or `V1` and `f1`, as ml_dtypes' arrays are saved.
    U8,
    /// Two bytes: `u2`, or `V2`, as ml_dtypes' bfloat16 is saved.
    U16,
}

impl Dtype {
    /// What `descr` says after the byte order; the first name of a type is the one written.
    const NAMES: [(&'static str, Self); 8] = [
        ("f8", Self::F64),
        ("f4", Self::F32),
        ("f2", Self::F16),
        ("u1", Self::U8),
        ("u2", Self::U16),
        ("V1", Self::U8),
        ("f1", Self::U8),
        ("V2", Self::U16),
    ];

    /// Bytes of an element.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::U16 => 2,
            Self::U8 => 1,
        }
    }

    /// The name that NumPy gives it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::F64 => "float64",
            Self::F32 => "float32",
            Self::F16 => "float16",
            Self::U8 => "uint8",
            Self::U16 => "uint16",
        }
    }

    /// The `descr` of a little-endian array.
    fn descr(self) -> String {
        let order = if self.size() == 1 { '|' } else { '<' };
        let name = Self::NAMES.iter().find(|(_, dtype)| *dtype == self).map_or("", |row| row.0);
        format!("{order}{name}")
    }

    /// The type and whether it is big-endian.
    fn parse(descr: &str) -> Option<(Self, bool)> {
        let (order, name) = descr.split_at_checked(1)?;
        let dtype = Self::NAMES.iter().find(|row| row.0 == name)?.1;
        match order {
            "<" => Some((dtype, false)),
            ">" => Some((dtype, true)),
            "|" if dtype.size() == 1 || name == "V2" => Some((dtype, false)),
            _ => None,
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The element type.
    pub dtype: Dtype,
    /// Whether elements are stored with the high byte first. Written files never are.
    pub big_endian: bool,
    /// Whether the first index varies fastest.
    pub fortran_order: bool,
    /// The dimensions; none for a scalar.
    pub shape: Vec<u64>,
}

impl Header {
    /// The number of elements.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if they, or those of a shape without its zeros, take 2^63 bytes.
    pub fn elements(&self) -> Result<u64, Error> {
        let mut bytes = self.dtype.size() as u64;
        for dimension in self.shape.iter().filter(|dimension| **dimension != 0) {
            let product = bytes.checked_mul(*dimension).filter(|b| i64::try_from(*b).is_ok());
            bytes = product.ok_or(Error::TooLarge)?;
        }
        let empty = self.shape.contains(&0);
        Ok(if empty { 0 } else { bytes / self.dtype.size() as u64 })
    }

    /// The shape as Python writes it.
    #[must_use]
    pub fn shape_text(&self) -> String {
        let dimensions: Vec<_> = self.shape.iter().map(u64::to_string).collect();
        let comma = if self.shape.len() == 1 { "," } else { "" };
        format!("({}{comma})", dimensions.join(", "))
    }

    /// Writes the start of a little-endian file, up to the first element.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write(&self, mut out: impl Write) -> io::Result<()> {
        let order = if self.fortran_order { "True" } else { "False" };
        let (descr, shape) = (self.dtype.descr(), self.shape_text());
        let mut text =
            format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}");
        let growing = if self.fortran_order { self.shape.last() } else { self.shape.first() };
        let digits = growing.map_or(GROWTH_DIGITS, |dimension| dimension.to_string().len());
        text.push_str(&" ".repeat(GROWTH_DIGITS.saturating_sub(digits)));
        let prefix = MAGIC.len() + 4;
        let total = (prefix + text.len() + 1).next_multiple_of(ALIGN);
        text.push_str(&" ".repeat(total - prefix - text.len() - 1));
        text.push('\n');
        let length = u16::try_from(text.len()).map_err(io::Error::other)?;
        out.write_all(MAGIC)?;
        out.write_all(&[1, 0])?;
        out.write_all(&length.to_le_bytes())?;
        out.write_all(text.as_bytes())
    }
}

/// The part of Python's grammar that headers are written in.
pub(super) struct Parser<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Parser<'a> {
    pub(super) const fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }

    /// `{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }`, the keys in any order.
    pub(super) fn header(mut self) -> Result<Header, Error> {
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        self.expect(b'{', "'{'")?;
        while !self.eat(b'}') {
            let at = self.at;
            let key = self.string("a key or '}'")?;
            self.expect(b':', "':'")?;
            let new = match key {
                b"descr" => descr.replace(self.string("a dtype in quotes")?).is_none(),
                b"fortran_order" => fortran_order.replace(self.boolean()?).is_none(),
                b"shape" => shape.replace(self.shape()?).is_none(),
                _ => false,
            };
            if !new {
                let expected = "descr, fortran_order and shape, once each,";
                return Err(Error::Header { expected, at });
            }
            if !self.eat(b',') {
                self.expect(b'}', "',' or '}'")?;
                break;
            }
        }
        self.skip_space();
        if self.at < self.text.len() {
            return self.fail("nothing more");
        }
        let (Some(descr), Some(fortran_order), Some(shape)) = (descr, fortran_order, shape) else {
            return self.fail("descr, fortran_order and shape");
        };
        let descr = String::from_utf8_lossy(descr);
        let (dtype, big_endian) =
            Dtype::parse(&descr).ok_or_else(|| Error::Dtype(Name::new(&descr)))?;
        Ok(Header { dtype, big_endian, fortran_order, shape })
    }

    fn boolean(&mut self) -> Result<bool, Error> {
        self.skip_space();
        for (word, value) in [(&b"True"[..], true), (b"False", false)] {
            if self.text[self.at..].starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
        }
        self.fail("True or False")
    }

    /// `()`, `(2,)`, `(2, 3)`; numbers may carry the L of Python 2.
    fn shape(&mut self) -> Result<Vec<u64>, Error> {
        let mut shape = Vec::new();
        self.expect(b'(', "'('")?;
        while !self.eat(b')') {
            shape.push(self.dimension()?);
            if !self.eat(b',') {
                if shape.len() == 1 {
                    return self.fail("','");
                }
                self.expect(b')', "',' or ')'")?;
                break;
            }
        }
        if shape.len() > MAX_DIMENSIONS {
            return Err(Error::Dimensions(shape.len()));
        }
        Ok(shape)
    }

    fn dimension(&mut self) -> Result<u64, Error> {
        self.skip_space();
        let rest = &self.text[self.at..];
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number = str::from_utf8(&rest[..digits]).ok().and_then(|text| text.parse().ok());
        let Some(number) = number.filter(|n| i64::try_from(*n).is_ok()) else {
            return self.fail("a dimension from 0 to 2^63 - 1");
        };
        self.at += digits;
        if self.text.get(self.at) == Some(&b'L') {
            self.at += 1;
        }
        Ok(number)
    }

    /// A string without escapes.
    fn string(&mut self, expected: &'static str) -> Result<&'a [u8], Error> {
        self.skip_space();
        let rest = &self.text[self.at..];
        let Some(quote @ (b'\'' | b'"')) = rest.first() else { return self.fail(expected) };
        let body = &rest[1..];
        let end = body.iter().position(|byte| byte == quote || matches!(byte, b'\\' | b'\n'));
        match end {
            Some(end) if body[end] == *quote => {
                self.at += end + 2;
                Ok(&body[..end])
            }
            Some(_) | None => self.fail("a string without escapes"),
        }
    }

    fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), Error> {
        if self.eat(byte) { Ok(()) } else { self.fail(expected) }
    }

    fn eat(&mut self, byte: u8) -> bool {
        self.skip_space();
        let found = self.text.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    fn skip_space(&mut self) {
        let space = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        self.at += self.text[self.at..].iter().take_while(space).count();
    }

    fn fail<T>(&self, expected: &'static str) -> Result<T, Error> {
        Err(Error::Header { expected, at: self.at })
    }
}
