//! THE table: one row per format, from which types, constants, kernels, tests and the CLI derive.
//!
//! `numbers` get a newtype with arithmetic, `scales` a newtype without, `wide` are formats whose
//! type exists elsewhere. A row: type, name, then field widths and what is unusual.

use super::spec::{FormatSpec, Specials};
use crate::error::{Error, Name};
use core::fmt;
use core::str::FromStr;

/// Calls a macro with the table. Everything that lists formats goes through here.
///
/// `for_each_format!(then)` is `then! { numbers {..} scales {..} wide {..} }`, and
/// `for_each_format!(then, more)` is `then! { more, numbers {..} .. }`.
#[doc(hidden)]
#[macro_export]
macro_rules! for_each_format {
    ($then:path $(, $more:path)?) => {
        $then! {
            $($more,)?
            numbers {
                /// E4M3 of OCP OFP8 ("FN"): no infinity, one NaN, max 448. Activations and weights.
                F8E4M3 F8E4M3 "e4m3" ["float8_e4m3fn", "e4m3fn", "f8e4m3", "f8_e4m3"]
                    exp 4 man 3 bias 7 NanAllOnes
                    "OCP 8-bit Floating Point Specification (OFP8) 1.0, table 1";
                /// E5M2 of OCP OFP8: IEEE-like, max 57344. Gradients.
                F8E5M2 F8E5M2 "e5m2" ["float8_e5m2", "f8e5m2", "f8_e5m2"]
                    exp 5 man 2 bias 15 Ieee
                    "OCP 8-bit Floating Point Specification (OFP8) 1.0, table 1";
                /// E4M3 "FNUZ" of AMD CDNA3 and Graphcore: no infinity, no −0, max 240.
                F8E4M3FNUZ F8E4M3FNUZ "e4m3fnuz" ["float8_e4m3fnuz", "f8e4m3fnuz", "f8_e4m3fnuz"]
                    exp 4 man 3 bias 8 NanNegZero
                    "Noune et al., 8-bit Numerical Formats for Deep Neural Networks, arXiv:2206.02915";
                /// E5M2 "FNUZ" of AMD CDNA3 and Graphcore: no infinity, no −0, max 57344.
                F8E5M2FNUZ F8E5M2FNUZ "e5m2fnuz" ["float8_e5m2fnuz", "f8e5m2fnuz", "f8_e5m2fnuz"]
                    exp 5 man 2 bias 16 NanNegZero
                    "Noune et al., 8-bit Numerical Formats for Deep Neural Networks, arXiv:2206.02915";
                /// E4M3 with bias 11: no infinity, no −0, max 30.
                F8E4M3B11FNUZ F8E4M3B11FNUZ "e4m3b11fnuz" ["float8_e4m3b11fnuz", "f8e4m3b11fnuz"]
                    exp 4 man 3 bias 11 NanNegZero
                    "Sun et al., Hybrid 8-bit Floating Point Training and Inference, NeurIPS 2019";
                /// E3M4: IEEE-like, max 15.5.
                F8E3M4 F8E3M4 "e3m4" ["float8_e3m4", "f8e3m4"]
                    exp 3 man 4 bias 3 Ieee
                    "LLVM APFloat semantics Float8E3M4";
                /// E4M3 with IEEE infinities and NaN: max 240.
                F8E4M3IEEE F8E4M3IEEE "e4m3ieee" ["float8_e4m3", "f8e4m3ieee"]
                    exp 4 man 3 bias 7 Ieee
                    "LLVM APFloat semantics Float8E4M3";
                /// E2M3 of OCP MX, 6 bits: every code is finite, max 7.5.
                F6E2M3 F6E2M3 "e2m3" ["float6_e2m3fn", "f6e2m3", "f6_e2m3"]
                    exp 2 man 3 bias 1 None
                    "OCP Microscaling Formats (MX) Specification 1.0, table 3";
                /// E3M2 of OCP MX, 6 bits: every code is finite, max 28.
                F6E3M2 F6E3M2 "e3m2" ["float6_e3m2fn", "f6e3m2", "f6_e3m2"]
                    exp 3 man 2 bias 3 None
                    "OCP Microscaling Formats (MX) Specification 1.0, table 3";
                /// E2M1 of OCP MX, 4 bits: ±{0, 0.5, 1, 1.5, 2, 3, 4, 6}.
                F4E2M1 F4E2M1 "e2m1" ["float4_e2m1fn", "float4_e2m1fn_x2", "f4e2m1", "f4"]
                    exp 2 man 1 bias 1 None
                    "OCP Microscaling Formats (MX) Specification 1.0, table 5";
            }
            scales {
                /// E8M0 of OCP MX: a power of two 2^−127 to 2^127, or NaN; no zero, no sign.
                E8M0 E8M0 "e8m0" ["float8_e8m0fnu", "f8_e8m0", "ue8m0"]
                    exp 8 man 0 bias 127 NanAllOnes
                    "OCP Microscaling Formats (MX) Specification 1.0, table 7";
            }
            wide {
                /// bfloat16: the upper half of an f32.
                Bf16 BF16 (half::bf16) u16 "bf16" ["bfloat16"] exp 8 man 7 bias 127
                    "Kalamkar et al., A Study of BFLOAT16 for Deep Learning Training, arXiv:1905.12322";
                /// IEEE 754 binary16.
                F16 F16 (half::f16) u16 "f16" ["float16", "half"] exp 5 man 10 bias 15
                    "IEEE 754-2019, table 3.5";
                /// IEEE 754 binary32.
                F32 F32 (f32) u32 "f32" ["float32", "float"] exp 8 man 23 bias 127
                    "IEEE 754-2019, table 3.5";
                /// IEEE 754 binary64.
                F64 F64 (f64) u64 "f64" ["float64", "double"] exp 11 man 52 bias 1023
                    "IEEE 754-2019, table 3.5";
            }
        }
    };
}
pub(crate) use for_each_format;

