//! The time of an example: nobody waits.

use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use unattended_upgrade::Clock;

/// Time that passes when somebody waits for it.
#[derive(Default)]
pub(crate) struct Jumping(AtomicU64);

#[async_trait]
impl Clock for Jumping {
    fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn wall(&self) -> i64 {
        0
    }

    async fn sleep_until(&self, at_ms: u64) {
        self.0.fetch_max(at_ms, Ordering::Relaxed);
    }
}
