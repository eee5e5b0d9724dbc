//! The macros: checks that panic with the diagnosis.
//!
//! Each takes a message of one's own after its arguments, as `assert!` does; it is printed before the
//! diagnosis. Names that the caller has in scope do not matter.

/// What a check found, or a panic with the message and the diagnosis.
#[doc(hidden)]
#[macro_export]
macro_rules! __report_or_panic {
    ($checked:expr $(,)?) => {
        match $checked {
            ::core::result::Result::Ok(report) => report,
            ::core::result::Result::Err(violation) => ::core::panic!("{}", violation),
        }
    };
    ($checked:expr, $($message:tt)+) => {
        match $checked {
            ::core::result::Result::Ok(report) => report,
            ::core::result::Result::Err(violation) => {
                ::core::panic!("{}\n{}", ::core::format_args!($($message)+), violation)
            }
        }
    };
}

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
///
/// A message comes before the diagnosis:
///
/// ```should_panic
/// # use quarter::accuracy::bounds::Bound;
/// # let (k, exact) = (7, |_| Bound::default());
/// quarter::assert_within!(&[1.0_f32], &[2.0_f32], exact, "the kernel with K = {k}");
/// ```
#[macro_export]
macro_rules! assert_within {
    ($actual:expr, $expected:expr, $bound:expr $(, $($message:tt)*)?) => {
        $crate::__report_or_panic!(
            $crate::accuracy::check::check_within($actual, $expected, $bound),
            $($($message)*)?
        )
    };
}

/// The same of matrices with this many columns, row after row, with bound(row, col): the diagnosis
/// has rows and columns.
///
/// ```
/// use quarter::accuracy::bounds::{Bound, Term};
/// let (actual, expected) = ([1.0_f32, 2.0, 3.0, 4.1], [1.0_f32, 2.0, 3.0, 4.0]);
/// quarter::assert_matrix_within!(&actual, &expected, 2, |row, _col| {
///     Bound::of(Term::Rounding, 0.2 * row as f64)
/// });
/// ```
#[macro_export]
macro_rules! assert_matrix_within {
    ($actual:expr, $expected:expr, $cols:expr, $bound:expr $(, $($message:tt)*)?) => {
        $crate::__report_or_panic!(
            $crate::accuracy::check::check_matrix($actual, $expected, $cols, $bound),
            $($($message)*)?
        )
    };
}

/// Panics with a diagnosis unless a product is within its bounds, a
/// [`GemmBound`](crate::accuracy::bounds::GemmBound), or dequantized values are within those of a
/// [`Quantization`](crate::accuracy::bounds::Quantization).
///
/// ```
/// use quarter::accuracy::bounds::{GemmBound, Operand, Sums};
/// use quarter::tensor::MatRef;
/// let x = MatRef::new(&[1.0_f32, 2.0, 3.0], 1, 3).and_then(Operand::exact)?;
/// let bounds = GemmBound::new(x.clone(), x, Sums::F32)?;
/// quarter::assert_product!(bounds, &[14.0_f32]);
/// # Ok::<(), quarter::Error>(())
/// ```
#[macro_export]
macro_rules! assert_product {
    ($bounds:expr, $actual:expr $(, $($message:tt)*)?) => {
        $crate::__report_or_panic!($bounds.check($actual), $($($message)*)?)
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
    ($codes:expr, $source:expr, $format:expr, $policy:expr $(, $($message:tt)*)?) => {
        $crate::__report_or_panic!(
            $crate::accuracy::check::check_rounded($format, $policy, $source, $codes),
            $($($message)*)?
        )
    };
}

/// Panics with a diagnosis unless both have the same bits, NaN being equal to NaN.
///
/// ```
/// quarter::assert_same_bits!(&[1.0_f32, f32::NAN], &[1.0_f32, -f32::NAN]);
/// ```
#[macro_export]
macro_rules! assert_same_bits {
    ($actual:expr, $expected:expr $(, $($message:tt)*)?) => {
        $crate::__report_or_panic!(
            $crate::accuracy::check::check_same_bits($actual, $expected),
            $($($message)*)?
        )
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
    ($source:expr, $cast:expr, $got:expr $(, $($message:tt)*)?) => {
        $crate::__report_or_panic!(
            $crate::accuracy::check::check_quantized($source, $cast, $got),
            $($($message)*)?
        )
    };
}
