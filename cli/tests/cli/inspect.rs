//! `quarter inspect`: figures worked out by hand, and those of verification.md's A8.

pub mod outside;

use self::outside::xml;
use crate::checkpoint::{Dtype, Tensor, codes, file, singles as bytes, tensor};
use crate::common::{Run, Scene, command, npy, raw, run, singles};
use quarter::{F8E4M3, RandomStream};
use serde_json::{Value, json};

fn inspect(scene: &Scene, args: &[&str]) -> Run {
    let mut command = command(&["inspect"]);
    command.args(args).current_dir(scene.dir.path());
    run(command)
}

/// The document of an inspection that must work.
#[track_caller]
fn document(scene: &Scene, args: &[&str]) -> Value {
    let run = inspect(scene, &[args, &["--json"]].concat());
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{args:?}");
    serde_json::from_str(&run.stdout).expect("one JSON document")
}

/// The only tensor of `in.npy`.
#[track_caller]
fn only(scene: &Scene, args: &[&str]) -> Value {
    document(scene, &[&["in.npy"], args].concat())["tensors"][0].take()
}

/// The message of an inspection that must fail and leave nothing.
#[track_caller]
fn refusal(scene: &Scene, args: &[&str]) -> String {
    let before = scene.names();
    let run = inspect(scene, args);
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""), "{args:?} {}", run.stderr);
    assert_eq!(scene.names(), before, "{args:?} left something behind");
    let message = run.stderr.strip_prefix("quarter: ").expect("the message names the program");
    assert_eq!(message.matches('\n').count(), 1, "one line: {message}");
    message.trim_end().to_owned()
}

fn matrix(shape: &str, values: &[f32]) -> Vec<u8> {
    npy("<f4", shape, &bytes(values))
}

#[track_caller]
fn near(got: &Value, want: f64, within: f64) {
    let got = got.as_f64().expect("a number");
    assert!((got - want).abs() <= within, "{got}, not {want}");
}

/// N(0, 1), by Box and Muller.
fn gauss(seed: u64, n: u64) -> Vec<f32> {
    let stream = RandomStream { seed, ..RandomStream::default() };
    let uniform = |i: u64| (f64::from(stream.word(i)) + 0.5) / 4_294_967_296.0;
    let value = |i| {
        (-2.0 * uniform(2 * i).ln()).sqrt() * (std::f64::consts::TAU * uniform(2 * i + 1)).cos()
    };
    (0..n).map(|i| value(i) as f32).collect()
}

#[test]
fn by_hand() {
    let scene = Scene::new(&matrix("(2, 4)", &[1.0, 1.5, -2.0, 0.25, 0.0, 448.0, -0.0, 3.0]));
    let found = only(&scene, &["--casts", "e4m3:tensor:te-current"]);
    let sum = 1.0 + 1.5 + 2.0 + 0.25 + 448.0 + 3.0;
    let squares = 1.0 + 2.25 + 4.0 + 0.0625 + 448.0 * 448.0 + 9.0;
    let want = json!({
        "name": "in.npy", "dtype": "float32", "scales": null, "shape": [2, 4], "matrix": [2, 4],
        "elements": 8, "zeros": 2, "nan": 0, "inf": 0, "amax": 448.0, "smallest": 0.25,
        "mean_abs": sum / 8.0, "rms": f64::sqrt(squares / 8.0), "range_log2": f64::log2(1792.0),
        "histogram": [
            { "exponent": -2, "count": 1 }, { "exponent": 0, "count": 2 },
            { "exponent": 1, "count": 2 }, { "exponent": 8, "count": 1 },
        ],
        "casts": [{
            "cast": "e4m3:tensor:te-current", "bits": 12.0, "groups": 1, "sqnr_db": "inf",
            "saturated": 0, "saturated_share": 0.0, "flushed": 0, "flushed_share": 0.0, "spoilt": 0,
        }],
        "recommended": {
            "cast": "e4m3:tensor:te-current",
            "reason": "exact at 12.00 bits an element, the fewest within 1 dB of the best of 8 bits \
                       (e4m3:tensor:te-current, exact); flushes 0, saturates nothing",
        },
    });
    assert_eq!(found, want);
}

