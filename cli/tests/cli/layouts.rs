//! Every layout that is read: the values are those of the definition.

use crate::checkpoint::*;
use crate::common::Scene;
use quarter::{E8M0, F4E2M1, F8E4M3};

const M: usize = 130;
const K: usize = 288;

/// The number of the scale of element (row, column).
type Place = fn(usize, usize) -> usize;
/// The scale of an element.
type Scale<'a> = Box<dyn Fn(usize) -> f32 + 'a>;

/// A file with codes and a scale, to be read in two ways.
#[track_caller]
fn check(name: &str, tensors_in: &[Tensor], scale: impl Fn(usize, usize) -> f32, out: &str) {
    let scene = scene();
    let other = tensor("other", Dtype::BF16, &[3], numbers(9, 3));
    let all = [tensors_in, std::slice::from_ref(&other)].concat();
    scene.put("in.safetensors", &file(&all, &[("format", "pt")]));
    done(&scene, &["dequantize", "in.safetensors", "out.safetensors"]);
    let codes = &tensors_in[0].data;
    let want: Vec<u16> = (0..M * K).map(|i| value(codes[i], scale(i / K, i % K))).collect();
    let bytes = scene.get("out.safetensors");
    let got = tensors(&bytes);
    assert_eq!(names(&bytes), [out.min("other"), out.max("other")], "{name}");
    assert_eq!((got[out].dtype, &got[out].shape[..]), (Dtype::BF16, &[M, K][..]), "{name}");
    assert_eq!(words(&got[out].data), want, "{name}");
    assert_eq!(got["other"].data, other.data, "{name}: others are copied");
    assert_eq!(metadata(&bytes)["format"], "pt");
    done(&scene, &["dequantize", "in.safetensors", "out.safetensors", "--to", "f32"]);
    let got = floats(&tensors(&scene.get("out.safetensors"))[out].data);
    let want = (0..M * K).map(|i| F8E4M3::from_bits(codes[i]).to_f32() * scale(i / K, i % K));
    assert!(got.into_iter().eq(want), "{name}");
}

#[test]
fn scales_of_every_shape() {
    let codes = codes(1, M * K);
    let s = scales(2, M * K);
    let shapes: [(&str, &[usize], usize, Place); 11] = [
        ("deepseek", &[2, 3], 6, |r, c| r / 128 * 3 + c / 128),
        ("scalar", &[], 1, |_, _| 0),
        ("one", &[1], 1, |_, _| 0),
        ("one by one", &[1, 1], 1, |_, _| 0),
        ("row", &[M], M, |r, _| r),
        ("row by one", &[M, 1], M, |r, _| r),
        ("column", &[1, K], K, |_, c| c),
        ("1x128", &[M, 3], 3 * M, |r, c| r * 3 + c / 128),
        ("128x1", &[2, K], 2 * K, |r, c| r / 128 * K + c),
        ("1x32", &[M, 9], 9 * M, |r, c| r * 9 + c / 32),
        ("13x72", &[10, 4], 40, |r, c| r / 13 * 4 + c / 72),
    ];
    for (name, shape, n, at) in shapes {
        for end in ["weight_scale_inv", "weight_scale", "scale", "scale_weight"] {
            let weight = tensor("a.weight", Dtype::F8_E4M3, &[M, K], codes.clone());
            let scale = tensor(&format!("a.{end}"), Dtype::F32, shape, singles(&s[..n]));
            check(name, &[weight, scale], |r, c| s[at(r, c)], "a.weight");
        }
    }
}

