//! `quarter gemm`: files hold what the library gives, whatever the operands are made of.

use crate::checkpoint::*;
use crate::common::{Scene, command, npy, raw, run, split};
use half::{bf16, f16};
use quarter::gemm::{
    Accumulation, BlockSum, GemmInput, GemmOptions, GemmOutput, Workspace, gemm_nt,
};
use quarter::recipe::{Pass, Recipe, Role, presets};
use quarter::slice::Values;
use quarter::tensor::{MatMut, MatRef, QuantizeOptions, Quantized, Scales, quantize};
use quarter::{FormatId, Granularity, Isa};

/// Tokens, inputs, outputs.
const T: usize = 21;
const I: usize = 150;
const O: usize = 35;

/// Values of some sizes, with zeros.
pub fn values(seed: u64, n: usize) -> Vec<f32> {
    let number = |(i, x): (usize, &u8)| (f32::from(*x) - 120.0) * (1 + i % 5) as f32 * 0.013;
    noise(seed, n).iter().enumerate().map(number).collect()
}

pub fn matrix(values: &[f32], rows: usize, cols: usize) -> Vec<u8> {
    npy("<f4", &format!("({rows}, {cols})"), &singles(values))
}

/// `quarter gemm` with these must work; gives the lines that it prints.
#[track_caller]
pub fn gemm(scene: &Scene, args: &[&str]) -> String {
    done(scene, &[&["gemm"], args].concat())
}

/// The elements of `d.npy`, which is an array of this type and shape.
#[track_caller]
fn result(scene: &Scene, descr: &str, rows: usize, cols: usize) -> Vec<u8> {
    let (header, data) = split(&scene.get("d.npy"));
    let want =
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({rows}, {cols}), }}");
    assert_eq!(header, want);
    data
}

/// The library's product of two operands.
fn product<'a>(a: impl Into<GemmInput<'a>>, b: impl Into<GemmInput<'a>>) -> Vec<u8> {
    product_with(a, b, &GemmOptions::new())
}

fn product_with<'a>(
    a: impl Into<GemmInput<'a>>,
    b: impl Into<GemmInput<'a>>,
    options: &GemmOptions<'_>,
) -> Vec<u8> {
    let (a, b) = (a.into(), b.into());
    let (m, n) = (a.shape().0, b.shape().0);
    let mut d = vec![0.0_f32; m * n];
    gemm_nt(a, b, MatMut::new(&mut d, m, n).unwrap(), options).unwrap();
    singles(&d)
}

/// What is printed: a shape, operands, a time, errors within the bound.
#[track_caller]
pub fn check_lines(lines: &str, (m, n, k): (usize, usize, usize), a: &str, b: &str) {
    let lines: Vec<_> = lines.lines().collect();
    assert_eq!(lines.len(), 6, "{lines:?}");
    assert_eq!(lines[0], format!("shape  M {m}  N {n}  K {k}"));
    assert_eq!((lines[1], lines[2]), (&*format!("a      {a}"), &*format!("b      {b}")));
    assert!(lines[3].starts_with("time   ") && lines[3].contains(" GFLOP/s  "), "{lines:?}");
    assert!(lines[3].contains("thread"), "{lines:?}");
    assert!(lines[4].starts_with("error  "), "{lines:?}");
    assert!(lines[5].starts_with("bound  gamma("), "{lines:?}");
    assert!(lines[5].ends_with("  beyond it 0"), "{lines:?}");
}

/// The number after a word of a line.
#[track_caller]
fn figure(lines: &str, word: &str) -> f64 {
    let (_, rest) = lines.split_once(word).unwrap_or_else(|| panic!("{word} in {lines}"));
    rest.split([' ', ',', ')', '\n']).next().unwrap().parse().unwrap()
}

/// A layer's tensors, in files named for their roles.
fn layer() -> (Scene, [(Vec<f32>, usize, usize); 3]) {
    let tensors = [(values(1, T * I), T, I), (values(2, O * I), O, I), (values(3, T * O), T, O)];
    let scene = scene();
    for (name, (values, rows, cols)) in ["x.npy", "w.npy", "dy.npy"].iter().zip(&tensors) {
        scene.put(name, &matrix(values, *rows, *cols));
    }
    (scene, tensors)
}

