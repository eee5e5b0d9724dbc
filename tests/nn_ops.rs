//! Vector operations of training: forward against f64, backward against differences in f64, the
//! order of sums against its definition, the same bits on every instruction set and number of
//! threads, and what is refused.
#![cfg(feature = "std")]

mod common;
#[path = "common/vector.rs"]
mod vector;

use common::share;
use half::bf16;
use quarter::nn::{
    Exec, Mask, RowMoments, add_into, column_sums_into, cross_entropy, dot, gelu, gelu_backward,
    gelu_bf16, gelu_bf16_backward, layer_norm, layer_norm_backward, softmax, softmax_backward, sum,
    sum_of_squares,
};
use quarter::{Error, Isa};
use vector::{exact, values, wide};

/// The largest |result − exact| / max(|exact|, 1) allowed of each, in units of 2^-24.
const FORWARD: [(&str, f64); 5] =
    [("sum", 8.0), ("gelu", 4.1), ("layer_norm", 12.0), ("softmax", 4.0), ("cross_entropy", 8.0)];
/// The largest |gradient − difference of the f64 reference| / max(|difference|, 1) allowed.
const BACKWARD: f64 = 2e-6;
/// Step of those differences.
const H: f64 = 1e-4;

fn tolerance(name: &str) -> f64 {
    let found = FORWARD.iter().find(|(op, _)| *op == name);
    found.expect("an operation of the table").1 * 2f64.powi(-24)
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

#[track_caller]
fn assert_near(what: &str, got: &[f32], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let error = (f64::from(*got) - want).abs() / want.abs().max(1.0);
        assert!(error <= tolerance, "{what}[{i}]: {got:e}, not {want:e}: off by {error:e}");
    }
}

/// The gradient of Σ dy · f(x) by central differences.
fn differences(x: &[f64], dy: &[f64], f: impl Fn(&[f64]) -> Vec<f64>) -> Vec<f64> {
    let mut x = x.to_vec();
    let n = x.len();
    let total = |x: &[f64]| f(x).iter().zip(dy).map(|(y, dy)| y * dy).sum::<f64>();
    let mut one = |i: usize| {
        let before = x[i];
        x[i] = before + H;
        let up = total(&x);
        x[i] = before - H;
        let down = total(&x);
        x[i] = before;
        (up - down) / (2.0 * H)
    };
    (0..n).map(&mut one).collect()
}

// ---------------------------------------------------------------- the order of sums

/// The definition, as loops.
fn naive_sum(terms: impl Iterator<Item = f32>) -> f32 {
    let terms: Vec<f32> = terms.collect();
    let mut total = 0.0_f32;
    for chunk in terms.chunks(4096) {
        let mut lanes = [0.0_f32; 16];
        for (i, term) in chunk.iter().enumerate() {
            lanes[i % 16] += term;
        }
        for half in [8, 4, 2, 1] {
            for i in 0..half {
                lanes[i] += lanes[i + half];
            }
        }
        total += lanes[0];
    }
    total
}

fn lengths() -> [usize; 9] {
    [0, 1, 15, 16, 17, 4095, 4096, 4097, share(100_000)]
}

/// Every instruction set and number of threads, in a pool of four.
fn each_exec(check: impl Fn(Exec) + Send + Sync) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap();
    pool.install(|| {
        for isa in Isa::available() {
            for threads in [1, 2, 4] {
                check(Exec::new().isa(isa).threads(threads));
            }
        }
    });
}

#[test]
fn sums_are_in_the_order_of_the_law() {
    for n in lengths().into_iter().chain([share(600_000), share(5_000_000)]) {
        let (x, y) = (values(1, n), values(2, n));
        let want = [
            naive_sum(x.iter().copied()),
            naive_sum(x.iter().zip(&y).map(|(x, y)| x * y)),
            naive_sum(x.iter().map(|x| x * x)),
        ];
        each_exec(|e| {
            let got = [sum(&x, e), dot(&x, &y, e).unwrap(), sum_of_squares(&x, e)];
            assert_eq!(bits(&got), bits(&want), "{n} elements, {e:?}");
        });
        let exact: f64 = wide(&x).iter().map(|x| x * x).sum();
        assert_near("sum of squares", &want[2..], &[exact], tolerance("sum"));
    }
}

