//! The time of a run: it goes on where its journal ends, whatever becomes of the machine's clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use unattended_health::{History, Interval, Member, MetricSource, SourceError};
use unattended_upgrade::Clock;

/// The clock outside, and by how much the run is ahead of it: by nothing, until a run is taken up under another clock.
pub(crate) struct RunClock {
    clock: Arc<dyn Clock>,
    ahead_ms: AtomicI64,
}

impl std::fmt::Debug for RunClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunClock")
            .field("ahead_ms", &self.ahead_ms)
            .finish_non_exhaustive()
    }
}

impl RunClock {
    pub(crate) const fn new(clock: Arc<dyn Clock>) -> Self {
        let ahead_ms = AtomicI64::new(0);
        Self { clock, ahead_ms }
    }

    /// It goes on as in the run before, for as long as the clock outside is the same.
    pub(crate) fn resume(&self, ahead_ms: i64) {
        self.ahead_ms.store(ahead_ms, Ordering::Release);
    }

    /// From now on it stands at `now_ms`, and goes on from there.
    pub(crate) fn set(&self, now_ms: u64) {
        let ahead_ms = i128::from(now_ms) - i128::from(self.clock.now());
        let ahead_ms = i64::try_from(ahead_ms).unwrap_or(i64::MAX);
        self.ahead_ms.store(ahead_ms, Ordering::Release);
    }

    /// A time outside as one of the run.
    fn inside(&self, at_ms: u64) -> u64 {
        at_ms.saturating_add_signed(self.ahead_ms.load(Ordering::Acquire))
    }

    /// A time of the run as one outside, where the platform's deadlines and the intervals of metrics are. What was before that clock
    /// began was at 0.
    pub(crate) fn outside(&self, at_ms: u64) -> u64 {
        let behind_ms = self.ahead_ms.load(Ordering::Acquire).saturating_neg();
        at_ms.saturating_add_signed(behind_ms)
    }
}

#[async_trait]
impl Clock for RunClock {
    fn now(&self) -> u64 {
        self.inside(self.clock.now())
    }

    fn wall(&self) -> i64 {
        self.clock.wall()
    }

    async fn sleep_until(&self, at_ms: u64) {
        self.clock.sleep_until(self.outside(at_ms)).await;
    }
}

/// A metric source that is asked in the times of the clock outside, and answers in those of the run.
pub(crate) struct OnRunClock {
    pub(crate) metrics: Arc<dyn MetricSource>,
    pub(crate) clock: Arc<RunClock>,
}

#[async_trait]
impl MetricSource for OnRunClock {
    async fn follow(&self, members: &[Member]) -> Result<(), SourceError> {
        self.metrics.follow(members).await
    }

    async fn history(&self) -> Result<Vec<History>, SourceError> {
        self.metrics.history().await
    }

    async fn read(&self, index: u64, end_ms: u64) -> Result<Interval, SourceError> {
        let interval = self.metrics.read(index, self.clock.outside(end_ms)).await?;
        let end_ms = self.clock.inside(interval.end_ms);
        Ok(Interval { end_ms, ..interval })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

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
    fn it_goes_on_from_where_it_is_set_whichever_way_the_clock_outside_is_off() {
        for outside_ms in [0, 7, 1_000_000] {
            let clock = RunClock::new(Arc::new(Hand(AtomicU64::new(outside_ms))));
            assert_eq!((clock.now(), clock.outside(u64::MAX)), (outside_ms, u64::MAX));
            clock.set(5_000);
            assert_eq!((clock.now(), clock.outside(5_000)), (5_000, outside_ms));
            futures::executor::block_on(clock.sleep_until(5_100));
            assert_eq!((clock.now(), clock.outside(5_100)), (5_100, outside_ms + 100));
        }
        // What was before the clock outside began.
        let clock = RunClock::new(Arc::new(Hand(AtomicU64::new(10))));
        clock.set(5_000);
        assert_eq!((clock.outside(4_990), clock.outside(4_000)), (0, 0));
    }
}
