//! Classes, signs and order of the types, by code.

use super::table::{self, for_each_number, for_each_scale};
use super::types::*;
use core::cmp::Ordering;
use core::num::FpCategory;

macro_rules! common {
    ($(#[$doc:meta])* $type:ident $spec:ident $specials:ident) => {
        impl $type {
            const MAGNITUDE: u8 = table::$spec.magnitude_mask() as u8;

            /// Whether this is NaN.
            #[must_use]
            #[inline]
            pub const fn is_nan(self) -> bool {
                table::$spec.is_nan_code(self.to_bits() as u64)
            }

            /// Whether this is +∞ or −∞; never in a format without infinities.
            #[must_use]
            #[inline]
            pub const fn is_infinite(self) -> bool {
                table::$spec.has_inf()
                    && (self.to_bits() & Self::MAGNITUDE) as u64 == table::$spec.max_code() + 1
            }

            /// Whether this is neither infinite nor NaN.
            #[must_use]
            #[inline]
            pub const fn is_finite(self) -> bool {
                !self.is_nan() && !self.is_infinite()
            }

            /// Whether this is finite and neither zero nor subnormal.
            #[must_use]
            #[inline]
            pub const fn is_normal(self) -> bool {
                self.is_finite() && self.to_bits() & Self::MAGNITUDE >= Self::MIN_POSITIVE.0
            }

            /// Whether this is non-zero and below the normal numbers.
            #[must_use]
            #[inline]
            pub const fn is_subnormal(self) -> bool {
                matches!(self.classify(), FpCategory::Subnormal)
            }

            /// The class.
            #[must_use]
            #[inline]
            pub const fn classify(self) -> FpCategory {
                if self.is_nan() {
                    FpCategory::Nan
                } else if self.is_infinite() {
                    FpCategory::Infinite
                } else if self.to_bits() & Self::MAGNITUDE >= Self::MIN_POSITIVE.0 {
                    FpCategory::Normal
                } else if self.to_bits() & Self::MAGNITUDE == 0 {
                    FpCategory::Zero
                } else {
                    FpCategory::Subnormal
                }
            }

            /// Position in the total order, in which −0 is one below +0.
            #[inline(always)]
            const fn rank(self) -> i16 {
                let magnitude = (self.to_bits() & Self::MAGNITUDE) as i16;
                if self.is_sign_positive() {
                    magnitude
                } else if magnitude == 0 && self.is_nan() {
                    i16::MIN // the NaN in the place of −0
                } else {
                    !magnitude
                }
            }

            /// The order of f32's `total_cmp`: −NaN, −∞, ..., −0, +0, ..., +∞, NaN.
            ///
            /// The NaN of FNUZ formats has its sign bit set and comes first.
            #[must_use]
            #[inline]
            pub const fn total_cmp(&self, other: &Self) -> Ordering {
                let (a, b) = (self.rank(), other.rank());
                if a < b {
                    Ordering::Less
                } else if a > b {
                    Ordering::Greater
                } else {
                    Ordering::Equal
                }
            }

            /// The larger one; the other one where one is NaN.
            #[must_use]
            #[inline]
            pub const fn max(self, other: Self) -> Self {
                if self.is_nan() || self.to_f32() < other.to_f32() { other } else { self }
            }

            /// The smaller one; the other one where one is NaN.
            #[must_use]
            #[inline]
            pub const fn min(self, other: Self) -> Self {
                if self.is_nan() || self.to_f32() > other.to_f32() { other } else { self }
            }

            /// The nearest number between `min` and `max`; NaN stays NaN.
            ///
            /// A bound that is NaN does not bind, and if `min` > `max` the result is `max`: where
            /// f32's `clamp` panics, this one does not.
            #[must_use]
            #[inline]
            pub const fn clamp(self, min: Self, max: Self) -> Self {
                if self.is_nan() { self } else { self.max(min).min(max) }
            }
        }

        impl PartialEq for $type {
            /// By value: −0 equals +0, and NaN nothing.
            #[inline]
            fn eq(&self, other: &Self) -> bool {
                self.to_f32() == other.to_f32()
            }
        }

        impl PartialOrd for $type {
            /// By value; NaN is not ordered.
            #[inline]
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                self.to_f32().partial_cmp(&other.to_f32())
            }
        }
    };
}
for_each_number!(common);
for_each_scale!(common);

