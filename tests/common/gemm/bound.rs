//! A call's outputs as numbers, and their bounds.

use super::{C, Call, Factor, Out};
use half::{bf16, f16};
use quarter::accuracy::bounds::{GemmBound, Operand};
use quarter::gemm::gemm_nt;
use quarter::{Error, FormatId};

impl Call {
    /// Outputs as the numbers that they stand for; those of a call that may be wrong.
    pub fn outputs(&self, a: &Factor, b: &Factor) -> Result<Vec<f64>, Error> {
        let shape = (a.shape().0, b.shape().0);
        let got = self.run(shape, |out, options| gemm_nt(a.input(), b.input(), out, &options))?;
        let number = |bits: u64| match self.out {
            _ if bits == u64::MAX => f64::NAN,
            Out::F64 => f64::from_bits(bits),
            Out::F32 => f32::from_bits(bits as u32).into(),
            Out::F16 => f16::from_bits(bits as u16).into(),
            Out::Bf16 => bf16::from_bits(bits as u16).into(),
            Out::Codes(format, _) => format.spec().decode_f64(bits),
        };
        Ok(got.bits.into_iter().map(number).collect())
    }

    /// The bounds of its outputs.
    pub fn bound<'a>(&'a self, a: Operand<'a>, b: Operand<'a>) -> GemmBound<'a> {
        let mut bound = GemmBound::new(a, b, self.sums).unwrap();
        if let Some(alpha) = self.alpha {
            bound = bound.alpha(alpha);
        }
        if let C::Matrix(beta, c) = &self.c {
            bound = bound.c(*beta, c.matrix()).unwrap();
        }
        if let Some(bias) = &self.bias {
            bound = bound.bias(bias).unwrap();
        }
        bound = bound.activation(self.activation);
        match self.out {
            Out::F64 | Out::F32 => bound,
            Out::F16 => bound.output(FormatId::F16.spec()),
            Out::Bf16 => bound.output(FormatId::Bf16.spec()),
            Out::Codes(format, scale) => bound.codes(format.spec(), scale),
        }
    }
}
