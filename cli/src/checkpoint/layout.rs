//! Which tensors hold codes, of which format, and where their scales are.
//!
//! The table of the layouts is in the documentation of [`checkpoint`](super).

use super::header::{Dtype, TensorInfo, show};
use super::source::{At, Source};
use anyhow::{Context as _, bail, ensure};
use quarter::slice::{Codes, DecodeOptions, decode};
use quarter::tensor::Cast;
use quarter::{FormatId, Granularity};
use serde_json::Value;

/// The key of a file's metadata that says how its codes came about.
pub const CAST: &str = "cast";

/// What the second level of a scale does. Engines round in different places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Global {
    /// code · fl(scale · global): ModelOpt.
    Multiplies,
    /// code · fl(scale / global): compressed-tensors.
    Divides,
    /// fl(code · scale) · global: this crate.
    After,
}

/// One way to name a tensor of codes and its scales: the ends of their names.
struct Names {
    codes: &'static str,
    /// What stands there when it is dequantized.
    values: &'static str,
    scale: &'static str,
    /// The second level of the scale.
    global: &'static [(&'static str, Global)],
    /// What is of no use without codes.
    also: &'static [&'static str],
}

/// All ways, the first that fits holds.
const NAMES: [Names; 8] = {
    const fn names(codes: &'static str, values: &'static str, scale: &'static str) -> Names {
        Names { codes, values, scale, global: &[], also: &[] }
    }
    const GLOBAL: &[(&str, Global)] =
        &[("weight_scale_2", Global::Multiplies), ("weight_global_scale", Global::Divides)];
    const ALSO: &[&str] = &["input_scale", "input_global_scale", "weight_shape"];
    [
        // `quarter quantize` of an array
        Names {
            global: &[("global_scale_inv", Global::After)],
            also: &["scale"],
            ..names("codes", "values", "scale_inv")
        },
        // DeepSeek, Qwen
        Names { also: ALSO, ..names("weight", "weight", "weight_scale_inv") },
        // compressed-tensors, ModelOpt
        Names { also: ALSO, global: GLOBAL, ..names("weight", "weight", "weight_scale") },
        Names { also: ALSO, global: GLOBAL, ..names("weight_packed", "weight", "weight_scale") },
        // DeepSeek's own converter, ComfyUI
        names("weight", "weight", "scale"),
        names("weight", "weight", "scale_weight"),
        // torchao, two versions
        names(":qdata", "", ":scale"),
        names("._weight_qdata", ".weight", "._weight_scale"),
    ]
};
/// The same for any other tensor: `experts.gate_up_proj`, `experts.gate_up_proj_scale_inv`.
const ANY: [&str; 2] = ["_scale_inv", "_scale"];

/// A tensor of codes. Matrices with the same number of columns lie one below the other.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The codes.
    pub codes: At,
    /// What the codes are.
    pub format: FormatId,
    /// Whether 4- or 6-bit codes lie without gaps.
    pub packed: bool,
    /// The name of the values.
    pub name: String,
    /// The shape of the values.
    pub shape: Vec<usize>,
    /// Rows of one matrix.
    pub rows: usize,
    /// Columns of all matrices.
    pub cols: usize,
    /// Matrices.
    pub count: usize,
    /// Which elements of one matrix share a scale.
    pub granularity: Granularity,
    /// The scales; none for codes that are values.
    pub scale: Option<At>,
    /// The second level.
    pub global: Option<(At, Global)>,
    /// Tensors that are not needed beside the values, the scales among them.
    pub drop: Vec<At>,
}

/// The codes' format by the element type alone.
const fn format_of(dtype: Dtype) -> Option<(FormatId, bool)> {
    Some(match dtype {
        Dtype::F8_E4M3 => (FormatId::F8E4M3, false),
        Dtype::F8_E5M2 => (FormatId::F8E5M2, false),
        Dtype::F8_E4M3FNUZ => (FormatId::F8E4M3FNUZ, false),
        Dtype::F8_E5M2FNUZ => (FormatId::F8E5M2FNUZ, false),
        Dtype::F6_E2M3 => (FormatId::F6E2M3, true),
        Dtype::F6_E3M2 => (FormatId::F6E3M2, true),
        Dtype::F4 => (FormatId::F4E2M1, true),
        _ => return None,
    })
}

