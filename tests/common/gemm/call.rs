//! What is asked for beside the operands, outputs of every type, and what the law of bits says of
//! them in words.

use super::{Factor, sums};
use half::{bf16, f16};
use quarter::gemm::{Accumulation, Activation, GemmOptions, GemmOutput, GemmStats};
use quarter::tensor::MatMut;
use quarter::{Error, FormatId, Overflow, Policy, Unpacked};
use std::fmt;

/// What is asked for beside the operands.
#[derive(Clone, Debug, Default)]
pub struct Call {
    pub sums: Accumulation,
    pub alpha: Option<f32>,
    pub c: C,
    pub bias: Option<Vec<f32>>,
    pub activation: Activation,
    pub amax: bool,
    pub out: Out,
    /// Elements between the rows of the output; codes have none.
    pub gap: usize,
}

/// What beta multiplies.
#[derive(Clone, Debug, Default)]
pub enum C {
    #[default]
    None,
    Matrix(f32, Factor),
    Output(f32),
}

/// The type of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Out {
    F64,
    #[default]
    F32,
    F16,
    Bf16,
    Codes(FormatId, f32),
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Accumulation { promote, block_sum, .. } = self.sums;
        write!(f, "promote {promote:?}, sum {block_sum:?}, alpha {:?}, ", self.alpha)?;
        match &self.c {
            C::None => write!(f, "no C, ")?,
            C::Matrix(beta, c) => write!(f, "C {c}, beta {beta:e}, ")?,
            C::Output(beta) => write!(f, "C the output, beta {beta:e}, ")?,
        }
        let bias = if self.bias.is_some() { "bias" } else { "no bias" };
        write!(f, "{bias}, {:?}, to {:?} with gaps of {}", self.activation, self.out, self.gap)
    }
}

/// Bits of every element of an output and of what is between its rows; those of every NaN in the
/// matrix are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Results {
    pub bits: Vec<u64>,
    pub amax: Option<u32>,
}

impl Call {
    pub const fn new() -> Self {
        Self {
            sums: Accumulation::F32,
            alpha: None,
            c: C::None,
            bias: None,
            activation: Activation::None,
            amax: false,
            out: Out::F32,
            gap: 0,
        }
    }

