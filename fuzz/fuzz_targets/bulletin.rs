//! Any bytes as a bulletin of the center.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| unattended_fuzz::bulletin(data));
