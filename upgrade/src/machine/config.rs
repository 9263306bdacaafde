//! Config: push, see it acknowledged, probe, and revert to the last known good one. Ingress stays as it is.
//!
//! The steps that verify and rest are those of the other modes: what "runs" there is what was acknowledged here.
use super::{Command, Machine, Order, When, is_good, look_after};
use crate::{ConfigSeen, Observation, Reason, Step, Terminal};

impl Machine {
    pub(super) fn at_config_planned(&mut self, now: When, seen: &Observation) -> Command {
        if self.is_foreign(seen) {
            return Command::Finish(Terminal::Rejected {
                reason: Reason::ForeignVersion,
            });
        }
        if self.runs_new(seen) {
            self.enter(Step::Verifying, now);
            return look_after(now.answered_ms);
        }
        if self.runs_old(seen) {
            self.was_healthy = is_good(seen);
            return self.start(now);
        }
        if now.is_past(self.deadline_ms) {
            // Whoever does not say what it works by has no last known good one to go back to.
            let step = self.step;
            return Command::Finish(Terminal::Rejected {
                reason: Reason::TimedOut { step },
            });
        }
        look_after(now.answered_ms)
    }

    pub(super) fn at_pushing(&mut self, now: When, seen: &Observation) -> Command {
        if let Some(refusal) = refusal(seen, &self.plan.to) {
            return self.go_back(Reason::ConfigRefused { refusal }, now, seen);
        }
        if self.runs_new(seen) && self.order != Order::Due {
            self.enter(Step::Verifying, now);
            return self.at_verifying(now, seen);
        }
        match self.order {
            Order::Due => self.give_order(now),
            _ if now.is_past(self.deadline_ms) => self.go_back(Reason::TimedOut { step: Step::Pushing }, now, seen),
            Order::Unsure => self.redo(now, seen),
            _ => look_after(now.answered_ms),
        }
    }

    /// The last known good one is pushed even where it shows: the new one may be under way, and becomes stale by this.
    pub(super) fn go_back_config(&mut self, reason: Reason, now: When) -> Command {
        if !self.touched {
            return Command::Finish(Terminal::Rejected { reason });
        }
        self.went_back.get_or_insert(reason);
        self.enter(Step::Reverting, now);
        self.give_order(now)
    }

    pub(super) fn at_reverting(&mut self, now: When, seen: &Observation) -> Command {
        if let Some(refusal) = refusal(seen, &self.plan.from) {
            return self.ask_person(Reason::ConfigRefused { refusal }, seen);
        }
        if self.runs_old(seen) && self.order == Order::Taken {
            return self.verify_old(now, seen);
        }
        match self.order {
            Order::Due => self.give_order(now),
            _ if now.is_past(self.deadline_ms) => {
                let step = self.step;
                self.ask_person(Reason::TimedOut { step }, seen)
            }
            Order::Unsure => self.redo(now, seen),
            _ => look_after(now.answered_ms),
        }
    }

    /// After a restart of the controller, on the way forward.
    pub(super) fn config_recover(&mut self, now: When, seen: &Observation) -> Command {
        if self.runs_new(seen) {
            self.enter(Step::Verifying, now);
            return self.at_verifying(now, seen);
        }
        self.enter(Step::Pushing, now);
        self.at_pushing(now, seen)
    }
}

/// The instance's words, if it refused this version.
fn refusal(seen: &Observation, of: &crate::Version) -> Option<std::sync::Arc<str>> {
    let ConfigSeen { refused, .. } = seen.config.as_deref()?;
    let (version, words) = refused.as_ref()?;
    (version == of).then(|| words.clone())
}
