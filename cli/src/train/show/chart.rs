//! Loss curves in a terminal.
//!
//! Lines are of braille dots (or of full stops); letters on them, one recipe's after another's, say
//! whose they are. So where lines lie on each other the letters take turns on one line, and
//! [`gap_chart`] shows what is between them.

use super::series::{Bins, Curve, Curves, extent, gap_limit, tick};
use super::{NAME, StepRecord, plain};
use std::fmt::Write as _;

/// Columns of labels.
const LABELS: usize = 7;
/// Columns for letters behind the ends of lines, at most.
const ENDS: usize = 8;
/// Columns between letters on a line that several share.
const APART: usize = 4;
/// Bars of a gap from the least to the largest; the middle one is 0.
const BLOCKS: [char; 7] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇'];
const ASCII_BLOCKS: [char; 7] = ['_', '_', '.', '-', '\'', '^', '^'];

/// The training losses, each column the mean of its steps, in at most `width` columns (40 at
/// least) and `height` lines (8 at least) without the legend. Losses that are not finite are left
/// out, and the legend says so. Every line ends with a line feed.
#[must_use]
pub fn loss_chart(records: &[StepRecord], width: usize, height: usize, ascii: bool) -> String {
    let curves = Curves::new(records);
    if curves.is_empty() {
        let what = if records.is_empty() { "no steps yet" } else { "no finite training loss" };
        return format!("{what}\n");
    }
    let ends = curves.curves.len().min(ENDS);
    let cols = width.max(40) - LABELS - 2 - ends;
    let rows = height.max(8) - 3;
    let bins = curves.bins(cols);
    let smooth: Vec<_> = curves.curves.iter().map(|curve| curve.smooth(&bins)).collect();
    let (low, high) = extent(smooth.iter().flatten().flatten().copied()).unwrap_or((0.0, 1.0));
    let scale = Scale::new(low, high);
    let mut canvas = Canvas::new(cols, rows, ascii);
    let lines: Vec<_> = smooth.iter().map(|means| canvas.line(means, &scale)).collect();
    canvas.letters(&lines);

    let mut out = String::new();
    let mean = if bins.each > 1 { format!(", mean of {} steps", bins.each) } else { String::new() };
    let _ = writeln!(out, "{:LABELS$}  train loss{mean}", "");
    let (step, digits) = tick(scale.high - scale.low, rows.div_ceil(3));
    let mut labels = vec![None; rows];
    let mut at = (scale.low / step).ceil();
    while at * step <= scale.high && step > 0.0 {
        labels[canvas.row(scale.part(at * step))] = Some(at * step);
        at += 1.0;
    }
    let [bar, mark, corner, dash, up] =
        if ascii { ['|', '+', '+', '-', '+'] } else { ['│', '┤', '└', '─', '┴'] };
    for (row, label) in labels.iter().enumerate() {
        let (label, axis) = match label {
            Some(label) => (axis_label(*label, digits), mark),
            None => (String::new(), bar),
        };
        let line = format!("{label:>LABELS$} {axis}{}", canvas.text(row));
        let letters = lines
            .iter()
            .enumerate()
            .filter(|(_, line)| line.iter().flatten().next_back() == Some(&row));
        let mut letters: String = letters.map(|(i, _)| letter(i)).collect();
        if letters.len() > ENDS {
            letters.replace_range(ENDS - 1.., "+");
        }
        let _ = writeln!(out, "{}", format!("{line}{letters}").trim_end());
    }
    let (axis, steps) = step_axis(&bins, cols, dash, up);
    let _ = writeln!(out, "{:LABELS$} {corner}{axis}", "");
    let _ = writeln!(out, "{:>LABELS$}  {steps}", "step");
    let ends = curves.curves.iter().zip(&smooth).enumerate();
    let entries = ends.map(|(i, (curve, means))| entry(i, curve, means));
    let more = (curves.more > 0).then(|| format!("and {} more recipes", curves.more));
    legend(&mut out, entries.chain(more), width.max(40));
    out
}

