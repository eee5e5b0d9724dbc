//! Codes and scales → values.

use super::options::DequantizeOptions;
use super::pieces::pieces;
use super::quantized::{Quantized, QuantizedView};
use super::target::{Decoded, Target};
use super::view::MatMut;
use crate::arch::cast::to_codes_mut;
use crate::arch::decoder::{Decoder, decoder_of};
use crate::arch::{Isa, Kernels};
use crate::error::Error;
use crate::format::FormatId;
use crate::slice::PIECE;
use crate::slice::parallel::{join, parts};
use half::bf16;
use std::vec;
use std::vec::Vec;

impl Quantized {
    /// dst\[r, c\] = fl(code · scale_inv), to bf16 and f16 by one more rounding to nearest even.
    ///
    /// NVFP4: fl(code · scale_inv · the tensor's own factor). Runs on the threads of the caller's
    /// pool.
    ///
    /// # Errors
    /// [`Error::Shape`] unless the destination has this shape.
    pub fn dequantize_into(&self, dst: MatMut<'_>) -> Result<(), Error> {
        self.view().dequantize_into(dst)
    }

    /// The codes' own values, exactly, as bf16: scales apart.
    ///
    /// With these a chip that multiplies BF16 runs the recipe's matrix product: multiply the
    /// values, and scale each group's sum as the recipe says (`scales`). Products of two such
    /// values have at most 10 significant bits and are at least 2^−34, so every product is exact
    /// in f32, and what may differ from FP8 hardware is how the chip adds: it is inexact where the
    /// chip accumulates in less than f32, or in another order. Scales must not be multiplied into
    /// the bf16 values, unless they are powers of two and nothing leaves bf16's range.
    ///
    /// # Errors
    /// [`Error::Shape`] unless there are rows · cols elements.
    ///
    /// ```
    /// use quarter::tensor::{MatRef, QuantizeOptions, quantize};
    /// use half::bf16;
    /// let x = [0.1_f32, -0.25, 3.0, 0.7];
    /// let cast = "e4m3:row:te-current".parse()?;
    /// let q = quantize(MatRef::new(&x, 2, 2)?, &cast, &QuantizeOptions::new())?;
    /// let mut values = [bf16::ZERO; 4];
    /// q.codes_as_bf16(&mut values)?;
    /// assert_eq!(values[1].to_f32(), -448.0); // the largest of its row
    /// assert_eq!(values[1].to_f32() * q.scales().scale_inv(0), -0.25);
    /// # Ok::<(), quarter::Error>(())
    /// ```
    pub fn codes_as_bf16(&self, dst: &mut [bf16]) -> Result<(), Error> {
        let n = self.rows * self.cols;
        if dst.len() != n {
            let got = (1, dst.len());
            return Err(Error::Shape { what: "bf16 destination", expected: (1, n), got });
        }
        let kernels = Isa::best().kernels();
        let decoder = decoder(self.format)?;
        let dst = to_codes_mut(dst);
        if self.packed {
            let mut codes = vec![0; n];
            kernels.unpack(self.format.spec().bits(), &self.codes, &mut codes);
            split_bf16(kernels, decoder, &codes, dst, parts(n, 0));
        } else {
            split_bf16(kernels, decoder, &self.codes, dst, parts(n, 0));
        }
        Ok(())
    }

    /// dst\[r, c\] = fl(code / scale): what torchao's emulation computes, instead of multiplying by
    /// the reciprocal.
    ///
    /// # Errors
    /// [`Error::Cast`] where the rule computed no `scale`; [`Error::Length`].
    pub fn dequantize_by_division(&self, dst: &mut [f32]) -> Result<(), Error> {
        let super::Scales::F32 { scale: Some(scale), .. } = &self.scales else {
            return Err(Error::Cast { why: "there is no scale to divide by" });
        };
        let expected = self.rows * self.cols;
        if dst.len() != expected {
            return Err(Error::Length { what: "destination", expected, got: dst.len() });
        }
        let mut whole = self.clone();
        whole.unpack();
        let view = whole.view();
        for (i, (x, code)) in dst.iter_mut().zip(&whole.codes).enumerate() {
            let group = view.group(i / self.cols, i % self.cols);
            *x = self.format.spec().decode_f32(u64::from(*code)) / scale[group];
        }
        Ok(())
    }
}

fn split_bf16(kernels: &Kernels, decoder: &Decoder, codes: &[u8], dst: &mut [u16], parts: usize) {
    let left = parts / 2;
    let at = codes.len() / parts * left;
    if parts < 2 {
        return kernels.decode_bf16(decoder, codes, dst, false);
    }
    let ((c0, c1), (d0, d1)) = (codes.split_at(at), dst.split_at_mut(at));
    join(
        || split_bf16(kernels, decoder, c0, d0, left),
        || split_bf16(kernels, decoder, c1, d1, parts - left),
    );
}

