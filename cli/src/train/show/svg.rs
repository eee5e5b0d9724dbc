//! Losses and scales as pictures.

use super::series::{Bins, Curve, Curves, extent, gap_limit};
use super::{ScaleRecord, StepRecord};
use crate::draw::{Area, COLORS, Drawn, FONT, GREY, caption, heading, mesh, picture, small};
use plotters::prelude::*;
use std::collections::BTreeMap;

/// Panels of [`scales_svg`], at most.
pub const PANELS: usize = 24;

/// Pixels of the picture of losses, and of its upper panel.
const LOSS: (u32, u32) = (960, 680);
const UPPER: u32 = 440;
/// Pixels beside the panels, for the legend.
const LEGEND: i32 = 190;
/// Lines of the legend, at most.
const ENTRIES: usize = 28;
/// Points of a line, at most.
const POINTS: usize = 120;
/// Pixels of a panel of scales, and of the legend above them.
const PANEL: (u32, u32) = (480, 260);
const HEAD: u32 = 34;

/// Roles and their colours.
const ROLES: [(&str, RGBColor); 3] =
    [("input", COLORS[6]), ("weight", COLORS[3]), ("grad_output", COLORS[4])];

/// Points of a line: steps and values.
type Points = Vec<(f64, f64)>;

/// Training losses (means over bins of steps) and validation losses (points) of all recipes; below
/// it the gap of the former to those of bf16, else of f32, else of the first recipe, the same
/// steps compared. It is the text of an SVG file.
///
/// # Errors
/// Those of the plotting library.
pub fn loss_svg(records: &[StepRecord]) -> anyhow::Result<String> {
    let curves = Curves::new(records);
    picture(LOSS, |root| {
        let (left, right) = root.split_horizontally(LOSS.0 as i32 - LEGEND);
        let (upper, lower) = left.split_vertically(UPPER as i32);
        if curves.is_empty() {
            let none = Text::new("no finite training loss", (40, 40), small(&BLACK));
            return root.draw(&none);
        }
        let bins = curves.bins(POINTS);
        losses(&upper, &curves, &bins)?;
        gaps(&lower, &curves, &bins)?;
        legend(&right, &curves)
    })
}

/// The line of a recipe. Earlier ones are wider, so that one below another shows; of colours that
/// come again the lines are thin.
fn style(i: usize, recipes: usize) -> ShapeStyle {
    let wide = if i < COLORS.len() { 2 + (recipes - 1 - i).min(3) as u32 } else { 1 };
    COLORS[i % COLORS.len()].stroke_width(wide)
}

/// A validation loss: recipes of one colour have different marks.
fn mark<DB: DrawingBackend>(at: (i32, i32), i: usize) -> DynElement<'static, DB, (i32, i32)> {
    let color = COLORS[i % COLORS.len()];
    match i / COLORS.len() {
        0 => Circle::new(at, 4, color.filled()).into_dyn(),
        1 => TriangleMarker::new(at, 6, color.filled()).into_dyn(),
        _ => Cross::new(at, 4, color.stroke_width(2)).into_dyn(),
    }
}

fn points(values: &[Option<f64>], bins: &Bins) -> Points {
    let present = values.iter().enumerate().filter_map(|(i, value)| Some((i, (*value)?)));
    present.map(|(i, value)| (bins.middle(i), value)).collect()
}

/// The steps of a picture, never none.
fn steps(bins: &Bins) -> (f64, f64) {
    let first = bins.first as f64;
    (first, (bins.last as f64).max(first * (1.0 + 1e-9) + 1.0))
}

/// A range with room above and below, never empty.
fn room((low, high): (f64, f64)) -> (f64, f64) {
    let pad = (0.04 * (high - low)).max(1e-3 * high.abs().max(1e-3));
    (low - pad, high + pad)
}

