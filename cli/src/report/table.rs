//! A table, for a terminal or in Markdown.

use std::fmt::Write as _;

/// Columns of the lines under a title.
const WIDTH: usize = 100;

/// Rows of cells under titles.
#[derive(Debug, Default)]
pub struct Table {
    /// What stands above it.
    pub title: String,
    /// What it is, a sentence or two.
    pub about: String,
    /// The titles of columns.
    pub columns: Vec<String>,
    /// So many columns are names, flush left.
    pub names: usize,
    /// The cells.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// For a terminal.
    pub fn text(&self) -> String {
        let Self { title, about, columns, rows, .. } = self;
        let width = |column: usize| {
            let cells = rows.iter().map(|row| row[column].len());
            cells.chain([columns[column].len()]).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..columns.len()).map(width).collect();
        let mut text = format!("{title}\n");
        let mut line = 0;
        for word in about.split(' ') {
            let gap = if line == 0 { "" } else { " " };
            if line + word.len() >= WIDTH {
                text.push('\n');
                line = 0;
            }
            // Writing to a String does not fail.
            let _ = write!(text, "{}{word}", if line == 0 { "" } else { gap });
            line += word.len() + 1;
        }
        text.push_str("\n\n");
        for row in [columns].into_iter().chain(rows) {
            let mut line = String::new();
            for (i, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let gap = if i == 0 { "" } else { "  " };
                let _ = match i < self.names {
                    true => write!(line, "{gap}{cell:width$}"),
                    false => write!(line, "{gap}{cell:>width$}"),
                };
            }
            let _ = writeln!(text, "{}", line.trim_end());
        }
        text
    }

    /// In Markdown.
    pub fn markdown(&self) -> String {
        let Self { title, about, columns, rows, names } = self;
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let mut text = format!("## {title}\n\n{about}\n\n{}", line(columns));
        let sides = (0..columns.len()).map(|i| if i < *names { "---" } else { "---:" });
        let _ = writeln!(text, "|{}|", sides.collect::<Vec<_>>().join("|"));
        rows.iter().for_each(|row| text.push_str(&line(row)));
        text
    }
}
