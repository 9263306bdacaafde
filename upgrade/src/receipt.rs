use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{AttemptId, Generation, Ingress, Mode, Moves, TargetId, Version};

/// Where an attempt stands. The numbers are journaled and are the `step` of an [`EffectKey`](crate::EffectKey).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
#[expect(
    clippy::exhaustive_enums,
    reason = "the table of steps is what a model checker explores"
)]
pub enum Step {
    /// Nothing is touched; what the target runs is looked at.
    Planned = 0,
    /// The artefact is brought near.
    Prefetching = 1,
    /// Ingress is being closed.
    Closing = 2,
    /// Connections end by themselves.
    Draining = 3,
    /// The new version was ordered.
    Replacing = 4,
    /// The new instance is looked at until it is believed.
    Verifying = 5,
    /// Ingress is being opened onto the verified new instance.
    Opening = 6,
    /// The new instance serves and must stay quiet.
    Probation = 7,
    /// On the way back: ingress is being closed again.
    Reclosing = 8,
    /// On the way back: connections end by themselves.
    Redraining = 9,
    /// On the way back: the old version was ordered.
    Restoring = 10,
    /// On the way back: the old version is looked at until it is believed.
    VerifyingOld = 11,
    /// On the way back: ingress is being opened onto the verified old instance.
    Reopening = 12,
    /// The controller was restarted: fence, then look, then decide.
    Recovering = 13,
    /// Hot: the new version starts in the free slot.
    Spawning = 14,
    /// Hot: the agents open their session and pass the listeners.
    Offering = 15,
    /// Hot: the new instance begins to poll the listeners too.
    Joining = 16,
    /// Hot: both accept; the new one is looked at until it is believed, with real connections if there are any.
    Proving = 17,
    /// Hot: the old instance stops polling and keeps its listeners.
    Quiescing = 18,
    /// Hot: connections move, or end.
    Migrating = 19,
    /// Hot: the new instance takes the target as its own. The last step from which there is a way back.
    Committing = 20,
    /// Hot: the old instance leaves.
    Retiring = 21,
    /// Hot: the old instance did not leave by itself and is ended.
    Stopping = 22,
    /// Hot: the old slot is emptied.
    Resetting = 23,
    /// Hot, on the way back: the old instance polls again and connections move back.
    Returning = 24,
    /// Hot, on the way back: the new slot is emptied.
    Clearing = 25,
    /// Config: the new configuration was pushed.
    Pushing = 26,
    /// Config, on the way back: the last known good configuration was pushed.
    Reverting = 27,
}

impl Step {
    /// All, in the order of their numbers.
    pub(crate) const ALL: [Self; 28] = [
        Self::Planned,
        Self::Prefetching,
        Self::Closing,
        Self::Draining,
        Self::Replacing,
        Self::Verifying,
        Self::Opening,
        Self::Probation,
        Self::Reclosing,
        Self::Redraining,
        Self::Restoring,
        Self::VerifyingOld,
        Self::Reopening,
        Self::Recovering,
        Self::Spawning,
        Self::Offering,
        Self::Joining,
        Self::Proving,
        Self::Quiescing,
        Self::Migrating,
        Self::Committing,
        Self::Retiring,
        Self::Stopping,
        Self::Resetting,
        Self::Returning,
        Self::Clearing,
        Self::Pushing,
        Self::Reverting,
    ];

    /// The journaled number.
    pub const fn number(self) -> u8 {
        // The discriminants are given above and all below 256.
        self as u8
    }

    /// The step of a journaled number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// An attempt that has turned back may order it. Hot alone goes on once more from there, where the old instance is dead
    /// and the new one serves.
    pub(crate) const fn may_follow_turning_back(self, mode: Mode) -> bool {
        let back = matches!(
            self,
            Self::Reclosing | Self::Restoring | Self::Reopening | Self::Returning | Self::Clearing | Self::Reverting
        );
        let on = matches!(
            self,
            Self::Committing | Self::Retiring | Self::Stopping | Self::Resetting | Self::Replacing
        );
        back || matches!(mode, Mode::Hot) && on
    }

