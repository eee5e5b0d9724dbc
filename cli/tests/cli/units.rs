//! `quarter units`, and `quarter gemm` through them: known sums, differences, what is refused.

use crate::checkpoint::{codes, done, quarter, refused, scene, singles};
use crate::common::{Scene, command, npy, run, split};
use crate::gemm::{gemm, matrix, values};
use half::{bf16, f16};
use quarter::gemm::{Accumulation, GemmOptions, Workspace, gemm_nt};
use quarter::mma::{B200_FP8, H100_16BIT, H100_TF32, H100_WGMMA_FP8, UNITS, Unit};
use quarter::recipe::{Pass, Recipe};
use quarter::tensor::{MatMut, MatRef, QuantizeOptions};
use serde_json::Value;

#[test]
fn a_line_for_each() {
    let table = run(command(&["units"]));
    assert_eq!((table.code, table.stderr.as_str()), (Some(0), ""));
    let lines: Vec<_> = table.stdout.lines().collect();
    let title = lines[0];
    assert_eq!(
        title.split_whitespace().collect::<Vec<_>>(),
        ["name", "hardware", "inputs", "output", "step", "evidence", "source"]
    );
    let json = run(command(&["units", "--json"]));
    assert_eq!((json.code, json.stderr.as_str()), (Some(0), ""));
    let rows: Vec<Value> =
        json.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(rows.len(), UNITS.len());
    let at = |title_of: &str| title.find(title_of).expect("a column");
    for ((unit, row), line) in UNITS.iter().zip(&rows).zip(&lines[1..]) {
        let keys: Vec<_> = row.as_object().expect("an object").keys().collect();
        assert_eq!(
            keys,
            ["evidence", "hardware", "inputs", "name", "output", "source", "step"],
            "{unit}"
        );
        let inputs: Vec<_> = unit.inputs().iter().map(|spec| spec.name()).collect();
        for (key, want) in [
            ("name", unit.name()),
            ("hardware", unit.hardware()),
            ("output", &*unit.output().to_string()),
            ("evidence", &*unit.evidence().to_string()),
            ("source", unit.source()),
        ] {
            assert_eq!(row[key], want, "{unit}");
            assert!(line[at(key)..].starts_with(want), "{key}: {line}");
        }
        assert_eq!(row["inputs"], Value::from(inputs.clone()), "{unit}");
        assert!(line[at("inputs")..].starts_with(&inputs.join(", ")), "{line}");
        assert_eq!(row["step"], unit.step(), "{unit}");
        let step = line[..at("step") + 4].rsplit(' ').next();
        assert_eq!(step, Some(&*unit.step().to_string()), "{line}");
    }
    let [empty, meanings] = &lines[UNITS.len() + 1..] else { panic!("{}", table.stdout) };
    assert_eq!(*empty, "");
    for unit in UNITS {
        assert!(meanings.contains(&format!("{} (", unit.evidence())), "{unit}: {meanings}");
    }
}

/// One row and one column of codes of e4m3, and C where it is not 0.
fn vectors(k: usize, a: impl Fn(usize) -> u8, b: impl Fn(usize) -> u8, c: u32) -> Scene {
    let scene = scene();
    let file = |codes: Vec<u8>| npy("|u1", &format!("(1, {k})"), &codes);
    scene.put("a.npy", &file((0..k).map(a).collect()));
    scene.put("b.npy", &file((0..k).map(b).collect()));
    scene.put("c.npy", &matrix(&[f32::from_bits(c)], 1, 1));
    scene
}

const CODES: [&str; 6] = ["a.npy", "b.npy", "--a-format", "e4m3", "--b-format", "e4m3"];

/// The bits of the only output, and the lines.
#[track_caller]
fn sum(scene: &Scene, more: &[&str]) -> (u32, String) {
    let lines = gemm(scene, &[&CODES[..], &["-o", "d.npy"], more].concat());
    let (header, data) = split(&scene.get("d.npy"));
    assert!(header.contains("'<f4'") && header.contains("(1, 1)"), "{header}");
    (u32::from_le_bytes(data.try_into().expect("one f32")), lines)
}

