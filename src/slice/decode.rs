//! Codes → values: check, cut, then piece by piece through the kernels.

use super::buffers::{Codes, ValuesMut};
use super::parallel::{cut, join, parts};
use super::{PIECE, STREAM};
use crate::arch::cast::{bytes, bytes_mut, to_codes_mut};
use crate::arch::decoder::{Decoder, decoder_of};
use crate::arch::encoder::Encoder;
use crate::arch::{Isa, Kernels, Words};
use crate::error::Error;
use crate::format::{FormatId, FormatSpec, Policy, Unpacked, table};
use half::{bf16, f16};

/// How to decode a slice.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct DecodeOptions {
    scale_inv: Option<f32>,
    threads: usize,
    isa: Isa,
}

impl Default for DecodeOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl DecodeOptions {
    /// Unscaled, all threads of the caller's pool, the best instruction set.
    pub fn new() -> Self {
        Self { scale_inv: None, threads: 0, isa: Isa::best() }
    }

    /// Multiplies every decoded value: fl(code · scale_inv) in f32, then one rounding to a
    /// narrower destination.
    pub const fn scale_inv(self, scale_inv: f32) -> Self {
        Self { scale_inv: Some(scale_inv), ..self }
    }

    /// The most threads of the caller's pool to use; 1 keeps off rayon, 0 asks for all.
    pub const fn threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    /// Another instruction set: the bits are the same.
    pub const fn isa(self, isa: Isa) -> Self {
        Self { isa, ..self }
    }
}

/// dst\[i\] = the value of codes\[i\] (· scale_inv).
///
/// Exact without a scale into f32, f64 and bf16 from every format of up to 8 bits; into f16, and
/// from wider formats, rounded once to nearest even. NaN is the quiet one with the code's sign.
///
/// # Errors
/// A length or a width that does not fit. Nothing is written then.
pub fn decode<'c, 'd>(
    spec: &FormatSpec,
    codes: impl Into<Codes<'c>>,
    dst: impl Into<ValuesMut<'d>>,
    options: &DecodeOptions,
) -> Result<(), Error> {
    run(spec, codes.into(), dst.into(), options)
}

fn run(
    spec: &FormatSpec,
    codes: Codes<'_>,
    dst: ValuesMut<'_>,
    options: &DecodeOptions,
) -> Result<(), Error> {
    let n = dst.len();
    codes.check(spec, n)?;
    let custom;
    let decoder = match spec.id() {
        Some(id) => decoder_of(id),
        None if spec.bits() <= 8 && spec.within(&table::F32) => {
            custom = Decoder::new(spec);
            Some(&custom)
        }
        None => None,
    };
    let job = Job { spec, decoder, scale_inv: options.scale_inv, kernels: options.isa.kernels() };
    job.split(codes, dst, parts(n, options.threads));
    Ok(())
}

/// One call's settings.
struct Job<'a> {
    spec: &'a FormatSpec,
    /// Of a format of up to 8 bits within f32.
    decoder: Option<&'a Decoder>,
    scale_inv: Option<f32>,
    kernels: &'static Kernels,
}