/// What a checkpoint says about itself, beside its tensors.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hints {
    /// Rows and columns of a block, of `quantization_config`.
    pub block: Option<(usize, usize)>,
    /// Take codes without scales for values.
    pub unscaled: bool,
}

impl Hints {
    /// Reads `weight_block_size` of a config.
    ///
    /// # Errors
    /// If it is there and no two positive numbers.
    pub fn of(config: Option<&Value>) -> anyhow::Result<Self> {
        let quantization = config.and_then(super::config::quantization);
        let block = quantization.and_then(|config| config.get("weight_block_size"));
        let Some(block) = block.filter(|block| !block.is_null()) else {
            return Ok(Self::default());
        };
        let number = |i: usize| block.get(i)?.as_u64().and_then(|n| usize::try_from(n).ok());
        match (number(0), number(1), block.get(2)) {
            (Some(rows), Some(cols), None) if rows > 0 && cols > 0 => {
                Ok(Self { block: Some((rows, cols)), unscaled: false })
            }
            _ => bail!("weight_block_size is {block}, not two positive numbers"),
        }
    }
}

/// The layout of a tensor, if it holds codes.
///
/// # Errors
/// If it holds codes, and their scales are missing or do not fit.
pub fn find(source: &Source, at: At, hints: &Hints) -> anyhow::Result<Option<Layout>> {
    let (name, info) = source.tensor(at);
    let found = companions(source, name);
    let context = || format!("tensor {}", show(name));
    let cast = source.shards[at.shard].header.metadata.get(CAST);
    let cast = match cast.filter(|_| found.is_some()) {
        Some(cast) => Some(cast.parse::<Cast>().with_context(context)?),
        None => None,
    };
    let mut shape = info.shape.clone();
    let (format, packed) = match (format_of(info.dtype), info.dtype, &found) {
        (Some(known), ..) => known,
        (None, Dtype::U8, Some(found)) => {
            if let Some(cast) = cast {
                (cast.format, false)
            } else if holds_fp4(source, info, found) {
                // Two codes a byte, as engines without a 4-bit type store them.
                if let Some(last) = shape.last_mut() {
                    *last = last.checked_mul(2).context("its shape overflows")?;
                }
                (FormatId::F4E2M1, true)
            } else {
                return Ok(None);
            }
        }
        _ => return Ok(None),
    };
    let Some(found) = found else {
        ensure!(
            hints.unscaled,
            "tensor {} has codes of {format} and no scale beside it (_scale_inv, _scale); \
             with --unscaled its codes are its values",
            show(name)
        );
        let (name, values) = (name.to_owned(), Vec::new());
        let mut layout =
            layout(at, format, packed, name, shape, None, Granularity::Tensor, values)?;
        let rows = layout.count.checked_mul(layout.rows).context("its shape overflows")?;
        (layout.count, layout.rows) = (1, rows); // one scale for all matrices
        return Ok(Some(layout));
    };
    let scale = &source.tensor(found.scale).1.shape;
    let block = hints.block;
    let granularity = cast.map(|cast| cast.granularity);
    let fitted = fit(&shape, scale, granularity, block).with_context(|| {
        format!("tensor {}, scale {}", show(name), show(source.tensor(found.scale).0))
    })?;
    let Found { name, scale, global, drop } = found;
    let mut layout =
        layout(at, format, packed, name, shape, Some(scale), fitted.granularity, drop)?;
    (layout.count, layout.rows, layout.cols) = (fitted.count, fitted.rows, fitted.cols);
    // What this crate wrote has the cast beside it, whatever its names.
    layout.global = global.map(|(at, how)| (at, if cast.is_some() { Global::After } else { how }));
    Ok(Some(layout))
}

#[expect(clippy::too_many_arguments, reason = "fields of the result")]
fn layout(
    codes: At,
    format: FormatId,
    packed: bool,
    name: String,
    shape: Vec<usize>,
    scale: Option<At>,
    granularity: Granularity,
    drop: Vec<At>,
) -> anyhow::Result<Layout> {
    let (count, rows, cols) = matrices(&shape)?;
    let spec = format.spec();
    ensure!(spec.bits() <= 8, "codes of {format} have {} bits, more than 8", spec.bits());
    let global = None;
    Ok(Layout {
        codes,
        format,
        packed,
        name,
        shape,
        rows,
        cols,
        count,
        granularity,
        scale,
        global,
        drop,
    })
}

