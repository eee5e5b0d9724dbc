//! The report as pictures.

use super::Plan;
use super::casts::Share;
use super::products::{Product, largest};
use crate::draw::{Area, COLORS, Drawn, FONT, GREY, caption, heading, mesh, picture, small};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Pixels beside panels, for a legend.
const LEGEND: i32 = 210;
/// Lines of a legend, at most.
const ENTRIES: usize = 18;
/// Pixels of the picture of signal to noise, of a panel of products, and of one of casts.
const SIGNAL: (u32, u32) = (960, 520);
const PRODUCTS: (u32, u32) = (420, 420);
const CASTS: (u32, u32) = (680, 260);
/// Shares below are not drawn.
const LEAST: f64 = 1e-6;

/// A line of theory, and what was measured.
pub struct Curve {
    pub name: String,
    pub line: Vec<(f64, f64)>,
    pub marks: Vec<(f64, f64)>,
}

/// The line of an entry: of colours that come again thin.
fn style(i: usize) -> ShapeStyle {
    COLORS[i % COLORS.len()].stroke_width(if i < COLORS.len() { 2 } else { 1 })
}

fn legend<'a, 'n>(area: &Area<'a>, names: impl Iterator<Item = &'n str>, note: &str) -> Drawn<'a> {
    let mut y = 24;
    for (i, name) in names.take(ENTRIES).enumerate() {
        area.draw(&PathElement::new([(4, y), (34, y)], style(i)))?;
        area.draw(&Text::new(caption(name), (42, y - 8), small(&BLACK)))?;
        y += 22;
    }
    area.draw(&Text::new(note.to_owned(), (4, y), small(&GREY)))
}

/// Signal to noise by where normal numbers lie in a format.
pub fn signal(curves: &[Curve]) -> anyhow::Result<String> {
    picture(SIGNAL, |root| {
        let (left, right) = root.split_horizontally(SIGNAL.0 as i32 - LEGEND);
        let mut chart = ChartBuilder::on(&left)
            .margin(10)
            .x_label_area_size(36)
            .y_label_area_size(60)
            .build_cartesian_2d(-24.0..0.5, 0.0..42.0)?;
        let x = "standard deviation / largest number, power of two";
        mesh!(chart, x, &|x| format!("{x:.0}"), "SQNR, dB", &|y| format!("{y:.0}"))?;
        for (i, curve) in curves.iter().enumerate() {
            let inside = |points: &[(f64, f64)]| -> Vec<(f64, f64)> {
                points.iter().copied().filter(|point| (0.0..=42.0).contains(&point.1)).collect()
            };
            chart.draw_series([PathElement::new(inside(&curve.line), style(i))])?;
            let mark = |at| Circle::new(at, 3, style(i).color.filled());
            chart.draw_series(inside(&curve.marks).into_iter().map(mark))?;
        }
        legend(&right, curves.iter().map(|curve| &*curve.name), "lines: theory, dots: measured")
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
    let panels = [
        ("norm of errors of sums, of |A||B|", lines(|p| p.sums_norm)),
        ("largest error of sums / bound", lines(|p| p.sums_of_bound)),
    ];
    let size = (PRODUCTS.0 * panels.len() as u32 + LEGEND as u32, PRODUCTS.1);
    picture(size, |root| {
        let (left, right) = root.split_horizontally((size.0 as i32) - LEGEND);
        for (area, (title, lines)) in left.split_evenly((1, panels.len())).iter().zip(&panels) {
            panel(area, title, lines)?;
        }
        legend(&right, sums.iter().copied(), "the largest of all recipes")
    })
}

fn panel<'a>(area: &Area<'a>, title: &str, lines: &[Vec<(f64, f64)>]) -> Drawn<'a> {
    let points = || lines.iter().flatten().copied();
    let Some(first) = points().next() else {
        return area.draw(&Text::new(format!("{title}: all 0"), (40, 40), small(&BLACK)));
    };
    let fold = |(low, high): ((f64, f64), (f64, f64)), (x, y): (f64, f64)| {
        ((low.0.min(x), low.1.min(y)), (high.0.max(x), high.1.max(y)))
    };
    let (low, high) = points().fold((first, first), fold);
    let mut chart = ChartBuilder::on(area)
        .margin(10)
        .x_label_area_size(36)
        .y_label_area_size(64)
        .build_cartesian_2d(
        low.0 - 0.25..high.0 + 0.25,
        (low.1 / 2.0..high.1 * 2.0).log_scale(),
    )?;
    mesh!(chart, "log2 K", &|x| format!("{x:.0}"), title, &|y| format!("{y:.0e}"))?;
    for (i, line) in lines.iter().enumerate() {
        chart.draw_series([PathElement::new(line.clone(), style(i))])?;
        let mark = |at: &(f64, f64)| Circle::new(*at, 3, style(i).color.filled());
        chart.draw_series(line.iter().map(mark))?;
    }
    Ok(())
}

