//! `quarter formats`: what each format can say.

use anyhow::ensure;
use quarter::{FormatId, FormatSpec};
use std::fmt::Write as _;
use std::io::Write;

/// Arguments of `quarter formats`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print every code of this format and its value (formats of up to 8 bits)
    #[arg(long, value_name = "FORMAT")]
    codes: Option<FormatId>,
}

/// Prints the table.
///
/// # Errors
/// For the codes of a format wider than 8 bits, and those of the writer.
pub fn run(args: &Args, out: &mut impl Write) -> anyhow::Result<()> {
    match args.codes {
        None => out.write_all(limits().as_bytes())?,
        Some(id) => {
            let spec = id.spec();
            let bits = spec.bits();
            ensure!(bits <= 8, "{id} has {bits} bits; --codes lists formats of up to 8 bits");
            out.write_all(codes(spec).as_bytes())?;
        }
    }
    Ok(())
}

/// One column: its title, and what it says of a format.
type Column = (&'static str, fn(&FormatSpec) -> String);

/// The columns of the table, all from the format's row in the library.
const COLUMNS: [Column; 15] = [
    ("name", |spec| spec.name().to_owned()),
    ("bits", |spec| spec.bits().to_string()),
    ("exp", |spec| spec.exp_bits().to_string()),
    ("man", |spec| spec.man_bits().to_string()),
    ("bias", |spec| spec.bias().to_string()),
    ("max", |spec| decimal(spec.max(), spec)),
    ("min normal", |spec| power(spec.min_normal())),
    ("min subnormal", |spec| {
        if spec.min_positive() < spec.min_normal() { power(spec.min_positive()) } else { none() }
    }),
    ("epsilon", |spec| power(spec.epsilon())),
    ("inf", |spec| yes(spec.has_inf())),
    ("nan", |spec| yes(spec.has_nan())),
    ("-0", |spec| yes(spec.has_neg_zero())),
    ("finite codes", |spec| count(spec.finite_codes())),
    ("nan codes", |spec| count(spec.nan_codes())),
    ("also known as", |spec| spec.aliases().join(", ")),
];

/// A line for each format.
fn limits() -> String {
    let title = COLUMNS.map(|(title, _)| title.to_owned());
    let row = |id: &FormatId| COLUMNS.map(|(_, cell)| cell(id.spec()));
    let rows: Vec<_> = [title].into_iter().chain(FormatId::ALL.iter().map(row)).collect();
    align(&rows, ends)
}

/// A line for each code.
fn codes(spec: &FormatSpec) -> String {
    let title = ["code", "binary", "value", "exactly", "class"].map(str::to_owned);
    let row = |code: u64| {
        let value = spec.decode_f64(code);
        let (number, class) = (value.is_finite(), class(spec, value));
        [
            format!("0x{code:02x}"),
            fields(spec, code),
            if number { decimal(value, spec) } else { value.to_string().to_lowercase() },
            if number && value != 0.0 { scientific(spec, value) } else { none() },
            class.to_owned(),
        ]
    };
    let rows: Vec<_> = [title].into_iter().chain((0..=spec.code_mask()).map(row)).collect();
    align(&rows, ends)
}

/// The bits of a code, with sign, exponent and mantissa apart: `s_eeee_mmm`.
fn fields(spec: &FormatSpec, code: u64) -> String {
    let (exp, man) = (spec.exp_bits(), spec.man_bits());
    let mut text = String::new();
    for at in (0..spec.bits()).rev() {
        if at + 1 < spec.bits() && (at + 1 == exp + man || at + 1 == man) {
            text.push('_');
        }
        text.push(if code >> at & 1 == 1 { '1' } else { '0' });
    }
    text
}

fn class(spec: &FormatSpec, value: f64) -> &'static str {
    match value.abs() {
        x if x.is_nan() => "nan",
        x if x.is_infinite() => "inf",
        0.0 => "zero",
        x if x < spec.min_normal() => "subnormal",
        _ => "normal",
    }
}

/// `1.75 x 2^8`; a subnormal with the smallest exponent there is.
fn scientific(spec: &FormatSpec, value: f64) -> String {
    let exponent = exponent(value).max(spec.emin());
    // Two exact steps: 2^1023 is the largest power that f64 has.
    let significand = value * 2.0f64.powi(-exponent / 2) * 2.0f64.powi(-exponent - -exponent / 2);
    format!("{significand} x 2^{exponent}")
}

/// The shortest decimal that reads as this value: of f32 where the format is no wider.
fn decimal(value: f64, spec: &FormatSpec) -> String {
    let plain = value == 0.0 || (1e-5..1e7).contains(&value.abs());
    match (plain, spec.storage_bits() <= 32) {
        (true, _) => format!("{value}"),
        (false, true) => format!("{:e}", value as f32),
        (false, false) => format!("{value:e}"),
    }
}

/// A power of two, as all limits but the largest are.
fn power(value: f64) -> String {
    format!("2^{}", exponent(value))
}

/// ⌊log2 |value|⌋ of a number that is not 0.
fn exponent(value: f64) -> i32 {
    let bits = value.abs().to_bits();
    match bits >> 52 {
        0 => bits.ilog2() as i32 - 1074,
        field => field as i32 - 1023,
    }
}

fn count(codes: u64) -> String {
    if codes < 1 << 20 { codes.to_string() } else { format!("{:.2e}", codes as f64) }
}

fn yes(has: bool) -> String {
    if has { "yes".to_owned() } else { none() }
}

fn none() -> String {
    "-".to_owned()
}

/// Where cells stand in their column.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Side {
    /// Under the first letter of the title.
    Left,
    /// Under its last.
    Right,
}

/// Numbers between a name and remarks.
const fn ends(column: usize) -> Side {
    if column == 0 { Side::Left } else { Side::Right }
}

/// Columns as wide as their widest cell; the last is flush left.
pub(crate) fn align<const N: usize>(rows: &[[String; N]], side: impl Fn(usize) -> Side) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            let gap = if column == 0 { "" } else { "  " };
            // Writing to a String does not fail.
            let _ = match side(column) {
                _ if column == N - 1 => write!(text, "{gap}{cell}"),
                Side::Left => write!(text, "{gap}{cell:width$}"),
                Side::Right => write!(text, "{gap}{cell:>width$}"),
            };
        }
        text.push('\n');
    }
    text
}
