//! How much time a scope is left, who takes most of it, and what piles up meanwhile.

use serde::{Deserialize, Serialize};

use super::Guard;
use crate::decision::NextFeasible;
use crate::pack::{Pack, PackError, PackErrors};
use crate::request::Need;
use crate::scope::Scope;
use crate::selector::{Match, Selector};
use crate::time::{DAY_MS, END_MS, FIRST_MS, render};
use crate::window::{Bound, Occurrence, Room, Window, WindowKind};

/// How long a rule closes a scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Closed {
    /// Its pack.
    pub pack: String,
    /// The id of the window or freeze; of several change windows of a pack the first.
    pub id: String,
    /// Who may change it.
    pub owner: String,
    /// For how long it closes the scope, in milliseconds, whatever others do.
    pub closed_ms: i64,
}

/// How much of a span is open to a scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OpenTime {
    /// The time in which nothing closes it, in milliseconds.
    pub open_ms: i64,
    /// The longest stretch of it without a break, in milliseconds.
    pub longest_ms: i64,
    /// Who closes it, who closes it longest first.
    pub closed_by: Vec<Closed>,
}

/// A change that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "plain data, written as a literal by callers")]
pub struct Waiting {
    /// Its id.
    pub change_id: String,
    /// What it would touch.
    pub scope: Scope,
    /// Since when it waits, in unix milliseconds.
    pub since_ms: i64,
    /// The time it needs.
    pub need: Need,
    /// When it must be done, in unix milliseconds.
    pub deadline_ms: Option<i64>,
}

/// What waits for one scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Queue {
    /// The scope.
    pub scope: Scope,
    /// The changes, the longest waiting first.
    pub changes: Vec<String>,
    /// The risk that has piled up: the sum of their ages, in milliseconds. Changes that wait get large together.
    pub risk_ms: i64,
    /// When the next of them can start; of those with different needs the latest.
    pub next: NextFeasible,
    /// How much later than that the first deadline still is, in milliseconds; negative when it cannot be kept, `None`
    /// without a deadline or without a start.
    pub slack_ms: Option<i64>,
    /// Whether one of them will have waited longer than [`STARVED_MS`] by then, or has no start at all.
    pub starving: bool,
}

/// How long a change may wait before it counts as starving, in milliseconds: 14 days.
pub const STARVED_MS: i64 = 14 * DAY_MS;

impl Guard {
    /// How much of `[from_ms, until_ms)` is open to forward changes of a scope, and who closes the rest.
    #[must_use]
    pub fn open_time(&self, scope: &Scope, from_ms: i64, until_ms: i64) -> OpenTime {
        let from_ms = from_ms.clamp(FIRST_MS, END_MS);
        let until_ms = until_ms.clamp(from_ms, END_MS);
        let bounds = self.bounds(&self.known(scope), Room::instant());
        let closed: Vec<Vec<Occurrence>> = bounds.iter().map(|bound| bound.closed(from_ms, until_ms)).collect();
        let mut closed_by: Vec<Closed> = bounds
            .iter()
            .zip(&closed)
            .map(|(bound, closed)| self.closed(bound, length(closed)))
            .filter(|closed| closed.closed_ms > 0)
            .collect();
        closed_by.sort_by(|a, b| {
            b.closed_ms
                .cmp(&a.closed_ms)
                .then_with(|| (&a.pack, &a.id).cmp(&(&b.pack, &b.id)))
        });
        let open = gaps(closed.into_iter().flatten().collect(), from_ms, until_ms);
        OpenTime {
            open_ms: length(&open),
            longest_ms: open.iter().map(|span| span.until - span.from).max().unwrap_or(0),
            closed_by,
        }
    }

    fn closed(&self, bound: &Bound<'_>, closed_ms: i64) -> Closed {
        let window = bound.window();
        Closed {
            pack: self.0.decoded.packs[window.pack].name.clone(),
            id: window.id.clone(),
            owner: window.owner.clone(),
            closed_ms,
        }
    }

    /// What waits, by scope, the most pressing first: least slack, then most risk.
    #[must_use]
    pub fn backlog(&self, waiting: &[Waiting], now_ms: i64) -> Vec<Queue> {
        let mut waiting: Vec<&Waiting> = waiting.iter().collect();
        waiting.sort_by(|a, b| (&a.scope, a.since_ms, &a.change_id).cmp(&(&b.scope, b.since_ms, &b.change_id)));
        let mut queues: Vec<Queue> = waiting
            .chunk_by(|a, b| a.scope == b.scope)
            .map(|changes| self.queue(changes, now_ms))
            .collect();
        let pressing = |queue: &Queue| (queue.slack_ms.unwrap_or(i64::MAX), -queue.risk_ms);
        queues.sort_by(|a, b| pressing(a).cmp(&pressing(b)).then_with(|| a.scope.cmp(&b.scope)));
        queues
    }

