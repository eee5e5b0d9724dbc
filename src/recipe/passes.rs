//! The three products of a linear layer under a recipe: operands are cast as it says, and sums are
//! kept as it says.

use super::{GemmRecipe, Operand, Pass, Recipe};
use crate::error::Error;
use crate::gemm::{GemmInput, GemmOptions, GemmOutput, GemmStats, Workspace, gemm_nt_in};
use crate::scale::SourceType;
use crate::tensor::{MatRef, QuantizeOptions, Quantized, quantize, quantize_transposed};
use half::bf16;
use std::vec::Vec;

/// An operand of a product as a recipe casts it, with K last: what a layer may keep for backward.
#[derive(Clone, Debug)]
pub enum Prepared<'a> {
    /// As it was.
    Values(MatRef<'a>),
    /// Rounded to bf16.
    Bf16(Rounded),
    /// Codes and scales.
    Quantized(Quantized),
}

/// A matrix in bf16.
#[derive(Clone, Debug)]
pub struct Rounded {
    values: Vec<bf16>,
    shape: (usize, usize),
    transposed: bool,
}

impl Rounded {
    /// The matrix, with K last.
    ///
    /// # Errors
    /// None: it is of the shape that it was made of.
    pub fn view(&self) -> Result<MatRef<'_>, Error> {
        let matrix = MatRef::new(&self.values, self.shape.0, self.shape.1)?;
        Ok(if self.transposed { matrix.transposed() } else { matrix })
    }
}

impl Prepared<'_> {
    /// It as an operand.
    ///
    /// # Errors
    /// None but what [`Rounded::view`] has.
    pub fn input(&self) -> Result<GemmInput<'_>, Error> {
        Ok(match self {
            Prepared::Values(values) => (*values).into(),
            Prepared::Bf16(rounded) => rounded.view()?.into(),
            Prepared::Quantized(quantized) => quantized.into(),
        })
    }
}

impl Operand {
    /// The tensor as this operand, or its transpose: codes of a transpose are quantized from the
    /// source, not from codes.
    ///
    /// # Errors
    /// As [`quantize`].
    ///
    /// ```
    /// use quarter::recipe::{Operand, Prepared};
    /// use quarter::tensor::{MatRef, QuantizeOptions};
    /// let x = [1.0_f32, -2.0, 3.0, 448.0, 5.0, 6.0];
    /// let operand: Operand = "e4m3:row:torchao".parse()?;
    /// let x_t = operand.prepare(MatRef::new(&x, 2, 3)?, true, &QuantizeOptions::new())?;
    /// assert_eq!(x_t.input()?.shape(), (3, 2));
    /// # Ok::<(), quarter::Error>(())
    /// ```
    pub fn prepare<'a>(
        &self,
        tensor: MatRef<'a>,
        transposed: bool,
        options: &QuantizeOptions<'_>,
    ) -> Result<Prepared<'a>, Error> {
        Ok(match self {
            Self::Cast(cast) if transposed => {
                Prepared::Quantized(quantize_transposed(tensor, cast, options)?)
            }
            Self::Cast(cast) => Prepared::Quantized(quantize(tensor, cast, options)?),
            Self::Bf16 if tensor.source_type() != SourceType::Bf16 => {
                let (threads, isa) = options.means();
                let values = tensor.to_bf16(threads, isa)?;
                Prepared::Bf16(Rounded { values, shape: tensor.shape(), transposed })
            }
            Self::F32 | Self::Bf16 => {
                Prepared::Values(if transposed { tensor.transposed() } else { tensor })
            }
        })
    }
}

impl Recipe {
    /// One product from its tensors, in their own layout: fprop y\[T,O\] of x\[T,I\] and w\[O,I\],
    /// dgrad dx\[T,I\] of dy\[T,O\] and w\[O,I\], wgrad dw\[O,I\] of dy\[T,O\] and x\[T,I\].
    ///
    /// Casts `te-delayed` and `msamp` scale by the tensor's own amax here: give the scales of a
    /// [state](super::RecipeState) to [`prepare`](Operand::prepare). Sums are kept as the recipe
    /// says, whatever `options` say.
    ///
    /// # Errors
    /// As [`Operand::prepare`] and [`gemm_nt`](crate::gemm::gemm_nt).
    ///
    /// ```
    /// use quarter::gemm::{GemmOptions, Workspace};
    /// use quarter::recipe::{Pass, Recipe};
    /// use quarter::tensor::{MatMut, MatRef, QuantizeOptions};
    /// let (x, w, mut y) = ([0.5_f32; 4 * 32], [2.0_f32; 8 * 32], [0.0_f32; 32]);
    /// Recipe::preset("mxfp8")?.product(
    ///     Pass::Fprop,
    ///     [MatRef::new(&x, 4, 32)?, MatRef::new(&w, 8, 32)?],
    ///     MatMut::new(&mut y, 4, 8)?,
    ///     &QuantizeOptions::new(),
    ///     &GemmOptions::new(),
    ///     &mut Workspace::new(),
    /// )?;
    /// assert_eq!(y, [32.0; 32]);
    /// # Ok::<(), quarter::Error>(())
    /// ```
    pub fn product<'a>(
        &self,
        pass: Pass,
        tensors: [MatRef<'a>; 2],
        out: impl Into<GemmOutput<'a>>,
        casts: &QuantizeOptions<'_>,
        options: &GemmOptions<'_>,
        workspace: &mut Workspace,
    ) -> Result<GemmStats, Error> {
        let GemmRecipe { a, b, .. } = self.gemm(pass);
        let [(_, a_turned), (_, b_turned)] = pass.operands();
        let a = a.prepare(tensors[0], a_turned, casts)?;
        let b = b.prepare(tensors[1], b_turned, casts)?;
        pass.multiply(self, &a, &b, out, options, workspace)
    }
}

impl Pass {
    fn multiply<'a>(
        self,
        recipe: &Recipe,
        a: &Prepared<'_>,
        b: &Prepared<'_>,
        out: impl Into<GemmOutput<'a>>,
        options: &GemmOptions<'_>,
        workspace: &mut Workspace,
    ) -> Result<GemmStats, Error> {
        let options = options.sums(recipe.gemm(self).sums);
        let out = out.into();
        gemm_nt_in(workspace, a.input()?, b.input()?, out, &options)
    }
}

macro_rules! passes {
    ($($(#[$doc:meta])* $name:ident $pass:ident($a:ident, $b:ident);)*) => { $(
        $(#[$doc])*
        ///
        /// Operands are [prepared](Operand::prepare) as the recipe casts them; sums are kept as it
        /// says, whatever `options` say.
        ///
        /// # Errors
        /// As [`gemm_nt`](crate::gemm::gemm_nt).
        pub fn $name<'a>(
            recipe: &Recipe,
            $a: &Prepared<'_>,
            $b: &Prepared<'_>,
            out: impl Into<GemmOutput<'a>>,
            options: &GemmOptions<'_>,
            workspace: &mut Workspace,
        ) -> Result<GemmStats, Error> {
            Pass::$pass.multiply(recipe, $a, $b, out, options, workspace)
        }
    )* };
}
passes! {
    /// y\[T,O\] = x\[T,I\] · w\[O,I\].
    fprop Fprop(x, w);
    /// dx\[T,I\] = dy\[T,O\] · wᵀ\[I,O\]: the weight is the prepared transpose.
    dgrad Dgrad(dy, w_t);
    /// dw\[O,I\] = dyᵀ\[O,T\] · xᵀ\[I,T\]: both are prepared transposes.
    wgrad Wgrad(dy_t, x_t);
}