#[test]
fn scales_of_every_type() {
    let codes = codes(3, M * K);
    let weight = tensor("a.weight", Dtype::F8_E4M3, &[M, K], codes);
    let bytes: Vec<u8> = noise(4, M * 9).iter().map(|x| 110 + x % 20).collect();
    let s: Vec<f32> = bytes.iter().map(|x| E8M0::from_bits(*x).to_f32()).collect();
    for dtype in [Dtype::U8, Dtype::F8_E8M0] {
        let scale = tensor("a.weight_scale", dtype, &[M, 9], bytes.clone());
        check("mx", &[weight.clone(), scale], |r, c| s[r * 9 + c / 32], "a.weight");
    }
    let bits = numbers(5, M);
    let wide: Vec<f32> = words(&bits).iter().map(|x| half::bf16::from_bits(*x).to_f32()).collect();
    let scale = tensor("a.weight_scale", Dtype::BF16, &[M, 1], bits.clone());
    check("bf16", &[weight.clone(), scale], |r, _| wide[r], "a.weight");
    let narrow: Vec<f32> = words(&bits).iter().map(|x| half::f16::from_bits(*x).to_f32()).collect();
    let scale = tensor("a.weight_scale", Dtype::F16, &[M, 1], bits);
    check("f16", &[weight, scale], |r, _| narrow[r], "a.weight");
}

#[test]
fn other_names() {
    let codes = codes(6, M * K);
    let s = scales(7, 1)[0];
    let scale = |name: &str| tensor(name, Dtype::F32, &[1], singles(&[s]));
    let weight = |name: &str| tensor(name, Dtype::F8_E4M3, &[M, K], codes.clone());
    check("torchao", &[weight("l.weight:qdata"), scale("l.weight:scale")], |_, _| s, "l.weight");
    let new = [weight("l._weight_qdata"), scale("l._weight_scale")];
    check("torchao", &new, |_, _| s, "l.weight");
    check("fused", &[weight("x_proj"), scale("x_proj_scale_inv")], |_, _| s, "x_proj");
    let with_input = [weight("a.weight"), scale("a.weight_scale"), scale("a.input_scale")];
    check("static activations", &with_input, |_, _| s, "a.weight");
}

/// Two codes a byte under four conventions; the library's own NVFP4 is in the tests of quantize.
#[test]
fn four_bits() {
    let (m, k) = (6, 64);
    let packed = noise(8, m * k / 2);
    let value = |i: usize| {
        let code = packed[i / 2] >> (i % 2 * 4) & 0xf;
        F4E2M1::from_bits(code).to_f32()
    };
    let fine: Vec<u8> = noise(9, m * k / 16).iter().map(|x| 0x20 + x % 64).collect();
    let fine_f32: Vec<f32> = fine.iter().map(|x| F8E4M3::from_bits(*x).to_f32()).collect();
    let coarse: Vec<u8> = noise(10, m * k / 32).iter().map(|x| 120 + x % 10).collect();
    let coarse_f32: Vec<f32> = coarse.iter().map(|x| E8M0::from_bits(*x).to_f32()).collect();
    let fine = tensor("a.weight_scale", Dtype::F8_E4M3, &[m, k / 16], fine);
    let coarse = tensor("a.weight_scale", Dtype::U8, &[m, k / 32], coarse);
    let global = |name: &str, x: f32| tensor(name, Dtype::F32, &[1], singles(&[x]));
    let modelopt = global("a.weight_scale_2", 0.007);
    let compressed = global("a.weight_global_scale", 300.0);
    let cases: [(&[Tensor], Scale); 4] = [
        (&[coarse], Box::new(move |i| coarse_f32[i / 32])),
        (std::slice::from_ref(&fine), Box::new(|i| fine_f32[i / 16])),
        (&[fine.clone(), modelopt], Box::new(|i| fine_f32[i / 16] * 0.007)),
        (&[fine.clone(), compressed], Box::new(|i| fine_f32[i / 16] / 300.0)),
    ];
    for (scales, scale) in cases {
        for (name, dtype, cols) in [
            ("a.weight", Dtype::U8, k / 2),
            ("a.weight_packed", Dtype::U8, k / 2),
            ("a.weight", Dtype::F4, k),
        ] {
            let codes = tensor(name, dtype, &[m, cols], packed.clone());
            let scene = scene();
            let all = [scales, &[codes]].concat();
            scene.put("in.safetensors", &file(&all, &[]));
            done(&scene, &["dequantize", "in.safetensors", "out.safetensors", "--to", "f32"]);
            let got = tensors(&scene.get("out.safetensors"));
            assert_eq!((got.len(), &got["a.weight"].shape[..]), (1, &[m, k][..]), "{name}");
            let want = (0..m * k).map(|i| value(i) * scale(i));
            assert!(floats(&got["a.weight"].data).into_iter().eq(want), "{name} {dtype:?}");
        }
    }
}

