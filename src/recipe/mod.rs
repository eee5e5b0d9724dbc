//! Policy as data: how a linear layer's three matrix products are computed, and what state that
//! needs.
//!
//! ```text
//!  fprop y[T,O]  = x[T,I]  · w[O,I]     Recipe: for each product the cast of each operand
//!  dgrad dx[T,I] = dy[T,O] · wT[I,O]            and how its sums are kept
//!  wgrad dw[O,I] = dyT[O,T] · xT[I,T]   RecipeState: amax histories by layer and role
//! ```
//!
//! Every product is D\[M,N\] = Σₖ a\[M,K\] · b\[N,K\], and granularities are those of \[M or N, K\]:
//! in wgrad `1x128` runs along the tokens. A [`Recipe`] prints in one line and parses back.
//!
//! | preset | x | w | dy | scales | wgrad | state |
//! |---|---|---|---|---|---|---|
//! | `f32` | f32 | f32 | f32 | | same | |
//! | `bf16` | bf16 | bf16 | bf16 | | same | |
//! | `delayed` | e4m3 tensor | e4m3 tensor | e5m2 tensor | f32, from 1,024 steps | same | histories |
//! | `current` | e4m3 tensor | e4m3 tensor | e5m2 tensor | f32 | same | |
//! | `tensorwise` | e4m3 tensor | e4m3 tensor | e5m2 tensor | f32 | same | |
//! | `rowwise` | e4m3 row | e4m3 row | e4m3 row | powers of two | same | |
//! | `rowwise_with_gw_hp` | e4m3 row | e4m3 row, dgrad: tensor | e4m3 row | powers of two | bf16 | |
//! | `blockwise` | e4m3 1x128 | e4m3 128x128 | e4m3 1x128 | powers of two | same | |
//! | `mxfp8` | e4m3 1x32 | e4m3 1x32 | e4m3 1x32 | E8M0, rounded up | same | |
//! | `mxfp8_floor` | e4m3 1x32 | e4m3 1x32 | e4m3 1x32 | E8M0, rounded down | same | |
//! | `msamp` | e4m3 tensor | e4m3 tensor | e5m2 tensor | powers of two, from 16 steps | same | histories |
//! | `nvfp4` | e2m1 1x16 | e2m1 1x16 | e2m1 1x16 | E4M3 and f32 | same | |
//!
//! The columns x and w are those of fprop, dy that of dgrad; wgrad is the same where it casts dy
//! and x by them, along its own K: in `blockwise` both 1 × 128 along the tokens.
//!
//! `delayed` and `msamp` reach into the past: a step is scaled by what earlier steps saw, and the
//! first by 1 (`delayed`) or by itself (`msamp`). All others need no state. What each preset is
//! taken from stands beside its function in [`presets`].
//!
//! To add a recipe, add a function to `recipe/presets.rs`; without that, write it as text.
//!
//! ```
//! use quarter::recipe::{Pass, Recipe, Role};
//! let recipe = Recipe::preset("blockwise")?;
//! assert_eq!(recipe.wgrad.a.to_string(), "e4m3:1x128:te-block");
//! let text = "name=mine;fprop=e4m3:row:torchao*e4m3:row:torchao;dgrad=bf16*bf16;wgrad=bf16*bf16";
//! let mine: Recipe = text.parse()?;
//! assert_eq!(mine.to_string(), text);
//! assert_eq!(Pass::Dgrad.operands(), [(Role::GradOutput, false), (Role::Weight, true)]);
//! // What cannot be carried out says what to change.
//! let error = text.replace("row:", "col:").parse::<Recipe>().unwrap_err();
//! assert!(error.to_string().contains("use row"));
//! # Ok::<(), quarter::Error>(())
//! ```

#![forbid(unsafe_code)]

mod agree;
mod bytes;
mod collective;
mod gemm;
mod passes;
pub mod presets;
mod saved;
mod state;
mod text;
mod validate;

