//! Pictures of a row for each name, and a dot for each distribution.

use super::casts::Share;
use super::history::Kept;
use super::noise::Noise;
use super::table::of_recipes;
use crate::draw::{Area, COLORS, Drawn, GREY, caption, heading, picture, small};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Pixels of a row, above the first and below the last; of names, and between panels and edges.
const ROW: i32 = 26;
const TOP: i32 = 64;
const BOTTOM: i32 = 56;
const NAMES: i32 = 340;
/// Letters of a name in one line, and pixels between two lines.
const LETTERS: usize = 48;
const LINE: i32 = 13;
const GAP: i32 = 24;
/// Signal to noise beyond is not drawn, in dB.
const MOST_DB: f64 = 60.0;
/// The least share that is drawn as itself, a power of ten; 0 has a line of its own left of it.
const LEAST: i32 = -7;

/// Where numbers are in a panel: from `low` at `from` to `high` at `to` pixels.
struct Axis {
    low: f64,
    high: f64,
    from: i32,
    to: i32,
}

impl Axis {
    fn at(&self, x: f64) -> i32 {
        let part = (x.clamp(self.low, self.high) - self.low) / (self.high - self.low);
        self.from + (part * f64::from(self.to - self.from)).round() as i32
    }

    /// A line down all rows, with a label below.
    fn tick<'a>(&self, area: &Area<'a>, x: f64, label: &str, bottom: i32) -> Drawn<'a> {
        let at = self.at(x);
        let line = PathElement::new([(at, TOP - 6), (at, bottom)], BLACK.mix(0.15));
        area.draw(&line)?;
        let middle = small(&BLACK).pos(Pos::new(HPos::Center, VPos::Top));
        area.draw(&Text::new(label.to_owned(), (at, bottom + 4), middle))
    }

    fn title<'a>(&self, area: &Area<'a>, title: &str, bottom: i32) -> Drawn<'a> {
        let middle = small(&BLACK).pos(Pos::new(HPos::Center, VPos::Top));
        let at = ((self.from + self.to) / 2, bottom + 24);
        area.draw(&Text::new(title.to_owned(), at, middle))
    }
}

fn names<'a>(area: &Area<'a>, names: &[String]) -> Drawn<'a> {
    let style = || small(&BLACK).pos(Pos::new(HPos::Right, VPos::Center));
    for (i, name) in names.iter().enumerate() {
        let lines = in_lines(name);
        for (line, text) in lines.iter().enumerate() {
            let off = LINE * (2 * line as i32 + 1 - lines.len() as i32) / 2;
            let at = (NAMES - 12, TOP + ROW * i as i32 + ROW / 2 + off);
            area.draw(&Text::new(caption(text), at, style()))?;
        }
    }
    Ok(())
}

/// A long name in two lines, cut after the comma that is nearest to its middle.
fn in_lines(name: &str) -> Vec<String> {
    let middle = name.len() / 2;
    let commas = name.match_indices(", ").map(|(i, _)| i + 1);
    match commas.min_by_key(|i| i.abs_diff(middle)).filter(|_| name.len() > LETTERS) {
        Some(cut) => vec![name[..cut].to_owned(), name[cut + 1..].to_owned()],
        None => vec![name.to_owned()],
    }
}

/// A colour for each distribution, in a line below the title; the first is full.
fn legend<'a>(area: &Area<'a>, distributions: &[&str]) -> Drawn<'a> {
    let mut x = 12;
    for (i, name) in distributions.iter().enumerate() {
        mark(area, (x, 40), i)?;
        area.draw(&Text::new(caption(name), (x + 10, 34), small(&BLACK)))?;
        x += 30 + 8 * name.len() as i32;
    }
    Ok(())
}

fn mark<'a>(area: &Area<'a>, at: (i32, i32), i: usize) -> Drawn<'a> {
    let color = COLORS[i % COLORS.len()];
    match i {
        0 => area.draw(&Circle::new(at, 4, color.filled())),
        _ => area.draw(&Circle::new(at, 4, color.stroke_width(2))),
    }
}

/// Where a row's dots are: one below the other, since many are at the same place.
const fn beside(row: usize, place: usize) -> i32 {
    TOP + ROW * row as i32 + 4 + 3 * (place as i32 % 7)
}

/// Each once.
fn distributions<'a>(all: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    super::distinct(&all.collect::<Vec<_>>())
}

