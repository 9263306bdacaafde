//! The way forward.
use super::{Command, Machine, Order, When, is_good, look_after, proof_against};
use crate::{Ingress, Mode, Observation, Phase, Reason, Serving, Step, Terminal};

impl Machine {
    pub(super) fn at_planned(&mut self, now: When, seen: &Observation) -> Command {
        if self.is_foreign(seen) {
            return Command::Finish(Terminal::Rejected {
                reason: Reason::ForeignVersion,
            });
        }
        if self.runs_new(seen) {
            self.seen_new = true;
            let reachable = self.plan.mode == Mode::Cold || seen.ingress == Ingress::Open;
            if is_good(seen) && reachable {
                return Command::Finish(Terminal::Done);
            }
            // Somebody else brought it: verify it as if we had; what fails then is not ours to put back.
            self.enter(Step::Verifying, now);
            return self.at_verifying(now, seen);
        }
        if seen.version.is_none() && seen.phase == Phase::Running {
            // Something runs and nobody can say what.
            if now.is_past(self.deadline_ms) {
                return Command::Finish(Terminal::Rejected {
                    reason: Reason::TimedOut { step: Step::Planned },
                });
            }
            return look_after(now.answered_ms);
        }
        self.was_healthy = is_good(seen) && self.serving(seen) != Serving::No;
        self.start(now)
    }

    /// The first step that touches anything.
    pub(super) fn start(&mut self, now: When) -> Command {
        let first = if self.plan.prefetch && self.plan.mode != Mode::Config {
            Step::Prefetching
        } else {
            self.after_prefetch()
        };
        self.enter(first, now);
        self.give_order(now)
    }

    pub(super) const fn after_prefetch(&self) -> Step {
        match self.plan.mode {
            Mode::Cold => Step::Replacing,
            Mode::Warm => Step::Closing,
            Mode::Hot => Step::Spawning,
            Mode::Config => Step::Pushing,
        }
    }

    pub(super) fn at_prefetching(&mut self, now: When, seen: &Observation) -> Command {
        match self.order {
            Order::Due => self.give_order(now),
            Order::Unsure => self.redo(now, seen),
            // An artefact brought near does not show; that the order was taken is enough, since a replacement fetches
            // what is missing.
            _ => {
                let step = self.after_prefetch();
                self.enter(step, now);
                self.give_order(now)
            }
        }
    }

    /// Also the way back's.
    pub(super) fn at_closing(&mut self, now: When, seen: &Observation) -> Command {
        let back = self.step == Step::Reclosing;
        if !back && self.runs_new(seen) {
            return self.at_surprise(now);
        }
        if back && self.order == Order::Skipped {
            return self.restore(now, seen);
        }
        if seen.ingress == Ingress::Closed && self.closed {
            self.tally.draining = seen.active.unwrap_or(0);
            let drain = if back { Step::Redraining } else { Step::Draining };
            self.enter(drain, now);
            let until = *self.drain_until_ms.get_or_insert(self.deadline_ms);
            self.deadline_ms = if back { self.deadline_ms } else { until };
            return self.at_draining(now, seen);
        }
        match self.order {
            Order::Due => self.give_order(now),
            _ if now.is_past(self.deadline_ms) => {
                let step = self.step;
                if back {
                    return self.restore(now, seen);
                }
                self.go_back(Reason::TimedOut { step }, now, seen)
            }
            Order::Unsure => self.redo(now, seen),
            _ => look_after(now.answered_ms),
        }
    }

    /// Also the way back's.
    pub(super) fn at_draining(&mut self, now: When, seen: &Observation) -> Command {
        let back = self.step == Step::Redraining;
        if !back && self.runs_new(seen) {
            return self.at_surprise(now);
        }
        if seen.ingress == Ingress::Open {
            return self.close_again(now, seen);
        }
        let running = seen.phase == Phase::Running;
        let empty = !running || seen.active == Some(0);
        if !empty && !now.is_past(self.deadline_ms) {
            return look_after(now.answered_ms);
        }
        let left = if running { seen.active.unwrap_or(0) } else { 0 };
        let ended = self.tally.draining.saturating_sub(left);
        let counts = &mut self.tally.counts;
        counts.cut = counts.cut.saturating_add(left);
        counts.drained = counts.drained.saturating_add(ended);
        if back {
            return self.restore(now, seen);
        }
        self.enter(Step::Replacing, now);
        self.give_order(now)
    }

    /// Ingress was opened by somebody else, or by the platform's watchdog, before the replacement.
    fn close_again(&mut self, now: When, seen: &Observation) -> Command {
        self.contested = self.contested.saturating_add(1);
        let back = self.went_back.is_some();
        if self.contested > self.timing.max_tries {
            if back {
                return self.restore(now, seen);
            }
            return self.go_back(Reason::IngressContested, now, seen);
        }
        self.drain_until_ms = None;
        self.enter(if back { Step::Reclosing } else { Step::Closing }, now);
        self.give_order(now)
    }

    /// The new version is there before it was ordered: verify it, as at the start, but by looks that are had for that.
    fn at_surprise(&mut self, now: When) -> Command {
        self.seen_new = true;
        self.enter(Step::Verifying, now);
        look_after(now.answered_ms)
    }

