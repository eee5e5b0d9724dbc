//! A kernel behind a C interface held to bits and to bounds: a conversion to E5M2 that cuts off
//! instead of rounding, as a vendor's library might. In its place stands a function of Rust with
//! the same interface; a binding's function goes where it is named, in a closure.
//!
//! `cargo run --release --example check_foreign_kernel`

use quarter::accuracy::bounds::rounding;
use quarter::accuracy::check::{check_rounded, check_within};
use quarter::{F8E5M2, FormatId, Policy, Rounding};

/// What a C header would say: `uint8_t to_e5m2(float x);`
type Foreign = extern "C" fn(f32) -> u8;

/// f16's upper byte is E5M2, but cut off.
extern "C" fn cuts_off(x: f32) -> u8 {
    (half::f16::from_f32(x).to_bits() >> 8) as u8
}

extern "C" fn rounds(x: f32) -> u8 {
    F8E5M2::from_f32(x).to_bits()
}

fn main() {
    let (format, policy) = (FormatId::F8E5M2.spec(), Policy::NONFINITE);
    let x: Vec<f32> = (0..2000).map(|i| (i as f32 - 1000.0) / 77.0).collect();
    for (name, kernel) in [("rounds", rounds as Foreign), ("cuts_off", cuts_off as Foreign)] {
        let kernel = |x: &f32| kernel(*x);
        let codes: Vec<u64> = x.iter().map(|x| kernel(x).into()).collect();
        println!("{name}, to the bit: {:?}", check_rounded(format, policy, &x, &codes));
        // Within the bound of truncation both are.
        let values: Vec<f64> = codes.iter().map(|code| format.decode_f64(*code)).collect();
        let wide = policy.rounding(Rounding::TowardZero);
        let bound = |i: usize| rounding(format, wide, x[i].into());
        println!("{name}, within truncation's bound: {:?}\n", check_within(&values, &x, bound));
    }
}
