//! Which nodes a running rollout has changed.

use std::collections::BTreeMap;

use super::ids::NodeId;

/// Rollouts in progress, and for some time after.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rollouts {
    /// The rollout that changed a node last, and when.
    changed: BTreeMap<NodeId, (u64, u64)>,
}

/// A node that fails so long after its change is not suspected of the release any more: two hours.
const SUSPECTED_MS: u64 = 7_200_000;

impl Rollouts {
    pub(crate) fn changed(&mut self, release: u64, nodes: &[NodeId], now_ms: u64) {
        for node in nodes {
            self.changed.insert(*node, (release, now_ms));
        }
    }

    /// The rollout is over, and was judged good.
    pub(crate) fn ended(&mut self, release: u64) {
        self.changed.retain(|_, (of, _)| *of != release);
    }

    pub(crate) fn forget(&mut self, node: NodeId) {
        self.changed.remove(&node);
    }

    pub(crate) fn tick(&mut self, now_ms: u64) {
        self.changed
            .retain(|_, (_, at_ms)| now_ms.saturating_sub(*at_ms) <= SUSPECTED_MS);
    }

    /// The rollout that is suspected if this node fails.
    pub(crate) fn of(&self, node: NodeId) -> Option<u64> {
        self.changed.get(&node).map(|(release, _)| *release)
    }
}
