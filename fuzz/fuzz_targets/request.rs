//! Any bytes as a request.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| unattended_fuzz::request(data));
