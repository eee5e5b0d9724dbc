//! Values to codes and scales: what happens to a tensor in `quarter quantize`.

use super::buffer::{Buffer, Bytes};
use super::header::Dtype;
use super::pipeline::{PIECE, Run, Sink, Target, Work};
use super::source::Source;
use anyhow::{Context as _, bail, ensure};
use half::{bf16, f16};
use quarter::recipe::Recipe;
use quarter::scale::ScaleFormat;
use quarter::slice::Values;
use quarter::tensor::{Cast, MatRef, QuantizeOptions, Quantized, Scales, quantize};
use quarter::{FormatId, Granularity, RandomStream, Rounding};
use std::sync::Arc;

/// The element type of codes: that of their format if safetensors has it, else bytes.
///
/// # Errors
/// If they are to be packed and are not of four bits, or rows would begin within a byte.
pub fn codes_dtype(cast: &Cast, packed: bool, cols: usize) -> anyhow::Result<Dtype> {
    let format = cast.format;
    if packed {
        let bits = format.spec().bits();
        ensure!(bits == 4, "--packed is for 4-bit formats, and {format} has {bits} bits");
        ensure!(
            cols.is_multiple_of(2),
            "--packed needs an even number of columns, and there are {cols}"
        );
        return Ok(Dtype::F4);
    }
    Ok(match format {
        FormatId::F8E4M3 => Dtype::F8_E4M3,
        FormatId::F8E5M2 => Dtype::F8_E5M2,
        FormatId::F8E4M3FNUZ => Dtype::F8_E4M3FNUZ,
        FormatId::F8E5M2FNUZ => Dtype::F8_E5M2FNUZ,
        _ => Dtype::U8,
    })
}

/// The element type of scales.
#[must_use]
pub const fn scale_dtype(cast: &Cast) -> Dtype {
    match cast.rule.scale_format() {
        ScaleFormat::F32 => Dtype::F32,
        ScaleFormat::E8M0 => Dtype::F8_E8M0,
        ScaleFormat::E4M3 => Dtype::F8_E4M3,
    }
}

/// The bytes of f32 numbers in a file.
#[must_use]
pub fn single_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// The bytes of scales in a file, and those of the tensor's own.
#[must_use]
pub fn scale_bytes(scales: Scales) -> (Vec<u8>, Option<Vec<u8>>) {
    match scales {
        Scales::F32 { scale_inv, .. } => (single_bytes(&scale_inv), None),
        Scales::E8M0(bytes) => (bytes, None),
        Scales::E4M3 { scale_inv, global_scale_inv } => {
            (scale_inv, Some(single_bytes(&[global_scale_inv])))
        }
    }
}

/// The bytes of codes in a file.
///
/// # Errors
/// For codes that cannot be packed.
pub fn code_bytes(mut quantized: Quantized, packed: bool) -> anyhow::Result<(Vec<u8>, Scales)> {
    if packed {
        quantized.pack()?;
    }
    Ok(quantized.into_parts())
}

/// Quantization of one tensor of a checkpoint.
#[derive(Clone, Copy, Debug)]
pub struct Quantize {
    /// How.
    pub cast: Cast,
    /// What its elements are: F64, F32, F16 or BF16.
    pub dtype: Dtype,
    /// Its rows.
    pub rows: usize,
    /// Its columns.
    pub cols: usize,
    /// Whether two codes share a byte.
    pub packed: bool,
    /// Where stochastic rounding takes its words from.
    pub stream: RandomStream,
}

impl Quantize {
    /// Whether numbers of this type are quantized.
    #[must_use]
    pub const fn takes(dtype: Dtype) -> bool {
        matches!(dtype, Dtype::F64 | Dtype::F32 | Dtype::F16 | Dtype::BF16)
    }

