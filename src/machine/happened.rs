//! What has happened since the last time, for those who listen. It decides nothing.

use std::mem::{Discriminant, discriminant};

use unattended_health::{HoldReason, Verdict};

use crate::events::Happened;

use super::Machine;

/// Which verdict, and for a hold of which kind: numbers in it change all the time.
pub(super) type VerdictKind = (&'static str, Option<Discriminant<HoldReason>>);

impl Machine {
    /// How many runs took the change up after the first.
    pub(crate) const fn runs(&self) -> u32 {
        self.runs
    }

    /// Verdicts, holds and decisions since the last call, which is right before those are [taken](Self::take_decided).
    pub(crate) fn happened(&mut self) -> Vec<Happened> {
        let mut happened = Vec::new();
        happened.extend(self.verdict_news());
        for (hold, over) in self.record.take_hold_news() {
            happened.push(if over {
                Happened::HoldEnded {
                    lane: hold.lane,
                    by: hold.by,
                }
            } else {
                Happened::Hold {
                    until_unix_ms: hold.until_ms.map(|until| self.unix_ms(until)),
                    lane: hold.lane,
                    by: hold.by,
                    reason: hold.reason,
                    owner: hold.owner,
                }
            });
        }
        happened.extend(self.record.fresh().map(|decision| Happened::Decision {
            code: decision.code.clone(),
            text: decision.text.clone(),
            otherwise: decision.otherwise.clone(),
        }));
        happened
    }

    fn verdict_news(&mut self) -> Option<Happened> {
        let verdict = self.judge.verdict();
        let word = match verdict {
            Verdict::Reject => "reject",
            Verdict::Rollback => "rollback",
            Verdict::Hold(_) => "hold",
            Verdict::Promote => "promote",
            Verdict::Continue => "continue",
        };
        let (reason, text) = match verdict {
            Verdict::Hold(hold) => (Some(discriminant(&hold.reason)), hold.to_string()),
            _ => (None, String::new()),
        };
        let kind = (word, reason);
        if self.last_verdict.replace(kind) == Some(kind) {
            return None;
        }
        Some(Happened::Verdict {
            verdict: word.to_owned(),
            text: if text.is_empty() {
                self.judge.explain().headline()
            } else {
                text
            },
            evidence: libm::exp(self.judge.ln_e().min(700.0)),
            evidence_needed: 1.0 / self.setup.change.settings.alpha,
        })
    }
}
