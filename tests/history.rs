//! Delayed scaling against TransformerEngine's kernels (tests/data/history, and all cases under
//! `QUARTER_GOLDEN`), against MS-AMP's rules written as they are there, and its laws.
#![cfg(feature = "std")]

#[path = "common/golden.rs"]
#[allow(dead_code)]
mod golden;
#[path = "common/npy.rs"]
#[allow(dead_code)]
mod npy;

use npy::Array;
use quarter::scale::{AmaxAlgo, AmaxHistory, HistoryConfig, NonFinite, Roll, Rule, join_amax};
use quarter::{Error, FormatId, RandomStream};
use serde_json::Value;
use std::path::Path;

fn history(config: HistoryConfig, rule: Rule) -> AmaxHistory {
    AmaxHistory::new(config, FormatId::F8E4M3, rule).unwrap()
}

fn config(text: &str) -> HistoryConfig {
    text.parse().unwrap()
}

fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
}

/// Replays a sequence of an engine; `window` is none where only the scales are at hand.
fn replay(
    name: &str,
    (config, format): (HistoryConfig, FormatId),
    amax: &Array,
    scale: &Array,
    window: Option<&Array>,
) {
    let (steps, tensors) = (amax.shape[0], amax.shape[1]);
    assert_eq!((&scale.shape, steps), (&amax.shape, 40), "{name}");
    let mut histories: Vec<AmaxHistory> =
        (0..tensors).map(|_| AmaxHistory::new(config, format, Rule::TeDelayed).unwrap()).collect();
    for step in 0..steps {
        for (tensor, history) in histories.iter_mut().enumerate() {
            let at = step * tensors + tensor;
            let note = format!("{name}, step {step}, tensor {tensor}, amax {:e}", amax.f32()[at]);
            let before = history.scale();
            history.record(amax.f32()[at]);
            assert_eq!(history.scale().to_bits(), before.to_bits(), "{note}: moved in the step");
            history.update();
            let (got, want) = (history.scale(), scale.f32()[at]);
            let bits = (got.to_bits(), want.to_bits());
            assert!(
                same(got, want),
                "{note}\n  scale {got:e} {:#034b}\n  want  {want:e} {:#034b}",
                bits.0,
                bits.1
            );
            let Some(window) = window else { continue };
            assert_eq!(window.shape, [steps, config.len, tensors], "{name}");
            let want =
                (0..config.len).map(|j| window.f32()[(step * config.len + j) * tensors + tensor]);
            for (j, (got, want)) in history.window().iter().zip(want).enumerate() {
                assert!(same(*got, want), "{note}: window[{j}] is {got:e}, not {want:e}");
            }
        }
    }
}

#[test]
fn te_in_tests_data() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/history");
    let read = |name: &str| Array::read(&folder.join(format!("{name}.npy")));
    let amax = read("te_delayed_amax_seq0");
    for (name, text) in [
        ("te_delayed_bulk_e4m3_len4_max_m0_seq0", "4:max:bulk:te"),
        ("te_delayed_kernel_e4m3_len4_max_m0_seq0", "4:max:kernel:te"),
    ] {
        let (scale, window) = (read(&format!("{name}.scale")), read(&format!("{name}.history")));
        replay(name, (config(text), FormatId::F8E4M3), &amax, &scale, Some(&window));
    }
    let name = "te_delayed_bulk_e5m2_len16_max_m1_seq0";
    let scale = read(&format!("{name}.scale"));
    let config = config("16:max:bulk:te:margin=1");
    replay(name, (config, FormatId::F8E5M2), &amax, &scale, None);
}

#[test]
fn every_te_case() {
    let Some(root) = golden::folder("scaling", "TransformerEngine's delayed scaling, all cases")
    else {
        return;
    };
    let index: Value = serde_json::from_slice(&golden::read(&root.join("index.json"))).unwrap();
    let (mut passed, mut out) = (0, 0);
    for case in index["cases"].as_array().unwrap() {
        if case["recipe"] != "te_delayed_scaling" {
            continue;
        }
        let (params, name) = (&case["params"], case["name"].as_str().unwrap());
        let file = |kind: &str| Array::read(&root.join(case["files"][kind].as_str().unwrap()));
        let roll = params["variant"].as_str().unwrap();
        if roll == "python" {
            out += 1; // its reciprocal(amax) · max differs by one ulp in a quarter of the scales
            continue;
        }
        let window = case["files"].get("history").map(|_| file("history"));
        let config = HistoryConfig {
            len: params["amax_history_len"].as_u64().unwrap() as usize,
            algo: params["amax_compute_algo"].as_str().unwrap().parse().unwrap(),
            roll: roll.parse().unwrap(),
            margin: params["margin"].as_i64().unwrap() as i32,
            ..HistoryConfig::TE
        };
        let format = golden::format(params["format"].as_str().unwrap());
        replay(name, (config, format), &file("amax"), &file("scale"), window.as_ref());
        passed += 1;
    }
    println!("TransformerEngine, delayed scaling: {passed} passed, {out} out (python variant)");
    assert_eq!(passed, 54);
}

