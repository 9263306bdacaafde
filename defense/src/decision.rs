//! What the guard answers, with its reasons.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::time::render;
use crate::verdict::Verdict;
use crate::window::{Rollback, WindowKind};

/// The stable code of a finding. Its parameters are named beside it; texts are made from both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Code {
    /// Inside a protected window. `from_ms`, `until_ms`, `zone`.
    #[serde(rename = "window.protected")]
    WindowProtected,
    /// A protected window begins before batch and rollback would be over. `from_ms`, `until_ms`, `zone`.
    #[serde(rename = "window.protected_room")]
    WindowProtectedRoom,
    /// Outside the change windows of a pack. `from_ms`, `until_ms`, `zone`.
    #[serde(rename = "window.change")]
    WindowChange,
    /// The change windows of a pack close before batch and rollback would be over. `from_ms`, `until_ms`, `zone`.
    #[serde(rename = "window.change_room")]
    WindowChangeRoom,
    /// Inside a freeze. `from_ms`, `until_ms`, `zone`.
    #[serde(rename = "freeze.active")]
    FreezeActive,
    /// A freeze begins before batch and rollback would be over. `from_ms`, `until_ms`, `zone`.
    #[serde(rename = "freeze.room")]
    FreezeRoom,
    /// A rule that would close the scope now selects on a label nobody supplied. `label` and those of the window.
    #[serde(rename = "label.missing")]
    LabelMissing,
    /// Change windows treat parts of the scope differently. The parameters of the window.
    #[serde(rename = "label.mixed")]
    LabelMixed,
    /// A change that goes first overlaps. `change`, `kind`, `started_ms`.
    #[serde(rename = "conflict.scope")]
    ConflictScope,
    /// A rule asks for a person each time. No parameters.
    #[serde(rename = "rule.person")]
    RulePerson,
    /// The time asked about is not between 1970 and 2199. `now_ms`.
    #[serde(rename = "time.range")]
    TimeRange,
}

impl Code {
    /// The code as text; it never changes its meaning.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WindowProtected => "window.protected",
            Self::WindowProtectedRoom => "window.protected_room",
            Self::WindowChange => "window.change",
            Self::WindowChangeRoom => "window.change_room",
            Self::FreezeActive => "freeze.active",
            Self::FreezeRoom => "freeze.room",
            Self::LabelMissing => "label.missing",
            Self::LabelMixed => "label.mixed",
            Self::ConflictScope => "conflict.scope",
            Self::RulePerson => "rule.person",
            Self::TimeRange => "time.range",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One reason for a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Finding {
    /// What was found.
    pub code: Code,
    /// The parameters of the code, by name. Instants are unix milliseconds (`_ms`).
    pub params: BTreeMap<String, String>,
    /// The rule that found it: `pack/id`, or `builtin/...`.
    pub rule: String,
    /// The version of the rule: the content digest of its pack.
    pub version: String,
    /// Who may change the rule.
    pub owner: String,
    /// Why the rule exists, in its owner's words.
    pub reason: String,
    /// What this rule alone would answer.
    pub verdict: Verdict,
    /// The first start this rule alone would let pass, in unix milliseconds.
    pub until: Option<i64>,
}

impl Finding {
    fn param(&self, name: &str) -> &str {
        self.params.get(name).map_or("?", String::as_str)
    }

    fn instant(&self, name: &str) -> String {
        self.params.get(name).and_then(|ms| ms.parse().ok()).map_or_else(
            || "an unknown time".to_owned(),
            |ms| render(ms, self.params.get("zone").map_or("UTC", String::as_str)),
        )
    }

