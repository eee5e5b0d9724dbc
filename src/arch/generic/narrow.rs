//! Between the primitive widths: f64 to f32 without a second rounding, and 16-bit floats to f32.

const SIGN: u32 = 1 << 31;
const QUIET_NAN: u32 = 0x7fc0_0000;

/// f64 → f32 rounded to odd: toward zero, and the last bit set if anything was lost.
///
/// An f32 so made rounds to any target of at most 22 bits of precision exactly as the f64 does
/// (Boldo and Melquiond, "Emulation of a FMA and correctly rounded sums", IEEE TC 57(4), 2008).
#[inline(always)]
pub(crate) fn f64_to_odd(src: &[f64], dst: &mut [f32]) {
    for (x, d) in src.iter().zip(dst) {
        let sign = (x.to_bits() >> 32) as u32 & SIGN;
        let x = x.abs();
        let near = x as f32;
        let back = f64::from(near);
        let lost = u32::from(back != x);
        let bits = (near.to_bits() - u32::from(back > x)) | lost;
        let bits = if x.is_nan() { QUIET_NAN } else { bits };
        *d = f32::from_bits(bits | sign);
    }
}

/// f64 → f32 to nearest even; NaN keeps its sign.
#[inline(always)]
pub(crate) fn f64_to_nearest(src: &[f64], dst: &mut [f32]) {
    for (x, d) in src.iter().zip(dst) {
        let sign = (x.to_bits() >> 32) as u32 & SIGN;
        let bits = (x.abs() as f32).to_bits();
        let bits = if x.is_nan() { QUIET_NAN } else { bits };
        *d = f32::from_bits(bits | sign);
    }
}

/// f32 → f64, exactly; NaN is quiet and keeps its sign.
#[inline(always)]
pub(crate) fn f32_to_f64(src: &[f32], dst: &mut [f64]) {
    for (x, d) in src.iter().zip(dst) {
        let sign = u64::from(x.to_bits() & SIGN) << 32;
        let bits = f64::from(x.abs()).to_bits();
        let bits = if x.is_nan() { 0x7ff8 << 48 } else { bits };
        *d = f64::from_bits(bits | sign);
    }
}

/// bf16 bits → f32, exactly; NaN is the quiet one with its sign.
#[inline(always)]
pub(crate) fn bf16_to_f32(src: &[u16], dst: &mut [f32], _past: bool) {
    for (x, d) in src.iter().zip(dst) {
        let bits = u32::from(*x) << 16;
        let nan = bits & !SIGN > 0x7f80_0000;
        *d = f32::from_bits(if nan { bits & SIGN | QUIET_NAN } else { bits });
    }
}

/// f16 bits → f32, exactly; NaN is the quiet one with its sign.
#[inline(always)]
pub(crate) fn f16_to_f32(src: &[u16], dst: &mut [f32]) {
    for (x, d) in src.iter().zip(dst) {
        let magnitude = u32::from(*x & 0x7fff);
        let normal = (magnitude << 13) + (112 << 23);
        let subnormal = (magnitude as f32 * (1.0 / 16_777_216.0)).to_bits();
        let special = if magnitude > 0x7c00 { QUIET_NAN } else { 0x7f80_0000 };
        let bits = if magnitude < 0x0400 { subnormal } else { normal };
        let bits = if magnitude >= 0x7c00 { special } else { bits };
        *d = f32::from_bits(bits | u32::from(*x & 0x8000) << 16);
    }
}