fn losses<'a>(area: &Area<'a>, curves: &Curves, bins: &Bins) -> Drawn<'a> {
    let lines: Vec<_> = curves.curves.iter().map(|c| points(&c.smooth(bins), bins)).collect();
    let all = lines.iter().flatten().map(|point| point.1);
    let vals = curves.curves.iter().flat_map(|curve| curve.val.values().copied());
    let (low, high) = room(extent(all.chain(vals)).unwrap_or((0.0, 1.0)));
    let (first, last) = steps(bins);
    let mut chart = ChartBuilder::on(area)
        .margin(10)
        .x_label_area_size(36)
        .y_label_area_size(60)
        .build_cartesian_2d(first..last, low..high)?;
    let mean =
        if bins.each > 1 { format!(" (mean of {} steps)", bins.each) } else { String::new() };
    mesh!(chart, "step", &|x| format!("{x:.0}"), format!("train loss{mean}"), &|y| format!(
        "{y:.2}"
    ))?;
    for (i, line) in lines.iter().enumerate() {
        let style = style(i, lines.len());
        chart.draw_series([PathElement::new(line.clone(), style)])?;
        if let [point] = line[..] {
            chart.draw_series([Circle::new(point, 2, style.filled())])?;
        }
    }
    for (i, Curve { val, .. }) in curves.curves.iter().enumerate() {
        let at = val.iter().map(|(step, loss)| ((*step as f64).clamp(first, last), *loss));
        chart.draw_series(at.map(|at| EmptyElement::at(at) + mark((0, 0), i)))?;
    }
    Ok(())
}

fn gaps<'a>(area: &Area<'a>, curves: &Curves, bins: &Bins) -> Drawn<'a> {
    let Some(base) = curves.baseline() else { return Ok(()) };
    let rows: Vec<_> = curves.curves.iter().map(|curve| curve.gaps(base, bins)).collect();
    let others = curves.curves.iter().zip(&rows).filter(|(curve, _)| !std::ptr::eq(*curve, base));
    let limit = gap_limit(&others.map(|(_, row)| row.clone()).collect::<Vec<_>>());
    let (first, last) = steps(bins);
    let mut chart = ChartBuilder::on(area)
        .margin(10)
        .x_label_area_size(36)
        .y_label_area_size(60)
        .build_cartesian_2d(first..last, -1.04 * limit..1.04 * limit)?;
    let digits = (1.0 - limit.log10().floor()).clamp(0.0, 6.0) as usize;
    let title = format!("gap to {}, %", caption(&base.name));
    mesh!(chart, "step", &|x| format!("{x:.0}"), title, &|y| format!("{y:+.digits$}"))?;
    for (i, row) in rows.iter().enumerate() {
        let line = points(row, bins).into_iter().map(|(x, y)| (x, y.clamp(-limit, limit)));
        let line: Points = line.collect();
        // The baseline is a line at 0.
        chart.draw_series([PathElement::new(line, style(i, rows.len()).color.stroke_width(2))])?;
    }
    Ok(())
}

fn legend<'a>(area: &Area<'a>, curves: &Curves) -> Drawn<'a> {
    let many = curves.curves.len();
    for (i, curve) in curves.curves.iter().take(ENTRIES).enumerate() {
        let y = 24 + 22 * i as i32;
        area.draw(&PathElement::new([(4, y), (34, y)], style(i, many)))?;
        area.draw(&(EmptyElement::at((19, y)) + mark((0, 0), i)))?;
        let left_out = match curve.left_out {
            0 => String::new(),
            n => format!(" ({n} not finite)"),
        };
        let name = format!("{}{left_out}", caption(&curve.name));
        area.draw(&Text::new(name, (42, y - 8), small(&BLACK)))?;
    }
    let y = 24 + 22 * many.min(ENTRIES) as i32;
    let more = many.saturating_sub(ENTRIES) + curves.more;
    let note = if more > 0 { format!("and {more} more") } else { "marks: validation".to_owned() };
    if more > 0 || curves.curves.iter().any(|curve| !curve.val.is_empty()) {
        area.draw(&Text::new(note, (4, y), small(&GREY)))?;
    }
    Ok(())
}

/// What is shown of one operand over time, both greater than 0: steps and values.
#[derive(Debug, Default)]
struct Operand {
    amax: Points,
    scale: Points,
}

/// The operands of a layer, by role.
type Panel<'a> = ((&'a str, &'a str), BTreeMap<&'a str, Operand>);

