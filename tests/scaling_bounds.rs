//! How far a value is from what its code and scale stand for: the bounds A3 and A9 of the
//! literature, for every rule × format × granularity × spread × source.
//!
//! `accuracy::bounds` has them and why they hold; what saturates and how far scales are from being
//! reciprocals is measured and bounded itself.

mod common;

use common::matrices::{CAST_ROUNDINGS, Kind, Matrix, Spread, casts};
use common::{STREAM, naive};
use quarter::Rounding;
use quarter::accuracy::bounds::{ETA32, Quantization, Term, U32, most_clipped};
use quarter::scale::{Operation, Rule};
use quarter::tensor::{Cast, MatMut, QuantizeOptions, StatsLevel, quantize};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// f64 rounds too, in what is compared with the bounds.
const SLACK: f64 = 1.0 + 1e-12;

/// Counts of elements: those with a bound, and those that saturated; and the largest part of its
/// bound that an error took, as f64 bits.
static SEEN: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];

fn check(cast: &Cast, x: &Matrix) {
    let (rows, cols) = x.shape;
    let spec = cast.format.spec();
    let options = QuantizeOptions::new().stats(StatsLevel::Blocks);
    let q = quantize(x.view(), cast, &options).unwrap();
    let mut values = vec![0.0_f32; rows * cols];
    q.dequantize_into(MatMut::new(&mut values, rows, cols).unwrap()).unwrap();
    let (scales, global_inv) = (q.scales(), f64::from(q.scales().global_scale_inv()));
    let source = x.source.widened();
    let bounds = Quantization::new(x.view(), q.view()).unwrap();
    let (mut held, mut saturated, mut largest) = (0, 0, 0.0_f64);
    for (i, (&value, &input)) in values.iter().zip(&source).enumerate() {
        let g = naive::group(cast, rows, cols, i / cols, i % cols);
        let amax = f64::from(q.block_stats()[g].amax);
        let scale_inv = f64::from(scales.scale_inv(g));
        let scale = match scales {
            quarter::tensor::Scales::F32 { scale: Some(scale), .. } => f64::from(scale[g]),
            quarter::tensor::Scales::F32 { scale: None, .. } | quarter::tensor::Scales::E8M0(_) => {
                f64::from(1.0 / scales.scale_inv(g))
            }
            quarter::tensor::Scales::E4M3 { .. } => {
                f64::from((1.0 / (scale_inv as f32 * global_inv as f32)).min(f32::MAX))
            }
        };
        let wide = scale_inv * global_inv;
        let x64 = f64::from(input);
        let at = || {
            format!(
                "{cast}, {:?}: x[{}, {}] = {input:e} ({:08x}) became {value:e}, code {:#04x}, \
                 scale {scale:e}, scale_inv {scale_inv:e} · {global_inv:e}, amax {amax:e}",
                x.note,
                i / cols,
                i % cols,
                input.to_bits(),
                q.codes()[i]
            )
        };
        if scale == f64::INFINITY || wide == 0.0 {
            // MS-AMP has no limit; NVFP4 has no block scale below 2^−9 of what it could be.
            let few = amax * SLACK <= 6.0 * 2f64.powi(-10) * global_inv * (1.0 + 4.0 * U32);
            let nvfp4 = cast.rule == Rule::Nvfp4 && few && value == 0.0;
            let msamp = cast.rule == Rule::MsAmp && amax < 1e-33;
            assert!(nvfp4 || msamp || amax == 0.0 && value == 0.0, "{}", at());
            continue;
        }
        let off = (scale * wide - 1.0).abs();
        let limit = 3.0 * U32 + scale * ETA32 + wide * ETA32;
        let divided = cast.rule.operation() == Operation::Divide;
        assert!(divided || off <= limit, "{}: scales are {off:e} apart", at());
        let (row, col) = (i / cols, i % cols);
        let bound = bounds.value(row, col).times(SLACK);
        let clipped = bound.term(Term::Clipping);
        held += u64::from(bound.total().is_finite());
        let error = (f64::from(value) - x64).abs();
        assert!(error <= bound.total(), "{}: {error:e} > {bound}", at());
        largest = largest.max(error / bound.total());
        if clipped > 0.0 {
            saturated += u64::from(clipped > 8.0 * U32 * amax);
            let mut most = most_clipped(cast.rule, spec) * amax;
            if cast.rule == Rule::Nvfp4 {
                most = most.max(6.0 * 2f64.powi(-10) * global_inv);
            }
            let most = most + 8.0 * U32 * amax;
            assert!(clipped <= most, "{}: clipped by {clipped:e} > {most:e}", at());
        }
    }
    SEEN[0].fetch_add(held, Ordering::Relaxed);
    SEEN[1].fetch_add(saturated, Ordering::Relaxed);
    SEEN[2].fetch_max(largest.to_bits(), Ordering::Relaxed);
}

