//! `kind: conflict`: changes that do not touch the same targets, and meet all the same.
//!
//! Changes of one scope are serialized whether a pack says so or not. This rule asks for the list of changes in flight, and
//! looks further: along calls, up to so many hops, and further where configuration meets code.

use std::collections::{BTreeMap, VecDeque};

use serde::Deserialize;

use super::answer::{Answer, Judged, fresh, said};
use super::{Ask, BuiltIn, Rule, Wrong, judged};
use crate::conflict::goes_first;
use crate::finding::Code;
use crate::request::{Call, ChangeKind, form};
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
        let mut answers = Vec::new();
        for other in request.rivals().filter(|other| goes_first(other, request)) {
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
                .filter_map(|(_, app)| reached.get(app))
                .min_by_key(|path| path.len());
            if let Some(path) = nearest
                && path.len() as u64 <= u64::from(limit) + 1
            {
                answers.push(
                    Answer::hold(if mixed { Code::ConflictMixed } else { Code::ConflictNear }, None)
                        .with("change", &other.change_id)
                        .with("kind", other.kind.name())
                        .with("own_kind", request.change.kind.name())
                        .with("direction", other.direction.name())
                        .with("hops", path.len() - 1)
                        .with("path", path.join(" - "))
                        .with("started_ms", other.started_ms)
                        .seen("facts.calls", known.at_ms, format!("{} calls", known.value.len())),
                );
            }
        }
        Ok(answers)
    }
}

/// Every application within so many calls, whoever calls whom, with the shortest way to it. Harm runs both ways: down as
/// load, up as errors.
fn reach<'c>(calls: &'c [Call], from: &[&'c str], furthest: u32) -> BTreeMap<&'c str, Vec<&'c str>> {
    let mut near: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for call in calls {
        near.entry(&call.from).or_default().push(&call.to);
        near.entry(&call.to).or_default().push(&call.from);
    }
    let mut reached: BTreeMap<&str, Vec<&str>> = from.iter().map(|app| (*app, vec![*app])).collect();
    let mut todo: VecDeque<&str> = from.iter().copied().collect();
    while let Some(app) = todo.pop_front() {
        let way = reached[app].clone();
        if way.len() as u64 > u64::from(furthest) {
            continue;
        }
        for next in near.get(app).into_iter().flatten() {
            if !reached.contains_key(next) {
                let mut way = way.clone();
                way.push(next);
                reached.insert(next, way);
                todo.push_back(next);
            }
        }
    }
    reached
}