    pub(super) fn at_replacing(&mut self, now: When, seen: &Observation) -> Command {
        if self.runs_new(seen) {
            self.seen_new = true;
            if let Some(reason) = proof_against(seen) {
                return self.go_back(reason, now, seen);
            }
            if seen.phase == Phase::Running {
                self.enter(Step::Verifying, now);
                return self.at_verifying(now, seen);
            }
        }
        match self.order {
            Order::Due if self.plan.mode == Mode::Warm && seen.ingress == Ingress::Open => self.close_again(now, seen),
            Order::Due => self.give_order(now),
            _ if now.is_past(self.deadline_ms) => self.go_back(Reason::TimedOut { step: Step::Replacing }, now, seen),
            Order::Unsure if !self.runs_new(seen) && seen.phase != Phase::Starting => {
                if self.plan.mode == Mode::Warm && seen.ingress == Ingress::Open {
                    return self.close_again(now, seen);
                }
                self.redo(now, seen)
            }
            _ => look_after(now.answered_ms),
        }
    }

    pub(super) fn at_verifying(&mut self, now: When, seen: &Observation) -> Command {
        if self.runs_old(seen) {
            return self.go_back(Reason::ForeignVersion, now, seen);
        }
        if let Some(reason) = proof_against(seen) {
            return self.go_back(reason, now, seen);
        }
        let good = is_good(seen) && self.runs_new(seen);
        let late = now.is_past(self.deadline_ms);
        let changed = self.good_looks > 0 && self.instance != seen.instance;
        // After the deadline an unbroken row of good looks may still be completed: a controller that could not
        // look must not blame the instance for it.
        if late && (!good || changed) {
            return self.go_back(Reason::TimedOut { step: Step::Verifying }, now, seen);
        }
        if !self.count_look(good, seen) {
            return look_after(now.answered_ms);
        }
        if self.plan.mode == Mode::Warm && seen.ingress != Ingress::Open {
            self.enter(Step::Opening, now);
            return self.give_order(now);
        }
        self.enter_probation(now, seen)
    }

    pub(super) fn at_opening(&mut self, now: When, seen: &Observation) -> Command {
        if self.runs_old(seen) {
            return self.go_back(Reason::ForeignVersion, now, seen);
        }
        if let Some(reason) = proof_against(seen) {
            return self.go_back(reason, now, seen);
        }
        if seen.ingress == Ingress::Open {
            return self.enter_probation(now, seen);
        }
        if !(is_good(seen) && self.runs_new(seen)) {
            // It was verified, and is not what it was: nothing is opened onto it meanwhile.
            if now.is_past(self.deadline_ms) {
                return self.go_back(Reason::TimedOut { step: Step::Opening }, now, seen);
            }
            return look_after(now.answered_ms);
        }
        self.open_again_if_late(now, seen)
    }

    /// An opening that does not show is ordered anew, then a person is told. Also the way back's.
    pub(super) fn open_again_if_late(&mut self, now: When, seen: &Observation) -> Command {
        match self.order {
            Order::Due => self.give_order(now),
            _ if now.is_past(self.deadline_ms) => {
                if self.out_of_tries() {
                    let step = self.step;
                    return self.ask_person(Reason::TimedOut { step }, seen);
                }
                self.deadline_ms = now.answered_ms.saturating_add(self.budget_ms());
                self.give_order_anew(now)
            }
            Order::Unsure => self.redo(now, seen),
            _ => look_after(now.answered_ms),
        }
    }

    fn enter_probation(&mut self, now: When, seen: &Observation) -> Command {
        self.enter(Step::Probation, now);
        self.quiet_since_ms = now.answered_ms;
        self.instance = seen.instance;
        self.quiet_look(now)
    }

    fn quiet_look(&self, now: When) -> Command {
        // Never zero: looks is at least one, and a probation of nothing still takes one more look.
        let apart = self.probation_ms() / self.timing.probation_looks as u64;
        Command::Look {
            at_ms: now.answered_ms.saturating_add(if apart == 0 { 1 } else { apart }),
        }
    }

    pub(super) fn at_probation(&mut self, now: When, seen: &Observation) -> Command {
        if self.runs_old(seen) {
            return self.go_back(Reason::ForeignVersion, now, seen);
        }
        if let Some(reason) = proof_against(seen) {
            return self.go_back(reason, now, seen);
        }
        let good = is_good(seen) && self.runs_new(seen);
        if good && self.plan.mode == Mode::Warm && seen.ingress == Ingress::Closed {
            self.contested = self.contested.saturating_add(1);
            if self.contested > self.timing.max_tries {
                return self.ask_person(Reason::IngressContested, seen);
            }
            self.enter(Step::Opening, now);
            return self.give_order(now);
        }
        let told = self.plan.mode != Mode::Warm || seen.ingress == Ingress::Open;
        if good && told && self.instance == seen.instance {
            if now.asked_ms.saturating_sub(self.quiet_since_ms) >= self.probation_ms() {
                return Command::Finish(Terminal::Done);
            }
            return self.quiet_look(now);
        }
        if now.is_past(self.deadline_ms) {
            return self.go_back(Reason::TimedOut { step: Step::Probation }, now, seen);
        }
        // A restart begins the quiet time anew; the deadline of the whole probation stays.
        self.quiet_since_ms = now.answered_ms;
        self.instance = if good { seen.instance } else { None };
        look_after(now.answered_ms)
    }
}
