//! Real processes: started, adopted, replaced, killed.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod adoption;
mod bad_input;
mod conformance;
mod foreign;
mod mortal;
mod programs;
mod sidecar;
mod still;
mod support;
