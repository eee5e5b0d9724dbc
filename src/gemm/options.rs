//! What a caller chooses beside the operands.

use super::sums::Accumulation;
use crate::arch::Isa;
pub use crate::arch::tile::Activation;
use crate::tensor::MatRef;

/// How to multiply, and what happens to the sums.
///
/// ```
/// use quarter::gemm::{Activation, GemmOptions, gemm_nt};
/// use quarter::tensor::{MatMut, MatRef};
/// let (a, b) = ([1.0_f32, -2.0], [3.0_f32, 0.5, -1.0, 4.0]);
/// let mut d = [0.0_f32; 2];
/// let options = GemmOptions::new().alpha(2.0).bias(&[1.0, 1.0]).activation(Activation::Relu);
/// let d_out = MatMut::new(&mut d, 1, 2)?;
/// gemm_nt(MatRef::new(&a, 1, 2)?, MatRef::new(&b, 2, 2)?, d_out, &options)?;
/// assert_eq!(d, [5.0, 0.0]); // 2 (3 − 1) + 1; 2 (−1 − 8) + 1
/// # Ok::<(), quarter::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct GemmOptions<'a> {
    pub(super) alpha: Option<f32>,
    pub(super) c: Addend<'a>,
    pub(super) bias: Option<&'a [f32]>,
    pub(super) activation: Activation,
    pub(super) amax: bool,
    pub(super) sums: Accumulation,
    pub(super) threads: usize,
    pub(super) isa: Isa,
    pub(super) blocking: Blocking,
}

/// What beta multiplies.
#[derive(Clone, Copy, Debug)]
pub(super) enum Addend<'a> {
    None,
    Matrix(f32, MatRef<'a>),
    /// What the output holds.
    Output(f32),
}

/// The sizes of blocks; 0 chooses by the shapes and the caches. They change no bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[doc(hidden)]
pub struct Blocking {
    /// Elements of K, at least a segment's.
    pub k: usize,
    /// Rows of a that are packed at a time.
    pub m: usize,
    /// Rows of b that are packed at a time.
    pub n: usize,
}

impl Default for GemmOptions<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> GemmOptions<'a> {
    /// The plain product, sums in f32, all threads of the caller's pool, the best instruction set.
    pub fn new() -> Self {
        Self {
            alpha: None,
            c: Addend::None,
            bias: None,
            activation: Activation::None,
            amax: false,
            sums: Accumulation::default(),
            threads: 0,
            isa: Isa::best(),
            blocking: Blocking::default(),
        }
    }

    /// t = fl(alpha · t).
    pub const fn alpha(self, alpha: f32) -> Self {
        Self { alpha: Some(alpha), ..self }
    }

    /// t = fma(beta, C, t), with C of the output's shape; C is not read where beta is 0.
    pub const fn c(self, beta: f32, c: MatRef<'a>) -> Self {
        Self { c: Addend::Matrix(beta, c), ..self }
    }

    /// The same with what the output holds for C: gradients of micro-batches add up so. Through a
    /// matrix unit a C may be [what its chain begins with](super#through-a-matrix-unit).
    pub const fn accumulate(self, beta: f32) -> Self {
        Self { c: Addend::Output(beta), ..self }
    }

    /// t = fl(t + bias\[n\]).
    pub const fn bias(self, bias: &'a [f32]) -> Self {
        Self { bias: Some(bias), ..self }
    }

    /// After the bias.
    pub const fn activation(self, activation: Activation) -> Self {
        Self { activation, ..self }
    }

    /// Asks for the largest |t| before the conversion to the output's type; NaN is passed over.
    pub const fn amax(self) -> Self {
        Self { amax: true, ..self }
    }

    /// How sums are kept.
    pub const fn sums(self, sums: Accumulation) -> Self {
        Self { sums, ..self }
    }

    /// The most threads of the caller's pool to use; 1 keeps off rayon, 0 asks for all.
    pub const fn threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    /// Another instruction set: the bits are the same.
    pub const fn isa(self, isa: Isa) -> Self {
        Self { isa, ..self }
    }

    /// Other blocks: for tests and measurements; the bits are the same.
    #[doc(hidden)]
    pub const fn blocking(self, blocking: Blocking) -> Self {
        Self { blocking, ..self }
    }
}
