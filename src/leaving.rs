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
