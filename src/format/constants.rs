//! Constants of the types, with f32's conventions, each derived from the row.

use super::table::{self, for_each_number, for_each_scale};
use super::types::*;
use super::{FormatSpec, Policy, Unpacked};
use core::f64::consts;

/// The code nearest to a value.
const fn nearest(spec: &FormatSpec, x: f64) -> u8 {
    Unpacked::from_f64(x).round(spec, Policy::NONFINITE, 0) as u8
}

/// The code of a value that the format must have.
const fn exact(spec: &FormatSpec, x: f64) -> u8 {
    let code = nearest(spec, x);
    assert!(spec.decode_f64(code as u64) == x, "the format has no such number");
    code
}

/// Of an optional code; a missing one does not compile.
const fn code(code: Option<u64>) -> u8 {
    match code {
        Some(code) => code as u8,
        None => panic!("the format has no such code"),
    }
}

/// ⌊(precision − 1) · log10 2⌋: how many decimal digits survive.
const fn digits(spec: &FormatSpec) -> u32 {
    (spec.man_bits() * 30_103) / 100_000
}

/// The largest n with 10^n ≤ max.
const fn max_10_exp(spec: &FormatSpec) -> i32 {
    let (mut n, mut power) = (0, 10.0);
    while power <= spec.max() {
        n += 1;
        power *= 10.0;
    }
    n
}

/// The smallest n with 10^n ≥ min normal.
const fn min_10_exp(spec: &FormatSpec) -> i32 {
    let (mut n, mut product) = (0, spec.min_normal() * 10.0);
    while product <= 1.0 {
        n -= 1;
        product *= 10.0;
    }
    n
}

/// NaN, infinities and −0, where they exist.
macro_rules! specials {
    ($type:ident $spec:ident Ieee) => {
        specials! { @nan $type $spec }
        specials! { @neg_zero $type $spec }
        impl $type {
            /// +∞.
            pub const INFINITY: Self = Self(code(table::$spec.inf_code()));
            /// −∞.
            pub const NEG_INFINITY: Self = Self(Self::INFINITY.0 | table::$spec.sign_mask() as u8);
        }
    };
    ($type:ident $spec:ident NanAllOnes) => {
        specials! { @nan $type $spec }
        specials! { @neg_zero $type $spec }
    };
    ($type:ident $spec:ident NanNegZero) => {
        specials! { @nan $type $spec }
    };
    ($type:ident $spec:ident None) => {
        specials! { @neg_zero $type $spec }
    };
    (@nan $type:ident $spec:ident) => {
        impl $type {
            /// Not a number: the quiet one, positive where NaN has a sign.
            pub const NAN: Self = Self(code(table::$spec.nan_code()));
        }
    };
    (@neg_zero $type:ident $spec:ident) => {
        impl $type {
            /// −0.
            pub const NEG_ZERO: Self = Self(table::$spec.sign_mask() as u8);
        }
    };
}

/// The limits of numbers and scales.
macro_rules! limits {
    ($(#[$doc:meta])* $type:ident $spec:ident $specials:ident) => {
        impl $type {
            /// 1.
            pub const ONE: Self = Self(exact(&table::$spec, 1.0));
            /// The largest finite number.
            pub const MAX: Self = Self(table::$spec.max_code() as u8);
            /// The smallest positive normal number, 2^(MIN_EXP − 1).
            pub const MIN_POSITIVE: Self = Self(table::$spec.min_normal_code() as u8);
            /// Bits of significand, the implicit one included.
            pub const MANTISSA_DIGITS: u32 = table::$spec.precision();
            /// Decimal digits that survive: ⌊(MANTISSA_DIGITS − 1) · log10 2⌋.
            pub const DIGITS: u32 = digits(&table::$spec);
            /// 2^(MIN_EXP − 1) is the smallest normal number.
            pub const MIN_EXP: i32 = table::$spec.emin() + 1;
            /// 2^(MAX_EXP − 1) is the largest power of two.
            pub const MAX_EXP: i32 = table::$spec.emax() + 1;
            /// 10^MIN_10_EXP is the smallest power of ten that is not below the normal numbers.
            pub const MIN_10_EXP: i32 = min_10_exp(&table::$spec);
            /// 10^MAX_10_EXP is the largest power of ten that is not above MAX.
            pub const MAX_10_EXP: i32 = max_10_exp(&table::$spec);
            /// The base of the exponent.
            pub const RADIX: u32 = 2;
        }
    };
}
for_each_number!(limits);
for_each_scale!(limits);

macro_rules! number {
    ($(#[$doc:meta])* $type:ident $spec:ident $specials:ident) => {
        specials! { $type $spec $specials }
        impl $type {
            /// +0.
            pub const ZERO: Self = Self(0);
            /// −1.
            pub const NEG_ONE: Self = Self(exact(&table::$spec, -1.0));
            /// The smallest finite number, −MAX.
            pub const MIN: Self = Self(Self::MAX.0 | table::$spec.sign_mask() as u8);
            /// The smallest positive number.
            pub const MIN_POSITIVE_SUBNORMAL: Self = Self(1);
            /// The largest subnormal number.
            pub const MAX_SUBNORMAL: Self = Self(Self::MIN_POSITIVE.0 - 1);
            /// The distance from 1 to the next larger number, 2^(1 − MANTISSA_DIGITS).
            pub const EPSILON: Self = Self(exact(&table::$spec, table::$spec.epsilon()));
        }
        math! { $type $spec
            /// e
            E
            /// π
            PI
            /// 1/π
            FRAC_1_PI
            /// 1/√2
            FRAC_1_SQRT_2
            /// 2/π
            FRAC_2_PI
            /// 2/√π
            FRAC_2_SQRT_PI
            /// π/2
            FRAC_PI_2
            /// π/3
            FRAC_PI_3
            /// π/4
            FRAC_PI_4
            /// π/6
            FRAC_PI_6
            /// π/8
            FRAC_PI_8
            /// ln 10
            LN_10
            /// ln 2
            LN_2
            /// log10 e
            LOG10_E
            /// log10 2
            LOG10_2
            /// log2 e
            LOG2_E
            /// log2 10
            LOG2_10
            /// √2
            SQRT_2
            /// 2π
            TAU
        }
    };
}

macro_rules! math {
    ($type:ident $spec:ident $($(#[$doc:meta])* $name:ident)*) => {
        impl $type { $(
            $(#[$doc])*
            ///
            /// Rounded to nearest even.
            pub const $name: Self = Self(nearest(&table::$spec, consts::$name));
        )* }
    };
}
for_each_number!(number);

macro_rules! scale {
    ($(#[$doc:meta])* $type:ident $spec:ident $specials:ident) => {
        specials! { @nan $type $spec }
        impl $type {
            /// The smallest number: every one is positive and normal.
            pub const MIN: Self = Self::MIN_POSITIVE;
        }
    };
}
for_each_scale!(scale);
