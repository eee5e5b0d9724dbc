//! `num-traits`: everything that is true of every number type.
//!
//! `Float` and `FloatCore`, which promise infinities and NaN, are in
//! [`float`](super::float) for the formats that have them.

use crate::Error;
use crate::format::types::*;
use core::str::FromStr;
use half::{bf16, f16};
use num_traits::{
    AsPrimitive, Bounded, ConstOne, ConstZero, Euclid, FloatConst, FromBytes, FromPrimitive, Inv,
    MulAdd, MulAddAssign, Num, NumCast, One, Signed, ToBytes, ToPrimitive, Zero,
};

/// `to_*`: truncated toward zero; `None` for NaN and what does not fit.
macro_rules! to_primitive {
    ($($name:ident $int:ty)*) => { $(
        #[inline]
        fn $name(&self) -> Option<$int> {
            Self::to_f32(*self).$name()
        }
    )* };
}

macro_rules! from_primitive {
    ($($name:ident $source:ty)*) => { $(
        /// Rounded once, as the inherent function of this name.
        #[inline]
        fn $name(x: $source) -> Option<Self> {
            Some(Self::$name(x))
        }
    )* };
}

macro_rules! as_primitive {
    ($type:ident $($name:ident $other:ty)*) => { $(
        impl AsPrimitive<$other> for $type {
            /// As `as` does from f32: truncated and saturating to integers, exact to floats.
            #[inline]
            fn as_(self) -> $other {
                self.to_f32() as $other
            }
        }

        impl AsPrimitive<$type> for $other {
            /// Rounded once: nearest even, overflow to Inf or NaN.
            #[inline]
            fn as_(self) -> $type {
                $type::$name(self)
            }
        }
    )* };
}

