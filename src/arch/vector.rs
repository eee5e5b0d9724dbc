//! The kernels of what networks need besides products: reductions, norms, activations, softmax,
//! loss, update; and how far one slice is from another. The list stands once; each instruction set
//! compiles it.
//!
//! **Sums** are what [`generic::reduce`](super::generic::reduce) defines. **NaN**: results are the
//! quiet one without a sign, but for GELU, which keeps that of its argument.

use super::Kernels;
use half::bf16;
use std::vec;
use std::vec::Vec;

/// The mean of a row, and one over its standard deviation.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RowMoments {
    /// Σ x / n.
    pub mean: f32,
    /// 1 / √(Σ (x − mean)² / n + eps).
    pub rstd: f32,
}

/// The numbers of one AdamW update.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AdamWStep {
    /// What gradients are multiplied by.
    pub grad_scale: f32,
    pub beta1: f32,
    pub beta2: f32,
    pub one_minus_beta1: f32,
    pub one_minus_beta2: f32,
    /// 1 / (1 − β₁^t).
    pub m_correction: f32,
    /// 1 / (1 − β₂^t).
    pub v_correction: f32,
    pub eps: f32,
    pub lr: f32,
    /// lr · weight decay.
    pub decay: f32,
}

/// Running sums of a chunk of [`ErrorLanes`].
pub(crate) const ERROR_LANES: usize = 8;

/// What errors are measured by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ErrorRule {
    /// What |y| is multiplied by before its exponent is taken: 1 / `scale_inv`, rounded such that
    /// powers of two times that scale do not come out below themselves.
    pub units: f64,
    /// The smallest normal number of the format.
    pub low: f64,
    /// The format's largest power of two.
    pub high: f64,
    /// 2^(man_bits − 1) / `scale_inv`.
    pub steps: f64,
    /// The magnitude at which a value is saturated.
    pub limit: f64,
    /// The magnitude below which a value is subnormal.
    pub min_normal: f64,
}

/// Figures of errors by lane, element i of a chunk in lane i mod 8.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
pub(crate) struct ErrorLanes {
    pub error: [f64; ERROR_LANES],
    pub relative: [f64; ERROR_LANES],
    pub ulps: [f64; ERROR_LANES],
    pub error_squares: [f64; ERROR_LANES],
    pub actual_squares: [f64; ERROR_LANES],
    pub expected_squares: [f64; ERROR_LANES],
    pub products: [f64; ERROR_LANES],
    pub max_error: [f64; ERROR_LANES],
    pub max_relative: [f64; ERROR_LANES],
    pub max_ulps: [f64; ERROR_LANES],
    pub odd: [u64; ERROR_LANES],
    /// y is 0; odd pairs count here too.
    pub zeros: [u64; ERROR_LANES],
    pub flushed: [u64; ERROR_LANES],
    pub from_zero: [u64; ERROR_LANES],
    pub saturated: [u64; ERROR_LANES],
    pub subnormal: [u64; ERROR_LANES],
}

/// Backward errors by lane: squares of errors and of magnitudes, the largest quotients.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BackwardLanes {
    pub errors: [f64; ERROR_LANES],
    pub magnitudes: [f64; ERROR_LANES],
    pub max: [f64; ERROR_LANES],
    /// Triples that are in none of these: of something not finite, or whose squares f64 does not hold.
    pub odd: [u64; ERROR_LANES],
}

/// Exponent fields of f64, of which the last is that of NaN and infinities.
pub(crate) const ERROR_FIELDS: usize = 2048;

/// The errors of pairs whose expected value has one exponent field, element i of a chunk in lane
/// i mod 8.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ErrorBin {
    pub squares: [f64; ERROR_LANES],
    pub max: [f64; ERROR_LANES],
    pub counts: [u32; ERROR_LANES],
}

/// One for each exponent field of f64. Odd pairs are in the last.
#[derive(Clone, Debug)]
pub(crate) struct ErrorBins {
    /// [`ERROR_FIELDS`] of them.
    pub bins: Vec<ErrorBin>,
    /// No field that occurs is below, but 0.
    pub low: i64,
    /// Nor above, but that of odd pairs.
    pub high: i64,
}

impl ErrorBins {
    pub fn new() -> Self {
        Self { bins: vec![ErrorBin::default(); ERROR_FIELDS], low: 1023, high: 1023 }
    }
}

