//! `Float` and `FloatCore` of `num-traits`, for the formats that have infinities, NaN and −0.
//!
//! The other formats do not implement them: `infinity()` would have nothing to return. Functions
//! such as `exp` are computed in f64 and rounded once more.

use crate::Format;
use crate::format::types::*;
use core::num::FpCategory;
use num_traits::Float;
use num_traits::float::FloatCore;

macro_rules! forward {
    ($trait:ident $($name:ident)*) => { $(
        #[inline]
        fn $name(self) -> Self {
            Self::of_f64($trait::$name(self.to_f64()))
        }
    )* };
}

macro_rules! limits {
    () => {
        #[inline]
        fn nan() -> Self {
            Self::NAN
        }

        #[inline]
        fn infinity() -> Self {
            Self::INFINITY
        }

        #[inline]
        fn neg_infinity() -> Self {
            Self::NEG_INFINITY
        }

        #[inline]
        fn neg_zero() -> Self {
            Self::NEG_ZERO
        }

        #[inline]
        fn min_value() -> Self {
            Self::MIN
        }

        #[inline]
        fn min_positive_value() -> Self {
            Self::MIN_POSITIVE
        }

        #[inline]
        fn epsilon() -> Self {
            Self::EPSILON
        }

        #[inline]
        fn max_value() -> Self {
            Self::MAX
        }

        #[inline]
        fn is_nan(self) -> bool {
            self.is_nan()
        }

        #[inline]
        fn is_infinite(self) -> bool {
            self.is_infinite()
        }

        #[inline]
        fn is_finite(self) -> bool {
            self.is_finite()
        }

        #[inline]
        fn is_normal(self) -> bool {
            self.is_normal()
        }

        #[inline]
        fn classify(self) -> FpCategory {
            self.classify()
        }

        #[inline]
        fn abs(self) -> Self {
            self.abs()
        }

        #[inline]
        fn signum(self) -> Self {
            self.signum()
        }

        #[inline]
        fn is_sign_positive(self) -> bool {
            self.is_sign_positive()
        }

        #[inline]
        fn is_sign_negative(self) -> bool {
            self.is_sign_negative()
        }

        #[inline]
        fn recip(self) -> Self {
            self.recip()
        }

        #[inline]
        fn max(self, other: Self) -> Self {
            self.max(other)
        }

        #[inline]
        fn min(self, other: Self) -> Self {
            self.min(other)
        }

        /// (m, e, ±1) with value = ±m · 2^e.
        #[inline]
        fn integer_decode(self) -> (u64, i16, i8) {
            self.decode()
        }
    };
}

macro_rules! float {
    ($(#[$doc:meta])* $type:ident $spec:ident Ieee) => {
        impl $type {
            /// Rounded once more; NaN as operators make it.
            fn of_f64(x: f64) -> Self {
                if x.is_nan() { Self::NAN } else { Self::from_f64(x) }
            }

            fn decode(self) -> (u64, i16, i8) {
                let magnitude = u64::from(self.abs().to_bits());
                let (field, hidden) = (magnitude >> Self::MAN_BITS, 1 << Self::MAN_BITS);
                let mantissa = magnitude & (hidden - 1);
                let mantissa = if field == 0 { mantissa << 1 } else { mantissa | hidden };
                let exponent = field as i32 - Self::BIAS - Self::MAN_BITS as i32;
                (mantissa, exponent as i16, if self.is_sign_negative() { -1 } else { 1 })
            }
        }

        impl FloatCore for $type {
            limits! {}
            forward! { FloatCore floor ceil round trunc fract to_degrees to_radians }

            #[inline]
            fn powi(self, n: i32) -> Self {
                Self::of_f64(FloatCore::powi(self.to_f64(), n))
            }
        }

        impl Float for $type {
            limits! {}
            forward! { Float
                floor ceil round trunc fract exp exp2 ln log2 log10 cbrt to_degrees to_radians
                sin cos tan asin acos atan exp_m1 ln_1p sinh cosh tanh asinh acosh atanh
            }
            two! { powf log hypot atan2 }

            #[inline]
            fn powi(self, n: i32) -> Self {
                Self::of_f64(Float::powi(self.to_f64(), n))
            }

            /// Rounded once.
            #[inline]
            fn sqrt(self) -> Self {
                self.sqrt()
            }

            /// Rounded once.
            #[inline]
            fn mul_add(self, a: Self, b: Self) -> Self {
                self.mul_add(a, b)
            }

            #[inline]
            fn abs_sub(self, other: Self) -> Self {
                num_traits::Signed::abs_sub(&self, &other)
            }

            #[inline]
            fn sin_cos(self) -> (Self, Self) {
                (Float::sin(self), Float::cos(self))
            }

            #[inline]
            fn copysign(self, sign: Self) -> Self {
                self.copysign(sign)
            }
        }
    };
    ($(#[$doc:meta])* $type:ident $spec:ident $specials:ident) => {};
}

macro_rules! two {
    ($($name:ident)*) => { $(
        #[inline]
        fn $name(self, other: Self) -> Self {
            Self::of_f64(Float::$name(self.to_f64(), other.to_f64()))
        }
    )* };
}
crate::for_each_number!(float);
