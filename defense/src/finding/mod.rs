//! One reason for a decision.

mod code;

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use code::Code;

use crate::time::render;
use crate::verdict::{UnknownReason, Verdict, Word, Words};

/// A fact that a rule looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    clippy::exhaustive_structs,
    reason = "plain data, written as a literal by rules and checks"
)]
pub struct Evidence {
    /// What was looked at: `facts.incidents`, `probe.latency`.
    pub fact: String,
    /// When it was seen, in unix milliseconds.
    pub at_ms: i64,
    /// What was seen, in short.
    pub seen: String,
}

/// One reason for a decision.
///
/// As JSON the verdict lies flat beside the other fields, with `until`, `limit` and `unknown` where they are known:
/// `{"code": "limit.left", "params": {…}, "rule": "fleet/hourly", "version": "…", "verdict": "allow_limited", "limit": 3,
/// "reason": "…", "owner": "…"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Flat", into = "Flat")]
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
    /// What this rule alone would answer.
    pub verdict: Verdict,
    /// The first start this rule alone would let pass, in unix milliseconds. Of a hold it is the end of it.
    pub until: Option<i64>,
    /// Why the rule could not tell, where it could not. The verdict is what that becomes for the tier.
    pub unknown: Option<UnknownReason>,
    /// Why the rule exists, in its owner's words.
    pub reason: String,
    /// Who may change the rule.
    pub owner: String,
    /// What it looked at.
    pub evidence: Vec<Evidence>,
    /// The digest of the question, as the decision has it: a finding that travels alone can be traced back.
    pub input: String,
}

impl Finding {
    /// What is so, until when, and what would change it.
    #[must_use]
    pub fn text(&self) -> String {
        let (what, change) = self.code.sentences();
        format!("{}; {}", self.fill(what), self.fill(change))
    }

    /// What would change it.
    #[must_use]
    pub fn remedy(&self) -> String {
        self.fill(self.code.sentences().1)
    }

    /// A sentence with its `{...}` filled in.
    fn fill(&self, sentence: &str) -> String {
        let mut text = String::with_capacity(sentence.len() + 80);
        let mut rest = sentence;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').unwrap_or((after, ""));
            text.push_str(before);
            text.push_str(&self.part(name));
            rest = after;
        }
        text.push_str(rest);
        text
    }

    fn part(&self, name: &str) -> Cow<'_, str> {
        match name {
            "rule" => self.rule.as_str().into(),
            "owner" => self.owner.as_str().into(),
            "who" => format!("(owner {}: {})", self.owner, self.reason).into(),
            "until" => match self.until {
                Some(until) => format!("until {}", self.local(until)).into(),
                None => "with no end in sight".into(),
            },
            "again" => match self.until {
                Some(until) => format!("there is room from {}", self.local(until)).into(),
                None => "there is never room for it".into(),
            },
            _ => match self.params.get(name) {
                // Instants are written for people, but for the one that is no instant.
                Some(ms) if name.ends_with("_ms") && self.code != Code::TimeRange => match ms.parse() {
                    Ok(ms) => self.local(ms).into(),
                    Err(_) => "an unknown time".into(),
                },
                Some(value) => value.as_str().into(),
                None => "?".into(),
            },
        }
    }

    fn local(&self, ms: i64) -> String {
        render(ms, self.params.get("zone").map_or("UTC", String::as_str))
    }
}

/// A finding as files and records write it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Flat {
    code: Code,
    params: BTreeMap<String, String>,
    rule: String,
    version: String,
    verdict: Word,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limit: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unknown: Option<UnknownReason>,
    reason: String,
    owner: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    evidence: Vec<Evidence>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    input: String,
}

impl From<Finding> for Flat {
    fn from(finding: Finding) -> Self {
        let words = Words::from(finding.verdict);
        Self {
            code: finding.code,
            params: finding.params,
            rule: finding.rule,
            version: finding.version,
            verdict: words.verdict,
            until: finding.until,
            limit: words.limit,
            unknown: words.unknown.or(finding.unknown),
            reason: finding.reason,
            owner: finding.owner,
            evidence: finding.evidence,
            input: finding.input,
        }
    }
}

impl TryFrom<Flat> for Finding {
    type Error = &'static str;

    fn try_from(flat: Flat) -> Result<Self, Self::Error> {
        let verdict = Verdict::try_from(Words {
            verdict: flat.verdict,
            until: flat.until.filter(|_| flat.verdict == Word::Hold),
            limit: flat.limit,
            unknown: flat.unknown.filter(|_| flat.verdict == Word::Unknown),
        })?;
        Ok(Self {
            code: flat.code,
            params: flat.params,
            rule: flat.rule,
            version: flat.version,
            verdict,
            until: flat.until,
            unknown: flat.unknown,
            reason: flat.reason,
            owner: flat.owner,
            evidence: flat.evidence,
            input: flat.input,
        })
    }
}
