//! `approx`: equality within an absolute, relative or code distance.
//!
//! Differences are exact (in f64), so no rounding of this format blurs a comparison. The default
//! tolerance is EPSILON, and one code for `UlpsEq`: four, as for f32, would be half the value.
//!
//! Matrices ([`MatRef`](crate::tensor::MatRef)) and quantized tensors are equal if their shapes and
//! all their values are; tolerances are f64 with f32's defaults.
//!
//! Steps (`max_ulps`) go from each number to the next, from the largest to infinity too, and on through
//! zero, where −0 and +0 are one: the smallest number is two steps from its negative. `approx` itself,
//! of f32 and f64, never lets numbers of different signs be near by steps. Steps of matrices are f64's
//! where both are f64, else f32's.

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

            /// |x − y| ≤ ε, or at most `max_ulps` steps of `next_up` from one to the other; −0 to
            /// +0 is none.
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

#[cfg(feature = "std")]
mod tensors {
    use crate::slice::Values;
    use crate::tensor::{MatMut, MatRef, Quantized};
    use approx::{AbsDiffEq, RelativeEq, UlpsEq};
    use std::vec;

    /// x, as a number of steps from 0 in f64.
    fn rank(x: f64) -> i64 {
        let magnitude = x.abs().to_bits() as i64;
        if x.is_sign_negative() { -magnitude } else { magnitude }
    }

    /// At most so many steps of f64.
    fn near_f64(x: f64, y: f64, steps: u32) -> bool {
        !x.is_nan() && !y.is_nan() && rank(x).abs_diff(rank(y)) <= steps.into()
    }

    /// At most so many steps of f32 from what x is rounded to to what y is; a finite number that f32
    /// does not hold is near to nothing.
    fn near_f32(x: f64, y: f64, steps: u32) -> bool {
        let rank = |x: f64| {
            let narrow = x as f32;
            let magnitude = i64::from(narrow.abs().to_bits());
            let held = !x.is_nan() && narrow.is_infinite() == x.is_infinite();
            held.then_some(if x.is_sign_negative() { -magnitude } else { magnitude })
        };
        matches!((rank(x), rank(y)), (Some(x), Some(y)) if x.abs_diff(y) <= steps.into())
    }

    /// Whether the shapes are the same and `test` holds for each two values.
    fn all(a: &MatRef<'_>, b: &MatRef<'_>, test: impl Fn(f64, f64) -> bool) -> bool {
        a.shape() == b.shape() && a.pairs(b).all(|(x, y)| test(x, y))
    }

    impl AbsDiffEq for MatRef<'_> {
        type Epsilon = f64;

        fn default_epsilon() -> f64 {
            f32::EPSILON.into()
        }

        /// |x − y| ≤ ε, or x = y, for each element.
        fn abs_diff_eq(&self, other: &Self, epsilon: f64) -> bool {
            all(self, other, |x, y| x == y || (x - y).abs() <= epsilon)
        }
    }

    impl RelativeEq for MatRef<'_> {
        fn default_max_relative() -> f64 {
            f32::EPSILON.into()
        }

        /// |x − y| ≤ ε or |x − y| ≤ r · max(|x|, |y|) for each element.
        fn relative_eq(&self, other: &Self, epsilon: f64, max_relative: f64) -> bool {
            all(self, other, |x, y| f64::relative_eq(&x, &y, epsilon, max_relative))
        }
    }

    impl UlpsEq for MatRef<'_> {
        fn default_max_ulps() -> u32 {
            f32::default_max_ulps()
        }

        /// |x − y| ≤ ε, or at most `max_ulps` steps from one to the other, for each element: steps of
        /// f64 if both matrices are f64, else of f32, to which an f64 is rounded first.
        fn ulps_eq(&self, other: &Self, epsilon: f64, max_ulps: u32) -> bool {
            let wide = |matrix: &Self| matches!(matrix.parts().0, Values::F64(_));
            let near = if wide(self) && wide(other) { near_f64 } else { near_f32 };
            all(self, other, |x, y| x == y || (x - y).abs() <= epsilon || near(x, y, max_ulps))
        }
    }

    /// Whether `test` holds for what two tensors are dequantized to in f32.
    fn dequantized(
        a: &Quantized,
        b: &Quantized,
        test: impl Fn(MatRef<'_>, MatRef<'_>) -> bool,
    ) -> bool {
        let (rows, cols) = (a.rows(), a.cols());
        if (rows, cols) != (b.rows(), b.cols()) {
            return false;
        }
        let read = |quantized: &Quantized, values: &mut [f32]| {
            quantized.dequantize_into(MatMut::new(values, rows, cols)?)
        };
        let (mut x, mut y) = (vec![0.0; rows * cols], vec![0.0; rows * cols]);
        let mut tested = || -> crate::Result<bool> {
            read(a, &mut x)?;
            read(b, &mut y)?;
            Ok(test(MatRef::new(&x, rows, cols)?, MatRef::new(&y, rows, cols)?))
        };
        // What cannot be read is equal to nothing.
        tested().unwrap_or(false)
    }

    impl AbsDiffEq for Quantized {
        type Epsilon = f64;

        fn default_epsilon() -> f64 {
            f32::EPSILON.into()
        }

        /// Of the values that codes and scales mean, |x − y| ≤ ε, or x = y, for each element.
        fn abs_diff_eq(&self, other: &Self, epsilon: f64) -> bool {
            dequantized(self, other, |x, y| x.abs_diff_eq(&y, epsilon))
        }
    }

    impl RelativeEq for Quantized {
        fn default_max_relative() -> f64 {
            f32::EPSILON.into()
        }

        /// |x − y| ≤ ε or |x − y| ≤ r · max(|x|, |y|) for the values of each element.
        fn relative_eq(&self, other: &Self, epsilon: f64, max_relative: f64) -> bool {
            dequantized(self, other, |x, y| x.relative_eq(&y, epsilon, max_relative))
        }
    }

    impl UlpsEq for Quantized {
        fn default_max_ulps() -> u32 {
            f32::default_max_ulps()
        }

        /// |x − y| ≤ ε, or at most `max_ulps` steps of f32, for the values of each element.
        fn ulps_eq(&self, other: &Self, epsilon: f64, max_ulps: u32) -> bool {
            dequantized(self, other, |x, y| x.ulps_eq(&y, epsilon, max_ulps))
        }
    }
}
