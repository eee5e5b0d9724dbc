//! Matrix units on every published vector that tells them apart (tests/data/mma/vectors.tsv), and on
//! probes of each parameter of each unit (rules.tsv). NOTICE says where they are from.

mod common;

use common::golden;
use quarter::mma::{Rule, TF32, UNITS, Unit};
use quarter::{FormatId, FormatSpec};
use std::collections::BTreeSet;
use std::fmt;

const VECTORS: &str = "mma/vectors.tsv";

/// One line: a result of a unit.
struct Row<'a> {
    id: &'a str,
    unit: &'a str,
    spec: &'static FormatSpec,
    a: Vec<u32>,
    b: Vec<u32>,
    c: u32,
    d: u32,
}

fn hex(text: &str) -> u32 {
    u32::from_str_radix(text, 16).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

fn number(text: &str) -> usize {
    text.parse().unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

/// Codes from `0:38,1..32:04`.
fn codes(list: &str, k: usize) -> Vec<u32> {
    let mut codes = vec![0; k];
    for item in list.split(',').filter(|item| *item != "-") {
        let (places, code) = item.split_once(':').expect("k:code");
        let (from, to) = match places.split_once("..") {
            Some((from, to)) => (number(from), number(to)),
            None => (number(places), number(places) + 1),
        };
        codes[from..to].fill(hex(code));
    }
    codes
}

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} c {:08x}", self.id, self.unit, self.spec.name(), self.c)?;
        let pairs = self.a.iter().zip(&self.b).enumerate();
        for (k, (a, b)) in pairs.filter(|(_, ab)| *ab != (&0, &0)).take(32) {
            write!(f, " {k}:{a:x}*{b:x}")?;
        }
        Ok(())
    }
}

impl<'a> Row<'a> {
    fn of(line: &'a str) -> Self {
        let fields: Vec<&str> = line.split('\t').collect();
        let [id, unit, format, k, a, b, c, d] = fields[..] else { panic!("8 fields: {line}") };
        let spec = if format == TF32.name() {
            &TF32
        } else {
            format.parse::<FormatId>().unwrap_or_else(|error| panic!("{line}: {error}")).spec()
        };
        let [a, b] = [a, b].map(|list| codes(list, number(k)));
        Self { id, unit, spec, a, b, c: hex(c), d: hex(d) }
    }

    /// The unit on a part of K.
    fn dot(&self, unit: &Unit, from: usize, to: usize, c: u32) -> u32 {
        let [a, b] = [&self.a, &self.b].map(|codes| (self.spec, &codes[from..to]));
        unit.dot(a, b, c).unwrap_or_else(|error| panic!("{} {unit}: {error}", self.id))
    }

    fn got(&self) -> u32 {
        let unit = |name: &str| -> &'static Unit {
            name.parse().unwrap_or_else(|error| panic!("{}: {error}", self.id))
        };
        let k = self.a.len();
        if self.unit == "fma" {
            let value = |code: &u32| self.spec.decode_f32(u64::from(*code));
            let pairs = self.a.iter().zip(&self.b);
            let add = |c, (a, b)| value(a).mul_add(value(b), c);
            return pairs.fold(f32::from_bits(self.c), add).to_bits();
        }
        let Some((name, step)) = self.unit.split_once(" per ") else {
            return self.dot(unit(self.unit), 0, k, self.c);
        };
        let step = number(step);
        let sums = (0..k).step_by(step).map(|from| self.dot(unit(name), from, from + step, 0));
        sums.fold(f32::from_bits(self.c), |c, sum| c + f32::from_bits(sum)).to_bits()
    }
}

fn with_rows(file: &str, run: impl Fn(&[Row])) {
    let bytes = golden::bytes(file);
    let text = String::from_utf8(bytes).expect("text");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    run(&lines.map(Row::of).collect::<Vec<_>>())
}

#[track_caller]
fn check(rows: &[Row]) {
    for row in rows {
        let (got, want) = (row.got(), row.d);
        assert_eq!(got, want, "{row}: got {got:08x}, want {want:08x}");
    }
}

#[test]
fn every_vector() {
    with_rows(VECTORS, |rows| {
        check(rows);
        let ids: BTreeSet<&str> = rows.iter().map(|row| row.id).collect();
        let all: BTreeSet<String> =
            (1..=18).map(|n| format!("V{n}")).chain(["V7b".to_owned()]).collect();
        assert!(ids.iter().copied().eq(all.iter().map(String::as_str)), "{ids:?}");
        assert_eq!(rows.len(), 203);
    });
}

/// Each parameter of each unit shows: a changed one fails here.
#[test]
fn every_rule() {
    with_rows("mma/rules.tsv", |rows| {
        check(rows);
        let has =
            |unit: &Unit, id: &str| rows.iter().any(|row| row.unit == unit.name() && row.id == id);
        for unit in UNITS {
            let ids: &[&str] = match unit.rule() {
                // b200-mxfp8 is b200-fp8 with scales (tests/mma_properties.rs).
                Rule::Fused(rule) if rule.scaled => &[],
                Rule::Fused(_) => &["fraction", "products", "output", "special"],
                Rule::Cdna3 { .. } => &["fraction", "products"],
                Rule::FmaPairs | Rule::Amx | Rule::BfDot { .. } => &["special"],
                Rule::Exact => &[],
            };
            for id in ids {
                assert!(has(unit, id), "{unit} has no row for {id}");
            }
        }
        assert_eq!(rows.len(), 424);
    });
}

/// The data has every result of the golden file, in its order.
#[test]
fn no_vector_is_missing() {
    let Some(folder) = golden::folder("matrix-units", "the list of all vectors") else { return };
    let bytes = golden::read(&folder.join("vectors.txt"));
    let text = String::from_utf8(bytes).expect("text");
    // A result is 0x...., an equals sign and its decimals.
    let left_out = ["TDPHF8PS", "Arm FDOT"];
    let lines = text.lines().filter(|line| !left_out.iter().any(|name| line.contains(name)));
    let results = lines.flat_map(|line| line.split("0x").skip(1)).filter_map(|after| {
        let (bits, rest) = after.split_at(after.find(|c: char| !c.is_ascii_hexdigit())?);
        rest.trim_start().starts_with('=').then(|| hex(bits))
    });
    let results: Vec<u32> = results.collect();
    with_rows(VECTORS, |rows| {
        assert_eq!(rows.iter().map(|row| row.d).collect::<Vec<_>>(), results);
    });
}
