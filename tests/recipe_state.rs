//! The state of recipes: exact resumption, recomputation, evaluation, hostile bytes.
#![cfg(feature = "std")]

use quarter::recipe::{Recipe, RecipeState, Role, StateSnapshot};
use quarter::scale::Rule;
use quarter::{Error, RandomStream};

const LAYERS: [&str; 3] = ["embed.proj", "h.0.mlp", "h.1.mlp"];

/// Under every rule of rolling, of Inf and NaN, of warm-up.
fn recipes() -> Vec<Recipe> {
    let histories = [
        "16:max:bulk:te",
        "16:max:kernel:te:margin=2",
        "4:most_recent:bulk:safe",
        "1:max:bulk:te",
        "16:max:bulk:te:warm-up=3*5:max:msamp:reset:warm-up=5*7:most_recent:kernel:reset",
    ];
    let delayed = histories.map(|history| {
        let line = Recipe::preset("delayed").unwrap().to_string();
        line.replace("1024:max:bulk:te", history).parse().unwrap()
    });
    let mut recipes = delayed.to_vec();
    recipes.extend(["msamp", "delayed", "blockwise"].map(|name| Recipe::preset(name).unwrap()));
    // A history for one role alone.
    let line = "name=dy;fprop=bf16*bf16;dgrad=e5m2:tensor:te-delayed*bf16;wgrad=bf16*bf16;delayed=3:max:bulk:te";
    recipes.push(line.parse().unwrap());
    recipes
}

fn state(recipe: &Recipe) -> RecipeState {
    let mut state = RecipeState::new(recipe.clone(), 0x0123_4567_89ab_cdef, 3).unwrap();
    LAYERS.iter().for_each(|layer| state.add_layer(layer).unwrap());
    state
}

/// The amax of a tensor in a step: ordinary, tiny, 0, Inf, NaN, and some layers do not run.
fn script(step: u64, layer: usize, role: Role, rank: u32) -> f32 {
    let tensor = (layer * 3 + role as usize) as u32;
    let word = RandomStream { seed: 11, tensor, step: rank }.word(step);
    match word % 10 {
        0 => 0.0,
        1 => f32::INFINITY,
        2 => f32::NAN,
        3 => f32::from_bits(word >> 10),
        _ => f32::from_bits((word >> 8) % 0x0400_0000 + 0x3d00_0000),
    }
}

fn tensors() -> impl Iterator<Item = (usize, &'static str, Role)> {
    LAYERS
        .iter()
        .enumerate()
        .flat_map(|(i, name)| Role::ALL.iter().map(move |role| (i, *name, *role)))
}

/// Everything that training could see of a state in a step, as bits.
fn seen(state: &RecipeState, step: u64) -> Vec<u32> {
    let scales = tensors().flat_map(|(i, name, role)| {
        let amax = script(step, i, role, 0);
        let scales = [state.scale(name, role), state.scale_for(name, role, amax)];
        let stream = state.stream(name, role);
        let bits = scales.map(|scale| scale.map_or(0, f32::to_bits));
        bits.into_iter().chain([stream.word(0), stream.word(77)])
    });
    scales.collect()
}

fn run_step(state: &mut RecipeState, step: u64) {
    for (i, name, role) in tensors() {
        if script(step, i, role, 1) < 100.0 {
            state.record_amax(name, role, script(step, i, role, 0)).unwrap();
        }
    }
    state.end_step(None).unwrap();
}

#[test]
fn resumes_bit_for_bit_at_every_step() {
    for recipe in recipes() {
        let mut straight = state(&recipe);
        let mut cuts = Vec::new();
        let mut trace = Vec::new();
        for step in 0..40 {
            let bytes = straight.to_bytes();
            let json = serde_json_of(&straight);
            cuts.push((bytes, json));
            trace.push(seen(&straight, step));
            run_step(&mut straight, step);
        }
        for (cut, (bytes, json)) in cuts.into_iter().enumerate() {
            let mut under = RecipeState::new(recipe.clone(), 1, 3).unwrap();
            under.restore_bytes(&bytes).unwrap();
            let resumed =
                [RecipeState::from_bytes(&bytes).unwrap(), from_json(&json, &bytes), under];
            for mut resumed in resumed {
                assert_eq!(resumed.step() as usize, cut);
                for step in cut as u64..40 {
                    assert_eq!(
                        seen(&resumed, step),
                        trace[step as usize],
                        "{recipe}: cut {cut}, {step}"
                    );
                    run_step(&mut resumed, step);
                }
                assert_eq!(resumed, straight, "{recipe}: cut at {cut}");
                assert_eq!(resumed.to_bytes(), straight.to_bytes());
            }
        }
    }
}

