//! What is found, for a terminal.

use super::report::{Bin, CastReport, Report, TensorReport};
use crate::checkpoint::header::show;
use quarter::FormatId;
use quarter::accuracy::exponent;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Formats whose ranges are drawn.
pub const RANGES: [FormatId; 3] = [FormatId::F8E5M2, FormatId::F8E4M3, FormatId::F4E2M1];

/// Lines of a histogram.
const HEIGHT: usize = 5;
/// Columns before it.
const MARGIN: usize = 9;
/// Columns between labels of its axis, at least.
const APART: usize = 9;
/// Parts of a column of blocks, in eighths.
const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// All of it, in lines of at most about `width`.
#[must_use]
pub fn text(report: &Report, width: usize) -> String {
    let mut out = String::new();
    for tensor in &report.tensors {
        tensor_text(&mut out, tensor, width);
    }
    let mut reasons: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for skipped in &report.skipped {
        reasons.entry((&skipped.dtype, skipped.reason)).or_default().push(&skipped.name);
    }
    for ((dtype, reason), names) in reasons {
        let more =
            if names.len() > 1 { format!(" and {} more", names.len() - 1) } else { String::new() };
        let _ = writeln!(out, "not inspected: {}{more} ({dtype}: {reason})", show(names[0]));
    }
    let mut tally: BTreeMap<_, usize> = BTreeMap::new();
    for tensor in &report.tensors {
        *tally.entry(tensor.recommended.cast.as_deref().unwrap_or("none")).or_default() += 1;
    }
    let tally: Vec<_> = tally.iter().map(|(cast, n)| format!("{cast} {n}")).collect();
    let tally = if tally.is_empty() {
        String::new()
    } else {
        format!(" recommended: {}", tally.join(", "))
    };
    let _ = write!(out, "tensors={}{tally}", report.tensors.len());
    out
}

fn tensor_text(out: &mut String, tensor: &TensorReport, width: usize) {
    let shape: Vec<_> = tensor.shape.iter().map(usize::to_string).collect();
    let scales =
        tensor.scales.as_ref().map(|scales| format!(", scales {scales}")).unwrap_or_default();
    let _ = writeln!(out, "{} {}[{}]{scales}", show(&tensor.name), tensor.dtype, shape.join(", "));
    let _ = writeln!(
        out,
        "  amax {}  smallest {}  mean |x| {}  rms {}",
        number(tensor.amax),
        number(tensor.smallest),
        number(tensor.mean_abs),
        number(tensor.rms),
    );
    let _ = writeln!(
        out,
        "  elements {}  zeros {}  NaN {}  Inf {}{}",
        count(tensor.elements),
        count(tensor.zeros),
        count(tensor.nan),
        count(tensor.inf),
        tensor
            .range_log2
            .map(|range| format!("  range {range:.1} powers of two"))
            .unwrap_or_default(),
    );
    if let Some(axis) = Axis::new(&tensor.histogram, width) {
        axis.draw(out, tensor);
    }
    if !tensor.casts.is_empty() {
        table(out, tensor);
    }
    let recommended = tensor.recommended.cast.as_deref().unwrap_or("no cast");
    let _ = writeln!(out, "  {recommended}: {}\n", tensor.recommended.reason);
}

/// Exponents along a line.
struct Axis {
    low: i32,
    /// Exponents of a bar.
    merged: usize,
    /// Columns of a bar.
    wide: usize,
    bars: Vec<u64>,
}

impl Axis {
    fn new(histogram: &[Bin], width: usize) -> Option<Self> {
        let (low, high) = (histogram.first()?.exponent, histogram.last()?.exponent);
        let (room, exponents) = (width.saturating_sub(MARGIN).max(1), (high - low + 1) as usize);
        let merged = exponents.div_ceil(room);
        let count = exponents.div_ceil(merged);
        let mut bars = vec![0; count];
        for bin in histogram {
            bars[(bin.exponent - low) as usize / merged] += bin.count;
        }
        Some(Self { low, merged, wide: (room / count).clamp(1, 3), bars })
    }

    fn draw(&self, out: &mut String, tensor: &TensorReport) {
        let most = self.bars.iter().copied().max().unwrap_or(1);
        for line in (0..HEIGHT).rev() {
            let label = match line {
                _ if line == HEIGHT - 1 => brief(most),
                0 => "1".to_owned(),
                _ => String::new(),
            };
            let blocks: String = self
                .bars
                .iter()
                .map(|bar| {
                    let part = level(*bar, most).saturating_sub(8 * line).min(8);
                    BLOCKS[part].to_string().repeat(self.wide)
                })
                .collect();
            let _ = writeln!(out, "{label:>width$}│{}", blocks.trim_end(), width = MARGIN - 1);
        }
        let _ = writeln!(out, "{:width$}└{}", "", self.labels(), width = MARGIN - 1);
        let Some(amax) = tensor.amax else { return };
        for format in RANGES {
            let (low, high) = range(format, amax);
            let columns = (self.column(low), self.column(high));
            let line = " ".repeat(columns.0) + &"━".repeat(columns.1 + self.wide - columns.0);
            let _ = writeln!(out, "{:>width$} {line}", format.to_string(), width = MARGIN - 1);
        }
    }

