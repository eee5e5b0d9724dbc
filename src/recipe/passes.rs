//! The three products of a linear layer under a recipe: operands are cast as it says, and sums are
//! kept as it says.

use super::{GemmRecipe, Operand, Pass, Recipe};
use crate::arch::Isa;
use crate::error::Error;
use crate::gemm::{GemmInput, GemmOptions, GemmOutput, GemmStats, Workspace, gemm_nt_in};
use crate::scale::SourceType;
use crate::tensor::{
    MatRef, QuantizeOptions, Quantized, quantize, quantize_both, quantize_transposed,
};
use half::bf16;
use std::sync::Arc;
use std::vec::Vec;

/// An operand of a product as a recipe casts it, with K last: what a layer may keep for backward.
#[derive(Clone, Debug)]
pub enum Prepared<'a> {
    /// As it was.
    Values(MatRef<'a>),
    /// In memory of its own: rounded to bf16, or [kept](Self::keep).
    Kept(Kept),
    /// Codes and scales.
    Quantized(Quantized),
}

/// A matrix of f32 or bf16 in memory of its own, which its transpose shares.
#[derive(Clone, Debug)]
pub struct Kept {
    values: Held,
    /// Of the memory.
    shape: (usize, usize),
    transposed: bool,
}

#[derive(Clone, Debug)]
enum Held {
    F32(Arc<Vec<f32>>),
    Bf16(Arc<Vec<bf16>>),
}

impl Kept {
    /// Rounds a matrix to bf16.
    fn round(tensor: MatRef<'_>, (threads, isa): (usize, Isa)) -> Result<Self, Error> {
        let values = Held::Bf16(Arc::new(tensor.to_bf16(threads, isa)?));
        Ok(Self { values, shape: tensor.shape(), transposed: false })
    }

    /// The matrix, with K last.
    ///
    /// # Errors
    /// None: it is of the shape that it was made of.
    pub fn view(&self) -> Result<MatRef<'_>, Error> {
        let (rows, cols) = self.shape;
        let matrix = match &self.values {
            Held::F32(values) => MatRef::new(values.as_slice(), rows, cols),
            Held::Bf16(values) => MatRef::new(values.as_slice(), rows, cols),
        }?;
        Ok(if self.transposed { matrix.transposed() } else { matrix })
    }

    /// The transpose: nothing is copied.
    #[must_use]
    pub fn transposed(&self) -> Self {
        Self { transposed: !self.transposed, ..self.clone() }
    }
}

impl Prepared<'_> {
    /// It as an operand.
    ///
    /// # Errors
    /// None but what [`Kept::view`] has.
    pub fn input(&self) -> Result<GemmInput<'_>, Error> {
        Ok(match self {
            Prepared::Values(values) => (*values).into(),
            Prepared::Kept(kept) => kept.view()?.into(),
            Prepared::Quantized(quantized) => quantized.into(),
        })
    }

    /// It without its borrow: values are copied, bf16 as they are, others as f32.
    ///
    /// # Errors
    /// None that its shape allows.
    pub fn keep(self) -> Result<Prepared<'static>, Error> {
        Ok(match self {
            Prepared::Values(values) => {
                // Copied in the order of memory.
                let transposed = !values.is_contiguous() && values.transposed().is_contiguous();
                let flat = if transposed { values.transposed() } else { values };
                let held = match flat.source_type() {
                    SourceType::Bf16 => Held::Bf16(Arc::new(flat.to_bf16(1, Isa::best())?)),
                    SourceType::F32 | SourceType::F16 => {
                        Held::F32(Arc::new(flat.f32s().into_owned()))
                    }
                };
                Prepared::Kept(Kept { values: held, shape: flat.shape(), transposed })
            }
            Prepared::Kept(kept) => Prepared::Kept(kept),
            Prepared::Quantized(quantized) => Prepared::Quantized(quantized),
        })
    }

    /// The bytes of its codes and scales or of its values.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Prepared::Values(values) => {
                let (rows, cols) = values.shape();
                rows * cols * values.element_bytes()
            }
            Prepared::Kept(Kept { values: Held::F32(values), .. }) => size_of_val(&values[..]),
            Prepared::Kept(Kept { values: Held::Bf16(values), .. }) => size_of_val(&values[..]),
            Prepared::Quantized(quantized) => quantized.codes().len() + quantized.scales().bytes(),
        }
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
                let kept = Kept::round(tensor, options.means())?;
                Prepared::Kept(if transposed { kept.transposed() } else { kept })
            }
            Self::F32 | Self::Bf16 => {
                Prepared::Values(if transposed { tensor.transposed() } else { tensor })
            }
        })
    }
}

/// A tensor as the operand of one product and its transpose as that of another, in one pass where
/// both are cast: what a layer needs of x, w and dy.
///
/// Statistics, if asked for, are of each that is quantized;
/// [`QuantizeOptions::scales_t`] are those of the transpose.
///
/// # Errors
/// As [`Operand::prepare`].
///
/// ```
/// use quarter::recipe::{Operand, prepare_both};
/// use quarter::tensor::{MatRef, QuantizeOptions};
/// let x = [1.0_f32, -2.0, 3.0, 448.0, 5.0, 6.0];
/// let [codes, bf16]: [Operand; 2] = ["e4m3:row:torchao".parse()?, "bf16".parse()?];
/// let (x, x_t) =
///     prepare_both(MatRef::new(&x, 2, 3)?, [&codes, &bf16], &QuantizeOptions::new())?;
/// assert_eq!((x.input()?.shape(), x_t.input()?.shape()), ((2, 3), (3, 2)));
/// assert_eq!((x.bytes(), x_t.bytes()), (6 + 2 * 8, 6 * 2));
/// # Ok::<(), quarter::Error>(())
/// ```
pub fn prepare_both<'a>(
    tensor: MatRef<'a>,
    [first, transposed]: [&Operand; 2],
    options: &QuantizeOptions<'_>,
) -> Result<(Prepared<'a>, Prepared<'a>), Error> {
    if let (Operand::Cast(cast), Operand::Cast(cast_t)) = (first, transposed) {
        let (first, second) = quantize_both(tensor, cast, cast_t, options)?;
        return Ok((Prepared::Quantized(first), Prepared::Quantized(second)));
    }
    let own = first.prepare(tensor, false, options)?;
    let turned = match (&own, transposed) {
        (Prepared::Kept(kept), Operand::Bf16) => Prepared::Kept(kept.transposed()),
        _ => transposed.prepare(tensor, true, &options.of_transpose())?,
    };
    Ok((own, turned))
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
