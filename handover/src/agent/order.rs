//! What the controller asks for.

use thiserror::Error;

use super::{Action, Agent, Session};
use crate::wire::{Frame, Listener, MAX_DESCRIPTORS};
use crate::{Generation, Refusal};

/// A step of the hand-over. The controller gives them one by one and looks at both processes in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "an agent must know every order")]
pub enum Order {
    /// To the old process: pass the listeners.
    Offer,
    /// To the new process: poll them too.
    Accept,
    /// To the old process: poll no more, and keep them.
    Quiesce,
    /// To the old process: move what can be moved, ask the rest to end.
    Migrate,
    /// To the new process: the target is yours.
    Commit,
    /// To the old process: move what has come since, and leave as soon as you have lingered, if the new one is there then.
    Retire,
    /// To the old process: it is yours again.
    Return,
}

/// What became of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Answer {
    /// It is done, or under way.
    Applied,
    /// It was done before.
    AlreadyApplied,
    /// A later attempt has spoken already.
    Stale,
    /// Not done. It may be later, or never; nothing has changed.
    Refused(NotNow),
}

/// Why an order is not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum NotNow {
    /// There is no session, or the other has been silent for longer than its lease.
    #[error("there is no session with the other process")]
    NoSession,
    /// Only a process that holds the listeners can do this.
    #[error("this process does not hold the listeners")]
    NoListeners,
    /// The other must poll first.
    #[error("the other process does not poll the listeners")]
    OtherDoesNotPoll,
    /// The other must have committed first.
    #[error("the other process has not committed")]
    OtherHasNotCommitted,
    /// The self-checks of this process have not passed.
    #[error("the self-checks of this process have not passed")]
    NotReady,
    /// This process has left.
    #[error("this process has left")]
    Left,
}

impl Agent {
    /// Takes an order of an attempt. Orders of a lower generation than one that was heard of are stale.
    pub fn order(&mut self, now_ms: u64, generation: Generation, order: Order) -> Answer {
        if generation < self.fence {
            return Answer::Stale;
        }
        if self.left {
            return match order {
                Order::Retire => Answer::AlreadyApplied,
                _ => Answer::Refused(NotNow::Left),
            };
        }
        let salvage = order == Order::Commit && self.session.is_none();
        if self.turned_back == Some(generation) && order != Order::Return && !salvage {
            // No way leads forward again within one attempt, unless there is nobody to go back to.
            return Answer::Stale;
        }
        let answer = match order {
            Order::Offer => self.offer_listeners(now_ms),
            Order::Accept => self.accept(now_ms),
            Order::Quiesce => self.quiesce(now_ms),
            Order::Migrate => self.migrate(now_ms),
            Order::Commit => self.commit(now_ms),
            Order::Retire => self.retire(now_ms),
            Order::Return => self.take_all_back(now_ms, generation),
        };
        if !matches!(answer, Answer::Refused(_)) {
            self.fence = generation;
        }
        answer
    }

    /// From here on only orders of this generation or later count.
    pub fn fence(&mut self, generation: Generation) -> Answer {
        if generation < self.fence {
            return Answer::Stale;
        }
        self.fence = generation;
        Answer::Applied
    }

    fn offer_listeners(&mut self, now_ms: u64) -> Answer {
        if !self.status.holds {
            return Answer::Refused(NotNow::NoListeners);
        }
        // Who called this process gets the listeners. Whom it has called itself has had them, or has some connections left.
        let called = self.session.as_ref().is_some_and(Session::called);
        let Some(peer) = self.peer().filter(|_| !called) else {
            return Answer::Refused(NotNow::NoSession);
        };
        let offered = self
            .session
            .as_mut()
            .map(|session| core::mem::replace(&mut session.offered, true));
        if peer.status.holds || offered == Some(true) {
            return Answer::AlreadyApplied;
        }
        for (name, bytes) in self.secrets.clone() {
            self.act(Action::Send(Frame::Secret { name, bytes }));
        }
        let parts = self.listeners.chunks(MAX_DESCRIPTORS);
        let of = u16::try_from(parts.len()).unwrap_or(u16::MAX);
        let frames: Vec<Frame> = (0..of)
            .zip(parts)
            .map(|(part, listeners)| Frame::Listeners {
                part,
                parts: of,
                listeners: listeners.to_vec(),
            })
            .collect();
        for frame in frames {
            self.act(Action::Send(frame));
        }
        self.beat(now_ms);
        Answer::Applied
    }

