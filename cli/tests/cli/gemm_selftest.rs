//! `quarter gemm --selftest`: one digest on every instruction set and number of threads, by the
//! definition too, and in README.md.

use crate::common::{command, run};
use quarter::Isa;
use quarter_cli::gemm::run_selftest;
use quarter_cli::gemm::selftest::{DEFINITION, EXPECTED, PRODUCT, digest};

#[test]
fn every_instruction_set() {
    for isa in Isa::available() {
        for threads in ["1", "2"] {
            let mut command = command(&["gemm", "--selftest", "--threads", threads]);
            command.env("QUARTER_ISA", isa.name());
            let run = run(command);
            assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{isa:?} {threads}");
            let last = format!("digest {EXPECTED:016x}, as expected  {}  ", isa.name());
            assert!(run.stdout.contains(&last), "{}", run.stdout);
        }
    }
}

/// The loops that define the product.
#[test]
fn the_definition() {
    let (groups, got) = digest(DEFINITION, Isa::SCALAR, 1).unwrap();
    assert_eq!(groups, digest(PRODUCT, Isa::best(), 1).unwrap().0);
    assert_eq!(got, EXPECTED, "{got:#018x}");
    let products: usize = groups.iter().map(|group| group.products).sum();
    assert!(products > 1000, "{products}");
}

#[test]
fn another_digest_fails() {
    let message = run_selftest(!EXPECTED).unwrap_err().to_string();
    for digest in [EXPECTED, !EXPECTED] {
        assert!(message.contains(&format!("{digest:016x}")), "{message}");
    }
    assert!(message.contains("recipes "), "{message}");
}

#[test]
fn readme_has_the_digest() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
    let text = std::fs::read_to_string(path).expect("README.md");
    let (_, section) = text.split_once("## Check the promise on your machine").expect("a section");
    let section = section.split("\n## ").next().unwrap_or_default();
    assert!(section.contains("gemm --selftest"), "{section}");
    assert!(section.contains(&format!("digest {EXPECTED:016x}, as expected")), "{EXPECTED:016x}");
}
