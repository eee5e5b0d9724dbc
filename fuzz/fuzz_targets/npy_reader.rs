//! Any bytes as an .npy file: the reader refuses them, or keeps its word.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = quarter_cli::npy::check(data);
});
