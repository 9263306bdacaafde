use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures::task::AtomicWaker;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use unattended_batching::{Proof, Side};
use unattended_upgrade::Version;

use crate::RunError;
use crate::events::{Events, Hub};
use crate::machine::Machine;
use crate::permit::RecentPermit;
use crate::run_clock::RunClock;
use crate::{Actor, ActorKind, Grant, Level, Notice, Outlook, Question, Summary};

/// A word to a running change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Command {
    /// No new effect until further notice.
    Freeze,
    /// Nothing more goes forward until further notice; what is under way comes to its end, and what goes back goes back.
    Pause,
    /// Go on: out of a freeze or a pause, or over what a check has stopped.
    Resume,
    /// Leave an application out: its targets that have not been reached stay as they are, and are owed.
    Skip {
        /// Which.
        app: String,
    },
    /// Leave one target as it is, if it has not been reached; it is owed.
    Pin {
        /// Which.
        target: String,
    },
    /// Yes, to the question that the order [names](Order::question), or else to the one that weighs most.
    Approve,
    /// Roll the whole change back. A person's word is enough; a program's is a reason to stop, which level and budgets decide on.
    RollBack,
    /// End here and leave everything as it is.
    Abort,
    /// Act at this level from now on; until a moment, in Unix milliseconds, where it is granted and not only lowered.
    Level {
        /// The level.
        level: Level,
        /// When the grant ends; `None` lowers the level, or leaves it as it is.
        until_unix_ms: Option<i64>,
    },
    /// Change this target, of those that are [offered](Handle::offers); at [`Level::L0`](crate::Level::L0): it has been
    /// changed by hand.
    Step {
        /// Which.
        target: String,
    },
    /// Somebody knows of an open matter: it need not be said again for a while.
    Acknowledge {
        /// Its [`dedup_key`](crate::Notice::dedup_key).
        key: String,
    },
}

impl Command {
    /// Whether it may be meant as an answer. What stops, holds or narrows the change is none, and comes never too late.
    pub(crate) const fn may_answer(&self) -> bool {
        matches!(self, Self::Approve | Self::Resume | Self::RollBack | Self::Abort)
    }

    /// In decisions.
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Self::Step { .. } => "a step",
            Self::Acknowledge { .. } => "it is known",
            Self::Level {
                until_unix_ms: None, ..
            } => "a lower level",
            Self::Level { .. } => "a level until a moment",
            Self::Freeze => "freeze",
            Self::Pause => "pause",
            Self::Skip { .. } => "to leave an application out",
            Self::Pin { .. } => "to leave a target out",
            Self::Resume => "go on",
            Self::Approve => "yes",
            Self::RollBack => "roll back",
            Self::Abort => "abort",
        }
    }
}

/// A command with its author and reason, as the journal keeps it, and as another process may send it.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let order: unattended::Order = serde_json::from_str(
///     r#"{"command": {"skip": {"app": "pay"}}, "actor": {"id": "li", "kind": "person", "via": "INC-42"}, "reason": "sale"}"#,
/// )?;
/// assert_eq!(order.actor.to_string(), "li (INC-42)");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "written literally by whoever gives one")]
pub struct Order {
    /// What.
    pub command: Command,
    /// Who.
    pub actor: Actor,
    /// Why.
    pub reason: String,
    /// The [number](crate::Question::id) of the question that it answers: approve, resume, roll back and abort are taken only while that one is
    /// open. `None`: whichever weighs most, and for resume none that a rule asks. Other commands answer nothing, and are taken whatever it says.
    #[serde(default)]
    pub question: Option<u64>,
}

/// An order that lies unread.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) order: Order,
    /// Whoever gave it was told that it is refused, and why.
    pub(crate) refused: Option<String>,
}

/// What the run and its handles share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// `None` until the run has read its journal.
    pub(crate) machine: Mutex<Option<Machine>>,
    pub(crate) orders: Mutex<VecDeque<Given>>,
    /// Set by a freeze at once, before the journal has it: read before each effect.
    pub(crate) frozen: AtomicBool,
    /// Nobody drives the change here any more.
    pub(crate) ended: AtomicBool,
    /// And it has no outcome: it failed, was dropped, or another controller has taken it up. What is known here grows old.
    pub(crate) lost: AtomicBool,
    /// The journal refuses or is silent, and people know.
    pub(crate) unwritten: AtomicBool,
    pub(crate) permit: RecentPermit,
    pub(crate) clock: Arc<RunClock>,
    /// Attempts whose target could not be seen at the last look.
    pub(crate) blind: AtomicUsize,
    pub(crate) waker: AtomicWaker,
    pub(crate) events: Hub,
    /// What the driver says of itself and is still so.
    pub(crate) own: Mutex<Vec<Notice>>,
}

