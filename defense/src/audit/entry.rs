//! What is recorded.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::decision::Decision;
use crate::request::{Actor, Request};

/// The kind of the first record.
pub(super) const BEGIN: &str = "begin";
/// The kind of a decision.
pub(super) const DECISION: &str = "decision";

/// The body of the first record.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Begin {
    /// The name of the chain.
    pub(super) log: String,
}

/// The body of a decision, with question and answer to the byte.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Decided<'r> {
    /// The digest of the packs in force.
    pub(super) rules: String,
    /// When the question was asked about.
    pub(super) now_ms: i64,
    #[serde(borrow)]
    pub(super) request: &'r RawValue,
    #[serde(borrow)]
    pub(super) decision: &'r RawValue,
}

/// What a person did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "plain data, written as a literal by callers")]
pub struct Command {
    /// Who, and through what.
    pub actor: Actor,
    /// What: `freeze`, `approve`, `abort`, …; the caller's words.
    pub command: String,
    /// The change it was about.
    pub change: String,
    /// Its parameters by name.
    pub params: BTreeMap<String, String>,
    /// Why, in the person's words.
    pub reason: String,
}

/// What became of something that was done to the world.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "plain data, written as a literal by callers")]
pub struct Effect {
    /// The change it was done for.
    pub change: String,
    /// What it was done to.
    pub target: String,
    /// The generation of the controller that did it; it only grows.
    pub generation: u64,
    /// What was done: `replace`, `close_ingress`, …; the caller's words.
    pub effect: String,
    /// How it ended: `done`, `failed`, `unknown`, …; the caller's words. What is not known is said to be so.
    pub outcome: String,
    /// What was seen, by name.
    pub evidence: BTreeMap<String, String>,
}

/// One thing to record.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Entry<'e> {
    /// The packs that are in force from now on, or were refused.
    #[non_exhaustive]
    Rules {
        /// The digest of the packs in force, [`Guard::digest`](crate::Guard::digest).
        rules: &'e str,
        /// The faults for which others were refused; empty when these are new.
        refused: &'e [String],
    },
    /// What the guard was asked and what it answered.
    #[non_exhaustive]
    Decision {
        /// The digest of the packs in force, [`Guard::digest`](crate::Guard::digest).
        rules: &'e str,
        /// When the question was asked about, in unix milliseconds.
        now_ms: i64,
        /// The question.
        request: &'e Request,
        /// The answer.
        decision: &'e Decision,
    },
    /// What a person did.
    Command(&'e Command),
    /// What became of an effect.
    Effect(&'e Effect),
}

impl<'e> Entry<'e> {
    /// Packs that are in force from now on.
    #[must_use]
    pub const fn rules(rules: &'e str) -> Self {
        Self::Rules { rules, refused: &[] }
    }

    /// Packs that were refused, and the digest of those that stay in force.
    #[must_use]
    pub const fn refused(rules: &'e str, refused: &'e [String]) -> Self {
        Self::Rules { rules, refused }
    }

    /// A decision of the guard with that digest.
    #[must_use]
    pub const fn decision(rules: &'e str, request: &'e Request, now_ms: i64, decision: &'e Decision) -> Self {
        Self::Decision {
            rules,
            now_ms,
            request,
            decision,
        }
    }

    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Rules { .. } => "rules",
            Self::Decision { .. } => DECISION,
            Self::Command(_) => "command",
            Self::Effect(_) => "effect",
        }
    }
}
