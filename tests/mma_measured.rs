//! Matrix units on outputs of GPUs that the authors of MATLAB-tensor-core measured (arXiv:2512.07004):
//! needs `QUARTER_GOLDEN`.

mod common;

use common::golden;
use half::f16;
use quarter::FormatSpec;
use quarter::mma::{Evidence, Output, UNITS, Unit};
use std::collections::BTreeMap;

/// The instructions that are the chip's own, and those that the compiler makes of others.
const NATIVE: &str = "mma/wmma native";
const WGMMA: &str = "wgmma(C forced 0)";
const MMA_SYNC: &str = "mma.sync-emulated";

/// Chips, input, output, path; the unit.
const MAP: &[(&[&str], &str, &str, &str, &str)] = &[
    (&["V100"], "fp16", "fp32", NATIVE, "v100-f16"),
    (&["V100"], "fp16", "fp16", NATIVE, "v100-f16-f16"),
    (&["A100", "A2"], "fp16", "fp32", NATIVE, "a100-16bit"),
    (&["A100", "A2"], "bf16", "fp32", NATIVE, "a100-16bit"),
    (&["A100", "A2"], "fp16", "fp16", NATIVE, "a100-f16-f16"),
    (&["A100", "A2"], "tf32", "fp32", NATIVE, "a100-tf32"),
    (&["Ada", "L40S"], "fp16", "fp32", NATIVE, "ada-16bit"),
    (&["Ada", "L40S"], "bf16", "fp32", NATIVE, "ada-16bit"),
    (&["Ada", "L40S"], "fp16", "fp16", NATIVE, "ada-f16-f16"),
    (&["Ada", "L40S"], "tf32", "fp32", NATIVE, "ada-tf32"),
    (&["Ada", "L40S"], "E4M3", "fp32", NATIVE, "ada-fp8"),
    (&["Ada", "L40S"], "E5M2", "fp32", NATIVE, "ada-fp8"),
    (&["Ada"], "E4M3", "fp16", NATIVE, "ada-fp8-f16"),
    (&["Ada"], "E5M2", "fp16", NATIVE, "ada-fp8-f16"),
    (&["H100", "H200"], "fp16", "fp32", NATIVE, "h100-16bit"),
    (&["H100", "H200"], "bf16", "fp32", NATIVE, "h100-16bit"),
    (&["H100", "H200"], "fp16", "fp16", NATIVE, "h100-f16-f16"),
    (&["H100", "H200"], "tf32", "fp32", NATIVE, "h100-tf32"),
    (&["H100", "H200"], "E4M3", "fp32", WGMMA, "h100-wgmma-fp8"),
    (&["H100", "H200"], "E5M2", "fp32", WGMMA, "h100-wgmma-fp8"),
    (&["H100", "H200"], "E4M3", "fp16", MMA_SYNC, "hopper-mma-sync-fp8-f16"),
    (&["H100", "H200"], "E5M2", "fp16", MMA_SYNC, "hopper-mma-sync-fp8-f16"),
    (&["B200"], "fp16", "fp32", NATIVE, "b200-16bit"),
    (&["B200"], "bf16", "fp32", NATIVE, "b200-16bit"),
    (&["B200"], "fp16", "fp16", NATIVE, "b200-f16-f16"),
    (&["B200"], "tf32", "fp32", NATIVE, "b200-tf32"),
    (&["B200"], "E4M3", "fp32", MMA_SYNC, "hopper-mma-sync-fp8"),
    (&["B200"], "E5M2", "fp32", MMA_SYNC, "hopper-mma-sync-fp8"),
    (&["B200"], "E4M3", "fp16", MMA_SYNC, "hopper-mma-sync-fp8-f16"),
    (&["B200"], "E5M2", "fp16", MMA_SYNC, "hopper-mma-sync-fp8-f16"),
];

fn unit(gpu: &str, input: &str, output: &str, path: &str) -> &'static Unit {
    let fits = |row: &&(&[&str], &str, &str, &str, &str)| {
        row.0.contains(&gpu) && (row.1, row.2, row.3) == (input, output, path)
    };
    let row = MAP.iter().find(fits);
    let row = row.unwrap_or_else(|| panic!("{gpu}, {input} into {output}, {path}: which unit?"));
    row.4.parse().unwrap_or_else(|error| panic!("{error}"))
}

/// The format among a unit's inputs.
fn input(unit: &Unit, name: &str) -> &'static FormatSpec {
    let name = match name {
        "E4M3" => "e4m3",
        "E5M2" => "e5m2",
        "fp16" => "f16",
        other => other,
    };
    let found = unit.inputs().iter().find(|spec| spec.name() == name);
    found.unwrap_or_else(|| panic!("{unit} does not multiply {name}"))
}

fn hex(text: &str) -> u32 {
    u32::from_str_radix(text, 16).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

/// An f32's bits as those of the output.
fn narrowed(unit: &Unit, bits: u32) -> u32 {
    match unit.output() {
        Output::F32 | Output::E8M13 => bits,
        Output::F16 => f16::from_f32(f32::from_bits(bits)).to_bits().into(),
    }
}

#[test]
fn every_measured_row() {
    let what = "outputs of matrix units of eight GPUs";
    let Some(folder) = golden::folder("matrix-units", what) else { return };
    let bytes = golden::read(&folder.join("measured_sample.tsv"));
    let text = String::from_utf8(bytes).expect("text");
    let mut counts = BTreeMap::new();
    for (line, row) in text.lines().enumerate().skip(1) {
        let fields: Vec<&str> = row.split('\t').collect();
        let [gpu, kind, output, path, a, b, c, d] = fields[..] else { panic!("line {line}") };
        let unit = unit(gpu, kind, output, path);
        let spec = input(unit, kind);
        // Of TF32 the file has the 19 bits.
        let [a, b] = [a, b].map(|list| list.split(',').map(hex).collect::<Vec<u32>>());
        let got = unit.dot((spec, &a), (spec, &b), narrowed(unit, hex(c)));
        let got = got.unwrap_or_else(|error| panic!("line {line}: {error}"));
        let want = narrowed(unit, hex(d));
        if unit.output() == Output::F16 {
            let wide = f16::from_bits(want as u16).to_f32().to_bits();
            assert_eq!(wide, hex(d), "line {line}: the measured number is no f16");
        }
        assert_eq!(
            got,
            want,
            "line {line}, {gpu}, {unit}, {}: got {got:08x}, measured {want:08x}\n  {row}",
            spec.name()
        );
        *counts.entry(unit.name()).or_insert(0) += 1;
    }
    for (unit, rows) in &counts {
        println!("{unit}: {rows} rows");
    }
    assert_eq!(counts.values().sum::<i32>(), 288);
    // `vdpbf16ps` is measured wherever it is there: tests/mma_vdpbf16ps.rs.
    let measured = UNITS.iter().filter(|unit| unit.evidence() == Evidence::Measured);
    for unit in measured.filter(|unit| unit.name() != "vdpbf16ps") {
        assert!(counts.contains_key(unit.name()), "{unit} has no measured row");
    }
}
