//! `kind: soak`: earlier stages have been done for long enough, and tried what comes next.

use serde::Deserialize;

use super::answer::{Answer, Judged, fresh, said};
use super::{Ask, BuiltIn, Rule, Wrong, judged};
use crate::finding::Code;
use crate::request::{Direction, Stage, form};
use crate::verdict::UnknownReason;

/// Time and coverage that earlier stages must have.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Soak {
    /// How long each stage must have been done, in milliseconds.
    #[serde(deserialize_with = "form::span::deserialize")]
    at_least: u64,
    /// How much of each stage must be done, in percent.
    #[serde(default = "all")]
    coverage: u64,
    /// Labels whose every value in the scope some earlier stage must have had.
    #[serde(default)]
    covers: Vec<String>,
    /// How old what the caller looked up may be, in milliseconds.
    #[serde(default = "ten_minutes", deserialize_with = "form::span::deserialize")]
    max_age: u64,
}

const fn all() -> u64 {
    100
}

const fn ten_minutes() -> u64 {
    600_000
}

impl BuiltIn for Soak {
    const KIND: &'static str = "soak";

    fn check(&self) -> Result<(), Wrong> {
        if (1..=100).contains(&self.coverage) {
            return Ok(());
        }
        Err(Wrong {
            field: "coverage",
            what: format!("{} is not a share", self.coverage),
            fix: "write percent from 1 to 100".to_owned(),
        })
    }
}

impl Rule for Soak {
    fn judge(&self, ask: &Ask<'_>) -> Vec<Answer> {
        // Going back is no promotion, and what burns must not soak first.
        match ask.request.change.direction {
            Direction::Rollback => Vec::new(),
            Direction::Forward => judged(self.stages(ask)),
        }
    }

    fn label_keys(&self) -> Vec<&str> {
        self.covers.iter().map(String::as_str).collect()
    }
}

impl Soak {
    fn stages(&self, ask: &Ask<'_>) -> Judged {
        let request = ask.request;
        let known = fresh(request.facts.stages.as_ref(), "facts.stages", self.max_age, ask.now_ms)?;
        let stages = &known.value;
        let moves = request.counts.in_flight.is_some_and(|targets| targets > 0);
        if stages.is_empty() && request.known_start().is_none() && !moves {
            // The first stage has none before it, and nothing of it moves yet.
            return Ok(Vec::new());
        }
        // An empty stage is neither waited for nor proof of anything.
        let tried: Vec<&Stage> = stages.iter().filter(|stage| stage.targets > 0).collect();
        if tried.is_empty() {
            return Err(Answer::unknown(
                UnknownReason::NoEvidence,
                "facts.stages: no stage has a target",
            ));
        }
        let mut answers = Vec::new();
        for stage in &tried {
            answers.extend(judged(self.stage(stage, ask.now_ms)));
        }
        for label in &self.covers {
            let values = ask.labels.of_key(label);
            if values.is_empty() {
                answers.push(Answer::unknown(UnknownReason::MissingLabel, label.as_str()));
            }
            for (_, value) in values {
                if !tried
                    .iter()
                    .any(|stage| stage.covers.values(label).any(|tried| tried == *value))
                {
                    answers.push(
                        Answer::hold(Code::SoakClass, None)
                            .with("label", label)
                            .with("value", value),
                    );
                }
            }
        }
        Ok(answers
            .into_iter()
            .map(|answer| answer.seen("facts.stages", known.at_ms, format!("{} stages", stages.len())))
            .collect())
    }

    fn stage(&self, stage: &Stage, now_ms: i64) -> Judged {
        let of = |answer: Answer| {
            answer
                .with("stage", &stage.name)
                .with("done", stage.done)
                .with("targets", stage.targets)
        };
        if stage.done > stage.targets {
            let what = format!("facts.stages[{}]: more done than there are", stage.name);
            return Err(of(Answer::unknown(UnknownReason::Unreadable, what)));
        }
        if u128::from(stage.done) * 100 < u128::from(stage.targets) * u128::from(self.coverage) {
            return Ok(vec![of(
                Answer::hold(Code::SoakCoverage, None).with("coverage", self.coverage)
            )]);
        }
        let since_ms = said(stage.since_ms, &format!("facts.stages[{}].since", stage.name))?;
        if since_ms > now_ms {
            let what = format!("facts.stages[{}].since", stage.name);
            return Err(Answer::unknown(UnknownReason::FutureFact, what).with("seen_ms", since_ms));
        }
        let ends_ms = since_ms.saturating_add(i64::try_from(self.at_least).unwrap_or(i64::MAX));
        let short = || of(Answer::hold(Code::SoakShort, Some(ends_ms)).with("since_ms", since_ms));
        Ok((ends_ms > now_ms).then(short).into_iter().collect())
    }
}
