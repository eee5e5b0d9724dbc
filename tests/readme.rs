//! What README counts, counted.

mod common;

use common::readme::counted;
use std::fs;
use std::path::Path;

fn text(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn names(folder: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names.map(|name| name.into_string().unwrap()).filter(|name| name.ends_with(".rs")).collect()
}

fn tests(text: &str) -> usize {
    text.lines().filter(|line| line.trim() == "#[test]").count()
}

/// What stands between the braces after each `head`.
fn blocks<'a>(text: &'a str, head: &str) -> Vec<&'a str> {
    let inside = |at: usize| {
        let rest = &text[at + head.len()..];
        let mut depth = 1;
        let end = rest.find(|c| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            depth == 0
        });
        &rest[..end.expect("a brace that closes")]
    };
    text.match_indices(head).map(|(at, _)| inside(at)).collect()
}

/// The example that needs a feature is that of the module's documentation, where it is compiled and run.
#[test]
fn the_property_test_is_the_documentations() {
    let (readme, module) = (text("README.md"), text("src/interop/proptest/mod.rs"));
    let between = |text: &str, from: &str, to: &str| -> String {
        let (_, rest) = text.split_once(from).unwrap_or_else(|| panic!("no {from}"));
        rest.split_once(to).expect("an end").0.to_string()
    };
    let shown = between(&readme, "\n```rs\n", "```");
    let run = between(&module, "//! ```test_harness\n", "//! ```");
    let seen = run.lines().map(|line| line.trim_start_matches("//!"));
    let seen: Vec<&str> = seen.filter(|line| !line.starts_with(" #")).collect();
    let seen: Vec<&str> = seen.iter().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    assert_eq!(shown.lines().collect::<Vec<_>>(), seen);
}

/// How often each property of a block is tried: proptest's default unless it says so.
fn cases(block: &str) -> usize {
    let Some((_, rest)) = block.split_once("proptest_config(config(") else { return 256 };
    let (number, _) = rest.split_once(')').unwrap();
    let (factor, shift) = number.split_once(" << ").unwrap_or((number, "0"));
    factor.parse::<usize>().unwrap() << shift.parse::<u32>().unwrap()
}

#[test]
fn tests_are_as_many() {
    let all: Vec<String> =
        names("tests").iter().map(|name| text(&format!("tests/{name}"))).collect();
    let properties: Vec<&str> = all.iter().flat_map(|file| blocks(file, "proptest! {")).collect();
    counted("properties of random inputs", properties.iter().map(|block| tests(block)).sum());
    let cases = properties.iter().map(|block| tests(block) * cases(block)).sum();
    counted("cases of such properties", cases);
    counted("defects of other libraries", tests(&text("tests/defects.rs")));
    let planted = names("tests").into_iter().filter(|name| name.starts_with("accuracy_planted"));
    let planted = planted.map(|name| tests(&text(&format!("tests/{name}")))).sum();
    counted("tests of kernels that are wrong on purpose", planted);
    counted("fuzz targets", names("fuzz/fuzz_targets").len());
}

/// Killed are those that a test fails of, and those that only a compile-time check refuses.
#[test]
fn mutants_are_as_many() {
    let record = text("docs/mutants.md");
    let sum = |column: usize| -> usize {
        let rows = record.lines().filter(|line| {
            ["| format |", "| scale |", "| gemm |", "| mma |"].iter().any(|f| line.starts_with(f))
        });
        let cell = |line: &str| line.split('|').nth(column).unwrap().trim().parse::<usize>();
        rows.map(|line| cell(line).unwrap_or_else(|e| panic!("{line}: {e}"))).sum()
    };
    let [drawn, caught, refused, equal] = [3, 4, 5, 6].map(sum);
    assert_eq!(drawn, caught + refused + equal, "each mutant has an end");
    counted("mutants drawn", drawn);
    counted("mutants killed", caught);
}