const ZERO: u8 = 0x00;
const ONE: u8 = 0x38;
const THREE: u8 = 0x44;

/// Vectors of which outputs or other models are known (V1, V8, V10 of the collection).
#[test]
fn known_sums() {
    let first = |code: u8| move |k: usize| if k == 0 { code } else { ZERO };
    let v1 = vectors(32, |_| ZERO, |_| ZERO, 0x4040_0617);
    let v8 = vectors(32, |_| ONE, |_| ONE, 0x4b80_0000);
    let v10 = vectors(32, first(ONE), first(THREE), 0x4b80_0000);
    for (scene, of, expected) in [
        (&v1, "V1", [0x4040_0617, 0x4040_0400, 0x4040_0400, 0x4040_0617, 0x4040_0617]),
        (&v8, "V8", [0x4b80_0010, 0x4b80_0000, 0x4b80_0000, 0x4b80_0010, 0x4b80_0010]),
        (&v10, "V10", [0x4b80_0002, 0x4b80_0000, 0x4b80_0000, 0x4b80_0001, 0x4b80_0002]),
    ] {
        let units = ["exact", "h100-wgmma-fp8", "ada-fp8", "b200-fp8", "hopper-mma-sync-fp8"];
        for (name, want) in units.into_iter().zip(expected) {
            let (got, lines) = sum(scene, &["--c", "c.npy", "--unit", name]);
            assert_eq!(got, want, "{of} {name}: {got:#010x}, not {want:#010x}");
            let unit: &Unit = name.parse().unwrap();
            let line = format!("\nunit   {unit}  {}\n", unit.hardware());
            assert!(lines.contains(&line), "{lines}");
            assert!(lines.contains("\nerror  max "), "{lines}");
            let none = format!("bound  not computed for the sums of {unit} (`quarter report ");
            assert_eq!(lines.contains(&none), name != "exact", "{lines}");
            assert_eq!(lines.contains("  beyond it 0"), name == "exact", "{lines}");
        }
    }
}

/// 4096 times 0.1015625² (V17), of which a chain loses 8 %.
#[test]
fn promotion() {
    let scene = vectors(4096, |_| 0x1d, |_| 0x1d, 0);
    let unit = ["--unit", "h100-wgmma-fp8"];
    let (chained, lines) = sum(&scene, &unit);
    assert_eq!(chained, 0x421b_1800, "{chained:#010x}");
    assert!(lines.contains("\nerror  max 3.477e0  "), "{lines}");
    let (promoted, lines) = sum(&scene, &[&unit[..], &["--promote", "128"]].concat());
    assert_eq!(promoted, 0x4229_0000, "{promoted:#010x}");
    assert!(lines.contains("wgmma e4m3 and e5m2, promoted every 128\n"), "{lines}");
    assert!(lines.contains("\nerror  max 0.000e0  "), "{lines}");
    let (split, lines) = sum(&scene, &[&unit[..], &["--split-k", "4"]].concat());
    assert!(lines.contains("wgmma e4m3 and e5m2, K in 4 parts\n"), "{lines}");
    let quarter = {
        let scene = vectors(1024, |_| 0x1d, |_| 0x1d, 0);
        f32::from_bits(sum(&scene, &unit).0)
    };
    assert_eq!(f32::from_bits(split), 4.0 * quarter); // exact here
    // The exact sum is rounded once for each part.
    let (exact, lines) = sum(&scene, &["--unit", "exact", "--split-k", "4"]);
    assert_eq!(exact, 0x4229_0000);
    assert!(lines.contains("\nbound  gamma(7)  "), "{lines}"); // 1, 3 joins, 3 for scales
}

