//! The largest magnitude, as f32 bits: of a slice, of groups of neighbours, of columns.
//!
//! As integers, magnitudes order like the numbers, with Inf above them and NaN above Inf: a NaN
//! wins, or is taken for zero. A maximum of integers may be taken in any order.

const INF: u32 = 0x7f80_0000;
const MAGNITUDE: u32 = 0x7fff_ffff;

/// The larger of a magnitude and one so far. Signed integers: they have no sign, and every
/// instruction set compares these.
#[inline(always)]
fn larger<const DROP_NAN: bool>(so_far: i32, x: f32) -> i32 {
    let x = (x.to_bits() & MAGNITUDE) as i32;
    so_far.max(if DROP_NAN && x > INF as i32 { 0 } else { x })
}

#[inline(always)]
fn largest<const DROP_NAN: bool>(src: &[f32]) -> u32 {
    let mut peak = 0;
    for x in src {
        peak = larger::<DROP_NAN>(peak, *x);
    }
    peak as u32
}

/// Of a slice.
#[inline(always)]
pub(crate) fn amax(drop_nan: bool, src: &[f32]) -> u32 {
    if drop_nan { largest::<true>(src) } else { largest::<false>(src) }
}

/// Of bf16.
#[inline(always)]
pub(crate) fn amax_bf16(drop_nan: bool, src: &[u16]) -> u32 {
    let top = if drop_nan { INF } else { MAGNITUDE };
    let (top, magnitude) = ((top >> 16) as i16, (MAGNITUDE >> 16) as u16);
    let mut peak = 0;
    for x in src {
        let x = (x & magnitude) as i16;
        peak = peak.max(if x > top { 0 } else { x });
    }
    (peak as u32) << 16
}

/// Of each group of neighbours, and of what `peaks` has; the last group may be short.
#[inline(always)]
pub(crate) fn amax_groups(drop_nan: bool, group: usize, src: &[f32], peaks: &mut [u32]) {
    if drop_nan { groups::<true>(group, src, peaks) } else { groups::<false>(group, src, peaks) }
}

#[inline(always)]
fn groups<const DROP_NAN: bool>(group: usize, src: &[f32], peaks: &mut [u32]) {
    match group {
        1 => columns::<DROP_NAN>(src, peaks),
        16 => fixed::<DROP_NAN, 16>(src, peaks),
        32 => fixed::<DROP_NAN, 32>(src, peaks),
        128 => fixed::<DROP_NAN, 128>(src, peaks),
        _ => {
            for (group, peak) in src.chunks(group).zip(peaks) {
                *peak = (*peak).max(largest::<DROP_NAN>(group));
            }
        }
    }
}

/// Groups of a length that the compiler knows.
#[inline(always)]
fn fixed<const DROP_NAN: bool, const GROUP: usize>(src: &[f32], peaks: &mut [u32]) {
    let (whole, tail) = src.as_chunks::<GROUP>();
    let (peaks, last) = peaks.split_at_mut(whole.len());
    for (group, peak) in whole.iter().zip(peaks) {
        *peak = (*peak).max(largest::<DROP_NAN>(group));
    }
    for peak in last {
        *peak = (*peak).max(largest::<DROP_NAN>(tail));
    }
}

/// Of each value and of what `peaks` has.
#[inline(always)]
pub(crate) fn amax_columns(drop_nan: bool, src: &[f32], peaks: &mut [u32]) {
    if drop_nan { columns::<true>(src, peaks) } else { columns::<false>(src, peaks) }
}

#[inline(always)]
fn columns<const DROP_NAN: bool>(src: &[f32], peaks: &mut [u32]) {
    for (x, peak) in src.iter().zip(peaks) {
        *peak = larger::<DROP_NAN>(*peak as i32, *x) as u32;
    }
}