fn of(role: Role) -> usize {
    match role {
        Role::Input => 0,
        Role::Weight => 1,
        Role::GradOutput => 2,
    }
}

/// Every recipe, every pass: D is what the recipe's own product gives.
#[test]
fn recipes() {
    let (scene, tensors) = layer();
    for (name, preset) in presets::ALL {
        for (pass, shape) in Pass::ALL.iter().zip([(T, O, I), (T, I, O), (O, I, T)]) {
            let roles = pass.operands().map(|(role, _)| of(role));
            let files = roles.map(|role| ["x.npy", "w.npy", "dy.npy"][role]);
            let args = [files[0], files[1], "-o", "d.npy", "--recipe", name, "--pass", pass.name()];
            let lines = gemm(&scene, &args);
            let [a, b] = roles.map(|role| {
                let (values, rows, cols) = &tensors[role];
                MatRef::new(values, *rows, *cols).unwrap()
            });
            let (m, n, _) = shape;
            let mut d = vec![0.0_f32; m * n];
            let (recipe, casts, options) = (preset(), QuantizeOptions::new(), GemmOptions::new());
            let place = MatMut::new(&mut d, m, n).unwrap();
            recipe.product(*pass, [a, b], place, &casts, &options, &mut Workspace::new()).unwrap();
            assert_eq!(result(&scene, "<f4", m, n), singles(&d), "{name} {pass}");
            let gemm = recipe.gemm(*pass);
            let [a, b] = [(files[0], gemm.a), (files[1], gemm.b)].map(|(f, o)| format!("{f}: {o}"));
            check_lines(&lines, shape, &a, &b);
            assert!(lines.contains("  casts "), "{lines}");
        }
    }
}

/// Numbers of every type, rows or columns first, are multiplied as they are.
#[test]
fn numbers() {
    let (x, w) = (values(4, T * I), values(5, O * I));
    let (a, b) = (MatRef::new(&x, T, I).unwrap(), MatRef::new(&w, O, I).unwrap());
    let scene = scene();
    let shape = format!("({T}, {I})");
    scene.put("w.npy", &matrix(&w, O, I));
    let args = ["x.npy", "w.npy", "-o", "d.npy"];
    scene.put("x.npy", &matrix(&x, T, I));
    check_lines(&gemm(&scene, &args), (T, O, I), "x.npy: f32", "w.npy: f32");
    assert_eq!(result(&scene, "<f4", T, O), product(a, b));
    let turned: Vec<f32> = (0..T * I).map(|i| x[i % T * I + i / T]).collect();
    let header = format!("{{'descr': '<f4', 'fortran_order': True, 'shape': {shape}, }}\n");
    scene.put("x.npy", &raw(&header, &singles(&turned)));
    check_lines(&gemm(&scene, &args), (T, O, I), "x.npy: f32", "w.npy: f32");
    assert_eq!(result(&scene, "<f4", T, O), product(a, b));
    let wide: Vec<f64> = x.iter().map(|x| f64::from(*x) * (1.0 + 2f64.powi(-25))).collect();
    let bytes: Vec<u8> = wide.iter().flat_map(|x| x.to_be_bytes()).collect();
    scene.put("x.npy", &npy(">f8", &shape, &bytes));
    check_lines(&gemm(&scene, &args), (T, O, I), "x.npy: f64", "w.npy: f32");
    assert_eq!(result(&scene, "<f4", T, O), product(MatRef::new(&wide, T, I).unwrap(), b));
    let narrow: Vec<f16> = x.iter().map(|x| f16::from_f32(*x)).collect();
    let bytes: Vec<u8> = narrow.iter().flat_map(|x| x.to_bits().to_le_bytes()).collect();
    let want = product(MatRef::new(&narrow, T, I).unwrap(), b);
    scene.put("x.npy", &npy("<f2", &shape, &bytes));
    check_lines(&gemm(&scene, &args), (T, O, I), "x.npy: f16", "w.npy: f32");
    assert_eq!(result(&scene, "<f4", T, O), want);
    scene.put("x.npy", &npy("<u2", &shape, &bytes));
    gemm(&scene, &[&args[..], &["--a-format", "f16"]].concat());
    assert_eq!(result(&scene, "<f4", T, O), want);
    let halves: Vec<bf16> = x.iter().map(|x| bf16::from_f32(*x)).collect();
    let bytes: Vec<u8> = halves.iter().flat_map(|x| x.to_bits().to_le_bytes()).collect();
    scene.put("x.npy", &npy("<V2", &shape, &bytes));
    let lines = gemm(&scene, &[&args[..], &["--a-format", "bf16"]].concat());
    check_lines(&lines, (T, O, I), "x.npy: bf16", "w.npy: f32");
    let source = MatRef::new(Values::Bf16(&halves), T, I).unwrap();
    assert_eq!(result(&scene, "<f4", T, O), product(source, b));
}