    /// Of changes of one scope, the longest waiting first.
    fn queue(&self, changes: &[&Waiting], now_ms: i64) -> Queue {
        let start = |change: &Waiting| self.next_feasible(&change.scope, now_ms, change.need);
        let age = |change: &&Waiting, at: i64| at.saturating_sub(change.since_ms).max(0);
        let mut next = NextFeasible::At(now_ms);
        let mut slack_ms: Option<i64> = None;
        let mut starving = false;
        for change in changes {
            let found = start(change);
            if let NextFeasible::At(at) = found {
                starving |= age(change, at) > STARVED_MS;
                if let Some(deadline) = change.deadline_ms {
                    let done = at.saturating_add(i64::try_from(change.need.batch_ms).unwrap_or(i64::MAX));
                    let slack = deadline.saturating_sub(done);
                    slack_ms = Some(slack_ms.map_or(slack, |least| least.min(slack)));
                }
            } else {
                starving = true;
            }
            next = match (next, found) {
                (NextFeasible::At(a), NextFeasible::At(b)) => NextFeasible::At(a.max(b)),
                (never @ NextFeasible::NeverWithin(..), _) | (_, never) => never,
            };
        }
        Queue {
            scope: changes[0].scope.clone(),
            changes: changes.iter().map(|change| change.change_id.clone()).collect(),
            risk_ms: changes
                .iter()
                .map(|change| age(change, now_ms))
                .fold(0, i64::saturating_add),
            next,
            slack_ms,
            starving,
        }
    }
}

/// Mondays at which fortnights begin that stand for all: two in winter, two in summer.
const SAMPLES_MS: [i64; 4] = [
    1_767_571_200_000,
    1_768_780_800_000,
    1_783_296_000_000,
    1_784_505_600_000,
];
const FORTNIGHT_MS: i64 = 14 * DAY_MS;

impl Guard {
    /// One fault for each pack that is left less open time per 14 days than it asks for. Freezes, dates and holidays are
    /// exceptions that somebody decided on; what recurs is what starves.
    pub(super) fn check_least_open(&self) -> Result<(), PackErrors> {
        let asking = self
            .0
            .decoded
            .packs
            .iter()
            .filter_map(|pack| Some((pack, pack.least_open.as_ref()?)));
        let faults = asking.filter_map(|(pack, asked)| {
            let (open_ms, from_ms, scope, closed_by) = self.least_open(pack)?;
            (open_ms < asked.ms).then(|| PackError {
                file: pack.file.clone(),
                line: asked.line,
                column: asked.column,
                what: format!(
                    "{scope} asks for {} in 14 days and is left {}, from {} on; closed by {}",
                    hours(asked.ms),
                    hours(open_ms),
                    render(from_ms, "UTC"),
                    closed_by
                        .iter()
                        .take(3)
                        .map(|closed| format!(
                            "{}/{} (owner {}) {}",
                            closed.pack,
                            closed.id,
                            closed.owner,
                            hours(closed.closed_ms)
                        ))
                        .collect::<Vec<_>>()
                        .join(", "),
                ),
                fix: "shorten the first of them, or ask for less".to_owned(),
            })
        });
        PackErrors::check(faults.collect())
    }

    /// The least open time of any part of a pack's scope in a sample fortnight, with its beginning and who closes it.
    fn least_open(&self, pack: &Pack) -> Option<(i64, i64, Selector, Vec<Closed>)> {
        let windows = &self.0.decoded.windows;
        let recurring: Vec<&Window> = self
            .0
            .by_window
            .meeting(&self.0.vocabulary.look_up(&pack.scope.labels()))
            .map(|(id, _)| &windows[id])
            .filter(|window| window.kind == WindowKind::Change || window.when.recurs())
            .collect();
        let mut scopes: Vec<Selector> = recurring
            .iter()
            .map(|window| pack.scope.and(&window.selector))
            .collect();
        scopes.push(pack.scope.clone());
        scopes.retain(|scope| !scope.is_empty());
        scopes.sort_unstable();
        scopes.dedup();
        let mut least: Option<(i64, i64, Selector, Vec<Closed>)> = None;
        for scope in scopes {
            let speaking = recurring
                .iter()
                .filter(|window| scope.within(&window.selector))
                .map(|window| (*window, Match::All));
            let bounds = Bound::collect(speaking, Room::instant());
            for from_ms in SAMPLES_MS {
                let closed: Vec<_> = bounds
                    .iter()
                    .map(|bound| bound.closed(from_ms, from_ms + FORTNIGHT_MS))
                    .collect();
                let all = closed.iter().flatten().copied().collect();
                let open_ms = length(&gaps(all, from_ms, from_ms + FORTNIGHT_MS));
                if least.as_ref().is_none_or(|(least_ms, ..)| open_ms < *least_ms) {
                    let mut closed_by: Vec<Closed> = bounds
                        .iter()
                        .zip(&closed)
                        .map(|(bound, closed)| self.closed(bound, length(closed)))
                        .collect();
                    closed_by.sort_by_key(|closed| -closed.closed_ms);
                    least = Some((open_ms, from_ms, scope.clone(), closed_by));
                }
            }
        }
        least
    }
}

/// `20h`, `1h30m`.
fn hours(ms: i64) -> String {
    let minutes = ms / 60_000;
    match (minutes / 60, minutes % 60) {
        (0, minutes) => format!("{minutes}m"),
        (hours, 0) => format!("{hours}h"),
        (hours, minutes) => format!("{hours}h{minutes}m"),
    }
}

fn length(spans: &[Occurrence]) -> i64 {
    spans.iter().map(|span| span.until - span.from).sum()
}

/// What the spans leave of `[from, until)`.
fn gaps(mut spans: Vec<Occurrence>, from: i64, until: i64) -> Vec<Occurrence> {
    spans.sort_unstable();
    let mut open = Vec::new();
    let mut at = from;
    for span in spans {
        if span.from > at {
            open.push(Occurrence {
                from: at,
                until: span.from.min(until),
            });
        }
        at = at.max(span.until);
    }
    if at < until {
        open.push(Occurrence { from: at, until });
    }
    open
}
