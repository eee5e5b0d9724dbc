//! Safetensors files, indices and configs that are cut, lie or make no sense.

use crate::checkpoint::*;
use quarter::RandomStream;
use quarter_cli::checkpoint::header::check;
use std::fs;

/// A file with this header and so many bytes after it.
fn raw(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + data, 0x38);
    bytes
}

fn good() -> Vec<u8> {
    let weight = tensor("a.weight", Dtype::F8_E4M3, &[2, 3], vec![0x38; 6]);
    let scale = tensor("a.weight_scale", Dtype::F32, &[1], singles(&[0.5]));
    file(&[weight, scale], &[("format", "pt")])
}

const ARGS: [&str; 3] = ["dequantize", "in.safetensors", "out.safetensors"];

#[track_caller]
fn message(bytes: &[u8]) -> String {
    let scene = scene();
    scene.put("in.safetensors", bytes);
    let message = refused(&scene, &ARGS);
    assert!(check(bytes).is_err());
    message.strip_prefix("in.safetensors: ").expect("the file is named").to_owned()
}

#[test]
fn cut_at_every_byte() {
    let whole = good();
    assert!(check(&whole).is_ok());
    for len in 0..whole.len() {
        assert!(check(&whole[..len]).unwrap_err().to_string().starts_with("truncated: "), "{len}");
    }
    for len in [0, 7, 8, 20, whole.len() - 10, whole.len() - 1] {
        let message = message(&whole[..len]);
        assert!(message.starts_with("truncated: "), "{len}: {message}");
    }
    let message = message(&[&whole[..], b"x"].concat());
    assert_eq!(message, "more bytes follow the 10 of its tensors: 11 in all");
}

#[test]
fn lies() {
    let entry = |dtype: &str, shape: &str, offsets: &str| {
        format!("\"a\":{{\"dtype\":\"{dtype}\",\"shape\":{shape},\"data_offsets\":{offsets}}}")
    };
    let one = |dtype, shape, offsets| format!("{{{}}}", entry(dtype, shape, offsets));
    let a = entry("U8", "[4]", "[0,4]");
    let b = |offsets| entry("U8", "[4]", offsets).replace("\"a\"", "\"b\"");
    let deep = format!("{{\"a\":{}", "[".repeat(100_000));
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (u64::MAX.to_le_bytes().to_vec(), "not a safetensors file: header of 18446744073709551615"),
        (100_000_001_u64.to_le_bytes().to_vec(), "header of 100000001 bytes, but 100000000 are"),
        (b"PK\x03\x04\0\0\0\0".to_vec(), "truncated: 0 of the 67324752 bytes of its header"),
        (raw("", 0), "bad header: EOF"),
        (raw("[]", 0), "bad header: invalid type: sequence, expected a map of tensors"),
        (raw("{\"a\":1}", 0), "bad header: invalid type: integer `1`"),
        (raw("{} x", 0), "bad header: trailing characters"),
        (raw("{\"a\u{1b}\":", 0), "bad header: control character"),
        (raw(&deep, 0), "bad header: "),
        (raw(&one("U7", "[4]", "[0,4]"), 4), "unknown variant `U7`"),
        (raw(&one("\u{1b}[2J", "[4]", "[0,4]"), 4), "bad header: "),
        (raw(&one("U8", "[4]", "[0]"), 4), "bad header: invalid length 1"),
        (raw(&one("U8", "[-4]", "[0,4]"), 4), "bad header: invalid value: integer `-4`"),
        (raw(&one("U8", "[4.0]", "[0,4]"), 4), "bad header: invalid type: floating point"),
        (raw(&one("U8", "[99999999999999999999]", "[0,4]"), 4), "bad header: "),
        (raw(&one("U8", "[4]", "[0,5]"), 5), "\"a\": shape [4] of U8 takes 4 bytes, and it has 5"),
        (
            raw(&one("F32", "[4]", "[0,4]"), 4),
            "\"a\": shape [4] of F32 takes 16 bytes, and it has 4",
        ),
        (raw(&one("U8", "[4]", "[4,0]"), 4), "\"a\": bytes 0 to 4 before it belong to no tensor"),
        (raw(&one("U8", "[4]", "[1,5]"), 5), "\"a\": bytes 0 to 1 before it belong to no tensor"),
        (
            raw(&one("F4", "[3]", "[0,2]"), 2),
            "\"a\": shape [3] of F4 takes 12 bits, no whole bytes",
        ),
        (
            raw(&one("U8", "[4294967296,4294967296]", "[0,4]"), 4),
            "\"a\": the size of shape [4294967296, 4294967296] of U8 overflows",
        ),
        (
            raw(&one("F64", "[2305843009213693952,8]", "[0,4]"), 4),
            "\"a\": the size of shape [2305843009213693952, 8] of F64 overflows",
        ),
        (
            raw(&one("U8", "[1000000000000]", "[0,1000000000000]"), 4),
            "truncated: 4 of the 1000000000000 bytes of its tensors",
        ),
        (raw(&format!("{{{a},{a}}}"), 4), "bad header: two tensors are named \"a\""),
        (
            raw(&format!("{{{a},{}}}", b("[0,4]")), 4),
            "\"b\": it starts at byte 0, before another's end",
        ),
        (
            raw(&format!("{{{a},{}}}", b("[2,6]")), 6),
            "\"b\": it starts at byte 2, before another's end at 4",
        ),
        (raw(&format!("{{{a},{}}}", b("[5,9]")), 9), "\"b\": bytes 4 to 5 before it belong to no"),
        (raw("{\"__metadata__\":{},\"__metadata__\":{}}", 0), "duplicate field `__metadata__`"),
        (raw("{\"__metadata__\":{\"a\":1}}", 0), "bad header: invalid type: integer `1`"),
        (raw(&format!("{{{a}}}").replace("\"a\"", "\"\\u001b[2J\""), 5), "more bytes follow the 4"),
    ];
    for (bytes, expected) in cases {
        let message = message(&bytes);
        assert!(message.contains(expected), "{message}\nwanted: {expected}");
        assert!(!message.contains('\u{1b}'), "{message:?}");
    }
}

