//! Any bytes as the report of an observer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| unattended_fuzz::report(data));
