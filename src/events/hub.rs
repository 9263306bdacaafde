//! From the run to those who listen, who may be many, slow, or none.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures::Stream;
use parking_lot::Mutex;

use super::{ChangeEvent, EVENT_SCHEMA, Happened};

/// Events that may wait for one subscriber. Beyond it the oldest are dropped, and their number told.
const MAX_WAITING: usize = 16_384;

/// What one subscriber has still to take.
#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<ChangeEvent>,
    missed: u64,
    ended: bool,
    waker: Option<Waker>,
}

#[derive(Default)]
struct State {
    change: String,
    run: u32,
    /// The next event's number.
    number: u64,
    /// What is told as soon as the inputs that it follows from are in the journal, and when it happened.
    pending: Vec<(i64, Happened)>,
    /// How many of these nobody listens to.
    unheard: u64,
    subscribers: Vec<Arc<Mutex<Queue>>>,
    ended: bool,
}

/// Hands events on. Nothing is made of what nobody listens to but its number.
pub(crate) struct Hub {
    state: Mutex<State>,
    /// The time in Unix milliseconds.
    wall: Box<dyn Fn() -> i64 + Send + Sync>,
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_struct("Hub")
            .field("number", &state.number)
            .field("subscribers", &state.subscribers.len())
            .finish_non_exhaustive()
    }
}

impl Hub {
    pub(crate) fn new(change: &str, wall: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        let state = State {
            change: change.to_owned(),
            ..State::default()
        };
        Self {
            state: Mutex::new(state),
            wall: Box::new(wall),
        }
    }

    pub(crate) fn begin(&self, run: u32) {
        self.state.lock().run = run;
    }

    /// Something that follows from inputs which may not be in the journal yet.
    pub(crate) fn pend(&self, what: impl FnOnce() -> Happened) {
        let mut state = self.state.lock();
        if state.is_heard() {
            let pending = ((self.wall)(), what());
            state.pending.push(pending);
        } else {
            state.unheard += 1;
        }
    }

    /// The inputs are in the journal.
    pub(crate) fn flush(&self) {
        let mut state = self.state.lock();
        state.flush();
    }

    /// Something that has happened outside.
    pub(crate) fn tell(&self, what: impl FnOnce() -> Happened) {
        let mut state = self.state.lock();
        if state.is_heard() {
            let (at_unix_ms, what) = ((self.wall)(), what());
            state.publish(at_unix_ms, what);
        } else {
            state.number += 1;
        }
    }

    /// Nothing follows any more.
    pub(crate) fn end(&self) {
        let mut state = self.state.lock();
        state.ended = true;
        for queue in state.subscribers.drain(..) {
            let mut queue = queue.lock();
            queue.ended = true;
            if let Some(waker) = queue.waker.take() {
                waker.wake();
            }
        }
    }

    pub(crate) fn subscribe(&self) -> Events {
        let mut state = self.state.lock();
        let queue = Queue {
            ended: state.ended,
            ..Queue::default()
        };
        let queue = Arc::new(Mutex::new(queue));
        if !state.ended {
            state.subscribers.push(Arc::clone(&queue));
        }
        Events { queue }
    }
}

impl State {
    /// Somebody listens; who does no longer is forgotten.
    fn is_heard(&mut self) -> bool {
        self.subscribers.retain(|queue| Arc::strong_count(queue) > 1);
        !self.subscribers.is_empty()
    }

    fn flush(&mut self) {
        self.number += std::mem::take(&mut self.unheard);
        for (at_unix_ms, what) in std::mem::take(&mut self.pending) {
            self.publish(at_unix_ms, what);
        }
    }

    fn publish(&mut self, at_unix_ms: i64, what: Happened) {
        let event = ChangeEvent {
            schema: EVENT_SCHEMA,
            change: self.change.clone(),
            run: self.run,
            number: self.number,
            at_unix_ms,
            what,
        };
        self.number += 1;
        for queue in &self.subscribers {
            let mut queue = queue.lock();
            if queue.events.len() >= MAX_WAITING {
                queue.events.pop_front();
                queue.missed += 1;
            }
            queue.events.push_back(event.clone());
            if let Some(waker) = queue.waker.take() {
                waker.wake();
            }
        }
    }
}