/// Which outputs differ, by how much, and where.
#[test]
fn differences() {
    let first = |code: u8| move |k: usize| if k == 0 { code } else { ZERO };
    let scene = vectors(32, first(ONE), first(THREE), 0x4b80_0000);
    let others = "hopper-mma-sync-fp8,f32,exact";
    let args = ["--c", "c.npy", "--unit", "b200-fp8", "--compare", others];
    let (_, lines) = sum(&scene, &args);
    let (_, rest) = lines.split_once(" to one)\nother").expect("a comparison");
    let want = "  hopper-mma-sync-fp8: 1 of 1 outputs differ (100.000 %)\n\
                ulps   max 1  median 1  relative: max 1.192e-7  median 1.192e-7\n\
                first  [0, 0]  0x4b800001 here  0x4b800002 there  1.6777218e7  1.677722e7\n";
    assert!(rest.starts_with(want), "{rest}");
    for name in others.split(',') {
        assert!(lines.contains(&format!("\nother  {name}: 1 of 1 outputs differ")), "{lines}");
    }
    let args = ["--c", "c.npy", "--unit", "exact", "--compare", "f32"];
    let (_, lines) = sum(&scene, &args);
    assert!(lines.ends_with("\nother  f32: 0 of 1 outputs differ\n"), "{lines}");
    // Of a whole matrix; without --unit the sums here are those in f32.
    let (m, n, k) = (30, 41, 200);
    scene.put("a.npy", &npy("|u1", &format!("({m}, {k})"), &codes(1, m * k)));
    scene.put("b.npy", &npy("|u1", &format!("({n}, {k})"), &codes(2, n * k)));
    let lines = gemm(&scene, &[&CODES[..], &["--compare", "h100-wgmma-fp8"]].concat());
    assert!(lines.contains("  beyond it 0\nother  h100-wgmma-fp8: 1'2"), "{lines}");
    assert!(lines.contains(" of 1'230 outputs differ ("), "{lines}");
    assert_eq!(lines.matches(" here  0x").count(), 5, "{lines}");
    let lines = gemm(&scene, &[&CODES[..], &["--compare", "f32"]].concat());
    assert!(lines.ends_with("\nother  f32: 0 of 1'230 outputs differ\n"), "{lines}");
    let nothing = vectors(0, |_| ZERO, |_| ZERO, 0);
    let (zero, lines) = sum(&nothing, &["--unit", "ada-fp8", "--compare", "exact"]);
    assert!(zero == 0 && lines.ends_with("0 of 1 outputs differ\n"), "{lines}");
}

