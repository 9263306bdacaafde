//! The analysis run of Argo Rollouts with a success condition on the new version alone.

use super::{Opinion, Pair, Peer};

/// One measurement per metric and interval: it fails unless the rate is within the limit. Without requests the query divides
/// zero by zero, and no comparison with NaN holds, so the measurement fails.
///
/// More than `failure_limit` failures of one metric fail the run. A run that ends without one has succeeded, with no
/// measurement as well.
#[derive(Clone, Debug, PartialEq)]
pub struct Argo {
    /// Largest share of bad requests, 0 to 1. The documents' sample is `result[0] >= 0.95`.
    pub limit: f64,
    /// Failures that are let pass, per metric. The documents' sample has 3; the default is 0.
    pub failure_limit: u32,
    failed: Vec<u32>,
}

impl Argo {
    /// With this limit and the sample's failure limit.
    #[must_use]
    pub const fn new(limit: f64) -> Self {
        Self {
            limit,
            failure_limit: 3,
            failed: Vec::new(),
        }
    }

    /// The sample of the documents.
    #[must_use]
    pub const fn sample() -> Self {
        Self::new(0.05)
    }

    /// Failed measurements of each metric.
    #[must_use]
    pub fn failures(&self) -> &[u32] {
        &self.failed
    }

    fn over(&self) -> bool {
        self.failed.iter().any(|failed| *failed > self.failure_limit)
    }
}

impl Peer for Argo {
    fn observe(&mut self, metrics: &[Pair]) -> Opinion {
        self.failed.resize(metrics.len(), 0);
        for (failed, pair) in self.failed.iter_mut().zip(metrics) {
            if pair.canary.rate().is_none_or(|rate| rate > self.limit) {
                *failed = failed.saturating_add(1);
            }
        }
        if self.over() {
            Opinion::Rollback
        } else {
            Opinion::Continue
        }
    }

    fn step(&mut self) {}

    fn finish(&self) -> Opinion {
        if self.over() {
            Opinion::Rollback
        } else {
            Opinion::Promote
        }
    }
}
