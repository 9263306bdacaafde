use unattended_batching::{PlanError, Violations};
use unattended_defense::PackErrors;
use unattended_health::{JudgeError, SourceError};
use unattended_upgrade::{ConfigError, DriverError, JournalError, LONGEST_TEXT, ModeError, Position, SubmitError};

use crate::Level;

/// Why a change was not started. Nothing has happened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Two controllers could not be kept apart.
    #[error(
        "the platform cannot fence: two controllers could act at once, which level {level} must rule out; \
         implement `Platform::fence`, or let a person confirm each batch (L2)"
    )]
    NoFence {
        /// The level that was asked for.
        level: Level,
    },
    /// Nobody answers for the level.
    #[error(
        "level {level} acts without people, and the change's author, {author}, is a program: name who lets it, and until when, \
         by `Builder::grant`"
    )]
    NotGranted {
        /// The level that was asked for.
        level: Level,
        /// The author of the change.
        author: String,
    },
    /// A stop is to cut traffic, and nobody can.
    #[error(
        "`on_stop` is `cut_traffic`, and nobody can take a target out of traffic: name who does by `Builder::healer`, or freeze in place"
    )]
    NoHealer,
    /// It cannot be taken back, and nobody says what a stop does instead.
    #[error(
        "the change cannot be taken back ({0}), and a stop would: set `on_stop` to `freeze_in_place` or `cut_traffic`"
    )]
    OneWay(String),
    /// The platform cannot do the mode.
    #[error(transparent)]
    Mode(#[from] ModeError),
    /// The change leads nowhere.
    #[error("the change goes from {0} to {0}: give two different versions")]
    SameVersion(String),
    /// A name that no journal takes.
    #[error(
        "the name `{begins}…` has {bytes} bytes: targets and versions are named with 1 to {LONGEST_TEXT} bytes; shorten it"
    )]
    Name {
        /// How it begins.
        begins: String,
        /// Its length.
        bytes: usize,
    },
    /// A setting contradicts itself.
    #[error("{0}")]
    Settings(String),
    /// The policy does not fit the fleet.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The planner made a plan that its verifier refuses: a fault of this library.
    #[error("the plan breaks its own policy, which is a fault of the planner: {0}")]
    Proof(#[from] Violations),
    /// The rules speak of what the fleet does not have.
    #[error(transparent)]
    Rules(#[from] PackErrors),
}

/// Why a run ended without an outcome. The journal has everything; a later run goes on from it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The journal is of another change.
    #[error(
        "the journal belongs to another change: its `{field}` is {journal}, this run has {run}; \
         name another journal, or run with the same arguments"
    )]
    OtherChange {
        /// What differs; of settings, which one.
        field: String,
        /// In the journal.
        journal: String,
        /// In this run.
        run: String,
    },
    /// The change began with decisions that this build does not know.
    #[error(
        "the change goes by version {journal} of the decisions, and this build knows those up to {}: take it up with the build that \
         began it, or a later one",
        crate::DECISIONS
    )]
    LaterDecisions {
        /// The version in the journal.
        journal: u16,
    },
    /// The change could not be taken back. It has not begun.
    #[error(
        "there is no way back to {from}: {why}. Nothing has begun; mend that, or say that the change is one-way (`Change::one_way`) and \
         what a stop does instead (`Settings::on_stop`)"
    )]
    NoWayBack {
        /// The version that could not be brought back.
        from: String,
        /// Why not.
        why: String,
    },
    /// The journal cannot be read back.
    #[error("the journal cannot be used: {0}")]
    Journal(String),
    /// Another controller has taken the change up. This one has ended, and nothing of it follows.
    #[error(
        "another controller has taken this change up: its journal ends at {found} where this one left it at {expected}. This one \
         does nothing any more; if nobody meant to replace it, end the other one and start anew"
    )]
    OtherController {
        /// Where this one's last records ended.
        expected: Position,
        /// Where the journal ends.
        found: Position,
    },
    /// Targets take no orders of this change any more, since they have had some of a later generation. This run has ended; nothing that it
    /// has not reached is touched.
    #[error(
        "another controller acts on the targets of this change, {targets} of them so far, {target} for one: they have taken orders of a \
         later generation, or run a version that is neither the one before nor the one wanted. Let one of the two go on. If there is no \
         other, the clock of one was wrong when its change began: set it right and begin anew over a new journal, or, where targets have \
         taken orders of a date to come, above that (`DriverConfig::first_generation`)"
    )]
    TakenOver {
        /// How many have been taken over since the run began.
        targets: u64,
        /// One of them.
        target: String,
    },
    /// The journal could not be read.
    #[error(transparent)]
    Append(#[from] JournalError),
    /// An interval was refused that had been looked at before: a fault of this library.
    #[error("the metric source's answer cannot be used: {0}")]
    Metrics(String),
    /// The metric source failed before anything had begun.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The history does not fit the plan.
    #[error(transparent)]
    Judge(#[from] JudgeError),
    /// Rules speak of what the fleet does not have.
    #[error(transparent)]
    Rules(#[from] PackErrors),
    /// The driver's configuration contradicts itself.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The driver failed.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// The driver refused a job that the machine thought right: a fault of this library.
    #[error("the driver refused a start: {0}")]
    Submit(#[from] SubmitError),
    /// The machine was used before it was there: a fault of this library.
    #[error("the run has not begun")]
    NotBegun,
}

impl RunError {
    /// Whether the run was refused before it did anything, and would be again. Of a run that took a change up it says nothing about the runs
    /// before.
    pub(crate) const fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::OtherChange { .. } | Self::LaterDecisions { .. } | Self::NoWayBack { .. } | Self::Config(_)
        )
    }
}
