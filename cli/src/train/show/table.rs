//! What came of the recipes, a line each.

use super::chart::gap;
use super::{NAME, Summary, plain};
use crate::inspect::count;
use std::fmt::Write as _;

/// Roles as the records name them, and as the table does.
const ROLES: [(&str, &str); 3] =
    [("input", "input"), ("weight", "weight"), ("grad_output", "grad")];

/// Validation losses that others are compared with.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Baselines {
    /// Of f32.
    pub f32: Option<f32>,
    /// Of bf16.
    pub bf16: Option<f32>,
}

impl Baselines {
    /// Those that were run.
    #[must_use]
    pub fn of(summaries: &[Summary]) -> Self {
        let find = |name| summaries.iter().find(|s| s.recipe == name).map(|s| s.val_loss);
        Self { f32: find("f32"), bf16: find("bf16") }
    }
}

/// Cells of one column under a title; neighbours of one group stand under its name.
struct Column {
    group: &'static str,
    title: &'static str,
    cells: Vec<String>,
}

/// The table, 110 columns at most for names of at most 9 letters. Gaps are of validation losses;
/// `-` is what does not apply. Shares are there if a recipe has some, skipped steps likewise.
/// Every line ends with a line feed.
#[must_use]
pub fn summary_table(summaries: &[Summary], baselines: Baselines) -> String {
    let mut columns = Vec::new();
    let mut column = |group, title, cell: &dyn Fn(&Summary) -> String| {
        columns.push(Column { group, title, cells: summaries.iter().map(cell).collect() });
    };
    column("", "recipe", &|s| plain(&s.recipe, NAME));
    column("loss", "train", &|s| format!("{:.4}", s.train_loss));
    column("loss", "val", &|s| format!("{:.4}", s.val_loss));
    column("gap to, %", "f32", &|s| gap_to(s.val_loss, baselines.f32));
    column("gap to, %", "bf16", &|s| gap_to(s.val_loss, baselines.bf16));
    column("", "tokens/s", &|s| rate(s.tokens_per_s));
    column("saved", "MiB", &|s| mib(s.saved_bytes));
    if summaries.iter().any(|s| !s.shares.is_empty()) {
        for (role, title) in ROLES {
            column("saturated, %", title, &|s| share(s, role, |share| share.saturated));
        }
        for (role, title) in ROLES {
            column("flushed, %", title, &|s| share(s, role, |share| share.flushed));
        }
    }
    if summaries.iter().any(|s| s.skipped > 0) {
        column("skipped", "steps", &|s| s.skipped.to_string());
    }
    layout(&columns, summaries.len())
}

fn layout(columns: &[Column], rows: usize) -> String {
    let width = |column: &Column| {
        let cells = column.cells.iter().map(|cell| cell.chars().count());
        let least = if is_share(column) { 5 } else { 0 };
        cells.chain([column.title.len(), least]).max().unwrap_or(0)
    };
    let mut widths: Vec<_> = columns.iter().map(width).collect();
    let mut groups = String::new();
    let mut at = 0;
    while let Some(first) = columns.get(at) {
        let here = &columns[at..];
        let n = match first.group {
            "" => 1,
            group => here.iter().take_while(|column| column.group == group).count(),
        };
        let mut wide = widths[at..at + n].iter().sum::<usize>() + n - 1 + gaps_between(first, n);
        if first.group.len() > wide {
            widths[at + n - 1] += first.group.len() - wide;
            wide = first.group.len();
        }
        let name = match first.group {
            "" => " ".repeat(wide),
            group if n == 1 => format!("{group:>wide$}"),
            group if wide >= group.len() + 4 => format!("{:─^wide$}", format!(" {group} ")),
            group => format!("{group:^wide$}"),
        };
        let _ = write!(groups, "{}{name}", if at > 0 { "  " } else { "" });
        at += n;
    }
    let mut out = format!("{}\n", groups.trim_end());
    for row in 0..=rows {
        let mut line = String::new();
        for (i, (column, wide)) in columns.iter().zip(&widths).enumerate() {
            let cell = if row == 0 { column.title } else { &column.cells[row - 1] };
            let inside = i > 0 && is_share(column) && columns[i - 1].group == column.group;
            let _ = match i {
                0 => write!(line, "{cell:wide$}"),
                _ if inside => write!(line, " {cell:>wide$}"),
                _ => write!(line, "  {cell:>wide$}"),
            };
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out
}

/// Shares stand one space apart, all else two.
fn is_share(column: &Column) -> bool {
    ["saturated, %", "flushed, %"].contains(&column.group)
}

fn gaps_between(first: &Column, n: usize) -> usize {
    if is_share(first) { 0 } else { n - 1 }
}

fn gap_to(loss: f32, baseline: Option<f32>) -> String {
    let Some(baseline) = baseline else { return "-".to_owned() };
    let percent = 100.0 * (f64::from(loss) - f64::from(baseline)) / f64::from(baseline);
    if percent.is_finite() { gap(percent) } else { "-".to_owned() }
}

fn rate(x: f64) -> String {
    if x.is_finite() && x >= 0.0 { count(x.round() as u64) } else { "-".to_owned() }
}

fn mib(bytes: u64) -> String {
    if bytes == 0 { "-".to_owned() } else { format!("{:.1}", bytes as f64 / f64::from(1 << 20)) }
}

/// In percent: what is not 0 is not printed as 0.
fn share(summary: &Summary, role: &str, what: fn(&super::RoleShare) -> u64) -> String {
    let found = summary.shares.iter().find(|share| share.role == role && share.elements > 0);
    let Some(found) = found else { return "-".to_owned() };
    match 100.0 * what(found) as f64 / found.elements as f64 {
        0.0 => "0".to_owned(),
        x if x < 0.001 => "<.001".to_owned(),
        x if x < 10.0 => format!("{x:.3}"),
        x => format!("{x:.1}"),
    }
}
