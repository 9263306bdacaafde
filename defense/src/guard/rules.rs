//! What rules say, and what that counts for.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Guard;
use crate::digest::Seal;
use crate::finding::{Code, Finding};
use crate::index::Known;
use crate::pack::{Decoded, Pack, PackError, PackErrors};
use crate::request::{Phase, Request};
use crate::rule::{Answer, Ask, Entry, Imposed, OnUnknown};
use crate::scope::Labels;
use crate::selector::{Match, Selector};
use crate::verdict::{UnknownReason, Verdict};

/// Findings that count, and those of rules on trial.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) counted: Vec<Finding>,
    pub(crate) shadow: Vec<Finding>,
}

impl Found {
    pub(crate) fn push(&mut self, shadow: bool, finding: Finding) {
        if shadow {
            self.shadow.push(finding);
        } else {
            self.counted.push(finding);
        }
    }
}

/// Who imposes what a finding is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'s> {
    pub(crate) pack: &'s str,
    pub(crate) id: &'s str,
    pub(crate) version: &'s str,
    pub(crate) owner: &'s str,
    pub(crate) reason: &'s str,
    pub(crate) unknown: &'s OnUnknown,
    /// The label of tiers.
    pub(crate) tier: &'s str,
}

impl Source<'_> {
    /// A finding of an answer, given how the selection of its rule met the scope.
    pub(crate) fn finding(self, answer: Answer, matched: Match<'_>, labels: &Labels<'_>) -> Finding {
        let Answer {
            mut code,
            mut params,
            mut verdict,
            mut until,
            evidence,
        } = answer;
        if let Match::Maybe(label) = matched {
            code = Code::LabelMissing;
            params.insert("label".to_owned(), label.to_owned());
            verdict = Verdict::Unknown(UnknownReason::MissingLabel);
            until = None;
        }
        let mut unknown = None;
        if let Verdict::Unknown(reason) = verdict {
            unknown = Some(reason);
            let tiers = labels.of_key(self.tier).iter().map(|(_, tier)| *tier);
            verdict = verdict.join(self.unknown.verdict(tiers));
        }
        Finding {
            code,
            params,
            rule: [self.pack, "/", self.id].concat(),
            version: self.version.to_owned(),
            verdict,
            until,
            unknown,
            reason: self.reason.to_owned(),
            owner: self.owner.to_owned(),
            evidence,
            input: String::new(),
        }
    }
}

/// After a step nothing is stronger than a hold: what has happened cannot be denied, and whether to take it back is not
/// decided here.
pub(crate) fn only_holds(phase: Phase, findings: &mut [Finding]) {
    if phase == Phase::Post {
        for finding in findings {
            finding.verdict = finding.verdict.min(Verdict::Hold { until: None });
        }
    }
}

impl Guard {
    /// The same guard with rules written in code, under a name that no pack has. They come on top of what the packs say.
    ///
    /// # Errors
    /// The name is taken, or an id is used twice; nothing is added.
    pub fn with_rules(&self, name: &str, rules: impl IntoIterator<Item = Imposed>) -> Result<Self, PackErrors> {
        let fault = |what: String, fix: &str| {
            Err(PackErrors::one(PackError {
                file: name.to_owned(),
                line: 0,
                column: 0,
                what,
                fix: fix.to_owned(),
            }))
        };
        let Decoded {
            mut packs,
            mut windows,
            rules: mut entries,
            keys,
            mut tests,
            charter,
        } = self.0.decoded.clone();
        let Err(at) = packs.binary_search_by(|pack| pack.name.as_str().cmp(name)) else {
            return fault(format!("the pack `{name}` exists already"), "choose another name");
        };
        let mut imposed: Vec<Imposed> = rules.into_iter().collect();
        imposed.sort_by(|a, b| a.terms.id.cmp(&b.terms.id));
        if let Some(twice) = imposed.windows(2).find(|pair| pair[0].terms.id == pair[1].terms.id) {
            return fault(
                format!("the id `{}` is used twice", twice[0].terms.id),
                "give each rule an id of its own",
            );
        }
        let mut version = Seal::new("code/1");
        for Imposed { terms, .. } in &imposed {
            for text in [&terms.id, &terms.version, &terms.owner, &terms.reason] {
                version = version.text(text);
            }
            version = version.text(&format!("{:?} {:?} {}", terms.selector, terms.unknown, terms.shadow));
        }
        for window in &mut windows {
            window.pack += usize::from(window.pack >= at);
        }
        for entry in &mut entries {
            entry.pack += usize::from(entry.pack >= at);
        }
        for test in &mut tests {
            test.pack += usize::from(test.pack >= at);
        }
        let before = entries.partition_point(|entry| entry.pack < at);
        entries.splice(
            before..before,
            imposed.into_iter().map(|Imposed { terms, rule }| Entry {
                pack: at,
                id: terms.id,
                selector: terms.selector,
                owner: terms.owner,
                reason: terms.reason,
                unknown: terms.unknown,
                phase: None,
                step: None,
                shadow: terms.shadow,
                rule,
            }),
        );
        packs.insert(
            at,
            Pack {
                name: name.to_owned(),
                version: version.hex(),
                scope: Selector::default(),
                file: name.to_owned(),
                least_open: None,
            },
        );
        let decoded = Decoded {
            packs,
            windows,
            rules: entries,
            keys,
            tests,
            charter,
        };
        Ok(Self::of(decoded, self.0.sources.clone()))
    }

    /// What built-in rules say, those that may apply for all the scope says among them.
    pub(super) fn ask_rules(&self, request: &Request, labels: &Labels<'_>, known: &Known<'_>, now_ms: i64) -> Found {
        let mut found = Found::default();
        for (id, matched) in self.0.by_rule.meeting(known) {
            let entry = &self.0.decoded.rules[id];
            if entry.phase.is_some_and(|phase| phase != request.phase)
                || entry.step.is_some_and(|step| step != request.step)
            {
                continue;
            }
            let ask = Ask {
                request,
                now_ms,
                labels,
                selector: &entry.selector,
            };
            // A rule is pure: nothing of it can be left half done.
            let answers = catch_unwind(AssertUnwindSafe(|| entry.rule.judge(&ask)))
                .unwrap_or_else(|panic| vec![Answer::unknown(UnknownReason::Panicked, said_by(panic.as_ref()))]);
            if answers.is_empty() {
                continue;
            }
            let pack = &self.0.decoded.packs[entry.pack];
            let source = Source {
                pack: &pack.name,
                id: &entry.id,
                version: &pack.version,
                owner: &entry.owner,
                reason: &entry.reason,
                unknown: &entry.unknown,
                tier: self.tier(),
            };
            for answer in answers {
                found.push(entry.shadow, source.finding(answer, matched, labels));
            }
        }
        found
    }
}

/// What a panic says.
pub(crate) fn said_by(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("it does not say why")
        .to_owned()
}
