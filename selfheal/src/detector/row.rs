//! What the detector keeps about each node.

use std::sync::Arc;

use super::report::Pending;
use super::slow::Speed;
use crate::node::Cell;
use crate::sequential::Score;

/// What the detector keeps about a node beside the cell that callers write to.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) cell: Arc<Cell>,
    pub(super) phase: Phase,
    /// Calls per second it can carry; 0 if not known.
    pub(super) capacity: f32,
    /// Calls per second of late.
    pub(super) load: f32,
    /// Failures and calls of the last minute or so, older ones fading.
    pub(super) recent_failures: f32,
    pub(super) recent_calls: f32,
    /// What was seen of the newest collected slice, since late records may still come into it.
    pub(super) seen_failures: u32,
    pub(super) seen_successes: u32,
    /// Just collected.
    pub(super) new_failures: u32,
    pub(super) new_successes: u32,
    /// Since the phase began, or the last relapse was forgiven.
    pub(super) since_failures: u32,
    pub(super) since_successes: u32,
    pub(super) since_ms: u64,
    /// Slice in which it last had calls, and its score, when a sweep last looked.
    pub(super) busy_slice: u64,
    pub(super) score: Score,
    /// Test against peers: log likelihood ratio, and the counts of its run.
    pub(super) peer_score: f32,
    pub(super) peer_failures: u32,
    pub(super) peer_calls: u32,
    pub(super) multiplier: u32,
    pub(super) weight_permille: u16,
    pub(super) held: bool,
    pub(super) speed: Speed,
    pub(super) report: Pending,
}

/// Where a node is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Serving,
    Isolated {
        until_ms: u64,
    },
    /// Waits for the outcome of one call.
    Probing,
    /// On its way back, with the weight of this stage.
    Returning {
        stage: u8,
    },
}

impl Phase {
    /// Nothing but a probe goes there.
    pub(super) const fn is_out(self) -> bool {
        matches!(self, Self::Isolated { .. } | Self::Probing)
    }
}

impl Row {
    pub(super) fn new(cell: Arc<Cell>, capacity: f32, now_ms: u64) -> Self {
        Self {
            cell,
            phase: Phase::Serving,
            capacity,
            load: 0.0,
            recent_failures: 0.0,
            recent_calls: 0.0,
            seen_failures: 0,
            seen_successes: 0,
            new_failures: 0,
            new_successes: 0,
            since_failures: 0,
            since_successes: 0,
            since_ms: now_ms,
            busy_slice: 0,
            score: Score::ZERO,
            peer_score: 0.0,
            peer_failures: 0,
            peer_calls: 0,
            multiplier: 0,
            weight_permille: 1_000,
            held: false,
            speed: Speed::default(),
            report: Pending::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Cell, Row};

    #[test]
    fn a_node_takes_at_most_512_bytes() {
        // The cell lives behind an `Arc`, which adds two counts.
        let bytes = size_of::<Cell>() + 2 * size_of::<usize>() + size_of::<Option<Row>>();
        assert!(
            bytes <= 512,
            "{bytes}: a cell of {}, a row of {}",
            size_of::<Cell>(),
            size_of::<Option<Row>>()
        );
    }
}
