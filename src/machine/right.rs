//! Who may say what, and when.
//!
//! Whatever stops, holds or narrows the change may be said by anybody, programs too: freeze, pause, skip, pin, a lower level, and that
//! somebody knows. A program that wants the change back gives a reason to stop, which level and budgets decide on. What answers a question,
//! takes a step, grants a level, or lifts what somebody has stopped is a person's word; a program lifts only what it alone has stopped.

use crate::handle::{Command, Order};
use crate::{Actor, ActorKind, CommandError, Level, Question};

use super::{Course, Machine};

/// Who has said that nothing is to move, by what they said.
#[derive(Debug, Default)]
pub(super) struct StoppedBy {
    pub(super) froze: Option<Actor>,
    pub(super) paused: Option<Actor>,
    pub(super) aborted: Option<Actor>,
    /// When a freeze or a pause was lifted last.
    pub(super) lifted_ms: Option<u64>,
}

impl Machine {
    /// Why an order is not taken now, if it is not.
    pub(crate) fn refusal(&self, order: &Order) -> Option<CommandError> {
        if !self.decides_by(2) {
            return None;
        }
        let Order {
            command,
            actor,
            question,
            reason: _,
        } = order;
        if let Some(named) = question.filter(|_| command.may_answer())
            && !self.questions.is_open(named)
        {
            return Some(CommandError::OtherQuestion {
                named,
                open: self.questions.first().map(|open| (open.id, open.text.clone())),
            });
        }
        if let Some(open) = self.is_left_by_unnamed(command, *question) {
            return Some(CommandError::Unnamed {
                question: open.id,
                text: open.text.clone(),
            });
        }
        // Who pauses changes does not want this one to stay half taken back.
        if *command == Command::Pause && self.course == Course::Back && self.decides_by(5) {
            return Some(CommandError::GoesBack);
        }
        if let Command::Level { level, until_unix_ms } = command
            && let Some(why) = self.level_refusal(actor, *level, *until_unix_ms)
        {
            return Some(CommandError::NoLevel { level: *level, why });
        }
        actor.lacks(self.wants_person(command, actor)?)
    }

    /// The question about a stop that a resume without a number would answer, and may not: it was open when a freeze or a pause was lifted.
    /// Who says the same at that moment means that, too.
    fn is_left_by_unnamed(&self, command: &Command, named: Option<u64>) -> Option<&Question> {
        let lifted_ms = self.stopped_by.lifted_ms.filter(|_| self.decides_by(8))?;
        let open = self
            .meant_by_resume()
            .filter(|_| *command == Command::Resume && named.is_none())?;
        (!self.is_halted() && open.kind.is_of_stop() && open.asked_ms <= lifted_ms).then_some(open)
    }

    /// What of a command is for people alone, if anything is.
    fn wants_person(&self, command: &Command, actor: &Actor) -> Option<&'static str> {
        match command {
            Command::Freeze
            | Command::Pause
            | Command::Skip { .. }
            | Command::Pin { .. }
            | Command::Acknowledge { .. }
            | Command::Level {
                until_unix_ms: None, ..
            } => None,
            // It is a reason to stop, and what is being ended is stopped for none.
            Command::RollBack => {
                let ends = self.aborting && self.decides_by(4);
                ends.then_some("to take back a change that is being aborted")
            }
            Command::Level { .. } => Some("to grant a level"),
            Command::Approve => Some("to answer a question"),
            Command::Step { .. } => Some("to take a step"),
            Command::Resume if !self.is_halted() => Some("to go on over what has stopped the change"),
            Command::Resume => (!self.has_halted(actor)).then_some("to lift what others have stopped"),
            // Whoever is to go back would be left as they are.
            Command::Abort if self.is_halted() && self.decides_by(8) && !self.has_halted(actor) => {
                Some("to abort a change that others have stopped")
            }
            Command::Abort => {
                let stopped = self.stop_pending() || self.course == Course::Back || !self.aside.is_back();
                stopped.then_some("to abort a change that has been stopped")
            }
        }
    }

    /// Why a level is not given, if it is not. To take one needs no right; to give one needs a person, and a moment at which it ends.
    pub(super) fn level_refusal(&self, actor: &Actor, level: Level, until_unix_ms: Option<i64>) -> Option<String> {
        let until_ms = until_unix_ms.map_or(0, |until| self.run_ms(until));
        if level <= self.level() && until_unix_ms.is_none() {
            None
        } else if actor.kind != ActorKind::Person {
            Some("a program grants no level".to_owned())
        } else if until_ms <= self.now_ms {
            Some("the grant has no end to come".to_owned())
        } else if level > Level::UNGRANTED && !self.setup.header.fenced {
            Some(format!(
                "the platform cannot fence, so {} is the highest",
                Level::UNGRANTED
            ))
        } else {
            None
        }
    }

    /// What a run says that takes the change up with a lower level than it began at. One with a higher level says nothing: whoever starts
    /// a run anew gives no rights by that.
    pub(crate) fn lowers_to(&self, wanted: Level) -> Option<Order> {
        let is_lower = wanted < self.setup.header.level && wanted < self.level() && self.ended().is_none();
        is_lower.then(|| Order {
            command: Command::Level {
                level: wanted,
                until_unix_ms: None,
            },
            actor: Actor::program("unattended", "resumed"),
            reason: "the run that takes the change up was started with this level".to_owned(),
            question: None,
        })
    }

    /// Whether it is this program alone that has halted it.
    fn has_halted(&self, actor: &Actor) -> bool {
        actor.kind == ActorKind::Program && self.halted_by.as_ref() == Some(&actor.id)
    }

    /// Whether somebody said that nothing is to go forward.
    pub(super) const fn is_halted(&self) -> bool {
        self.frozen.is_some() || self.paused.is_some()
    }

    /// Whether somebody has given it up, and it has yet to end.
    pub(crate) const fn is_aborting(&self) -> bool {
        self.aborting
    }

    /// Whether it was frozen when it was given up: nothing comes to its end then. A freeze that comes while it is being given up may be
    /// lifted before the patience with that is over.
    pub(super) fn is_frozen_since_before(&self, given_up_ms: u64) -> bool {
        self.frozen
            .is_some_and(|since_ms| since_ms < given_up_ms || !self.decides_by(8))
    }

    /// Whether somebody froze it.
    pub(crate) const fn is_frozen(&self) -> bool {
        self.frozen.is_some()
    }

    /// Somebody freezes or pauses it.
    pub(super) fn halted_by(&mut self, actor: &Actor) {
        let alone =
            actor.kind == ActorKind::Program && (!self.is_halted() || self.halted_by.as_ref() == Some(&actor.id));
        self.halted_by = alone.then(|| actor.id.clone());
    }
}