    /// The first column of an exponent, or of the nearest that is drawn.
    fn column(&self, exponent: i32) -> usize {
        let bar = usize::try_from(exponent - self.low).unwrap_or(0) / self.merged;
        bar.min(self.bars.len() - 1) * self.wide
    }

    fn labels(&self) -> String {
        let mut line = String::new();
        let mut columns = 0;
        for bar in 0..self.bars.len() {
            let at = bar * self.wide;
            if at >= columns + usize::from(columns > 0) && (bar == 0 || at % APART < self.wide) {
                let text = format!("2^{}", self.low + (bar * self.merged) as i32);
                line.push_str(&" ".repeat(at - columns));
                columns = at + text.len();
                line.push_str(&text);
            }
        }
        line
    }
}

/// The exponents of the smallest and the largest magnitude that a format has, when a scale of the
/// whole tensor brings its amax to the format's largest number.
#[must_use]
pub fn range(format: FormatId, amax: f64) -> (i32, i32) {
    let spec = format.spec();
    let low = amax * (spec.min_positive() / spec.max());
    (if low > 0.0 { exponent(low) } else { exponent(f64::from_bits(1)) }, exponent(amax))
}

/// Eighths of a line of a bar: logarithmic from 1 element on, so that one shows.
fn level(bar: u64, most: u64) -> usize {
    let full = (8 * HEIGHT) as f64;
    match bar {
        0 => 0,
        _ if most == 1 => 8 * HEIGHT,
        _ => 1 + ((full - 1.0) * (bar as f64).ln() / (most as f64).ln()).round() as usize,
    }
}

fn table(out: &mut String, tensor: &TensorReport) {
    let title = ["cast", "bits", "SQNR", "saturates", "flushes"].map(str::to_owned);
    let row = |cast: &CastReport| {
        let spoilt = if cast.spoilt > 0 { "not finite".to_owned() } else { db(cast.sqnr_db) };
        let bits = format!("{:.2}", cast.bits);
        [cast.cast.clone(), bits, spoilt, share(cast.saturated_share), share(cast.flushed_share)]
    };
    let rows: Vec<_> = [title].into_iter().chain(tensor.casts.iter().map(row)).collect();
    let widths: [usize; 5] =
        std::array::from_fn(|i| rows.iter().map(|row| row[i].len()).max().unwrap_or(0));
    for (i, row) in rows.iter().enumerate() {
        let best = i > 0 && tensor.recommended.cast.as_ref() == Some(&row[0]);
        let mut line = format!("{} {:w$}", if best { '>' } else { ' ' }, row[0], w = widths[0]);
        for (cell, width) in row.iter().zip(widths).skip(1) {
            let _ = write!(line, "  {cell:>width$}");
        }
        let _ = writeln!(out, "{line}");
    }
}

fn number(x: Option<f64>) -> String {
    match x {
        None => "-".to_owned(),
        Some(x) if x == 0.0 || (1e-4..1e6).contains(&x) => {
            let digits = (5 - exponent(x.max(1e-4)) * 3 / 10).clamp(0, 9) as usize;
            let text = format!("{x:.digits$}");
            let short = if text.contains('.') {
                text.trim_end_matches('0').trim_end_matches('.')
            } else {
                &text
            };
            short.to_owned()
        }
        Some(x) => format!("{x:.4e}"),
    }
}

/// Decibels.
#[must_use]
pub fn db(x: Option<f64>) -> String {
    match x {
        None => "-".to_owned(),
        Some(x) if x == f64::INFINITY => "exact".to_owned(),
        Some(x) => format!("{x:.2} dB"),
    }
}

/// A share as a percentage: what is not 0 is not printed as 0.
#[must_use]
pub fn share(x: f64) -> String {
    match x {
        0.0 => "0".to_owned(),
        x if x < 0.000_01 => "<0.001 %".to_owned(),
        x => format!("{:.3} %", 100.0 * x),
    }
}

/// A number with its thousands apart.
#[must_use]
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push('\'');
        }
        text.push(digit);
    }
    text
}

/// A number in a few letters.
fn brief(n: u64) -> String {
    if n < 100_000 { n.to_string() } else { format!("{:.1e}", n as f64) }
}
