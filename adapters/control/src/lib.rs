//! Commands to a running change from other processes, over a Unix socket.
//!
//! It is not a remote API: who may reach the socket is the same user on the same machine. And it decides nothing: a command is
//! [given](unattended::Handle::give) to the change, which journals it before anything follows.
//!
//! ```no_run
//! # async fn example(handle: unattended::Handle) -> Result<(), Box<dyn std::error::Error>> {
//! use unattended_control::Door;
//!
//! let door = Door::open("/run/mesh/control")?; // beside the change
//! door.serve(handle).await;
//! # Ok(())
//! # }
//! ```
//!
//! ```text
//! unattended-tell /run/mesh/control --by li --via INC-42 --reason "looks odd" freeze
//!
//!  {"order": {"command": "freeze", "actor": …, "reason": …}} ──► door ──► Handle::give ──► journal ──► machine
//!  {"taken": true}                                           ◄──
//! ```
//!
//! One [`Request`] in a line of JSON, one [`Answer`] in a line; as many as like to after one another.
//!
//! # Guarantees
//!
//! - A command carries who it is said to be from, and beside that the user and process that the kernel says it came from.
//! - Nobody but the same user and root is heard, whatever the permissions of the socket.
//! - What is not understood is refused with what is wrong, and nothing has happened.
//!
//! # Limits
//!
//! - Unix, and a tokio runtime with I/O and time around it. 16 clients at once, lines of 64 KiB, half a minute for each line.
//! - "Taken" means that the run will read it before its next effect. What becomes of it is in the decisions of the summary.

mod client;
mod door;

use serde::{Deserialize, Serialize};
use unattended::{Notice, Order, Summary};

pub use client::{AskError, ask};
pub use door::{Door, DoorError};

/// Longest line, in bytes.
const LONGEST: u64 = 64 * 1024;

/// What another process may want.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Request {
    /// Give this command.
    Order(Order),
    /// Tell how the change stands.
    Summary,
    /// Tell what people have been told and is still so.
    Notices,
}

/// What it gets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Answer {
    /// The change will read the command before its next effect.
    Taken(bool),
    /// How it stands; `None` before its journal was read.
    Summary(Option<Box<Summary>>),
    /// What is still so.
    Notices(Vec<Notice>),
    /// Nothing was done, and why.
    Refused(String),
}
