//! `kind: age`: an old change, or one past its deadline, is looked at again.

use serde::Deserialize;

use super::answer::{Answer, Judged, is_future, said};
use super::{Ask, BuiltIn, Over, Rule, Wrong, judged};
use crate::finding::Code;
use crate::request::{Direction, form};
use crate::verdict::UnknownReason;

/// Since when the age counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Since {
    /// Since it was made.
    #[default]
    Made,
    /// Since its first batch. A change that has not started has no age.
    Started,
}

/// How old a change may be. A rollback of it may be any age.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Age {
    /// In milliseconds.
    #[serde(deserialize_with = "form::span::deserialize")]
    max: u64,
    #[serde(default)]
    since: Since,
    /// What happens to an older one.
    #[serde(default = "person")]
    over: Over,
}

const fn person() -> Over {
    Over::NeedsPerson
}

impl BuiltIn for Age {
    const KIND: &'static str = "age";

    fn check(&self) -> Result<(), Wrong> {
        if self.max > 0 {
            return Ok(());
        }
        Err(Wrong {
            field: "max",
            what: "no change is that young".to_owned(),
            fix: "write a length such as 14d".to_owned(),
        })
    }
}

impl Rule for Age {
    fn judge(&self, ask: &Ask<'_>) -> Vec<Answer> {
        // What goes back must not be kept where it is for having been late.
        if ask.request.change.direction == Direction::Rollback {
            return Vec::new();
        }
        let mut answers = judged(self.old(ask));
        answers.extend(self.late(ask));
        answers
    }
}

impl Age {
    fn late(&self, ask: &Ask<'_>) -> Option<Answer> {
        let deadline_ms = ask.request.change.deadline_ms?;
        (deadline_ms < ask.now_ms).then(|| {
            self.over
                .answer(Code::AgeDeadline, None)
                .with("deadline_ms", deadline_ms)
        })
    }

    fn old(&self, ask: &Ask<'_>) -> Judged {
        let change = &ask.request.change;
        let (name, since_ms) = match self.since {
            Since::Made => ("change.made", Some(said(change.made_ms, "change.made")?)),
            Since::Started => ("change.started", ask.request.known_start()),
        };
        let Some(since_ms) = since_ms else {
            return Ok(Vec::new());
        };
        if is_future(since_ms, ask.now_ms) {
            return Err(Answer::unknown(UnknownReason::FutureFact, name).with("seen_ms", since_ms));
        }
        let age_ms = i128::from(ask.now_ms) - i128::from(since_ms);
        let exceeded = || {
            self.over
                .answer(Code::AgeExceeded, None)
                .with("what", name)
                .with("since_ms", since_ms)
        };
        Ok((age_ms > i128::from(self.max)).then(exceeded).into_iter().collect())
    }
}
