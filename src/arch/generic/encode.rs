//! f32 → code.
//!
//! Nearest even costs one f32 addition. Let a = |x| · scale with exponent E ≥ emin, and
//! c = 2^(E + 23 − man_bits). The f32 sum a + c has its last place at 2^(E − man_bits), exactly
//! the target's, so the addition rounds a to the target's grid, to nearest, ties to even; and
//! below emin, E = emin keeps the grid where the subnormals are. As integers,
//! (a + c) − c is the significand with its hidden bit, and c >> (23 − man_bits) is the exponent
//! field where it belongs plus a constant (`origin`):
//!
//! ```text
//! a = min(|x| · scale, limit)          a NaN stays NaN
//! a = min(bits(a), nan)                a NaN becomes the value that rounds to the NaN code
//! c = (max(a, 2^emin) & exponent bits) + lift
//! code = bits(a + c) − c + (c >> (23 − man_bits)) − origin | sign
//! ```
//!
//! The general method aligns the significand itself and compares the fraction with a threshold.

use super::super::encoder::{Encoder, Method};
use super::super::{Screen, Words};
use super::BLOCK;
use crate::format::RandomStream;

const SIGN: u32 = 1 << 31;
const INF: u32 = 0x7f80_0000;
const QUIET_NAN: u32 = 0x7fc0_0000;

/// The integer that stores a code.
pub(crate) trait Store: Copy + Default {
    fn narrow(code: u32) -> Self;
    fn wide(self) -> u32;
}

impl Store for u8 {
    #[inline(always)]
    fn narrow(code: u32) -> Self {
        code as Self
    }
    #[inline(always)]
    fn wide(self) -> u32 {
        u32::from(self)
    }
}

impl Store for u16 {
    #[inline(always)]
    fn narrow(code: u32) -> Self {
        code as Self
    }
    #[inline(always)]
    fn wide(self) -> u32 {
        u32::from(self)
    }
}

/// Encodes `src` into `dst`, of equal length; `screen` asks for what statistics start from.
#[inline(always)]
pub(crate) fn encode<C: Store>(
    e: &Encoder,
    words: Words<'_>,
    src: &[f32],
    dst: &mut [C],
    screen: bool,
) -> Screen {
    match (e.method, screen, words) {
        (Method::Nearest, false, _) if e.has_neg_zero => {
            blocks::<C, false>(e, src, dst, |x| nearest::<true>(e, x))
        }
        (Method::Nearest, true, _) if e.has_neg_zero => {
            blocks::<C, true>(e, src, dst, |x| nearest::<true>(e, x))
        }
        (Method::Nearest, _, _) => blocks::<C, true>(e, src, dst, |x| nearest::<false>(e, x)),
        (Method::Truncating, _, _) => blocks::<C, true>(e, src, dst, |x| truncating(e, x)),
        (Method::General, _, Words::None) => {
            blocks::<C, true>(e, src, dst, |x| general::<false>(e, x, 0))
        }
        (Method::General, _, Words::Stream(stream, start)) => {
            stochastic(e, src, dst, |words, at| fill(words, stream, start + at as u64))
        }
        (Method::General, _, Words::Given(given)) => stochastic(e, src, dst, |words, at| {
            let rest = given.get(at..).unwrap_or(&[]);
            let n = rest.len().min(BLOCK);
            words[..n].copy_from_slice(&rest[..n]);
        }),
        (Method::Reference, _, _) => unreachable!("the caller encodes by reference"),
    }
}

/// Whole blocks, then the tail through a padded block.
#[inline(always)]
fn blocks<C: Store, const SCREEN: bool>(
    e: &Encoder,
    src: &[f32],
    dst: &mut [C],
    one: impl Fn(u32) -> u32,
) -> Screen {
    let mut screen = Screen::default();
    let mut peaks = [0u32; BLOCK];
    let mut block = |s: &[f32; BLOCK], screen: &mut Screen| {
        let mut codes = [C::default(); BLOCK];
        for i in 0..BLOCK {
            let x = s[i].to_bits();
            codes[i] = C::narrow(one(x));
            if SCREEN {
                peaks[i] = peaks[i].max(x & !SIGN);
            }
        }
        if SCREEN {
            screen.zeros += u64::from(zeros(e, &codes));
        }
        codes
    };
    let (s_blocks, s_tail) = src.as_chunks::<BLOCK>();
    let (d_blocks, d_tail) = dst.as_chunks_mut::<BLOCK>();
    for (s, d) in s_blocks.iter().zip(d_blocks) {
        *d = block(s, &mut screen);
    }
    if !s_tail.is_empty() {
        let mut padded = [1.0; BLOCK];
        padded[..s_tail.len()].copy_from_slice(s_tail);
        // The padding must not raise the peak or count as zero.
        let fill = s_tail.iter().copied().find(|x| *x != 0.0).unwrap_or(0.0);
        padded[s_tail.len()..].fill(fill);
        let before = screen.zeros;
        let codes = block(&padded, &mut screen);
        d_tail.copy_from_slice(&codes[..s_tail.len()]);
        if SCREEN {
            let tail = d_tail.iter().filter(|c| c.wide() & e.magnitude_mask == 0).count();
            screen.zeros = before + tail as u64;
        }
    }
    if SCREEN {
        screen.peak = peaks.iter().copied().fold(0, u32::max);
    }
    screen
}

