//! The real Envoy, upgraded under load: version 1.39.3 to 1.40.0 and back.
//!
//! Both are fetched by pip if they are not there; a test that cannot have them fails, and says how to get them.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod adoption;
mod broken;
mod faults;
mod hot;
mod load;
mod pilot;
#[expect(dead_code, reason = "the other suite uses the rest")]
#[path = "../suite/support.rs"]
mod support;
mod warm;
