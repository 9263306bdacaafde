//! Any bytes as what the other process of a hand-over says.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| unattended_fuzz::handover_frames(data));
