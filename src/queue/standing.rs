//! Where each change stands, for whoever asks.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Emergency, QueueDecision};

/// The version of the shape of [`QueueSummary`] in JSON.
pub const QUEUE_SCHEMA: u32 = 1;

/// Everything in the queue at one moment. Times are Unix milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QueueSummary {
    /// [`QUEUE_SCHEMA`].
    pub schema: u32,
    /// The moment shown.
    pub at_unix_ms: i64,
    /// Those under way or stopped first, then those that wait, in their order.
    pub changes: Vec<Standing>,
    /// What was decided, the newest last; some hundred.
    pub decisions: Vec<QueueDecision>,
}

/// Where one change stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Standing {
    /// Which change.
    pub change: String,
    /// Who wants it.
    pub author: String,
    /// See [`Ticket::priority`](super::Ticket::priority).
    pub priority: i32,
    /// What makes it an emergency, if it is one.
    pub emergency: Option<Emergency>,
    /// When it was submitted.
    pub submitted_unix_ms: i64,
    /// Under way, stopped, or waiting.
    pub state: State,
    /// What it waits for. None: it may begin, or has begun.
    pub waits: Vec<Wait>,
    /// When it began; where it waits, when it can begin at the earliest. `None`: that hangs on a person.
    pub begins_unix_ms: Option<i64>,
    /// When it can have ended at the earliest. `None` likewise.
    pub ends_unix_ms: Option<i64>,
}

/// What a change does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
#[non_exhaustive]
pub enum State {
    /// It has not begun.
    Waiting,
    /// It is under way.
    UnderWay {
        /// It is being taken back.
        back: bool,
    },
    /// It has begun, and its run has ended before it did. It keeps its scope.
    Stopped {
        /// Why.
        why: String,
        /// When it goes on by itself; `None`: at a person's word.
        until_unix_ms: Option<i64>,
    },
}

/// What two changes share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Shared {
    /// How many applications.
    pub applications: u64,
    /// The first few of them.
    pub first: Vec<String>,
    /// How many targets.
    pub targets: u64,
}

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = self.applications.saturating_sub(self.first.len() as u64);
        match (self.applications, more) {
            (0, _) => write!(f, "{} targets", self.targets),
            (_, 0) => write!(f, "{} ({} targets)", self.first.join(", "), self.targets),
            _ => write!(
                f,
                "{} and {more} more applications ({} targets)",
                self.first.join(", "),
                self.targets
            ),
        }
    }
}

/// One thing that a change waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "for")]
#[non_exhaustive]
pub enum Wait {
    /// A change that is under way and shares something with it.
    UnderWay {
        /// Which.
        change: String,
        /// It is to end for this one, where it was not stopped.
        ends: bool,
        /// What they share.
        shared: Shared,
    },
    /// A change that has stopped before its end and shares something with it.
    Stopped {
        /// Which.
        change: String,
        /// Why it stopped.
        why: String,
        /// What they share.
        shared: Shared,
    },
    /// A change that waits as well, comes before it, and shares something with it.
    Ahead {
        /// Which.
        change: String,
        /// What they share.
        shared: Shared,
    },
    /// As many are under way as may be.
    Places {
        /// So many.
        most: u32,
        /// Those that have the places, and those before it that wait for one.
        changes: Vec<String>,
    },
    /// Another emergency: there is one at a time.
    Emergency {
        /// Which.
        change: String,
    },
    /// Its next try: it was not put together in time.
    Late {
        /// Why.
        why: String,
        /// When it is tried again.
        until_unix_ms: i64,
    },
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnderWay { change, ends, shared } => {
                let how = if *ends {
                    "is to end for it, unless it was stopped,"
                } else {
                    "is under way"
                };
                write!(f, "{change} {how} and shares {shared} with it")
            }
            Self::Stopped { change, why, shared } => write!(
                f,
                "{change} has stopped before its end ({why}) and shares {shared} with it: resume it, or give it up"
            ),
            Self::Ahead { change, shared } => write!(f, "{change} comes before it and shares {shared} with it"),
            Self::Places { most, changes } => {
                write!(
                    f,
                    "{most} changes may be under way at once, and {} come first",
                    changes.join(", ")
                )
            }
            Self::Late { why, .. } => write!(f, "it could not be put together ({why}), and is tried again"),
            Self::Emergency { change } => write!(f, "the emergency {change} comes first, and there is one at a time"),
        }
    }
}
