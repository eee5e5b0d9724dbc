//! From an amax to a scale: the rules of the field as one table and one match.
//!
//! A rule says everything on which codes depend: whether NaN counts in the amax, the floor, what
//! happens at 0, Inf and NaN, how the scale is rounded, which direction is computed and which is
//! derived, and whether values are multiplied or divided. Two rules that differ in one of these
//! are two rows.
//!
//! Engines that find a power of two through an f32 `log2` (torchao, DeepSeek, MS-AMP,
//! microxcaling) depend on the machine's `log2`; here the exponent is read from the bits, so it
//! is what their formula says in exact arithmetic.

use super::scaler::Scaler;
use crate::error::{Error, Name};
use crate::format::{F8E4M3, FormatSpec};
use core::fmt;
use core::str::FromStr;

/// What the scales of a rule are stored as; the value of an element is code × `scale_inv`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScaleFormat {
    /// An f32 `scale_inv`.
    F32,
    /// An E8M0 byte: a power of two.
    E8M0,
    /// An E4M3 byte, times one f32 for the whole tensor (NVFP4).
    E4M3,
}

/// Which of the two directions a rule computes; the other is derived from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Native {
    /// `scale`, which multiplies on the way in.
    Scale,
    /// `scale_inv`, which multiplies on the way out.
    ScaleInv,
}

/// How a value meets its scale before it is rounded to a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// fl(x · scale).
    Multiply,
    /// fl(x / scale_inv).
    Divide,
}

/// What the elements were before they became f32; some rules look at its largest number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum SourceType {
    /// f32, or f64 rounded to f32.
    #[default]
    F32,
    /// bf16.
    Bf16,
    /// f16.
    F16,
}

impl SourceType {
    /// Its largest finite number.
    #[must_use]
    pub const fn max(self) -> f32 {
        match self {
            Self::F32 => f32::MAX,
            Self::Bf16 => f32::from_bits(0x7f7f_0000),
            Self::F16 => 65504.0,
        }
    }

    /// `f32`, `bf16`, `f16`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        }
    }
}

/// What a scale depends on beside the amax and the format.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Context {
    /// What the elements were.
    pub source: SourceType,
    /// The scale that `te-delayed` and `msamp` keep where the amax gives none.
    pub previous: f32,
    /// `te-delayed` and `msamp` leave this many powers of two of headroom.
    pub margin: i32,
    /// The tensor's scale of `nvfp4`: [`Rule::global_scale`].
    pub global_scale: f32,
}

impl Default for Context {
    /// f32, no margin, earlier scales of 1.
    fn default() -> Self {
        Self { source: SourceType::F32, previous: 1.0, margin: 0, global_scale: 1.0 }
    }
}

/// The scale of one group, in both directions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupScale {
    /// Multiplies on the way in (where the rule's operation is [`Operation::Multiply`]).
    pub scale: f32,
    /// The value of an element is code × this (× the tensor's, for NVFP4).
    pub scale_inv: f32,
    /// `scale_inv` as it is stored where that is a byte; else 0.
    pub byte: u8,
}

macro_rules! rules {
    ($($(#[$doc:meta])* $id:ident $name:literal $format:ident $native:ident $operation:ident
        drop_nan $drop_nan:literal drop_neg_zero $neg_zero:literal nan $nan:literal
        history $history:literal $source:literal;)*) => {
        /// A published way to choose scales. `Display` and `FromStr` use the names of recipes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Rule {
            $($(#[$doc])* $id,)*
        }

        impl Rule {
            /// Every rule, in the table's order.
            pub const ALL: &'static [Self] = &[$(Self::$id,)*];

            const WHAT: &str = concat!("scale rule (of", $(" ", $name,)* ")");

            /// Its name: `te-block`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$id => $name,)* }
            }

            /// What its scales are stored as.
            #[must_use]
            pub const fn scale_format(self) -> ScaleFormat {
                match self { $(Self::$id => ScaleFormat::$format,)* }
            }

            /// Which direction it computes.
            #[must_use]
            pub const fn native(self) -> Native {
                match self { $(Self::$id => Native::$native,)* }
            }

            /// How values meet the scale.
            #[must_use]
            pub const fn operation(self) -> Operation {
                match self { $(Self::$id => Operation::$operation,)* }
            }

            /// Whether its amax passes over NaN; else one NaN makes the amax NaN.
            #[must_use]
            pub const fn drops_nan(self) -> bool {
                match self { $(Self::$id => $drop_nan,)* }
            }

            /// Whether its engine turns −0 into +0.
            #[must_use]
            pub const fn drops_neg_zero(self) -> bool {
                match self { $(Self::$id => $neg_zero,)* }
            }

            /// What its engine makes of NaN in a format without NaN: the OCP modes leave the
            /// mantissa of f32's quiet NaN, under a scale that is NaN.
            #[must_use]
            pub const fn nan_value(self) -> f32 {
                match self { $(Self::$id => $nan,)* }
            }

            /// Whether its scale follows from the amaxes of earlier steps:
            /// `AmaxHistory`.
            #[must_use]
            pub const fn keeps_history(self) -> bool {
                match self { $(Self::$id => $history,)* }
            }

            /// Where the rule is from.
            #[must_use]
            pub const fn source(self) -> &'static str {
                match self { $(Self::$id => $source,)* }
            }
        }
    };
}

