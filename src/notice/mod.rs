//! What people are told: what is open, how often it is said, to whom, and when it is over.

mod desk;
mod outbox;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Level, Question};

pub(crate) use self::desk::{Desk, Matter, Said};
pub(crate) use self::outbox::Outbox;

/// The version of [`Notice`] and [`Pulse`] as JSON.
pub const NOTICE_SCHEMA: u32 = 1;

/// One message to people: something has come up, is still so, or is over.
///
/// Messages of one matter share a [`dedup_key`](Self::dedup_key). The first is [`Raised`](NoticeStage::Raised), the last
/// [`Resolved`](NoticeStage::Resolved); a key that is raised again after that is a new matter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Notice {
    /// [`NOTICE_SCHEMA`].
    pub schema: u32,
    /// What it is about, a stable code, `area.what`.
    pub code: String,
    /// How bad it is.
    pub severity: Severity,
    /// Which matter: `change/code`, with more behind it where one code can have several.
    pub dedup_key: String,
    /// Which change it is about, or which line of a train.
    pub change: String,
    /// The applications it is about, at most some ten; empty: all of them.
    pub lanes: Vec<String>,
    /// Whom it is for: the person who answers for the change, or the owner of the rule that holds a lane.
    pub owner: String,
    /// The message's place in its matter.
    pub stage: NoticeStage,
    /// When the matter came up, in Unix milliseconds.
    pub raised_unix_ms: i64,
    /// When this was said, in Unix milliseconds.
    pub at_unix_ms: i64,
    /// In one or two sentences.
    pub text: String,
    /// The question, where an answer is wanted.
    pub question: Option<Question>,
    /// How the change stands, for somebody who just woke up; `None` where a train speaks.
    pub briefing: Option<Briefing>,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "who routes by severity must decide each")]
pub enum Severity {
    /// Good to know; said once, and nothing is wanted.
    Info,
    /// Somebody has to look at it in the hours to come.
    Warning,
    /// Somebody has to look at it now, at night too.
    Critical,
}

impl Severity {
    /// The word used in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A message's place in its matter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
#[non_exhaustive]
pub enum NoticeStage {
    /// It has come up.
    Raised,
    /// It is still so, and nobody has said that they know.
    Reminded {
        /// How often it has been said, this time included.
        times: u32,
    },
    /// It is still so, nobody has said that they know, and the time for that is over: now it is also for somebody else.
    Escalated {
        /// For whom, as [`Telling::escalate_to`]; `None` where nobody is named.
        to: Option<String>,
    },
    /// It is over.
    Resolved,
}

impl NoticeStage {
    /// The word used in JSON.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Reminded { .. } => "reminded",
            Self::Escalated { .. } => "escalated",
            Self::Resolved => "resolved",
        }
    }
}

/// How a change stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Briefing {
    /// The version it started from.
    pub from: String,
    /// The version it brings.
    pub to: String,
    /// The level of autonomy in force.
    pub level: Level,
    /// Where it stands, in one word; see [`Summary::state`](crate::Summary::state).
    pub state: String,
    /// For how long it has run.
    pub elapsed_ms: u64,
    /// Living targets.
    pub targets: u64,
    /// Targets on the new version.
    pub exposed: u64,
    /// Attempts under way.
    pub in_flight: u64,
    /// The e-value against the release; a stop needs [`evidence_needed`](Self::evidence_needed).
    pub evidence: f64,
    /// See [`evidence`](Self::evidence).
    pub evidence_needed: f64,
    /// What the judge has found, in one sentence.
    pub found: String,
    /// What happens if nobody does anything.
    pub otherwise: String,
    /// What ends the matter.
    pub remedy: String,
    /// The newest decisions, the last one last, with their age.
    pub decisions: Vec<String>,
}

/// A sign of life: the run turns, and its journal takes what it writes.
///
/// An alarm outside, which the controller cannot take down with it, goes off when the next does not come in time: by then the
/// process is dead, hangs, or has lost its journal, and cannot say so itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Pulse {
    /// [`NOTICE_SCHEMA`].
    pub schema: u32,
    /// Which change.
    pub change: String,
    /// When, in Unix milliseconds.
    pub at_unix_ms: i64,
    /// Where the change stands, in one word.
    pub state: String,
    /// Matters that are open.
    pub open: u32,
    /// The next comes within so many milliseconds. 0: this was the last, since the run has ended by itself.
    pub next_within_ms: u64,
}

/// How often people are told, and when somebody else is. All times in milliseconds.
///
/// It changes no decision, so a run that takes a change up may have another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Telling {
    /// A critical matter is said again so often, until somebody says that they know. Default 15 minutes.
    pub critical_every_ms: u64,
    /// A warning likewise. Default 4 hours.
    pub warning_every_ms: u64,
    /// A critical matter that nobody has said to know of for so long is also for [`escalate_to`](Self::escalate_to). Default
    /// one hour.
    pub critical_escalates_ms: u64,
    /// A warning likewise. Default one day.
    pub warning_escalates_ms: u64,
    /// Whoever says that they know is believed for so long; after that it is said again. Default one day.
    pub acknowledged_ms: u64,
    /// Whom it is for where nobody else is named. Default: the person who answers for the change.
    pub owner: Option<String>,
    /// Who is told when the owner does not say that they know. Default: nobody is named.
    pub escalate_to: Option<String>,
    /// A [`Pulse`] comes so often. Default one minute.
    pub pulse_ms: u64,
}

impl Default for Telling {
    fn default() -> Self {
        const MINUTE_MS: u64 = 60_000;
        const HOUR_MS: u64 = 60 * MINUTE_MS;
        Self {
            critical_every_ms: 15 * MINUTE_MS,
            warning_every_ms: 4 * HOUR_MS,
            critical_escalates_ms: HOUR_MS,
            warning_escalates_ms: 24 * HOUR_MS,
            acknowledged_ms: 24 * HOUR_MS,
            owner: None,
            escalate_to: None,
            pulse_ms: MINUTE_MS,
        }
    }
}

impl Telling {
    /// Refuses times that would never end, or never come.
    pub(crate) fn check(&self, longest_ms: u64) -> Result<(), String> {
        let times = [
            ("critical_every_ms", self.critical_every_ms),
            ("warning_every_ms", self.warning_every_ms),
            ("critical_escalates_ms", self.critical_escalates_ms),
            ("warning_escalates_ms", self.warning_escalates_ms),
            ("acknowledged_ms", self.acknowledged_ms),
            ("pulse_ms", self.pulse_ms),
        ];
        for (name, value) in times {
            if value == 0 || value > longest_ms {
                return Err(format!(
                    "settings: `telling.{name}` is {value}: give 1 to {longest_ms} ms"
                ));
            }
        }
        Ok(())
    }

    const fn every_ms(&self, severity: Severity) -> u64 {
        match severity {
            Severity::Critical => self.critical_every_ms,
            Severity::Warning => self.warning_every_ms,
            Severity::Info => u64::MAX,
        }
    }

    const fn escalates_ms(&self, severity: Severity) -> u64 {
        match severity {
            Severity::Critical => self.critical_escalates_ms,
            Severity::Warning => self.warning_escalates_ms,
            Severity::Info => u64::MAX,
        }
    }
}
