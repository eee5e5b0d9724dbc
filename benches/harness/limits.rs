//! Reference loops: what moving the bytes alone costs.
//!
//! They read and write as the conversions do and compute as little as the types allow, compiled
//! for the same instruction sets: a yardstick, not a proof of a bound.

use quarter::Isa;

macro_rules! limits {
    ($($(#[$doc:meta])* $name:ident($src:ty => $dst:ty, $step:literal to $places:literal) $body:expr;)*) => {
        /// The loops, inlined into a copy for each instruction set.
        mod body {
            $(
                #[inline(always)]
                pub fn $name(src: &[$src], dst: &mut [$dst]) {
                    let (src, dst) = (src.as_chunks::<$step>().0, dst.as_chunks_mut::<$places>().0);
                    for (s, d) in src.iter().zip(dst) {
                        let convert: fn(&[$src; $step]) -> [$dst; $places] = $body;
                        *d = convert(s);
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
            $(#[$doc])*
            pub fn $name(isa: Isa, src: &[$src], dst: &mut [$dst]) {
                match isa.name() {
                    #[cfg(target_arch = "x86_64")]
                    // SAFETY: an `Isa` of this name exists only where the processor has it.
                    "avx512" => unsafe { avx512::$name(src, dst) },
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
    /// Read 4, write 1.
    f32_to_u8(f32 => u8, 1 to 1) |x| [(x[0].to_bits() >> 24) as u8];
    /// Read 4, write 2.
    f32_to_u16(f32 => u16, 1 to 1) |x| [(x[0].to_bits() >> 16) as u16];
    /// Read 8, write half a byte twice.
    f32_to_u4(f32 => u8, 2 to 1) |x| [(x[0].to_bits() >> 28 | x[1].to_bits() >> 24 & 0xf0) as u8];
    /// Read 8, write 1.
    f64_to_u8(f64 => u8, 1 to 1) |x| [(x[0].to_bits() >> 56) as u8];
    /// Read 2, write 1.
    u16_to_u8(u16 => u8, 1 to 1) |x| [(x[0] >> 8) as u8];
    /// Read 1, write 4.
    u8_to_f32(u8 => f32, 1 to 1) |x| [f32::from_bits(u32::from(x[0]))];
    /// Read 1, write 2.
    u8_to_u16(u8 => u16, 1 to 1) |x| [u16::from(x[0])];
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
