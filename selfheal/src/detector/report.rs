//! What was seen since the last report to the center.

use super::Detector;
use super::collect::clip;
use crate::delta::{Delta, OutcomeCounts};
use crate::outcome::Ending;

/// Counts for the next report.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Of slices that were collected since the last report.
    pub(super) successes: u32,
    pub(super) failures: u32,
    /// What the last report told of slices that were not.
    told_successes: u32,
    told_failures: u32,
}

impl Detector {
    /// What was seen of each node since it was last asked for, up to this moment, if anything was: for the center. Calls
    /// are in it whether or not a sweep has looked at them yet.
    pub fn deltas(&mut self, now_ms: u64) -> Vec<Delta> {
        let now_ms = self.forward(now_ms);
        let uncollected = self.swept.unwrap_or(0);
        let mut deltas = Vec::new();
        for row in self.rows.iter_mut().flatten() {
            let ahead = row.cell.ring.counts_since(uncollected, now_ms);
            let (ahead_successes, ahead_failures) = (clip(ahead.successes), clip(ahead.failures));
            let pending = std::mem::take(&mut row.report);
            row.report.told_successes = ahead_successes;
            row.report.told_failures = ahead_failures;
            let since = |collected: u32, ahead: u32, told: u32| collected.saturating_add(ahead).saturating_sub(told);
            let successes = since(pending.successes, ahead_successes, pending.told_successes);
            let take = |ending| row.cell.take_ending(ending);
            let connect_failures = take(Ending::ConnectFailure);
            let time_outs = take(Ending::TimedOut).saturating_add(row.speed.take_time_outs());
            // Failures without a name of their own: counted with all others.
            take(Ending::ServerError);
            let uncharged = [
                Ending::ClientAbort,
                Ending::OwnCancel,
                Ending::LimiterRejected,
                Ending::InjectedFault,
                Ending::DeadlineSpent,
            ];
            let counts = OutcomeCounts {
                successes,
                failures: since(pending.failures, ahead_failures, pending.told_failures),
                connect_failures,
                time_outs,
                uncharged: uncharged.into_iter().map(take).fold(0, u32::saturating_add),
            };
            let slow = row.cell.take_slow().min(successes);
            if !counts.is_empty() {
                deltas.push(Delta {
                    node: row.cell.index,
                    counts,
                    slow,
                });
            }
        }
        deltas
    }
}
