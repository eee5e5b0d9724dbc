//! Amaxes joined over ranks: the same scales everywhere, whatever one rank sees, and an error
//! instead of a hang.
#![cfg(feature = "std")]

#[path = "common/ranks.rs"]
mod common;

use common::{PATIENCE, ranks};
use quarter::recipe::{
    AllReduce, NoReduce, Recipe, RecipeState, Role, StateSnapshot, thread_group,
};
use quarter::scale::{HistorySnapshot, join_amax};
use quarter::{Error, RandomStream};
use std::time::{Duration, Instant};

fn state(recipe: &str, rank: usize, layers: &[&str]) -> RecipeState {
    let recipe: Recipe = recipe.parse().unwrap();
    let mut state = RecipeState::new(recipe, 1, rank as u32).unwrap();
    layers.iter().for_each(|layer| state.add_layer(layer).unwrap());
    state
}

const LAYERS: [&str; 2] = ["a", "b"];

/// What a rank sees: ranks differ, and now and then one alone sees Inf or NaN.
fn script(rank: usize, step: u64, tensor: u32) -> f32 {
    let event = RandomStream { seed: 3, tensor, step: 99 }.word(step);
    if event as usize % 4 == rank {
        match event >> 8 & 3 {
            0 => return f32::NAN,
            1 => return f32::INFINITY,
            _ => {}
        }
    }
    let word = RandomStream { seed: 3, tensor, step: rank as u32 }.word(step);
    if word.is_multiple_of(7) { 0.0 } else { f32::from_bits(word % 0x0800_0000 + 0x3c00_0000) }
}

fn bits(state: &RecipeState) -> Vec<u32> {
    let histories = LAYERS
        .iter()
        .flat_map(|layer| Role::ALL.iter().map(|role| state.history(layer, *role).unwrap()));
    histories
        .flat_map(|h| [h.scale()].into_iter().chain(h.window().to_vec()))
        .map(f32::to_bits)
        .collect()
}

#[test]
fn four_ranks_agree_on_every_scale() {
    let delayed = Recipe::preset("delayed").unwrap().to_string();
    for history in [
        "16:max:bulk:te",
        "4:max:kernel:te",
        "8:max:bulk:safe",
        "16:max:msamp:reset:warm-up=16",
        "3:most_recent:bulk:te",
    ] {
        let recipe = delayed.replace("1024:max:bulk:te", history);
        let runs = ranks(4, PATIENCE, |group| {
            let mut state = state(&recipe, group.rank(), &LAYERS);
            let mut trace = Vec::new();
            for step in 0..40 {
                for (i, layer) in LAYERS.iter().enumerate() {
                    for role in Role::ALL {
                        let amax = script(group.rank(), step, i as u32 * 3 + *role as u32);
                        state.record_amax(layer, *role, amax).unwrap();
                    }
                }
                state.end_step(Some(&group)).unwrap();
                trace.push(bits(&state));
            }
            trace
        });
        // One rank that sees the data of all four.
        let mut alone = state(&recipe, 0, &LAYERS);
        let (mut nan, mut inf) = (0, 0);
        for step in 0..40 {
            for (i, layer) in LAYERS.iter().enumerate() {
                for role in Role::ALL {
                    let amaxes = (0..4).map(|rank| script(rank, step, i as u32 * 3 + *role as u32));
                    let amax = amaxes.fold(0.0, join_amax);
                    nan += usize::from(amax.is_nan());
                    inf += usize::from(amax.is_infinite());
                    alone.record_amax(layer, *role, amax).unwrap();
                }
            }
            alone.end_step(Some(&NoReduce)).unwrap();
            for (rank, run) in runs.iter().enumerate() {
                assert_eq!(run[step as usize], bits(&alone), "{history}, step {step}, rank {rank}");
            }
        }
        assert!(nan > 10 && inf > 10, "the script has too few: {nan} NaN, {inf} Inf");
    }
}

#[test]
fn nan_and_inf_reach_all() {
    for special in [f32::NAN, f32::INFINITY] {
        for at in 0..4 {
            let all = ranks(4, PATIENCE, |group| {
                let mut amax = [1.0, if group.rank() == at { special } else { 1e30 }, 0.0];
                group.max(&mut amax).map(|()| amax)
            });
            for amax in all {
                let amax = amax.unwrap();
                assert!(amax[1].is_nan() == special.is_nan() && !amax[1].is_finite());
                assert_eq!((amax[0], amax[2]), (1.0, 0.0));
            }
        }
    }
}

