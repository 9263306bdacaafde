//! Everything about the driver that can be seen from outside.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod attending;
mod barred;
mod bounds;
mod choosing;
#[path = "../../examples/own_platform/clock.rs"]
mod clock;
mod compaction;
mod contradictions;
mod control;
mod crashes;
#[path = "../../examples/own_platform/disk.rs"]
mod disk;
mod driving;
mod exploration;
mod followers;
mod formats;
mod hanging;
#[path = "../../examples/own_platform/host.rs"]
mod host;
mod hot_looks;
mod journaled;
mod late_lies;
mod liars;
mod lying_journals;
mod mouths;
mod own_word;
mod pair;
mod records;
mod sequences;
mod slow;
mod sly;
mod support;
