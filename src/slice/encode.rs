//! Values → codes: check, cut, then piece by piece through the kernels.

use super::buffers::{CodesMut, Values};
use super::kernel::Kernel;
use super::parallel::{cut, join, parts};
use super::{EncodeOptions, LONG, PIECE, QuantStats, Random, STREAM};
use crate::arch::cast::{bytes, bytes_mut, from_codes_mut, to_codes};
use crate::arch::encoder::{Encoder, Method};
use crate::arch::{Kernels, Words};
use crate::error::Error;
use crate::format::{Code, FormatId, FormatSpec, NanPolicy, Policy, Unpacked, nan, table};

const INF: u32 = 0x7f80_0000;

/// codes\[i\] = the code of src\[i\] (· scale).
///
/// # Errors
/// A length or a width that does not fit; random words missing or too few; NaN under
/// [`NanPolicy::Error`]. Nothing is written then.
pub fn encode<'s, 'c>(
    spec: &FormatSpec,
    src: impl Into<Values<'s>>,
    codes: impl Into<CodesMut<'c>>,
    options: &EncodeOptions<'_>,
) -> Result<(), Error> {
    run(spec, src.into(), codes.into(), options, false).map(drop)
}

/// [`encode`], and what happened to the values.
///
/// # Errors
/// Those of [`encode`].
pub fn encode_stats<'s, 'c>(
    spec: &FormatSpec,
    src: impl Into<Values<'s>>,
    codes: impl Into<CodesMut<'c>>,
    options: &EncodeOptions<'_>,
) -> Result<QuantStats, Error> {
    run(spec, src.into(), codes.into(), options, true)
}

fn run(
    spec: &FormatSpec,
    src: Values<'_>,
    codes: CodesMut<'_>,
    options: &EncodeOptions<'_>,
    stats: bool,
) -> Result<QuantStats, Error> {
    codes.check(spec, src.len())?;
    let (job, words) = Job::new(spec, src.len(), options, stats)?;
    job.check_nan(&src, 0)?;
    Ok(job.split(src, codes, words, parts(src.len(), options.threads)))
}

/// How codes get to their place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stores {
    /// The kernel writes them.
    Direct,
    /// The kernel writes them past the cache.
    Past,
    /// Through a buffer, or one at a time.
    Buffered,
}

/// One call's settings.
pub(super) struct Job<'a> {
    spec: &'a FormatSpec,
    policy: Policy,
    scale: Option<f32>,
    encoder: Encoder,
    kernels: &'static Kernels,
    stats: bool,
}

impl<'a> Job<'a> {
    /// The settings for `n` values, and where their random words come from.
    pub(super) fn new<'w>(
        spec: &'a FormatSpec,
        n: usize,
        options: &EncodeOptions<'w>,
        stats: bool,
    ) -> Result<(Self, Words<'w>), Error> {
        let EncodeOptions { policy, scale, random, threads: _, isa } = *options;
        policy.rounding.check()?;
        let words = match random {
            _ if !policy.rounding.is_stochastic() => Words::None,
            Random::None => return Err(Error::RandomMissing),
            Random::Stream { stream, start } => Words::Stream(stream, start),
            Random::Words(words) if words.len() != n => {
                let (expected, got) = (n, words.len());
                return Err(Error::Length { what: "slice of random words", expected, got });
            }
            Random::Words(words) => Words::Given(words),
        };
        let encoder = Encoder::new(spec, policy, scale.unwrap_or(1.0), stats);
        Ok((Self { spec, policy, scale, encoder, kernels: isa.kernels(), stats }, words))
    }

    /// Refuses NaN where the policy does; `at` is the index of the first value.
    pub(super) fn check_nan(&self, src: &Values, at: usize) -> Result<(), Error> {
        if !matches!(self.policy.nan, NanPolicy::Error) || self.spec.has_nan() {
            return Ok(());
        }
        let scale = self.scale.unwrap_or(1.0);
        match (0..src.len()).find(|i| (src.get_f32(*i) * scale).is_nan()) {
            Some(index) => Err(Error::Nan { format: self.spec.name(), index: at + index }),
            None => Ok(()),
        }
    }
}

