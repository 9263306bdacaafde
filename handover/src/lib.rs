//! Passes listeners and live connections from one process to the next, and back: two phases, one owner, a lease.

mod agent;
pub mod codec;
mod edge;
#[cfg(test)]
mod explore;
mod ids;
mod reason;
pub mod wire;

pub use edge::{Call, Caller, Channel, Doorbell, Frozen, Handover, Host, Received, SendError, Token, call};
pub use agent::{Action, Agent, Answer, NotNow, Order, Peer, Tally, Timing};
pub use ids::{BatchId, ConnectionId, Generation, InstanceId};
pub use reason::{Decline, Refusal};