#[test]
fn flushed_and_saturated() {
    // The scale is 1. 2^-9 is the smallest number; half of it is a tie, and goes to zero.
    let p = |e: i32| 2_f32.powi(e);
    let scene =
        Scene::new(&matrix("(1, 8)", &[448.0, p(-9), p(-10), -p(-11), p(-12), 1.0, 0.0, 0.0]));
    let cast = &only(&scene, &["--casts", "e4m3:tensor:te-current"])["casts"][0];
    assert_eq!((&cast["flushed"], &cast["flushed_share"]), (&json!(3), &json!(0.5)));
    let noise = [-20, -22, -24].iter().map(|e| 2_f64.powi(*e)).sum::<f64>();
    let signal = 448.0 * 448.0 + 1.0 + 2_f64.powi(-18) + noise;
    near(&cast["sqnr_db"], 10.0 * (signal / noise).log10(), 1e-9);
    // The exponent of 511 is that of 448: the scale is 1. 464 is half a step beyond 448.
    let scene = Scene::new(&matrix("(1, 4)", &[511.0, -480.0, 464.0, 460.0]));
    let found = only(&scene, &["--casts", "e4m3:1x4:ocp-floor"]);
    let cast = &found["casts"][0];
    assert_eq!((&cast["saturated"], &cast["saturated_share"]), (&json!(2), &json!(0.5)));
    assert_eq!(cast["bits"], 8.0 + 8.0 / 4.0);
    assert_eq!(found["recommended"]["cast"], "bf16");
    assert!(found["recommended"]["reason"].as_str().unwrap().ends_with("saturates 50.000 %"));
}

/// A block of NVFP4 that is tiny beside the largest has a scale of 0: its elements are flushed, not
/// saturated.
#[test]
fn a_scale_of_zero_flushes() {
    let values: Vec<f32> = (0..32).map(|i| if i < 16 { 1.0 } else { 2_f32.powi(-20) }).collect();
    let scene = Scene::new(&matrix("(1, 32)", &values));
    let cast = &only(&scene, &["--casts", "e2m1:1x16:nvfp4"])["casts"][0];
    assert_eq!((&cast["saturated"], &cast["flushed"]), (&json!(0), &json!(16)), "{cast}");
}

/// A8: signal to noise of Gaussian values; for NVFP4 and MX its table of blocks.
#[test]
fn gaussian() {
    let scene = Scene::new(&matrix("(512, 512)", &gauss(1, 512 * 512)));
    let found = only(&scene, &[]);
    let want = [
        ("e4m3:tensor:te-current", 31.4),
        ("e5m2:tensor:te-current", 25.52),
        ("e4m3:row:torchao", 31.4),
        ("e4m3:128x128:te-block", 31.5),
        ("e4m3:1x128:te-block", 31.5),
        ("e4m3:1x32:te-mx", 31.52),
        ("e2m3:1x32:ocp-rceil", 30.96),
        ("e3m2:1x32:ocp-rceil", 25.54),
        ("e2m1:1x32:ocp-rceil", 18.75),
        ("e2m1:1x16:nvfp4", 20.43),
    ];
    for (cast, (name, sqnr)) in found["casts"].as_array().unwrap().iter().zip(want) {
        assert_eq!(cast["cast"], name);
        near(&cast["sqnr_db"], sqnr, 0.3);
        assert_eq!(cast["saturated"], 0, "{name}");
    }
    assert_eq!(found["casts"].as_array().unwrap().len(), want.len());
    assert_eq!(found["recommended"]["cast"], "e4m3:tensor:te-current");
    near(&found["rms"], 1.0, 0.01);
    near(&found["mean_abs"], (2.0 / std::f64::consts::PI).sqrt(), 0.01);
    let share = found["histogram"].as_array().unwrap().last().unwrap()["count"].as_f64().unwrap();
    assert!(share < 30.0, "2^2 and above: about 1 in 15 000");
}

/// A large column beside small ones: blocks along the rows have it apart.
#[test]
fn outliers() {
    let mut values = gauss(2, 256 * 512);
    values.iter_mut().step_by(512).for_each(|x| *x *= 1e6);
    let scene = Scene::new(&matrix("(256, 512)", &values));
    let found = only(&scene, &[]);
    assert_eq!(found["recommended"]["cast"], "bf16");
    let reason = found["recommended"]["reason"].as_str().unwrap();
    assert!(reason.starts_with("outliers: values span "), "{reason}");
    assert!(found["casts"][0]["flushed_share"].as_f64().unwrap() > 0.9);
    assert!(found["casts"][5]["flushed_share"].as_f64().unwrap() < 0.1);
    let found = only(&scene, &["--casts", "e4m3:tensor:te-current,e4m3:col:torchao"]);
    assert_eq!(found["recommended"]["cast"], "e4m3:col:torchao");
}

