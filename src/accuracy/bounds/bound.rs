//! A bound as the sum of its terms.

use core::fmt;

macro_rules! terms {
    ($($(#[$doc:meta])* $id:ident $name:literal;)*) => {
        /// What a part of an error is due to.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Term {
            $($(#[$doc])* $id,)*
        }

        impl Term {
            /// Every term, in the order of a computation.
            pub const ALL: &'static [Self] = &[$(Self::$id,)*];

            /// Its name in messages.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$id => $name,)* }
            }
        }
    };
}

terms! {
    /// The left operand's code and scale stand for another number than it was.
    CastA "cast of a";
    /// The right operand's.
    CastB "cast of b";
    /// Rounding to a format.
    Rounding "rounding to the format";
    /// Scales that are rounded, applied by a rounded operation, or no exact reciprocals.
    Scaling "scaling";
    /// What is beyond the largest number and saturates.
    Clipping "clipping";
    /// What units cut off while they align the terms of a sum.
    Alignment "alignment";
    /// Roundings of sums.
    Accumulation "accumulation";
    /// Alpha, C and bias.
    Epilogue "alpha, C and bias";
    /// The rounding of a result to the type that it is stored in.
    Output "output rounding";
    /// Below the smallest number that is exact: subnormal numbers, flushed or rounded.
    Underflow "underflow";
    /// A result that may be beyond the largest number: it has no bound.
    Overflow "overflow";
    /// The sums in f64 by which the expected number and its bound were found.
    Reference "the reference's own f64";
}

const TERMS: usize = Term::ALL.len();

/// A proven bound on |actual − expected| of one number: the sum of its terms, all at least 0.
///
/// ```
/// use quarter::accuracy::bounds::{Bound, Term};
/// let bound = Bound::of(Term::CastA, 0.5).with(Term::Accumulation, 0.125);
/// assert_eq!((bound.total(), bound.dominant()), (0.625, Term::CastA));
/// assert_eq!(bound.to_string(), "6.25e-1 (cast of a 80 %, accumulation 20 %)");
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    terms: [f64; TERMS],
    probable: Option<f64>,
}

impl Default for Bound {
    fn default() -> Self {
        Self::ZERO
    }
}

impl Bound {
    /// No error: the same number.
    pub const ZERO: Self = Self { terms: [0.0; TERMS], probable: None };

    /// Any error at all.
    pub const NONE: Self = Self::of(Term::Overflow, f64::INFINITY);

    /// Of one term.
    #[must_use]
    pub const fn of(term: Term, size: f64) -> Self {
        Self::ZERO.with(term, size)
    }

    /// With more of a term; NaN counts as infinite.
    #[must_use]
    pub const fn with(mut self, term: Term, size: f64) -> Self {
        let size = if size.is_nan() { f64::INFINITY } else { size };
        self.terms[term as usize] += size;
        self
    }

    /// With a smaller number that an error seldom passes: [`check`](super::super::check) reports
    /// how near errors come to it.
    #[must_use]
    pub const fn with_probable(self, probable: f64) -> Self {
        Self { probable: Some(probable), ..self }
    }

    /// Its term.
    #[must_use]
    pub const fn term(&self, term: Term) -> f64 {
        self.terms[term as usize]
    }

    /// The sum of its terms.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.terms.iter().sum()
    }

    /// The number that an error seldom passes, where one is known.
    #[must_use]
    pub const fn probable(&self) -> Option<f64> {
        self.probable
    }

    /// The largest term, the first of equals.
    #[must_use]
    pub fn dominant(&self) -> Term {
        let all = Term::ALL.iter().copied();
        all.reduce(|most, term| if self.term(term) > self.term(most) { term } else { most })
            .unwrap_or(Term::Overflow)
    }

    /// Of a number that is multiplied by another one exactly: |factor| times each term. What has no
    /// bound has none times anything: it may be NaN.
    #[must_use]
    pub fn times(self, factor: f64) -> Self {
        let times = |size: f64| match size {
            // Nothing times anything is nothing.
            0.0 => 0.0,
            f64::INFINITY => size,
            size if factor.is_nan() => size / 0.0,
            size => size * factor.abs(),
        };
        Self { terms: self.terms.map(times), probable: self.probable.map(times) }
    }

    /// Of a sum: term by term. What is probable of a sum is not known.
    #[must_use]
    pub fn plus(self, other: &Self) -> Self {
        let mut sum = Self { probable: None, ..self };
        for (size, more) in sum.terms.iter_mut().zip(other.terms) {
            *size += more;
        }
        sum
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.total();
        write!(f, "{total:.3e}", total = Short(total))?;
        if total == 0.0 || !total.is_finite() {
            return write!(f, " ({})", if total == 0.0 { "exact" } else { self.dominant().name() });
        }
        let mut terms: std::vec::Vec<Term> = Term::ALL.to_vec();
        terms.sort_by(|x, y| self.term(*y).total_cmp(&self.term(*x)));
        let shares = terms.iter().map(|term| (term, 100.0 * self.term(*term) / total));
        for (i, (term, share)) in shares.take_while(|(_, share)| *share >= 0.5).enumerate() {
            write!(f, "{}{} {share:.0} %", if i == 0 { " (" } else { ", " }, term.name())?;
        }
        f.write_str(")")
    }
}

/// Four digits of a number, without zeros at the end.
struct Short(f64);

impl fmt::LowerExp for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = std::format!("{:.3e}", self.0);
        match text.split_once('e') {
            Some((digits, exponent)) if digits.contains('.') => {
                let digits = digits.trim_end_matches('0').trim_end_matches('.');
                write!(f, "{digits}e{exponent}")
            }
            _ => f.write_str(&text),
        }
    }
}
