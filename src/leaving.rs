//! The end of a driving that somebody leaves.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use futures::future::{Either, select};
use futures::task::AtomicWaker;
use parking_lot::Mutex;
use unattended_upgrade::Clock;

/// Drives until that ends, or until `for_ms` after somebody has left: then `None`. Who is left ends by itself after its turn; one that
/// waits for a journal without an answer would never, and may be dropped as by a kill.
pub(crate) async fn until_left<T>(
    driving: impl Future<Output = T>,
    left: &Mutex<bool>,
    waker: &AtomicWaker,
    clock: &dyn Clock,
    for_ms: u64,
) -> Option<T> {
    let late = async {
        poll_fn(|context| {
            // Whatever is driven registers the same task.
            waker.register(context.waker());
            if *left.lock() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        clock.sleep_until(clock.now().saturating_add(for_ms)).await;
    };
    match select(pin!(driving), pin!(late)).await {
        Either::Left((ended, _)) => Some(ended),
        Either::Right(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use async_trait::async_trait;
    use futures::executor::block_on;

    use super::*;

    /// Time passes while it is slept.
    struct Hand(AtomicU64);

    #[async_trait]
    impl Clock for Hand {
        fn now(&self) -> u64 {
            self.0.load(Ordering::SeqCst)
        }

        fn wall(&self) -> i64 {
            0
        }

        async fn sleep_until(&self, at_ms: u64) {
            self.0.fetch_max(at_ms, Ordering::SeqCst);
        }
    }

    #[test]
    fn who_has_left_waits_for_so_long_for_what_does_not_end() {
        let (clock, waker) = (Hand(AtomicU64::new(10)), AtomicWaker::new());
        let hangs = std::future::pending::<u8>();
        let ended = block_on(until_left(hangs, &Mutex::new(true), &waker, &clock, 100));
        assert_eq!((ended, clock.now()), (None, 110));
        // What ends by itself has its word, and nobody waits who has not left.
        for left in [true, false] {
            let ends = std::future::ready(7);
            let ended = block_on(until_left(ends, &Mutex::new(left), &waker, &clock, 100));
            assert_eq!((ended, clock.now()), (Some(7), 110));
        }
    }
}
