//! NEON (Advanced SIMD): every aarch64 processor has it, so the baseline compiles to it.

use crate::arch::{Kernels, compile_kernels};

compile_kernels! { fused: true, #[target_feature(enable = "neon")] }

pub(in crate::arch) static KERNELS: Kernels = compiled::KERNELS;