    /// The name, as it is serialized.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Prefetching => "prefetching",
            Self::Closing => "closing",
            Self::Draining => "draining",
            Self::Replacing => "replacing",
            Self::Verifying => "verifying",
            Self::Opening => "opening",
            Self::Probation => "probation",
            Self::Reclosing => "reclosing",
            Self::Redraining => "redraining",
            Self::Restoring => "restoring",
            Self::VerifyingOld => "verifying_old",
            Self::Reopening => "reopening",
            Self::Recovering => "recovering",
            Self::Spawning => "spawning",
            Self::Offering => "offering",
            Self::Joining => "joining",
            Self::Proving => "proving",
            Self::Quiescing => "quiescing",
            Self::Migrating => "migrating",
            Self::Committing => "committing",
            Self::Retiring => "retiring",
            Self::Stopping => "stopping",
            Self::Resetting => "resetting",
            Self::Returning => "returning",
            Self::Clearing => "clearing",
            Self::Pushing => "pushing",
            Self::Reverting => "reverting",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why an attempt did not simply succeed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "why")]
#[non_exhaustive]
pub enum Reason {
    /// A required self-check of the new instance failed.
    SelfCheckFailed {
        /// The first such check.
        check: Arc<str>,
    },
    /// The new instance exits again and again.
    Crashed,
    /// A step did not show what it waits for within its budget.
    TimedOut {
        /// Which step.
        step: Step,
    },
    /// The platform refused an order for good.
    Refused {
        /// The step whose order it was.
        step: Step,
        /// The platform's word.
        reason: Arc<str>,
    },
    /// The platform put an order off, or could not say what became of it, more often than is allowed.
    NotTaken {
        /// The step whose order it was.
        step: Step,
    },
    /// The platform does not have the capability that a step needs.
    Unsupported {
        /// Which step.
        step: Step,
    },
    /// Somebody else changed what the target runs.
    ForeignVersion,
    /// Somebody else keeps opening or closing the target's ingress.
    IngressContested,
    /// The attempt has given more orders than keys can tell apart: what it does is undone again and again.
    TooManyOrders {
        /// The step whose order would have been the next.
        step: Step,
    },
    /// The controller was restarted too often within one step.
    TooManyRecoveries {
        /// The last step that had an order.
        step: Step,
    },
    /// Somebody asked for it: an operator's abort, or a newer change.
    Aborted {
        /// Who, and why.
        by: Arc<str>,
    },
    /// The control session between the two instances was lost and did not come back.
    SessionLost,
    /// The old instance died while the new one served, so the only safe way was on.
    OldDied,
    /// The instance refused the configuration.
    ConfigRefused {
        /// Its words.
        refusal: Arc<str>,
    },
    /// The target could not be looked at for longer than [`Timing::blind_ms`](crate::Timing::blind_ms): how it is, and
    /// whether the last order was carried out, is not known.
    Unobservable {
        /// For how long, in milliseconds.
        blind_ms: u64,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SelfCheckFailed { check } => write!(f, "self-check `{check}` of the new instance failed"),
            Self::Crashed => f.write_str("the new instance crashes"),
            Self::TimedOut { step } => write!(f, "step {step} ran out of time"),
            Self::Refused { step, reason } => write!(f, "the platform refused step {step}: {reason}"),
            Self::NotTaken { step } => write!(f, "the platform never took the order of step {step}"),
            Self::Unsupported { step } => write!(f, "the platform cannot do step {step}"),
            Self::ForeignVersion => f.write_str("somebody else changed what the target runs"),
            Self::IngressContested => f.write_str("somebody else changes the target's ingress"),
            Self::Aborted { by } => write!(f, "aborted: {by}"),
            Self::SessionLost => f.write_str("the two instances lost each other"),
            Self::OldDied => f.write_str("the old instance died during the hand-over"),
            Self::ConfigRefused { refusal } => write!(f, "the instance refused the configuration: {refusal}"),
            Self::Unobservable { blind_ms } => write!(f, "the target has been out of sight for {} s", blind_ms / 1_000),
            Self::TooManyOrders { step } => {
                write!(f, "too many orders by step {step}: they are undone again and again")
            }
            Self::TooManyRecoveries { step } => write!(f, "too many controller restarts around step {step}"),
        }
    }
}

