//! Any values into any format under any policy: encoder and kernels against the exact oracle.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| quarter_fuzz::bodies::encode_oracle(data));
