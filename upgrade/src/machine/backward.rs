//! The way back. Nothing in here commands an effect of the way forward, and nothing leads out of here but an end.
use super::{Command, Machine, Order, When, is_good, look_after};
use crate::{Ingress, Mode, Observation, Phase, Reason, Step, Terminal};

impl Machine {
    /// Turns back, for good.
    pub(super) fn go_back(&mut self, reason: Reason, now: When, seen: &Observation) -> Command {
        match self.plan.mode {
            Mode::Hot => return self.go_back_hot(reason, now, seen),
            Mode::Config => return self.go_back_config(reason, now),
            Mode::Cold | Mode::Warm => {}
        }
        if !self.touched && !self.closed {
            // Not our doing: there is nothing of ours to take back.
            // Who is called off leaves it as others have: they know of it.
            let is_called_off = matches!(reason, Reason::Aborted { .. });
            return if self.plan.mode == Mode::Warm && seen.ingress == Ingress::Closed && !is_called_off {
                self.ask_person(reason, seen)
            } else {
                Command::Finish(Terminal::Rejected { reason })
            };
        }
        self.went_back = Some(reason);
        if self.old_is_back(seen) {
            return self.verify_old(now, seen);
        }
        let close = self.plan.mode == Mode::Warm && seen.ingress != Ingress::Closed;
        if close && seen.phase == Phase::Running {
            self.enter(Step::Reclosing, now);
            return self.give_order(now);
        }
        self.restore(now, seen)
    }

    /// The old version runs, and no order of ours that could still replace it is open.
    pub(super) fn old_is_back(&self, seen: &Observation) -> bool {
        (self.runs_old(seen) || seen.version.is_none() && !self.seen_new) && (!self.touched || self.seen_new)
    }

    /// Orders the old version.
    pub(super) fn restore(&mut self, now: When, seen: &Observation) -> Command {
        if self.old_is_back(seen) {
            return self.verify_old(now, seen);
        }
        self.enter(Step::Restoring, now);
        self.give_order(now)
    }

    pub(super) fn at_restoring(&mut self, now: When, seen: &Observation) -> Command {
        let ordered = self.order != Order::Due;
        if ordered && self.runs_old(seen) && seen.phase == Phase::Running {
            return self.verify_old(now, seen);
        }
        if ordered && self.runs_old(seen) && seen.phase == Phase::Crashing && !self.was_healthy {
            return self.give_up(seen);
        }
        match self.order {
            Order::Due => self.give_order(now),
            _ if now.is_past(self.deadline_ms) => {
                let step = self.step;
                self.ask_person(Reason::TimedOut { step }, seen)
            }
            Order::Unsure if !self.runs_old(seen) && seen.phase != Phase::Starting => self.redo(now, seen),
            _ => look_after(now.answered_ms),
        }
    }

    /// Whether the old version may be ordered once more, where it did not come up.
    const fn may_restore_again(&self) -> bool {
        self.touched && !self.restored_again && matches!(self.plan.mode, Mode::Cold | Mode::Warm)
    }

    pub(super) fn verify_old(&mut self, now: When, seen: &Observation) -> Command {
        self.enter(Step::VerifyingOld, now);
        self.at_verifying_old(now, seen)
    }

    pub(super) fn at_verifying_old(&mut self, now: When, seen: &Observation) -> Command {
        if self.runs_new(seen) {
            // An order that was under way has overtaken us, or somebody put the new version back.
            self.contested = self.contested.saturating_add(1);
            if self.contested > self.timing.max_tries {
                return self.ask_person(Reason::ForeignVersion, seen);
            }
            self.seen_new = true;
            self.touched = true;
            self.enter(
                if self.plan.mode == Mode::Config {
                    Step::Reverting
                } else {
                    Step::Restoring
                },
                now,
            );
            return self.give_order(now);
        }
        let good = is_good(seen) && self.runs_old(seen);
        if !good && !self.was_healthy {
            // It was not well before, and nobody promised that it would get well.
            return self.give_up(seen);
        }
        let changed = self.good_looks > 0 && self.instance != seen.instance;
        if now.is_past(self.deadline_ms) && (!good || changed) {
            if self.may_restore_again() {
                // It served before: what did not come up once may the next time, and nothing is taken from anybody by that.
                self.restored_again = true;
                self.enter(Step::Restoring, now);
                return self.give_order(now);
            }
            let step = self.step;
            return self.ask_person(Reason::TimedOut { step }, seen);
        }
        if !self.count_look(good, seen) {
            return look_after(now.answered_ms);
        }
        if self.plan.mode == Mode::Warm {
            // Also where it looks open: a closing that was ordered may still be on its way.
            self.enter(Step::Reopening, now);
            return self.give_order(now);
        }
        self.rolled_back()
    }

    pub(super) fn at_reopening(&mut self, now: When, seen: &Observation) -> Command {
        if self.runs_new(seen) {
            return self.ask_person(Reason::ForeignVersion, seen);
        }
        let ordered = self.order != Order::Due;
        if ordered && seen.ingress == Ingress::Open {
            if is_good(seen) && self.runs_old(seen) {
                return self.rolled_back();
            }
            if now.is_past(self.deadline_ms) {
                let step = self.step;
                return self.ask_person(Reason::TimedOut { step }, seen);
            }
            return look_after(now.answered_ms);
        }
        if !(is_good(seen) && self.runs_old(seen)) {
            // It was verified, and is not what it was: nothing is opened onto it meanwhile.
            if now.is_past(self.deadline_ms) {
                let step = self.step;
                return self.ask_person(Reason::TimedOut { step }, seen);
            }
            return look_after(now.answered_ms);
        }
        self.open_again_if_late(now, seen)
    }

    pub(super) fn rolled_back(&self) -> Command {
        match &self.went_back {
            Some(reason) => Command::Finish(Terminal::RolledBack { reason: reason.clone() }),
            // Unreachable: every way here sets it. A person is asked rather than a reason made up.
            None => Command::Finish(Terminal::Superseded),
        }
    }

    /// The old version was put back as it was: not well.
    pub(super) fn give_up(&self, seen: &Observation) -> Command {
        let step = self.step;
        let reason = self.went_back.clone().unwrap_or(Reason::TimedOut { step });
        self.ask_person(reason, seen)
    }
}