impl Job<'_> {
    /// Cuts into parts for the pool; each part runs on one thread.
    fn split(&self, codes: Codes, dst: ValuesMut, parts: usize) {
        let left = parts / 2;
        let at = cut(dst.len(), parts, left);
        if parts < 2 || at == 0 {
            return self.serial(codes, dst);
        }
        let (c0, c1) = codes.split_at(self.spec, at);
        let (d0, d1) = dst.split_at(at);
        join(|| self.split(c0, d0, left), || self.split(c1, d1, parts - left));
    }

    fn serial(&self, mut codes: Codes, mut dst: ValuesMut) {
        let bytes = dst.len() * (dst.element_size() + self.spec.storage_bits() as usize / 8);
        let stream = bytes >= STREAM;
        while dst.len() > PIECE {
            let (c0, c1) = codes.split_at(self.spec, PIECE);
            let (d0, d1) = dst.split_at(PIECE);
            self.piece(c0, d0, stream);
            (codes, dst) = (c1, d1);
        }
        self.piece(codes, dst, stream);
        if stream {
            self.kernels.fence();
        }
    }

    /// At most `PIECE` elements.
    fn piece(&self, codes: Codes, mut dst: ValuesMut, stream: bool) {
        let n = dst.len();
        if let Codes::Packed(bytes) = codes {
            return self.unpacked(bytes, dst, stream);
        }
        // Straight into the destination where a kernel does that and memory is not the limit.
        if let ValuesMut::F32(dst) = &mut dst
            && !stream
            && self.to_f32(codes, dst)
        {
            return;
        }
        if let (ValuesMut::Bf16(dst), Codes::U8(codes), Some(decoder), None) =
            (&mut dst, codes, self.decoder, self.scale_inv)
            && self.spec.within(&table::BF16)
        {
            if stream {
                let mut buffer = [0u16; PIECE];
                self.kernels.decode_bf16(decoder, codes, &mut buffer[..n]);
                self.kernels.stream(bytes(&buffer[..n]), bytes_mut(dst));
            } else {
                self.kernels.decode_bf16(decoder, codes, to_codes_mut(dst));
            }
            return;
        }
        self.buffered(codes, dst);
    }

    /// By way of a buffer of f32.
    #[inline(never)]
    fn buffered(&self, codes: Codes, dst: ValuesMut) {
        let mut buffer = [0.0; PIECE];
        let buffer = &mut buffer[..dst.len()];
        if !self.to_f32(codes, buffer) {
            return self.reference(codes, dst);
        }
        match dst {
            ValuesMut::F32(dst) => self.kernels.stream(bytes(buffer), bytes_mut(dst)),
            ValuesMut::F64(dst) => self.kernels.f32_to_f64(buffer, dst),
            ValuesMut::F16(dst) => self.narrow(buffer, &table::F16, to_codes_mut(dst)),
            ValuesMut::Bf16(dst) => self.narrow(buffer, &table::BF16, to_codes_mut(dst)),
        }
    }

    /// Packed codes, by way of a buffer of codes.
    #[inline(never)]
    fn unpacked(&self, packed: &[u8], dst: ValuesMut, stream: bool) {
        let mut codes = [0; PIECE];
        let codes = &mut codes[..dst.len()];
        self.kernels.unpack(self.spec.bits(), packed, codes);
        self.piece(Codes::U8(codes), dst, stream);
    }

    fn is(&self, id: FormatId) -> bool {
        self.spec.id() == Some(id)
    }

    /// Decodes exactly to f32, and multiplies; false where f32 may not hold the code's value.
    fn to_f32(&self, codes: Codes, dst: &mut [f32]) -> bool {
        match (codes, self.decoder) {
            (Codes::U8(codes), Some(decoder)) => {
                self.kernels.decode_f32(decoder, self.scale_inv.unwrap_or(1.0), codes, dst);
                return true;
            }
            (Codes::U16(codes), _) if self.is(FormatId::Bf16) => {
                self.kernels.bf16_to_f32(codes, dst);
            }
            (Codes::U16(codes), _) if self.is(FormatId::F16) => {
                self.kernels.f16_to_f32(codes, dst);
            }
            (Codes::U32(codes), _) if self.is(FormatId::F32) => {
                for (code, x) in codes.iter().zip(dst.iter_mut()) {
                    *x = table::F32.decode_f32(u64::from(*code));
                }
            }
            _ => return false,
        }
        if let Some(scale_inv) = self.scale_inv {
            for x in dst {
                *x *= scale_inv;
            }
        }
        true
    }

    /// f32 → a 16-bit format, to nearest even.
    fn narrow(&self, values: &[f32], spec: &FormatSpec, codes: &mut [u16]) {
        let encoder = Encoder::new(spec, Policy::NONFINITE, 1.0, false);
        self.kernels.encode_u16(&encoder, Words::None, values, codes, false);
    }

    /// One code at a time, by definition.
    fn reference(&self, codes: Codes, dst: ValuesMut) {
        let value = |i: usize| {
            let code = match codes {
                Codes::U8(codes) | Codes::Packed(codes) => u64::from(codes[i]),
                Codes::U16(codes) => u64::from(codes[i]),
                Codes::U32(codes) => u64::from(codes[i]),
                Codes::U64(codes) => codes[i],
            };
            let exact = Unpacked::decode(self.spec, code);
            match self.scale_inv {
                None => exact,
                Some(scale_inv) => Unpacked::from_f32(exact.to_f32() * scale_inv),
            }
        };
        let nearest = |i: usize, spec: &FormatSpec| value(i).round(spec, Policy::NONFINITE, 0);
        match dst {
            ValuesMut::F64(dst) => fill(dst, |i| value(i).to_f64()),
            ValuesMut::F32(dst) => fill(dst, |i| value(i).to_f32()),
            ValuesMut::F16(dst) => fill(dst, |i| f16::from_bits(nearest(i, &table::F16) as u16)),
            ValuesMut::Bf16(dst) => fill(dst, |i| bf16::from_bits(nearest(i, &table::BF16) as u16)),
        }
    }
}

fn fill<T>(dst: &mut [T], value: impl Fn(usize) -> T) {
    for (i, x) in dst.iter_mut().enumerate() {
        *x = value(i);
    }
}
