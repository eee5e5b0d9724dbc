//! `quarter cast`: the bits, held to the library's integer reference one element at a time.

use crate::common::{Scene, array, run, singles};
use quarter::{
    FormatId, FormatSpec, Isa, NanPolicy, Overflow, Policy, RandomStream, Rounding, Unpacked,
};

const ROUNDINGS: [&str; 6] = ["rne", "rna", "rz", "ru", "rd", "stochastic"];

/// Every kind of value: zeros, NaN of both signs, Inf, and per power of two a few around it.
fn values() -> Vec<f64> {
    let mut values = vec![0.0, f64::INFINITY, f64::NAN, f64::MAX, f64::MIN_POSITIVE, 5e-324];
    for power in -160..=140 {
        let x = 2f64.powi(power);
        values.extend([x, x * 1.0625, x * (1.0625 + 2f64.powi(-40)), x * 1.3, x * 1.9999999]);
    }
    values.iter().flat_map(|x| [*x, -x]).collect()
}

/// The bytes of a code in a file: as many as its storage.
fn bytes(spec: &FormatSpec, code: u64) -> Vec<u8> {
    code.to_le_bytes()[..spec.storage_bits() as usize / 8].to_vec()
}

fn descr(spec: &FormatSpec) -> &'static str {
    match spec.storage_bits() {
        8 => "|u1",
        16 => "<u2",
        32 => "<f4",
        _ => "<f8",
    }
}

/// The file that a cast must write after its header.
fn expected(source: &[Unpacked], spec: &FormatSpec, policy: Policy, seed: u64) -> Vec<u8> {
    let stream = RandomStream { seed, ..RandomStream::default() };
    let code = |(i, x): (usize, &Unpacked)| x.encode(spec, policy, stream.word(i as u64)).unwrap();
    source.iter().enumerate().map(code).flat_map(|code| bytes(spec, code)).collect()
}

#[track_caller]
fn compare(spec: &FormatSpec, got: &[u8], want: &[u8], what: &str) {
    let size = spec.storage_bits() as usize / 8;
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (got, want)) in got.chunks(size).zip(want.chunks(size)).enumerate() {
        assert_eq!(got, want, "element {i} of {what}");
    }
}

/// Every format × rounding × overflow of one source type.
fn sweep(descr_in: &str, size: usize, big_endian: bool, source: &[(Unpacked, Vec<u8>)]) {
    let order = |bytes: &Vec<u8>| {
        let mut bytes = bytes.clone();
        if big_endian {
            bytes.reverse();
        }
        bytes
    };
    let data: Vec<u8> = source.iter().flat_map(|(_, bytes)| order(bytes)).collect();
    let numbers: Vec<_> = source.iter().map(|(number, _)| *number).collect();
    let scene = Scene::new(&array(descr_in, size, &data));
    for id in FormatId::ALL {
        for (i, rounding) in ROUNDINGS.into_iter().enumerate() {
            for (overflow, policy) in
                [("sat", Overflow::Saturate), ("nonfinite", Overflow::NonFinite)]
            {
                let seed = (i as u64) << 40;
                let text = seed.to_string();
                let args = ["--to", id.name(), "--rounding", rounding, "--overflow", overflow];
                let args = [&args[..], &["--seed", &text]].concat();
                let (header, got) = scene.result(&args);
                assert!(header.contains(&format!("'{}'", descr(id.spec()))), "{id}: {header}");
                let rounding: Rounding = rounding.parse().unwrap();
                let policy = Policy { rounding, overflow: policy, nan: NanPolicy::Zero };
                let want = expected(&numbers, id.spec(), policy, seed);
                compare(id.spec(), &got, &want, &format!("{descr_in} {args:?}"));
            }
        }
    }
}

#[test]
fn from_f64() {
    let source = |x: f64| (Unpacked::from_f64(x), x.to_le_bytes().to_vec());
    sweep("<f8", 8, false, &values().into_iter().map(source).collect::<Vec<_>>());
}

#[test]
fn from_f32() {
    let source = |x: f64| (Unpacked::from_f32(x as f32), (x as f32).to_le_bytes().to_vec());
    sweep("<f4", 4, false, &values().into_iter().map(source).collect::<Vec<_>>());
}