/// What goes with a tensor of codes.
struct Found {
    name: String,
    scale: At,
    global: Option<(At, Global)>,
    drop: Vec<At>,
}

fn companions(source: &Source, name: &str) -> Option<Found> {
    for Names { codes, values, scale, global, also } in &NAMES {
        let Some(stem) = name.strip_suffix(codes) else { continue };
        let whole =
            stem.is_empty() || stem.ends_with('.') || !codes.starts_with(char::is_alphabetic);
        let beside = |end: &str| source.find(&format!("{stem}{end}"));
        let Some(scale) = beside(scale).filter(|_| whole) else { continue };
        let global = global.iter().find_map(|(end, how)| Some((beside(end)?, *how)));
        let mut drop: Vec<_> = also.iter().filter_map(|end| beside(end)).collect();
        drop.push(scale);
        drop.extend(global.map(|(at, _)| at));
        return Some(Found { name: format!("{stem}{values}"), scale, global, drop });
    }
    let beside = |end: &str| source.find(&format!("{name}{end}"));
    let scale = ANY.iter().find_map(|end| beside(end))?;
    let global = beside("_scale_2").map(|at| (at, Global::Multiplies));
    let drop = std::iter::once(scale).chain(global.map(|(at, _)| at)).collect();
    Some(Found { name: name.to_owned(), scale, global, drop })
}

/// The scale of a tensor, if that holds codes of any kind.
#[must_use]
pub fn scale_of(source: &Source, at: At) -> Option<At> {
    let (name, info) = source.tensor(at);
    let codes = format_of(info.dtype).is_some() || matches!(info.dtype, Dtype::U8 | Dtype::I8);
    codes.then(|| companions(source, name))?.map(|found| found.scale)
}

/// Whether bytes are pairs of E2M1 codes: their scales are those of MX or NVFP4.
fn holds_fp4(source: &Source, codes: &TensorInfo, found: &Found) -> bool {
    let scale = source.tensor(found.scale).1;
    let (Some(bytes), Some(groups)) = (codes.shape.last(), scale.shape.last()) else {
        return false;
    };
    let per_group = match scale.dtype {
        Dtype::F8_E4M3 => 8,
        Dtype::F8_E8M0 | Dtype::U8 => 16,
        _ => return false,
    };
    codes.shape.len() == scale.shape.len() && bytes.div_ceil(per_group) == *groups
}

/// Matrices, rows and columns of a shape: all but the last two dimensions count matrices.
fn matrices(shape: &[usize]) -> anyhow::Result<(usize, usize, usize)> {
    let product = |shape: &[usize]| shape.iter().try_fold(1_usize, |all, n| all.checked_mul(*n));
    let cols = shape.last().copied().unwrap_or(1);
    let rows = shape.iter().nth_back(1).copied().unwrap_or(1);
    let count = product(&shape[..shape.len().saturating_sub(2)]);
    let count = count.with_context(|| format!("the size of shape {shape:?} overflows"))?;
    Ok((count, rows, cols))
}

/// How scales of a shape lie on a matrix of codes.
///
/// # Errors
/// If they do not fit.
pub fn granularity(codes: (usize, usize), scales: &[usize]) -> anyhow::Result<Granularity> {
    Ok(fit(&[codes.0, codes.1], scales, None, None)?.granularity)
}

/// Blocks that engines use; where a shape of scales fits several, the first holds.
const BLOCKS: [(usize, usize); 9] =
    [(128, 128), (1, 128), (128, 1), (1, 32), (1, 16), (32, 32), (16, 16), (64, 64), (1, 64)];

/// How scales of a shape lie on codes of a shape.
#[derive(Debug)]
struct Fit {
    count: usize,
    rows: usize,
    cols: usize,
    granularity: Granularity,
}

