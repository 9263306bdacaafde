//! Any bytes as what a sidecar serves.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| unattended_fuzz::wire(data));