#[test]
fn from_f32_big_endian() {
    let source = |x: f64| (Unpacked::from_f32(x as f32), (x as f32).to_le_bytes().to_vec());
    sweep(">f4", 4, true, &values().into_iter().map(source).collect::<Vec<_>>());
}

#[test]
fn from_f16() {
    let spec = FormatId::F16.spec();
    let source = |code: u16| (Unpacked::decode(spec, u64::from(code)), code.to_le_bytes().to_vec());
    sweep("<f2", 2, false, &(0..=u16::MAX).step_by(7).map(source).collect::<Vec<_>>());
}

/// All codes of every format with codes, into every format.
#[test]
fn from_codes() {
    for from in FormatId::ALL.iter().filter(|id| id.spec().bits() <= 16) {
        let spec = from.spec();
        let codes: Vec<u64> = (0..=spec.code_mask()).collect();
        let numbers: Vec<_> = codes.iter().map(|code| Unpacked::decode(spec, *code)).collect();
        let data: Vec<u8> = codes.iter().flat_map(|code| bytes(spec, *code)).collect();
        let scene = Scene::new(&array(descr(spec), data.len() / codes.len(), &data));
        for to in FormatId::ALL {
            for (name, policy) in [("nonfinite", Policy::NONFINITE), ("sat", Policy::SATURATE)] {
                let args = ["--from", from.name(), "--to", to.name(), "--overflow", name];
                let (_, got) = scene.result(&args);
                let want = expected(&numbers, to.spec(), policy, 0);
                compare(to.spec(), &got, &want, &format!("{args:?}"));
            }
        }
        // Decoding and encoding report the same of the same values.
        let summary = |to| scene.cast(&["--from", from.name(), "--to", to]).stdout;
        let tail = |line: String| line.split_once(' ').unwrap().1.to_owned();
        assert_eq!(tail(summary("f32")), tail(summary("f64")), "{from}");
    }
}

/// The names under which ml_dtypes' arrays are saved, big-endian codes, and floats that --from
/// names as what they are.
#[test]
fn from_other_dtypes() {
    let data = [0x38, 0x40, 0x00, 0xc0];
    let cases = [
        ("|u1", 1, "e4m3", [1.0, 2.0, 0.0, -2.0].as_slice()),
        ("<V1", 1, "e4m3", &[1.0, 2.0, 0.0, -2.0]),
        ("|V1", 1, "float8_e4m3fn", &[1.0, 2.0, 0.0, -2.0]),
        ("<f1", 1, "e5m2", &[0.5, 2.0, 0.0, -2.0]),
        ("<V2", 2, "bfloat16", &[2.875, -2.0]),
        ("|V2", 2, "bf16", &[2.875, -2.0]),
        (">u2", 2, "f16", &[0.53125, 1.1444092e-5]),
        ("<f2", 2, "half", &[2.109375, -2.0]),
        (">f2", 2, "f16", &[0.53125, 1.1444092e-5]),
        ("<f4", 4, "f32", &[f32::from_bits(0xc000_4038)]),
        (">f4", 4, "float", &[f32::from_bits(0x3840_00c0)]),
    ];
    for (descr, size, from, want) in cases {
        let scene = Scene::new(&array(descr, size, &data));
        let (_, got) = scene.result(&["--from", from, "--to", "f32"]);
        let got: Vec<_> =
            got.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        assert_eq!(got, want, "{descr} {from}");
    }
}

/// A value a hair above the middle of two codes: by way of f32 it would be the middle itself.
#[test]
fn double_round() {
    let x = 1.0625 + 2f64.powi(-40);
    let scene = Scene::new(&array("<f8", 8, &[x, -x].map(f64::to_le_bytes).concat()));
    assert_eq!(scene.result(&["--to", "e4m3"]).1, [0x39, 0xb9]);
    let up = scene.result(&["--to", "f32", "--rounding", "ru"]).1;
    assert_eq!(up, [1.0625001f32, -1.0625].map(f32::to_le_bytes).concat());
}

