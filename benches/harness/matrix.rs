//! Operands of matrix products that own what they are made of.

use half::bf16;
use quarter::gemm::{GemmInput, GemmOptions, GemmStats, Packed, Workspace, gemm_nt_in};
use quarter::recipe::Operand;
use quarter::tensor::{MatMut, MatRef, QuantizeOptions, Quantized, quantize};

/// A matrix as a recipe casts it.
#[derive(Clone)]
pub enum Matrix {
    F32(Vec<f32>, [usize; 2]),
    Bf16(Vec<bf16>, [usize; 2]),
    Codes(Quantized),
    Packed(Packed, usize),
}

impl Matrix {
    pub fn new(operand: &Operand, values: &[f32], shape: [usize; 2]) -> Self {
        match operand {
            Operand::F32 => Self::F32(values.to_vec(), shape),
            Operand::Bf16 => Self::Bf16(values.iter().map(|x| bf16::from_f32(*x)).collect(), shape),
            Operand::Cast(cast) => {
                let values = MatRef::new(values, shape[0], shape[1]).expect("the shape");
                let codes = quantize(values, cast, &QuantizeOptions::new());
                Self::Codes(codes.expect("a cast"))
            }
        }
    }

    pub fn input(&self) -> GemmInput<'_> {
        match self {
            Self::F32(values, [rows, k]) => {
                MatRef::new(values, *rows, *k).expect("the shape").into()
            }
            Self::Bf16(values, [rows, k]) => {
                MatRef::new(values, *rows, *k).expect("the shape").into()
            }
            Self::Codes(codes) => codes.into(),
            Self::Packed(packed, _) => packed.into(),
        }
    }

    pub fn packed(&self) -> Self {
        Self::Packed(Packed::new(self.input()).expect("an operand"), self.bytes())
    }

    /// Bytes of its elements.
    pub fn bytes(&self) -> usize {
        match self {
            Self::F32(values, _) => 4 * values.len(),
            Self::Bf16(values, _) => 2 * values.len(),
            Self::Codes(codes) => codes.rows() * codes.cols(),
            Self::Packed(_, bytes) => *bytes,
        }
    }
}

/// Room for results.
#[derive(Default)]
pub struct Room {
    pub workspace: Workspace,
    pub f32: Vec<f32>,
    pub bf16: Vec<bf16>,
    pub quantized: [Quantized; 2],
    turn: usize,
}

impl Room {
    /// Counts turns up to a number.
    pub fn turn(&mut self, turns: usize) -> usize {
        self.turn = (self.turn + 1) % turns;
        self.turn
    }

    /// a · bᵀ as f32, or as bf16.
    pub fn product(
        &mut self,
        a: GemmInput<'_>,
        b: GemmInput<'_>,
        options: &GemmOptions<'_>,
        to_bf16: bool,
    ) -> GemmStats {
        let (m, n) = (a.shape().0, b.shape().0);
        let out = if to_bf16 {
            self.bf16.resize(m * n, bf16::ZERO);
            MatMut::new(&mut self.bf16, m, n)
        } else {
            self.f32.resize(m * n, 0.0);
            MatMut::new(&mut self.f32, m, n)
        };
        let out = out.expect("the shape");
        gemm_nt_in(&mut self.workspace, a, b, out, options).expect("operands of a recipe")
    }
}
