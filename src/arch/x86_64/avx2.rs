//! AVX2 with FMA (x86-64-v3): Haswell and Zen on.

use super::avx2_tile::tile;
use super::{fence, fetch, stream};
use crate::arch::{Kernels, compile_kernels};

compile_kernels! { fused: true, #[target_feature(enable = "avx2,fma")] }

pub(in crate::arch) static KERNELS: Kernels =
    Kernels { tile, stream, fence, fetch, ..compiled::KERNELS };
