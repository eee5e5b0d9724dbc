//! Dot products and matrix products by units, beside the exact ones.

use quarter::gemm::{Accumulation, GemmOptions, gemm_nt};
use quarter::mma::{ADA_FP8, B200_FP8, H100_WGMMA_FP8, Unit};
use quarter::tensor::{Cast, MatMut, MatRef, QuantizeOptions, Quantized, quantize};
use quarter::{Error, FormatId, RandomStream};

/// A line of the plots: a unit, and after how many elements its sums are promoted to f32.
#[derive(Clone, Copy)]
pub struct Line {
    pub label: &'static str,
    pub unit: &'static Unit,
    pub promote: Option<u32>,
}

pub const LINES: [Line; 4] = [
    Line { label: "h100-wgmma-fp8, promoted each 128", unit: &H100_WGMMA_FP8, promote: Some(128) },
    Line { label: "h100-wgmma-fp8", unit: &H100_WGMMA_FP8, promote: None },
    Line { label: "ada-fp8", unit: &ADA_FP8, promote: None },
    Line { label: "b200-fp8", unit: &B200_FP8, promote: None },
];

/// 13/128, a number of E4M3.
pub const ELEMENT: f32 = 0.1015625;

/// Rows of the random matrices of the plots.
pub const ROWS: usize = 128;

/// E4M3 with one scale for a matrix, a power of two: what is inexact then are the sums alone.
fn codes(values: &[f32], rows: usize, k: usize) -> Result<Quantized, Error> {
    let cast: Cast = "e4m3:tensor:te-current-pow2".parse()?;
    quantize(MatRef::new(values, rows, k)?, &cast, &QuantizeOptions::new())
}

impl Line {
    /// D = A · Bᵀ.
    fn product(&self, [a, b]: [&Quantized; 2]) -> Result<Vec<f32>, Error> {
        let mut d = vec![0.0; a.rows() * b.rows()];
        let out = MatMut::new(&mut d, a.rows(), b.rows())?;
        let (unit, promote) = (Some(self.unit), self.promote);
        let sums = Accumulation { unit, promote, ..Accumulation::default() };
        gemm_nt(a, b, out, &GemmOptions::new().sums(sums))?;
        Ok(d)
    }

    /// The sum of k squares of [`ELEMENT`], and its error as a share of the exact sum.
    pub fn constant(&self, k: usize) -> Result<(f32, f64), Error> {
        let row = codes(&vec![ELEMENT; k], 1, k)?;
        let sum = self.product([&row, &row])?[0];
        let exact = k as f64 * f64::from(ELEMENT).powi(2);
        Ok((sum, f64::from(sum) / exact - 1.0))
    }
}

/// What the elements of a random matrix are.
#[derive(Clone, Copy)]
pub enum Draw {
    /// Standard normal.
    Normal,
    /// Uniform from 0 to 1.
    Uniform,
}

impl Draw {
    fn values(self, len: usize, seed: u64) -> Vec<f32> {
        let stream = RandomStream { seed, tensor: 0, step: 0 };
        let mut words = (0..).map(|i| stream.word(i));
        let mut unit = || (f64::from(words.next().unwrap_or(0)) + 0.5) / 4_294_967_296.0;
        // A ratio of uniforms (Kinderman and Monahan): v / u where v² ≤ −4 u² ln u. Other than the
        // logarithm of Box and Muller, that of another platform changes no number.
        let mut normal = || loop {
            let (u, v) = (unit(), (2.0 * unit() - 1.0) * 0.857_763_884_960_706_8);
            if v * v <= -4.0 * u * u * u.ln() {
                return (v / u) as f32;
            }
        };
        match self {
            Self::Normal => (0..len).map(|_| normal()).collect(),
            Self::Uniform => (0..len).map(|_| unit() as f32).collect(),
        }
    }
}

/// Two random matrices, and their exact product.
pub struct Random {
    operands: [Quantized; 2],
    exact: Vec<f64>,
}

/// The errors of the elements of a product.
pub struct Errors {
    /// Their root mean square, by that of the exact elements.
    pub rms: f64,
    /// The largest, by the same.
    pub largest: f64,
    /// Each by its own exact element, in ascending order.
    pub own: Vec<f64>,
}

impl Random {
    pub fn new(draw: Draw, rows: usize, k: usize) -> Result<Self, Error> {
        let operand = |seed| codes(&draw.values(rows * k, seed), rows, k);
        let operands = [operand(1)?, operand(2)?];
        let [a, b] = [&operands[0], &operands[1]].map(|codes| {
            let scale = f64::from(codes.scales().scale_inv(0));
            let value = |code: &u8| FormatId::F8E4M3.spec().decode_f64(u64::from(*code)) * scale;
            codes.codes().iter().map(value).collect::<Vec<f64>>()
        });
        // Below 2⁵³ units of the smallest product, so f64 is exact. A few columns stay in cache.
        let mut exact = vec![0.0; rows * rows];
        for (block, columns) in b.chunks(8 * k).enumerate() {
            for (row, out) in a.chunks(k).zip(exact.chunks_mut(rows)) {
                let out = &mut out[8 * block..];
                out.iter_mut()
                    .zip(columns.chunks(k))
                    .for_each(|(out, column)| *out = dot(row, column));
            }
        }
        Ok(Self { operands, exact })
    }

    pub fn errors(&self, line: &Line) -> Result<Errors, Error> {
        let d = line.product([&self.operands[0], &self.operands[1]])?;
        let errors = || d.iter().zip(&self.exact).map(|(d, exact)| (f64::from(*d) - exact).abs());
        let outputs = rms(self.exact.iter().copied());
        let mut own: Vec<f64> = errors().zip(&self.exact).map(|(d, x)| d / x.abs()).collect();
        own.sort_by(f64::total_cmp);
        let largest = errors().fold(0.0, f64::max) / outputs;
        Ok(Errors { rms: rms(errors()) / outputs, largest, own })
    }
}

fn rms(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let n = values.len() as f64;
    (values.map(|x| x * x).sum::<f64>() / n).sqrt()
}

/// Eight sums side by side.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    for (a, b) in a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
    }
    sums.iter().sum()
}
