//! The number types over all their codes, against tables and exact arithmetic of the test's own.

#[path = "common/oracle.rs"]
mod oracle;

use core::cmp::Ordering;
use core::num::FpCategory;
use half::{bf16, f16};
use oracle::Oracle;
use quarter::*;

/// A test over every number type: `$type` is the type, `$oracle` its oracle.
macro_rules! numbers {
    ($($(#[$attr:meta])* fn $name:ident($type:ident, $oracle:ident) $body:block)*) => { $(
        $(#[$attr])*
        #[test]
        fn $name() {
            macro_rules! check {
                ($$(#[$$doc:meta])* $$t:ident $$spec:ident $$specials:ident) => {};
            }
        }
    )* };
}
