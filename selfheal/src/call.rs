//! A call under way, which records itself however it ends.

use crate::node::Node;
use crate::outcome::Ending;

/// A call under way. Say how it ended with [`end`](Self::end); if it is dropped before, it records what that means.
///
/// A future that is dropped has no way to say why. Two facts tell: if its deadline has passed, the caller's time-out
/// dropped it, and that is charged to the node; if not, it is what [`if_dropped`](Self::if_dropped) says, by default
/// that the client went away, and is not.
///
/// ```
/// use unattended_selfheal::{Detector, Ending, Policy};
///
/// let mut detector = Detector::new(Policy::default(), 1)?;
/// let node = detector.add(0, None)?;
/// let clock = std::cell::Cell::new(0_u64); // microseconds; a driver passes its own
/// node.call(|| clock.get()).end(Ending::Answered);
/// {
///     let _dropped = node.call(|| clock.get()).deadline_us(1_000_000);
///     clock.set(1_000_000);
/// } // the time-out: charged
/// drop(node.call(|| clock.get())); // the client went away: not charged
/// let counts = node.counts(1_000);
/// assert_eq!((counts.successes, counts.failures), (1, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Call<'a, C: Fn() -> u64> {
    node: &'a Node,
    clock_us: C,
    began_us: u64,
    deadline_us: u64,
    dropped: Ending,
    repeat: bool,
    over: bool,
}

impl<'a, C: Fn() -> u64> Call<'a, C> {
    pub(crate) fn new(node: &'a Node, clock_us: C) -> Self {
        let began_us = clock_us();
        Self {
            node,
            clock_us,
            began_us,
            deadline_us: u64::MAX,
            dropped: Ending::ClientAbort,
            repeat: false,
            over: false,
        }
    }

    /// When the caller's patience ends, on its own clock. A deadline that is over as the call begins was spent upstream:
    /// the call then ends as [`Ending::DeadlineSpent`] and is not charged.
    #[must_use]
    pub const fn deadline_us(mut self, deadline_us: u64) -> Self {
        self.deadline_us = deadline_us;
        if deadline_us <= self.began_us {
            self.dropped = Ending::DeadlineSpent;
        }
        self
    }

    /// What it means if the call is dropped before its deadline.
    #[must_use]
    pub const fn if_dropped(mut self, ending: Ending) -> Self {
        self.dropped = ending;
        self
    }

    /// The request has been at this node before. Its first attempt was charged; this one is only counted, so that a storm
    /// of retries is not a storm of evidence.
    #[must_use]
    pub const fn repeat(mut self) -> Self {
        self.repeat = true;
        self
    }

    /// The call is over. `true` if it raised the alarm, as [`Node::record`] says.
    pub fn end(mut self, ending: Ending) -> bool {
        self.finish(ending)
    }

    fn finish(&mut self, ending: Ending) -> bool {
        self.over = true;
        let now_us = (self.clock_us)();
        if self.repeat {
            self.node.count_repeat();
            return false;
        }
        // Only an answer has a latency: how long a refusal took says nothing about how fast the node works.
        let latency_us = matches!(ending, Ending::Answered).then(|| now_us.saturating_sub(self.began_us));
        self.node.record(now_us / 1_000, ending, latency_us)
    }
}

impl<C: Fn() -> u64> Drop for Call<'_, C> {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let timed_out = self.deadline_us > self.began_us && (self.clock_us)() >= self.deadline_us;
        self.finish(if timed_out { Ending::TimedOut } else { self.dropped });
    }
}
