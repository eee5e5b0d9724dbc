//! How much memory a training takes, told before it is taken.

use super::gpt::VOCAB;
use super::settings::Settings;
use anyhow::ensure;
use std::fs;

/// What a machine is taken to have that does not tell.
const UNKNOWN: u128 = 64 << 30;

/// Bytes that this machine has: those of `/proc/meminfo`, or 64 GiB.
#[must_use]
pub fn limit() -> u128 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u128>().ok());
    kib.map_or(UNKNOWN, |kib| kib * 1024)
}

/// Bytes that a training takes, roughly and rather less than more: weights, gradients and moments of
/// all recipes and ranks, and what one recipe keeps for a backward. Validation takes a batch at a
/// time, less than that.
#[must_use]
pub fn estimate(settings: &Settings) -> u128 {
    let [layers, width, context, batch, ranks] = [
        settings.size.layers,
        settings.size.width,
        settings.size.context,
        settings.batch,
        settings.ranks,
    ]
    .map(|n| n as u128);
    let vocab = VOCAB as u128;
    let each = if settings.bf16_moments { 12 } else { 16 };
    let models =
        u128::from(settings.size.parameters()) * each * settings.recipes.len() as u128 * ranks;
    // Of each token and block two f32 of the residual stream, seven bf16 of qkv and up, seven codes;
    // then logits and their gradient. Attention computes one row's probabilities at a time.
    let token = layers * 29 * width + 8 * vocab;
    models + ranks * (batch * context * token + 8 * context * context)
}

/// A training that this machine has memory for.
///
/// # Errors
/// With both numbers, if it has not.
pub fn check(settings: &Settings) -> anyhow::Result<()> {
    let (takes, has) = (estimate(settings), limit());
    let gib = |bytes: u128| bytes as f64 / f64::from(1 << 30);
    ensure!(
        takes <= has,
        "this training takes {:.1} GiB of memory or more, this machine has {:.1} GiB",
        gib(takes),
        gib(has)
    );
    Ok(())
}
