//! The fuzz targets' bodies on pseudo-random bytes: what fuzzing does for hours, for a second.

mod common;
#[cfg(feature = "std")]
#[path = "common/recipe_bodies.rs"]
mod recipe_bodies;

use common::{STREAM, bodies, share};

/// `n` inputs of up to `longest` bytes.
fn inputs(n: usize, longest: usize, seed: u64) -> impl Iterator<Item = Vec<u8>> {
    (0..n as u64).map(move |i| {
        let word = |k: u64| STREAM.word(seed << 40 | i << 16 | k);
        let len = word(0) as usize % (longest + 1);
        (0..len as u64).map(|k| (word(1 + k / 4) >> (k % 4 * 8)) as u8).collect()
    })
}

#[test]
fn encode_oracle() {
    bodies::encode_oracle(&[]);
    inputs(share(20_000), 400, 1).for_each(|data| bodies::encode_oracle(&data));
}

#[test]
fn from_str() {
    bodies::from_str(&[]);
    inputs(share(40_000), 40, 2).for_each(|data| bodies::from_str(&data));
    // Numbers, and what comes close to one, in every format.
    for text in ["0", "-0", "1", "448.0", "-1e-9", "1e999", "inf", "-NaN", "1e", "", "."] {
        for i in 0..2000u32 {
            let mut data: Vec<u8> =
                (0..9).map(|k| (STREAM.word((i * 9 + k).into()) >> 8) as u8).collect();
            data.push(0); // the text as it stands
            data.extend(text.bytes());
            bodies::from_str(&data);
        }
    }
}

#[cfg(feature = "std")]
#[test]
fn recipe_grammar() {
    recipe_bodies::recipe_grammar(&[]);
    inputs(share(40_000), 90, 3).for_each(|data| recipe_bodies::recipe_grammar(&data));
}

#[cfg(feature = "std")]
#[test]
fn state_loader() {
    recipe_bodies::state_loader(&[]);
    inputs(share(20_000), 60, 4).for_each(|data| recipe_bodies::state_loader(&data));
}
