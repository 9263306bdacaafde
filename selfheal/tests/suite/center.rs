//! The center, from outside.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "helpers of tests; their numbers are small"
)]

mod catalogue;
mod healing;
mod interleavings;
mod liars;
mod lifecycle;
mod reports;
mod weighing;
mod world;