#[test]
fn columns_are_summed_in_the_order_of_the_law() {
    for (rows, cols) in [(0, 3), (1, 1), (17, 5), (4097, 3), (share(9000), 40), (20, 700), (5, 0)] {
        let x = values(3, rows * cols);
        let before = values(4, cols);
        let column = |c: usize| naive_sum((0..rows).map(|r| x[r * cols + c]));
        let want: Vec<f32> = (0..cols).map(|c| before[c] + column(c)).collect();
        each_exec(|e| {
            let mut sums = before.clone();
            column_sums_into(&x, cols, &mut sums, e).unwrap();
            assert_eq!(bits(&sums), bits(&want), "{rows} x {cols}, {e:?}");
        });
    }
}

// ---------------------------------------------------------------- the same bits everywhere

/// Everything that operations make of rows of so many columns, on one exec.
fn everything(x: &[f32], cols: usize, e: Exec) -> Vec<Vec<u32>> {
    let n = x.len();
    let rows = n / cols;
    let dy: Vec<f32> = x.iter().rev().map(|x| x * 0.5).collect();
    let half: Vec<bf16> = x.iter().map(|x| bf16::from_f32(*x)).collect();
    let (gain, bias) = (values(5, cols), values(6, cols));
    let mut all = Vec::new();
    let mut y = vec![0.0; n];
    let mut keep = |y: &[f32]| all.push(bits(y));
    gelu(x, &mut y, e).unwrap();
    keep(&y);
    gelu_bf16(&half, &mut y, e).unwrap();
    keep(&y);
    gelu_backward(x, &dy, &mut y, e).unwrap();
    keep(&y);
    gelu_bf16_backward(&half, &dy, &mut y, e).unwrap();
    keep(&y);
    add_into(x, &mut y, e).unwrap();
    keep(&y);
    let mut moments = vec![RowMoments::default(); rows];
    let (mut dgain, mut dbias) = (bias.clone(), gain.clone());
    for bias in [None, Some(&bias[..])] {
        layer_norm(x, &gain, bias, 1e-5, &mut y, &mut moments, e).unwrap();
        keep(&y);
    }
    keep(&moments.iter().flat_map(|m| [m.mean, m.rstd]).collect::<Vec<_>>());
    layer_norm_backward(&dy, x, &gain, &moments, &mut y, &mut dgain, Some(&mut dbias), e).unwrap();
    for y in [&y, &dgain, &dbias] {
        keep(y);
    }
    for mask in [Mask::None, Mask::Causal] {
        let (mut p, mut dp) = (x.to_vec(), dy.clone());
        softmax(&mut p, cols, 0.7, mask, e).unwrap();
        softmax_backward(&p, &mut dp, cols, 0.7, mask, e).unwrap();
        keep(&p);
        keep(&dp);
    }
    let targets: Vec<u32> = (0..rows).map(|r| (r * 7 % cols) as u32).collect();
    let loss = cross_entropy(x, cols, &targets, Some(&mut y), 0.3, e).unwrap();
    keep(&y);
    keep(&[loss, cross_entropy(x, cols, &targets, None, 0.3, e).unwrap()]);
    all
}

#[test]
fn bits_are_the_same_on_every_instruction_set_and_number_of_threads() {
    for n in lengths() {
        for (cols, specials) in
            [(n.max(1), false), (1, true), (17, false), (100, true), (4096, true)]
        {
            let n = n / cols * cols;
            let mut x = values(7, n);
            if specials {
                let nan = f32::from_bits(0xffc1_2345);
                let odd = [f32::INFINITY, -0.0, nan, 1e-40, f32::NEG_INFINITY, -3e38, 200.0];
                x.iter_mut().skip(3).step_by(67).zip(odd.iter().cycle()).for_each(|(x, y)| *x = *y);
            }
            let want = everything(&x, cols, Exec::new().isa(Isa::SCALAR).threads(1));
            each_exec(|e| {
                for (op, (got, want)) in everything(&x, cols, e).iter().zip(&want).enumerate() {
                    assert!(got == want, "result {op} of {n} in rows of {cols}, {e:?}");
                }
            });
        }
    }
}

// ---------------------------------------------------------------- forward and backward

const ONE: fn() -> Exec = || Exec::new().threads(1);

