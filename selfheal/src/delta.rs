//! What one observer saw of one node in a span of time: what a report is made of.

use serde::{Deserialize, Serialize};

use crate::center::{NodeId, RouteId, Seen};

/// The number of a node in its observer's own table. Names stay with the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
#[expect(clippy::exhaustive_structs, reason = "a number with a name")]
pub struct NodeIndex(pub u32);

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
#[expect(clippy::exhaustive_structs, reason = "plain counts: users may make their own")]
pub struct Delta {
    /// The node.
    pub node: NodeIndex,
    /// How its calls ended.
    pub counts: OutcomeCounts,
    /// Of the successes, those that took [`very_slow_ratio`](crate::Policy::very_slow_ratio) times as long as this node
    /// usually takes at its load, or longer.
    pub slow: u32,
}

impl Delta {
    /// The line of a report to the center: the fleet's name for the node, and what the calls were for.
    #[must_use]
    pub const fn seen(&self, target: NodeId, route: RouteId) -> Seen {
        Seen {
            target,
            route,
            total: self.counts.successes.saturating_add(self.counts.failures),
            failed: self.counts.failures,
            slow: self.slow,
        }
    }
}
