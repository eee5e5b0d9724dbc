//! Powers of two as bytes: byte E is 2^(E − 127), 255 is NaN.

/// The byte of NaN.
pub(crate) const NAN: u8 = 255;

/// 2^(E − 127).
#[inline]
pub(crate) const fn value(byte: u8) -> f32 {
    match byte {
        0 => f32::from_bits(0x40_0000),
        NAN => f32::NAN,
        _ => f32::from_bits((byte as u32) << 23),
    }
}

/// 2^(127 − E).
#[inline]
pub(crate) const fn reciprocal(byte: u8) -> f32 {
    if byte == NAN { f32::NAN } else { value(254 - byte) }
}