#[test]
fn gelu_is_that_of_f64_and_its_backward_the_slope() {
    let x = values(8, 2000);
    let half: Vec<bf16> = x.iter().map(|x| bf16::from_f32(*x)).collect();
    let widened: Vec<f32> = half.iter().map(|x| x.to_f32()).collect();
    let dy = values(9, x.len());
    let (mut y, mut dx) = (vec![0.0; x.len()], vec![9.0; x.len()]);
    gelu(&x, &mut y, ONE()).unwrap();
    let want: Vec<f64> = wide(&x).into_iter().map(exact::gelu).collect();
    assert_near("gelu", &y, &want, tolerance("gelu"));
    gelu_backward(&x, &dy, &mut dx, ONE()).unwrap();
    let slope = |x: f64| (exact::gelu(x + H) - exact::gelu(x - H)) / (2.0 * H);
    let want: Vec<f64> =
        x.iter().zip(&dy).map(|(x, dy)| f64::from(*dy) * slope((*x).into())).collect();
    assert_near("dx of gelu", &dx, &want, BACKWARD);

    let (mut y2, mut dx2) = (vec![0.0; x.len()], vec![9.0; x.len()]);
    gelu(&widened, &mut y, ONE()).unwrap();
    gelu_bf16(&half, &mut y2, ONE()).unwrap();
    gelu_backward(&widened, &dy, &mut dx, ONE()).unwrap();
    gelu_bf16_backward(&half, &dy, &mut dx2, ONE()).unwrap();
    assert_eq!((bits(&y), bits(&dx)), (bits(&y2), bits(&dx2)));
}

#[test]
fn layer_norm_and_its_backward() {
    let (rows, cols, eps) = (5, 33, 1e-3_f32);
    let x = values(10, rows * cols);
    let (gain, bias, dy) = (values(11, cols), values(12, cols), values(13, rows * cols));
    let (mut y, mut moments) = (vec![0.0; x.len()], vec![RowMoments::default(); rows]);
    layer_norm(&x, &gain, Some(&bias), eps, &mut y, &mut moments, ONE()).unwrap();
    let (x64, gain64, bias64, dy64) = (wide(&x), wide(&gain), wide(&bias), wide(&dy));
    let eps = f64::from(eps);
    let want = exact::layer_norm(&x64, &gain64, &bias64, eps);
    assert_near("layer_norm", &y, &want, tolerance("layer_norm"));

    let held = [values(14, x.len()), values(15, cols), values(16, cols)];
    let [mut dx, mut dgain, mut dbias] = held.clone();
    layer_norm_backward(&dy, &x, &gain, &moments, &mut dx, &mut dgain, Some(&mut dbias), ONE())
        .unwrap();
    let want = [
        differences(&x64, &dy64, |x| exact::layer_norm(x, &gain64, &bias64, eps)),
        differences(&gain64, &dy64, |gain| exact::layer_norm(&x64, gain, &bias64, eps)),
        differences(&bias64, &dy64, |bias| exact::layer_norm(&x64, &gain64, bias, eps)),
    ];
    for (i, got) in [dx, dgain, dbias].iter().enumerate() {
        let want: Vec<f64> = want[i].iter().zip(wide(&held[i])).map(|(d, held)| d + held).collect();
        assert_near(["dx", "dgain", "dbias"][i], got, &want, BACKWARD);
    }
}

#[test]
fn softmax_and_its_backward() {
    for (mask, causal) in [(Mask::None, false), (Mask::Causal, true)] {
        let (cols, scale) = (19, 0.6_f32);
        let x = values(17, 2 * cols * cols);
        let mut p = x.clone();
        softmax(&mut p, cols, scale, mask, ONE()).unwrap();
        let forward = |x: &[f64]| exact::softmax(x, cols, scale.into(), causal);
        assert_near("softmax", &p, &forward(&wide(&x)), tolerance("softmax"));
        let mut dp = values(18, x.len());
        let want = differences(&wide(&x), &wide(&dp), forward);
        softmax_backward(&p, &mut dp, cols, scale, mask, ONE()).unwrap();
        assert_near("dx of softmax", &dp, &want, BACKWARD);
        for (i, (p, dp)) in p.iter().zip(&dp).enumerate() {
            if causal && i % cols > i / cols % cols {
                assert_eq!((p.to_bits(), dp.to_bits()), (0, 0), "element {i} is hidden");
            }
        }
    }
}

