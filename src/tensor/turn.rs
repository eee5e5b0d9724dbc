//! Codes of the transpose, alone or together with those of the matrix itself.
//!
//! Tiles are high enough for whole cache lines of transposed codes, and both casts are made of a
//! tile while the cache holds it.

use super::Cast;
use super::engine::Engine;
use super::options::QuantizeOptions;
use super::pieces::Area;
use super::quantize::{Out, quantize, room};
use super::quantized::Quantized;
use super::scales::{Places, Scales};
use super::target::{Stored, Target, Transposed};
use super::tiles::{Counted, Scratch, TALL, TILE};
use super::view::MatRef;
use crate::error::Error;
use crate::slice::STREAM;
use crate::slice::parallel::{join, parts};
use std::vec::Vec;

/// The least rows of a tile: a cache line of transposed codes.
const LINE: usize = 64;

/// The transposed result, and the other one if that could be had on the way, in the memory of
/// earlier ones.
///
/// # Errors
/// Those of [`quantize`](super::quantize()).
pub(super) fn turn(
    src: MatRef<'_>,
    cast: Option<&Cast>,
    cast_t: &Cast,
    (scales, scales_t): (Option<&Scales>, Option<&Scales>),
    options: &QuantizeOptions<'_>,
    [old, old_t]: [Quantized; 2],
) -> Result<(Option<Quantized>, Quantized), Error> {
    let shape = src.shape();
    let cast_t = &cast_t.transposed();
    if shape.0 <= 1 || shape.1 <= 1 {
        // Codes and scales are in the same order either way.
        let options = &QuantizeOptions { scales: scales_t, ..*options };
        return Ok((None, quantize(src, cast_t, options)?.relabelled()));
    }
    let grid = cast_t.granularity.grid(shape.0, shape.1);
    // Given scales are those of the transposed matrix.
    if let Some(scales) = scales_t {
        scales.check(cast_t.granularity.groups(shape.0, shape.1))?;
    }
    let given = scales_t.map(|scales| scales.clone().transposed(grid.0));
    let options_t = &QuantizeOptions { scales: given.as_ref(), ..*options };
    let options = &QuantizeOptions { scales, ..*options };
    let mut codes_t = room(src, old_t.codes)?;
    let mut codes = match cast {
        Some(_) => room(src, old.codes)?,
        None => Vec::new(),
    };
    let engine_t = Engine::new(src, cast_t, options_t)?;
    let mut out_t = Out::new(&engine_t, cast_t, shape, options_t, old_t.scales)?;
    let mut known_t = given.clone();
    if engine_t.is_two_pass(TALL) {
        out_t.scales = engine_t.scales()?;
        known_t = Some(out_t.scales.clone());
    }
    let (engine_t, places_t) = match &known_t {
        Some(scales) => (engine_t.given(scales), Places::default()),
        None => (engine_t, out_t.scales.places()),
    };
    let (mut engine, mut out, mut known) = (None, None, None);
    if let Some(cast) = cast {
        let first = Engine::new(src, cast, options)?;
        let mut first_out = Out::new(&first, cast, shape, options, old.scales)?;
        if scales.is_some() {
            known = Some(first_out.scales.clone());
        } else if first.is_two_pass(TALL) {
            // One scale for all is the same for the transpose.
            let same = known_t.clone().filter(|_| cast == cast_t && scales_t.is_none());
            first_out.scales = same.map_or_else(|| first.scales(), Ok)?;
            known = Some(first_out.scales.clone());
        }
        (engine, out) = (Some(first), Some(first_out));
    }
    let mut engine = engine.map(|engine| match &known {
        Some(scales) => engine.given(scales),
        None => engine,
    });
    let mut size = tile_size(&engine_t, engine.as_ref());
    if size.0.min(shape.0).saturating_mul(size.1.min(shape.1)) > 4 * TILE {
        (engine, out) = (None, None);
        size = tile_size(&engine_t, None);
    }
    let stored = Stored::new(&mut codes, shape.1, 5 * codes_t.len() >= STREAM);
    let places = match (&mut out, &known) {
        (Some(out), None) => out.scales.places(),
        (Some(_) | None, _) => Places::default(),
    };
    let sinks = Sinks { places_t, turned: Transposed::new(&mut codes_t, shape.0), places, stored };
    let job = Job { engine_t: &engine_t, engine: engine.as_ref(), size };
    let parts = parts(shape.0 * shape.1, engine_t.threads);
    let (counted_t, counted) = job.split((0, shape.0), sinks, parts);
    let first = out.map(|out| out.finish(codes, counted));
    Ok((first, out_t.turned(grid, codes_t, counted_t)))
}