/// # Errors
/// [`Error::CodeWidth`] for a format of more than 8 bits.
pub(super) fn decoder(format: FormatId) -> Result<&'static Decoder, Error> {
    let spec = format.spec();
    let wide = Error::CodeWidth { format: spec.name(), expected: spec.bits(), got: 8 };
    decoder_of(format).ok_or(wide)
}

impl QuantizedView<'_> {
    /// [`Quantized::dequantize_into`] of these rows.
    ///
    /// # Errors
    /// [`Error::Shape`] unless the destination has this shape.
    pub fn dequantize_into(self, dst: MatMut<'_>) -> Result<(), Error> {
        self.dequantize_with(dst, &DequantizeOptions::new())
    }

    /// The same on other threads or another instruction set.
    ///
    /// # Errors
    /// [`Error::Shape`] unless the destination has this shape.
    pub fn dequantize_with(
        self,
        dst: MatMut<'_>,
        options: &DequantizeOptions,
    ) -> Result<(), Error> {
        if dst.shape() != self.shape() {
            let (expected, got) = (self.shape(), dst.shape());
            return Err(Error::Shape { what: "destination", expected, got });
        }
        if self.rows * self.cols == 0 {
            return Ok(());
        }
        let decoder = decoder(self.format)?;
        let global = self.scales.global_scale_inv();
        let target = Decoded::new(dst.into_parts(), decoder, global);
        let parts = parts(self.rows * self.cols, options.threads);
        self.split((0, self.rows), target, parts, options.isa.kernels());
        Ok(())
    }

    fn split(&self, rows: (usize, usize), target: Decoded<'_>, parts: usize, kernels: &Kernels) {
        let left = parts / 2;
        let at = (rows.1 - rows.0) / parts.max(1) * left;
        if parts < 2 || at == 0 {
            return self.serial(rows, target, kernels);
        }
        let (t0, t1) = target.split(true, at);
        let at = rows.0 + at;
        join(
            || self.split((rows.0, at), t0, left, kernels),
            || self.split((at, rows.1), t1, parts - left, kernels),
        );
    }

    fn serial(&self, rows: (usize, usize), mut target: Decoded<'_>, kernels: &Kernels) {
        let (_, block) = self.granularity.block(self.rows, self.cols);
        let mut factors: Vec<f32> = Vec::new();
        let mut row_of_factors = None;
        let mut unpacked = [0; PIECE];
        for row in rows.0..rows.1 {
            let first = if self.cols == 0 { 0 } else { self.group(row, 0) };
            if row_of_factors != Some(first) {
                let groups = first..first + self.cols.div_ceil(block);
                factors.clear();
                factors.extend(groups.map(|i| self.scales.scale_inv(i)));
                row_of_factors = Some(first);
            }
            pieces((0, self.cols), block, |piece| {
                let at = row * self.cols + piece.col;
                let codes = if self.packed {
                    self.unpack(at, &mut unpacked[..piece.len]);
                    &unpacked[..piece.len]
                } else {
                    &self.codes[at..at + piece.len]
                };
                let groups = piece.first..piece.first + piece.len.div_ceil(piece.group);
                target.put(kernels, (row, piece.col), codes, piece.group, &factors[groups]);
            });
        }
    }

    /// Codes from number `at` on, of packed ones.
    fn unpack(&self, at: usize, codes: &mut [u8]) {
        let bits = self.format.spec().bits() as usize;
        for (i, code) in codes.iter_mut().enumerate() {
            let bit = (at + i) * bits;
            let low = u16::from(self.codes[bit / 8]);
            let high = u16::from(self.codes.get(bit / 8 + 1).copied().unwrap_or(0));
            *code = ((low | high << 8) >> (bit % 8)) as u8 & self.format.spec().code_mask() as u8;
        }
    }

    /// The value of an element by definition: what `dequantize_into` is held to.
    ///
    /// # Panics
    /// Beyond the last row or column.
    #[must_use]
    pub fn value(&self, row: usize, col: usize) -> f32 {
        let mut code = [0];
        let at = row * self.cols + col;
        if self.packed {
            self.unpack(at, &mut code);
        } else {
            code[0] = self.codes[at];
        }
        let value = self.format.spec().decode_f32(u64::from(code[0]));
        value * self.scale_inv(row, col) * self.scales.global_scale_inv()
    }
}
