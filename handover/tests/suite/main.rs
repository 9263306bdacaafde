//! Machines, wire, codecs, and two real processes.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod agent;
mod anew;
mod codecs;
mod doorbell;
mod echo;
mod fuzzed;
mod pitfalls;
mod tls;
mod two_processes;
mod wire;
