//! `kind: complete`: after a step, every target really runs what it should.

use serde::Deserialize;

use super::answer::{Answer, Judged, fresh, said};
use super::{Ask, BuiltIn, Rule, Wrong, judged};
use crate::finding::Code;
use crate::request::{Phase, Reality, Running, form};
use crate::verdict::UnknownReason;

/// What the targets run, compared with what they should, and with what their metadata says. Asked in phase Post alone.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Complete {
    /// How many of those that should run the new version must, in percent.
    #[serde(default = "all")]
    share: u64,
    /// How old what the caller looked up may be, in milliseconds.
    #[serde(default = "five_minutes", deserialize_with = "form::span::deserialize")]
    max_age: u64,
}

const fn all() -> u64 {
    100
}

const fn five_minutes() -> u64 {
    300_000
}

impl BuiltIn for Complete {
    const KIND: &'static str = "complete";
    const SPEAKS_IN: Option<Phase> = Some(Phase::Post);

    fn check(&self) -> Result<(), Wrong> {
        if (1..=100).contains(&self.share) {
            return Ok(());
        }
        Err(Wrong {
            field: "share",
            what: format!("{} is not a share", self.share),
            fix: "write percent from 1 to 100".to_owned(),
        })
    }
}

impl Rule for Complete {
    fn judge(&self, ask: &Ask<'_>) -> Vec<Answer> {
        match ask.request.phase {
            Phase::Pre => Vec::new(),
            Phase::Post => judged(self.really(ask)),
        }
    }
}

impl Complete {
    fn really(&self, ask: &Ask<'_>) -> Judged {
        let to = &said(ask.request.change.versions.as_ref(), "change.versions")?.to;
        let known = fresh(
            ask.request.facts.reality.as_ref(),
            "facts.reality",
            self.max_age,
            ask.now_ms,
        )?;
        let reality = &known.value;
        let count = |which: &dyn Fn(&Running) -> bool| {
            reality
                .running
                .iter()
                .filter(|group| which(group))
                .fold(0_u64, |sum, group| sum.saturating_add(group.count))
        };
        let runs = |group: &Running| group.version.as_ref() == Some(to);
        let done = count(&|group| runs(group) && group.ready);
        let mut answers = Vec::new();
        if reality.expected > 0 && count(&runs) > reality.expected {
            // The batch is larger than somebody thinks, or the count is not of now.
            let what = "facts.reality: more targets run it than should";
            answers.push(Answer::unknown(UnknownReason::Unreadable, what));
        }
        if reality.expected == 0 || count(&|_| true) == 0 {
            let what = "facts.reality: no target was looked at";
            answers.push(Answer::unknown(UnknownReason::NoEvidence, what));
        } else if u128::from(done) * 100 < u128::from(reality.expected) * u128::from(self.share) {
            let dumb = count(&|group| group.version.is_none());
            answers.push(
                Answer::hold(Code::CompleteMissing, None)
                    .with("done", done)
                    .with("expected", reality.expected)
                    .with("not_ready", count(&|group| runs(group) && !group.ready))
                    .with("silent", dumb)
                    .with("sample", sample(reality, &|group| !(runs(group) && group.ready))),
            );
        }
        let liars =
            |group: &Running| group.version.is_some() && group.declared.is_some() && group.version != group.declared;
        if count(&liars) > 0 {
            answers.push(
                Answer::hold(Code::CompleteMismatch, None)
                    .with("count", count(&liars))
                    .with("sample", sample(reality, &liars)),
            );
        }
        if !reality.unlisted.is_empty() {
            answers.push(
                Answer::needs_person(Code::CompleteUnlisted)
                    .with("count", reality.unlisted.len())
                    .with("sample", first(reality.unlisted.iter())),
            );
        }
        let seen = format!("{done} of {} run {to}", reality.expected);
        Ok(answers
            .into_iter()
            .map(|answer| answer.with("version", to).seen("facts.reality", known.at_ms, &seen))
            .collect())
    }
}

fn sample(reality: &Reality, which: &dyn Fn(&Running) -> bool) -> String {
    let names = reality.running.iter().filter(|group| which(group));
    first(names.flat_map(|group| group.sample.iter()))
}

/// The first few names, enough to look at.
fn first<'n>(names: impl Iterator<Item = &'n String>) -> String {
    let names: Vec<&str> = names.take(5).map(String::as_str).collect();
    if names.is_empty() {
        "nobody named one".to_owned()
    } else {
        names.join(", ")
    }
}
