//! Decoding with AVX-512.
//!
//! It is a look-up: bf16 holds every 8-bit format, so a code becomes its high and its low
//! byte by two `vpermi2b` over 128-entry tables, which are interleaved into bf16, and with zeros
//! into f32. The codes are first permuted so that interleaving, which works within 128-bit
//! lanes, leaves them in order.

use super::avx512::{get, portable, put};
use crate::arch::decoder::Decoder;
use core::arch::x86_64::*;

const BLOCK: usize = 64;

/// The look-up tables of a decoder, in registers.
#[derive(Clone, Copy)]
pub(super) struct Tables {
    high: [__m512i; 2],
    low: [__m512i; 2],
    sign: __m512i,
    code_128: [__m512i; 2],
    /// Whether code 128 is like the others: −0.
    plain: bool,
}

impl Tables {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,popcnt")]
    pub fn new(d: &Decoder) -> Self {
        let halves = |table: &[u8; 128]| {
            let (blocks, _) = table.as_chunks::<BLOCK>();
            [get(&blocks[0]), get(&blocks[1])]
        };
        let [low, high] = d.code_128.to_le_bytes();
        let plain = [d.low[0], d.high[0] ^ d.sign_128] == [low, high];
        Self {
            high: halves(&d.high),
            low: halves(&d.low),
            sign: _mm512_set1_epi8(d.sign_128 as i8),
            code_128: [_mm512_set1_epi8(high as i8), _mm512_set1_epi8(low as i8)],
            plain,
        }
    }

    /// Whether code 128 is like the others.
    pub const fn plain(&self) -> bool {
        self.plain
    }

    /// The high and the low bytes of 64 codes.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,popcnt")]
    pub fn bytes(&self, codes: __m512i) -> (__m512i, __m512i) {
        if self.plain { self.plain_bytes(codes) } else { self.any_bytes(codes) }
    }

    /// The same where code 128 is like the others.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,popcnt")]
    pub fn plain_bytes(&self, codes: __m512i) -> (__m512i, __m512i) {
        // The look-ups read the low seven bits of a code; bit 7 flips the sign.
        let high = _mm512_permutex2var_epi8(self.high[0], codes, self.high[1]);
        let low = _mm512_permutex2var_epi8(self.low[0], codes, self.low[1]);
        let high = _mm512_ternarylogic_epi32::<0x78>(high, codes, self.sign); // high ^ (codes & sign)
        (high, low)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,popcnt")]
    fn any_bytes(&self, codes: __m512i) -> (__m512i, __m512i) {
        let (high, low) = self.plain_bytes(codes);
        let is_128 = _mm512_cmpeq_epi8_mask(codes, _mm512_set1_epi8(-128));
        (
            _mm512_mask_mov_epi8(high, is_128, self.code_128[0]),
            _mm512_mask_mov_epi8(low, is_128, self.code_128[1]),
        )
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,popcnt")]
pub(super) fn decode_bf16(d: &Decoder, src: &[u8], dst: &mut [u16], past: bool) {
    let (blocks, tail) = src.as_chunks::<BLOCK>();
    let whole = blocks.len() * BLOCK;
    if !d.half_table || dst.len() < whole {
        return portable::decode_bf16(d, src, dst, past);
    }
    let tables = Tables::new(d);
    // 64-bit groups 0 4 1 5 2 6 3 7: unpacking low and high halves of each lane then gives the
    // first 32 codes and the last 32 in order.
    let order = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
    let (out, out_tail) = dst.split_at_mut(whole);
    let (out, _) = out.as_chunks_mut::<BLOCK>();
    for (codes, out) in blocks.iter().zip(out) {
        let (high, low) = tables.bytes(_mm512_permutexvar_epi64(order, get(codes)));
        let (halves, _) = out.as_chunks_mut::<32>();
        for (half, bf16) in halves
            .iter_mut()
            .zip([_mm512_unpacklo_epi8(low, high), _mm512_unpackhi_epi8(low, high)])
        {
            put(half, bf16, past);
        }
    }
    portable::decode_bf16(d, tail, out_tail, past);
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,popcnt")]
pub(super) fn decode_f32(d: &Decoder, scale: f32, src: &[u8], dst: &mut [f32], past: bool) {
    let (blocks, tail) = src.as_chunks::<BLOCK>();
    let whole = blocks.len() * BLOCK;
    if !d.half_table || dst.len() < whole {
        return portable::decode_f32(d, scale, src, dst, past);
    }
    let tables = Tables::new(d);
    // 32-bit groups such that two rounds of unpacking leave each quarter in order.
    let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    let (scales, zero) = (_mm512_set1_ps(scale), _mm512_setzero_si512());
    let (out, out_tail) = dst.split_at_mut(whole);
    let (out, _) = out.as_chunks_mut::<BLOCK>();
    for (codes, out) in blocks.iter().zip(out) {
        let (high, low) = tables.bytes(_mm512_permutexvar_epi32(order, get(codes)));
        let first = _mm512_unpacklo_epi8(low, high);
        let last = _mm512_unpackhi_epi8(low, high);
        let quarters = [
            _mm512_unpacklo_epi16(zero, first),
            _mm512_unpackhi_epi16(zero, first),
            _mm512_unpacklo_epi16(zero, last),
            _mm512_unpackhi_epi16(zero, last),
        ];
        let (places, _) = out.as_chunks_mut::<16>();
        for (place, bits) in places.iter_mut().zip(quarters) {
            let values = _mm512_mul_ps(_mm512_castsi512_ps(bits), scales);
            put(place, _mm512_castps_si512(values), past);
        }
    }
    portable::decode_f32(d, scale, tail, out_tail, past);
}
