//! `approx`: equality within an absolute, relative or code distance.
//!
//! Differences are exact (in f64), so no rounding of this format blurs a comparison. The default
//! tolerance is EPSILON, and one code for `UlpsEq`: four, as for f32, would be half the value.
//!
//! Matrices ([`MatRef`](crate::tensor::MatRef)) and quantized tensors are equal if their shapes and
//! all their values are; tolerances are f64 with f32's defaults.

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

#[cfg(feature = "std")]
mod tensors {
    use crate::tensor::{MatMut, MatRef, Quantized};
    use approx::{AbsDiffEq, RelativeEq, UlpsEq};
    use std::vec;

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

        /// |x − y| ≤ ε, or at most `max_ulps` steps from one f32 to the other, for each element; f64
        /// is rounded to f32 first.
        fn ulps_eq(&self, other: &Self, epsilon: f64, max_ulps: u32) -> bool {
            let near = |x: f64, y: f64| (x as f32).ulps_eq(&(y as f32), 0.0, max_ulps);
            all(self, other, |x, y| x == y || (x - y).abs() <= epsilon || near(x, y))
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
