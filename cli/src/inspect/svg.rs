//! Histograms as a picture: a panel for each tensor.

use super::report::{Report, TensorReport};
use super::text::{RANGES, range};
use anyhow::anyhow;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use quarter::FormatId;

/// Panels of a picture, at most.
pub const PANELS: usize = 48;
/// Pixels of a panel.
const PANEL: (u32, u32) = (560, 300);
/// Letters of a caption, at most.
const CAPTION: usize = 64;
/// The letters of all pictures.
pub const FONT: &str = "sans-serif";
const BARS: RGBColor = RGBColor(96, 125, 160);

/// A part of a picture.
pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// Whether it could be drawn.
pub type Drawn<'a> =
    Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

/// The picture, as the text of an SVG file.
///
/// # Errors
/// Those of the plotting library.
pub fn svg(report: &Report) -> anyhow::Result<String> {
    let tensors = &report.tensors[..report.tensors.len().min(PANELS)];
    let across = if tensors.len() > 1 { 2 } else { 1 };
    let down = tensors.len().div_ceil(across).max(1);
    let size = (PANEL.0 * across as u32, PANEL.1 * down as u32);
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, size).into_drawing_area();
        draw(&root, tensors, (down, across)).map_err(|error| anyhow!("the picture: {error}"))?;
    }
    Ok(text)
}

fn draw<'a>(root: &Area<'a>, tensors: &[TensorReport], grid: (usize, usize)) -> Drawn<'a> {
    root.fill(&WHITE)?;
    for (area, tensor) in root.split_evenly(grid).iter().zip(tensors) {
        panel(area, tensor)?;
    }
    root.present()
}

fn panel<'a>(area: &Area<'a>, tensor: &TensorReport) -> Drawn<'a> {
    let area = area.margin(6, 6, 6, 6);
    let shape: Vec<_> = tensor.shape.iter().map(usize::to_string).collect();
    let title = format!("{}  {}[{}]", caption(&tensor.name), tensor.dtype, shape.join(", "));
    let title_style = TextStyle::from((FONT, 17).into_font()).color(&BLACK);
    area.draw(&Text::new(title, (4, 0), title_style))?;
    let small = TextStyle::from((FONT, 14).into_font()).color(&BLACK);
    let (Some(first), Some(last), Some(amax)) =
        (tensor.histogram.first(), tensor.histogram.last(), tensor.amax)
    else {
        let none = Text::new("no finite elements but zeros", (40, PANEL.1 as i32 / 2), small);
        return area.draw(&none);
    };
    let (low, end) = (f64::from(first.exponent), f64::from(last.exponent + 1));
    let end = end.max(low + 4.0);
    let most = tensor.histogram.iter().map(|bin| bin.count).max().unwrap_or(1) as f64;
    // Bars fill the lower two thirds; above them are the ranges.
    let top = (most * 2.0).powf(1.5);
    let mut chart = ChartBuilder::on(&area)
        .margin_top(22)
        .x_label_area_size(36)
        .y_label_area_size(52)
        .build_cartesian_2d(low..end, (0.5..top).log_scale())?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.1))
        .x_desc("power of two")
        .y_desc("elements")
        .label_style((FONT, 14))
        .axis_desc_style((FONT, 14))
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{y:.0e}"))
        .y_labels(6)
        .draw()?;
    chart.draw_series(tensor.histogram.iter().map(|bin| {
        let from = f64::from(bin.exponent);
        Rectangle::new([(from + 0.06, 0.5), (from + 0.94, bin.count as f64)], BARS.filled())
    }))?;
    for (i, format) in RANGES.into_iter().enumerate() {
        let reach = range(format, amax);
        let (from, to) = (f64::from(reach.0).max(low), f64::from(reach.1 + 1));
        let color = color(format);
        let y = top.powf(0.74 + 0.1 * i as f64);
        chart.draw_series([PathElement::new([(from, y), (to, y)], color.stroke_width(3))])?;
        let right = Pos::new(HPos::Right, VPos::Bottom);
        let style = TextStyle::from((FONT, 14).into_font()).color(&color).pos(right);
        let text = format!("{format} 2^{} to 2^{}", reach.0, reach.1);
        chart.draw_series([Text::new(text, (end, y * top.powf(0.01)), style)])?;
    }
    Ok(())
}

const fn color(format: FormatId) -> RGBColor {
    match format {
        FormatId::F8E5M2 => RGBColor(46, 125, 50),
        FormatId::F8E4M3 => RGBColor(198, 60, 40),
        _ => RGBColor(106, 62, 160),
    }
}

/// A name without letters that XML forbids, the end of it if it is long.
pub fn caption(name: &str) -> String {
    let plain = |c: char| {
        if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') { '\u{fffd}' } else { c }
    };
    let letters: Vec<char> = name.chars().map(plain).collect();
    match letters.len().checked_sub(CAPTION) {
        Some(over) if over > 0 => format!("...{}", String::from_iter(&letters[over..])),
        _ => String::from_iter(letters),
    }
}
