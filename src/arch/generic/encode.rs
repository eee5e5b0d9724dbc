//! f32 → code.
//!
//! Nearest even costs one f32 addition. Let a = |x| · scale with exponent E ≥ emin, and
//! c = 2^(E + 23 − man_bits). The f32 sum a + c has its last place at 2^(E − man_bits), exactly
//! the target's, so the addition rounds a to the target's grid, to nearest, ties to even; and
//! below emin, E = emin keeps the grid where the subnormals are. As integers, the low bits of
//! a + c are the significand with its hidden bit, and the exponent bits of a, shifted right by
//! 23 − man_bits, are the exponent field where it belongs plus a constant. That constant is
//! cancelled by an even number of last places hidden in c (`lift`), which moves no rounding:
//!
//! ```text
//! a = min(|x| · scale, limit)                a NaN stays NaN
//! a = min(bits(a), nan)                      a NaN becomes the value that rounds to the NaN code
//! e = max(a, 2^emin) & exponent bits
//! code = bits(a + float(e + lift)) + (e >> (23 − man_bits)), low 8 or 16 bits; then the sign
//! ```
//!
//! The general method aligns the significand itself and compares the fraction with a threshold.
//! Both count on the way what statistics need, by comparing |x| with two thresholds.

use super::super::encoder::{Encoder, Method};
use super::super::{Screen, Words};
use super::narrow::bf16_to_f32;
use crate::format::RandomStream;

const SIGN: u32 = 1 << 31;
const INF: u32 = 0x7f80_0000;

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

/// How one value becomes a code. (A trait and not a closure: a closure cannot be made to inline,
/// and a call would leave the vectorised loop.)
trait Step: Copy {
    fn encoder(&self) -> &Encoder;
    fn code(&self, x: u32, index: usize) -> u32;
}

/// Encodes `src` into `dst`, of equal length; without `screen` the result may be empty.
#[inline(always)]
pub(crate) fn encode<C: Store>(
    e: &Encoder,
    words: Words<'_>,
    src: &[f32],
    dst: &mut [C],
    screen: bool,
    _past: bool,
) -> Screen {
    let e = *e;
    match (e.method, words) {
        (Method::Nearest, _) if e.has_neg_zero => run(Nearest::<true>(e), src, dst, screen),
        (Method::Nearest, _) => run(Nearest::<false>(e), src, dst, screen),
        (Method::Truncating, _) if e.scale == 1.0 && e.nearest.limit == f32::INFINITY => {
            run(Truncating::<true>(e), src, dst, screen)
        }
        (Method::Truncating, _) => run(Truncating::<false>(e), src, dst, screen),
        (Method::General, Words::None) => run(General(e), src, dst, screen),
        (Method::General, Words::Stream(stream, start)) => {
            run(FromStream(e, stream, start), src, dst, screen)
        }
        (Method::General, Words::Given(words)) => run(FromWords(e, words), src, dst, screen),
        (Method::Reference, _) => unreachable!("the caller encodes by reference"),
    }
}

/// Encodes bf16 through short pieces of f32.
#[inline(always)]
pub(crate) fn encode_bf16(
    e: &Encoder,
    src: &[u16],
    dst: &mut [u8],
    screen: bool,
    past: bool,
) -> Screen {
    let mut seen = Screen::EMPTY;
    let mut buffer = [0.0; 512];
    for (s, d) in src.chunks(512).zip(dst.chunks_mut(512)) {
        let values = &mut buffer[..s.len()];
        bf16_to_f32(s, values, false);
        seen = seen.merge(encode(e, Words::None, values, d, screen, past));
    }
    seen
}

/// One loop with the screen, and one without: plain ones, which the compiler vectorises best.
#[inline(always)]
fn run<C: Store>(step: impl Step, src: &[f32], dst: &mut [C], screen: bool) -> Screen {
    let mut seen = Screen::EMPTY;
    if screen {
        for (i, (x, code)) in src.iter().zip(dst).enumerate() {
            let x = x.to_bits();
            *code = C::narrow(step.code(x, i));
            let (e, x) = (step.encoder(), x & !SIGN);
            seen.peak = seen.peak.max(x);
            seen.beyond += u32::from(x > e.beyond);
            seen.small += u32::from(x.wrapping_sub(1) < e.small); // zero becomes the largest
        }
    } else {
        for (i, (x, code)) in src.iter().zip(dst).enumerate() {
            *code = C::narrow(step.code(x.to_bits(), i));
        }
    }
    seen
}

/// Nearest even by one addition; see the module. Only the bits that are stored are meant.
#[derive(Clone, Copy)]
struct Nearest<const NEG_ZERO: bool>(Encoder);

impl<const NEG_ZERO: bool> Step for Nearest<NEG_ZERO> {
    #[inline(always)]
    fn encoder(&self) -> &Encoder {
        &self.0
    }

