//! The report as pictures.

use super::Plan;
use super::products::{Product, largest};
use crate::draw::{Area, COLORS, Drawn, FONT, GREY, caption, heading, mesh, picture, small};
use plotters::prelude::*;
use quarter::mma::UNITS;

/// Pixels beside panels, for a legend, and above them, for a title.
const LEGEND: i32 = 230;
const TITLE: i32 = 34;
/// Lines of a legend, at most.
const ENTRIES: usize = 18;
/// Pixels of the picture of signal to noise, and of a panel of products.
const SIGNAL: (u32, u32) = (1000, 520);
const PRODUCTS: (u32, u32) = (420, 440);
/// Powers of two from the largest number down, and dB, of signal to noise.
const REACH: i32 = 34;
const MOST_DB: f64 = 42.0;
/// Curves that are nowhere farther apart are one, in dB.
const ALIKE: f64 = 0.6;
/// Colours of the ways to sum that are usual; others have those of their place among the units.
const USUAL: [&str; 7] = [
    "f32",
    "h100-wgmma-fp8-f16",
    "h100-16bit",
    "b200-mxfp8",
    "h100-wgmma-fp8",
    "h100-tf32",
    "exact",
];

/// A line of theory, and what was measured.
pub struct Curve {
    pub name: String,
    pub line: Vec<(f64, f64)>,
    pub marks: Vec<(f64, f64)>,
}

/// How an entry is drawn: of those that share a colour the second has hollow dots.
#[derive(Clone, Copy)]
struct Style {
    color: RGBColor,
    hollow: bool,
}

impl Style {
    const fn of(i: usize) -> Self {
        Self { color: COLORS[i % COLORS.len()], hollow: i >= COLORS.len() }
    }

    /// That of a way to sum, the same in every picture; hollow where it is promoted.
    fn of_sums(name: &str) -> Self {
        let (unit, promoted) = match name.split_once('/') {
            Some((unit, _)) => (unit, true),
            None => (name, false),
        };
        let place = USUAL.iter().position(|usual| *usual == unit);
        let place = place.or_else(|| UNITS.iter().position(|other| other.name() == unit));
        Self { hollow: promoted, ..Self::of(place.unwrap_or(0) % COLORS.len()) }
    }

    fn line(self) -> ShapeStyle {
        self.color.stroke_width(if self.hollow { 1 } else { 2 })
    }

    fn dot(self) -> ShapeStyle {
        if self.hollow { self.color.stroke_width(1) } else { self.color.filled() }
    }
}

fn legend<'a>(
    area: &Area<'a>,
    entries: impl Iterator<Item = (Vec<String>, Style)>,
    notes: &[&str],
) -> Drawn<'a> {
    let mut y = 24;
    for (names, style) in entries.take(ENTRIES) {
        area.draw(&PathElement::new([(4, y), (34, y)], style.line()))?;
        area.draw(&Circle::new((19, y), 3, style.dot()))?;
        for name in names {
            area.draw(&Text::new(caption(&name), (42, y - 8), small(&BLACK)))?;
            y += 20;
        }
        y += 4;
    }
    for note in notes {
        area.draw(&Text::new((*note).to_owned(), (4, y), small(&GREY)))?;
        y += 20;
    }
    Ok(())
}

/// Curves that lie on one another, as one.
fn alike(curves: &[Curve]) -> Vec<(Vec<String>, &Curve)> {
    let same = |a: &Curve, b: &Curve| {
        let drawn = |x: f64| x.clamp(0.0, MOST_DB);
        a.line.iter().zip(&b.line).all(|(a, b)| (drawn(a.1) - drawn(b.1)).abs() <= ALIKE)
    };
    let mut all: Vec<(Vec<String>, &Curve)> = Vec::new();
    for curve in curves {
        match all.iter_mut().find(|(_, first)| same(first, curve)) {
            Some((names, _)) => names.push(curve.name.clone()),
            None => all.push((vec![curve.name.clone()], curve)),
        }
    }
    all
}

/// Signal to noise by where normal numbers lie in a format.
pub fn signal(curves: &[Curve], seed: u64) -> anyhow::Result<String> {
    let curves = alike(curves);
    picture(SIGNAL, |root| {
        let title = format!("Signal to noise of normal numbers in each format, seed {seed}");
        root.draw(&Text::new(title, (12, 8), heading()))?;
        let (_, below) = root.split_vertically(TITLE);
        let (left, right) = below.split_horizontally(SIGNAL.0 as i32 - LEGEND);
        let mut chart = ChartBuilder::on(&left)
            .margin(10)
            .x_label_area_size(36)
            .y_label_area_size(60)
            .build_cartesian_2d(-f64::from(REACH)..0.5, 0.0..MOST_DB)?;
        let x = "log2(standard deviation / largest number)";
        mesh!(chart, x, &|x| format!("{x:.0}"), "SQNR, dB", &|y| format!("{y:.0}"))?;
        for (i, (_, curve)) in curves.iter().enumerate() {
            let inside = |points: &[(f64, f64)]| -> Vec<(f64, f64)> {
                points.iter().copied().filter(|point| (0.0..=MOST_DB).contains(&point.1)).collect()
            };
            let style = Style::of(i);
            chart.draw_series([PathElement::new(inside(&curve.line), style.line())])?;
            let mark = |at| Circle::new(at, 3, style.dot());
            let marks = inside(&curve.marks).into_iter().filter(|mark| mark.1 > 0.3);
            chart.draw_series(marks.map(mark))?;
        }
        let entries = curves.iter().enumerate();
        let entries = entries.map(|(i, (names, _))| (names.clone(), Style::of(i)));
        legend(&right, entries, &["lines: theory", "dots: measured"])
    })
}