#[test]
fn nan_into_a_format_without_nan() {
    let scene = Scene::new(&singles(&[1.0, -f32::NAN, f32::NAN]));
    for id in FormatId::ALL.iter().filter(|id| !id.spec().has_nan()) {
        let (to, max) = (id.name(), id.spec().max_code() as u8);
        let one = id.spec().min_normal_code() as u8 * if to == "e3m2" { 3 } else { 1 };
        assert_eq!(scene.result(&["--to", to]).1, [one, 0, 0]);
        assert_eq!(scene.result(&["--to", to, "--nan", "zero"]).1, [one, 0, 0]);
        assert_eq!(scene.result(&["--to", to, "--nan", "max"]).1, [one, max, max]);
        std::fs::remove_file(scene.path("out.npy")).unwrap();
        let message = scene.refusal(&["--to", to, "--nan", "error"]);
        assert_eq!(message, format!("in.npy: element 1 is NaN, and {to} has no NaN"));
    }
    assert_eq!(scene.result(&["--to", "e4m3", "--nan", "error"]).1, [0x38, 0xff, 0x7f]);
}

#[test]
fn codes_wider_than_the_format() {
    let scene = Scene::new(&array("|u1", 1, &[0, 15, 16, 0]));
    assert_eq!(scene.result(&["--from", "e2m3", "--to", "e4m3"]).1.len(), 4);
    std::fs::remove_file(scene.path("out.npy")).unwrap();
    let message = scene.refusal(&["--from", "e2m1", "--to", "e4m3"]);
    assert_eq!(message, "in.npy: element 2 is 0x10, and the codes of e2m1 end at 0x0f");
}

#[test]
fn statistics_are_printed_on_one_line() {
    let scene = Scene::new(&singles(&[0.5, -1000.0, 1e-9, f32::NAN, 448.0, 0.0]));
    let line = "e4m3 shape=(6,) values=6 amax=1000.0 saturated=1 flushed=1 nan=1\n";
    assert_eq!(scene.cast(&["--to", "e4m3"]).stdout, line);
    assert_eq!(scene.cast(&["--to", "F8_E4M3", "--overflow", "sat"]).stdout, line);
    let line = "f32 shape=(6,) values=6 amax=1000.0 saturated=0 flushed=0 nan=1\n";
    assert_eq!(scene.cast(&["--to", "f32"]).stdout, line);
    let scene = Scene::new(&singles(&[]));
    let line = "e4m3 shape=(0,) values=0 amax=0.0 saturated=0 flushed=0 nan=0\n";
    assert_eq!(scene.cast(&["--to", "e4m3"]).stdout, line);
}

/// A file of more than one piece: elements keep their numbers, for random words and for errors,
/// and neither threads nor the instruction set move a bit.
#[test]
fn pieces_threads_and_instruction_sets() {
    let n = (1 << 21) + 3;
    let mut values: Vec<_> = (0..n).map(|i| (i as f32 - 1e6) * 1e-4).collect();
    let scene = Scene::new(&singles(&values));
    let numbers: Vec<_> = values.iter().map(|x| Unpacked::from_f32(*x)).collect();
    let stochastic = Policy::NONFINITE.rounding(Rounding::STOCHASTIC);
    let want = expected(&numbers, FormatId::F8E4M3.spec(), stochastic, 7);
    let args = ["--to", "e4m3", "--rounding", "stochastic", "--seed", "7"];
    for threads in ["1", "2", "7", "0"] {
        let (_, got) = scene.result(&[&args[..], &["--threads", threads]].concat());
        assert!(got == want, "{threads} threads");
    }
    for isa in Isa::available() {
        let mut command = scene.command("in.npy", "out.npy", &args);
        command.env("QUARTER_ISA", isa.name());
        assert_eq!(run(command).code, Some(0));
        assert!(scene.get("out.npy").ends_with(&want), "{isa:?}");
    }
    let last = n - 1;
    values[last] = f32::NAN;
    scene.put("in.npy", &singles(&values));
    let message = scene.refusal(&["--to", "e2m1", "--nan", "error"]);
    assert_eq!(message, format!("in.npy: element {last} is NaN, and e2m1 has no NaN"));
    let mut codes = vec![0; n];
    codes[last] = 0x40;
    scene.put("in.npy", &array("|u1", 1, &codes));
    let message = scene.refusal(&["--from", "e2m3", "--to", "f32"]);
    assert_eq!(
        message,
        format!("in.npy: element {last} is 0x40, and the codes of e2m3 end at 0x3f")
    );
}
