use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};

use unattended_upgrade::Clock;

use crate::{SimClock, Simulated};

/// The future cannot go on: it waits for something, and no timer is set that could bring it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "stalled at virtual {at_ms} ms: the future is pending and no timer is set; it waits for something nobody will do"
)]
#[non_exhaustive]
pub struct Stalled {
    /// The virtual time, in milliseconds.
    pub at_ms: u64,
}

/// Runs one future on virtual time, in the calling thread.
///
/// It polls until the future is stalled, then jumps to the next timer: waiting costs nothing, and the same program
/// takes the same steps in the same order every time.
#[derive(Debug)]
pub struct Executor {
    clock: SimClock,
    /// The world that is told of each jump, so that what happens by itself happens on time and not at the next look.
    world: Weak<Simulated>,
}

#[derive(Debug)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Executor {
    pub(crate) fn new(clock: SimClock, world: Weak<Simulated>) -> Self {
        Self { clock, world }
    }

    /// Runs `future` to its end.
    ///
    /// # Errors
    ///
    /// [`Stalled`] when the future is pending, nothing has woken it, and no timer is set.
    pub fn run<F: Future>(&self, future: F) -> Result<F::Output, Stalled> {
        let mut future = pin!(future);
        let flag = Arc::new(Flag(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&flag));
        let mut cx = Context::from_waker(&waker);
        loop {
            while flag.0.swap(false, Ordering::SeqCst) {
                if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
                    return Ok(output);
                }
            }
            let Some(at_ms) = self.clock.next_timer() else {
                return Err(Stalled {
                    at_ms: self.clock.now(),
                });
            };
            if let Some(world) = self.world.upgrade() {
                world.settle(at_ms);
            }
            self.clock.advance_to(at_ms);
        }
    }
}
