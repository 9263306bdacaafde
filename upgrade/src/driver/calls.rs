//! Calls that are under way at the platform: none without a deadline, and none that others must wait for.
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::future::{Either, select};
use futures::stream::{FuturesUnordered, StreamExt};
use parking_lot::Mutex;

use crate::Clock;

/// A call that owns what it needs, so that it may outlive the turn that began it.
///
/// The lock is never taken: it lets whoever holds a driver be shared between threads, though calls are not.
pub(super) struct Answer<T>(Mutex<Pin<Box<dyn Future<Output = T> + Send>>>);

impl<T> Answer<T> {
    pub(super) fn new(call: impl Future<Output = T> + Send + 'static) -> Self {
        Self(Mutex::new(Box::pin(call)))
    }
}

impl<T> Future for Answer<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        self.0.get_mut().as_mut().poll(context)
    }
}

/// The answer, unless it has not come by then; the call is dropped in that case. No timer is set for what answers at once.
pub(super) async fn within<F: Future + Unpin>(clock: &dyn Clock, until_ms: u64, mut call: F) -> Option<F::Output> {
    if let Poll::Ready(answer) = futures::poll!(&mut call) {
        return Some(answer);
    }
    match select(call, clock.sleep_until(until_ms)).await {
        Either::Left((answer, _)) => Some(answer),
        Either::Right(_) => None,
    }
}

/// Calls with what each is about. Each ends by itself: it is made with [`within`].
pub(super) struct Calls<A, T> {
    open: FuturesUnordered<Call<A, T>>,
    /// What came between turns.
    answered: VecDeque<Answered<A, T>>,
    turn: u64,
    /// Calls of this turn that it waits for.
    awaited: usize,
    /// Open calls that no turn waits for: where the last one hung.
    apart: usize,
}

/// What the call was about, the turn that waited for it, and the answer.
type Answered<A, T> = (Option<A>, Option<u64>, T);

struct Call<A, T> {
    about: Option<A>,
    answer: Answer<T>,
    /// The turn that waits for it; none for one apart.
    turn: Option<u64>,
}

impl<A: Unpin, T> Future for Call<A, T> {
    type Output = Answered<A, T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(Pin::new(&mut self.answer).poll(context));
        Poll::Ready((self.about.take(), self.turn, answer))
    }
}

impl<A: Unpin, T> Calls<A, T> {
    pub(super) fn new() -> Self {
        Self {
            open: FuturesUnordered::new(),
            answered: VecDeque::new(),
            turn: 0,
            awaited: 0,
            apart: 0,
        }
    }

    /// Calls whose answers have not been taken.
    pub(super) fn len(&self) -> usize {
        self.open.len() + self.answered.len()
    }

    /// An answer is there to be taken.
    pub(super) fn has_answer(&self) -> bool {
        !self.answered.is_empty()
    }

    /// Lets the open calls go on, as far as they can now, and keeps their answers.
    pub(super) fn drive(&mut self, context: &mut Context<'_>) {
        while let Poll::Ready(Some(answered)) = self.open.poll_next_unpin(context) {
            self.answered.push_back(answered);
        }
    }

    /// One more may be open. Calls where the last one hung have as many places as all others, and take none of theirs.
    pub(super) fn has_room(&self, apart: bool, most: usize) -> bool {
        let open = if apart { self.apart } else { self.len() - self.apart };
        open < most
    }

    /// What is still open is waited for no longer.
    pub(super) const fn new_turn(&mut self) {
        self.turn += 1;
        self.awaited = 0;
    }

    /// Keeps a call that has been polled and has not answered; the turn waits for it unless it is one apart. One that answers
    /// at once costs no bookkeeping.
    pub(super) fn keep(&mut self, about: A, answer: Answer<T>, apart: bool) {
        self.awaited += usize::from(!apart);
        self.apart += usize::from(apart);
        self.open.push(Call {
            about: Some(about),
            answer,
            turn: (!apart).then_some(self.turn),
        });
    }

    /// The next answer: one that is there already, or one that comes by then while the turn has calls to wait for.
    pub(super) async fn next(&mut self, clock: &dyn Clock, until_ms: u64) -> Option<(A, T)> {
        let answered = match self.answered.pop_front() {
            Some(answered) => answered,
            None => match futures::poll!(self.open.next()) {
                Poll::Ready(answered) => answered?,
                Poll::Pending if self.awaited == 0 || clock.now() >= until_ms => return None,
                Poll::Pending => within(clock, until_ms, self.open.next()).await??,
            },
        };
        let (about, turn, answer) = answered;
        self.awaited -= usize::from(turn == Some(self.turn));
        self.apart -= usize::from(turn.is_none());
        about.map(|about| (about, answer))
    }
}
