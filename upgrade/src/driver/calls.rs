//! Calls that are under way at the platform: none without a deadline, and none that others must wait for.
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use futures::future::{Either, select};
use futures::stream::{FuturesUnordered, StreamExt};
use parking_lot::Mutex;

use crate::compaction::Source;
use crate::{Clock, Group, Journal, JournalError, Position, Snapshot};

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
pub(super) async fn within<C, F>(clock: &C, until_ms: u64, mut call: F) -> Option<F::Output>
where
    C: Clock + ?Sized,
    F: Future + Unpin,
{
    if let Poll::Ready(answer) = futures::poll!(&mut call) {
        return Some(answer);
    }
    match select(call, clock.sleep_until(until_ms)).await {
        Either::Left((answer, _)) => Some(answer),
        Either::Right(_) => None,
    }
}

/// A journal that answers or is given up.
pub(super) struct ReadWithin<'a, J: ?Sized, C: ?Sized> {
    pub(super) journal: &'a J,
    pub(super) clock: &'a C,
    pub(super) call_ms: u64,
}

impl<J: Journal + ?Sized, C: Clock + ?Sized> ReadWithin<'_, J, C> {
    async fn answer<T>(
        &self,
        call: impl Future<Output = Result<T, JournalError>> + Unpin + Send,
    ) -> Result<T, JournalError> {
        let call_ms = self.call_ms;
        let until_ms = self.clock.now().saturating_add(call_ms);
        let answer = within(self.clock, until_ms, call).await;
        answer.unwrap_or(Err(JournalError::Silent { call_ms }))
    }

    pub(super) async fn end(&self) -> Result<Position, JournalError> {
        self.answer(self.journal.end()).await
    }
}

#[async_trait]
impl<J: Journal + ?Sized, C: Clock + ?Sized> Source for ReadWithin<'_, J, C> {
    async fn snapshot(&self) -> Result<Option<Snapshot>, JournalError> {
        self.answer(self.journal.snapshot()).await
    }

    async fn read(&self, from: Position, max_groups: usize) -> Result<Vec<(Position, Group)>, JournalError> {
        self.answer(self.journal.read(from, max_groups)).await
    }
}

/// Calls with what each is about. Each ends by itself: it is made with [`within`].
pub(super) struct Calls<A, T> {
    open: FuturesUnordered<Call<A, T>>,
    turn: u64,
    /// Calls of this turn that it waits for.
    awaited: usize,
    /// Open calls that no turn waits for: where the last one hung.
    apart: usize,
}

struct Call<A, T> {
    about: Option<A>,
    answer: Answer<T>,
    /// The turn that waits for it; none for one apart.
    turn: Option<u64>,
}

impl<A: Unpin, T> Future for Call<A, T> {
    type Output = (Option<A>, Option<u64>, T);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(Pin::new(&mut self.answer).poll(context));
        Poll::Ready((self.about.take(), self.turn, answer))
    }
}

impl<A: Unpin, T> Calls<A, T> {
    pub(super) fn new() -> Self {
        Self {
            open: FuturesUnordered::new(),
            turn: 0,
            awaited: 0,
            apart: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
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

    /// Begins a call, which the turn waits for unless it is one apart. One that answers at once costs no bookkeeping.
    pub(super) async fn begin(&mut self, about: A, mut answer: Answer<T>, apart: bool) -> Option<(A, T)> {
        if let Poll::Ready(answer) = futures::poll!(&mut answer) {
            return Some((about, answer));
        }
        self.awaited += usize::from(!apart);
        self.apart += usize::from(apart);
        self.open.push(Call {
            about: Some(about),
            answer,
            turn: (!apart).then_some(self.turn),
        });
        None
    }

    /// The next answer: one that is there already, or one that comes by then while the turn has calls to wait for.
    pub(super) async fn next<C: Clock + ?Sized>(&mut self, clock: &Arc<C>, until_ms: u64) -> Option<(A, T)> {
        let answered = match futures::poll!(self.open.next()) {
            Poll::Ready(answered) => answered?,
            Poll::Pending if self.awaited == 0 || clock.now() >= until_ms => return None,
            Poll::Pending => within(clock.as_ref(), until_ms, self.open.next()).await??,
        };
        let (about, turn, answer) = answered;
        self.awaited -= usize::from(turn == Some(self.turn));
        self.apart -= usize::from(turn.is_none());
        about.map(|about| (about, answer))
    }
}
