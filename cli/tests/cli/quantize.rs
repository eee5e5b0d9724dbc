//! `quarter quantize` of arrays, and back.

use crate::checkpoint::*;
use crate::common::{Scene, npy, raw};
use quarter::slice::Values;
use quarter::tensor::{Cast, MatMut, MatRef, QuantizeOptions, Quantized, Scales, quantize};
use quarter::{FormatId, Granularity, Rule};

const ROWS: usize = 37;
const COLS: usize = 66;

/// Values of every size, with zeros.
fn values() -> Vec<f32> {
    let scale = |i: usize| 2f32.powi((i / COLS) as i32 - 20);
    let number = |(i, x): (usize, &u8)| (f32::from(*x) - 100.0) * scale(i) * 1.013;
    noise(1, ROWS * COLS).iter().enumerate().map(number).collect()
}

fn array(values: &[f32]) -> Vec<u8> {
    npy("<f4", &format!("({ROWS}, {COLS})"), &singles(values))
}

fn library(values: &[f32], cast: &Cast) -> Quantized {
    let source = MatRef::new(values, ROWS, COLS).unwrap();
    quantize(source, cast, &QuantizeOptions::new()).unwrap()
}

/// All rules with a format and granularities that they take.
fn casts() -> Vec<Cast> {
    let block = |rows, cols| Granularity::Block { rows, cols };
    let grains = [
        Granularity::Tensor,
        Granularity::Row,
        Granularity::Col,
        block(1, 32),
        block(32, 1),
        block(16, 16),
        block(128, 128),
    ];
    let mut casts = Vec::new();
    for rule in Rule::ALL {
        for grain in grains {
            let formats: &[FormatId] = match rule {
                Rule::Nvfp4 => &[FormatId::F4E2M1],
                _ => &[FormatId::F8E4M3, FormatId::F8E5M2, FormatId::F6E2M3, FormatId::F8E3M4],
            };
            let casts_of = formats.iter().map(|format| Cast::new(*format, grain, *rule));
            casts.extend(casts_of.filter(|cast| cast.check().is_ok()));
        }
    }
    casts
}

fn shape_of(granularity: Granularity) -> Vec<usize> {
    let (high, wide) = granularity.grid(ROWS, COLS);
    match granularity {
        Granularity::Tensor => vec![1],
        Granularity::Row => vec![ROWS],
        Granularity::Col => vec![COLS],
        Granularity::Block { .. } => vec![high, wide],
    }
}

/// Every rule: the file holds what the library gives, and comes back as the library has it.
#[test]
fn files_hold_what_the_library_gives() {
    let values = values();
    let scene = scene();
    scene.put("in.npy", &array(&values));
    let casts = casts();
    assert!(casts.len() > 300, "{}", casts.len());
    for cast in casts.iter().step_by(3).chain(casts.iter().filter(|c| c.rule == Rule::Nvfp4)) {
        let text = cast.to_string();
        done(&scene, &["quantize", "in.npy", "q.safetensors", "--cast", &text]);
        let q = library(&values, cast);
        let bytes = scene.get("q.safetensors");
        let got = tensors(&bytes);
        assert_eq!(got["codes"].data, q.codes(), "{text}");
        assert_eq!(got["codes"].shape, [ROWS, COLS]);
        let dtype = match cast.format {
            FormatId::F8E4M3 => Dtype::F8_E4M3,
            FormatId::F8E5M2 => Dtype::F8_E5M2,
            _ => Dtype::U8,
        };
        assert_eq!(got["codes"].dtype, dtype, "{text}");
        let inv = &got["scale_inv"];
        assert_eq!(inv.shape, shape_of(cast.granularity), "{text}");
        let mut expected = vec!["codes"];
        match q.scales() {
            Scales::F32 { scale, scale_inv } => {
                assert_eq!((inv.dtype, &inv.data), (Dtype::F32, &singles(scale_inv)), "{text}");
                if let Some(scale) = scale {
                    expected.push("scale");
                    assert_eq!(got["scale"].data, singles(scale), "{text}");
                    assert_eq!(got["scale"].shape, inv.shape);
                }
            }
            Scales::E8M0(bytes) => {
                assert_eq!((inv.dtype, &inv.data), (Dtype::F8_E8M0, bytes), "{text}");
            }
            Scales::E4M3 { scale_inv, global_scale_inv } => {
                assert_eq!((inv.dtype, &inv.data), (Dtype::F8_E4M3, scale_inv), "{text}");
                expected.push("global_scale_inv");
                assert_eq!(got["global_scale_inv"].data, singles(&[*global_scale_inv]));
                assert_eq!(got["global_scale_inv"].shape, [1]);
            }
        }
        expected.push("scale_inv");
        expected.sort_unstable();
        assert_eq!(names(&bytes), expected, "{text}");
        let said = metadata(&bytes);
        assert_eq!(said["cast"], text);
        assert_eq!(
            (&said["format"], &said["source"]),
            (&cast.format.to_string(), &"f32".to_owned())
        );
        back(&scene, &q, &text);
    }
}