#[test]
fn shapes() {
    for (shape, matrix, n) in [
        ("()", [1, 1], 1),
        ("(6,)", [1, 6], 6),
        ("(2, 3)", [2, 3], 6),
        ("(2, 3, 4)", [6, 4], 24),
        ("(0,)", [1, 0], 0),
        ("(3, 0)", [0, 0], 0),
        ("(0, 5)", [0, 5], 0),
    ] {
        let scene = Scene::new(&npy("<f4", shape, &bytes(&vec![1.5; n])));
        let found = only(&scene, &[]);
        assert_eq!((&found["matrix"], &found["elements"]), (&json!(matrix), &json!(n)), "{shape}");
        if n == 0 {
            assert_eq!(found["casts"], json!([]));
            assert_eq!(found["amax"], Value::Null);
            assert_eq!(
                found["recommended"],
                json!({ "cast": null, "reason": "it has no elements" })
            );
            assert_eq!(inspect(&scene, &["in.npy", "--svg", "x.svg"]).code, Some(0));
            xml(&String::from_utf8(scene.get("x.svg")).unwrap());
        } else {
            assert_eq!(found["casts"][0]["sqnr_db"], "inf");
        }
    }
}

#[test]
fn zeros_and_what_is_not_finite() {
    let scene = Scene::new(&matrix("(3, 4)", &[0.0; 12]));
    let found = only(&scene, &[]);
    assert_eq!(
        (&found["amax"], &found["smallest"], &found["zeros"]),
        (&json!(0.0), &Value::Null, &json!(12))
    );
    assert_eq!(found["casts"][0]["sqnr_db"], Value::Null);
    assert_eq!(found["recommended"], json!({ "cast": null, "reason": "all elements are zero" }));
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    let scene = Scene::new(&matrix("(2, 4)", &[nan, 2.0, -inf, 1.0, 1.0, inf, -nan, -nan]));
    let found = only(&scene, &["--casts", "e4m3:row:torchao,e4m3:tensor:te-current"]);
    assert_eq!((&found["nan"], &found["inf"], &found["amax"]), (&json!(3), &json!(2), &json!(2.0)));
    // torchao's scale of a row with NaN is NaN; TransformerEngine's of Inf is 1.
    assert_eq!(found["casts"][0]["spoilt"], 3);
    assert_eq!(found["casts"][0]["sqnr_db"], Value::Null);
    assert_eq!(
        (&found["casts"][1]["spoilt"], &found["casts"][1]["sqnr_db"]),
        (&json!(0), &json!("inf"))
    );
    assert_eq!(found["casts"][1]["saturated"], 2, "of Inf");
    let want = json!({ "cast": "bf16", "reason": "it holds 3 NaN and 2 Inf" });
    assert_eq!(found["recommended"], want);
    let scene = Scene::new(&singles(&[nan, nan]));
    let found = only(&scene, &[]);
    assert_eq!((&found["amax"], &found["rms"]), (&Value::Null, &Value::Null));
}

/// The same numbers in other types and orders.
#[test]
fn arrays() {
    let values: Vec<f32> =
        gauss(3, 40 * 70).iter().map(|x| half::f16::from_f32(*x).to_f32()).collect();
    let scene = Scene::new(&matrix("(40, 70)", &values));
    let want = only(&scene, &[]);
    let wide = |x: &f32| f64::from(*x);
    let data: [(&str, Vec<u8>); 4] = [
        (">f4", values.iter().flat_map(|x| x.to_be_bytes()).collect()),
        ("<f8", values.iter().flat_map(|x| wide(x).to_le_bytes()).collect()),
        (">f8", values.iter().flat_map(|x| wide(x).to_be_bytes()).collect()),
        ("<f2", values.iter().flat_map(|x| half::f16::from_f32(*x).to_le_bytes()).collect()),
    ];
    for (descr, data) in data {
        scene.put("in.npy", &npy(descr, "(40, 70)", &data));
        let mut found = only(&scene, &[]);
        found["dtype"] = want["dtype"].clone();
        assert_eq!(found, want, "{descr}");
    }
    let turned: Vec<f32> = (0..70 * 40).map(|i| values[i % 40 * 70 + i / 40]).collect();
    let header = "{'descr': '<f4', 'fortran_order': True, 'shape': (40, 70), }\n";
    scene.put("in.npy", &raw(header, &bytes(&turned)));
    let found = only(&scene, &[]);
    assert_eq!((&found["histogram"], &found["matrix"]), (&want["histogram"], &json!([40, 70])));
    for (a, b) in found["casts"].as_array().unwrap().iter().zip(want["casts"].as_array().unwrap()) {
        assert_eq!(
            (&a["cast"], &a["flushed"], &a["bits"]),
            (&b["cast"], &b["flushed"], &b["bits"])
        );
        near(&a["sqnr_db"], b["sqnr_db"].as_f64().unwrap(), 1e-9);
    }
}

