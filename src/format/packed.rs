//! 4- and 6-bit codes in bytes without gaps.
//!
//! The codes form a little-endian bit stream: code i takes bits i·w to i·w + w − 1, counted from
//! bit 0 of byte 0. Two 4-bit codes share a byte, the first in its low half, as torch's
//! `float4_e2m1fn_x2` has it; four 6-bit codes share three bytes. Unused bits at the end are 0.

use super::spec::FormatSpec;
use crate::error::Error;

impl FormatSpec {
    /// ⌈codes · bits / 8⌉: the bytes that packed codes take.
    ///
    /// # Errors
    /// [`Error::NotPackable`] unless the format has 4 or 6 bits.
    pub const fn packed_len(&self, codes: usize) -> Result<usize, Error> {
        match self.bits() {
            4 => Ok(codes.div_ceil(2)),
            6 => Ok(codes / 4 * 3 + (codes % 4 * 6).div_ceil(8)),
            bits => Err(Error::NotPackable { format: self.name, bits }),
        }
    }

    /// Packs codes; `packed` must have [`packed_len`](Self::packed_len) bytes.
    ///
    /// # Errors
    /// [`Error::NotPackable`], [`Error::Length`], and [`Error::Code`] for a code with bits above
    /// the format's; then nothing is written.
    ///
    /// ```
    /// use quarter::FormatId;
    /// let e2m1 = FormatId::F4E2M1.spec();
    /// let mut packed = [0; 2];
    /// e2m1.pack(&[0x1, 0x2, 0x3], &mut packed)?;
    /// assert_eq!(packed, [0x21, 0x03]);
    /// # Ok::<(), quarter::Error>(())
    /// ```
    pub fn pack(&self, codes: &[u8], packed: &mut [u8]) -> Result<(), Error> {
        self.check_packed(codes.len(), packed.len())?;
        let fits = u8::try_from(self.code_mask()).unwrap_or(u8::MAX);
        if let Some(code) = codes.iter().find(|code| **code > fits) {
            let (format, bits) = (self.name, self.bits());
            return Err(Error::Code { format, bits, got: u32::from(*code) });
        }
        pack(self.bits(), codes, packed);
        Ok(())
    }

    /// Unpacks codes; `packed` must have [`packed_len`](Self::packed_len) bytes.
    ///
    /// # Errors
    /// [`Error::NotPackable`] and [`Error::Length`]; then nothing is written.
    pub fn unpack(&self, packed: &[u8], codes: &mut [u8]) -> Result<(), Error> {
        self.check_packed(codes.len(), packed.len())?;
        unpack(self.bits(), packed, codes);
        Ok(())
    }

    pub(crate) fn check_packed(&self, codes: usize, got: usize) -> Result<(), Error> {
        let expected = self.packed_len(codes)?;
        if got != expected {
            return Err(Error::Length { what: "packed bytes", expected, got });
        }
        Ok(())
    }
}

/// Packs codes of 4 or 6 bits into as many bytes as they take. The kernels compile it again.
#[inline(always)]
pub(crate) fn pack(bits: u32, codes: &[u8], packed: &mut [u8]) {
    if bits == 4 {
        let (pairs, last) = codes.as_chunks::<2>();
        for ([low, high], byte) in pairs.iter().zip(packed.iter_mut()) {
            *byte = low | high << 4;
        }
        if let ([code], Some(byte)) = (last, packed.last_mut()) {
            *byte = *code;
        }
    } else {
        let (fours, last) = codes.as_chunks::<4>();
        let (threes, rest) = packed.as_chunks_mut::<3>();
        for (four, three) in fours.iter().zip(threes) {
            *three = join6(*four);
        }
        if !last.is_empty() {
            let mut four = [0; 4];
            four[..last.len()].copy_from_slice(last);
            let n = packed.len() - fours.len() * 3;
            let start = packed.len() - n;
            packed[start..].copy_from_slice(&join6(four)[..n]);
        } else {
            debug_assert!(rest.is_empty());
        }
    }
}

/// The reverse of [`pack`].
#[inline(always)]
pub(crate) fn unpack(bits: u32, packed: &[u8], codes: &mut [u8]) {
    if bits == 4 {
        let (pairs, last) = codes.as_chunks_mut::<2>();
        for (byte, pair) in packed.iter().zip(pairs) {
            *pair = [byte & 0xf, byte >> 4];
        }
        if let (Some(byte), [code]) = (packed.last(), last) {
            *code = byte & 0xf;
        }
    } else {
        let (fours, last) = codes.as_chunks_mut::<4>();
        let (threes, rest) = packed.as_chunks::<3>();
        for (three, four) in threes.iter().zip(fours.iter_mut()) {
            *four = split6(*three);
        }
        if !last.is_empty() {
            let tail =
                if rest.is_empty() { threes.last().map_or(&[][..], |t| &t[..]) } else { rest };
            let mut three = [0; 3];
            three[..tail.len()].copy_from_slice(tail);
            last.copy_from_slice(&split6(three)[..last.len()]);
        }
    }
}

#[inline(always)]
fn join6([a, b, c, d]: [u8; 4]) -> [u8; 3] {
    let word = u32::from(a) | u32::from(b) << 6 | u32::from(c) << 12 | u32::from(d) << 18;
    let [x, y, z, _] = word.to_le_bytes();
    [x, y, z]
}

#[inline(always)]
fn split6([x, y, z]: [u8; 3]) -> [u8; 4] {
    let word = u32::from_le_bytes([x, y, z, 0]);
    [0, 6, 12, 18].map(|at| (word >> at) as u8 & 0x3f)
}
