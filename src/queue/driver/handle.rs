//! Speaking to a queue that is driven.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::task::AtomicWaker;
use parking_lot::Mutex;
use unattended_upgrade::Clock;

use crate::queue::{Input, Queue, QueueSummary, Standing, Ticket};
use crate::{Actor, CommandError, Demotion, Handle};

/// The orders that may lie unread, and the matters of which somebody knows.
const MAX_ORDERS: usize = 1_000;

pub(super) struct Shared {
    pub(super) machine: Mutex<Option<Queue>>,
    pub(super) orders: Mutex<VecDeque<Input>>,
    pub(super) known: Mutex<Vec<String>>,
    pub(super) handles: Mutex<BTreeMap<String, Handle>>,
    pub(super) left: Mutex<bool>,
    /// It is driven no more, and what is under way comes to its end.
    pub(super) failed: AtomicBool,
    pub(super) waker: AtomicWaker,
    pub(super) clock: Arc<dyn Clock>,
}

/// Speaks to a queue that is driven, from any thread. Cloning gives another handle to the same one.
#[derive(Clone)]
pub struct QueueHandle(pub(super) Arc<Shared>);

impl fmt::Debug for QueueHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueHandle").finish_non_exhaustive()
    }
}

impl QueueHandle {
    /// Wants a change. One that is refused is told to people, with the reason; [`Queue::check`] says it beforehand.
    ///
    /// # Errors
    /// [`CommandError::Ended`] where nobody drives the queue any more, [`CommandError::TooMany`] where nobody reads.
    pub fn submit(&self, ticket: Ticket) -> Result<(), CommandError> {
        self.order(Input::Submit(ticket))
    }

    /// See [`Input::Withdraw`]. To give up a change that waits for people takes a person.
    ///
    /// # Errors
    /// As [`submit`](Self::submit), and [`CommandError::NeedsPerson`].
    pub fn withdraw(
        &self,
        change: impl Into<String>,
        actor: Actor,
        reason: impl Into<String>,
    ) -> Result<(), CommandError> {
        let (change, reason) = (change.into(), reason.into());
        self.order(Input::Withdraw { change, actor, reason })
    }

    /// See [`Input::Prioritise`].
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn prioritise(
        &self,
        change: impl Into<String>,
        priority: i32,
        actor: Actor,
        reason: impl Into<String>,
    ) -> Result<(), CommandError> {
        self.order(Input::Prioritise {
            change: change.into(),
            priority,
            actor,
            reason: reason.into(),
        })
    }

    /// See [`Input::Resume`]. Where the change waits for people it takes a person.
    ///
    /// # Errors
    /// As [`submit`](Self::submit), and [`CommandError::NeedsPerson`].
    pub fn resume(
        &self,
        change: impl Into<String>,
        actor: Actor,
        reason: impl Into<String>,
    ) -> Result<(), CommandError> {
        let (change, reason) = (change.into(), reason.into());
        self.order(Input::Resume { change, actor, reason })
    }

    /// Says that somebody knows of an open matter, by its [`dedup_key`](crate::Notice::dedup_key). It is heard also while the journal
    /// cannot be written.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn acknowledge(&self, dedup_key: impl Into<String>) -> Result<(), CommandError> {
        if *self.0.left.lock() {
            return Err(CommandError::Ended);
        }
        let mut known = self.0.known.lock();
        if known.len() >= MAX_ORDERS {
            return Err(CommandError::TooMany);
        }
        known.push(dedup_key.into());
        drop(known);
        self.0.waker.wake();
        Ok(())
    }

    fn is_driven(&self) -> Result<(), CommandError> {
        if *self.0.left.lock() || self.0.failed.load(Ordering::Acquire) {
            return Err(CommandError::Ended);
        }
        Ok(())
    }

    fn order(&self, input: Input) -> Result<(), CommandError> {
        self.is_driven()?;
        let refused = (self.0.machine.lock().as_ref()).and_then(|queue| queue.refusal(&input));
        if let Some(error) = refused {
            return Err(error);
        }
        let mut orders = self.0.orders.lock();
        if orders.len() >= MAX_ORDERS {
            return Err(CommandError::TooMany);
        }
        orders.push_back(input);
        drop(orders);
        self.0.waker.wake();
        Ok(())
    }

    /// The handle of a change that is under way.
    pub fn change(&self, change: &str) -> Option<Handle> {
        self.0.handles.lock().get(change).cloned()
    }

    /// Takes rights away from every change of a kind that has begun: from one that is under way from its next decision on, from
    /// one that has stopped as soon as it goes on. Says from which. The queue remembers it, and says it anew whenever such a change is
    /// opened again. Those that begin later are for whoever [opens](crate::queue::Changes::open) them, by the level that the record then
    /// has.
    pub fn demote(&self, demotion: &Demotion) -> Vec<String> {
        let mut demoted: Vec<String> = self.0.machine.lock().as_ref().map_or_else(Vec::new, |queue| {
            let of_kind = queue.begun().filter(|ticket| ticket.kind == demotion.kind);
            of_kind.map(|ticket| ticket.change.clone()).collect()
        });
        demoted.retain(|change| {
            let actor = || Actor::program("track record", demotion.kind.as_str());
            // Remembered first: a change that is being opened hears of it from the queue.
            let remembered = self.order(Input::Demote {
                change: change.clone(),
                level: demotion.to,
                actor: actor(),
                reason: demotion.why.clone(),
            });
            match self.change(change) {
                Some(handle) => handle.demote(actor(), demotion.to, demotion.why.as_str()).is_ok(),
                None => remembered.is_ok(),
            }
        });
        demoted
    }

    /// Why a change does not begin now, and when it can; `None` where there is none of that name.
    pub fn standing(&self, change: &str) -> Option<Standing> {
        let now_ms = self.0.clock.wall();
        self.0
            .machine
            .lock()
            .as_ref()
            .and_then(|queue| queue.standing(change, now_ms))
    }

    /// Everything in the queue; `None` before its journal was read.
    pub fn summary(&self) -> Option<QueueSummary> {
        let now_ms = self.0.clock.wall();
        self.0.machine.lock().as_ref().map(|queue| queue.summary(now_ms))
    }

    /// Ends the driving after this turn, or after twice the [time of a call](crate::queue::QueueParts::call_ms) where that waits for
    /// longer, as for a journal that hangs. Changes under way are dropped where they are, which is as good as a kill: a later run takes
    /// them up.
    pub fn leave(&self) {
        *self.0.left.lock() = true;
        self.0.waker.wake();
    }
}