/// Units multiply bf16, f16 and tf32 that numbers are rounded to or words are codes of; and what a
/// recipe casts, as its own `on` says.
#[test]
fn operands() {
    let (m, n, k) = (9, 11, 130);
    let (x, w) = (values(1, m * k), values(2, n * k));
    let scene = scene();
    scene.put("x.npy", &matrix(&x, m, k));
    scene.put("w.npy", &matrix(&w, n, k));
    let got = |more: &[&str]| {
        let lines = gemm(&scene, &[&["x.npy", "w.npy", "-o", "d.npy"], more].concat());
        (split(&scene.get("d.npy")).1, lines)
    };
    let product = |a: MatRef<'_>, b: MatRef<'_>, unit| {
        let mut d = vec![0.0_f32; m * n];
        let sums = Accumulation { unit: Some(unit), ..Accumulation::default() };
        let options = GemmOptions::new().sums(sums);
        gemm_nt(a, b, MatMut::new(&mut d, m, n).unwrap(), &options).unwrap();
        singles(&d)
    };
    let halves = |values: &[f32]| values.iter().map(|x| f16::from_f32(*x)).collect::<Vec<_>>();
    let brains = |values: &[f32]| values.iter().map(|x| bf16::from_f32(*x)).collect::<Vec<_>>();
    let formats = |name| ["--unit", "h100-16bit", "--a-format", name, "--b-format", name];
    let (a, b) = (halves(&x), halves(&w));
    let want = product(MatRef::new(&a, m, k).unwrap(), MatRef::new(&b, n, k).unwrap(), &H100_16BIT);
    let (d, lines) = got(&formats("f16"));
    assert_eq!(d, want);
    assert!(lines.contains("\na      x.npy: f16\nb      w.npy: f16\nunit   h100-16bit"), "{lines}");
    let (a, b) = (brains(&x), brains(&w));
    let want = product(MatRef::new(&a, m, k).unwrap(), MatRef::new(&b, n, k).unwrap(), &H100_16BIT);
    assert_eq!(got(&formats("bf16")).0, want);
    let bits: Vec<u8> = b.iter().flat_map(|x| x.to_bits().to_le_bytes()).collect();
    scene.put("words.npy", &npy("<u2", &format!("({n}, {k})"), &bits));
    gemm(&scene, &[&["x.npy", "words.npy", "-o", "d.npy"], &formats("bf16")[..]].concat());
    assert_eq!(split(&scene.get("d.npy")).1, want);

    let [a, b] = [(&x, m), (&w, n)].map(|(values, rows)| MatRef::new(values, rows, k).unwrap());
    let want = product(a, b, &H100_TF32);
    let (d, lines) = got(&["--unit", "h100-tf32", "--compare", "exact"]);
    assert_eq!(d, want);
    assert!(lines.contains("\na      x.npy: tf32\nb      w.npy: tf32\n"), "{lines}");
    let cut = ["--a-format", "tf32", "--b-format", "TF32"];
    assert_eq!(got(&[&["--unit", "h100-tf32"], &cut[..]].concat()).0, want);
    // What is cut off is no error of the sum: the bound holds.
    for (more, format) in [(&["--unit", "exact"][..], "f32"), (&cut, "tf32")] {
        let (_, lines) = got(more);
        let operand = format!("x.npy: {format}\n");
        assert!(lines.contains(&operand) && lines.ends_with("  beyond it 0\n"), "{lines}");
    }

    for (name, unit) in [("tensorwise", &H100_WGMMA_FP8), ("blockwise", &H100_WGMMA_FP8)] {
        let recipe = Recipe::preset(name).unwrap().on(unit).unwrap();
        let mut d = vec![0.0_f32; m * n];
        let place = MatMut::new(&mut d, m, n).unwrap();
        let (casts, options) = (QuantizeOptions::new(), GemmOptions::new());
        let fprop = Pass::Fprop;
        recipe.product(fprop, [a, b], place, &casts, &options, &mut Workspace::new()).unwrap();
        let args = ["--recipe", name, "--pass", "fprop", "--unit", unit.name()];
        let (got_here, lines) = got(&args);
        assert_eq!(got_here, singles(&d), "{name}");
        let promoted = lines.contains(", promoted every 128\n");
        assert_eq!(promoted, recipe.fprop.sums.promote == Some(128), "{lines}");
    }
    // A recipe may name the unit itself.
    let text = "name=r;fprop=e4m3:tensor:te-current*e4m3:tensor:te-current+promote=64;\
                dgrad=bf16*bf16;wgrad=bf16*bf16";
    let given = got(&["--recipe", text, "--pass", "fprop", "--unit", B200_FP8.name()]);
    assert!(given.1.contains("\nunit   b200-fp8  ") && given.1.contains("every 64\n"));
    let named = text.replace("+promote=64", "+promote=64+unit=b200-fp8");
    let named = got(&["--recipe", &named, "--pass", "fprop"]);
    assert_eq!(named.0, given.0);
    assert!(named.1.contains("\nunit   b200-fp8  "), "{}", named.1);
    // Blocks of 32 with their scales.
    let args = ["--recipe", "mxfp8", "--pass", "fprop", "--unit", "b200-mxfp8"];
    assert!(got(&args).1.contains("\nunit   b200-mxfp8  "));
    for (file, name) in [("x.npy", "x.s"), ("w.npy", "w.s")] {
        done(&scene, &["quantize", file, name, "--cast", "e4m3:1x32:te-mx"]);
    }
    let want = scene.get("d.npy");
    gemm(&scene, &["x.s", "w.s", "-o", "d.npy", "--unit", "b200-mxfp8"]);
    assert_eq!(scene.get("d.npy"), want);
}

