//! A format of your own: limits, scalars, slices and packed codes from one row.
//!
//! `cargo run --release --example own_format`

use quarter::slice::{CodesMut, DecodeOptions, EncodeOptions, decode, encode_stats};
use quarter::{Error, FormatSpec, Policy, Specials};

fn main() -> Result<(), Error> {
    // 1 sign bit, 2 exponent bits, 3 mantissa bits: E2M3, but with a NaN in its last code.
    let e2m3fn = FormatSpec::custom("e2m3fn", 2, 3, 1, Specials::NanAllOnes)?;
    println!(
        "{}: max {}, smallest normal {}, smallest {}, epsilon {}, {} numbers, {} NaN",
        e2m3fn.name(),
        e2m3fn.max(),
        e2m3fn.min_normal(),
        e2m3fn.min_positive(),
        e2m3fn.epsilon(),
        e2m3fn.finite_codes(),
        e2m3fn.nan_codes(),
    );

    let x = [0.3_f32, -1.7, 5.2, 100.0, f32::NAN];
    let options = EncodeOptions::new(Policy::SATURATE);
    let mut codes = [0_u8; 5];
    let stats = encode_stats(&e2m3fn, &x, &mut codes, &options)?;
    println!("{x:?} -> {codes:02x?}\n{stats:?}");

    // The same codes without gaps: six bits each.
    let mut packed = vec![0_u8; e2m3fn.packed_len(x.len())?];
    encode_stats(&e2m3fn, &x, CodesMut::Packed(&mut packed), &options)?;
    println!("packed: {packed:02x?}");

    let mut back = [0.0_f32; 5];
    decode(&e2m3fn, &codes, &mut back, &DecodeOptions::new())?;
    println!("back: {back:?}");
    Ok(())
}
