//! The reporter's side of a report: sums what was seen, and cuts it into deltas.

use std::collections::BTreeMap;

use super::ids::{NodeId, RouteId};
use super::report::{Report, Seen};

/// Sums calls by target and route until they are reported.
///
/// Bounded: at most [`Report::MAX_LINES`] targets and routes between two reports; what exceeds them is left out and
/// [counted](Self::left_out). One owner: workers with counters of their own add sums of theirs.
///
/// ```
/// use unattended_selfheal::{NodeId, Report, Reporter, RouteId, Seen};
///
/// let mut reporter = Reporter::new(1_795_420_800); // grows with each restart
/// reporter.add(Seen { target: NodeId(7), route: RouteId::ANY, total: 12, failed: 1, slow: 0 });
/// reporter.add(Seen { target: NodeId(7), route: RouteId::ANY, total: 3, failed: 0, slow: 0 });
/// let report = reporter.report();
/// assert_eq!((report.sequence, report.seen[0].total), (1, 15));
/// assert_eq!(Report::decode(&report.encode()?)?, report);
/// assert!(reporter.report().seen.is_empty(), "a report takes what it tells");
/// # Ok::<(), unattended_selfheal::ReportError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Reporter {
    epoch: u64,
    sequence: u64,
    sums: BTreeMap<(NodeId, RouteId), Seen>,
    left_out: u64,
}

impl Reporter {
    /// One that has seen nothing. `epoch` must be larger than in the reporter's life before: unix seconds of the start.
    #[must_use]
    pub const fn new(epoch: u64) -> Self {
        Self {
            epoch,
            sequence: 0,
            sums: BTreeMap::new(),
            left_out: 0,
        }
    }

    /// Adds calls. Sums saturate; more failed and slow calls than calls are cut to the calls, failures first.
    pub fn add(&mut self, seen: Seen) {
        let key = (seen.target, seen.route);
        if self.sums.len() >= Report::MAX_LINES && !self.sums.contains_key(&key) {
            self.left_out = self.left_out.saturating_add(u64::from(seen.total));
            return;
        }
        let sum = self.sums.entry(key).or_insert(Seen {
            total: 0,
            failed: 0,
            slow: 0,
            ..seen
        });
        sum.total = sum.total.saturating_add(seen.total);
        sum.failed = sum.failed.saturating_add(seen.failed).min(sum.total);
        sum.slow = sum.slow.saturating_add(seen.slow).min(sum.total - sum.failed);
    }

    /// The next report. Healthy targets are in it as well: without them the center could not tell a target that fails
    /// for everybody from a reporter that fails everywhere.
    pub fn report(&mut self) -> Report {
        self.sequence = self.sequence.saturating_add(1);
        Report {
            epoch: self.epoch,
            sequence: self.sequence,
            seen: std::mem::take(&mut self.sums).into_values().collect(),
        }
    }

    /// Calls that found no room, since the start.
    #[must_use]
    pub const fn left_out(&self) -> u64 {
        self.left_out
    }
}
