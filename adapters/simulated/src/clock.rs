use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use parking_lot::Mutex;
use unattended_upgrade::Clock;

/// Virtual time. It stands still while anybody has something to do, and is moved by the
/// [`Executor`](crate::Executor) to the next timer otherwise.
///
/// Clones show the same time.
#[derive(Clone, Debug)]
pub struct SimClock {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    now_ms: AtomicU64,
    start_wall_ms: i64,
    timers: Mutex<Timers>,
}

#[derive(Debug, Default)]
struct Timers {
    /// By time, then by registration: who slept first for one instant wakes first.
    waiting: BTreeMap<(u64, u64), Waker>,
    registered: u64,
}

impl SimClock {
    pub(crate) fn new(start_wall_ms: i64) -> Self {
        Self {
            shared: Arc::new(Shared {
                now_ms: AtomicU64::new(0),
                start_wall_ms,
                timers: Mutex::new(Timers::default()),
            }),
        }
    }

    /// Moves time to `at_ms`, if that lies ahead, and wakes whoever slept until then. Time never goes back.
    pub fn advance_to(&self, at_ms: u64) {
        self.shared.now_ms.fetch_max(at_ms, Ordering::SeqCst);
        self.wake_due();
    }

    /// The time of the next timer, in milliseconds.
    pub(crate) fn next_timer(&self) -> Option<u64> {
        self.shared.timers.lock().waiting.keys().next().map(|(at, _)| *at)
    }

    fn wake_due(&self) {
        let now = self.now();
        loop {
            // Not under the lock: a waker may run code that sleeps again.
            let waker = {
                let mut timers = self.shared.timers.lock();
                match timers.waiting.first_key_value() {
                    Some(((at, _), _)) if *at <= now => timers.waiting.pop_first().map(|(_, waker)| waker),
                    _ => None,
                }
            };
            match waker {
                Some(waker) => waker.wake(),
                None => return,
            }
        }
    }
}

#[async_trait]
impl Clock for SimClock {
    fn now(&self) -> u64 {
        self.shared.now_ms.load(Ordering::SeqCst)
    }

    fn wall(&self) -> i64 {
        let now = i64::try_from(self.now()).unwrap_or(i64::MAX);
        self.shared.start_wall_ms.saturating_add(now)
    }

    async fn sleep_until(&self, at_ms: u64) {
        Sleep {
            clock: self,
            at_ms,
            registered: None,
        }
        .await;
    }
}

struct Sleep<'a> {
    clock: &'a SimClock,
    at_ms: u64,
    registered: Option<u64>,
}

impl Future for Sleep<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let clock = self.clock;
        let mut timers = clock.shared.timers.lock();
        if clock.now() >= self.at_ms {
            return Poll::Ready(());
        }
        let number = *self.registered.get_or_insert_with(|| {
            timers.registered += 1;
            timers.registered
        });
        timers.waiting.insert((self.at_ms, number), cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.registered {
            self.clock.shared.timers.lock().waiting.remove(&(self.at_ms, number));
        }
    }
}
