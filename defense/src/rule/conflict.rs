//! `kind: conflict`: changes that do not touch the same targets, and meet all the same.
//!
//! Changes of one scope are serialized whether a pack says so or not. This rule asks for the list of changes in flight, and
//! looks further: along calls, up to so many hops, and further where configuration meets code.

use std::collections::{BTreeMap, VecDeque};

use serde::Deserialize;

use super::answer::{Answer, Judged, fresh, said};
use super::{Ask, BuiltIn, Rule, Wrong, judged};
use crate::conflict::Standing;
use crate::finding::Code;
use crate::request::{Call, ChangeKind, Direction, form};
use crate::scope::{APP, Labels};
use crate::verdict::UnknownReason;

/// How near another change may come.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Conflict {
    /// Changes this many calls away, or fewer, are in conflict.
    #[serde(default)]
    hops: u32,
    /// The same where one changes configuration and the other something else: their effects are the hardest to tell apart.
    #[serde(default)]
    mixed_hops: Option<u32>,
    /// How old what the caller looked up may be, in milliseconds.
    #[serde(default = "day", deserialize_with = "form::span::deserialize")]
    max_age: u64,
}

const fn day() -> u64 {
    86_400_000
}

impl BuiltIn for Conflict {
    const KIND: &'static str = "conflict";

    fn check(&self) -> Result<(), Wrong> {
        if self.mixed_hops.is_none_or(|mixed| mixed >= self.hops) {
            return Ok(());
        }
        Err(Wrong {
            field: "mixed_hops",
            what: "configuration and code would be further apart than code and code".to_owned(),
            fix: "let it be at least `hops`".to_owned(),
        })
    }
}

impl Rule for Conflict {
    fn judge(&self, ask: &Ask<'_>) -> Vec<Answer> {
        judged(self.near(ask))
    }
}

impl Conflict {
    fn near(&self, ask: &Ask<'_>) -> Judged {
        let request = ask.request;
        said(request.others.as_ref(), "others")?;
        let furthest = self.mixed_hops.unwrap_or(self.hops);
        if furthest == 0 || request.rivals().next().is_none() {
            return Ok(Vec::new());
        }
        let known = fresh(request.facts.calls.as_ref(), "facts.calls", self.max_age, ask.now_ms)?;
        let from: Vec<&str> = ask.labels.of_key(APP).iter().map(|(_, app)| *app).collect();
        if from.is_empty() {
            return Err(Answer::unknown(UnknownReason::MissingLabel, APP));
        }
        let reached = reach(&known.value, &from, furthest);
        let own = Standing::of(request);
        let mut answers = Vec::new();
        for other in request.rivals().filter(|other| own.is_behind(other)) {
            let theirs = Labels::of(&other.scope);
            // Where the scopes themselves overlap, that is found already.
            if ask.labels.overlaps(&theirs) {
                continue;
            }
            let mixed = (request.change.kind == ChangeKind::Config) != (other.kind == ChangeKind::Config);
            let limit = if mixed { furthest } else { self.hops };
            let apps = theirs.of_key(APP);
            if limit > 0 && apps.is_empty() {
                let what = format!("others[{}].scope.app", other.change_id);
                answers.push(Answer::unknown(UnknownReason::MissingFact, what));
            }
            let nearest = apps
                .iter()
                .filter_map(|(_, app)| Some((reached.get(app)?.hops, *app)))
                .min_by_key(|(hops, _)| *hops);
            if let Some((hops, app)) = nearest
                && hops <= limit
            {
                let code = if mixed { Code::ConflictMixed } else { Code::ConflictNear };
                // Whether it is safer to stand still or to go back, no rule can know: nearby no more than on the spot.
                let stopped = other.kind == ChangeKind::Freeze && request.change.direction == Direction::Rollback;
                let answer = if stopped {
                    Answer::needs_person(code)
                } else {
                    Answer::hold(code, None)
                };
                answers.push(
                    answer
                        .with("change", &other.change_id)
                        .with("kind", other.kind.name())
                        .with("own_kind", request.change.kind.name())
                        .with("direction", other.direction.name())
                        .with("hops", hops)
                        .with("path", way(&reached, app).join(" - "))
                        .with("started_ms", other.started_ms)
                        .seen("facts.calls", known.at_ms, format!("{} calls", known.value.len())),
                );
            }
        }
        Ok(answers)
    }
}

/// How an application is reached on the shortest way.
#[derive(Debug, Clone, Copy)]
struct Reached<'c> {
    hops: u32,
    /// The application before it; itself where the way begins.
    by: &'c str,
}

/// The applications on the shortest way to one that is reached, both ends included.
fn way<'c>(reached: &BTreeMap<&'c str, Reached<'c>>, app: &'c str) -> Vec<&'c str> {
    let before = |app: &&'c str| reached.get(app).filter(|step| step.hops > 0).map(|step| step.by);
    let mut way: Vec<&str> = std::iter::successors(Some(app), before).collect();
    way.reverse();
    way
}

/// Every application within so many calls, whoever calls whom. Harm runs both ways: down as load, up as errors.
fn reach<'c>(calls: &'c [Call], from: &[&'c str], furthest: u32) -> BTreeMap<&'c str, Reached<'c>> {
    let mut near: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for call in calls {
        near.entry(&call.from).or_default().push(&call.to);
        near.entry(&call.to).or_default().push(&call.from);
    }
    let start = |app: &&'c str| (*app, Reached { hops: 0, by: app });
    let mut reached: BTreeMap<&str, Reached<'c>> = from.iter().map(start).collect();
    let mut todo: VecDeque<&str> = from.iter().copied().collect();
    while let Some(app) = todo.pop_front() {
        let hops = reached[app].hops;
        if hops >= furthest {
            continue;
        }
        for next in near.get(app).into_iter().flatten() {
            if !reached.contains_key(next) {
                let hops = hops + 1;
                reached.insert(next, Reached { hops, by: app });
                todo.push_back(next);
            }
        }
    }
    reached
}
