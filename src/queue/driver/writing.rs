//! The queue's own journal, and what becomes of the queue while it cannot be written.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use futures::future::select;
use unattended_upgrade::{Clock, Group, Journal, JournalError, Position};

use crate::driver::may_come_back;
use crate::queue::QueueRunError;

use super::Run;

/// An append that failed is made again after so long.
const AGAIN_MS: u64 = 1_000;

/// How it stands with the journal.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// Where it ends, as far as this queue has written.
    pub(super) end: Position,
    /// Why it cannot be written now.
    pub(super) away: Option<String>,
    /// Why it never will be again.
    pub(super) failed: Option<String>,
}

impl Run {
    /// Makes the inputs so far durable. While the journal refuses, or is silent, nothing follows from them and nothing else is decided; the
    /// changes under way, which have journals of their own, go on.
    pub(super) async fn write(&mut self) -> Result<(), QueueRunError> {
        if self.group.is_empty() {
            return Ok(());
        }
        let group = Arc::new(std::mem::replace(&mut self.group, Group::new()));
        let mut in_doubt = false;
        loop {
            match self.append(&group, in_doubt).await {
                Ok(()) => {
                    self.written.end += Position::from(group.len());
                    self.written.away = None;
                    return Ok(());
                }
                Err(error) if may_come_back(&error) => {
                    in_doubt = true;
                    self.is_away(&error);
                    let again_ms = self.parts.clock.now().saturating_add(AGAIN_MS);
                    let clock = Arc::clone(&self.parts.clock);
                    self.beside_telling(async move { clock.sleep_until(again_ms).await })
                        .await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Appends a group behind what was written before. One that hangs is waited for, and never made a second time beside itself.
    async fn append(&mut self, group: &Arc<Group>, in_doubt: bool) -> Result<(), JournalError> {
        let (journal, group) = (Arc::clone(&self.parts.journal), Arc::clone(group));
        let expected = self.written.end;
        self.beside_telling(async move {
            // An append that failed may have been done: the end tells, and what stands before it.
            if in_doubt && is_there(journal.as_ref(), expected, &group).await? {
                return Ok(());
            }
            let found = journal.append_at(expected, &group).await?;
            if found == expected {
                Ok(())
            } else {
                Err(JournalError::NotAtEnd { expected, found })
            }
        })
        .await
    }

    /// Waits for the journal while the changes under way go on, and people are told what they have to know.
    async fn beside_telling<T>(&mut self, call: impl Future<Output = T>) -> T {
        let mut call = pin!(call);
        let silent_ms = self.parts.clock.now().saturating_add(self.parts.call_ms);
        loop {
            let clock = Arc::clone(&self.parts.clock);
            let look_ms = clock.now().saturating_add(self.parts.poll_ms.min(self.parts.call_ms));
            let mut look = clock.sleep_until(look_ms);
            let shared = Arc::clone(&self.shared);
            let answer = self.beside(poll_fn(|context| {
                if let Poll::Ready(answer) = call.as_mut().poll(context) {
                    return Poll::Ready(Some(answer));
                }
                shared.waker.register(context.waker());
                if shared.known.lock().is_empty() {
                    look.as_mut().poll(context).map(|()| None)
                } else {
                    Poll::Ready(None)
                }
            }));
            if let Some(answer) = answer.await {
                return answer;
            }
            if self.parts.clock.now() >= silent_ms && self.written.away.is_none() {
                let call_ms = self.parts.call_ms;
                self.is_away(&JournalError::Silent { call_ms });
            }
            self.take_what_is_known();
            self.tell();
        }
    }

    fn is_away(&mut self, error: &JournalError) {
        self.written.away = Some(error.to_string());
        self.tell();
    }

    /// The queue has failed for good, and is driven no more. What is under way comes to its end, each change by its own journal; it would be
    /// dropped half-way otherwise, with nobody there to take it up.
    pub(super) async fn end_in_order(&mut self, error: &QueueRunError) {
        if self.shared.machine.lock().is_none() {
            // It was never there: nothing is under way, and whoever started it hears why.
            return;
        }
        self.shared.failed.store(true, Ordering::Release);
        (self.written.away, self.written.failed) = (None, Some(error.to_string()));
        self.tell();
        while !self.runs.is_empty() && !*self.shared.left.lock() {
            self.wait().await;
            for (change, _) in std::mem::take(&mut self.ended) {
                // How it ended stands in its own journal, for whoever takes the queue up.
                self.shared.handles.lock().remove(&change);
            }
            self.take_what_is_known();
            self.shared.orders.lock().clear();
            self.tell();
        }
        let clock = Arc::clone(&self.parts.clock);
        let until_ms = clock.now().saturating_add(self.parts.call_ms.saturating_mul(2));
        let rest = poll_fn(|context| self.outbox.drive(context));
        select(rest, clock.sleep_until(until_ms)).await;
    }
}

/// Whether the journal has this group from there on, and nothing behind it.
async fn is_there(journal: &dyn Journal, from: Position, group: &Group) -> Result<bool, JournalError> {
    let found = journal.end().await?;
    if found == from {
        return Ok(false);
    }
    let expected = from;
    let mut there = Group::new();
    for (_, group) in journal.read(from, usize::MAX).await? {
        there.extend(&group);
    }
    if there == *group {
        Ok(true)
    } else {
        Err(JournalError::NotAtEnd { expected, found })
    }
}