#[test]
fn round_trip() {
    let spreads =
        [Spread::Normal, Spread::HeavyTail, Spread::Constant, Spread::Zeros, Spread::Mixed];
    let kinds = [Kind::F32, Kind::Bf16, Kind::F16];
    let matrices: Vec<Matrix> = spreads
        .iter()
        .flat_map(|spread| {
            kinds.map(|kind| Matrix::new((common::share(17), 141), *spread, kind, 9))
        })
        .collect();
    common::parallel(Rule::ALL.len() * matrices.len(), |i| {
        let (rule, x) = (Rule::ALL[i / matrices.len()], &matrices[i % matrices.len()]);
        casts(rule).iter().for_each(|cast| check(cast, x));
    });
    let [all, saturated, largest] = [0, 1, 2].map(|i| SEEN[i].load(Ordering::Relaxed));
    let largest = f64::from_bits(largest);
    println!("{saturated} saturated");
    common::readme::held("casts and back", all, largest);
    assert!(saturated > 0, "some rules let values saturate");
    assert!(largest > 0.99, "bounds that nothing comes near prove nothing: {largest}");
}

/// Every rule × rounding × format × granularity, from f32 and from f64 itself.
#[test]
fn every_rounding_keeps_its_bound() {
    let kinds = [Kind::F32, Kind::F64];
    let matrix = |kind| Matrix::new((common::share(9), 70), Spread::HeavyTail, kind, 4);
    let matrices = kinds.map(matrix);
    let all: Vec<(Rule, Rounding)> =
        Rule::ALL.iter().flat_map(|rule| CAST_ROUNDINGS.map(|r| (*rule, r))).collect();
    let seen = Mutex::new(vec![(0, 0.0_f64); CAST_ROUNDINGS.len()]);
    common::parallel(all.len(), |i| {
        let (rule, rounding) = all[i];
        let (mut count, mut most) = (0, 0.0_f64);
        for cast in casts(rule) {
            let cast = cast.rounding(rounding);
            if cast.check().is_err() {
                continue;
            }
            for x in &matrices {
                let q = quantize(x.view(), &cast, &QuantizeOptions::new().random(STREAM)).unwrap();
                let mut values = vec![0.0_f32; q.rows() * q.cols()];
                q.dequantize_into(MatMut::new(&mut values, q.rows(), q.cols()).unwrap()).unwrap();
                let bounds = Quantization::new(x.view(), q.view()).unwrap().rounding(rounding);
                let report = bounds.check(&values);
                let report = report.unwrap_or_else(|violation| panic!("{cast}: {violation}"));
                (count, most) = (count + report.count, most.max(report.most_of_bound));
            }
        }
        let of = &mut seen.lock().unwrap()[i % CAST_ROUNDINGS.len()];
        *of = (of.0 + count, of.1.max(most));
    });
    let seen = seen.into_inner().unwrap();
    for (rounding, (count, most)) in CAST_ROUNDINGS.iter().zip(&seen) {
        assert!(*count > 0 && *most > 0.99, "{rounding:?}: {count}, {most}");
    }
    let most = seen.iter().map(|(_, most)| *most).fold(0.0, f64::max);
    let count = seen.iter().map(|(count, _)| *count as u64).sum();
    common::readme::held("casts and back, by every rounding", count, most);
}
