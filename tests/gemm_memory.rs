//! A workspace tells how much memory it holds.
#![cfg(feature = "std")]

#[path = "common/counting.rs"]
mod counting;

use counting::NOW;
use quarter::gemm::{Accumulation, Blocking, GemmOptions, Workspace, gemm_nt_in};
use quarter::mma::B200_FP8;
use quarter::tensor::{MatMut, MatRef, QuantizeOptions, quantize};
use std::sync::atomic::Ordering::Relaxed;

/// One test, as the counter is of the process.
#[test]
fn its_bytes_are_those_that_were_allocated() {
    smaller_blocks_need_less();
    let numbers = |n: usize| (0..n).map(|i| (i % 97) as f32 - 48.0).collect::<Vec<_>>();
    let unit = Accumulation { unit: Some(&B200_FP8), ..Accumulation::F32 };
    for (cast, sums) in [
        ("e4m3:1x32:te-mx", Accumulation::F32),
        ("e4m3:1x128:te-block-f32", Accumulation::F32),
        ("e2m1:1x16:nvfp4", Accumulation::F32),
        ("e4m3:tensor:te-current", unit),
    ] {
        for (m, n, k) in [(2, 70, 600), (33, 70, 600), (40, 300, 1100)] {
            let options = GemmOptions::new().sums(sums);
            let cast = cast.parse().unwrap();
            let [a, b] = [m, n].map(|rows| {
                let values = numbers(rows * k);
                let values = MatRef::new(&values, rows, k).unwrap();
                quantize(values, &cast, &QuantizeOptions::new()).unwrap()
            });
            let mut d = vec![0.0_f32; m * n];
            let mut product = |space: &mut Workspace| {
                let d = MatMut::new(&mut d, m, n).unwrap();
                gemm_nt_in(space, &a, &b, d, &options).unwrap();
            };
            product(&mut Workspace::new()); // what is made once in a process
            let before = NOW.load(Relaxed);
            let mut space = Workspace::new();
            product(&mut space);
            let held = NOW.load(Relaxed) - before;
            assert_eq!(space.bytes(), held, "{cast}, {m} x {n} x {k}");
        }
    }
}

/// Blocks that are chosen are taken.
fn smaller_blocks_need_less() {
    let values = vec![1.0_f32; 300 * 1100];
    let bytes = |blocking: Blocking| {
        let [a, b] = [(); 2].map(|()| MatRef::new(&values, 300, 1100).unwrap());
        let (mut d, mut space) = (vec![0.0_f32; 300 * 300], Workspace::new());
        let options = GemmOptions::new().threads(1).blocking(blocking);
        gemm_nt_in(&mut space, a, b, MatMut::new(&mut d, 300, 300).unwrap(), &options).unwrap();
        space.bytes()
    };
    let (chosen, least) = (bytes(Blocking::default()), bytes(Blocking { k: 1, m: 1, n: 1 }));
    assert!(0 < least && least * 4 < chosen, "{least} bytes, {chosen} of blocks by the shapes");
}
