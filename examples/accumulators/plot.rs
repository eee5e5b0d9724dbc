//! Plots of errors against K, as the text of SVG files.

use super::measure::{Draw, LINES, ROWS, Random};
use quarter::Error;
use std::fmt::Write;

/// Powers of two, of the second plot.
pub const DEPTHS: [usize; 8] = [32, 64, 128, 256, 512, 1024, 2048, 4096];

/// Colours that show on white and on black. Lines that others lie on are thicker.
const STYLE: &str = "\
text{font:13px system-ui,sans-serif;fill:#1f2328}
.title{font-size:16px;font-weight:600}
.paper{fill:#fff}
.grid{stroke:#d8dce0}
.frame{fill:none;stroke:#8a9099}
.line{fill:none;stroke-linejoin:round}
.line0{stroke:#2f9e6e;stroke-width:7}
.line1{stroke:#e08a3c;stroke-width:4}
.line2{stroke:#3f86d4;stroke-width:2}
.line3{stroke:#b463ad;stroke-width:2.5;stroke-dasharray:7 5}
@media(prefers-color-scheme:dark){
text{fill:#d5dae0}.paper{fill:#12161c}.grid{stroke:#2c333b}.frame{stroke:#6b7480}
}";

/// What lies between the ends of an axis, and where something is written.
struct Axis {
    from: f64,
    to: f64,
    ticks: Vec<(f64, String)>,
}

impl Axis {
    fn new(from: f64, to: f64, ticks: impl IntoIterator<Item = (f64, String)>) -> Self {
        Self { from, to, ticks: ticks.into_iter().collect() }
    }

    fn place(&self, at: f64) -> f64 {
        (at - self.from) / (self.to - self.from)
    }
}

/// Lines over axes, one for each of [`LINES`].
struct Panel {
    title: &'static str,
    axes: [Axis; 2],
    lines: Vec<Vec<(f64, f64)>>,
}

/// The files and their names.
///
/// # Errors
/// Those of products.
pub fn plots() -> Result<[(&'static str, String); 2], Error> {
    Ok([("accumulators-constant.svg", constant()?), ("accumulators-random.svg", random()?)])
}

fn constant() -> Result<String, Error> {
    let mut lines = Vec::new();
    for line in &LINES {
        let point = |k: usize| Ok((k as f64, 100.0 * line.constant(k)?.1));
        lines.push((32..=4096).step_by(32).map(point).collect::<Result<_, Error>>()?);
    }
    let x = (0..=8).map(|i| (f64::from(512 * i), (512 * i).to_string()));
    let percents = ["0", "−2 %", "−4 %", "−6 %", "−8 %", "−10 %"];
    let y = percents.iter().zip(0..).map(|(label, i)| (f64::from(-2 * i), label.to_string()));
    let axes = [Axis::new(0.0, 4096.0, x), Axis::new(-10.0, 1.0, y)];
    let panel = Panel { title: "error / exact sum", axes, lines };
    Ok(svg("The sum of K products 0.1015625 · 0.1015625", &[panel]))
}

fn random() -> Result<String, Error> {
    let mut lines = [vec![Vec::new(); LINES.len()], vec![Vec::new(); LINES.len()]];
    for k in DEPTHS {
        let random = Random::new(Draw::Normal, ROWS, k)?;
        for (i, line) in LINES.iter().enumerate() {
            let errors = random.errors(line)?;
            let point = |error: f64| ((k as f64).log2(), (100.0 * error).log10());
            lines[0][i].push(point(errors.largest));
            lines[1][i].push(point(errors.rms));
        }
    }
    let titles = ["largest error / outputs’ rms", "rms error / outputs’ rms"];
    let panels = lines.into_iter().zip(titles).map(|(lines, title)| {
        let x = DEPTHS.map(|k| ((k as f64).log2(), k.to_string()));
        let small = ["10⁻⁷", "10⁻⁶", "10⁻⁵", "10⁻⁴", "0.001", "0.01", "0.1", "1", "10"];
        let y = small.iter().zip(-7..).map(|(label, i)| (f64::from(i), format!("{label} %")));
        Panel { title, axes: [Axis::new(5.0, 12.0, x), Axis::new(-7.0, 1.0, y)], lines }
    });
    let title = format!("Products of two matrices of {ROWS} × K standard normal numbers in E4M3");
    Ok(svg(&title, &panels.collect::<Vec<_>>()))
}

/// Panels side by side under a title and a legend.
fn svg(title: &str, panels: &[Panel]) -> String {
    let (width, height) = (860.0, 450.0);
    let mut text = String::new();
    let mut put = |line: String| text.push_str(&(line + "\n"));
    put(format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">"#
    ));
    put(format!("<title>{title}</title>\n<style>\n{STYLE}\n</style>"));
    put(format!(r#"<rect class="paper" width="{width}" height="{height}"/>"#));
    put(format!(r#"<text class="title" x="24" y="30">{title}</text>"#));
    let mut x = 24.0;
    for (i, line) in LINES.iter().enumerate() {
        put(format!(r#"<path class="line line{i}" d="M{x:.1} 52h36"/>"#));
        put(format!(r#"<text x="{:.1}" y="56">{}</text>"#, x + 44.0, line.label));
        x += 72.0 + 7.2 * line.label.len() as f64;
    }
    let share = width / panels.len() as f64;
    for (i, panel) in panels.iter().enumerate() {
        let left = share * i as f64 + 78.0;
        put(panel.svg(left, 102.0, share - 102.0, height - 156.0));
    }
    text + "</svg>\n"
}

impl Panel {
    fn svg(&self, left: f64, top: f64, width: f64, height: f64) -> String {
        let [horizontal, vertical] = &self.axes;
        let x = |at: f64| left + width * horizontal.place(at);
        let y = |at: f64| top + height * (1.0 - vertical.place(at));
        let (right, bottom) = (left + width, top + height);
        let mut text = String::new();
        // Writing to a string does not fail.
        let mut put = |line: String| text.push_str(&(line + "\n"));
        put(format!(r#"<text x="{left}" y="{}">{}</text>"#, top - 12.0, self.title));
        for (at, label) in &horizontal.ticks {
            let x = x(*at);
            put(format!(r#"<path class="grid" d="M{x:.1} {top}V{bottom}"/>"#));
            let y = bottom + 20.0;
            put(format!(r#"<text x="{x:.1}" y="{y}" text-anchor="middle">{label}</text>"#));
        }
        for (at, label) in &vertical.ticks {
            let y = y(*at);
            put(format!(r#"<path class="grid" d="M{left} {y:.1}H{right}"/>"#));
            let (x, y) = (left - 8.0, y + 4.5);
            put(format!(r#"<text x="{x}" y="{y:.1}" text-anchor="end">{label}</text>"#));
        }
        let (middle, below) = (left + width / 2.0, bottom + 40.0);
        put(format!(r#"<text x="{middle}" y="{below}" text-anchor="middle">K</text>"#));
        put(format!(
            r#"<rect class="frame" x="{left}" y="{top}" width="{width}" height="{height}"/>"#
        ));
        for (i, line) in self.lines.iter().enumerate() {
            let mut points = String::new();
            for (at, value) in line {
                let _ = write!(points, "{:.1},{:.1} ", x(*at), y(*value));
            }
            put(format!(r#"<polyline class="line line{i}" points="{}"/>"#, points.trim_end()));
        }
        text
    }
}
