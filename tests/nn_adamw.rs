//! AdamW: against f64 over many steps, bit by bit against loops, the same bits on every instruction
//! set and number of threads, steps that are left out, and what is refused.
#![cfg(feature = "std")]

mod common;

use common::{STREAM, share};
use half::bf16;
use quarter::nn::{AdamW, AdamWConfig, Exec, MomentType, Moments, Param, Update, WeightType};
use quarter::{Error, Isa};

const ONE: fn() -> Exec = || Exec::new().threads(1);

/// The last is cut for threads.
const LENGTHS: [usize; 6] = [0, 1, 4095, 4097, 20_000, 100_000];

/// Between −`size` and `size`.
fn values(seed: u64, n: usize, size: f32) -> Vec<f32> {
    let word = |i: u64| STREAM.word(seed << 32 | i) >> 8;
    (0..n as u64).map(|i| (word(i) as f32 / 2f32.powi(23) - 1.0) * size).collect()
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

fn config(moments: MomentType, weights: WeightType) -> AdamWConfig {
    AdamWConfig { moments, weights, seed: 7, ..AdamWConfig::default() }
}

const KINDS: [(MomentType, WeightType); 4] = [
    (MomentType::F32, WeightType::F32),
    (MomentType::Bf16, WeightType::F32),
    (MomentType::F32, WeightType::StochasticBf16),
    (MomentType::Bf16, WeightType::StochasticBf16),
];

/// The weights of two parameters: a matrix that decays and a gain that does not.
#[derive(Clone, Debug, PartialEq)]
struct Model([Vec<f32>; 2]);

impl Model {
    fn new(n: usize) -> Self {
        Self([values(1, n, 1.0), values(2, n / 3 + 1, 2.0)])
    }

    /// Gradients of a step, of several magnitudes.
    fn grads(&self, step: u64) -> [Vec<f32>; 2] {
        let size = [1e-3, 0.3, 2.0, 1e-6][step as usize % 4];
        let at = 10 + 2 * step;
        [values(at, self.0[0].len(), size), values(at + 1, self.0[1].len(), 0.1)]
    }

    fn step_by(&mut self, adamw: &mut AdamW, grads: &[Vec<f32>; 2], exec: Exec) -> Update {
        self.try_step(adamw, grads, exec).unwrap()
    }

    fn try_step(
        &mut self,
        adamw: &mut AdamW,
        grads: &[Vec<f32>; 2],
        exec: Exec,
    ) -> Result<Update, Error> {
        let [w, gain] = &mut self.0;
        let mut params = [
            Param { name: "w", value: w, grad: &grads[0], decay: true },
            Param { name: "gain", value: gain, grad: &grads[1], decay: false },
        ];
        adamw.step(&mut params, 0.01, exec)
    }

    fn bits(&self) -> Vec<u32> {
        self.0.iter().flat_map(|w| bits(w)).collect()
    }
}

/// Moments as f32: m and v.
fn moments(of: &Moments) -> [Vec<f32>; 2] {
    let wide = |x: &[bf16]| x.iter().map(|x| x.to_f32()).collect();
    match of {
        Moments::F32(m, v) => [m.clone(), v.clone()],
        Moments::Bf16(m, v) => [wide(m), wide(v)],
    }
}

fn run(config: AdamWConfig, n: usize, steps: u64, exec: Exec) -> (Model, AdamW) {
    let (mut model, mut adamw) = (Model::new(n), AdamW::new(config).unwrap());
    for step in 0..steps {
        let grads = model.grads(step);
        model.step_by(&mut adamw, &grads, exec);
    }
    (model, adamw)
}

// ---------------------------------------------------------------- against f64

/// The largest |weight − that of f64| / max(|it|, 1) allowed after 50 steps, in units of 2^-24. A
/// step rounds a weight twice, and 50 of them drift by less than their sum.
const DRIFT: f64 = 16.0;
/// The same of m and v, each relative to the largest of its parameter.
const MOMENT_DRIFT: f64 = 8.0;

#[test]
fn fifty_steps_are_those_of_f64() {
    let config = AdamWConfig::default();
    let (lr, n) = (f64::from(0.01_f32), share(2000));
    let [beta1, beta2, eps, decay] =
        [config.beta1, config.beta2, config.eps, config.weight_decay].map(f64::from);
    let (mut model, mut adamw) = (Model::new(n), AdamW::new(config).unwrap());
    let mut exact = model.0.clone().map(|w| w.into_iter().map(f64::from).collect::<Vec<_>>());
    let mut m = exact.clone().map(|w| vec![0.0; w.len()]);
    let mut v = m.clone();
    for step in 0..50 {
        let grads = model.grads(step);
        let update = model.step_by(&mut adamw, &grads, ONE());
        let wide = grads.each_ref().map(|g| g.iter().map(|g| f64::from(*g)).collect::<Vec<_>>());
        let norm = wide.iter().flatten().map(|g| g * g).sum::<f64>().sqrt();
        assert!((f64::from(update.grad_norm) / norm - 1.0).abs() < 1e-6, "{update:?}, not {norm}");
        let clip = (1.0 / (norm + 1e-6)).min(1.0);
        let t = step as i32 + 1;
        for p in 0..2 {
            for i in 0..exact[p].len() {
                let g = clip * wide[p][i];
                m[p][i] = beta1 * m[p][i] + (1.0 - beta1) * g;
                v[p][i] = beta2 * v[p][i] + (1.0 - beta2) * g * g;
                let w = exact[p][i] * if p == 0 { 1.0 - lr * decay } else { 1.0 };
                let (m, v) = (m[p][i] / (1.0 - beta1.powi(t)), v[p][i] / (1.0 - beta2.powi(t)));
                exact[p][i] = w - lr * m / (v.sqrt() + eps);
            }
        }
    }
    assert_eq!((adamw.steps(), adamw.skipped()), (50, 0));
    let error = |got: &[f32], want: &[f64], least: f64| {
        let errors =
            got.iter().zip(want).map(|(a, b)| (f64::from(*a) - b).abs() / b.abs().max(least));
        errors.fold(0.0, f64::max) * 2f64.powi(24)
    };
    for p in 0..2 {
        let [got_m, got_v] = moments(&adamw.moments()[p].1);
        let most = |x: &[f64]| x.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
        let off = error(&model.0[p], &exact[p], 1.0);
        let off_m = error(&got_m, &m[p], most(&m[p]));
        let off_v = error(&got_v, &v[p], most(&v[p]));
        println!("parameter {p}: weights {off:.2}, m {off_m:.2}, v {off_v:.2} · 2^-24");
        assert!(off <= DRIFT, "weights of parameter {p} are off by {off} · 2^-24");
        assert!(off_m.max(off_v) <= MOMENT_DRIFT, "parameter {p}: m by {off_m}, v by {off_v}");
    }
}

// ---------------------------------------------------------------- bit by bit

/// The sum of squares by the law of sums.
fn squares(x: &[f32]) -> f32 {
    let mut total = 0.0;
    for chunk in x.chunks(4096) {
        let mut lanes = [0.0_f32; 16];
        chunk.iter().enumerate().for_each(|(i, x)| lanes[i % 16] += x * x);
        for half in [8, 4, 2, 1] {
            (0..half).for_each(|i| lanes[i] += lanes[i + half]);
        }
        total += lanes[0];
    }
    total
}

/// The module's formulas with each operation rounded, moments rounded after.
#[test]
fn updates_are_the_loop_and_moments_in_bf16_are_rounded_after_it() {
    for kind in [MomentType::F32, MomentType::Bf16] {
        let c = config(kind, WeightType::F32);
        let round = |x: f32| match kind {
            MomentType::F32 => x,
            MomentType::Bf16 => bf16::from_f32(x).to_f32(),
        };
        let (mut model, mut adamw) = (Model::new(share(9001)), AdamW::new(c).unwrap());
        let mut want = model.0.clone();
        let mut m = want.clone().map(|w| vec![0.0_f32; w.len()]);
        let mut v = m.clone();
        for step in 0..12 {
            let grads = model.grads(step);
            let update = model.step_by(&mut adamw, &grads, Exec::new());
            let norm = grads.iter().fold(0.0, |sum, g| sum + squares(g)).sqrt();
            assert_eq!(update, Update { grad_norm: norm, skipped: false });
            let clip = (1.0 / (norm + 1e-6)).min(1.0_f32);
            let correction =
                |beta: f32| (1.0 / (1.0 - f64::from(beta).powi(step as i32 + 1))) as f32;
            let (m_up, v_up) = (correction(c.beta1), correction(c.beta2));
            for p in 0..2 {
                let decay = if p == 0 { 0.01 * c.weight_decay } else { 0.0 };
                for i in 0..want[p].len() {
                    let g = grads[p][i] * clip;
                    let first = c.beta1 * m[p][i] + (1.0 - c.beta1) * g;
                    let second = c.beta2 * v[p][i] + (1.0 - c.beta2) * (g * g);
                    let w = want[p][i] - decay * want[p][i];
                    want[p][i] = w - 0.01 * (first * m_up) / ((second * v_up).sqrt() + c.eps);
                    (m[p][i], v[p][i]) = (round(first), round(second));
                }
                let [got_m, got_v] = moments(&adamw.moments()[p].1);
                for (what, got, want) in
                    [("w", &model.0[p], &want[p]), ("m", &got_m, &m[p]), ("v", &got_v, &v[p])]
                {
                    let wrong = (0..want.len()).find(|i| got[*i].to_bits() != want[*i].to_bits());
                    assert_eq!(wrong, None, "{what} of parameter {p}, {kind:?}, step {step}");
                }
            }
        }
    }
}

#[test]
fn bits_are_the_same_on_every_instruction_set_and_number_of_threads() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap();
    for (kind, n) in KINDS.into_iter().flat_map(|kind| LENGTHS.map(|n| (kind, n))) {
        let (config, n) = (config(kind.0, kind.1), if n > 4097 { share(n) } else { n });
        let want = run(config, n, 3, ONE().isa(Isa::SCALAR));
        for isa in Isa::available() {
            for threads in [1, 2, 4, 0] {
                let got = pool.install(|| run(config, n, 3, Exec::new().isa(isa).threads(threads)));
                assert!(got.0.bits() == want.0.bits(), "{n}, {kind:?}, {isa:?}, {threads} threads");
                assert!(got.1 == want.1, "moments of {n}, {kind:?}, {isa:?}, {threads} threads");
            }
        }
    }
}

