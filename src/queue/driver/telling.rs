//! What people have to know of the queue as long as it is so.

use crate::notice::{Matter, NOTICE_SCHEMA, Said};
use crate::queue::{QueueSummary, Standing, State, Wait};
use crate::{Notice, Severity};

use super::{Refusal, Run};

/// For so long a refusal is open: its author has read it by then, or never will.
const REFUSED_MS: u64 = 24 * 3_600_000;

impl Run {
    /// Says what has come up, what is still so, and what is over.
    pub(super) fn tell(&mut self) {
        let (now_ms, at_unix_ms) = (self.parts.clock.now(), self.parts.clock.wall());
        self.refused
            .retain(|_, refusal| now_ms < refusal.since_ms.saturating_add(REFUSED_MS));
        let summary = self
            .shared
            .machine
            .lock()
            .as_ref()
            .map(|queue| queue.summary(at_unix_ms));
        let Some(summary) = summary else { return };
        let mut matters = self.matters(&summary);
        self.matters_of_journal(&mut matters);
        for (change, Refusal { owner, why, .. }) in &self.refused {
            let text = format!("{change} was not taken: {why}");
            matters.push(Matter {
                otherwise: "nothing of it happens".to_owned(),
                remedy: "mend it, and submit it under another name".to_owned(),
                ..matter("queue.refused", change, owner.clone(), Severity::Warning, text)
            });
        }
        let said = self.desk.reconcile(matters, now_ms, &self.parts.telling);
        let notices = said.iter().map(|said| notice(said, now_ms, at_unix_ms));
        self.outbox.push(notices);
    }

    /// What keeps the queue itself from going on.
    fn matters_of_journal(&self, matters: &mut Vec<Matter>) {
        let of_queue = |code, text| Matter::new(code, Severity::Critical, text);
        if let Some(why) = &self.written.away {
            let text = format!("the queue's journal cannot be written, and it is tried again: {why}");
            matters.push(Matter {
                otherwise: "nothing begins before it can; what is under way goes on".to_owned(),
                remedy: "see to its disk; where that works and this stays, start the queue anew".to_owned(),
                ..of_queue("journal.failed", text)
            });
        }
        if let Some(why) = &self.written.failed {
            let text = format!("the queue is driven no more: {why}");
            matters.push(Matter {
                otherwise: "what is under way comes to its end, and nothing else begins".to_owned(),
                remedy: "mend that, and start the queue anew".to_owned(),
                ..of_queue("run.failed", text)
            });
        }
    }

    fn matters(&self, summary: &QueueSummary) -> Vec<Matter> {
        let patience_ms = self
            .shared
            .machine
            .lock()
            .as_ref()
            .map_or(u64::MAX, |queue| queue.limits.patience_ms);
        let mut matters = Vec::new();
        for standing in &summary.changes {
            let waited_ms = u64::try_from(summary.at_unix_ms.saturating_sub(standing.submitted_unix_ms)).unwrap_or(0);
            match &standing.state {
                State::Stopped { why, .. } => {
                    let blocked = (summary.changes.iter()).filter(|other| waits_for_stopped(other, &standing.change));
                    let blocked = blocked.count();
                    let text = format!(
                        "{} has stopped before its end ({why}), and {blocked} changes wait for it",
                        standing.change
                    );
                    let severity = if blocked > 0 {
                        Severity::Critical
                    } else {
                        Severity::Warning
                    };
                    matters.push(Matter {
                        otherwise: "its targets may run either version, and nobody else may change them".to_owned(),
                        remedy: "answer what it waits for and resume it, or give it up".to_owned(),
                        ..matter("queue.stopped", &standing.change, owner(standing), severity, text)
                    });
                }
                State::Waiting if standing.emergency.is_some() && !standing.waits.is_empty() => {
                    matters.push(Matter {
                        otherwise: "it begins when they have ended".to_owned(),
                        remedy: "end or take back what is in its way".to_owned(),
                        ..matter(
                            "queue.emergency",
                            &standing.change,
                            owner(standing),
                            Severity::Critical,
                            why(standing),
                        )
                    });
                }
                State::Waiting if standing.waits.iter().any(|wait| matches!(wait, Wait::Late { .. })) => {
                    matters.push(Matter {
                        otherwise: "it is tried again some times, and refused then".to_owned(),
                        remedy: "see to what puts changes together, or withdraw it".to_owned(),
                        ..matter(
                            "queue.late",
                            &standing.change,
                            owner(standing),
                            Severity::Warning,
                            why(standing),
                        )
                    });
                }
                State::Waiting if waited_ms >= patience_ms && !standing.waits.is_empty() => {
                    matters.push(Matter {
                        otherwise: "it goes before all others but emergencies as soon as it can".to_owned(),
                        remedy: "end what is in its way, or withdraw it".to_owned(),
                        ..matter(
                            "queue.waits",
                            &standing.change,
                            owner(standing),
                            Severity::Warning,
                            why(standing),
                        )
                    });
                }
                State::Waiting | State::UnderWay { .. } => {}
            }
        }
        matters
    }
}

fn waits_for_stopped(standing: &Standing, stopped: &str) -> bool {
    (standing.waits.iter()).any(|wait| matches!(wait, Wait::Stopped { change, .. } if change == stopped))
}

fn owner(standing: &Standing) -> String {
    standing.author.clone()
}

fn why(standing: &Standing) -> String {
    let waits: Vec<String> = standing.waits.iter().map(ToString::to_string).collect();
    format!("{} waits: {}", standing.change, waits.join("; "))
}

fn matter(code: &'static str, change: &str, owner: String, severity: Severity, text: String) -> Matter {
    Matter {
        detail: Some(change.to_owned()),
        one_of_many: true,
        owner,
        ..Matter::new(code, severity, text)
    }
}

fn notice(said: &Said, now_ms: u64, at_unix_ms: i64) -> Notice {
    let Said {
        matter,
        stage,
        raised_ms,
    } = said;
    let ago_ms = now_ms.saturating_sub(*raised_ms);
    Notice {
        schema: NOTICE_SCHEMA,
        code: matter.code.to_owned(),
        severity: matter.severity,
        dedup_key: matter.key(),
        change: matter.detail.clone().unwrap_or_default(),
        lanes: Vec::new(),
        owner: matter.owner.clone(),
        stage: stage.clone(),
        raised_unix_ms: at_unix_ms.saturating_sub_unsigned(ago_ms),
        at_unix_ms,
        text: format!(
            "{}. Otherwise: {}. What helps: {}",
            matter.text, matter.otherwise, matter.remedy
        ),
        question: None,
        briefing: None,
    }
}
