//! A kernel of one's own held to the bound of its product: a dot product of FP8 codes in eight
//! lanes of f32, in no order that this library knows.
//!
//! `cargo run --release --example check_my_kernel`

use quarter::accuracy::bounds::{GemmBound, Operand, Sums};
use quarter::tensor::{MatRef, QuantizeOptions, Quantized, quantize};
use quarter::{Error, F8E4M3};

const K: usize = 512;

/// The kernel: y = Σ x · w of codes, eight sums side by side, scales at the end.
fn kernel(x: &[u8], w: &[u8], scale: f32) -> f32 {
    let value = |code: &u8| F8E4M3::from_bits(*code).to_f32();
    let mut lanes = [0.0_f32; 8];
    for (i, (x, w)) in x.iter().zip(w).enumerate() {
        lanes[i % 8] += value(x) * value(w);
    }
    lanes.iter().sum::<f32>() * scale
}

fn main() -> Result<(), Error> {
    let numbers =
        |n: usize, step: f32| (0..n).map(|i| (i as f32 * step).sin()).collect::<Vec<f32>>();
    let (x, w) = (numbers(4 * K, 0.37), numbers(6 * K, 0.11));
    let [x, w] = [MatRef::new(&x, 4, K)?, MatRef::new(&w, 6, K)?];
    let cast = "e4m3:tensor:te-current".parse()?;
    let quantized = |x| quantize(x, &cast, &QuantizeOptions::new());
    let (a, b) = (quantized(x)?, quantized(w)?);

    let run = |scale: f32| -> Vec<f32> {
        let row = |q: &Quantized, i: usize| q.codes()[i * K..(i + 1) * K].to_vec();
        (0..24).map(|i| kernel(&row(&a, i / 6), &row(&b, i % 6), scale)).collect()
    };
    let scale = a.scales().scale_inv(0) * b.scales().scale_inv(0);
    // Against what the codes stand for only the kernel's own roundings count: this is what it is
    // held to, and half of the scale is found and named.
    let bounds = GemmBound::new(Operand::exact(&a)?, Operand::exact(&b)?, Sums::F32)?;
    println!("the kernel: {:?}", bounds.check(&run(scale)));
    println!("half of the scale: {:?}\n", bounds.check(&run(scale / 2.0)));
    // Against the numbers before they were cast, the bound is mostly what casts to E4M3 lose: it says
    // how far the product may be from the real one, and a kernel that is wrong may be within it.
    let bounds = GemmBound::new(Operand::cast(x, &a)?, Operand::cast(w, &b)?, Sums::F32)?;
    println!("with the casts: {:?}", bounds.check(&run(scale)));
    Ok(())
}
