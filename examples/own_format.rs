//! A format of your own: limits, scalars, slices and packed codes from one row.
//!
//! `cargo run --release --example own_format`

use quarter::slice::{CodesMut, DecodeOptions, EncodeOptions, decode, encode_stats};
use quarter::{Error, FormatSpec, Policy, Specials};

fn main() -> Result<(), Error> {
    // 1 sign bit, 2 exponent bits, 3 mantissa bits: E2M3, but with a NaN in its last code.
    let own = FormatSpec::custom("e2m3nan", 2, 3, 1, Specials::NanAllOnes)?;
    println!(
        "{}: max {}, smallest normal {}, smallest {}, epsilon {}, {} numbers, {} NaN",
        own.name(),
        own.max(),
        own.min_normal(),
        own.min_positive(),
        own.epsilon(),
        own.finite_codes(),
        own.nan_codes(),
    );

    let x = [0.3_f32, -1.7, 5.2, 100.0, f32::NAN];
    let options = EncodeOptions::new(Policy::SATURATE);
    let mut codes = [0_u8; 5];
    let stats = encode_stats(&own, &x, &mut codes, &options)?;
    println!("{x:?} -> {codes:02x?}\n{stats:?}");

    // The same codes without gaps: six bits each.
    let mut packed = vec![0_u8; own.packed_len(x.len())?];
    encode_stats(&own, &x, CodesMut::Packed(&mut packed), &options)?;
    println!("packed: {packed:02x?}");

    let mut back = [0.0_f32; 5];
    decode(&own, &codes, &mut back, &DecodeOptions::new())?;
    println!("back: {back:?}");
    Ok(())
}
