//! `kind: incidents`: no change where something burns already.

use serde::Deserialize;

use super::answer::{Answer, Judged, fresh};
use super::{Ask, BuiltIn, Rule, Wrong, judged};
use crate::finding::Code;
use crate::request::{Direction, form};
use crate::scope::Labels;
use crate::window::Rollback;

/// Incidents that are open and concern the scope.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Incidents {
    /// The mildest severity that counts; 1 is worst.
    #[serde(default = "two")]
    severity: u8,
    /// Whether a rollback may run all the same.
    #[serde(default = "forbidden")]
    rollback: Rollback,
    /// Whether an emergency may run all the same.
    #[serde(default = "forbidden")]
    emergency: Rollback,
    /// How old what the caller looked up may be, in milliseconds.
    #[serde(default = "five_minutes", deserialize_with = "form::span::deserialize")]
    max_age: u64,
}

const fn two() -> u8 {
    2
}

const fn forbidden() -> Rollback {
    Rollback::Forbidden
}

const fn five_minutes() -> u64 {
    300_000
}

impl BuiltIn for Incidents {
    const KIND: &'static str = "incidents";

    fn check(&self) -> Result<(), Wrong> {
        if self.severity > 0 {
            return Ok(());
        }
        Err(Wrong {
            field: "severity",
            what: "no incident is worse than 1".to_owned(),
            fix: "write the mildest severity that counts, from 1".to_owned(),
        })
    }
}

impl Rule for Incidents {
    fn judge(&self, ask: &Ask<'_>) -> Vec<Answer> {
        let change = &ask.request.change;
        let granted = change.direction == Direction::Rollback && self.rollback == Rollback::Allowed
            || change.emergency && self.emergency == Rollback::Allowed;
        if granted { Vec::new() } else { judged(self.open(ask)) }
    }
}

impl Incidents {
    fn open(&self, ask: &Ask<'_>) -> Judged {
        let known = fresh(
            ask.request.facts.incidents.as_ref(),
            "facts.incidents",
            self.max_age,
            ask.now_ms,
        )?;
        Ok(known
            .value
            .iter()
            .filter(|incident| incident.severity <= self.severity && ask.labels.overlaps(&Labels::of(&incident.scope)))
            .map(|incident| {
                Answer::hold(Code::IncidentOpen, None)
                    .with("incident", &incident.id)
                    .with("severity", incident.severity)
                    .seen("facts.incidents", known.at_ms, &incident.id)
            })
            .collect())
    }
}
