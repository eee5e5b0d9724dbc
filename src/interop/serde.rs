//! `serde`: a number is its code, a newtype of `u8`, as `half` has it; as value or text on demand.
//!
//! ```
//! use quarter::{E8M0, F8E4M3};
//! #[derive(serde::Serialize, serde::Deserialize)]
//! struct Row {
//!     code: F8E4M3,
//!     #[serde(with = "quarter::interop::serde::as_f32")]
//!     value: F8E4M3,
//!     #[serde(with = "quarter::interop::serde::as_string")]
//!     scale: E8M0,
//! }
//! let row = Row { code: F8E4M3::ONE, value: F8E4M3::ONE, scale: E8M0::ONE };
//! let text = r#"{"code":56,"value":1.0,"scale":"1"}"#;
//! assert_eq!(serde_json::to_string(&row).unwrap(), text);
//! assert!(serde_json::from_str::<Row>(text).is_ok());
//! ```

use crate::format::types::*;
use crate::{Code, Error, Format, Policy, Unpacked};
use core::fmt;
use core::marker::PhantomData;
use serde::de::{Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

struct CodeVisitor<T>(PhantomData<T>);

impl<T: Format<Bits = u8>> CodeVisitor<T> {
    fn code<E: serde::de::Error>(self, code: u64) -> Result<T, E> {
        if code >> T::BITS != 0 {
            return Err(E::invalid_value(Unexpected::Unsigned(code), &self));
        }
        Ok(T::from_code(u8::from_u64(code)))
    }
}

impl<'de, T: Format<Bits = u8>> Visitor<'de> for CodeVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a code of {} ({} bits)", T::ID, T::BITS)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        self.code(u8::deserialize(deserializer)?.into())
    }

    fn visit_u64<E: serde::de::Error>(self, code: u64) -> Result<T, E> {
        self.code(code)
    }
}

struct ValueVisitor<T>(PhantomData<T>);

impl<T: Format> ValueVisitor<T> {
    fn value<E: serde::de::Error>(value: impl Into<Unpacked>) -> Result<T, E> {
        T::convert(value, Policy::NONFINITE).map_err(E::custom)
    }
}

impl<T: Format> Visitor<'_> for ValueVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a number for {}", T::ID)
    }

    fn visit_f32<E: serde::de::Error>(self, value: f32) -> Result<T, E> {
        Self::value(value)
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<T, E> {
        if T::HAS_ZERO {
            Self::value(value)
        } else {
            Self::value(value as f32) // the digits of an f32, which end a little above 2^-127
        }
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<T, E> {
        Self::value(value)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<T, E> {
        Self::value(value)
    }
}

struct TextVisitor<T>(PhantomData<T>);

impl<T: Format> Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the decimal text of a number for {}", T::ID)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        T::parse(text, Policy::NONFINITE).map_err(|error: Error| E::custom(error))
    }
}

/// `#[serde(with = "quarter::interop::serde::as_f32")]`: the value as an f32.
///
/// Reading takes floats and integers, rounded once to nearest even. JSON has no NaN or infinity.
pub mod as_f32 {
    use super::*;

    /// The value as an f32: exact for formats of up to 16 bits.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<T: Format, S: Serializer>(x: &T, serializer: S) -> Result<S::Ok, S::Error> {
        let unpacked: Unpacked = (*x).into();
        serializer.serialize_f32(unpacked.to_f32())
    }

    /// A float or an integer, rounded once.
    ///
    /// # Errors
    /// The deserializer's.
    pub fn deserialize<'de, T: Format, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        deserializer.deserialize_f32(ValueVisitor(PhantomData))
    }
}

/// `#[serde(with = "quarter::interop::serde::as_string")]`: the value as decimal text.
///
/// Texts keep NaN and infinities where numbers (JSON's) do not.
pub mod as_string {
    use super::*;

    /// What `Display` writes.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<T: Format + fmt::Display, S: Serializer>(
        x: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(x)
    }

    /// A decimal text, rounded once.
    ///
    /// # Errors
    /// The deserializer's, and [`Error::Parse`].
    pub fn deserialize<'de, T: Format, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        deserializer.deserialize_str(TextVisitor(PhantomData))
    }
}

macro_rules! serialize {
    ($(#[$doc:meta])* $type:ident $spec:ident $specials:ident) => {
        impl Serialize for $type {
            /// The code, as a newtype of `u8`.
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_newtype_struct(stringify!($type), &self.to_bits())
            }
        }

        impl<'de> Deserialize<'de> for $type {
            /// A code; one with bits above the format's is an error.
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let visitor = CodeVisitor(PhantomData);
                deserializer.deserialize_newtype_struct(stringify!($type), visitor)
            }
        }

        impl $type {
            /// For `#[serde(serialize_with)]`: the value as an f32.
            ///
            /// # Errors
            /// The serializer's.
            pub fn serialize_as_f32<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                as_f32::serialize(self, s)
            }

            /// For `#[serde(serialize_with)]`: the value as decimal text.
            ///
            /// # Errors
            /// The serializer's.
            pub fn serialize_as_string<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                as_string::serialize(self, s)
            }
        }
    };
}
crate::for_each_number!(serialize);
crate::for_each_scale!(serialize);
