//! A kernel of one's own held to the bound of its product: a dot product of FP8 codes in eight
//! lanes of f32, in no order that this library knows.
//!
//! `cargo run --release --example check_my_kernel`
//!
//! In a test, `bounds.check(&y)?` fails with what is printed here, and so does
//! `quarter::assert_product!(bounds, &y, "a message")`, which panics.

use quarter::accuracy::bounds::{GemmBound, Operand, Sums};
use quarter::tensor::{MatRef, QuantizeOptions, quantize};
use quarter::{Error, F8E4M3};

const M: usize = 4;
const N: usize = 6;
const K: usize = 512;

/// The kernel under test, y\[M,N\] = a\[M,K\] · b\[N,K\]ᵀ of codes: eight sums side by side, scaled at the
/// end.
fn kernel(a: &[u8], b: &[u8], scale: f32) -> Vec<f32> {
    let value = |code: u8| F8E4M3::from_bits(code).to_f32();
    let dot = |x: &[u8], y: &[u8]| {
        let mut lanes = [0.0_f32; 8];
        for (i, (x, y)) in x.iter().zip(y).enumerate() {
            lanes[i % 8] += value(*x) * value(*y);
        }
        lanes.iter().sum::<f32>() * scale
    };
    a.chunks(K).flat_map(|x| b.chunks(K).map(move |y| dot(x, y))).collect()
}

/// What a check found: how near the errors came to their bounds, or what is wrong.
fn show(what: &str, bounds: &GemmBound<'_>, y: &[f32]) {
    match bounds.check(y) {
        Ok(report) => println!("{what}: right. {report}\n"),
        Err(violation) => println!("{what}: WRONG. {violation}\n"),
    }
}

fn main() -> Result<(), Error> {
    // The numbers, and their casts to E4M3 with one scale for each tensor.
    let numbers = |n: usize, step: f32| (0..n).map(|i| (i as f32 * step).sin()).collect();
    let (x, w): (Vec<f32>, Vec<f32>) = (numbers(M * K, 0.37), numbers(N * K, 0.11));
    let (x, w) = (MatRef::new(&x, M, K)?, MatRef::new(&w, N, K)?);
    let cast = "e4m3:tensor:te-current".parse()?;
    let a = quantize(x, &cast, &QuantizeOptions::new())?;
    let b = quantize(w, &cast, &QuantizeOptions::new())?;
    let scale = a.scales().scale_inv(0) * b.scales().scale_inv(0);
    let y = kernel(a.codes(), b.codes(), scale);
    let half = kernel(a.codes(), b.codes(), scale / 2.0);

    // Is the kernel right? What the codes stand for is taken as exact, so only the kernel's own
    // roundings count: `Sums::F32` is f32 in any order. Half of the scale is found and named.
    let bounds = GemmBound::new(Operand::exact(&a)?, Operand::exact(&b)?, Sums::F32)?;
    show("the kernel", &bounds, &y);
    show("with half of the scale", &bounds, &half);

    // How far is it from the product of the numbers before they were cast? This bound is mostly what
    // the casts lose, so that a kernel which is a little wrong may be within it: it says what FP8
    // costs, not whether a kernel is right.
    let bounds = GemmBound::new(Operand::cast(x, &a)?, Operand::cast(w, &b)?, Sums::F32)?;
    show("the kernel and the casts", &bounds, &y);
    Ok(())
}
