//! Checkpoints in safetensors: read, converted and written a piece at a time.
//!
//! ```text
//!  file, index.json, directory ──source──► tensors ──layout──► codes and scales
//!                                              │ plan
//!                                              ▼
//!  reader thread ──► pool: dequantize, quantize ──► writer thread ──► verify ──► rename
//! ```
//!
//! **Layouts.** A tensor of codes is known by its element type (F8_E4M3, F8_E5M2, their FNUZ, F6_*,
//! F4, or U8) and the scale beside it. The value of an element is code × scale_inv: all of these
//! scales multiply codes, whatever their names say, but for one.
//!
//! | codes | scale | whose |
//! |---|---|---|
//! | `codes` | `scale_inv` F32, F8_E8M0, or F8_E4M3 with `global_scale_inv` | `quarter quantize` of an array |
//! | `X.weight` F8_E4M3 \[M, K\] | `X.weight_scale_inv` F32 \[⌈M/128⌉, ⌈K/128⌉\] | DeepSeek-V3, Qwen; blocks of `weight_block_size` |
//! | `X.weight` F8 | `X.weight_scale` F32, BF16, F16: \[\], \[1\], \[M\], \[M, 1\], or blocks | compressed-tensors, torchao |
//! | `X.weight` F8 | `X.weight_scale` F8_E8M0 or U8 \[M, K/32\] | MX |
//! | `X.weight` or `X.weight_packed` F4 \[M, K\] or U8 \[M, K/2\] | `X.weight_scale` F8_E8M0 or U8 \[M, K/32\] | MXFP4 |
//! | the same | `X.weight_scale` F8_E4M3 \[M, K/16\] and `X.weight_scale_2` F32, which multiplies | NVFP4 of ModelOpt |
//! | the same | the same and `X.weight_global_scale` F32, which divides | NVFP4 of compressed-tensors |
//! | `X.weight` | `X.scale`, `X.scale_weight` | DeepSeek's converter, ComfyUI |
//! | `X:qdata`, `X._weight_qdata` | `X:scale`, `X._weight_scale` | torchao |
//! | `X` with matrices in its last two dimensions | `X_scale_inv`, `X_scale` | fused experts |
//!
//! Written: 128x128 casts to FP8 with F32 scales as DeepSeek-V3's; all other casts with `X.weight_scale` as
//! compressed-tensors has it (\[1\], \[M, 1\], \[1, K\] or the grid of blocks), NVFP4 with `X.weight_scale_2`. The file's metadata has
//! the `cast`, by which they are read again, the `source` if all values were of one type, and a `format`: the
//! input's (engines look for `pt`), or else that of the codes.
//!
//! To add a layout: a row of `NAMES` in `layout.rs`, and here.

pub mod buffer;
pub mod config;
pub mod convert;
pub mod decode;
pub mod encode;
pub mod header;
pub mod index;
pub mod layout;
pub mod patterns;
pub mod pipeline;
pub mod source;
pub mod to_npy;
