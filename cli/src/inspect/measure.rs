//! One tensor, measured in tiles: what it is, then what each cast makes of it.
//!
//! ```text
//!  tile ──► Stats, amaxes of groups that are larger than a tile
//!  tile ──► each cast: quantize (scales given where groups are larger) ──► dequantize ──► Loss
//! ```
//!
//! A tensor of one tile is read once, a larger one twice. Tiles hold whole blocks of every cast, so
//! memory is that of a tile, however large the tensor is, unless blocks are larger. Tiles depend on
//! the shape and on blocks that are not usual, and on nothing else: neither do the results.

use super::report::{CastReport, Loss};
use super::source::{Element, Kind, Tensor, with_elements};
use super::stats::{Stats, in_order};
use crate::checkpoint::buffer::{Buffer, reserve};
use quarter::scale::{Context, GroupScale, Native, ScaleFormat};
use quarter::slice::Values;
use quarter::tensor::{Cast, MatMut, MatRef, QuantizeOptions, Quantized, Scales, quantize_into};
use quarter::{FormatSpec, Granularity, RandomStream};

/// Elements of a tile.
const TILE: usize = 1 << 21;
/// Rows and columns of which tiles have multiples: they hold the usual blocks.
const STEP: (usize, usize) = (128, 4096);

/// Some rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Area {
    rows: (usize, usize),
    cols: (usize, usize),
}

/// How a matrix is cut.
#[derive(Clone, Copy, Debug)]
struct Tiles {
    shape: (usize, usize),
    tile: (usize, usize),
}

impl Tiles {
    fn new(shape: (usize, usize), casts: &[Cast], most: usize) -> Self {
        let (rows, cols) = shape;
        let mut step = STEP;
        for cast in casts {
            if let Granularity::Block { rows, cols } = cast.granularity {
                step = (lcm(step.0, rows), lcm(step.1, cols));
            }
        }
        let whole = |n: usize, step: usize, of: usize| {
            (n / step).max(1).saturating_mul(step).min(of).max(1)
        };
        let wide = whole(most / step.0.min(rows).max(1), step.1, cols);
        let high = whole(most / wide, step.0, rows);
        Self { shape, tile: (high, wide) }
    }

    fn is_one(&self) -> bool {
        self.tile.0 >= self.shape.0 && self.tile.1 >= self.shape.1
    }

    fn areas(self) -> impl Iterator<Item = Area> {
        let ((rows, cols), (high, wide)) = (self.shape, self.tile);
        let across = move |row| {
            let rows = (row, rows.min(row + high));
            let area = move |col| Area { rows, cols: (col, cols.min(col + wide)) };
            (0..cols).step_by(wide).map(area)
        };
        (0..rows).step_by(high).flat_map(across)
    }
}

/// The least common multiple; the largest number where that overflows.
fn lcm(a: usize, b: usize) -> usize {
    let (mut x, mut y) = (a, b);
    while y != 0 {
        (x, y) = (y, x % y);
    }
    (a / x.max(1)).saturating_mul(b)
}

/// The largest magnitude of a group.
#[derive(Clone, Copy, Debug, Default)]
struct Amax {
    /// Of what is not NaN.
    max: f64,
    /// Whether there is NaN.
    nan: bool,
}

impl Amax {
    fn add(&mut self, x: impl Element) {
        let x = x.wide().abs();
        self.max = self.max.max(x);
        self.nan |= x.is_nan();
    }

    /// What a rule sees.
    fn seen_by(self, cast: &Cast) -> f32 {
        if self.nan && !cast.rule.drops_nan() { f32::NAN } else { self.max as f32 }
    }
}

/// Of groups that are larger than a tile.
#[derive(Debug, Default)]
struct Amaxes {
    tensor: Amax,
    rows: Vec<Amax>,
    cols: Vec<Amax>,
}

impl Amaxes {
    fn add<T: Element>(&mut self, area: Area, values: &[T]) {
        let wide = area.cols.1 - area.cols.0;
        for (row, values) in (area.rows.0..).zip(values.chunks_exact(wide.max(1))) {
            if let Some(amax) = self.rows.get_mut(row) {
                values.iter().for_each(|x| amax.add(*x));
            }
            let amaxes = self.cols.get_mut(area.cols.0..).unwrap_or_default();
            amaxes.iter_mut().zip(values).for_each(|(amax, x)| amax.add(*x));
        }
    }
}

/// A tile in memory, and what becomes of it.
#[derive(Debug, Default)]
pub struct Buffers {
    tile: Buffer,
    quantized: Quantized,
    values: Vec<f32>,
}