#[test]
fn every_msamp_table() {
    let Some(root) = golden::folder("scaling", "MS-AMP's scale tables") else { return };
    let index: Value = serde_json::from_slice(&golden::read(&root.join("index.json"))).unwrap();
    let (mut tables, mut scales, mut log2) = (0, 0, 0);
    for case in index["cases"].as_array().unwrap() {
        if case["engine"] != "MS-AMP" {
            continue;
        }
        let file = |kind: &str| Array::read(&root.join(case["files"][kind].as_str().unwrap()));
        let format = match case["params"]["format"].as_str().unwrap() {
            "fp16" => FormatId::F16,
            name => golden::format(name),
        };
        let margin = case["params"]["margin"].as_i64().unwrap() as i32;
        let previous = case["params"]["previous_scale"].as_f64().unwrap() as f32;
        // A window of 1 whose scale is the rule's of the amax, Inf included.
        let config = HistoryConfig { len: 1, margin, ..config("1:most_recent:kernel:te") };
        let mut history = AmaxHistory::new(config, format, Rule::MsAmp).unwrap();
        let mut start = history.snapshot();
        start.scale = previous;
        for (amax, want) in file("amax").f32().iter().zip(file("scale").f32()) {
            history.restore(&start).unwrap();
            history.record(*amax);
            history.update();
            let got = history.scale();
            // Inf is what the engine's 2^128 becomes.
            let [g, w] = [got, *want].map(|x| f64::from(x).min(2f64.powi(128)));
            let by_one = w > 0.0 && (g == 2.0 * w || w == 2.0 * g);
            assert!(
                same(got, *want) || by_one,
                "{}: {amax:e} gives {got:e}, not {want:e}",
                case["name"]
            );
            scales += 1;
            log2 += usize::from(!same(got, *want));
        }
        tables += 1;
    }
    println!(
        "MS-AMP: {tables} tables, {scales} scales, {log2} of them one exponent off (f32 log2)"
    );
    assert_eq!(tables, 6);
}

/// Amaxes with everything that may come, for 40 steps.
fn script(step: u64, tensor: u32) -> f32 {
    let word = RandomStream { seed: 5, tensor, step: 0 }.word(step);
    match word % 8 {
        0 => 0.0,
        1 if word & 0x100 != 0 => f32::INFINITY,
        1 => f32::NAN,
        2 => f32::from_bits(word >> 12), // subnormal
        _ => f32::from_bits((word >> 8) % 0x1000_0000 + 0x3800_0000),
    }
}

/// MS-AMP's `ScalingMeta` and `_update_scaling_factors`, as lists and loops.
struct MsAmp {
    amax: Vec<f32>,
    counter: usize,
    scale: f32,
}

impl MsAmp {
    fn factor(amax: f32, scale: f32) -> f32 {
        let exp = (448.0 / f64::from(amax)).log2().floor();
        let mut sf = exp.abs().exp2() as f32;
        if !(amax > 0.0 && amax.is_finite()) {
            sf = scale;
        }
        if exp < 0.0 { 1.0 / sf } else { sf }
    }

    fn in_time(&self) -> bool {
        self.amax.len() == 1 || self.counter < self.amax.len()
    }

    fn cast(&mut self, amax: f32) -> f32 {
        if self.in_time() {
            self.amax[0] = amax;
            self.scale = Self::factor(amax, self.scale);
        } else {
            self.amax[0] = amax.max(self.amax[0]);
            if amax.is_nan() {
                self.amax[0] = amax;
            }
        }
        self.scale
    }

    fn step(&mut self) {
        let bad = !self.amax[0].is_finite();
        if bad {
            self.amax[0] = 0.0;
        }
        self.scale = Self::factor(self.amax.iter().fold(0.0, |a: f32, b| a.max(*b)), self.scale);
        let len = self.amax.len();
        self.amax = std::iter::once(0.0).chain(self.amax[..len - 1].iter().copied()).collect();
        self.counter = if bad { 0 } else { self.counter + 1 };
    }
}