    pub fn options(&self) -> GemmOptions<'_> {
        let mut options = GemmOptions::new().sums(self.sums).activation(self.activation);
        if let Some(alpha) = self.alpha {
            options = options.alpha(alpha);
        }
        if let Some(bias) = &self.bias {
            options = options.bias(bias);
        }
        options = match &self.c {
            C::None => options,
            C::Matrix(beta, c) => options.c(*beta, c.matrix()),
            C::Output(beta) => options.accumulate(*beta),
        };
        if self.amax { options.amax() } else { options }
    }

    /// What element `i` of the output holds before: NaN unless it is read as C.
    fn held(&self, i: usize) -> f32 {
        match self.c {
            C::Output(beta) if beta != 0.0 => (i * 37 % 101) as f32 / 8.0 - 6.0,
            _ => f32::NAN,
        }
    }

    /// What a product makes of an output. If it is an error nothing may be written.
    pub fn run(
        &self,
        (rows, cols): (usize, usize),
        product: impl FnOnce(GemmOutput<'_>, GemmOptions<'_>) -> Result<GemmStats, Error> + Send,
    ) -> Result<Results, Error> {
        let gap = if matches!(self.out, Out::Codes(..)) { 0 } else { self.gap };
        let (stride, options) = (cols + gap, self.options());
        let held = (0..rows * stride).map(|i| self.held(i));
        let exp = |out| match out {
            Out::F64 => 0x7ff0_0000_0000_0000,
            Out::F32 => 0x7f80_0000,
            Out::F16 => 0x7c00,
            Out::Bf16 => 0x7f80,
            Out::Codes(..) => u64::MAX,
        };
        macro_rules! run {
            ($values:expr) => {{
                let mut values: Vec<_> = $values;
                let before: Vec<u64> = values.iter().map(|x| u64::from(x.to_bits())).collect();
                let out = MatMut::with_row_stride(&mut values[..], (rows, cols), stride)?;
                let done = product(out.into(), options);
                (before, values.iter().map(|x| u64::from(x.to_bits())).collect::<Vec<_>>(), done)
            }};
        }
        let (before, mut bits, done) = match self.out {
            Out::F64 => run!(held.map(f64::from).collect()),
            Out::F32 => run!(held.collect()),
            Out::F16 => run!(held.map(f16::from_f32).collect()),
            Out::Bf16 => run!(held.map(bf16::from_f32).collect()),
            Out::Codes(format, scale) => {
                let mut codes = vec![0xa5; rows * cols];
                let out = GemmOutput::codes(&mut codes, (rows, cols), format, scale)?;
                let done = product(out, options);
                (vec![0xa5; rows * cols], codes.into_iter().map(u64::from).collect(), done)
            }
        };
        assert!(done.is_ok() || before == bits, "{self}: {done:?}, but something was written");
        let stats = done?;
        let nan = |bits: u64| match self.out {
            Out::Codes(format, _) => format.spec().decode_f64(bits).is_nan(),
            Out::F64 => bits << 1 > exp(Out::F64) << 1,
            out => bits & !(1 << if out == Out::F32 { 31 } else { 15 }) > exp(out),
        };
        for (i, bits) in bits.iter_mut().enumerate() {
            if i % stride < cols && nan(*bits) {
                *bits = u64::MAX;
            }
        }
        for (i, (bits, before)) in bits.iter().zip(&before).enumerate() {
            assert!(i % stride < cols || bits == before, "{self}: element {i} is in a gap");
        }
        Ok(Results { bits, amax: stats.amax.map(f32::to_bits) })
    }

    /// What the law of bits says, of activations other than GELU.
    pub fn in_words(&self, a: &Factor, b: &Factor) -> Results {
        let (m, n) = (a.shape().0, b.shape().0);
        let gap = if matches!(self.out, Out::Codes(..)) { 0 } else { self.gap };
        let mut results = sums(a, b, self.sums);
        let c = match &self.c {
            C::Matrix(beta, c) if *beta != 0.0 => Some((*beta, c.elements())),
            C::Output(beta) if *beta != 0.0 => {
                Some((*beta, (0..m * n).map(|i| self.held(i / n * (n + gap) + i % n)).collect()))
            }
            C::None | C::Matrix(..) | C::Output(_) => None,
        };
        for (i, t) in results.iter_mut().enumerate() {
            *t = self.alpha.map_or(*t, |alpha| alpha * *t);
            *t = c.as_ref().map_or(*t, |(beta, c)| beta.mul_add(c[i], *t));
            *t = self.bias.as_ref().map_or(*t, |bias| *t + bias[i % n]);
            if self.activation == Activation::Relu && !t.is_nan() {
                *t = if *t > 0.0 { *t } else { 0.0 };
            }
        }
        let amax = results.iter().fold(0.0, |max: f32, t| max.max(t.abs()));
        let stored = |i: usize| {
            let (row, col) = (i / (n + gap), i % (n + gap));
            let t = if col < n { results[row * n + col] } else { self.held(i) };
            if col < n && t.is_nan() && !matches!(self.out, Out::Codes(..)) {
                return u64::MAX;
            }
            match self.out {
                Out::F64 => f64::from(t).to_bits(),
                Out::F32 => u64::from(t.to_bits()),
                Out::F16 => u64::from(f16::from_f32(t).to_bits()),
                Out::Bf16 => u64::from(bf16::from_f32(t).to_bits()),
                Out::Codes(format, scale) => {
                    let policy = Policy { overflow: Overflow::Saturate, ..Policy::default() };
                    let code = Unpacked::from_f32(t * scale).encode(format.spec(), policy, 0);
                    let code = code.expect("the policy is no error");
                    if format.spec().decode_f64(code).is_nan() { u64::MAX } else { code }
                }
            }
        };
        let bits = (0..m * (n + gap)).map(stored).collect();
        Results { bits, amax: self.amax.then_some(amax.to_bits()) }
    }
}
