//! How much the units that multiply and add can do: chains of operations that wait for nothing but
//! the last one, as many as registers hold. What a kernel reaches is a share of that.

use core::hint::black_box;

const LANES: usize = 16;

/// Keeps the units for f32 busy; the operations that it did.
#[inline(always)]
pub(crate) fn peak_fma<const FUSED: bool>(rounds: usize) -> u64 {
    // Twelve registers of eight, or of four where there is no fused multiply-add.
    if FUSED { chains::<6, FUSED>(rounds) } else { chains::<3, FUSED>(rounds) }
}

/// Operations of a unit for pairs of bf16: here there is none.
#[inline(always)]
pub(crate) fn peak_pairs(_: usize) -> u64 {
    0
}

#[inline(always)]
fn chains<const R: usize, const FUSED: bool>(rounds: usize) -> u64 {
    // Unknown to the compiler, and no two alike.
    let mut sums = [[0.0_f32; LANES]; R];
    for (i, sum) in sums.as_flattened_mut().iter_mut().enumerate() {
        *sum = i as f32;
    }
    let (mut sums, x, y) = (black_box(sums), black_box(0.5_f32), black_box([[1.0_f32; LANES]; R]));
    for _ in 0..rounds {
        if FUSED {
            for sum in sums.as_flattened_mut() {
                *sum = multiply_add(*sum, x, 1.0);
            }
        } else {
            // The products wait for no sum, as in a matrix product; they are made in each round.
            let y = black_box(&y);
            for (sums, y) in sums.iter_mut().zip(y) {
                for (sum, y) in sums.iter_mut().zip(y) {
                    *sum += x * y;
                }
            }
        }
    }
    black_box(sums);
    2 * (LANES * R * rounds) as u64
}

#[inline(always)]
fn multiply_add(a: f32, b: f32, c: f32) -> f32 {
    #[cfg(feature = "std")] // without it core has no mul_add yet
    return a.mul_add(b, c);
    #[cfg(not(feature = "std"))]
    return a * b + c;
}
