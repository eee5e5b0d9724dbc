//! Codes → values: check, cut, then piece by piece through the kernels.

use super::buffers::{Codes, ValuesMut};
use super::parallel::{cut, join, parts};
use super::{DecodeOptions, LONG, PIECE, STREAM};
use crate::arch::cast::{bytes, bytes_mut, to_codes_mut};
use crate::arch::decoder::{Decoder, decoder_of};
use crate::arch::encoder::Encoder;
use crate::arch::{Kernels, Words};
use crate::error::Error;
use crate::format::{FormatId, FormatSpec, Policy, Unpacked, table};
use half::{bf16, f16};

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
        let direct = self.is_direct(codes, &dst) && (!stream || self.kernels.direct);
        let long = if direct { LONG } else { PIECE };
        let lead = if stream && direct { dst.lead().min(long) } else { 0 };
        let mut step = if lead > 0 { lead } else { long };
        // The last piece is not cut: packed codes may end within a group of bytes.
        while dst.len() > step {
            let (c0, c1) = codes.split_at(self.spec, step);
            let (d0, d1) = dst.split_at(step);
            step = long;
            self.piece(c0, d0, stream, direct);
            (codes, dst) = (c1, d1);
        }
        self.piece(codes, dst, stream, direct);
        if stream {
            self.kernels.fence();
        }
    }

    /// Whether a kernel writes straight into the destination.
    fn is_direct(&self, codes: Codes, dst: &ValuesMut) -> bool {
        match (dst, codes) {
            (ValuesMut::F32(_), Codes::U8(_)) => self.decoder.is_some(),
            (ValuesMut::F32(_), Codes::U16(_)) => {
                self.is(FormatId::Bf16) && self.scale_inv.is_none()
            }
            (ValuesMut::Bf16(_), Codes::U8(_)) => self.bf16_decoder().is_some(),
            _ => false,
        }
    }

    /// At most `LONG` elements if it is direct, else `PIECE`.
    fn piece(&self, codes: Codes, dst: ValuesMut, stream: bool, direct: bool) {
        match (dst, codes, self.bf16_decoder()) {
            (ValuesMut::Bf16(dst), Codes::U8(codes), Some(decoder)) if direct => {
                self.kernels.decode_bf16(decoder, codes, to_codes_mut(dst), stream);
            }
            (ValuesMut::F32(dst), codes, _) if direct => {
                self.to_f32(codes, dst, stream);
            }
            (dst, codes, _) => self.buffered(codes, dst, stream),
        }
    }

    /// At most `PIECE` elements.
    #[inline(never)]
    fn buffered(&self, codes: Codes, dst: ValuesMut, stream: bool) {
        let n = dst.len();
        let mut unpacked = [0; PIECE];
        let codes = match codes {
            Codes::Packed(bytes) => {
                self.kernels.unpack(self.spec.bits(), bytes, &mut unpacked[..n]);
                Codes::U8(&unpacked[..n])
            }
            Codes::U8(_) | Codes::U16(_) | Codes::U32(_) | Codes::U64(_) => codes,
        };
        let to_bf16 = self.bf16_decoder();
        let dst = match (dst, codes, to_bf16) {
            (ValuesMut::Bf16(dst), Codes::U8(codes), Some(decoder)) => {
                if !stream {
                    return self.kernels.decode_bf16(decoder, codes, to_codes_mut(dst), false);
                }
                let mut buffer = [0u16; PIECE];
                self.kernels.decode_bf16(decoder, codes, &mut buffer[..n], false);
                return self.kernels.stream(bytes(&buffer[..n]), bytes_mut(dst));
            }
            (ValuesMut::F32(dst), codes, _) if !stream => {
                if !self.to_f32(codes, dst, false) {
                    self.reference(codes, ValuesMut::F32(dst));
                }
                return;
            }
            (dst, ..) => dst,
        };
        let mut buffer = [0.0; PIECE];
        let buffer = &mut buffer[..n];
        if !self.to_f32(codes, buffer, false) {
            return self.reference(codes, dst);
        }
        match dst {
            ValuesMut::F32(dst) => self.kernels.stream(bytes(buffer), bytes_mut(dst)),
            ValuesMut::F64(dst) => self.kernels.f32_to_f64(buffer, dst),
            ValuesMut::F16(dst) => self.narrow(buffer, &table::F16, to_codes_mut(dst)),
            ValuesMut::Bf16(dst) => self.narrow(buffer, &table::BF16, to_codes_mut(dst)),
        }
    }

    /// What decodes straight to bf16: an unscaled format within it.
    fn bf16_decoder(&self) -> Option<&Decoder> {
        let exact = self.scale_inv.is_none() && self.spec.within(&table::BF16);
        self.decoder.filter(|_| exact)
    }

    fn is(&self, id: FormatId) -> bool {
        self.spec.id() == Some(id)
    }

    /// Decodes exactly to f32, and multiplies; false where f32 may not hold the code's value.
    fn to_f32(&self, codes: Codes, dst: &mut [f32], past: bool) -> bool {
        match (codes, self.decoder) {
            (Codes::U8(codes), Some(decoder)) => {
                self.kernels.decode_f32(decoder, self.scale_inv.unwrap_or(1.0), codes, dst, past);
                return true;
            }
            (Codes::U16(codes), _) if self.is(FormatId::Bf16) => {
                self.kernels.bf16_to_f32(codes, dst, past);
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
        self.kernels.encode_u16(&encoder, Words::None, values, codes, false, false);
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
