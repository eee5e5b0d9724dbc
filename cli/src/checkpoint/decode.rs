//! Codes and scales to values: what happens to a piece of a tensor in `quarter dequantize`.
//!
//! y = fl(code · scale_inv) in f32, rounded to nearest even for bf16.

use super::buffer::{Buffer, Bytes};
use super::header::{Dtype, show};
use super::layout::{self, Layout, Scales};
use super::pipeline::{PIECE, Run, Sink, Work};
use super::source::Source;
use anyhow::bail;
use quarter::slice::{
    Codes, CodesMut, DecodeOptions, EncodeOptions, Values, ValuesMut, decode, encode,
};
use quarter::{FormatId, Policy};
use rayon::prelude::*;
use std::sync::Arc;

/// What values are written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum To {
    /// BF16, rounded to nearest even.
    Bf16,
    /// F32.
    F32,
}

impl To {
    /// Its element type.
    #[must_use]
    pub const fn dtype(self) -> Dtype {
        match self {
            Self::Bf16 => Dtype::BF16,
            Self::F32 => Dtype::F32,
        }
    }

    /// Its bytes.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Self::Bf16 => 2,
            Self::F32 => 4,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bf16 => "bf16",
            Self::F32 => "f32",
        }
    }
}

/// Dequantization of one tensor.
#[derive(Debug)]
pub struct Dequantize {
    /// Where codes and scales are.
    pub layout: Layout,
    /// What they become.
    pub to: To,
}

/// Elements that are decoded at a time.
const CHUNK: usize = 1 << 14;

impl Dequantize {
    /// Bits of a code as it is stored.
    fn bits(&self) -> usize {
        if self.layout.packed { self.layout.format.spec().bits() as usize } else { 8 }
    }
}

impl Work for Dequantize {
    fn piece(&self) -> usize {
        PIECE - PIECE % (3 << 12) // whole codes, of six bits too; rows are cut anywhere
    }

    fn output(&self, input: usize) -> usize {
        let codes = input * 8 / self.bits();
        codes * self.to.size() + if self.layout.packed { codes } else { 0 }
    }

    fn start(&self, source: &Source) -> anyhow::Result<Arc<dyn Run>> {
        let scales = layout::scales(source, &self.layout)?;
        let shard = &source.shards[self.layout.codes.shard];
        let name = show(source.tensor(self.layout.codes).0);
        let label = format!("{}: tensor {name}", shard.label);
        Ok(Arc::new(Started { layout: self.layout.clone(), to: self.to, scales, label }))
    }
}

/// With the scales at hand.
#[derive(Debug)]
struct Started {
    layout: Layout,
    to: To,
    scales: Scales,
    /// The file and the tensor of the codes.
    label: String,
}

impl Run for Started {
    fn run(&self, at: usize, input: Buffer, out: &mut Sink<'_>) -> anyhow::Result<()> {
        let Layout { format, packed, .. } = self.layout;
        let spec = format.spec();
        let bits = if packed { spec.bits() as usize } else { 8 };
        let first = at * 8 / bits;
        // A last byte may have bits to spare only in formats that safetensors does not pack.
        let n = input.len() * 8 / bits;
        let mut unpacked = out.buffer(if packed { n } else { 0 })?;
        let codes = if packed {
            spec.unpack(input.as_slice(), unpacked.as_mut_slice())?;
            unpacked.as_slice()
        } else {
            let codes: &[u8] = input.as_slice();
            let most = spec.code_mask();
            let wrong = |code: &u8| u64::from(*code) > most;
            if most < 0xff
                && let Some(i) = codes.iter().position(wrong)
            {
                let (index, code) = (index(first + i, &self.layout.shape), codes[i]);
                let label = &self.label;
                bail!(
                    "{label}: the code at {index:?} is {code:#x}, and those of {format} end at {most:#x}"
                );
            }
            codes
        };
        let mut values = out.buffer(n * self.to.size())?;
        match self.to {
            To::F32 => {
                each(values.as_mut_slice(), codes, |i, values: &mut [f32], codes| {
                    self.values(first + i * CHUNK, codes, values)
                })?;
            }
            To::Bf16 => {
                each(values.as_mut_slice(), codes, |i, words: &mut [u16], codes| {
                    let mut values = vec![0.0; codes.len()];
                    self.values(first + i * CHUNK, codes, &mut values)?;
                    let options = EncodeOptions::new(Policy::NONFINITE).threads(1);
                    let spec = FormatId::Bf16.spec();
                    encode(spec, Values::F32(&values), CodesMut::U16(words), &options)
                })?;
            }
        }
        values.swap(self.to.size());
        out.budget.recycle(input);
        out.budget.recycle(unpacked);
        out.put(0, first * self.to.size(), Bytes::Buffer(values));
        Ok(())
    }
}

impl Started {
    /// Elements from number `first` on.
    fn values(&self, first: usize, codes: &[u8], values: &mut [f32]) -> quarter::Result<()> {
        let Layout { format, rows, cols, granularity, .. } = self.layout;
        let options = DecodeOptions::new().threads(1);
        decode(format.spec(), Codes::U8(codes), ValuesMut::F32(&mut *values), &options)?;
        let (r, c) = granularity.block(rows, cols);
        let (high, wide) = granularity.grid(rows, cols);
        let (mut row, mut col, mut rest) = (first / cols, first % cols, &mut *values);
        while !rest.is_empty() {
            let (values, after) = rest.split_at_mut(rest.len().min(cols - col));
            let line = row / rows * high + row % rows / r;
            let scales = &self.scales.groups[line * wide + col / c..];
            if c == 1 {
                values.iter_mut().zip(scales).for_each(|(value, scale)| *value *= scale);
            } else {
                let begun = values.len().min(c - col % c);
                let (begun, whole) = values.split_at_mut(begun);
                for (values, scale) in std::iter::once(begun).chain(whole.chunks_mut(c)).zip(scales)
                {
                    values.iter_mut().for_each(|value| *value *= scale);
                }
            }
            (row, col, rest) = (row + 1, 0, after);
        }
        if self.scales.after != 1.0 {
            values.iter_mut().for_each(|value| *value *= self.scales.after);
        }
        Ok(())
    }
}

/// Where an element is, by its number.
fn index(mut number: usize, shape: &[usize]) -> Vec<usize> {
    let mut index = vec![0; shape.len()];
    for (place, n) in index.iter_mut().zip(shape).rev() {
        (*place, number) = (number % n, number / n);
    }
    index
}

/// Runs on chunks of both, in the pool if we are in one.
fn each<T: Send>(
    values: &mut [T],
    codes: &[u8],
    run: impl Fn(usize, &mut [T], &[u8]) -> quarter::Result<()> + Sync,
) -> quarter::Result<()> {
    if rayon::current_thread_index().is_some() {
        let pairs = values.par_chunks_mut(CHUNK).zip(codes.par_chunks(CHUNK)).enumerate();
        return pairs.try_for_each(|(i, (values, codes))| run(i, values, codes));
    }
    let mut pairs = values.chunks_mut(CHUNK).zip(codes.chunks(CHUNK)).enumerate();
    pairs.try_for_each(|(i, (values, codes))| run(i, values, codes))
}
