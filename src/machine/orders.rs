//! What people and programs say to the change.

use crate::ActorKind;
use crate::handle::{Command, Order};

use super::Machine;

impl Machine {
    /// Somebody said something.
    pub(crate) fn order(&mut self, order: &Order) {
        if self.ended().is_some() {
            return;
        }
        if order.actor.kind == ActorKind::Person {
            self.human_actions += 1;
        }
        let Order { command, actor, reason } = order;
        if let Command::Step { target } = command {
            return self.step(actor, target);
        }
        if let Command::Acknowledge { key } = command {
            let open = if self.acknowledge(key) {
                ""
            } else {
                ", which is not open"
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
            Command::Freeze => self.frozen = Some(self.now_ms),
            Command::Pause => self.paused = Some(self.now_ms),
            Command::Skip { app } => self.skip(app, actor, reason),
            Command::Pin { target } => self.pin(target, actor, reason),
            Command::Resume => {
                self.moved_ms = self.now_ms;
                // Out of both at once; what a check has stopped wants a word of its own.
                let (frozen, paused) = (self.frozen.take(), self.paused.take());
                if frozen.is_none() && paused.is_none() {
                    self.resume();
                }
            }
            Command::Approve => {
                if let Some(question) = self.question.take() {
                    self.grant(question);
                }
            }
            Command::RollBack => {
                self.frozen = None;
                self.question = None;
                self.begin_rollback(format!("{actor} asked for it: {reason}"));
            }
            Command::Abort => {
                // Attempts under way come to their end first: nobody's ingress stays closed.
                // Where somebody had frozen them, they stay frozen.
                self.question = None;
                self.aborting = Some(self.now_ms);
            }
        }
    }
}