    #[inline(always)]
    fn code(&self, x: u32, _: usize) -> u32 {
        let (e, n) = (&self.0, &self.0.nearest);
        let scaled = f32::from_bits(x & !SIGN) * e.scale;
        let clamped = if n.limit < scaled { n.limit } else { scaled };
        let a = clamped.to_bits().min(n.nan);
        let exponent = a.max(n.floor) & INF;
        let sum = f32::from_bits(a) + f32::from_bits(exponent.wrapping_add(n.lift));
        let code = sum.to_bits().wrapping_add(exponent >> (e.man_lift & 31));
        let sign = (x >> (e.sign_shift & 31)) & e.sign_mask;
        if NEG_ZERO || code & e.code_mask != 0 { code | sign } else { 0 }
    }
}

/// Nearest even where the target has f32's exponents: add just under half of the last place.
/// `PLAIN` is without a scale and a limit: then the sign can stay where it is.
#[derive(Clone, Copy)]
struct Truncating<const PLAIN: bool>(Encoder);

impl<const PLAIN: bool> Step for Truncating<PLAIN> {
    #[inline(always)]
    fn encoder(&self) -> &Encoder {
        &self.0
    }

    #[inline(always)]
    fn code(&self, x: u32, _: usize) -> u32 {
        let (e, n) = (&self.0, &self.0.nearest);
        let shift = e.man_lift & 31;
        let (a, sign) = if PLAIN {
            (x, 0)
        } else {
            let scaled = f32::from_bits(x & !SIGN) * e.scale;
            let clamped = if n.limit < scaled { n.limit } else { scaled };
            (clamped.to_bits(), (x >> (e.sign_shift & 31)) & e.sign_mask)
        };
        let code = a.wrapping_add(n.lift).wrapping_add((a >> shift) & 1) >> shift;
        let nan = e.general.nan_code[0] | if PLAIN { (x >> shift) & e.sign_mask } else { 0 };
        let code = if a & !SIGN > INF { nan } else { code };
        code | sign
    }
}

/// Any deterministic rounding.
#[derive(Clone, Copy)]
struct General(Encoder);

impl Step for General {
    #[inline(always)]
    fn encoder(&self) -> &Encoder {
        &self.0
    }

    #[inline(always)]
    fn code(&self, x: u32, _: usize) -> u32 {
        general::<false>(&self.0, x, 0)
    }
}

/// Stochastic, by the words of a stream from an element on.
#[derive(Clone, Copy)]
struct FromStream(Encoder, RandomStream, u64);

impl Step for FromStream {
    #[inline(always)]
    fn encoder(&self) -> &Encoder {
        &self.0
    }

    #[inline(always)]
    fn code(&self, x: u32, index: usize) -> u32 {
        general::<true>(&self.0, x, self.1.word(self.2.wrapping_add(index as u64)))
    }
}

/// Stochastic, by given words, of which there are enough: the comparison is the bounds check.
#[derive(Clone, Copy)]
struct FromWords<'a>(Encoder, &'a [u32]);

impl Step for FromWords<'_> {
    #[inline(always)]
    fn encoder(&self) -> &Encoder {
        &self.0
    }

    #[inline(always)]
    fn code(&self, x: u32, index: usize) -> u32 {
        let word = if index < self.1.len() { self.1[index] } else { 0 };
        general::<true>(&self.0, x, word)
    }
}

/// Any rounding: align, compare the fraction with the threshold, pack, then the special cases.
#[inline(always)]
fn general<const RANDOM: bool>(e: &Encoder, x: u32, word: u32) -> u32 {
    let g = &e.general;
    let negative = 0u32.wrapping_sub(x >> 31);
    let pick = |pair: [u32; 2]| pair[0] ^ ((pair[0] ^ pair[1]) & negative);
    let a = (f32::from_bits(x & !SIGN) * e.scale).to_bits();
    let field = (a >> 23).max(1) as i32;
    let significand = (a & 0x007f_ffff) | (u32::from(a >= 1 << 23) << 23);
    let exponent = (field - 127).max(e.emin);
    let shift = (e.man_lift as i32 + exponent - (field - 127)) as u32;
    let kept = significand >> shift.min(31);
    // frac · 2^32, rounded down. A shift beyond 32 leaves zeros above it: exactly so for a
    // stochastic mode; for a deterministic one "something below a half" is enough.
    let near = significand << ((32 - shift.min(32)) & 31);
    let far = significand >> shift.saturating_sub(32).min(31);
    let fraction = if RANDOM && shift > 32 { far } else { near };
    let fraction = if RANDOM { fraction & g.random_mask } else { fraction };
    let above = if RANDOM { !(word & g.random_mask) } else { pick(g.above) - (kept & g.odd) };
    let away = u32::from(fraction > above);
    let code = (((exponent - e.emin) as u32) << (e.man_bits & 31)) + kept + away;
    let code = if code > g.max_code { pick(g.over) } else { code };
    let code = if a == INF { g.inf_code } else { code };
    let sign = (x >> (e.sign_shift & 31)) & e.sign_mask;
    let sign = if code == 0 && !e.has_neg_zero { 0 } else { sign };
    if a > INF { pick(g.nan_code) } else { code | sign }
}