rules! {
    /// scale = max/2^margin / amax from a history of amaxes; 0, Inf and NaN keep the previous
    /// scale, an overflow gives f32's largest number.
    TeDelayed "te-delayed" F32 Scale Multiply drop_nan true drop_neg_zero false nan 0.0 history true
        "TransformerEngine d0067d0d, recipe/delayed_scaling.cu kernel_bulk";
    /// scale = max / amax; 0, Inf and NaN give 1, an overflow gives f32's largest number.
    TeCurrent "te-current" F32 Scale Multiply drop_nan true drop_neg_zero false nan 0.0 history false
        "TransformerEngine d0067d0d, recipe/recipe_common.cuh compute_scale_from_amax";
    /// `te-current`, rounded down to a power of two.
    TeCurrentPow2 "te-current-pow2" F32 Scale Multiply drop_nan true drop_neg_zero false nan 0.0 history false
        "TransformerEngine d0067d0d, recipe/recipe_common.cuh compute_scale_from_amax";
    /// `te-current-pow2`, but an overflow gives the source type's largest number.
    TeBlock "te-block" F32 Scale Multiply drop_nan true drop_neg_zero false nan 0.0 history false
        "TransformerEngine d0067d0d, recipe/recipe_common.cuh compute_scale_from_amax";
    /// `te-current`, but an overflow gives the source type's largest number.
    TeBlockF32 "te-block-f32" F32 Scale Multiply drop_nan true drop_neg_zero false nan 0.0 history false
        "TransformerEngine d0067d0d, recipe/recipe_common.cuh compute_scale_from_amax";
    /// scale_inv = amax · fl(1/max), rounded up to a power of two; Inf gives 2^127.
    TeMx "te-mx" E8M0 ScaleInv Multiply drop_nan true drop_neg_zero false nan 0.0 history false
        "TransformerEngine d0067d0d, util/ptx_arch_spec.cuh float_to_e8m0, util/ptx.cuh exp2f_rcp";
    /// scale = max / amax in f64, rounded once; amax at least 1e-12; Inf gives 0, NaN NaN.
    TorchAo "torchao" F32 Scale Multiply drop_nan false drop_neg_zero false nan 0.0 history false
        "torchao 36027d82, float8/float8_utils.py amax_to_scale";
    /// `torchao`, rounded down to a power of two.
    TorchAoPow2 "torchao-pow2" F32 Scale Multiply drop_nan false drop_neg_zero false nan 0.0 history false
        "torchao 36027d82, float8/float8_utils.py amax_to_scale";
    /// `torchao` by blocks.
    TorchAoBlock "torchao-block" F32 Scale Multiply drop_nan false drop_neg_zero false nan 0.0 history false
        "torchao 36027d82, prototype/blockwise_fp8_training/kernels.py";
    /// The exponent of the amax less that of the format's max: the largest values may saturate.
    OcpFloor "ocp-floor" E8M0 ScaleInv Multiply drop_nan false drop_neg_zero false nan 1.5 history false
        "OCP MX 1.0 section 6.3; torchao 36027d82, prototype/mx_formats/mx_tensor.py FLOOR";
    /// `ocp-floor` of the amax rounded up to a power of two.
    OcpCeil "ocp-ceil" E8M0 ScaleInv Multiply drop_nan false drop_neg_zero false nan 1.5 history false
        "torchao 36027d82, prototype/mx_formats/mx_tensor.py CEIL";
    /// scale_inv = amax · fl(1/max), rounded up to a power of two; Inf and NaN give NaN.
    OcpRceil "ocp-rceil" E8M0 ScaleInv Multiply drop_nan false drop_neg_zero false nan 1.5 history false
        "torchao 36027d82, prototype/mx_formats/mx_tensor.py RCEIL";
    /// `ocp-floor` of the amax rounded to the format's precision.
    OcpEven "ocp-even" E8M0 ScaleInv Multiply drop_nan false drop_neg_zero false nan 1.5 history false
        "torchao 36027d82, prototype/mx_formats/mx_tensor.py EVEN";
    /// scale_inv = max(amax, 1e-4) / max; values are divided.
    DeepSeek "deepseek" F32 ScaleInv Divide drop_nan true drop_neg_zero false nan 0.0 history false
        "DeepSeek-V3 9b4e9788, inference/kernel.py act_quant_kernel";
    /// `deepseek`, rounded up to a power of two.
    DeepSeekUe8m0 "deepseek-ue8m0" F32 ScaleInv Divide drop_nan true drop_neg_zero false nan 0.0 history false
        "DeepSeek-V3 9b4e9788, inference/kernel.py act_quant_kernel with scale_fmt";
    /// scale_inv = max(amax, 1e-4) / max; values are multiplied by its reciprocal.
    DeepGemm "deepgemm" F32 ScaleInv Multiply drop_nan false drop_neg_zero false nan 0.0 history false
        "DeepGEMM 54e22612, deep_gemm/utils/math.py per_token_cast_to_fp8";
    /// `deepgemm`, rounded up to a power of two 2^−126 to 2^127; Inf and NaN give 2^127.
    DeepGemmUe8m0 "deepgemm-ue8m0" F32 ScaleInv Multiply drop_nan false drop_neg_zero false nan 0.0 history false
        "DeepGEMM 54e22612, deep_gemm/utils/math.py ceil_to_ue8m0";
    /// scale = max / amax rounded down to a power of two, less the margin; 0 and NaN keep the
    /// previous scale, Inf gives its reciprocal.
    MsAmp "msamp" F32 Scale Multiply drop_nan false drop_neg_zero false nan 0.0 history true
        "MS-AMP 9746ea85, msamp/common/tensor/meta.py";
    /// `ocp-floor` with NaN for a block that holds Inf or NaN; −0 becomes +0, and the f32 just
    /// below half of the smallest code becomes that code.
    Microxcaling "microxcaling" E8M0 ScaleInv Multiply drop_nan false drop_neg_zero true nan 0.0 history false
        "microxcaling 7bc41952, mx/mx_ops.py _quantize_mx, round='even'";
    /// A scale of E4M3 for each block and one of f32 for the tensor; −0 becomes +0.
    Nvfp4 "nvfp4" E4M3 ScaleInv Multiply drop_nan true drop_neg_zero true nan 0.0 history false
        "TransformerEngine d0067d0d, cast/nvfp4/core_nvfp4.cuh";
}

