//! Which reports are taken: each once, in order, whatever the network does with them.
//!
//! Reports of one period wait here until the tick and are then taken by reporter and number. So the order in which they
//! arrived within a period leaves no trace.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ids::NodeId;
use super::report::Report;

/// What became of reports, counted since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ReportCounts {
    /// Reports whose counts were taken.
    pub taken: u64,
    /// Bytes that were no report: oversized, malformed, of another version, out of order.
    pub refused: u64,
    /// Reports of senders that are no members.
    pub strangers: u64,
    /// Reports with the number of one taken before, or an earlier one: replayed, or overtaken.
    pub replayed: u64,
    /// Reports of a life of the reporter that is over.
    pub stale: u64,
    /// Numbers that were skipped: reports lost, or overtaken.
    pub missing: u64,
    /// Reports with the same number and other contents: none of them is taken.
    pub contradicting: u64,
    /// Reports beyond what one reporter may send within a period; the newest are taken.
    pub flooded: u64,
    /// Lines about nodes that are no members, or that serve nothing.
    pub unknown_targets: u64,
    /// Lines about the reporter itself.
    pub own_praise: u64,
    /// Edges for which there was no room.
    pub no_room: u64,
}

/// Reports that one reporter may send within a period.
pub(crate) const MAX_PENDING: usize = 8;

#[derive(Debug, Clone)]
enum Waiting {
    One(Report),
    /// Two reports of this number differed.
    Contradicted,
}

#[derive(Debug, Clone, Default)]
struct Sender {
    /// Life and number of the last report taken.
    last: Option<(u64, u64)>,
    waiting: BTreeMap<(u64, u64), Waiting>,
}

/// The reports of the period, and how far each reporter has come.
#[derive(Debug, Clone, Default)]
pub(crate) struct Inbox {
    senders: BTreeMap<NodeId, Sender>,
    pub(crate) counts: ReportCounts,
}

impl Inbox {
    /// Keeps a report for the next tick, or counts why not.
    pub(crate) fn put(&mut self, sender: NodeId, report: Report) {
        let state = self.senders.entry(sender).or_default();
        let number = (report.epoch, report.sequence);
        if let Some(last) = state.last
            && number <= last
        {
            let count = if number.0 < last.0 {
                &mut self.counts.stale
            } else {
                &mut self.counts.replayed
            };
            *count = count.saturating_add(1);
            return;
        }
        match state.waiting.get_mut(&number) {
            None => {
                state.waiting.insert(number, Waiting::One(report));
                // Always the smallest goes, so that what is kept is the same in every order of arrival.
                if state.waiting.len() > MAX_PENDING {
                    state.waiting.pop_first();
                    self.counts.flooded = self.counts.flooded.saturating_add(1);
                }
            }
            Some(Waiting::One(first)) if *first == report => {
                self.counts.replayed = self.counts.replayed.saturating_add(1);
            }
            Some(waiting) => {
                *waiting = Waiting::Contradicted;
                self.counts.contradicting = self.counts.contradicting.saturating_add(1);
            }
        }
    }

    /// The reports of the period, by reporter and number.
    pub(crate) fn take(&mut self) -> Vec<(NodeId, Report)> {
        let mut taken = Vec::new();
        for (node, sender) in &mut self.senders {
            for (number, waiting) in std::mem::take(&mut sender.waiting) {
                // A new life begins at 1; what was lost of the old one nobody can know.
                let expected = match sender.last {
                    Some((epoch, sequence)) if epoch == number.0 => sequence.saturating_add(1),
                    _ => 1,
                };
                // The center itself may be younger than the reporter.
                if sender.last.is_some() {
                    self.counts.missing = self.counts.missing.saturating_add(number.1.saturating_sub(expected));
                }
                sender.last = Some(number);
                if let Waiting::One(report) = waiting {
                    self.counts.taken = self.counts.taken.saturating_add(1);
                    taken.push((*node, report));
                }
            }
        }
        taken
    }

    /// Forgets a sender that has left.
    pub(crate) fn forget(&mut self, sender: NodeId) {
        self.senders.remove(&sender);
    }
}
