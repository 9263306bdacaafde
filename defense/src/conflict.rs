//! Conflicts by scope: of two changes that may share a target, one goes first.

use std::collections::BTreeMap;

use crate::finding::{Code, Finding};
use crate::request::{Change, ChangeKind, Direction, Other, Request};
use crate::scope::Labels;
use crate::verdict::Verdict;

/// Who goes first: rollbacks before forward changes, emergencies before others, the older before the younger, then by id.
/// It is a total order over the changes in flight, so of any two exactly one waits and they cannot wait for each other.
fn place(direction: Direction, emergency: bool, started_ms: i64, id: &str) -> (Direction, bool, i64, &str) {
    (direction, !emergency, started_ms, id)
}

fn place_of(other: &Other) -> (Direction, bool, i64, &str) {
    place(other.direction, other.emergency, other.started_ms, &other.change_id)
}

/// Where the change that asks stands among the others. Looked up once: its start may stand in the list of all of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing<'r> {
    change: &'r Change,
    started_ms: Option<i64>,
}

impl<'r> Standing<'r> {
    pub(crate) fn of(request: &'r Request) -> Self {
        Self {
            change: &request.change,
            started_ms: request.known_start(),
        }
    }

    /// Whether anybody says when it started.
    pub(crate) const fn has_started(&self) -> bool {
        self.started_ms.is_some()
    }

    /// Whether another change goes before it. A stop goes before everything.
    pub(crate) fn is_behind(&self, other: &Other) -> bool {
        if other.kind == ChangeKind::Freeze {
            return true;
        }
        let change = self.change;
        let theirs = place_of(other);
        match self.started_ms {
            Some(started_ms) => theirs < place(change.direction, change.emergency, started_ms, &change.id),
            // Who does not say when the change started goes last of its kind, even where a clock runs ahead.
            None => (theirs.0, theirs.1) <= (change.direction, !change.emergency),
        }
    }
}

/// One finding for each other change that overlaps and goes first, in the order in which they go.
pub(crate) fn findings(request: &Request, labels: &Labels<'_>) -> Vec<Finding> {
    let own = Standing::of(request);
    let mut ahead: Vec<&Other> = request
        .rivals()
        .filter(|other| own.is_behind(other) && labels.overlaps(&Labels::of(&other.scope)))
        .collect();
    ahead.sort_by(|a, b| place_of(a).cmp(&place_of(b)));
    ahead
        .into_iter()
        .map(|other| {
            let (code, verdict) = match (other.kind, request.change.direction) {
                // Whether it is safer to stand still or to go back, neither change can know.
                (ChangeKind::Freeze, Direction::Rollback) => (Code::ConflictFreeze, Verdict::NeedsPerson),
                (ChangeKind::Freeze, Direction::Forward) => (Code::ConflictFreeze, Verdict::Hold { until: None }),
                _ => (Code::ConflictScope, Verdict::Hold { until: None }),
            };
            Finding {
                code,
                params: BTreeMap::from([
                    ("change".to_owned(), other.change_id.clone()),
                    ("kind".to_owned(), other.kind.name().to_owned()),
                    ("direction".to_owned(), other.direction.name().to_owned()),
                    ("started_ms".to_owned(), other.started_ms.to_string()),
                ]),
                rule: "builtin/conflict".to_owned(),
                version: "1".to_owned(),
                owner: format!("change {}", other.change_id),
                reason: "two changes must not meet on one target".to_owned(),
                verdict,
                until: None,
                unknown: None,
                evidence: Vec::new(),
                input: String::new(),
            }
        })
        .collect()
}
