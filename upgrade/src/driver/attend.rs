//! What callers await between turns.
use std::future::{Future, poll_fn, ready};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::future::BoxFuture;

use super::Driver;
use super::calls::{Answer, within};

impl Driver {
    /// Waits until the next turn is due, or until a time on the driver's monotonic clock if that comes first; without a
    /// time and with nothing outstanding it returns at once. A turn is due when there is something to look at, to begin, to
    /// order, to drop or to tell, and as soon as a call has answered that the last turn did not wait for; after an append that failed,
    /// when it is time to make it again.
    ///
    /// Where all that is outstanding are [paused](Self::pause) jobs no turn is ever due: without a time it waits until the
    /// future is dropped, since whoever [unpauses](Self::unpause) must drop it first.
    ///
    /// Such calls go on here, each as often as it wakes, and nowhere else but in turns: who sleeps in another way lets them
    /// stand still while their time runs out. To drop the future loses nothing.
    pub fn attend(&mut self, until_ms: Option<u64>) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let now = self.clock.now();
            let due_ms = [self.next_due_ms(), until_ms].into_iter().flatten().min();
            let clock = std::sync::Arc::clone(&self.clock);
            match due_ms {
                Some(due_ms) if due_ms <= now => {}
                Some(due_ms) => drop(within(clock.as_ref(), due_ms, self.first_answer()).await),
                None if self.is_waiting() || self.is_at_a_standstill() => self.first_answer().await,
                None => {}
            }
        })
    }

    /// A turn is due now.
    pub fn is_due(&self) -> bool {
        self.next_due_ms().is_some_and(|due_ms| due_ms <= self.clock.now())
    }

    fn first_answer(&mut self) -> impl Future<Output = ()> + Unpin {
        poll_fn(|context| {
            if self.drive_calls(context) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
    }

    /// Whether an answer is there.
    fn drive_calls(&mut self, context: &mut Context<'_>) -> bool {
        self.effects.drive(context);
        self.looks_open.drive(context);
        // Kept as one that answers at once: the next turn takes it.
        let appended = match self.appending.as_mut().map(|append| Pin::new(append).poll(context)) {
            Some(Poll::Ready(answer)) => {
                self.appending = Some(Answer::new(ready(answer)));
                self.append_again_ms = self.append_again_ms.map(|_| self.clock.now());
                true
            }
            Some(Poll::Pending) | None => false,
        };
        appended || self.has_answer()
    }

    pub(super) fn has_answer(&self) -> bool {
        self.effects.has_answer() || self.looks_open.has_answer()
    }

    fn is_waiting(&self) -> bool {
        self.unanswered() > 0 || self.appending.is_some()
    }

    /// All that is outstanding waits for [`unpause`](Self::unpause). Records that are attached are for the next turn all the
    /// same.
    fn is_at_a_standstill(&self) -> bool {
        self.in_flight == 0 && self.waiting.len() > 0 && self.outbox.is_empty()
    }

    pub(super) fn unanswered(&self) -> usize {
        self.effects.len() + self.looks_open.len()
    }
}
