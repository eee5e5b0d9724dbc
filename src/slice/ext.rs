//! Slice methods under the names that `half` gives them.

use super::{CodeSlice, DecodeOptions, EncodeOptions, QuantStats, Values, ValuesMut};
use super::{decode, encode, encode_stats};
use crate::arch::cast::{Transparent, from_codes, to_codes, to_codes_mut};
use crate::error::Error;
use crate::format::{Format, Policy};
use half::{bf16, f16};

/// Conversions of whole slices of a number type: as `half`'s `HalfFloatSliceExt`, with a
/// [`Result`](crate::Result) where that panics.
///
/// ```
/// use quarter::slice::FormatSliceExt;
/// use quarter::F8E4M3;
/// let mut x = [F8E4M3::ZERO; 3];
/// x.convert_from_f32_slice(&[1.0, -2.06, 500.0])?;
/// assert_eq!(x.reinterpret_cast(), [0x38, 0xc0, 0x7f]); // 1, −2, NaN
/// # Ok::<(), quarter::Error>(())
/// ```
pub trait FormatSliceExt {
    /// The element type.
    type Number: Format;

    /// The codes.
    fn reinterpret_cast(&self) -> &[<Self::Number as Format>::Bits];

    /// The codes, to be written. In a format narrower than its bytes, bits above the format's
    /// are ignored where a number is used.
    fn reinterpret_cast_mut(&mut self) -> &mut [<Self::Number as Format>::Bits];

    /// Codes as numbers.
    fn from_codes(codes: &[<Self::Number as Format>::Bits]) -> &Self;

    /// Fills this slice from `src` under `options`.
    ///
    /// # Errors
    /// Those of [`encode`].
    fn convert_from<'a>(
        &mut self,
        src: impl Into<Values<'a>>,
        options: &EncodeOptions<'_>,
    ) -> Result<(), Error>;

    /// [`convert_from`](Self::convert_from), and what happened to the values.
    ///
    /// # Errors
    /// Those of [`encode`].
    fn convert_from_stats<'a>(
        &mut self,
        src: impl Into<Values<'a>>,
        options: &EncodeOptions<'_>,
    ) -> Result<QuantStats, Error>;

    /// Fills `dst` from this slice under `options`.
    ///
    /// # Errors
    /// Those of [`decode`].
    fn convert_to<'a>(
        &self,
        dst: impl Into<ValuesMut<'a>>,
        options: &DecodeOptions,
    ) -> Result<(), Error>;

    /// Nearest even, overflow to Inf or NaN.
    ///
    /// # Errors
    /// If the lengths differ.
    fn convert_from_f32_slice(&mut self, src: &[f32]) -> Result<(), Error> {
        self.convert_from(src, &EncodeOptions::new(Policy::NONFINITE))
    }

    /// Nearest even, overflow to Inf or NaN.
    ///
    /// # Errors
    /// If the lengths differ.
    fn convert_from_f64_slice(&mut self, src: &[f64]) -> Result<(), Error> {
        self.convert_from(src, &EncodeOptions::new(Policy::NONFINITE))
    }

    /// Nearest even, overflow to Inf or NaN.
    ///
    /// # Errors
    /// If the lengths differ.
    fn convert_from_bf16_slice(&mut self, src: &[bf16]) -> Result<(), Error> {
        self.convert_from(src, &EncodeOptions::new(Policy::NONFINITE))
    }

    /// Nearest even, overflow to Inf or NaN.
    ///
    /// # Errors
    /// If the lengths differ.
    fn convert_from_f16_slice(&mut self, src: &[f16]) -> Result<(), Error> {
        self.convert_from(src, &EncodeOptions::new(Policy::NONFINITE))
    }

    /// fl(src · scale), nearest even, saturating; and what happened to the values.
    ///
    /// # Errors
    /// If the lengths differ.
    fn convert_from_f32_slice_scaled(
        &mut self,
        src: &[f32],
        scale: f32,
    ) -> Result<QuantStats, Error> {
        self.convert_from_stats(src, &EncodeOptions::new(Policy::SATURATE).scale(scale))
    }

    /// fl(src · scale), nearest even, saturating; and what happened to the values.
    ///
    /// # Errors
    /// If the lengths differ.
    fn convert_from_bf16_slice_scaled(
        &mut self,
        src: &[bf16],
        scale: f32,
    ) -> Result<QuantStats, Error> {
        self.convert_from_stats(src, &EncodeOptions::new(Policy::SATURATE).scale(scale))
    }

    /// fl(fl(src) · scale), nearest even, saturating; and what happened to the values.
    ///
    /// # Errors
    /// If the lengths differ.
    fn convert_from_f64_slice_scaled(
        &mut self,
        src: &[f64],
        scale: f32,
    ) -> Result<QuantStats, Error> {
        self.convert_from_stats(src, &EncodeOptions::new(Policy::SATURATE).scale(scale))
    }

    /// Nearest even, saturating; and what happened to the values.
    ///
    /// # Errors
    /// If the lengths differ.
    fn convert_from_f32_slice_sat(&mut self, src: &[f32]) -> Result<QuantStats, Error> {
        self.convert_from_stats(src, &EncodeOptions::new(Policy::SATURATE))
    }

    /// Exact for every format of up to 16 bits.
    ///
    /// # Errors
    /// If the lengths differ.
    fn convert_to_f32_slice(&self, dst: &mut [f32]) -> Result<(), Error> {
        self.convert_to(dst, &DecodeOptions::new())
    }

    /// Exact.
    ///
    /// # Errors
    /// If the lengths differ.
    fn convert_to_f64_slice(&self, dst: &mut [f64]) -> Result<(), Error> {
        self.convert_to(dst, &DecodeOptions::new())
    }

    /// Exact for every format of up to 8 bits.
    ///
    /// # Errors
    /// If the lengths differ.
    fn convert_to_bf16_slice(&self, dst: &mut [bf16]) -> Result<(), Error> {
        self.convert_to(dst, &DecodeOptions::new())
    }

    /// Rounded to nearest even where the format is not within f16.
    ///
    /// # Errors
    /// If the lengths differ.
    fn convert_to_f16_slice(&self, dst: &mut [f16]) -> Result<(), Error> {
        self.convert_to(dst, &DecodeOptions::new())
    }

    /// fl(code · scale_inv).
    ///
    /// # Errors
    /// If the lengths differ.
    fn convert_to_f32_slice_scaled(&self, dst: &mut [f32], scale_inv: f32) -> Result<(), Error> {
        self.convert_to(dst, &DecodeOptions::new().scale_inv(scale_inv))
    }

    /// The values as f32.
    #[cfg(feature = "std")]
    fn to_f32_vec(&self) -> std::vec::Vec<f32>;

    /// The values as f64.
    #[cfg(feature = "std")]
    fn to_f64_vec(&self) -> std::vec::Vec<f64>;
}