/// Codes without scales, with scales of every shape, and by columns.
#[test]
fn codes_with_scales() {
    let (x, w) = (codes(6, T * I), codes(7, O * I));
    let scene = scene();
    scene.put("x.npy", &npy("|u1", &format!("({T}, {I})"), &x));
    scene.put("w.npy", &npy("|u1", &format!("({O}, {I})"), &w));
    let from = |format, rows, granularity, codes: &[u8], scales| {
        let codes = codes.to_vec();
        Quantized::from_parts(format, (rows, I), granularity, codes, scales).unwrap()
    };
    let f32s = |scale_inv| Scales::F32 { scale: None, scale_inv };
    let one = from(FormatId::F8E5M2, O, Granularity::Tensor, &w, f32s(vec![1.0]));
    let args = ["x.npy", "w.npy", "-o", "d.npy", "--a-format", "e4m3", "--b-format", "e5m2"];
    let lines = gemm(&scene, &args);
    check_lines(&lines, (T, O, I), "x.npy: e4m3", "w.npy: e5m2");
    let a = from(FormatId::F8E4M3, T, Granularity::Tensor, &x, f32s(vec![1.0]));
    assert_eq!(result(&scene, "<f4", T, O), product(&a, &one));
    let block = |rows, cols| Granularity::Block { rows, cols };
    let cases = [
        ("()", 1, Granularity::Tensor),
        ("(1,)", 1, Granularity::Tensor),
        (&*format!("({T},)"), T, Granularity::Row),
        (&*format!("({T}, 1)"), T, Granularity::Row),
        (&*format!("({T}, 2)"), 2 * T, block(1, 128)),
        (&*format!("({T}, 5)"), 5 * T, block(1, 32)),
        ("(1, 2)", 2, block(128, 128)),
    ];
    for (shape, n, granularity) in cases {
        let s = scales(8, n);
        scene.put("s.npy", &npy("<f4", shape, &singles(&s)));
        for sum in BlockSum::ALL {
            let more = ["--a-scale", "s.npy", "--block-sum", sum.name()];
            let lines = gemm(&scene, &[&args[..], &more].concat());
            check_lines(&lines, (T, O, I), &format!("x.npy: e4m3:{granularity}"), "w.npy: e5m2");
            let a = from(FormatId::F8E4M3, T, granularity, &x, f32s(s.clone()));
            let sums = Accumulation { block_sum: Some(*sum), ..Accumulation::default() };
            let want = product_with(&a, &one, &GemmOptions::new().sums(sums));
            assert_eq!(result(&scene, "<f4", T, O), want, "{shape} {sum}");
        }
    }
    let bytes: Vec<u8> = noise(9, 5 * T).iter().map(|x| 120 + x % 16).collect();
    let a = from(FormatId::F8E4M3, T, Granularity::BLOCK_1X32, &x, Scales::E8M0(bytes.clone()));
    let b = from(FormatId::F8E5M2, O, Granularity::Tensor, &w, Scales::E8M0(vec![127]));
    let want = product(&a, &b);
    let turned = |bytes: &[u8], rows: usize| -> Vec<u8> {
        let cols = bytes.len() / rows;
        (0..bytes.len()).map(|i| bytes[i % rows * cols + i / rows]).collect()
    };
    let fortran = |shape: &str, data: &[u8]| {
        let text = format!("{{'descr': '|u1', 'fortran_order': True, 'shape': {shape}, }}\n");
        raw(&text, data)
    };
    let more = ["--a-scale", "s.npy"];
    scene.put("s.npy", &npy("|u1", &format!("({T}, 5)"), &bytes));
    gemm(&scene, &[&args[..], &more].concat());
    assert_eq!(result(&scene, "<f4", T, O), want);
    scene.put("s.npy", &fortran(&format!("({T}, 5)"), &turned(&bytes, T)));
    scene.put("x.npy", &fortran(&format!("({T}, {I})"), &turned(&x, T)));
    gemm(&scene, &[&args[..], &more].concat());
    assert_eq!(result(&scene, "<f4", T, O), want);
}

