//! Sources and destinations that a group's contestants share.

use half::bf16;
use quarter::RandomStream;

/// Normal numbers as a tensor has them, their codes, and room for results.
pub struct Data {
    pub f32: Vec<f32>,
    /// The same with every negative number replaced by zero, as an activation leaves them.
    pub relu: Vec<f32>,
    pub f64: Vec<f64>,
    pub bf16: Vec<bf16>,
    /// E4M3 codes of the values times `SCALE`.
    pub codes: Vec<u8>,
    pub to_u8: Vec<u8>,
    pub to_f32: Vec<f32>,
    pub to_bf16: Vec<bf16>,
}

/// The scale that takes the largest of a million such numbers to about E4M3's largest.
pub const SCALE: f32 = 80.0;

/// Normal numbers; 2^20 of them are repeated.
pub fn normals(n: usize, tensor: u32) -> Vec<f32> {
    let stream = RandomStream { seed: 1, tensor, step: 0 };
    let uniform = |i: u64| (f64::from(stream.word(i)) + 0.5) / 4_294_967_296.0;
    // Box and Muller's method.
    let normal = |i: u64| {
        let (u, v) = (uniform(2 * i), uniform(2 * i + 1));
        ((-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()) as f32
    };
    let period: Vec<f32> = (0..n.min(1 << 20) as u64).map(normal).collect();
    period.iter().copied().cycle().take(n).collect()
}

impl Data {
    pub fn new(n: usize) -> Self {
        let f32 = normals(n, 0);
        Self {
            relu: f32.iter().map(|x| x.max(0.0)).collect(),
            f64: f32.iter().map(|x| f64::from(*x)).collect(),
            bf16: f32.iter().map(|x| bf16::from_f32(*x)).collect(),
            codes: f32.iter().map(|x| quarter::F8E4M3::from_f32_sat(x * SCALE).to_bits()).collect(),
            to_u8: vec![0; n],
            to_f32: vec![0.0; n],
            to_bf16: vec![bf16::ZERO; n],
            f32,
        }
    }
}
