//! Codes of one format → codes of another.

use super::buffers::{Codes, CodesMut, Values};
use super::encode::{Job, split_words};
use super::{DecodeOptions, EncodeOptions, PIECE, decode};
use crate::error::Error;
use crate::format::{FormatSpec, table};
use core::mem::take;

/// dst\[i\] = the code in `to` of the number that src\[i\] is in `from` (· scale), rounded once.
///
/// Runs on the calling thread. A packed source takes its number of codes from the destination, or
/// if that is packed too, as many as its bytes hold.
///
/// # Errors
/// A length or a width that does not fit, and those of [`encode`](super::encode()). Nothing is
/// written then.
///
/// ```
/// use quarter::slice::{EncodeOptions, transcode};
/// use quarter::{FormatId, Policy};
/// let (e5m2, e4m3) = (FormatId::F8E5M2.spec(), FormatId::F8E4M3.spec());
/// let mut codes = [0_u8; 3];
/// let options = EncodeOptions::new(Policy::SATURATE);
/// transcode(e5m2, &[0x3c_u8, 0x7b, 0xbd], e4m3, &mut codes, &options)?; // 1, 57344, −1.25
/// assert_eq!(codes, [0x38, 0x7e, 0xba]); // 1, 448, −1.25
/// # Ok::<(), quarter::Error>(())
/// ```
pub fn transcode<'s, 'd>(
    from: &FormatSpec,
    src: impl Into<Codes<'s>>,
    to: &FormatSpec,
    dst: impl Into<CodesMut<'d>>,
    options: &EncodeOptions<'_>,
) -> Result<(), Error> {
    let (src, mut dst) = (src.into(), dst.into());
    let n = src.count().or(dst.count()).unwrap_or_else(|| src.capacity(from));
    src.check(from, n)?;
    dst.check(to, n)?;
    let (job, mut words) = Job::new(to, n, options, false)?;
    pieces(from, src, n, |values, at| job.check_nan(&values, at))?;
    pieces(from, src, n, |values, at| {
        let len = values.len();
        let (w0, w1) = split_words(words, len);
        words = w1;
        if at + len == n {
            job.serial(values, take(&mut dst), w0);
        } else {
            let (d0, d1) = take(&mut dst).split_at(to, len);
            dst = d1;
            job.serial(values, d0, w0);
        }
        Ok(())
    })
}

/// `run(values, index of the first)` for the exact values of `n` codes, piece by piece.
fn pieces(
    from: &FormatSpec,
    mut codes: Codes<'_>,
    n: usize,
    mut run: impl FnMut(Values<'_>, usize) -> Result<(), Error>,
) -> Result<(), Error> {
    let options = DecodeOptions::new().threads(1);
    for at in (0..n).step_by(PIECE) {
        let len = PIECE.min(n - at);
        let piece = if at + len == n {
            codes
        } else {
            let (piece, rest) = codes.split_at(from, len);
            codes = rest;
            piece
        };
        if from.within(&table::F32) {
            let mut values = [0.0f32; PIECE];
            decode(from, piece, &mut values[..len], &options)?;
            run(Values::F32(&values[..len]), at)?;
        } else {
            let mut values = [0.0f64; PIECE];
            decode(from, piece, &mut values[..len], &options)?;
            run(Values::F64(&values[..len]), at)?;
        }
    }
    Ok(())
}