// ---------------------------------------------------------------- weights in bf16

#[test]
fn stochastic_weights_are_numbers_of_bf16_between_which_chance_decides() {
    let n = share(1 << 16);
    let start: Vec<f32> = values(3, n, 1.0).iter().map(|x| bf16::from_f32(*x).to_f32()).collect();
    let grad = values(4, n, 1.0);
    let stepped = |weights, seed| {
        let c = AdamWConfig { seed, ..config(MomentType::F32, weights) };
        let (mut adamw, mut w) = (AdamW::new(c).unwrap(), start.clone());
        let mut params = [Param { name: "w", value: &mut w, grad: &grad, decay: true }];
        adamw.step(&mut params, 1e-3, Exec::new()).unwrap();
        w
    };
    let exact = stepped(WeightType::F32, 7);
    let rounded = stepped(WeightType::StochasticBf16, 7);
    // Each is a neighbour of the exact one; z = Σ (rounded − exact) / sqrt(Σ variance) is about
    // normal if each goes up with the chance that makes it unbiased.
    let (mut off, mut variance, mut odd) = (0.0, 0.0, 0);
    for (i, (exact, got)) in exact.iter().zip(&rounded).enumerate() {
        assert_eq!(got.to_bits() & 0xffff, 0, "weight {i} is {got:e}, no number of bf16");
        let down = f32::from_bits(exact.to_bits() & 0xffff_0000);
        let up = f32::from_bits(down.to_bits() + 0x1_0000);
        assert!(
            *got == down || (*got == up && down != *exact),
            "{got:e} is no neighbour of {exact:e}"
        );
        let [exact, got, down, up] = [*exact, *got, down, up].map(f64::from);
        off += got - exact;
        variance += (exact - down) * (up - exact);
        odd += u32::from(exact != down);
    }
    let z = off / f64::sqrt(variance);
    println!("{odd} of {n} were rounded; bias {z:.2} standard deviations");
    assert!(
        odd as usize > n / 2 && z.abs() < 4.5,
        "{odd} of {n} rounded, biased by {z} deviations"
    );

    assert_eq!(bits(&rounded), bits(&stepped(WeightType::StochasticBf16, 7)));
    let other = stepped(WeightType::StochasticBf16, 8);
    let differ = rounded.iter().zip(&other).filter(|(a, b)| a != b).count();
    assert!(differ > n / 8, "another seed changes {differ} of {n} alone");
}