pub use crate::gemm::{Accumulation, BlockSum};
pub(crate) use agree::name_id;
pub use collective::{AllReduce, NoReduce, ThreadRank, Wire, thread_group};
pub use gemm::{GemmRecipe, Operand};
pub use passes::{Kept, Prepared, dgrad, fprop, prepare_both, wgrad};
pub use saved::{LayerSnapshot, StateSnapshot};
pub use state::RecipeState;

use crate::error::{Error, Name};
use crate::mma::Unit;
use crate::scale::{HistoryConfig, words};
use crate::tensor::Cast;
use std::string::String;

words! {
    /// What a tensor is to a linear layer.
    Role "role" {
        /// x, \[tokens, inputs\].
        Input "input",
        /// w, \[outputs, inputs\].
        Weight "weight",
        /// dy, \[tokens, outputs\].
        GradOutput "grad_output",
    }
}

words! {
    /// One of the three matrix products.
    Pass "pass" {
        /// y = x · wᵀ: a = x, b = w.
        Fprop "fprop",
        /// dx = dy · w: a = dy, b = wᵀ.
        Dgrad "dgrad",
        /// dw = dyᵀ · x: a = dyᵀ, b = xᵀ.
        Wgrad "wgrad",
    }
}

impl Pass {
    /// The tensors behind a and b, and whether each is transposed, so that K is last.
    #[must_use]
    pub const fn operands(self) -> [(Role, bool); 2] {
        match self {
            Self::Fprop => [(Role::Input, false), (Role::Weight, false)],
            Self::Dgrad => [(Role::GradOutput, false), (Role::Weight, true)],
            Self::Wgrad => [(Role::GradOutput, true), (Role::Input, true)],
        }
    }
}

/// How the amax histories of delayed scaling are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Delayed {
    /// Of x.
    pub input: HistoryConfig,
    /// Of w.
    pub weight: HistoryConfig,
    /// Of dy.
    pub grad_output: HistoryConfig,
    /// Whether the amaxes of a step are joined over ranks before they enter.
    pub reduce_amax: bool,
}

impl Delayed {
    /// The same for all roles, joined over ranks.
    #[must_use]
    pub const fn uniform(config: HistoryConfig) -> Self {
        Self { input: config, weight: config, grad_output: config, reduce_amax: true }
    }

    /// That of a role.
    #[must_use]
    pub const fn of(&self, role: Role) -> &HistoryConfig {
        match role {
            Role::Input => &self.input,
            Role::Weight => &self.weight,
            Role::GradOutput => &self.grad_output,
        }
    }
}

/// How the three products of a linear layer are computed: plain data.
///
/// Prints and parses as `name=NAME;fprop=A*B;dgrad=A*B;wgrad=A*B`, then for delayed scaling
/// `;delayed=HISTORY` (or `X*W*DY`) and `;reduce-amax=off`; a preset's name alone parses too.
///
/// ```
/// use quarter::recipe::Recipe;
/// let recipe: Recipe = "delayed".parse()?;
/// let line = "name=delayed;fprop=e4m3:tensor:te-delayed*e4m3:tensor:te-delayed+fast;\
///             dgrad=e5m2:tensor:te-delayed*e4m3:tensor:te-delayed;\
///             wgrad=e5m2:tensor:te-delayed*e4m3:tensor:te-delayed;delayed=1024:max:bulk:te";
/// assert_eq!(recipe.to_string(), line);
/// assert_eq!(line.parse(), Ok(recipe));
/// # Ok::<(), quarter::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Recipe {
    /// Letters, digits, `_`, `-` and `.`, 1 to 64 of them.
    pub name: String,
    /// y = x · wᵀ.
    pub fprop: GemmRecipe,
    /// dx = dy · w.
    pub dgrad: GemmRecipe,
    /// dw = dyᵀ · x.
    pub wgrad: GemmRecipe,
    /// How histories are kept; needed by casts with the rules `te-delayed` and `msamp`.
    pub delayed: Option<Delayed>,
}

