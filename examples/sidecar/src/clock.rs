//! The clock that all processes of a machine share.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds since the machine started, the time it slept included.
pub(crate) fn now_ns() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    let (seconds, nanoseconds) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}

/// The same in microseconds.
pub(crate) fn now_us() -> u64 {
    now_ns() / 1_000
}

/// The same in milliseconds.
pub(crate) fn now_ms() -> u64 {
    now_ns() / 1_000_000
}

/// How long this thread has waited for a processor, by the kernel's own count.
///
/// That wait is the machine's and not the program's: on a busy machine it is most of what a request takes, and more at one
/// process than at the next.
#[derive(Debug)]
pub(crate) struct Waits(Option<File>);

impl Waits {
    pub(crate) fn open() -> Self {
        Self(File::open("/proc/thread-self/schedstat").ok())
    }

    /// In microseconds, and 0 where the kernel does not count.
    pub(crate) fn us(&self) -> u64 {
        let mut bytes = [0; 80];
        let count = self.0.as_ref().and_then(|file| file.read_at(&mut bytes, 0).ok());
        let text = bytes
            .get(..count.unwrap_or(0))
            .and_then(|bytes| std::str::from_utf8(bytes).ok());
        // Nanoseconds on a processor, nanoseconds of waiting for one, and how often.
        let waited_ns = text.and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
        waited_ns.unwrap_or(0) / 1_000
    }
}

/// What this process takes for something, from now on.
#[derive(Debug)]
pub(crate) struct Stopwatch {
    began_us: u64,
    waited_us: u64,
}

impl Stopwatch {
    pub(crate) fn start(waits: &Waits) -> Self {
        Self {
            began_us: now_us(),
            waited_us: waits.us(),
        }
    }

    /// In microseconds, without the waits for a processor.
    pub(crate) fn own_us(&self, waits: &Waits) -> u64 {
        let waited_us = waits.us().saturating_sub(self.waited_us);
        now_us().saturating_sub(self.began_us).saturating_sub(waited_us)
    }
}
