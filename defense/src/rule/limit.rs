//! `kind: limit`: how much may happen at once, or in a span of time, over all changes together.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::answer::{Answer, Judged, fresh, is_future, said};
use super::{Ask, BuiltIn, Over, Rule, Wrong, judged};
use crate::conflict::Standing;
use crate::finding::Code;
use crate::request::{Act, Direction, Other, Request, form};
use crate::scope::{Labels, Scope};
use crate::verdict::UnknownReason;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Of {
    /// Targets on their way, or started within the span.
    Targets,
    /// Changes in flight, or that started a batch within the span.
    Changes,
    /// Batches started within the span.
    Batches,
    /// Changes rolled back within the span. It binds rollbacks alone.
    Rollbacks,
    /// Emergencies within the span. It binds emergencies alone.
    Emergencies,
}

/// A budget between changes and businesses. What happens inside one change is the planner's matter.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limit {
    of: Of,
    max: u64,
    /// The span, ending now. Absent: at once.
    #[serde(default, deserialize_with = "form::span_if_any")]
    per: Option<u64>,
    /// A budget for each value of this label. Absent: one for all the rule selects.
    by: Option<String>,
    /// What happens when nothing is left.
    #[serde(default)]
    over: Over,
    /// How old what the caller looked up may be, in milliseconds.
    #[serde(default = "minute", deserialize_with = "form::span::deserialize")]
    max_age: u64,
}

const fn minute() -> u64 {
    60_000
}

impl BuiltIn for Limit {
    const KIND: &'static str = "limit";

    fn check(&self) -> Result<(), Wrong> {
        let wrong = |field, what: &str, fix: &str| {
            Err(Wrong {
                field,
                what: what.to_owned(),
                fix: fix.to_owned(),
            })
        };
        if self.max == 0 {
            return wrong(
                "max",
                "a limit of nothing never lets anything pass",
                "write a number above zero, or a freeze",
            );
        }
        match (self.per, self.of) {
            (Some(0), _) => wrong(
                "per",
                "a span of nothing has nothing in it",
                "write a length such as 1h, or remove `per`",
            ),
            (None, Of::Batches | Of::Rollbacks | Of::Emergencies) => wrong(
                "of",
                "this is counted in a span of time",
                "add `per: 24h`, or count targets or changes",
            ),
            _ => Ok(()),
        }
    }
}

impl Rule for Limit {
    fn judge(&self, ask: &Ask<'_>) -> Vec<Answer> {
        judged(self.left(ask))
    }

    fn label_keys(&self) -> Vec<&str> {
        self.by.iter().map(String::as_str).collect()
    }
}

impl Limit {
    fn left(&self, ask: &Ask<'_>) -> Judged {
        let change = &ask.request.change;
        match self.of {
            Of::Rollbacks if change.direction != Direction::Rollback => return Ok(Vec::new()),
            Of::Emergencies if !change.emergency => return Ok(Vec::new()),
            _ => {}
        }
        let Some(label) = &self.by else {
            return self.left_of(ask, None);
        };
        let values = ask.labels.of_key(label);
        if values.is_empty() {
            return Err(Answer::unknown(UnknownReason::MissingLabel, label.as_str()));
        }
        let mut answers = Vec::new();
        for (key, value) in values {
            answers.extend(judged(self.left_of(ask, Some((key, value)))));
        }
        Ok(answers)
    }

    /// What is left of one budget, if it is not enough.
    fn left_of(&self, ask: &Ask<'_>, group: Option<(&str, &str)>) -> Judged {
        let (used, until) = match self.per {
            None => (self.at_once(ask, group)?, None),
            Some(per_ms) => self.lately(ask, group, per_ms)?,
        };
        let left = self.max.saturating_sub(used);
        let code = if left == 0 { Code::LimitReached } else { Code::LimitLeft };
        let answer = if left == 0 {
            self.over.answer(code, until)
        } else if self.of != Of::Targets || ask.request.counts.batch.is_some_and(|batch| batch <= left) {
            return Ok(Vec::new());
        } else {
            Answer::limit(code, left)
        };
        let (label, value) = group.unwrap_or(("", "all"));
        let over = self
            .per
            .map_or_else(|| "at once".to_owned(), |ms| format!("within {}", length(ms)));
        Ok(vec![
            answer
                .with("of", format!("{:?}", self.of).to_lowercase())
                .with("max", self.max)
                .with("used", used)
                .with("over", over)
                .with(
                    "group",
                    format!("{label}{}{value}", if label.is_empty() { "" } else { "=" }),
                ),
        ])
    }