/// Steps and names have words of their own: updates far below half an ulp add up.
#[test]
fn stochastic_weights_move_by_updates_far_below_their_precision() {
    let n = share(4096);
    let c =
        AdamWConfig { weight_decay: 0.0, ..config(MomentType::Bf16, WeightType::StochasticBf16) };
    let mut adamw = AdamW::new(c).unwrap();
    let (mut a, mut b) = (vec![1.0_f32; n], vec![1.0_f32; n]);
    let grad = vec![1e-3; n];
    for _ in 0..100 {
        let mut params = [
            Param { name: "a", value: &mut a, grad: &grad, decay: false },
            Param { name: "b", value: &mut b, grad: &grad, decay: false },
        ];
        adamw.step(&mut params, 1e-4, Exec::new()).unwrap();
    }
    assert_ne!(bits(&a), bits(&b), "two parameters draw the same words");
    // Numbers below 1 are 2^-8 apart, 39 updates: the mean of n has a deviation below 2^-8 / √n · 5.
    let mean = a.iter().map(|w| f64::from(*w)).sum::<f64>() / n as f64;
    let deviation = 100_f64.sqrt() * (1e-4 * 2f64.powi(-8)).sqrt() / (n as f64).sqrt();
    println!("mean {mean:.5}, {:.2} deviations", (mean - 0.99) / deviation);
    assert!((mean - 0.99).abs() < 5.0 * deviation, "the mean is {mean}, not 0.99");
}

