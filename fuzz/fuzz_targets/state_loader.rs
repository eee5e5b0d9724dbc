//! Any bytes as the saved state of a recipe.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| quarter_fuzz::recipe_bodies::state_loader(data));
