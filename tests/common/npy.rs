//! The part of numpy's file format that the golden data uses: version 1.0, C order, little endian.

use super::golden;
use std::path::Path;

/// The elements of an array.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    U8(Vec<u8>),
    I16(Vec<i16>),
    I32(Vec<i32>),
    F32(Vec<f32>),
    F64(Vec<f64>),
}

/// An array of any rank.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    pub shape: Vec<usize>,
    pub data: Data,
}

impl Array {
    pub fn read(path: &Path) -> Self {
        Self::parse(&golden::read(path))
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    pub fn parse(file: &[u8]) -> Result<Self, String> {
        let rest = file.strip_prefix(b"\x93NUMPY\x01\x00").ok_or("no npy file of version 1.0")?;
        let (len, rest) = rest.split_first_chunk::<2>().ok_or("no header")?;
        let len = usize::from(u16::from_le_bytes(*len));
        let (header, body) = rest.split_at_checked(len).ok_or("a header cut short")?;
        let header = std::str::from_utf8(header).map_err(|error| error.to_string())?;
        // The value behind a key, up to `end`.
        let value = |key: &str, end: char| {
            let from = header.find(key).ok_or_else(|| format!("no {key} in {header}"))?;
            let rest = &header[from + key.len()..];
            rest.find(end).map(|to| &rest[..to]).ok_or_else(|| format!("no end of {key}"))
        };
        if value("'fortran_order': ", ',')? != "False" {
            return Err("not in C order".into());
        }
        let extents = value("'shape': (", ')')?;
        let shape = extents.split(',').map(str::trim).filter(|extent| !extent.is_empty());
        let shape = shape.map(|extent| extent.parse::<usize>().map_err(|error| error.to_string()));
        let shape = shape.collect::<Result<Vec<_>, _>>()?;
        macro_rules! read {
            ($type:ty) => {{
                let (chunks, tail) = body.as_chunks::<{ size_of::<$type>() }>();
                if !tail.is_empty() {
                    return Err("half an element".into());
                }
                chunks.iter().map(|bytes| <$type>::from_le_bytes(*bytes)).collect::<Vec<_>>()
            }};
        }
        let (data, len) = match value("'descr': '", '\'')? {
            "|u1" => (Data::U8(body.to_vec()), body.len()),
            "<i2" => (Data::I16(read!(i16)), body.len() / 2),
            "<i4" => (Data::I32(read!(i32)), body.len() / 4),
            "<f4" => (Data::F32(read!(f32)), body.len() / 4),
            "<f8" => (Data::F64(read!(f64)), body.len() / 8),
            other => return Err(format!("type {other}")),
        };
        let expected: usize = shape.iter().product();
        if len != expected {
            return Err(format!("{len} elements for the shape {shape:?}"));
        }
        Ok(Self { shape, data })
    }

    /// Its elements, which must be f32.
    #[track_caller]
    pub fn f32(&self) -> &[f32] {
        let Data::F32(values) = &self.data else { panic!("not of f32") };
        values
    }

    /// Its elements, which must be bytes.
    #[track_caller]
    pub fn u8(&self) -> &[u8] {
        let Data::U8(values) = &self.data else { panic!("not of bytes") };
        values
    }

    /// Its elements, which must be i16.
    #[track_caller]
    pub fn i16(&self) -> &[i16] {
        let Data::I16(values) = &self.data else { panic!("not of i16") };
        values
    }

    /// Its elements, which must be i32.
    #[track_caller]
    pub fn i32(&self) -> &[i32] {
        let Data::I32(values) = &self.data else { panic!("not of i32") };
        values
    }
}