/// The orders that may lie unread. More than that is a program gone wild, not people.
const MAX_ORDERS: usize = 1_000;

impl Shared {
    /// Does something with the machine, which is there from the beginning of the run on.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Machine) -> T) -> Result<T, RunError> {
        self.machine.lock().as_mut().map(act).ok_or(RunError::NotBegun)
    }

    /// Nobody drives the change any more, whether it has come to an outcome or not.
    pub(crate) fn leave(&self) {
        if !self.ended.load(Ordering::Acquire) {
            self.lost.store(true, Ordering::Release);
            self.ended.store(true, Ordering::Release);
        }
    }

    /// What the machine says of a freeze, under the lock by which one is given: one that came meanwhile keeps its hold.
    pub(crate) fn set_frozen(&self, frozen: bool) {
        let orders = self.orders.lock();
        let given = orders.iter().any(|given| given.order.command == Command::Freeze);
        self.frozen.store(frozen || given, Ordering::Release);
    }
}

/// Whether a freeze that finds no room would add nothing to those that did: a person's can be lifted by people alone, as can that of
/// two programs. So at most three are kept beyond the bound.
fn is_frozen_already(orders: &VecDeque<Given>, by: &Actor) -> bool {
    let mut beyond = orders.iter().skip(MAX_ORDERS).map(|given| &given.order.actor);
    let programs = beyond.clone().filter(|actor| actor.kind == ActorKind::Program).count();
    beyond.any(|actor| actor.kind == ActorKind::Person || actor.id == by.id)
        || (by.kind == ActorKind::Program && programs >= 2)
}

/// Why a command was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The change has ended.
    #[error("the change has ended: there is nothing left to command")]
    Ended,
    /// Too many commands wait to be read.
    #[error("{MAX_ORDERS} commands wait to be read: is the run still driven?")]
    TooMany,
    /// A program said what a person has to.
    #[error(
        "{program} is a program, and it takes a person {what}: name somebody who answers for it (`Actor::person`); programs may freeze, pause, \
         leave out, lower the level, and ask for the way back"
    )]
    NeedsPerson {
        /// Which program.
        program: String,
        /// What takes a person, as `to answer a question`.
        what: &'static str,
    },
    /// A person said so who has no name.
    #[error("it takes a person with a name {what}: say who it is (`Actor::person`)")]
    Nameless {
        /// What takes a person.
        what: &'static str,
    },
    /// The question that it answers is not open.
    #[error("question {named} is not open; {}", open_in_words(.open.as_ref()))]
    OtherQuestion {
        /// The question that was named.
        named: u64,
        /// The open one, and its text.
        open: Option<(u64, String)>,
    },
    /// A word to go on names no question, and one about a stop was open when the freeze or the pause was lifted.
    #[error(
        "the freeze or the pause is lifted; to go on over question {question} as well, name it (`Handle::answering`): {text}"
    )]
    Unnamed {
        /// Its number.
        question: u64,
        /// Its text.
        text: String,
    },
    /// A pause holds the way forward, and the change goes back.
    #[error("the change goes back, and a pause holds the way forward alone: a freeze holds that, too")]
    GoesBack,
    /// The level is not given.
    #[error("{level} is not granted: {why}")]
    NoLevel {
        /// Which.
        level: Level,
        /// Why not.
        why: String,
    },
}

impl Actor {
    /// Why this is nobody to say what takes a person with a name, if it is.
    pub(crate) fn lacks(&self, what: &'static str) -> Option<CommandError> {
        match self.kind {
            ActorKind::Person if self.id.trim().is_empty() => Some(CommandError::Nameless { what }),
            ActorKind::Person => None,
            ActorKind::Program => Some(CommandError::NeedsPerson {
                program: self.to_string(),
                what,
            }),
        }
    }
}

fn open_in_words(open: Option<&(u64, String)>) -> String {
    open.map_or_else(
        || "no question is, and what was asked has been answered or is asked no more".to_owned(),
        |(id, text)| format!("question {id} is: look at it, and answer that one: {text}"),
    )
}

