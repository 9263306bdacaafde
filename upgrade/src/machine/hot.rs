//! Hot, the way forward: the new version starts beside the old one and takes over.
use super::{Command, Machine, Order, When, look_after};
use crate::{Observation, Pair, Phase, Reason, SelfCheck, SlotSeen, Step, Terminal};

/// Both slots by what they are to this attempt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sides<'a> {
    /// The slot that has the old version, if one has.
    pub(super) old: Option<&'a SlotSeen>,
    /// The slot that has the new version, if one has.
    pub(super) new: Option<&'a SlotSeen>,
    pub(super) session: bool,
}

impl Sides<'_> {
    /// An old instance runs and has not left.
    pub(super) fn old_lives(&self) -> bool {
        self.old.is_some_and(|old| runs(old) && !old.retired)
    }

    pub(super) fn old_accepts(&self) -> bool {
        self.old_lives() && self.old.is_some_and(|old| old.accepting)
    }

    pub(super) fn new_lives(&self) -> bool {
        self.new.is_some_and(runs)
    }

    pub(super) fn new_is_good(&self) -> bool {
        self.new.is_some_and(is_good)
    }

    /// The new instance serves, and nothing speaks against it.
    pub(super) fn new_serves(&self) -> bool {
        self.new.is_some_and(|new| is_good(new) && new.accepting)
    }

    fn new_committed(&self) -> bool {
        self.new.is_some_and(|new| new.committed)
    }
}

fn runs(slot: &SlotSeen) -> bool {
    slot.phase == Phase::Running && slot.instance.is_some()
}

/// Runs, is ready, and says so itself. Anything untold is not good.
pub(super) fn is_good(slot: &SlotSeen) -> bool {
    runs(slot) && slot.ready && slot.self_check == SelfCheck::Passed
}

fn proof_against(slot: &SlotSeen) -> Option<Reason> {
    super::proof(&slot.self_check, slot.phase)
}

