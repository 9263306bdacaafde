//! Everything about the driver that can be seen from outside.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod compaction;
mod crashes;
mod driving;
mod records;
mod support;
