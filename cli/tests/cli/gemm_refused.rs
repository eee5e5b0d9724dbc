//! `quarter gemm` on what it refuses: the message names the operand and both numbers, and nothing
//! is left behind.

use crate::checkpoint::*;
use crate::common::{Scene, npy, raw};
use crate::gemm::{gemm, matrix, values};
use clap::Parser as _;
use quarter::RandomStream;
use quarter_cli::{Cli, Command};

fn files() -> Scene {
    let scene = scene();
    scene.put("x.npy", &matrix(&values(1, 4 * 32), 4, 32));
    scene.put("w.npy", &matrix(&values(2, 8 * 32), 8, 32));
    scene.put("v.npy", &matrix(&values(3, 8 * 64), 8, 64));
    scene.put("c.npy", &npy("|u1", "(8, 32)", &codes(4, 256)));
    scene
}

#[track_caller]
fn refusal(scene: &Scene, args: &[&str]) -> String {
    refused(scene, &[&["gemm"], args, &["-o", "d.npy"]].concat())
}

#[test]
fn shapes() {
    let scene = files();
    for (args, expected) in [
        (
            &["x.npy", "v.npy"][..],
            "x.npy is [M, K] = [4, 32], and v.npy is [N, K] = [8, 64]: K is 32 and 64",
        ),
        (
            &["x.npy", "v.npy", "--recipe", "mxfp8", "--pass", "fprop"],
            "x.npy is [T, I] = [4, 32], and v.npy is [O, I] = [8, 64]: I is 32 and 64",
        ),
        (
            &["x.npy", "w.npy", "--recipe", "mxfp8", "--pass", "dgrad"],
            "x.npy is [T, O] = [4, 32], and w.npy is [O, I] = [8, 32]: O is 32 and 8",
        ),
        (
            &["x.npy", "w.npy", "--recipe", "f32", "--pass", "wgrad"],
            "x.npy is [T, O] = [4, 32], and w.npy is [T, I] = [8, 32]: T is 4 and 8",
        ),
        (&["x.npy", "w.npy", "--c", "v.npy"], "v.npy is [8, 64], and D is [M, N] = [4, 8]"),
        (
            &["x.npy", "w.npy", "--c", "c.npy"],
            "c.npy: uint8 elements are not added, but float64, float32 and float16 are",
        ),
    ] {
        assert_eq!(refusal(&scene, args), expected);
    }
    scene.put("flat.npy", &npy("<f4", "(6,)", &[0; 24]));
    assert_eq!(
        refusal(&scene, &["flat.npy", "w.npy"]),
        "flat.npy: shape (6,) has 1 dimensions, and two are multiplied: [M, K]"
    );
}