/// What `quarter quantize` makes, of arrays and of models.
#[test]
fn safetensors() {
    let (scene, [x, w, _]) = layer();
    let (a, b) = (MatRef::new(&x.0, T, I).unwrap(), MatRef::new(&w.0, O, I).unwrap());
    let library = |source, cast: &str| {
        quantize(source, &cast.parse().unwrap(), &QuantizeOptions::new()).unwrap()
    };
    for (casts, more) in [
        (["e4m3:1x128:te-block", "e4m3:128x128:te-block"], &[][..]),
        (["e4m3:1x128:deepseek", "e4m3:128x128:deepseek"], &[]),
        (["e4m3:row:torchao", "e5m2:tensor:te-current"], &[]),
        (["e4m3:1x32:te-mx", "e2m3:1x32:ocp-even"], &[]),
        (["e2m1:1x16:nvfp4", "e2m1:1x16:nvfp4"], &[]),
        (["e2m1:1x16:nvfp4", "e2m1:1x16:nvfp4"], &["--packed"]),
    ] {
        for (file, name, cast) in [("x.npy", "x.s", casts[0]), ("w.npy", "w.s", casts[1])] {
            done(&scene, &[&["quantize", file, name, "--cast", cast], more].concat());
        }
        let lines = gemm(&scene, &["x.s", "w.s", "-o", "d.npy"]);
        let [text_a, text_b] =
            [("x.s", casts[0]), ("w.s", casts[1])].map(|(f, c)| format!("{f}: {c}"));
        check_lines(&lines, (T, O, I), &text_a, &text_b);
        let want = product(&library(a, casts[0]), &library(b, casts[1]));
        assert_eq!(result(&scene, "<f4", T, O), want, "{casts:?}");
    }
    // A model: codes with DeepSeek's names, and numbers.
    let tensors = [
        tensor("p.weight", Dtype::F32, &[O, I], singles(&w.0)),
        tensor("q.weight", Dtype::F32, &[T, I], singles(&x.0)),
        tensor("norm", Dtype::F32, &[2, I], singles(&x.0[..2 * I])),
    ];
    scene.put("m.safetensors", &file(&tensors, &[]));
    let cast = "e4m3:128x128:deepseek";
    done(&scene, &["quantize", "m.safetensors", "q.safetensors", "--cast", cast]);
    let args = ["x.npy", "q.safetensors", "--b-tensor", "p.weight", "-o", "d.npy"];
    let lines = gemm(&scene, &args);
    check_lines(&lines, (T, O, I), "x.npy: f32", &format!("q.safetensors \"p.weight\": {cast}"));
    assert_eq!(result(&scene, "<f4", T, O), product(a, &library(b, cast)));
    let args = ["q.safetensors", "m.safetensors", "-o", "d.npy"];
    gemm(&scene, &[&args[..], &["--a-tensor", "norm", "--b-tensor", "q.weight"]].concat());
    let norm = MatRef::new(&x.0[..2 * I], 2, I).unwrap();
    assert_eq!(result(&scene, "<f4", 2, T), product(norm, a));
    // The only matrix of a file needs no name.
    scene.put("one.safetensors", &file(&tensors[..1], &[]));
    gemm(&scene, &["x.npy", "one.safetensors", "-o", "d.npy"]);
    assert_eq!(result(&scene, "<f4", T, O), product(a, b));
}