/// How much more each recipe's training loss is than that of bf16 (else of f32, else of the first
/// recipe), in percent, the same steps compared: a line each, at most `width` columns. All lines
/// have one scale, its middle 0. Empty if there is one recipe.
#[must_use]
pub fn gap_chart(records: &[StepRecord], width: usize, ascii: bool) -> String {
    let curves = Curves::new(records);
    let Some(base) = curves.baseline().filter(|_| curves.curves.len() > 1) else {
        return String::new();
    };
    let names: Vec<_> = curves.curves.iter().map(|curve| plain(&curve.name, NAME)).collect();
    let wide = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let cols = width.max(40).saturating_sub(wide + 2 + 2 + 3 * 9).clamp(8, 60);
    let bins = curves.bins(cols);
    let gaps: Vec<_> = curves.curves.iter().map(|curve| curve.gaps(base, &bins)).collect();
    let limit = gap_limit(&gaps.iter().filter(|row| !is_zero(row)).cloned().collect::<Vec<_>>());
    let mut out = String::new();
    let base_name = plain(&base.name, NAME);
    let sign = if ascii { "+-" } else { "±" };
    let title =
        format!("gap to {base_name}, % (bars: {sign}{})", gap(limit).trim_start_matches('+'));
    let _ = writeln!(out, "{title:w$}{:>9}{:>9}{:>9}", "min", "max", "last", w = wide + 4 + cols);
    for (i, (curve, row)) in curves.curves.iter().zip(&gaps).enumerate() {
        if std::ptr::eq(curve, base) {
            continue;
        }
        let bars: String = row.iter().map(|gap| block(*gap, limit, ascii)).collect();
        let numbers =
            match (extent(row.iter().flatten().copied()), row.iter().flatten().next_back()) {
                (Some((low, high)), Some(last)) => [low, high, *last].map(gap),
                _ => ["-"; 3].map(str::to_owned),
            };
        let [low, high, last] = numbers;
        let _ = writeln!(
            out,
            "{} {:wide$}  {bars:cols$}{low:>9}{high:>9}{last:>9}",
            letter(i),
            names[i]
        );
    }
    out
}

/// A label of at most [`LABELS`] columns.
fn axis_label(loss: f64, digits: usize) -> String {
    let text = format!("{:.digits$}", loss + 0.0); // no -0
    if text.len() <= LABELS { text } else { format!("{loss:.0e}") }
}

fn is_zero(row: &[Option<f64>]) -> bool {
    row.iter().flatten().all(|gap| *gap == 0.0)
}

/// Signed percent; only what is 0 is printed as 0.
pub(super) fn gap(x: f64) -> String {
    match x {
        0.0 => "0".to_owned(),
        x if x.abs() < 0.01 => format!("{x:+.4}"),
        x if x.abs() < 0.1 => format!("{x:+.3}"),
        x if x.abs() < 1000.0 => format!("{x:+.2}"),
        x => format!("{x:+.1e}"),
    }
}

fn block(gap: Option<f64>, limit: f64, ascii: bool) -> char {
    let blocks = if ascii { ASCII_BLOCKS } else { BLOCKS };
    gap.map_or(' ', |gap| blocks[((gap / limit).clamp(-1.0, 1.0) * 3.0 + 3.0).round() as usize])
}

/// The letter of a recipe.
fn letter(i: usize) -> char {
    (b'A'..=b'Z').chain(b'a'..=b'z').nth(i).map_or('*', char::from)
}

fn entry(i: usize, curve: &Curve, means: &[Option<f64>]) -> String {
    let mut text = format!("{} {}", letter(i), plain(&curve.name, NAME));
    if let Some(last) = means.iter().flatten().next_back() {
        let _ = write!(text, " {last:.4}");
    }
    if curve.left_out > 0 {
        let _ = write!(text, " ({} not finite)", curve.left_out);
    }
    text
}

/// Entries in columns.
fn legend(out: &mut String, entries: impl Iterator<Item = String>, width: usize) {
    let entries: Vec<_> = entries.collect();
    let wide = entries.iter().map(|text| text.chars().count()).max().unwrap_or(0) + 3;
    let across = ((width - LABELS - 2) / wide).max(1);
    for line in entries.chunks(across) {
        let cells: String = line.iter().map(|text| format!("{text:wide$}")).collect();
        let _ = writeln!(out, "{:LABELS$}  {}", "", cells.trim_end());
    }
}

/// The line under the chart with a mark for each label, and the labels: round steps, and the first.
fn step_axis(bins: &Bins, cols: usize, dash: char, up: char) -> (String, String) {
    let mut axis = vec![dash; cols];
    let mut labels = String::new();
    let (first, last) = (bins.first as f64, bins.last as f64);
    let (begin, end) = (bins.middle(0), bins.middle(bins.count - 1));
    let (each, _) = tick((last - first).max(1.0), (cols / 12).max(1));
    let each = each.max(1.0);
    let round = (0..cols).map(|i| ((first / each).floor() + 1.0 + i as f64) * each);
    for step in [first].into_iter().chain(round.take_while(|step| *step <= last)) {
        let part = if end > begin { ((step - begin) / (end - begin)).clamp(0.0, 1.0) } else { 0.0 };
        let column = (part * (cols - 1) as f64).round() as usize;
        let text = format!("{step:.0}");
        let begin = column.saturating_sub(text.len() / 2).min(cols.saturating_sub(text.len()));
        let free = if labels.is_empty() { 0 } else { labels.len() + 2 };
        if begin < free || text.len() > cols {
            continue;
        }
        axis[column] = up;
        labels.push_str(&" ".repeat(begin - labels.len()));
        labels.push_str(&text);
    }
    (axis.into_iter().collect(), labels)
}