/// The values of a file are the library's, as an array and as tensors.
#[track_caller]
fn back(scene: &Scene, q: &Quantized, text: &str) {
    let mut want = vec![0f32; ROWS * COLS];
    q.dequantize_into(MatMut::new(&mut want, ROWS, COLS).unwrap()).unwrap();
    done(scene, &["dequantize", "q.safetensors", "y.npy", "--to", "f32"]);
    assert_eq!(crate::common::split(&scene.get("y.npy")).1, singles(&want), "{text}");
    let mut want = vec![half::bf16::ZERO; ROWS * COLS];
    q.dequantize_into(MatMut::new(&mut want, ROWS, COLS).unwrap()).unwrap();
    let wide: Vec<f32> = want.iter().map(|x| x.to_f32()).collect();
    done(scene, &["dequantize", "q.safetensors", "y.npy"]);
    let (header, data) = crate::common::split(&scene.get("y.npy"));
    assert_eq!(data, singles(&wide), "{text}");
    assert_eq!(header, "{'descr': '<f4', 'fortran_order': False, 'shape': (37, 66), }");
    done(scene, &["dequantize", "q.safetensors", "y.safetensors"]);
    let bytes = scene.get("y.safetensors");
    assert_eq!(names(&bytes), ["values"]);
    let bits: Vec<u16> = want.iter().map(|x| x.to_bits()).collect();
    assert_eq!(words(&tensors(&bytes)["values"].data), bits, "{text}");
    assert_eq!(metadata(&bytes).keys().collect::<Vec<_>>(), ["quarter"]);
}

#[test]
fn sources() {
    let values = values();
    let scene = scene();
    let cast: Cast = "e4m3:1x32:te-block".parse().unwrap();
    let codes = |scene: &Scene| tensors(&scene.get("q.safetensors"))["codes"].data.clone();
    let args = ["quantize", "in.npy", "q.safetensors", "--cast", "e4m3:1x32:te-block"];
    let shape = format!("({ROWS}, {COLS})");
    // f64, big-endian: the values are those of f32.
    let wide: Vec<u8> = values.iter().flat_map(|x| f64::from(*x).to_be_bytes()).collect();
    scene.put("in.npy", &npy(">f8", &shape, &wide));
    done(&scene, &args);
    assert_eq!(codes(&scene), library(&values, &cast).codes());
    assert_eq!(metadata(&scene.get("q.safetensors"))["source"], "f64");
    // Columns first: the same matrix.
    let turned: Vec<f32> = (0..ROWS * COLS).map(|i| values[i % ROWS * COLS + i / ROWS]).collect();
    let header = format!("{{'descr': '<f4', 'fortran_order': True, 'shape': {shape}, }}\n");
    scene.put("in.npy", &raw(&header, &singles(&turned)));
    done(&scene, &args);
    assert_eq!(codes(&scene), library(&values, &cast).codes());
    // f16
    let halves: Vec<half::f16> = values.iter().map(|x| half::f16::from_f32(*x)).collect();
    let bytes: Vec<u8> = halves.iter().flat_map(|x| x.to_bits().to_le_bytes()).collect();
    scene.put("in.npy", &npy("<f2", &shape, &bytes));
    done(&scene, &args);
    let source = MatRef::new(Values::F16(&halves), ROWS, COLS).unwrap();
    let want = quantize(source, &cast, &QuantizeOptions::new()).unwrap();
    assert_eq!(codes(&scene), want.codes());
    // bf16: a tiny block's scale is limited by the source's largest number.
    let tiny: Vec<half::bf16> = values.iter().map(|x| half::bf16::from_f32(x * 1e-38)).collect();
    let bytes: Vec<f32> = tiny.iter().map(|x| x.to_f32()).collect();
    scene.put("in.npy", &array(&bytes));
    done(&scene, &[&args[..], &["--source", "bf16"]].concat());
    let source = MatRef::new(Values::Bf16(&tiny), ROWS, COLS).unwrap();
    let want = quantize(source, &cast, &QuantizeOptions::new()).unwrap();
    let Scales::F32 { scale: Some(scale), .. } = want.scales() else {
        panic!("te-block has scales")
    };
    assert_eq!(tensors(&scene.get("q.safetensors"))["scale"].data, singles(scale));
    assert_eq!(metadata(&scene.get("q.safetensors"))["source"], "bf16");
}

#[test]
fn packed() {
    let values = values();
    let scene = scene();
    scene.put("in.npy", &array(&values));
    let args = ["quantize", "in.npy", "q.safetensors", "--cast", "e2m1:1x16:nvfp4", "--packed"];
    done(&scene, &args);
    let q = library(&values, &"e2m1:1x16:nvfp4".parse().unwrap());
    let got = &tensors(&scene.get("q.safetensors"))["codes"];
    assert_eq!((got.dtype, &got.shape[..]), (Dtype::F4, &[ROWS, COLS][..]));
    let pairs = q.codes().chunks(2).map(|pair| pair[0] | pair[1] << 4);
    assert!(got.data.iter().copied().eq(pairs));
    back(&scene, &q, "packed");
    let message =
        refused(&scene, &["quantize", "in.npy", "o", "--cast", "e4m3:row:torchao", "--packed"]);
    assert_eq!(message, "--packed is for 4-bit formats, and e4m3 has 8 bits");
    scene.put("in.npy", &npy("<f4", "(2, 3)", &[0; 24]));
    let message =
        refused(&scene, &["quantize", "in.npy", "o", "--cast", "e2m1:row:ocp-floor", "--packed"]);
    assert_eq!(message, "--packed needs an even number of columns, and there are 3");
}

