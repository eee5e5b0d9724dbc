//! Gradients summed over ranks: in ascending order, the same bits everywhere, whichever rank comes
//! first, and an error instead of a hang.
#![cfg(feature = "std")]

#[path = "common/ranks.rs"]
mod common;

use common::{PATIENCE, ranks};
use quarter::recipe::{AllReduce, NoReduce, ThreadRank, Wire, thread_group};
use quarter::{Error, RandomStream};
use std::time::{Duration, Instant};

/// What a rank sends: of many exponents, and in every eighth element the first two cancel out, so
/// that another order gives other bits.
fn gradient(rank: usize, i: usize) -> f32 {
    let large = i.is_multiple_of(8) && rank < 2;
    let tensor = if large { 100 } else { rank as u32 };
    let word = RandomStream { seed: 5, tensor, step: 0 }.word(i as u64);
    let value = f32::from_bits((word % 0x1000_0000 + 0x3600_0000) | (word & 0x8000_0000));
    if large { value * if rank == 0 { 1e15 } else { -1e15 } } else { value }
}

/// The law as a loop: ((r0 + r1) + r2) + …
fn in_order(ranks: &[Vec<f32>], wire: Wire) -> Vec<f32> {
    let sent = |x: f32| if wire == Wire::Bf16 { half::bf16::from_f32(x).to_f32() } else { x };
    let sum = |i: usize| ranks.iter().map(|rank| sent(rank[i])).reduce(|a, b| a + b).unwrap();
    (0..ranks[0].len()).map(|i| sent(sum(i))).collect()
}

fn to_bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

const LEN: usize = 500;

#[test]
fn sums_are_added_in_ascending_order_whichever_rank_comes_first() {
    for n in 1..=5 {
        let sent: Vec<Vec<f32>> =
            (0..n).map(|rank| (0..LEN).map(|i| gradient(rank, i)).collect()).collect();
        // Every rank is once the last and once the first; several rounds run into each other.
        for turn in 0..n {
            for wire in [Wire::F32, Wire::Bf16] {
                let all = ranks(n, PATIENCE, |group| {
                    assert_eq!(group.ranks(), n);
                    let late = (group.rank() + turn) % n;
                    std::thread::sleep(Duration::from_millis(3 * late as u64));
                    let mut rounds = Vec::new();
                    for round in 0..4 {
                        // Other lengths, none included.
                        let mut values = sent[group.rank()][..LEN * round / 3].to_vec();
                        group.sum_in(&mut values, wire).unwrap();
                        rounds.push(to_bits(&values));
                        let mut amax = [values.len() as f32, group.rank() as f32];
                        group.max(&mut amax).unwrap();
                        assert_eq!(amax, [values.len() as f32, (n - 1) as f32]);
                    }
                    let mut values = sent[group.rank()].clone();
                    group.sum(&mut values).unwrap();
                    (rounds, to_bits(&values))
                });
                let expected = to_bits(&in_order(&sent, wire));
                let plain = to_bits(&in_order(&sent, Wire::F32));
                for (rounds, values) in all {
                    for (round, values) in rounds.into_iter().enumerate() {
                        assert_eq!(values, expected[..LEN * round / 3], "{n} ranks, {wire}");
                    }
                    assert_eq!(values, plain, "{n} ranks");
                }
            }
        }
        // Another order is seen: without this, the above proves little.
        let reversed: Vec<Vec<f32>> = sent.iter().rev().cloned().collect();
        for wire in [Wire::F32, Wire::Bf16] {
            let same = to_bits(&in_order(&reversed, wire)) == to_bits(&in_order(&sent, wire));
            assert_eq!(same, n <= 2, "{n} ranks, {wire}");
        }
    }
}

#[test]
fn a_group_of_one_sends_as_others_do() {
    let sent: Vec<f32> = (0..LEN).map(|i| gradient(0, i)).collect();
    for wire in [Wire::F32, Wire::Bf16] {
        let expected = to_bits(&in_order(std::slice::from_ref(&sent), wire));
        let groups: [&dyn AllReduce; 2] = [&NoReduce, &thread_group(1, PATIENCE)[0]];
        for group in groups {
            let mut values = sent.clone();
            group.sum_in(&mut values, wire).unwrap();
            assert_eq!((to_bits(&values), group.ranks()), (expected.clone(), 1));
        }
    }
    let mut values = sent.clone();
    NoReduce.sum(&mut values).unwrap();
    assert_eq!(to_bits(&values), to_bits(&sent));
}

