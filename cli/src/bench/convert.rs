//! Conversions of slices, quantizing and dequantizing, beside a copy of as many bytes.

use super::report::Unit;
use super::yardstick::Yardstick;
use super::{Bench, Shape, contest};
use crate::checkpoint::buffer::reserve;
use half::bf16;
use quarter::recipe::{Pass, Recipe};
use quarter::slice::{CodesMut, DecodeOptions, EncodeOptions, decode, encode};
use quarter::tensor::{
    Cast, DequantizeOptions, MatMut, MatRef, QuantizeOptions, Quantized, quantize, quantize_into,
};
use quarter::{FormatId, Isa, Policy, RandomStream};

/// Every conversion and cast of each shape.
pub fn run(bench: &Bench<'_>, shapes: &[Shape], recipes: &[Recipe]) -> anyhow::Result<()> {
    for Shape { m, k, .. } in shapes {
        let name = format!("{m}x{k}");
        let mut job = Job { bench, shape: &name, data: Data::new(*m, *k)? };
        job.slices()?;
        let mut casts: Vec<Cast> = Vec::new();
        for recipe in recipes {
            let products = Pass::ALL.iter().map(|pass| recipe.gemm(*pass));
            let operands = products.flat_map(|gemm| [gemm.a, gemm.b]);
            for cast in operands.filter_map(|operand| operand.cast().copied()) {
                if !casts.contains(&cast) {
                    casts.push(cast);
                }
            }
        }
        for cast in casts {
            job.cast(&cast)?;
        }
    }
    Ok(())
}

/// Numbers and room.
struct Data {
    rows: usize,
    cols: usize,
    f32: Vec<f32>,
    codes: Vec<u8>,
    bf16: Vec<bf16>,
}

/// So many numbers, about normally distributed.
///
/// # Errors
/// If there is not the memory.
pub fn numbers(n: usize, tensor: u32) -> anyhow::Result<Vec<f32>> {
    let stream = RandomStream { seed: 1, tensor, step: 0 };
    let mut values = Vec::new();
    reserve(&mut values, n)?;
    // The sum of four bytes, from -2 to 2, and a little so that they are not on a grid.
    values.extend((0..n as u64).map(|i| {
        let word = stream.word(i);
        let sum: f32 = word.to_le_bytes().map(f32::from).iter().sum();
        (sum - 510.0) / 256.0 + word as f32 / 1e12
    }));
    Ok(values)
}

impl Data {
    fn new(rows: usize, cols: usize) -> anyhow::Result<Self> {
        let n = rows * cols;
        let f32 = numbers(n, 1)?;
        let (mut codes, mut halves) = (Vec::new(), Vec::new());
        reserve(&mut codes, n)?;
        reserve(&mut halves, n)?;
        codes.extend((0..n).map(|i| (i % 0x7f) as u8));
        halves.resize(n, bf16::ZERO);
        Ok(Self { rows, cols, f32, codes, bf16: halves })
    }
}

/// What is measured of one shape.
struct Job<'a> {
    bench: &'a Bench<'a>,
    shape: &'a str,
    data: Data,
}

impl Job<'_> {
    fn slices(&mut self) -> anyhow::Result<()> {
        let (threads, isa) = (self.bench.threads, Isa::best());
        let encoding = EncodeOptions::new(Policy::SATURATE).scale(200.0).isa(isa).threads(threads);
        for id in [FormatId::F8E4M3, FormatId::F8E5M2] {
            self.row(&format!("f32 to {id}, scaled"), 5, |d| {
                Ok(encode(id.spec(), &d.f32[..], CodesMut::U8(&mut d.codes), &encoding)?)
            })?;
        }
        let decoding = DecodeOptions::new().isa(isa).threads(threads);
        self.row("e4m3 to f32", 5, |d| {
            Ok(decode(FormatId::F8E4M3.spec(), &d.codes[..], &mut d.f32[..], &decoding)?)
        })?;
        self.row("e4m3 to bf16", 3, |d| {
            Ok(decode(FormatId::F8E4M3.spec(), &d.codes[..], &mut d.bf16[..], &decoding)?)
        })?;
        self.data.f32 = numbers(self.data.f32.len(), 1)?;
        Ok(())
    }

    fn cast(&mut self, cast: &Cast) -> anyhow::Result<()> {
        let threads = self.bench.threads;
        let stream = RandomStream { seed: 1, tensor: 1, step: 1 };
        let options = QuantizeOptions::new().threads(threads).random(stream);
        let source = MatRef::new(&self.data.f32, self.data.rows, self.data.cols)?;
        let mut quantized: Quantized = quantize(source, cast, &options)?;
        self.row(&format!("quantize {cast}"), 5, |d| {
            let source = MatRef::new(&d.f32, d.rows, d.cols)?;
            Ok(quantize_into(source, cast, &options, &mut quantized)?)
        })?;
        let options = DequantizeOptions::new().threads(threads);
        self.row(&format!("dequantize {cast} to bf16"), 3, |d| {
            let out = MatMut::new(&mut d.bf16, d.rows, d.cols)?;
            Ok(quantized.view().dequantize_with(out, &options)?)
        })
    }

    /// A row of what reads and writes so many bytes an element. What is wrong shows at once.
    fn row(
        &mut self,
        kernel: &str,
        bytes: usize,
        mut work: impl FnMut(&mut Data) -> anyhow::Result<()> + Send,
    ) -> anyhow::Result<()> {
        let Self { bench, shape, ref mut data } = *self;
        work(data)?;
        let bytes = data.f32.len() * bytes;
        let Some(mut copy) = Yardstick::copy(bench.threads, bytes)? else { return Ok(()) };
        let mut kernel_work = || if work(data).is_ok() { bytes as f64 } else { 0.0 };
        let rates = contest(bench.budget, &mut [&mut copy.work, &mut kernel_work]);
        let yardstick = Some((copy.name, &rates[0][..]));
        bench.report.row(kernel, shape, bench.threads, Unit::Bytes, &rates[1], yardstick)
    }
}