fn model() -> Vec<Tensor> {
    let halves = |values: &[f32]| -> Vec<u8> {
        values.iter().flat_map(|x| half::bf16::from_f32(*x).to_le_bytes()).collect()
    };
    vec![
        tensor("a.weight", Dtype::F8_E4M3, &[200, 150], codes(4, 200 * 150)),
        tensor("a.weight_scale_inv", Dtype::F32, &[2, 2], bytes(&[0.5, 0.25, 2.0, 1.0])),
        tensor("b.weight", Dtype::BF16, &[3, 4, 8], halves(&gauss(5, 96))),
        tensor("c<&\"'>\u{1}\n", Dtype::F32, &[2], bytes(&[1.0, -3.0])),
        tensor("d", Dtype::F8_E5M2, &[4], vec![0x3c, 0x40, 0, 0xbc]),
        tensor("ids", Dtype::I64, &[1], vec![7, 0, 0, 0, 0, 0, 0, 0]),
    ]
}

#[test]
fn checkpoints() {
    let scene = Scene::new(&[]);
    scene.put("m.safetensors", &file(&model(), &[]));
    let found = document(&scene, &["m.safetensors"]);
    let name = |i: usize| found["tensors"][i]["name"].as_str().unwrap();
    let find = |want: &str| {
        (0..4).map(|i| (name(i), &found["tensors"][i])).find(|(name, _)| *name == want).unwrap().1
    };
    assert_eq!(found["tensors"].as_array().unwrap().len(), 4);
    assert_eq!(find("b.weight")["matrix"], json!([12, 8]));
    assert_eq!((&find("d")["amax"], &find("d")["scales"]), (&json!(2.0), &Value::Null));
    let skipped = found["skipped"].as_array().unwrap();
    assert_eq!(skipped.len(), 2);
    assert!(skipped.contains(
        &json!({ "name": "ids", "dtype": "I64", "reason": "no floating-point numbers" })
    ));
    // Codes are what they stand for.
    let a = find("a.weight");
    assert_eq!((&a["dtype"], &a["scales"]), (&json!("F8_E4M3"), &json!("128x128")));
    let scale = |i: usize| [0.5, 0.25, 2.0, 1.0][i / 150 / 128 * 2 + i % 150 / 128];
    let value = |(i, code): (usize, &u8)| F8E4M3::from_bits(*code).to_f32() * scale(i);
    let values: Vec<f32> = codes(4, 200 * 150).iter().enumerate().map(value).collect();
    scene.put("in.npy", &matrix("(200, 150)", &values));
    let mut want = only(&scene, &[]);
    for key in ["name", "dtype", "scales"] {
        want[key] = a[key].clone();
    }
    assert_eq!(*a, want);
    assert_eq!(a["casts"][3]["sqnr_db"], "inf", "128x128 again");
    // Patterns, and a model of two files.
    let chosen = document(&scene, &["m.safetensors", "--include", "*.weight", "--exclude", "b*"]);
    assert_eq!(chosen["tensors"], json!([a]));
    let message = refusal(&scene, &["m.safetensors", "--include", "nothing"]);
    assert_eq!(message, "m.safetensors: no tensor matches --include and --exclude");
    std::fs::create_dir(scene.path("dir")).unwrap();
    let (codes, rest) = (model()[..1].to_vec(), model()[1..].to_vec());
    scene.put("dir/1.safetensors", &file(&codes, &[]));
    scene.put("dir/2.safetensors", &file(&rest, &[]));
    let mut both = document(&scene, &["dir"]);
    assert_eq!(both["tensors"].as_array().unwrap().len(), 4);
    assert_eq!(both["tensors"][0].take(), *a);
}

