//! Any bytes as OpenSLO documents.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| unattended_fuzz::openslo(data));
