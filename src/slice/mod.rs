//! Whole slices to codes and back, at the speed of memory.
//!
//! ```
//! use quarter::slice::{EncodeOptions, encode_stats, decode, DecodeOptions};
//! use quarter::{FormatId, Policy};
//! let x = [0.5_f32, -1000.0, 1e-9, 3.1];
//! let mut codes = [0_u8; 4];
//! let e4m3 = FormatId::F8E4M3.spec();
//! let options = EncodeOptions::new(Policy::SATURATE).scale(2.0);
//! let stats = encode_stats(e4m3, &x, &mut codes, &options)?;
//! assert_eq!((stats.amax, stats.saturated, stats.flushed, stats.nan), (1000.0, 1, 1, 0));
//! let mut back = [0.0_f32; 4];
//! let options = DecodeOptions::new().scale_inv(0.5);
//! decode(e4m3, &codes, &mut back, &options)?;
//! assert_eq!(back, [0.5, -224.0, 0.0, 3.0]);
//! # Ok::<(), quarter::Error>(())
//! ```
//!
//! [`FormatSliceExt`] offers the same under `half`'s names on slices of number types.
//!
//! **Scaled** conversions are fl(x · scale), one f32 rounding to nearest even, then one rounding
//! to the format: the sign of the code is the sign of x times that of the scale, of NaN too. A
//! scaled f64 is rounded to f32 first. Unscaled conversions round once from the source.
//!
//! **Threads.** Called from a thread of a rayon pool (`pool.install(|| ...)`, `rayon::scope`, a
//! parallel iterator), slices of at least [`PARALLEL`] elements are cut into parts for that pool.
//! Called from any other thread they are converted on it: this crate never builds a pool, rayon's
//! global one included. With one thread asked for, rayon is not touched.

mod buffers;
mod decode;
mod encode;
mod ext;
mod kernel;
mod options;
pub(crate) mod parallel;
mod stats;
mod transcode;

pub use buffers::{CodeSlice, Codes, CodesMut, Values, ValuesMut};
pub use decode::decode;
pub use encode::{encode, encode_stats};
pub use ext::FormatSliceExt;
#[cfg(feature = "std")]
pub use ext::FormatVecExt;
pub use options::{DecodeOptions, EncodeOptions, Random};
pub use parallel::PARALLEL;
pub use stats::QuantStats;
pub use transcode::transcode;

/// Elements handled at a time: a source and a destination that fit the first-level cache.
pub(crate) const PIECE: usize = 4096;

/// Elements handled at a time where nothing goes through a buffer: they fit the second level.
const LONG: usize = 8 * PIECE;

/// Source and destination bytes from which stores go around the cache.
pub(crate) const STREAM: usize = 8 << 20;