#[cfg(feature = "serde")]
fn serde_json_of(state: &RecipeState) -> String {
    serde_json::to_string(state).unwrap()
}

#[cfg(feature = "serde")]
fn from_json(json: &str, _bytes: &[u8]) -> RecipeState {
    serde_json::from_str(json).unwrap()
}

#[cfg(not(feature = "serde"))]
fn serde_json_of(_state: &RecipeState) -> String {
    String::new()
}

#[cfg(not(feature = "serde"))]
fn from_json(_json: &str, bytes: &[u8]) -> RecipeState {
    RecipeState::from_bytes(bytes).unwrap()
}

#[test]
fn resumes_within_a_step() {
    for recipe in recipes() {
        let (mut straight, mut cut) = (state(&recipe), state(&recipe));
        for step in 0..40 {
            for (i, name, role) in tensors() {
                let amax = script(step, i, role, 0);
                straight.record_amax(name, role, amax).unwrap();
                cut.record_amax(name, role, amax).unwrap();
                cut = RecipeState::from_bytes(&cut.to_bytes()).unwrap();
            }
            straight.end_step(None).unwrap();
            cut.end_step(None).unwrap();
            assert_eq!(cut, straight, "{recipe}, step {step}");
        }
    }
}

#[test]
fn a_second_forward_sees_the_same_and_adds_nothing() {
    for recipe in recipes() {
        let (mut once, mut twice) = (state(&recipe), state(&recipe));
        for step in 0..40 {
            let before = seen(&twice, step);
            for _ in 0..2 {
                for (i, name, role) in tensors() {
                    twice.record_amax(name, role, script(step, i, role, 0)).unwrap();
                    assert_eq!(seen(&twice, step), before, "{recipe}, step {step}");
                }
            }
            for (i, name, role) in tensors() {
                once.record_amax(name, role, script(step, i, role, 0)).unwrap();
            }
            assert_eq!(once, twice, "{recipe}, step {step}");
            once.end_step(None).unwrap();
            twice.end_step(None).unwrap();
        }
    }
}

#[test]
fn evaluation_changes_nothing() {
    for recipe in recipes() {
        let mut state = state(&recipe);
        run_step(&mut state, 0);
        let bytes = state.to_bytes();
        state.set_training(false);
        for (i, name, role) in tensors() {
            state.record_amax(name, role, 1e9 + i as f32).unwrap();
            let scale = state.scale(name, role);
            assert_eq!(scale.is_ok(), recipe.history_cast(role).is_some(), "{recipe}");
        }
        assert!(matches!(state.end_step(None), Err(Error::Recipe { field: "end_step", .. })));
        assert!(state.add_layer("new").is_err());
        assert_eq!(state.add_layer(LAYERS[0]), Ok(()));
        assert_eq!(state.to_bytes(), bytes);
        state.set_training(true);
        run_step(&mut state, 1);
        assert_eq!(state.step(), 2);
    }
}

#[test]
fn loads_with_another_history_length() {
    let line = Recipe::preset("delayed").unwrap().to_string();
    let with = |len: &str| line.replace("1024", len).parse::<Recipe>().unwrap();
    let mut long = state(&with("16"));
    (0..20).for_each(|step| run_step(&mut long, step));
    for (len, n) in [("4", 4), ("16", 16), ("40", 40)] {
        for mut other in [RecipeState::new(with(len), 0, 0).unwrap(), state(&with(len))] {
            other.restore_bytes(&long.to_bytes()).unwrap();
            assert_eq!((other.step(), other.seed()), (20, long.seed()));
            for (_, name, role) in tensors() {
                let (from, to) =
                    (long.history(name, role).unwrap(), other.history(name, role).unwrap());
                let mut want = from.window().to_vec();
                want.resize(n, 0.0);
                let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(to.window()), bits(&want));
                assert_eq!(to.scale().to_bits(), from.scale().to_bits());
            }
            run_step(&mut other, 20);
        }
    }
    // Other casts and other layers are refused, and nothing is changed.
    let mut other = state(&line.replace("e5m2", "e4m3").parse().unwrap());
    let before = other.to_bytes();
    let error = other.restore_bytes(&long.to_bytes()).unwrap_err();
    assert!(matches!(error, Error::Recipe { field: "grad_output", .. }), "{error}");
    assert_eq!(other.to_bytes(), before);
    for layers in
        [&["h.0.mlp"][..], &["embed.proj", "h.0.mlp", "h.1.mlp", "h.2.mlp"], &["a", "b", "c"]]
    {
        let mut other = RecipeState::new(with("4"), 0, 0).unwrap();
        layers.iter().for_each(|layer| other.add_layer(layer).unwrap());
        let before = other.to_bytes();
        assert!(matches!(other.restore_bytes(&long.to_bytes()), Err(Error::State { .. })));
        assert_eq!(other.to_bytes(), before);
    }
}