impl Rule {
    /// The scale of a group with this amax, of which NaN is already dropped or not as
    /// [`drops_nan`](Self::drops_nan) says.
    ///
    /// Defined for every f32: `amax` is taken without its sign.
    ///
    /// ```
    /// use quarter::scale::{Context, Rule};
    /// use quarter::FormatId;
    /// let e4m3 = FormatId::F8E4M3.spec();
    /// let scale = |rule: Rule, amax| rule.scale(e4m3, amax, &Context::default());
    /// assert_eq!(scale(Rule::TeCurrent, 3.5).scale, 128.0);
    /// assert_eq!(scale(Rule::TeCurrent, 0.0).scale, 1.0);
    /// assert_eq!(scale(Rule::TeCurrentPow2, 3.0).scale, 128.0);
    /// assert_eq!(scale(Rule::DeepSeek, 896.0).scale_inv, 2.0);
    /// // 500 = 1.95 · 2^8: rounded down, the scale lets it saturate; rounded up, it does not.
    /// assert_eq!(scale(Rule::OcpFloor, 500.0).scale_inv, 1.0);
    /// assert_eq!(scale(Rule::OcpRceil, 500.0).scale_inv, 2.0);
    /// ```
    #[must_use]
    pub fn scale(self, format: &FormatSpec, amax: f32, context: &Context) -> GroupScale {
        Scaler::new(self, format, context).scale(amax)
    }

    /// The scale of the whole tensor: 1 but for `nvfp4`, where it is 448 · max / amax; 1 where
    /// that is no positive number.
    #[must_use]
    pub fn global_scale(self, format: &FormatSpec, amax: f32) -> f32 {
        if self.scale_format() != ScaleFormat::E4M3 {
            return 1.0;
        }
        let scale = (F8E4M3::MAX.to_f32() * format.max() as f32 / amax.abs()).min(f32::MAX);
        if amax == 0.0 || amax.is_nan() || scale == 0.0 { 1.0 } else { scale }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Rule {
    type Err = Error;

    /// `te-block`: a name of the table.
    fn from_str(text: &str) -> Result<Self, Error> {
        let found = Self::ALL.iter().find(|rule| rule.name() == text).copied();
        found.ok_or(Error::Name { what: Self::WHAT, got: Name::new(text) })
    }
}
