//! A quantizer held to a cast: its scales, then its codes.

use super::rounded::hold;
use super::scales::Groups;
use super::trials::{Both, Caster, Trial, rightly};
use super::{Element, Report, Symptom, Violation};
use crate::error::Error;
use crate::format::RandomStream;
use crate::scale::{GroupScale, Operation, ScaleFormat};
use crate::tensor::{Cast, MatRef, QuantizeOptions, Quantized, QuantizedView, Scales, quantize};
use std::boxed::Box;
use std::format;
use std::string::{String, ToString};
use std::vec;
use std::vec::Vec;

/// The scales and codes of someone's quantizer are those of a cast, to the bit; of a stochastic cast,
/// codes are either neighbour of the scaled number.
///
/// [`quantize`] on one thread says what is right. Scales come first: the tensor's own factor, then
/// `scale_inv` of each group, then the factors on the way in where both keep them. f32 scales stand
/// for E8M0 ones of the same value. Codes are held once scales are right. The report counts codes.
///
/// # Errors
/// A [`Violation`]. Where scales are wrong, other rules, other amaxes and other groups are tried:
/// [`Symptom::ScaleRule`], [`Symptom::AmaxOfPart`] and the like. Where codes are, what
/// [`check_rounded`](super::check_rounded) tries, on scaled numbers, and other scales. What is of
/// another format, shape or granularity is not checked at all.
///
/// ```
/// use quarter::accuracy::check::{Symptom, check_quantized};
/// use quarter::tensor::{MatRef, QuantizedView, Scales};
/// use quarter::{F8E4M3, FormatId, Granularity, Rule};
/// // A kernel of one's own for e4m3:row:deepgemm, whose amax lacks abs.
/// let x: Vec<f32> = (0..4 * 64).map(|i| (i * i % 101) as f32 - 60.0).collect();
/// let scale_inv: Vec<f32> =
///     x.chunks(64).map(|row| row.iter().fold(0.0, |a: f32, x| a.max(*x)) / 448.0).collect();
/// let code = |(i, x): (usize, &f32)| F8E4M3::from_f32_sat(x * (1.0 / scale_inv[i / 64])).to_bits();
/// let codes: Vec<u8> = x.iter().enumerate().map(code).collect();
/// let scales = Scales::F32 { scale: None, scale_inv };
/// let got = QuantizedView::new(FormatId::F8E4M3, (4, 64), Granularity::Row, &codes, &scales)?;
/// let cast = "e4m3:row:deepgemm".parse()?;
/// let violation = check_quantized(MatRef::new(&x, 4, 64)?, &cast, got).unwrap_err();
/// assert_eq!(violation.symptoms(), [Symptom::AmaxSigned]);
/// # Ok::<(), quarter::Error>(())
/// ```
pub fn check_quantized(
    source: MatRef<'_>,
    cast: &Cast,
    got: QuantizedView<'_>,
) -> Result<Report, Box<Violation>> {
    check_quantized_with(source, cast, &QuantizeOptions::new(), got)
}

/// The same with given scales, margin or previous scale, as delayed scaling needs.
///
/// # Errors
/// As [`check_quantized`].
pub fn check_quantized_with(
    source: MatRef<'_>,
    cast: &Cast,
    options: &QuantizeOptions<'_>,
    got: QuantizedView<'_>,
) -> Result<Report, Box<Violation>> {
    let refuse = |why: String| Box::new(Violation::of_refusal(why));
    fits(source, cast, got).map_err(refuse)?;
    let failed = |error: Error| refuse(error.to_string());
    let options = options.threads(1).random(RandomStream::default());
    let right = quantize(source, cast, &options).map_err(failed)?;
    let codes = unpacked(got).map_err(failed)?;
    let (found, wanted) = (got.scales(), right.scales());
    let context = crate::scale::Context {
        source: source.source_type(),
        global_scale: 1.0 / found.global_scale_inv(),
        ..options.context()
    };
    let groups = Groups { source, cast: *cast, context };
    let wrong = groups.held_global(found, wanted).or_else(|| groups.held(found, wanted));
    if let Some(mut violation) = wrong {
        violation.line(of_own_scales(source, cast, &options.scales(found), &codes));
        return Err(violation);
    }
    hold_codes(source, cast, &codes, &right, got)
}

/// Why the two cannot be compared.
fn fits(source: MatRef<'_>, cast: &Cast, got: QuantizedView<'_>) -> Result<(), String> {
    cast.check().map_err(|error| error.to_string())?;
    let (rows, cols) = got.shape();
    if source.shape() != (rows, cols) {
        let (r, c) = source.shape();
        return Err(format!("codes are {rows} x {cols}, the source is {r} x {c}"));
    }
    if got.format() != cast.format {
        return Err(format!("codes are {}, the cast is {cast}", got.format()));
    }
    if got.granularity() != cast.granularity {
        return Err(format!("scales are of {}, the cast is {cast}", got.granularity()));
    }
    let groups = cast.granularity.groups(rows, cols);
    if got.first_row() != 0 || got.scales().len() != groups {
        return Err("codes are some rows of a matrix: check all of it".to_string());
    }
    let own = |format: ScaleFormat| format == ScaleFormat::E4M3;
    if own(got.scales().format()) != own(cast.rule.scale_format()) {
        return Err(format!(
            "scales are stored as {:?}, but as {:?} by {}",
            got.scales().format(),
            cast.rule.scale_format(),
            cast.rule
        ));
    }
    Ok(())
}

fn unpacked(got: QuantizedView<'_>) -> Result<Vec<u8>, Error> {
    if !got.is_packed() {
        return Ok(got.codes().to_vec());
    }
    let mut codes = vec![0; got.shape().0 * got.shape().1];
    got.format().spec().unpack(got.codes(), &mut codes)?;
    Ok(codes)
}

