//! Asking again what was asked before.

use serde::Deserialize as _;

use super::entry::{DECISION, Decided};
use super::record::Record;
use crate::guard::Guard;
use crate::request::Request;

/// What came of asking a recorded question again.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Replay {
    /// The same answer, to the byte.
    Same,
    /// The packs are those of the record, and yet the answer is another: a fault of the engine, or a record of a version
    /// that answered otherwise.
    #[non_exhaustive]
    Different {
        /// The answer that was recorded, as JSON.
        recorded: String,
        /// The answer now, as JSON.
        now: String,
    },
    /// The record was made under other packs; nothing can be said.
    #[non_exhaustive]
    OtherRules {
        /// The digest of those packs.
        recorded: String,
    },
    /// The record is no decision.
    NoDecision,
    /// The record is a decision of a shape that this version cannot ask again.
    #[non_exhaustive]
    Unreadable {
        /// What is wrong with it.
        why: String,
    },
}

impl Guard {
    /// Asks a recorded question again, under the packs in force. With the packs of the record the answer has the same
    /// bytes.
    #[must_use]
    pub fn replay(&self, record: &Record) -> Replay {
        if record.kind != DECISION {
            return Replay::NoDecision;
        }
        let unreadable = |error: serde_json::Error| Replay::Unreadable { why: error.to_string() };
        let decided: Decided<'_> = match serde_json::from_str(&record.body) {
            Ok(decided) => decided,
            Err(error) => return unreadable(error),
        };
        if decided.rules != self.digest() {
            return Replay::OtherRules {
                recorded: decided.rules,
            };
        }
        let request = match Request::deserialize(decided.request) {
            Ok(request) => request,
            Err(error) => return unreadable(error),
        };
        match serde_json::to_string(&self.decide(&request, decided.now_ms)) {
            Ok(now) if now == decided.decision.get() => Replay::Same,
            Ok(now) => Replay::Different {
                recorded: decided.decision.get().to_owned(),
                now,
            },
            Err(error) => unreadable(error),
        }
    }
}
