//! Kernels behind a C interface held to bits and to bounds: two conversions to E5M2, one that rounds
//! to nearest and one that cuts off, as a vendor's library might.
//!
//! `cargo run --release --example check_foreign_kernel`
//!
//! Here functions of Rust stand in their place, so that nothing else need be installed. A binding's
//! function is called where `kernel` is, in a closure: all that checks want are slices of results.

use quarter::accuracy::bounds::rounding;
use quarter::accuracy::check::{Report, Violation, check_rounded, check_within};
use quarter::{F8E5M2, FormatId, Policy, Rounding};

/// What a C header would say: `uint8_t to_e5m2(float x);`
type Foreign = extern "C" fn(f32) -> u8;

extern "C" fn rounds(x: f32) -> u8 {
    F8E5M2::from_f32(x).to_bits()
}

/// f16's upper byte is E5M2, but cut off.
extern "C" fn cuts_off(x: f32) -> u8 {
    (half::f16::from_f32(x).to_bits() >> 8) as u8
}

fn show(what: &str, checked: Result<Report, Box<Violation>>) {
    match checked {
        Ok(report) => println!("{what}: right. {report}\n"),
        Err(violation) => println!("{what}: WRONG. {violation}\n"),
    }
}

fn main() {
    let format = FormatId::F8E5M2.spec();
    let x: Vec<f32> = (0..2000).map(|i| (i as f32 - 1000.0) / 77.0).collect();
    for (name, kernel) in [("rounds", rounds as Foreign), ("cuts_off", cuts_off as Foreign)] {
        let codes: Vec<u64> = x.iter().map(|x| kernel(*x).into()).collect();
        // To the bit: each code has to be its number, rounded once to nearest even.
        let policy = Policy::NONFINITE;
        show(&format!("{name}, to the bit"), check_rounded(format, policy, &x, &codes));
        // To a bound: a kernel that may cut off is held to what that loses at most, and both do less.
        let policy = policy.rounding(Rounding::TowardZero);
        let bound = |i: usize| rounding(format, policy, x[i].into());
        let values: Vec<f64> = codes.iter().map(|code| format.decode_f64(*code)).collect();
        show(&format!("{name}, to truncation's bound"), check_within(&values, &x, bound));
    }
}
