//! Any text as a recipe, any recipe as text.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| quarter_fuzz::recipe_bodies::recipe_grammar(data));
