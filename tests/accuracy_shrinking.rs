//! How much work it is to make a failing matrix small: counted, not timed.
#![cfg(feature = "proptest")]

#[path = "common/counting.rs"]
mod counting;

use counting::EVER;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use quarter::accuracy::Distribution;
use quarter::interop::proptest::tensor;
use std::sync::atomic::Ordering::Relaxed;

const ROWS: usize = 64;
const COLS: usize = 512;

fn runner() -> TestRunner {
    TestRunner::new(Config { failure_persistence: None, ..Config::default() })
}

/// Times that the test ran, bytes that were allocated, and elements that stayed other than 0.
fn shrink(fails: impl Fn(&[f32]) -> bool) -> (usize, usize, usize) {
    let strategy = tensor(ROWS, COLS, [Distribution::Gaussian]);
    let (runs, before) = (std::cell::Cell::new(0), EVER.load(Relaxed));
    let result = runner().run(&strategy, |x| {
        runs.set(runs.get() + 1);
        if fails(&x.values) { Err(TestCaseError::fail("as planned")) } else { Ok(()) }
    });
    let bytes = EVER.load(Relaxed) - before;
    let Err(TestError::Fail(_, x)) = result else { panic!("nothing failed: {result:?}") };
    (runs.get(), bytes, x.values.iter().filter(|x| **x != 0.0).count())
}

/// One test, as the counter is of the process.
#[test]
fn a_matrix_is_copied_for_the_test_alone() {
    let one = ROWS * COLS * size_of::<f32>();
    // Proptest gives up after some thousand runs, and then goes through all that is left to try.
    for (name, fails, left) in [
        ("the last is not 0", (|x| x[x.len() - 1] != 0.0) as fn(&[f32]) -> bool, 1),
        ("none is 0", |x| x.iter().all(|x| *x != 0.0), ROWS * COLS),
        ("many are not 0", |x| 2 * x.iter().filter(|x| **x != 0.0).count() >= x.len(), 1 << 14),
    ] {
        let (runs, bytes, stayed) = shrink(fails);
        println!("{name}: {runs} runs, {} copies, {stayed} not 0", bytes / one);
        assert_eq!(stayed, left, "{name}");
        // Proptest keeps what was shown last.
        assert!(bytes < (runs + 8) * one, "{name}: {runs} runs, {bytes} bytes");
        assert!(runs < if left == 1 { 50 } else { 1100 }, "{name}: {runs} runs");
    }
    steps_are_few();
}

/// Of a tree without a limit: a single element is found by halves, twice for each size of a piece.
fn steps_are_few() {
    let strategy = tensor(1..=ROWS, 1..=COLS, [Distribution::Gaussian]);
    let mut steps = 0;
    for _ in 0..8 {
        let mut tree = strategy.new_tree(&mut runner()).unwrap();
        let mut more = tree.simplify();
        while more {
            steps += 1;
            let failing = tree.current().values.last().is_some_and(|x| *x != 0.0);
            more = if failing { tree.simplify() } else { tree.complicate() };
        }
        assert_eq!((tree.current().rows, tree.current().cols), (1, 1));
    }
    assert!(steps < 8 * 2 * 17, "{steps}");
}
