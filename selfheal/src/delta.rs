//! What one observer saw of one node in a span of time: what a report is made of.

use serde::{Deserialize, Serialize};

/// The number of a node in its observer's own table. Names stay with the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
#[expect(clippy::exhaustive_structs, reason = "a number with a name")]
pub struct NodeIndex(pub u32);

/// Buckets of latency in a [`Delta`].
pub const DELTA_LATENCY_BUCKETS: usize = 8;

/// Charged outcomes of one node, and what was left out.
///
/// Unit: calls. Counts saturate at `u32::MAX`. `connect_failures` and `time_outs` are parts of `failures`; `uncharged`
/// are calls that say nothing about the node and are in neither of the first two.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "a wire format: both sides name every field")]
pub struct OutcomeCounts {
    /// Calls the node answered.
    pub successes: u32,
    /// Calls charged against the node, of all kinds.
    pub failures: u32,
    /// Of these, no connection.
    pub connect_failures: u32,
    /// Of these, the caller's time-out.
    pub time_outs: u32,
    /// Calls that ended for other reasons than the node.
    pub uncharged: u32,
}

impl OutcomeCounts {
    /// Charged calls, both ways.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.successes as u64 + self.failures as u64
    }

    /// Nothing at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.total() == 0 && self.uncharged == 0
    }
}

/// What one observer saw of one node since its last delta of that node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "a wire format: both sides name every field")]
pub struct Delta {
    /// The node.
    pub node: NodeIndex,
    /// When the span began, on the observer's clock, in milliseconds.
    pub from_ms: u64,
    /// When it ended, exclusive.
    pub until_ms: u64,
    /// Outcomes in the span.
    pub counts: OutcomeCounts,
    /// Answers by latency: bucket `i` holds those from `64 * 4^i` up to but not including `64 * 4^(i + 1)`
    /// microseconds; the first also what is faster, the last what is slower.
    pub latency: [u32; DELTA_LATENCY_BUCKETS],
    /// How near the observer's own sequential test is to an alarm, in thousandths: 1,000 is the alarm.
    pub suspicion_permille: u16,
}
