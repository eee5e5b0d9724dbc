//! What is multiplied: numbers or codes, from an array or from a tensor of a checkpoint.

use crate::array::{Array, Codes, Elements, Matrix, Taken, read_scales};
use crate::checkpoint::header::{Dtype, show};
use crate::checkpoint::layout::{self, CAST, Global, Hints, Layout};
use crate::checkpoint::source::{At, Source};
use anyhow::{Context as _, bail, ensure};
use half::{bf16, f16};
use quarter::tensor::{Cast, Quantized, Scales};
use std::collections::HashSet;
use std::path::Path;

/// An operand that was read.
pub enum Operand {
    /// Numbers.
    Values(Array),
    /// Codes and scales, and the cast that made them if it is known.
    Quantized(Quantized, Option<Cast>),
}

/// What the command line says of an operand.
pub struct Given<'a> {
    /// `a` or `b`, as its flags begin.
    pub side: &'static str,
    /// The file.
    pub path: &'a Path,
    /// What an array's elements are taken for.
    pub format: Option<Taken>,
    /// Their scales.
    pub scale: Option<&'a Path>,
    /// The name of a tensor.
    pub tensor: Option<&'a str>,
}

impl Operand {
    /// Rows and columns, as they stand in the file.
    #[must_use]
    pub const fn shape(&self) -> (usize, usize) {
        match self {
            Self::Values(array) => (array.rows, array.cols),
            Self::Quantized(quantized, _) => (quantized.rows(), quantized.cols()),
        }
    }

    /// It as a unit for TF32 multiplies it, where it is numbers of f32.
    #[must_use]
    pub fn cut_to_tf32(self) -> Self {
        match self {
            Self::Values(array) if matches!(array.elements, Elements::F32(_)) => {
                Self::Values(array.cut_to_tf32())
            }
            Self::Values(_) | Self::Quantized(..) => self,
        }
    }
}

impl Given<'_> {
    /// The file and the tensor, for messages.
    #[must_use]
    pub fn label(&self) -> String {
        match self.tensor {
            None => self.path.display().to_string(),
            Some(name) => format!("{} {}", self.path.display(), show(name)),
        }
    }

    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with the file, or with what is said of it.
    pub fn read(&self) -> anyhow::Result<Operand> {
        let Self { side, path, .. } = self;
        let label = || path.display().to_string();
        if path.extension().is_some_and(|extension| extension == "npy") {
            ensure!(
                self.tensor.is_none(),
                "--{side}-tensor is for safetensors: {} is an array",
                label()
            );
            return self.array().with_context(label);
        }
        ensure!(
            self.format.is_none() && self.scale.is_none(),
            "--{side}-format and --{side}-scale are for arrays: {} says what its codes are",
            label()
        );
        let source = Source::open(path)?;
        self.tensor(&source).with_context(label)
    }

    fn array(&self) -> anyhow::Result<Operand> {
        let flag = format!("--{}-format", self.side);
        let matrix = Matrix::read(self.path, "multiplied", &flag, self.format)?;
        let Codes { format, codes, rows, cols } = match (matrix, self.scale) {
            (Matrix::Values(array), None) => return Ok(Operand::Values(array)),
            (Matrix::Values(array), Some(_)) => {
                bail!("--{}-scale is for codes, and these are {}", self.side, array.text())
            }
            (Matrix::Codes(codes), _) => codes,
        };
        let (granularity, scales) = match self.scale {
            None => (quarter::Granularity::Tensor, one()),
            Some(path) => {
                let label = || format!("scales {}", path.display());
                let (scales, shape) = read_scales(path).with_context(label)?;
                (layout::granularity((rows, cols), &shape).with_context(label)?, scales)
            }
        };
        let quantized = Quantized::from_parts(format, (rows, cols), granularity, codes, scales)?;
        Ok(Operand::Quantized(quantized, None))
    }

    fn tensor(&self, source: &Source) -> anyhow::Result<Operand> {
        let at = self.choose(source)?;
        let mut hints = Hints::of(source.config.as_ref()).context("config.json")?;
        hints.unscaled = true;
        let (name, info) = source.tensor(at);
        if let Some(layout) = layout::find(source, at, &hints)? {
            return quantized(source, &layout).with_context(|| format!("tensor {}", show(name)));
        }
        let [rows, cols] = info.shape[..] else {
            bail!("tensor {} has shape {:?}, and matrices are multiplied", show(name), info.shape);
        };
        let dtype = info.dtype;
        let bytes = if matches!(dtype, Dtype::F64 | Dtype::F32 | Dtype::F16 | Dtype::BF16) {
            source.read_all(at)?
        } else {
            bail!("tensor {} is of {dtype}: neither numbers nor codes with scales", show(name))
        };
        let words = || bytes.as_chunks().0.iter().map(|word| u16::from_le_bytes(*word));
        let elements = match dtype {
            Dtype::F64 => Elements::F64(
                bytes.as_chunks().0.iter().map(|word| f64::from_le_bytes(*word)).collect(),
            ),
            Dtype::F16 => Elements::F16(words().map(f16::from_bits).collect()),
            Dtype::BF16 => Elements::Bf16(words().map(bf16::from_bits).collect()),
            _ => Elements::F32(
                bytes.as_chunks().0.iter().map(|word| f32::from_le_bytes(*word)).collect(),
            ),
        };
        Ok(Operand::Values(Array { elements, rows, cols, fortran_order: false, tf32: false }))
    }

    /// The tensor that is named; else the codes of an array, or the only matrix that there is.
    fn choose(&self, source: &Source) -> anyhow::Result<At> {
        if let Some(name) = self.tensor {
            return source.find(name).with_context(|| format!("it holds no tensor {}", show(name)));
        }
        if let Some(codes) = source.find("codes") {
            return Ok(codes);
        }
        let scales: HashSet<At> =
            source.tensors().filter_map(|at| layout::scale_of(source, at)).collect();
        let matrix = |at: &At| !scales.contains(at) && source.tensor(*at).1.shape.len() == 2;
        let matrices: Vec<At> = source.tensors().filter(matrix).collect();
        let [only] = matrices[..] else {
            bail!(
                "it holds {} matrices: choose one by --{}-tensor NAME",
                matrices.len(),
                self.side
            );
        };
        Ok(only)
    }
}