/// Errors of sums by K, and the largest parts of their bounds that they took, of distributions with a
/// column.
pub fn products(plan: &Plan, products: &[Vec<Product>]) -> anyhow::Result<String> {
    let all = || products.iter().flatten().filter(|p| plan.is_shown(&p.distribution));
    let mut sums: Vec<&str> = Vec::new();
    let mut ks: Vec<usize> = Vec::new();
    for product in all() {
        if !sums.contains(&&*product.sums) {
            sums.push(&product.sums);
        }
        if !ks.contains(&product.k) {
            ks.push(product.k);
        }
    }
    let lines = |of: fn(&Product) -> Option<f64>| -> Vec<Vec<(f64, f64)>> {
        let line = |sums: &&str| {
            let points = ks.iter().filter_map(|k| {
                let here = all().filter(|p| p.sums == *sums && p.k == *k);
                Some(((*k as f64).log2(), largest(here, of).filter(|most| *most > 0.0)?))
            });
            points.collect()
        };
        sums.iter().map(line).collect()
    };
    let styles: Vec<Style> = sums.iter().map(|sums| Style::of_sums(sums)).collect();
    let panels = [
        ("error of sums / |A||B|", lines(|p| p.sums_norm), None),
        ("worst error of sums / proven bound", lines(|p| p.sums_of_bound), Some(1.0)),
    ];
    let passes: Vec<&str> = plan.passes.iter().map(|pass| pass.name()).collect();
    let size = (PRODUCTS.0 * panels.len() as u32 + LEGEND as u32, PRODUCTS.1);
    picture(size, |root| {
        let title = format!("Errors of sums by K, {}, seed {}", passes.join(", "), plan.seed);
        root.draw(&Text::new(title, (12, 8), heading()))?;
        let (_, below) = root.split_vertically(TITLE);
        let (left, right) = below.split_horizontally((size.0 as i32) - LEGEND);
        let areas = left.split_evenly((1, panels.len()));
        for (area, (title, lines, most)) in areas.iter().zip(&panels) {
            panel(area, title, lines, &styles, *most)?;
        }
        let entries =
            sums.iter().zip(&styles).map(|(name, style)| (vec![(*name).to_owned()], *style));
        legend(&right, entries, &["the largest of all recipes", "hollow: promoted"])
    })
}

fn panel<'a>(
    area: &Area<'a>,
    title: &str,
    lines: &[Vec<(f64, f64)>],
    styles: &[Style],
    most: Option<f64>,
) -> Drawn<'a> {
    let points = || lines.iter().flatten().copied();
    let Some(first) = points().next() else {
        return area.draw(&Text::new(format!("{title}: all 0"), (40, 40), small(&BLACK)));
    };
    let fold = |(low, high): ((f64, f64), (f64, f64)), (x, y): (f64, f64)| {
        ((low.0.min(x), low.1.min(y)), (high.0.max(x), high.1.max(y)))
    };
    let (low, high) = points().fold((first, first), fold);
    let top = most.map_or(high.1 * 2.0, |most| (most * 1.6).max(high.1 * 1.2));
    let (from, to) = (low.0 - 0.25, high.0 + 0.25);
    let mut chart = ChartBuilder::on(area)
        .margin(10)
        .x_label_area_size(36)
        .y_label_area_size(64)
        .build_cartesian_2d(from..to, (low.1 / 2.0..top).log_scale())?;
    let y = |y: &f64| if (0.005..5.0).contains(y) { format!("{y}") } else { format!("{y:.0e}") };
    mesh!(chart, "log2 K", &|x| format!("{x:.0}"), title, &y)?;
    if let Some(most) = most {
        chart.draw_series([PathElement::new([(from, most), (to, most)], GREY.stroke_width(2))])?;
    }
    for (line, style) in lines.iter().zip(styles) {
        chart.draw_series([PathElement::new(line.clone(), style.line())])?;
        let mark = |at: &(f64, f64)| Circle::new(*at, 3, style.dot());
        chart.draw_series(line.iter().map(mark))?;
    }
    Ok(())
}
