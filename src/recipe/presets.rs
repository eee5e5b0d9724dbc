//! The published recipes, one function each: the table of [`recipe`](super) compares them.

use super::{Delayed, GemmRecipe, Operand, Recipe};
use crate::format::FormatId;
use crate::scale::{Granularity, HistoryConfig, Rule};
use crate::tensor::Cast;

const E4M3: FormatId = FormatId::F8E4M3;
const E5M2: FormatId = FormatId::F8E5M2;

macro_rules! presets {
    ($($(#[$doc:meta])* $name:ident => $recipe:expr;)*) => {
        $(
            $(#[$doc])*
            #[must_use]
            pub fn $name() -> Recipe {
                let recipe: Recipe = $recipe;
                Recipe { name: stringify!($name).into(), ..recipe }
            }
        )*

        /// Every preset by its name, in the table's order.
        pub const ALL: &[(&str, fn() -> Recipe)] = &[$((stringify!($name), $name),)*];

        /// What an unknown name is told.
        pub(super) const WHAT: &str = concat!("recipe (of", $(" ", stringify!($name),)* ", or name=NAME;fprop=A*B;dgrad=A*B;wgrad=A*B)");
    };
}

presets! {
    /// No quantization: f32 throughout.
    f32 => Recipe::uniform(Operand::F32);

    /// Operands rounded to bf16, sums in f32: what FP8 is compared with.
    bf16 => Recipe::uniform(Operand::Bf16);

    /// TransformerEngine's `DelayedScaling` with its defaults: HYBRID formats, a history of 1,024
    /// amaxes and their max, amaxes reduced over ranks, fast accumulation in fprop alone.
    ///
    /// Source: TransformerEngine d0067d0d, common/recipe/\_\_init\_\_.py, module/base.py.
    delayed => {
        let [x, dy] = [E4M3, E5M2].map(|f| cast(f, Granularity::Tensor, Rule::TeDelayed));
        Recipe { delayed: Some(Delayed::uniform(HistoryConfig::TE)), ..hybrid(x, dy) }
    };

    /// TransformerEngine's `Float8CurrentScaling`: the tensor's own amax, HYBRID formats.
    ///
    /// Source: TransformerEngine d0067d0d, common/recipe/\_\_init\_\_.py.
    current => {
        let [x, dy] = [E4M3, E5M2].map(|f| cast(f, Granularity::Tensor, Rule::TeCurrent));
        hybrid(x, dy)
    };

    /// torchao's `tensorwise` (its default): the tensor's own amax, gradients E5M2.
    ///
    /// Source: torchao 36027d82, float8/config.py.
    tensorwise => {
        let [x, dy] = [E4M3, E5M2].map(|f| cast(f, Granularity::Tensor, Rule::TorchAo));
        hybrid(x, dy)
    };

    /// torchao's `rowwise`: a power of two for each row of each operand, E4M3 throughout.
    ///
    /// Source: torchao 36027d82, float8/config.py.
    rowwise => {
        let row = cast(E4M3, Granularity::Row, Rule::TorchAoPow2);
        hybrid(row, row)
    };

    /// torchao's `rowwise_with_gw_hp`: as `rowwise`, but the weight has one scale in dgrad, and
    /// wgrad is in high precision, here bf16.
    ///
    /// Source: torchao 36027d82, float8/config.py.
    rowwise_with_gw_hp => {
        let [row, tensor] =
            [Granularity::Row, Granularity::Tensor].map(|g| cast(E4M3, g, Rule::TorchAoPow2));
        Recipe {
            dgrad: GemmRecipe::new(row, tensor),
            wgrad: GemmRecipe::new(Operand::Bf16, Operand::Bf16),
            ..hybrid(row, row)
        }
    };

    /// DeepSeek-V3's layout, E4M3 throughout: x and dy in blocks of 1 × 128 along K, w of
    /// 128 × 128; in wgrad both 1 × 128 along the tokens.
    ///
    /// DeepSeek published this layout but no training code; scales, sums and edges here are those
    /// of TransformerEngine's `Float8BlockScaling` (rule `te-block`: powers of two, so dividing
    /// and multiplying give the same codes). For the scales of DeepSeek's inference code replace
    /// `te-block` by `deepseek`, for DeepGEMM's by `deepgemm`.
    ///
    /// Source: DeepSeek-V3 report section 3.3; TransformerEngine d0067d0d, common/recipe.
    blockwise => {
        let [x, w] = [Granularity::BLOCK_1X128, Granularity::BLOCK_128X128]
            .map(|g| cast(E4M3, g, Rule::TeBlock));
        Recipe::new([(x, w), (x, w), (x, x)])
    };

    /// TransformerEngine's `MXFP8BlockScaling`: 1 × 32 along K, E4M3 throughout, E8M0 scales
    /// rounded up.
    ///
    /// Source: TransformerEngine d0067d0d, common/cast/mxfp8/quantize_mxfp8.cuh.
    mxfp8 => Recipe::uniform(cast(E4M3, Granularity::BLOCK_1X32, Rule::TeMx));

    /// MXFP8 with the scales of the OCP specification: rounded down, so that a quarter of the
    /// blocks' largest values saturate. torchao's default.
    ///
    /// Source: OCP MX 1.0 section 6.3; torchao 36027d82, prototype/mx_formats/mx_tensor.py FLOOR.
    mxfp8_floor => Recipe::uniform(cast(E4M3, Granularity::BLOCK_1X32, Rule::OcpFloor));

    /// MS-AMP's linear layer (FP8-LM): powers of two from 16 steps for x and dy, after 16 steps
    /// of current scaling; w always by its own amax. Its FP8 optimizer and communication are no
    /// part of a recipe.
    ///
    /// Source: MS-AMP 9746ea85, msamp/nn/functional.py, msamp/optim/optimizer.py.
    msamp => {
        let [x, dy] = [E4M3, E5M2].map(|f| cast(f, Granularity::Tensor, Rule::MsAmp));
        let delayed = Delayed { weight: HistoryConfig::MSAMP_WEIGHT, ..Delayed::uniform(HistoryConfig::MSAMP) };
        Recipe { delayed: Some(delayed), ..hybrid(x, dy) }
    };

    /// NVFP4, experimental: E2M1 in blocks of 1 × 16 along K with two-level scales, to nearest.
    /// TransformerEngine also has 16 × 16 blocks for w, stochastic rounding of dy and a Hadamard
    /// transform before wgrad; the rounding can be had by a cast `e2m1:1x16:nvfp4:stochastic`.
    ///
    /// Source: TransformerEngine d0067d0d, common/cast/nvfp4/core_nvfp4.cuh.
    nvfp4 => Recipe::uniform(cast(FormatId::F4E2M1, Granularity::BLOCK_1X16, Rule::Nvfp4));
}

fn cast(format: FormatId, granularity: Granularity, rule: Rule) -> Operand {
    Operand::Cast(Cast::new(format, granularity, rule))
}

/// x and w by one cast, dy by another, fast accumulation in fprop alone.
fn hybrid(x: Operand, dy: Operand) -> Recipe {
    let recipe = Recipe::new([(x, x), (dy, x), (dy, x)]);
    Recipe { fprop: recipe.fprop.fast(), ..recipe }
}