    /// Whether a scope counts for a budget. What nobody says may.
    fn counts(ask: &Ask<'_>, group: Option<(&str, &str)>, scope: &Scope) -> bool {
        let labels = Labels::of(scope);
        ask.may_select(&labels)
            && group.is_none_or(|(key, value)| {
                let theirs = labels.of_key(key);
                theirs.is_empty() || theirs.iter().any(|(_, v)| *v == value)
            })
    }

    fn at_once(&self, ask: &Ask<'_>, group: Option<(&str, &str)>) -> Result<u64, Answer> {
        let request = ask.request;
        said(request.others.as_ref(), "others")?;
        let rivals = request.rivals().filter(|other| Self::counts(ask, group, &other.scope));
        if self.of == Of::Changes {
            let own = Standing::of(request);
            let with_place = rivals.filter(|other| own.is_behind(other) || Self::is_ahead(other, request, own));
            let changes: BTreeSet<&str> = with_place.map(|other| other.change_id.as_str()).collect();
            return Ok(changes.len() as u64);
        }
        let mut used = said(request.counts.in_flight, "counts.in_flight")?;
        for other in rivals {
            let theirs = said(other.in_flight, &format!("others[{}].in_flight", other.change_id))?;
            used = used.saturating_add(theirs);
        }
        Ok(used)
    }

    /// Whether a change that does not go first is under way all the same. Those that go first take the places, so that of many
    /// that wait none waits for one behind it; but who is in more of a hurry has no place while others still move. A rollback
    /// has that of its change.
    fn is_ahead(other: &Other, request: &Request, own: Standing<'_>) -> bool {
        let moves = request.counts.in_flight.is_some_and(|targets| targets > 0);
        if moves || request.change.direction == Direction::Rollback {
            return false;
        }
        match other.in_flight {
            Some(targets) => targets > 0,
            None => !own.has_started(),
        }
    }

    /// How much was done in the span, and when something of it is forgotten.
    fn lately(&self, ask: &Ask<'_>, group: Option<(&str, &str)>, per_ms: u64) -> Result<(u64, Option<i64>), Answer> {
        let request = ask.request;
        let ledger = &fresh(request.facts.ledger.as_ref(), "facts.ledger", self.max_age, ask.now_ms)?.value;
        let per_ms = i64::try_from(per_ms).unwrap_or(i64::MAX);
        let from_ms = ask.now_ms.saturating_sub(per_ms);
        if ledger.since_ms > from_ms {
            return Err(
                Answer::unknown(UnknownReason::MissingFact, "facts.ledger before its `since`")
                    .with("seen_ms", ledger.since_ms),
            );
        }
        if let Some(act) = ledger.acts.iter().find(|act| is_future(act.at_ms, ask.now_ms)) {
            return Err(Answer::unknown(UnknownReason::FutureFact, "facts.ledger").with("seen_ms", act.at_ms));
        }
        let mut acts: Vec<&Act> = ledger
            .acts
            .iter()
            .filter(|act| act.at_ms > from_ms && Self::counts(ask, group, &act.scope))
            .filter(|act| match self.of {
                Of::Targets | Of::Batches => true,
                // A change that has its place already needs no other.
                Of::Changes => act.change != request.change.id,
                Of::Rollbacks => act.direction == Direction::Rollback && act.change != request.change.id,
                Of::Emergencies => act.emergency && act.change != request.change.id,
            })
            .collect();
        // The latest first: it is remembered longest. Of a change the latest batch counts.
        acts.sort_by(|a, b| (b.at_ms, &b.change).cmp(&(a.at_ms, &a.change)));
        if !matches!(self.of, Of::Targets | Of::Batches) {
            let mut seen = BTreeSet::new();
            acts.retain(|act| seen.insert(act.change.as_str()));
        }
        let mut used = 0_u64;
        let mut until = None;
        for act in acts {
            used = used.saturating_add(if self.of == Of::Targets { act.targets } else { 1 });
            if used >= self.max && until.is_none() {
                until = Some(act.at_ms.saturating_add(per_ms));
            }
        }
        Ok((used, until))
    }
}

/// `1h30m`, for people.
fn length(ms: u64) -> String {
    let minutes = ms / 60_000;
    let part = |n: u64, unit: &str| if n == 0 { String::new() } else { format!("{n}{unit}") };
    match minutes {
        0 => format!("{ms}ms"),
        _ => part(minutes / 1_440, "d") + &part(minutes / 60 % 24, "h") + &part(minutes % 60, "m"),
    }
}
