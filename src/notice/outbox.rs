//! The way of notices out of the process: in order, beside the run, and never in its way.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::{join_all, select};
use unattended_upgrade::Clock;

use crate::Notifier;

use super::{Notice, Pulse};

/// Notices that wait while earlier ones are being sent. Beyond it the oldest are dropped: what is still so is said again.
const MAX_WAITING: usize = 1_024;

type Sending = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Sends what it is given: notices that come together at once, those that come later after them, so that no matter is over
/// before it has come up. Each sending is given up after `call_ms`.
pub(crate) struct Outbox<C> {
    notifier: Arc<dyn Notifier>,
    clock: Arc<C>,
    call_ms: u64,
    waiting: VecDeque<Notice>,
    sending: Option<Sending>,
    pulse: Option<Sending>,
}

impl<C> fmt::Debug for Outbox<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox")
            .field("waiting", &self.waiting.len())
            .finish_non_exhaustive()
    }
}

impl<C: Clock> Outbox<C> {
    pub(crate) fn new(notifier: Arc<dyn Notifier>, clock: Arc<C>, call_ms: u64) -> Self {
        Self {
            notifier,
            clock,
            call_ms,
            waiting: VecDeque::new(),
            sending: None,
            pulse: None,
        }
    }

    /// Sends these when those before are sent.
    pub(crate) fn push(&mut self, notices: impl IntoIterator<Item = Notice>) {
        self.waiting.extend(notices);
        let many = self.waiting.len().saturating_sub(MAX_WAITING);
        self.waiting.drain(..many);
    }

    /// Sends a pulse now. One that is still on its way is given up: it says less.
    pub(crate) fn pulse(&mut self, pulse: Pulse) {
        let notifier = Arc::clone(&self.notifier);
        self.pulse = Some(self.within(async move { notifier.pulse(&pulse).await }));
    }

    /// Lets what is being sent go on. Ready when nothing is left.
    pub(crate) fn drive(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Some(pulse) = &mut self.pulse
            && pulse.as_mut().poll(context).is_ready()
        {
            self.pulse = None;
        }
        loop {
            if let Some(sending) = &mut self.sending {
                if sending.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                self.sending = None;
            }
            if self.waiting.is_empty() {
                break;
            }
            let notices = self.next();
            let notifier = Arc::clone(&self.notifier);
            self.sending = Some(self.within(async move {
                join_all(notices.iter().map(|notice| notifier.notify(notice))).await;
            }));
        }
        if self.pulse.is_some() {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }

    /// The first notices, as many as are of different matters.
    fn next(&mut self) -> Vec<Notice> {
        let mut notices: Vec<Notice> = Vec::new();
        while let Some(notice) = self.waiting.pop_front() {
            if notices.iter().any(|other| other.dedup_key == notice.dedup_key) {
                self.waiting.push_front(notice);
                break;
            }
            notices.push(notice);
        }
        notices
    }

    fn within(&self, call: impl Future<Output = ()> + Send + 'static) -> Sending {
        let clock = Arc::clone(&self.clock);
        let until_ms = clock.now().saturating_add(self.call_ms);
        Box::pin(async move {
            let call = pin!(call);
            select(call, clock.sleep_until(until_ms)).await;
        })
    }
}
