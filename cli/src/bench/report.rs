//! Rows, as a table or as JSON lines.

use super::measure::spread;
use anyhow::Context as _;
use quarter::Isa;
use serde::Serialize;
use std::io::Write as _;

/// What rates are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Floating-point operations.
    Operations,
    /// Multiply-adds of one of the threads.
    MultiplyAdds,
    /// Bytes, read and written.
    Bytes,
    /// Thousands of tokens.
    Tokens,
}

impl Unit {
    const fn text(self) -> &'static str {
        match self {
            Self::Operations => "GFLOP/s",
            Self::MultiplyAdds => "GMA/s/thread",
            Self::Bytes => "GB/s",
            Self::Tokens => "ktokens/s",
        }
    }
}

/// The keys of the JSON.
#[derive(Serialize)]
struct Row<'a> {
    kernel: &'a str,
    shape: &'a str,
    threads: usize,
    median: f64,
    min: f64,
    max: f64,
    unit: &'static str,
    peak_share: f64,
}

/// Where rows go: standard output, each as it is known.
pub struct Report {
    json: bool,
}

const KERNEL: usize = 40;
const SHAPE: usize = 16;
const UNIT: usize = 12;

impl Report {
    pub const fn new(json: bool) -> Self {
        Self { json }
    }

    pub fn head(&self, threads: usize) -> anyhow::Result<()> {
        if self.json {
            return Ok(());
        }
        let s = if threads == 1 { "" } else { "s" };
        self.line(&format!(
            "{}, {threads} thread{s}\n\n{:KERNEL$} {:SHAPE$} {:>9} {:>9} {:>9} {:UNIT$}  {:>6}  of",
            Isa::best().name(),
            "kernel",
            "shape",
            "median",
            "min",
            "max",
            "unit",
            "share",
        ))
    }

    /// A kernel's rates and, if it is none itself, its yardstick's name and rates in the same rounds.
    pub fn row(
        &self,
        kernel: &str,
        shape: &str,
        threads: usize,
        unit: Unit,
        rates: &[f64],
        yardstick: Option<(&str, &[f64])>,
    ) -> anyhow::Result<()> {
        let [median, min, max] = spread(rates);
        let peak_share = yardstick.map_or(1.0, |(_, peak)| median / spread(peak)[0]);
        let unit = unit.text();
        if self.json {
            // Few are far below 1.
            let grain = |x: f64| if x < 0.1 { 1e7 } else { 1e4 };
            let rounded = |x: f64| (x * grain(x)).round() / grain(x);
            let [median, min, max, peak_share] = [median, min, max, peak_share].map(rounded);
            let row = Row { kernel, shape, threads, median, min, max, unit, peak_share };
            return self.line(&serde_json::to_string(&row)?);
        }
        let share = yardstick.map_or_else(String::new, |(name, _)| {
            let percent = 100.0 * peak_share;
            let digits = if percent < 0.95 { 2 } else { 1 };
            format!("  {percent:>4.digits$} %  {name}")
        });
        let digits = if median < 0.95 { 4 } else { 2 };
        self.line(&format!(
            "{kernel:KERNEL$} {shape:SHAPE$} {median:9.digits$} {min:9.digits$} {max:9.digits$} \
             {unit:UNIT$}{share}"
        ))
    }

    /// What the columns of shares are of.
    pub fn shares_head(&self, title: &str, columns: &[&str]) -> anyhow::Result<()> {
        if self.json {
            return Ok(());
        }
        let columns: String = columns.iter().map(|name| format!(" {name:>9}")).collect();
        self.line("")?;
        self.line(&format!("{title:KERNEL$}{columns}"))
    }

    /// Shares of a whole by column.
    pub fn shares(
        &self,
        kernel: &str,
        shape: &str,
        threads: usize,
        columns: &[&str],
        shares: &[f64],
    ) -> anyhow::Result<()> {
        if !self.json {
            let cells: String =
                shares.iter().map(|share| format!(" {:>9.1}", 100.0 * share)).collect();
            return self.line(&format!("{kernel:KERNEL$}{cells}"));
        }
        let rounded = |x: &f64| (x * 1e4).round() / 1e4;
        let shares: serde_json::Map<_, _> = columns
            .iter()
            .zip(shares)
            .map(|(name, share)| ((*name).to_owned(), rounded(share).into()))
            .collect();
        let row = serde_json::json!({
            "kernel": kernel, "shape": shape, "threads": threads, "step_shares": shares,
        });
        self.line(&row.to_string())
    }

    fn line(&self, text: &str) -> anyhow::Result<()> {
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "{}", text.trim_end())
            .and_then(|()| stdout.flush())
            .context("standard output")
    }
}