#[test]
fn a_scale_that_is_larger_than_memory_is_never_read() {
    let header = r#"{"a.weight":{"dtype":"F8_E4M3","shape":[2,2],"data_offsets":[0,4]},
        "a.weight_scale":{"dtype":"F32","shape":[0,4611686018427387904],"data_offsets":[4,4]}}"#;
    let scene = scene();
    scene.put("in.safetensors", &raw(header, 4));
    let message = refused(&scene, &ARGS);
    assert!(message.contains("fit"), "{message}");
}

#[test]
fn empty_and_odd_tensors() {
    let scene = scene();
    let all = [
        tensor("a.weight", Dtype::F8_E4M3, &[0, 5], vec![]),
        tensor("a.weight_scale", Dtype::F32, &[0, 1], vec![]),
        tensor("b.weight", Dtype::F8_E4M3, &[7], vec![0x38; 7]),
        tensor("b.weight_scale", Dtype::F32, &[], singles(&[2.0])),
        tensor("c.weight", Dtype::F8_E5M2, &[], vec![0x3c]),
        tensor("c.weight_scale", Dtype::F32, &[1], singles(&[3.0])),
        tensor("d", Dtype::BOOL, &[3], vec![1, 0, 1]),
    ];
    scene.put("in.safetensors", &file(&all, &[]));
    done(&scene, &[&ARGS[..], &["--to", "f32"]].concat());
    let got = tensors(&scene.get("out.safetensors"));
    assert_eq!((got.len(), &got["a.weight"].shape[..]), (4, &[0, 5][..]));
    assert_eq!(
        (floats(&got["b.weight"].data), &got["b.weight"].shape[..]),
        (vec![2.0; 7], &[7][..])
    );
    assert_eq!((floats(&got["c.weight"].data), got["c.weight"].shape.len()), (vec![3.0], 0));
}

/// Shapes without elements whose rows nobody could count in bits.
#[test]
fn long_rows_that_are_not_there() {
    let header = r#"{"a.weight":{"dtype":"F8_E4M3","shape":[0,576460752303423488],"data_offsets":[0,0]},
        "a.weight_scale":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    let scene = scene();
    scene.put("in.safetensors", &raw(header, 4));
    done(&scene, &ARGS);
    let got = tensors(&scene.get("out.safetensors"));
    assert_eq!((got.len(), &got["a.weight"].shape[..]), (1, &[0, 1 << 59][..]));
    done(&scene, &["inspect", "in.safetensors"]);
}

