//! What the detector says of a node when it is asked.

use super::row::Phase;
use super::{Detector, f32_to_u64};
use crate::action::Action;
use crate::delta::NodeIndex;
use crate::error::NodeError;
use crate::sequential::Score;

/// What a node's state is, for balancers, routers and schedulers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standing {
    /// Nothing speaks against it, and too few of its calls have been seen to speak for it. Not a pass.
    Unknown {
        /// Calls of the last minute.
        seen: u64,
        /// Calls a bad node needs on average to be found.
        needed: u64,
    },
    /// In full service, and the tests have had time to speak.
    Healthy,
    /// In full service, and half-way to an alarm. Proof of nothing: the budget does not cover this word.
    Suspect,
    /// Gets less than its share.
    SubHealthy {
        /// Thousandths of it.
        weight_permille: u16,
    },
    /// Gets nothing.
    Isolated {
        /// Until then at least.
        until_ms: u64,
    },
    /// Gets one call.
    Probing,
    /// On its way back.
    Returning {
        /// Thousandths of its share, so far.
        weight_permille: u16,
    },
}

impl Detector {
    /// Where a node stands.
    ///
    /// # Errors
    ///
    /// [`NodeError::Unknown`].
    pub fn standing(&self, node: NodeIndex) -> Result<Standing, NodeError> {
        let row = self.rows[self.place(node)?]
            .as_ref()
            .ok_or(NodeError::Unknown(node.0))?;
        let weight_permille = row.weight_permille;
        let test = &self.levels[self.level];
        let seen = f32_to_u64(row.recent_calls);
        let needed = test.warm_up_requests();
        Ok(match row.phase {
            Phase::Isolated { until_ms } => Standing::Isolated { until_ms },
            Phase::Probing => Standing::Probing,
            Phase::Returning { .. } => Standing::Returning { weight_permille },
            Phase::Serving if weight_permille < 1_000 => Standing::SubHealthy { weight_permille },
            Phase::Serving if row.cell.score.load().value() >= test.steps().threshold().div_ceil(2) => {
                Standing::Suspect
            }
            Phase::Serving if seen < needed => Standing::Unknown { seen, needed },
            Phase::Serving => Standing::Healthy,
        })
    }

    /// How far the sequential test of a node is; [`Detector::test`] has its threshold.
    ///
    /// # Errors
    ///
    /// [`NodeError::Unknown`].
    pub fn score(&self, node: NodeIndex) -> Result<Score, NodeError> {
        let row = self.rows[self.place(node)?].as_ref();
        row.map(|row| row.cell.score.load()).ok_or(NodeError::Unknown(node.0))
    }

    /// The sub-healthy list: for each node that is not in full service, the action that made it so, with its evidence.
    #[must_use]
    pub fn unhealthy(&self) -> &[Action] {
        &self.unhealthy
    }

    /// Nodes that get nothing, or a probe at most.
    #[must_use]
    pub fn isolated(&self) -> u32 {
        // Whoever is out is in the list, and the list is short.
        let listed = self
            .unhealthy
            .iter()
            .filter_map(|action| self.rows[action.node?.0 as usize].as_ref());
        u32::try_from(listed.filter(|row| row.phase.is_out()).count()).unwrap_or(u32::MAX)
    }

    /// How often a node has been isolated, relapses that were forgiven taken off.
    ///
    /// # Errors
    ///
    /// [`NodeError::Unknown`].
    pub fn multiplier(&self, node: NodeIndex) -> Result<u32, NodeError> {
        let row = self.rows[self.place(node)?].as_ref();
        row.map(|row| row.multiplier).ok_or(NodeError::Unknown(node.0))
    }
}
