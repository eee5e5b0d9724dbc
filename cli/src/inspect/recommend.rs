//! Which cast a tensor should have. By its numbers alone: that embeddings, norms and heads stay as
//! they are is for `quarter quantize` to know.
//!
//! **The rule.** The best of the 8-bit casts sets the mark (of all casts, if none has 8 bits). A
//! cast qualifies if its SQNR is within [`WITHIN`] dB of it, it flushes less than [`FLUSHED`] of
//! the non-zero elements, and saturates none. Of these the one with the fewest bits an element,
//! scales included; then with the fewest scales; then with the best SQNR; then the first. If none
//! qualifies, or there is an Inf or NaN, which no scale is made for: bf16.

use super::report::{CastReport, Recommendation};
use super::stats::Stats;
use super::text::{count, db, share};
use std::cmp::Ordering;

/// How many dB below the best of 8 bits a cast may be.
pub const WITHIN: f64 = 1.0;
/// The share of the non-zero elements of which a cast must flush less.
pub const FLUSHED: f64 = 0.001;
/// What to keep where no cast will do.
pub const KEEP: &str = "bf16";

/// What to do with a tensor.
#[must_use]
pub fn recommend(stats: &Stats, casts: &[CastReport]) -> Recommendation {
    let because = |cast: Option<&str>, reason: String| Recommendation {
        cast: cast.map(str::to_owned),
        reason,
    };
    if stats.elements == 0 {
        return because(None, "it has no elements".to_owned());
    }
    if stats.nan + stats.inf > 0 {
        let reason = format!("it holds {} NaN and {} Inf", count(stats.nan), count(stats.inf));
        return because(Some(KEEP), reason);
    }
    if stats.nonzero() == 0 {
        return because(None, "all elements are zero".to_owned());
    }
    let Some(best) = best(casts) else {
        return because(Some(KEEP), "no cast gives finite values".to_owned());
    };
    let (mark, best_name) = (best.sqnr_db.unwrap_or(f64::INFINITY), &best.cast);
    let close = |cast: &&CastReport| cast.sqnr_db.is_some_and(|sqnr| sqnr >= mark - WITHIN);
    let of = if best.format.spec().bits() == 8 { "8 bits" } else { "all" };
    let qualifies = |cast: &&CastReport| cast.saturated == 0 && cast.flushed_share < FLUSHED;
    if let Some(cast) = casts.iter().filter(close).filter(qualifies).min_by(|a, b| cost(a, b)) {
        let reason = format!(
            "{} at {:.2} bits an element, the fewest within {WITHIN} dB of the best of {of} \
             ({best_name}, {}); flushes {}, saturates nothing",
            db(cast.sqnr_db),
            cast.bits,
            db(best.sqnr_db),
            share(cast.flushed_share),
        );
        return because(Some(&cast.cast), reason);
    }
    let nearest = casts.iter().filter(close).min_by(|a, b| {
        let lost = |cast: &CastReport| cast.flushed_share + cast.saturated_share;
        lost(a).total_cmp(&lost(b))
    });
    let nearest = nearest.unwrap_or(best);
    let reason = format!(
        "outliers: values span {:.0} powers of two; the nearest, {} ({}), flushes {} and saturates {}",
        (stats.amax / stats.smallest).log2(),
        nearest.cast,
        db(nearest.sqnr_db),
        share(nearest.flushed_share),
        share(nearest.saturated_share),
    );
    because(Some(KEEP), reason)
}

/// The cast that sets the mark.
fn best(casts: &[CastReport]) -> Option<&CastReport> {
    let finite = || casts.iter().filter(|cast| cast.sqnr_db.is_some());
    let eight = || finite().filter(|cast| cast.format.spec().bits() == 8);
    let better = |a: &&CastReport, b: &&CastReport| up(b).total_cmp(&up(a));
    // The first of equals.
    if eight().next().is_some() { eight().min_by(better) } else { finite().min_by(better) }
}

fn up(cast: &CastReport) -> f64 {
    cast.sqnr_db.unwrap_or(f64::NEG_INFINITY)
}

/// Cheaper is less.
fn cost(a: &CastReport, b: &CastReport) -> Ordering {
    let bits = a.bits.total_cmp(&b.bits);
    bits.then(a.groups.cmp(&b.groups)).then_with(|| up(b).total_cmp(&up(a)))
}