#[test]
fn cross_entropy_and_its_gradient() {
    for (rows, vocab) in [(9, 37), (1, 1), (3, 700)] {
        let logits = values(19, rows * vocab);
        let targets: Vec<u32> = (0..rows as u32).map(|r| r * 11 % vocab as u32).collect();
        let mut gradient = vec![7.0; logits.len()];
        let weight = 1.0 / rows as f32;
        let loss =
            cross_entropy(&logits, vocab, &targets, Some(&mut gradient), weight, ONE()).unwrap();
        let forward = |l: &[f64]| vec![exact::cross_entropy(l, vocab, &targets)];
        assert_near("loss", &[loss], &forward(&wide(&logits)), tolerance("cross_entropy"));
        let want = differences(&wide(&logits), &[1.0], forward);
        assert_near("gradient", &gradient, &want, BACKWARD);
        assert_eq!(loss, cross_entropy(&logits, vocab, &targets, None, weight, ONE()).unwrap());
    }
}

/// The mean's sum goes over chunks of 4,096 rows.
#[test]
fn losses_are_summed_in_the_order_of_the_law() {
    let rows = 5000;
    let logits = values(20, rows * 3);
    let targets: Vec<u32> = (0..rows as u32).map(|r| r % 3).collect();
    let one = |r: usize| cross_entropy(&logits[3 * r..][..3], 3, &targets[r..=r], None, 1.0, ONE());
    let want = naive_sum((0..rows).map(|r| one(r).unwrap())) / rows as f32;
    each_exec(|e| assert_eq!(cross_entropy(&logits, 3, &targets, None, 1.0, e), Ok(want)));
}

// ---------------------------------------------------------------- what is odd, what is refused

#[test]
fn what_is_not_finite() {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let quiet = [0x7fc0_0000; 3];
    for row in [[-inf; 3], [1.0, inf, 0.0], [1.0, nan, 2.0], [-nan; 3]] {
        let mut p = row;
        softmax(&mut p, 3, 1.0, Mask::None, ONE()).unwrap();
        assert_eq!(p.map(f32::to_bits), quiet, "softmax of {row:?}");
    }
    let mut p = [0.0, -inf, 0.0, -0.0];
    softmax(&mut p, 4, 1.0, Mask::None, ONE()).unwrap();
    assert_eq!(p, [1.0 / 3.0, 0.0, 1.0 / 3.0, 1.0 / 3.0]);
    // Hidden columns are not looked at, in either direction.
    let mut p = [2.0, nan, 5.0, 5.0];
    softmax(&mut p, 2, 1.0, Mask::Causal, ONE()).unwrap();
    assert_eq!(p, [1.0, 0.0, 0.5, 0.5]);
    let mut dp = [1.0, nan, 3.0, 1.0];
    softmax_backward(&p, &mut dp, 2, 1.0, Mask::Causal, ONE()).unwrap();
    assert_eq!(dp, [0.0, 0.0, 0.5, -0.5]);

    let mut gradient = [0.0; 2];
    let mut loss =
        |l: &[f32; 2]| cross_entropy(l, 2, &[1], Some(&mut gradient), 1.0, ONE()).unwrap();
    assert_eq!(loss(&[0.0, -inf]), inf);
    assert_eq!(loss(&[-inf, 0.0]), 0.0);
    assert_eq!(loss(&[-1e38, 1e38]), 0.0);
    for odd in [[inf, 0.0], [-inf, -inf], [nan, 0.0], [0.0, -nan]] {
        assert_eq!(loss(&odd).to_bits(), 0x7fc0_0000, "loss of {odd:?}");
    }

    let mut dx = [0.0; 4];
    gelu_backward(&[inf, -inf, f32::MAX, f32::MIN], &[2.0; 4], &mut dx, ONE()).unwrap();
    assert_eq!(dx, [2.0, 0.0, 2.0, 0.0]);
    assert_eq!(sum(&[inf, -inf], ONE()).to_bits(), 0x7fc0_0000);
    assert_eq!(sum(&[], ONE()).to_bits(), 0);
}

#[test]
fn nothing_is_fine() {
    let e = ONE();
    gelu(&[], &mut [], e).unwrap();
    softmax(&mut [], 0, 1.0, Mask::Causal, e).unwrap();
    softmax_backward(&[], &mut [], 5, 1.0, Mask::None, e).unwrap();
    column_sums_into(&[], 0, &mut [], e).unwrap();
    assert_eq!(cross_entropy(&[], 0, &[], None, 1.0, e), Ok(0.0));
    assert_eq!(cross_entropy(&[], 5, &[], Some(&mut []), 1.0, e), Ok(0.0));
    let mut moments = [RowMoments::default(); 2];
    layer_norm(&[], &[], None, 0.25, &mut [], &mut moments, e).unwrap();
    assert_eq!(moments, [RowMoments { mean: 0.0, rstd: 2.0 }; 2]);
    layer_norm_backward(&[], &[], &[], &moments, &mut [], &mut [], None, e).unwrap();
    layer_norm(&[], &[1.0; 3], None, 0.0, &mut [], &mut [], e).unwrap();
}

