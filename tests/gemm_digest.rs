//! The digest of `quarter gemm --selftest`, here and on Arm, where the command line is not built.
#![cfg(feature = "std")]

#[allow(dead_code)] // the command line uses all of it
#[path = "../cli/src/gemm/selftest/mod.rs"]
mod selftest;

use quarter::Isa;
use selftest::{EXPECTED, PRODUCT, digest};

#[test]
fn the_same_on_every_instruction_set() {
    for isa in Isa::available() {
        let (groups, got) = digest(PRODUCT, isa, 1).unwrap();
        assert_eq!(got, EXPECTED, "{isa:?}: {got:016x}, {groups:x?}");
    }
}
