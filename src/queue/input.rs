//! What bounds a queue, and what it is told.

use serde::{Deserialize, Serialize};

use super::{QueueError, Ticket};
use crate::{Actor, Level, Outcome};

/// Bounds of a queue. All times in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Limits {
    /// Ordinary changes under way at once. Default 8.
    pub most_at_once: u32,
    /// The size of the whole fleet, of which emergencies may touch a share.
    pub fleet_targets: u64,
    /// See above, in parts per million. Default 50,000: 5 %.
    pub emergency_share_ppm: u32,
    /// Who has waited so long goes before all others but emergencies, whatever its priority. Default seven days.
    pub patience_ms: u64,
    /// A change whose run ended for a fault, or that was not put together in time, is tried again after so long. Default ten minutes.
    pub retry_ms: u64,
}

impl Limits {
    /// The defaults, for a fleet of so many targets.
    pub const fn for_fleet(targets: u64) -> Self {
        Self {
            most_at_once: 8,
            fleet_targets: targets,
            emergency_share_ppm: 50_000,
            patience_ms: 7 * 24 * 3_600_000,
            retry_ms: 600_000,
        }
    }

    pub(super) fn check(&self) -> Result<(), QueueError> {
        let wrong = |field, value, fix| Err(QueueError::Limits { field, value, fix });
        const LONGEST_MS: u64 = 100 * 365 * 24 * 3_600_000;
        match self {
            Self { most_at_once: 0, .. } => wrong("most_at_once", 0, "at least 1"),
            Self { fleet_targets: 0, .. } => wrong("fleet_targets", 0, "how many targets there are"),
            Self {
                emergency_share_ppm, ..
            } if *emergency_share_ppm > 1_000_000 => wrong(
                "emergency_share_ppm",
                u64::from(*emergency_share_ppm),
                "at most 1000000, which is everything",
            ),
            Self { patience_ms, .. } if !(1..=LONGEST_MS).contains(patience_ms) => {
                wrong("patience_ms", *patience_ms, "1 to 3153600000000 ms, a hundred years")
            }
            Self { retry_ms, .. } if !(1..=LONGEST_MS).contains(retry_ms) => {
                wrong("retry_ms", *retry_ms, "1 to 3153600000000 ms, a hundred years")
            }
            _ => Ok(()),
        }
    }

    /// Targets that an emergency may touch.
    pub(super) const fn widest_emergency(&self) -> u64 {
        let ppm = self.emergency_share_ppm as u128 * self.fleet_targets as u128;
        // A share of what fits in 64 bits does, too.
        #[expect(clippy::cast_possible_truncation, reason = "at most `fleet_targets`")]
        let widest = ppm.div_ceil(1_000_000) as u64;
        widest
    }
}

/// One input of the queue. Everything it knows came in as one of these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Input {
    /// Somebody wants a change.
    Submit(Ticket),
    /// A change that waits is not wanted any more; one that has stopped is given up as it is, and leaves its scope to others.
    Withdraw {
        /// Which.
        change: String,
        /// Who says so.
        actor: Actor,
        /// Why.
        reason: String,
    },
    /// A change that waits gets another priority.
    Prioritise {
        /// Which.
        change: String,
        /// The larger, the earlier.
        priority: i32,
        /// Who says so.
        actor: Actor,
        /// Why.
        reason: String,
    },
    /// A change that has stopped goes on as soon as there is a place.
    Resume {
        /// Which.
        change: String,
        /// Who says so.
        actor: Actor,
        /// Why.
        reason: String,
    },
    /// It begins, or goes on.
    Began {
        /// Which.
        change: String,
    },
    /// It could not be begun; nothing has happened. Of one that is under way its run says so, which had done nothing yet.
    Refused {
        /// Which.
        change: String,
        /// Why.
        why: String,
    },
    /// It is being taken back.
    GoesBack {
        /// Which.
        change: String,
    },
    /// Its run has ended.
    Ended {
        /// Which.
        change: String,
        /// How.
        outcome: Outcome,
    },
    /// Its run has ended without an outcome.
    Failed {
        /// Which.
        change: String,
        /// Why.
        why: String,
    },
    /// A change that has begun acts at this level at most, also when it is opened again.
    Demote {
        /// Which.
        change: String,
        /// The level.
        level: Level,
        /// Who says so.
        actor: Actor,
        /// Why.
        reason: String,
    },
    /// It was not put together in time; nothing has happened. It is tried again, some times.
    Late {
        /// Which.
        change: String,
        /// Why.
        why: String,
    },
}

impl Input {
    /// Which change it is about.
    pub fn change(&self) -> &str {
        match self {
            Self::Submit(ticket) => &ticket.change,
            Self::Withdraw { change, .. }
            | Self::Prioritise { change, .. }
            | Self::Resume { change, .. }
            | Self::Began { change }
            | Self::Refused { change, .. }
            | Self::GoesBack { change }
            | Self::Ended { change, .. }
            | Self::Failed { change, .. }
            | Self::Late { change, .. }
            | Self::Demote { change, .. } => change,
        }
    }

    /// Who said so; empty where nobody did.
    pub(super) fn wanted_by(&self) -> String {
        match self {
            Self::Submit(ticket) => ticket.author.to_string(),
            Self::Withdraw { actor, .. }
            | Self::Prioritise { actor, .. }
            | Self::Resume { actor, .. }
            | Self::Demote { actor, .. } => actor.to_string(),
            _ => String::new(),
        }
    }
}

/// One decision, or word of a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QueueDecision {
    /// When, in Unix milliseconds.
    pub at_unix_ms: i64,
    /// A stable code, `queue.what`.
    pub code: String,
    /// The text rendered from the code and its parameters.
    pub text: String,
}
