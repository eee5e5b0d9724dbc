//! Quantizes a tensor to E4M3 with a scale, and measures what that cost.
//!
//! `cargo run --release --example quantize`

use quarter::slice::{FormatSliceExt, FormatVecExt};
use quarter::{Error, F8E4M3, Isa};

fn main() -> Result<(), Error> {
    // A tensor with a wide spread of magnitudes.
    let x: Vec<f32> = (0..100_000).map(|i| (i as f32 * 0.7).sin().powi(5) * 0.02).collect();
    let amax = x.iter().fold(0.0_f32, |a, x| a.max(x.abs()));

    // The scale that takes amax to the largest E4M3 number; its inverse takes the codes back.
    let scale = F8E4M3::MAX.to_f32() / amax;
    let mut codes = vec![F8E4M3::ZERO; x.len()];
    let stats = codes.convert_from_f32_slice_scaled(&x, scale)?;
    let mut back = vec![0.0_f32; x.len()];
    codes.convert_to_f32_slice_scaled(&mut back, 1.0 / scale)?;
    println!("E4M3 x {scale}: {stats:?}, SQNR {:.1} dB", sqnr(&x, &back));

    // Without a scale most values are below E4M3's normal numbers.
    let unscaled = Vec::<F8E4M3>::from_f32_slice(&x);
    println!("E4M3 unscaled: SQNR {:.1} dB", sqnr(&x, &unscaled.to_f32_vec()));
    println!("instruction set: {}", Isa::best().name());
    Ok(())
}

/// 10 log10(signal power / error power).
fn sqnr(x: &[f32], y: &[f32]) -> f64 {
    let signal: f64 = x.iter().map(|x| f64::from(*x).powi(2)).sum();
    let noise: f64 = x.iter().zip(y).map(|(x, y)| f64::from(x - y).powi(2)).sum();
    10.0 * (signal / noise).log10()
}