// ---------------------------------------------------------------- clipping, steps that are left out

#[test]
fn long_gradients_are_cut_and_short_ones_are_not() {
    let step = |max_norm, size: f32| {
        let c = AdamWConfig { max_norm, weight_decay: 0.0, ..AdamWConfig::default() };
        let mut adamw = AdamW::new(c).unwrap();
        let (mut a, mut b) = ([1.0_f32], [1.0_f32]);
        let (x, y) = ([3.0 * size], [-4.0 * size]);
        let mut params = [
            Param { name: "a", value: &mut a, grad: &x, decay: true },
            Param { name: "b", value: &mut b, grad: &y, decay: true },
        ];
        let norm = adamw.step(&mut params, 0.0, ONE()).unwrap().grad_norm;
        assert_eq!((a, b), ([1.0], [1.0]), "a step of length 0 moves nothing");
        let m = adamw.moments().iter().map(|(_, of)| moments(of)[0][0] / (1.0 - c.beta1));
        (norm, m.collect::<Vec<_>>())
    };
    let near = |got: &[f32], want: [f32; 2]| {
        assert!(
            got.iter().zip(want).all(|(a, b)| (a - b).abs() <= 1e-6 * b.abs()),
            "{got:?}, {want:?}"
        );
    };
    let (norm, g) = step(Some(1.0), 10.0);
    assert_eq!(norm, 50.0, "the norm is that before the cut, of both parameters");
    near(&g, [0.6, -0.8]);
    near(&step(Some(100.0), 10.0).1, [30.0, -40.0]);
    near(&step(None, 10.0).1, [30.0, -40.0]);
    near(&step(Some(0.5), 0.02).1, [0.06, -0.08]);
    assert_eq!(step(Some(0.0), 1.0).1, [0.0, -0.0]);
    assert_eq!(step(Some(1.0), 0.0), (0.0, vec![0.0, -0.0]));
}

