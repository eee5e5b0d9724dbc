//! Any text as a number of any format.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| quarter_fuzz::bodies::from_str(data));