impl Job<'_> {
    /// Cuts into parts for the pool; each part runs on one thread.
    fn split(&self, src: Values, codes: CodesMut, words: Words, parts: usize) -> QuantStats {
        let left = parts / 2;
        let at = cut(src.len(), parts, left);
        if parts < 2 || at == 0 {
            return self.serial(src, codes, words);
        }
        let (s0, s1) = src.split_at(at);
        let (c0, c1) = codes.split_at(self.spec, at);
        let (w0, w1) = split_words(words, at);
        let (a, b) = join(|| self.split(s0, c0, w0, left), || self.split(s1, c1, w1, parts - left));
        a.merge(b)
    }

    pub(super) fn serial(
        &self,
        mut src: Values,
        mut codes: CodesMut,
        mut words: Words,
    ) -> QuantStats {
        let bytes = src.len() * (src.element_size() + self.spec.storage_bits() as usize / 8);
        let stream = bytes >= STREAM;
        let how = self.stores(&src, &codes, stream);
        let long = if how == Stores::Buffered { PIECE } else { LONG };
        let lead = if how == Stores::Past { codes.lead().min(long) } else { 0 };
        let mut step = if lead > 0 { lead } else { long };
        let mut stats = QuantStats::default();
        while !src.is_empty() {
            let at = src.len().min(step);
            step = long;
            // The last piece of packed codes may end within a byte group: it takes all the rest.
            let (piece, rest) = if at == src.len() {
                ((src, codes, split_words(words, at).0), None)
            } else {
                let (s0, s1) = src.split_at(at);
                let (c0, c1) = codes.split_at(self.spec, at);
                let (w0, w1) = split_words(words, at);
                ((s0, c0, w0), Some((s1, c1, w1)))
            };
            stats = stats.merge(self.piece(piece.0, piece.1, piece.2, stream, how));
            match rest {
                Some(rest) => (src, codes, words) = rest,
                None => break,
            }
        }
        if stream {
            self.kernels.fence();
        }
        stats
    }

    /// How codes get to their place.
    fn stores(&self, src: &Values, codes: &CodesMut, stream: bool) -> Stores {
        let nearest = self.encoder.method == Method::Nearest;
        let kernel = match (src, codes) {
            (Values::F32(_), CodesMut::U8(_)) => nearest || !stream,
            (Values::Bf16(_), CodesMut::U8(_)) => nearest,
            (Values::F32(_), CodesMut::U16(_)) => self.encoder.method != Method::Reference,
            _ => false,
        };
        match (kernel, stream) {
            (true, true) if self.kernels.direct => Stores::Past,
            (true, false) => Stores::Direct,
            _ => Stores::Buffered,
        }
    }

    /// At most `PIECE` elements where stores are buffered, else `LONG`.
    fn piece(
        &self,
        src: Values,
        codes: CodesMut,
        words: Words,
        stream: bool,
        how: Stores,
    ) -> QuantStats {
        let n = src.len();
        let past = how == Stores::Past;
        match (src, codes) {
            (Values::Bf16(values), CodesMut::U8(codes)) if how != Stores::Buffered => {
                self.narrow_bf16(to_codes(values), codes, past).unwrap_or_else(|codes| {
                    let mut stats = QuantStats::default();
                    for (s, c) in values.chunks(PIECE).zip(codes.chunks_mut(PIECE)) {
                        stats = stats.merge(self.fill(Values::Bf16(s), c, Words::None, false));
                    }
                    stats
                })
            }
            (src, CodesMut::U8(codes)) if how == Stores::Buffered && stream => {
                self.streamed(src, codes, words)
            }
            (src, CodesMut::U16(codes)) if how == Stores::Buffered && stream => {
                self.streamed(src, codes, words)
            }
            (src, CodesMut::U8(codes)) => self.fill(src, codes, words, past),
            (src, CodesMut::U16(codes)) => self.fill(src, codes, words, past),
            (src, CodesMut::U32(codes)) if self.to_nearest_f32() => self.nearest_f32(src, codes),
            (src, CodesMut::U32(codes)) => self.reference(src, codes, words),
            (src, CodesMut::U64(codes)) => self.reference(src, codes, words),
            (src, CodesMut::Packed(bytes)) => {
                let mut buffer = [0; PIECE];
                let stats = self.fill(src, &mut buffer[..n], words, false);
                self.kernels.pack(self.spec.bits(), &buffer[..n], bytes);
                stats
            }
        }
    }

    /// Around the cache, by way of a buffer of codes.
    #[inline(never)]
    fn streamed<C: Kernel>(&self, src: Values, codes: &mut [C], words: Words) -> QuantStats {
        let mut buffer = [C::default(); PIECE];
        let buffer = &mut buffer[..codes.len()];
        let stats = self.fill(src, buffer, words, false);
        self.kernels.stream(bytes(buffer), bytes_mut(codes));
        stats
    }

    /// bf16 without a detour through f32 slices; the codes back if they must take it, for NaN.
    fn narrow_bf16<'c>(
        &self,
        values: &[u16],
        codes: &'c mut [u8],
        past: bool,
    ) -> Result<QuantStats, &'c mut [u8]> {
        let screen = self.stats || !self.spec.has_nan();
        let seen = self.kernels.encode_bf16(&self.encoder, values, codes, screen, past);
        match seen {
            _ if screen && seen.peak > INF => Err(codes),
            seen if self.stats => Ok(seen.counts().into()),
            _ => Ok(QuantStats::default()),
        }
    }

    fn fill<C: Kernel>(
        &self,
        src: Values,
        codes: &mut [C],
        words: Words,
        past: bool,
    ) -> QuantStats {
        let stochastic = !matches!(words, Words::None);
        // Round to odd keeps 22 bits for a rounding decision, stochastic modes want up to 32 more.
        let too_wide = matches!(src, Values::F64(_)) && self.scale.is_none() && stochastic;
        if self.encoder.method == Method::Reference || too_wide {
            return self.reference(src, codes, words);
        }
        let mut stats = match src {
            Values::F32(values) => self.kernel(values, codes, words, past),
            Values::F64(_) | Values::F16(_) | Values::Bf16(_) => self.widened(src, codes, words),
        };
        if let (Values::F64(values), true) = (src, self.stats) {
            stats.amax = values.iter().fold(0.0f64, |a, x| a.max(x.abs())) as f32;
            if self.scale.is_some() {
                // The kernel saw f32: what had become zero there was flushed on the way.
                let vanished = values.iter().filter(|x| **x != 0.0 && **x as f32 == 0.0);
                stats.flushed += vanished.count() as u64;
            }
        }
        stats
    }

    /// Through a buffer of f32.
    #[inline(never)]
    fn widened<C: Kernel>(&self, src: Values, codes: &mut [C], words: Words) -> QuantStats {
        let mut buffer = [0.0; PIECE];
        let buffer = &mut buffer[..src.len()];
        match src {
            Values::F64(values) if self.scale.is_none() => self.kernels.f64_to_odd(values, buffer),
            Values::F64(_) | Values::F32(_) | Values::F16(_) | Values::Bf16(_) => {
                self.widen(src, buffer);
            }
        }
        self.kernel(buffer, codes, words, false)
    }

    /// To f32, an f64 to nearest even.
    fn widen(&self, src: Values, dst: &mut [f32]) {
        match src {
            Values::F32(values) => dst.copy_from_slice(values),
            Values::F64(values) => self.kernels.f64_to_nearest(values, dst),
            Values::F16(values) => self.kernels.f16_to_f32(to_codes(values), dst),
            Values::Bf16(values) => self.kernels.bf16_to_f32(to_codes(values), dst, false),
        }
    }

    /// The kernel, then what its screen asks for.
    fn kernel<C: Kernel>(
        &self,
        values: &[f32],
        codes: &mut [C],
        words: Words,
        past: bool,
    ) -> QuantStats {
        let e = &self.encoder;
        let screen = self.stats || !self.spec.has_nan();
        let screen = C::encode(self.kernels, e, words, values, codes, screen, past);
        if screen.peak > INF && !self.spec.has_nan() {
            let code = C::from_u64(nan(self.spec, self.policy.nan, false));
            for (x, c) in values.iter().zip(codes.iter_mut()) {
                if x.is_nan() {
                    *c = code;
                }
            }
        }
        if !self.stats {
            return QuantStats::default();
        }
        // The screen is the count, but that NaN hides the peak, and that only nearest even's
        // threshold for zero is exact.
        let counted = screen.peak <= INF && (e.method != Method::General || screen.small == 0);
        if counted { screen.counts() } else { C::count(self.kernels, e, values, codes) }.into()
    }

    /// Whether this is the conversion to f32 that processors have.
    fn to_nearest_f32(&self) -> bool {
        let nearest = Policy { nan: self.policy.nan, ..Policy::NONFINITE };
        self.spec.id() == Some(FormatId::F32) && self.policy == nearest && self.scale.is_none()
    }

    /// To f32: nearest even, overflow to Inf.
    fn nearest_f32(&self, src: Values, codes: &mut [u32]) -> QuantStats {
        let values = from_codes_mut(codes);
        self.widen(src, values);
        for x in values.iter_mut().filter(|x| x.is_nan()) {
            *x = f32::from_bits(0x7fc0_0000 | x.to_bits() & 1 << 31);
        }
        if !self.stats {
            return QuantStats::default();
        }
        match src {
            Values::F64(src) => count_f32(src.iter().copied(), values),
            Values::F32(src) => count_f32(src.iter().map(|x| f64::from(*x)), values),
            Values::F16(_) | Values::Bf16(_) => {
                count_f32(values.iter().map(|x| f64::from(*x)), values)
            }
        }
    }

    /// One value at a time, by definition.
    fn reference<C: Code>(&self, src: Values, codes: &mut [C], words: Words) -> QuantStats {
        let mut stats = QuantStats::default();
        let mut amax = 0.0f64;
        for (i, code) in codes.iter_mut().enumerate() {
            let x = self.value(&src, i);
            let word = match words {
                Words::None => 0,
                Words::Stream(stream, start) => stream.word(start.wrapping_add(i as u64)),
                Words::Given(words) => words[i],
            };
            let bits = x.round(self.spec, self.policy, word);
            *code = C::from_u64(bits);
            if self.stats {
                let source = src.get(i).to_f64().abs();
                if source.is_nan() {
                    stats.nan += 1;
                    continue;
                }
                amax = amax.max(source);
                let zero = self.spec.has_zero() && bits & self.spec.zero_mask() == 0;
                stats.flushed += u64::from(source != 0.0 && zero);
                stats.saturated += u64::from(x.to_f64().abs() > self.spec.max());
            }
        }
        stats.amax = amax as f32;
        stats
    }

    /// src\[i\], or fl(src\[i\] · scale).
    fn value(&self, src: &Values, i: usize) -> Unpacked {
        match self.scale {
            None => src.get(i),
            Some(scale) => {
                let x = src.get_f32(i);
                let negative = x.is_sign_negative() != scale.is_sign_negative();
                Unpacked::from_f32(x.abs() * scale.abs()).with_sign(negative)
            }
        }
    }
}

/// The statistics of `src` rounded to f32.
fn count_f32(src: impl Iterator<Item = f64>, values: &[f32]) -> QuantStats {
    let (mut amax, mut stats) = (0.0f64, QuantStats::default());
    for (x, y) in src.zip(values) {
        amax = amax.max(x.abs());
        stats.saturated += u64::from(x.abs() > table::F32.max());
        stats.flushed += u64::from(x != 0.0 && *y == 0.0);
        stats.nan += u64::from(x.is_nan());
    }
    stats.amax = amax as f32;
    stats
}

/// The words from element `at` on, and those before.
pub(super) const fn split_words(words: Words<'_>, at: usize) -> (Words<'_>, Words<'_>) {
    match words {
        Words::None => (Words::None, Words::None),
        Words::Stream(stream, start) => {
            (words, Words::Stream(stream, start.wrapping_add(at as u64)))
        }
        Words::Given(words) => {
            let (a, b) = words.split_at(at);
            (Words::Given(a), Words::Given(b))
        }
    }
}