/// Whether the target serves, as last seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "it serves, it does not, or nobody knows")]
pub enum Serving {
    /// A ready instance gets traffic.
    Yes,
    /// No ready instance, or no traffic.
    No,
    /// The platform cannot tell.
    Unknown,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "end")]
#[expect(clippy::exhaustive_enums, reason = "who counts ends must count every one")]
pub enum Terminal {
    /// The target runs the new version: verified, and quiet through its probation (or it ran it already).
    Done,
    /// The target runs the old version, verified, and serves as before.
    RolledBack {
        /// Why it went back.
        reason: Reason,
    },
    /// Nothing was touched.
    Rejected {
        /// Why not.
        reason: Reason,
    },
    /// No safe move is left. The only end at which ingress may stay closed.
    NeedsPerson {
        /// What stands in the way. Why the attempt went back before that is in [`Receipt::went_back`].
        reason: Reason,
        /// Whether it serves.
        serving: Serving,
        /// Whether new traffic is led to it.
        ingress: Ingress,
    },
    /// The target died. Nobody's fault is implied.
    Gone,
    /// A newer attempt, or somebody else's version, has taken the target over. Its ingress is as this attempt left it where
    /// the platform knows a newer generation: whose that is goes on from there.
    Superseded,
}

/// What an attempt did to its target so far, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "a record has every one")]
pub struct Counts {
    /// See [`Receipt::outage_ms`].
    pub outage_ms: u64,
    /// See [`Receipt::drained`].
    pub drained: u32,
    /// See [`Receipt::cut`].
    pub cut: u32,
    /// See [`Receipt::retries`].
    pub retries: u32,
    /// See [`Receipt::moves`].
    pub moves: Moves,
}

/// What an attempt did to its target: exactly one per attempt, journaled.
///
/// Counts survive a fall of the controller as they were at the attempt's last order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Receipt {
    /// Which attempt.
    pub attempt: AttemptId,
    /// At which target.
    pub target: TargetId,
    /// Its last generation.
    pub generation: Generation,
    /// How.
    pub mode: Mode,
    /// The version before.
    pub from: Version,
    /// The version wanted.
    pub to: Version,
    /// How it ended.
    pub terminal: Terminal,
    /// Why it turned back, if it did. With [`Terminal::Done`]: it turned back, found the old instance dead and the new one
    /// serving, and so went on.
    pub went_back: Option<Reason>,
    /// When it began, on the driver's monotonic clock.
    pub started_ms: u64,
    /// When it ended, on the same clock.
    pub finished_ms: u64,
    /// How long the target did not serve new traffic, in milliseconds: from the order that stopped it to the first
    /// look that sees it serve. Coarse by one look.
    pub outage_ms: u64,
    /// Connections that ended by themselves while draining.
    pub drained: u32,
    /// Connections that were cut at the hard deadline.
    pub cut: u32,
    /// What became of connections in a hand-over; [`drained`](Self::drained) and [`cut`](Self::cut) are of ingress.
    #[serde(default)]
    pub moves: Moves,
    /// Orders asked for again.
    pub retries: u32,
    /// Controller restarts survived.
    pub recoveries: u32,
    /// The old instance was seen running, ready and self-checked before anything was touched.
    pub was_healthy: bool,
}
