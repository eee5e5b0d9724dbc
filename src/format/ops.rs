//! Arithmetic of the numbers: computed in f32 and rounded once more, which gives the exact result
//! rounded once.
//!
//! Why that is so: f32 has p ≥ 2q + 2 bits for every q-bit significand of the table, and then the
//! second rounding of +, −, ×, ÷ and √ is innocuous (Figueroa, "When is double rounding
//! innocuous?", SIGNUM Newsletter 30(3), 1995); x % y is exact. tests/types.rs checks every pair.
//!
//! Beyond the largest number a result is Inf, else NaN, else (FP6, FP4) the largest number. A NaN
//! result is the format's `NAN`, never a negative one; in a format without NaN it is +0.

use super::bf16::fused;
use super::table::{self, for_each_number};
use super::types::*;
use super::{Policy, Unpacked};
use core::iter::{Product, Sum};
use core::ops::{
    Add, AddAssign, Div, DivAssign, Mul, MulAssign, Neg, Rem, RemAssign, Sub, SubAssign,
};

/// `op` for values, and from it the forms with references and assignment.
macro_rules! binary {
    ($type:ident $($(#[$doc:meta])* $trait:ident $op:ident $assign_trait:ident $assign:ident $sign:tt;)*) => { $(
        impl $trait for $type {
            type Output = Self;
            $(#[$doc])*
            #[inline]
            fn $op(self, rhs: Self) -> Self {
                Self::from_result(self.to_f32() $sign rhs.to_f32())
            }
        }

        impl $trait<&$type> for $type {
            type Output = Self;
            #[inline]
            fn $op(self, rhs: &Self) -> Self {
                self $sign *rhs
            }
        }

        impl $trait<$type> for &$type {
            type Output = $type;
            #[inline]
            fn $op(self, rhs: $type) -> $type {
                *self $sign rhs
            }
        }

        impl $trait for &$type {
            type Output = $type;
            #[inline]
            fn $op(self, rhs: Self) -> $type {
                *self $sign *rhs
            }
        }

        impl $assign_trait for $type {
            #[inline]
            fn $assign(&mut self, rhs: Self) {
                *self = *self $sign rhs;
            }
        }

        impl $assign_trait<&$type> for $type {
            #[inline]
            fn $assign(&mut self, rhs: &Self) {
                *self = *self $sign *rhs;
            }
        }
    )* };
}

macro_rules! reductions {
    ($type:ident $($(#[$doc:meta])* $trait:ident $name:ident $item:ty;)*) => { $(
        impl<'a> $trait<$item> for $type {
            $(#[$doc])*
            #[inline]
            fn $name<I: Iterator<Item = $item>>(iter: I) -> Self {
                Self::from_result(iter.map(|x| x.to_f32()).$name())
            }
        }
    )* };
}

macro_rules! arithmetic {
    ($(#[$doc:meta])* $type:ident $spec:ident $specials:ident) => {
        impl $type {
            /// NaN made by arithmetic.
            const NO_NUMBER: Self =
                Self(super::nan(&table::$spec, Policy::NONFINITE.nan, false) as u8);

            #[inline(always)]
            const fn result(x: Unpacked) -> Self {
                let result = Self::round(x, Policy::NONFINITE, 0);
                if x.is_nan() || result.is_nan() { Self::NO_NUMBER } else { result }
            }

            #[inline(always)]
            const fn from_result(x: f32) -> Self {
                let result = Self::from_f32(x);
                if x.is_nan() || result.is_nan() { Self::NO_NUMBER } else { result }
            }

            /// 1/x, rounded once.
            #[must_use]
            #[inline]
            pub const fn recip(self) -> Self {
                Self::from_result(1.0 / self.to_f32())
            }

            /// √x, rounded once: √−0 = −0, and √ of a negative number is NaN (+0 in a format
            /// without NaN).
            #[must_use]
            #[inline]
            pub const fn sqrt(self) -> Self {
                Self::result(Unpacked::decode(&table::$spec, self.0 as u64).sqrt())
            }

            /// self · a + b, rounded once.
            #[must_use]
            #[inline]
            pub const fn mul_add(self, a: Self, b: Self) -> Self {
                Self::result(fused(self.to_f64(), a.to_f64(), b.to_f64()))
            }
        }

        binary! { $type
            /// x + y, rounded once.
            Add add AddAssign add_assign +;
            /// x − y, rounded once.
            Sub sub SubAssign sub_assign -;
            /// x · y, rounded once.
            Mul mul MulAssign mul_assign *;
            /// x / y, rounded once.
            Div div DivAssign div_assign /;
            /// x − y · trunc(x / y): exact, with the sign of x.
            Rem rem RemAssign rem_assign %;
        }

        impl Neg for $type {
            type Output = Self;
            /// −x: the sign bit flipped. Zero and NaN of FNUZ formats stay.
            #[inline]
            fn neg(self) -> Self {
                self.with_sign(self.is_sign_positive())
            }
        }

        impl Neg for &$type {
            type Output = $type;
            #[inline]
            fn neg(self) -> $type {
                -*self
            }
        }

        reductions! { $type
            /// Added in f32 in order, and rounded at the end; of nothing −0, as f32's.
            Sum sum Self;
            /// Added in f32 in order, and rounded at the end; of nothing −0, as f32's.
            Sum sum &'a Self;
            /// Multiplied in f32 in order, and rounded at the end.
            Product product Self;
            /// Multiplied in f32 in order, and rounded at the end.
            Product product &'a Self;
        }
    };
}
for_each_number!(arithmetic);
