//! Conflicts by scope: of two changes that may share a target, one goes first.

use std::collections::BTreeMap;

use crate::decision::{Code, Finding};
use crate::request::{ChangeKind, Other, Request};
use crate::scope::Labels;
use crate::verdict::Verdict;

/// Who goes first: rollbacks before forward changes, the older before the younger, then by id. It is a total
/// order over the changes in flight, so of any two exactly one waits and they cannot wait for each other.
fn place(kind: ChangeKind, started_ms: i64, id: &str) -> (ChangeKind, i64, &str) {
    (kind, started_ms, id)
}

/// One finding for each other change that overlaps and goes first, in the order in which they go.
pub(crate) fn findings(request: &Request, labels: &Labels<'_>, now_ms: i64) -> Vec<Finding> {
    // Whoever hands everybody the same list of changes in flight need not say again when this one started.
    let own = request.others.iter().find(|other| other.change_id == request.change_id);
    let known_start = request.started_ms.or_else(|| own.map(|own| own.started_ms));
    let started_ms = known_start.unwrap_or(now_ms);
    let mine = place(request.kind, started_ms, &request.change_id);
    let mut ahead: Vec<&Other> = request
        .others
        .iter()
        .filter(|other| other.change_id != request.change_id)
        // Who does not say when the change started goes last, even where a clock runs ahead.
        .filter(|other| {
            let theirs = place(other.kind, other.started_ms, &other.change_id);
            if known_start.is_none() { other.kind <= request.kind } else { theirs < mine }
        })
        .filter(|other| labels.overlaps(&Labels::of(&other.scope)))
        .collect();
    ahead.sort_by(|a, b| place(a.kind, a.started_ms, &a.change_id).cmp(&place(b.kind, b.started_ms, &b.change_id)));
    ahead
        .into_iter()
        .map(|other| {
            let kind = match other.kind {
                ChangeKind::Forward => "forward",
                ChangeKind::Rollback => "rollback",
            };
            Finding {
                code: Code::ConflictScope,
                params: BTreeMap::from([
                    ("change".to_owned(), other.change_id.clone()),
                    ("kind".to_owned(), kind.to_owned()),
                    ("started_ms".to_owned(), other.started_ms.to_string()),
                ]),
                rule: "builtin/conflict".to_owned(),
                version: "1".to_owned(),
                owner: format!("change {}", other.change_id),
                reason: "two changes must not meet on one target".to_owned(),
                verdict: Verdict::Hold { until: None },
                until: None,
            }
        })
        .collect()
}
