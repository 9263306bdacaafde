//! Any bytes as the table of the example `judge`, whose modules are this program's as well.
#![no_main]
#![expect(dead_code, reason = "what prints is not called here")]

#[path = "../../examples/judge/answer.rs"]
mod answer;
#[path = "../../examples/judge/baseline.rs"]
mod baseline;
#[path = "../../examples/judge/cells.rs"]
mod cells;
#[path = "../../examples/judge/fault.rs"]
mod fault;
#[path = "../../examples/judge/first.rs"]
mod first;
#[path = "../../examples/judge/fuzzed.rs"]
mod fuzzed;
#[path = "../../examples/judge/hosts.rs"]
mod hosts;
#[path = "../../examples/judge/options.rs"]
mod options;
#[path = "../../examples/judge/table.rs"]
mod table;
#[path = "../../examples/judge/trial.rs"]
mod trial;

/// The version of the shape of every JSON object.
const SCHEMA: u32 = 1;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fuzzed::table(data);
});
