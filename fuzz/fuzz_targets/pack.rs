//! Any bytes as a rule pack.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| unattended_fuzz::pack(data));