#[test]
fn signs_of_zero_and_specials_of_sums() {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let tie = 1.0 + 1.0 / 256.0; // between two bf16: to even
    let wide = f32::MAX; // rounds to Inf in bf16
    // Of three ranks; the sum in f32 and in bf16.
    let cases = [
        ([-0.0, -0.0, -0.0], -0.0, -0.0),
        ([-0.0, 0.0, -0.0], 0.0, 0.0),
        ([1.0, -1.0, -0.0], 0.0, 0.0),
        ([nan, 1.0, 2.0], nan, nan),
        ([1.0, 2.0, nan], nan, nan),
        ([inf, 1.0, inf], inf, inf),
        ([inf, 1.0, -inf], nan, nan),
        ([tie, 0.0, 0.0], tie, 1.0),
        ([tie, tie, tie], 3.0 * tie, 3.0),
        ([wide, wide, -wide], inf, nan),
        ([wide, -wide, 1.0], 1.0, nan),
        ([1e38, -1e38, 1e-45], 1e-45, 0.0),
        ([1.0, 1e-30, -1.0], 0.0, 0.0),
        ([1.0, -1.0, 1e-30], 1e-30, half::bf16::from_f32(1e-30).to_f32()),
        // Each rank's is exact in bf16, and the sum, exact in f32, is rounded once.
        ([256.0, 1.0, 0.5], 257.5, 258.0),
    ];
    let class = |x: f32| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() };
    for wire in [Wire::F32, Wire::Bf16] {
        let all = ranks(3, PATIENCE, |group| {
            let mut values: Vec<f32> = cases.iter().map(|(x, ..)| x[group.rank()]).collect();
            group.sum_in(&mut values, wire).unwrap();
            values
        });
        assert!(all.iter().all(|values| to_bits(values) == to_bits(&all[0])), "NaN too");
        for ((sent, f32_sum, bf16_sum), got) in cases.iter().zip(&all[0]) {
            let expected = if wire == Wire::F32 { f32_sum } else { bf16_sum };
            assert_eq!(class(*got), class(*expected), "{sent:?} in {wire}: {got}");
        }
    }
}

#[test]
fn calls_that_differ_end_the_group_on_every_rank() {
    type Calls = fn(&ThreadRank, bool) -> Result<(), Error>;
    let cases: [(&str, Calls); 6] = [
        (
            "max and sum",
            |group, odd| {
                if odd { group.max(&mut [1.0]) } else { group.sum(&mut [1.0]) }
            },
        ),
        (
            "sum and max",
            |group, odd| {
                if odd { group.sum(&mut [1.0]) } else { group.max(&mut [1.0]) }
            },
        ),
        ("f32 and bf16", |group, odd| {
            let wire = if odd { Wire::Bf16 } else { Wire::F32 };
            group.sum_in(&mut [1.0], wire)
        }),
        ("other lengths", |group, odd| group.sum(&mut [1.0, 2.0][..1 + usize::from(odd)])),
        ("none and some", |group, odd| group.sum(&mut [1.0][..usize::from(odd)])),
        ("another order", |group, odd| {
            if odd {
                group.max(&mut [1.0])?
            } else {
                group.sum(&mut [1.0])?
            }
            if odd { group.sum(&mut [1.0]) } else { group.max(&mut [1.0]) }
        }),
    ];
    for n in [2, 3, 5] {
        for (what, calls) in cases {
            for odd in 0..n {
                let start = Instant::now();
                let all = ranks(n, PATIENCE, |group| {
                    group.sum(&mut [1.0; 3]).unwrap();
                    let error = calls(&group, group.rank() == odd).unwrap_err();
                    assert_eq!(group.sum(&mut [1.0]), Err(error), "the group stays ended");
                    assert_eq!(group.max(&mut []), Err(error));
                    error
                });
                assert!(all.iter().all(|error| *error == all[0]), "{what}: {all:?}");
                let Error::State { expected, got, .. } = all[0] else { panic!("{what}: {all:?}") };
                assert!(expected != got && expected.max(got) <= 2, "{what}: {}", all[0]);
                assert!(start.elapsed() < PATIENCE / 2, "{what}");
            }
        }
    }
}

#[test]
fn a_rank_that_is_missing_ends_a_sum() {
    for gone in 0..4 {
        for rounds in [0, 1, 3] {
            let all = ranks(4, PATIENCE, |group| {
                for round in 0..5 {
                    if group.rank() == gone && round == rounds {
                        return (round, None);
                    }
                    let mut values = [group.rank() as f32];
                    match group.sum(&mut values) {
                        Ok(()) => assert_eq!(values, [6.0]),
                        Err(error) => return (round, Some(error)),
                    }
                }
                (5, None)
            });
            for (rank, (round, error)) in all.into_iter().enumerate() {
                assert_eq!((round, error.is_none()), (rounds, rank == gone), "rank {rank}");
                assert!(matches!(error, None | Some(Error::State { expected: 4, .. })));
            }
        }
    }
    let start = Instant::now();
    let all = ranks(3, Duration::from_millis(50), |group| {
        if group.rank() == 1 {
            std::thread::sleep(Duration::from_millis(400)); // it holds its handle and does not come
        }
        group.sum(&mut [1.0])
    });
    assert!(all.iter().all(Result::is_err) && start.elapsed() < Duration::from_secs(20));
}

/// A handle is of one thread: a second is refused, and neither hangs, panics or gets another's sum.
#[test]
fn two_threads_on_one_handle() {
    for _ in 0..300 {
        let group = thread_group(2, PATIENCE);
        let call = |rank: usize, len: usize| {
            let mut values = vec![1.0; len];
            if group[rank].sum(&mut values).is_ok() {
                assert_eq!(values, vec![2.0; len]);
            }
        };
        std::thread::scope(|scope| {
            for (rank, len) in [(0, 1), (0, 2), (1, 1), (1, 2)] {
                let call = &call;
                scope.spawn(move || call(rank, len));
            }
        });
    }
}