#[test]
fn flags_that_do_not_fit() {
    let scene = files();
    done(&scene, &["quantize", "w.npy", "w.s", "--cast", "e4m3:row:torchao"]);
    scene.put("s.npy", &npy("<f4", "(3, 5)", &[0; 60]));
    scene.put("t.npy", &npy("<f8", "(8,)", &[0; 64]));
    scene.put("u.npy", &npy("<f4", "(1, 8, 1)", &[0; 32]));
    for (args, expected) in [
        (
            &["x.npy", "c.npy"][..],
            "c.npy: uint8 elements are codes of a format: name it with --b-format",
        ),
        (
            &["x.npy", "c.npy", "--b-format", "bf16"],
            "c.npy: --b-format bf16 needs uint16 elements, and these are uint8",
        ),
        (
            &["x.npy", "w.npy", "--a-format", "e4m3"],
            "x.npy: --a-format e4m3 needs uint8 elements, and these are float32",
        ),
        (
            &["x.npy", "w.npy", "--a-scale", "s.npy"],
            "x.npy: --a-scale is for codes, and these are f32",
        ),
        (
            &["x.npy", "c.npy", "--b-format", "e4m3", "--b-scale", "s.npy"],
            "c.npy: scales s.npy: scales of shape [3, 5] fit no blocks of codes of shape [8, 32]",
        ),
        (
            &["x.npy", "c.npy", "--b-format", "e4m3", "--b-scale", "t.npy"],
            "c.npy: scales t.npy: scales are float32, or uint8 for those of e8m0, and these are \
             float64",
        ),
        (
            &["x.npy", "c.npy", "--b-format", "e4m3", "--b-scale", "u.npy"],
            "c.npy: scales u.npy: shape (1, 8, 1) has 3 dimensions, and scales have at most two",
        ),
        (
            &["x.npy", "c.npy", "--b-format", "e2m1"],
            "c.npy: code 0x", // and which
        ),
        (
            &["x.npy", "w.npy", "--a-tensor", "x"],
            "--a-tensor is for safetensors: x.npy is an array",
        ),
        (
            &["x.npy", "w.s", "--b-format", "e4m3"],
            "--b-format and --b-scale are for arrays: w.s says what its codes are",
        ),
        (&["x.npy", "w.s", "--b-tensor", "y"], "w.s: it holds no tensor \"y\""),
        (
            &["x.npy", "w.s", "--recipe", "blockwise", "--pass", "fprop"],
            "w.s: it holds codes of e4m3:row:torchao, and the recipe wants e4m3:128x128:te-block: \
             give values",
        ),
        (
            &["x.npy", "c.npy", "--b-format", "e4m3", "--recipe", "bf16", "--pass", "fprop"],
            "c.npy: it holds codes of e4m3, and the recipe wants bf16: give values",
        ),
        (
            &["x.npy", "w.npy", "--out-type", "f64"],
            "--out-type f64: results are f32, and become bf16, f16 or a number format of up to 8 \
             bits",
        ),
        (&["x.npy", "w.npy", "--out-type", "e8m0"], "--out-type e8m0: results are f32"),
        (
            &["x.npy", "w.npy", "--out-type", "bf16", "--out-scale", "2"],
            "--out-scale is for codes, and --out-type is bf16",
        ),
        (
            &["x.npy", "w.npy", "--out-type", "e4m3", "--out-scale", "0"],
            "--out-scale 0 is not finite, or 0",
        ),
        (&["x.npy", "missing.npy"], "missing.npy: No such file"),
        (&["x.npy", "missing.s"], "cannot read missing.s: No such file"),
    ] {
        let message = refusal(&scene, args);
        assert!(message.starts_with(expected), "{message:?}, not {expected:?}");
    }
    // Blocks of f32 scales from nowhere.
    scene.put("s.npy", &npy("<f4", "(8, 2)", &[0; 64]));
    let args = ["v.npy", "v.npy"];
    gemm(&scene, &args);
    scene.put("v.npy", &npy("|u1", "(8, 256)", &codes(5, 8 * 256)));
    let args = ["v.npy", "v.npy", "--a-format", "e4m3", "--b-format", "e4m3", "--a-scale", "s.npy"];
    let message = refusal(&scene, &args);
    assert!(message.contains("block sum deepseek, deepgemm or te"), "{message}");
    // A scale for each k cannot be taken out of the sum.
    scene.put("s.npy", &npy("<f4", "(1, 256)", &[0; 1024]));
    assert!(refusal(&scene, &args).contains("a scale for each k"));
    for args in [
        &["gemm"][..],
        &["gemm", "x.npy"],
        &["gemm", "x.npy", "w.npy", "--recipe", "mxfp8"],
        &["gemm", "x.npy", "w.npy", "--pass", "fprop"],
        &["gemm", "x.npy", "w.npy", "--recipe", "nonsense", "--pass", "fprop"],
        &["gemm", "x.npy", "w.npy", "--recipe", "mxfp8", "--pass", "sideways"],
        &["gemm", "x.npy", "w.npy", "--promote", "0"],
        &["gemm", "x.npy", "w.npy", "--block-sum", "mine"],
        &["gemm", "x.npy", "w.npy", "--selftest"],
        &["gemm", "--selftest", "--promote", "3"],
    ] {
        let run = quarter(&scene, args);
        assert_eq!(run.code, Some(2), "{args:?}: {}", run.stderr);
    }
}

