//! What happens in a change, as it happens, for programs.

mod cloud;
mod hub;
mod told;

use serde::{Deserialize, Serialize};
use unattended_upgrade::{EffectOutcome, Terminal};

use crate::{Notice, Outcome};

pub use self::cloud::CloudEvent;
pub use self::hub::Events;
pub(crate) use self::hub::Hub;
pub(crate) use self::told::Told;

/// The version of [`ChangeEvent`] as JSON. Fields and kinds of events may be added without a new one.
pub const EVENT_SCHEMA: u32 = 1;

/// Something that has happened in a change.
///
/// `change`, `run` and `number` together are one event and no other: runs over one journal are counted from 0, events of a run from
/// 0 on without a gap. What follows from inputs is told when these are in the journal, effects when their intent is; so a run that is
/// killed has told nothing that another will not find, and the next may tell some decisions again under numbers of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChangeEvent {
    /// [`EVENT_SCHEMA`].
    pub schema: u32,
    /// Which change.
    pub change: String,
    /// Which run of it.
    pub run: u32,
    /// Which event of the run.
    pub number: u64,
    /// When, in Unix milliseconds.
    pub at_unix_ms: i64,
    /// What.
    #[serde(flatten)]
    pub what: Happened,
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Happened {
    /// Something was decided.
    Decision {
        /// A stable code, `area.what`.
        code: String,
        /// The text rendered from the code and its parameters.
        text: String,
        /// What would have changed it.
        otherwise: Option<String>,
    },
    /// Rules hold an application, or hold it for another reason than before.
    Hold {
        /// The application.
        lane: String,
        /// The rule or window.
        by: String,
        /// Why, in the owner's words.
        reason: String,
        /// Whose it is.
        owner: String,
        /// Until when, where that is known, in Unix milliseconds.
        until_unix_ms: Option<i64>,
    },
    /// A hold is over.
    HoldEnded {
        /// The application.
        lane: String,
        /// The rule or window that held it.
        by: String,
    },
    /// An effect was sent to the platform.
    Effect {
        /// Which target.
        target: String,
        /// What was ordered: the platform's method, with its order where it has several (`ingress_close`).
        act: String,
        /// Of or to which version, where the effect is about one.
        version: Option<String>,
        /// The idempotency key, as `attempt/generation/step/ordinal`, of an order to a healer `heal/term/number`; a fence has none.
        key: Option<String>,
    },
    /// An effect was answered. One that gets no answer in time has no such event.
    EffectAnswered {
        /// Which target.
        target: String,
        /// See [`Effect`](Self::Effect).
        act: String,
        /// See [`Effect`](Self::Effect).
        key: Option<String>,
        /// The answer.
        outcome: EffectOutcome,
    },
    /// An attempt at a target has ended, and its record is durable.
    AttemptEnded {
        /// Which target.
        target: String,
        /// The version it came from.
        from: String,
        /// The version it was to bring.
        to: String,
        /// How it was done: `cold`, `warm`, `hot`, `config`.
        mode: String,
        /// How it ended.
        terminal: Terminal,
        /// How long it took.
        took_ms: u64,
        /// For how long the target served nothing new.
        outage_ms: u64,
    },
    /// The judge's verdict is another than before.
    Verdict {
        /// `promote`, `continue`, `hold`, `rollback` or `reject`.
        verdict: String,
        /// What it is based on, in a sentence.
        text: String,
        /// The e-value against the release.
        evidence: f64,
        /// A stop needs this.
        evidence_needed: f64,
    },
    /// People were told something.
    Notice {
        /// What.
        notice: Box<Notice>,
    },
    /// The run has ended by itself.
    Ended {
        /// How.
        outcome: Outcome,
    },
    /// This subscriber was too slow: so many events before this were dropped.
    Missed {
        /// How many.
        events: u64,
    },
}

impl Happened {
    /// The word used in JSON.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Decision { .. } => "decision",
            Self::Hold { .. } => "hold",
            Self::HoldEnded { .. } => "hold_ended",
            Self::Effect { .. } => "effect",
            Self::EffectAnswered { .. } => "effect_answered",
            Self::AttemptEnded { .. } => "attempt_ended",
            Self::Verdict { .. } => "verdict",
            Self::Notice { .. } => "notice",
            Self::Ended { .. } => "ended",
            Self::Missed { .. } => "missed",
        }
    }

    /// What in the change it is about: a target, an application, or all of it.
    pub fn subject(&self) -> Option<&str> {
        match self {
            Self::Hold { lane, .. } | Self::HoldEnded { lane, .. } => Some(lane),
            Self::Effect { target, .. } | Self::EffectAnswered { target, .. } | Self::AttemptEnded { target, .. } => {
                Some(target)
            }
            Self::Notice { notice } => Some(&notice.dedup_key),
            Self::Decision { .. } | Self::Verdict { .. } | Self::Ended { .. } | Self::Missed { .. } => None,
        }
    }
}
