//! The number types: a newtype of `u8` for each row of the table, with `half::bf16`'s surface.
//!
//! Here are bits, bytes and conversions. Constants, classes and order, operators and text have a
//! file each, and each is a macro called once for every row.

use super::table::{self, BF16, F16, FormatId, for_each_number, for_each_scale};
use super::traits::{Format, Sealed};
use super::{FormatSpec, Policy, Rounding, Unpacked};
use crate::error::Error;
use half::{bf16, f16};

/// Every code's value, for `to_f32`.
const fn values(spec: &FormatSpec) -> [f32; 256] {
    let mut table = [0.0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = spec.decode_f32(code as u64);
        code += 1;
    }
    table
}

/// [`Unpacked::round`] for f32, nearest even, into at most 8 bits: short enough to vectorise.
///
/// A normal code is the f32's own bits, rounded where the code ends, with the bias changed. For a
/// subnormal one the f32 addition of 2^(emin − man_bits + 23) rounds to the format's last place.
#[inline(always)]
const fn nearest_f32(spec: &FormatSpec, x: f32, policy: Policy) -> u8 {
    if !spec.signed() || !spec.has_zero() {
        return Unpacked::from_f32(x).round(spec, policy, 0) as u8;
    }
    let (bits, shift) = (x.to_bits(), 23 - spec.man_bits());
    let negative = bits >> 31 != 0;
    let bits = bits & (u32::MAX >> 1);
    if x.is_nan() {
        return super::nan(spec, policy.nan, negative) as u8;
    }
    let magnitude = if bits < ((spec.emin() + 127) as u32) << 23 {
        let last = ((spec.emin() + shift as i32 + 127) as u32) << 23;
        (f32::from_bits(bits) + f32::from_bits(last)).to_bits() - last
    } else {
        let rounded = bits + (1 << (shift - 1)) - 1 + (bits >> shift & 1);
        (rounded >> shift) - (((127 - spec.bias()) as u32) << spec.man_bits())
    };
    let finite = magnitude <= spec.max_code() as u32;
    let magnitude =
        if finite { magnitude as u8 } else { super::beyond(spec, policy.overflow) as u8 };
    let signless = magnitude == 0 && !spec.has_neg_zero();
    if negative && !signless { magnitude | spec.sign_mask() as u8 } else { magnitude }
}

/// The struct, with the derives that depend on whether every byte is a code.
macro_rules! define {
    ($(#[$doc:meta])* $type:ident $spec:ident None) => {
        const _: () = assert!(table::$spec.bits() < 8, "an 8-bit format may derive Pod");
        $(#[$doc])*
        #[derive(Clone, Copy)]
        #[cfg_attr(feature = "bytemuck", derive(bytemuck::Zeroable, bytemuck::NoUninit))]
        #[cfg_attr(
            feature = "zerocopy",
            derive(
                zerocopy::IntoBytes,
                zerocopy::Immutable,
                zerocopy::KnownLayout,
                zerocopy::Unaligned,
            )
        )]
        #[repr(transparent)]
        pub struct $type(pub(super) u8);
    };
    ($(#[$doc:meta])* $type:ident $spec:ident $specials:ident) => {
        const _: () = assert!(table::$spec.bits() == 8, "some bytes are no code: no Pod");
        $(#[$doc])*
        #[derive(Clone, Copy)]
        #[cfg_attr(feature = "bytemuck", derive(bytemuck::Zeroable, bytemuck::Pod))]
        #[cfg_attr(
            feature = "zerocopy",
            derive(
                zerocopy::FromBytes,
                zerocopy::IntoBytes,
                zerocopy::Immutable,
                zerocopy::KnownLayout,
                zerocopy::Unaligned,
            )
        )]
        #[repr(transparent)]
        pub struct $type(pub(super) u8);
    };
}

/// `from_i8` ... `from_usize`.
macro_rules! from_integers {
    ($($name:ident $int:ty, $via:ident, $wide:ty;)*) => { $(
        #[doc = concat!("An [`", stringify!($int), "`], rounded once: nearest even, overflow to")]
        /// Inf or NaN.
        #[must_use]
        #[inline]
        pub const fn $name(x: $int) -> Self {
            Self::round(Unpacked::$via(x as $wide), Policy::NONFINITE, 0)
        }
    )* };
}