    /// The finding as a sentence or two: what, until when, and what would change it.
    #[must_use]
    pub fn text(&self) -> String {
        let rule = &self.rule;
        let who = format!("(owner {}: {})", self.owner, self.reason);
        let until = self.until.map_or_else(
            || "with no end in sight".to_owned(),
            |_| format!("until {}", self.instant("until_ms")),
        );
        let room = |what: &str| {
            let again = self.until.map_or_else(
                || "there is never room for it".to_owned(),
                |_| format!("there is room from {}", self.instant("until_ms")),
            );
            format!(
                "batch and rollback would run into {what} {rule} {who} at {}; {again}, or sooner for a shorter batch",
                self.instant("from_ms")
            )
        };
        match self.code {
            Code::WindowProtected => format!("inside protected window {rule} {who}, {until}"),
            Code::WindowProtectedRoom => room("protected window"),
            Code::WindowChange => format!(
                "outside change window {rule} {who}, closed since {}, {until}",
                self.instant("from_ms")
            ),
            Code::WindowChangeRoom => room("the end of change window"),
            Code::FreezeActive => format!("inside freeze {rule} {who}, {until}"),
            Code::FreezeRoom => room("freeze"),
            Code::LabelMissing => format!(
                "cannot tell whether {rule} {who} applies: the label `{}` of the scope is unknown; supply it, or \"\" if there is none",
                self.param("label")
            ),
            Code::LabelMixed => format!(
                "change window {rule} {who} selects only a part of the scope; ask once for each of its label values"
            ),
            Code::ConflictScope => format!(
                "change {} ({}) overlaps and goes first, having started at {}; it is over when that change is",
                self.param("change"),
                self.param("kind"),
                self.instant("started_ms")
            ),
            Code::RulePerson => format!("{rule} {who} asks for a person each time"),
            Code::TimeRange => format!(
                "the time asked about, {} ms since 1970, is not between 1970 and 2199; check the clock and the unit",
                self.param("now_ms")
            ),
        }
    }
}

/// The answer to a [`Request`](crate::Request).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[must_use = "a decision nobody reads is a default pass"]
pub struct Decision {
    /// The join of all findings; `Allow` when there is none.
    pub verdict: Verdict,
    /// Every reason against going now, strictest first, then by rule.
    pub findings: Vec<Finding>,
    /// The earliest start with room for batch and rollback, in unix milliseconds: `now` when nothing stands
    /// against it, `None` when no rule knows (a conflict) or there is none within [`HORIZON_MS`](crate::HORIZON_MS).
    pub next_feasible: Option<i64>,
    /// How many packs speak, or may speak, for the scope. Zero: allowed because nobody has said anything.
    pub packs: usize,
    /// A digest of request, rules and time, 32 hexadecimal digits: equal inputs, equal digest. Not cryptographic.
    pub digest: String,
}

impl Decision {
    /// The codes of verdict and findings, in order, each once.
    #[must_use]
    pub fn codes(&self) -> Vec<&'static str> {
        let mut codes = self.verdict.codes().to_vec();
        for finding in &self.findings {
            if !codes.contains(&finding.code.as_str()) {
                codes.push(finding.code.as_str());
            }
        }
        codes
    }

    /// The decision in words, one line for the verdict and one for each finding.
    #[must_use]
    pub fn why(&self) -> String {
        let mut text = self.verdict.why();
        if self.findings.is_empty() {
            text.push_str(&match self.packs {
                0 => ": no pack speaks for this scope".to_owned(),
                1 => ": one pack speaks for this scope, and nothing in it stands against it".to_owned(),
                n => format!(": {n} packs speak for this scope, and nothing in them stands against it"),
            });
        }
        for finding in &self.findings {
            text.push_str("\n- ");
            text.push_str(&finding.text());
        }
        if !self.findings.is_empty()
            && let Some(next) = self.next_feasible
        {
            text.push_str("\nnext feasible start: ");
            text.push_str(&render(next, "UTC"));
        }
        text
    }
}

/// A rule that closes a scope at an instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Blocker {
    /// The id of the window or freeze; of several change windows of a pack the first.
    pub id: String,
    /// Its pack.
    pub pack: String,
    /// What it is.
    pub kind: WindowKind,
    /// Who may change it.
    pub owner: String,
    /// Why it exists, in its owner's words.
    pub reason: String,
    /// Since when it is closed, in unix milliseconds (of change windows at most fifteen days back).
    pub from: i64,
    /// When it opens, in unix milliseconds; `None` when not within [`HORIZON_MS`](crate::HORIZON_MS).
    pub until: Option<i64>,
    /// A label that the scope does not name and that decides whether the rule applies at all.
    pub missing_label: Option<String>,
}

/// When a start is possible.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "there is a time or there is none")]
pub enum NextFeasible {
    /// The earliest start, in unix milliseconds.
    At(i64),
    /// Not within this many milliseconds; and what closes the scope now.
    NeverWithin(i64, Vec<Blocker>),
}

/// A span in which a rule closes a scope, for pictures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Span {
    /// Its start, in unix milliseconds.
    pub from: i64,
    /// Its end, exclusive, in unix milliseconds.
    pub until: i64,
    /// The id of the window or freeze; of several change windows of a pack the first.
    pub id: String,
    /// Its pack.
    pub pack: String,
    /// What it is.
    pub kind: WindowKind,
    /// Who may change it.
    pub owner: String,
    /// Why it exists, in its owner's words.
    pub reason: String,
    /// Whether rollbacks may run in it.
    pub rollback: Rollback,
}