/// Codes that the recipe's cast made are taken as they are, or transposed where that is the same.
#[test]
fn codes_under_a_recipe() {
    let (scene, _) = layer();
    done(&scene, &["quantize", "w.npy", "w.s", "--recipe", "blockwise"]);
    for (file, pass, shape) in [("x.npy", "fprop", (T, O)), ("dy.npy", "dgrad", (T, I))] {
        let more = ["--recipe", "blockwise", "--pass", pass, "-o", "d.npy"];
        gemm(&scene, &[&[file, "w.npy"], &more[..]].concat());
        let want = result(&scene, "<f4", shape.0, shape.1);
        gemm(&scene, &[&[file, "w.s"], &more[..]].concat());
        assert_eq!(result(&scene, "<f4", shape.0, shape.1), want, "{pass}");
    }
}

/// C is added, promotion moves bits, and results become bf16, f16 and codes.
#[test]
fn options() {
    let (scene, [x, w, _]) = layer();
    let c = values(10, T * O);
    scene.put("c.npy", &matrix(&c, T, O));
    let (a, b) = (MatRef::new(&x.0, T, I).unwrap(), MatRef::new(&w.0, O, I).unwrap());
    let args = ["x.npy", "w.npy", "-o", "d.npy"];
    let lines = gemm(&scene, &[&args[..], &["--c", "c.npy"]].concat());
    check_lines(&lines, (T, O, I), "x.npy: f32", "w.npy: f32");
    let added = GemmOptions::new().c(1.0, MatRef::new(&c, T, O).unwrap());
    assert_eq!(result(&scene, "<f4", T, O), product_with(a, b, &added));
    let lines = gemm(&scene, &[&args[..], &["--promote", "7"]].concat());
    let sums = Accumulation { promote: Some(7), ..Accumulation::default() };
    let want = product_with(a, b, &GemmOptions::new().sums(sums));
    assert_eq!(result(&scene, "<f4", T, O), want);
    assert_ne!(want, product(a, b));
    assert_eq!(figure(&lines, "gamma("), (7 + I.div_ceil(7) - 1) as f64, "{lines}");
    // As the recipe says, but for what is said here.
    let recipe = "name=r;fprop=e4m3:1x128:te-block*e4m3:128x128:te-block+promote=50;\
                  dgrad=bf16*bf16;wgrad=bf16*bf16";
    let more = ["--recipe", recipe, "--pass", "fprop", "--block-sum", "deepgemm"];
    gemm(&scene, &[&args[..], &more].concat());
    let parsed: Recipe = recipe.replace("+promote", "+sum=deepgemm+promote").parse().unwrap();
    let mut d = vec![0.0_f32; T * O];
    let (casts, plain) = (QuantizeOptions::new(), GemmOptions::new());
    let place = MatMut::new(&mut d, T, O).unwrap();
    parsed.product(Pass::Fprop, [a, b], place, &casts, &plain, &mut Workspace::new()).unwrap();
    assert_eq!(result(&scene, "<f4", T, O), singles(&d));

    let mut halves = vec![bf16::ZERO; T * O];
    gemm_nt(a, b, MatMut::new(&mut halves, T, O).unwrap(), &plain).unwrap();
    let lines = gemm(&scene, &[&args[..], &["--out-type", "bf16"]].concat());
    check_lines(&lines, (T, O, I), "x.npy: f32", "w.npy: f32");
    let bits: Vec<u8> = halves.iter().flat_map(|x| x.to_bits().to_le_bytes()).collect();
    assert_eq!(result(&scene, "<u2", T, O), bits);
    let mut halves = vec![f16::ZERO; T * O];
    gemm_nt(a, b, MatMut::new(&mut halves, T, O).unwrap(), &plain).unwrap();
    gemm(&scene, &[&args[..], &["--out-type", "f16"]].concat());
    let bits: Vec<u8> = halves.iter().flat_map(|x| x.to_bits().to_le_bytes()).collect();
    assert_eq!(result(&scene, "<u2", T, O), bits);
    for (format, scale, text) in [
        (FormatId::F8E4M3, 0.25, "0.25"),
        (FormatId::F8E5M2, -3.0, "-3"),
        (FormatId::F4E2M1, 1.0, "1"), // most saturate
    ] {
        let mut codes = vec![0; T * O];
        let place = GemmOutput::codes(&mut codes, (T, O), format, scale).unwrap();
        gemm_nt(a, b, place, &plain).unwrap();
        let scale = format!("--out-scale={text}");
        let lines = gemm(&scene, &[&args[..], &["--out-type", format.name(), &scale]].concat());
        check_lines(&lines, (T, O, I), "x.npy: f32", "w.npy: f32");
        assert_eq!(result(&scene, "|u1", T, O), codes);
        assert_eq!(lines.contains(" saturated"), format == FormatId::F4E2M1, "{lines}");
    }
}