/// The events of a run from some moment on. It ends with the run.
///
/// It is a [`Stream`], and can be asked without waiting by [`try_next`](Self::try_next). Who is slower than the change by more than
/// 16,384 events is told how many they missed, before the first that they did not.
pub struct Events {
    queue: Arc<Mutex<Queue>>,
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queue = self.queue.lock();
        f.debug_struct("Events")
            .field("waiting", &queue.events.len())
            .field("missed", &queue.missed)
            .finish()
    }
}

impl Events {
    /// The next event, if there is one now.
    pub fn try_next(&mut self) -> Option<ChangeEvent> {
        self.queue.lock().next()
    }
}

impl Queue {
    fn next(&mut self) -> Option<ChangeEvent> {
        if self.missed > 0
            && let Some(first) = self.events.front()
        {
            let events = std::mem::take(&mut self.missed);
            // It stands in the place of the last that was dropped.
            return Some(ChangeEvent {
                number: first.number.saturating_sub(1),
                what: Happened::Missed { events },
                ..first.clone()
            });
        }
        self.events.pop_front()
    }
}

impl Stream for Events {
    type Item = ChangeEvent;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<ChangeEvent>> {
        let mut queue = self.queue.lock();
        match queue.next() {
            Some(event) => Poll::Ready(Some(event)),
            None if queue.ended => Poll::Ready(None),
            None => {
                queue.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(code: u64) -> Happened {
        Happened::Decision {
            code: code.to_string(),
            text: String::new(),
            otherwise: None,
        }
    }

    #[test]
    fn what_is_not_durable_is_told_when_it_is_and_in_order() {
        let hub = Hub::new("mesh-2", || 0);
        let mut events = hub.subscribe();
        hub.pend(|| decision(1));
        assert_eq!(events.try_next(), None);
        // What comes from outside waits for no journal.
        hub.tell(|| decision(0));
        hub.flush();
        hub.tell(|| decision(2));
        let codes: Vec<(u64, Happened)> = std::iter::from_fn(|| events.try_next())
            .map(|event| (event.number, event.what))
            .collect();
        assert_eq!(codes, [(0, decision(0)), (1, decision(1)), (2, decision(2))]);
    }

    #[test]
    fn numbers_do_not_depend_on_who_listens() {
        let hub = Hub::new("mesh-2", || 0);
        hub.pend(|| unreachable!("nobody listens"));
        hub.tell(|| unreachable!("nobody listens"));
        hub.flush();
        let mut events = hub.subscribe();
        hub.tell(|| decision(2));
        assert_eq!(events.try_next().map(|event| event.number), Some(2));
        drop(events);
        hub.tell(|| unreachable!("nobody listens any more"));
        hub.pend(|| unreachable!("nobody listens any more"));
        hub.flush();
        let mut events = hub.subscribe();
        hub.tell(|| decision(5));
        assert_eq!(events.try_next().map(|event| event.number), Some(5));
    }

    #[test]
    fn who_is_slow_is_told_how_much_they_missed() {
        let hub = Hub::new("mesh-2", || 0);
        let (mut slow, mut quick) = (hub.subscribe(), hub.subscribe());
        for number in 0..MAX_WAITING as u64 + 10 {
            hub.tell(|| decision(number));
            assert_eq!(quick.try_next().map(|event| event.number), Some(number));
        }
        let first = slow.try_next().unwrap();
        assert_eq!((first.number, first.what), (9, Happened::Missed { events: 10 }));
        assert_eq!(slow.try_next().map(|event| event.number), Some(10));
        assert_eq!(std::iter::from_fn(|| slow.try_next()).count(), MAX_WAITING - 1);
    }

    #[test]
    fn the_stream_ends_with_the_run() {
        let hub = Hub::new("mesh-2", || 0);
        let events = hub.subscribe();
        hub.tell(|| decision(0));
        hub.end();
        let all: Vec<ChangeEvent> = futures::executor::block_on(futures::StreamExt::collect(events));
        assert_eq!(all.len(), 1);
        let late: Vec<ChangeEvent> = futures::executor::block_on(futures::StreamExt::collect(hub.subscribe()));
        assert_eq!(late, []);
    }
}
