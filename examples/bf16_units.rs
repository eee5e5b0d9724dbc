//! A recipe's matrix product on a chip that multiplies BF16 and has no FP8: Ascend, A100, MI250.
//!
//! The values of FP8 codes are exact in bf16. So the chip multiplies those, in f32, and only the
//! sums of each block of K are scaled: y = Σ over blocks of (Σ a · b) · scale_a · scale_b, which
//! is what FP8 hardware does. Inexact is this where the chip adds otherwise: in fewer bits than
//! f32's 24, or in another order. Scales multiplied into the bf16 operands would be rounded, too.
//!
//! cargo run --release --example bf16_units

use half::bf16;
use quarter::tensor::{Cast, MatRef, QuantizeOptions, quantize};

const M: usize = 4;
const N: usize = 3;
const K: usize = 256;

fn main() -> Result<(), quarter::Error> {
    let x: Vec<f32> = (0..M * K).map(|i| (i as f32 * 0.37).sin()).collect();
    let w: Vec<f32> = (0..N * K).map(|i| (i as f32 * 0.11).cos() * 0.02).collect();
    let options = QuantizeOptions::new();
    let activations: Cast = "e4m3:1x128:deepseek".parse()?;
    let weights: Cast = "e4m3:128x128:deepseek".parse()?;
    let qx = quantize(MatRef::new(&x, M, K)?, &activations, &options)?;
    let qw = quantize(MatRef::new(&w, N, K)?, &weights, &options)?;
    // What goes to the chip: code values, exactly.
    let (mut a, mut b) = (vec![bf16::ZERO; M * K], vec![bf16::ZERO; N * K]);
    qx.codes_as_bf16(&mut a)?;
    qw.codes_as_bf16(&mut b)?;
    for m in 0..M {
        for n in 0..N {
            let mut y = 0.0_f32;
            for k in (0..K).step_by(128) {
                // The chip's part: a bf16 product with f32 sums.
                let sum: f32 =
                    (k..k + 128).map(|k| a[m * K + k].to_f32() * b[n * K + k].to_f32()).sum();
                y += sum * qx.view().scale_inv(m, k) * qw.view().scale_inv(n, k);
            }
            let exact: f64 =
                (0..K).map(|k| f64::from(x[m * K + k]) * f64::from(w[n * K + k])).sum();
            println!("y[{m}, {n}] = {y:+.5}, in f64 without quantization {exact:+.5}");
        }
    }
    Ok(())
}