#[test]
fn tensors_that_do_not_fit() {
    let scene = files();
    let weight = |shape: &[usize]| tensor("a.weight", Dtype::F8_E4M3, shape, codes(6, 256));
    let scale = tensor("a.weight_scale", Dtype::F32, &[1], singles(&[0.5]));
    let other = tensor("b", Dtype::F32, &[1, 32], singles(&values(7, 32)));
    let whole = tensor("n", Dtype::I32, &[8, 32], vec![0; 1024]);
    for (tensors, more, expected) in [
        (
            vec![weight(&[2, 4, 32]), scale.clone()],
            &["--b-tensor", "a.weight"][..],
            "m.s: tensor \"a.weight\": its shape is [2, 4, 32], and matrices are multiplied",
        ),
        (
            vec![weight(&[8, 32]), scale.clone(), other.clone()],
            &[],
            "m.s: it holds 2 matrices: choose one by --b-tensor NAME",
        ),
        (vec![scale.clone()], &[], "m.s: it holds 0 matrices: choose one by --b-tensor NAME"),
        (vec![whole], &[], "m.s: tensor \"n\" is of I32: neither numbers nor codes with scales"),
        (
            vec![tensor("n", Dtype::F32, &[64], singles(&[0.0; 64]))],
            &["--b-tensor", "n"],
            "m.s: tensor \"n\" has shape [64], and matrices are multiplied",
        ),
        (
            vec![weight(&[8, 32]), tensor("a.weight_scale", Dtype::F32, &[3], singles(&[1.0; 3]))],
            &[],
            "m.s: tensor \"a.weight\", scale \"a.weight_scale\": scales of shape [3] fit no blocks",
        ),
    ] {
        scene.put("m.s", &file(&tensors, &[]));
        let message = refusal(&scene, &[&["x.npy", "m.s"], more].concat());
        assert!(message.starts_with(expected), "{message:?}, not {expected:?}");
    }
    // Codes without a scale are their values.
    scene.put("m.s", &file(&[weight(&[8, 32])], &[]));
    gemm(&scene, &["x.npy", "m.s", "-o", "d.npy"]);
    let with = scene.get("d.npy");
    scene.put("c.npy", &npy("|u1", "(8, 32)", &codes(6, 256)));
    gemm(&scene, &["x.npy", "c.npy", "--b-format", "e4m3", "-o", "d.npy"]);
    assert_eq!(scene.get("d.npy"), with);
}

/// Where there is nothing to multiply, and files of some bytes that ask for terabytes.
#[test]
fn nothing() {
    let scene = scene();
    for (a, b) in
        [("(0, 5)", "(3, 5)"), ("(3, 5)", "(0, 5)"), ("(3, 0)", "(4, 0)"), ("(0, 0)", "(0, 0)")]
    {
        let data = |shape: &str| if shape == "(3, 5)" { vec![0; 60] } else { Vec::new() };
        scene.put("a.npy", &npy("<f4", a, &data(a)));
        scene.put("b.npy", &npy("<f4", b, &data(b)));
        for recipe in ["f32", "bf16", "blockwise", "mxfp8", "nvfp4", "rowwise", "delayed"] {
            let args = ["a.npy", "b.npy", "-o", "d.npy", "--recipe", recipe, "--pass", "fprop"];
            let lines = gemm(&scene, &args);
            assert!(lines.ends_with("beyond it 0\n"), "{lines}");
            let n = if a == "(3, 0)" { 12 } else { 0 };
            assert_eq!(crate::common::split(&scene.get("d.npy")).1, vec![0; 4 * n], "{recipe} {a}");
        }
    }
    std::fs::remove_file(scene.path("d.npy")).unwrap();
    for (a, b, expected) in [
        (
            "(2097152, 0)",
            "(2097152, 0)",
            "a.npy or b.npy has 0 elements, M, N, K are 2097152, 2097152, 0, and without elements \
             1048576 rows, columns and results are the most",
        ),
        ("(0, 1152921504606846975)", "(0, 1152921504606846975)", "a.npy or b.npy has 0 elements"),
        ("(2048, 0)", "(2048, 0)", "a.npy or b.npy has 0 elements, M, N, K are 2048, 2048, 0"),
        ("(4294967296, 4294967296, 0)", "(1, 0)", "a.npy: the shape asks for 2^63 bytes or more"),
    ] {
        scene.put("a.npy", &npy("<f4", a, &[]));
        scene.put("b.npy", &npy("<f4", b, &[]));
        for recipe in ["f32", "rowwise"] {
            let args = ["a.npy", "b.npy", "--recipe", recipe, "--pass", "fprop"];
            let message = refusal(&scene, &args);
            assert!(message.starts_with(expected), "{message:?}, not {expected:?}");
        }
    }
}