/// What codes are under scales that are wrong.
fn of_own_scales(
    source: MatRef<'_>,
    cast: &Cast,
    options: &QuantizeOptions<'_>,
    codes: &[u8],
) -> String {
    if cast.rounding.is_stochastic() {
        return "codes are not held to anything until scales are right".to_string();
    }
    match quantize(source, cast, options) {
        Ok(own) => {
            let wrong = own.codes().iter().zip(codes).filter(|(a, b)| a != b).count();
            let all = codes.len();
            match wrong {
                0 => "all codes are right for these scales".to_string(),
                _ => format!("{wrong} of {all} codes are not right for these scales either"),
            }
        }
        Err(_) => "codes are not held to anything until scales are right".to_string(),
    }
}

/// What becomes a code: x · scale or x / scale_inv in f32.
fn scaled(operation: Operation, x: f32, group: GroupScale) -> f64 {
    f64::from(match operation {
        Operation::Multiply => x * group.scale,
        Operation::Divide => x / group.scale_inv,
    })
}

/// The codes, under scales that are right.
fn hold_codes(
    source: MatRef<'_>,
    cast: &Cast,
    codes: &[u8],
    right: &Quantized,
    got: QuantizedView<'_>,
) -> Result<Report, Box<Violation>> {
    let (spec, policy, cols) = (cast.format.spec(), cast.policy(), source.shape().1);
    let place = |i: usize| (i / cols.max(1), i % cols.max(1));
    let x = |i: usize| source.get(place(i).0, place(i).1);
    let group = |i: usize| got.group(place(i).0, place(i).1);
    let scales = right.scales();
    let n = codes.len();
    let operation = cast.rule.operation();
    let y: Vec<f64> = (0..n).map(|i| scaled(operation, x(i), scales.group(group(i)))).collect();
    let wide: Vec<u64> = codes.iter().map(|code| u64::from(*code)).collect();
    let drops_neg_zero = cast.rule.drops_neg_zero();
    let caster = Caster { format: spec, policy, x: &y, codes: &wide, drops_neg_zero };
    let reference = right.codes();
    let allowed = |i: usize| -> Both {
        if !policy.rounding.is_stochastic() || y[i].is_nan() {
            return [Some(u64::from(reference[i])), None];
        }
        rightly(spec, policy, if drops_neg_zero && y[i] == 0.0 { 0.0 } else { y[i] })
    };
    let mut trials = of_scales(&caster, &x, &group, cast, scales, right);
    if spec.bits() == 4 {
        let swapped = |i: usize| if (i ^ 1) < n { allowed(i ^ 1) } else { allowed(i) };
        trials.push((Symptom::NibblesSwapped, Box::new(swapped)));
    }
    hold(&caster, cols, allowed, trials).map_err(|mut violation| {
        let grid = cast.granularity.grid(source.shape().0, cols).1.max(1);
        violation.annotate(|e: &Element| {
            let (i, group) = (e.index, group(e.index));
            let at = (group / grid, group % grid);
            let scale_inv = scales.scale_inv(group);
            let factor = f64::from(scale_inv) * f64::from(scales.global_scale_inv());
            let [a, b] = [e.actual * factor, e.expected * factor];
            format!(
                "source   {:e}, scaled {:e}; scale_inv {scale_inv:e} of group ({}, {})\n    \
                 values   {a:e} and {b:e}",
                x(i),
                y[i],
                at.0,
                at.1
            )
        });
        violation
    })
}

/// Wrong scales on the way in.
fn of_scales<'t>(
    caster: &Caster<'t>,
    x: &'t dyn Fn(usize) -> f32,
    group: &'t dyn Fn(usize) -> usize,
    cast: &Cast,
    scales: &'t Scales,
    right: &Quantized,
) -> Vec<Trial<'t>> {
    let (n, operation) = (scales.len().max(1), cast.rule.operation());
    let grid = cast.granularity.grid(right.rows(), right.cols());
    let of_group = move |i: usize, other: usize| scaled(operation, x(i), scales.group(other));
    let times = |symptom, f: fn(f32, GroupScale) -> f32| {
        caster.source(symptom, move |i, _| f64::from(f(x(i), scales.group(group(i)))))
    };
    let neighbour = |offset: isize| {
        let other = move |i: usize| (group(i) as isize + offset).rem_euclid(n as isize) as usize;
        caster.source(Symptom::ScaleOfNeighbour { offset }, move |i, _| of_group(i, other(i)))
    };
    let operand = "the tensor";
    let turned = move |group: usize| group % grid.1 * grid.0 + group / grid.1;
    let mut trials = vec![
        times(Symptom::ScaleMissing { operand }, |x, _| x),
        times(Symptom::ScaleTwice { operand }, |x, group| x * group.scale * group.scale),
        times(Symptom::ScaleInverse { operand }, |x, group| x * group.scale_inv),
        times(
            Symptom::OtherOperation,
            match operation {
                Operation::Multiply => |x, group| x / group.scale_inv,
                Operation::Divide => |x, group| x * (1.0 / group.scale_inv),
            },
        ),
        neighbour(1),
        neighbour(-1),
        caster.source(Symptom::SwappedAxis { operand }, move |i, _| of_group(i, turned(group(i)))),
    ];
    if matches!(scales, Scales::E4M3 { .. }) {
        let global = scales.global_scale_inv();
        let symptom = Symptom::ScaleMissing { operand: "the tensor's own factor" };
        let without = move |i: usize, _| f64::from(x(i) * (scales.group(group(i)).scale * global));
        trials.push(caster.source(symptom, without));
    }
    trials
}
