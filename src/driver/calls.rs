//! Calls that are under way beside the turns: no turn waits for one, and a later one takes its answer.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};

/// Each ends by itself: whoever makes one gives it a deadline.
pub(super) struct Calls<T> {
    open: FuturesUnordered<BoxFuture<'static, T>>,
    answered: VecDeque<T>,
}

impl<T> Calls<T> {
    pub(super) fn new() -> Self {
        Self {
            open: FuturesUnordered::new(),
            answered: VecDeque::new(),
        }
    }

    pub(super) fn add(&self, call: BoxFuture<'static, T>) {
        self.open.push(call);
    }

    /// No call is under way, and no answer waits to be taken.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.answered.is_empty()
    }

    /// Lets them go on as far as they can now. Whether there is an answer to be taken.
    pub(super) fn drive(&mut self, context: &mut Context<'_>) -> bool {
        while let Poll::Ready(Some(answer)) = self.open.poll_next_unpin(context) {
            self.answered.push_back(answer);
        }
        !self.answered.is_empty()
    }

    /// The next answer, if one is there without waiting.
    pub(super) async fn next_now(&mut self) -> Option<T> {
        if self.answered.is_empty() {
            poll_fn(|context| Poll::Ready(self.drive(context))).await;
        }
        self.answered.pop_front()
    }
}