/// Where both results go.
struct Sinks<'a> {
    places_t: Places<'a>,
    turned: Transposed<'a>,
    places: Places<'a>,
    stored: Stored<'a>,
}

struct Job<'a> {
    engine_t: &'a Engine<'a>,
    engine: Option<&'a Engine<'a>>,
    /// Rows and columns of a tile.
    size: (usize, usize),
}

impl Job<'_> {
    fn split(&self, rows: (usize, usize), sinks: Sinks<'_>, parts: usize) -> (Counted, Counted) {
        let left = parts / 2;
        let at = rows.0 + (rows.1 - rows.0) / parts.max(1) * left / self.size.0 * self.size.0;
        if parts < 2 || at == rows.0 || at == rows.1 {
            return self.serial(rows, sinks);
        }
        let (places_t, places_t1) = self.engine_t.split_places(sinks.places_t, at);
        let (turned, turned1) = sinks.turned.split(true, at - rows.0);
        let (places, places1) = match self.engine {
            Some(engine) => engine.split_places(sinks.places, at),
            None => (sinks.places, Places::default()),
        };
        let (stored, stored1) = match self.engine {
            Some(_) => sinks.stored.split(true, at - rows.0),
            None => (sinks.stored, Stored::new(&mut [], 0, false)),
        };
        let one = Sinks { places_t, turned, places, stored };
        let two = Sinks { places_t: places_t1, turned: turned1, places: places1, stored: stored1 };
        let (one, two) = join(
            || self.split((rows.0, at), one, left),
            || self.split((at, rows.1), two, parts - left),
        );
        (one.0.merge(two.0), one.1.merge(two.1))
    }

    fn serial(&self, rows: (usize, usize), mut sinks: Sinks<'_>) -> (Counted, Counted) {
        let mut scratch = Scratch::new();
        let cols = self.engine_t.src.shape().1;
        let area = Area { rows, cols: (0, cols) };
        let mut counted_t = Counted::new(self.engine_t, area);
        let mut counted = Counted::new(self.engine.unwrap_or(self.engine_t), area);
        for row in (rows.0..rows.1).step_by(self.size.0) {
            for col in (0..cols).step_by(self.size.1) {
                let end = (row.saturating_add(self.size.0), col.saturating_add(self.size.1));
                let area = Area { rows: (row, end.0.min(rows.1)), cols: (col, end.1.min(cols)) };
                if let Some(engine) = self.engine {
                    let (places, stored) = (&mut sinks.places, &mut sinks.stored);
                    engine.area(area, places, stored, &mut scratch, &mut counted);
                }
                sinks.turned.begin(area);
                let (places, turned) = (&mut sinks.places_t, &mut sinks.turned);
                self.engine_t.area(area, places, turned, &mut scratch, &mut counted_t);
                sinks.turned.end(self.engine_t.kernels);
            }
        }
        sinks.stored.finish(self.engine_t);
        (counted_t, counted)
    }
}

/// Rows and columns of tiles that both engines can take: about as many elements as the second
/// level of the cache holds, if groups let them.
fn tile_size(one: &Engine<'_>, other: Option<&Engine<'_>>) -> (usize, usize) {
    let unit = other.map_or((1, 1), Engine::unit);
    let height = common(one.unit().0, unit.0);
    let width = common(one.unit().1, unit.1);
    let height = height.saturating_mul(LINE.div_ceil(height));
    let width = width.saturating_mul((TILE / height.saturating_mul(width)).max(1));
    (height, width)
}

/// A multiple of both.
const fn common(a: usize, b: usize) -> usize {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    if high % low == 0 { high } else { high.saturating_mul(low) }
}