/// Signal to noise of recipes' products, and where theory has it of normal numbers.
pub fn recipes(noises: &[Vec<Noise>]) -> anyhow::Result<String> {
    let most = noises.iter().flatten().map(|noise| noise.k).max().unwrap_or(0);
    let here = |all: &Vec<Noise>| all.iter().filter(|n| n.k == most).cloned().collect::<Vec<_>>();
    let noises: Vec<Vec<Noise>> = noises.iter().map(here).collect();
    let levels = |all: &Vec<Noise>| all.iter().map(Noise::cell).collect::<Vec<_>>().join(" ");
    let cells = |all: &Vec<Noise>| {
        let first = all.first()?;
        let near = all.iter().filter_map(|n| n.sqnr_db.db()).any(|db| db < MOST_DB);
        let sums = match &*first.sums {
            "f32" => String::new(),
            sums => format!(" {sums}"),
        };
        let cells = [first.recipe.clone(), first.pass.to_owned(), sums, levels(all)];
        near.then(|| cells.to_vec())
    };
    let rows = of_recipes(noises.iter().filter_map(cells).collect());
    let label = |row: &Vec<String>| format!("{}{}: {}", row[0], row[2], row[1]);
    let labels: Vec<String> = rows.iter().map(label).collect();
    let shown = distributions(noises.iter().flatten().map(|noise| &*noise.distribution));
    let (width, bottom) = (NAMES + 620, TOP + ROW * rows.len() as i32);
    let axis = Axis { low: 0.0, high: MOST_DB, from: NAMES, to: width - GAP };
    let seed = noises.iter().flatten().next().map_or(0, |noise| noise.seed);
    picture((width as u32, (bottom + BOTTOM) as u32), |root| {
        let title = format!("Signal to noise of products, K = {most}, seed {seed}");
        root.draw(&Text::new(title, (12, 8), heading()))?;
        legend(root, &shown)?;
        for db in (0..=6).map(|i| 10.0 * f64::from(i)) {
            axis.tick(root, db, &format!("{db}"), bottom)?;
        }
        axis.title(
            root,
            "SQNR, dB (20: errors of 10 %, 40: of 1 %); bars: theory of gaussian",
            bottom,
        )?;
        names(root, &labels)?;
        for (i, row) in rows.iter().enumerate() {
            let middle = TOP + ROW * i as i32 + ROW / 2;
            let Some(all) = noises.iter().find(|all| levels(all) == row[3]) else {
                continue;
            };
            for noise in all.iter().rev() {
                let place = shown.iter().position(|name| *name == noise.distribution);
                let theory = noise.predicted_db.filter(|db| *db < MOST_DB);
                if let Some(x) = theory.map(|db| axis.at(db)) {
                    let bar = [(x - 1, middle - 11), (x + 1, middle + 11)];
                    root.draw(&Rectangle::new(bar, GREY.filled()))?;
                }
                if let (Some(db), Some(place)) = (noise.sqnr_db.db(), place) {
                    mark(root, (axis.at(db), beside(i, place)), place)?;
                }
            }
        }
        Ok(())
    })
}

/// Shares that saturate and that become 0, of casts with a row.
pub fn casts(all: &[Vec<Share>], kept: &[Vec<Kept>]) -> anyhow::Result<String> {
    let mut rows: Vec<(String, Vec<[f64; 2]>)> = Vec::new();
    let mut add = |name: String, figures: Vec<[f64; 2]>| match rows
        .iter_mut()
        .find(|(_, other)| *other == figures)
    {
        Some((names, _)) => *names = format!("{names}, {}", name.split(' ').next().unwrap_or("")),
        None => rows.push((name, figures)),
    };
    for i in 0..kept.first().map_or(0, Vec::len) {
        let figures = kept.iter().map(|kept| {
            let one = &kept[i];
            [one.of(one.saturated), one.of(one.flushed)]
        });
        add(kept[0][i].name(), figures.collect());
    }
    for i in 0..all.first().map_or(0, Vec::len) {
        if !all[0][i].shown {
            continue;
        }
        let figures = all.iter().map(|shares| {
            let share = &shares[i];
            [share.of(share.saturated), share.of(share.flushed)]
        });
        add(all[0][i].cast(), figures.collect());
    }
    let first = all.iter().filter_map(|shares| shares.first());
    let shown = distributions(first.map(|share| &*share.distribution));
    let names_of: Vec<String> = rows.iter().map(|(name, _)| name.clone()).collect();
    let (width, bottom) = (NAMES + 2 * 360, TOP + ROW * rows.len() as i32);
    let axes = [0, 1].map(|i| Axis {
        low: f64::from(LEAST - 1),
        high: 0.0,
        from: NAMES + 360 * i + GAP / 2,
        to: NAMES + 360 * (i + 1) - GAP,
    });
    let seed = all.iter().flatten().next().map_or(0, |share| share.seed);
    picture((width as u32, (bottom + BOTTOM) as u32), |root| {
        let title = format!("Shares of elements beyond the largest number, and to 0, seed {seed}");
        root.draw(&Text::new(title, (12, 8), heading()))?;
        legend(root, &shown)?;
        names(root, &names_of)?;
        for (axis, title) in axes.iter().zip(["overflow", "underflow"]) {
            axis.title(root, title, bottom)?;
            axis.tick(root, axis.low, "0", bottom)?;
            for power in [-6, -4, -2, 0] {
                let label = if power == 0 { "1".to_owned() } else { format!("1e{power}") };
                axis.tick(root, f64::from(power), &label, bottom)?;
            }
        }
        for (i, (_, figures)) in rows.iter().enumerate() {
            for (place, figures) in figures.iter().enumerate().rev() {
                let y = beside(i, place);
                for (axis, share) in axes.iter().zip(figures) {
                    let x =
                        if *share > 0.0 { share.log10().max(f64::from(LEAST)) } else { axis.low };
                    mark(root, (axis.at(x), y), place)?;
                }
            }
        }
        Ok(())
    })
}