#[test]
fn matrices_in_more_dimensions() {
    let (e, m, k) = (3, 130, 40);
    let codes = codes(11, e * m * k);
    for (shape, n, at) in [
        (vec![e, 2, 1], e * 2, (|i, r, _| i * 2 + r / 128) as fn(usize, usize, usize) -> usize),
        (vec![e, 1, 1], e, |i, _, _| i),
        (vec![e], e, |i, _, _| i),
        (vec![1], 1, |_, _, _| 0),
        (vec![e, m, 1], e * m, |i, r, _| i * 130 + r),
        (vec![e, m, 2], e * m * 2, |i, r, c| (i * 130 + r) * 2 + c / 32),
    ] {
        let s = scales(12, n);
        let scene = scene();
        let all = [
            tensor("experts.up", Dtype::F8_E4M3, &[e, m, k], codes.clone()),
            tensor("experts.up_scale", Dtype::F32, &shape, singles(&s)),
        ];
        scene.put("in.safetensors", &file(&all, &[]));
        done(&scene, &["dequantize", "in.safetensors", "out.safetensors"]);
        let got = tensors(&scene.get("out.safetensors"));
        let got = words(&got["experts.up"].data);
        let want = (0..e * m * k).map(|i| value(codes[i], s[at(i / m / k, i / k % m, i % k)]));
        assert!(got.into_iter().eq(want), "{shape:?}");
    }
}

/// Rows longer than a piece are cut within groups, and pieces are no longer for it.
#[test]
fn wide_rows() {
    use quarter_cli::checkpoint::decode::{Dequantize, To};
    use quarter_cli::checkpoint::layout::{self, Hints};
    use quarter_cli::checkpoint::pipeline::{PIECE, Work as _};
    use quarter_cli::checkpoint::source::Source;
    const WIDE: usize = (4 << 20) + 100_004;
    let group = 1000;
    let wide = WIDE.div_ceil(group);
    let s = scales(21, 2 * wide);
    let bytes = codes(20, 2 * WIDE);
    let grouped = |packed: bool| {
        let (dtype, n) = if packed { (Dtype::F4, WIDE) } else { (Dtype::F8_E4M3, 2 * WIDE) };
        tensor("a.weight", dtype, &[2, WIDE], bytes[..n].to_vec())
    };
    let six = tensor("a.weight", Dtype::F6_E2M3, &[2, WIDE], bytes[..2 * WIDE * 6 / 8].to_vec());
    let e4m3 = |i: usize| F8E4M3::from_bits(bytes[i]).to_f32();
    let e2m1 = |i: usize| F4E2M1::from_bits(bytes[i / 2] >> (i % 2 * 4) & 0xf).to_f32();
    let e2m3 = |i: usize| {
        let at = i / 4 * 3;
        let word = u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], 0]);
        quarter::F6E2M3::from_bits((word >> (i % 4 * 6) & 0x3f) as u8).to_f32()
    };
    let block = |i: usize| s[i / WIDE * wide + i % WIDE / group];
    let row = |i: usize| s[i / WIDE];
    let cases: [(Tensor, &[usize], Scale, Scale); 5] = [
        (grouped(false), &[2, wide], Box::new(e4m3), Box::new(block)),
        (grouped(false), &[2, 1], Box::new(e4m3), Box::new(row)),
        (grouped(false), &[1, wide], Box::new(e4m3), Box::new(|i| s[i % WIDE / group])),
        (grouped(true), &[2, wide], Box::new(e2m1), Box::new(block)),
        (six, &[2, 1], Box::new(e2m3), Box::new(row)),
    ];
    let hints = r#"{"quantization_config":{"weight_block_size":[1,1000]}}"#;
    let both = hints.replace("[1,", "[2,");
    for (weight, shape, code, scale) in cases {
        let scene = scene();
        let n = shape.iter().product();
        let scale_inv = tensor("a.weight_scale_inv", Dtype::F32, shape, singles(&s[..n]));
        std::fs::create_dir(scene.path("in")).unwrap();
        let config = if shape == [1, wide] { &both } else { hints };
        scene.put("in/config.json", config.as_bytes());
        scene.put("in/model.safetensors", &file(&[weight.clone(), scale_inv], &[]));
        done(&scene, &["dequantize", "in", "out", "--to", "f32"]);
        let got = floats(&tensors(&scene.get("out/model.safetensors"))["a.weight"].data);
        let wrong = (0..2 * WIDE).find(|i| got[*i] != code(*i) * scale(*i));
        assert_eq!((got.len(), wrong), (2 * WIDE, None), "{:?} {shape:?}", weight.dtype);

        let source = Source::open(&scene.path("in")).unwrap();
        let hints = Hints::of(source.config.as_ref()).unwrap();
        let at = source.find("a.weight").unwrap();
        let layout = layout::find(&source, at, &hints).unwrap().unwrap();
        let piece = Dequantize { layout, to: To::Bf16 }.piece();
        assert!(piece > 0 && piece <= PIECE, "{piece}");
    }
}

