//! The one error type. Numeric surprises (saturation, flush to zero, NaN) are not errors: they
//! are counted in [`QuantStats`](crate::slice::QuantStats).

use core::fmt;

/// `core::result::Result` with this crate's [`Error`].
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// What a caller can do wrong. Every message names the operand and both numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// Two slices that belong together differ in length.
    Length {
        /// The operand that is wrong.
        what: &'static str,
        /// The length it should have.
        expected: usize,
        /// The length it has.
        got: usize,
    },
    /// A NaN met a format without NaN under [`NanPolicy::Error`](crate::NanPolicy::Error).
    Nan {
        /// The format without NaN.
        format: &'static str,
        /// Index of the first NaN; 0 for a scalar.
        index: usize,
    },
    /// A number is outside the range it must be in.
    Range {
        /// What the number is.
        what: &'static str,
        /// The number.
        got: i64,
        /// The smallest allowed.
        min: i64,
        /// The largest allowed.
        max: i64,
    },
    /// A stochastic rounding was asked for, but no random words were given.
    RandomMissing,
    /// A slice holds codes of another width than the format has.
    CodeWidth {
        /// The format.
        format: &'static str,
        /// Bits of the slice's elements that the format needs.
        expected: u32,
        /// Bits of the slice's elements.
        got: u32,
    },
    /// The format has no packed form: only 4- and 6-bit formats do.
    NotPackable {
        /// The format.
        format: &'static str,
        /// Its width in bits.
        bits: u32,
    },
    /// A code with bits set above the format's width.
    Code {
        /// The format.
        format: &'static str,
        /// Its width in bits.
        bits: u32,
        /// The code.
        got: u32,
    },
    /// A name is not in the table.
    Name {
        /// What kind of thing was named, with the names that exist.
        what: &'static str,
        /// The name given (cut to 32 bytes).
        got: Name,
    },
    /// A matrix has another shape than it must have.
    Shape {
        /// The operand that is wrong.
        what: &'static str,
        /// The rows and columns it should have.
        expected: (usize, usize),
        /// Those it has.
        got: (usize, usize),
    },
    /// A strided matrix reaches beyond its slice.
    Strides {
        /// Rows and columns of the matrix.
        shape: (usize, usize),
        /// Distance of rows and of columns.
        strides: (usize, usize),
        /// Length of the slice.
        len: usize,
    },
    /// A format, granularity, rule and rounding that do not go together.
    Cast {
        /// What is wrong, and what to change.
        why: &'static str,
    },
    /// A recipe that cannot be carried out.
    Recipe {
        /// The part of the recipe.
        field: &'static str,
        /// What is wrong, and what to change.
        why: &'static str,
    },
    /// A matrix unit that does not multiply these operands.
    Unit {
        /// The unit.
        unit: &'static str,
        /// What it multiplies.
        expected: &'static str,
        /// What it was given.
        got: &'static str,
    },
    /// A saved state that does not fit.
    State {
        /// What is wrong.
        what: &'static str,
        /// The number it should be.
        expected: u64,
        /// The number it is.
        got: u64,
    },
    /// There is not enough memory.
    Memory {
        /// What was to be allocated.
        what: &'static str,
        /// The number of its elements.
        elements: usize,
    },
    /// A text is no number.
    Parse {
        /// The text given (cut to 32 bytes).
        got: Name,
    },
}

/// Up to 32 bytes of a text that was not understood; kept without an allocator.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Name {
    bytes: [u8; 32],
    len: u8,
    cut: bool,
}

impl Name {
    /// The first 32 bytes of `text`, cut at a character boundary.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut len = text.len().min(32);
        while !text.is_char_boundary(len) {
            len -= 1;
        }
        let mut bytes = [0; 32];
        bytes[..len].copy_from_slice(&text.as_bytes()[..len]);
        Self { bytes, len: len as u8, cut: len < text.len() }
    }

    /// The text kept.
    #[must_use]
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or("")
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}{}", self.as_str(), if self.cut { "..." } else { "" })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { what, expected, got } => {
                write!(f, "{what} has {got} elements, but {expected} are needed")
            }
            Self::Nan { format, index } => {
                write!(f, "element {index} is NaN, and {format} has no NaN")
            }
            Self::Range { what, got, min, max } => {
                write!(f, "{what} is {got}, outside {min}..={max}")
            }
            Self::RandomMissing => {
                f.write_str("stochastic rounding needs random words, and none were given")
            }
            Self::CodeWidth { format, expected, got } => {
                write!(f, "codes of {format} are u{expected}, not u{got}")
            }
            Self::NotPackable { format, bits } => {
                write!(f, "{format} has {bits} bits; only 4- and 6-bit codes are packed")
            }
            Self::Code { format, bits, got } => {
                write!(f, "code {got:#x} does not fit the {bits} bits of {format}")
            }
            Self::Shape { what, expected: (r, c), got: (gr, gc) } => {
                write!(f, "{what} is {gr} x {gc}, but {r} x {c} is needed")
            }
            Self::Strides { shape: (rows, cols), strides: (r, c), len } => write!(
                f,
                "a {rows} x {cols} matrix with strides {r} and {c} does not fit a slice of {len}"
            ),
            Self::Cast { why } => f.write_str(why),
            Self::Recipe { field, why } => write!(f, "recipe, {field}: {why}"),
            Self::Unit { unit, expected, got } => {
                write!(f, "the unit {unit} multiplies {expected}, not {got}")
            }
            Self::State { what, expected, got } => {
                write!(f, "state: {what} is {got}, but {expected} is needed")
            }
            Self::Memory { what, elements } => {
                write!(f, "not enough memory for {what} of {elements} elements")
            }
            Self::Name { what, got } => write!(f, "{got:?} is no {what}"),
            Self::Parse { got } => write!(f, "{got:?} is no number"),
        }
    }
}

impl core::error::Error for Error {}