/// Threads and instruction sets move no bit.
#[test]
fn threads_and_instruction_sets() {
    let scene = scene();
    let (m, n, k) = (150, 160, 400);
    scene.put("x.npy", &matrix(&values(11, m * k), m, k));
    scene.put("w.npy", &matrix(&values(12, n * k), n, k));
    let args = ["gemm", "x.npy", "w.npy", "-o", "d.npy", "--recipe", "mxfp8", "--pass", "fprop"];
    let mut want = None;
    for isa in Isa::available() {
        for threads in ["1", "2"] {
            let mut command = command(&[&args[..], &["--threads", threads]].concat());
            command.env("QUARTER_ISA", isa.name()).current_dir(scene.dir.path());
            let run = run(command);
            assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
            assert!(run.stdout.contains(isa.name()), "{}", run.stdout);
            let got = result(&scene, "<f4", m, n);
            assert!(*want.get_or_insert_with(|| got.clone()) == got, "{isa:?} {threads}");
        }
    }
}

/// Small integers are exact; elements that are not finite are counted apart.
#[test]
fn errors_are_those_of_the_product() {
    let scene = scene();
    let mut a: Vec<f32> = noise(13, 6 * 40).iter().map(|x| f32::from(x % 9) - 4.0).collect();
    scene.put("a.npy", &matrix(&a, 6, 40));
    let lines = gemm(&scene, &["a.npy", "a.npy"]);
    assert!(lines.contains("error  max 0.000e0  rms 0.000e0  of 36 elements\n"), "{lines}");
    assert!(lines.contains("bound  gamma(40)  largest error/bound 0.000"), "{lines}");
    assert_eq!(scene.names(), ["a.npy"], "without -o nothing is written");
    a[0] = f32::NAN;
    a[40] = f32::INFINITY;
    scene.put("n.npy", &matrix(&a, 6, 40));
    let lines = gemm(&scene, &["n.npy", "a.npy"]);
    assert!(lines.contains(" of 24 elements, 12 not finite\n"), "{lines}");
    let lines = gemm(&scene, &["n.npy", "n.npy", "--out-type", "e4m3"]);
    assert!(lines.contains(" of 16 elements, 20 not finite\n"), "{lines}");
    // 1 + 2^-24 and 1 + 2^-25, of which f32 keeps 1.
    let lines = {
        let (one, tiny) = (1.0, 2f32.powi(-24));
        scene.put("p.npy", &matrix(&[one, one], 1, 2));
        scene.put("q.npy", &matrix(&[one, tiny, one, tiny / 2.0], 2, 2));
        gemm(&scene, &["p.npy", "q.npy"])
    };
    assert!((figure(&lines, "max ") - 2f64.powi(-24)).abs() < 1e-10, "{lines}");
    assert!((figure(&lines, "rms ") - 2f64.powi(-24) * 0.625f64.sqrt()).abs() < 1e-10, "{lines}");
    assert!((figure(&lines, "error/bound ") - 0.5).abs() < 1e-3, "{lines}");
}

/// A large product is compared in some rows.
#[test]
fn rows_of_a_large_product() {
    let scene = scene();
    let (m, n, k) = (300, 1000, 600);
    scene.put("a.npy", &npy("|u1", &format!("({m}, {k})"), &codes(14, m * k)));
    scene.put("b.npy", &npy("|u1", &format!("({n}, {k})"), &codes(15, n * k)));
    let args = ["a.npy", "b.npy", "--a-format", "e4m3", "--b-format", "e4m3"];
    let lines = gemm(&scene, &args);
    check_lines(&lines, (m, n, k), "a.npy: e4m3", "b.npy: e4m3");
    assert!(lines.contains(" of 223'000 elements in 223 of 300 rows\n"), "{lines}");
}
