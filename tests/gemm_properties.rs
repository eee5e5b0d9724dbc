//! The matrix product of anything that can be given to it is what its definition says on every
//! path: shapes, formats, strides, scales, options and outputs at random, with all that is special.
#![cfg(feature = "std")]

mod common;

use common::gemm::{SMALL, Words, check, draw};
use proptest::prelude::*;

fn config(cases: u32) -> ProptestConfig {
    let cases = common::share(cases as usize) as u32;
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// M, N and K: most of them small, some with one that is not, some with none at all.
fn any_shape() -> impl Strategy<Value = (usize, usize, usize)> {
    prop_oneof![
        6 => (1usize..20, 1usize..40, 1usize..140),
        2 => (1usize..40, 1usize..80, 1usize..30),
        1 => (1usize..4, 1usize..20, 900usize..2200),
        1 => (1usize..3, 200usize..400, 1usize..20),
        1 => (200usize..300, 1usize..3, 1usize..20),
        1 => (0usize..3, 0usize..3, 0usize..3),
    ]
}

proptest! {
    #![proptest_config(config(1500))]

    #[test]
    fn as_defined((m, n, k) in any_shape(), seed in any::<u64>()) {
        let mut words = Words::new(seed);
        let [a, b] = draw::factors(&mut words, (m, n, k));
        let call = draw::call(&mut words, (m, n));
        check(&a, &b, &call, &SMALL).map_err(TestCaseError::fail)?;
    }
}