impl<T> FormatSliceExt for [T]
where
    T: Format + Transparent<Bits = <T as Format>::Bits>,
    <T as Format>::Bits: CodeSlice,
{
    type Number = T;

    fn reinterpret_cast(&self) -> &[<T as Format>::Bits] {
        to_codes(self)
    }

    fn reinterpret_cast_mut(&mut self) -> &mut [<T as Format>::Bits] {
        to_codes_mut(self)
    }

    fn from_codes(codes: &[<T as Format>::Bits]) -> &Self {
        from_codes(codes)
    }

    fn convert_from<'a>(
        &mut self,
        src: impl Into<Values<'a>>,
        options: &EncodeOptions<'_>,
    ) -> Result<(), Error> {
        encode(&T::SPEC, src.into(), CodeSlice::codes_mut(to_codes_mut(self)), options)
    }

    fn convert_from_stats<'a>(
        &mut self,
        src: impl Into<Values<'a>>,
        options: &EncodeOptions<'_>,
    ) -> Result<QuantStats, Error> {
        encode_stats(&T::SPEC, src.into(), CodeSlice::codes_mut(to_codes_mut(self)), options)
    }

    fn convert_to<'a>(
        &self,
        dst: impl Into<ValuesMut<'a>>,
        options: &DecodeOptions,
    ) -> Result<(), Error> {
        decode(&T::SPEC, CodeSlice::codes(to_codes(self)), dst.into(), options)
    }

    #[cfg(feature = "std")]
    fn to_f32_vec(&self) -> std::vec::Vec<f32> {
        let mut values = std::vec![0.0; self.len()];
        let done = self.convert_to_f32_slice(&mut values);
        debug_assert!(done.is_ok(), "the lengths are equal");
        values
    }

    #[cfg(feature = "std")]
    fn to_f64_vec(&self) -> std::vec::Vec<f64> {
        let mut values = std::vec![0.0; self.len()];
        let done = self.convert_to_f64_slice(&mut values);
        debug_assert!(done.is_ok(), "the lengths are equal");
        values
    }
}

/// Vectors of a number type from slices, as `half`'s `HalfFloatVecExt`.
#[cfg(feature = "std")]
pub trait FormatVecExt: Sized {
    /// Nearest even, overflow to Inf or NaN.
    fn from_f32_slice(src: &[f32]) -> Self;
    /// Nearest even, overflow to Inf or NaN.
    fn from_f64_slice(src: &[f64]) -> Self;
}

#[cfg(feature = "std")]
impl<T> FormatVecExt for std::vec::Vec<T>
where
    T: Format + Transparent<Bits = <T as Format>::Bits>,
    <T as Format>::Bits: CodeSlice,
{
    fn from_f32_slice(src: &[f32]) -> Self {
        let mut numbers = std::vec![T::from_code(Default::default()); src.len()];
        let done = numbers.convert_from_f32_slice(src);
        debug_assert!(done.is_ok(), "the lengths are equal");
        numbers
    }

    fn from_f64_slice(src: &[f64]) -> Self {
        let mut numbers = std::vec![T::from_code(Default::default()); src.len()];
        let done = numbers.convert_from_f64_slice(src);
        debug_assert!(done.is_ok(), "the lengths are equal");
        numbers
    }
}
