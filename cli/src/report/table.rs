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
            let words = pieces(&columns[column]).map(|word| word.trim_end().len());
            cells.chain(words).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..columns.len()).map(width).collect();
        // Long titles stand in several lines.
        let titles: Vec<_> = columns.iter().zip(&widths).map(|(t, wide)| lines(t, *wide)).collect();
        let high = titles.iter().map(Vec::len).max().unwrap_or(0);
        let titles: Vec<Vec<String>> = (0..high)
            .map(|i| {
                let line = |title: &Vec<String>| {
                    (i + title.len()).checked_sub(high).map_or(String::new(), |i| title[i].clone())
                };
                titles.iter().map(line).collect()
            })
            .collect();
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
        for row in titles.iter().chain(rows) {
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
        let line = |cells: &[String]| {
            let cells: Vec<_> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let mut text = format!("## {title}\n\n{about}\n\n{}", line(columns));
        let sides = (0..columns.len()).map(|i| if i < *names { "---" } else { "---:" });
        let _ = writeln!(text, "|{}|", sides.collect::<Vec<_>>().join("|"));
        rows.iter().for_each(|row| text.push_str(&line(row)));
        text
    }
}

/// Parts of a title that stay in one line.
fn pieces(title: &str) -> impl Iterator<Item = &str> {
    title.split_inclusive([' ', '-'])
}

/// A title in lines that are no wider than that, where its parts permit.
fn lines(title: &str, wide: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for piece in pieces(title) {
        let last = lines.last_mut().filter(|last| (last.len() + piece.trim_end().len()) <= wide);
        match last {
            Some(last) => last.push_str(piece),
            None => lines.push(piece.to_owned()),
        }
    }
    lines.iter().map(|line| line.trim_end().to_owned()).filter(|line| !line.is_empty()).collect()
}

/// Rows that differ in these columns alone as one, the first: there its cells are those of all, each
/// once.
pub fn merged(rows: Vec<Vec<String>>, columns: &[usize]) -> Vec<Vec<String>> {
    let rest = |row: &[String]| -> Vec<String> {
        let kept = row.iter().enumerate().filter(|(i, _)| !columns.contains(i));
        kept.map(|(_, cell)| cell.clone()).collect()
    };
    let mut merged: Vec<Vec<String>> = Vec::new();
    for row in rows {
        let same = merged.iter_mut().find(|other| rest(other) == rest(&row));
        let Some(other) = same else {
            merged.push(row);
            continue;
        };
        for column in columns {
            let has = other[*column].split(", ").any(|cell| cell == row[*column]);
            if !has && row[*column] != "-" {
                other[*column] = format!("{}, {}", other[*column], row[*column]);
            }
        }
    }
    merged
}

/// Rows whose first cells are a recipe and a pass, those that say the same as one: of a recipe, of all
/// its passes, and then of recipes, which are named with their passes where those differ.
pub fn of_recipes(rows: Vec<Vec<String>>) -> Vec<Vec<String>> {
    let rows = merged(merged(rows, &[1]), &[0]);
    let mut folded: Vec<Vec<String>> = Vec::new();
    for row in rows {
        match folded.iter_mut().find(|other| other[2..] == row[2..]) {
            Some(other) => other[0] = format!("{}, {} ({})", other[0], row[0], row[1]),
            None => folded.push(row),
        }
    }
    for row in &mut folded {
        row.iter_mut().take(2).for_each(|cell| *cell = cell.replace("fprop, dgrad, wgrad", "all"));
    }
    folded
}