/// One scale of 1 that goes with scales of any form but NVFP4's: that of codes without.
#[must_use]
pub fn one() -> Scales {
    Scales::E8M0(vec![127])
}

fn quantized(source: &Source, layout: &Layout) -> anyhow::Result<Operand> {
    let [rows, cols] = layout.shape[..] else {
        bail!("its shape is {:?}, and matrices are multiplied", layout.shape);
    };
    let scales = match layout.scale {
        None => one(),
        Some(at) => match source.tensor(at).1.dtype {
            Dtype::F8_E8M0 | Dtype::U8 => Scales::E8M0(source.read_all(at)?),
            Dtype::F8_E4M3 => Scales::E4M3 {
                scale_inv: source.read_all(at)?,
                global_scale_inv: global(source, layout)?,
            },
            _ => Scales::F32 { scale: None, scale_inv: layout::scales(source, layout)?.groups },
        },
    };
    let codes = source.read_all(layout.codes)?;
    let Layout { format, granularity, .. } = *layout;
    let shape = (rows, cols);
    let mut quantized = if layout.packed {
        Quantized::from_packed(format, shape, granularity, &codes, scales)?
    } else {
        Quantized::from_parts(format, shape, granularity, codes, scales)?
    };
    quantized.unpack();
    let cast = source.shards[layout.codes.shard].header.metadata.get(CAST);
    let cast = cast.filter(|_| layout.scale.is_some()).map(|cast| cast.parse::<Cast>());
    Ok(match cast.transpose()? {
        Some(cast) => Operand::Quantized(quantized.with_rule(cast.rule), Some(cast)),
        None => Operand::Quantized(quantized, None),
    })
}

/// The tensor's own factor.
fn global(source: &Source, layout: &Layout) -> anyhow::Result<f32> {
    let Some((at, how)) = layout.global else { return Ok(1.0) };
    let name = show(source.tensor(at).0);
    let [global] = layout::numbers(source, at)?[..] else { bail!("{name} is not one number") };
    Ok(match how {
        Global::Multiplies | Global::After => global,
        Global::Divides => 1.0 / global,
    })
}