/// The input stays as it was, and the output is where it was, whatever fails.
#[test]
fn the_output_is_whole_or_not_there() {
    let scene = files();
    scene.put("d.npy", b"before");
    assert!(refusal(&scene, &["x.npy", "v.npy"]).contains("K is 32 and 64"));
    assert_eq!(scene.get("d.npy"), b"before");
    let args = ["gemm", "x.npy", "w.npy", "-o", "no/d.npy"];
    assert!(refused(&scene, &args).starts_with("cannot write no/d.npy: no is not a directory"));
    let want = {
        gemm(&scene, &["x.npy", "w.npy", "-o", "d.npy"]);
        scene.get("d.npy")
    };
    gemm(&scene, &["x.npy", "w.npy", "-o", "w.npy"]); // D may be an operand
    assert_eq!(scene.get("w.npy"), want);
}

/// Thousands of damaged files of every kind: operands or errors, and no panic.
#[test]
fn damaged_files() {
    let scene = scene();
    scene.put("x.npy", &matrix(&values(8, 12 * 32), 12, 32));
    for (name, cast) in
        [("mx", "e2m1:1x32:ocp-even"), ("nv", "e2m1:1x16:nvfp4"), ("b", "e4m3:5x16:te-block")]
    {
        let args = ["quantize", "x.npy", name, "--cast", cast];
        done(&scene, &[&args[..], if name == "nv" { &["--packed"] } else { &[] }].concat());
    }
    let mut seeds: Vec<_> = ["mx", "nv", "b"].iter().map(|name| (scene.get(name), "f.s")).collect();
    seeds.push((npy("|u1", "(3, 4)", &[7; 12]), "f.npy"));
    seeds.push((raw("{'descr':'>f4','fortran_order':True,'shape':(2,3),}", &[1; 24]), "f.npy"));
    let mut at = 0;
    let mut next = |below: usize| {
        at += 1;
        RandomStream { seed: 0xBAD, ..RandomStream::default() }.word(at) as usize % below
    };
    let (mut multiplied, mut refused) = (0, 0);
    for round in 0..4000 {
        let (mut bytes, name) = seeds[round % seeds.len()].clone();
        for _ in 0..=next(2) {
            let most = if next(2) == 0 { 400 } else { usize::MAX };
            let i = next(bytes.len().min(most));
            match next(8) {
                0..4 => bytes[i] ^= 1 << next(8),
                4..6 => bytes[i] = b"0123456789,[]\"EF_"[next(17)],
                6 => bytes.truncate(i.max(1)),
                _ => bytes.insert(i, b'0' + next(10) as u8),
            }
        }
        scene.put(name, &bytes);
        let path = scene.path(name).display().to_string();
        let mut args = vec!["quarter", "gemm", &path, &path, "--block-sum", "te"];
        if name == "f.npy" && round % 2 == 0 {
            args.extend(["--a-format", "e4m3", "--b-format", "e5m2"]);
        }
        let cli = Cli::try_parse_from(args).expect("arguments");
        let Command::Gemm(args) = cli.command else { panic!("another command") };
        match quarter_cli::gemm::run(&args) {
            Ok(lines) => {
                assert!(lines.ends_with("beyond it 0"), "{lines}");
                multiplied += 1;
            }
            Err(_) => refused += 1,
        }
    }
    assert!(multiplied > 400 && refused > 400, "{multiplied} multiplied, {refused} refused");
}