#[test]
fn what_does_not_fit() {
    let scene = vectors(64, |_| ONE, |_| ONE, 0);
    scene.put("x.npy", &matrix(&values(3, 64), 1, 64));
    let both = ["--a-format", "e4m3", "--b-format", "e4m3"];
    for (args, expected) in [
        (
            &["x.npy", "x.npy", "--unit", "h100-wgmma-fp8"][..],
            "x.npy: f32, x.npy: f32: the unit h100-wgmma-fp8 multiplies e4m3, e5m2, not f32",
        ),
        (
            &["a.npy", "b.npy", "--a-format", "e4m3", "--b-format", "e5m2", "--unit", "cdna3-fp8"],
            "a.npy: e4m3, b.npy: e5m2: the unit cdna3-fp8 multiplies e4m3fnuz, e5m2fnuz, not e4m3",
        ),
        (
            &["x.npy", "x.npy", "--recipe", "bf16", "--pass", "fprop", "--unit", "ada-fp8"],
            "the unit ada-fp8 multiplies e4m3, e5m2, not bf16",
        ),
        (
            &["a.npy", "b.npy", both[0], both[1], both[2], both[3], "--unit", "b200-mxfp8"],
            "a.npy: e4m3, b.npy: e4m3: this unit multiplies blocks of 32 with E8M0 scales: cast \
             both operands by 1x32",
        ),
        (
            &["a.npy", "b.npy", both[0], both[1], both[2], both[3], "--compare", "f32,h100-tf32"],
            "--compare h100-tf32: the unit h100-tf32 multiplies tf32, not e4m3",
        ),
        (&["x.npy", "x.npy", "--split-k", "2"], "--split-k is for units: name one with --unit"),
        (
            &["x.npy", "x.npy", "--compare", "f32", "--out-type", "bf16"],
            "--compare is for results of f32, and --out-type is bf16",
        ),
        (
            &["a.npy", "b.npy", "--a-format", "tf32"],
            "a.npy: --a-format tf32 needs float32 elements, and these are uint8",
        ),
    ] {
        let message = refused(&scene, &[&["gemm"], args, &["-o", "d.npy"]].concat());
        assert!(message.starts_with(expected), "{message:?}, not {expected:?}");
    }
    for (more, expected) in [
        (&["--unit", "h100"][..], "\"h100\" is no matrix unit (see `quarter units`)"),
        (&["--compare", "f32,h100"], "\"h100\" is no matrix unit (see `quarter units`)"),
        (&["--unit", "exact", "--split-k", "0"], "0 is not in 1.."),
        (&["--a-format", "tf19"], "e4m3b11fnuz"),
        (&["--selftest", "--unit", "exact"], "cannot be used with"),
    ] {
        let run = quarter(&scene, &[&["gemm", "x.npy", "x.npy"], more].concat());
        assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""), "{more:?}");
        assert!(run.stderr.contains(expected), "{more:?}: {}", run.stderr);
    }
}

/// The commands of README.md print what it says, but for the time.
#[test]
fn readme() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
    let text = std::fs::read_to_string(path).expect("README.md");
    let (_, section) = text.split_once("## Hardware units").expect("a section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let scene = vectors(4096, |_| 0x1d, |_| 0x1d, 0);
    let (_, console) = section.split_once("```console\n").expect("commands");
    let console = console.split("```").next().unwrap_or_default();
    let (mut output, mut commands, mut compared) = (String::new(), 0, 0);
    for line in console.lines() {
        if let Some(command) = line.strip_prefix("$ quarter ") {
            let command = command.split(" # ").next().unwrap_or_default();
            output = done(&scene, &command.split_whitespace().collect::<Vec<_>>());
            commands += 1;
        } else if line != "..." && !line.starts_with("time ") {
            assert!(output.lines().any(|printed| printed == line), "{line:?} in {output}");
            compared += 1;
        }
    }
    assert!(commands == 3 && compared > 10, "{commands} commands, {compared} lines");
}