/// What `quantize` writes, inspected as codes, is what `dequantize` makes of it.
#[test]
fn codes_of_every_kind() {
    let scene = Scene::new(&matrix("(70, 66)", &gauss(6, 70 * 66)));
    let go = |args: &[&str]| {
        let mut command = command(args);
        command.current_dir(scene.dir.path());
        let run = run(command);
        assert_eq!(run.code, Some(0), "{args:?} {}", run.stderr);
    };
    for cast in
        ["e4m3:row:torchao", "e5m2:tensor:te-current", "e2m3:1x32:ocp-rceil", "e2m1:1x16:nvfp4"]
    {
        for packed in [false, true] {
            if packed && !cast.starts_with("e2m1") {
                continue;
            }
            let quantize = ["quantize", "in.npy", "q.safetensors", "--cast", cast, "--packed"];
            go(&quantize[..if packed { 6 } else { 5 }]);
            go(&["dequantize", "q.safetensors", "back.npy", "--to", "f32"]);
            let mut want = document(&scene, &["back.npy"])["tensors"][0].take();
            let mut found = document(&scene, &["q.safetensors"])["tensors"][0].take();
            assert_eq!(found["shape"], json!([70, 66]));
            assert!(found["scales"].is_string());
            for key in ["name", "dtype", "scales"] {
                want[key].take();
                found[key].take();
            }
            assert_eq!(found, want, "{cast} {packed}");
        }
    }
}

#[test]
fn the_same_everywhere() {
    let mut values = gauss(7, 700 * 3001);
    values[5] = 0.0;
    let scene = Scene::new(&matrix("(700, 3001)", &values));
    let args = [
        "in.npy",
        "--json",
        "--casts",
        "e4m3:row:torchao,e5m2:tensor:te-mx,e2m1:1x16:nvfp4,e4m3:col:te-current",
    ];
    let want = inspect(&scene, &args);
    assert_eq!(want.code, Some(0), "{}", want.stderr);
    for (threads, isa) in [("1", ""), ("2", ""), ("2", "scalar")] {
        let mut command = command(&["inspect"]);
        command.args(args).args(["--threads", threads]).current_dir(scene.dir.path());
        if !isa.is_empty() {
            command.env("QUARTER_ISA", isa);
        }
        assert!(run(command).stdout == want.stdout, "{threads} threads {isa}");
    }
}

#[test]
fn in_a_terminal() {
    let mut values = vec![1.0_f32; 64];
    values.extend([0.5; 8]);
    values.push(4.0);
    let scene = Scene::new(&singles(&values));
    let run = inspect(&scene, &["in.npy", "--casts", "e4m3:tensor:te-current,e2m1:1x32:ocp-rceil"]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    let want = "\
\"in.npy\" float32[73]
  amax 4  smallest 0.5  mean |x| 0.9863  rms 1.05985
  elements 73  zeros 0  NaN 0  Inf 0  range 3.0 powers of two
      64│   ███
        │   ███
        │▅▅▅███
        │██████
       1│██████   ▁▁▁
        └2^-1     2^2
    e5m2 ━━━━━━━━━━━━
    e4m3 ━━━━━━━━━━━━
    e2m1 ━━━━━━━━━━━━
  cast                    bits   SQNR  saturates  flushes
  e4m3:tensor:te-current  8.44  exact          0        0
> e2m1:1x32:ocp-rceil     4.33  exact          0        0
  e2m1:1x32:ocp-rceil: exact at 4.33 bits an element, the fewest within 1 dB of the best of 8 bits \
(e4m3:tensor:te-current, exact); flushes 0, saturates nothing

tensors=1 recommended: e2m1:1x32:ocp-rceil 1
";
    assert_eq!(run.stdout, want);
    // Any width holds any range.
    let wide: Vec<u8> = [1e-300_f64, 1e300, 5e-324].iter().flat_map(|x| x.to_le_bytes()).collect();
    scene.put("in.npy", &npy("<f8", "(3,)", &wide));
    for width in ["40", "80", "400"] {
        let run =
            inspect(&scene, &["in.npy", "--width", width, "--casts", "e5m2:tensor:te-current"]);
        assert_eq!(run.code, Some(0));
        let bars = run.stdout.lines().filter(|line| line.contains(['│', '└', '━']));
        for line in bars {
            assert!(line.chars().count() <= width.parse::<usize>().unwrap() + 8, "{width}: {line}");
        }
    }
    assert_eq!(inspect(&scene, &["in.npy", "--width", "39"]).code, Some(2));
}