#[test]
fn msamp_over_400_steps() {
    for config in
        [HistoryConfig::MSAMP, HistoryConfig::MSAMP_WEIGHT, config("3:max:msamp:reset:warm-up=3")]
    {
        for tensor in 0..20 {
            let mut want = MsAmp { amax: vec![0.0; config.len], counter: 0, scale: 1.0 };
            let mut got = history(config, Rule::MsAmp);
            for step in 0..400 {
                // Mostly tame for 30 steps, so that the warm-up ends.
                let amax = script(step, tensor);
                let amax = if step % 60 < 30 && !amax.is_finite() { 2.0 } else { amax };
                let note = format!("{config}, tensor {tensor}, step {step}, amax {amax:e}");
                assert_eq!(got.in_warm_up(), want.in_time(), "{note}");
                let scale = got.scale_for(amax);
                got.record(amax);
                assert_eq!(scale.to_bits(), want.cast(amax).to_bits(), "{note}: scale in the step");
                assert_eq!(got.scale_for(amax).to_bits(), scale.to_bits(), "{note}: recomputed");
                got.update();
                want.step();
                assert_eq!(got.scale().to_bits(), want.scale.to_bits(), "{note}: scale after it");
                assert_eq!(got.window(), want.amax, "{note}");
            }
        }
    }
}

#[test]
fn the_inf_trap_and_the_safe_variant() {
    let mut te = history(config("8:max:bulk:te"), Rule::TeDelayed);
    let mut safe = history(config("8:max:bulk:safe"), Rule::TeDelayed);
    for history in [&mut te, &mut safe] {
        history.record(2.0);
        history.update();
        history.record(f32::INFINITY);
        history.update();
        assert_eq!(history.scale(), 224.0);
    }
    for step in 0..8 {
        for history in [&mut te, &mut safe] {
            history.record(4.0);
            history.update();
        }
        assert_eq!(te.scale(), if step < 7 { 224.0 } else { 112.0 }, "step {step}");
        assert_eq!(safe.scale(), 112.0);
        assert!(safe.window().iter().all(|amax| amax.is_finite()));
    }
    // NaN: passed over by max; kept out by the safe variant.
    for (text, windows) in
        [("4:max:bulk:te", true), ("4:most_recent:bulk:te", true), ("4:max:bulk:safe", false)]
    {
        let mut history = history(config(text), Rule::TeDelayed);
        history.record(7.0);
        history.update();
        history.record(f32::NAN);
        history.record(1.0);
        assert!(history.recorded().is_nan(), "NaN above all");
        history.update();
        assert_eq!(history.scale(), 64.0, "{text}");
        assert_eq!(history.window().iter().any(|amax| amax.is_nan()), windows, "{text}");
    }
    // Current scaling does not take Inf either.
    let mut safe = history(config("4:max:msamp:safe:warm-up=always"), Rule::MsAmp);
    assert_eq!((safe.scale_for(f32::INFINITY), safe.scale_for(f32::NAN)), (1.0, 1.0));
    safe.record(f32::INFINITY);
    safe.update();
    assert_eq!((safe.scale(), safe.scale_for(448.0), safe.scale_for(224.0)), (1.0, 1.0, 2.0));
}

#[test]
fn a_warm_up_scales_te_by_its_own_amax() {
    let mut te = history(config("4:max:bulk:te:warm-up=2"), Rule::TeDelayed);
    assert!(te.in_warm_up());
    assert_eq!((te.scale_for(7.0), te.scale_for(0.0)), (64.0, 1.0));
    te.update(); // the layer did not run: not counted
    for amax in [7.0, 14.0] {
        assert!(te.in_warm_up());
        te.record(amax);
        te.update();
    }
    assert!(!te.in_warm_up());
    assert_eq!((te.scale_for(1.0), te.scale()), (32.0, 32.0));
}