impl Recipe {
    /// Operands (a, b) of fprop, dgrad and wgrad, sums in f32, no histories, the name `custom`.
    #[must_use]
    pub fn new(operands: [(Operand, Operand); 3]) -> Self {
        let [fprop, dgrad, wgrad] = operands.map(|(a, b)| GemmRecipe::new(a, b));
        Self { name: "custom".into(), fprop, dgrad, wgrad, delayed: None }
    }

    /// One cast for all operands.
    #[must_use]
    pub fn uniform(operand: Operand) -> Self {
        Self::new([(operand, operand); 3])
    }

    /// The preset with this name.
    ///
    /// # Errors
    /// [`Error::Name`], with the names that exist.
    pub fn preset(name: &str) -> Result<Self, Error> {
        let found = presets::ALL.iter().find(|(preset, _)| *preset == name);
        let unknown = Error::Name { what: presets::WHAT, got: Name::new(name) };
        found.map(|(_, recipe)| recipe()).ok_or(unknown)
    }

    /// Through a matrix unit, wherever it multiplies both operands of a product, each as
    /// [`GemmRecipe::on`]; the unit's name is added to the recipe's.
    ///
    /// ```
    /// use quarter::mma::H100_WGMMA_FP8;
    /// use quarter::recipe::presets;
    /// let recipe = presets::tensorwise().on(&H100_WGMMA_FP8)?;
    /// assert_eq!(recipe.fprop.sums.promote, None); // fast accumulation
    /// assert_eq!(recipe.dgrad.sums.promote, Some(128));
    /// assert_eq!(recipe.name, "tensorwise-h100-wgmma-fp8");
    /// # Ok::<(), quarter::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Unit`] or [`Error::Cast`] if it multiplies the operands of no product;
    /// [`Error::Recipe`] for scales or intervals that it cannot have, a product that has a unit, and a
    /// name that grows beyond 64 letters.
    pub fn on(&self, unit: &'static Unit) -> Result<Self, Error> {
        let mut recipe = self.clone();
        let (mut through, mut refused) = (false, None);
        for gemm in [&mut recipe.fprop, &mut recipe.dgrad, &mut recipe.wgrad] {
            match gemm.on(unit) {
                Ok(gemm_on) => (*gemm, through) = (gemm_on, true),
                Err(error @ (Error::Unit { .. } | Error::Cast { .. })) => refused = Some(error),
                Err(error) => return Err(error),
            }
        }
        if let (false, Some(error)) = (through, refused) {
            return Err(error);
        }
        recipe.name = std::format!("{}-{unit}", self.name);
        recipe.validate()?;
        Ok(recipe)
    }

    /// One of the three products.
    #[must_use]
    pub const fn gemm(&self, pass: Pass) -> &GemmRecipe {
        match pass {
            Pass::Fprop => &self.fprop,
            Pass::Dgrad => &self.dgrad,
            Pass::Wgrad => &self.wgrad,
        }
    }

    /// The cast of a role that keeps a history, if one does: `te-delayed` or `msamp`.
    #[must_use]
    pub fn history_cast(&self, role: Role) -> Option<&Cast> {
        self.casts(role).find(|cast| cast.rule.keeps_history())
    }

    /// Whether any operand of any product is quantized.
    #[must_use]
    pub fn has_casts(&self) -> bool {
        Role::ALL.iter().any(|role| self.casts(*role).next().is_some())
    }

    /// The casts of a role, of the two products that it enters.
    fn casts(&self, role: Role) -> impl Iterator<Item = &Cast> {
        Pass::ALL.iter().flat_map(move |pass| {
            let gemm = self.gemm(*pass);
            let operands = pass.operands().into_iter().zip([&gemm.a, &gemm.b]);
            operands.filter(move |((r, _), _)| *r == role).filter_map(|(_, operand)| operand.cast())
        })
    }
}
