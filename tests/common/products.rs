//! Products of codes through matrix units, by the fast path and by the definition.

use half::{bf16, f16};
use quarter::gemm::{Accumulation, GemmInput, GemmOptions, Workspace, gemm_nt_in};
use quarter::mma::{Output, Unit};
use quarter::tensor::{MatMut, MatRef, Quantized, Scales};
use quarter::{FormatSpec, Granularity, Isa};

/// A matrix of codes as a unit takes it.
pub enum Codes {
    Half(Vec<f16>),
    Brain(Vec<bf16>),
    Single(Vec<f32>),
    Bytes(Box<Quantized>),
}

impl Codes {
    /// `scales`: the E8M0 bytes of blocks of 32, for units that have them.
    pub fn new(
        spec: &FormatSpec,
        (rows, k): (usize, usize),
        codes: &[u32],
        scales: Option<Vec<u8>>,
    ) -> Self {
        match spec.name() {
            "f16" => Self::Half(codes.iter().map(|x| f16::from_bits(*x as u16)).collect()),
            "bf16" => Self::Brain(codes.iter().map(|x| bf16::from_bits(*x as u16)).collect()),
            "tf32" => Self::Single(codes.iter().map(|x| f32::from_bits(x << 13)).collect()),
            "f32" => Self::Single(codes.iter().map(|x| f32::from_bits(*x)).collect()),
            _ => {
                let id = spec.id().unwrap();
                let (granularity, scales) = match scales {
                    Some(bytes) => (Granularity::BLOCK_1X32, Scales::E8M0(bytes)),
                    None => {
                        (Granularity::Tensor, Scales::F32 { scale: None, scale_inv: vec![1.0] })
                    }
                };
                let bytes = codes.iter().map(|x| *x as u8).collect();
                let whole = Quantized::from_parts(id, (rows, k), granularity, bytes, scales);
                Self::Bytes(Box::new(whole.unwrap()))
            }
        }
    }

    pub fn input(&self, (rows, k): (usize, usize)) -> GemmInput<'_> {
        match self {
            Self::Half(values) => MatRef::new(values, rows, k).unwrap().into(),
            Self::Brain(values) => MatRef::new(values, rows, k).unwrap().into(),
            Self::Single(values) => MatRef::new(values, rows, k).unwrap().into(),
            Self::Bytes(quantized) => (&**quantized).into(),
        }
    }
}

/// The bits of d = c + a · bᵀ by the fast path: of an f16 its bits.
pub fn product(
    space: &mut Workspace,
    unit: &'static Unit,
    (a, b): (GemmInput<'_>, GemmInput<'_>),
    c: &[u32],
    isa: Isa,
    threads: usize,
) -> Vec<u32> {
    let (m, n) = (a.shape().0, b.shape().0);
    let half = unit.output() == Output::F16;
    let value = |bits: &u32| match half {
        true => f16::from_bits(*bits as u16).to_f32(),
        false => f32::from_bits(*bits),
    };
    let mut d: Vec<f32> = c.iter().map(value).collect();
    let sums = Accumulation { unit: Some(unit), ..Accumulation::default() };
    let options = GemmOptions::new().sums(sums).accumulate(1.0).isa(isa).threads(threads);
    gemm_nt_in(space, a, b, MatMut::new(&mut d, m, n).unwrap(), &options).unwrap();
    let bits = |x: &f32| match half {
        true => u32::from(f16::from_f32(*x).to_bits()),
        false => x.to_bits(),
    };
    d.iter().map(bits).collect()
}

/// Whether bits are NaN.
pub fn is_nan(unit: &Unit, bits: u32) -> bool {
    match unit.output() {
        Output::F16 => bits & 0x7fff > 0x7c00,
        Output::F32 | Output::E8M13 => bits & 0x7fff_ffff > 0x7f80_0000,
    }
}