/// Speaks to a running change, from any thread, and asks it things. Cloning gives another handle to the same run.
///
/// A command that is refused is answered with an error, is written down in the journal and among the decisions, and has no effect. Whether
/// it is, is seen as the change stands when it is given, and once more when the run reads it: what was taken may come too late.
/// Before the run has begun nothing can be seen, and all is looked at when it is read.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
    pub(crate) proof: Proof,
    /// The question that its words answer.
    pub(crate) answers: Option<u64>,
}

impl Handle {
    /// No new effect from now on. Takes hold before the journal knows of it; attempts under way stop where they are.
    pub fn freeze(&self, actor: Actor, reason: impl Into<String>) -> Result<(), CommandError> {
        self.order(Command::Freeze, actor, reason)
    }

    /// Nothing more goes forward. What is under way comes to its end, evidence still stops the change, and what goes back goes back.
    pub fn pause(&self, actor: Actor, reason: impl Into<String>) -> Result<(), CommandError> {
        self.order(Command::Pause, actor, reason)
    }

    /// Leaves an application out. What has been reached there stays on the new version, what is under way comes to its end, the rest
    /// stays as it is and is [owed](crate::Debt). It cannot be taken in again: a later change reaches it.
    pub fn skip(&self, actor: Actor, app: impl Into<String>, reason: impl Into<String>) -> Result<(), CommandError> {
        self.order(Command::Skip { app: app.into() }, actor, reason)
    }

    /// Leaves one target as it is, if it has not been reached.
    pub fn pin(&self, actor: Actor, target: impl Into<String>, reason: impl Into<String>) -> Result<(), CommandError> {
        self.order(Command::Pin { target: target.into() }, actor, reason)
    }

    /// The question that weighs most of those that are open: whether to roll back before every other, and what a rule asks for some
    /// applications last.
    pub fn question(&self) -> Option<Question> {
        self.questions().into_iter().next()
    }

    /// All questions that are open, at most one of each kind, the one that weighs most first and among equals the oldest. Each has its
    /// notice, too.
    pub fn questions(&self) -> Vec<Question> {
        let machine = self.shared.machine.lock();
        machine
            .as_ref()
            .map_or_else(Vec::new, |machine| machine.open_questions().cloned().collect())
    }

