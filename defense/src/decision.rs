//! What the guard answers, with its reasons.

use serde::{Deserialize, Serialize};

use crate::finding::Finding;
use crate::time::render;
use crate::verdict::{UnknownReason, Verdict, Word, Words};
use crate::window::{Rollback, WindowKind};

/// The version of the JSON of a decision.
const SCHEMA: u32 = 1;

/// The answer to a [`Request`](crate::Request).
///
/// As JSON the verdict lies flat beside the other fields: `{"verdict": "hold", "until": 1795397400000, "findings": […],
/// "next_feasible": 1795397400000, "packs": 1, "digest": "…", "schema": 1}`; a limited permission has `limit` in place of
/// `until`. Instants are unix milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Flat", into = "Flat")]
#[non_exhaustive]
#[must_use = "a decision nobody reads is a default pass"]
pub struct Decision {
    /// The join of all findings; `Allow` when there is none.
    pub verdict: Verdict,
    /// Every reason against going now, strictest first, then by rule.
    pub findings: Vec<Finding>,
    /// What rules on trial would have added. None of it counts.
    pub shadow: Vec<Finding>,
    /// The earliest start with room for batch and rollback, in unix milliseconds: `now` when nothing stands
    /// against it, `None` when no rule knows (a conflict) or there is none within [`HORIZON_MS`](crate::HORIZON_MS).
    pub next_feasible: Option<i64>,
    /// How many packs speak, or may speak, for the scope. Zero: allowed because nobody has said anything.
    pub packs: usize,
    /// The digest of request, rules and time, 64 hexadecimal digits: equal inputs, equal digest. It is the SHA-256 of, each
    /// with its length before it in 8 bytes, the least significant first: `decision/3` and the digest of the rules; then of
    /// the time in 8 bytes; then, with its length, of the request as JSON, its `others` in the order of their own JSON.
    pub digest: String,
}

impl Decision {
    /// The same decision with further findings, of checks or of whatever the caller knows. Their order does not matter, and
    /// one that is there already is not added again. It can only get stricter. The next feasible start is not known any
    /// more where a finding that stands against starting lasts beyond it or has no known end.
    pub fn join(mut self, findings: Vec<Finding>, shadow: Vec<Finding>) -> Self {
        for finding in &findings {
            self.verdict = self.verdict.join(finding.verdict);
            if !finding.verdict.may_start() {
                self.next_feasible = self
                    .next_feasible
                    .filter(|next| finding.until.is_some_and(|until| until <= *next));
            }
        }
        let digest = &self.digest;
        for (own, more) in [(&mut self.findings, findings), (&mut self.shadow, shadow)] {
            own.extend(more.into_iter().map(|finding| Finding {
                input: digest.clone(),
                ..finding
            }));
            let key = |finding: &Finding| (finding.code.clone(), finding.params.clone());
            own.sort_by(|a, b| {
                b.verdict
                    .cmp(&a.verdict)
                    .then_with(|| a.rule.cmp(&b.rule))
                    .then_with(|| key(a).cmp(&key(b)))
            });
            own.dedup();
        }
        self
    }

    /// The codes of verdict and findings, in order, each once.
    #[must_use]
    pub fn codes(&self) -> Vec<&str> {
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

/// A decision as files and records write it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Flat {
    verdict: Word,
    until: Option<i64>,
    limit: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unknown: Option<UnknownReason>,
    findings: Vec<Finding>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    shadow: Vec<Finding>,
    next_feasible: Option<i64>,
    packs: usize,
    digest: String,
    schema: u32,
}

impl From<Decision> for Flat {
    fn from(decision: Decision) -> Self {
        let words = Words::from(decision.verdict);
        Self {
            verdict: words.verdict,
            until: words.until,
            limit: words.limit,
            unknown: words.unknown,
            findings: decision.findings,
            shadow: decision.shadow,
            next_feasible: decision.next_feasible,
            packs: decision.packs,
            digest: decision.digest,
            schema: SCHEMA,
        }
    }
}

impl TryFrom<Flat> for Decision {
    type Error = String;

    fn try_from(flat: Flat) -> Result<Self, Self::Error> {
        if flat.schema != SCHEMA {
            return Err(format!(
                "schema {} of a decision is not {SCHEMA}, the only one this program reads; fix: use a newer program",
                flat.schema
            ));
        }
        let verdict = Verdict::try_from(Words {
            verdict: flat.verdict,
            until: flat.until,
            limit: flat.limit,
            unknown: flat.unknown,
        })?;
        Ok(Self {
            verdict,
            findings: flat.findings,
            shadow: flat.shadow,
            next_feasible: flat.next_feasible,
            packs: flat.packs,
            digest: flat.digest,
        })
    }
}
