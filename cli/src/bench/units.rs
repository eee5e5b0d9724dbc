//! Products through the matrix units of chips, beside the same products with sums in f32.

use super::report::Unit as Rate;
use super::{Bench, Round, Shape, contest};
use crate::checkpoint::buffer::reserve;
use half::{bf16, f16};
use quarter::gemm::{Accumulation, GemmInput, GemmOptions, Workspace, gemm_nt_in};
use quarter::mma::{TF32, Unit};
use quarter::slice::{CodesMut, EncodeOptions, Values, encode};
use quarter::tensor::{MatMut, MatRef, QuantizeOptions, Quantized, Scales, quantize};
use quarter::{FormatId, FormatSpec, Granularity, Policy, RandomStream};

/// Every unit's product of each shape.
pub fn run(bench: &Bench<'_>, shapes: &[Shape], units: &[&'static Unit]) -> anyhow::Result<()> {
    for shape in shapes {
        for unit in units {
            row(bench, *shape, unit)?;
        }
    }
    Ok(())
}

/// An operand in a unit's first format.
enum Operand {
    Codes(Quantized),
    F32(Vec<f32>),
    F16(Vec<f16>),
    Bf16(Vec<bf16>),
}

impl Operand {
    fn new(unit: &Unit, (rows, k): (usize, usize), tensor: u32) -> anyhow::Result<(Self, String)> {
        let values = normals(rows * k, tensor)?;
        let spec: &FormatSpec = unit.inputs()[0];
        let name = spec.name();
        if spec == &TF32 {
            let cut = |x: f32| f32::from_bits(x.to_bits() & !0x1fff);
            return Ok((Self::F32(values.into_iter().map(cut).collect()), name.to_owned()));
        }
        let format: FormatId = name.parse()?;
        if unit.has_block_scales() {
            let cast = format!("{name}:1x32:te-mx");
            let source = MatRef::new(&values, rows, k)?;
            let codes = quantize(source, &cast.parse()?, &QuantizeOptions::new())?;
            return Ok((Self::Codes(codes), cast));
        }
        let options = EncodeOptions::new(Policy::SATURATE);
        let operand = if format.spec().bits() > 8 {
            let mut words = vec![0; values.len()];
            encode(format.spec(), &values[..], CodesMut::U16(&mut words), &options)?;
            let words = words.into_iter();
            match format {
                FormatId::F16 => Self::F16(words.map(f16::from_bits).collect()),
                _ => Self::Bf16(words.map(bf16::from_bits).collect()),
            }
        } else {
            let mut codes = vec![0; values.len()];
            encode(format.spec(), &values[..], CodesMut::U8(&mut codes), &options)?;
            let one = Scales::F32 { scale: None, scale_inv: vec![1.0] };
            let shape = (rows, k);
            Self::Codes(Quantized::from_parts(format, shape, Granularity::Tensor, codes, one)?)
        };
        Ok((operand, name.to_owned()))
    }

    fn input(&self, (rows, k): (usize, usize)) -> quarter::Result<GemmInput<'_>> {
        let values: Values<'_> = match self {
            Self::Codes(codes) => return Ok(codes.into()),
            Self::F32(values) => values.into(),
            Self::F16(values) => values.into(),
            Self::Bf16(values) => values.into(),
        };
        Ok(MatRef::new(values, rows, k)?.into())
    }
}

/// So many standard normals, by Box and Muller.
///
/// # Errors
/// If there is not the memory.
fn normals(n: usize, tensor: u32) -> anyhow::Result<Vec<f32>> {
    let stream = RandomStream { seed: 2, tensor, step: 0 };
    let uniform = |i: u64| (f64::from(stream.word(i)) + 0.5) / (u64::from(u32::MAX) + 1) as f64;
    let mut values = Vec::new();
    reserve(&mut values, n)?;
    values.extend((0..n as u64).map(|i| {
        let radius = (-2.0 * uniform(2 * i).ln()).sqrt();
        (radius * (std::f64::consts::TAU * uniform(2 * i + 1)).cos()) as f32
    }));
    Ok(values)
}

fn row(bench: &Bench<'_>, shape: Shape, unit: &'static Unit) -> anyhow::Result<()> {
    let Shape { m, n, k } = shape;
    let (a, name) = Operand::new(unit, (m, k), 1)?;
    let (b, _) = Operand::new(unit, (n, k), 2)?;
    let (a, b) = (a.input((m, k))?, b.input((n, k))?);
    // Of each thread.
    let products = m as f64 * n as f64 * k as f64 / bench.threads as f64;
    let mut work = Vec::new();
    for unit in [None, Some(unit)] {
        let sums = Accumulation { unit, ..Accumulation::default() };
        let options = GemmOptions::new().threads(bench.threads).sums(sums);
        let (mut workspace, mut out) = (Workspace::new(), Vec::new());
        reserve(&mut out, m * n)?;
        out.resize(m * n, 0.0_f32);
        let mut product = move || -> anyhow::Result<()> {
            gemm_nt_in(&mut workspace, a, b, MatMut::new(&mut out, m, n)?, &options)?;
            Ok(())
        };
        product()?; // what is wrong shows at once
        work.push(move || if product().is_ok() { products } else { 0.0 });
    }
    let mut rounds: Vec<Round<'_>> = work.iter_mut().map(|work| work as Round<'_>).collect();
    let rates = contest(bench.budget, &mut rounds);
    let (kernel, shape) = (format!("unit {unit}, {name}"), shape.to_string());
    let plain = Some(("f32 sums", &rates[0][..]));
    bench.report.row(&kernel, &shape, bench.threads, Rate::MultiplyAdds, &rates[1], plain)
}

#[cfg(test)]
mod tests {
    #[test]
    fn normals_are_normal() {
        let values = super::normals(1 << 16, 1).unwrap();
        let mean = |power: i32| {
            values.iter().map(|x| f64::from(*x).powi(power)).sum::<f64>() / values.len() as f64
        };
        assert!(mean(1).abs() < 0.02, "{}", mean(1));
        assert!((mean(2) - 1.0).abs() < 0.03, "{}", mean(2));
        assert!((mean(4) - 3.0).abs() < 0.2, "{}", mean(4));
    }
}