/// The largest magnitudes (wide lines) and the scales (thin ones) of the operands of each layer of
/// each recipe, a panel each, at most [`PANELS`]; what is not greater than 0 or not finite is left
/// out. It is the text of an SVG file.
///
/// # Errors
/// Those of the plotting library.
pub fn scales_svg(records: &[ScaleRecord]) -> anyhow::Result<String> {
    let mut panels: Vec<Panel<'_>> = Vec::new();
    let mut places = BTreeMap::new();
    for record in records {
        let name = (record.recipe.as_str(), record.layer.as_str());
        let place = *places.entry(name).or_insert(panels.len());
        if place == panels.len() {
            panels.push((name, BTreeMap::new()));
        }
        let operand = panels[place].1.entry(record.role).or_default();
        let is_drawn = |x: f32| x.is_finite() && x > 0.0;
        if is_drawn(record.amax) {
            operand.amax.push((record.step as f64, record.amax.into()));
        }
        if is_drawn(record.scale) {
            operand.scale.push((record.step as f64, record.scale.into()));
        }
    }
    let shown = &panels[..panels.len().min(PANELS)];
    let across = shown.len().clamp(1, if shown.len() > 4 { 3 } else { 2 });
    let down = shown.len().div_ceil(across).max(1);
    let size = (PANEL.0 * across as u32, HEAD + PANEL.1 * down as u32);
    picture(size, |root| {
        let (head, body) = root.split_vertically(HEAD as i32);
        let mut x = 12;
        for (role, color) in ROLES {
            head.draw(&PathElement::new([(x, 18), (x + 24, 18)], color.stroke_width(3)))?;
            head.draw(&Text::new(role, (x + 30, 10), small(&BLACK)))?;
            x += 50 + 8 * role.len() as i32;
        }
        let cut = match panels.len() {
            0 => "no scales".to_owned(),
            all if all > PANELS => format!("wide: amax, thin: scale; first {PANELS} of {all}"),
            _ => "wide: amax, thin: scale".to_owned(),
        };
        head.draw(&Text::new(cut, (x, 10), small(&GREY)))?;
        for (area, panel) in body.split_evenly((down, across)).iter().zip(shown) {
            scales(area, panel)?;
        }
        Ok(())
    })
}

fn scales<'a>(area: &Area<'a>, ((recipe, layer), operands): &Panel<'_>) -> Drawn<'a> {
    let area = area.margin(6, 6, 8, 8);
    area.draw(&Text::new(caption(&format!("{recipe}  {layer}")), (4, 0), heading()))?;
    let all = || operands.values().flat_map(|operand| operand.amax.iter().chain(&operand.scale));
    let (Some((first, last)), Some((low, high))) =
        (extent(all().map(|point| point.0)), extent(all().map(|point| point.1)))
    else {
        let none = Text::new("nothing greater than 0", (40, PANEL.1 as i32 / 2), small(&BLACK));
        return area.draw(&none);
    };
    let mut chart = ChartBuilder::on(&area)
        .margin_top(22)
        .x_label_area_size(36)
        .y_label_area_size(60)
        .build_cartesian_2d(
            first..last.max(first * (1.0 + 1e-9) + 1.0),
            (low / 2.0..high * 2.0).log_scale(),
        )?;
    mesh!(chart, "step", &|x| format!("{x:.0}"), "amax, scale", &|y| format!("{y:.0e}"))?;
    for (i, (role, operand)) in operands.iter().enumerate() {
        let known = ROLES.iter().find(|(name, _)| name == role);
        let color = known.map_or(COLORS[i % COLORS.len()], |(_, color)| *color);
        for (line, wide) in [(&operand.amax, 3), (&operand.scale, 1)] {
            let line = thinned(line);
            if let [point] = line[..] {
                chart.draw_series([Circle::new(point, wide, color.filled())])?;
            }
            chart.draw_series([PathElement::new(line, color.stroke_width(wide as u32))])?;
        }
    }
    Ok(())
}

/// At most about [`POINTS`] of the points: of neighbours the one with the largest value, so that no
/// peak is lost.
fn thinned(line: &[(f64, f64)]) -> Points {
    let each = line.len().div_ceil(POINTS).max(1);
    let largest = |points: &[(f64, f64)]| points.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1));
    line.chunks(each).filter_map(largest).collect()
}