/// Where bin number `bin` of `count` is in so many columns.
const fn place(bin: usize, count: usize, cols: usize) -> usize {
    if count > 1 { bin * (cols - 1) / (count - 1) } else { 0 }
}

/// Losses from the lowest line to the highest.
struct Scale {
    low: f64,
    high: f64,
}

impl Scale {
    fn new(low: f64, high: f64) -> Self {
        let least = 1e-3 * low.abs().max(high.abs()).max(1e-3);
        let pad = if high - low < least { least } else { 0.0 };
        Self { low: low - pad, high: high + pad }
    }

    /// 0 at the top, 1 at the bottom.
    fn part(&self, loss: f64) -> f64 {
        ((self.high - loss) / (self.high - self.low)).clamp(0.0, 1.0)
    }
}

struct Canvas {
    cols: usize,
    rows: usize,
    /// Dots of a cell, across and down.
    dots: (usize, usize),
    cells: Vec<u8>,
    letters: Vec<Option<char>>,
}

impl Canvas {
    fn new(cols: usize, rows: usize, ascii: bool) -> Self {
        let dots = if ascii { (1, 1) } else { (2, 4) };
        Self { cols, rows, dots, cells: vec![0; cols * rows], letters: vec![None; cols * rows] }
    }

    /// The dot of a [`Scale::part`].
    fn dot(&self, part: f64) -> usize {
        (part * (self.rows * self.dots.1 - 1) as f64).round() as usize
    }

    fn row(&self, part: f64) -> usize {
        self.dot(part) / self.dots.1
    }

    /// Draws a line; gives the row of its middle in each column.
    fn line(&mut self, means: &[Option<f64>], scale: &Scale) -> Vec<Option<usize>> {
        let across = self.cols * self.dots.0;
        let mut rows = vec![None; self.cols];
        let mut last: Option<(usize, f64)> = None;
        for (bin, mean) in means.iter().enumerate() {
            let Some(mean) = mean else { continue };
            let (x, part) = (place(bin, means.len(), across), scale.part(*mean));
            let (from, start) = last.unwrap_or((x, part));
            let mut before = self.dot(start);
            for at in from..=x {
                let share = if x > from { (at - from) as f64 / (x - from) as f64 } else { 1.0 };
                let y = self.dot(start + (part - start) * share);
                // Half of a jump belongs to each side.
                for y in before.min(y)..=before.max(y) {
                    self.set(at, y);
                }
                before = y;
                rows[at / self.dots.0] = Some(y / self.dots.1);
            }
            last = Some((x, part));
        }
        rows
    }

    fn set(&mut self, x: usize, y: usize) {
        const BITS: [[u8; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];
        let cell = (y / self.dots.1) * self.cols + x / self.dots.0;
        self.cells[cell] |= BITS[y % self.dots.1][x % self.dots.0];
    }

    /// Puts the letters on the lines, in turns.
    fn letters(&mut self, lines: &[Vec<Option<usize>>]) {
        let apart = (self.cols / lines.len().max(1)).clamp(1, APART);
        let period = apart * lines.len().max(3);
        for (i, line) in lines.iter().enumerate() {
            let places = line.iter().enumerate().filter_map(|(col, row)| Some((col, (*row)?)));
            let (last, mut seen) = (line.iter().rposition(Option::is_some), false);
            for (col, row) in places {
                // A line too short for its turn has its letter at its end.
                let turn = col % period == (apart * i + 2) % period;
                let letter_here = &mut self.letters[row * self.cols + col];
                if (turn || (Some(col) == last && !seen)) && letter_here.is_none() {
                    *letter_here = Some(letter(i));
                    seen = true;
                }
            }
        }
    }

    fn text(&self, row: usize) -> String {
        let cells = row * self.cols..(row + 1) * self.cols;
        let dot = |cell: usize| match (self.letters[cell], self.cells[cell]) {
            (Some(letter), _) => letter,
            (None, 0) => ' ',
            (None, _) if self.dots.1 == 1 => '.',
            (None, bits) => char::from_u32(0x2800 + u32::from(bits)).unwrap_or('.'),
        };
        cells.map(dot).collect()
    }
}