impl Machine {
    pub(super) fn sides<'a>(&self, pair: &'a Pair) -> Sides<'a> {
        let of = |version| pair.slots.iter().find(|slot| slot.version.as_ref() == Some(version));
        Sides {
            old: of(&self.plan.from),
            new: of(&self.plan.to),
            session: pair.session,
        }
    }

    pub(super) fn hot_observed(&mut self, now: When, seen: &Observation) -> Command {
        let Some(pair) = &seen.pair else {
            // The platform does not show its slots: nothing can be decided.
            if !now.is_past(self.deadline_ms) {
                return look_after(now.answered_ms);
            }
            let step = self.step;
            if !self.touched {
                return Command::Finish(Terminal::Rejected {
                    reason: Reason::TimedOut { step },
                });
            }
            return self.ask_person(Reason::TimedOut { step }, seen);
        };
        self.tally.saw(&pair.moves);
        let sides = self.sides(pair);
        let forward = self.went_back.is_none() && (Step::Spawning..=Step::Committing).contains(&self.step);
        if forward && let Some(command) = self.mishap(now, seen, &sides) {
            return command;
        }
        match self.step {
            Step::Planned => self.at_hot_planned(now, seen, &sides),
            Step::Prefetching => self.at_prefetching(now, seen),
            Step::Spawning => self.hot_wait(sides.new_lives(), Step::Offering, now, seen),
            Step::Offering => {
                let offered = sides.new.is_some_and(|new| is_good(new) && new.listeners) && sides.session;
                self.hot_wait(offered, Step::Joining, now, seen)
            }
            Step::Joining => self.hot_wait(sides.new_serves(), Step::Proving, now, seen),
            Step::Proving => self.at_proving(now, seen, &sides),
            Step::Quiescing => {
                let quiet = !sides.old_accepts() && sides.new_serves();
                self.hot_wait(quiet, Step::Migrating, now, seen)
            }
            Step::Migrating => self.at_migrating(now, seen, &sides),
            Step::Committing => self.at_committing(now, seen, &sides),
            Step::Retiring => self.at_retiring(now, seen, &sides),
            Step::Stopping => self.at_stopping(now, seen, &sides),
            Step::Resetting => self.at_resetting(now, seen, &sides),
            Step::Verifying => self.at_hot_verifying(now, seen, &sides),
            Step::Replacing => self.hot_wait(sides.new_lives(), Step::Verifying, now, seen),
            Step::Returning => self.at_returning(now, seen, &sides),
            Step::Clearing => self.at_clearing(now, seen, &sides),
            Step::Restoring => self.at_hot_restoring(now, seen, &sides),
            Step::VerifyingOld => self.at_hot_verifying_old(now, seen, &sides),
            Step::Recovering => self.at_recovering(now, seen),
            // Unreachable: no transition of this mode leads there.
            step => self.ask_person(Reason::Unsupported { step }, seen),
        }
    }

    /// An order that the old agent took, and let go of when the two lost each other, as a new order with a budget of its own:
    /// it polls, and they hear of each other. Not before both must have heard of the last one, and not more often than any
    /// order is tried.
    pub(super) fn ask_again(&mut self, now: When, sides: &Sides<'_>) -> Option<Command> {
        let heard = now.asked_ms.saturating_sub(self.quiet_since_ms) >= self.timing.session_ms;
        let together = sides.session && sides.old_accepts();
        if self.order != Order::Taken || !together || !heard || self.asked_again >= self.timing.max_tries {
            return None;
        }
        self.asked_again += 1;
        self.tally.counts.retries = self.tally.counts.retries.saturating_add(1);
        Some(self.give_order_anew(now))
    }

    /// What ends the way forward, whatever the step waits for. `None`: nothing of the kind.
    fn mishap(&mut self, now: When, seen: &Observation, sides: &Sides<'_>) -> Option<Command> {
        if !sides.old_lives() {
            return Some(self.go_back(Reason::OldDied, now, seen));
        }
        if let Some(reason) = sides.new.and_then(proof_against) {
            return Some(self.go_back(reason, now, seen));
        }
        if self.step < Step::Joining {
            return None;
        }
        // From here on the new instance holds listeners: one without them is another one.
        if !sides.new.is_some_and(|new| runs(new) && new.listeners) {
            return Some(self.go_back(Reason::Crashed, now, seen));
        }
        if self.step >= Step::Migrating && sides.old_accepts() {
            // Its lease has ended and it has resumed.
            return Some(self.go_back(Reason::SessionLost, now, seen));
        }
        if sides.session {
            self.session_lost_ms = None;
            return None;
        }
        let lost_ms = *self.session_lost_ms.get_or_insert(now.answered_ms);
        if now.asked_ms.saturating_sub(lost_ms) >= self.timing.session_ms || now.is_past(self.deadline_ms) {
            return Some(self.go_back(Reason::SessionLost, now, seen));
        }
        Some(look_after(now.answered_ms))
    }

    /// Waits for what the step's order brings; then gives the next step's.
    fn hot_wait(&mut self, reached: bool, next: Step, now: When, seen: &Observation) -> Command {
        if reached && self.order != Order::Due {
            self.enter(next, now);
            return match next {
                Step::Proving | Step::Verifying => self.observed(now, seen),
                _ => self.give_order(now),
            };
        }
        match self.order {
            Order::Due => self.give_order(now),
            _ if now.is_past(self.deadline_ms) => {
                let step = self.step;
                self.go_back(Reason::TimedOut { step }, now, seen)
            }
            Order::Unsure => self.redo(now, seen),
            _ => look_after(now.answered_ms),
        }
    }

    fn at_hot_planned(&mut self, now: When, seen: &Observation, sides: &Sides<'_>) -> Command {
        if self.is_foreign(seen) {
            return Command::Finish(Terminal::Rejected {
                reason: Reason::ForeignVersion,
            });
        }
        if sides.old.is_none() && sides.new.is_some() {
            // Somebody else brought it: verify it as if we had; what fails then is not ours to put back.
            self.enter(Step::Verifying, now);
            return self.at_hot_verifying(now, seen, sides);
        }
        if sides.old_accepts() {
            self.was_healthy = sides.old.is_some_and(is_good);
            return self.start(now);
        }
        if now.is_past(self.deadline_ms) {
            // There is nothing to take over from.
            let step = self.step;
            return Command::Finish(Terminal::Rejected {
                reason: Reason::TimedOut { step },
            });
        }
        look_after(now.answered_ms)
    }

    fn at_proving(&mut self, now: When, seen: &Observation, sides: &Sides<'_>) -> Command {
        let instance = sides.new.and_then(|new| new.instance);
        let good = sides.new_serves();
        let late = now.is_past(self.deadline_ms);
        let changed = self.good_looks > 0 && self.instance != instance;
        if late && (!good || changed) {
            return self.go_back(Reason::TimedOut { step: Step::Proving }, now, seen);
        }
        if !self.count_good(good, instance) {
            return look_after(now.answered_ms);
        }
        let accepted = sides.new.and_then(|new| new.accepted).unwrap_or(0);
        if accepted < self.timing.prove_accepts && !late {
            return look_after(now.answered_ms);
        }
        self.enter(Step::Quiescing, now);
        self.give_order(now)
    }

    fn at_migrating(&mut self, now: When, seen: &Observation, sides: &Sides<'_>) -> Command {
        let left = sides.old.and_then(|old| old.connections);
        let empty = left == Some(0) && self.order != Order::Due;
        let late = self.order != Order::Due && now.is_past(self.deadline_ms);
        if (empty || late) && sides.new_serves() {
            // What is left ends with the old instance, which counts it.
            self.enter(Step::Committing, now);
            return self.at_committing(now, seen, sides);
        }
        match self.order {
            Order::Due => self.give_order(now),
            _ if late => self.go_back(Reason::TimedOut { step: Step::Migrating }, now, seen),
            Order::Unsure => self.redo(now, seen),
            _ => look_after(now.answered_ms),
        }
    }

    /// The old instance is dead and the new one serves: the only safe way is on, wherever this stood, if the next look shows the
    /// same.
    pub(super) fn salvage(&mut self, now: When) -> Command {
        self.went_back.get_or_insert(Reason::OldDied);
        self.enter(Step::Committing, now);
        look_after(now.answered_ms)
    }

    fn at_committing(&mut self, now: When, seen: &Observation, sides: &Sides<'_>) -> Command {
        let late = now.is_past(self.deadline_ms);
        if self.went_back.is_some() && (sides.old_lives() || !sides.new_lives()) {
            return self.go_on_back(now, seen, sides);
        }
        if sides.new_committed() && sides.new_serves() {
            self.enter(Step::Retiring, now);
            return self.at_retiring(now, seen, sides);
        }
        match self.order {
            // Commanded only onto an instance that this very look shows to be good.
            Order::Due if sides.new_serves() => self.give_order(now),
            _ if late && self.went_back.is_some() => self.go_on_back(now, seen, sides),
            _ if late => self.go_back(Reason::TimedOut { step: Step::Committing }, now, seen),
            Order::Unsure if sides.new_serves() => self.redo(now, seen),
            _ => look_after(now.answered_ms),
        }
    }

    /// The way back that is left while the old instance has not gone. `None` as long as the new one serves.
    fn lost_new(&mut self, now: When, seen: &Observation, sides: &Sides<'_>) -> Option<Command> {
        if sides.new_serves() {
            return None;
        }
        let reason = sides.new.and_then(proof_against).unwrap_or(Reason::Crashed);
        let resumed = sides.old_accepts();
        if resumed || now.is_past(self.deadline_ms) {
            return Some(self.go_back(reason, now, seen));
        }
        Some(look_after(now.answered_ms))
    }

    fn at_retiring(&mut self, now: When, seen: &Observation, sides: &Sides<'_>) -> Command {
        if let Some(command) = self.lost_new(now, seen, sides) {
            return command;
        }
        if !sides.old_lives() {
            self.enter(Step::Resetting, now);
            return self.at_resetting(now, seen, sides);
        }
        // Where the two had lost each other it has stayed, and does not leave any more.
        if let Some(command) = self.ask_again(now, sides) {
            return command;
        }
        match self.order {
            Order::Due => self.give_order(now),
            _ if now.is_past(self.deadline_ms) => {
                self.enter(Step::Stopping, now);
                self.instance = sides.old.and_then(|old| old.instance);
                self.give_order(now)
            }
            Order::Unsure => self.redo(now, seen),
            _ => look_after(now.answered_ms),
        }
    }

    fn at_stopping(&mut self, now: When, seen: &Observation, sides: &Sides<'_>) -> Command {
        if let Some(command) = self.lost_new(now, seen, sides) {
            return command;
        }
        let same = sides.old.and_then(|old| old.instance) == self.instance;
        if !sides.old_lives() || !same || self.order == Order::Skipped || now.is_past(self.deadline_ms) {
            self.enter(Step::Resetting, now);
            return self.at_resetting(now, seen, sides);
        }
        match self.order {
            Order::Due => self.give_order(now),
            Order::Unsure => self.redo(now, seen),
            _ => look_after(now.answered_ms),
        }
    }

    fn at_resetting(&mut self, now: When, seen: &Observation, sides: &Sides<'_>) -> Command {
        // Where it had turned back, the old one may have been ordered and be under way: the reset makes that order stale.
        let empty = sides.old.is_none() && (self.went_back.is_none() || self.order == Order::Taken);
        if empty {
            self.enter(Step::Verifying, now);
            return self.at_hot_verifying(now, seen, sides);
        }
        if self.order == Order::Due
            && let Some(command) = self.lost_new(now, seen, sides)
        {
            return command;
        }
        self.empty_slot(now, seen)
    }

    /// Also the way back's: a slot that does not become empty is ordered anew, then a person is told.
    pub(super) fn empty_slot(&mut self, now: When, seen: &Observation) -> Command {
        match self.order {
            Order::Due => self.give_order(now),
            _ if now.is_past(self.deadline_ms) => {
                if self.out_of_tries() {
                    let step = self.step;
                    return self.ask_person(Reason::TimedOut { step }, seen);
                }
                self.deadline_ms = now.answered_ms.saturating_add(self.allowance_ms);
                self.give_order_anew(now)
            }
            Order::Unsure => self.redo(now, seen),
            _ => look_after(now.answered_ms),
        }
    }

    /// The last probe, after which nobody looks any more.
    pub(super) fn at_hot_verifying(&mut self, now: When, seen: &Observation, sides: &Sides<'_>) -> Command {
        if let Some(reason) = sides.new.and_then(proof_against) {
            return self.go_back(reason, now, seen);
        }
        if self.touched && sides.new.is_some_and(|new| new.phase == Phase::Stopped) {
            // It ended after the old one had left, and nobody starts it.
            self.contested = self.contested.saturating_add(1);
            if self.contested > self.timing.max_tries {
                return self.go_back(Reason::Crashed, now, seen);
            }
            self.enter(Step::Replacing, now);
            return self.give_order(now);
        }
        let good = sides.new_serves() && sides.old.is_none();
        let instance = sides.new.and_then(|new| new.instance);
        let changed = self.good_looks > 0 && self.instance != instance;
        if now.is_past(self.deadline_ms) && (!good || changed) {
            return self.go_back(Reason::TimedOut { step: Step::Verifying }, now, seen);
        }
        if !self.count_good(good, instance) {
            return look_after(now.answered_ms);
        }
        Command::Finish(Terminal::Done)
    }

    /// After a restart of the controller, on the way forward: what is seen says where the hand-over stands.
    pub(super) fn hot_recover(&mut self, last: Step, now: When, seen: &Observation) -> Command {
        let Some(pair) = &seen.pair else {
            return self.ask_person(Reason::TimedOut { step: last }, seen);
        };
        let sides = self.sides(pair);
        if last == Step::Prefetching {
            return self.start(now);
        }
        if self.retiring {
            let step = if sides.old_lives() {
                Step::Retiring
            } else {
                Step::Resetting
            };
            self.enter(step, now);
            return look_after(now.answered_ms);
        }
        if !sides.old_lives() {
            return self.go_back(Reason::OldDied, now, seen);
        }
        if !sides.new_lives() && last != Step::Spawning {
            return self.go_back(Reason::Crashed, now, seen);
        }
        let listens = sides.new.is_some_and(|new| new.listeners) && sides.session;
        let quiesced = last >= Step::Quiescing && !sides.old_accepts();
        let step = if !sides.new_lives() {
            Step::Spawning
        } else if quiesced && sides.new_serves() {
            // Connections may have begun to move; who is left is asked for again.
            Step::Migrating
        } else if quiesced {
            return self.go_back(Reason::SessionLost, now, seen);
        } else if !listens || !sides.new_is_good() {
            Step::Offering
        } else if !sides.new_serves() {
            Step::Joining
        } else {
            // Nothing that was believed before is believed now.
            Step::Proving
        };
        self.enter(step, now);
        self.observed(now, seen)
    }
}