/// FNV-1a, as the format has it.
fn sealed(body: &[u8]) -> Vec<u8> {
    let hash = body.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    [body, &hash.to_le_bytes()[..]].concat()
}

#[test]
fn hostile_bytes_are_errors() {
    let recipe = recipes().swap_remove(4);
    let mut good = state(&recipe);
    run_step(&mut good, 0);
    let bytes = good.to_bytes();
    assert_eq!(RecipeState::from_bytes(&bytes).as_ref(), Ok(&good));
    for len in 0..bytes.len() {
        assert!(RecipeState::from_bytes(&bytes[..len]).is_err(), "cut at {len}");
    }
    let (mut refused, mut other) = (0, 0);
    for at in 0..bytes.len() {
        for flip in [1, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[at] ^= flip;
            assert!(RecipeState::from_bytes(&changed).is_err(), "byte {at} ^ {flip:#x}");
            // The same under a checksum that fits: an error, or another state that is sound.
            let resealed = sealed(&changed[..bytes.len() - 8]);
            match RecipeState::from_bytes(&resealed) {
                Err(_) => refused += 1,
                Ok(state) => {
                    other += 1;
                    assert_eq!(RecipeState::from_bytes(&state.to_bytes()), Ok(state));
                }
            }
        }
    }
    println!("with a checksum that fits: {refused} refused, {other} taken as another state");
    // Lengths that lie: of the recipe, the layers, a name, a window.
    for at in 0..bytes.len() - 12 {
        let mut body = bytes[..bytes.len() - 8].to_vec();
        body[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        let _ = RecipeState::from_bytes(&sealed(&body));
    }
    let mut extra = bytes[..bytes.len() - 8].to_vec();
    extra.push(0);
    assert!(RecipeState::from_bytes(&sealed(&extra)).is_err());
    // A recipe with the longest window beside short ones: refused before it is allocated.
    let mut saved = good.snapshot();
    saved.recipe = recipe.to_string().replace("16:max", "65536:max").parse().unwrap();
    assert!(matches!(RecipeState::from_snapshot(&saved), Err(Error::State { .. })));
}

#[test]
fn states_that_cannot_be_are_errors() {
    let recipe = Recipe::preset("msamp").unwrap();
    let saved = state(&recipe).snapshot();
    let changes: [fn(&mut StateSnapshot); 8] = [
        |s| s.layers.swap(0, 1),
        |s| s.layers[1] = s.layers[0].clone(),
        |s| s.layers[0].name = String::new(),
        |s| s.layers[2].name = "x".repeat(1025),
        |s| s.layers[0].histories[1] = None,
        |s| s.layers[0].histories[0].as_mut().unwrap().scale = f32::NAN,
        |s| s.layers[0].histories[0].as_mut().unwrap().window[3] = -0.0,
        |s| s.recipe.name = "a;b".into(),
    ];
    for (i, change) in changes.iter().enumerate() {
        let mut bad = saved.clone();
        change(&mut bad);
        assert!(RecipeState::from_snapshot(&bad).is_err(), "change {i}");
    }
    assert!(RecipeState::from_snapshot(&saved).is_ok());
    let mut current = RecipeState::new(Recipe::preset("current").unwrap(), 0, 0).unwrap();
    current.add_layer("a").unwrap();
    assert!(matches!(current.scale("a", Role::Input), Err(Error::Recipe { field: "input", .. })));
    assert!(matches!(current.scale("b", Role::Input), Err(Error::Name { .. })));
    assert_eq!(current.record_amax("a", Role::Input, 1.0), Ok(()));
    assert!(current.record_amax("b", Role::Input, 1.0).is_err());
    assert!(current.add_layer("").is_err());
    let bad = Recipe { delayed: None, ..Recipe::preset("delayed").unwrap() };
    assert!(RecipeState::new(bad, 0, 0).is_err());
}

/// Statistics pass over NaN; what is noted of them is what the rule takes.
#[test]
fn statistics_lose_no_nan() {
    use quarter::slice::{EncodeOptions, QuantStats, encode_stats};
    let stats = QuantStats { amax: 1.0, nan: 1, ..QuantStats::default() };
    let without = QuantStats { nan: 0, ..stats };
    let options = EncodeOptions::new(quarter::Policy::SATURATE);
    let spec = quarter::FormatId::F8E4M3.spec();
    let encoded = encode_stats(spec, &[1.0_f32, f32::NAN], &mut [0u8; 2], &options).unwrap();
    assert_eq!((encoded.amax, encoded.nan), (1.0, 1));
    for (preset, nan) in [("msamp", true), ("delayed", false)] {
        let mut state = state(&Recipe::preset(preset).unwrap());
        for (_, name, role) in tensors() {
            let recorded =
                |state: &RecipeState| state.history(name, role).unwrap().window()[0].to_bits();
            state.record_stats(name, role, &without).unwrap();
            assert_eq!(recorded(&state), 1.0_f32.to_bits(), "{preset}");
            state.record_stats(name, role, &encoded).unwrap();
            let want = if nan { f32::NAN } else { 1.0 };
            assert_eq!(recorded(&state), want.to_bits(), "{preset}");
        }
        let before = state.to_bytes();
        assert!(matches!(state.record_stats("no", Role::Input, &stats), Err(Error::Name { .. })));
        state.set_training(false);
        state.record_stats(LAYERS[0], Role::Input, &QuantStats { amax: 9.0, ..stats }).unwrap();
        assert_eq!(state.to_bytes(), before);
    }
    let mut current = state(&Recipe::preset("current").unwrap());
    assert_eq!(current.record_stats(LAYERS[0], Role::Input, &stats), Ok(()));
}

/// Ids are the same in every run and version, as saved runs draw from them; other tensors have
/// others.
#[test]
fn random_streams_are_stable_and_apart() {
    let recipe = Recipe::preset("nvfp4").unwrap();
    let mut ids = std::collections::BTreeSet::new();
    for rank in 0..4 {
        let state = RecipeState::new(recipe.clone(), 9, rank).unwrap();
        for layer in 0..500 {
            for role in Role::ALL {
                let stream = state.stream(&format!("h.{layer}"), *role);
                assert_eq!((stream.seed, stream.step), (9, 0));
                ids.insert(stream.tensor);
            }
        }
    }
    assert_eq!(ids.len(), 6000);
    let state = RecipeState::new(recipe, 9, 0).unwrap();
    assert_eq!(state.stream("h.0", Role::Input).tensor, known_id("h.0", "input", 0));
}

/// The id by its definition.
fn known_id(layer: &str, role: &str, rank: u32) -> u32 {
    let len = |text: &str| (text.len() as u64).to_le_bytes();
    let parts =
        [&len(layer)[..], layer.as_bytes(), &len(role), role.as_bytes(), &rank.to_le_bytes()];
    let hash = sealed(&parts.concat());
    let hash = u64::from_le_bytes(*hash.last_chunk().unwrap());
    (hash >> 32) as u32 ^ hash as u32
}

#[cfg(feature = "serde")]
#[test]
fn serde_of_recipes() {
    for (name, make) in quarter::recipe::presets::ALL {
        let recipe = make();
        let json = serde_json::to_string(&recipe).unwrap();
        assert_eq!(json, format!("\"{recipe}\""), "{name}");
        assert_eq!(serde_json::from_str::<Recipe>(&json).unwrap(), recipe);
    }
    assert_eq!(serde_json::to_string(&Rule::TeBlock).unwrap(), "\"te-block\"");
    assert!(serde_json::from_str::<Recipe>("\"blokwise\"").is_err());
    let json = serde_json::to_string(&state(&Recipe::preset("msamp").unwrap())).unwrap();
    for (from, to) in [
        ("\"version\":1", "\"version\":2"),
        ("h.1.mlp", "a"),
        ("[1065353216,0,[0]]", "[0,0,[]]"),
        ("1065353216", "2143289344"),
        ("0,[", "-1,["),
    ] {
        assert!(json.contains(from));
        assert!(
            serde_json::from_str::<RecipeState>(&json.replacen(from, to, 1)).is_err(),
            "{from}"
        );
    }
}

#[cfg(not(feature = "serde"))]
#[test]
fn serde_of_recipes() {
    println!("skipped: {} by serde; it needs --features serde", Rule::TeBlock);
}
