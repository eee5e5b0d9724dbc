//! What is wrong, as a diagnosis.

use super::Symptom;
use super::extra::Extra;
use crate::accuracy::bounds::Bound;
use crate::format::FormatSpec;
use crate::slice::Values;
use core::fmt;
use std::string::{String, ToString};
use std::vec::Vec;

/// An element that is wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Element {
    /// Its index.
    pub index: usize,
    /// What was found.
    pub actual: f64,
    /// What should have been.
    pub expected: f64,
    /// How far the two might be from each other.
    pub bound: Bound,
    /// Both as codes, where they are.
    pub codes: Option<[u64; 2]>,
}

impl Element {
    /// actual − expected.
    #[must_use]
    pub fn error(&self) -> f64 {
        self.actual - self.expected
    }

    /// |error| / bound; Inf where it is NaN.
    #[must_use]
    pub fn part(&self) -> f64 {
        let part = self.error().abs() / self.bound.total();
        if part.is_nan() { f64::INFINITY } else { part }
    }
}

/// The type that numbers are printed as.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    F64,
    F32,
    F16,
    Bf16,
    Codes(FormatSpec),
    /// Integers of this many bits, of no known format.
    Bits(u32),
}

impl Kind {
    /// A number as decimal and bits.
    fn show(&self, x: f64, code: Option<u64>) -> String {
        match (self, code) {
            (Self::Codes(spec), Some(code)) if code & !spec.code_mask() != 0 => {
                std::format!(
                    "{code:#04x}: no code of {}, which has {} bits",
                    spec.name(),
                    spec.bits()
                )
            }
            (Self::Bits(bits), Some(code)) => {
                let digits = *bits as usize / 4;
                std::format!("0x{code:0digits$x} = 0b{code:0bits$b}", bits = *bits as usize)
            }
            (Self::Codes(spec), Some(code)) => {
                std::format!("{x:e} (code {code:#04x} = {})", fields(spec, code))
            }
            (Self::F32, _) => std::format!("{x:e} (0x{:08x})", (x as f32).to_bits()),
            (Self::F16, _) => {
                std::format!("{x:e} (0x{:04x})", half::f16::from_f32(x as f32).to_bits())
            }
            (Self::Bf16, _) => {
                std::format!("{x:e} (0x{:04x})", half::bf16::from_f32(x as f32).to_bits())
            }
            (Self::F64 | Self::Codes(_) | Self::Bits(_), _) => {
                std::format!("{x:e} (0x{:016x})", x.to_bits())
            }
        }
    }
}

/// A code as sign|exponent|mantissa in binary.
fn fields(spec: &FormatSpec, code: u64) -> String {
    let man = spec.man_bits() as usize;
    let exponent = (code & spec.magnitude_mask()) >> man;
    let mut text = String::new();
    if spec.signed() {
        text += &std::format!("{}|", u8::from(code & spec.sign_mask() != 0));
    }
    text += &std::format!("{exponent:0w$b}", w = spec.exp_bits() as usize);
    if man > 0 {
        text += &std::format!("|{:0man$b}", code & ((1 << man) - 1));
    }
    text
}

/// What is wrong: which elements, by how much, where they lie, and what explains them.
///
/// `Debug` is the same text as `Display`, so that an `unwrap` shows it.
#[derive(Clone, PartialEq)]
pub struct Violation {
    elements: Vec<Element>,
    count: usize,
    pub(super) cols: usize,
    kind: Kind,
    /// Lengths of actual and expected that differ.
    lengths: Option<(usize, usize)>,
    pub(super) symptoms: Vec<Symptom>,
    pub(super) extra: Extra,
}

impl Violation {
    pub(super) const fn new(elements: Vec<Element>, count: usize, cols: usize, kind: Kind) -> Self {
        let lengths = None;
        Self { elements, count, cols, kind, lengths, symptoms: Vec::new(), extra: Extra::EMPTY }
    }

    pub(super) fn of_lengths(actual: usize, expected: usize) -> Self {
        let lengths = Some((actual, expected));
        Self { lengths, ..Self::new(Vec::new(), 0, 0, Kind::F64) }
    }

    pub(super) const fn kind_of(values: Values<'_>) -> Kind {
        match values {
            Values::F64(_) => Kind::F64,
            Values::F32(_) => Kind::F32,
            Values::F16(_) => Kind::F16,
            Values::Bf16(_) => Kind::Bf16,
        }
    }

