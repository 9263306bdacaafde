//! `kind: approvals`: enough people with enough authority agreed, and none of them is the author.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::answer::{Answer, Judged, fresh, is_future, said};
use super::{Ask, BuiltIn, Rule, Wrong, judged};
use crate::finding::Code;
use crate::request::{ActorKind, form};

/// Who must have agreed. Only people count, each once, and only to the artefact that is rolled out: an approval of another
/// one says nothing, nor does one of something where the change names nothing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Approvals {
    /// The least authority that counts.
    level: u8,
    /// How many people.
    #[serde(default = "one")]
    count: u64,
    /// For how long an approval holds, in milliseconds. Absent: for ever.
    #[serde(default, deserialize_with = "form::span_if_any")]
    valid: Option<u64>,
    /// How old what the caller looked up may be, in milliseconds.
    #[serde(default = "hour", deserialize_with = "form::span::deserialize")]
    max_age: u64,
}

const fn one() -> u64 {
    1
}

const fn hour() -> u64 {
    3_600_000
}

impl BuiltIn for Approvals {
    const KIND: &'static str = "approvals";

    fn check(&self) -> Result<(), Wrong> {
        if self.count > 0 {
            return Ok(());
        }
        Err(Wrong {
            field: "count",
            what: "nobody has to agree".to_owned(),
            fix: "write how many people, or remove the rule".to_owned(),
        })
    }
}

/// An id as it is compared: whoever writes as `li` and agrees as `Li` is one.
fn one_spelling(id: &str) -> String {
    id.trim().to_lowercase()
}

impl Rule for Approvals {
    fn judge(&self, ask: &Ask<'_>) -> Vec<Answer> {
        judged(self.agreed(ask))
    }
}

impl Approvals {
    fn agreed(&self, ask: &Ask<'_>) -> Judged {
        let change = &ask.request.change;
        // Without the author's name nobody can tell whether they approved their own work.
        let author = said(
            change.author.as_ref().filter(|author| !author.id.trim().is_empty()),
            "change.author",
        )?;
        let known = fresh(
            ask.request.facts.approvals.as_ref(),
            "facts.approvals",
            self.max_age,
            ask.now_ms,
        )?;
        let holds = |at_ms: i64| {
            let age_ms = i128::from(ask.now_ms) - i128::from(at_ms);
            !is_future(at_ms, ask.now_ms) && self.valid.is_none_or(|valid| age_ms <= i128::from(valid))
        };
        // Two actors of one id are one: a program is none the less a program for agreeing as a person.
        let programs: BTreeSet<String> = (known.value.iter().map(|approval| &approval.by))
            .chain(&ask.request.actor)
            .filter(|actor| actor.kind == ActorKind::Program)
            .map(|actor| one_spelling(&actor.id))
            .collect();
        let wrote = one_spelling(&author.id);
        let people: BTreeSet<String> = known
            .value
            .iter()
            .filter(|approval| {
                approval.by.kind == ActorKind::Person
                    && approval.level >= self.level
                    && holds(approval.at_ms)
                    && approval.artefact == change.artefact
            })
            .map(|approval| one_spelling(&approval.by.id))
            // Whatever kind they say they are: who writes as a program and agrees as a person is one.
            .filter(|id| !id.is_empty() && !programs.contains(id) && *id != wrote)
            .collect();
        if people.len() as u64 >= self.count {
            return Ok(Vec::new());
        }
        Ok(vec![
            Answer::needs_person(Code::ApprovalMissing)
                .with("level", self.level)
                .with("wanted", self.count)
                .with("have", people.len())
                .with("author", &author.id)
                .with(
                    "what",
                    change.artefact.as_deref().unwrap_or("a change that names no artefact"),
                )
                .seen(
                    "facts.approvals",
                    known.at_ms,
                    format!("{} approvals", known.value.len()),
                ),
        ])
    }
}
