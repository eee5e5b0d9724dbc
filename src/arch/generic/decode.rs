//! 8-bit code → f32 or bf16: arithmetic where there is no table look-up over bytes.
//!
//! A normal code moves up and gets f32's bias added; a subnormal code is an integer times the
//! smallest subnormal. Both are exact, and neither meets an f32 subnormal.

use super::super::decoder::Decoder;

const INF: u32 = 0x7f80_0000;
const QUIET_NAN: u32 = 0x7fc0_0000;

/// One code, as f32 bits.
#[inline(always)]
pub(super) fn one(d: &Decoder, code: u8) -> u32 {
    let code = u32::from(code) & d.code_mask;
    let magnitude = code & d.magnitude_mask;
    let sign = (code & !d.magnitude_mask) << d.sign_shift;
    let normal = (magnitude << d.shift).wrapping_add(d.rebias);
    let subnormal = (magnitude as f32 * d.min_subnormal).to_bits();
    let finite = if magnitude < d.min_normal { subnormal } else { normal };
    let special = if magnitude == d.inf { INF } else { QUIET_NAN };
    let value = if magnitude > d.max { special } else { finite };
    let value = if code == d.nan_neg_zero { QUIET_NAN } else { value };
    value | sign
}

/// Codes → f32, times `scale`.
#[inline(always)]
pub(crate) fn to_f32(d: &Decoder, scale: f32, src: &[u8], dst: &mut [f32], _past: bool) {
    if !d.arithmetic {
        return to_f32_by_table(d, scale, src, dst);
    }
    for (c, x) in src.iter().zip(dst) {
        *x = f32::from_bits(one(d, *c)) * scale;
    }
}

/// Codes → bf16, exactly.
#[inline(always)]
pub(crate) fn to_bf16(d: &Decoder, src: &[u8], dst: &mut [u16], _past: bool) {
    if !d.arithmetic {
        return to_bf16_by_table(d, src, dst);
    }
    for (c, x) in src.iter().zip(dst) {
        *x = (one(d, *c) >> 16) as u16;
    }
}

/// Codes → f32 through the 256-entry table, times `scale`.
#[inline(always)]
pub(crate) fn to_f32_by_table(d: &Decoder, scale: f32, src: &[u8], dst: &mut [f32]) {
    for (c, x) in src.iter().zip(dst) {
        *x = f32::from_bits(d.table[usize::from(*c)]) * scale;
    }
}

/// Codes → bf16 through the 256-entry table.
#[inline(always)]
pub(crate) fn to_bf16_by_table(d: &Decoder, src: &[u8], dst: &mut [u16]) {
    for (c, x) in src.iter().zip(dst) {
        *x = (d.table[usize::from(*c)] >> 16) as u16;
    }
}