macro_rules! number {
    ($(#[$doc:meta])* $type:ident $spec:ident $specials:ident) => {
        impl $type {
            const SIGN: u8 = table::$spec.sign_mask() as u8;

            /// Whether the sign bit is clear.
            #[must_use]
            #[inline]
            pub const fn is_sign_positive(self) -> bool {
                self.to_bits() & Self::SIGN == 0
            }

            /// Whether the sign bit is set. That of a NaN with the code of −0 (FNUZ) is.
            #[must_use]
            #[inline]
            pub const fn is_sign_negative(self) -> bool {
                self.to_bits() & Self::SIGN != 0
            }

            /// The same magnitude with the sign given. Where −0 is missing, zero has no sign, and
            /// nor has the NaN in its place.
            #[inline(always)]
            pub(super) const fn with_sign(self, negative: bool) -> Self {
                let magnitude = self.to_bits() & Self::MAGNITUDE;
                if magnitude == 0 && !table::$spec.has_neg_zero() {
                    self
                } else if negative {
                    Self(magnitude | Self::SIGN)
                } else {
                    Self(magnitude)
                }
            }

            /// |x|: the sign bit cleared. The NaN of FNUZ formats stays.
            #[must_use]
            #[inline]
            pub const fn abs(self) -> Self {
                self.with_sign(false)
            }

            /// The magnitude of this with the sign of `sign`. Zero and NaN of FNUZ formats stay.
            #[must_use]
            #[inline]
            pub const fn copysign(self, sign: Self) -> Self {
                self.with_sign(sign.is_sign_negative())
            }

            /// 1 or −1 as the sign bit says, zeros included; NaN stays NaN.
            #[must_use]
            #[inline]
            pub const fn signum(self) -> Self {
                if self.is_nan() {
                    self
                } else if self.is_sign_negative() {
                    Self::NEG_ONE
                } else {
                    Self::ONE
                }
            }

            /// The least number greater than this, as f32's: both zeros give the smallest positive
            /// number, NaN and the top of the format stay.
            ///
            /// The top is +∞, or MAX in a format without infinities: what has no successor stays,
            /// so that a number never becomes NaN here.
            #[must_use]
            #[inline]
            pub const fn next_up(self) -> Self {
                if self.is_nan() || self.to_bits() == Self::TOP {
                    self
                } else if self.to_bits() & Self::MAGNITUDE == 0 {
                    Self::MIN_POSITIVE_SUBNORMAL
                } else if self.is_sign_negative() {
                    Self(self.to_bits() - 1).with_zero()
                } else {
                    Self(self.to_bits() + 1)
                }
            }

            /// The greatest number less than this, as f32's: −(−x).next_up().
            #[must_use]
            #[inline]
            pub const fn next_down(self) -> Self {
                if self.is_nan() || self.to_bits() == Self::TOP | Self::SIGN {
                    self
                } else if self.to_bits() & Self::MAGNITUDE == 0 {
                    Self(Self::MIN_POSITIVE_SUBNORMAL.0 | Self::SIGN)
                } else if self.is_sign_negative() {
                    Self(self.to_bits() + 1)
                } else {
                    Self(self.to_bits() - 1)
                }
            }

            /// The largest code that is a number.
            const TOP: u8 = match table::$spec.inf_code() {
                Some(code) => code as u8,
                None => Self::MAX.0,
            };

            /// What the code of −0 means as a step of `next_up`: +0 where there is no −0.
            const fn with_zero(self) -> Self {
                if self.to_bits() == Self::SIGN && !table::$spec.has_neg_zero() {
                    Self::ZERO
                } else {
                    self
                }
            }
        }
    };
}
for_each_number!(number);

macro_rules! scale {
    ($(#[$doc:meta])* $type:ident $spec:ident $specials:ident) => {
        impl $type {
            /// True: there is no sign bit.
            #[must_use]
            #[inline]
            pub const fn is_sign_positive(self) -> bool {
                true
            }

            /// False: there is no sign bit.
            #[must_use]
            #[inline]
            pub const fn is_sign_negative(self) -> bool {
                false
            }

            /// The next power of two; MAX and NaN stay.
            #[must_use]
            #[inline]
            pub const fn next_up(self) -> Self {
                if self.to_bits() >= Self::MAX.0 { self } else { Self(self.to_bits() + 1) }
            }

            /// The power of two before; the smallest and NaN stay.
            #[must_use]
            #[inline]
            pub const fn next_down(self) -> Self {
                if self.is_nan() || self.to_bits() == Self::MIN.0 {
                    self
                } else {
                    Self(self.to_bits() - 1)
                }
            }
        }
    };
}
for_each_scale!(scale);
