use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use rustix::time::{ClockId, clock_gettime};
use unattended_upgrade::Clock;

/// The machine's boot clock: one time for all its processes, which suspends and changes of the date do not move.
///
/// Milliseconds since boot, `CLOCK_BOOTTIME`. It begins anew with each boot, as the processes do. It waits on the timers of
/// the tokio runtime it is polled on.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "it has no state")]
pub struct MonotonicClock;

/// The longest single sleep: timers stand still while a machine is suspended, so the time is read anew now and then.
const LONGEST_SLEEP_MS: u64 = 1_000;

#[async_trait]
impl Clock for MonotonicClock {
    fn now(&self) -> u64 {
        now_ms()
    }

    fn wall(&self) -> i64 {
        #[expect(clippy::disallowed_methods, reason = "this is the clock")]
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    async fn sleep_until(&self, at_ms: u64) {
        loop {
            let left_ms = at_ms.saturating_sub(now_ms());
            if left_ms == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(left_ms.min(LONGEST_SLEEP_MS))).await;
        }
    }
}

/// Milliseconds since boot.
pub(crate) fn now_ms() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds * 1_000 + nanos / 1_000_000
}

#[cfg(test)]
mod tests {
    use unattended_upgrade::Clock;

    use super::MonotonicClock;

    /// The kernel's own word, of before and after.
    fn uptime_ms() -> u64 {
        let text = std::fs::read_to_string("/proc/uptime").unwrap();
        let (seconds, rest) = text.split_once('.').unwrap();
        seconds.parse::<u64>().unwrap() * 1_000 + rest[..2].parse::<u64>().unwrap() * 10
    }

    #[test]
    fn it_is_the_time_since_boot() {
        let before = uptime_ms();
        let now = MonotonicClock.now();
        let after = uptime_ms();
        assert!(before <= now && now <= after + 10, "{before} {now} {after}");
    }

    #[test]
    fn a_sleep_ends_at_its_time_or_later() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let at = MonotonicClock.now() + 3;
        runtime.block_on(MonotonicClock.sleep_until(at));
        assert!(MonotonicClock.now() >= at);
        // One that has passed is no wait: without a timer in the runtime it would panic.
        let bare = tokio::runtime::Builder::new_current_thread().build().unwrap();
        bare.block_on(MonotonicClock.sleep_until(at));
    }
}