/// What numbers and scales share.
macro_rules! common {
    ($(#[$doc:meta])* $type:ident $spec:ident $specials:ident) => {
        impl ToPrimitive for $type {
            to_primitive! {
                to_i8 i8 to_i16 i16 to_i32 i32 to_i64 i64 to_i128 i128 to_isize isize
                to_u8 u8 to_u16 u16 to_u32 u32 to_u64 u64 to_u128 u128 to_usize usize
            }

            /// Exact.
            #[inline]
            fn to_f32(&self) -> Option<f32> {
                Some((*self).to_f32())
            }

            /// Exact.
            #[inline]
            fn to_f64(&self) -> Option<f64> {
                Some((*self).to_f64())
            }
        }

        impl Bounded for $type {
            #[inline]
            fn min_value() -> Self {
                Self::MIN
            }

            #[inline]
            fn max_value() -> Self {
                Self::MAX
            }
        }

        impl ToBytes for $type {
            type Bytes = [u8; 1];

            #[inline]
            fn to_be_bytes(&self) -> [u8; 1] {
                (*self).to_be_bytes()
            }

            #[inline]
            fn to_le_bytes(&self) -> [u8; 1] {
                (*self).to_le_bytes()
            }
        }

        impl FromBytes for $type {
            type Bytes = [u8; 1];

            #[inline]
            fn from_be_bytes(bytes: &[u8; 1]) -> Self {
                Self::from_be_bytes(*bytes)
            }

            #[inline]
            fn from_le_bytes(bytes: &[u8; 1]) -> Self {
                Self::from_le_bytes(*bytes)
            }
        }

        impl FromPrimitive for $type {
            from_primitive! {
                from_i8 i8 from_i16 i16 from_i32 i32 from_i64 i64 from_i128 i128 from_isize isize
                from_u8 u8 from_u16 u16 from_u32 u32 from_u64 u64 from_u128 u128 from_usize usize
                from_f32 f32 from_f64 f64
            }
        }
    };
}
crate::for_each_number!(common);
crate::for_each_scale!(common);

macro_rules! number {
    ($(#[$doc:meta])* $type:ident $spec:ident $specials:ident) => {
        as_primitive! { $type
            from_i8 i8 from_i16 i16 from_i32 i32 from_i64 i64 from_i128 i128 from_isize isize
            from_u8 u8 from_u16 u16 from_u32 u32 from_u64 u64 from_u128 u128 from_usize usize
            from_f32 f32
        }

        impl AsPrimitive<f64> for $type {
            /// Exact.
            #[inline]
            fn as_(self) -> f64 {
                self.to_f64()
            }
        }

        impl AsPrimitive<f16> for $type {
            /// Exact.
            #[inline]
            fn as_(self) -> f16 {
                self.to_f16()
            }
        }

        impl AsPrimitive<bf16> for $type {
            /// Exact.
            #[inline]
            fn as_(self) -> bf16 {
                self.to_bf16()
            }
        }

        from_float! { $type from_f64 f64 from_f16 f16 from_bf16 bf16 }

        impl NumCast for $type {
            /// Rounded once: nearest even, overflow to Inf or NaN. `None` for what has no f64.
            ///
            /// f64 holds every float and every integer below 2^53 exactly, and what is above lies
            /// beyond the format.
            #[inline]
            fn from<T: ToPrimitive>(x: T) -> Option<Self> {
                const { assert!(Self::MAX_EXP < 50) }
                x.to_f64().map(Self::from_f64)
            }
        }

        impl Zero for $type {
            #[inline]
            fn zero() -> Self {
                Self::ZERO
            }

            #[inline]
            fn is_zero(&self) -> bool {
                *self == Self::ZERO
            }
        }

        impl ConstZero for $type {
            const ZERO: Self = Self::ZERO;
        }

        impl One for $type {
            #[inline]
            fn one() -> Self {
                Self::ONE
            }
        }

        impl ConstOne for $type {
            const ONE: Self = Self::ONE;
        }

        impl Num for $type {
            type FromStrRadixErr = Error;

            /// In radix 10 as `FromStr`, rounded once; in others as f64 reads it, and then once.
            fn from_str_radix(text: &str, radix: u32) -> Result<Self, Error> {
                if radix == 10 {
                    return Self::from_str(text);
                }
                let error = Error::Parse { got: crate::error::Name::new(text) };
                f64::from_str_radix(text, radix).map(Self::from_f64).map_err(|_| error)
            }
        }

        impl Signed for $type {
            #[inline]
            fn abs(&self) -> Self {
                (*self).abs()
            }

            /// x − y, or +0 where that is negative.
            #[inline]
            fn abs_sub(&self, other: &Self) -> Self {
                if self <= other { Self::ZERO } else { *self - *other }
            }

            #[inline]
            fn signum(&self) -> Self {
                (*self).signum()
            }

            #[inline]
            fn is_positive(&self) -> bool {
                self.is_sign_positive()
            }

            #[inline]
            fn is_negative(&self) -> bool {
                self.is_sign_negative()
            }
        }

        impl Inv for $type {
            type Output = Self;

            #[inline]
            fn inv(self) -> Self {
                self.recip()
            }
        }

        impl MulAdd for $type {
            type Output = Self;

            /// Rounded once.
            #[inline]
            fn mul_add(self, a: Self, b: Self) -> Self {
                self.mul_add(a, b)
            }
        }

        impl MulAddAssign for $type {
            #[inline]
            fn mul_add_assign(&mut self, a: Self, b: Self) {
                *self = (*self).mul_add(a, b);
            }
        }

        impl $type {
            /// Rounded once more; NaN as operators make it.
            fn through_f64(x: f64) -> Self {
                if x.is_nan() { Self::ZERO / Self::ZERO } else { Self::from_f64(x) }
            }
        }

        impl Euclid for $type {
            #[inline]
            fn div_euclid(&self, v: &Self) -> Self {
                Self::through_f64(Euclid::div_euclid(&(*self).to_f64(), &(*v).to_f64()))
            }

            #[inline]
            fn rem_euclid(&self, v: &Self) -> Self {
                Self::through_f64(Euclid::rem_euclid(&(*self).to_f64(), &(*v).to_f64()))
            }
        }

        float_const! { $type
            E FRAC_1_PI FRAC_1_SQRT_2 FRAC_2_PI FRAC_2_SQRT_PI FRAC_PI_2 FRAC_PI_3 FRAC_PI_4
            FRAC_PI_6 FRAC_PI_8 LN_10 LN_2 LOG10_E LOG10_2 LOG2_E LOG2_10 PI SQRT_2 TAU
        }
    };
}

/// `as` between all pairs of number types.
macro_rules! pairs {
    (
        numbers { $($(#[$doc:meta])* $type:ident $spec:ident $name:literal $aliases:tt
            exp $exp:literal man $man:literal bias $bias:literal $specials:ident $source:literal;)* }
        scales $scales:tt
        wide $wide:tt
    ) => {
        pairs! { @each [$($type)*] $($type)* }
    };
    (@each $to:tt $($from:ident)*) => { $( pairs! { @row $from $to } )* };
    (@row $from:ident [$($to:ident)*]) => { $(
        impl AsPrimitive<$to> for $from {
            /// Rounded once: nearest even, overflow to Inf or NaN.
            #[inline]
            fn as_(self) -> $to {
                $to::from_f32(self.to_f32())
            }
        }
    )* };
}
crate::for_each_format!(pairs);

macro_rules! from_float {
    ($type:ident $($name:ident $float:ty)*) => { $(
        impl AsPrimitive<$type> for $float {
            /// Rounded once: nearest even, overflow to Inf or NaN.
            #[inline]
            fn as_(self) -> $type {
                $type::$name(self)
            }
        }
    )* };
}

macro_rules! float_const {
    ($type:ident $($name:ident)*) => {
        #[allow(non_snake_case)]
        impl FloatConst for $type { $(
            #[inline]
            fn $name() -> Self {
                Self::$name
            }
        )* }
    };
}
crate::for_each_number!(number);
