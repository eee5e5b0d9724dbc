//! `proptest`: `any::<F8E4M3>()` is any code; strategies here pick a class of values, or draw
//! matrices that hurt, one ([`tensor`](fn@tensor)) or the two of a product ([`operands`]).
//!
//! A kernel of yours held to its bounds, on inputs that shrink:
//!
//! ```test_harness
//! use proptest::prelude::*;
//! use quarter::FormatId;
//! use quarter::accuracy::Distribution;
//! use quarter::accuracy::bounds::{GemmBound, Sums};
//! use quarter::interop::proptest::operands;
//!
//! # fn my_gemm(a: &[f32], b: &[f32], k: usize) -> Vec<f32> {
//! #     let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| x * y).sum();
//! #     a.chunks(k).flat_map(|x| b.chunks(k).map(move |y| dot(x, y))).collect()
//! # }
//! proptest! {
//!     #[test]
//!     fn my_gemm_is_within_its_bounds(
//!         (a, b) in operands(1..8, 1..8, 1..300, Distribution::finite(FormatId::F8E4M3)),
//!     ) {
//!         let y = my_gemm(&a.values, &b.values, a.cols);
//!         let bounds = GemmBound::new(a.operand()?, b.operand()?, Sums::F32)?;
//!         bounds.check(&y)?;
//!     }
//! }
//! ```
//!
//! If it fails, what is printed is the diagnosis and the smallest operands for which it does. Casts,
//! alpha, bias and activation are methods of [`GemmBound`](crate::accuracy::bounds::GemmBound).
//!
//! Numbers: strategies serve every [`Format`], `half::bf16` and `half::f16` too, and shrink toward the
//! smallest positive value of the class. Codes are drawn uniformly, so magnitudes are log-uniform.

mod matrix;
mod shrink;
mod tensor;

use crate::format::types::*;
use crate::{Code, Format};
use core::ops::RangeInclusive;
pub use matrix::Matrix;
use proptest::arbitrary::Arbitrary;
use proptest::prelude::any;
use proptest::strategy::{Map, Strategy};
pub use shrink::Shrinking;
pub use tensor::{Operands, Tensors, any_tensor, operands, tensor};

/// Any code: NaN, infinities, zeros and subnormals included.
pub fn codes<T: Format + core::fmt::Debug>() -> impl Strategy<Value = T> + Clone {
    (0..=T::SPEC.code_mask()).prop_map(from_code)
}

/// Any number that is neither infinite nor NaN.
pub fn finite<T: Format + core::fmt::Debug>() -> impl Strategy<Value = T> + Clone {
    signed(0..=T::SPEC.max_code())
}

/// Any finite number ≥ +0, −0 excluded.
pub fn non_negative<T: Format + core::fmt::Debug>() -> impl Strategy<Value = T> + Clone {
    (0..=T::SPEC.max_code()).prop_map(from_code)
}

/// Any finite number > 0.
pub fn positive<T: Format + core::fmt::Debug>() -> impl Strategy<Value = T> + Clone {
    (u64::from(T::HAS_ZERO)..=T::SPEC.max_code()).prop_map(from_code)
}

/// Any normal number of either sign.
pub fn normal<T: Format + core::fmt::Debug>() -> impl Strategy<Value = T> + Clone {
    signed(T::SPEC.min_normal_code()..=T::SPEC.max_code())
}

/// Any subnormal number of either sign.
///
/// # Panics
/// If the format has no subnormals (E8M0).
pub fn subnormal<T: Format + core::fmt::Debug>() -> impl Strategy<Value = T> + Clone {
    assert!(T::SPEC.min_normal_code() > 1, "{} has no subnormals", T::ID);
    signed(1..=T::SPEC.min_normal_code() - 1)
}

fn from_code<T: Format>(code: u64) -> T {
    T::from_code(T::Bits::from_u64(code))
}

/// The numbers with these magnitudes, and their negatives where there are any.
fn signed<T: Format + core::fmt::Debug>(
    magnitudes: RangeInclusive<u64>,
) -> impl Strategy<Value = T> + Clone {
    (magnitudes, any::<bool>()).prop_map(|(magnitude, negative)| {
        let signless = magnitude == 0 && !T::HAS_NEG_ZERO;
        let sign = if negative && !signless { T::SPEC.sign_mask() } else { 0 };
        from_code(sign | magnitude)
    })
}

macro_rules! arbitrary {
    ($(#[$doc:meta])* $type:ident $spec:ident $specials:ident) => {
        impl Arbitrary for $type {
            type Parameters = ();
            type Strategy = Map<RangeInclusive<u8>, fn(u8) -> Self>;

            /// Any code, NaN and infinities included.
            fn arbitrary_with((): ()) -> Self::Strategy {
                (0..=Self::SPEC.code_mask() as u8).prop_map(Self::from_bits)
            }
        }
    };
}
crate::for_each_number!(arbitrary);
crate::for_each_scale!(arbitrary);
