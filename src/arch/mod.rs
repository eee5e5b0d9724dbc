//! The kernels behind the slices, and the only unsafe code of the crate.
//!
//! A kernel is written once, in safe Rust (`generic/`), and compiled again for each instruction
//! set by `compile_kernels!`; only where that pays (byte permutes, multiply-adds of halves,
//! non-temporal stores) does an instruction set's file replace it by one with intrinsics. All of
//! them give the bits of [`Unpacked::encode`](crate::Unpacked::encode).
//!
//! To add an instruction set: one file with `compile_kernels!`, and one row of `ISAS`, best
//! first. Tests, benches and the override iterate [`Isa::available`].
//!
//! The kernels assume the floating-point environment that Rust does: no flushing of subnormals.
//!
//! This module takes slices of equal length and knows no errors; the slice module checks.

#![allow(unsafe_code)]

pub(crate) mod cast;
pub(crate) mod decoder;
pub(crate) mod encoder;
mod generic;
mod scalar;
#[cfg(test)]
mod tests;
#[cfg_attr(not(feature = "std"), allow(dead_code))] // products need it
pub(crate) mod tile;
pub mod units;
#[cfg(feature = "std")]
pub mod vector;

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

use crate::error::{Error, Name};
use crate::format::RandomStream;
use core::fmt;
use decoder::Decoder;
use encoder::Encoder;
use tile::{Finish, Fold, Join, LANES, Line, Sums, Thin, Tile, WideSums};
use units::{Accumulators, Chain};

#[cfg_attr(not(feature = "std"), allow(unused_imports))] // bounds need it
pub(crate) use generic::math::GELU_ULPS;

/// GELU, as [`Activation::Gelu`](tile::Activation::Gelu) is computed everywhere.
#[cfg_attr(not(feature = "std"), allow(dead_code))]
pub(crate) fn gelu(t: f32) -> f32 {
    generic::math::gelu(t)
}

/// Where stochastic rounding takes its words from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Words<'a> {
    None,
    /// The stream, and the index of the first element.
    Stream(RandomStream, u64),
    /// One word for each element.
    Given(&'a [u32]),
}

/// What an encoding kernel notices at little cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Screen {
    /// The largest |x| as f32 bits, NaN above Inf.
    pub peak: u32,
    /// How many |x| are above [`Encoder::beyond`]: those that saturate, and NaN.
    pub beyond: u32,
    /// How many non-zero |x| are at most [`Encoder::small`]: those that nearest even flushes to
    /// zero, and that other roundings may flush.
    pub small: u32,
}

impl Screen {
    /// Of no values.
    pub const EMPTY: Self = Self { peak: 0, beyond: 0, small: 0 };

    /// The counts, where no |x| is NaN and the thresholds are exact.
    pub const fn counts(self) -> Counts {
        Counts { peak: self.peak, saturated: self.beyond, flushed: self.small, nan: 0 }
    }

    /// Of two slices as one.
    #[inline]
    pub fn merge(self, other: Self) -> Self {
        Self {
            peak: self.peak.max(other.peak),
            beyond: self.beyond + other.beyond,
            small: self.small + other.small,
        }
    }
}

/// Exact statistics of up to 2^32 − 1 values.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// The largest |x| that is not NaN, as f32 bits.
    pub peak: u32,
    pub saturated: u32,
    pub flushed: u32,
    pub nan: u32,
}

