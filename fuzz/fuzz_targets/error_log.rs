//! Any bytes as an error-metrics log.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| unattended_fuzz::error_log(data));
