//! What all pictures have in common.
//!
//! Colours are those of Okabe and Ito (Color Universal Design, 2008), which people who do not see
//! all colours tell apart; yellow is left out, on white nobody sees it.

use anyhow::anyhow;
use plotters::coord::Shift;
use plotters::prelude::*;

/// The letters of all pictures.
pub const FONT: &str = "sans-serif";
/// Letters of a caption, at most.
const CAPTION: usize = 64;

/// Colours of lines.
pub const COLORS: [RGBColor; 7] = [
    RGBColor(0, 0, 0),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 158, 115),
    RGBColor(213, 94, 0),
    RGBColor(204, 121, 167),
    RGBColor(0, 114, 178),
];
/// For what is said beside.
pub const GREY: RGBColor = RGBColor(90, 90, 90);

/// A part of a picture.
pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// Whether it could be drawn.
pub type Drawn<'a> =
    Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

/// A picture of so many pixels, as the text of an SVG file.
///
/// # Errors
/// Those of the plotting library.
pub fn picture(
    size: (u32, u32),
    draw: impl for<'a> FnOnce(&Area<'a>) -> Drawn<'a>,
) -> anyhow::Result<String> {
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, size).into_drawing_area();
        let drawn = root.fill(&WHITE).and_then(|()| draw(&root)).and_then(|()| root.present());
        drawn.map_err(|error| anyhow!("the picture: {error}"))?;
    }
    Ok(text)
}

/// Letters of labels and legends.
#[must_use]
pub fn small(color: &RGBColor) -> TextStyle<'_> {
    TextStyle::from((FONT, 14).into_font()).color(color)
}

/// Letters of titles.
#[must_use]
pub fn heading() -> TextStyle<'static> {
    TextStyle::from((FONT, 17).into_font()).color(&BLACK)
}

/// A name without letters that XML forbids, the end of it if it is long.
#[must_use]
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

/// Axes and a grid, as panels with lines have them.
macro_rules! mesh {
    ($chart:expr, $x_title:expr, $x_format:expr, $title:expr, $format:expr) => {
        $chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(BLACK.mix(0.1))
            .x_desc($x_title)
            .y_desc($title)
            .label_style((FONT, 14))
            .axis_desc_style((FONT, 14))
            .x_label_formatter($x_format)
            .y_label_formatter($format)
            .x_labels(8)
            .y_labels(6)
            .draw()
    };
}

pub(crate) use mesh;
