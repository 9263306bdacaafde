//! The run's time and the date. Both go on together; a run that is taken up under another clock says anew which is which.

use crate::input::ClockAnew;

use super::Machine;
use super::classes::Fresh;

/// A moment on both.
#[derive(Clone, Copy, Debug)]
pub(super) struct Anchor {
    pub(super) run_ms: u64,
    pub(super) unix_ms: i64,
    /// By how much the run is ahead of the clock outside.
    pub(super) ahead_ms: i64,
}

impl Machine {
    /// By how much the run is ahead of the clock outside, in milliseconds, as far as its journal knows.
    pub(crate) const fn ahead_ms(&self) -> i64 {
        self.anchor.ahead_ms
    }

    /// A time on the run's clock as Unix milliseconds.
    pub(crate) fn unix_ms(&self, at_ms: u64) -> i64 {
        let at_ms = at_ms.max(self.setup.header.began_ms);
        let since_ms = i128::from(at_ms) - i128::from(self.anchor.run_ms);
        let since_ms = i64::try_from(since_ms).unwrap_or(i64::MAX);
        self.anchor.unix_ms.saturating_add(since_ms)
    }

    /// A Unix time on the run's clock; its beginning for what was before.
    pub(super) fn run_ms(&self, unix_ms: i64) -> u64 {
        let since_ms = unix_ms.saturating_sub(self.anchor.unix_ms);
        let at_ms = self.anchor.run_ms.saturating_add_signed(since_ms);
        at_ms.max(self.setup.header.began_ms)
    }

    /// The run goes on under another clock: it is `now_ms`, and that is this date. Nobody watched since the last input: metrics of
    /// that time cannot be asked for by the new clock, so who stands still for evidence does so anew.
    pub(super) fn clock_is_anew(&mut self, anew: ClockAnew) {
        self.now_ms = self.now_ms.max(anew.now_ms);
        self.moved_ms = self.now_ms;
        self.shut_since = None;
        self.anchor = Anchor {
            run_ms: self.now_ms,
            unix_ms: anew.unix_ms,
            ahead_ms: i64::try_from(i128::from(self.now_ms) - i128::from(anew.clock_ms)).unwrap_or(i64::MAX),
        };
        let gone_ms = self.now_ms.saturating_sub(self.setup.header.began_ms);
        let ended = gone_ms / self.setup.change.settings.interval_ms.max(1);
        self.next_interval = self.next_interval.max(ended);
        for class in &mut self.classes {
            if let Fresh::Counting(_) = class.fresh {
                class.fresh = Fresh::Counting(self.now_ms);
            }
        }
        for lane in &mut self.lanes {
            lane.rest_anew(self.now_ms);
        }
        self.done_since = self.done_since.map(|_| self.now_ms);
        // What the rules let start then is asked about again before anything does.
        self.scan_due = true;
    }
}
