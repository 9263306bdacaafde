//! Where the machine meets the kernel.

mod anew;
mod call;
mod channel;
mod run;
mod token;

pub use call::{Call, Caller, Doorbell, call};
pub use channel::{Channel, Received, SendError};
pub use run::{Frozen, Handover, Host};
pub use token::Token;
