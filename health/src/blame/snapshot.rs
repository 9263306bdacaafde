//! Histories as data, checked when they are read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::history::{Blame, BlameConfig, BlameError, Node};
use crate::exact::Exact;

const VERSION: u32 = 1;

/// What a [`Blame`] is written as.
#[derive(Serialize, Deserialize)]
pub(super) struct Saved {
    version: u32,
    windows_ms: [u64; 3],
    weights: [Exact; 4],
    veto_ms: u64,
    least_spatial: Exact,
    half_life_ms: u64,
    least_score: Exact,
    distinct: Exact,
    nodes: BTreeMap<String, SavedNode>,
}

#[derive(Serialize, Deserialize)]
struct SavedNode {
    deployments: Vec<(u64, String)>,
    faults: BTreeMap<String, Vec<u64>>,
}

impl From<Blame> for Saved {
    fn from(blame: Blame) -> Self {
        let BlameConfig {
            windows_ms,
            weights,
            veto_ms,
            least_spatial,
            half_life_ms,
            least_score,
            distinct,
        } = blame.config;
        let node = |(name, Node { deployments, faults })| (name, SavedNode { deployments, faults });
        Self {
            version: VERSION,
            windows_ms,
            weights: weights.map(Exact),
            veto_ms,
            least_spatial: Exact(least_spatial),
            half_life_ms,
            least_score: Exact(least_score),
            distinct: Exact(distinct),
            nodes: blame.nodes.into_iter().map(node).collect(),
        }
    }
}

impl TryFrom<Saved> for Blame {
    type Error = BlameError;

    fn try_from(saved: Saved) -> Result<Self, BlameError> {
        let damaged = |reason| BlameError::Snapshot { reason };
        if saved.version != VERSION {
            return Err(damaged("its version is unknown"));
        }
        let mut blame = Self::new(BlameConfig {
            windows_ms: saved.windows_ms,
            weights: saved.weights.map(|weight| weight.0),
            veto_ms: saved.veto_ms,
            least_spatial: saved.least_spatial.0,
            half_life_ms: saved.half_life_ms,
            least_score: saved.least_score.0,
            distinct: saved.distinct.0,
        })?;
        for (name, SavedNode { deployments, faults }) in saved.nodes {
            let in_time =
                deployments.is_sorted_by_key(|(at_ms, _)| *at_ms) && faults.values().all(|times| times.is_sorted());
            if !in_time {
                return Err(damaged("the events of a node are not in their order"));
            }
            blame.nodes.insert(name, Node { deployments, faults });
        }
        Ok(blame)
    }
}