#[test]
fn ranks_that_differ_get_an_error_and_keep_their_state() {
    let delayed = Recipe::preset("delayed").unwrap().to_string();
    let other = delayed.replace("1024", "16");
    type Make<'a> = &'a (dyn Fn(usize) -> RecipeState + Sync);
    let cases: [(&str, Make); 5] = [
        ("another layer", &|rank| {
            state(&delayed, rank, if rank == 2 { &["a", "c"] } else { &LAYERS })
        }),
        ("one layer more", &|rank| {
            state(&delayed, rank, if rank == 0 { &["a", "b", "c"] } else { &LAYERS })
        }),
        ("no layers", &|rank| state(&delayed, rank, if rank == 3 { &[] } else { &LAYERS })),
        ("another length", &|rank| state(if rank == 1 { &other } else { &delayed }, rank, &LAYERS)),
        ("another step", &|rank| {
            let mut state = state(&delayed, rank, &LAYERS);
            (0..=rank / 3).for_each(|_| state.end_step(None).unwrap());
            state
        }),
    ];
    for (what, make) in cases {
        let start = Instant::now();
        let all = ranks(4, PATIENCE, |group| {
            let mut state = make(group.rank());
            let first = state.layers().next().map(str::to_owned);
            if let Some(layer) = first {
                state.record_amax(&layer, Role::Input, 5.0).unwrap();
            }
            let before = state.to_bytes();
            let error = state.end_step(Some(&group)).unwrap_err();
            (error, state.to_bytes() == before)
        });
        for (error, unchanged) in all {
            assert!(matches!(error, Error::Recipe { field: "end_step", .. }), "{what}: {error}");
            assert!(unchanged, "{what}");
        }
        assert!(start.elapsed() < PATIENCE / 2, "{what}");
    }
}

/// Two ranks, of which the second is another, end a step: an error on both, as it changes scales
/// or codes, and the same state as before.
#[test]
fn ranks_of_other_recipes_seeds_and_histories_get_an_error() {
    let delayed = Recipe::preset("delayed").unwrap().to_string().replace("1024", "4");
    let first_steps = |state: &mut RecipeState, amaxes: [f32; 3]| {
        for amax in amaxes {
            for layer in LAYERS {
                Role::ALL.iter().for_each(|role| state.record_amax(layer, *role, amax).unwrap());
            }
            state.end_step(None).unwrap();
        }
    };
    let base = || {
        let mut state = state(&delayed, 0, &LAYERS);
        first_steps(&mut state, [4.0, 2.0, 8.0]);
        state
    };
    let under = |recipe: &str| {
        let mut state = state(recipe, 1, &LAYERS);
        first_steps(&mut state, [4.0, 2.0, 8.0]);
        state
    };
    let changed = |change: &dyn Fn(&mut StateSnapshot)| {
        let mut saved = base().snapshot();
        saved.rank = 1;
        change(&mut saved);
        RecipeState::from_snapshot(&saved).unwrap()
    };
    let e5m2 = delayed.replace("e4m3", "e5m2");
    let margin = delayed.replace("bulk:te", "bulk:te:margin=1");
    let mut others = vec![
        ("another format", under(&e5m2)),
        ("another margin", under(&margin)),
        ("other sums", under(&delayed.replace("+fast", ""))),
        ("no histories", under("current")),
        ("no reduction", under(&format!("{delayed};reduce-amax=off"))),
        ("another seed", changed(&|s| s.seed ^= 1 << 63)),
        ("another step", changed(&|s| s.step += 1)),
    ];
    for layer in 0..2 {
        for role in 0..3 {
            let of = |s: &mut StateSnapshot, change: &dyn Fn(&mut HistorySnapshot)| {
                change(s.layers[layer].histories[role].as_mut().unwrap());
            };
            let ulp = |x: &mut f32| *x = x.next_up();
            others.push(("another scale", changed(&|s| of(s, &|h| ulp(&mut h.scale)))));
            others.push(("another counter", changed(&|s| of(s, &|h| h.counter += 1))));
            for slot in 1..4 {
                // The same scale in this step, and another in a later one.
                let other = changed(&|s| of(s, &|h| ulp(&mut h.window[slot])));
                others.push(("another window", other));
            }
            others.push(("slots swapped", changed(&|s| of(s, &|h| h.window.swap(1, 2)))));
        }
    }
    for (what, other) in others {
        let start = Instant::now();
        let all = ranks(2, PATIENCE, |group| {
            let mut state = if group.rank() == 0 { base() } else { other.clone() };
            let before = state.to_bytes();
            let ended = state.end_step(Some(&group));
            (ended, state.to_bytes() == before)
        });
        for (ended, unchanged) in all {
            assert!(matches!(ended, Err(Error::Recipe { field: "end_step", .. })), "{what}");
            assert!(unchanged, "{what}");
        }
        assert!(start.elapsed() < PATIENCE / 2, "{what}");
    }
    // What may differ: the rank, and the amaxes of the step that runs.
    for other in [changed(&|_| ()), changed(&|s| s.rank = 7)] {
        let all = ranks(2, PATIENCE, |group| {
            let mut state = if group.rank() == 0 { base() } else { other.clone() };
            state.record_amax("a", Role::Input, 16.0 + group.rank() as f32).unwrap();
            state.end_step(Some(&group)).unwrap();
            bits(&state)
        });
        assert_eq!(all[0], all[1]);
    }
    // Without histories, other recipes and seeds are told too.
    for (recipe, seed) in [("tensorwise", 1), ("current", 2), ("current", 1)] {
        let all = ranks(2, PATIENCE, |group| {
            let (recipe, seed) = if group.rank() == 0 { ("current", 1) } else { (recipe, seed) };
            let recipe = Recipe::preset(recipe).unwrap();
            let mut state = RecipeState::new(recipe, seed, group.rank() as u32).unwrap();
            state.add_layer("a").unwrap();
            state.end_step(Some(&group)).is_ok()
        });
        assert_eq!(all, [(recipe, seed) == ("current", 1); 2]);
    }
}

