//! The time of the quarter: it jumps to whatever the train sleeps for, and takes the fleets along.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use unattended::upgrade::Clock;

use crate::fleet::START_WALL_MS;

/// What happens while time passes.
pub(crate) trait Passing: Send + Sync {
    /// It is so late now, in Unix milliseconds.
    fn passed(&self, wall_ms: i64);
}

/// Virtual time since the beginning of the quarter.
pub(crate) struct QuarterClock {
    now_ms: AtomicU64,
    world: Arc<dyn Passing>,
}

impl QuarterClock {
    pub(crate) fn new(world: Arc<dyn Passing>) -> Self {
        Self {
            now_ms: AtomicU64::new(0),
            world,
        }
    }
}

/// Waits for an answer are shorter; sleeps of the train are this long.
pub(crate) const POLL_MS: u64 = 10 * 60_000;
/// Longer than any answer takes, which here comes at once.
pub(crate) const CALL_MS: u64 = 24 * 3_600_000;

#[async_trait]
impl Clock for QuarterClock {
    fn now(&self) -> u64 {
        self.now_ms.load(Ordering::SeqCst)
    }

    fn wall(&self) -> i64 {
        START_WALL_MS + i64::try_from(self.now()).unwrap_or(i64::MAX)
    }

    /// Nobody but the train sleeps here. Who bounds a call by a sleep is not woken by it: every answer comes at once.
    async fn sleep_until(&self, at_ms: u64) {
        if at_ms > self.now().saturating_add(POLL_MS) {
            std::future::pending::<()>().await;
        }
        self.now_ms.fetch_max(at_ms, Ordering::SeqCst);
        self.world.passed(self.wall());
    }
}
