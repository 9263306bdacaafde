//! Return slots: who may send to a node that comes back, so that not everybody does at once.

use serde::{Deserialize, Serialize};

use super::ids::NodeId;
use super::mix;

/// The share of reporters that may use a returning node: those whose hash for this round is small enough. A word of 16
/// bytes stands for any number of them, and everybody can tell whether it is among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Slots {
    /// The round: another one chooses others.
    pub round: u64,
    /// The largest hash that is let in.
    pub threshold: u64,
}

/// Stages of a return: per cent of the reporters.
pub(crate) const STAGES: [u32; 4] = [1, 5, 25, 100];

impl Slots {
    /// Lets in so many per cent of the reporters, one at least.
    pub(crate) fn new(round: u64, reporters: impl Iterator<Item = NodeId>, percent: u32) -> Self {
        let mut hashes: Vec<u64> = reporters.map(|reporter| hash(round, reporter)).collect();
        hashes.sort_unstable();
        let share = (hashes.len() as u64 * u64::from(percent)).div_ceil(100).max(1);
        let last = usize::try_from(share - 1).ok().and_then(|last| hashes.get(last));
        Self {
            round,
            threshold: last.copied().unwrap_or(u64::MAX),
        }
    }

    /// Whether this reporter may use the node.
    #[must_use]
    pub fn admits(&self, reporter: NodeId) -> bool {
        hash(self.round, reporter) <= self.threshold
    }
}

fn hash(round: u64, reporter: NodeId) -> u64 {
    mix::word(round, u64::from(reporter.0), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_exact_nested_and_another_in_another_round() {
        let reporters = || (0..500).map(NodeId);
        let admitted = |round, percent| {
            let slots = Slots::new(round, reporters(), percent);
            reporters()
                .filter(|reporter| slots.admits(*reporter))
                .collect::<Vec<_>>()
        };
        for (percent, count) in [(1, 5), (5, 25), (25, 125), (100, 500)] {
            assert_eq!(admitted(7, percent).len(), count);
        }
        assert!(admitted(7, 1).iter().all(|reporter| admitted(7, 5).contains(reporter)));
        assert_ne!(admitted(7, 5), admitted(8, 5));
        assert!(
            Slots::new(1, std::iter::empty(), 1).admits(NodeId(3)),
            "nobody known: nobody kept out"
        );
        assert_eq!(
            (0..20)
                .filter(|n| Slots::new(1, (0..20).map(NodeId), 1).admits(NodeId(*n)))
                .count(),
            1
        );
    }
}
