//! How sums over K are kept, and how scales meet them.

use crate::error::Error;
use crate::mma::Unit;
use crate::scale::{Rule, ScaleFormat, words};

words! {
    /// How the sum p of a block along K joins the f32 sum `acc`, by the scales sa and sb of its
    /// operands' blocks (fl is one rounding to f32).
    BlockSum "block sum" {
        /// acc = fl(acc + fl(fl(p · sa) · sb)): DeepSeek-V3's `fp8_gemm_kernel`, torchao's blocks.
        DeepSeek "deepseek",
        /// acc = fl(acc + fl(p · fl(sa · sb))): DeepGEMM.
        DeepGemm "deepgemm",
        /// acc = fma(fl(p · sa), sb, acc): TransformerEngine.
        Te "te",
    }
}

impl BlockSum {
    /// The block sum of the engine that a scale rule is from; none where its scales are no f32 or
    /// never of blocks.
    #[must_use]
    pub const fn of(rule: Rule) -> Option<Self> {
        match rule {
            Rule::TeCurrent | Rule::TeCurrentPow2 | Rule::TeBlock | Rule::TeBlockF32 => {
                Some(Self::Te)
            }
            Rule::TorchAo | Rule::TorchAoPow2 | Rule::TorchAoBlock => Some(Self::DeepSeek),
            Rule::DeepSeek | Rule::DeepSeekUe8m0 => Some(Self::DeepSeek),
            Rule::DeepGemm | Rule::DeepGemmUe8m0 => Some(Self::DeepGemm),
            Rule::TeDelayed | Rule::MsAmp => None,
            Rule::TeMx
            | Rule::OcpFloor
            | Rule::OcpCeil
            | Rule::OcpRceil
            | Rule::OcpEven
            | Rule::Microxcaling
            | Rule::Nvfp4 => None,
        }
    }
}

/// How sums are kept: in f32, and where told otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Accumulation {
    /// Partial sums join after this many elements of K, at least 1, and at every edge of a block
    /// of scales; none means 1,024, and through a unit never.
    pub promote: Option<u32>,
    /// How blocks with f32 scales join; none means as the casts' engine does. Without such blocks
    /// a recipe refuses it, and a product ignores it.
    pub block_sum: Option<BlockSum>,
    /// Fast, less precise accumulation (TransformerEngine's `use_split_accumulator=False`, torch's
    /// `use_fast_accum=True`). A product does not read it: where a recipe is put
    /// on a unit, it leaves out the promotion.
    pub fast: bool,
    /// The matrix unit whose sums these are, instead of f32: none of its chains is cut but by
    /// `promote`, `split_k` and blocks of scales.
    pub unit: Option<&'static Unit>,
    /// The parts of K that are summed apart, as far as possible alike and whole steps of the unit, and
    /// then added in f32 in order; without a unit nothing is split.
    pub split_k: Option<u32>,
}

impl Accumulation {
    /// Sums in f32, promoted every 1,024 elements.
    pub const F32: Self =
        Self { promote: None, block_sum: None, fast: false, unit: None, split_k: None };
}

/// Where scales meet the sum: [`gemm`](super) has the formulas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sums {
    /// After the last segment, if there are any.
    After,
    /// f32 scales meet each segment's sum.
    Blocks(BlockSum),
    /// Powers of two meet it.
    Powers,
    /// E4M3 scales meet it, and the tensors' own factors the last sum.
    Products,
}

/// What of an operand's scales decides where they meet the sum.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Side {
    /// None for a high-precision operand.
    pub form: Option<ScaleFormat>,
    /// Whether it has blocks.
    pub blocked: bool,
    /// The block sum of the engine whose rule made the scales.
    pub implied: Option<BlockSum>,
}

impl Sums {
    /// Of two operands, with a block sum that is given or not.
    ///
    /// # Errors
    /// [`Error::Recipe`] where blocks with scales in two forms meet, or blocks with f32 scales of
    /// two engines or of none while no block sum is given.
    pub(crate) fn of(sides: [Side; 2], given: Option<BlockSum>) -> Result<Self, Error> {
        let wrong = |why| Err(Error::Recipe { field: "sums", why });
        let blocked = sides.map(|side| side.form.filter(|_| side.blocked));
        for (blocks, other) in [(blocked[0], sides[1].form), (blocked[1], sides[0].form)] {
            let (Some(blocks), Some(other)) = (blocks, other) else { continue };
            match blocks {
                _ if blocks == other => {}
                ScaleFormat::E4M3 => {
                    return wrong(
                        "nvfp4 goes with nvfp4, f32 or bf16: cast both operands by nvfp4",
                    );
                }
                ScaleFormat::E8M0 => {
                    return wrong(
                        "blocks with E8M0 scales go with E8M0 scales, f32 or bf16: give both \
                         operands a rule such as te-mx, or both one with f32 scales such as te-block",
                    );
                }
                // One E8M0 scale of a tensor or row is an f32 like any other; blocks of the other
                // operand are met in its own turn.
                ScaleFormat::F32 => {}
            }
        }
        let has = |form| blocked.contains(&Some(form));
        if has(ScaleFormat::E4M3) {
            return Ok(Self::Products);
        }
        if has(ScaleFormat::E8M0) {
            return Ok(Self::Powers);
        }
        if !has(ScaleFormat::F32) {
            return Ok(Self::After);
        }
        let implied = sides.map(|side| side.implied.filter(|_| side.blocked));
        match (given, implied) {
            (Some(given), _) => Ok(Self::Blocks(given)),
            (None, [Some(a), Some(b)]) if a != b => wrong(
                "the operands' blocks are summed differently by their engines: add +sum=deepseek, \
                 +sum=deepgemm or +sum=te",
            ),
            (None, [a, b]) => match a.or(b) {
                Some(implied) => Ok(Self::Blocks(implied)),
                None => wrong(
                    "nobody says how blocks with f32 scales are summed: give the rule of the scales, \
                     or the block sum deepseek, deepgemm or te",
                ),
            },
        }
    }
}
