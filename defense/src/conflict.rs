//! Conflicts by scope: of two changes that may share a target, one goes first.

use std::collections::BTreeMap;

use crate::finding::{Code, Finding};
use crate::request::{Direction, Other, Request};
use crate::scope::Labels;
use crate::verdict::Verdict;

/// Who goes first: rollbacks before forward changes, the older before the younger, then by id. It is a total
/// order over the changes in flight, so of any two exactly one waits and they cannot wait for each other.
fn place(direction: Direction, started_ms: i64, id: &str) -> (Direction, i64, &str) {
    (direction, started_ms, id)
}

/// One finding for each other change that overlaps and goes first, in the order in which they go.
pub(crate) fn findings(request: &Request, labels: &Labels<'_>, now_ms: i64) -> Vec<Finding> {
    let known_start = request.known_start();
    let started_ms = known_start.unwrap_or(now_ms);
    let mine = place(request.change.direction, started_ms, &request.change.id);
    let mut ahead: Vec<&Other> = request
        .rivals()
        // Who does not say when the change started goes last, even where a clock runs ahead.
        .filter(|other| {
            let theirs = place(other.direction, other.started_ms, &other.change_id);
            if known_start.is_none() {
                other.direction <= request.change.direction
            } else {
                theirs < mine
            }
        })
        .filter(|other| labels.overlaps(&Labels::of(&other.scope)))
        .collect();
    ahead.sort_by(|a, b| {
        place(a.direction, a.started_ms, &a.change_id).cmp(&place(b.direction, b.started_ms, &b.change_id))
    });
    ahead
        .into_iter()
        .map(|other| Finding {
            code: Code::ConflictScope,
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
            verdict: Verdict::Hold { until: None },
            until: None,
            unknown: None,
            evidence: Vec::new(),
            input: String::new(),
        })
        .collect()
}