#[test]
fn wrong_lengths_are_named_and_nothing_is_written() {
    let e = ONE();
    let error = |what, expected, got| Err(Error::Length { what, expected, got });
    let (x, half, mut out, mut three) = ([1.0_f32; 6], [bf16::ONE; 6], [9.0_f32; 5], [9.0_f32; 3]);
    assert_eq!(dot(&x, &out, e), Err(Error::Length { what: "y", expected: 6, got: 5 }));
    assert_eq!(add_into(&x, &mut out, e), error("y", 6, 5));
    assert_eq!(gelu(&x, &mut out, e), error("y", 6, 5));
    assert_eq!(gelu_bf16(&half, &mut out, e), error("y", 6, 5));
    assert_eq!(gelu_backward(&x, &x, &mut out, e), error("dx", 6, 5));
    assert_eq!(gelu_backward(&x, &[1.0; 7], &mut out, e), error("dy", 6, 7));
    assert_eq!(gelu_bf16_backward(&half, &x, &mut out, e), error("dx", 6, 5));
    assert_eq!(column_sums_into(&x, 4, &mut three, e), error("sums", 4, 3));
    assert_eq!(column_sums_into(&x[..5], 3, &mut three, e), error("x", 3, 5));
    assert_eq!(column_sums_into(&x, 0, &mut [], e), error("x", 0, 6));
    assert_eq!(softmax(&mut out, 3, 1.0, Mask::None, e), error("x", 3, 5));
    assert_eq!(softmax_backward(&x, &mut out, 3, 1.0, Mask::None, e), error("dp", 6, 5));

    let mut moments = [RowMoments::default(); 2];
    let (gain, mut y) = ([1.0; 3], [9.0; 6]);
    let m = &mut moments;
    assert_eq!(layer_norm(&x[..4], &gain, None, 0.0, &mut y, m, e), error("x", 6, 4));
    assert_eq!(layer_norm(&x, &gain, None, 0.0, &mut out, m, e), error("y", 6, 5));
    assert_eq!(layer_norm(&x, &gain, Some(&[0.0]), 0.0, &mut y, m, e), error("bias", 3, 1));
    assert_eq!(moments, [RowMoments::default(); 2]);
    let (m, mut two) = (&moments, [9.0; 2]);
    let (d, t) = (&mut y, &mut three);
    assert_eq!(layer_norm_backward(&x[1..], &x, &gain, m, d, t, None, e), error("dy", 6, 5));
    assert_eq!(layer_norm_backward(&x, &x[1..], &gain, m, d, t, None, e), error("x", 6, 5));
    assert_eq!(layer_norm_backward(&x, &x, &gain, m, &mut out, t, None, e), error("dx", 6, 5));
    assert_eq!(layer_norm_backward(&x, &x, &gain, m, d, &mut two, None, e), error("dgain", 3, 2));
    let wrong = layer_norm_backward(&x, &x, &gain, m, d, t, Some(&mut two), e);
    assert_eq!(wrong, error("dbias", 3, 2));

    let loss = |logits: &[f32], g: &mut [f32], targets: &[u32]| {
        cross_entropy(logits, 3, targets, Some(g), 1.0, e).unwrap_err()
    };
    let length = |what, expected, got| Error::Length { what, expected, got };
    assert_eq!(loss(&x[..5], &mut y, &[0, 1]), length("logits", 6, 5));
    assert_eq!(loss(&x, &mut out, &[0, 1]), length("gradient", 6, 5));
    let range = Error::Range { what: "target", got: 3, min: 0, max: 2 };
    assert_eq!(loss(&x, &mut y, &[0, 3]), range);
    assert_eq!(range.to_string(), "target is 3, outside 0..=2");
    let all = [&out[..], &three, &y, &two].concat();
    assert!(all.iter().all(|x| *x == 9.0), "half-written: {all:?}");
}
