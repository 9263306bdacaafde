//! When a scope is closed, and when it opens.

use super::{Guard, HORIZON_MS, RANGE_REASON, RANGE_RULE};
use crate::decision::{Blocker, NextFeasible, Span};
use crate::request::{Direction, Need};
use crate::scope::Scope;
use crate::time::{END_MS, FIRST_MS, in_range};
use crate::verdict::UnknownReason;
use crate::window::{Block, Bound, Room, WindowKind, earliest_of_all};

impl Guard {
    /// Everything that closes the scope to a forward change at this instant, the longest first; empty when it
    /// is open. Rules that may apply, for all the scope says, are among them.
    #[must_use]
    pub fn why_not_now(&self, scope: &Scope, now_ms: i64) -> Vec<Blocker> {
        if !in_range(now_ms) {
            return vec![clock_blocker(now_ms)];
        }
        let limit = now_ms + HORIZON_MS;
        let mut blockers: Vec<Blocker> = self
            .bounds(&self.known(scope), Room::instant())
            .iter()
            .filter_map(|bound| bound.block(now_ms, limit).map(|block| self.blocker(bound, block)))
            .collect();
        blockers.sort_by(|a, b| {
            let end = |blocker: &Blocker| blocker.until.unwrap_or(i64::MAX);
            end(b)
                .cmp(&end(a))
                .then_with(|| (&a.pack, &a.id).cmp(&(&b.pack, &b.id)))
        });
        blockers
    }

    /// The earliest start of a forward change at or after `now_ms` with room for batch and rollback: the whole
    /// of it clear, except that the rollback may lie where rollbacks are granted.
    #[must_use]
    pub fn next_feasible(&self, scope: &Scope, now_ms: i64, need: Need) -> NextFeasible {
        let never = |blockers| NextFeasible::NeverWithin(HORIZON_MS, blockers);
        if !in_range(now_ms) {
            return never(vec![clock_blocker(now_ms)]);
        }
        let limit = now_ms + HORIZON_MS;
        let bounds = self.bounds(&self.known(scope), Room::new(Direction::Forward, need));
        earliest_of_all(&bounds, now_ms, limit).map_or_else(
            || {
                never(
                    bounds
                        .iter()
                        .filter_map(|bound| bound.block(now_ms, limit).map(|block| self.blocker(bound, block)))
                        .collect(),
                )
            },
            NextFeasible::At,
        )
    }

    /// Every span in `[from_ms, until_ms)` in which a rule closes the scope, clipped to it; by start, then pack
    /// and id. Spans of different rules may overlap.
    #[must_use]
    pub fn spans(&self, scope: &Scope, from_ms: i64, until_ms: i64) -> Vec<Span> {
        let from_ms = from_ms.clamp(FIRST_MS, END_MS);
        let until_ms = until_ms.clamp(FIRST_MS, END_MS);
        let mut spans: Vec<Span> = self
            .bounds(&self.known(scope), Room::instant())
            .iter()
            .flat_map(|bound| {
                let window = bound.window();
                bound.closed(from_ms, until_ms).into_iter().map(|closed| Span {
                    from: closed.from,
                    until: closed.until,
                    id: window.id.clone(),
                    pack: self.0.decoded.packs[window.pack].name.clone(),
                    kind: window.kind,
                    owner: window.owner.clone(),
                    reason: window.reason_at(closed.from),
                    rollback: bound.rollback(),
                })
            })
            .collect();
        spans.sort_by(|a, b| (a.from, &a.pack, &a.id).cmp(&(b.from, &b.pack, &b.id)));
        spans
    }

    fn blocker(&self, bound: &Bound<'_>, block: Block) -> Blocker {
        let window = bound.window();
        Blocker {
            id: window.id.clone(),
            pack: self.0.decoded.packs[window.pack].name.clone(),
            kind: window.kind,
            owner: window.owner.clone(),
            reason: window.reason_at(block.from),
            from: block.from,
            until: block.until,
            missing_label: match bound.doubt() {
                Some((UnknownReason::MissingLabel, label)) => Some(label.to_owned()),
                _ => None,
            },
        }
    }
}

fn clock_blocker(now_ms: i64) -> Blocker {
    Blocker {
        id: RANGE_RULE.to_owned(),
        pack: "builtin".to_owned(),
        kind: WindowKind::Freeze,
        owner: "the caller's clock".to_owned(),
        reason: RANGE_REASON.to_owned(),
        from: now_ms,
        until: None,
        missing_label: None,
    }
}
