//! What is done about bad nodes: cap, isolation, return, leases, freezes. Properties under any order of things.
#![expect(clippy::unwrap_used, reason = "the policies and nodes of these tests are valid")]

mod cluster;
mod life;
mod properties;
mod rules;
mod telling;
