//! Comparing what another engine gave with what is given here.

use super::describe;
use super::naive::{self, Naive};
use super::npy::{Array, Data};
use super::scaling::{Case, Stored};
use quarter::scale::{Rule, ScaleFormat};
use quarter::tensor::Cast;
use quarter::{FormatId, FormatSpec};

/// What was compared in a case, and what was not.
#[derive(Clone, Copy, Debug, Default)]
pub struct Notes {
    pub scales: usize,
    pub codes: usize,
    /// Dequantized values.
    pub values: usize,
    /// Scales one exponent off where the engine takes a f32 log2; their codes are not compared.
    pub log2: usize,
    /// Groups left out as the engine itself differs from its kernel there.
    pub edges: usize,
}

impl Notes {
    pub fn add(&mut self, other: Self) {
        self.scales += other.scales;
        self.codes += other.codes;
        self.values += other.values;
        self.log2 += other.log2;
        self.edges += other.edges;
    }
}

/// One scale, in the form that a case stores.
#[derive(Clone, Copy)]
pub enum Scale {
    F32(f32),
    Byte(u8),
}

impl Scale {
    fn same(self, other: Self) -> bool {
        match (self, other) {
            (Self::F32(a), Self::F32(b)) => same(a, b),
            (Self::Byte(a), Self::Byte(b)) => a == b,
            _ => panic!("scales of two kinds"),
        }
    }

    /// The exponent of a power of two, with that of Inf one above the largest.
    fn exponent(self) -> Option<i32> {
        match self {
            Self::Byte(255) => None,
            Self::Byte(byte) => Some(i32::from(byte) - 127),
            Self::F32(f32::INFINITY) => Some(128),
            Self::F32(x) => (-149..128).find(|e| f64::from(x) == 2f64.powi(*e)),
        }
    }

    fn show(self) -> String {
        match self {
            Self::F32(x) => format!("{:08x} ({x:e})", x.to_bits()),
            Self::Byte(x) => format!("byte {x:#04x} = {x}"),
        }
    }
}

/// The same bits, or NaN both.
pub fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
}

/// Whether an f32 log2 may take this amax for one on the other side of a power of two: the exact
/// logarithm is nearer to an integer than two ulp of an f32 of that size, after a quotient that is
/// two ulp off (torch divides a number by a tensor with a reciprocal and a product).
fn log2_decides(rule: Rule, spec: &FormatSpec, amax: f32) -> bool {
    let (max, amax) = (spec.max(), f64::from(amax));
    let log2 = match rule {
        Rule::TorchAoPow2 => (max / amax.max(1e-12)).log2(),
        Rule::DeepSeekUe8m0 => (amax.max(f64::from(1e-4_f32)) / max).log2(),
        Rule::MsAmp => (max / amax).log2(),
        Rule::Microxcaling => amax.log2(),
        _ => return false,
    };
    (log2 - log2.round()).abs() < 2f64.powi(-22) + 2f64.powi(-23) * log2.abs()
}

/// Whether two scales are the same, or `Ok(false)` if they differ as the README says they may.
pub fn compare_scales(
    case: &Case,
    rule: Rule,
    spec: &FormatSpec,
    amax: f32,
    got: Scale,
    want: Scale,
) -> Result<bool, String> {
    if got.same(want) {
        return Ok(true);
    }
    let apart = got.exponent().zip(want.exponent()).map(|(a, b)| a.abs_diff(b));
    if apart == Some(1) && case.through_log2() && log2_decides(rule, spec, amax) {
        return Ok(false);
    }
    let (got, want) = (got.show(), want.show());
    Err(format!("amax {:08x} ({amax:e})\n  got  {got}\n  want {want}", amax.to_bits()))
}

/// Codes and scales that an engine gave for a matrix.
pub struct Want<'a> {
    pub cast: Cast,
    pub shape: (usize, usize),
    pub x: &'a [f32],
    pub stored: Stored,
    pub scales: Vec<Scale>,
    pub codes: &'a [u8],
    pub values: Option<&'a [f32]>,
}