#[test]
fn a_step_keeps_its_scale_and_recording_twice_is_once() {
    for text in [
        "16:max:bulk:te",
        "16:max:kernel:safe",
        "1:most_recent:bulk:te",
        "16:max:msamp:reset:warm-up=16",
    ] {
        let (mut once, mut twice) =
            (history(config(text), Rule::MsAmp), history(config(text), Rule::MsAmp));
        for step in 0..40 {
            let parts = [script(step, 1), script(step, 2), script(step, 3)];
            let scale = once.scale();
            parts.iter().for_each(|amax| once.record(*amax));
            // Recomputed, in another order, and with the sign of an element.
            for amax in parts.iter().chain(parts.iter().rev()) {
                twice.record(-*amax);
                assert_eq!(twice.scale().to_bits(), scale.to_bits());
            }
            assert_eq!(once.snapshot(), twice.snapshot(), "{text}, step {step}");
            once.update();
            twice.update();
            assert_eq!(once, twice, "{text}, step {step}");
        }
    }
    let amaxes = [0.0, 1.0, 1e-45, f32::MAX, f32::INFINITY, f32::NAN];
    for (a, b) in amaxes.iter().flat_map(|a| amaxes.map(|b| (*a, b))) {
        assert!(same(join_amax(a, b), join_amax(b, a)));
        assert!(same(join_amax(a, join_amax(a, b)), join_amax(a, b)));
        assert_eq!(join_amax(a, b).is_nan(), a.is_nan() || b.is_nan());
    }
}

#[test]
fn a_window_of_another_length_is_cut_or_padded_at_its_end() {
    let mut long = history(config("6:max:bulk:te"), Rule::TeDelayed);
    for amax in 1..=6 {
        long.record(amax as f32);
        long.update();
    }
    long.record(9.0);
    assert_eq!(long.window(), [9.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    for (len, window) in
        [(3, vec![9.0, 2.0, 3.0]), (8, vec![9.0, 2.0, 3.0, 4.0, 5.0, 6.0, 0.0, 0.0])]
    {
        let mut other = history(HistoryConfig { len, ..config("1:max:bulk:te") }, Rule::TeDelayed);
        other.restore(&long.snapshot()).unwrap();
        assert_eq!((other.window(), other.scale()), (&window[..], long.scale()));
    }
}

#[test]
fn bad_states_and_settings_are_errors() {
    let mut good = history(config("4:max:bulk:te"), Rule::TeDelayed);
    good.record(3.0);
    good.update();
    let saved = good.snapshot();
    type Change = fn(&mut quarter::scale::HistorySnapshot);
    let mut bad = Vec::new();
    let changes: [Change; 5] = [
        |s| s.window.clear(),
        |s| s.window[2] = -1.0,
        |s| s.scale = f32::NAN,
        |s| s.scale = -1.0,
        |s| s.window.resize(HistoryConfig::MAX_LEN + 1, 0.0),
    ];
    for change in changes {
        let mut state = saved.clone();
        change(&mut state);
        bad.push(state);
    }
    for state in bad {
        assert!(matches!(good.restore(&state), Err(Error::State { .. })));
        assert_eq!(good.snapshot(), saved, "changed by a state that was refused");
    }
    for config in [
        HistoryConfig { len: 0, ..HistoryConfig::TE },
        HistoryConfig { len: usize::MAX, ..HistoryConfig::TE },
        HistoryConfig { margin: 127, ..HistoryConfig::TE },
        HistoryConfig { margin: i32::MIN, ..HistoryConfig::TE },
    ] {
        let new = AmaxHistory::new(config, FormatId::F8E4M3, Rule::TeDelayed);
        assert!(matches!(new, Err(Error::Range { .. })), "{config}");
    }
    for rule in Rule::ALL {
        let new = AmaxHistory::new(HistoryConfig::TE, FormatId::F8E4M3, *rule);
        assert_eq!(new.is_ok(), rule.keeps_history(), "{rule}");
    }
}

#[test]
fn settings_as_text() {
    for (algo, roll) in AmaxAlgo::ALL.iter().flat_map(|a| Roll::ALL.iter().map(move |r| (*a, *r))) {
        for non_finite in NonFinite::ALL {
            for (len, margin, warm_up) in [(1, 0, 0), (1024, 3, 1), (65536, -126, u32::MAX)] {
                let config =
                    HistoryConfig { len, algo, roll, non_finite: *non_finite, margin, warm_up };
                assert_eq!(config.to_string().parse(), Ok(config));
            }
        }
    }
    for text in [
        "",
        "16",
        "16:max:bulk",
        "16:max:bulk:te:",
        "16:max:bulk:te:margin",
        "16:max:bulk:te:margin=1:margin=1",
        "16:max:bulk:te:warm-up=-1",
        "16:mean:bulk:te",
        "65537:max:bulk:te",
        "16:max:bulk:te:margin=999999999999",
    ] {
        assert!(text.parse::<HistoryConfig>().is_err(), "{text}");
    }
}
