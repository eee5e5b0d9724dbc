//! The macros: checks that panic with the diagnosis.

/// Panics with a diagnosis unless |actual − expected| ≤ bound(i) for each element;
/// gives the [`Report`](crate::accuracy::check::Report) otherwise.
///
/// ```
/// use quarter::accuracy::bounds::{Bound, Term};
/// let report = quarter::assert_within!(&[1.0_f32, 2.1], &[1.0_f32, 2.0], |_| {
///     Bound::of(Term::Rounding, 0.2)
/// });
/// assert!(report.most_of_bound > 0.49);
/// ```
#[macro_export]
macro_rules! assert_within {
    ($actual:expr, $expected:expr, $bound:expr $(,)?) => {
        match $crate::accuracy::check::check_within($actual, $expected, $bound) {
            Ok(report) => report,
            Err(violation) => panic!("{violation}"),
        }
    };
}

/// Panics with a diagnosis unless each code is its source rounded once to a format:
/// `assert_rounded!(codes, source, format, policy)`.
///
/// ```
/// use quarter::{FormatId, Policy};
/// let format = FormatId::F8E5M2.spec();
/// quarter::assert_rounded!(&[0x3c, 0x3c], &[1.0_f32, 1.1], format, Policy::NONFINITE);
/// ```
#[macro_export]
macro_rules! assert_rounded {
    ($codes:expr, $source:expr, $format:expr, $policy:expr $(,)?) => {
        match $crate::accuracy::check::check_rounded($format, $policy, $source, $codes) {
            Ok(report) => report,
            Err(violation) => panic!("{violation}"),
        }
    };
}

/// Panics with a diagnosis unless both have the same bits, NaN being equal to NaN.
///
/// ```
/// quarter::assert_same_bits!(&[1.0_f32, f32::NAN], &[1.0_f32, -f32::NAN]);
/// ```
#[macro_export]
macro_rules! assert_same_bits {
    ($actual:expr, $expected:expr $(,)?) => {
        match $crate::accuracy::check::check_same_bits($actual, $expected) {
            Ok(report) => report,
            Err(violation) => panic!("{violation}"),
        }
    };
}

/// Panics with a diagnosis unless a quantizer's scales and codes are those of a cast:
/// `assert_quantized!(source, cast, got)`, as [`check_quantized`] takes them.
///
/// ```
/// use quarter::tensor::{MatRef, QuantizeOptions, quantize};
/// let (x, cast) = (MatRef::new(&[1.0_f32, -2.0, 3.0, 4.0], 2, 2)?, "e4m3:row:te-current".parse()?);
/// let got = quantize(x, &cast, &QuantizeOptions::new())?;
/// quarter::assert_quantized!(x, &cast, got.view());
/// # Ok::<(), quarter::Error>(())
/// ```
///
/// [`check_quantized`]: crate::accuracy::check::check_quantized
#[macro_export]
macro_rules! assert_quantized {
    ($source:expr, $cast:expr, $got:expr $(,)?) => {
        match $crate::accuracy::check::check_quantized($source, $cast, $got) {
            Ok(report) => report,
            Err(violation) => panic!("{violation}"),
        }
    };
}