    fn accept(&mut self, now_ms: u64) -> Answer {
        if !self.status.holds {
            return Answer::Refused(NotNow::NoListeners);
        }
        if !self.status.ready {
            return Answer::Refused(NotNow::NotReady);
        }
        // What an earlier attempt asked back is over.
        self.giving = false;
        if self.status.polls {
            return Answer::AlreadyApplied;
        }
        self.poll(now_ms);
        Answer::Applied
    }

    fn quiesce(&mut self, now_ms: u64) -> Answer {
        if !self.status.polls {
            return Answer::AlreadyApplied;
        }
        match self.peer() {
            None => Answer::Refused(NotNow::NoSession),
            Some(peer) if !peer.status.polls => Answer::Refused(NotNow::OtherDoesNotPoll),
            Some(_) => {
                self.pause(now_ms);
                Answer::Applied
            }
        }
    }

    fn migrate(&mut self, now_ms: u64) -> Answer {
        if self.giving {
            return Answer::AlreadyApplied;
        }
        match self.peer() {
            None => Answer::Refused(NotNow::NoSession),
            Some(peer) if !peer.status.polls => Answer::Refused(NotNow::OtherDoesNotPoll),
            Some(_) => {
                self.start_giving(now_ms);
                Answer::Applied
            }
        }
    }

    fn commit(&mut self, now_ms: u64) -> Answer {
        if self.status.committed {
            return Answer::AlreadyApplied;
        }
        if !self.status.ready {
            return Answer::Refused(NotNow::NotReady);
        }
        self.status.committed = true;
        if self.status.holds {
            self.poll(now_ms);
        } else {
            // Started anew since the listeners were passed.
            self.act(Action::Bind);
        }
        self.beat(now_ms);
        Answer::Applied
    }

    /// The listeners were bound anew, and are polled.
    pub fn bound(&mut self, now_ms: u64, listeners: Vec<Listener>) {
        self.listeners = listeners;
        self.status.holds = true;
        self.status.polls = true;
        self.beat(now_ms);
    }

    fn retire(&mut self, now_ms: u64) -> Answer {
        if self.leaving_ms.is_some() {
            return Answer::AlreadyApplied;
        }
        match self.peer() {
            None => Answer::Refused(NotNow::NoSession),
            Some(peer) if !peer.status.committed => Answer::Refused(NotNow::OtherHasNotCommitted),
            Some(peer) if !peer.status.polls => Answer::Refused(NotNow::OtherDoesNotPoll),
            Some(_) => {
                self.status.committed = false;
                self.leaving_ms = Some(now_ms.saturating_add(self.timing.linger_ms));
                self.pause(now_ms);
                self.beat(now_ms);
                // What it took while the two had lost each other is nobody's to cut.
                self.start_giving(now_ms);
                Answer::Applied
            }
        }
    }

    fn take_all_back(&mut self, now_ms: u64, generation: Generation) -> Answer {
        if !self.status.holds {
            return Answer::Refused(NotNow::NoListeners);
        }
        let asked = self.session.as_ref().is_some_and(|session| session.asked_back);
        if self.turned_back == Some(generation) && asked {
            return Answer::AlreadyApplied;
        }
        self.giving = false;
        self.leaving_ms = None;
        self.status.committed = true;
        // First of all: from here on nobody is needed but this process.
        self.poll(now_ms);
        self.take_back(now_ms);
        self.turned_back = Some(generation);
        if self.peer().is_some() {
            self.turn = self.turn.saturating_add(1);
            if let Some(session) = self.session.as_mut() {
                session.ask_back();
            }
            self.beat(now_ms);
            let turn = self.turn;
            self.act(Action::Send(Frame::Return { generation, turn }));
        }
        Answer::Applied
    }

    /// The other turns back.
    pub(super) fn return_all(&mut self, now_ms: u64, generation: Generation, turn: u32) {
        if generation < self.fence || self.left {
            return;
        }
        // The other polls: its beat came before this frame.
        if self.peer().is_some_and(|peer| !peer.status.polls) {
            self.give_up(now_ms, Refusal::Garbled);
            return;
        }
        self.fence = generation;
        self.turn = turn;
        self.turned_back = Some(generation);
        self.status.committed = false;
        self.leaving_ms = None;
        self.pause(now_ms);
        self.start_giving(now_ms);
    }
}