/// What a tensor is, and what each of the casts makes of it.
///
/// # Errors
/// If it cannot be read or holds codes that are none, or a cast is none.
pub fn measure(
    tensor: &mut Tensor<'_>,
    casts: &[Cast],
    buffers: &mut Buffers,
) -> anyhow::Result<(Stats, Vec<CastReport>)> {
    measure_in(TILE, tensor, casts, buffers)
}

fn measure_in(
    most: usize,
    tensor: &mut Tensor<'_>,
    casts: &[Cast],
    buffers: &mut Buffers,
) -> anyhow::Result<(Stats, Vec<CastReport>)> {
    let mut stats = Stats::default();
    if tensor.elements() == 0 {
        return Ok((stats, Vec::new()));
    }
    let (rows, cols) = tensor.matrix();
    // In the order of the file; the transposed cast of the transposed matrix gives the same.
    let shape = if tensor.by_columns { (cols, rows) } else { (rows, cols) };
    let turned = |cast: &Cast| if tensor.by_columns { cast.transposed() } else { *cast };
    let turned: Vec<_> = casts.iter().map(turned).collect();
    let tiles = Tiles::new(shape, &turned, most);
    let mut amaxes = Amaxes::default();
    let any = |granularity| turned.iter().any(|cast| cast.granularity == granularity);
    if any(Granularity::Row) && tiles.tile.1 < shape.1 {
        amaxes.rows = vec![Amax::default(); shape.0];
    }
    if any(Granularity::Col) && tiles.tile.0 < shape.0 {
        amaxes.cols = vec![Amax::default(); shape.1];
    }
    let kind = tensor.kind;
    for area in tiles.areas() {
        read(tensor, shape.1, area, &mut buffers.tile)?;
        with_elements!(kind, &buffers.tile, values => {
            stats.add(values);
            amaxes.add(area, values);
        });
    }
    let max = if stats.inf > 0 { f64::INFINITY } else { stats.amax };
    amaxes.tensor = Amax { max, nan: stats.nan > 0 };
    let mut losses = vec![Loss::default(); casts.len()];
    for (number, area) in tiles.areas().enumerate() {
        if !tiles.is_one() {
            read(tensor, shape.1, area, &mut buffers.tile)?;
        }
        let stream = RandomStream { seed: 0, tensor: 0, step: number as _ };
        for (cast, loss) in turned.iter().zip(&mut losses) {
            loss.add(&tile_loss(&tiles, area, kind, cast, &amaxes, stream, buffers)?);
        }
    }
    let report = |(cast, loss)| CastReport::new(cast, (rows, cols), &stats, loss);
    let reports = casts.iter().zip(&losses).map(report).collect();
    Ok((stats, reports))
}

fn read(tensor: &mut Tensor<'_>, cols: usize, area: Area, tile: &mut Buffer) -> anyhow::Result<()> {
    let size = tensor.kind.size();
    let (high, wide) = (area.rows.1 - area.rows.0, area.cols.1 - area.cols.0);
    tile.resize(high * wide * size)?;
    let bytes: &mut [u8] = tile.as_mut_slice();
    // At a time, a row of the tile, or all rows where they follow each other.
    let rows = if wide == cols { high } else { 1 };
    for (i, bytes) in bytes.chunks_mut(rows * wide * size).enumerate() {
        tensor.read((area.rows.0 + i * rows) * cols + area.cols.0, bytes)?;
    }
    Ok(())
}

fn tile_loss(
    tiles: &Tiles,
    area: Area,
    kind: Kind,
    cast: &Cast,
    amaxes: &Amaxes,
    stream: RandomStream,
    buffers: &mut Buffers,
) -> anyhow::Result<Loss> {
    let (high, wide) = (area.rows.1 - area.rows.0, area.cols.1 - area.cols.0);
    let Buffers { tile, quantized, values } = buffers;
    let matrix = MatRef::new(kind.values(tile), high, wide)?;
    let given = if tiles.is_one() {
        None
    } else {
        let spec = cast.format.spec();
        let global_scale = cast.rule.global_scale(spec, amaxes.tensor.seen_by(cast));
        let source = matrix.source_type();
        let context = Context { source, global_scale, ..Context::default() };
        let all = |amaxes: &[Amax]| Some(scales(cast, &context, amaxes));
        match cast.granularity {
            Granularity::Tensor => all(&[amaxes.tensor]),
            Granularity::Row if wide < tiles.shape.1 => all(&amaxes.rows[area.rows.0..area.rows.1]),
            Granularity::Col if high < tiles.shape.0 => all(&amaxes.cols[area.cols.0..area.cols.1]),
            Granularity::Block { rows, cols } if cast.rule.scale_format() == ScaleFormat::E4M3 => {
                let amaxes =
                    with_elements!(kind, tile, values => blocks(values, wide, (rows, cols)));
                all(&amaxes)
            }
            Granularity::Row | Granularity::Col | Granularity::Block { .. } => None,
        }
    };
    let options = QuantizeOptions::new().random(stream);
    let options = match &given {
        Some(scales) => options.scales(scales),
        None => options,
    };
    quantize_into(matrix, cast, &options, quantized)?;
    values.clear();
    reserve(values, high * wide)?;
    values.resize(high * wide, 0.0);
    quantized.dequantize_into(MatMut::new(&mut values[..], high, wide)?)?;
    let (spec, codes) = (cast.format.spec(), quantized.codes());
    let mut loss = Loss::default();
    for part in with_elements!(kind, tile, source => losses(source, values, codes, spec)) {
        loss.add(&part);
    }
    Ok(loss)
}