/// Fails at the first scale, code or value that differs.
pub fn compare(
    case: &Case,
    path: &str,
    got: &Naive,
    values: &[f32],
    want: &Want,
) -> Result<Notes, String> {
    let (rows, cols) = want.shape;
    let (cast, spec) = (want.cast, want.cast.format.spec());
    let at = |i: usize| naive::group(&cast, rows, cols, i / cols, i % cols);
    let scale = |g: usize| match want.stored {
        Stored::Encode => Scale::F32(got.scale[g]),
        Stored::Decode => Scale::F32(got.scale_inv[g]),
        Stored::Byte => Scale::Byte(got.bytes[g]),
    };
    let lengths = (want.scales.len(), want.codes.len());
    if lengths != (got.scale_inv.len(), got.codes.len()) {
        return Err(format!("{path}, {cast}: not {lengths:?} scales and codes"));
    }
    let mut notes = Notes::default();
    let mut skipped = vec![false; lengths.0];
    if case.finite_only() {
        for (i, _) in want.x.iter().enumerate().filter(|(_, x)| !x.is_finite()) {
            skipped[at(i)] = true;
        }
        notes.edges = skipped.iter().filter(|s| **s).count();
    }
    for (g, skipped) in skipped.iter_mut().enumerate().filter(|(_, skipped)| !**skipped) {
        notes.scales += 1;
        let (amax, stored) = (got.amax[g], want.stored);
        let same = compare_scales(case, cast.rule, spec, amax, scale(g), want.scales[g]);
        let note = |why| format!("{path}, {cast} of {rows} x {cols}, {stored:?} scale {g}: {why}");
        if !same.map_err(note)? {
            notes.log2 += 1;
            *skipped = true;
        }
    }
    for i in (0..lengths.1).filter(|i| !skipped[at(*i)]) {
        let element = || {
            let (row, col, x) = (i / cols, i % cols, want.x[i]);
            let x = format!("x[{row}, {col}] = {:08x} ({x:e})", x.to_bits());
            format!("{path}, {cast} of {rows} x {cols}, {x}, scale {}", scale(at(i)).show())
        };
        notes.codes += 1;
        let [a, b] = [got.codes[i], want.codes[i]].map(u64::from);
        let nan = |code| spec.decode_f64(code).is_nan();
        if a != b && !(nan(a) && nan(b)) {
            let (a, b) = (describe(spec, a), describe(spec, b));
            return Err(format!("{}\n  got  {a}\n  want {b}", element()));
        }
        if let Some(want) = want.values {
            notes.values += 1;
            let [a, b] = [values[i], want[i]];
            if !same(a, b) {
                let (a, b) = (Scale::F32(a).show(), Scale::F32(b).show());
                return Err(format!("{}, back to f32\n  got  {a}\n  want {b}", element()));
            }
        }
    }
    Ok(notes)
}

/// The scales of a case, one for each group, in the form that the rule has.
pub fn stored_scales(scales: &Array, cast: &Cast) -> Vec<Scale> {
    let power = |byte: u8| FormatId::E8M0.spec().decode_f32(byte.into());
    match (&scales.data, cast.rule.scale_format()) {
        (Data::F32(values), ScaleFormat::F32) => values.iter().copied().map(Scale::F32).collect(),
        // Four bytes in a word, the first one lowest.
        (Data::I32(words), ScaleFormat::F32) => {
            words.iter().flat_map(|word| word.to_le_bytes()).map(|b| Scale::F32(power(b))).collect()
        }
        // A tile's scale stands in each of its rows.
        (Data::U8(bytes), ScaleFormat::E4M3) if cast.granularity.block(1, 1).0 > 1 => {
            let (tile, width) = (cast.granularity.block(1, 1).0, *scales.shape.last().unwrap());
            let tiles = bytes.chunks(width * tile);
            tiles.flat_map(|tile| &tile[..width]).copied().map(Scale::Byte).collect()
        }
        (Data::U8(bytes), ScaleFormat::E4M3 | ScaleFormat::E8M0) => {
            bytes.iter().copied().map(Scale::Byte).collect()
        }
        _ => panic!("scales of another type"),
    }
}
