//! Choices that are words: an enum and its texts as one table.

/// An enum of plain variants with their texts: `ALL`, `name`, `Display` and `FromStr`.
macro_rules! words {
    ($(#[$doc:meta])* $type:ident $what:literal {
        $($(#[$variant_doc:meta])* $variant:ident $text:literal,)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $type {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $type {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its text.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl core::fmt::Display for $type {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.pad(self.name())
            }
        }

        impl core::str::FromStr for $type {
            type Err = crate::error::Error;

            #[doc = concat!($("`", $text, "`, ",)* "as `Display` writes.")]
            fn from_str(text: &str) -> Result<Self, crate::error::Error> {
                match text {
                    $($text => Ok(Self::$variant),)*
                    _ => Err(crate::error::Error::Name {
                        what: concat!($what, " (of", $(" ", $text,)* ")"),
                        got: crate::error::Name::new(text),
                    }),
                }
            }
        }
    };
}
pub(crate) use words;