/// The scales of groups with these amaxes.
fn scales(cast: &Cast, context: &Context, amaxes: &[Amax]) -> Scales {
    let spec = cast.format.spec();
    let scale = |amax: &Amax| cast.rule.scale(spec, amax.seen_by(cast), context);
    let groups: Vec<GroupScale> = amaxes.iter().map(scale).collect();
    let single = |pick: fn(&GroupScale) -> f32| groups.iter().map(pick).collect::<Vec<_>>();
    let bytes = || groups.iter().map(|group| group.byte).collect();
    match cast.rule.scale_format() {
        ScaleFormat::F32 => {
            let scale = (cast.rule.native() == Native::Scale).then(|| single(|group| group.scale));
            Scales::F32 { scale, scale_inv: single(|group| group.scale_inv) }
        }
        ScaleFormat::E8M0 => Scales::E8M0(bytes()),
        ScaleFormat::E4M3 => {
            let global_scale_inv = 1.0 / context.global_scale;
            Scales::E4M3 { scale_inv: bytes(), global_scale_inv }
        }
    }
}

/// The amaxes of the blocks of rows that are `wide`.
fn blocks<T: Element>(values: &[T], wide: usize, (rows, cols): (usize, usize)) -> Vec<Amax> {
    let across = wide.div_ceil(cols);
    let mut amaxes = Vec::new();
    for band in values.chunks(rows.saturating_mul(wide)) {
        let first = amaxes.len();
        amaxes.resize(first + across, Amax::default());
        for row in band.chunks(wide) {
            for (amax, values) in amaxes[first..].iter_mut().zip(row.chunks(cols)) {
                values.iter().for_each(|x| amax.add(*x));
            }
        }
    }
    amaxes
}

/// What was lost, chunk by chunk in order.
fn losses<T: Element>(source: &[T], values: &[f32], codes: &[u8], spec: &FormatSpec) -> Vec<Loss> {
    let (most, mask) = (spec.max_code() as u8, spec.magnitude_mask() as u8);
    // Half a step above the largest number, in units of it.
    let limit = 1.0 + (f64::from(spec.emax() - spec.man_bits() as i32) - 1.0).exp2() / spec.max();
    let one = |source: &[T], values: &[f32], codes: &[u8]| {
        let mut lanes = Lanes::default();
        let (xs, x) = source.as_chunks::<LANES>();
        let (ys, y) = values.as_chunks::<LANES>();
        let (cs, c) = codes.as_chunks::<LANES>();
        for ((x, y), c) in xs.iter().zip(ys).zip(cs) {
            lanes.add(x, y, c, mask, most, limit);
        }
        lanes.add(x, y, c, mask, most, limit);
        lanes.sum()
    };
    in_order(codes.len(), |range| {
        one(&source[range.clone()], &values[range.clone()], &codes[range])
    })
}

/// Sums side by side: element i of a chunk is in number i mod [`LANES`].
const LANES: usize = 8;

#[derive(Default)]
struct Lanes {
    noise: [f64; LANES],
    saturated: [u32; LANES],
    flushed: [u32; LANES],
    spoilt: [u32; LANES],
}

impl Lanes {
    /// Up to [`LANES`] elements: values, what came of them, codes.
    #[inline(always)]
    fn add<T: Element>(&mut self, x: &[T], y: &[f32], c: &[u8], mask: u8, most: u8, limit: f64) {
        for i in 0..x.len().min(y.len()).min(c.len()).min(LANES) {
            let (x, y) = (x[i].wide(), f64::from(y[i]));
            let error = if x.is_finite() & y.is_finite() { x - y } else { 0.0 };
            self.noise[i] += error * error;
            // Times a scale of 0 the largest number is 0, and that is no overflow.
            let beyond = (x.abs() > y.abs() * limit) & (c[i] & mask == most) & (y != 0.0);
            self.saturated[i] += u32::from(beyond);
            self.flushed[i] += u32::from(x.is_finite() & (x != 0.0) & (y == 0.0));
            self.spoilt[i] += u32::from(x.is_finite() & !y.is_finite());
        }
    }