/// Shares by scale, a panel for each distribution, and the formats of OCP's specifications.
pub fn casts(all: &[Vec<Share>]) -> anyhow::Result<String> {
    const FORMATS: [&str; 5] = ["e4m3", "e5m2", "e2m3", "e3m2", "e2m1"];
    let across = all.len().clamp(1, 2);
    let down = all.len().div_ceil(across).max(1);
    let size = (CASTS.0 * across as u32 + LEGEND as u32, CASTS.1 * down as u32);
    picture(size, |root| {
        let (left, right) = root.split_horizontally((size.0 as i32) - LEGEND);
        for (area, shares) in left.split_evenly((down, across)).iter().zip(all) {
            scales(area, shares, &FORMATS)?;
        }
        legend(&right, FORMATS.into_iter(), "triangles: saturated, dots: to 0")
    })
}

fn scales<'a>(area: &Area<'a>, shares: &[Share], formats: &[&str]) -> Drawn<'a> {
    let area = area.margin(6, 6, 8, 8);
    let Some(first) = shares.first() else { return Ok(()) };
    area.draw(&Text::new(caption(&first.distribution), (4, 0), heading()))?;
    let mut scales: Vec<&str> = Vec::new();
    for share in shares {
        if !scales.contains(&&*share.scale) {
            scales.push(&share.scale);
        }
    }
    let mut chart = ChartBuilder::on(&area)
        .margin_top(22)
        .x_label_area_size(36)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..scales.len() as f64, (LEAST..1.0).log_scale())?;
    mesh!(chart, "scale", &|_| String::new(), "share", &|y| format!("{y:.0e}"))?;
    let middle = Pos::new(HPos::Center, VPos::Top);
    let letters = TextStyle::from((FONT, 10).into_font()).color(&BLACK).pos(middle);
    for (i, scale) in scales.iter().enumerate() {
        let at = (i as f64 + 0.5, LEAST);
        let name = EmptyElement::at(at) + Text::new((*scale).to_owned(), (0, 4), letters.clone());
        chart.draw_series([name])?;
    }
    for share in shares {
        let place = |names: &[&str], name: &str| names.iter().position(|other| *other == name);
        let found = (place(&scales, &share.scale), place(formats, &share.format));
        let (Some(scale), Some(format)) = found else { continue };
        let x = scale as f64 + (format as f64 + 1.0) / (formats.len() as f64 + 1.0);
        let color = style(format).color;
        let [saturated, flushed] = [share.saturated, share.flushed].map(|n| share.of(n));
        if saturated >= LEAST {
            chart.draw_series([TriangleMarker::new((x, saturated), 5, color.filled())])?;
        }
        if flushed >= LEAST {
            chart.draw_series([Circle::new((x, flushed), 3, color.filled())])?;
        }
    }
    Ok(())
}