macro_rules! kernel_table {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty),*) $(-> $ret:ty)?;)*) => {
        /// The kernels of one instruction set.
        ///
        /// Its functions are unsafe to call on a processor without that instruction set, so the
        /// fields are private and a table is reached through [`Isa`] alone.
        #[derive(Clone, Copy)]
        #[cfg_attr(not(feature = "std"), allow(dead_code))] // those of tensors, which need it
        pub(crate) struct Kernels {
            /// Whether the kernels with a `past` argument honour it: stores go around the cache
            /// then. Without, go through a buffer and `stream`.
            pub direct: bool,
            /// Whether it multiplies pairs of bf16.
            pub pairs: bool,
            /// Rows of a left panel that a tile takes without waste.
            pub rows: usize,
            /// What networks need besides products.
            #[cfg(feature = "std")]
            vectors: vector::Vectors,
            $($name: unsafe fn($($type),*) $(-> $ret)?,)*
        }

        #[cfg_attr(not(feature = "std"), allow(dead_code))]
        impl Kernels {
            $(
                $(#[$doc])*
                #[inline]
                pub fn $name(&self, $($arg: $type),*) $(-> $ret)? {
                    // SAFETY: a table is reached only through an `Isa`, which is `Isa::SCALAR`, that
                    // needs nothing, or made by `Isa::available`, which has checked this processor
                    // for the table's features.
                    unsafe { (self.$name)($($arg),*) }
                }
            )*
        }
    };
}