    fn sum(&self) -> Loss {
        let count = |lanes: &[u32]| lanes.iter().map(|n| u64::from(*n)).sum();
        let (saturated, spoilt) = (count(&self.saturated), count(&self.spoilt));
        let (noise, flushed) = (self.noise.iter().sum(), count(&self.flushed));
        Loss { noise, saturated, flushed, spoilt }
    }
}

impl Loss {
    fn add(&mut self, other: &Self) {
        self.noise += other.noise;
        self.saturated += other.saturated;
        self.flushed += other.flushed;
        self.spoilt += other.spoilt;
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::Input;
    use super::*;
    use crate::checkpoint::patterns::PatternArgs;
    use crate::npy;
    use std::fs::File;
    use std::io::Write as _;

    const CASTS: [&str; 10] = [
        "e4m3:tensor:te-current",
        "e5m2:tensor:te-mx",
        "e4m3:row:torchao",
        "e4m3:col:deepgemm",
        "e4m3:row:deepseek",
        "e4m3:128x128:te-block",
        "e4m3:1x128:deepseek",
        "e2m1:1x32:microxcaling",
        "e2m1:1x16:nvfp4",
        "e2m1:16x16:nvfp4",
    ];

    /// However small tiles are: scales are those of the whole tensor.
    #[test]
    fn tiles_change_nothing() {
        let (rows, cols) = (300, 9000);
        let directory = tempfile::tempdir().unwrap();
        let stream = RandomStream { seed: 3, ..RandomStream::default() };
        let casts = CASTS.map(|cast| cast.parse().unwrap());
        for (fortran_order, strange) in [(false, false), (true, false), (false, true)] {
            let path = directory.path().join("x.npy");
            let mut file = File::create(&path).unwrap();
            let shape = vec![rows, cols];
            let dtype = npy::Dtype::F32;
            npy::Header { dtype, big_endian: false, fortran_order, shape }
                .write(&mut file)
                .unwrap();
            let value = |i: u64| {
                let x = (f64::from(stream.word(i)) / 4e9 - 0.5) * (1.0 + (i % 977) as f64).recip();
                match i {
                    9_000 if strange => f32::NAN,
                    2_000_000 if strange => f32::INFINITY,
                    _ => x as f32,
                }
            };
            let bytes: Vec<u8> = (0..rows * cols).flat_map(|i| value(i).to_le_bytes()).collect();
            file.write_all(&bytes).unwrap();
            drop(file);
            let input = Input::open(&path).unwrap();
            let run = |most: usize| {
                let (mut tensors, _) = input.tensors(&PatternArgs::default()).unwrap();
                measure_in(most, &mut tensors[0], &casts, &mut Buffers::default()).unwrap()
            };
            let ((stats, whole), (parts, tiled)) = (run(usize::MAX), run(1 << 19));
            assert_eq!(stats.histogram(), parts.histogram());
            assert_eq!((stats.nan, stats.inf), (parts.nan, parts.inf));
            assert!((stats.sum_squares / parts.sum_squares - 1.0).abs() < 1e-12);
            for (a, b) in whole.iter().zip(&tiled) {
                let counts = |r: &CastReport| (r.saturated, r.flushed, r.spoilt, r.groups);
                assert_eq!(counts(a), counts(b), "{}", a.cast);
                assert_eq!(a.sqnr_db.is_some(), b.sqnr_db.is_some(), "{}", a.cast);
                let (x, y) = (a.sqnr_db.unwrap_or(0.0), b.sqnr_db.unwrap_or(0.0));
                assert!((x - y).abs() < 1e-9, "{}: {x} and {y}", a.cast);
            }
        }
    }

    #[test]
    fn tiles_cover_a_matrix_once() {
        let odd: Cast = "e4m3:96x5000:te-block".parse().unwrap();
        let huge: Cast = format!("e4m3:1x{}:te-block", usize::MAX / 4).parse().unwrap();
        for shape in [(1, 1), (1, 10_000_000), (10_000_000, 1), (3000, 7001), (129, 70_000)] {
            for casts in [&[][..], &[odd], &[odd, huge]] {
                let tiles = Tiles::new(shape, casts, TILE);
                let size = |area: Area| (area.rows.1 - area.rows.0) * (area.cols.1 - area.cols.0);
                let all: usize = tiles.areas().map(size).sum();
                assert_eq!(all, shape.0 * shape.1);
                assert_eq!(tiles.is_one(), tiles.areas().count() == 1);
                for area in tiles.areas() {
                    assert!(size(area) <= TILE || !casts.is_empty(), "{shape:?} {area:?}");
                    let block = casts.first().map_or((128, 128), |_| (96, 5000));
                    assert_eq!(area.rows.0 % block.0, 0);
                    assert_eq!(area.cols.0 % block.1, 0);
                }
            }
        }
    }
}