#[test]
fn steps_that_are_left_out_change_nothing_and_are_counted() {
    for (kind, weights) in KINDS {
        let fresh = AdamW::new(config(kind, weights)).unwrap();
        let (trained, later) = run(config(kind, weights), 100, 3, ONE());
        for (mut model, mut adamw) in [(Model::new(100), fresh), (trained, later)] {
            let (before, held) = (model.clone(), adamw.clone());
            // The last is finite, but its square is not.
            let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30];
            for (i, odd) in odd.into_iter().enumerate() {
                let mut grads = model.grads(3);
                grads[i % 2][20] = odd;
                let update = model.step_by(&mut adamw, &grads, Exec::new());
                assert!(update.skipped && !update.grad_norm.is_finite(), "{odd}: {update:?}");
                assert_eq!(model.bits(), before.bits(), "{odd} changes weights");
                assert_eq!(adamw.moments(), held.moments(), "{odd} changes moments");
                assert_eq!((adamw.steps(), adamw.skipped()), (held.steps(), i as u64 + 1));
            }
            // The next is as if they had not been.
            let (mut other, mut without) = (before, held);
            let grads = model.grads(4);
            model.step_by(&mut adamw, &grads, ONE());
            other.step_by(&mut without, &grads, ONE());
            assert_eq!(model.bits(), other.bits());
            assert_eq!(adamw.moments(), without.moments());
        }
    }
}

// ---------------------------------------------------------------- resuming, what is refused

#[test]
fn goes_on_bit_for_bit_after_every_step() {
    for (kind, weights) in KINDS {
        let (config, n) = (config(kind, weights), share(5000));
        let (whole, end) = run(config, n, 6, ONE());
        for cut in 0..6 {
            let (mut model, saved) = run(config, n, cut, ONE());
            let mut adamw = AdamW::new(config).unwrap();
            let held = saved.moments().to_vec();
            adamw.restore(saved.steps(), saved.skipped(), held).unwrap();
            assert_eq!(adamw, saved);
            for step in cut..6 {
                let grads = model.grads(step);
                model.step_by(&mut adamw, &grads, Exec::new());
            }
            assert!(model.bits() == whole.bits(), "cut at step {cut}, {kind:?}, {weights:?}");
            assert_eq!(adamw, end);
        }
    }
}

