//! Any bytes as a safetensors file.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = quarter_cli::checkpoint::header::check(data);
});
