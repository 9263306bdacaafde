//! What a frontier is told, and what it answers.

use serde::{Deserialize, Serialize};

use crate::index::{AppIndex, KeyIndex, TargetIndex, ValueIndex};

/// Something that happened. Times are milliseconds on the caller's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Event {
    /// The target was started by somebody else, or a journal is read again. Targets that
    /// [`startable`](crate::Frontier::startable) gave are in flight already. No cap is asked: it is a fact.
    Started {
        /// The target.
        id: TargetIndex,
        /// When.
        at: u64,
    },
    /// The target runs the new version and serves. It counts as healthy until told otherwise.
    Finished {
        /// The target.
        id: TargetIndex,
        /// When.
        at: u64,
    },
    /// The attempt failed. Whether the target still serves is unknown, so it counts as unhealthy until [`Event::BecameHealthy`] or a later success.
    /// Without `retry` it is debt; a waiting target may be given up in this way too.
    Failed {
        /// The target.
        id: TargetIndex,
        /// When.
        at: u64,
        /// Whether it goes back to its lane's queue.
        retry: bool,
    },
    /// The application's lane may go on to its next batch.
    Promoted {
        /// The application.
        app: AppIndex,
        /// When.
        at: u64,
    },
    /// Nothing of the application starts before `until_ms`; a later hold replaces an earlier.
    HeldUntil {
        /// The application.
        app: AppIndex,
        /// End of the hold: the first moment at which targets may start again.
        until_ms: u64,
    },
    /// The hold is over.
    Released {
        /// The application.
        app: AppIndex,
    },
    /// At most `n` of the application in flight, beside the plan's caps; `None` lifts the limit.
    Limited {
        /// The application.
        app: AppIndex,
        /// The limit.
        n: Option<u32>,
    },
    /// The target stopped serving: it consumes the allowances of its application, labels and fleet.
    BecameUnhealthy {
        /// The target.
        id: TargetIndex,
    },
    /// The target serves again.
    BecameHealthy {
        /// The target.
        id: TargetIndex,
    },
    /// The target is gone.
    Left {
        /// The target.
        id: TargetIndex,
    },
    /// The whole change is taken back: nothing starts any more, and [`Frontier::rollback_startable`](crate::Frontier::rollback_startable) gives
    /// the exposed targets. There is no way back.
    RollBack {
        /// When.
        at: u64,
    },
    /// The target runs the old version again and serves.
    RolledBack {
        /// The target.
        id: TargetIndex,
    },
    /// The way back failed for this target. It is not tried again by itself, and counts as unhealthy.
    RollbackFailed {
        /// The target.
        id: TargetIndex,
    },
    /// Nobody can reach the target. Where it waits, or was given and not begun, it waits outside its lane's queue from now on: it takes
    /// no slot, and neither counts among those that wait in open batches nor is given. Not for one whose attempt has begun.
    OutOfReach {
        /// The target.
        id: TargetIndex,
    },
    /// It can be reached again, and takes its turn.
    WithinReach {
        /// The target.
        id: TargetIndex,
    },
}

/// Whether an event changed anything. Events may arrive twice or late: that is noted, never an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Noted {
    /// It did.
    Applied,
    /// It was true already, or no longer matters: a second `Finished`, health of a target that left, a promotion past the end.
    Stale,
    /// It names a target or an application this frontier never had.
    Unknown,
}

/// Which version a target born now runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_enums, reason = "a change has two sides")]
pub enum Side {
    /// The version before the change.
    Old,
    /// The version the change brings.
    New,
}

/// Why nothing of a lane can start although targets wait in its open batch and none of its own is in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Blocked {
    /// Unhealthy targets of the application consume its whole allowance.
    UnhealthyConsumeAllowance {
        /// Unhealthy targets not in flight.
        unhealthy: u32,
        /// The application's cap.
        cap: u32,
    },
    /// Unhealthy targets of a label value consume its whole allowance.
    UnhealthyConsumeLabel {
        /// The key.
        key: KeyIndex,
        /// The value.
        value: ValueIndex,
        /// Unhealthy targets not in flight.
        unhealthy: u32,
        /// The value's cap.
        cap: u32,
    },
    /// Unhealthy targets of the whole fleet consume its allowance.
    UnhealthyConsumeTotal {
        /// Unhealthy targets not in flight.
        unhealthy: u32,
        /// The cap on the fleet.
        cap: u32,
    },
    /// What is left of the application must carry its load, and nothing more can be spared.
    ReadyCapacity {
        /// Capacity of its healthy targets at rest.
        ready: u64,
        /// What must be left.
        needed: u64,
    },
    /// Targets of another value are ill since the change touched them, and two values of this key are never touched at once.
    OneValuePerApp {
        /// The key.
        key: KeyIndex,
        /// The value that is ill.
        value: ValueIndex,
    },
    /// Another value of the key is in its first exposure, and nothing of it is in flight: its first targets failed.
    FirstExposure {
        /// The key.
        key: KeyIndex,
        /// The value whose first exposure does not end.
        value: ValueIndex,
    },
    /// A class nobody has met before begins with one target, and that one has not come through.
    Stranger,
    /// Only pinned targets are left in the open batches.
    Pinned {
        /// When the last pin of the lane ends.
        until_ms: u64,
    },
    /// The application is not known here.
    UnknownApplication,
}

/// Why an exposed target of a change that is taken back does not go back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Stuck {
    /// Its way back failed. It is not tried again by itself: a person should look.
    Failed,
    /// Something stands in the way that does not pass by itself.
    Blocked(Blocked),
}

/// One application's way, now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LaneView {
    /// The application.
    pub app: AppIndex,
    /// Targets it has now.
    pub size: u32,
    /// The batch up to which its targets may start.
    pub open_batch: u16,
    /// Targets started and not yet finished or failed, rollbacks included.
    pub in_flight: u32,
    /// Unhealthy targets that are not in flight.
    pub unhealthy: u32,
    /// Most that may be in flight or unhealthy at once.
    pub cap: u32,
    /// Targets on the new version.
    pub done: u32,
    /// Targets given up: debt.
    pub failed: u32,
    /// Targets taken back.
    pub rolled_back: u32,
    /// Targets that may start as soon as caps and holds allow.
    pub waiting_in_open: u32,
    /// The batch that a promotion opens; `None` at the end.
    pub next_batch: Option<u16>,
    /// Targets that would start to wait with it; may be 0.
    pub next_batch_size: u32,
    /// The next batch that has targets of this lane.
    pub next_nonempty_batch: Option<u16>,
    /// End of the hold, if held.
    pub held_until: Option<u64>,
    /// The limit set by [`Event::Limited`].
    pub limit: Option<u32>,
    /// Why it stands still; `None` while it moves, waits for its own targets, is held or has nothing to do.
    pub blocked: Option<Blocked>,
}

/// A birth that cannot be recorded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// An id without letters.
    #[error("a target was born without an id; give its name")]
    EmptyId,
    /// An application without a name.
    #[error("target `{id}` was born without an application; give its name")]
    EmptyApp {
        /// The target.
        id: String,
    },
    /// More targets than 32 bits can number.
    #[error("target `{id}`: this frontier has seen 4 billion targets; plan the fleet afresh")]
    TooMany {
        /// The target.
        id: String,
    },
}