#[test]
fn what_does_not_fit_is_named_and_changes_nothing() {
    let (mut model, mut adamw) = run(AdamWConfig::default(), 30, 2, ONE());
    let (before, held) = (model.clone(), adamw.clone());
    let mut grads = model.grads(2);
    grads[1].pop();
    let error = model.try_step(&mut adamw, &grads, ONE()).unwrap_err();
    assert_eq!(error, Error::Length { what: "gradient of a parameter", expected: 11, got: 10 });
    assert_eq!(error.to_string(), "gradient of a parameter has 10 elements, but 11 are needed");

    let mut refused = |names: &[&str], n: usize, expected: u64, got: u64| {
        let mut all: Vec<Vec<f32>> = names.iter().map(|_| vec![1.0; n]).collect();
        let grad = vec![1.0; n];
        let params = names.iter().zip(&mut all);
        let mut params: Vec<_> =
            params.map(|(name, value)| Param { name, value, grad: &grad, decay: false }).collect();
        let error = adamw.step(&mut params, 0.1, ONE()).unwrap_err();
        let Error::State { expected: e, got: g, .. } = error else { panic!("{error}") };
        assert_eq!((e, g), (expected, got), "{error}");
        let text = error.to_string();
        assert!(text.contains(&e.to_string()) && text.contains(&g.to_string()), "{text}");
        assert!(all.iter().flatten().all(|w| *w == 1.0), "{error}, and yet weights have moved");
    };
    refused(&["w"], 30, 2, 1);
    refused(&["w", "gain", "bias"], 30, 2, 3);
    refused(&["w", "other"], 30, 30, 11);
    refused(&["other", "gain"], 30, 0, 1);
    refused(&[], 30, 2, 0);

    let state = |what, expected, got| Err(Error::State { what, expected, got });
    let [one, half] = [vec![0.0; 3], vec![0.0; 2]];
    let uneven = vec![("w".to_owned(), Moments::F32(one, half))];
    assert_eq!(adamw.restore(9, 9, uneven), state("number of second moments", 3, 2));
    let narrow = Moments::Bf16(vec![bf16::ONE; 3], vec![bf16::ONE; 3]);
    let narrow = vec![("w".to_owned(), narrow)];
    assert_eq!(adamw.restore(9, 9, narrow.clone()), state("bytes of a saved moment", 4, 2));
    let mut other = AdamW::new(config(MomentType::Bf16, WeightType::F32)).unwrap();
    let wide = held.moments().to_vec();
    assert_eq!(other.restore(9, 9, wide), state("bytes of a saved moment", 2, 4));
    assert_eq!((other.steps(), other.moments()), (0, &[][..]));
    other.restore(9, 1, narrow).unwrap();
    assert_eq!((other.steps(), other.skipped()), (9, 1));
    assert!(adamw == held && model == before);
}

#[test]
fn numbers_that_are_none_of_an_update_are_refused() {
    let fine = AdamWConfig::default();
    let nan = f32::NAN;
    for beta in [1.0, -0.1, nan, f32::INFINITY] {
        for c in [AdamWConfig { beta1: beta, ..fine }, AdamWConfig { beta2: beta, ..fine }] {
            let error = AdamW::new(c).unwrap_err();
            assert!(matches!(error, Error::Recipe { field: "beta", .. }), "{error}");
        }
    }
    for odd in [-1.0, nan, f32::INFINITY] {
        let all = [
            AdamWConfig { eps: odd, ..fine },
            AdamWConfig { weight_decay: odd, ..fine },
            AdamWConfig { max_norm: Some(odd), ..fine },
        ];
        for c in all {
            let error = AdamW::new(c).unwrap_err();
            assert!(error.to_string().contains("finite and not negative"), "{error}");
        }
    }
    let error = AdamW::new(AdamWConfig { eps: 0.0, ..fine }).unwrap_err();
    assert!(error.to_string().contains("positive"), "{error}");
    let edge = AdamWConfig { beta1: 0.0, beta2: 0.0, ..fine };
    assert_eq!(AdamW::new(edge).unwrap().config(), &edge);

    let mut w = [1.0_f32];
    let mut optimizer = AdamW::new(fine).unwrap();
    for lr in [-1.0, nan, f32::INFINITY] {
        let mut params = [Param { name: "w", value: &mut w, grad: &[1.0], decay: true }];
        let error = optimizer.step(&mut params, lr, Exec::new()).unwrap_err();
        assert!(matches!(error, Error::Recipe { field: "lr", .. }), "{error}");
    }
    assert_eq!((w, optimizer.steps()), ([1.0], 0));
    assert!(matches!(optimizer.restore(3, 0, Vec::new()), Err(Error::State { got: 3, .. })));
}
