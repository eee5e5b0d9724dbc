//! `quarter formats`.

use crate::common::{Run, command, run};
use quarter::{FormatId, Isa};

fn formats(args: &[&str]) -> Run {
    run(command(&[&["formats"], args].concat()))
}

#[test]
fn table_has_a_line_for_each_format() {
    let run = formats(&[]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    let lines: Vec<_> = run.stdout.lines().collect();
    assert_eq!(lines.len(), FormatId::ALL.len() + 1);
    for (id, line) in FormatId::ALL.iter().zip(&lines[1..]) {
        let spec = id.spec();
        let cells: Vec<_> = line.split_whitespace().collect();
        assert_eq!(cells[0], spec.name());
        assert_eq!(cells[1], spec.bits().to_string());
        let max: f64 = cells[5].parse().unwrap();
        let max = if spec.bits() <= 32 { f64::from(max as f32) } else { max };
        assert_eq!(max, spec.max(), "{line}");
        let power = |cell: &str| cell.strip_prefix("2^").unwrap().parse::<i32>().unwrap();
        assert_eq!(power(cells[6]), spec.emin(), "{line}");
        if spec.has_zero() {
            assert_eq!(power(cells[7]), spec.emin() - spec.man_bits() as i32, "{line}");
        }
        assert_eq!(power(cells[8]), -(spec.man_bits() as i32), "{line}");
        assert!(line.ends_with(&spec.aliases().join(", ")), "{line}");
    }
    let e4m3 = "8 4 3 7 448 2^-6 2^-9 2^-3 - yes yes 254 2 float8_e4m3fn,";
    assert!(lines[1].split_whitespace().collect::<Vec<_>>().join(" ").contains(e4m3));
    // Columns stand under each other.
    for title in ["bits", "max", "epsilon", "nan codes"] {
        let end = lines[0].find(title).unwrap() + title.len();
        for line in &lines[1..] {
            assert_eq!(line.as_bytes()[end], b' ', "{title}: {line}");
            assert_ne!(line.as_bytes()[end - 1], b' ', "{title}: {line}");
        }
    }
}

#[test]
fn codes_of_every_narrow_format() {
    for id in FormatId::ALL {
        let spec = id.spec();
        if spec.bits() > 8 {
            let refused = formats(&["--codes", id.name()]);
            assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""));
            let bits = spec.bits();
            let expected = format!("quarter: {id} has {bits} bits; --codes lists formats of up to");
            assert!(refused.stderr.starts_with(&expected), "{}", refused.stderr);
            continue;
        }
        // An alias in upper case names it too.
        let alias = spec.aliases()[0].to_uppercase();
        let listed = formats(&["--codes", &alias]);
        assert_eq!((listed.code, listed.stderr.as_str()), (Some(0), ""));
        let mut seen = [0_u64; 3];
        for (code, line) in listed.stdout.lines().skip(1).enumerate() {
            let cells: Vec<_> = line.split_whitespace().collect();
            assert_eq!(cells[0], format!("0x{code:02x}"));
            let bits = cells[1].replace('_', "");
            assert_eq!(usize::from_str_radix(&bits, 2), Ok(code), "{line}");
            let fields: Vec<_> = cells[1].split('_').map(|field| field.len() as u32).collect();
            let widths = [u32::from(spec.signed()), spec.exp_bits(), spec.man_bits()];
            let widths: Vec<_> = widths.into_iter().filter(|width| *width != 0).collect();
            assert_eq!(fields, widths, "{line}");
            let value = spec.decode_f32(code as u64);
            let printed: f32 = cells[2].parse().unwrap();
            assert!(printed.to_bits() == value.to_bits() || printed.is_nan() && value.is_nan());
            let class = *cells.last().unwrap();
            assert_eq!(class == "nan", value.is_nan(), "{line}");
            assert_eq!(class == "inf", value.is_infinite(), "{line}");
            assert_eq!(class == "zero", value == 0.0, "{line}");
            if let [significand, "x", power] = cells[3..cells.len() - 1] {
                let significand: f64 = significand.parse().unwrap();
                let exponent = power.strip_prefix("2^").unwrap().parse().unwrap();
                assert_eq!(significand * 2f64.powi(exponent), f64::from(value), "{line}");
                assert_eq!(class == "subnormal", significand.abs() < 1.0, "{line}");
            }
            seen[if value.is_finite() { 0 } else { 1 + usize::from(value.is_nan()) }] += 1;
        }
        let infinities = if spec.has_inf() { 2 } else { 0 };
        assert_eq!(seen, [spec.finite_codes(), infinities, spec.nan_codes()], "{id}");
    }
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = command(&["formats", "--codes", "e4m3"]);
    command.stdout(writer);
    let run = run(command);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_a_failure() {
    let mut command = command(&["formats"]);
    command.stdout(std::fs::File::create("/dev/full").unwrap());
    let run = run(command);
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.starts_with("quarter: standard output: No space"), "{}", run.stderr);
}

#[test]
fn usage_errors_are_2_and_name_what_exists() {
    let cases: [(&[&str], &str); 8] = [
        (&[], "Usage: quarter <COMMAND>"),
        (&["formats", "--codes", "e9m9"], "e4m3b11fnuz"),
        (&["cast", "a", "b"], "--to <FORMAT>"),
        (&["cast", "a", "b", "--to", "fp8"], "e4m3b11fnuz"),
        (&["cast", "a", "b", "--to", "e4m3", "--rounding", "up"], "rne, rna, rz, ru, rd"),
        (&["cast", "a", "b", "--to", "e4m3", "--overflow", "inf"], "sat nonfinite"),
        (&["cast", "a", "b", "--to", "e4m3", "--nan", "0"], "zero max error"),
        (&["cast", "a", "b", "--to", "e4m3", "--seed", "x"], "--seed"),
    ];
    for (args, expected) in cases {
        let run = run(command(args));
        assert_eq!(run.code, Some(2), "{args:?}");
        assert!(run.stderr.contains(expected), "{args:?}: {}", run.stderr);
    }
}

#[test]
fn an_instruction_set_that_is_not_there_is_refused() {
    let mut command = command(&["formats"]);
    command.env("QUARTER_ISA", "abacus");
    let run = run(command);
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""));
    assert!(run.stderr.starts_with("quarter: environment variable QUARTER_ISA"), "{}", run.stderr);
    assert!(run.stderr.contains("\"abacus\""), "{}", run.stderr);
    for isa in Isa::available() {
        assert!(run.stderr.contains(isa.name()), "{}", run.stderr);
    }
}