    /// The elements that are wrong, in order.
    #[must_use]
    pub fn elements(&self) -> &[Element] {
        &self.elements
    }

    /// How many elements were held to bounds, wrong and right.
    #[must_use]
    pub const fn checked(&self) -> usize {
        self.count
    }

    /// What explains them; empty where nothing known does.
    #[must_use]
    pub fn symptoms(&self) -> &[Symptom] {
        &self.symptoms
    }

    /// The elements that a message shows: the first, and another one that is worst.
    pub(super) fn shown(&self) -> [Option<(&'static str, &Element)>; 2] {
        let worst = self.elements.iter().max_by(|x, y| x.part().total_cmp(&y.part()));
        let first = self.elements.first();
        let worst = worst.filter(|worst| Some(worst.index) != first.map(|first| first.index));
        [first.map(|first| ("first", first)), worst.map(|worst| ("worst", worst))]
    }

    /// Row and column of an index, where that is one of a matrix.
    pub(super) const fn place(&self, index: usize) -> (usize, usize) {
        let cols = if self.cols == 0 { 1 } else { self.cols };
        (index / cols, index % cols)
    }

    /// Where the elements lie, in words.
    fn pattern(&self) -> Option<String> {
        let indices = || self.elements.iter().map(|element| element.index);
        if self.elements.len() == self.count {
            return Some("all elements".to_string());
        }
        let one = |of: &dyn Fn(usize) -> usize| {
            let first = of(self.elements.first()?.index);
            indices().all(|i| of(i) == first).then_some(first)
        };
        if self.elements.len() < 2 {
            return None;
        }
        if self.cols > 1 {
            if let Some(row) = one(&|i| self.place(i).0) {
                return Some(std::format!("all in row {row}"));
            }
            if let Some(col) = one(&|i| self.place(i).1) {
                return Some(std::format!("all in column {col}"));
            }
        }
        // A period that all have in common, of columns or of indices, and that they fill.
        let along = |i: usize| if self.cols > 1 { self.place(i).1 } else { i };
        let places: std::collections::BTreeSet<usize> = indices().map(along).collect();
        let (first, last) = (*places.first()?, *places.last()?);
        let period = places.iter().fold(0, |period, at| gcd(period, at - first));
        if period > 1 && places.len() > 2 && 2 * places.len() > (last - first) / period {
            let what = if self.cols > 1 { "columns" } else { "elements" };
            return Some(std::format!("every {period} {what}, from {first} on"));
        }
        let last = self.count - 1;
        let length = last - self.elements.first()?.index + 1;
        if length == self.elements.len() {
            return Some(std::format!("all of the last {length} elements"));
        }
        None
    }
}

const fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(why) = self.extra.refused() {
            return write!(f, "nothing was checked: {why}");
        }
        if let Some((actual, expected)) = self.lengths {
            return write!(f, "{actual} elements, but {expected} are expected");
        }
        let wrong = self.elements.len();
        write!(f, "{wrong} of {} {} are wrong", self.count, self.extra.what())?;
        if let Some(pattern) = self.pattern() {
            write!(f, ", {pattern}")?;
        }
        for symptom in &self.symptoms {
            write!(f, "\n  symptom: {symptom}")?;
        }
        self.extra.write_lines(f)?;
        for (name, element) in self.shown().into_iter().flatten() {
            write!(f, "\n  {name}: [{}]", element.index)?;
            if self.cols > 0 {
                let (row, col) = self.place(element.index);
                write!(f, " = ({row}, {col})")?;
            }
            let [actual, expected] = match element.codes {
                Some([actual, expected]) => [Some(actual), Some(expected)],
                None => [None, None],
            };
            write!(f, "\n    actual   {}", self.kind.show(element.actual, actual))?;
            write!(f, "\n    expected {}", self.kind.show(element.expected, expected))?;
            write!(f, "\n    error    {:e}", element.error())?;
            if element.codes.is_none() {
                let part = element.part();
                if part < 1e6 {
                    write!(f, " = {part:.3} x bound")?;
                } else {
                    write!(f, " = {part:.3e} x bound")?;
                }
                write!(f, "\n    bound    {}", element.bound)?;
            }
            self.extra.write_note(f, element.index)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl core::error::Error for Violation {}