    /// A handle to the same run whose answers are to this [question](Question::id) alone: approve, resume, roll back and abort are refused
    /// where it is not open any more. Who answers what somebody has read a while ago wants this one, so that the word does not
    /// fall on newer evidence.
    ///
    /// ```
    /// # fn answer(handle: &unattended::Handle, notice: &unattended::Notice) -> Result<(), unattended::CommandError> {
    /// use unattended::Actor;
    ///
    /// if let Some(question) = &notice.question {
    ///     handle.answering(question.id).approve(Actor::person("li", "INC-42"), "seen it")?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn answering(&self, question: u64) -> Self {
        Self {
            answers: Some(question),
            ..self.clone()
        }
    }

    /// Says yes to the question that the handle [answers](Self::answering), or else to the [one](Self::question) that weighs most. For the
    /// question whether to roll back, that is the rollback. It takes a person.
    pub fn approve(&self, actor: Actor, reason: impl Into<String>) -> Result<(), CommandError> {
        self.order(Command::Approve, actor, reason)
    }

    /// Goes on: out of a freeze, or over what has stopped the change. What was seen stops it no more; what is twice as
    /// much does, evidence that begins anew and shows again once twice as many targets are reached (or half of those that were left), and a
    /// gate that refuses twice as many.
    /// What a rule asks it answers only where the handle [names](Self::answering) that question, and so a stop whose question was open when a
    /// freeze or a pause was lifted. It takes a person; a program may lift the
    /// freeze or pause that it alone has given.
    pub fn resume(&self, actor: Actor, reason: impl Into<String>) -> Result<(), CommandError> {
        self.order(Command::Resume, actor, reason)
    }

    /// Rolls the whole change back; a person's word for it takes the place of an [abort](Self::abort) that has not ended the change yet. Where a
    /// program says so, level and budgets decide as they do where evidence stops the change: it goes
    /// back by itself, or a person is asked, and nothing more goes forward until then.
    pub fn roll_back(&self, actor: Actor, reason: impl Into<String>) -> Result<(), CommandError> {
        self.order(Command::RollBack, actor, reason)
    }

    /// Lets the autopilot act at a level until a moment, from the next decision on.
    pub fn grant(&self, grant: Grant, reason: impl Into<String>) -> Result<(), CommandError> {
        let command = Command::Level {
            level: grant.level,
            until_unix_ms: Some(grant.until_unix_ms),
        };
        self.order(command, grant.by, reason)
    }

    /// Takes rights away, from the next decision on: anybody may, programs too. Attempts under way come to their end. A level that is
    /// no lower than the one in force is not given.
    pub fn demote(&self, actor: Actor, level: Level, reason: impl Into<String>) -> Result<(), CommandError> {
        let command = Command::Level {
            level,
            until_unix_ms: None,
        };
        self.order(command, actor, reason)
    }

    /// The steps that a person may take now: which targets plan, rules and evidence let change. Empty from level L2 on.
    pub fn offers(&self) -> Vec<Offer> {
        self.shared
            .machine
            .lock()
            .as_ref()
            .map_or_else(Vec::new, Machine::offers)
    }

    /// Takes a step that is [offered](Self::offers): at level L1 the target is changed at this word; at L0 it says that the
    /// target has been changed by hand, which is looked at. It takes a person.
    pub fn step(&self, actor: Actor, target: impl Into<String>, reason: impl Into<String>) -> Result<(), CommandError> {
        self.order(Command::Step { target: target.into() }, actor, reason)
    }

    /// Says that somebody knows of an open matter, by its [`dedup_key`](crate::Notice::dedup_key): it is not said again for
    /// [as long as that is believed](crate::Telling::acknowledged_ms). That is no answer, and lets nothing go on.
    pub fn acknowledge(
        &self,
        actor: Actor,
        dedup_key: impl Into<String>,
        reason: impl Into<String>,
    ) -> Result<(), CommandError> {
        self.order(Command::Acknowledge { key: dedup_key.into() }, actor, reason)
    }

    /// When the change will be through, which lanes miss the deadline and who could do something about it, and what
    /// larger steps would bring and cost. `None` before the run has begun, once it has ended, and while it goes back. It asks the rules for every
    /// step of every lane that is left: for people and pages, not for loops.
    pub fn outlook(&self, deadline_unix_ms: Option<i64>) -> Option<Outlook> {
        self.shared.machine.lock().as_ref()?.outlook(deadline_unix_ms)
    }

    /// What happens from now on, for programs: see [`ChangeEvent`](crate::ChangeEvent). As many may listen as like to.
    pub fn events(&self) -> Events {
        self.shared.events.subscribe()
    }

    /// What people have been told and is still so, of the change and of the run that drives it.
    pub fn notices(&self) -> Vec<Notice> {
        let mut open = self
            .shared
            .machine
            .lock()
            .as_ref()
            .map_or_else(Vec::new, Machine::open_notices);
        open.extend(self.shared.own.lock().iter().cloned());
        open
    }

    /// Ends the change where it stands. What is under way comes to its end first, and is [owed](crate::Debt) where it does not within three
    /// times what an attempt is [estimated](crate::Settings::attempt_estimate_ms) to take. Where it has been stopped, or goes back, it takes a
    /// person: whoever was to go back is left as they are. Once it has ended, no word of this change brings anybody back.
    pub fn abort(&self, actor: Actor, reason: impl Into<String>) -> Result<(), CommandError> {
        self.order(Command::Abort, actor, reason)
    }

    /// The same, for whoever says it again and again: nothing is said, and nothing written down, where it would be refused, or was heard.
    pub(crate) fn abort_if_it_may(&self, actor: Actor, reason: String) {
        let order = Order {
            command: Command::Abort,
            actor,
            reason,
            question: None,
        };
        let is_over = |machine: &Machine| machine.is_aborting() || machine.refusal(&order).is_some();
        let unread = (self.shared.orders.lock().iter()).any(|given| given.order.command == Command::Abort);
        if unread || self.shared.machine.lock().as_ref().is_some_and(is_over) {
            return;
        }
        // One that has just ended is in nobody's way any more.
        let _ = self.give(order);
    }

    fn order(&self, command: Command, actor: Actor, reason: impl Into<String>) -> Result<(), CommandError> {
        self.give(Order {
            command,
            actor,
            reason: reason.into(),
            question: self.answers,
        })
    }

    /// Gives a command that came from elsewhere: another process, a chat, a page.
    pub fn give(&self, order: Order) -> Result<(), CommandError> {
        if self.shared.ended.load(Ordering::Acquire) {
            return Err(CommandError::Ended);
        }
        let freezes = order.command == Command::Freeze;
        let refused = if freezes {
            // It is never refused, and does not wait for whoever holds the machine.
            None
        } else {
            let machine = self.shared.machine.lock();
            if machine.as_ref().is_some_and(|machine| machine.ended().is_some()) {
                // The run has yet to write that down, and reads no orders any more.
                return Err(CommandError::Ended);
            }
            machine.as_ref().and_then(|machine| machine.refusal(&order))
        };
        let mut orders = self.shared.orders.lock();
        if freezes {
            self.shared.frozen.store(true, Ordering::Release);
        }
        let is_full = orders.len() >= MAX_ORDERS;
        if is_full && !freezes {
            return Err(CommandError::TooMany);
        }
        // A freeze has room where nothing else does: one that is not read would be lifted again.
        if !(is_full && is_frozen_already(&orders, &order.actor)) {
            orders.push_back(Given {
                order,
                refused: refused.as_ref().map(CommandError::to_string),
            });
        }
        drop(orders);
        self.shared.waker.wake();
        refused.map_or(Ok(()), Err)
    }

    /// What the independent verifier checked of the plan.
    pub const fn proof(&self) -> &Proof {
        &self.proof
    }

    /// Which version a target born now must run: consistent with cohorts, caps and holds, and the old one from the
    /// moment a rollback is decided, and while nothing may begin (frozen, paused, no permit, a stop that waits for somebody, a spent
    /// budget), and once the run has failed, was dropped, or another controller has taken the change up: ask the handle of the
    /// next run then. A freeze holds at once, the permit within a second. Cheap: an admission hook may call it for every birth; the
    /// permit is read for at most one of them a second.
    pub fn version_for(&self, id: &str, app: &str, labels: &[(&str, &str)]) -> Side {
        if self.shared.lost.load(Ordering::Acquire) {
            return Side::Old;
        }
        let (side, completed) = match self.shared.machine.lock().as_ref() {
            Some(machine) => (machine.version_for(id, app, labels), machine.ended().is_some()),
            None => (Side::Old, false),
        };
        if side == Side::Old || completed {
            return side;
        }
        // What stops effects before the machine hears of it stops births too, and nobody watches them where nothing can be written down.
        let unwatched = self.shared.frozen.load(Ordering::Acquire) || self.shared.unwritten.load(Ordering::Acquire);
        if unwatched || !self.shared.permit.may_act() {
            return Side::Old;
        }
        side
    }

    /// Where the change stands, in full; `None` before the run has begun.
    pub fn summary(&self) -> Option<Summary> {
        self.shared.machine.lock().as_ref().map(|machine| {
            let mut summary = machine.summary();
            if machine.is_withheld() {
                summary.withhold();
            }
            summary
        })
    }

    /// Where the change stands, in a few numbers: cheap enough for a progress bar. `None` before the run has
    /// begun.
    pub fn progress(&self) -> Option<Progress> {
        let blind = self.shared.blind.load(Ordering::Relaxed) as u64;
        let machine = self.shared.machine.lock();
        machine.as_ref().map(|machine| machine.progress(blind))
    }
}

/// A step that a person may take.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Offer {
    /// Which target.
    pub target: String,
    /// What it is to run.
    pub version: Version,
    /// The person has to do it; otherwise the word is enough.
    pub by_hand: bool,
}

/// A change in a few numbers.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Progress {
    /// The time on the run's clock, in milliseconds.
    pub now_ms: u64,
    /// Living targets.
    pub targets: u64,
    /// Targets on the new version.
    pub exposed: u64,
    /// Attempts under way.
    pub in_flight: u64,
    /// Those of them whose target could not be seen at the last look: they do nothing until it can.
    pub blind: u64,
    /// The furthest open batch, from 0.
    pub batch: u16,
    /// The stop statistic, an e-value.
    pub evidence: f64,
    /// Where it stands, in one word.
    pub state: &'static str,
    /// It is being taken back, whatever it waits for.
    pub goes_back: bool,
}
