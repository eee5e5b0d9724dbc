//! Histograms as a picture: a panel for each tensor.

use super::report::{Report, TensorReport};
use super::text::{RANGES, range};
use crate::draw::{Area, Drawn, FONT, caption, heading, picture, small};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use quarter::FormatId;

/// Panels of a picture, at most.
pub const PANELS: usize = 48;
/// Pixels of a panel.
const PANEL: (u32, u32) = (560, 300);
const BARS: RGBColor = RGBColor(96, 125, 160);

/// The picture, as the text of an SVG file.
///
/// # Errors
/// Those of the plotting library.
pub fn svg(report: &Report) -> anyhow::Result<String> {
    let tensors = &report.tensors[..report.tensors.len().min(PANELS)];
    let across = if tensors.len() > 1 { 2 } else { 1 };
    let down = tensors.len().div_ceil(across).max(1);
    let size = (PANEL.0 * across as u32, PANEL.1 * down as u32);
    picture(size, |root| {
        let areas = root.split_evenly((down, across));
        areas.iter().zip(tensors).try_for_each(|(area, tensor)| panel(area, tensor))
    })
}

fn panel<'a>(area: &Area<'a>, tensor: &TensorReport) -> Drawn<'a> {
    let area = area.margin(6, 6, 6, 6);
    let shape: Vec<_> = tensor.shape.iter().map(usize::to_string).collect();
    let text = format!("{}  {}[{}]", caption(&tensor.name), tensor.dtype, shape.join(", "));
    area.draw(&Text::new(text, (4, 0), heading()))?;
    let (Some(first), Some(last), Some(amax)) =
        (tensor.histogram.first(), tensor.histogram.last(), tensor.amax)
    else {
        let none =
            Text::new("no finite elements but zeros", (40, PANEL.1 as i32 / 2), small(&BLACK));
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
        let style = small(&color).pos(right);
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
