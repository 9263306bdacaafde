//! Static health: what an instance finds out about itself before it takes traffic, and whether that is enough.

mod check;
mod gate;
mod golden;
mod machine;
mod report;
mod runner;

pub use check::{Check, StartupError};
pub use gate::{Gate, GateFailure, GateVerdict};
pub use golden::{Exchange, GoldenError, GoldenRequest, GoldenResponse};
pub use machine::{Attempt, CheckAnswer, Startup, Step};
pub use report::{CheckOutcome, CheckResult, SELF_CHECK_SCHEMA, SelfCheckReport};
