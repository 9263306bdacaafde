//! Any bytes as a connection's state, and as what passes on it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| unattended_fuzz::handover_states(data));