#[test]
fn codes_that_have_no_scale_or_a_wrong_one() {
    let weight = tensor("a.weight", Dtype::F8_E4M3, &[M, K], codes(13, M * K));
    let with = |scale: Tensor| {
        let scene = scene();
        scene.put("in.safetensors", &file(&[weight.clone(), scale], &[]));
        scene
    };
    let args = ["dequantize", "in.safetensors", "out.safetensors"];
    let scale =
        |dtype, shape: &[usize], bytes| tensor("a.weight_scale", dtype, shape, vec![1; bytes]);
    for (scale, expected) in [
        (
            scale(Dtype::F32, &[7, 11], 308),
            "tensor \"a.weight\", scale \"a.weight_scale\": scales of shape [7, 11] fit no blocks of \
             codes of shape [130, 288]",
        ),
        (
            scale(Dtype::F32, &[5, 2, 3], 120),
            "tensor \"a.weight\", scale \"a.weight_scale\": scales of shape [5, 2, 3] do not fit codes \
             of shape [130, 288]",
        ),
    ] {
        assert_eq!(refused(&with(scale), &args), format!("in.safetensors: {expected}"));
    }
    let message = refused(&with(scale(Dtype::I32, &[1], 4)), &args);
    assert!(message.contains("\"a.weight_scale\" is of I32, not of F32, BF16"), "{message}");
    let alone: Scene = with(tensor("b", Dtype::F32, &[1], vec![0; 4]));
    let message = refused(&alone, &args);
    assert!(message.contains("codes of e4m3 and no scale beside it"), "{message}");
    done(&alone, &["dequantize", "in.safetensors", "out.safetensors", "--unscaled"]);
    let got = words(&tensors(&alone.get("out.safetensors"))["a.weight"].data);
    assert!(got.into_iter().eq(weight.data.iter().map(|code| value(*code, 1.0))));
    // Several matrices without a scale.
    let deep = tensor("a.weight", Dtype::F8_E4M3, &[M / 2, 2, K], weight.data.clone());
    let scene = scene();
    scene.put("in.safetensors", &file(&[deep], &[]));
    done(&scene, &["dequantize", "in.safetensors", "out.safetensors", "--unscaled"]);
    let got = words(&tensors(&scene.get("out.safetensors"))["a.weight"].data);
    assert!(got.into_iter().eq(weight.data.iter().map(|code| value(*code, 1.0))));
}