/// A group whose other rank's hash is one more in each part.
struct OneMore;

impl AllReduce for OneMore {
    fn ranks(&self) -> usize {
        2
    }

    fn sum(&self, _values: &mut [f32]) -> Result<(), Error> {
        unreachable!("a state adds nothing")
    }

    fn max(&self, values: &mut [f32]) -> Result<(), Error> {
        values.iter_mut().step_by(2).for_each(|part| *part += 1.0);
        Ok(())
    }
}

#[test]
fn hashes_next_to_each_other_differ() {
    for seed in 0..20 {
        let recipe = Recipe::preset("current").unwrap();
        let mut state = RecipeState::new(recipe, seed, 0).unwrap();
        assert!(state.end_step(Some(&OneMore)).is_err());
    }
}

#[test]
fn a_rank_that_is_missing_ends_the_group() {
    // It leaves before, or after some rounds, or panics, or has another length, or never comes.
    for rounds in [0, 1, 5] {
        let all = ranks(4, PATIENCE, |group| {
            for round in 0..10 {
                if group.rank() == 1 && round == rounds {
                    return (round, None);
                }
                if let Err(error) = group.max(&mut [group.rank() as f32; 3]) {
                    let again = group.max(&mut []).unwrap_err();
                    assert_eq!(again, error, "the group stays ended");
                    return (round, Some(error));
                }
            }
            (10, None)
        });
        for (rank, (round, error)) in all.into_iter().enumerate() {
            assert_eq!((round, error.is_none()), (rounds, rank == 1), "rank {rank}");
            assert!(matches!(error, None | Some(Error::State { expected: 4, .. })));
        }
    }
    let all = ranks(4, PATIENCE, |group| {
        let len = if group.rank() == 2 { 3 } else { 4 };
        group.max(&mut vec![1.0; len])
    });
    assert!(all.iter().all(|result| matches!(result, Err(Error::State { .. }))), "{all:?}");
    let start = Instant::now();
    let all = ranks(3, Duration::from_millis(50), |group| {
        if group.rank() == 0 {
            std::thread::sleep(Duration::from_millis(400)); // it holds its handle and does not come
        }
        group.max(&mut [1.0])
    });
    assert!(all.iter().all(Result::is_err) && start.elapsed() < Duration::from_secs(20));
    let panicked = std::thread::scope(|scope| {
        let mut group = thread_group(2, PATIENCE);
        let (second, first) = (group.pop().unwrap(), group.pop().unwrap());
        let bad = scope.spawn(move || {
            let _handle = second;
            std::panic::resume_unwind(Box::new("a rank fails"));
        });
        let result = first.max(&mut [1.0]);
        assert!(bad.join().is_err());
        result
    });
    assert!(matches!(panicked, Err(Error::State { expected: 2, got: 1, .. })));
}

/// A rank that finishes its last round and goes does not spoil it for the slower ones.
#[test]
fn the_last_round_counts_for_all() {
    for _ in 0..200 {
        let all = ranks(4, PATIENCE, |group| {
            (0..5).try_for_each(|_| group.max(&mut [group.rank() as f32]))
        });
        assert!(all.iter().all(Result::is_ok), "{all:?}");
    }
    assert_eq!(thread_group(1, PATIENCE)[0].max(&mut [2.0]), Ok(()));
    assert!(thread_group(0, PATIENCE).is_empty());
}

#[test]
fn without_reduction_ranks_go_their_own_way() {
    let line = format!("{};reduce-amax=off", Recipe::preset("delayed").unwrap());
    let scales = ranks(2, PATIENCE, |group| {
        let mut state = state(&line, group.rank(), &LAYERS);
        state.record_amax("a", Role::Input, 1.0 + group.rank() as f32).unwrap();
        state.end_step(Some(&group)).unwrap();
        state.scale("a", Role::Input).unwrap()
    });
    assert_eq!(scales, [448.0, 224.0]);
}
