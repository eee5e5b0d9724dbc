//! `approx`: equality within an absolute, relative or code distance.
//!
//! Differences are exact (in f64), so no rounding of this format blurs a comparison. The default
//! tolerance is EPSILON, and one code for `UlpsEq`: four, as for f32, would be half the value.

use crate::format::types::*;
use approx::{AbsDiffEq, RelativeEq, UlpsEq};

macro_rules! approximate {
    ($(#[$doc:meta])* $type:ident $spec:ident $specials:ident) => {
        impl AbsDiffEq for $type {
            type Epsilon = Self;

            #[inline]
            fn default_epsilon() -> Self {
                Self::EPSILON
            }

            /// |x − y| ≤ ε, or x = y.
            #[inline]
            fn abs_diff_eq(&self, other: &Self, epsilon: Self) -> bool {
                self == other || (self.to_f64() - other.to_f64()).abs() <= epsilon.to_f64()
            }
        }

        impl RelativeEq for $type {
            #[inline]
            fn default_max_relative() -> Self {
                Self::EPSILON
            }

            /// |x − y| ≤ ε or |x − y| ≤ r · max(|x|, |y|); infinities equal only themselves.
            #[inline]
            fn relative_eq(&self, other: &Self, epsilon: Self, max_relative: Self) -> bool {
                if self == other {
                    return true;
                }
                if self.is_infinite() || other.is_infinite() {
                    return false;
                }
                let largest = self.abs().max(other.abs()).to_f64();
                self.abs_diff_eq(other, epsilon)
                    || (self.to_f64() - other.to_f64()).abs() <= max_relative.to_f64() * largest
            }
        }

        impl UlpsEq for $type {
            #[inline]
            fn default_max_ulps() -> u32 {
                1
            }

            /// |x − y| ≤ ε, or at most `max_ulps` steps of `next_up` from one to the other.
            #[inline]
            fn ulps_eq(&self, other: &Self, epsilon: Self, max_ulps: u32) -> bool {
                let rank = |x: &Self| {
                    let magnitude = i32::from(x.abs().to_bits());
                    if x.is_sign_negative() { -magnitude } else { magnitude }
                };
                self.abs_diff_eq(other, epsilon)
                    || !self.is_nan()
                        && !other.is_nan()
                        && rank(self).abs_diff(rank(other)) <= max_ulps
            }
        }
    };
}
crate::for_each_number!(approximate);
