//! Reference loops: what moving the bytes alone costs.
//!
//! They read and write as the conversions do and compute as little as the types allow, compiled
//! for the same instruction sets: a yardstick, not a proof of a bound.

use super::Entry;
use super::data::Data;
use quarter::Isa;
use quarter::slice::FormatSliceExt;

macro_rules! limits {
    ($($name:ident($src:ty => $dst:ty, $step:literal to $places:literal) |$x:ident| $body:expr;)*) => {
        /// The loops, inlined into a copy for each instruction set.
        mod body {
            $(
                #[inline(always)]
                pub fn $name(src: &[$src], dst: &mut [$dst]) {
                    let (src, dst) = (src.as_chunks::<$step>().0, dst.as_chunks_mut::<$places>().0);
                    for ($x, d) in src.iter().zip(dst) {
                        *d = $body;
                    }
                }
            )*
        }

        #[cfg(target_arch = "x86_64")]
        mod avx2 {
            $(
                #[target_feature(enable = "avx2,fma")]
                pub fn $name(src: &[$src], dst: &mut [$dst]) {
                    super::body::$name(src, dst);
                }
            )*
        }

        #[cfg(target_arch = "x86_64")]
        mod avx512 {
            $(
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
                pub fn $name(src: &[$src], dst: &mut [$dst]) {
                    super::body::$name(src, dst);
                }
            )*
        }

        $(
            fn $name(isa: Isa, src: &[$src], dst: &mut [$dst]) {
                match isa.name() {
                    #[cfg(target_arch = "x86_64")]
                    // SAFETY: an `Isa` of this name exists only where the processor has it.
                    "avx512" | "avx512bf16" => unsafe { avx512::$name(src, dst) },
                    #[cfg(target_arch = "x86_64")]
                    // SAFETY: as above.
                    "avx2" => unsafe { avx2::$name(src, dst) },
                    _ => body::$name(src, dst),
                }
            }
        )*
    };
}

limits! {
    f32_to_u8(f32 => u8, 1 to 1) |x| [(x[0].to_bits() >> 24) as u8];
    f32_to_u16(f32 => u16, 1 to 1) |x| [(x[0].to_bits() >> 16) as u16];
    f32_to_u4(f32 => u8, 2 to 1) |x| [(x[0].to_bits() >> 28 | x[1].to_bits() >> 24 & 0xf0) as u8];
    f64_to_u8(f64 => u8, 1 to 1) |x| [(x[0].to_bits() >> 56) as u8];
    u16_to_u8(u16 => u8, 1 to 1) |x| [(x[0] >> 8) as u8];
    u16_to_f32(u16 => f32, 1 to 1) |x| [f32::from_bits(u32::from(x[0]))];
    u8_to_f32(u8 => f32, 1 to 1) |x| [f32::from_bits(u32::from(x[0]))];
    u8_to_u16(u8 => u16, 1 to 1) |x| [u16::from(x[0])];
}

/// From which element type to which a job goes; U4 is half a byte.
#[derive(Clone, Copy)]
pub enum Moves {
    F32ToU8,
    F32ToU16,
    F32ToU4,
    F64ToU8,
    U16ToU8,
    U16ToF32,
    U8ToF32,
    U8ToU16,
}

impl Moves {
    /// Bytes read and bytes written an element.
    const fn bytes(self) -> (f64, f64) {
        match self {
            Self::F32ToU8 => (4.0, 1.0),
            Self::F32ToU16 => (4.0, 2.0),
            Self::F32ToU4 => (4.0, 0.5),
            Self::F64ToU8 => (8.0, 1.0),
            Self::U16ToU8 => (2.0, 1.0),
            Self::U16ToF32 => (2.0, 4.0),
            Self::U8ToF32 => (1.0, 4.0),
            Self::U8ToU16 => (1.0, 2.0),
        }
    }

    fn run(self, d: &mut Data, isa: Isa, threads: usize) {
        let from_bf16 = FormatSliceExt::reinterpret_cast(&d.bf16[..]);
        let to_bf16 = FormatSliceExt::reinterpret_cast_mut(&mut d.to_bf16[..]);
        let (half, to_u8, to_f32) = (d.f32.len() / 2, &mut d.to_u8[..], &mut d.to_f32[..]);
        match self {
            Self::F32ToU8 => split(threads, &d.f32, to_u8, &|s, t| f32_to_u8(isa, s, t)),
            Self::F32ToU16 => split(threads, &d.f32, to_bf16, &|s, t| f32_to_u16(isa, s, t)),
            Self::F32ToU4 => {
                split(threads, &d.f32, &mut to_u8[..half], &|s, t| f32_to_u4(isa, s, t));
            }
            Self::F64ToU8 => split(threads, &d.f64, to_u8, &|s, t| f64_to_u8(isa, s, t)),
            Self::U16ToU8 => split(threads, from_bf16, to_u8, &|s, t| u16_to_u8(isa, s, t)),
            Self::U16ToF32 => split(threads, from_bf16, to_f32, &|s, t| u16_to_f32(isa, s, t)),
            Self::U8ToF32 => split(threads, &d.codes, to_f32, &|s, t| u8_to_f32(isa, s, t)),
            Self::U8ToU16 => split(threads, &d.codes, to_bf16, &|s, t| u8_to_u16(isa, s, t)),
        }
    }
}

/// A contestant that does a job.
pub fn contestant(
    name: impl Into<String>,
    moves: Moves,
    run: impl Fn(&mut Data) + Send + Sync + 'static,
) -> Entry<Data> {
    let (read, write) = moves.bytes();
    Entry { name: name.into(), bytes: read + write, run: Box::new(run) }
}

/// The loop that moves a job's bytes, and memcpy.
pub fn yardsticks(moves: Moves, threads: usize) -> [Entry<Data>; 2] {
    let (read, write) = moves.bytes();
    let name = format!("read {read}, write {write}");
    let copy = move |d: &mut Data| {
        split(threads, &d.f32, &mut d.to_f32, &|s, t| t.copy_from_slice(s));
    };
    [
        contestant(name, moves, move |d| moves.run(d, Isa::best(), threads)),
        Entry { name: "memcpy f32".into(), bytes: 8.0, run: Box::new(copy) },
    ]
}

/// Halves of the work on the two threads of the pool, or all of it on this one.
pub fn split<S: Sync, D: Send>(
    threads: usize,
    src: &[S],
    dst: &mut [D],
    run: &(dyn Fn(&[S], &mut [D]) + Sync),
) {
    if threads == 1 {
        return run(src, dst);
    }
    // Cut at cache lines of both, whatever the ratio of their lengths.
    let at = src.len() / threads / 256 * 256;
    let (s0, s1) = src.split_at(at);
    let (d0, d1) = dst.split_at_mut(at * dst.len() / src.len());
    rayon::join(|| run(s0, d0), || split(threads - 1, s1, d1, run));
}
