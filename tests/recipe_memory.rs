//! How much memory reading a saved state takes.
#![cfg(feature = "std")]

#[path = "common/counting.rs"]
mod counting;

use counting::{NOW, PEAK};
use quarter::recipe::{Recipe, RecipeState};
use std::sync::atomic::Ordering::Relaxed;

/// Reads, and tells the bytes that were allocated at most.
fn read(bytes: &[u8]) -> (bool, usize) {
    let before = NOW.load(Relaxed);
    PEAK.store(before, Relaxed);
    let good = RecipeState::from_bytes(bytes).is_ok();
    (good, PEAK.load(Relaxed) - before)
}

/// A state of this preset with these layers, under a checksum that fits.
fn file(preset: &str, count: u32, layers: &[u8]) -> Vec<u8> {
    let state = RecipeState::new(Recipe::preset(preset).unwrap(), 0, 0).unwrap();
    let mut file = state.to_bytes();
    file.truncate(file.len() - 12);
    file.extend_from_slice(&count.to_le_bytes());
    file.extend_from_slice(layers);
    let hash = file.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    file.extend_from_slice(&hash.to_le_bytes());
    file
}

/// One test, as the counter is of the process.
#[test]
fn memory_grows_with_what_was_checked() {
    const COUNT: u32 = 200_000;
    let small = 1 << 16;
    for (what, preset, layer) in [
        ("no name", "bf16", &[0; 7][..]),
        ("one name", "bf16", &[1, 0, 0, 0, b'a', 0, 0, 0]),
        ("no histories", "msamp", &[1, 0, 0, 0, b'a', 0, 0, 0]),
        ("histories of none", "bf16", &[1, 0, 0, 0, b'a', 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    ] {
        let file = file(preset, COUNT, &layer.repeat(COUNT as usize));
        let (good, peak) = read(&file);
        assert!(!good && peak < small, "{what}: {peak} bytes for {} in the file", file.len());
    }
    // More layers than bytes; a window longer than the recipe's.
    let name = |i: u32| [&[4, 0, 0, 0][..], &format!("{i:04x}").into_bytes(), &[0; 3]].concat();
    let some: Vec<u8> = (0..0x1_0000).flat_map(name).collect();
    let (good, peak) = read(&file("bf16", u32::MAX, &some));
    assert!(!good && peak < small, "{peak}");
    let mut long = vec![1, 0, 0, 0, b'a', 1, 0, 0, 128, 63, 0, 0, 0, 0, 0, 0, 4, 0];
    long.resize(long.len() + (1 << 20), 0);
    let (good, peak) = read(&file("delayed", 1, &long));
    assert!(!good && peak < small, "{peak}");
    // Sound ones are some tens of times their file, at the most.
    let sound = file("bf16", 0x1_0000, &some);
    let (good, peak) = read(&sound);
    println!("{} bytes in the file, {peak} in memory", sound.len());
    assert!(good && peak < 60 * sound.len(), "{peak}");
}