/// What numbers and scales share: bits, bytes and conversions.
macro_rules! common {
    ($(#[$doc:meta])* $type:ident $spec:ident $specials:ident) => {
        define! {
            $(#[$doc])*
            ///
            /// ```
            #[doc = concat!("use quarter::", stringify!($type), ";")]
            #[doc = concat!("let two = ", stringify!($type), "::from_f32(2.0);")]
            /// assert_eq!(two.to_f64(), 2.0);
            /// assert_eq!("1.99".parse(), Ok(two));
            #[doc = concat!("assert_eq!(", stringify!($type), "::from_bits(two.to_bits()), two);")]
            /// ```
            $type $spec $specials
        }

        impl Sealed for $type {}

        impl Format for $type {
            type Bits = u8;
            const SPEC: FormatSpec = table::$spec;
            const ID: FormatId = FormatId::$type;
            #[inline(always)]
            fn from_code(code: u8) -> Self {
                Self::from_bits(code)
            }
            #[inline(always)]
            fn to_code(self) -> u8 {
                self.to_bits()
            }
        }

        impl $type {
            const VALUES: &'static [f32; 256] = &values(&table::$spec);

            #[inline(always)]
            pub(crate) const fn round(x: Unpacked, policy: Policy, word: u32) -> Self {
                Self(x.round(&table::$spec, policy, word) as u8)
            }

            #[inline]
            const fn try_round(x: Unpacked, policy: Policy, word: u32) -> Result<Self, Error> {
                match x.encode(&table::$spec, policy, word) {
                    Ok(code) => Ok(Self(code as u8)),
                    Err(error) => Err(error),
                }
            }

            /// The number with this code. Bits above the format's width are dropped.
            #[must_use]
            #[inline]
            pub const fn from_bits(bits: u8) -> Self {
                Self(bits & table::$spec.code_mask() as u8)
            }

            /// The code: bits above the format's width are clear.
            #[must_use]
            #[inline]
            pub const fn to_bits(self) -> u8 {
                self.0 & table::$spec.code_mask() as u8
            }

            /// The code as little-endian bytes.
            #[must_use]
            #[inline]
            pub const fn to_le_bytes(self) -> [u8; 1] {
                [self.to_bits()]
            }

            /// The code as big-endian bytes.
            #[must_use]
            #[inline]
            pub const fn to_be_bytes(self) -> [u8; 1] {
                [self.to_bits()]
            }

            /// The code as native-endian bytes.
            #[must_use]
            #[inline]
            pub const fn to_ne_bytes(self) -> [u8; 1] {
                [self.to_bits()]
            }

            /// From the code as little-endian bytes, as [`from_bits`](Self::from_bits).
            #[must_use]
            #[inline]
            pub const fn from_le_bytes(bytes: [u8; 1]) -> Self {
                Self::from_bits(bytes[0])
            }

            /// From the code as big-endian bytes, as [`from_bits`](Self::from_bits).
            #[must_use]
            #[inline]
            pub const fn from_be_bytes(bytes: [u8; 1]) -> Self {
                Self::from_bits(bytes[0])
            }

            /// From the code as native-endian bytes, as [`from_bits`](Self::from_bits).
            #[must_use]
            #[inline]
            pub const fn from_ne_bytes(bytes: [u8; 1]) -> Self {
                Self::from_bits(bytes[0])
            }

            /// An f32, rounded once: nearest even, overflow to Inf or NaN
            /// ([`Policy::NONFINITE`]).
            #[must_use]
            #[inline]
            pub const fn from_f32(x: f32) -> Self {
                Self(nearest_f32(&table::$spec, x, Policy::NONFINITE))
            }

            /// An f64, rounded once: nearest even, overflow to Inf or NaN.
            #[must_use]
            #[inline]
            pub const fn from_f64(x: f64) -> Self {
                Self::round(Unpacked::from_f64(x), Policy::NONFINITE, 0)
            }

            /// An f16, rounded once: nearest even, overflow to Inf or NaN.
            #[must_use]
            #[inline]
            pub const fn from_f16(x: f16) -> Self {
                Self::round(Unpacked::from_f16(x), Policy::NONFINITE, 0)
            }

            /// A bf16, rounded once: nearest even, overflow to Inf or NaN.
            #[must_use]
            #[inline]
            pub const fn from_bf16(x: bf16) -> Self {
                Self::round(Unpacked::from_bf16(x), Policy::NONFINITE, 0)
            }

            from_integers! {
                from_i8 i8, from_i128, i128;
                from_i16 i16, from_i128, i128;
                from_i32 i32, from_i128, i128;
                from_i64 i64, from_i128, i128;
                from_i128 i128, from_i128, i128;
                from_isize isize, from_i128, i128;
                from_u8 u8, from_u128, u128;
                from_u16 u16, from_u128, u128;
                from_u32 u32, from_u128, u128;
                from_u64 u64, from_u128, u128;
                from_u128 u128, from_u128, u128;
                from_usize usize, from_u128, u128;
            }

            /// An f32, rounded once: nearest even, saturating ([`Policy::SATURATE`]); Inf too
            /// becomes the largest finite number.
            #[must_use]
            #[inline]
            pub const fn from_f32_sat(x: f32) -> Self {
                Self(nearest_f32(&table::$spec, x, Policy::SATURATE))
            }

            /// An f64, rounded once: nearest even, saturating ([`Policy::SATURATE`]).
            #[must_use]
            #[inline]
            pub const fn from_f64_sat(x: f64) -> Self {
                Self::round(Unpacked::from_f64(x), Policy::SATURATE, 0)
            }

            /// An f32, rounded once as `policy` says.
            ///
            /// # Errors
            /// [`Error::RandomMissing`] for a stochastic rounding, and those of
            /// [`Unpacked::encode`].
            #[inline]
            pub const fn from_f32_with(x: f32, policy: Policy) -> Result<Self, Error> {
                if policy.rounding.is_stochastic() {
                    return Err(Error::RandomMissing);
                }
                Self::try_round(Unpacked::from_f32(x), policy, 0)
            }

            /// An f64, rounded once as `policy` says.
            ///
            /// # Errors
            /// As [`from_f32_with`](Self::from_f32_with).
            #[inline]
            pub const fn from_f64_with(x: f64, policy: Policy) -> Result<Self, Error> {
                if policy.rounding.is_stochastic() {
                    return Err(Error::RandomMissing);
                }
                Self::try_round(Unpacked::from_f64(x), policy, 0)
            }

            /// An f32, rounded once as `policy` says, with the top bits of `word` as the random
            /// bits; a deterministic rounding reads none.
            ///
            /// # Errors
            /// Those of [`Unpacked::encode`].
            #[inline]
            pub const fn from_f32_stochastic(
                x: f32,
                policy: Policy,
                word: u32,
            ) -> Result<Self, Error> {
                Self::try_round(Unpacked::from_f32(x), policy, word)
            }

            /// The value as f32: exact. NaN keeps its sign.
            #[must_use]
            #[inline]
            pub const fn to_f32(self) -> f32 {
                Self::VALUES[self.0 as usize]
            }

            /// The value as f64: exact. NaN keeps its sign.
            #[must_use]
            #[inline]
            pub const fn to_f64(self) -> f64 {
                Unpacked::decode(&table::$spec, self.0 as u64).to_f64()
            }

            /// The value as bf16: exact. NaN keeps its sign.
            #[must_use]
            #[inline]
            pub const fn to_bf16(self) -> bf16 {
                bf16::from_bits((self.to_f32().to_bits() >> 16) as u16)
            }
        }

        const _: () = assert!(table::$spec.within(&BF16), "to_bf16 must be exact");

        impl From<$type> for Unpacked {
            #[inline]
            fn from(x: $type) -> Self {
                Self::decode(&table::$spec, x.0 as u64)
            }
        }

        impl From<$type> for f32 {
            /// Exact.
            #[inline]
            fn from(x: $type) -> Self {
                x.to_f32()
            }
        }

        impl From<$type> for f64 {
            /// Exact.
            #[inline]
            fn from(x: $type) -> Self {
                x.to_f64()
            }
        }

        impl From<$type> for bf16 {
            /// Exact.
            #[inline]
            fn from(x: $type) -> Self {
                x.to_bf16()
            }
        }
    };
}
for_each_number!(common);
for_each_scale!(common);

/// What only numbers have.
macro_rules! number {
    ($(#[$doc:meta])* $type:ident $spec:ident $specials:ident) => {
        impl $type {
            /// The value as f16: exact. NaN keeps its sign.
            #[must_use]
            #[inline]
            pub const fn to_f16(self) -> f16 {
                let x = Unpacked::decode(&table::$spec, self.0 as u64);
                f16::from_bits(x.round(&F16, Policy::NONFINITE, 0) as u16)
            }
        }

        const _: () = assert!(table::$spec.within(&F16), "to_f16 must be exact");

        impl From<$type> for f16 {
            /// Exact.
            #[inline]
            fn from(x: $type) -> Self {
                x.to_f16()
            }
        }

        impl Default for $type {
            /// +0.
            #[inline]
            fn default() -> Self {
                Self(0)
            }
        }
    };
}
for_each_number!(number);

/// What only scales have.
macro_rules! scale {
    ($(#[$doc:meta])* $type:ident $spec:ident $specials:ident) => {
        impl $type {
            /// The largest power of two ≤ |x|: CUDA's rounding toward zero.
            ///
            /// |x| below the smallest number, 0 included, gives the smallest; Inf and NaN give NaN.
            ///
            /// ```
            #[doc = concat!("use quarter::", stringify!($type), ";")]
            #[doc = concat!("assert_eq!(", stringify!($type), "::from_f32_floor(-7.0).to_f32(), 4.0);")]
            /// ```
            #[must_use]
            #[inline]
            pub const fn from_f32_floor(x: f32) -> Self {
                let policy = Policy::NONFINITE.rounding(Rounding::TowardZero);
                Self::round(Unpacked::from_f32(x), policy, 0)
            }

            /// The smallest power of two ≥ |x|: CUDA's rounding toward +∞.
            ///
            /// 0 gives the smallest number; Inf, NaN and |x| above the largest number give NaN, so
            /// that a scale is never too small unseen. With
            /// [`from_f32_with`](Self::from_f32_with) they can saturate.
            ///
            /// ```
            #[doc = concat!("use quarter::", stringify!($type), ";")]
            #[doc = concat!("assert_eq!(", stringify!($type), "::from_f32_ceil(-7.0).to_f32(), 8.0);")]
            /// ```
            #[must_use]
            #[inline]
            pub const fn from_f32_ceil(x: f32) -> Self {
                let policy = Policy::NONFINITE.rounding(Rounding::Up);
                Self::round(Unpacked::from_f32(x), policy, 0)
            }
        }
    };
}
for_each_scale!(scale);