/// Calls a macro with each row of `numbers`: its docs, type, spec and special codes.
#[doc(hidden)]
#[macro_export]
macro_rules! for_each_number {
    ($each:path) => {
        $crate::for_each_format!($crate::__each_number, $each);
    };
}

/// Calls a macro with each row of `scales`.
#[doc(hidden)]
#[macro_export]
macro_rules! for_each_scale {
    ($each:path) => {
        $crate::for_each_format!($crate::__each_scale, $each);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __each_number {
    (
        $each:path,
        numbers { $($(#[$doc:meta])* $type:ident $spec:ident $name:literal $aliases:tt
            exp $exp:literal man $man:literal bias $bias:literal $specials:ident $source:literal;)* }
        scales $scales:tt
        wide $wide:tt
    ) => {
        $($each! { $(#[$doc])* $type $spec $specials })*
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __each_scale {
    (
        $each:path,
        numbers $numbers:tt
        scales { $($(#[$doc:meta])* $type:ident $spec:ident $name:literal $aliases:tt
            exp $exp:literal man $man:literal bias $bias:literal $specials:ident $source:literal;)* }
        wide $wide:tt
    ) => {
        $($each! { $(#[$doc])* $type $spec $specials })*
    };
}

pub(crate) use {for_each_number, for_each_scale};

macro_rules! define_table {
    (
        numbers { $($(#[$ndoc:meta])* $nid:ident $nspec:ident $nname:literal $naliases:tt
            exp $nexp:literal man $nman:literal bias $nbias:literal $nspecials:ident $nsource:literal;)* }
        scales { $($(#[$sdoc:meta])* $sid:ident $sspec:ident $sname:literal $saliases:tt
            exp $sexp:literal man $sman:literal bias $sbias:literal $sspecials:ident $ssource:literal;)* }
        wide { $($(#[$wdoc:meta])* $wid:ident $wspec:ident ($wtype:ty) $wbits:ident $wname:literal $waliases:tt
            exp $wexp:literal man $wman:literal bias $wbias:literal $wsource:literal;)* }
    ) => {
        /// Names a format at run time: what a recipe, a file or a command line holds.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum FormatId {
            $($(#[$ndoc])* $nid,)*
            $($(#[$sdoc])* $sid,)*
            $($(#[$wdoc])* $wid,)*
        }

        impl FormatId {
            /// Every format, in the table's order.
            pub const ALL: &'static [Self] = &[$(Self::$nid,)* $(Self::$sid,)* $(Self::$wid,)*];

            /// What a name that is none of them should have been.
            const WHAT: &str = concat!(
                "format (of", $(" ", $nname,)* $(" ", $sname,)* $(" ", $wname,)* ")"
            );

            /// The row of the table.
            #[must_use]
            pub const fn spec(self) -> &'static FormatSpec {
                match self {
                    $(Self::$nid => &$nspec,)*
                    $(Self::$sid => &$sspec,)*
                    $(Self::$wid => &$wspec,)*
                }
            }
        }

        $(pub(crate) const $nspec: FormatSpec = FormatSpec {
            id: Some(FormatId::$nid), name: $nname, aliases: &$naliases, exp_bits: $nexp, man_bits: $nman, bias: $nbias,
            signed: true, has_zero: true, specials: Specials::$nspecials, source: $nsource,
        };)*
        $(pub(crate) const $sspec: FormatSpec = FormatSpec {
            id: Some(FormatId::$sid), name: $sname, aliases: &$saliases, exp_bits: $sexp, man_bits: $sman, bias: $sbias,
            signed: false, has_zero: false, specials: Specials::$sspecials, source: $ssource,
        };)*
        $(pub(crate) const $wspec: FormatSpec = FormatSpec {
            id: Some(FormatId::$wid), name: $wname, aliases: &$waliases, exp_bits: $wexp, man_bits: $wman, bias: $wbias,
            signed: true, has_zero: true, specials: Specials::Ieee, source: $wsource,
        };)*
    };
}
for_each_format!(define_table);

impl FormatId {
    /// The format's name: `e4m3`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.spec().name
    }
}

impl fmt::Display for FormatId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for FormatId {
    type Err = Error;

    /// A name or an alias, in any case: `e4m3`, `F8E4M3`, `float8_e4m3fn`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let matches = |name: &&str| name.eq_ignore_ascii_case(text);
        let named = |id: &&Self| matches(&id.spec().name) || id.spec().aliases.iter().any(&matches);
        let found = Self::ALL.iter().find(named).copied();
        found.ok_or(Error::Name { what: Self::WHAT, got: Name::new(text) })
    }
}

// Famous values: a wrong row does not compile.
const _: () = {
    assert!(F8E4M3.max() == 448.0 && F8E4M3.min_positive() == 1.0 / 512.0);
    assert!(F8E5M2.max() == 57344.0 && F8E5M2.min_positive() == 1.0 / 65536.0);
    assert!(F8E4M3FNUZ.max() == 240.0 && F8E4M3FNUZ.min_positive() == 1.0 / 1024.0);
    assert!(F8E5M2FNUZ.max() == 57344.0 && F8E5M2FNUZ.min_positive() == 1.0 / 131072.0);
    assert!(F8E4M3B11FNUZ.max() == 30.0 && F8E4M3B11FNUZ.min_positive() == 1.0 / 8192.0);
    assert!(F8E3M4.max() == 15.5 && F8E3M4.min_positive() == 1.0 / 64.0);
    assert!(F8E4M3IEEE.max() == 240.0 && F8E4M3IEEE.min_normal() == 1.0 / 64.0);
    assert!(F6E2M3.max() == 7.5 && F6E2M3.min_positive() == 0.125);
    assert!(F6E3M2.max() == 28.0 && F6E3M2.min_positive() == 0.0625);
    assert!(F4E2M1.max() == 6.0 && F4E2M1.min_positive() == 0.5);
    assert!(
        E8M0.max() == 2.0f64 * (1u128 << 126) as f64 && E8M0.min_positive() * E8M0.max() == 1.0
    );
    assert!(BF16.max() as f32 == f32::from_bits(0x7f7f_0000));
    assert!(F16.max() == 65504.0 && F32.max() == f32::MAX as f64 && F64.max() == f64::MAX);
};
