//! Two real processes of the sidecar, real sockets, real signals. Each test orders the two by their admin sockets itself.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod clients;
mod ends;
mod killed;
mod moves;
mod refused;
mod serving;
mod support;