/// Hands the list of kernels to a macro of this module, after `args`: name, module of `generic`,
/// arguments.
macro_rules! each_vector_kernel {
    ($callback:ident $args:tt) => {
        $crate::arch::vector::$callback! { $args
            /// `sums[i]` = Σ x over chunk i.
            sum_chunks reduce(x: &[f32], sums: &mut [f32]);
            /// `sums[i]` = Σ x·y over chunk i.
            dot_chunks reduce(x: &[f32], y: &[f32], sums: &mut [f32]);
            /// `sums[c]` += Σ over rows of column `first + c`.
            column_sums reduce(x: &[f32], cols: usize, first: usize, sums: &mut [f32]);
            /// `sums[c]` += Σ over rows of dy · (x − mean)·rstd at column `first + c`.
            gain_sums norm(dy: &[f32], x: &[f32], moments: &[RowMoments], cols: usize, first: usize, sums: &mut [f32]);
            /// Each row to y = (x − mean)·rstd·gain + bias, and its moments.
            layer_norm norm(x: &[f32], gain: &[f32], bias: Option<&[f32]>, eps: f32, y: &mut [f32], moments: &mut [RowMoments]);
            /// dx += of each row.
            layer_norm_backward norm(dy: &[f32], x: &[f32], gain: &[f32], moments: &[RowMoments], dx: &mut [f32]);
            /// y = gelu(x).
            gelu pointwise(x: &[f32], y: &mut [f32]);
            /// The same of bf16.
            gelu_bf16 pointwise(x: &[bf16], y: &mut [f32]);
            /// dx = dy · gelu′(x).
            gelu_backward pointwise(x: &[f32], dy: &[f32], dx: &mut [f32]);
            /// The same of bf16.
            gelu_bf16_backward pointwise(x: &[bf16], dy: &[f32], dx: &mut [f32]);
            /// y += x.
            add pointwise(x: &[f32], y: &mut [f32]);
            /// One update of weights and of their moments m and v.
            adamw pointwise(h: &AdamWStep, weights: &mut [f32], grads: &[f32], m: &mut [f32], v: &mut [f32]);
            /// Each row to exp(scale·x − max) / Σ; `causal` with the index of the first row.
            softmax softmax(x: &mut [f32], cols: usize, scale: f32, causal: bool, first: usize);
            /// Each row of `dp` to scale · p · (dp − Σ p·dp).
            softmax_backward softmax(p: &[f32], dp: &mut [f32], cols: usize, scale: f32, causal: bool, first: usize);
            /// The loss of each row, and its gradient if it is wanted. Targets are below `vocab`.
            cross_entropy softmax(logits: &[f32], vocab: usize, targets: &[u32], gradient: Option<&mut [f32]>, weight: f32, losses: &mut [f32]);
            /// Adds how far x is from y to the lanes; x\[0\] is in lane `first` mod 8.
            errors errors(x: &[f32], y: &[f32], first: usize, rule: &ErrorRule, lanes: &mut ErrorLanes);
            /// The same of f64.
            errors_f64 errors(x: &[f64], y: &[f64], first: usize, rule: &ErrorRule, lanes: &mut ErrorLanes);
            /// Adds how far x is from y to the bins of y's exponents.
            error_bins errors(x: &[f32], y: &[f32], first: usize, bins: &mut ErrorBins);
            /// The same of f64.
            error_bins_f64 errors(x: &[f64], y: &[f64], first: usize, bins: &mut ErrorBins);
            /// Adds how far x is from y, beside magnitudes m.
            backward errors(x: &[f64], y: &[f64], m: &[f64], first: usize, lanes: &mut BackwardLanes);
        }
    };
}
pub(crate) use each_vector_kernel;

macro_rules! vector_table {
    ([] $($(#[$doc:meta])* $name:ident $module:ident($($arg:ident: $type:ty),*);)*) => {
        /// The vector kernels of one instruction set, a part of its table.
        #[derive(Clone, Copy)]
        pub(crate) struct Vectors {
            $(pub(in crate::arch) $name: unsafe fn($($type),*),)*
        }

        #[allow(clippy::too_many_arguments)]
        impl Kernels {
            $(
                $(#[$doc])*
                #[inline]
                pub fn $name(&self, $($arg: $type),*) {
                    // SAFETY: a table is reached only through an `Isa`, which has checked this
                    // processor for the table's features.
                    unsafe { (self.vectors.$name)($($arg),*) }
                }
            )*
        }
    };
}
use vector_table;

/// Compiles the kernels with a feature attribute into `vectors::VECTORS`.
macro_rules! compile_vectors {
    ([$(#[$feature:meta])*]
        $($(#[$doc:meta])* $name:ident $module:ident($($arg:ident: $type:ty),*);)*
    ) => {
        mod vectors {
            use $crate::arch::generic::{errors, norm, pointwise, reduce, softmax};
            use $crate::arch::vector::{
                AdamWStep, BackwardLanes, ErrorBins, ErrorLanes, ErrorRule, RowMoments, Vectors,
            };
            use half::bf16;

            pub(in crate::arch) const VECTORS: Vectors = Vectors { $($name),* };

            $crate::arch::vector::compile_vectors! { @functions [$(#[$feature])*]
                $($name $module($($arg: $type),*);)*
            }
        }
    };
    (@functions $features:tt $($name:ident $module:ident $args:tt;)*) => {
        $($crate::arch::vector::compile_vectors! { @function $features $name $module $args })*
    };
    (@function [$(#[$feature:meta])*] $name:ident $module:ident($($arg:ident: $type:ty),*)) => {
        $(#[$feature])*
        #[allow(clippy::too_many_arguments)]
        fn $name($($arg: $type),*) {
            $module::$name($($arg),*)
        }
    };
}
pub(crate) use compile_vectors;

each_vector_kernel! { vector_table [] }