    /// The tensors that come of a tensor: codes, scales, and perhaps a scale of the scales.
    ///
    /// # Errors
    /// Those of [`codes_dtype`].
    pub fn targets(&self, name: &str) -> anyhow::Result<Vec<Target>> {
        let Self { cast, rows, cols, packed, .. } = self;
        let deepseek = super::config::is_deepseek(cast);
        let scale = if deepseek { "_scale_inv" } else { "_scale" };
        let (high, wide) = cast.granularity.grid(*rows, *cols);
        let shape =
            if cast.granularity == Granularity::Tensor { vec![1] } else { vec![high, wide] };
        let target =
            |end: &str, dtype, shape| Target { name: format!("{name}{end}"), dtype, shape };
        let dtype = codes_dtype(cast, *packed, *cols)?;
        let mut targets =
            vec![target("", dtype, vec![*rows, *cols]), target(scale, scale_dtype(cast), shape)];
        if cast.rule.scale_format() == ScaleFormat::E4M3 {
            targets.push(target("_scale_2", Dtype::F32, vec![1]));
        }
        Ok(targets)
    }

    fn row_bytes(&self) -> usize {
        self.cols * self.dtype.bitsize() / 8
    }

    /// Rows that are quantized by themselves: no scale is of more, and no random word depends on
    /// where they are. (Elements are numbered within what is quantized at a time.)
    fn band(&self) -> Option<usize> {
        let random = matches!(
            self.cast.rounding,
            Rounding::Stochastic { .. }
                | Rounding::StochasticEven { .. }
                | Rounding::StochasticOdd { .. }
                | Rounding::StochasticFast { .. }
        );
        let two_level = self.cast.rule.scale_format() == ScaleFormat::E4M3;
        let apart = !random && !two_level;
        match self.cast.granularity {
            Granularity::Row if apart => Some(1),
            Granularity::Block { rows, .. } if apart => Some(rows.min(self.rows.max(1))),
            Granularity::Tensor
            | Granularity::Col
            | Granularity::Row
            | Granularity::Block { .. } => None,
        }
    }
}

impl Work for Quantize {
    fn piece(&self) -> usize {
        let bytes = self.band().unwrap_or(self.rows).saturating_mul(self.row_bytes()).max(1);
        if self.band().is_some() { (PIECE / bytes).max(1) * bytes } else { bytes }
    }

    fn output(&self, input: usize) -> usize {
        2 * input / (self.dtype.bitsize() / 8)
    }

    fn start(&self, _: &Source) -> anyhow::Result<Arc<dyn Run>> {
        Ok(Arc::new(*self))
    }
}

impl Run for Quantize {
    fn run(&self, at: usize, mut input: Buffer, out: &mut Sink<'_>) -> anyhow::Result<()> {
        input.swap(self.dtype.bitsize() / 8);
        let rows = input.len() / self.row_bytes().max(1);
        let first = at / self.row_bytes().max(1);
        let values = match self.dtype {
            Dtype::F64 => Values::F64(input.as_slice()),
            Dtype::F32 => Values::F32(input.as_slice()),
            Dtype::F16 => Values::F16(input.as_slice::<f16>()),
            Dtype::BF16 => Values::Bf16(input.as_slice::<bf16>()),
            dtype => bail!("{dtype} is not quantized"),
        };
        let options = QuantizeOptions::new().random(self.stream);
        let quantized = quantize(MatRef::new(values, rows, self.cols)?, &self.cast, &options)?;
        out.budget.recycle(input);
        let (codes, scales) = code_bytes(quantized, self.packed)?;
        let bits = if self.packed { 4 } else { 8 };
        out.put(0, first * self.cols * bits / 8, Bytes::Vec(codes));
        let (scales, global) = scale_bytes(scales);
        // Scales before those of these rows.
        let (high, wide) = self.cast.granularity.grid(first, self.cols);
        let before = if first == 0 { 0 } else { high * wide };
        let size = scale_dtype(&self.cast).bitsize() / 8;
        out.put(1, before * size, Bytes::Vec(scales));
        if let Some(global) = global {
            out.put(2, 0, Bytes::Vec(global));
        }
        Ok(())
    }
}

/// The cast that a recipe has for weights in the forward product.
///
/// # Errors
/// For a name that is no recipe's, and for a recipe that leaves weights as they are.
pub fn recipe_cast(name: &str) -> anyhow::Result<Cast> {
    let recipe: Recipe = name.parse()?;
    let weight = recipe.fprop.b;
    weight.cast().copied().with_context(|| format!("recipe {name} leaves weights in {weight}"))
}
