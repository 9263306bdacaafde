//! What people and programs say to the change.

use crate::ActorKind;
use crate::handle::{Command, Order};

use super::{Course, Direction, Machine, Start};

impl Machine {
    /// Somebody said something.
    pub(crate) fn order(&mut self, order: &Order) {
        if self.ended().is_some() {
            return;
        }
        if let Some(error) = self.refusal(order) {
            return self.refused(order, &error.to_string());
        }
        self.count_hands(order);
        let Order {
            command,
            actor,
            reason,
            question,
        } = order;
        if let Command::Step { target } = command {
            return self.step(actor, target);
        }
        if let Command::Acknowledge { key } = command {
            let open = match self.acknowledge(key) {
                true => "",
                // It may be one of the run itself, whose matters are not the change's.
                false if self.decides_by(6) => ", which is no open matter of the change",
                false => ", which is not open",
            };
            let text = format!("{actor} knows of {key}{open}: {reason}");
            return self.decide_text("notice.known", text, None);
        }
        self.decide_text(
            "command.given",
            format!("{actor} says {}: {reason}", command.word()),
            None,
        );
        match command {
            Command::Step { .. } | Command::Acknowledge { .. } => {}
            Command::Level { level, until_unix_ms } => self.change_level(actor, *level, *until_unix_ms),
            Command::Freeze => {
                self.halted_by(actor);
                self.frozen = Some(self.now_ms);
                self.stopped_by.froze = Some(actor.clone());
            }
            Command::Pause => {
                self.halted_by(actor);
                self.paused = Some(self.now_ms);
                self.stopped_by.paused = Some(actor.clone());
            }
            Command::Skip { app } => self.skip(app, actor, reason),
            Command::Pin { target } => self.pin(target, actor, reason),
            Command::Resume => {
                self.moved_ms = self.now_ms;
                self.shut_since = None;
                // Out of both at once; what a check has stopped wants a word of its own.
                let (frozen, paused) = (self.frozen.take(), self.paused.take());
                if frozen.is_none() && paused.is_none() {
                    self.resume(*question);
                } else {
                    self.stopped_by.lifted_ms = Some(self.now_ms);
                    if self.decides_by(8) {
                        // Nothing could go back meanwhile.
                        self.blocked_back = None;
                        self.aside.forget_kept();
                    }
                }
            }
            Command::Approve => {
                if let Some(question) = self.take_question(*question) {
                    self.grant(question);
                }
            }
            Command::RollBack => {
                let text = format!("{actor} asked for it: {reason}");
                if actor.kind == ActorKind::Program && self.decides_by(2) {
                    // It lifts no freeze, and answers no question: it is a reason to stop like any other.
                    if self.course == Course::Forward {
                        self.asked_back.get_or_insert(text);
                    }
                    return;
                }
                if self.decides_by(4) {
                    // Of the two it is the safer: nobody is left on a version that somebody wants to leave.
                    self.aborting = false;
                }
                self.frozen = None;
                self.questions.clear();
                self.begin_rollback(text);
            }
            Command::Abort => {
                // Attempts under way come to their end first: nobody's ingress stays closed.
                // Where somebody had frozen them, they stay frozen.
                self.questions.clear();
                self.aborting = true;
                self.stopped_by.aborted = Some(actor.clone());
                // Where the journal was away, the last time that is known is of before; from the fifth version on it waits from the next.
                self.abort_heard_ms = (!self.decides_by(5)).then_some(self.now_ms);
            }
        }
    }

    /// The change is given up, and nobody waits any longer for attempts that do not end: somebody must look what became of them.
    pub(super) fn owe_those_under_way(&mut self) {
        if !self.decides_by(4) {
            return;
        }
        let under_way: Vec<Start> = self.under_way().collect();
        for Start { target, direction } in under_way {
            let change = &self.setup.change;
            let version = match direction {
                Direction::Forward => &change.to,
                Direction::Back => &change.from,
            };
            let why = format!(
                "the change was aborted while it was on its way to {version}, and that did not end: look what it runs"
            );
            self.owe(target, false, why);
        }
    }

    /// Somebody said what they may not, or too late. It is written down, and nothing follows.
    pub(crate) fn refused(&mut self, order: &Order, why: &str) {
        if self.ended().is_some() {
            return;
        }
        self.count_hands(order);
        let Order {
            command,
            actor,
            reason,
            question: _,
        } = order;
        let code = match command {
            Command::Level { .. } => "level.refused",
            Command::Step { .. } => "step.refused",
            _ => "command.refused",
        };
        let text = format!("{actor} says {}: {reason}; that is refused: {why}", command.word());
        self.decide_text(code, text, None);
    }

    const fn count_hands(&mut self, order: &Order) {
        if matches!(order.actor.kind, ActorKind::Person) {
            self.human_actions += 1;
        }
    }
}
