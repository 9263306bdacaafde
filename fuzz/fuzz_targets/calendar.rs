//! Any bytes as an iCalendar file.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| unattended_fuzz::calendar(data));
