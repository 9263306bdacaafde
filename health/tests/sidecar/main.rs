//! The parts that a sidecar and its controller use directly, as their users meet them.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_precision_loss,
    reason = "tests: a panic is a failure, numbers are small"
)]

mod attribution;
mod blame;
mod fleet;
mod fuzzed;
mod recorder;
mod slo;
mod startup;
mod support;
mod trend;