fn fit(
    shape: &[usize],
    scale: &[usize],
    cast: Option<Granularity>,
    block: Option<(usize, usize)>,
) -> anyhow::Result<Fit> {
    let (count, rows, cols) = matrices(shape)?;
    let all = count.checked_mul(rows).context("its shape overflows")?;
    let scales = scale.iter().try_fold(1_usize, |all, n| all.checked_mul(*n));
    let scales = scales.context("its shape overflows")?;
    if let Some(granularity) = cast {
        let groups = granularity.groups(all, cols);
        ensure!(scales == groups, "{scales} scales, but {groups} are needed for {granularity}");
        return Ok(Fit { count: 1, rows: all, cols, granularity });
    }
    let flat = |granularity| Fit { count: 1, rows: all, cols, granularity };
    let (_, high, wide) = matrices(scale)?;
    let grid = |(r, c): (usize, usize)| (rows.div_ceil(r), cols.div_ceil(c));
    let blocks = block.iter().chain(&BLOCKS).copied();
    let block = blocks.clone().find(|block| scale.len() > 1 && grid(*block) == (high, wide));
    Ok(match block {
        _ if scales == 1 => flat(Granularity::Tensor),
        // One column of scales: a row each. (A vector has one for each row, too.)
        _ if scales == all && (wide == 1 || scale.len() + 1 == shape.len()) => {
            flat(Granularity::Row)
        }
        // One for each matrix.
        _ if scales == count => {
            let cols = rows.checked_mul(cols).context("its shape overflows")?;
            Fit { count: 1, rows: count, cols, granularity: Granularity::Row }
        }
        _ if scales.checked_mul(1) == high.checked_mul(wide).and_then(|n| n.checked_mul(count)) => {
            let even = || {
                let whole = high > 0 && wide > 0 && rows % high == 0 && cols % wide == 0;
                whole.then(|| (rows / high, cols / wide))
            };
            let Some((r, c)) = block.or_else(even).filter(|(r, c)| *r > 0 && *c > 0) else {
                bail!("scales of shape {scale:?} fit no blocks of codes of shape {shape:?}");
            };
            let granularity = Granularity::Block { rows: r, cols: c };
            if r == 1 { flat(granularity) } else { Fit { count, rows, cols, granularity } }
        }
        _ => bail!("scales of shape {scale:?} do not fit codes of shape {shape:?}"),
    })
}

/// What codes are multiplied by.
#[derive(Clone, Debug)]
pub struct Scales {
    /// One for each group.
    pub groups: Vec<f32>,
    /// Then one for all.
    pub after: f32,
}

/// Reads the scales of a layout.
///
/// # Errors
/// For a type that scales never have, and what reading gives.
pub fn scales(source: &Source, layout: &Layout) -> anyhow::Result<Scales> {
    let (mut groups, mut after) = (vec![1.0], 1.0);
    if let Some(at) = layout.scale {
        groups = numbers(source, at)?;
    }
    if let Some((at, how)) = layout.global {
        let name = show(source.tensor(at).0);
        let [global] = numbers(source, at)?[..] else { bail!("{name} is not one number") };
        match how {
            Global::Multiplies => groups.iter_mut().for_each(|scale| *scale *= global),
            Global::Divides => groups.iter_mut().for_each(|scale| *scale /= global),
            Global::After => after = global,
        }
    }
    Ok(Scales { groups, after })
}

/// The numbers of a tensor of scales.
///
/// # Errors
/// For a type that scales never have, and what reading gives.
pub fn numbers(source: &Source, at: At) -> anyhow::Result<Vec<f32>> {
    let (name, info) = source.tensor(at);
    let id = match info.dtype {
        Dtype::F32 => FormatId::F32,
        Dtype::BF16 => FormatId::Bf16,
        Dtype::F16 => FormatId::F16,
        Dtype::F8_E8M0 | Dtype::U8 => FormatId::E8M0,
        Dtype::F8_E4M3 => FormatId::F8E4M3,
        dtype => bail!(
            "scale {} is of {dtype}, not of F32, BF16, F16, F8_E8M0, U8 or F8_E4M3",
            show(name)
        ),
    };
    let bytes = source.read_all(at)?;
    if id == FormatId::F32 {
        return Ok(bytes.as_chunks().0.iter().map(|word| f32::from_le_bytes(*word)).collect());
    }
    let size = id.spec().storage_bits() as usize / 8;
    let mut numbers = vec![0.0; bytes.len() / size];
    if size == 1 {
        decode(id.spec(), Codes::U8(&bytes), &mut numbers, &DecodeOptions::new())?;
    } else {
        let words: Vec<_> = bytes.as_chunks().0.iter().map(|w| u16::from_le_bytes(*w)).collect();
        decode(id.spec(), Codes::U16(&words), &mut numbers, &DecodeOptions::new())?;
    }
    Ok(numbers)
}