#[test]
fn randomness_is_the_seeds() {
    let scene = scene();
    scene.put("in.npy", &array(&values()));
    let codes = |seed: &str, threads: &str| {
        let cast = "e4m3:1x32:te-block:stochastic";
        let args = ["--cast", cast, "--seed", seed, "--threads", threads];
        done(&scene, &[&["quantize", "in.npy", "q.safetensors"], &args[..]].concat());
        tensors(&scene.get("q.safetensors"))["codes"].data.clone()
    };
    assert_eq!(codes("7", "1"), codes("7", "2"));
    assert_ne!(codes("7", "1"), codes("8", "1"));
}

#[test]
fn what_is_refused() {
    let scene = scene();
    scene.put("in.npy", &npy("<f4", "(2, 3)", &[0; 24]));
    scene.put("flat.npy", &npy("<f4", "(6,)", &[0; 24]));
    scene.put("deep.npy", &npy("<f4", "(1, 2, 3)", &[0; 24]));
    scene.put("codes.npy", &npy("|u1", "(2, 3)", &[0; 6]));
    let cast = ["--cast", "e4m3:row:torchao"];
    for (input, expected) in [
        ("flat.npy", "shape (6,) has 1 dimensions, and two are quantized: [M, K]"),
        ("deep.npy", "shape (1, 2, 3) has 3 dimensions, and two are quantized: [M, K]"),
        ("codes.npy", "uint8 elements are not quantized, but float64, float32 and float16 are"),
    ] {
        let message = refused(&scene, &[&["quantize", input, "o"], &cast[..]].concat());
        assert_eq!(message, format!("{input}: {expected}"));
    }
    let message = refused(&scene, &["quantize", "in.npy", "o", "--recipe", "nonsense"]);
    assert!(message.contains("nonsense"), "{message}");
    let message =
        refused(&scene, &[&["quantize", "in.npy", "o", "--source", "f16"], &cast[..]].concat());
    assert_eq!(message, "in.npy: --source f16: values of f32 are taken as f32 or bf16");
    let message =
        refused(&scene, &[&["quantize", "in.npy", "o", "--include", "*"], &cast[..]].concat());
    assert_eq!(message, "--include and --exclude are for models");
    for cast in ["e4m3", "e4m3:1x0:torchao", "e4m3:row:nvfp4", "f32:row:torchao", "x:row:torchao"] {
        let run = quarter(&scene, &["quantize", "in.npy", "o", "--cast", cast]);
        assert_eq!(run.code, Some(2), "{cast}: {}", run.stderr);
    }
    assert_eq!(quarter(&scene, &["quantize", "in.npy", "o"]).code, Some(2), "a cast is needed");
}

/// A file of 128 bytes does not ask for gigabytes of scales.
#[test]
fn scales_of_no_elements() {
    let scene = scene();
    for (shape, cast, scales) in [
        ("(268435456, 0)", "e4m3:row:torchao", Some((1_u64 << 28, "row"))),
        ("(0, 1048577)", "e4m3:col:torchao", Some(((1 << 20) + 1, "col"))),
        ("(1048576, 0)", "e4m3:row:torchao", None),
        ("(268435456, 0)", "e4m3:1x128:te-block", None),
        ("(0, 268435456)", "e4m3:tensor:te-current", None),
    ] {
        scene.put("in.npy", &npy("<f4", shape, &[]));
        let args = ["quantize", "in.npy", "q.safetensors", "--cast", cast];
        let Some((scales, granularity)) = scales else {
            done(&scene, &args);
            std::fs::remove_file(scene.path("q.safetensors")).unwrap();
            continue;
        };
        let expected = format!(
            "in.npy: shape {shape} has 0 elements and {scales} scales for {granularity}, \
             and without elements 1048576 are the most"
        );
        assert_eq!(refused(&scene, &args), expected);
    }
}

#[test]
fn empty_matrices() {
    for shape in ["(0, 5)", "(5, 0)", "(0, 0)"] {
        for cast in
            ["e4m3:1x32:te-mx", "e4m3:tensor:te-current", "e4m3:row:torchao", "e2m1:1x16:nvfp4"]
        {
            let scene = scene();
            scene.put("in.npy", &npy("<f4", shape, &[]));
            done(&scene, &["quantize", "in.npy", "q.safetensors", "--cast", cast]);
            done(&scene, &["dequantize", "q.safetensors", "y.npy"]);
            let want = npy("<f4", shape, &[]);
            let header = crate::common::split(&scene.get("y.npy")).0;
            assert_eq!(header.as_bytes(), want[10..].trim_ascii_end(), "{cast} {shape}");
        }
    }
}
