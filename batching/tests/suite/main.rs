//! Plans, their proofs and frontiers, from outside: one program, so that it is linked once and its tests share the cores.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod caps;
mod common;
mod forecast;
mod frontier;
mod plan;
mod ramps;
mod repair;
mod rollback;
mod splits;
mod traces;
