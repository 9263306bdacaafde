//! Hot, the way back: the old instance polls again, connections move back, the new one is ended.
use super::hot::{Sides, is_good};
use super::{Command, Machine, Order, When, look_after};
use crate::{Observation, Reason, Step, Terminal};

impl Machine {
    /// Decides the way back by what is seen; anew whenever somebody died on it.
    pub(super) fn go_on_back(&mut self, now: When, seen: &Observation, sides: &Sides<'_>) -> Command {
        self.contested = self.contested.saturating_add(1);
        if self.contested > self.timing.max_tries.saturating_add(1) {
            let reason = self.went_back.clone().unwrap_or(Reason::OldDied);
            return self.ask_person(reason, seen);
        }
        if sides.old_lives() {
            self.enter(Step::Returning, now);
            return self.give_order(now);
        }
        if sides.new_serves() {
            return self.salvage(now);
        }
        // Neither serves: the last version that was verified is started; one that had left is asked back.
        let left = sides.old.is_some_and(|old| old.instance.is_some());
        self.enter(if left { Step::Returning } else { Step::Restoring }, now);
        self.give_order(now)
    }

    pub(super) fn at_returning(&mut self, now: When, seen: &Observation, sides: &Sides<'_>) -> Command {
        if sides.old.is_none_or(|old| old.instance.is_none()) {
            return self.go_on_back(now, seen, sides);
        }
        let all_back = sides
            .new
            .is_none_or(|new| new.instance.is_none() || !new.accepting && new.connections == Some(0));
        // Where the two had lost each other it serves on with what it has, and nothing comes back any more.
        let serves_on = sides.new_lives() && sides.new.is_some_and(|new| new.accepting);
        if serves_on && let Some(command) = self.ask_again(now, sides) {
            return command;
        }
        let ordered = matches!(self.order, Order::Taken | Order::Unsure);
        let late = ordered && now.is_past(self.deadline_ms);
        if self.order == Order::Taken && sides.old_accepts() && (all_back || late) {
            // What has not come back ends with the new instance, which counts it.
            self.enter(Step::Clearing, now);
            return self.at_clearing(now, seen, sides);
        }
        match self.order {
            Order::Due => self.give_order(now),
            _ if late => {
                let step = self.step;
                self.ask_person(Reason::TimedOut { step }, seen)
            }
            Order::Unsure => self.redo(now, seen),
            _ => look_after(now.answered_ms),
        }
    }

    pub(super) fn at_clearing(&mut self, now: When, seen: &Observation, sides: &Sides<'_>) -> Command {
        if !sides.old_accepts() {
            return self.go_on_back(now, seen, sides);
        }
        if sides.new.is_none() {
            self.enter(Step::VerifyingOld, now);
            return self.at_hot_verifying_old(now, seen, sides);
        }
        self.empty_slot(now, seen)
    }

    pub(super) fn at_hot_restoring(&mut self, now: When, seen: &Observation, sides: &Sides<'_>) -> Command {
        if self.order != Order::Due && sides.old.is_some_and(|old| old.instance.is_some()) {
            self.enter(Step::Returning, now);
            return self.give_order(now);
        }
        match self.order {
            Order::Due => self.give_order(now),
            // It holds what the old version would have to bind, and serves by now: that was decided without it.
            Order::Taken if sides.new_serves() => self.go_on_back(now, seen, sides),
            _ if now.is_past(self.deadline_ms) && sides.new_serves() => self.go_on_back(now, seen, sides),
            _ if now.is_past(self.deadline_ms) => {
                let step = self.step;
                self.ask_person(Reason::TimedOut { step }, seen)
            }
            Order::Unsure => self.redo(now, seen),
            _ => look_after(now.answered_ms),
        }
    }

    pub(super) fn at_hot_verifying_old(&mut self, now: When, seen: &Observation, sides: &Sides<'_>) -> Command {
        if sides.new.is_some() || !sides.old_lives() {
            return self.go_on_back(now, seen, sides);
        }
        let good = sides.old_accepts() && sides.old.is_some_and(is_good);
        if !good && !self.was_healthy {
            // It was not well before, and nobody promised that it would get well.
            return self.give_up(seen);
        }
        let instance = sides.old.and_then(|old| old.instance);
        let changed = self.good_looks > 0 && self.instance != instance;
        if now.is_past(self.deadline_ms) && (!good || changed) {
            let step = self.step;
            return self.ask_person(Reason::TimedOut { step }, seen);
        }
        if !self.count_good(good, instance) {
            return look_after(now.answered_ms);
        }
        self.rolled_back()
    }

    /// Turns a hot attempt back, for good but for [`salvage`](Self::salvage).
    pub(super) fn go_back_hot(&mut self, reason: Reason, now: When, seen: &Observation) -> Command {
        if !self.touched {
            return Command::Finish(Terminal::Rejected { reason });
        }
        self.went_back.get_or_insert(reason);
        let Some(pair) = &seen.pair else {
            let step = self.step;
            return self.ask_person(Reason::TimedOut { step }, seen);
        };
        let sides = self.sides(pair);
        self.go_on_back(now, seen, &sides)
    }
}