#[test]
fn indices() {
    let scene = scene();
    let root = scene.path("in");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("a.safetensors"), good()).unwrap();
    let map = |entries: &str| format!("{{\"weight_map\":{{{entries}}}}}");
    let both = r#""a.weight":"a.safetensors","a.weight_scale":"a.safetensors""#;
    let label = "in/model.safetensors.index.json";
    for (text, expected) in [
        (String::new(), "bad JSON: EOF while parsing"),
        ("{}".to_owned(), "bad index: missing field `weight_map`"),
        ("[1]".to_owned(), "bad index: "),
        (map(""), "the index names no tensor"),
        (map("\"x\":1"), "bad index: invalid type: integer `1`"),
        (map("\"x\":\"a.safetensors\""), "\"x\" is not in \"a.safetensors\""),
        (
            map("\"x\":\"../a.safetensors\""),
            "\"../a.safetensors\" is not the name of a file beside",
        ),
        (
            map("\"x\":\"/etc/passwd\""),
            "\"/etc/passwd\" is not the name of a file beside the index",
        ),
        (map("\"x\":\"..\""), "\"..\" is not the name of a file beside the index"),
        (map("\"x\":\"\""), "\"\" is not the name of a file beside the index"),
        (map("\"x\":\"config.json\""), "\"config.json\" does not end in .safetensors"),
    ] {
        fs::write(root.join("model.safetensors.index.json"), &text).unwrap();
        let message = refused(&scene, &["dequantize", "in", "out"]);
        assert!(message.starts_with(&format!("{label}: {expected}")), "{message}");
    }
    let index = root.join("model.safetensors.index.json");
    fs::write(&index, map("\"x\":\"b.safetensors\"")).unwrap();
    let message = refused(&scene, &["dequantize", "in", "out"]);
    assert!(message.starts_with("cannot read in/b.safetensors: "), "{message}");
    fs::write(root.join("b.safetensors"), good()).unwrap();
    fs::write(&index, map(&format!("{both},\"a.weight\":\"b.safetensors\""))).unwrap();
    fs::write(&index, map(r#""a.weight":"a.safetensors","a.weight_scale":"b.safetensors""#))
        .unwrap();
    let message = refused(&scene, &["dequantize", "in", "out"]);
    assert!(message.starts_with("tensor \"a.weight"), "{message}");
    assert!(message.ends_with("is both in in/a.safetensors and in in/b.safetensors"), "{message}");
    fs::write(&index, map(both)).unwrap();
    for (config, expected) in [
        ("{", "in/config.json: bad JSON: EOF"),
        (
            r#"{"quantization_config":{"weight_block_size":[0,128]}}"#,
            "in: config.json: weight_block_size is [0,128], not two positive numbers",
        ),
        (
            r#"{"quantization_config":{"weight_block_size":"\u001b"}}"#,
            "in: config.json: weight_block_size is \"\\u001b\", not two positive numbers",
        ),
    ] {
        fs::write(root.join("config.json"), config).unwrap();
        let message = refused(&scene, &["dequantize", "in", "out"]);
        assert!(message.starts_with(expected), "{message}");
    }
    fs::write(root.join("config.json"), "[]").unwrap();
    done(&scene, &["dequantize", "in", "out"]);
}

/// Files of `quarter quantize` whose words do not fit their tensors.
#[test]
fn metadata_that_lies() {
    let codes = tensor("codes", Dtype::U8, &[2, 3], vec![7, 8, 9, 0x38, 0x38, 1]);
    let inv = |n: usize| tensor("scale_inv", Dtype::F32, &[n], singles(&vec![1.0; n]));
    for (cast, n, expected) in [
        ("e4m3:row:torchao", 3, "3 scales, but 2 are needed for row"),
        (
            "e2m1:row:torchao",
            2,
            "in.safetensors: tensor \"codes\": the code at [1, 0] is 0x38, and those of e2m1 end at 0xf",
        ),
        ("nonsense", 2, "\"nonsense\" is no cast"),
        ("e4m3:0x1:torchao", 2, "block rows"),
        ("bf16:row:torchao", 2, "a cast needs a number format of up to 8 bits"),
    ] {
        let scene = scene();
        scene.put("in.safetensors", &file(&[codes.clone(), inv(n)], &[("cast", cast)]));
        for out in ["out.npy", "out.safetensors"] {
            let message = refused(&scene, &["dequantize", "in.safetensors", out]);
            assert!(message.contains(expected), "{message}");
        }
    }
    let scene = scene();
    scene.put("in.safetensors", &good());
    let message = refused(&scene, &["dequantize", "in.safetensors", "out.npy"]);
    assert_eq!(message, "in.safetensors holds no codes of an array: out.npy can hold no model");
}

/// Thousands of damaged files through the fuzz target's body.
#[test]
fn damaged_files() {
    let header =
        r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F4","shape":[2,3],"data_offsets":[0,3]}}"#;
    let empty = r#"{"b":{"dtype":"F64","shape":[0,9],"data_offsets":[0,0]}}"#;
    let seeds = [good(), raw(header, 3), raw("{}", 0), raw("{ }   ", 0), raw(empty, 0)];
    let alphabet = b"{}[]\":,.-0123456789 FUBIE_xae\\\x00\xff";
    let mut next = {
        let (stream, mut at) = (RandomStream { seed: 0xF00D, ..RandomStream::default() }, 0);
        move |below: usize| {
            at += 1;
            stream.word(at) as usize % below
        }
    };
    let mut read = 0;
    for _ in 0..40_000 {
        let mut bytes = seeds[next(seeds.len())].clone();
        for _ in 0..=next(3) {
            let at = next(bytes.len());
            match next(5) {
                0 => bytes[at] ^= 1 << next(8),
                1 => bytes[at] = alphabet[next(alphabet.len())],
                2 => bytes.insert(at, alphabet[next(alphabet.len())]),
                3 if bytes.len() > 1 => drop(bytes.remove(at)),
                _ => bytes.truncate(at.max(1)),
            }
        }
        if next(2) == 0 && bytes.len() >= 8 {
            let data = 3.min(bytes.len() - 8); // a length that fits again
            let length = (bytes.len() - 8 - data) as u64;
            bytes[..8].copy_from_slice(&length.to_le_bytes());
        }
        read += u32::from(check(&bytes).is_ok());
    }
    assert!(read > 400, "the damage must be of the kind that a reader survives, too: {read}");
}