/// How many codes of a block have magnitude zero.
#[inline(always)]
fn zeros<C: Store>(e: &Encoder, codes: &[C; BLOCK]) -> u8 {
    let mask = C::narrow(e.magnitude_mask).wide();
    let mut count = 0;
    for c in codes {
        count += u8::from(c.wide() & mask == 0);
    }
    count
}

/// `general` with a word for each value.
#[inline(always)]
fn stochastic<C: Store>(
    e: &Encoder,
    src: &[f32],
    dst: &mut [C],
    fill: impl Fn(&mut [u32; BLOCK], usize),
) -> Screen {
    let mut screen = Screen::default();
    let mut words = [0; BLOCK];
    let mut at = 0;
    for (s, d) in src.chunks(BLOCK).zip(dst.chunks_mut(BLOCK)) {
        fill(&mut words, at);
        at += BLOCK;
        let mut padded = [0.0; BLOCK];
        padded[..s.len()].copy_from_slice(s);
        let mut codes = [C::default(); BLOCK];
        let mut peaks = [0; BLOCK];
        for i in 0..BLOCK {
            let x = padded[i].to_bits();
            peaks[i] = x & !SIGN;
            codes[i] = C::narrow(general::<true>(e, x, words[i]));
        }
        d.copy_from_slice(&codes[..s.len()]);
        screen.peak = screen.peak.max(peaks.iter().copied().fold(0, u32::max));
        screen.zeros += u64::from(zeros(e, &codes)) - (BLOCK - s.len()) as u64;
    }
    screen
}

/// The words of 64 elements in a row.
#[inline(always)]
fn fill(words: &mut [u32; BLOCK], stream: RandomStream, start: u64) {
    for (i, word) in words.iter_mut().enumerate() {
        *word = stream.word(start.wrapping_add(i as u64));
    }
}

/// Nearest even by one addition; see the module.
#[inline(always)]
fn nearest<const NEG_ZERO: bool>(e: &Encoder, x: u32) -> u32 {
    let n = &e.nearest;
    let scaled = f32::from_bits(x & !SIGN) * e.scale;
    let clamped = if n.limit < scaled { n.limit } else { scaled };
    let a = clamped.to_bits().min(n.nan);
    let c = (a.max(n.floor) & INF) + n.lift;
    let sum = (f32::from_bits(a) + f32::from_bits(c)).to_bits();
    let field = (c >> (23 - e.man_bits)).wrapping_sub(n.origin);
    let code = sum.wrapping_sub(c).wrapping_add(field);
    let sign = (x & SIGN) >> e.sign_shift;
    if NEG_ZERO || code != 0 { code | sign } else { code }
}

/// Nearest even where the target has f32's exponents: add just under half of the last place.
#[inline(always)]
fn truncating(e: &Encoder, x: u32) -> u32 {
    let shift = 23 - e.man_bits;
    let scaled = f32::from_bits(x & !SIGN) * e.scale;
    let limit = e.nearest.limit;
    let clamped = if limit < scaled { limit } else { scaled };
    let a = clamped.to_bits();
    let a = if a > INF { QUIET_NAN } else { a };
    let odd = (a >> shift) & 1;
    let code = (a + (1 << (shift - 1)) - 1 + odd) >> shift;
    code | (x & SIGN) >> e.sign_shift
}

/// Any rounding: align, compare the fraction with the threshold, pack, then the special cases.
#[inline(always)]
fn general<const RANDOM: bool>(e: &Encoder, x: u32, word: u32) -> u32 {
    let g = &e.general;
    let negative = x >> 31 != 0;
    let pick = |pair: [u32; 2]| if negative { pair[1] } else { pair[0] };
    let a = (f32::from_bits(x & !SIGN) * e.scale).to_bits();
    let field = (a >> 23).max(1) as i32;
    let significand = (a & 0x007f_ffff) | if a >> 23 != 0 { 1 << 23 } else { 0 };
    let exponent = (field - 127).max(e.emin);
    let shift = (23 - e.man_bits as i32 + exponent - (field - 127)) as u32;
    let kept = significand >> shift.min(31);
    // frac · 2^32, rounded down; a shift beyond 32 leaves only zeros or, for a deterministic
    // mode, "something below a half".
    let fraction = if RANDOM && shift > 32 {
        significand >> (shift - 32).min(31)
    } else {
        significand << (32 - shift.min(32))
    };
    let above = if RANDOM { !(word & g.random_mask) } else { pick(g.above) - (kept & g.odd) };
    let fraction = if RANDOM { fraction & g.random_mask } else { fraction };
    let away = u32::from(fraction > above);
    let code = (((exponent - e.emin) as u32) << e.man_bits) + kept + away;
    let code = if code > g.max_code { pick(g.over) } else { code };
    let code = if a == INF { g.inf_code } else { code };
    let sign = (x & SIGN) >> e.sign_shift;
    let code = if e.has_neg_zero || code != 0 { code | sign } else { code };
    if a > INF { pick(g.nan_code) } else { code }
}