kernel_table! {
    /// f32 → 8-bit codes. `dst` is as long as `src`; the method is not `Reference`.
    encode_u8(e: &Encoder, words: Words<'_>, src: &[f32], dst: &mut [u8], screen: bool, past: bool) -> Screen;
    /// bf16 → 8-bit codes, to nearest even: the method is `Nearest`.
    encode_bf16(e: &Encoder, src: &[u16], dst: &mut [u8], screen: bool, past: bool) -> Screen;
    /// f32 → 16-bit codes.
    encode_u16(e: &Encoder, words: Words<'_>, src: &[f32], dst: &mut [u16], screen: bool, past: bool) -> Screen;
    /// Statistics of values and their codes.
    count_u8(e: &Encoder, src: &[f32], codes: &[u8]) -> Counts;
    /// Statistics of values and their codes.
    count_u16(e: &Encoder, src: &[f32], codes: &[u16]) -> Counts;
    /// Statistics of values, the same ones scaled, and their codes; `limits` are the largest finite
    /// number as f32 bits and the mask of what is zero in a zero's code.
    count_scaled(limits: (u32, u32), src: &[f32], scaled: &[f32], codes: &[u8]) -> Counts;
    /// 8-bit codes → f32, times a scale.
    decode_f32(d: &Decoder, scale: f32, src: &[u8], dst: &mut [f32], past: bool);
    /// 8-bit codes → bf16.
    decode_bf16(d: &Decoder, src: &[u8], dst: &mut [u16], past: bool);
    /// f64 → f32, rounded to odd.
    f64_to_odd(src: &[f64], dst: &mut [f32]);
    /// f64 → f32, nearest even.
    f64_to_nearest(src: &[f64], dst: &mut [f32]);
    /// f32 → f64.
    f32_to_f64(src: &[f32], dst: &mut [f64]);
    /// bf16 → f32.
    bf16_to_f32(src: &[u16], dst: &mut [f32], past: bool);
    /// f16 → f32.
    f16_to_f32(src: &[u16], dst: &mut [f32]);
    /// Codes of 4 or 6 bits, packed into as many bytes as they take.
    pack(bits: u32, codes: &[u8], packed: &mut [u8]);
    /// The reverse.
    unpack(bits: u32, packed: &[u8], codes: &mut [u8]);
    /// The largest |x|, as f32 bits. `drop_nan` ignores NaN, else the result is above Inf.
    amax(drop_nan: bool, src: &[f32]) -> u32;
    /// As `amax`, of bf16.
    amax_bf16(drop_nan: bool, src: &[u16]) -> u32;
    /// `peaks[g]` becomes the largest of itself and of |x| in group g of `src`; the last group may
    /// be short.
    amax_groups(drop_nan: bool, group: usize, src: &[f32], peaks: &mut [u32]);
    /// `peaks[i]` becomes the larger of itself and of |x| at i.
    amax_columns(drop_nan: bool, src: &[f32], peaks: &mut [u32]);
    /// Each value times the factor of its group, or divided by it. Any factor that is not
    /// negative; the result has the sign of the value, also if it is NaN.
    scale_groups(divide: bool, group: usize, factors: &[f32], src: &[f32], dst: &mut [f32]);
    /// Each value times the factor of its group, in place; the sign as in `scale_groups`.
    unscale_groups(group: usize, factors: &[f32], values: &mut [f32]);
    /// `scale_groups`, then `encode_u8`, where the method is `Nearest` and the scale of `e` is 1.
    /// Fast for groups of a multiple of 16. In a format without NaN, the caller writes the codes of
    /// what scales to NaN.
    encode_groups(e: &Encoder, group: usize, factors: &[f32], src: &[f32], dst: &mut [u8], past: bool);
    /// `dst[c · rows + r] = src[r · cols + c]`.
    transpose_u8(rows: usize, cols: usize, src: &[u8], dst: &mut [u8]);
    /// Lane r of line i becomes the i-th 32-bit word of row r, zeros beyond its end; `swap`
    /// exchanges the halves of each. Begins to fetch `ahead` into the second-level cache.
    lanes(rows: &[&[u8]; LANES], swap: bool, ahead: &[u8], out: &mut [Line]);
    /// Lane r of line i becomes word `i · stride + r`, for r below `rows`; zeros in the others.
    columns(rows: usize, stride: usize, src: &[u32], out: &mut [Line]);
    /// The same of pairs of half-words: row 2i in the high half, row 2i + 1 in the low one, zeros
    /// from row `k` on.
    column_pairs(rows: usize, stride: usize, k: usize, src: &[u16], out: &mut [Line]);
    /// Quads of codes → two lines of pairs each, or four lines of f32, times the powers of two of
    /// `fold`; with those, and as pairs, none may be subnormal.
    expand(d: &Decoder, fold: Option<Fold<'_>>, pairs: bool, quads: &[Line], out: &mut [Line]);
    /// Pairs of bf16 → f32, two lines each.
    split(pairs: &[Line], out: &mut [Line]);
    /// The smallest and largest magnitude that is not zero, Inf or NaN, as bf16 bits; (0xffff, 0)
    /// if there is none. Of `lines` runs of `n` elements, each `distance` from the one before.
    range_bf16(lines: usize, distance: usize, n: usize, src: &[u16]) -> (u16, u16);
    /// Adds the products of a tile's panels to its sums.
    tile(t: &Tile<'_>, sums: &mut Sums);
    /// Continues the chains `p` of a few rows, and joins those that end.
    thin(t: &Thin<'_>, p: &mut WideSums, sums: &mut WideSums);
    /// Scales, alpha, C, bias and activation, in place, of the first `rows` rows of a tile.
    finish(f: &Finish<'_>, rows: usize, sums: &mut Sums);
    /// Copies the first `rows` rows of a tile to places at a distance of at least 32.
    store(rows: usize, stride: usize, sums: &Sums, out: &mut [u32]);
    /// The same, rounded to bf16.
    store_bf16(rows: usize, stride: usize, sums: &Sums, out: &mut [u16]);
    /// Copies bytes past the cache, where the instruction set can. `dst` is as long as `src`.
    stream(src: &[u8], dst: &mut [u8]);
    /// Makes what was streamed visible to other threads; call it before they can look.
    fence();
    /// Begins to fetch bytes into the cache; nothing where the instruction set cannot.
    fetch(bytes: &[u8]);
    /// Sums of a segment, of rows times sixteen columns, join those before them.
    join(rule: Join, rows: usize, scales: &[Line; 2], p: &[Line; LANES], sums: &mut [Line; LANES]);
    /// The exponents of f32 elements, at least `least`.
    exponents(least: i32, values: &[Line], out: &mut [Line]);
    /// Continues the chains of a matrix unit, of each row with sixteen columns.
    chain(t: &Chain<'_>, c: &mut Accumulators);
    /// Keeps the units for f32 busy: the operations that it did.
    peak_fma(rounds: usize) -> u64;
    /// The same of the unit for pairs of bf16; 0 if there is none.
    peak_pairs(rounds: usize) -> u64;
}

/// Compiles the generic kernels with a feature attribute into the table `compiled::KERNELS`, of
/// which an instruction set's file replaces those where intrinsics pay.
macro_rules! compile_kernels {
    (fused: $fused:expr, $(#[$feature:meta])*) => {
        pub(in crate::arch) mod compiled {
            /// Whether the instruction set has a fused multiply-add.
            const FUSED: bool = $fused;


            use $crate::arch::decoder::Decoder;
            use $crate::arch::encoder::Encoder;
            use $crate::arch::generic::{amax, count, decode, encode, narrow, panel, peaks, scale, store, tile, transpose, units};
            use $crate::arch::units::{Accumulators, Chain};
            use $crate::arch::tile::{Finish, Fold, Join, LANES, Line, Sums, Thin, Tile, WideSums};
            use $crate::arch::{Counts, Screen, Words};
            use $crate::format::packed;

            #[cfg(feature = "std")]
            $crate::arch::vector::each_vector_kernel! { compile_vectors [$(#[$feature])*] }

            $crate::arch::compile_kernels! { @functions [$(#[$feature])*]
                encode_u8 encode::encode(e: &Encoder, w: Words<'_>, s: &[f32], d: &mut [u8], screen: bool, past: bool) -> Screen;
                encode_bf16 encode::encode_bf16(e: &Encoder, s: &[u16], d: &mut [u8], screen: bool, past: bool) -> Screen;
                encode_u16 encode::encode(e: &Encoder, w: Words<'_>, s: &[f32], d: &mut [u16], screen: bool, past: bool) -> Screen;
                count_u8 count::count(e: &Encoder, s: &[f32], c: &[u8]) -> Counts;
                count_u16 count::count(e: &Encoder, s: &[f32], c: &[u16]) -> Counts;
                count_scaled count::count_scaled(limits: (u32, u32), s: &[f32], y: &[f32], c: &[u8]) -> Counts;
                decode_f32 decode::to_f32(decoder: &Decoder, scale: f32, s: &[u8], d: &mut [f32], past: bool) -> ();
                decode_bf16 decode::to_bf16(decoder: &Decoder, s: &[u8], d: &mut [u16], past: bool) -> ();
                f64_to_odd narrow::f64_to_odd(s: &[f64], d: &mut [f32]) -> ();
                f64_to_nearest narrow::f64_to_nearest(s: &[f64], d: &mut [f32]) -> ();
                f32_to_f64 narrow::f32_to_f64(s: &[f32], d: &mut [f64]) -> ();
                bf16_to_f32 narrow::bf16_to_f32(s: &[u16], d: &mut [f32], past: bool) -> ();
                f16_to_f32 narrow::f16_to_f32(s: &[u16], d: &mut [f32]) -> ();
                pack packed::pack(bits: u32, s: &[u8], d: &mut [u8]) -> ();
                unpack packed::unpack(bits: u32, s: &[u8], d: &mut [u8]) -> ();
                amax amax::amax(drop_nan: bool, s: &[f32]) -> u32;
                amax_bf16 amax::amax_bf16(drop_nan: bool, s: &[u16]) -> u32;
                amax_groups amax::amax_groups(drop_nan: bool, group: usize, s: &[f32], peaks: &mut [u32]) -> ();
                amax_columns amax::amax_columns(drop_nan: bool, s: &[f32], peaks: &mut [u32]) -> ();
                scale_groups scale::scale_groups(divide: bool, group: usize, factors: &[f32], s: &[f32], d: &mut [f32]) -> ();
                unscale_groups scale::unscale_groups(group: usize, factors: &[f32], values: &mut [f32]) -> ();
                encode_groups scale::encode_groups(e: &Encoder, group: usize, factors: &[f32], s: &[f32], d: &mut [u8], past: bool) -> ();
                join tile::join_sums<FUSED>(rule: Join, rows: usize, scales: &[Line; 2], p: &[Line; LANES], sums: &mut [Line; LANES]) -> ();
                exponents units::exponents(least: i32, values: &[Line], out: &mut [Line]) -> ();
                chain units::chain(t: &Chain<'_>, c: &mut Accumulators) -> ();
                transpose_u8 transpose::transpose(rows: usize, cols: usize, s: &[u8], d: &mut [u8]) -> ();
                lanes panel::lanes(rows: &[&[u8]; LANES], swap: bool, ahead: &[u8], out: &mut [Line]) -> ();
                columns panel::columns(rows: usize, stride: usize, s: &[u32], out: &mut [Line]) -> ();
                column_pairs panel::column_pairs(rows: usize, stride: usize, k: usize, s: &[u16], out: &mut [Line]) -> ();
                expand panel::expand(d: &Decoder, fold: Option<Fold<'_>>, pairs: bool, quads: &[Line], out: &mut [Line]) -> ();
                split panel::split(pairs: &[Line], out: &mut [Line]) -> ();
                range_bf16 panel::range_bf16(lines: usize, distance: usize, n: usize, s: &[u16]) -> (u16, u16);
                tile tile::tile<FUSED>(t: &Tile<'_>, sums: &mut Sums) -> ();
                thin tile::thin<FUSED>(t: &Thin<'_>, p: &mut WideSums, sums: &mut WideSums) -> ();
                finish tile::finish<FUSED>(f: &Finish<'_>, rows: usize, sums: &mut Sums) -> ();
                store tile::store(rows: usize, stride: usize, sums: &Sums, out: &mut [u32]) -> ();
                store_bf16 tile::store_bf16(rows: usize, stride: usize, sums: &Sums, out: &mut [u16]) -> ();
                stream store::copy(s: &[u8], d: &mut [u8]) -> ();
                fence store::no_fence() -> ();
                fetch store::no_fetch(bytes: &[u8]) -> ();
                peak_fma peaks::peak_fma<FUSED>(rounds: usize) -> u64;
                peak_pairs peaks::peak_pairs(rounds: usize) -> u64;
            }
        }
    };
    (@functions $features:tt
        $($name:ident $module:ident::$generic:ident $(<$fused:ident>)? ($($arg:ident: $type:ty),*) -> $ret:ty;)*
    ) => {
        pub(in crate::arch) const KERNELS: $crate::arch::Kernels =
            $crate::arch::Kernels {
                direct: false,
                pairs: false,
                rows: 12,
                #[cfg(feature = "std")]
                vectors: vectors::VECTORS,
                $($name),*
            };

        $($crate::arch::compile_kernels! {
            @function $features $name $module::$generic $(<$fused>)? ($($arg: $type),*) -> $ret
        })*
    };
    (@function [$(#[$feature:meta])*]
        $name:ident $module:ident::$generic:ident $(<$fused:ident>)? ($($arg:ident: $type:ty),*) -> $ret:ty
    ) => {
        $(#[$feature])*
        pub(in crate::arch) fn $name($($arg: $type),*) -> $ret {
            $module::$generic $(::<$fused>)? ($($arg),*)
        }
    };
}
pub(crate) use compile_kernels;

/// Whether this processor (with `std`) or this compilation (without) has a feature.
#[cfg(target_arch = "x86_64")]
macro_rules! has {
    ($($feature:tt)*) => {{
        #[cfg(feature = "std")]
        let has = true $(&& std::is_x86_feature_detected!($feature))*;
        #[cfg(not(feature = "std"))]
        let has = true $(&& cfg!(target_feature = $feature))*;
        has
    }};
}

struct Row {
    name: &'static str,
    kernels: &'static Kernels,
    present: fn() -> bool,
}

/// The instruction sets, best first.
static ISAS: &[Row] = &[
    #[cfg(target_arch = "x86_64")]
    Row {
        name: "avx512bf16",
        kernels: &x86_64::avx512::WITH_BF16,
        present: || has!("avx512f" "avx512bw" "avx512dq" "avx512vl" "avx512vbmi" "popcnt" "avx512bf16"),
    },
    #[cfg(target_arch = "x86_64")]
    Row {
        name: "avx512",
        kernels: &x86_64::avx512::KERNELS,
        present: || has!("avx512f" "avx512bw" "avx512dq" "avx512vl" "avx512vbmi" "popcnt"),
    },
    #[cfg(target_arch = "x86_64")]
    Row { name: "avx2", kernels: &x86_64::avx2::KERNELS, present: || has!("avx2" "fma") },
    #[cfg(target_arch = "aarch64")]
    Row { name: "neon", kernels: &aarch64::neon::KERNELS, present: || true },
    Row { name: "scalar", kernels: &scalar::KERNELS, present: || true },
];

/// An instruction set that this processor has. Which one is used never changes a bit.
///
/// The environment variable `QUARTER_ISA` names the one to use instead of the best (with the
/// `std` feature); it is read once.
///
/// ```
/// use quarter::Isa;
/// assert!(Isa::available().any(|isa| isa.name() == Isa::best().name()));
/// assert_eq!(Isa::available().last(), Some(Isa::SCALAR));
/// ```
#[derive(Clone, Copy)]
pub struct Isa {
    name: &'static str,
    kernels: &'static Kernels,
}

impl Isa {
    /// Portable code, present everywhere.
    pub const SCALAR: Self = Self { name: "scalar", kernels: &scalar::KERNELS };

    /// Those that this processor has, best first; the last is [`SCALAR`](Self::SCALAR).
    pub fn available() -> impl Iterator<Item = Self> {
        let present = ISAS.iter().filter(|row| (row.present)());
        present.map(|row| Self { name: row.name, kernels: row.kernels })
    }

    /// The one that conversions use: `QUARTER_ISA` if it names one that is available, else the
    /// first of [`available`](Self::available).
    #[must_use]
    pub fn best() -> Self {
        #[cfg(feature = "std")]
        {
            static BEST: std::sync::OnceLock<Isa> = std::sync::OnceLock::new();
            *BEST.get_or_init(|| Self::from_environment().ok().flatten().unwrap_or(Self::first()))
        }
        #[cfg(not(feature = "std"))]
        Self::first()
    }

    /// The available one of this name.
    ///
    /// # Errors
    /// [`Error::Name`] if there is none, or this processor lacks it.
    pub fn named(name: &str) -> Result<Self, Error> {
        let what = "instruction set that this processor has";
        let found = Self::available().find(|isa| isa.name == name);
        found.ok_or(Error::Name { what, got: Name::new(name) })
    }

    /// What `QUARTER_ISA` asks for; none if it is not set or empty.
    ///
    /// [`best`](Self::best) ignores a name that is not available; a program that wants to refuse
    /// it asks here.
    ///
    /// # Errors
    /// [`Error::Name`] if it names no available instruction set.
    #[cfg(feature = "std")]
    pub fn from_environment() -> Result<Option<Self>, Error> {
        match std::env::var_os("QUARTER_ISA") {
            Some(name) if !name.is_empty() => Self::named(&name.to_string_lossy()).map(Some),
            Some(_) | None => Ok(None),
        }
    }

    /// Its name: `avx512bf16`, `avx512`, `avx2`, `neon`, `scalar`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// Keeps a unit busy for so many rounds of independent chains, on this thread: the operations
    /// that it did, of f32 or of `pairs` of bf16; 0 without such a unit. For benches.
    #[doc(hidden)]
    #[must_use]
    pub fn peak(self, pairs: bool, rounds: usize) -> u64 {
        if pairs { self.kernels.peak_pairs(rounds) } else { self.kernels.peak_fma(rounds) }
    }

    pub(crate) const fn kernels(self) -> &'static Kernels {
        self.kernels
    }

    fn first() -> Self {
        Self::available().next().unwrap_or(Self::SCALAR)
    }
}

impl fmt::Debug for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Isa({})", self.name)
    }
}

impl PartialEq for Isa {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Isa {}
